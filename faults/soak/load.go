package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync/atomic"
	"time"

	"eostop/faults/verify"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Bounds of the load generator.
const (
	minLoadInterval = time.Millisecond
	maxLoadInterval = 5 * time.Second
	// loadCatchUp is how many times the configured rate the generator may reach after it has fallen behind.
	loadCatchUp = 2
	// loadMaxDebt is how far it may fall behind before what is due is forfeited.
	loadMaxDebt = 5 * time.Second
	// Between loadMinPending and loadMaxPending records may wait for their acknowledgement, of at most loadPendingBytes.
	loadMinPending   = 1000
	loadMaxPending   = 50_000
	loadPendingBytes = 64 << 20
	loadFlushTimeout = 10 * time.Second

	maxLoadRate       = 10_000_000
	maxLoadKeys       = 10_000_000
	maxLoadValueBytes = 512 << 10
	maxLoadPartitions = 10_000

	// maxKeptBuffer is the size up to which the memory of a record's value is used again.
	maxKeptBuffer = 4 << 10
)

// LoadConfig says what records the load generator writes, and how fast.
type LoadConfig struct {
	Topology   string        // name of the built-in program that the records are for
	Input      string        // text file whose lines are the records; empty = records are made up
	Rate       float64       // records a second
	Interval   time.Duration // between two bursts that add up to the rate
	Records    int64         // stop after so many; 0 = no limit
	Keys       int           // number of distinct keys, drawn uniformly; for wordcount of distinct words, some of them often
	ValueBytes int           // length of a value; for wordcount of the longest line
	Partitions int32         // number of partitions of the input topic
	Seed       int64         // the same seed gives the same sequence of records
	Run        uint64        // identifies the run in the provenance header
}

// DefaultLoadConfig returns the load of a soak: 20,000 records of 100 bytes a second on 9 partitions.
func DefaultLoadConfig() LoadConfig {
	return LoadConfig{
		Topology: topologySoak, Rate: 20_000, Interval: 5 * time.Millisecond, Keys: 10_000, ValueBytes: 100, Partitions: 9, Seed: 1,
	}
}

// Validate returns every problem of the configuration, joined, each with its key first.
func (c LoadConfig) Validate() error {
	var errs []error
	problem := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if _, ok := findBuiltin(c.Topology); !ok {
		problem("application.topology: there is no load for %q", c.Topology)
	}
	// The comparison is written so that NaN is a problem too.
	if !(c.Rate > 0 && c.Rate <= maxLoadRate) {
		problem("load.rate: must be above 0 and at most %d records a second, not %g", maxLoadRate, c.Rate)
	}
	if c.Interval < minLoadInterval || c.Interval > maxLoadInterval {
		problem("load.interval: must be %s to %s, not %s", minLoadInterval, maxLoadInterval, c.Interval)
	}
	if burst, most := c.Rate*c.Interval.Seconds(), c.maxPending(); burst > float64(most) {
		problem("load.interval: %s at %g records a second is bursts of %g, must be at most %d", c.Interval, c.Rate, burst, most)
	}
	if c.Records < 0 {
		problem("load.records: must not be negative, but is %d", c.Records)
	}
	if c.Keys < 1 || c.Keys > maxLoadKeys {
		problem("load.keys: must be 1 to %d, not %d", maxLoadKeys, c.Keys)
	}
	if c.ValueBytes < 8 || c.ValueBytes > maxLoadValueBytes {
		problem("load.value_bytes: must be 8 to %d, not %d", maxLoadValueBytes, c.ValueBytes)
	}
	if c.Partitions < 1 || c.Partitions > maxLoadPartitions {
		problem("load.partitions: must be 1 to %d, not %d", maxLoadPartitions, c.Partitions)
	}
	return errors.Join(errs...)
}

// maxPending is how many records may wait for their acknowledgement.
func (c *LoadConfig) maxPending() int {
	pending := max(loadMinPending, int(min(c.Rate, loadMaxPending)))
	return max(1, min(pending, loadPendingBytes/max(1, c.ValueBytes)))
}

// LoadStats counts what the load generator did. It may be read while the generator runs.
type LoadStats struct {
	Sent  int64   // records handed to the producer
	Acked int64   // records that the broker acknowledged
	Rate  float64 // records acknowledged a second, over the last second; 0 when the load has ended
}

// Generator writes records to an input topic at a steady rate through an idempotent producer.
type Generator struct {
	cfg        LoadConfig
	topic      string
	opts       []kgo.Opt
	maxPending int
	free       chan *pendingRecord // acknowledged, to be used again
	failed     chan error          // the first record that the producer gave up

	sent, acked atomic.Int64
	bytes       atomic.Int64  // of values that wait for their acknowledgement
	rate        atomic.Uint64 // bits of a float64
}

// NewGenerator returns a generator for a topic that has as many partitions as the configuration says. The options say how to
// reach the brokers (seeds and dialer); the producer's own settings are the generator's. It returns an error if the
// configuration or an option is not valid.
func NewGenerator(cfg LoadConfig, topic string, opts ...kgo.Opt) (*Generator, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	maxPending := cfg.maxPending()
	g := &Generator{
		cfg:        cfg,
		topic:      topic,
		maxPending: maxPending,
		free:       make(chan *pendingRecord, maxPending),
		failed:     make(chan error, 1),
	}
	g.opts = append(append(g.opts, opts...),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		// All records of a tick travel together.
		kgo.ProducerLinger(time.Millisecond),
		// The generator itself bounds what is pending. The client's count lags behind the acknowledgements.
		kgo.MaxBufferedRecords(2*maxPending),
		// A produce that has to be repeated waits for the metadata.
		kgo.MetadataMinAge(250*time.Millisecond),
		kgo.UnknownTopicRetries(20),
		kgo.DisableClientMetrics(),
	)
	if err := kgo.ValidateOpts(g.opts...); err != nil {
		return nil, fmt.Errorf("load generator's client: %w", err)
	}
	return g, nil
}

