package broker

import (
	"context"
	"errors"
	"fmt"
	goruntime "runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	_ "eostop/faults/synctestrace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// settle gives what a test in virtual time leaves behind a minute to end, before leftover goroutines fail it.
func settle(t *testing.T) {
	t.Helper()
	t.Cleanup(func() { time.Sleep(time.Minute) })
}

// start starts a broker that ends with the test.
func start(t *testing.T, cfg Config) *Broker {
	t.Helper()
	b, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// client returns a client of b that ends with the test.
func client(t *testing.T, b *Broker, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(b.Addrs()...),
		kgo.Dialer(b.Dial),
		kgo.ProducerLinger(0),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.DisableClientMetrics(),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// within returns a context that ends with the test or after a minute.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// produce writes values to partition 0 of a topic.
func produce(t *testing.T, cl *kgo.Client, topic string, values ...string) {
	t.Helper()
	for _, v := range values {
		if err := cl.ProduceSync(within(t), &kgo.Record{Topic: topic, Value: []byte(v)}).FirstErr(); err != nil {
			t.Fatalf("produce %q: %v", v, err)
		}
	}
}

// end ends a transaction.
func end(t *testing.T, cl *kgo.Client, commit kgo.TransactionEndTry) {
	t.Helper()
	if err := cl.EndTransaction(within(t), commit); err != nil {
		t.Fatalf("end transaction: %v", err)
	}
}

// begin begins a transaction.
func begin(t *testing.T, cl *kgo.Client) {
	t.Helper()
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
}

// read reads a topic from its start until nothing has come for a second.
func read(t *testing.T, b *Broker, topic string, isolation kgo.IsolationLevel) []string {
	t.Helper()
	cl := client(t, b,
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(isolation),
	)
	defer cl.Close()
	var values []string
	for {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		fetches := cl.PollFetches(ctx)
		cancel()
		if fetches.Empty() || errors.Is(fetches.Err0(), context.DeadlineExceeded) {
			return values
		}
		if err := fetches.Err(); err != nil {
			t.Fatalf("read %s: %v", topic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) { values = append(values, string(r.Value)) })
	}
}

func TestTransactions(t *testing.T) {
	for _, tc := range []struct {
		version string
		nodes   int
		rising  bool
	}{
		{"2.4", 1, false},
		{"3.7", 1, false},
		{"3.7", 3, false},
		{"4.0", 1, true},
		{"4.3", 3, true},
	} {
		t.Run(fmt.Sprintf("%s on %d", tc.version, tc.nodes), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				settle(t)
				cfg := Default()
				cfg.KafkaVersion = tc.version
				cfg.Nodes = tc.nodes
				b := start(t, cfg)
				if b.Version() != tc.version || len(b.Addrs()) != tc.nodes {
					t.Fatalf("version %q, addresses %v", b.Version(), b.Addrs())
				}
				if err := b.CreateTopic("t", 1, nil); err != nil {
					t.Fatal(err)
				}
				cl := client(t, b, kgo.TransactionalID("id"), kgo.TransactionTimeout(10*time.Second))

				var epochs []int16
				for i := range 3 {
					begin(t, cl)
					produce(t, cl, "t", fmt.Sprintf("committed %d", i))
					_, epoch, err := cl.ProducerID(within(t))
					if err != nil {
						t.Fatal(err)
					}
					epochs = append(epochs, epoch)
					end(t, cl, kgo.TryCommit)
				}
				for i := 1; i < len(epochs); i++ {
					if rising := epochs[i] > epochs[i-1]; rising != tc.rising {
						t.Fatalf("epochs %v, want rising = %t", epochs, tc.rising)
					}
				}
				begin(t, cl)
				produce(t, cl, "t", "aborted")
				end(t, cl, kgo.TryAbort)
				begin(t, cl)
				produce(t, cl, "t", "open")

				// A record that is committed behind an open transaction stays invisible until that one ends.
				other := client(t, b, kgo.TransactionalID("other"))
				begin(t, other)
				produce(t, other, "t", "behind")
				end(t, other, kgo.TryCommit)

				committed := []string{"committed 0", "committed 1", "committed 2"}
				wantRead(t, b, kgo.ReadCommitted(), committed...)
				wantRead(t, b, kgo.ReadUncommitted(), append(committed[:3:3], "aborted", "open", "behind")...)

				// The broker ends the transaction itself when its time is up.
				time.Sleep(11 * time.Second)
				wantRead(t, b, kgo.ReadCommitted(), append(committed[:3:3], "behind")...)
			})
		})
	}
}

