package faults_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"eostop/faults"
)

// cluster is a broker on a network inside the process, with a client under a link, in a synctest bubble.
type cluster struct {
	*testing.T
	kafka   *kfake.Cluster
	network *kfake.VirtualNetwork
	base    faults.Dialer // below the link
	link    *faults.Link
	rules   *faults.Rules
	hits    chan faults.Hit
	seeds   []string
	topic   string
	clients []*kgo.Client
}

// clustered runs f in a bubble with a cluster that has topic "out" of two partitions.
func clustered(t *testing.T, opts []kfake.Opt, f func(*cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{T: t, network: new(kfake.VirtualNetwork), link: faults.NewLink("i1"), hits: make(chan faults.Hit, 10_000)}
		opts = append([]kfake.Opt{
			kfake.NumBrokers(2), kfake.Ports(9092, 9093), kfake.ListenFn(c.network.Listen), kfake.SeedTopics(2, "out"),
		}, opts...)
		var err error
		if c.kafka, err = kfake.NewCluster(opts...); err != nil {
			t.Fatal(err)
		}
		defer c.kafka.Close()
		c.seeds = c.kafka.ListenAddrs()
		c.base = c.network.DialContext
		c.rules = faults.NewRules(func(hit faults.Hit) { c.hits <- hit })
		c.link.SetRules(c.rules)
		c.topic = "out"
		c.link.NameNodes(func(addr string) string {
			_, port, _ := net.SplitHostPort(addr)
			n, _ := strconv.Atoi(port)
			return strconv.Itoa(n - 9092)
		})
		defer c.link.Close()
		defer func() {
			for _, client := range c.clients {
				client.Close()
			}
		}()
		f(c)
	})
}

// client is under the link.
func (c *cluster) client(name string, opts ...kgo.Opt) *kgo.Client {
	c.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(c.seeds...), kgo.ClientID(name), kgo.Dialer(c.link.Wrap(c.base)), kgo.DisableClientMetrics(),
		kgo.MetadataMinAge(100 * time.Millisecond), kgo.RequestTimeoutOverhead(5 * time.Second), kgo.ProducerLinger(0),
	}, opts...)...)
	if err != nil {
		c.Fatal(err)
	}
	c.clients = append(c.clients, client)
	return client
}

// producer is a transactional client as the runtime has it: what decides a transaction is never repeated.
func (c *cluster) producer(opts ...kgo.Opt) *kgo.Client {
	c.Helper()
	return c.client(producerID, append([]kgo.Opt{
		kgo.TransactionalID("app-p1-1"), kgo.TransactionTimeout(time.Minute), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RetryTimeoutFn(func(key int16) time.Duration {
			if kmsg.Key(key) == kmsg.EndTxn {
				return time.Nanosecond
			}
			return 10 * time.Second
		}),
	}, opts...)...)
}

func (c *cluster) add(rule faults.Rule) (id string) {
	c.Helper()
	id, err := c.rules.Add(rule)
	if err != nil {
		c.Fatal(err)
	}
	return id
}

