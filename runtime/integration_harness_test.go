package runtime_test

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"eostop/faults"
	"eostop/faults/broker"
	_ "eostop/faults/synctestrace"
	"eostop/runtime"
	"eostop/runtime/journal"
	"eostop/runtime/metrics"
	"eostop/runtime/topology"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// mode is what an integration test is run under.
type mode struct {
	guarantee runtime.Guarantee
	version   string // of Kafka: before 4.0 epochs are constant, from then on each commit has one of its own
}

func (m mode) String() string { return string(m.guarantee) + " on " + m.version }

// exactlyOnce reports whether nothing may be seen twice.
func (m mode) exactlyOnce() bool { return m.guarantee.Transactional() }

// everyMode runs a test under each guarantee and transaction protocol.
func everyMode(t *testing.T, fn func(*testing.T, mode)) {
	t.Helper()
	inModes(t, runtime.Guarantees(), fn)
}

// exactlyOnceModes runs a test under each guarantee that has transactions.
func exactlyOnceModes(t *testing.T, fn func(*testing.T, mode)) {
	t.Helper()
	inModes(t, []runtime.Guarantee{runtime.ExactlyOnceV2, runtime.ExactlyOnce}, fn)
}

func inModes(t *testing.T, guarantees []runtime.Guarantee, fn func(*testing.T, mode)) {
	t.Helper()
	for _, guarantee := range guarantees {
		for _, version := range []string{"3.7", "4.0"} {
			m := mode{guarantee, version}
			t.Run(m.String(), func(t *testing.T) {
				t.Parallel()
				fn(t, m)
			})
		}
	}
}

const (
	applicationID = "app"
	// soon is how long anything may take that waits for nobody's time-out.
	soon = 10 * time.Second
	// late is how long anything may take that has to wait for a session or a transaction to time out.
	late = time.Minute
)

// cluster is an embedded broker in a bubble with virtual time, the instances that run against it, and the test's own
// clients. Its methods are for the test's goroutine.
type cluster struct {
	*testing.T
	mode
	broker  *broker.Broker
	client  *kgo.Client // of the test: it produces what it is told, where it is told
	admin   *kadm.Client
	journal *journal.Journal // of all instances
	rng     *rand.Rand
	members []*member
	clients []*kgo.Client
}

// inBubble runs a test in virtual time with a fresh broker. What is left running at the end is closed; a goroutine that
// survives that fails the test.
func inBubble(t *testing.T, m mode, fn func(*cluster)) {
	t.Helper()
	seed := rand.Uint64()
	synctest.Test(t, func(t *testing.T) {
		cfg := broker.Default()
		cfg.KafkaVersion = m.version
		b, err := broker.Start(cfg)
		if err != nil {
			t.Fatal(err)
		}
		c := &cluster{T: t, mode: m, broker: b, journal: journal.New(20_000), rng: rand.New(rand.NewPCG(seed, 0))}
		defer c.end(seed)
		c.client = c.newClient(kgo.RecordPartitioner(kgo.ManualPartitioner()))
		c.admin = kadm.NewClient(c.client)
		fn(c)
	})
}

// end closes everything. What connections still owe to a network that was cut runs out before the bubble may end.
func (c *cluster) end(seed uint64) {
	for _, m := range c.members {
		m.close()
		if m.link != nil {
			m.link.Close()
		}
	}
	for _, client := range c.clients {
		client.Close()
	}
	c.broker.Close()
	time.Sleep(3 * time.Minute)
	if c.Failed() {
		c.Logf("seed %d, the journal:\n%s", seed, c.story())
	}
}

// story is the journal without what only repeats itself.
func (c *cluster) story() string {
	var b strings.Builder
	var began time.Time
	for _, e := range c.journal.Tail(2000) {
		if began.IsZero() {
			began = e.At
		}
		if e.Kind == journal.KindTaskState {
			continue
		}
		fmt.Fprintf(&b, "%9.3f %-22s %s", e.At.Sub(began).Seconds(), cmp.Or(e.Thread, e.Instance), e.Text)
		if e.Error != "" {
			fmt.Fprintf(&b, " | %s", e.Error)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// newClient returns a client of the test that ends with it.
func (c *cluster) newClient(opts ...kgo.Opt) *kgo.Client {
	c.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(c.broker.Addrs()...), kgo.Dialer(c.broker.Dial), kgo.DisableClientMetrics(),
		kgo.MetadataMinAge(100 * time.Millisecond), kgo.ProducerLinger(0),
	}, opts...)...)
	if err != nil {
		c.Fatal(err)
	}
	c.clients = append(c.clients, client)
	return client
}