// Stats returns the counters.
func (g *Generator) Stats() LoadStats {
	// Acked is read first, so that it is never above Sent.
	acked := g.acked.Load()
	return LoadStats{Sent: g.sent.Load(), Acked: acked, Rate: math.Float64frombits(g.rate.Load())}
}

// Run writes records until their number is reached or ctx ends, and then waits up to ten seconds for what the broker has
// not acknowledged yet. Brokers that cannot be reached hold it up, but a record that the producer gives up ends it: it
// returns an error then, or if acknowledgements are missing in the end, for nobody can say whether those records were
// written. Run must be called once only.
func (g *Generator) Run(ctx context.Context) error {
	client, err := kgo.NewClient(g.opts...)
	if err != nil {
		return fmt.Errorf("load generator's client: %w", err)
	}
	defer client.Close()
	defer g.rate.Store(0)
	if err := g.produce(ctx, client); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), loadFlushTimeout)
	defer cancel()
	err = client.Flush(ctx)
	select {
	case err := <-g.failed:
		return err
	default:
	}
	if err != nil {
		return fmt.Errorf("%d input records were not acknowledged within %s after the load had ended: %w",
			g.sent.Load()-g.acked.Load(), loadFlushTimeout, err)
	}
	return nil
}

// produce hands records to the client at the configured rate. It never waits for the client.
func (g *Generator) produce(ctx context.Context, client *kgo.Client) error {
	// A record that was handed over must not be lost because the load ends.
	recordCtx := context.WithoutCancel(ctx)
	ticker := time.NewTicker(g.cfg.Interval)
	defer ticker.Stop()
	now := time.Now()
	source, err := newRecordSource(ctx, g.cfg)
	if err != nil {
		return err
	}
	defer source.close()
	pace := pacer{rate: g.cfg.Rate, interval: g.cfg.Interval, last: now}
	var allocated int
	var sent, measuredAcked int64
	measuredAt := now
	for {
		for range pace.due(now) {
			if g.cfg.Records > 0 && sent == g.cfg.Records {
				return nil
			}
			p := g.pending(&allocated)
			if p == nil {
				break
			}
			switch err := source.fill(p, now); {
			case errors.Is(err, io.EOF) || err != nil && ctx.Err() != nil:
				return nil
			case err != nil:
				return err
			}
			p.record.Topic = g.topic
			g.bytes.Add(int64(len(p.value)))
			sent++
			g.sent.Store(sent)
			pace.took()
			client.Produce(recordCtx, &p.record, p.done)
		}
		if d := now.Sub(measuredAt); d >= time.Second {
			acked := g.acked.Load()
			g.rate.Store(math.Float64bits(float64(acked-measuredAcked) / d.Seconds()))
			measuredAt, measuredAcked = now, acked
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-g.failed:
			return err
		case <-ticker.C:
			now = time.Now()
		}
	}
}

// set makes p a record.
func (p *pendingRecord) set(origin verify.Provenance, key []byte, now time.Time) {
	p.origin = origin.Append(p.origin[:0])
	p.headers[0] = kgo.RecordHeader{Key: verify.HeaderKey, Value: p.origin}
	p.record = kgo.Record{Partition: origin.Partition, Key: key, Value: p.value, Headers: p.headers[:], Timestamp: now}
}

// pendingRecord is a record with the memory that it refers to. It belongs to the client until the broker has answered.
type pendingRecord struct {
	record  kgo.Record
	headers [1]kgo.RecordHeader
	origin  []byte // value of the header
	value   []byte
	done    func(*kgo.Record, error)
}

// pending returns a record to fill, or nil if as many as allowed wait for the broker.
func (g *Generator) pending(allocated *int) *pendingRecord {
	if g.bytes.Load() >= loadPendingBytes {
		return nil
	}
	select {
	case p := <-g.free:
		return p
	default:
	}
	if *allocated == g.maxPending {
		return nil
	}
	*allocated++
	p := &pendingRecord{}
	p.done = func(_ *kgo.Record, err error) {
		if err == nil {
			g.bytes.Add(-int64(len(p.value)))
			if cap(p.value) > max(maxKeptBuffer, g.cfg.ValueBytes) {
				p.value = nil
			}
			g.acked.Add(1)
			g.free <- p
			return
		}
		select {
		case g.failed <- fmt.Errorf("the producer gave up an input record for %s-%d: %w", g.topic, p.record.Partition, err):
		default:
		}
	}
	return p
}

// pacer says how many records are due, without bursts.
type pacer struct {
	rate     float64
	interval time.Duration // between two calls of due
	last     time.Time
	owed     float64 // records that are due
	room     float64 // records that may be taken at once without exceeding the catch-up rate
}

// due returns how many records may be taken now.
func (p *pacer) due(now time.Time) int {
	elapsed := now.Sub(p.last).Seconds()
	p.last = now
	p.owed = min(p.owed+p.rate*elapsed, max(1, p.rate*loadMaxDebt.Seconds()))
	p.room = min(p.room+loadCatchUp*p.rate*elapsed, max(1, loadCatchUp*p.rate*p.interval.Seconds()))
	// Sums of fractions may end a hair below a whole number.
	return int(min(p.owed, p.room) + 1e-6)
}

// took notes that one of the due records was taken.
func (p *pacer) took() {
	p.owed--
	p.room--
}
