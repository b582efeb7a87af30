package topology

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// forked is a program with two branches, of which the first refuses what is "bad" in it.
func forked() *Builder {
	b := NewBuilder()
	AddSource(b, "s", String{}, picky{}, "in")
	AddProcessor(b, "bad", do(func(ctx *Context[string, string], r Record[string, string]) error {
		if r.Value == "bad record" {
			return errPicky
		}
		return ctx.Forward(r)
	}), "s")
	AddProcessor(b, "swallows", do(func(ctx *Context[string, string], r Record[string, string]) error {
		r.Timestamp += 10
		_ = ctx.Forward(r)
		return nil
	}), "s")
	AddSink(b, "first", "first", picky{}, picky{}, "bad")
	AddSink(b, "second", "second", String{}, picky{}, "swallows")
	return b
}

// TestHandlers lets each place fail, and the handler say either.
func TestHandlers(t *testing.T) {
	tests := []struct {
		name     string
		key      string
		value    string
		failures []string
		sent     []string
		dropped  Dropped
		fatal    string // the error if the handler says Fail
	}{
		{
			"deserialization", "k", "not read",
			[]string{"deserialization s  in-2@7 k=not read @5 picky"},
			nil,
			Dropped{Deserialization: 1},
			"read value of record in-2@7: picky",
		},
		{
			"processing", "k", "bad record",
			[]string{"processing bad  in-2@7 k=bad record @5 picky"},
			[]string{"second/-1 k=bad record@15"},
			Dropped{Processing: 1},
			"process at node bad: picky",
		},
		{
			"key", "bad", "v",
			[]string{"key serialization first first in-2@7 bad=v @5 serialize key for topic first: picky"},
			[]string{"second/-1 bad=v@15"},
			Dropped{Serialization: 1},
			"process at node first: serialize key for topic first: picky",
		},
		{"value", "k", "bad", []string{
			"value serialization first first in-2@7 k=bad @5 serialize value for topic first: picky",
			"value serialization second second in-2@7 k=bad @15 serialize value for topic second: picky",
		}, nil, Dropped{Serialization: 2}, "process at node first: serialize value for topic first: picky"},
		{"nothing", "k", "v", nil, []string{"first/-1 k=v@5", "second/-1 k=v@15"}, Dropped{}, ""},
	}
	for _, test := range tests {
		in := Input{Topic: "in", Partition: 2, Offset: 7, Key: []byte(test.key), Value: []byte(test.value), Timestamp: 5}
		show := func(failures []Failure) []string {
			var lines []string
			for _, f := range failures {
				lines = append(lines, fmt.Sprintf("%s %s %s %s-%d@%d %s=%s @%d %v",
					f.Kind, f.Node, f.Sink, f.Topic, f.Partition, f.Offset, f.Key, f.Value, f.Timestamp, cause(f.Err)))
			}
			return lines
		}
		t.Run(test.name+", continue", func(t *testing.T) {
			h := &host{response: Continue}
			graph := instantiate(t, h, forked().Build)
			if err := graph.Process(in); err != nil {
				t.Fatal(err)
			}
			checkLines(t, "failures", show(h.failures), test.failures)
			checkLines(t, "sent", h.sent, test.sent)
			if graph.Dropped() != test.dropped || graph.Dropped().Total() != uint64(len(test.failures)) {
				t.Errorf("dropped %+v, want %+v", graph.Dropped(), test.dropped)
			}
		})
		t.Run(test.name+", fail", func(t *testing.T) {
			h := &host{}
			graph := instantiate(t, h, forked().Build)
			err := graph.Process(in)
			if (err == nil) != (test.fatal == "") || err != nil && err.Error() != test.fatal {
				t.Errorf("got %v, want %q", err, test.fatal)
			}
			// Only the first is asked about: what comes behind a failure does not happen.
			checkLines(t, "failures", show(h.failures), test.failures[:min(1, len(test.failures))])
			if graph.Dropped() != (Dropped{}) {
				t.Errorf("dropped %+v", graph.Dropped())
			}
		})
	}
}

// cause shortens an error of deserialization, whose text names the record again.
func cause(err error) error {
	if target, ok := errors.AsType[*DeserializationError](err); ok {
		return target.Err
	}
	return err
}

func (picky) Deserialize(data []byte) (string, error) {
	if string(data) == "not read" {
		return "", errPicky
	}
	return string(data), nil
}

// TestSwallowedFailure: a processor that hides its child's error cannot make a failure undone, nor is the handler asked again
// about whatever error it makes of it.
func TestSwallowedFailure(t *testing.T) {
	b := NewBuilder()
	source(b, "s", "in")
	AddProcessor(b, "outer", do(func(ctx *Context[string, string], r Record[string, string]) error {
		if r.Key == "silent" {
			_ = ctx.Forward(r)
			return nil
		}
		if ctx.Forward(r) != nil {
			return errors.New("something else")
		}
		return nil
	}), "s")
	siblings := 0
	AddProcessor(b, "sibling", do(func(*Context[string, string], Record[string, string]) error { siblings++; return nil }), "s")
	AddProcessor(b, "inner", do(func(*Context[string, string], Record[string, string]) error { return errPicky }), "outer")
	h := &host{}
	graph := instantiate(t, h, b.Build)
	for i, key := range []string{"silent", "loud"} {
		err := graph.process("in", []byte(key), []byte("v"), 5, nil)
		if !errors.Is(err, errPicky) || len(h.failures) != i+1 || siblings > 0 {
			t.Errorf("%s: got %v, failures %v, the sibling got %d records", key, err, h.failures, siblings)
		}
	}
}

// TestStoreErrorsOfTheProgram: a serde that refuses is the program's failure, also in a store.
func TestStoreErrorsOfTheProgram(t *testing.T) {
	b := NewStreamsBuilder()
	Stream(b, "in", String{}, String{}).GroupByKey(String{}, picky{}).
		Reduce(func(_, value string) string { return value }).ToStream().To("out", String{}, String{})
	h := &host{response: Continue}
	graph := instantiate(t, h, b.Build)
	for _, value := range []string{"bad", "good"} {
		if err := graph.process("in", []byte("k"), []byte(value), 5, nil); err != nil {
			t.Fatal(err)
		}
	}
	checkLines(t, "sent", h.sent, []string{"out/-1 k=good@5"})
	if graph.Dropped() != (Dropped{Processing: 1}) || len(h.failures) != 1 ||
		!strings.Contains(h.failures[0].Err.Error(), "serialize value for store KSTREAM-REDUCE-STATE-STORE-0000000001") {
		t.Errorf("dropped %+v, failures %v", graph.Dropped(), h.failures)
	}
}

func TestFailureKinds(t *testing.T) {
	seen := make(map[string]bool)
	for kind := range ValueSerializationFailure + 2 {
		seen[kind.String()] = true
	}
	if len(seen) != 5 || !seen["unknown"] {
		t.Errorf("names %v", seen)
	}
}
