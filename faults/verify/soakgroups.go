package verify

import "fmt"

// aggregate is what the stores hold for one group.
type aggregate struct {
	count, sum, max int64
}

func (a *aggregate) apply(delta, peak int64) {
	a.count++
	a.sum += delta
	a.max = max(a.max, peak)
}

// soakGroup is one group of the soak program: what its stores must hold at last, and its streams as they come.
type soakGroup struct {
	name []byte
	aggregate
	replay aggregate // the changes in the order of the group-max stream
	counts filtered
	sums   filtered
	// ledgers follow count, sum and maximum where the order is not shown.
	ledgers [3]ledger
	maxima  int64 // outputs without provenance on the group-max stream
}

func (g *soakGroup) begin(number int) {
	g.name = fmt.Appendf(nil, "group-%02d", number)
	g.ledgers = [3]ledger{
		{what: "group count", every: soakEvery}, {what: "group sum", every: soakEvery}, {what: "group max", every: 1, most: true},
	}
}

// ledger returns the ledger of one of the group's streams.
func (g *soakGroup) ledger(stream int) *ledger { return &g.ledgers[stream-soakGroupCount] }

// note enters a change into the ledgers.
func (g *soakGroup) note(delta, peak int64) {
	for i, n := range [3]int64{1, delta, peak} {
		g.ledgers[i].apply(n)
	}
}

// follow takes the next change in the order of the group-max stream, which decides what else is owed for it.
func (g *soakGroup) follow(f *Facts) (due, settled Bits) {
	g.replay.apply(f[factDelta], f[factMax])
	f[factGroupCount], f[factGroupSum] = g.replay.count, g.replay.sum
	due = Bit(soakGroupCount) | Bit(soakGroupSum)
	if g.counts.lost || g.replay.count%soakEvery != 0 {
		settled |= Bit(soakGroupCount)
	}
	if g.sums.lost || g.replay.sum%soakEvery != 0 {
		settled |= Bit(soakGroupSum)
	}
	return due &^ settled, settled
}

// check judges a value of one of the group's streams.
func (g *soakGroup) check(stream int, f *Facts, got int64) Finding {
	switch stream {
	case soakGroupCount:
		return Finding{Wrong: g.counts.check("group count", got, f[factGroupCount])}
	case soakGroupSum:
		return Finding{Wrong: g.sums.check("group sum", got, f[factGroupSum])}
	}
	due, settled := g.follow(f)
	wrong := differs("group max", got, g.replay.max, 1)
	g.replay.max = got // what differs is reported once
	return Finding{Wrong: wrong, Due: due, Settled: settled}
}

// filtered is a stream of a group that only shows some of its values. Its values are known as long as the order of
// the group is. After a fault in it, or in the stream that shows the order, one cannot tell any more which values it
// must show: then they only have to rise and to pass the filter.
type filtered struct {
	lost bool // the order is not known any more
	last int64
}

// check judges the next value of the stream. A first value that differs is reported; the order is lost with it.
func (s *filtered) check(what string, got, want int64) string {
	var wrong string
	switch {
	case s.lost && got <= s.last:
		wrong = fmt.Sprintf("%s %d, want more than %d", what, got, s.last)
	case s.lost:
		wrong = differs(what, got, got, soakEvery)
	default:
		wrong = differs(what, got, want, soakEvery)
		s.lost = wrong != ""
	}
	s.last = max(s.last, got)
	return wrong
}

// late judges a value whose input was thought to owe none any more.
func (s *filtered) late(got int64) (repeated bool, wrong string) {
	switch {
	case got <= s.last:
		return true, ""
	case s.lost:
		s.last = got
		return false, differs("value", got, got, soakEvery)
	}
	s.lost, s.last = true, got
	return false, fmt.Sprintf("value %d, though its input owes none", got)
}

// drift compares a running number with what it must be and bears with a shift that was reported once.
type drift struct {
	accepted, candidate int64
}

// judge takes the difference of the next number. It returns true if that is no news.
func (d *drift) judge(diff int64) bool {
	if diff != d.accepted && diff != d.candidate {
		d.candidate = diff
		return false
	}
	d.accepted, d.candidate = diff, diff
	return true
}
