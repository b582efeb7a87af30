package ui

import (
	"strconv"
	"time"

	"eostop/faults/soak"
)

// throughput is the panel of the time axis: records a second, with the cuts below, and the latency.
type throughput struct{}

const gutter = 6 // cells left of the chart, for the scale

func (throughput) filterable() *filter    { return nil }
func (throughput) act(*view, action) bool { return false }
func (throughput) instance(*view) string  { return "" }
func (throughput) explain(v *view) *page  { return explainVerdict(v) }
func (throughput) title(v *view) string   { return "throughput " + perSecond(v.snap.ProcessedRate) }

func (throughput) status(v *view) string {
	l := v.snap.Verify.Latency
	if l.Max == 0 {
		return ""
	}
	return "latency p50 " + span(l.P50) + "  p99 " + span(l.P99) + "  max " + span(l.Max)
}

func (throughput) draw(v *view, c *sheet, height int, _ bool) {
	columns := max(1, c.width-gutter-2)
	samples := v.hist.newest(columns)
	if height >= 6 {
		s := v.snap
		drawItems(c, []item{
			v.labelled(0, "in", perSecond(s.InRate), sgr{}), v.labelled(1, "out", perSecond(v.hist.out.rate), sgr{}),
			v.labelled(2, "highest", perSecond(s.MaxRate), sgr{}), v.labelled(3, "asked for", perSecond(s.TargetRate), sgr{}),
		})
		height--
	}
	latency := 0
	if height >= 8 {
		latency = 2
	}
	lanes := v.lanes(samples, clamp(height-latency-4, 0, 4))
	chart := height - latency - 1 - len(lanes)
	top := max(1, v.snap.TargetRate)
	for _, s := range samples {
		top = max(top, s.rate)
	}
	rates := make([]float64, len(samples))
	for i, s := range samples {
		rates[i] = s.rate / top
	}
	v.bars(c, samples, rates, chart, short(top), columns)
	for _, lane := range lanes {
		l := newLane(columns)
		v.markCuts(l, samples, func(cut *soak.Cut) (string, bool) { return cut.Direction, cut.Instance == lane })
		l.draw(v, c, lane)
	}
	axis := newLane(columns)
	if len(lanes) == 0 {
		v.markCuts(axis, samples, func(cut *soak.Cut) (string, bool) { return cut.Instance, true })
	}
	axis.ages(v.now(), samples)
	axis.draw(v, c, "")
	if latency > 0 {
		v.latencyBars(c, samples, columns)
	}
}

// latencyBars draws the 99th percentile below the axis, on its own scale.
func (v *view) latencyBars(c *sheet, samples []sample, columns int) {
	top := time.Millisecond
	for _, s := range samples {
		top = max(top, s.p99)
	}
	parts := make([]float64, len(samples))
	for i, s := range samples {
		parts[i] = float64(s.p99) / float64(top)
	}
	v.bars(c, samples, parts, 1, "p99", columns)
	c.gap(gutter + 1)
	c.text(first(c.width-gutter-2, "p99 latency, full height is "+span(top), "full height is "+span(top)), v.styles.dim)
	c.end()
}

// bars draws a chart of parts between 0 and 1, the newest at the right. Seconds with a cut have another colour.
func (v *view) bars(c *sheet, samples []sample, parts []float64, height int, label string, columns int) {
	for r := height - 1; r >= 0; r-- {
		mark := ""
		if r == height-1 {
			mark = label
		}
		c.put(mark, gutter, v.styles.dim, true)
		c.gap(1 + columns - len(parts))
		for i := 0; i < len(parts); {
			cut := v.cutAt(samples[i].at)
			st := v.styles.ok
			if cut {
				st = v.styles.warn
			}
			c.line = append(c.line, st.on...)
			for ; i < len(parts) && v.cutAt(samples[i].at) == cut; i++ {
				eighths := int(parts[i]*8*float64(height)+0.5) - 8*r
				if r == 0 && parts[i] > 0 {
					eighths = max(1, eighths) // A little is not nothing.
				}
				c.line = append(c.line, v.glyphs.bars[clamp(eighths, 0, 8)]...)
				c.col++
			}
			c.line = append(c.line, st.off...)
		}
		c.end()
	}
}

// cutAt is true for the seconds in which some instance was cut off.
func (v *view) cutAt(at time.Time) bool {
	for i := range v.snap.Cuts {
		cut := &v.snap.Cuts[i]
		if at.After(cut.Start) && (cut.Healed.IsZero() || at.Before(cut.Healed.Add(time.Second))) {
			return true
		}
	}
	return false
}

