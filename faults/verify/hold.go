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
	if (o.stale || o.foreign || o.tail != nil) && !t.atLeastOnce && !t.unjudged(o) {
		switch {
		case o.stale:
			t.zombie(o)
		case o.foreign:
			t.foreign(o)
		default:
			t.join(o)
		}
	}
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

// judgedBelow tells whether no output below an offset is held.
func (t *tracker) judgedBelow(stream int, partition int32, end int64) bool {
	q := t.queues[stream][partition]
	return q == nil || len(q.items) == 0 || q.items[0].offset >= end
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
// been taken since; and the same of all outputs on streams of a lesser depth than the given one.
func (t *tracker) expire(before time.Time, depth int) {
	for again := true; again && t.held > 0; {
		again = false
		for stream, partitions := range t.queues {
			if t.streams[stream].Depth > depth {
				continue
			}
			for _, q := range partitions {
				if len(q.items) > 0 && q.items[0].seen.Before(before) {
					t.expireOne(&q.items[0])
					t.drop(q, 1)
					again = true
				}
			}
		}
		t.release()
	}
}

// expireAll decides all held outputs: nothing more will be seen.
func (t *tracker) expireAll(now time.Time) {
	t.release()
	for depth := range t.depth + 1 {
		t.expire(now.Add(time.Hour), depth)
	}
}

// expireOne decides a held output that has waited in vain.
func (t *tracker) expireOne(o *outputRecord) {
	switch {
	case t.judgeOutput(o):
		return
	case !o.hasHeader && t.anonymous.on:
		t.judgeAnonymous(o, true)
		return
	case !o.hasHeader:
		t.report(KindUnexpected, o, "", "it carries no provenance, as all inputs do")
		return
	}
	b := t.backlogs[o.provenance.Partition]
	first, where := b.find(o.provenance.Run, o.provenance.Sequence)
	if where != placeKnown {
		t.report(KindUnexpected, o, "", "there is no such input")
		return
	}
	n, _ := t.effectOf(b, first, o)
	e := b.at(n)
	if !e.Open.Has(o.stream) {
		t.match(b, n, o, true, true) // it says more than there is
		return
	}
	// The output that would have decided is missing, which is reported as lost where it is owed.
	if t.streams[o.stream].Skips {
		t.model.Missed(o.stream, &e.Effect)
		t.blame(b, e, o.stream, o, "the output before, of which this one is made, is missing", o.seen)
	}
	e.Open &^= Bit(o.stream)
	e.seen |= Bit(o.stream)
	t.settle(b, n)
}
