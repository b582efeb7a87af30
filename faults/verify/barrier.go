package verify

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

const (
	// barrierEvery is the pause between two barriers where outputs alone do not tell which inputs are done with.
	barrierEvery = 500 * time.Millisecond
	// barrierPoll is how often a barrier asks what the group has committed.
	barrierPoll = 250 * time.Millisecond
)

// barrier asks when inputs that were read have had all their effects. It follows them through the program as any client
// can: the group has committed them; it has committed what was in the first repartition topic then, and so on; and the
// outputs have been read to where they ended then.
type barrier struct {
	marks []int64      // by input partition: all inputs below
	ends  offsets      // of the outputs
	found chan offsets // nil offsets = it could not be followed
}

// runBarrier begins a barrier where one is due, and applies one that is through.
func (v *Verifier) runBarrier(ctx context.Context) {
	now := time.Now()
	switch {
	case v.config.Group == "":
		return
	case v.barrier == nil:
		if now.Before(v.nextBarrier) || !v.tracker.lingering() {
			return
		}
		b := &barrier{found: make(chan offsets, 1)}
		for _, p := range v.reader.partitions[v.config.Input] {
			b.marks = append(b.marks, p.next)
		}
		v.barrier = b
		go func() { b.found <- v.follow(ctx, slices.Clone(b.marks)) }()
		return
	case v.barrier.ends == nil:
		select {
		case v.barrier.ends = <-v.barrier.found:
			if v.barrier.ends == nil {
				v.barrier, v.nextBarrier = nil, now.Add(barrierEvery)
				return
			}
		default:
			return
		}
	}
	if v.judged(v.barrier.ends, v.tracker.depth+1) {
		v.tracker.close(v.barrier.marks, now)
		v.barrier, v.nextBarrier = nil, now.Add(barrierEvery)
	}
}

// follow waits until all inputs below the marks have had all their effects, and returns where the outputs ended then; nil
// if that cannot be found out. It runs beside the owner goroutine.
func (v *Verifier) follow(ctx context.Context, marks []int64) offsets {
	topic, want := v.config.Input, make(map[int32]int64)
	for p, mark := range marks {
		want[int32(p)] = mark
	}
	for hop := 0; ; hop++ {
		if v.awaitCommitted(ctx, topic, want) != nil {
			return nil
		}
		if hop == len(v.config.Hops) {
			break
		}
		topic = v.config.Hops[hop]
		ends, err := listOnce(ctx, []string{topic}, v.reader.admin.ListEndOffsets)
		if err != nil {
			return nil
		}
		want = ends[topic]
	}
	ends, err := listOnce(ctx, v.topics[1:], v.reader.admin.ListEndOffsets)
	if err != nil {
		return nil
	}
	return ends
}

// awaitCommitted waits until the group has committed the given offsets of a topic, by partition. Partitions that are empty
// up to there count as committed.
func (v *Verifier) awaitCommitted(ctx context.Context, topic string, want map[int32]int64) error {
	starts, err := listOnce(ctx, []string{topic}, v.reader.admin.ListStartOffsets)
	if err != nil {
		return err
	}
	var open []int32
	for p, offset := range want {
		if offset > starts[topic][p] {
			open = append(open, p)
		}
	}
	retry := time.NewTimer(0)
	defer retry.Stop()
	for len(open) > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-retry.C:
		}
		retry.Reset(barrierPoll)
		committed, err := v.committed(ctx)
		if err != nil {
			continue // brokers that are away come back
		}
		open = slices.DeleteFunc(open, func(p int32) bool {
			at, ok := committed.Lookup(topic, p)
			return ok && at.At >= want[p]
		})
	}
	return nil
}

// committed asks for what the group has committed. Offsets in transactions that are not decided yet do not count, and are
// not waited for.
func (v *Verifier) committed(ctx context.Context) (kadm.OffsetResponses, error) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	committed, err := v.reader.admin.FetchOffsets(ctx, v.config.Group)
	if err != nil {
		return nil, fmt.Errorf("fetch committed offsets: %w", err)
	}
	return committed, nil
}
