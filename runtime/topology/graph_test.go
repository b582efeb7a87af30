package topology

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// host keeps what a graph sends, as text, and fails where it is told to.
type host struct {
	sent     []string
	headers  [][]Header
	stores   map[string]*memory
	caches   map[string]*recordCache
	caching  int // entries in a cache; 0 = no caches
	commits  int
	now      time.Time
	failures []Failure
	response Response
	sendErr  error
	openErr  error
}

func (h *host) Cache(name string) RecordCache {
	if h.caching == 0 {
		return nil
	}
	if h.caches == nil {
		h.caches = make(map[string]*recordCache)
	}
	h.caches[name] = newRecordCache(h.caching)
	return h.caches[name]
}

func (h *host) WallClock() time.Time { return h.now }

func (h *host) RequestCommit() { h.commits++ }

func (h *host) Failed(failure Failure) Response {
	h.failures = append(h.failures, failure)
	return h.response
}

func (h *host) TaskID() string { return "3_1" }

func (h *host) StreamTime() int64 { return 99 }

func (h *host) Store(name string) (BytesStore, error) {
	if h.openErr != nil {
		return nil, h.openErr
	}
	if h.stores == nil {
		h.stores = make(map[string]*memory)
	}
	if h.stores[name] == nil {
		h.stores[name] = &memory{rows: make(map[string]row)}
	}
	return h.stores[name], nil
}

func (h *host) Send(topic string, partition int32, key, value []byte, timestamp int64, headers []Header) error {
	if h.sendErr != nil {
		return h.sendErr
	}
	h.sent = append(h.sent, fmt.Sprintf("%s/%d %s=%s@%d", topic, partition, key, value, timestamp))
	h.headers = append(h.headers, headers)
	return nil
}

// memory is a store that writes down what is put into it.
type memory struct {
	rows    map[string]row
	puts    []string
	gets    int
	getErr  error
	putErr  error
	scanErr error
}

type row struct {
	value     []byte
	timestamp int64
}

func (m *memory) Get(key []byte) (value []byte, timestamp int64, ok bool, err error) {
	m.gets++
	r, ok := m.rows[string(key)]
	return r.value, r.timestamp, ok, m.getErr
}

func (m *memory) Put(key, value []byte, timestamp int64) error {
	if m.putErr != nil {
		return m.putErr
	}
	m.puts = append(m.puts, fmt.Sprintf("%s=%s@%d", key, value, timestamp))
	if value == nil {
		delete(m.rows, string(key))
	} else {
		m.rows[string(key)] = row{value, timestamp}
	}
	return nil
}

func (m *memory) Scan(
	after []byte, limit int, fn func(key, value []byte, timestamp int64) error,
) (next []byte, done bool, err error) {
	if m.scanErr != nil {
		return nil, false, m.scanErr
	}
	n := 0
	for _, key := range slices.Sorted(maps.Keys(m.rows)) {
		if after != nil && key <= string(after) {
			continue
		}
		if n == limit {
			return next, false, nil
		}
		// The slices are valid during the call only, and that is taken seriously here.
		k, v := []byte(key), bytes.Clone(m.rows[key].value)
		if err := fn(k, v, m.rows[key].timestamp); err != nil {
			return next, false, err
		}
		next = []byte(key)
		clear(k)
		clear(v)
		n++
	}
	return next, true, nil
}

// process is Process without partition and offset.
func (g *Graph) process(topic string, key, value []byte, timestamp int64, headers []Header) error {
	return g.Process(Input{Topic: topic, Key: key, Value: value, Timestamp: timestamp, Headers: headers})
}

func instantiate(t *testing.T, h Host, build func() (*Topology, error)) *Graph {
	t.Helper()
	program, err := build()
	if err != nil {
		t.Fatal(err)
	}
	graph, err := program.Instantiate(0, h)
	if err != nil {
		t.Fatal(err)
	}
	return graph
}

func checkLines(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s\n got %s\nwant %s", what, strings.Join(got, ", "), strings.Join(want, ", "))
	}
}

// do supplies processors that are a function.
func do(process func(ctx *Context[string, string], r Record[string, string]) error) Supplier[string, string, string, string] {
	return Stateless(process)
}

