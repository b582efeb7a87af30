package soak

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"eostop/faults/broker"
	"eostop/faults/verify"
	"eostop/runtime/topology"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const loadTopic = "app-input"

// settle gives what a test in virtual time leaves behind a minute to end, before leftover goroutines fail it.
func settle(t *testing.T) {
	t.Helper()
	t.Cleanup(func() { time.Sleep(time.Minute) })
}

// loadBroker starts a broker with the input topic of cfg, for the length of the test.
func loadBroker(tb testing.TB, cfg LoadConfig) *broker.Broker {
	tb.Helper()
	b, err := broker.Start(broker.Default())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(b.Close)
	if err := b.CreateTopic(loadTopic, cfg.Partitions, nil); err != nil {
		tb.Fatal(err)
	}
	return b
}

// newLoad returns a generator that dials dial to reach b.
func newLoad(tb testing.TB, cfg LoadConfig, b *broker.Broker, dial func(context.Context, string, string) (net.Conn, error)) *Generator {
	tb.Helper()
	g, err := NewGenerator(cfg, loadTopic, kgo.SeedBrokers(b.Addrs()...), kgo.Dialer(dial))
	if err != nil {
		tb.Fatal(err)
	}
	return g
}

// runLoad runs a generator until its records are written.
func runLoad(t *testing.T, cfg LoadConfig) *broker.Broker {
	t.Helper()
	b := loadBroker(t, cfg)
	l := newLoad(t, cfg, b, b.Dial)
	if err := l.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := l.Stats(), (LoadStats{Sent: cfg.Records, Acked: cfg.Records}); got != want {
		t.Fatalf("stats %+v, want %+v", got, want)
	}
	return b
}

// readLoad reads n records of the input topic, by partition.
func readLoad(t *testing.T, b *broker.Broker, n int64) map[int32][]*kgo.Record {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...), kgo.Dialer(b.Dial), kgo.ConsumeTopics(loadTopic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableClientMetrics())
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	records := make(map[int32][]*kgo.Record)
	for read := int64(0); read < n; {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("after %d of %d records: %v", read, n, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			records[r.Partition] = append(records[r.Partition], r)
			read++
		})
	}
	return records
}

func TestLoadRate(t *testing.T) {
	for _, load := range []struct {
		rate     float64
		interval time.Duration
	}{{0.5, 5 * time.Millisecond}, {3, 5 * time.Millisecond}, {777.7, 5 * time.Millisecond}, {20_000, 5 * time.Millisecond}, {20, time.Second}} {
		rate := load.rate
		t.Run(fmt.Sprint(rate), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				settle(t)
				cfg := DefaultLoadConfig()
				cfg.Rate, cfg.Interval = rate, load.interval
				b := loadBroker(t, cfg)
				l := newLoad(t, cfg, b, b.Dial)
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second+cfg.Interval*3/5)
				defer cancel()
				done := make(chan error)
				go func() { done <- l.Run(ctx) }()
				// Look in the middle between two ticks.
				interval := cfg.Interval
				time.Sleep(interval / 2)
				for tick := range int64(3 * time.Second / interval) {
					sent := l.Stats().Sent
					if want := int64(rate*float64(tick)*interval.Seconds() + 1e-6); sent != want {
						t.Fatalf("%d records were sent in %s, want %d", sent, time.Duration(tick)*interval, want)
					}
					time.Sleep(interval)
				}
				if got := l.Stats().Rate; math.Abs(got-rate) > max(1, rate/100) {
					t.Errorf("measured rate %g, want about %g", got, rate)
				}
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				if got, want := l.Stats(), int64(3*rate); got.Sent != want || got.Acked != want || got.Rate != 0 {
					t.Errorf("stats %+v at the end, want %d sent and acknowledged", got, want)
				}
			})
		})
	}
}

func TestLoadRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		settle(t)
		cfg := DefaultLoadConfig()
		cfg.Records = 50_000
		cfg.Keys = 500
		cfg.Run = 1 << 60
		cfg.Seed = 7
		start := time.Now()
		b := runLoad(t, cfg)
		if took, want := time.Since(start), 2500*time.Millisecond; took < want || took > want+50*time.Millisecond {
			t.Errorf("took %s, want %s", took, want)
		}
		keySequence := make(map[string]int64)
		var count, jumps int64
		for partition, records := range readLoad(t, b, cfg.Records) {
			for i, r := range records {
				count++
				if len(r.Headers) != 1 || r.Headers[0].Key != verify.HeaderKey {
					t.Fatalf("headers %v", r.Headers)
				}
				got, err := verify.Decode(r.Headers[0].Value)
				want := verify.Provenance{Run: cfg.Run, Partition: partition, Sequence: int64(i), KeySequence: keySequence[string(r.Key)]}
				if err != nil || got != want {
					t.Fatalf("provenance of %d@%d: %+v, %v, want %+v", partition, r.Offset, got, err, want)
				}
				keySequence[string(r.Key)]++
				if want := topology.PartitionFor(r.Key, cfg.Partitions); partition != want {
					t.Fatalf("key %q is in partition %d, want %d", r.Key, partition, want)
				}
				if len(r.Key) != 10 || len(r.Value) != cfg.ValueBytes {
					t.Fatalf("key %q, value %q", r.Key, r.Value)
				}
				amount := int64(binary.BigEndian.Uint64(r.Value))
				if amount >= amountRange {
					jumps++
					if amount/amountRange != want.KeySequence {
						t.Fatalf("amount %d of record %d of its key", amount, want.KeySequence)
					}
				}
				if d := r.Timestamp.Sub(start); d < 0 || d > 3*time.Second {
					t.Fatalf("timestamp %s", r.Timestamp)
				}
			}
		}
		if count != cfg.Records || len(keySequence) != cfg.Keys {
			t.Errorf("%d records, %d keys", count, len(keySequence))
		}
		if share := float64(jumps) / float64(count); share < 0.11 || share > 0.14 {
			t.Errorf("%.3f of the records jump, want about 1/8", share)
		}
	})
}

// TestLoadSeed shows that the records depend on the configuration alone: neither on the rate nor on stalls.
func TestLoadSeed(t *testing.T) {
	contents := func(seed int64, rate float64) (all []string) {
		synctest.Test(t, func(t *testing.T) {
			settle(t)
			cfg := DefaultLoadConfig()
			cfg.Records, cfg.Seed, cfg.Rate, cfg.Keys = 3000, seed, rate, 50
			b := runLoad(t, cfg)
			records := readLoad(t, b, cfg.Records)
			for p := range cfg.Partitions {
				for _, r := range records[p] {
					all = append(all, fmt.Sprintf("%d %s %x %x", p, r.Key, r.Value, r.Headers[0].Value))
				}
			}
		})
		return all
	}
	first := contents(1, 20_000)
	if !reflect.DeepEqual(first, contents(1, 1234)) {
		t.Error("the same seed gave other records")
	}
	if reflect.DeepEqual(first, contents(2, 20_000)) {
		t.Error("another seed gave the same records")
	}
}

// TestLoadStall cuts the generator off for a while: memory stays bounded, nothing is lost, and afterwards it catches up at
// twice its rate.
func TestLoadStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		settle(t)
		cfg := DefaultLoadConfig()
		cfg.Rate = 4000
		cfg.Records = 40_000
		b := loadBroker(t, cfg)
		var stalled atomic.Bool
		conns := make(chan net.Conn, 1000)
		l := newLoad(t, cfg, b, func(ctx context.Context, network, addr string) (net.Conn, error) {
			if stalled.Load() {
				return b.Dial(ctx, network, "127.0.0.1:1")
			}
			conn, err := b.Dial(ctx, network, addr)
			if err == nil {
				conns <- conn
			}
			return conn, err
		})
		done := make(chan error, 1)
		go func() { done <- l.Run(t.Context()) }()
		time.Sleep(2 * time.Second)
		before := l.Stats()
		stalled.Store(true)
		for len(conns) > 0 {
			if err := (<-conns).Close(); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(3 * time.Second)
		stats := l.Stats()
		if pending := stats.Sent - stats.Acked; pending != int64(l.maxPending) {
			t.Errorf("%d records are pending, want %d", pending, l.maxPending)
		}
		if stats.Acked > before.Acked+1000 || stats.Rate > 1 {
			t.Errorf("stats while nobody listens: %+v, before %+v", stats, before)
		}
		stalled.Store(false)
		// Look in the middle between two ticks.
		time.Sleep(cfg.Interval / 2)
		caughtUp := false
		for last := l.Stats().Sent; len(done) == 0; {
			time.Sleep(10 * time.Millisecond)
			sent := l.Stats().Sent
			if sent-last > int64(loadCatchUp*cfg.Rate/100) {
				t.Fatalf("%d records in 10ms", sent-last)
			}
			caughtUp = caughtUp || l.Stats().Rate > 1.9*cfg.Rate
			last = sent
		}
		if !caughtUp {
			t.Error("the generator did not catch up at twice its rate")
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		for partition, records := range readLoad(t, b, cfg.Records) {
			for i, r := range records {
				if got, err := verify.Decode(r.Headers[0].Value); err != nil || got.Sequence != int64(i) {
					t.Fatalf("record %d of partition %d: %+v, %v", i, partition, got, err)
				}
			}
		}
	})
}

func TestLoadUnacknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		settle(t)
		cfg := DefaultLoadConfig()
		b := loadBroker(t, cfg)
		l := newLoad(t, cfg, b, func(ctx context.Context, network, _ string) (net.Conn, error) {
			return b.Dial(ctx, network, "127.0.0.1:1")
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		err := l.Run(ctx)
		if err == nil || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "not acknowledged") {
			t.Errorf("run without a broker: %v", err)
		}
		if took := time.Since(start); took != time.Second+loadFlushTimeout {
			t.Errorf("took %s", took)
		}
		if stats := l.Stats(); stats.Acked != 0 || stats.Sent == 0 || stats.Sent > int64(l.maxPending) {
			t.Errorf("stats %+v", stats)
		}
	})
}

func TestLoadGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		settle(t)
		cfg := DefaultLoadConfig()
		b, err := broker.Start(broker.Default())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		// The broker takes nothing above a hundred bytes.
		if err := b.CreateTopic(loadTopic, cfg.Partitions, map[string]string{"max.message.bytes": "100"}); err != nil {
			t.Fatal(err)
		}
		l := newLoad(t, cfg, b, b.Dial)
		err = l.Run(t.Context())
		if !errors.Is(err, kerr.MessageTooLarge) || !strings.Contains(err.Error(), loadTopic) {
			t.Errorf("run: %v, want MESSAGE_TOO_LARGE on %s", err, loadTopic)
		}
	})
}

func TestLoadConfigValidate(t *testing.T) {
	if err := DefaultLoadConfig().Validate(); err != nil {
		t.Error(err)
	}
	bad := LoadConfig{Rate: math.NaN(), Records: -1, ValueBytes: 7}
	err := bad.Validate()
	for _, key := range []string{"load.rate", "load.records", "load.keys", "load.value_bytes", "load.partitions"} {
		if err == nil || !strings.Contains(err.Error(), key+":") {
			t.Errorf("no word about %s in: %v", key, err)
		}
	}
	if _, err := NewGenerator(bad, loadTopic); err == nil {
		t.Error("NewGenerator took it")
	}
	if _, err := NewGenerator(DefaultLoadConfig(), loadTopic, kgo.ProducerBatchMaxBytes(-1)); err == nil {
		t.Error("NewGenerator took a bad option")
	}
}

// BenchmarkLoad measures the cost of a record, with everything the client and the embedded broker do for it.
func BenchmarkLoad(b *testing.B) {
	cfg := DefaultLoadConfig()
	cfg.Rate = maxLoadRate
	cfg.Records = int64(b.N)
	br := loadBroker(b, cfg)
	l := newLoad(b, cfg, br, br.Dial)
	b.ReportAllocs()
	b.ResetTimer()
	if err := l.Run(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkLoadRecord measures the generator's own share.
func BenchmarkLoadRecord(b *testing.B) {
	cfg := DefaultLoadConfig()
	for _, name := range TopologyNames() {
		b.Run(name, func(b *testing.B) {
			cfg.Topology = name
			source, err := newRecordSource(b.Context(), cfg)
			if err != nil {
				b.Fatal(err)
			}
			defer source.close()
			p := &pendingRecord{}
			now := time.Now()
			b.ReportAllocs()
			for b.Loop() {
				if err := source.fill(p, now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
