package broker

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// cluster starts a broker of some nodes with a topic "t" of three partitions.
func cluster(t *testing.T, nodes int, set func(*Config)) *Broker {
	t.Helper()
	settle(t)
	cfg := Default()
	cfg.Nodes = nodes
	if set != nil {
		set(&cfg)
	}
	b := start(t, cfg)
	if err := b.CreateTopic("t", 3, nil); err != nil {
		t.Fatal(err)
	}
	return b
}

// nodesNow returns what a client that has just come learns of the nodes, and who leads the topic.
func nodesNow(t *testing.T, b *Broker) (nodes []int32, leaders [3]int32) {
	t.Helper()
	meta, err := kadm.NewClient(client(t, b)).Metadata(within(t), "t")
	if err != nil {
		t.Fatal(err)
	}
	nodes = append(nodes, meta.Brokers.NodeIDs()...)
	slices.Sort(nodes)
	for _, p := range meta.Topics["t"].Partitions {
		leaders[p.Partition] = p.Leader
	}
	return nodes, leaders
}

func TestMoveLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := cluster(t, 3, nil)
		cl := client(t, b)
		produce(t, cl, "t", "before")
		for pick := range 7 {
			_, before := nodesNow(t, b)
			if err := b.MoveLeader("t", 0, pick); err != nil {
				t.Fatal(err)
			}
			if _, after := nodesNow(t, b); after[0] == before[0] || after[1] != before[1] || after[2] != before[2] {
				t.Errorf("leaders were %v and are %v", before, after)
			}
			produce(t, cl, "t", "after")
		}
		if err := b.MoveCoordinators(); err != nil {
			t.Error(err)
		}
		if err := b.MoveLeader("none", 0, 0); err == nil {
			t.Error("the leader of no topic was moved")
		}
	})
}

func TestOneNodeHasNowhereToGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := cluster(t, 1, nil)
		if err := b.MoveLeader("t", 0, 0); !errors.Is(err, ErrOneNode) {
			t.Errorf("move leader: %v, want ErrOneNode", err)
		}
		if err := b.StopNode(0); !errors.Is(err, ErrOneNode) {
			t.Errorf("stop node: %v, want ErrOneNode", err)
		}
	})
}

