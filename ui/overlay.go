package ui

import (
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// page is a text for an overlay.
type page struct {
	title string
	lines []pageLine
}

// overlay is a page in a box over the screen, built anew for each frame so that it shows the present.
type overlay struct {
	build  func(v *view) *page
	page   *page
	offset int
	height int // lines shown at the last draw
	total  int // lines after wrapping
}

// pageLine is a value with its name, a heading (only the name) or a paragraph (only the value).
type pageLine struct {
	name, value string
}

func (p *page) add(name, value string) {
	if value != "" {
		p.lines = append(p.lines, pageLine{name, value})
	}
}

func (p *page) heading(text string) { p.lines = append(p.lines, pageLine{}, pageLine{name: text}) }

func (p *page) text(text string) { p.lines = append(p.lines, pageLine{value: text}) }

// refresh keeps the last page where what it was about is gone.
func (o *overlay) refresh(v *view) {
	if p := o.build(v); p != nil {
		o.page = p
	}
}

// scroll moves by n lines, as far as there are any.
func (o *overlay) scroll(n int) { o.offset = clamp(o.offset+n, 0, max(0, o.total-o.height)) }

// paste draws the page into the middle of a finished screen.
func (o *overlay) paste(v *view, screen []string, w int) {
	p, outer := o.page, min(w, 96)
	names := 0
	for _, l := range p.lines {
		if l.value != "" {
			names = max(names, width(l.name))
		}
	}
	names = min(names, (outer-4)/2)
	body := newSheet(outer-4, 32, v.glyphs)
	for _, l := range p.lines {
		p.drawLine(v, body, l, names)
	}
	o.total = len(body.lines)
	o.height = min(o.total, len(screen)-2)
	o.scroll(0)
	lines := o.box(v, body.lines[o.offset:o.offset+o.height], outer)
	x, y := (w-outer)/2, (len(screen)-len(lines))/2
	for i, line := range lines {
		left, right := ansi.Truncate(screen[y+i], x, ""), ansi.TruncateLeft(screen[y+i], x+outer, "")
		rest := w - x - outer
		if ansi.StringWidth(right) > rest {
			right = ansi.TruncateLeft(screen[y+i], x+outer+1, "")
		}
		// A character of two cells that the box cuts through is gone as a whole.
		screen[y+i] = left + spaces(x-ansi.StringWidth(left)) + line + spaces(rest-ansi.StringWidth(right)) + right
	}
}

func spaces(n int) string { return strings.Repeat(" ", max(0, n)) }

func (o *overlay) box(v *view, body []string, outer int) []string {
	st := v.styles.accent
	g := v.glyphs
	c := newSheet(outer, len(body)+2, g)
	c.text(g.topLeft+g.horizontal, st)
	c.text(" "+o.page.title+" ", v.styles.bold)
	c.fill(g.horizontal, outer-1-c.col, st)
	c.text(g.topRight, st)
	c.end()
	side := st.on + g.vertical + st.off
	for _, line := range body {
		c.lines = append(c.lines, side+" "+line+" "+side)
	}
	hint := " esc closes "
	if o.total > o.height {
		hint = " " + count(int64(o.offset+1)) + "-" + count(int64(o.offset+o.height)) + " of " + count(int64(o.total)) + ", j k scroll, esc closes "
	}
	c.text(g.bottomLeft, st)
	c.fill(g.horizontal, outer-2-c.col-width(hint), st)
	c.text(hint, v.styles.dim)
	c.fill(g.horizontal, outer-1-c.col, st)
	c.text(g.bottomRight, st)
	c.end()
	return c.lines
}

// drawLine wraps the value at blanks; further lines stand below the first.
func (p *page) drawLine(v *view, c *sheet, l pageLine, names int) {
	if l.value == "" {
		c.text(l.name, v.styles.bold)
		c.end()
		return
	}
	indent := 0
	if l.name != "" {
		c.put(l.name, names, v.styles.dim, false)
		c.gap(2)
		indent = names + 2
	}
	for i, line := range wrap(clean(l.value), c.width-indent) {
		if i > 0 {
			c.gap(indent)
		}
		c.text(line, sgr{})
		c.end()
	}
}

// wrap cuts a text into lines of at most w cells, at blanks where there are any.
func wrap(s string, w int) []string {
	if w < 1 {
		return []string{s}
	}
	return strings.Split(ansi.Wrap(s, w, "-/,"), "\n")
}
