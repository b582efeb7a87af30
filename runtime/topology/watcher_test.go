package topology

import (
	"errors"
	"fmt"
	"testing"
)

// watching is a host that writes down what arrives.
type watching struct {
	host
	arrived []string
}

func (w *watching) Arrived(node string, timestamp int64, topic string, size int) {
	w.arrived = append(w.arrived, fmt.Sprintf("%s@%d %s %d", node, timestamp, topic, size))
}

// TestWatcherIsToldOfTheEnds: sinks, with what they have sent, and processors without children; not what has failed there.
func TestWatcherIsToldOfTheEnds(t *testing.T) {
	b := NewBuilder()
	source(b, "s", "in", "other")
	AddProcessor(b, "p", pass(), "s")
	sink(b, "k", "out", "p")
	AddProcessor(b, "end", do(func(_ *Context[string, string], r Record[string, string]) error {
		if r.Value == "bad" {
			return errors.New("refused")
		}
		return nil
	}), "s")
	w := &watching{}
	graph := instantiate(t, w, b.Build)
	if err := graph.process("other", []byte("key"), []byte("value"), 5, nil); err != nil {
		t.Fatal(err)
	}
	checkLines(t, "arrived", w.arrived, []string{"k@5 out 8", "end@5  0"})
	w.arrived = nil
	if err := graph.process("in", []byte("k"), []byte("bad"), 6, nil); err == nil {
		t.Error("the error is lost")
	}
	w.sendErr = errors.New("send failed")
	if err := graph.process("in", []byte("k"), []byte("v"), 7, nil); err == nil {
		t.Error("the error of the host is lost")
	}
	checkLines(t, "arrived", w.arrived, []string{"k@6 out 4"})
	for topic, want := range map[string]string{"in": "s", "other": "s", "out": ""} {
		if got := graph.Source(topic); got != want {
			t.Errorf("the source of %s is %q, want %q", topic, got, want)
		}
	}
}
