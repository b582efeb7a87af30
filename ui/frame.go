package ui

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// render draws the whole screen: exactly m.h lines of exactly m.w cells.
func (m *app) render() string {
	if m.w <= 0 || m.h <= 0 {
		return ""
	}
	v := m.view()
	if !fits(m.w, m.h) {
		return tooSmall(v, m.w, m.h)
	}
	s := m.layout()
	rows := make([][]piece, m.h)
	place := func(r rect, lines []string) {
		for i, line := range lines {
			rows[r.y+i] = append(rows[r.y+i], piece{r.x, line})
		}
	}
	head := newSheet(s.header.w, s.header.h, v.glyphs)
	v.header(head, s.header.h)
	place(s.header, head.lines)
	for id, r := range s.panels {
		if !r.empty() {
			place(r, m.chrome(v, panelID(id), r, &s))
		}
	}
	if !s.footer.empty() {
		place(s.footer, []string{m.footer(v, s.footer.w, true)})
	}
	lines := make([]string, m.h)
	for y, parts := range rows {
		lines[y] = join(parts)
	}
	if s.footer.empty() {
		if text := m.footer(v, m.w, false); text != "" {
			lines[m.h-1] = text
		}
	}
	if m.overlay != nil {
		m.overlay.refresh(v)
		m.overlay.paste(v, lines, m.w)
	}
	return strings.Join(lines, "\n")
}

// piece is a part of a line with its column.
type piece struct {
	x    int
	text string
}

func join(parts []piece) string {
	if len(parts) == 1 {
		return parts[0].text
	}
	slices.SortFunc(parts, func(a, b piece) int { return cmp.Compare(a.x, b.x) })
	var b strings.Builder
	for _, p := range parts {
		b.WriteString(p.text)
	}
	return b.String()
}

// tooSmall says what is needed, on as many lines as it takes.
func tooSmall(v *view, w, h int) string {
	need := strconv.Itoa(minWidth) + "x" + strconv.Itoa(minHeight)
	have := strconv.Itoa(w) + "x" + strconv.Itoa(h)
	words := strings.Fields("terminal too small: needs " + need + ", has " + have + "; enlarge it, or q to quit")
	c := newSheet(w, h, v.glyphs)
	for _, word := range words {
		if c.col > 0 && c.col+1+len(word) > w {
			c.end()
		}
		if c.col > 0 {
			c.gap(1)
		}
		c.text(word, v.styles.bold)
	}
	c.end()
	c.padTo(h)
	return strings.Join(c.lines, "\n")
}
