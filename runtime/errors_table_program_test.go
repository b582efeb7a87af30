package runtime_test

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"eostop/runtime"
	"eostop/runtime/journal"
	"eostop/runtime/topology"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// once returns a function that fails the first time that it is called after the fault was armed.
func once(armed *atomic.Bool) func() error {
	return func() error {
		if armed.CompareAndSwap(true, false) {
			return errInjected
		}
		return nil
	}
}

// faultySerde is a serde of numbers that fails as it is told.
type faultySerde struct {
	topology.Int64
	serialize, deserialize func() error
}

func (s faultySerde) Serialize(v int64) ([]byte, error) {
	if s.serialize != nil {
		if err := s.serialize(); err != nil {
			return nil, err
		}
	}
	return s.Int64.Serialize(v)
}

func (s faultySerde) Deserialize(b []byte) (int64, error) {
	if s.deserialize != nil {
		if err := s.deserialize(); err != nil {
			return 0, err
		}
	}
	return s.Int64.Deserialize(b)
}

// faultyProgram is a sumProgram of which each part can be made to fail.
type faultyProgram struct {
	source, sink, store   faultySerde
	init, process, ending func() error
	punctuate, extract    func() error
}

func (f *faultyProgram) build(t *testing.T) *topology.Topology {
	t.Helper()
	b := topology.NewBuilder()
	topology.AddSource(b, "source", topology.String{}, f.source, "in")
	if f.extract != nil {
		b.SetTimestampExtractor("source", func(r topology.Input, _ int64, _ func() time.Time) (int64, error) { return r.Timestamp, f.extract() })
	}
	topology.AddProcessor(b, "sum", func() topology.Processor[string, int64, string, int64] { return &faultySummer{program: f} }, "source")
	topology.AddStateStore(b, topology.StoreSpec{Name: sumStore, Logged: true}, topology.String{}, f.store, "sum")
	topology.AddSink(b, "sink", "out", topology.String{}, f.sink, "sum")
	return built(t, b)
}

type faultySummer struct {
	summer
	program *faultyProgram
}

func (s *faultySummer) Init(ctx *topology.Context[string, int64]) error {
	if s.program.process != nil {
		s.at = func(string, string, int64) error { return s.program.process() }
	}
	if err := s.summer.Init(ctx); err != nil {
		return err
	}
	if s.program.punctuate != nil {
		ctx.Schedule(100*time.Millisecond, topology.WallClockTime, func(int64) error { return s.program.punctuate() })
		ctx.Schedule(time.Millisecond, topology.StreamTime, func(int64) error { return s.program.punctuate() })
	}
	if s.program.init != nil {
		return s.program.init()
	}
	return nil
}

func (s *faultySummer) Close() error {
	if s.program.ending != nil {
		return s.program.ending()
	}
	return nil
}

// panicking turns the errors of a function into panics.
func panicking(fn func() error) func() error {
	return func() error {
		if err := fn(); err != nil {
			panic(err)
		}
		return nil
	}
}

