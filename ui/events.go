package ui

import (
	"slices"
	"time"

	"eostop/runtime/journal"
)

// events is the panel of the journal. It follows the newest line until the cursor goes up; from then on its position is
// a sequence number, so that what is read stays where it is.
type events struct {
	paused bool
	cursor uint64 // Seq of the selected line while paused
	offset uint64 // Seq of the lowest line shown while paused
	since  uint64 // Seq of the newest line when it was paused
	level  journal.Level
	keep   filter
	page   int

	matched []logLine // what passes filter and level
	seen    uint64
	from    *eventLog
	by      string
	above   journal.Level
}

// list returns the lines that pass the filter, oldest first. It looks at each line once.
func (p *events) list(v *view) []logLine {
	if !p.keep.active() && p.level == journal.Debug {
		return v.log.lines
	}
	if p.from != v.log || p.by != p.keep.text || p.above != p.level {
		p.matched, p.seen = p.matched[:0], 0
		p.from, p.by, p.above = v.log, p.keep.text, p.level
	}
	for _, line := range v.log.since(p.seen + 1) {
		if line.event.Level >= p.level && p.keep.match(line.source+" "+line.event.Level.String()+" "+line.text) {
			p.matched = append(p.matched, line)
		}
	}
	p.seen = v.log.last
	if n := len(p.matched) - eventsKept; n > eventsKept/4 {
		p.matched = slices.Delete(p.matched, 0, n)
	}
	return p.matched
}

// find returns the position of the line with this Seq, or of the next one where it is gone.
func find(lines []logLine, seq uint64) int {
	i, _ := slices.BinarySearchFunc(lines, seq, func(line logLine, seq uint64) int { return compare(line.event.Seq, seq) })
	return min(i, max(0, len(lines)-1))
}

// at is the position of the cursor.
func (p *events) at(lines []logLine) int {
	if !p.paused {
		return max(0, len(lines)-1)
	}
	return find(lines, p.cursor)
}

func (p *events) filterable() *filter { return &p.keep }

func (p *events) title(*view) string { return "events" }

func (p *events) status(v *view) string {
	text := ""
	add := func(s string) {
		if text != "" {
			text += "  "
		}
		text += s
	}
	if p.keep.active() {
		add("/" + p.keep.text + " " + plural(len(p.list(v)), "line"))
	}
	switch p.level {
	case journal.Debug:
		add("all levels")
	case journal.Warn, journal.Error:
		add(p.level.String() + " and above")
	case journal.Info: // The default is not worth a word.
	}
	if v.log.dropped > 0 {
		add(count(v.log.dropped) + " dropped")
	}
	if p.paused {
		lines := p.list(v)
		add("paused, " + count(int64(len(lines)-firstAfter(lines, p.since))) + " new")
	}
	return text
}

// firstAfter is the position of the first line with a greater Seq.
func firstAfter(lines []logLine, seq uint64) int {
	i, _ := slices.BinarySearchFunc(lines, seq+1, func(line logLine, seq uint64) int { return compare(line.event.Seq, seq) })
	return i
}

func (p *events) instance(v *view) string {
	// While it follows, the newest line has the cursor: p must not cut whoever happened to speak last.
	if lines := p.list(v); p.paused && len(lines) > 0 {
		return lines[p.at(lines)].event.Instance
	}
	return ""
}

func (p *events) explain(v *view) *page {
	lines := p.list(v)
	if len(lines) == 0 {
		return nil
	}
	return explainEvent(lines[p.at(lines)].event)
}

func (p *events) act(v *view, a action) bool {
	lines := p.list(v)
	at := p.at(lines)
	switch a {
	case actUp:
		p.move(lines, at-1)
	case actPageUp:
		p.move(lines, at-max(1, p.page-1))
	case actTop:
		p.move(lines, 0)
	case actDown:
		p.move(lines, at+1)
	case actPageDown:
		p.move(lines, at+max(1, p.page-1))
	case actExplain:
		p.move(lines, at)
	case actBottom, actFollow:
		p.paused = false
	case actLevel:
		p.level = (p.level + 1) % (journal.Error + 1)
	default:
		return false
	}
	return true
}

// move pauses, and goes on following when the cursor passes the end.
func (p *events) move(lines []logLine, to int) {
	if to = max(0, to); to >= len(lines) { // Also where there are none.
		p.paused = false
		return
	}
	if !p.paused {
		p.paused = true
		last := lines[len(lines)-1].event.Seq
		p.since, p.offset = last, last
	}
	p.cursor = lines[to].event.Seq
}

func (p *events) draw(v *view, c *sheet, height int, focused bool) {
	lines := p.list(v)
	p.page = height
	if len(lines) == 0 {
		c.gap(1)
		text := "nothing has happened yet"
		if p.keep.active() || p.level > journal.Info {
			text = "no event passes the filter"
		}
		c.text(text, v.styles.dim)
		c.end()
		return
	}
	cursor := p.at(lines)
	low := len(lines) - 1
	if p.paused {
		low = clamp(find(lines, p.offset), cursor, cursor+height-1)
		low = clamp(low, min(height, len(lines))-1, len(lines)-1)
		p.offset = lines[low].event.Seq
	}
	timeFormat, source := "15:04:05.000", 17
	if c.width < 100 {
		timeFormat, source = time.TimeOnly, 6
	}
	for i := max(0, low-height+1); i <= low; i++ {
		p.drawLine(v, c, &lines[i], i == cursor, focused && p.paused, timeFormat, source)
	}
}

func (p *events) drawLine(v *view, c *sheet, line *logLine, selected, reverse bool, timeFormat string, source int) {
	e := &line.event
	mark := " "
	if selected && p.paused {
		mark = v.glyphs.cursor
		if reverse {
			c.begin(v.styles.selected)
		}
	}
	st := v.levelStyle(e.Level)
	level := e.Level.String()
	if source < 10 {
		level = level[:1]
	}
	c.text(mark, v.styles.accent)
	c.text(e.At.Format(timeFormat), v.styles.dim)
	c.gap(1)
	c.put(level, min(5, len(level)+max(0, source-12)), st, false)
	c.gap(1)
	c.put(threadName(e.Instance, line.source, source), source, v.styles.dim, false)
	c.gap(1)
	c.text(line.text, st)
	c.end()
}

func (v *view) levelStyle(l journal.Level) sgr {
	switch l {
	case journal.Error:
		return v.styles.bad
	case journal.Warn:
		return v.styles.warn
	case journal.Debug:
		return v.styles.dim
	case journal.Info:
	}
	return sgr{}
}
