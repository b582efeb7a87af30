package topology

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestStoresAreInTopologicalOrder adds stores and nodes the wrong way round.
func TestStoresAreInTopologicalOrder(t *testing.T) {
	b := NewBuilder()
	store(b, "late", "q")
	store(b, "shared", "q", "o")
	AddProcessor(b, "q", pass(), "p")
	AddProcessor(b, "p", pass(), "o")
	AddProcessor(b, "o", pass(), "s")
	store(b, "middle", "p")
	source(b, "s", "in")
	program, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range program.SubTopologies()[0].Stores {
		names = append(names, s.Name)
	}
	checkLines(t, "stores", names, []string{"shared", "middle", "late"})
}

// upstream is a processor that writes what it gets into a store which the one before it has, too.
func upstream(name string) Supplier[string, int64, string, string] {
	var rows *KeyValueStore[string, int64]
	return func() Processor[string, int64, string, string] {
		return &opening[string, int64]{
			open: func(ctx *Context[string, string]) (err error) {
				rows, err = OpenStore[string, int64](ctx, name)
				return err
			},
			process: func(r Record[string, int64]) error { return rows.Put(r.Key, r.Value) },
		}
	}
}

// opening is a processor made of functions.
type opening[K, V any] struct {
	open    func(ctx *Context[string, string]) error
	process func(r Record[K, V]) error
}

func (o *opening[K, V]) Init(ctx *Context[string, string]) error { return o.open(ctx) }

func (o *opening[K, V]) Process(r Record[K, V]) error { return o.process(r) }

func (o *opening[K, V]) Close() error { return nil }

// TestFlushGoesOnUntilAllIsOut: a processor writes into a cached store that comes before the one which feeds it. If that stayed
// in the cache, the commit would take the input's offset and not what it has led to.
func TestFlushGoesOnUntilAllIsOut(t *testing.T) {
	b := NewStreamsBuilder()
	AddStore(b, StoreSpec{Name: "shared", Logged: true, Cached: true}, String{}, Int64{})
	s := text(b, "in")
	first := Process(s, pass(), []string{"shared"})
	Process(first.GroupByKey(String{}, String{}).Count().ToStream(), upstream("shared"), []string{"shared"})
	program, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	// The count repartitions, for Process may have changed the keys: its part is a sub-topology with the shared store.
	if subs := program.SubTopologies(); len(subs) != 1 {
		t.Fatalf("sub-topologies %+v, want one", subs)
	}
	h := &host{caching: 100}
	graph, err := program.Instantiate(0, h)
	if err != nil {
		t.Fatal(err)
	}
	topic := program.InternalRepartitionTopics()[0].Name
	if err := graph.process(topic, []byte("k"), []byte("v"), 5, nil); err != nil {
		t.Fatal(err)
	}
	mustFlush(t, graph)
	if got := h.stores["shared"].puts; len(got) != 1 || !strings.HasPrefix(got[0], "k=") {
		t.Errorf("put into the shared store: %q", got)
	}
}

// TestFlushNeverSettles: what a table passes on makes a change of the same table.
func TestFlushNeverSettles(t *testing.T) {
	b := NewStreamsBuilder()
	table := text(b, "in").GroupByKey(String{}, String{}).Count(Materialized{Name: "counts"})
	Process(table.ToStream(), func() Processor[string, int64, string, string] {
		var rows *TimestampedKeyValueStore[string, int64]
		return &opening[string, int64]{
			open: func(ctx *Context[string, string]) (err error) {
				rows, err = OpenTimestampedStore[string, int64](ctx, "counts")
				return err
			},
			process: func(r Record[string, int64]) error { return rows.Put(r.Key, r.Value+1, r.Timestamp) },
		}
	}, []string{"counts"})
	h := &host{caching: 100}
	graph := instantiate(t, h, b.Build)
	graph.must(t, "k", "v", 1)
	err := graph.Flush()
	if target := (*ProcessingError)(nil); !errors.As(err, &target) || !strings.Contains(err.Error(), "it never gets empty") {
		t.Errorf("got %v", err)
	}
}

