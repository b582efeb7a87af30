package topology

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// lastValue forwards the value that its key had before.
type lastValue struct {
	ctx  *Context[string, string]
	rows *TimestampedKeyValueStore[string, string]
}

func (l *lastValue) Init(ctx *Context[string, string]) (err error) {
	l.ctx = ctx
	l.rows, err = OpenTimestampedStore[string, string](ctx, "rows")
	return err
}

func (l *lastValue) Process(r Record[string, string]) error {
	old, timestamp, ok, err := l.rows.Get(r.Key)
	if err != nil {
		return fmt.Errorf("look up: %w", err)
	}
	if r.Value == "" {
		err = l.rows.Delete(r.Key, r.Timestamp)
	} else {
		err = l.rows.Put(r.Key, r.Value, r.Timestamp)
	}
	if err != nil {
		return fmt.Errorf("keep: %w", err)
	}
	return l.ctx.Forward(WithValue(r, fmt.Sprintf("%s:%d:%v", old, timestamp, ok)))
}

func (l *lastValue) Close() error { return nil }

func TestKeyValueStore(t *testing.T) {
	b := NewBuilder()
	source(b, "s", "in")
	AddProcessor(b, "p", func() Processor[string, string, string, string] { return &lastValue{} }, "s")
	store(b, "rows", "p")
	sink(b, "k", "out", "p")
	h := &host{}
	graph := instantiate(t, h, b.Build)
	for i, value := range []string{"a", "b", "", "c"} {
		if err := graph.process("in", []byte("k"), []byte(value), int64(10+i), nil); err != nil {
			t.Fatal(err)
		}
	}
	checkLines(t, "sent", h.sent, []string{
		"out/-1 k=:0:false@10", "out/-1 k=a:10:true@11", "out/-1 k=b:11:true@12", "out/-1 k=:0:false@13",
	})
	checkLines(t, "put", h.stores["rows"].puts, []string{"k=a@10", "k=b@11", "k=@12", "k=c@13"})
}

func TestOpenStoreRefuses(t *testing.T) {
	open := func(openStore func(ctx *Context[string, string]) error, connect bool) error {
		b := NewBuilder()
		source(b, "s", "in")
		AddProcessor(b, "other", pass(), "s")
		AddProcessor(b, "p", func() Processor[string, string, string, string] { return &fragile{init: openStore} }, "s")
		store(b, "rows", "other")
		if connect {
			b.ConnectStore("p", "rows")
		}
		program, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		_, err = program.Instantiate(0, &host{})
		return err
	}
	err := open(func(ctx *Context[string, string]) error {
		_, err := OpenTimestampedStore[string, string](ctx, "rows")
		return err
	}, false)
	if err == nil || !strings.Contains(err.Error(), "processor p is not connected to it") {
		t.Errorf("not connected: %v", err)
	}
	err = open(func(ctx *Context[string, string]) error {
		_, err := OpenTimestampedStore[string, int64](ctx, "rows")
		return err
	}, true)
	if target := (*ProcessingError)(nil); !errors.As(err, &target) || target.Node != "p" ||
		!strings.Contains(err.Error(), "KeyValueStore[string,string]") {
		t.Errorf("other types: %v", err)
	}
}
