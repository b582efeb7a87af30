package ui

import (
	"strconv"
	"strings"
)

// chrome draws a panel with its title line, and with a border where the screen has room for one. The result has
// exactly the rectangle's size.
func (m *app) chrome(v *view, id panelID, r rect, s *screen) []string {
	focused := id == m.focus
	p := m.panels[id]
	inner, height := r.w, r.h-1
	if s.boxed {
		inner, height = r.w-2, r.h-2
	}
	st := v.styles.dim
	if focused {
		st = v.styles.accent
	}
	body := newSheet(inner, r.h, v.glyphs)
	if s.boxed {
		body.border(st.on + v.glyphs.vertical + st.off)
	}
	p.draw(v, body, height, focused)
	body.padTo(height)

	lines := make([]string, 0, r.h)
	lines = append(append(lines, m.titleLine(v, id, r.w, s, st)), body.lines...)
	if !s.boxed {
		return lines
	}
	low := newSheet(r.w, 1, v.glyphs)
	low.text(v.glyphs.bottomLeft, st)
	low.fill(v.glyphs.horizontal, r.w-2, st)
	low.text(v.glyphs.bottomRight, st)
	low.end()
	return append(lines, low.lines...)
}

// titleLine names the panel, the others that share its place, and the panel's view state.
func (m *app) titleLine(v *view, id panelID, w int, s *screen, st sgr) string {
	c := newSheet(w, 1, v.glyphs)
	left, right := v.glyphs.horizontal, v.glyphs.horizontal
	if s.boxed {
		left, right = v.glyphs.topLeft, v.glyphs.topRight
	}
	c.text(left, st)
	p := m.panels[id]
	title := strconv.Itoa(int(id)+1) + " " + p.title(v)
	status := p.status(v)
	if status != "" {
		status = " " + status + " "
	}
	// Brackets say which panel has the focus where there are no colours.
	if id == m.focus {
		title = "[" + title + "]"
		c.text(title, v.styles.bold)
	} else {
		title = " " + title + " "
		c.text(title, sgr{})
	}
	tabs := ""
	if id == s.slot {
		tabs = m.tabNames(s, id, w-3-width(title)-width(status))
	}
	if tabs != "" {
		c.text(v.glyphs.horizontal, st)
		c.text(tabs, v.styles.dim)
	}
	room := w - 2 - c.col
	if width(status) > room {
		status = ""
	}
	c.fill(v.glyphs.horizontal, w-2-c.col-width(status), st)
	c.text(status, v.styles.dim)
	c.fill(v.glyphs.horizontal, w-1-c.col, st)
	c.text(right, st)
	c.end()
	return c.lines[0]
}

// tabNames lists the panels that are behind this one, by number alone where names have no room.
func (m *app) tabNames(s *screen, shown panelID, room int) string {
	var names, numbers []string
	for _, id := range s.tabs {
		if id == shown {
			continue
		}
		n := strconv.Itoa(int(id) + 1)
		numbers = append(numbers, n)
		names = append(names, n+" "+panelNames[id])
	}
	for _, s := range []string{strings.Join(names, "  "), strings.Join(numbers, " ")} {
		if s != "" && len(s)+2 <= room {
			return " " + s + " "
		}
	}
	return ""
}

var panelNames = [panelCount]string{"instances", "producers", "stores", "tasks", "throughput", "cuts", "events"}