// TestFlushFails breaks what lies behind a cache: errors of the host come out as they are and are shown to no handler, those
// of the program are, once, with the record they come from.
func TestFlushFails(t *testing.T) {
	boom := errors.New("boom")
	build := func(fail bool) *StreamsBuilder {
		b := NewStreamsBuilder()
		MapValues(text(b, "in").GroupByKey(String{}, String{}).Count().ToStream(), func(n int64) string { return fmt.Sprint(n) }).
			To("out", String{}, String{})
		if fail {
			b = NewStreamsBuilder()
			Process(text(b, "in").GroupByKey(String{}, String{}).Count().ToStream(),
				Stateless(func(*Context[string, string], Record[string, int64]) error { return boom }), nil, "fails")
		}
		return b
	}
	fill := func(t *testing.T, b *StreamsBuilder, h *host) *Graph {
		t.Helper()
		graph := instantiate(t, h, b.Build)
		graph.must(t, "k", "", 1)
		graph.must(t, "j", "", 2)
		return graph
	}
	t.Run("store", func(t *testing.T) {
		h := &host{caching: 100}
		graph := fill(t, build(false), h)
		h.stores[foldStore].putErr = &failing{3}
		if target := (*failing)(nil); !errors.As(graph.Flush(), &target) {
			t.Error("the error of the store is lost")
		}
		if len(h.failures) > 0 || len(h.sent) > 0 {
			t.Errorf("failures %v, sent %v", h.failures, h.sent)
		}
	})
	t.Run("producer, in an eviction", func(t *testing.T) {
		h := &host{caching: 2}
		graph := fill(t, build(false), h)
		h.sendErr = &failing{4}
		err := graph.process("in", []byte("l"), []byte{}, 3, nil)
		target, program := (*failing)(nil), (*ProcessingError)(nil)
		if !errors.As(err, &target) || errors.As(err, &program) || len(h.failures) > 0 {
			t.Errorf("got %v, failures %v", err, h.failures)
		}
	})
	t.Run("program", func(t *testing.T) {
		h := &host{caching: 100}
		graph := fill(t, build(true), h)
		err := graph.Flush()
		if target := (*ProcessingError)(nil); !errors.As(err, &target) || target.Node != "fails" || !errors.Is(err, boom) {
			t.Errorf("got %v", err)
		}
		if len(h.failures) != 1 {
			t.Fatalf("failures %+v", h.failures)
		}
		f := h.failures[0]
		if f.Topic != "in" || f.Partition != 2 || f.Offset != 1 || f.Timestamp != 1 || f.Key != nil || f.Node != "fails" {
			t.Errorf("failure %+v", f)
		}
	})
	t.Run("program, and it does not matter", func(t *testing.T) {
		h := &host{caching: 100, response: Continue}
		graph := fill(t, build(true), h)
		mustFlush(t, graph)
		if graph.Dropped() != (Dropped{Processing: 2}) || len(h.failures) != 2 {
			t.Errorf("dropped %+v, failures %+v", graph.Dropped(), h.failures)
		}
		if n := len(h.stores[foldStore].puts); n != 2 {
			t.Errorf("%d updates of the store, want 2: what fails downstream does not concern it", n)
		}
	})
	t.Run("value", func(t *testing.T) {
		h := &host{caching: 100}
		b := NewStreamsBuilder()
		// The value that is read back is refused.
		Aggregate(text(b, "in").GroupByKey(String{}, String{}), func() string { return "" },
			func(_, value, _ string) string { return value }, oneWay{}).ToStream().To("out", String{}, String{})
		graph := instantiate(t, h, b.Build)
		graph.must(t, "k", "v", 1)
		err := graph.Flush()
		if target := (*ProcessingError)(nil); !errors.As(err, &target) || !strings.Contains(err.Error(), "deserialize value of store") {
			t.Errorf("got %v", err)
		}
	})
}

// oneWay writes values and reads none.
type oneWay struct{ String }

func (oneWay) Deserialize([]byte) (string, error) { return "", errPicky }

// TestClosedGraphDoesNotFlush: what is in the caches of a task that is closed belongs to a transaction that is not committed.
func TestClosedGraphDoesNotFlush(t *testing.T) {
	h := &host{caching: 100}
	graph := instantiate(t, h, joined().Build)
	graph.must(t, "k", "a", 20)
	if err := graph.Close(); err != nil {
		t.Fatal(err)
	}
	if err := graph.Flush(); err == nil {
		t.Error("flushed after Close")
	}
	if len(h.sent) > 0 || len(h.stores[foldStore].puts) > 0 {
		t.Errorf("sent %v, put %v", h.sent, h.stores[foldStore].puts)
	}
}

// TestRecordContextsAreShared counts what a cached update costs: one context for all that follow from a record.
func TestRecordContextsAreShared(t *testing.T) {
	b := NewStreamsBuilder()
	g := text(b, "in").GroupByKey(String{}, String{})
	g.Count()
	g.Count()
	h := &host{caching: 100}
	graph := instantiate(t, h, b.Build)
	graph.must(t, "k", "a", 20, Header{Key: "h"})
	contexts := make(map[any]bool)
	for _, c := range h.caches {
		for _, e := range c.entries {
			contexts[e.context] = true
		}
	}
	if len(h.caches) != 2 || len(contexts) != 1 {
		t.Errorf("%d contexts in %d caches, want 1 in 2", len(contexts), len(h.caches))
	}
}
