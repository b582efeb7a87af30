package verify

import (
	"context"
	"time"
)

const (
	// probeAfter is how long an output may be held before the verifier asks the broker where the inputs end.
	probeAfter = time.Second
	// probeFor is how long an answer is waited for to be read up to, before another one is asked for.
	probeFor = 5 * time.Second
)

// probe asks where the logs end, in order to decide about outputs that have been held for long.
type probe struct {
	asked time.Time
	ends  offsets
	found chan offsets // nil offsets = no answer
}

// runProbe begins a probe if an output has waited for long, and applies one whose answer has come.
func (v *Verifier) runProbe(ctx context.Context) {
	now := time.Now()
	switch {
	case v.probe == nil && now.Sub(v.tracker.oldestHeld()) > probeAfter:
		p := &probe{asked: now, found: make(chan offsets, 1)}
		v.probe = p
		go func() {
			ends, err := listOnce(ctx, v.topics, v.reader.admin.ListEndOffsets)
			if err != nil {
				ends = nil
			}
			p.found <- ends
		}()
		return
	case v.probe == nil:
		return
	case v.probe.ends == nil:
		select {
		case v.probe.ends = <-v.probe.found:
			if v.probe.ends == nil {
				v.probe = nil
				return
			}
		default:
			return
		}
	}
	// Outputs that came since the question may keep others waiting for good; the next answer is about them, too.
	if v.expire(v.probe.asked, v.probe.ends) || now.Sub(v.probe.asked) > probeFor {
		v.probe = nil
	}
}

// expire decides about outputs that were seen before the logs had the given ends, as far as these were read. It
// returns true when that is done.
func (v *Verifier) expire(asked time.Time, ends offsets) bool {
	for p, end := range ends[v.config.Input] {
		if !v.reader.reached(v.config.Input, p, end) {
			return false
		}
	}
	// Outputs of a depth wait for those of lesser ones. These are all judged if they were read and none is held.
	for depth := range v.tracker.depth + 1 {
		if depth > 0 && !v.judged(ends, depth) {
			return false
		}
		v.tracker.expire(asked, depth)
	}
	return true
}

// judged tells whether all outputs on streams below a depth were judged, up to the given ends.
func (v *Verifier) judged(ends offsets, depth int) bool {
	for stream, topic := range v.topics[1:] {
		if v.tracker.streams[stream].Depth >= depth {
			continue
		}
		for p, end := range ends[topic] {
			if !v.reader.reached(topic, p, end) || !v.tracker.judgedBelow(stream, p, end) {
				return false
			}
		}
	}
	return true
}