// wantRead reads topic t and compares.
func wantRead(t *testing.T, b *Broker, isolation kgo.IsolationLevel, want ...string) {
	t.Helper()
	got := read(t, b, "t", isolation)
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("read %q, want %q", got, want)
	}
}

func TestFencing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		settle(t)
		b := start(t, Default())
		if err := b.CreateTopic("t", 1, nil); err != nil {
			t.Fatal(err)
		}
		zombie := client(t, b, kgo.TransactionalID("id"))
		begin(t, zombie)
		produce(t, zombie, "t", "of the zombie")
		owner := client(t, b, kgo.TransactionalID("id"))
		begin(t, owner)
		produce(t, owner, "t", "of the owner")
		if err := zombie.EndTransaction(within(t), kgo.TryCommit); !errors.Is(err, kerr.ProducerFenced) {
			t.Errorf("the zombie's commit: %v, want PRODUCER_FENCED", err)
		}
		end(t, owner, kgo.TryCommit)
		wantRead(t, b, kgo.ReadCommitted(), "of the owner")
	})
}

func TestSessionTimeoutLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		settle(t)
		cfg := Default()
		cfg.MinSessionTimeout = 2 * time.Second
		b := start(t, cfg)
		if err := b.CreateTopic("t", 1, nil); err != nil {
			t.Fatal(err)
		}
		produce(t, client(t, b), "t", "v")
		for session, want := range map[time.Duration]error{
			time.Second:     kerr.InvalidSessionTimeout,
			2 * time.Second: nil,
		} {
			cl := client(t, b, kgo.ConsumerGroup("g"), kgo.ConsumeTopics("t"), kgo.SessionTimeout(session),
				kgo.HeartbeatInterval(session/4), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			err := cl.PollFetches(ctx).Err()
			cancel()
			if !errors.Is(err, want) {
				t.Errorf("session time-out %s: %v, want %v", session, err, want)
			}
			cl.Close()
		}
	})
}

func TestClientCannotAskForCompaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		settle(t)
		cfg := Default()
		cfg.SegmentBytes = 64 << 10
		b := start(t, cfg)
		asked := map[string]string{"cleanup.policy": "compact", "segment.bytes": "52428800", "retention.ms": "1000", "max.message.bytes": "2000"}
		if err := b.CreateTopic("direct", 1, asked); err != nil {
			t.Fatal(err)
		}
		adm := kadm.NewClient(client(t, b))
		byWire := make(map[string]*string)
		for name, value := range asked {
			byWire[name] = new(value)
		}
		if _, err := adm.CreateTopic(within(t), 1, 1, byWire, "wire"); err != nil {
			t.Fatal(err)
		}
		// Time-based retention must not run either.
		produce(t, client(t, b), "direct", "old")
		time.Sleep(48 * time.Hour)
		for _, topic := range []string{"direct", "wire"} {
			configs, err := adm.DescribeTopicConfigs(within(t), topic)
			if err != nil {
				t.Fatal(err)
			}
			got := make(map[string]string)
			for _, c := range configs[0].Configs {
				got[c.Key] = c.MaybeValue()
			}
			if got["cleanup.policy"] != "delete" || got["log.segment.bytes"] != "65536" || got["max.message.bytes"] != "2000" {
				t.Errorf("topic %s: %v", topic, got)
			}
		}
		if got := read(t, b, "direct", kgo.ReadCommitted()); len(got) != 1 {
			t.Errorf("read %q after two days, want the record", got)
		}
	})
}

