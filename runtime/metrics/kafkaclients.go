package metrics

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Producer measures what a producer of a thread waits for. Its time counts as blocked on Kafka in the thread's metrics, too.
type Producer struct {
	set     *set
	blocked *Elapsed

	init, begin, sendOffsets, commit, abort, flush *Elapsed
}

// Producer registers a producer of the thread, under the id of the client.
func (t *Thread) Producer(clientID string) *Producer {
	p := &Producer{blocked: t.blocked}
	if t.set == nil {
		return p
	}
	p.set = t.set.child("producer "+clientID, valid(clientID, t.name))
	b := builder{p.set, producerGroup}
	p.init = b.elapsed("txn-init-time", "initialising transactions")
	p.begin = b.elapsed("txn-begin-time", "beginning transactions")
	p.sendOffsets = b.elapsed("txn-send-offsets-time", "sending offsets to transactions")
	p.commit = b.elapsed("txn-commit-time", "committing transactions")
	p.abort = b.elapsed("txn-abort-time", "aborting transactions")
	p.flush = b.elapsed("flush-time", "waiting for records to be acknowledged")
	return p
}

// TxnInit notes the time of an InitProducerId, with its retries.
func (p *Producer) TxnInit(took time.Duration) { p.note(p.init, took) }

// TxnBegin notes the time to begin a transaction.
func (p *Producer) TxnBegin(took time.Duration) { p.note(p.begin, took) }

// TxnSendOffsets notes the time to send offsets to a transaction.
func (p *Producer) TxnSendOffsets(took time.Duration) { p.note(p.sendOffsets, took) }

// TxnCommit notes the time to commit a transaction.
func (p *Producer) TxnCommit(took time.Duration) { p.note(p.commit, took) }

// TxnAbort notes the time to abort a transaction.
func (p *Producer) TxnAbort(took time.Duration) { p.note(p.abort, took) }

// Flush notes the time until all records were acknowledged.
func (p *Producer) Flush(took time.Duration) { p.note(p.flush, took) }

func (p *Producer) note(e *Elapsed, took time.Duration) {
	e.Add(took)
	p.blocked.Add(took)
}

// Close takes the producer away.
func (p *Producer) Close() { p.set.remove() }

// Consumer measures a consumer of a thread.
type Consumer struct {
	set      *set
	labels   []string // client, thread
	lastPoll *Gauge   // time since the registry's beginning, in seconds
	clock    *clock

	rebalance *Timer
	total     *Counter
	failed    *Counter
}

// Consumer registers a consumer of the thread, under the id of the client.
func (t *Thread) Consumer(clientID string) *Consumer {
	c := &Consumer{}
	if t.set == nil {
		return c
	}
	c.labels, c.clock = valid(clientID, t.name), t.registry.clock
	c.set = t.set.child("consumer "+clientID, c.labels)
	c.lastPoll = &Gauge{}
	c.lastPoll.Set(math.NaN())
	b := builder{c.set, consumerGroup}
	b.add(b.family("last-poll-seconds-ago", prometheus.GaugeValue, Info, "Time since the last poll, in seconds."),
		func(now time.Duration) (float64, bool) {
			last, polled := c.lastPoll.read(now)
			return now.Seconds() - last, polled
		})
	b.group = memberGroup
	c.rebalance = b.timer(Info, time.Millisecond, "rebalance-latency", "time of a rebalance")
	b.add(b.family("rebalance-latency-total", prometheus.CounterValue, Info, "Time spent in rebalances, in milliseconds."),
		func(now time.Duration) (float64, bool) {
			_, _, sum := c.rebalance.read(now)
			return sum, true
		})
	c.total = b.counter("rebalance", "rebalances that succeeded")
	c.failed = b.counter("failed-rebalance", "rebalances that failed")
	return c
}

// Polled notes that a poll has begun.
func (c *Consumer) Polled() {
	if c.clock != nil {
		c.lastPoll.Set(c.clock.now().Seconds())
	}
}

// Rebalanced notes a rebalance that succeeded, from its beginning until the assignment was there.
func (c *Consumer) Rebalanced(took time.Duration) {
	c.rebalance.Record(took)
	c.total.Add(1)
}

// RebalanceFailed notes a rebalance that failed.
func (c *Consumer) RebalanceFailed() { c.failed.Add(1) }

// Close takes the consumer away with its partitions.
func (c *Consumer) Close() { c.set.remove() }

// Partition measures a partition that a consumer reads.
type Partition struct {
	set *set
	// Lag is the number of records between the consumer's position and the end of the partition.
	Lag *Gauge
}

// Partition registers a partition that the consumer reads.
func (c *Consumer) Partition(topic string, partition int32) *Partition {
	name := fmt.Sprint(partition)
	p := &Partition{set: c.set.child("partition "+topic+" "+name, slices.Concat(c.labels, valid(topic, name)))}
	p.Lag = builder{p.set, fetchGroup}.gauge(Info, "records-lag", "Number of records between the position and the end of the partition")
	return p
}

// Close takes the partition away.
func (p *Partition) Close() { p.set.remove() }
