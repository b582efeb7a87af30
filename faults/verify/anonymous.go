package verify

import (
	"math"
	"slices"
)

// maxLook bounds how far behind the oldest owing input the one is looked for that an output without provenance fits, unless a
// cache swallows outputs: then any number of inputs may lie between two of them.
const maxLook = 256

// anonymous matches outputs with inputs where neither carry a provenance.
type anonymous struct {
	on bool
	// prints holds the entries of free units that owe an output, oldest first.
	prints map[fingerprint][]entryAt
	// debts holds what is missing of inputs that have had all their effects. Among those with the same fingerprint it may
	// be the output of another one that is missing, and that may be still to come.
	debts map[fingerprint][]string
}

// fingerprint names what free entries owe on a stream.
type fingerprint struct {
	stream int
	of     int64
}

// entryAt is the place of an entry.
type entryAt struct {
	partition int32
	n         int64
}

// judgeAnonymous takes an output without provenance: it belongs to the oldest input that owes one like it. It returns
// false if there is none such yet, unless forced.
func (t *tracker) judgeAnonymous(o *outputRecord, forced bool) bool {
	if t.streams[o.stream].Pooled {
		return t.judgePooled(o, forced)
	}
	units := slices.DeleteFunc(t.model.Candidates(o.stream, o.key), func(unit int32) bool {
		return int(unit) >= len(t.home) || t.home[unit] < 0
	})
	b, n := t.fitting(units, o)
	switch {
	case b != nil && (forced || t.ready(b.at(n), o)):
		// Equal outputs of free units cannot be told apart, and so neither their order.
		return t.match(b, n, o, !b.at(n).Free, forced)
	case b == nil && t.repaid(o):
	case !forced:
		return false
	case t.atLeastOnce:
		t.report(KindDuplicate, o, "", "")
	case t.owing(units, o.stream):
		t.report(KindUnexpected, o, "", "it is not what any of the inputs owes whose output is still missing")
	case len(units) > 0:
		t.report(KindDuplicate, o, "", "all inputs that owe an output with this key have had theirs")
	default:
		t.report(KindUnexpected, o, "", "there is no input that owes such an output")
	}
	return true
}

// judgePooled takes an output that does not tell which unit it belongs to.
func (t *tracker) judgePooled(o *outputRecord, forced bool) bool {
	wrong, ready := t.model.CheckAnonymous(o.stream, o.key, o.value, forced)
	switch {
	case !ready:
	case wrong != "":
		t.report(KindWrongValue, o, "", wrong)
	case t.streams[o.stream].Latency:
		t.judge.latency.add(o.seen.Sub(o.created))
	}
	return ready
}

// fitting returns the oldest entry of some units that owes an output like the given one: the oldest of a unit if it is
// one, else one behind it, or one of a free unit. The backlog is nil if there is none.
func (t *tracker) fitting(units []int32, o *outputRecord) (*backlog, int64) {
	for _, unit := range units {
		if b, n := t.fittingOf(unit, o); b != nil {
			return b, n
		}
	}
	if !t.free {
		return nil, 0
	}
	return t.alike(o)
}

func (t *tracker) fittingOf(unit int32, o *outputRecord) (*backlog, int64) {
	if t.first[unit] < 0 {
		return nil, 0
	}
	b, look := t.backlogs[t.home[unit]], maxLook
	if t.streams[o.stream].Skips {
		look = math.MaxInt
	}
	for n := max(t.cursor[o.stream][unit], t.first[unit]); n >= 0 && look > 0; n = b.at(n).next {
		e := b.at(n)
		if !e.Due.Has(o.stream) {
			continue
		}
		if t.model.Matches(o.stream, &e.Effect, o.key, o.value) {
			return b, n
		}
		look--
	}
	return nil, 0
}

// owing tells whether inputs of some units owe an output on a stream.
func (t *tracker) owing(units []int32, stream int) bool {
	for _, unit := range units {
		b := t.backlogs[t.home[unit]]
		for n := t.first[unit]; n >= 0; n = b.at(n).next {
			if b.at(n).Due.Has(stream) {
				return true
			}
		}
	}
	return false
}

// print notes what an entry of a free unit owes.
func (t *tracker) print(e *entry, at entryAt) {
	if t.anonymous.prints == nil {
		t.anonymous.prints, t.anonymous.debts = make(map[fingerprint][]entryAt), make(map[fingerprint][]string)
	}
	for s := range t.streams {
		if e.Due.Has(s) {
			f := fingerprint{s, e.Facts[0]}
			t.anonymous.prints[f] = append(t.anonymous.prints[f], at)
		}
	}
}

// alike takes the oldest entry of free units that owes an output with the same fingerprint.
func (t *tracker) alike(o *outputRecord) (*backlog, int64) {
	f := fingerprint{o.stream, t.model.Fingerprint(o.stream, o.key, o.value)}
	for {
		at, ok := takeFirst(t.anonymous.prints, f)
		if !ok {
			return nil, 0
		}
		if b := t.backlogs[at.partition]; at.n >= b.head && b.at(at.n).Due.Has(o.stream) {
			return b, at.n
		}
	}
}

// owe notes that what a free entry owes on a stream should have been seen.
func (t *tracker) owe(e *entry, input string, stream int) {
	f := fingerprint{stream, e.Facts[0]}
	t.anonymous.debts[f] = append(t.anonymous.debts[f], input)
}

// repaid tells whether an output is one that should have been seen before.
func (t *tracker) repaid(o *outputRecord) bool {
	if len(t.anonymous.debts) == 0 {
		return false
	}
	_, ok := takeFirst(t.anonymous.debts, fingerprint{o.stream, t.model.Fingerprint(o.stream, o.key, o.value)})
	return ok
}

// takeFirst removes the first element of a list in a map.
func takeFirst[K comparable, V any](lists map[K][]V, key K) (first V, ok bool) {
	list := lists[key]
	if len(list) == 0 {
		return first, false
	}
	if lists[key] = list[1:]; len(list) == 1 {
		delete(lists, key)
	}
	return list[0], true
}