// TestErrorsOfPrograms: what user code fails with is its own, and deadly, but where it only has to end.
func TestErrorsOfPrograms(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name  string
		fault func(f *faultyProgram, fail func() error)
		// again has the task started anew, for what fails at its beginning or end.
		again      bool
		head, post reaction
		want       reaction
		cause      string
	}{
		{name: "deserializer", fault: func(f *faultyProgram, fail func() error) { f.source.deserialize = fail }, head: dies, post: dies, want: dies, cause: "deserialisation"},
		{name: "deserializer panics", fault: func(f *faultyProgram, fail func() error) { f.source.deserialize = panicking(fail) }, head: dies, post: dies, want: dies, cause: "panic"},
		{name: "serializer of a sink", fault: func(f *faultyProgram, fail func() error) { f.sink.serialize = fail }, head: dies, post: dies, want: dies, cause: "processing"},
		{name: "serializer of a store", fault: func(f *faultyProgram, fail func() error) { f.store.serialize = fail }, head: dies, post: dies, want: dies, cause: "processing"},
		{name: "deserializer of a store", fault: func(f *faultyProgram, fail func() error) { f.store.deserialize = fail }, head: dies, post: dies, want: dies, cause: "processing"},
		{name: "processor", fault: func(f *faultyProgram, fail func() error) { f.process = fail }, head: dies, post: dies, want: dies, cause: "processing"},
		{name: "processor panics", fault: func(f *faultyProgram, fail func() error) { f.process = panicking(fail) }, head: dies, post: dies, want: dies, cause: "panic"},
		{name: "punctuator", fault: func(f *faultyProgram, fail func() error) { f.punctuate = fail }, head: dies, post: dies, want: dies, cause: "processing"},
		{name: "punctuator panics", fault: func(f *faultyProgram, fail func() error) { f.punctuate = panicking(fail) }, head: dies, post: dies, want: dies, cause: "panic"},
		{name: "timestamp extractor", fault: func(f *faultyProgram, fail func() error) { f.extract = fail }, head: dies, post: dies, want: dies, cause: "deserialisation"},
		{name: "timestamp extractor panics", fault: func(f *faultyProgram, fail func() error) { f.extract = panicking(fail) }, head: dies, post: dies, want: dies, cause: "panic"},
		{name: "init", fault: func(f *faultyProgram, fail func() error) { f.init = fail }, again: true, head: dies, post: dies, want: dies, cause: "processing"},
		{name: "init panics", fault: func(f *faultyProgram, fail func() error) { f.init = panicking(fail) }, again: true, head: dies, post: dies, want: dies, cause: "panic"},
		{name: "close", fault: func(f *faultyProgram, fail func() error) { f.ending = fail }, again: true, head: dies, want: swallowed},
		{name: "close panics", fault: func(f *faultyProgram, fail func() error) { f.ending = panicking(fail) }, again: true, head: dies, want: swallowed},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			exactlyOnceModes(t, func(t *testing.T, m mode) {
				inBubble(t, m, func(c *cluster) {
					var armed atomic.Bool
					var f faultyProgram
					r.fault(&f, once(&armed))
					c.create(2, "in", "out")
					i := c.start("i1", f.build(t), nil)
					c.feed("in", 2, 0, 5)
					c.awaitCommitted(soon, "in")
					armed.Store(true)
					if r.again { // the tasks that the second thread gets and gives back begin and end on the way
						i.add("i1-StreamThread-2")
						c.awaitRunning(late, 2, i)
						i.remove("i1-StreamThread-2")
						c.awaitRunning(late, 2, i)
					}
					c.feed("in", 2, 5, 5)
					c.awaitCommitted(late, "in")
					c.awaitRunning(late, 2, i)
					c.wantSums("in", "out")
					if armed.Load() {
						c.Fatal("the fault was not met")
					}
					deaths, replaced := i.Deaths()
					switch {
					case r.want != dies && len(deaths) > 0, r.want == dies && (len(deaths) != 1 || replaced != 1):
						c.Errorf("%d deaths, %d replaced, want: %s", len(deaths), replaced, r.want)
					case r.want == dies && (deaths[0].Cause != r.cause || deaths[0].Unexpected || !strings.Contains(deaths[0].Error, errInjected.Error())):
						c.Errorf("%+v, want the cause %q with the program's own error", deaths[0], r.cause)
					}
					i.close()
				})
			})
		})
	}
}

// TestErrorsSeenInsideStores: a failed send is noticed by the next one, and that may be the changelog record of a store: what then comes
// out of the store is the producer's error in the store's words (KAFKA-9231, first cause).
func TestErrorsSeenInsideStores(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name       string
		err        *kerr.Error
		head, post reaction
		want       reaction
		cause      string
		why        string
	}{
		{"ProcessorState (ProducerFenced)", kerr.ProducerFenced, migrated, migrated, migrated, "fenced", ""},
		{"ProcessorState (InvalidProducerEpoch)", kerr.InvalidProducerEpoch, migrated, migrated, migrated, "invalid producer epoch", ""},
		{"ProcessorState (UnknownProducerId)", kerr.UnknownProducerID, migrated, migrated, migrated, "unknown producer id", ""},
		{"ProcessorState (InvalidPidMapping)", kerr.InvalidProducerIDMapping, migrated, dies, migrated, "invalid producer id mapping", ""},
		{"ProcessorState (OutOfOrderSequence)", kerr.OutOfOrderSequenceNumber, migrated, dies, migrated, "out of order sequence", ""},
		{"ProcessorState (TransactionAbortable)", kerr.TransactionAbortable, dies, "", migrated, "transaction abortable", keepsAbortable},
		{"ProcessorState (TopicAuthorization)", kerr.TopicAuthorizationFailed, dies, dies, dies, "authorisation", ""},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			exactlyOnceModes(t, func(t *testing.T, m mode) {
				inBubble(t, m, func(c *cluster) {
					c.create(2, "in", "out")
					i := c.start("i1", sumProgram(t, nil), slowCommits)
					c.awaitRunning(soon, 2, i)
					leaveOpen(c)
					changelog := c.topicID(applicationID + "-" + sumStore + "-changelog")
					d := i.wire.disturb(&disturbance{key: kmsg.Produce, do: refuse, err: r.err, of: func(r request) bool {
						return slices.ContainsFunc(r.Request.(*kmsg.ProduceRequest).Topics, func(t kmsg.ProduceRequestTopic) bool {
							return t.Topic == applicationID+"-"+sumStore+"-changelog" || t.TopicID == changelog
						})
					}})
					c.produce("in", 0, pair{keyOf(0), 15})
					c.await(2*time.Second, "a send has failed", func() bool { return d.hits.Load() > 0 })
					c.produce("in", 0, pair{keyOf(0), 16})
					c.awaitCommitted(late, "in")
					c.wantSums("in", "out")
					var causes, texts []string
					for _, e := range append(c.events(journal.KindMigrated), c.events(journal.KindError)...) {
						causes, texts = append(causes, e.Cause), append(texts, e.Error)
					}
					if !slices.Equal(causes, []string{r.cause}) || !strings.Contains(strings.Join(texts, ""), "put into store "+sumStore) {
						c.Errorf("%q: %q, want %s by a store", causes, texts, r.cause)
					}
					if r.want == dies {
						i.wantDeaths(1, 1)
					} else {
						i.wantDeaths(0, 0)
					}
					i.close()
					wantSumsStored(c, i)
				})
			})
		})
	}
}

