package verify

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"
	"go.uber.org/goleak"

	_ "eostop/faults/synctestrace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cluster is a broker in a bubble, with the reference's topics.
type cluster struct {
	t        *testing.T
	fake     *kfake.Cluster
	network  kfake.VirtualNetwork
	producer int64 // id of the one that a test is about
	rng      *rand.Rand
}

// inBubble runs a test in virtual time with a cluster of some nodes.
func inBubble(t *testing.T, nodes int, fn func(c *cluster)) {
	t.Helper()
	seed := newSeed()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{t: t, rng: rand.New(rand.NewPCG(seed, 0))}
		fake, err := kfake.NewCluster(kfake.NumBrokers(nodes), kfake.Ports([]int{9092, 9093, 9094}[:nodes]...),
			kfake.ListenFn(c.network.Listen), kfake.MaxVersions(kversion.V3_7_0()))
		if err != nil {
			t.Fatal(err)
		}
		c.fake = fake
		t.Cleanup(func() {
			fake.Close()
			time.Sleep(time.Minute) // what clients left behind ends
		})
		fn(c)
	})
}

// client returns a client that ends with the test.
func (c *cluster) client(opts ...kgo.Opt) *kgo.Client {
	c.t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers("127.0.0.1:9092"), kgo.Dialer(c.network.DialContext), kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0), kgo.DisableClientMetrics(),
	}, opts...)...)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(cl.Close)
	return cl
}

// config returns a Config for the topics of the soak program.
func (c *cluster) config() Config { return c.configOf(variant{model: ModelSoak}) }

// configOf returns a Config for the topics of a program.
func (c *cluster) configOf(v variant) Config {
	cfg := Default()
	cfg.Model, cfg.Cached, cfg.AtLeastOnce = v.model, v.mode.Cached, v.mode.AtLeastOnce
	cfg.Seeds, cfg.Dial, cfg.Hash = []string{"127.0.0.1:9092"}, c.network.DialContext, testHash
	cfg.Input, cfg.Outputs, cfg.Changelogs = "app-input", make(map[string]string), make(map[string]string)
	m, err := newModel(v.model, v.mode, testHash)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, s := range m.Streams() {
		cfg.Outputs[s.Role] = "app-" + s.Role
	}
	for _, s := range m.Stores() {
		cfg.Changelogs[s] = "app-" + s + "-changelog"
	}
	return cfg
}

// create creates the topics of a Config.
func (c *cluster) create(cfg *Config, partitions int) {
	c.t.Helper()
	topics := []string{cfg.Input}
	for _, topic := range cfg.Outputs {
		topics = append(topics, topic)
	}
	for _, topic := range cfg.Changelogs {
		topics = append(topics, topic)
	}
	for _, topic := range topics {
		if err := c.fake.CreateTopic(topic, int32(partitions), nil); err != nil {
			c.t.Fatal(err)
		}
	}
}

// start runs a verifier until the test ends.
func (c *cluster) start(cfg Config) *Verifier {
	c.t.Helper()
	v, err := New(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- v.Run(ctx) }()
	c.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			c.t.Errorf("run: %v", err)
		}
	})
	return v
}

// records turns a log into records for the broker.
func records(topic string, p int, log []message) []*kgo.Record {
	all := make([]*kgo.Record, 0, len(log))
	for _, m := range log {
		rec := &kgo.Record{Topic: topic, Partition: int32(p), Key: m.key, Value: m.value, Timestamp: m.created}
		if m.header != nil {
			rec.Headers = []kgo.RecordHeader{{Key: "other", Value: []byte("x")}, {Key: HeaderKey, Value: m.header}}
		}
		all = append(all, rec)
	}
	return all
}

// writeInputs appends a reference's inputs to the broker's topic.
func (c *cluster) writeInputs(cfg *Config, r *reference) {
	c.t.Helper()
	cl := c.client()
	for p, log := range r.inputs {
		if err := cl.ProduceSync(c.t.Context(), records(cfg.Input, p, log)...).FirstErr(); err != nil {
			c.t.Fatal(err)
		}
	}
}

// writeOutputs appends a reference's outputs and changelogs in many transactions. Every other one is aborted first
// and then done again.
func (c *cluster) writeOutputs(cfg *Config, r *reference) {
	c.t.Helper()
	var pending [][]*kgo.Record
	for role, topic := range cfg.Outputs {
		for p, log := range r.outputs[role] {
			pending = append(pending, records(topic, p, log))
		}
	}
	if cfg.AtLeastOnce {
		c.produce(pending)
		pending = nil
	}
	for store, topic := range cfg.Changelogs {
		for p, log := range r.changelogs[store] {
			pending = append(pending, records(topic, p, log))
		}
	}
	cl := c.client(kgo.TransactionalID("app"))
	for {
		var batch []*kgo.Record
		for i, log := range pending {
			n := min(len(log), 1+c.rng.IntN(200))
			batch, pending[i] = append(batch, log[:n]...), log[n:]
		}
		if len(batch) == 0 {
			return
		}
		if c.rng.IntN(2) == 0 {
			c.transaction(cl, batch, kgo.TryAbort)
		}
		c.transaction(cl, batch, kgo.TryCommit)
	}
}

// produce appends logs outside of any transaction.
func (c *cluster) produce(logs [][]*kgo.Record) {
	c.t.Helper()
	cl := c.client()
	for _, log := range logs {
		if err := cl.ProduceSync(c.t.Context(), log...).FirstErr(); err != nil {
			c.t.Fatal(err)
		}
	}
}

func (c *cluster) transaction(cl *kgo.Client, batch []*kgo.Record, how kgo.TransactionEndTry) {
	c.t.Helper()
	if err := cl.BeginTransaction(); err != nil {
		c.t.Fatal(err)
	}
	again := make([]*kgo.Record, 0, len(batch))
	for _, rec := range batch {
		again = append(again, &kgo.Record{
			Topic: rec.Topic, Partition: rec.Partition, Key: rec.Key, Value: rec.Value, Headers: rec.Headers, Timestamp: rec.Timestamp,
		})
	}
	if err := cl.ProduceSync(c.t.Context(), again...).FirstErr(); err != nil {
		c.t.Fatal(err)
	}
	if err := cl.EndTransaction(c.t.Context(), how); err != nil {
		c.t.Fatal(err)
	}
}

// finish calls Finish with a minute to go.
func (c *cluster) finish(v *Verifier, digests []StoreDigest) Status {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	s, err := v.Finish(ctx, digests)
	if err != nil {
		c.t.Fatal(err)
	}
	if !s.Final {
		c.t.Error("the status is not final")
	}
	return s
}

// small returns a reference that has processed a few hundred inputs.
func (c *cluster) small() *reference {
	r := newReference(c.rng, 3)
	r.generate(7, 600, 10)
	r.run()
	return r
}

// wantUnknown checks that a verdict is unknown for a reason.
func wantUnknown(t *testing.T, s *Status, reason string) {
	t.Helper()
	if s.Verdict != Unknown || !strings.Contains(strings.Join(s.Reasons, "\n"), reason) {
		t.Errorf("want unknown because of %q, have %+v", reason, s)
	}
}

// firstWitness returns the first witness of a violation that has so many.
func firstWitness(t *testing.T, status Status, n int) Witness {
	t.Helper()
	if status.Verdict != Violation || len(status.Witnesses) != n {
		t.Fatalf("%+v", status)
	}
	return status.Witnesses[0]
}
