package verify

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// coverEvery is the pause between two looks at what the group has committed.
const coverEvery = time.Second

// cover compares committed effects with the group's offsets while the application runs. The offsets are asked for after the marker was read that
// has committed the effect. Its transaction had sent its offsets before, so that they are either applied by then or undecided, and then
// the coordinator does not answer. So an input at or behind the offset is none that the transaction, or anyone before it, has taken.
type cover struct {
	next     time.Time
	found    chan offsets // nil = no look is under way
	furthest reached      // as of the question
	told     map[origin]int64
}

// runCover begins a look where one is due, and applies one that is through.
func (v *Verifier) runCover(ctx context.Context) {
	c, now := &v.cover, time.Now()
	switch {
	case v.config.Group == "" || v.config.AtLeastOnce:
	case c.found != nil:
		select {
		case committed := <-c.found:
			c.found = nil
			v.judgeCover(committed)
		default:
		}
	case len(v.latest) > 0 && !now.Before(c.next):
		c.next, c.found, c.furthest = now.Add(coverEvery), make(chan offsets, 1), v.latest.clone()
		go func() { c.found <- v.stableOffsets(ctx) }()
	}
}

// endCover looks a last time, where nothing more will come.
func (v *Verifier) endCover(ctx context.Context) {
	if v.config.Group == "" || v.config.AtLeastOnce || len(v.latest) == 0 {
		return
	}
	v.cover.furthest = v.latest
	v.judgeCover(v.stableOffsets(ctx))
}

// stableOffsets asks for what the group has committed. Partitions about which something is undecided are absent, and so are those
// without a commit. It runs beside the owner goroutine.
func (v *Verifier) stableOffsets(ctx context.Context) offsets {
	all, err := v.committed(kadm.RequireStable(ctx))
	if err != nil {
		return nil
	}
	return offsetsOf(all)
}

// judgeCover reports effects of inputs that the group had not committed after them, each offset once.
func (v *Verifier) judgeCover(committed offsets) {
	c := &v.cover
	for o, f := range c.furthest {
		at, ok := committed[v.config.Input][o.partition]
		if told, before := c.told[o]; !ok || before && told == at {
			continue
		}
		offset, ok := v.offsetOf(o, f.seq)
		if !ok || offset < at {
			continue
		}
		if c.told == nil {
			c.told = make(map[origin]int64)
		}
		c.told[o] = at
		low, _ := v.offsetOf(o, f.low)
		v.judge.uncover(f.witness(placeName(v.config.Input, o.partition, offset), low, at))
	}
}

// offsetOf returns where an input is; false if that is not known.
func (v *Verifier) offsetOf(o origin, seq int64) (int64, bool) {
	if int(o.partition) >= len(v.tracker.backlogs) {
		return 0, false
	}
	return v.tracker.backlogs[o.partition].offsetOf(o.run, seq)
}

// witness says that a transaction holds the effect of an input though the group has committed an offset at or before it. If it holds
// effects on both sides of that offset it is merged of more than one, else it has been committed without its offsets. Low is the offset
// of the first input of the transaction.
func (f *furthest) witness(input string, low, at int64) Witness {
	w := Witness{
		Kind: KindTorn, Input: input, Outputs: []string{placeName(f.topic, f.partition, f.offset)}, Transaction: writerOf(f.producerID, f.epoch), At: time.Now(),
		Detail: fmt.Sprintf("the output is committed, but of the input the group has committed offset %d only: it will be processed again", at),
	}
	if low < at {
		w.Kind = KindMerged
		w.Detail = fmt.Sprintf("the output is committed together with those of inputs from offset %d on, but the group has committed offset %d only: it will be processed again", low, at)
	}
	return w
}