// diskFault fails operations on a disk while it is switched on.
type diskFault struct {
	on    atomic.Bool
	n     atomic.Int64 // how many fail; the rest passes
	met   atomic.Int64
	part  string
	err   error
	kinds []errorfs.OpKind
}

func (d *diskFault) String() string { return "disk fault" }

// MaybeError implements errorfs.Injector.
func (d *diskFault) MaybeError(op errorfs.Op) error {
	if !d.on.Load() || !slices.Contains(d.kinds, op.Kind) || !strings.Contains(op.Path, d.part) || d.n.Add(-1) < 0 {
		return nil
	}
	d.met.Add(1)
	return d.err
}

// TestErrorsOfStores: the disk fails. Kafka Streams dies of each; here a store that is broken is made anew from its changelog, and only
// what another folder would not cure ends the thread.
func TestErrorsOfStores(t *testing.T) {
	t.Parallel()
	broken := errors.New("disk on fire")
	rows := []struct {
		name     string
		part     string
		err      error
		kinds    []errorfs.OpKind
		times    int64
		starting bool
		want     reaction
		cause    string
		why      string
	}{
		{"ProcessorState (IO) @ open", "MANIFEST", broken, []errorfs.OpKind{errorfs.OpCreate, errorfs.OpOpen}, 1, true, corrupted, "broken store", "a store that cannot be read is made anew"},
		{"ProcessorState (too many open files) @ open", "MANIFEST", &fs.PathError{Op: "open", Path: "MANIFEST", Err: syscall.EMFILE}, []errorfs.OpKind{errorfs.OpOpen}, 1, true, dies, "disk", ""},
		{"ProcessorState (IO) @ flush", ".sst", broken, []errorfs.OpKind{errorfs.OpCreate}, 1, false, corrupted, "broken store", "a store that cannot be written is made anew"},
		{"ProcessorState (no space) @ flush", ".sst", syscall.ENOSPC, []errorfs.OpKind{errorfs.OpFileWrite}, 1, false, corrupted, "broken store", "a store that cannot be written is made anew"},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			exactlyOnceModes(t, func(t *testing.T, m mode) {
				inBubble(t, m, func(c *cluster) {
					fault := &diskFault{part: r.part, err: r.err, kinds: r.kinds}
					fault.n.Store(r.times)
					c.create(2, "in", "out")
					i := c.prepare("i1", sumProgram(t, nil), func(cfg *runtime.Config) { cfg.Memtable = 64 << 10 })
					i.wrap = func(disk vfs.FS) vfs.FS { return errorfs.Wrap(disk, fault) }
					i.launch()
					c.feed("in", 2, 0, 10)
					c.awaitCommitted(soon, "in")
					if r.starting {
						i.close()
						fault.on.Store(true)
						i.restart(nil)
					} else {
						fault.on.Store(true)
						for n := range int64(100) { // enough for memtables to be flushed
							c.produce("in", 0, pair{strings.Repeat("k", 2000) + keyOf(int32(n)), n})
						}
					}
					c.await(late, "the fault is met", func() bool { return fault.met.Load() > 0 })
					c.feed("in", 2, 10, 10)
					c.awaitCommitted(late, "in")
					c.awaitRunning(late, 2, i)
					c.wantSums("in", "out")
					deaths, replaced := i.Deaths()
					if (len(deaths) > 0) != (r.want == dies) || len(deaths) != replaced {
						c.Errorf("%+v, %d replaced, want: %s", deaths, replaced, r.want)
					}
					var causes []string
					for _, e := range append(c.events(journal.KindCorrupted), c.events(journal.KindError)...) {
						causes = append(causes, e.Cause)
					}
					if !slices.Contains(causes, r.cause) {
						c.Errorf("the journal names %q, want %q", causes, r.cause)
					}
					i.close()
					for partition, task := range []string{"0_0", "0_1"} {
						i.wantCommittedPrefix(task, sumStore, int32(partition))
					}
				})
			})
		})
	}
}
