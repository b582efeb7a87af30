package verify

import (
	"context"
	"maps"
	"slices"
)

// origin names the inputs of a run in a partition.
type origin struct {
	run       uint64
	partition int32
}

// reached says which inputs had a committed effect.
type reached map[origin]*furthest

// furthest is what was made of the latest input of an origin.
type furthest struct {
	seq, low   int64 // of the input, and of the first one of its transaction in the partition
	logPlace         // of the effect
	producerID int64
	epoch      int16
	begin      int64 // of the transaction
}

// note notes which inputs had an effect.
func (r reached) note(rec *logRecord, p Provenance) {
	o := origin{p.Run, p.Partition}
	f := r[o]
	switch {
	case f == nil:
		f = &furthest{}
		r[o] = f
	case f.seq >= p.Sequence:
		return
	}
	same := rec.begin >= 0 && f.begin == rec.begin && f.producerID == rec.ProducerID && f.partition == rec.Partition && f.topic == rec.Topic
	if f.seq = p.Sequence; !same {
		f.topic, f.partition, f.begin, f.low = rec.Topic, rec.Partition, rec.begin, p.Sequence
	}
	f.producerID, f.epoch, f.offset = rec.ProducerID, rec.ProducerEpoch, rec.Offset
}

// clone returns a copy that does not change.
func (r reached) clone() reached {
	c := make(reached, len(r))
	for o, f := range r {
		now := *f
		c[o] = &now
	}
	return c
}

// judgeFurthest reports effects of inputs that the group has not committed, though they are committed themselves: a transaction
// without its offsets. Where tells the place of an input.
func (s *reading) judgeFurthest(ctx context.Context, where func(o origin, seq int64) (topic string, partition int32, offset int64, ok bool)) error {
	asked := false
	for _, o := range slices.SortedFunc(maps.Keys(s.latest), func(x, y origin) int { return int(x.partition) - int(y.partition) }) {
		f := s.latest[o]
		topic, partition, offset, ok := where(o, f.seq)
		if !ok || s.scene.committed[topic] == nil || offset < s.mark(topic, partition) {
			continue
		}
		if !asked { // the application may have gone on
			asked = true
			var err error
			if s.scene.committed, err = s.committedOffsets(ctx); err != nil {
				return err
			}
		}
		if at := s.mark(topic, partition); offset >= at {
			_, _, low, _ := where(o, f.low)
			s.judge.uncover(f.witness(placeName(topic, partition, offset), low, at))
		}
	}
	return nil
}
