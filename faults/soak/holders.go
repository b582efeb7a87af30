package soak

import (
	"context"
	"fmt"
	"time"

	"eostop/runtime/journal"

	"github.com/twmb/franz-go/pkg/kadm"
)

// remaining is a source partition with records that the group has not committed.
type remaining struct {
	topic     string
	partition int32
	at, end   int64
}

func (r remaining) String() string {
	return fmt.Sprintf("%s-%d: %d of %d", r.topic, r.partition, r.at, r.end)
}

// tellHolders writes to the journal whom the drain waits for longer than any transaction should take.
func (s *Session) tellHolders(ctx context.Context, left []remaining) {
	held, _ := s.holders(ctx, left)
	for _, text := range held {
		s.journal.Emit(journal.Event{Kind: journal.KindError, Level: journal.Error, Cause: "hanging transaction", Text: text})
	}
}

// holders says which of the partitions cannot be read any further because somebody's transaction is open on them, and whose it is.
// A transaction whose markers were lost, or that a late record has opened, stays open for good on a broker before KIP-890, and no
// reader of committed records passes it (KIP-664).
func (s *Session) holders(ctx context.Context, left []remaining) (held []string, free []remaining) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	set := kadm.TopicsSet{}
	topics := map[string]bool{}
	for _, r := range left {
		set.Add(r.topic, r.partition)
		topics[r.topic] = true
	}
	names := make([]string, 0, len(topics))
	for topic := range topics {
		names = append(names, topic)
	}
	stable, err := s.cluster.admin.ListCommittedOffsets(ctx, names...)
	if err != nil {
		return nil, left
	}
	producers, err := s.cluster.admin.DescribeProducers(ctx, set)
	if err != nil {
		return nil, left
	}
	for _, r := range left {
		lso, ok := stable.Lookup(r.topic, r.partition)
		if !ok || lso.Err != nil || r.at < lso.Offset || lso.Offset >= r.end {
			free = append(free, r)
			continue
		}
		text := fmt.Sprintf("%s-%d cannot be read past offset %d: a transaction is open there", r.topic, r.partition, lso.Offset)
		for _, p := range producers[r.topic].Partitions[r.partition].ActiveProducers.Sorted() {
			if p.CurrentTxnStartOffset >= 0 && p.CurrentTxnStartOffset <= lso.Offset {
				age := time.Since(time.UnixMilli(p.LastTimestamp)).Round(time.Second)
				text = fmt.Sprintf("%s-%d cannot be read past offset %d: producer id %d (epoch %d) has had a transaction open there for %v", r.topic,
					r.partition, lso.Offset, p.ProducerID, p.ProducerEpoch, age)
			}
		}
		held = append(held, fmt.Sprintf("%s; abort it with kafka-transactions.sh abort --topic %s --partition %d --start-offset %d", text, r.topic, r.partition, lso.Offset))
	}
	return held, free
}