// committed returns the values that a reader of committed records finds within a while.
func (c *cluster) committed() (list []string) {
	c.Helper()
	reader, err := kgo.NewClient(
		kgo.SeedBrokers(c.seeds...), kgo.Dialer(c.base), kgo.ConsumeTopics(c.topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableClientMetrics(), kgo.FetchMaxWait(100*time.Millisecond),
	)
	if err != nil {
		c.Fatal(err)
	}
	defer reader.Close()
	ctx, cancel := context.WithTimeout(c.Context(), 2*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		reader.PollFetches(ctx).EachRecord(func(r *kgo.Record) { list = append(list, string(r.Value)) })
	}
	return list
}

// send produces one record to a partition.
func send(ctx context.Context, client *kgo.Client, partition int32, value string) error {
	return client.ProduceSync(ctx, &kgo.Record{Topic: "out", Partition: partition, Value: []byte(value)}).FirstErr()
}

// transaction runs one from its beginning to the commit, and says at which step it failed.
func (c *cluster) transaction() (step string, err error) {
	c.Helper()
	session, err := kgo.NewGroupTransactSession(
		kgo.SeedBrokers(c.seeds...), kgo.ClientID(producerID), kgo.Dialer(c.link.Wrap(c.base)), kgo.DisableClientMetrics(),
		kgo.TransactionalID("app-p1-1"), kgo.ConsumerGroup("app"), kgo.MetadataMinAge(100*time.Millisecond),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
	)
	if err != nil {
		c.Fatal(err)
	}
	defer session.Close()
	client := session.Client()
	ctx, cancel := context.WithTimeout(c.Context(), time.Minute)
	defer cancel()
	if _, _, err := client.ProducerID(ctx); err != nil {
		return "init", err
	}
	if err := session.Begin(); err != nil {
		return "begin", err
	}
	record := &kgo.Record{Topic: c.topic, Value: []byte("value")}
	if err := client.ProduceSync(ctx, record).FirstErr(); err != nil {
		return "produce", err
	}
	offset := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	offset.Offset = 7
	committed, err := session.End(kgo.PreTxnCommitFnContext(ctx, func(req *kmsg.TxnOffsetCommitRequest) error {
		req.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: c.topic, Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{offset}}}
		return nil
	}), kgo.TryCommit)
	switch {
	case err != nil && len(c.hits) > 0 && c.peek() != "EndTxn":
		return "offsets", err
	case err != nil:
		return "end", err
	case !committed:
		return "aborted", nil
	default:
		return "", nil
	}
}

// peek returns the API of the oldest hit.
func (c *cluster) peek() string {
	hit := <-c.hits
	c.hits <- hit
	return hit.API
}

func TestTransactionWithoutARule(t *testing.T) {
	for _, version := range []string{"2.6", "3.7", "4.0"} {
		clustered(t, []kfake.Opt{kfake.MaxVersions(kversion.FromString(version))}, func(c *cluster) {
			c.add(faults.Rule{Topic: "no such topic", Action: faults.Reject, Code: invalidTxnState}) // so that all is looked at
			if step, err := c.transaction(); step != "" || err != nil {
				t.Errorf("%s: the transaction failed at %q: %v", version, step, err)
			}
			if got := c.committed(); !slices.Equal(got, []string{"value"}) {
				t.Errorf("%s: committed %q", version, got)
			}
		})
	}
}

// lose-endtxn-response: whether the transaction was committed is not known to the client.
func TestEndTxnOutcomeIsUnknown(t *testing.T) {
	for name, test := range map[string]struct {
		rule faults.Rule
		want []string
	}{
		"applied":          {faults.Rule{Action: faults.DropResponse}, []string{"value"}},
		"applied, closed":  {faults.Rule{Action: faults.DropResponse, Close: true}, []string{"value"}},
		"applied, late":    {faults.Rule{Action: faults.DelayResponse, Delay: time.Minute}, []string{"value"}},
		"not applied":      {faults.Rule{Action: faults.Close}, nil},
		"applied later":    {faults.Rule{Action: faults.HoldRequest, Delay: 12 * time.Second}, []string{"value"}},
		"applied and lies": {faults.Rule{Action: faults.Rewrite, Code: invalidTxnState}, []string{"value"}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, version := range []string{"3.7", "4.0"} {
				clustered(t, []kfake.Opt{kfake.MaxVersions(kversion.FromString(version))}, func(c *cluster) {
					producer := c.producer()
					test.rule.APIs, test.rule.End, test.rule.Count = []string{"EndTxn"}, faults.Commit, 1
					id := c.add(test.rule)
					if err := producer.BeginTransaction(); err != nil {
						t.Fatal(err)
					}
					if err := send(c.Context(), producer, 0, "value"); err != nil {
						t.Fatal(err)
					}
					ctx, cancel := context.WithTimeout(c.Context(), 8*time.Second)
					defer cancel()
					err := producer.EndTransaction(ctx, kgo.TryCommit)
					if err == nil {
						t.Error("the client knows that it has committed")
					}
					if err := c.rules.Wait(c.Context(), id, 1); err != nil {
						t.Error(err)
					}
					producer.Close()
					time.Sleep(20 * time.Second)
					if got := c.committed(); !slices.Equal(got, test.want) {
						t.Errorf("version %s: committed %q, want %q (EndTransaction: %v)", version, got, test.want, err)
					}
				})
			}
		})
	}
}

