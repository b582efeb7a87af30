package verify

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

const (
	// watchEvery is the pause between two looks for transactions that hang.
	watchEvery = 2 * time.Second
	// scanEvery is how often a coordinator looks for transactions whose time is over.
	scanEvery = 10 * time.Second
	// defaultTransactionTimeout is that of a producer which says nothing.
	defaultTransactionTimeout = time.Minute
)

// watch looks for transactions that hang: nobody ends them, so that nobody reads what is behind them.
type watch struct {
	next  time.Time
	found chan []stuck // nil = no look is under way
	since map[logPlace]time.Time
}

// logPlace is a place in a log.
type logPlace struct {
	topic     string
	partition int32
	offset    int64
}

// stuck is the first offset of an open transaction.
type stuck struct {
	logPlace
	producers map[int64]int64 // first offset of an open transaction to its producer id; of this partition
}

// runWatch begins a look where one is due, and applies one that is through.
func (v *Verifier) runWatch(ctx context.Context) {
	w, now := &v.watch, time.Now()
	if w.found == nil {
		if now.Before(w.next) {
			return
		}
		w.next, w.found = now.Add(watchEvery), make(chan []stuck, 1)
		topics := v.watched()
		go func() { w.found <- v.findStuck(ctx, topics) }()
		return
	}
	select {
	case found := <-w.found:
		w.found = nil
		if found != nil {
			v.judgeStuck(found, now)
		}
	default:
	}
}

// lookAgain looks at last whether what was seen to hang still does: it may have been ended by hand since.
func (v *Verifier) lookAgain(ctx context.Context) {
	if len(v.judge.hanging) == 0 {
		return
	}
	if found := v.findStuck(ctx, v.watched()); found != nil {
		v.judgeStuck(found, time.Now())
	}
}

// watched are the topics in which a transaction may hang.
func (v *Verifier) watched() []string {
	return slices.Concat(v.topics, v.config.Hops, slices.Sorted(maps.Values(v.config.Changelogs)))
}

// findStuck lists the partitions whose last stable offset is not their end; nil if the broker does not answer. It runs beside the
// owner goroutine.
func (v *Verifier) findStuck(ctx context.Context, topics []string) []stuck {
	stable, err := listOnce(ctx, topics, v.reader.admin.ListCommittedOffsets)
	if err != nil {
		return nil
	}
	ends, err := listOnce(ctx, topics, v.reader.admin.ListEndOffsets)
	if err != nil {
		return nil
	}
	all := []stuck{}
	ask := make(kadm.TopicsSet)
	for topic, partitions := range stable {
		for p, at := range partitions {
			if at < ends[topic][p] {
				all = append(all, stuck{logPlace: logPlace{topic, p, at}})
				ask.Add(topic, p)
			}
		}
	}
	if len(all) == 0 {
		return all
	}
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	described, err := v.reader.admin.DescribeProducers(ctx, ask)
	if err != nil {
		return all // who it is may stay unknown
	}
	for i := range all {
		s := &all[i]
		s.producers = make(map[int64]int64)
		for _, p := range described[s.topic].Partitions[s.partition].ActiveProducers {
			s.producers[p.CurrentTxnStartOffset] = p.ProducerID
		}
	}
	return all
}

// judgeStuck tells since when each transaction has been open, and which of them hang.
func (v *Verifier) judgeStuck(found []stuck, now time.Time) {
	limit := v.config.TransactionTimeout
	if limit <= 0 {
		limit = defaultTransactionTimeout
	}
	limit += scanEvery
	since := make(map[logPlace]time.Time, len(found))
	v.judge.hanging = nil
	for i := range found {
		s := &found[i]
		begin, ok := v.watch.since[s.logPlace]
		if !ok {
			begin = now
		}
		since[s.logPlace] = begin
		if age := now.Sub(begin); age > limit {
			producer := "an unknown producer"
			if id, ok := s.producers[s.offset]; ok {
				producer = fmt.Sprintf("producer id %d", id)
			}
			where := fmt.Sprintf("%s-%d@%d", s.topic, s.partition, s.offset)
			v.judge.hanging = append(v.judge.hanging, Witness{
				Kind: KindHanging, Outputs: []string{where}, Transaction: producer, At: now,
				Detail: fmt.Sprintf("a transaction of %s hangs at %s, open for %v", producer, where, age.Round(time.Second)),
			})
		}
	}
	slices.SortFunc(v.judge.hanging, func(a, b Witness) int { return slices.Compare(a.Outputs, b.Outputs) })
	v.watch.since = since
}