func TestTrimFreesMemory(t *testing.T) {
	const partitions, megabytes = 4, 64
	b := start(t, Default())
	if err := b.CreateTopic("t", partitions, nil); err != nil {
		t.Fatal(err)
	}
	before := heap()
	cl := client(t, b, kgo.ProducerBatchCompression(kgo.NoCompression()))
	value := make([]byte, 10_000)
	const records = megabytes << 20 / 10_000
	for i := range records {
		cl.Produce(t.Context(), &kgo.Record{Topic: "t", Partition: int32(i % partitions), Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	if err := cl.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
	full := heap()
	stats, err := b.Stats("t", "does not exist")
	if err != nil || len(stats) != 1 || stats[0].Partitions != partitions || stats[0].Records != records || stats[0].Bytes < megabytes<<20*95/100 {
		t.Fatalf("stats %+v, %v", stats, err)
	}
	for p := range int32(partitions) {
		if err := b.Trim("t", p, records/partitions); err != nil {
			t.Fatal(err)
		}
	}
	trimmed := heap()
	stats, err = b.Stats("t")
	if err != nil || stats[0].Records > partitions || stats[0].Bytes > 4<<20 {
		t.Errorf("stats after the trim %+v, %v", stats, err)
	}
	t.Logf("heap: %d MB before, %d MB full, %d MB trimmed", before>>20, full>>20, trimmed>>20)
	if full-before < megabytes<<20*9/10 {
		t.Errorf("heap grew by %d MB only, so this test shows nothing", (full-before)>>20)
	}
	if trimmed-before > 8<<20 {
		t.Errorf("%d MB are still held after the trim", (trimmed-before)>>20)
	}
}

// heap returns the bytes of live objects.
func heap() int64 {
	goruntime.GC()
	goruntime.GC()
	var m goruntime.MemStats
	goruntime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestTrimBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		settle(t)
		b := start(t, Default())
		if err := b.CreateTopic("t", 1, nil); err != nil {
			t.Fatal(err)
		}
		produce(t, client(t, b), "t", "0", "1", "2", "3")
		for _, tc := range []struct {
			topic     string
			partition int32
			offset    int64
			want      error
			left      int64
		}{
			{"t", 0, 2, nil, 2},
			{"t", 0, 1, nil, 2}, // already gone
			{"t", 0, 5, kerr.OffsetOutOfRange, 2},
			{"t", 0, -1, kerr.OffsetOutOfRange, 2},
			{"t", 1, 0, kerr.UnknownTopicOrPartition, 2},
			{"u", 0, 0, kerr.UnknownTopicOrPartition, 2},
			{"t", 0, 4, nil, 0},
		} {
			if err := b.Trim(tc.topic, tc.partition, tc.offset); !errors.Is(err, tc.want) {
				t.Errorf("trim %s-%d to %d: %v, want %v", tc.topic, tc.partition, tc.offset, err, tc.want)
			}
			if stats, err := b.Stats("t"); err != nil || stats[0].Records != tc.left {
				t.Errorf("after the trim of %s-%d to %d: %+v, %v, want %d records", tc.topic, tc.partition, tc.offset, stats, err, tc.left)
			}
		}
		produce(t, client(t, b), "t", "4")
		wantRead(t, b, kgo.ReadCommitted(), "4")
	})
}

func TestClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		settle(t)
		b := start(t, Default())
		if err := b.CreateTopic("t", 1, nil); err != nil {
			t.Fatal(err)
		}
		if err := b.CreateTopic("t", 1, nil); !errors.Is(err, kerr.TopicAlreadyExists) {
			t.Errorf("create a topic twice: %v", err)
		}
		if err := b.CreateTopic("u", 0, nil); err == nil {
			t.Error("a topic without partitions was created")
		}
		// A client that is still connected must not keep the broker's goroutines.
		cl := client(t, b)
		produce(t, cl, "t", "v")
		done := make(chan error)
		go func() {
			for {
				if err := b.Trim("t", 0, 0); err != nil {
					done <- err
					return
				}
			}
		}()
		b.Close()
		b.Close()
		if err := <-done; !errors.Is(err, ErrClosed) {
			t.Errorf("trim while closing: %v", err)
		}
		if _, err := b.Stats("t"); !errors.Is(err, ErrClosed) {
			t.Errorf("stats of a closed broker: %v", err)
		}
		if err := b.CreateTopic("u", 1, nil); !errors.Is(err, ErrClosed) {
			t.Errorf("create a topic on a closed broker: %v", err)
		}
	})
}
