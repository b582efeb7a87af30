package verify

import (
	"fmt"
	"time"
)

// lingering tells whether something else than outputs has to say that inputs have had all their effects, see close: no output
// shows that others will not come, or the last inputs bring none about.
func (t *tracker) lingering() bool {
	for _, b := range t.backlogs {
		if b.len() == 0 && b.passed < b.next {
			return true
		}
	}
	if t.free || t.atLeastOnce || t.anonymous.on {
		return t.pending()
	}
	for i := range t.streams {
		if t.streams[i].Skips {
			return t.pending()
		}
	}
	return false
}

// pending tells whether there are inputs that are not settled.
func (t *tracker) pending() bool {
	for _, b := range t.backlogs {
		if b.len() > 0 {
			return true
		}
	}
	return false
}

// close decides what inputs below some offsets still owe, one for each input partition: all that they bring about was
// seen and judged.
func (t *tracker) close(below []int64, at time.Time) {
	if t.blind {
		return
	}
	for p, b := range t.backlogs {
		for n := b.head; n < b.tail && b.at(n).offset < below[p]; n = max(n+1, b.head) {
			for s := range t.streams {
				if n >= b.head && b.at(n).Due.Has(s) { // deciding the last one forgets the entry
					t.closeOne(b, n, s, below[p], at)
				}
			}
			if n >= b.head && b.at(n).Open != 0 {
				// The output that would have decided is missing.
				b.at(n).Open = 0
				t.settle(b, n)
			}
		}
		b.passed = max(b.passed, below[p])
	}
}

// closeOne decides what an entry owes on a stream, where no output of it will come, nor of any input below an offset.
func (t *tracker) closeOne(b *backlog, n int64, stream int, below int64, at time.Time) {
	e := b.at(n)
	switch {
	case t.anonymous.on && e.Free:
		t.owe(e, t.inputName(b.partition, e.offset), stream)
	case !t.mayStand(b, e, stream, below):
		t.lose(b, n, stream, nil, at)
		return
	default:
		e.Open &^= t.model.Stands(stream, &e.Effect)
		if short := t.model.Short(stream, &e.Effect); short != "" {
			t.blame(b, e, stream, nil, short, at)
		}
	}
	e.Due &^= Bit(stream)
	t.settle(b, n)
}

// mayStand tells whether something else may stand for what an entry owes on a stream: a later output that was seen, or one
// that was held back by a filter, or one that is owed itself.
func (t *tracker) mayStand(b *backlog, e *entry, stream int, below int64) bool {
	s := &t.streams[stream]
	switch {
	case s.Shared, t.anonymous.on && s.Pooled:
		return true
	case !s.Skips:
		return false
	case t.anonymous.on && t.model.Covered(stream, &e.Effect):
		return true
	case s.Always:
		return e.next >= 0 && b.at(e.next).offset < below
	default:
		// Without provenance a later input may have had its effect before it was read; see Model.Finals.
		return e.next >= 0 || t.anonymous.on
	}
}

// end declares lost what is still owed by inputs below the given offsets, one for each input partition.
func (t *tracker) end(ends []int64, at time.Time) {
	if t.blind {
		return
	}
	t.close(ends, at)
	for f, inputs := range t.anonymous.debts {
		for _, input := range inputs {
			detail := fmt.Sprintf("no output on %s, though everything was read that could hold it", t.topics[f.stream])
			t.judge.add(Witness{Kind: KindLost, Input: input, Detail: detail, At: at})
		}
	}
	for _, m := range t.model.Finals() {
		if !t.lax || t.streams[m.Stream].Always {
			t.judge.add(Witness{Kind: KindLost, Detail: fmt.Sprintf("%s: %s", t.topics[m.Stream], m.Detail), At: at})
		}
	}
	for _, b := range t.backlogs {
		for n := b.head; n < b.tail; n = max(n+1, b.head) {
			b.at(n).Open = 0
			t.settle(b, n)
		}
	}
}