// TestNodesRestart: a node goes down with its connections and comes back at its address, each in turn; what was written
// stays, and a client that was connected to it goes on.
func TestNodesRestart(t *testing.T) {
	for name, listen := range map[string]string{"pipes": "", "tcp": "127.0.0.1:0"} {
		t.Run(name, func(t *testing.T) {
			test := func(t *testing.T) {
				b := cluster(t, 3, func(c *Config) { c.Listen = listen })
				cl := client(t, b)
				for node := range int32(3) {
					produce(t, cl, "t", "before")
					if err := b.StopNode(node); err != nil {
						t.Fatal(err)
					}
					if err := b.StopNode(node); err == nil {
						t.Error("a node was stopped twice")
					}
					if c, err := b.Dial(within(t), "tcp", b.Addrs()[node]); err == nil {
						_ = c.Close()
						t.Errorf("node %d is down and can be dialed", node)
					}
					produce(t, cl, "t", "between")
					if err := b.StartNode(node); err != nil {
						t.Fatal(err)
					}
					if err := b.StartNode(node); err == nil {
						t.Error("a node was started twice")
					}
					if nodes, _ := nodesNow(t, b); !slices.Equal(nodes, []int32{0, 1, 2}) {
						t.Errorf("nodes are %v", nodes)
					}
					produce(t, cl, "t", "after")
				}
				stats, err := b.Stats("t")
				if err != nil || stats[0].Records != 9 {
					t.Errorf("%+v, %v; want 9 records", stats, err)
				}
			}
			if listen == "" {
				synctest.Test(t, test)
				return
			}
			cfg := Default()
			cfg.Nodes, cfg.Listen = 2, listen
			b := start(t, cfg)
			cl := client(t, b)
			if err := b.StopNode(1); err != nil {
				t.Fatal(err)
			}
			if err := b.StartNode(1); err != nil {
				t.Fatal(err)
			}
			if err := cl.Ping(within(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestInject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := cluster(t, 1, nil)
		cl := client(t, b, kgo.RetryTimeout(time.Nanosecond), kgo.RecordRetries(0))
		one := func() error {
			return cl.ProduceSync(within(t), &kgo.Record{Topic: "t", Value: []byte("v")}).FirstErr()
		}
		if err := one(); err != nil {
			t.Fatal(err)
		}
		i, err := b.Inject(Injection{
			APIs: []kmsg.Key{kmsg.Produce}, Code: kerr.MessageTooLarge.Code, Count: 2, Topic: func(topic string) bool { return topic == "t" },
		})
		if err != nil {
			t.Fatal(err)
		}
		for n := range 3 {
			if err := one(); errors.Is(err, kerr.MessageTooLarge) != (n < 2) {
				t.Errorf("record %d: %v", n, err)
			}
		}
		if i.Hits() != 2 {
			t.Errorf("%d hits, want 2", i.Hits())
		}
		for _, nobody := range []Injection{
			{Topic: func(string) bool { return false }},
			{TransactionalID: func(string) bool { return true }}, // the client has none
		} {
			nobody.APIs, nobody.Code = []kmsg.Key{kmsg.Produce}, kerr.MessageTooLarge.Code
			i, err := b.Inject(nobody)
			if err != nil {
				t.Fatal(err)
			}
			if err := one(); err != nil || i.Hits() != 0 {
				t.Errorf("%v, %d hits; want none", err, i.Hits())
			}
		}
		i, err = b.Inject(Injection{APIs: []kmsg.Key{kmsg.Produce}, Code: kerr.MessageTooLarge.Code})
		if err != nil {
			t.Fatal(err)
		}
		if err := one(); !errors.Is(err, kerr.MessageTooLarge) {
			t.Errorf("%v, want the injected error", err)
		}
		i.End()
		i.End()
		if err := one(); err != nil {
			t.Errorf("after its end: %v", err)
		}
		if _, err := b.Inject(Injection{Code: 9999}); err == nil {
			t.Error("an error code that does not exist was taken")
		}
		b.Close()
		if _, err := b.Inject(Injection{Code: 1}); !errors.Is(err, ErrClosed) {
			t.Errorf("%v, want ErrClosed", err)
		}
		i.End()
	})
}

// begun returns a transactional client with an open transaction of one record.
func begun(t *testing.T, b *Broker, id string, timeout time.Duration) *kgo.Client {
	t.Helper()
	cl := client(t, b, kgo.TransactionalID(id), kgo.TransactionTimeout(timeout))
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	produce(t, cl, "t", "v")
	return cl
}

func TestForgetProducers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := cluster(t, 1, nil)
		i, err := b.ForgetProducers()
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // a producer of another id each
			cl := client(t, b, kgo.TransactionalID(time.Now().String()))
			if err := cl.BeginTransaction(); err != nil {
				t.Fatal(err)
			}
			if err := cl.ProduceSync(within(t), &kgo.Record{Topic: "t"}).FirstErr(); !errors.Is(err, kerr.UnknownProducerID) {
				t.Errorf("%v, want UNKNOWN_PRODUCER_ID", err)
			}
			time.Sleep(time.Second)
		}
		if i.Hits() != 2 {
			t.Errorf("%d hits, want 2", i.Hits())
		}
		produce(t, client(t, b), "t", "without an id")
	})
}

// initialise asks for a producer id by hand and returns the error code.
func initialise(t *testing.T, cl *kgo.Client, id string) error {
	t.Helper()
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID, req.TransactionTimeoutMillis = &id, 60000
	broker := cl.Broker(0) // without retries
	resp, err := broker.Request(within(t), req)
	if err != nil {
		t.Fatal(err)
	}
	return kerr.ErrorForCode(resp.(*kmsg.InitProducerIDResponse).ErrorCode)
}

func TestCoordinatorsLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := cluster(t, 1, nil)
		cl := client(t, b)
		i, err := b.LoadCoordinators()
		if err != nil {
			t.Fatal(err)
		}
		if err := initialise(t, cl, "a"); !errors.Is(err, kerr.CoordinatorLoadInProgress) {
			t.Errorf("%v, want COORDINATOR_LOAD_IN_PROGRESS", err)
		}
		produce(t, cl, "t", "needs no coordinator")
		i.End()
		if err := initialise(t, cl, "a"); err != nil {
			t.Error(err)
		}
	})
}

func TestMarkersAreSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := cluster(t, 1, nil)
		i, err := b.SlowMarkers(500*time.Millisecond, 7)
		if err != nil {
			t.Fatal(err)
		}
		cl, other := begun(t, b, "a", time.Minute), client(t, b)
		end(t, cl, kgo.TryCommit)
		committed := time.Now()
		stable := func() error {
			req := kmsg.NewPtrOffsetFetchRequest()
			group := kmsg.NewOffsetFetchRequestGroup()
			req.Group, req.RequireStable, group.Group = "g", true, "g"
			topic := kmsg.NewOffsetFetchRequestGroupTopic()
			topic.Topic, topic.Partitions = "t", []int32{0}
			group.Topics = append(group.Topics, topic)
			req.Groups = append(req.Groups, group)
			resp, err := other.Broker(0).Request(within(t), req)
			if err != nil {
				t.Fatal(err)
			}
			for _, g := range resp.(*kmsg.OffsetFetchResponse).Groups {
				if g.ErrorCode == kerr.UnstableOffsetCommit.Code {
					return kerr.UnstableOffsetCommit
				}
				for _, topic := range g.Topics {
					for _, p := range topic.Partitions {
						if p.ErrorCode == kerr.UnstableOffsetCommit.Code {
							return kerr.UnstableOffsetCommit
						}
					}
				}
			}
			return nil
		}
		if err := stable(); !errors.Is(err, kerr.UnstableOffsetCommit) {
			t.Errorf("stable offsets: %v, want UNSTABLE_OFFSET_COMMIT", err)
		}
		if err := initialise(t, other, "a"); !errors.Is(err, kerr.ConcurrentTransactions) {
			t.Errorf("initialise: %v, want CONCURRENT_TRANSACTIONS", err)
		}
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		produce(t, cl, "t", "of the next transaction")
		if waited := time.Since(committed); waited < 50*time.Millisecond || waited > 5*time.Second {
			t.Errorf("the next transaction waited %v", waited)
		}
		if err := stable(); err != nil {
			t.Errorf("stable offsets later: %v", err)
		}
		// A producer over an open transaction is asked to come again, and then aborts it.
		if err := initialise(t, other, "a"); !errors.Is(err, kerr.ConcurrentTransactions) {
			t.Errorf("initialise over an open transaction: %v, want CONCURRENT_TRANSACTIONS", err)
		}
		time.Sleep(500 * time.Millisecond)
		if err := initialise(t, other, "a"); err != nil {
			t.Errorf("initialise later: %v", err)
		}
		if i.Hits() < 4 {
			t.Errorf("%d hits", i.Hits())
		}
		i.End()
	})
}

// aborted returns how long it takes the broker to abort a transaction by itself.
func aborted(t *testing.T, b *Broker, id string, timeout time.Duration) time.Duration {
	t.Helper()
	began := time.Now()
	begun(t, b, id, timeout)
	adm := kadm.NewClient(client(t, b))
	for {
		listed, err := adm.ListTransactions(within(t), nil, []string{"Ongoing"})
		if err != nil {
			t.Fatal(err)
		}
		if len(listed) == 0 {
			return time.Since(began)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func TestAbortsAreSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := cluster(t, 1, nil)
		if d := aborted(t, b, "before", 5*time.Second); d < 4*time.Second || d > 6*time.Second {
			t.Errorf("aborted after %v, want 5 s", d)
		}
		i, err := b.SlowAborts(10*time.Second, 3)
		if err != nil {
			t.Fatal(err)
		}
		var all []time.Duration
		for _, id := range []string{"a", "b", "c"} {
			d := aborted(t, b, id, 5*time.Second)
			if all = append(all, d); d < 5*time.Second-100*time.Millisecond || d > 15500*time.Millisecond {
				t.Errorf("aborted after %v, want 5 to 15 s", d)
			}
		}
		if slices.Max(all)-slices.Min(all) < 100*time.Millisecond || slices.Max(all) < 6*time.Second {
			t.Errorf("aborted after %v, want different times", all)
		}
		i.End()
		if d := aborted(t, b, "after", 5*time.Second); d > 6*time.Second {
			t.Errorf("aborted after %v, want 5 s", d)
		}
	})
}

func TestANewClusterSettles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		settle(t)
		cfg := Default()
		cfg.Settle = 5 * time.Second
		b := start(t, cfg)
		began := time.Now()
		cl := client(t, b)
		if err := initialise(t, cl, "a"); !errors.Is(err, kerr.CoordinatorLoadInProgress) {
			t.Errorf("%v, want COORDINATOR_LOAD_IN_PROGRESS", err)
		}
		time.Sleep(3 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if _, err := kadm.NewClient(cl).CreateTopic(ctx, 1, 1, nil, "late"); err != nil {
			t.Fatal(err)
		}
		produce(t, cl, "late", "v")
		if d := time.Since(began); d < 8*time.Second || d > 15*time.Second {
			t.Errorf("the topic could be written after %v, want 8 s and little more", d)
		}
		if err := initialise(t, cl, "a"); err != nil {
			t.Error(err)
		}
	})
}