// late-endtxn (KAFKA-17754): the request that would commit arrives when its producer has been initialised again.
func TestLateEndTxnIsAZombie(t *testing.T) {
	for _, version := range []string{"3.7", "4.0"} {
		clustered(t, []kfake.Opt{kfake.MaxVersions(kversion.FromString(version))}, func(c *cluster) {
			id := c.add(faults.Rule{APIs: []string{"EndTxn"}, Action: faults.HoldRequest, Delay: 15 * time.Second, Count: 1})
			seen := make(chan int16, 10)
			c.kafka.ControlKey(int16(kmsg.EndTxn), func(req kmsg.Request) (kmsg.Response, error, bool) {
				c.kafka.KeepControl()
				seen <- req.(*kmsg.EndTxnRequest).ProducerEpoch
				return nil, nil, false
			})
			for n, value := range []string{"old", "new"} {
				producer := c.producer()
				if err := producer.BeginTransaction(); err != nil {
					t.Fatal(err)
				}
				if err := send(c.Context(), producer, 0, value); err != nil {
					t.Fatal(err)
				}
				if n == 1 {
					time.Sleep(20 * time.Second) // the old request arrives in the midst of the new transaction
				}
				ctx, cancel := context.WithTimeout(c.Context(), 5*time.Second)
				err := producer.EndTransaction(ctx, kgo.TryCommit)
				cancel()
				if (err == nil) != (n == 1) {
					t.Errorf("EndTransaction: %v", err)
				}
				producer.Close()
			}
			if c.rules.Hits(id) != 1 {
				t.Error("the rule did not act")
			}
			if old, now := <-seen, <-seen; old >= now {
				t.Errorf("epochs %d and %d arrived, want the old one first", old, now)
			}
			if got := c.committed(); !slices.Equal(got, []string{"new"}) {
				t.Errorf("version %s: committed %q", version, got)
			}
		})
	}
}

// A group lives through errors that its members get now and then.
func TestGroupLivesOn(t *testing.T) {
	clustered(t, nil, func(c *cluster) {
		for _, rule := range []faults.Rule{
			{APIs: []string{"JoinGroup"}, Code: 25, Action: faults.Reject, Nth: 2, Count: 2}, // UNKNOWN_MEMBER_ID
			{APIs: []string{"SyncGroup"}, Code: 27, Action: faults.Rewrite, Count: 1},        // REBALANCE_IN_PROGRESS
			{APIs: []string{"Heartbeat"}, Code: 22, Action: faults.Reject, Nth: 3, Count: 1}, // ILLEGAL_GENERATION
			{APIs: []string{"OffsetFetch"}, Code: 88, Action: faults.Rewrite, Count: 3},      // UNSTABLE_OFFSET_COMMIT
			{APIs: []string{"Fetch"}, Code: 6, Action: faults.Rewrite, Nth: 5, Count: 1},     // NOT_LEADER_FOR_PARTITION
			{APIs: []string{"ListOffsets"}, Code: 5, Action: faults.Reject, Count: 1},        // LEADER_NOT_AVAILABLE
			{APIs: []string{"FindCoordinator"}, Code: 15, Action: faults.Reject, Count: 2},   // COORDINATOR_NOT_AVAILABLE
			{APIs: []string{"Fetch"}, Action: faults.DropResponse, Close: true, Probability: 0.1, Count: 5},
		} {
			c.add(rule)
		}
		consumer := c.client("i1-StreamThread-1-consumer", kgo.ConsumerGroup("app"), kgo.ConsumeTopics("out"),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.HeartbeatInterval(time.Second), kgo.FetchMaxWait(500*time.Millisecond))
		producer := c.client(producerID, kgo.RecordPartitioner(kgo.ManualPartitioner()))
		ctx, cancel := context.WithTimeout(c.Context(), 5*time.Minute)
		defer cancel()
		var sending sync.WaitGroup
		defer sending.Wait()
		sending.Go(func() {
			for n := range 60 {
				if err := send(ctx, producer, int32(n%2), strconv.Itoa(n)); err != nil {
					t.Errorf("produce: %v", err)
				}
				time.Sleep(time.Second)
			}
		})
		got := map[string]bool{}
		for len(got) < 60 && ctx.Err() == nil {
			consumer.PollFetches(ctx).EachRecord(func(r *kgo.Record) { got[string(r.Value)] = true })
		}
		if len(got) != 60 {
			t.Errorf("%d of 60 records were consumed", len(got))
		}
		for _, status := range c.rules.List() {
			if status.Hits == 0 {
				t.Errorf("rule of %v has not acted, %d matches", status.APIs, status.Matches)
			}
		}
		if err := consumer.LeaveGroupContext(ctx); err != nil {
			t.Error(err)
		}
	})
}