// member is an instance with its link, its disk, and the wire on which single requests can be interfered with.
type member struct {
	*runtime.Instance
	c      *cluster
	name   string
	top    *topology.Topology
	cfg    runtime.Config
	onLoop func(thread string)
	disk   *vfs.MemFS
	wrap   func(vfs.FS) vfs.FS // what the instance sees of its disk; nil = all of it
	link   *faults.Link
	wire   *wire
	closed bool

	registry *metrics.Registry // of what the instance measures; nil = nothing
}

// config returns the configuration of an instance of one thread, as tests want it: short intervals, and changelogs that
// are never rewritten, so that their offsets can be foretold.
func (c *cluster) config(name string) runtime.Config {
	cfg := runtime.DefaultConfig()
	cfg.ApplicationID, cfg.ClientID, cfg.StateDir = applicationID, name, "/state"
	cfg.StreamThreads, cfg.Guarantee = 1, c.guarantee
	cfg.CompactChangelogs = false
	return cfg
}

// prepare makes an instance that launch starts, so that what it sees can be changed before.
func (c *cluster) prepare(name string, top *topology.Topology, change func(*runtime.Config)) *member {
	c.Helper()
	m := &member{c: c, name: name, top: top, cfg: c.config(name), disk: vfs.NewCrashableMem(), closed: true}
	if change != nil {
		change(&m.cfg)
	}
	c.members = append(c.members, m)
	return m
}

// start starts an instance; await tells when it runs.
func (c *cluster) start(name string, top *topology.Topology, change func(*runtime.Config)) *member {
	c.Helper()
	m := c.prepare(name, top, change)
	m.launch()
	return m
}

// launch starts an instance over what is on the member's disk, with a link and a wire of its own.
func (m *member) launch() {
	m.c.Helper()
	m.assemble()
	m.begin()
}