func TestProcessGoesDepthFirst(t *testing.T) {
	twice := do(func(ctx *Context[string, string], r Record[string, string]) error {
		for _, suffix := range []string{"1", "2"} {
			r.Value += suffix
			if err := ctx.Forward(r); err != nil {
				return err
			}
		}
		return nil
	})
	b := NewBuilder()
	source(b, "s", "in")
	AddProcessor(b, "a", twice, "s")
	AddProcessor(b, "c", pass(), "a", "s")
	sink(b, "k", "x", "a")
	sink(b, "l", "y", "c")
	h := &host{}
	if err := instantiate(t, h, b.Build).process("in", []byte("k"), []byte("v"), 5, nil); err != nil {
		t.Fatal(err)
	}
	checkLines(t, "sent", h.sent, []string{"y/-1 k=v1@5", "x/-1 k=v1@5", "y/-1 k=v12@5", "x/-1 k=v12@5", "y/-1 k=v@5"})
}

func TestParentsMayBeAddedLater(t *testing.T) {
	b := NewBuilder()
	sink(b, "k", "out", "p")
	AddProcessor(b, "p", pass(), "s")
	source(b, "s", "in")
	h := &host{}
	if err := instantiate(t, h, b.Build).process("in", []byte("k"), []byte("v"), 5, nil); err != nil {
		t.Fatal(err)
	}
	checkLines(t, "sent", h.sent, []string{"out/-1 k=v@5"})
}

func TestForwardTo(t *testing.T) {
	b := NewBuilder()
	source(b, "s", "in")
	AddProcessor(b, "p", do(func(ctx *Context[string, string], r Record[string, string]) error {
		r.Value = fmt.Sprint(ctx.Node(), ctx.TaskID(), ctx.StreamTime())
		return ctx.ForwardTo(r.Key, r)
	}), "s")
	sink(b, "a", "A", "p")
	sink(b, "b", "B", "p")
	h := &host{}
	graph := instantiate(t, h, b.Build)
	if err := graph.process("in", []byte("b"), []byte(""), 5, nil); err != nil {
		t.Fatal(err)
	}
	checkLines(t, "sent", h.sent, []string{"B/-1 b=p3_199@5"})
	if err := graph.process("in", []byte("c"), []byte(""), 5, nil); err == nil || !strings.Contains(err.Error(), "c is not a child of p") {
		t.Errorf("unknown child: %v", err)
	}
}

func TestHeadersAreForwardedAndNotShared(t *testing.T) {
	add := func(key string) Supplier[string, string, string, string] {
		return do(func(ctx *Context[string, string], r Record[string, string]) error {
			r.Headers = append(r.Headers, Header{Key: key})
			return ctx.Forward(r)
		})
	}
	b := NewBuilder()
	source(b, "s", "in")
	for _, name := range []string{"a", "b"} {
		AddProcessor(b, name, add(name), "s")
		sink(b, "k"+name, "out", name)
	}
	h := &host{}
	headers := append(make([]Header, 0, 8), Header{Key: "eostop", Value: []byte{1}})
	if err := instantiate(t, h, b.Build).process("in", []byte("k"), []byte("v"), 5, headers); err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(h.headers), "[[{eostop [1]} {a []}] [{eostop [1]} {b []}]]"; got != want {
		t.Errorf("headers %s, want %s", got, want)
	}
}

func TestDeserializationError(t *testing.T) {
	b := NewBuilder()
	AddSource(b, "s", Int64{}, Int64{}, "in")
	AddSink(b, "k", "out", Int64{}, Int64{}, "s")
	h := &host{}
	graph := instantiate(t, h, b.Build)
	eight := make([]byte, 8)
	for part, err := range map[string]error{
		"key":   graph.process("in", []byte("x"), eight, 5, nil),
		"value": graph.process("in", eight, nil, 5, nil),
	} {
		var target *DeserializationError
		if !errors.As(err, &target) || target.Part != part || target.Topic != "in" || target.Node != "s" {
			t.Errorf("%s: got %#v", part, err)
		}
		if part == "value" && !errors.Is(err, ErrNull) {
			t.Errorf("null: got %v", err)
		}
	}
	if len(h.sent) != 0 {
		t.Errorf("sent %v", h.sent)
	}
	if err := graph.process("in", eight, eight, 5, nil); err != nil || len(h.sent) != 1 {
		t.Errorf("a good record after a bad one: %v, sent %v", err, h.sent)
	}
}

