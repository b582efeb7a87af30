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
