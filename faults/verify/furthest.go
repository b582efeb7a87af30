package verify

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// origin names the inputs of a run in a partition.
type origin struct {
	run       uint64
	partition int32
}

// furthest is what was made of the latest input of an origin.
type furthest struct {
	seq    int64
	output string
	writer string
}

// reach notes which inputs had an effect.
func (s *reading) reach(rec *logRecord, p Provenance) {
	o := origin{p.Run, p.Partition}
	if f, ok := s.furthest[o]; ok && f.seq >= p.Sequence {
		return
	}
	s.furthest[o] = furthest{p.Sequence, placeName(rec.Topic, rec.Partition, rec.Offset), writerName(rec.Record)}
}

// judgeFurthest reports effects of inputs that the group has not committed, though they are committed themselves: a transaction
// without its offsets. Where tells the place of an input.
func (s *reading) judgeFurthest(ctx context.Context, where func(o origin, seq int64) (topic string, partition int32, offset int64, ok bool)) error {
	asked := false
	for _, o := range slices.SortedFunc(maps.Keys(s.furthest), func(x, y origin) int { return int(x.partition) - int(y.partition) }) {
		f := s.furthest[o]
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
			s.judge.add(Witness{
				Kind: KindTorn, Input: placeName(topic, partition, offset), Outputs: []string{f.output}, Transaction: f.writer, At: time.Now(),
				Detail: fmt.Sprintf("the output is committed, but of the input the group has committed offset %d only: it will be processed again", at),
			})
		}
	}
	return nil
}
