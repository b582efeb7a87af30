package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// Fetches wait until there is this much, or this long: many small answers cost more than the records in them.
	fetchMinBytes = 128 << 10
	fetchMaxWait  = 50 * time.Millisecond
	fetchMaxBytes = 8 << 20
	// retryEvery is the pause between attempts to list offsets.
	retryEvery = 250 * time.Millisecond
	// listTimeout bounds one attempt, also the last one, when time is over and only the reason is asked for.
	listTimeout = 3 * time.Second
)

// offsets holds one offset for every partition of some topics.
type offsets map[string]map[int32]int64

// partition is one partition that a reader reads.
type partition struct {
	next   int64 // offset up to which everything was handed out, or was aborted
	ahead  int64 // offset of the next record to be read; what lies between belongs to open transactions or stands behind them
	fresh  bool  // nothing was read yet since the client was told where to begin
	stuck  bool  // the client lost its place and has to be told it again
	failed bool  // the broker does not have next any more
	paused bool
	log    transactions
}

// reader consumes all partitions of some topics from explicit offsets, without a group. It reads all there is, with the markers of
// transactions, and hands out what is committed. It is not safe for concurrent use, except listEnds.
type reader struct {
	client     *kgo.Client
	admin      *kadm.Client
	partitions map[string][]*partition
	gone       func(topic string, partition int32, next int64) // is told once that the log does not have the next offset any more
	aborted    func(*kgo.Record)                               // is told what was aborted; nil = nobody wants to know
	kept       []logRecord
	epochs     map[int64]int16 // by producer id: the newest one that was read in any partition
}

// newReader builds a reader; it reaches no broker before start. Its fetches wait as long for records to come together; 0 = fetchMaxWait.
func newReader(base []kgo.Opt, wait time.Duration, gone func(topic string, partition int32, next int64)) (*reader, error) {
	opts := append(slices.Clone(base),
		kgo.FetchIsolationLevel(kgo.ReadUncommitted()),
		kgo.KeepControlRecords(),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.MetadataMinAge(100*time.Millisecond),
		kgo.FetchMinBytes(fetchMinBytes),
		kgo.FetchMaxWait(cmp.Or(wait, fetchMaxWait)),
		kgo.FetchMaxBytes(fetchMaxBytes),
		kgo.DisableClientMetrics(),
	)
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("verifier's client: %w", err)
	}
	return &reader{client: client, admin: kadm.NewClient(client), partitions: make(map[string][]*partition), gone: gone, epochs: make(map[int64]int16)}, nil
}

func (r *reader) close() { r.client.Close() }

// start begins to consume the topics at the log starts, or at the given offsets where there are any. It tries until
// all topics exist or ctx ends, and tells waiting about each failure. It returns the log starts.
func (r *reader) start(ctx context.Context, topics []string, from offsets, waiting func(error)) (offsets, error) {
	starts, err := r.list(ctx, topics, r.admin.ListStartOffsets, waiting)
	if err != nil {
		return nil, err
	}
	consume := make(map[string]map[int32]kgo.Offset)
	for _, topic := range topics {
		consume[topic] = make(map[int32]kgo.Offset)
		for p := range int32(len(starts[topic])) {
			at := starts[topic][p]
			if o, ok := from[topic][p]; ok {
				at = o
			}
			consume[topic][p] = kgo.NoResetOffset().At(at)
			r.partitions[topic] = append(r.partitions[topic], &partition{next: at, ahead: at, fresh: true, log: transactions{newest: r.epochs}})
		}
	}
	r.client.AddConsumePartitions(consume)
	return starts, nil
}

// list lists offsets of all partitions, again and again until it succeeds.
func (r *reader) list(
	ctx context.Context, topics []string, fn func(context.Context, ...string) (kadm.ListedOffsets, error), failed func(error),
) (offsets, error) {
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("list offsets: %w", ctx.Err())
		case <-retry.C:
		}
		got, err := listOnce(ctx, topics, fn)
		if err == nil {
			return got, nil
		}
		failed(err)
		retry.Reset(retryEvery)
	}
}

// listOnce lists offsets of all partitions; a partition without an answer is an error.
func listOnce(
	ctx context.Context, topics []string, fn func(context.Context, ...string) (kadm.ListedOffsets, error),
) (offsets, error) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	listed, err := fn(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("list offsets: %w", err)
	}
	got := make(offsets)
	for _, topic := range topics {
		got[topic] = make(map[int32]int64)
		if len(listed[topic]) == 0 {
			return nil, fmt.Errorf("list offsets of topic %s: %w", topic, kerr.UnknownTopicOrPartition)
		}
		for p, o := range listed[topic] {
			if o.Err != nil {
				return nil, fmt.Errorf("list offsets of topic %s: %w", topic, o.Err)
			}
			got[topic][p] = o.Offset
		}
	}
	return got, nil
}

// poll waits at most wait for records and hands them to fn, partition by partition, the first topic's before all
// others. The records belong to fn, the slice does not.
func (r *reader) poll(ctx context.Context, wait time.Duration, first string, fn func(topic string, partition int32, records []logRecord)) {
	polled, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	fetches := r.client.PollFetches(polled)
	for _, turn := range []bool{true, false} {
		fetches.EachPartition(func(f kgo.FetchTopicPartition) {
			if (f.Topic == first) == turn {
				r.take(f, fn)
			}
		})
	}
	r.recover(ctx)
}