func TestProcessingErrorNamesTheNode(t *testing.T) {
	boom := errors.New("boom")
	b := NewBuilder()
	source(b, "s", "in")
	AddProcessor(b, "outer", do(func(ctx *Context[string, string], r Record[string, string]) error {
		if err := ctx.Forward(r); err != nil {
			return fmt.Errorf("outer: %w", err)
		}
		return nil
	}), "s")
	AddProcessor(b, "inner", do(func(*Context[string, string], Record[string, string]) error { return boom }), "outer")
	err := instantiate(t, &host{}, b.Build).process("in", []byte("k"), []byte("v"), 5, nil)
	var target *ProcessingError
	if !errors.As(err, &target) || target.Node != "inner" || !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
}

func TestSwallowedErrorsEndTheRecord(t *testing.T) {
	boom := errors.New("boom")
	b := NewBuilder()
	source(b, "s", "in")
	AddProcessor(b, "careless", do(func(ctx *Context[string, string], r Record[string, string]) error {
		_ = ctx.Forward(r)
		return nil
	}), "s")
	sink(b, "k", "out", "careless")
	h := &host{sendErr: boom}
	graph := instantiate(t, h, b.Build)
	if err := graph.process("in", []byte("k"), []byte("v"), 5, nil); !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
	h.sendErr = nil
	if err := graph.process("in", []byte("k"), []byte("v"), 5, nil); err != nil {
		t.Errorf("the next record: %v", err)
	}
}

// failing is an error type of a host, to be found by errors.As.
type failing struct{ code int }

func (f *failing) Error() string { return fmt.Sprint("code ", f.code) }

func TestHostErrorsStayFindable(t *testing.T) {
	tests := map[string]func(h *host, m *memory){
		"send to topic out":   func(h *host, _ *memory) { h.sendErr = &failing{7} },
		"get from store rows": func(_ *host, m *memory) { m.getErr = &failing{7} },
		"put into store rows": func(_ *host, m *memory) { m.putErr = &failing{7} },
	}
	for want, breakIt := range tests {
		t.Run(want, func(t *testing.T) {
			b := NewBuilder()
			source(b, "s", "in")
			AddProcessor(b, "p", func() Processor[string, string, string, string] { return &lastValue{} }, "s")
			store(b, "rows", "p")
			sink(b, "k", "out", "p")
			h := &host{}
			graph := instantiate(t, h, b.Build)
			breakIt(h, h.stores["rows"])
			err := graph.process("in", []byte("k"), []byte("v"), 5, nil)
			if target := (*failing)(nil); !errors.As(err, &target) || target.code != 7 {
				t.Fatalf("got %v", err)
			}
			if target := (*ProcessingError)(nil); errors.As(err, &target) {
				t.Errorf("taken for a failure of the program: %v", err)
			}
			if !strings.Contains(err.Error(), want) {
				t.Errorf("error does not say %q: %v", want, err)
			}
		})
	}
}

func TestProcessUnknownTopic(t *testing.T) {
	b := NewBuilder()
	source(b, "s", "in")
	if err := instantiate(t, &host{}, b.Build).process("other", nil, nil, 0, nil); err == nil {
		t.Error("no error")
	}
}

func TestSinkSerdeFails(t *testing.T) {
	b := NewBuilder()
	source(b, "s", "in")
	AddSink(b, "k", "out", String{}, picky{}, "s")
	AddSink(b, "l", "out", picky{}, String{}, "s")
	graph := instantiate(t, &host{}, b.Build)
	for _, test := range []struct{ key, value, node string }{{"k", "bad", "k"}, {"bad", "v", "l"}} {
		err := graph.process("in", []byte(test.key), []byte(test.value), 0, nil)
		if target := (*ProcessingError)(nil); !errors.As(err, &target) || target.Node != test.node || !errors.Is(err, errPicky) {
			t.Errorf("%s: got %v", test.node, err)
		}
	}
}

var errPicky = errors.New("picky")

// picky refuses "bad".
type picky struct{ String }

func (picky) Serialize(value string) ([]byte, error) {
	if value == "bad" {
		return nil, errPicky
	}
	return []byte(value), nil
}
