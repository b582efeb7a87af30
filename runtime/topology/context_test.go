package topology

import (
	"fmt"
	"testing"
	"time"
)

// TestContextFollowsTheRecord: what a processor asks its context is about the record it got, whatever its children get.
func TestContextFollowsTheRecord(t *testing.T) {
	var seen []string
	look := func(ctx *Context[string, string]) {
		m, ok := ctx.RecordMetadata()
		seen = append(seen, fmt.Sprintf("%s ts=%d %v %s-%d@%d %v", ctx.Node(), ctx.Timestamp(), ctx.Headers(),
			m.Topic, m.Partition, m.Offset, ok))
	}
	b := NewBuilder()
	source(b, "s", "in")
	AddProcessor(b, "a", do(func(ctx *Context[string, string], r Record[string, string]) error {
		look(ctx)
		r.Timestamp, r.Headers = 77, nil
		if err := ctx.Forward(r); err != nil {
			return err
		}
		look(ctx)
		ctx.Commit()
		return nil
	}), "s")
	AddProcessor(b, "b", do(func(ctx *Context[string, string], _ Record[string, string]) error {
		look(ctx)
		return nil
	}), "a")
	h := &host{now: time.UnixMilli(1234)}
	graph := instantiate(t, h, b.Build)
	err := graph.Process(Input{
		Topic: "in", Partition: 3, Offset: 9, Key: []byte("k"), Value: []byte("v"), Timestamp: 5, Headers: []Header{{Key: "h"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	checkLines(t, "seen", seen, []string{"a ts=5 [{h []}] in-3@9 true", "b ts=77 [] in-3@9 true", "a ts=5 [{h []}] in-3@9 true"})
	if h.commits != 1 {
		t.Errorf("%d commits asked for, want 1", h.commits)
	}
}

// TestContextAfterAFailure: the work on the next record does not see anything of the one before.
func TestContextAfterAFailure(t *testing.T) {
	b := NewBuilder()
	source(b, "s", "in")
	AddProcessor(b, "a", do(func(ctx *Context[string, string], r Record[string, string]) error {
		if r.Value == "panic" {
			panic("at the disco")
		}
		r.Value = fmt.Sprint(ctx.Timestamp())
		return ctx.Forward(r)
	}), "s")
	sink(b, "k", "out", "a")
	h := &host{}
	graph := instantiate(t, h, b.Build)
	func() {
		defer func() { _ = recover() }()
		_ = graph.process("in", []byte("k"), []byte("panic"), 4, nil)
	}()
	if err := graph.process("in", []byte("k"), []byte("v"), 5, nil); err != nil {
		t.Fatal(err)
	}
	checkLines(t, "sent", h.sent, []string{"out/-1 k=5@5"})
}

// TestContextSurvivesAnEviction: what comes out of a cache while a record is at work is another record, and afterwards it is
// this one again.
func TestContextSurvivesAnEviction(t *testing.T) {
	h := &host{caching: 1}
	var seen []string
	b := NewStreamsBuilder()
	look := func(ctx *Context[string, int64], r Record[string, int64]) error {
		m, ok := ctx.RecordMetadata()
		seen = append(seen, fmt.Sprint(r.Key, " ", ctx.Timestamp(), ctx.Headers(), m.Offset, ok))
		return nil
	}
	s := text(b, "in")
	Process(s.GroupByKey(String{}, String{}).Count().ToStream(), Stateless(look), nil)
	Process(s, Stateless(func(ctx *Context[string, int64], r Record[string, string]) error {
		return look(ctx, Record[string, int64]{Key: "behind " + r.Key})
	}), nil)
	AddStore(b, StoreSpec{Name: "plain", Cached: true}, String{}, String{})
	Process(s, func() Processor[string, string, string, int64] {
		var context *Context[string, int64]
		var rows *KeyValueStore[string, string]
		return &evicting{
			open: func(ctx *Context[string, int64]) (err error) {
				context = ctx
				rows, err = OpenStore[string, string](ctx, "plain")
				return err
			},
			process: func(r Record[string, string]) error {
				if err := rows.Put(r.Key, r.Value); err != nil {
					return err
				}
				return look(context, Record[string, int64]{Key: "put " + r.Key})
			},
		}
	}, []string{"plain"})
	graph := instantiate(t, h, b.Build)
	graph.must(t, "a", "", 1, Header{Key: "1"})
	graph.must(t, "b", "", 2, Header{Key: "2"})
	checkLines(t, "seen", seen, []string{
		"behind a 1 [{1 []}] 1 true", "put a 1 [{1 []}] 1 true",
		"a 1 [{1 []}] 1 true", "b 2 [{2 []}] 2 true", "behind b 2 [{2 []}] 2 true", "put b 2 [{2 []}] 2 true",
	})
	checkLines(t, "put", h.stores["plain"].puts, []string{"a=@1", "b=@2"})
}

// evicting is a processor made of functions.
type evicting struct {
	open    func(ctx *Context[string, int64]) error
	process func(r Record[string, string]) error
}

func (e *evicting) Init(ctx *Context[string, int64]) error { return e.open(ctx) }

func (e *evicting) Process(r Record[string, string]) error { return e.process(r) }

func (e *evicting) Close() error { return nil }

// null is a host that does nothing.
type null struct{ host }

func (n *null) Send(string, int32, []byte, []byte, int64, []Header) error { return nil }

// TestProcessDoesNotAllocate holds the way of a record without stores to what it costs: nothing.
func TestProcessDoesNotAllocate(t *testing.T) {
	b := NewStreamsBuilder()
	s := Stream(b, "in", Bytes{}, Bytes{}).Filter(func(_, value []byte) bool { return len(value) > 0 })
	MapValues(s, func(value []byte) []byte { return value[1:] }).To("out", Bytes{}, Bytes{})
	graph := instantiate(t, &null{}, b.Build)
	in := Input{Topic: "in", Key: []byte("k"), Value: []byte("value"), Timestamp: 1, Headers: []Header{{Key: "h"}}}
	allocations := testing.AllocsPerRun(1000, func() {
		timestamp, ok, err := graph.Timestamp(in, -1)
		if err != nil || !ok {
			t.Fatal(timestamp, ok, err)
		}
		if err := graph.Process(in); err != nil {
			t.Fatal(err)
		}
		if _, err := graph.PunctuateStreamTime(in.Timestamp); err != nil {
			t.Fatal(err)
		}
	})
	if allocations != 0 {
		t.Errorf("%v allocations for each record, want 0", allocations)
	}
}
