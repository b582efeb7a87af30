package topology

import (
	"errors"
	"testing"
)

// fragile is a processor whose life can be arranged.
type fragile struct {
	init    func(ctx *Context[string, string]) error
	process func(r Record[string, string]) error
	close   func() error
}

func (f *fragile) Init(ctx *Context[string, string]) error {
	if f.init == nil {
		return nil
	}
	return f.init(ctx)
}

func (f *fragile) Process(r Record[string, string]) error { return f.process(r) }

func (f *fragile) Close() error {
	if f.close == nil {
		return nil
	}
	return f.close()
}

// fragiles builds a source and processors that are closed under the eyes of the test.
func fragiles(t *testing.T, closed *[]string, nodes map[string]*fragile) *Topology {
	t.Helper()
	b := NewBuilder()
	source(b, "s", "in")
	for _, name := range []string{"a", "b", "c"} {
		f := nodes[name]
		if f == nil {
			f = &fragile{}
		}
		before := f.close
		f.close = func() error {
			*closed = append(*closed, name)
			if before == nil {
				return nil
			}
			return before()
		}
		AddProcessor(b, name, func() Processor[string, string, string, string] { return f }, "s")
	}
	program, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return program
}

func TestInstantiateClosesWhatItHasMade(t *testing.T) {
	boom := errors.New("boom")
	var closed []string
	program := fragiles(t, &closed, map[string]*fragile{
		"c": {init: func(*Context[string, string]) error { return boom }},
	})
	_, err := program.Instantiate(0, &host{})
	if target := (*ProcessingError)(nil); !errors.As(err, &target) || target.Node != "c" || !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
	checkLines(t, "closed", closed, []string{"a", "b"})
	if _, err := program.Instantiate(1, &host{}); err == nil {
		t.Error("there is no sub-topology 1")
	}
}

func TestInstantiateReportsTheHost(t *testing.T) {
	b := processors()
	program, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	_, err = program.Instantiate(0, &host{openErr: &failing{3}})
	if target := (*failing)(nil); !errors.As(err, &target) {
		t.Errorf("got %v", err)
	}
}

func TestCloseClosesEveryProcessorOnce(t *testing.T) {
	first, second := errors.New("first"), errors.New("second")
	var closed []string
	program := fragiles(t, &closed, map[string]*fragile{
		"a": {close: func() error { return first }},
		"b": {close: func() error { return second }},
	})
	graph, err := program.Instantiate(0, &host{})
	if err != nil {
		t.Fatal(err)
	}
	if err := graph.Close(); !errors.Is(err, first) || !errors.Is(err, second) {
		t.Errorf("got %v", err)
	}
	if err := graph.Close(); err != nil {
		t.Errorf("closing again: %v", err)
	}
	checkLines(t, "closed", closed, []string{"a", "b", "c"})
	if err := graph.process("in", nil, nil, 0, nil); err == nil {
		t.Error("a closed graph processes")
	}
}

func TestPanicsPassThrough(t *testing.T) {
	var closed []string
	program := fragiles(t, &closed, map[string]*fragile{
		"a": {process: func(Record[string, string]) error { panic("at the disco") }},
	})
	graph, err := program.Instantiate(0, &host{})
	if err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() {
			if recover() != "at the disco" {
				t.Error("the panic did not come through")
			}
		}()
		_ = graph.process("in", []byte("k"), []byte("v"), 0, nil)
	}()
	if err := graph.Close(); err != nil || len(closed) != 3 {
		t.Errorf("close after a panic: %v, closed %v", err, closed)
	}
}