// A client works over links that are slow, narrow, reset and half-open.
func TestClientOverImpairedLinks(t *testing.T) {
	for name, test := range map[string]struct {
		impairment faults.Impairment
		least      time.Duration // that ten records take
		most       time.Duration
	}{
		"nothing":          {faults.Impairment{}, 0, 0},
		"delay of 500 ms":  {faults.Impairment{Delay: 500 * time.Millisecond}, 10 * time.Second, 15 * time.Second},
		"delay of 2 s":     {faults.Impairment{Delay: 2 * time.Second}, 40 * time.Second, time.Minute},
		"jitter":           {faults.Impairment{Jitter: time.Second, Seed: 1}, time.Second, 30 * time.Second},
		"64 kB/s":          {faults.Impairment{Rate: 64 << 10}, 10 * time.Second, 20 * time.Second},
		"reset at random":  {faults.Impairment{Resets: 0.5, Seed: 1, Delay: 100 * time.Millisecond}, time.Second, time.Minute},
		"half-open":        {faults.Impairment{HalfOpen: true}, 5 * time.Second, 30 * time.Second},
		"one node is away": {faults.Impairment{Node: "1", Cut: true}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			clustered(t, nil, func(c *cluster) {
				producer := c.client(producerID, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()),
					kgo.DialTimeout(10*time.Second), kgo.ProduceRequestTimeout(5*time.Second))
				if err := c.kafka.MoveTopicPartition("out", 0, 0); err != nil {
					t.Fatal(err)
				}
				if err := c.kafka.MoveTopicPartition("out", 1, 1); err != nil {
					t.Fatal(err)
				}
				for partition := range int32(2) {
					if err := send(c.Context(), producer, partition, "first"); err != nil {
						t.Fatal(err)
					}
				}
				end := func() {}
				if test.impairment != (faults.Impairment{}) {
					var err error
					if end, err = c.link.Impair(test.impairment); err != nil {
						t.Fatal(err)
					}
				}
				defer end()
				start := time.Now()
				for range 10 {
					if err := send(c.Context(), producer, 0, strings.Repeat("x", 64<<10)); err != nil {
						t.Fatal(err)
					}
				}
				if d := time.Since(start); d < test.least || d > test.most {
					t.Errorf("ten records took %v, want %v to %v", d, test.least, test.most)
				}
				if test.impairment.Cut {
					done := make(chan error, 1)
					go func() { done <- send(c.Context(), producer, 1, "late") }()
					time.Sleep(20 * time.Second)
					select {
					case err := <-done:
						t.Errorf("a record for the node that is away: %v", err)
					default:
					}
					end()
					if err := <-done; err != nil {
						t.Errorf("a record for the node that was away: %v", err)
					}
				}
			})
		})
	}
}

// An admin client, whose requests go to every broker, is served as well.
func TestAdminUnderRules(t *testing.T) {
	clustered(t, nil, func(c *cluster) {
		admin := kadm.NewClient(c.client("i1-admin"))
		c.add(faults.Rule{APIs: []string{"CreateTopics", "DeleteTopics", "DescribeConfigs"}, Action: faults.Reject, Code: 41, Count: 1})
		_, err := admin.CreateTopic(c.Context(), 1, 1, nil, "more")
		if err != nil && !errors.Is(err, kerr.NotController) {
			t.Errorf("CreateTopic: %v", err)
		}
		if hit := <-c.hits; hit.API != "CreateTopics" || !slices.Equal(hit.Topics, []string{"more"}) {
			t.Errorf("hit %+v", hit)
		}
	})
}
