package verify

import (
	"slices"
	"time"
)

// maxQueue is the number of held records from which on an output partition should not be read any further.
const maxQueue = 8192

// queue holds the outputs of one output partition from the first one on that could not be judged yet. Those behind it
// wait as well, for some models depend on the order within a partition.
type queue struct {
	items []outputRecord
}

// output takes the next committed record of an output partition.
func (t *tracker) output(o *outputRecord) {
	t.judge.out++
	q := t.queues[o.stream][o.partition]
	if (q == nil || len(q.items) == 0) && t.judgeOutput(o) {
		return
	}
	if q == nil {
		q = &queue{}
		t.queues[o.stream][o.partition] = q
	}
	held := *o
	held.key, held.value = slices.Clone(o.key), slices.Clone(o.value)
	q.items = append(q.items, held)
	t.held++
}

// release judges the held outputs that need not wait any longer.
func (t *tracker) release() {
	// One partition's outputs can wait for those of another one.
	for progress := true; progress && t.held > 0; {
		progress = false
		for _, partitions := range t.queues {
			for _, q := range partitions {
				n := 0
				for n < len(q.items) && t.judgeOutput(&q.items[n]) {
					n++
				}
				if n > 0 {
					t.drop(q, n)
					progress = true
				}
			}
		}
	}
}

func (t *tracker) drop(q *queue, n int) {
	q.items = slices.Delete(q.items, 0, n)
	if len(q.items) == 0 {
		q.items = nil
	}
	t.held -= n
}

// waitsForOrder tells what a held output waits for: true for other outputs, false for its input.
func (t *tracker) waitsForOrder(o *outputRecord) bool {
	if !o.hasHeader {
		return false
	}
	b := t.backlogs[o.provenance.Partition]
	n, where := b.find(o.provenance.Run, o.provenance.Sequence)
	return where == placeKnown && b.at(n).open.Has(o.stream)
}

// judgedBelow tells whether no output below an offset is held, except behind one that waits for the order that others
// show: nothing waits for the streams of those.
func (t *tracker) judgedBelow(stream int, partition int32, end int64) bool {
	q := t.queues[stream][partition]
	return q == nil || len(q.items) == 0 || q.items[0].offset >= end || t.waitsForOrder(&q.items[0])
}

// full tells whether an output partition should not be read any further for now.
func (t *tracker) full(stream int, partition int32) bool {
	q := t.queues[stream][partition]
	return q != nil && len(q.items) >= maxQueue
}

// oldestHeld returns when the output was seen that waits longest at the head of its queue; zero if none waits.
func (t *tracker) oldestHeld() time.Time {
	var oldest time.Time
	for _, partitions := range t.queues {
		for _, q := range partitions {
			if len(q.items) > 0 && (oldest.IsZero() || q.items[0].seen.Before(oldest)) {
				oldest = q.items[0].seen
			}
		}
	}
	return oldest
}

// expire decides held outputs that were seen before a point in time, knowing that all inputs written until then have
// been taken since. If order is true, the same holds for all outputs that others wait for.
func (t *tracker) expire(before time.Time, order bool) {
	for again := true; again && t.held > 0; {
		again = false
		for _, partitions := range t.queues {
			for _, q := range partitions {
				if len(q.items) > 0 && q.items[0].seen.Before(before) && t.expireOne(&q.items[0], order) {
					t.drop(q, 1)
					again = true
				}
			}
		}
		t.release()
	}
}

// expireOne decides a held output; it returns false if that is not possible.
func (t *tracker) expireOne(o *outputRecord, order bool) bool {
	if t.waitsForOrder(o) {
		if !order {
			return false
		}
		// The output that would have decided is missing, which is reported as lost where it is owed.
		b := t.backlogs[o.provenance.Partition]
		n, _ := b.find(o.provenance.Run, o.provenance.Sequence)
		e := b.at(n)
		e.open &^= Bit(o.stream)
		e.seen |= Bit(o.stream)
		t.settle(b, n)
		return true
	}
	if t.judgeOutput(o) {
		return true
	}
	detail := "there is no such input"
	if !o.hasHeader {
		detail = "it carries no provenance, as all inputs do"
	}
	t.report(KindUnexpected, o, "", detail)
	return true
}

// relax ends the judgement of values and of streams that depend on them.
func (t *tracker) relax() {
	if t.lax {
		return
	}
	t.lax = true
	t.mask(t.always)
}

// blindfold ends the judgement of outputs.
func (t *tracker) blindfold() {
	t.mask(0)
	t.blind = true
	t.release()
}

// mask drops what entries owe on all other streams.
func (t *tracker) mask(keep Bits) {
	for _, b := range t.backlogs {
		for n := b.head; n < b.tail; n = max(n+1, b.head) {
			e := b.at(n)
			if e.due|e.open == 0 {
				continue
			}
			e.due, e.open = e.due&keep, 0
			t.settle(b, n)
		}
	}
}

// end declares lost what is still owed by inputs below the given offsets, one for each input partition.
func (t *tracker) end(ends []int64, at time.Time) {
	for p, b := range t.backlogs {
		for n := b.head; n < b.tail; n = max(n+1, b.head) {
			if e := b.at(n); e.offset >= ends[p] {
				break
			}
			for s := range t.streams {
				if n >= b.head && b.at(n).due.Has(s) { // losing the last one forgets the entry
					t.lose(b, n, int32(p), s, nil, at)
				}
			}
		}
	}
	t.relaxOpen()
}

// relaxOpen drops what could not be decided because the deciding output is missing.
func (t *tracker) relaxOpen() {
	for _, b := range t.backlogs {
		for n := b.head; n < b.tail; n = max(n+1, b.head) {
			if e := b.at(n); e.open != 0 {
				e.open = 0
				t.settle(b, n)
			}
		}
	}
}

// passed returns for each input partition the offset below which the effect of every input was seen.
func (t *tracker) passed() []int64 {
	offsets := make([]int64, len(t.backlogs))
	for p, b := range t.backlogs {
		offsets[p] = b.passed
	}
	return offsets
}
