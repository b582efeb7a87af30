package ui

import (
	"strconv"
	"strings"
	"time"

	"eostop/faults/soak"
	"eostop/faults/verify"
)

// item is a piece of a header or footer line. Where a line is too short, items with the highest drop go first.
type item struct {
	drop  int
	right bool // at the right end
	parts []part
}

type part struct {
	text string
	st   sgr
}

func (it *item) width() int {
	n := 0
	for i := range it.parts {
		n += width(it.parts[i].text)
	}
	return n
}

// itemGap is the distance between items on a line of some width.
func itemGap(width int) int {
	if width < 160 {
		return 2
	}
	return 3
}

// drawItems writes one line of items, those that have room.
func drawItems(c *sheet, items []item) {
	kept := make([]bool, len(items))
	between := itemGap(c.width)
	total := 1 - between
	for i := range items {
		kept[i] = len(items[i].parts) > 0
		if kept[i] {
			total += items[i].width() + between
		}
	}
	for total > c.width {
		last := -1
		for i := range items {
			if kept[i] && items[i].drop > 0 && (last < 0 || items[i].drop >= items[last].drop) {
				last = i
			}
		}
		if last < 0 {
			break
		}
		kept[last] = false
		total -= items[last].width() + between
	}
	slack := max(0, c.width-total)
	sep := 1
	for i := range items {
		if !kept[i] {
			continue
		}
		if items[i].right {
			c.gap(slack)
			slack = 0
		}
		c.gap(sep)
		sep = between
		for _, p := range items[i].parts {
			c.text(p.text, p.st)
		}
	}
	c.end()
}

// labelled is a faint label with a value.
func (v *view) labelled(drop int, label, value string, st sgr) item {
	return item{drop: drop, parts: []part{{label + " ", v.styles.dim}, {value, st}}}
}

// header draws the first lines of the screen: one on small terminals, two or three on others.
func (v *view) header(c *sheet, height int) {
	switch height {
	case 1:
		drawItems(c, []item{v.badge(0), v.verdictCounts(0), v.threadsItem(1, true), v.rateItem(2), v.phaseItem(3)})
	case 2:
		drawItems(c, append(append([]item{v.badge(0), v.verdictCounts(1), v.threadsItem(2, true)}, v.identity(4)...), v.phaseItem(3)))
		drawItems(c, append(append(v.flow(), v.outcomes()...), v.concern(), v.wallClock()))
	default:
		drawItems(c, append(append([]item{v.badge(0), v.verdictCounts(1)}, v.identity(3)...), v.phaseItem(1)))
		drawItems(c, append(v.flow(), v.wallClock()))
		drawItems(c, append(append([]item{v.threadsItem(0, false)}, v.outcomes()...), v.concern()))
	}
}

// badge is the verdict as glyph, word and colour.
func (v *view) badge(drop int) item {
	text, st := v.glyphs.unknown+" NOT VERIFIED", v.styles.warnBadge
	switch v.snap.Verify.Verdict {
	case verify.Clean:
		text, st = v.glyphs.good+" CLEAN", v.styles.okBadge
	case verify.Violation:
		text, st = v.glyphs.bad+" VIOLATION", v.styles.badBadge
	case verify.Unknown:
		text = v.glyphs.unknown + " UNKNOWN"
	}
	return item{drop: drop, parts: []part{{" " + text + " ", st}}}
}

// verdictCounts is what the verifier counted; nothing where nobody verifies.
func (v *view) verdictCounts(drop int) item {
	s := &v.snap.Verify
	if s.Verdict == "" {
		return item{}
	}
	alert := func(n int64) sgr {
		if n > 0 {
			return v.styles.bad
		}
		return v.styles.ok
	}
	label := "duplicated "
	if v.width < 60 {
		label = "dup "
	}
	parts := []part{
		{label, v.styles.dim},
		{count(s.Duplicated), alert(s.Duplicated)},
		{"  lost ", v.styles.dim},
		{count(s.Lost), alert(s.Lost)},
	}
	for _, more := range []struct {
		label string
		n     int64
	}{{"  out of order ", s.OutOfOrder}, {"  wrong ", s.Wrong}, {"  state mismatch ", s.DigestMismatch}} {
		if more.n > 0 {
			parts = append(parts, part{more.label, v.styles.dim}, part{count(more.n), v.styles.bad})
		}
	}
	return item{drop: drop, parts: parts}
}

func (v *view) threadsItem(drop int, brief bool) item {
	s := v.snap
	st := v.styles.ok
	if s.ThreadsAlive < s.ThreadsTotal || s.ThreadsDied > 0 {
		st = v.styles.bad
	} else if s.ThreadsRunning < s.ThreadsTotal {
		st = v.styles.warn
	}
	text := strconv.Itoa(s.ThreadsAlive) + "/" + strconv.Itoa(s.ThreadsTotal)
	if !brief {
		text += " alive"
		if s.ThreadsRunning < s.ThreadsAlive {
			text += ", " + strconv.Itoa(s.ThreadsRunning) + " running"
		}
		if s.ThreadsDied > 0 {
			text += ", " + strconv.Itoa(s.ThreadsDied) + " died"
		}
		if s.ThreadsReplaced > 0 {
			text += ", " + strconv.Itoa(s.ThreadsReplaced) + " replaced"
		}
	}
	if v.width < 60 {
		return item{drop: drop, parts: []part{{text, st}}}
	}
	return v.labelled(drop, "threads", text, st)
}