// assemble is the first half of launch: the wire is there, and nothing has been sent.
func (m *member) assemble() {
	m.c.Helper()
	m.link, m.wire, m.closed = faults.NewLink(m.name), newWire(), false
	logger := slog.New(slog.DiscardHandler)
	if os.Getenv("EOSTOP_TEST_LOG") != "" {
		logger = slog.New(slog.NewTextHandler(m.c.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	var disk vfs.FS = m.disk
	if m.wrap != nil {
		disk = m.wrap(disk)
	}
	instance, err := runtime.New(m.cfg, m.top, runtime.Env{
		Brokers: m.c.broker.Addrs(), Dial: m.wire.dialer(m.link.Wrap(m.c.broker.Dial)),
		FS: disk, Journal: m.c.journal, Logger: logger, OnLoop: m.onLoop, Metrics: m.registry,
	})
	if err != nil {
		m.c.Fatal(err)
	}
	m.Instance = instance
}

// begin is the second half of launch.
func (m *member) begin() {
	m.c.Helper()
	if err := m.Start(context.Background()); err != nil {
		m.c.Fatal(err)
	}
}

// close closes the instance cleanly, or at once where that takes too long.
func (m *member) close() {
	m.c.Helper()
	if m.closed {
		return
	}
	m.closed = true
	ctx, cancel := context.WithTimeout(context.Background(), late)
	defer cancel()
	if err := m.Close(ctx); err != nil {
		m.c.Errorf("close %s: %v", m.name, err)
	}
}

// crash ends the instance as kill -9 would: nothing more goes to the brokers, nothing more to the disk, and what its stores had
// in memory is gone. The group notices by the session time-out only.
func (m *member) crash() {
	m.c.Helper()
	m.fail(100)
}

// powerCut is a crash after which the disk holds only what was synced.
func (m *member) powerCut() {
	m.c.Helper()
	m.fail(0)
}

func (m *member) fail(unsynced int) {
	m.c.Helper()
	m.link.Close()
	disk := m.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: unsynced, RNG: rand.New(rand.NewPCG(m.c.rng.Uint64(), 0))})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = m.Close(ctx) // it says that it was not clean
	m.disk, m.closed = disk, true
}

// restart starts a closed or crashed instance once more, over what is on its disk.
func (m *member) restart(change func(*runtime.Config)) {
	m.c.Helper()
	m.prepareRestart(change)
	m.begin()
}

// prepareRestart is restart without its beginning.
func (m *member) prepareRestart(change func(*runtime.Config)) {
	m.c.Helper()
	m.link.Close()
	if change != nil {
		change(&m.cfg)
	}
	m.assemble()
}

// await waits until something holds. It looks less and less often: to look at the broker costs more than virtual time.
func (c *cluster) await(atMost time.Duration, what string, holds func() bool) {
	c.Helper()
	pause := 10 * time.Millisecond
	for began := time.Now(); !holds(); pause = min(pause*3/2, 250*time.Millisecond) {
		if time.Since(began) > atMost {
			c.Fatalf("not within %v: %s", atMost, what)
		}
		time.Sleep(pause)
	}
}

// awaitRunning waits until instances and their threads are RUNNING in the same generation and own all tasks together.
func (c *cluster) awaitRunning(atMost time.Duration, tasks int, members ...*member) {
	c.Helper()
	c.await(atMost, fmt.Sprintf("%d instances run %d tasks", len(members), tasks), func() bool {
		owned, generations := 0, map[int32]bool{}
		for _, m := range members {
			status := m.Status()
			if status.State != string(runtime.InstanceRunning) {
				return false
			}
			for i := range status.Threads {
				switch th := &status.Threads[i]; th.State {
				case string(runtime.ThreadRunning):
					generations[th.Generation] = true
					owned += len(th.Tasks)
				case string(runtime.ThreadDead):
				default:
					return false
				}
			}
		}
		return owned == tasks && len(generations) == 1
	})
}

// total adds up what all threads of an instance have counted, those that are gone included.
func (m *member) total() runtime.Counters {
	status := m.Status()
	sum := status.Removed
	for i := range status.Threads {
		sum.Add(&status.Threads[i].Counters)
	}
	return sum
}

// tasks returns the ids of the active tasks of an instance.
func (m *member) tasks() []string {
	var ids []string
	for _, th := range m.Status().Threads {
		for _, task := range th.Tasks {
			ids = append(ids, task.ID)
		}
	}
	return ids
}

// generation returns the newest generation that the instance's threads know.
func (m *member) generation() int32 {
	newest := int32(-1)
	for _, th := range m.Status().Threads {
		newest = max(newest, th.Generation)
	}
	return newest
}

// wantDeaths checks how many threads of an instance have died and were replaced.
func (m *member) wantDeaths(died, replaced int) {
	m.c.Helper()
	if deaths, n := m.Deaths(); len(deaths) != died || n != replaced {
		m.c.Errorf("%s: %d threads died and %d were replaced, want %d and %d: %+v", m.name, len(deaths), n, died, replaced, deaths)
	}
}

// wantCalm checks that an instance has not lost a single transaction.
func (m *member) wantCalm() {
	m.c.Helper()
	if n := m.total(); n.Aborted != 0 || n.Fenced != 0 || n.UnknownOutcome != 0 || n.Migrated != 0 || n.Corrupted != 0 {
		m.c.Errorf("%s: %+v, want nothing aborted, fenced, unknown, migrated or corrupted", m.name, n)
	}
}

// events returns the events of a kind so far.
func (c *cluster) events(kind journal.Kind) []journal.Event {
	var found []journal.Event
	all, dropped := c.journal.Since(0)
	if dropped > 0 {
		c.Fatalf("%d events were dropped", dropped)
	}
	for _, e := range all {
		if e.Kind == kind {
			found = append(found, e)
		}
	}
	return found
}

// vfsEmpty returns an empty disk that can crash.
func vfsEmpty() *vfs.MemFS { return vfs.NewCrashableMem() }
