package ui

import (
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
	lines, right := make([]string, m.h), make([]string, m.h) // There are at most two columns.
	place := func(r rect, part []string) {
		column := lines
		if r.x > 0 {
			column = right
		}
		copy(column[r.y:], part)
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
	if s.footer.empty() {
		if text := m.footer(v, m.w, false); text != "" {
			lines[m.h-1], right[m.h-1] = text, ""
		}
	}
	if m.overlay != nil {
		for y := range lines {
			lines[y], right[y] = lines[y]+right[y], ""
		}
		m.overlay.refresh(v)
		m.overlay.paste(v, lines, m.w)
	}
	size := 0
	for y := range lines {
		size += len(lines[y]) + len(right[y]) + 1
	}
	var b strings.Builder
	b.Grow(size)
	for y := range lines {
		if y > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(lines[y])
		b.WriteString(right[y])
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