func (v *view) rateItem(drop int) item {
	return item{drop: drop, parts: []part{{short(v.snap.ProcessedRate) + "/s", v.styles.bold}}}
}

// phaseItem is what the session does, and for how long.
func (v *view) phaseItem(drop int) item {
	s := v.snap
	st := v.styles.bold
	if s.Phase != soak.PhaseRunning {
		st = v.styles.warn
	}
	elapsed, planned := clock(s.Elapsed), clock(s.Duration)
	if v.narrow() && max(s.Elapsed, s.Duration) < time.Hour {
		elapsed, planned = strings.TrimPrefix(elapsed, "00:"), strings.TrimPrefix(planned, "00:")
	}
	parts := []part{{strings.ToUpper(s.Phase), st}, {" " + elapsed, sgr{}}}
	if s.Duration > 0 {
		parts = append(parts, part{" of " + planned, v.styles.dim})
	}
	return item{drop: drop, right: true, parts: parts}
}

// identity is what runs against what.
func (v *view) identity(drop int) []item {
	s := v.snap
	broker := s.BrokerKind
	if broker == "embedded" {
		broker = "embedded broker"
	}
	return []item{
		{drop: drop + 2, parts: []part{{s.ApplicationID, v.styles.bold}}},
		{drop: drop, parts: []part{{s.Guarantee, sgr{}}}},
		v.labelled(drop+1, "profile", s.Profile, sgr{}),
		v.labelled(drop+3, "on", strings.TrimSpace(broker+" "+s.BrokerVersion), sgr{}),
		v.labelled(drop+4, "topology", s.Topology, sgr{}),
		v.labelled(drop+5, "seed", strconv.FormatInt(s.Seed, 10), sgr{}),
	}
}

// flow is how many records came in, went through and came out.
func (v *view) flow() []item {
	s := v.snap
	if v.narrow() {
		items := []item{
			v.labelled(6, "in", short(float64(s.In)), sgr{}),
			v.labelled(0, "processed", short(float64(s.Processed)), sgr{}),
			{drop: 1, parts: []part{{short(s.ProcessedRate) + "/s", v.styles.bold}}},
			v.labelled(0, "lag", short(float64(s.Lag)), sgr{}),
		}
		if p99 := s.Verify.Latency.P99; p99 > 0 {
			items = append(items, v.labelled(5, "p99", span(p99), sgr{}))
		}
		return items
	}
	pair := func(drop int, label string, n int64, rate float64) item {
		return item{drop: drop, parts: []part{{label + " ", v.styles.dim}, {count(n), sgr{}}, {"  ", sgr{}}, {perSecond(rate), v.styles.bold}}}
	}
	items := []item{
		pair(0, "in", s.In, s.InRate),
		pair(0, "processed", s.Processed, s.ProcessedRate),
	}
	if s.Verify.Verdict != "" { // Only the verifier sees the output.
		items = append(items, pair(2, "out", s.Verify.Out, v.hist.out.rate))
	}
	items = append(items, v.labelled(0, "lag", count(s.Lag), sgr{}))
	if l := s.Verify.Latency; l.Max > 0 {
		items = append(items, item{drop: 1, parts: []part{
			{"latency p50 ", v.styles.dim}, {span(l.P50), sgr{}}, {"  p99 ", v.styles.dim}, {span(l.P99), sgr{}},
		}})
	}
	return items
}

func (v *view) wallClock() item {
	return item{drop: 7, right: true, parts: []part{{v.snap.At.Format(time.TimeOnly), v.styles.dim}}}
}

func (v *view) narrow() bool { return v.width < 100 }

// outcomes counts how transactions ended.
func (v *view) outcomes() []item {
	t := v.snap.Transactions
	committed := count(t.Committed)
	if v.narrow() {
		committed = short(float64(t.Committed))
	}
	items := []item{v.labelled(4, "committed", committed, sgr{})}
	for _, more := range []struct {
		drop  int
		label string
		n     uint64
	}{{2, "aborted", t.Aborted}, {2, "fenced", t.Fenced}, {3, "unknown", t.UnknownOutcome}} {
		text, st := v.unless(int64(more.n), 9, v.styles.warn)
		items = append(items, v.labelled(more.drop, more.label, text, st))
	}
	return items
}

// concern is what there is to say beyond numbers: why the verdict is not clean, what is waited for, what comes next.
func (v *view) concern() item {
	s := v.snap
	switch {
	case len(s.Verify.Reasons) > 0 && s.Verify.Verdict == verify.Violation:
		return item{drop: 1, right: true, parts: []part{{s.Verify.Reasons[0], v.styles.bad}}}
	case s.Waiting != "":
		return item{drop: 1, right: true, parts: []part{{"waiting: ", v.styles.dim}, {s.Waiting, v.styles.warn}}}
	case s.NextCut != nil:
		return item{drop: 5, right: true, parts: []part{{"next cut ", v.styles.dim}, {nextCut(s), sgr{}}}}
	}
	return item{}
}