// lanes names the instances with cuts on the axis, when each of them can have a line of its own.
func (v *view) lanes(samples []sample, room int) []string {
	var names []string
	if len(samples) == 0 {
		return nil
	}
	for i := range v.snap.Instances {
		name := v.snap.Instances[i].Name
		for j := range v.snap.Cuts {
			cut := &v.snap.Cuts[j]
			if cut.Instance == name && (cut.Healed.IsZero() || cut.Healed.After(samples[0].at)) {
				names = append(names, name)
				break
			}
		}
	}
	if len(names) > room {
		return nil
	}
	return names
}

// lane is a line below the chart, one cell for each sample.
type lane struct {
	cells []string
	cut   []bool
}

func newLane(columns int) *lane {
	l := &lane{cells: make([]string, columns), cut: make([]bool, columns)}
	for i := range l.cells {
		l.cells[i] = " "
	}
	return l
}

func (l *lane) write(at int, s string, cut bool) {
	for i := range len(s) {
		if k := at + i; k >= 0 && k < len(l.cells) {
			l.cells[k], l.cut[k] = s[i:i+1], cut
		}
	}
}

// free is true where nothing is in the way of n cells and of a blank on either side.
func (l *lane) free(at, n int) bool {
	for k := max(0, at-1); k < min(len(l.cells), at+n+1); k++ {
		if l.cut[k] {
			return false
		}
	}
	return at >= 0 && at+n <= len(l.cells)
}

// ages writes how long ago a sample was below every thirtieth of them, where no cut is in the way.
func (l *lane) ages(now time.Time, samples []sample) {
	if at := len(l.cells) - 3; l.free(at, 3) {
		l.write(at, "now", false)
	}
	for back := 30; back < len(samples); back += 30 {
		text := "-" + strconv.Itoa(int(now.Sub(samples[len(samples)-1-back].at).Round(time.Second).Seconds())) + "s"
		if at := len(l.cells) - 1 - back - len(text)/2; l.free(at, len(text)) {
			l.write(at, text, false)
		}
	}
}

// markCuts draws cuts as lines from their start to their end. of says which, and what is written on them.
func (v *view) markCuts(l *lane, samples []sample, of func(*soak.Cut) (string, bool)) {
	if len(samples) == 0 {
		return
	}
	base := len(l.cells) - len(samples)
	for i := range v.snap.Cuts {
		cut := &v.snap.Cuts[i]
		label, wanted := of(cut)
		if !wanted || !cut.Healed.IsZero() && cut.Healed.Before(samples[0].at) {
			continue
		}
		start, end := base+indexAt(samples, cut.Start), len(l.cells)-1
		if !cut.Healed.IsZero() {
			end = max(start, base+indexAt(samples, cut.Healed))
		}
		for k := start; k <= end; k++ {
			l.cells[k], l.cut[k] = v.glyphs.cutLine, true
		}
		if cut.Start.After(samples[0].at.Add(-time.Second)) {
			l.cells[start] = v.glyphs.cutStart
		}
		l.cells[end] = v.glyphs.cutEnd
		if cut.Healed.IsZero() {
			l.cells[end] = v.glyphs.cutOpen
		}
		if printable(label) && end-start-1 >= len(label) {
			l.write((start+end+1-len(label))/2, label, true)
		}
	}
}

// indexAt is the sample that holds a moment.
func indexAt(samples []sample, at time.Time) int {
	for i := range samples {
		if !at.After(samples[i].at) {
			return i
		}
	}
	return len(samples) - 1
}

func (l *lane) draw(v *view, c *sheet, label string) {
	c.put(label, gutter, v.styles.bad, true)
	c.gap(1)
	for i := 0; i < len(l.cells); {
		cut := l.cut[i]
		st := v.styles.dim
		if cut {
			st = v.styles.bad
		}
		c.line = append(c.line, st.on...)
		for ; i < len(l.cells) && l.cut[i] == cut; i++ {
			c.line = append(c.line, l.cells[i]...)
			c.col++
		}
		c.line = append(c.line, st.off...)
	}
	c.end()
}

// progressBar draws how much of a whole is done, for the plain forms.
func progressBar(done float64, cells int) string {
	full := clamp(int(done*float64(cells)), 0, cells)
	b := make([]byte, 0, cells+8)
	for i := range cells {
		switch {
		case i < full:
			b = append(b, '=')
		case i == full:
			b = append(b, '>')
		default:
			b = append(b, ' ')
		}
	}
	return "[" + string(b) + "] " + strconv.Itoa(clamp(int(100*done), 0, 100)) + "%"
}
