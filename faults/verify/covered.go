package verify

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// judgeCover reports effects of inputs that the group had not committed after them, each offset once. The offsets were asked for after the
// marker was read that has committed the effect. Its transaction had sent its offsets before, so that they were either applied by then or
// undecided, and then the coordinator does not answer. So an input at or behind the offset is none that the transaction, or anyone before
// it, has taken. Whoever is given a partition goes on from what is committed. So if the offset has gone back, that is not the fault of that
// transaction, but somebody had read the older one before the newer one was committed, and has committed as an owner of the past.
func (v *Verifier) judgeCover(furthest reached, committed offsets) {
	for o, f := range furthest {
		at, ok := committed[v.config.Input][o.partition]
		if told, before := v.looks.told[o]; !ok || before && told == at {
			continue
		}
		offset, ok := v.offsetOf(o, f.seq)
		if !ok || offset < at {
			continue
		}
		if v.looks.told == nil {
			v.looks.told = make(map[origin]int64)
		}
		v.looks.told[o] = at
		input := placeName(v.config.Input, o.partition, offset)
		if before := v.looks.highest[o.partition]; before > at {
			v.judge.add(Witness{
				Kind: KindZombieWrite, Input: input, Outputs: []string{placeName(f.topic, f.partition, f.offset)}, At: time.Now(),
				Detail: fmt.Sprintf("the group has committed offset %d after %d: somebody has committed who was given the partition before the latter, and was not its owner all along", at, before),
			})
			continue
		}
		low, _ := v.offsetOf(o, f.low)
		v.judge.uncover(f.witness(input, low, at))
	}
	for p, at := range committed[v.config.Input] {
		if v.looks.highest == nil {
			v.looks.highest = make(map[int32]int64)
		}
		v.looks.highest[p] = max(v.looks.highest[p], at)
	}
}

// endCover compares the effects with the offsets a last time, where nothing more will come.
func (v *Verifier) endCover(ctx context.Context) {
	if v.config.Group == "" || v.config.AtLeastOnce {
		return
	}
	if all, err := v.committed(kadm.RequireStable(ctx)); err == nil {
		v.judgeCover(v.latest, offsetsOf(all))
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
