package ui

import (
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"

	"eostop/runtime/journal"
)

// sheet collects the lines of a rectangle. Every finished line is exactly width cells wide, whatever was put into it.
// The number of lines is for the caller to keep.
type sheet struct {
	width  int
	glyphs *glyphSet
	lines  []string

	line []byte
	col  int
	row  *sgr   // while set, it stands for the style of every cell of the line
	edge string // drawn at both ends of every line, beyond its width
}

func newSheet(width, height int, g *glyphSet) *sheet {
	return &sheet{width: width, glyphs: g, lines: make([]string, 0, height), line: make([]byte, 0, 2*width+32)}
}

// border sets what stands at both ends of every line. It is called before the first cell.
func (c *sheet) border(edge string) {
	c.edge = edge
	c.line = append(c.line[:0], edge...)
}

// put writes s in a field of width cells, cut off with an ellipsis or padded with blanks.
func (c *sheet) put(s string, width int, st sgr, right bool) {
	width = min(width, c.width-c.col)
	if width <= 0 {
		return
	}
	s, n := c.fit(s, width)
	if right {
		c.blanks(width - n)
	}
	c.styled(s, st)
	if !right {
		c.blanks(width - n)
	}
	c.col += width
}

// text writes s as wide as it is, as far as the line has room.
func (c *sheet) text(s string, st sgr) {
	s, n := c.fit(s, c.width-c.col)
	if n == 0 {
		return
	}
	c.styled(s, st)
	c.col += n
}

// fill repeats a one-cell glyph.
func (c *sheet) fill(glyph string, n int, st sgr) {
	n = min(n, c.width-c.col)
	if n <= 0 {
		return
	}
	on, off := st.on, st.off
	if c.row != nil {
		on, off = "", ""
	}
	c.line = append(c.line, on...)
	for range n {
		c.line = append(c.line, glyph...)
	}
	c.line = append(c.line, off...)
	c.col += n
}

func (c *sheet) gap(n int) {
	if n = min(n, c.width-c.col); n > 0 {
		c.blanks(n)
		c.col += n
	}
}

// begin gives the whole line one style, which replaces those of its cells until end.
func (c *sheet) begin(row sgr) {
	if row.on == "" {
		return
	}
	c.row = &row
	c.line = append(c.line, row.on...)
}

// end pads the line and starts the next one.
func (c *sheet) end() {
	c.blanks(c.width - c.col)
	if c.row != nil {
		c.line = append(c.line, c.row.off...)
		c.row = nil
	}
	c.line = append(c.line, c.edge...)
	c.lines = append(c.lines, string(c.line))
	c.line, c.col = append(c.line[:0], c.edge...), 0
}

// padTo appends empty lines until there are n, and drops what is more.
func (c *sheet) padTo(n int) {
	for len(c.lines) < n {
		c.end()
	}
	c.lines = c.lines[:n]
}

func (c *sheet) styled(s string, st sgr) {
	if c.row != nil || st.on == "" {
		c.line = append(c.line, s...)
		return
	}
	c.line = append(c.line, st.on...)
	c.line = append(c.line, s...)
	c.line = append(c.line, st.off...)
}

func (c *sheet) blanks(n int) {
	const run = "                                "
	for ; n > len(run); n -= len(run) {
		c.line = append(c.line, run...)
	}
	if n > 0 {
		c.line = append(c.line, run[:n]...)
	}
}

// fit returns s in at most width cells and how many it takes. Everything but printable ASCII is cleaned first.
func (c *sheet) fit(s string, width int) (string, int) {
	if width <= 0 {
		return "", 0
	}
	if n, ok := plainWidth(s); ok {
		if n > width {
			return s[:cellAt(s, width-1)] + c.glyphs.ellipsis, width
		}
		return s, n
	}
	s = clean(s)
	n := ansi.StringWidth(s)
	if n > width {
		s = ansi.Truncate(s, width, c.glyphs.ellipsis)
		n = ansi.StringWidth(s)
	}
	return s, n
}

// plainWidth is the number of cells of a text that consists of printable ASCII and of symbols like those in glyphs.go,
// one cell each. false means that the text needs a closer look. It saves most texts from grapheme segmentation.
func plainWidth(s string) (int, bool) {
	n := 0
	for i := 0; i < len(s); n++ {
		if b := s[i]; b >= 0x20 && b < 0x7f {
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r != 0x2026 && (r < 0x2190 || r > 0x21ff) && (r < 0x2500 || r > 0x25cf) && r != 0x2713 && r != 0x2717 {
			return 0, false
		}
		i += size
	}
	return n, true
}

// cellAt is the index in a text with a plainWidth at which cell n begins.
func cellAt(s string, n int) int {
	for i := range s {
		if n == 0 {
			return i
		}
		n--
	}
	return len(s)
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// clean takes everything out of a text from outside that could move the cursor, change colours or reorder what the
// reader sees.
func clean(s string) string {
	if printable(s) {
		return s
	}
	return journal.Clean(s)
}

// width is the number of cells of a text that may hold glyphs but no control sequences.
func width(s string) int {
	if n, ok := plainWidth(s); ok {
		return n
	}
	return ansi.StringWidth(s)
}
