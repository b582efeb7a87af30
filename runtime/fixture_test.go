package runtime

import (
	"context"
	"errors"
	"net"
	"testing"

	"eostop/runtime/topology"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// writingProcessor puts an entry into its store as soon as it is there.
type writingProcessor struct{ idleProcessor }

func (p *writingProcessor) Init(ctx *topology.Context[[]byte, []byte]) error {
	store, err := topology.OpenStore[[]byte, []byte](ctx, "counts")
	if err != nil {
		return err
	}
	return store.Put([]byte("started"), []byte("yes"))
}

// writingTopology is the second half of twoStepTopology with a writingProcessor.
func writingTopology(t *testing.T) *topology.Topology {
	t.Helper()
	b := topology.NewBuilder()
	raw := topology.Bytes{}
	topology.AddSource(b, "source", raw, raw, "in")
	topology.AddProcessor(b, "count", func() topology.Processor[[]byte, []byte, []byte, []byte] { return &writingProcessor{} }, "source")
	topology.AddStateStore(b, topology.StoreSpec{Name: "counts", Logged: true}, raw, raw, "count")
	top, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return top
}

// idleProcessor forwards nothing. What happens at its end can be chosen.
type idleProcessor struct {
	ctx   *topology.Context[[]byte, []byte]
	close func() error
}

func (p *idleProcessor) Init(ctx *topology.Context[[]byte, []byte]) error {
	p.ctx = ctx
	return nil
}

func (p *idleProcessor) Process(topology.Record[[]byte, []byte]) error { return nil }

func (p *idleProcessor) Close() error {
	if p.close != nil {
		return p.close()
	}
	return nil
}

// twoStepTopology has two sub-topologies: in and side go through the repartition topic "mid" to a store "counts" with a changelog, and one
// called "scratch" without.
func twoStepTopology(t *testing.T, partitions int32, closing func() error) *topology.Topology {
	t.Helper()
	b := topology.NewBuilder()
	raw := topology.Bytes{}
	supplier := func() topology.Processor[[]byte, []byte, []byte, []byte] { return &idleProcessor{close: closing} }
	topology.AddSource(b, "source", raw, raw, "in", "side")
	topology.AddSink(b, "sink", "mid", raw, raw, "source")
	topology.AddSource(b, "second", raw, raw, "mid")
	topology.AddProcessor(b, "count", supplier, "second")
	topology.AddStateStore(b, topology.StoreSpec{Name: "counts", Logged: true}, raw, raw, "count")
	topology.AddStateStore(b, topology.StoreSpec{Name: "scratch"}, raw, raw, "count")
	b.AddRepartitionTopic(topology.RepartitionTopic{Name: "mid", Partitions: partitions})
	top, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return top
}

// newTestInstance prepares an instance without brokers. It is closed at the end of the test.
func newTestInstance(t *testing.T, top *topology.Topology, change func(*Config)) *Instance {
	t.Helper()
	cfg := validConfig()
	if change != nil {
		change(&cfg)
	}
	inst, err := New(cfg, top, Env{
		Brokers: []string{"127.0.0.1:9"}, FS: vfs.NewMem(),
		Dial: func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("no brokers in this test")
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := inst.directory.Close(); err != nil {
			t.Error(err)
		}
		inst.cache.Close()
	})
	return inst
}

// newTestThread prepares a thread whose clients reach nobody: its goroutine is the test's.
func newTestThread(t *testing.T, top *topology.Topology, change func(*Config)) *StreamThread {
	t.Helper()
	inst := newTestInstance(t, top, change)
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // whatever asks a broker fails at once
	thread := newThread(ctx, inst, 1)
	client := func() *kgo.Client {
		c, err := kgo.NewClient(inst.fetchOptions(thread, "test")...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	thread.consumer = client()
	updater, err := newUpdater(thread)
	if err != nil {
		t.Fatal(err)
	}
	thread.updater = updater
	t.Cleanup(func() {
		updater.close()
	})
	adm := client()
	inst.admin = &admin{client: adm, adm: kadm.NewClient(adm), group: inst.cfg.ApplicationID, timeout: inst.cfg.RequestTimeout}
	thread.member = &membership{thread: thread, news: make(chan groupNews, 1), leaving: make(chan struct{}), client: client()}
	return thread
}

// newTestTask opens a task of the second sub-topology. It is closed at the end of the test.
func newTestTask(t *testing.T, thread *StreamThread) *streamTask {
	t.Helper()
	manager, err := openStores(thread, TaskID{Subtopology: 1, Partition: 2})
	if err != nil {
		t.Fatal(err)
	}
	task := newTask(thread, manager.id, manager, map[string]int32{"app-mid": 3})
	t.Cleanup(func() { manager.close(false) })
	thread.tasks[task.id] = task
	return task
}

// openTestTask is newTestTask for a task that runs.
func openTestTask(t *testing.T, thread *StreamThread) *streamTask {
	t.Helper()
	task := newTestTask(t, thread)
	for _, next := range []TaskState{TaskRestoring, TaskRunning} {
		if err := task.to(next); err != nil {
			t.Fatal(err)
		}
	}
	if err := task.instantiate(); err != nil {
		t.Fatal(err)
	}
	return task
}