// take handles what one poll brought of one partition.
func (r *reader) take(f kgo.FetchTopicPartition, fn func(topic string, partition int32, records []logRecord)) {
	if f.Partition < 0 || int(f.Partition) >= len(r.partitions[f.Topic]) {
		return // an error of the client as a whole, or of its context: it tries on by itself
	}
	p := r.partitions[f.Topic][f.Partition]
	if _, loss := errors.AsType[*kgo.ErrDataLoss](f.Err); loss || errors.Is(f.Err, kerr.OffsetOutOfRange) {
		p.stuck = true
	}
	if len(f.Records) == 0 || p.failed {
		return
	}
	if p.fresh && f.LogStartOffset > p.ahead {
		// The client begins at the log start without a word if the offset is not there any more.
		r.fail(f.Topic, f.Partition, p)
		return
	}
	p.fresh = false
	for _, rec := range f.Records {
		// After a change of leader the client may go back and read again what it has had.
		if rec.Offset < p.ahead {
			continue
		}
		p.ahead = rec.Offset + 1
		p.log.take(rec)
	}
	r.kept = p.log.decided(r.kept[:0], func(rec *kgo.Record) {
		if r.aborted != nil {
			r.aborted(rec)
		}
	})
	p.next = p.ahead
	if len(p.log.queue) > 0 {
		p.next = p.log.queue[0].Offset
	}
	if len(r.kept) > 0 {
		fn(f.Topic, f.Partition, r.kept)
		clear(r.kept)
	}
}

// leaveBehind is told where logs ended after some epochs had been read: what is written from there on under an earlier one is written by
// a producer that was fenced. That order holds between partitions, whatever the pace at which they are read.
func (r *reader) leaveBehind(ends offsets, epochs map[int64]int16) {
	for topic, partitions := range ends {
		for p, end := range partitions {
			if int(p) >= len(r.partitions[topic]) {
				continue // it was added since, and nobody reads it
			}
			log := &r.partitions[topic][p].log
			log.behind, log.from = epochs, end
		}
	}
}

func (r *reader) fail(topic string, number int32, p *partition) {
	p.failed = true
	r.gone(topic, number, p.ahead)
}

// recover brings stuck partitions back to where they were, if the log still has it. The client gets stuck for good on an
// offset out of range, and goes back to the log start when a new leader does not know an epoch.
func (r *reader) recover(ctx context.Context) {
	for topic, partitions := range r.partitions {
		for number, p := range partitions {
			if !p.stuck || p.failed {
				continue
			}
			starts, err := listOnce(ctx, []string{topic}, r.admin.ListStartOffsets)
			if err != nil {
				return // the next call tries again
			}
			ends, err := listOnce(ctx, []string{topic}, r.admin.ListEndOffsets)
			if err != nil {
				return
			}
			p.stuck = false
			if n := int32(number); p.ahead < starts[topic][n] || p.ahead > ends[topic][n] {
				r.fail(topic, n, p)
				continue
			}
			p.fresh = true
			r.client.RemoveConsumePartitions(map[string][]int32{topic: {int32(number)}})
			r.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{
				topic: {int32(number): kgo.NoResetOffset().At(p.ahead)},
			})
		}
	}
}

// pause stops or resumes the fetching of one partition.
func (r *reader) pause(topic string, number int32, paused bool) {
	p := r.partitions[topic][number]
	if p.paused == paused {
		return
	}
	p.paused = paused
	which := map[string][]int32{topic: {number}}
	if paused {
		r.client.PauseFetchPartitions(which)
	} else {
		r.client.ResumeFetchPartitions(which)
	}
}

// reached tells whether a partition has been read up to an offset.
func (r *reader) reached(topic string, number int32, end int64) bool {
	return r.partitions[topic][number].next >= end
}

// behind lists the partitions that have not been read up to the given ends, in order.
func (r *reader) behind(ends offsets) []kadm.Partition {
	var late []kadm.Partition
	for _, topic := range slices.Sorted(maps.Keys(ends)) {
		for number := range int32(len(r.partitions[topic])) {
			if !r.reached(topic, number, ends[topic][number]) {
				late = append(late, kadm.Partition{Topic: topic, Partition: number})
			}
		}
	}
	return late
}

// failed tells whether some partition can never be read to its end.
func (r *reader) failed() bool {
	for _, partitions := range r.partitions {
		for _, p := range partitions {
			if p.failed {
				return true
			}
		}
	}
	return false
}

// explain says why partitions were not read up to the given ends: an open transaction, or no answer. It asks the
// broker even if ctx has ended.
func (r *reader) explain(ctx context.Context, ends offsets) []string {
	late := r.behind(ends)
	if len(late) == 0 {
		return nil
	}
	stable, err := listOnce(context.WithoutCancel(ctx), slices.Sorted(maps.Keys(ends)), r.admin.ListCommittedOffsets)
	reasons := make([]string, 0, len(late))
	for _, tp := range late {
		at, end := r.partitions[tp.Topic][tp.Partition].next, ends[tp.Topic][tp.Partition]
		if lso := stable[tp.Topic][tp.Partition]; err == nil && lso < end && at >= lso {
			reasons = append(reasons, fmt.Sprintf("open transaction on %s-%d at offset %d", tp.Topic, tp.Partition, lso))
			continue
		}
		reasons = append(reasons, fmt.Sprintf("%s-%d was read up to offset %d of %d only", tp.Topic, tp.Partition, at, end))
	}
	return reasons
}
