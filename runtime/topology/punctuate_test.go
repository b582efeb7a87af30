package topology

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// scheduling is a processor that schedules in Init and ignores records.
func scheduling(schedule func(ctx *Context[string, string])) func() (*Topology, error) {
	b := NewBuilder()
	source(b, "s", "in")
	AddProcessor(b, "p", func() Processor[string, string, string, string] {
		return &fragile{
			init:    func(ctx *Context[string, string]) error { schedule(ctx); return nil },
			process: func(Record[string, string]) error { return nil },
		}
	}, "s")
	sink(b, "k", "out", "p")
	return b.Build
}

// TestStreamTimePunctuation is anchored at 0: the first record punctuates, and then each multiple of the interval, once
// for however many were passed.
func TestStreamTimePunctuation(t *testing.T) {
	var calls []string
	graph := instantiate(t, &host{}, scheduling(func(ctx *Context[string, string]) {
		ctx.Schedule(10*time.Millisecond, StreamTime, func(at int64) error {
			_, onRecord := ctx.RecordMetadata()
			calls = append(calls, fmt.Sprint(at, ctx.Timestamp(), ctx.Headers(), onRecord))
			return nil
		})
	}))
	for _, step := range []struct {
		time int64
		want int
	}{{-1, 0}, {3, 1}, {9, 0}, {10, 1}, {10, 0}, {19, 0}, {57, 1}, {59, 0}, {60, 1}} {
		n, err := graph.PunctuateStreamTime(step.time)
		if err != nil || n != step.want {
			t.Errorf("at %d: %d calls, %v, want %d", step.time, n, err, step.want)
		}
	}
	checkLines(t, "calls", calls, []string{"3 3 [] false", "10 10 [] false", "57 57 [] false", "60 60 [] false"})
	if _, ok := graph.NextWallClock(); ok {
		t.Error("the wall clock has nothing to do")
	}
}

// TestWallClockPunctuation is anchored at the time of scheduling.
func TestWallClockPunctuation(t *testing.T) {
	h := &host{now: time.UnixMilli(1003)}
	var calls []string
	graph := instantiate(t, h, scheduling(func(ctx *Context[string, string]) {
		ctx.Schedule(10*time.Millisecond, WallClockTime, func(at int64) error {
			calls = append(calls, fmt.Sprint("ten ", at))
			return ctx.Forward(Record[string, string]{Key: "k", Value: "v", Timestamp: at})
		})
		ctx.Schedule(4*time.Millisecond, WallClockTime, func(at int64) error {
			calls = append(calls, fmt.Sprint("four ", at))
			return nil
		})
	}))
	for _, step := range []struct{ now, want, next int64 }{{1003, 0, 1007}, {1006, 0, 1007}, {1007, 1, 1011}, {1013, 2, 1015}, {1047, 2, 1051}} {
		n, err := graph.PunctuateWallClock(time.UnixMilli(step.now))
		if err != nil || n != int(step.want) {
			t.Errorf("at %d: %d calls, %v, want %d", step.now, n, err, step.want)
		}
		if next, ok := graph.NextWallClock(); !ok || next.UnixMilli() != step.next {
			t.Errorf("at %d: next at %d, %v, want %d", step.now, next.UnixMilli(), ok, step.next)
		}
	}
	checkLines(t, "calls", calls, []string{"four 1007", "four 1013", "ten 1013", "four 1047", "ten 1047"})
	checkLines(t, "sent", h.sent, []string{"out/-1 k=v@1013", "out/-1 k=v@1047"})
}

// TestCancellation cancels from without and from within.
func TestCancellation(t *testing.T) {
	var calls []string
	var other *Cancellation
	graph := instantiate(t, &host{}, scheduling(func(ctx *Context[string, string]) {
		var self *Cancellation
		self = ctx.Schedule(time.Millisecond, WallClockTime, func(int64) error {
			calls = append(calls, "self")
			self.Cancel()
			other.Cancel()
			return nil
		})
		other = ctx.Schedule(time.Millisecond, WallClockTime, func(int64) error {
			calls = append(calls, "other")
			return nil
		})
	}))
	for i := range int64(3) {
		if _, err := graph.PunctuateWallClock(time.UnixMilli(1e6 + i)); err != nil {
			t.Fatal(err)
		}
	}
	checkLines(t, "calls", calls, []string{"self"})
	if next, ok := graph.NextWallClock(); ok {
		t.Errorf("next at %v", next)
	}
}

// TestPunctuatorFails: its error is one of the node, and goes through the same handler.
func TestPunctuatorFails(t *testing.T) {
	for _, response := range []Response{Fail, Continue} {
		h := &host{response: response}
		calls := 0
		graph := instantiate(t, h, scheduling(func(ctx *Context[string, string]) {
			ctx.Schedule(time.Millisecond, StreamTime, func(int64) error {
				calls++
				return errPicky
			})
		}))
		if err := graph.process("in", []byte("k"), []byte("v"), 3, nil); err != nil {
			t.Fatal(err)
		}
		n, err := graph.PunctuateStreamTime(3)
		if len(h.failures) != 1 {
			t.Fatalf("failures %v", h.failures)
		}
		f := h.failures[0]
		if f.Kind != ProcessingFailure || f.Node != "p" || f.Topic != "" || f.Key != nil || f.Timestamp != 3 {
			t.Errorf("failure %+v", f)
		}
		if response == Continue {
			if err != nil || n != 1 || graph.Dropped() != (Dropped{Processing: 1}) {
				t.Errorf("%d calls, %v, dropped %+v", n, err, graph.Dropped())
			}
			if n, err := graph.PunctuateStreamTime(4); n != 1 || err != nil || calls != 2 {
				t.Errorf("it does not go on: %d, %v", n, err)
			}
			continue
		}
		if target := (*ProcessingError)(nil); !errors.As(err, &target) || target.Node != "p" || !errors.Is(err, errPicky) || n != 0 {
			t.Errorf("%d calls, got %v", n, err)
		}
	}
}

// TestPunctuatorsMeetTheHost: a host's error in a punctuator is shown to no handler, even if the punctuator hides it.
func TestPunctuatorsMeetTheHost(t *testing.T) {
	h := &host{sendErr: &failing{5}}
	graph := instantiate(t, h, scheduling(func(ctx *Context[string, string]) {
		ctx.Schedule(time.Millisecond, StreamTime, func(int64) error {
			_ = ctx.Forward(Record[string, string]{})
			return nil
		})
	}))
	_, err := graph.PunctuateStreamTime(3)
	if target := (*failing)(nil); !errors.As(err, &target) || len(h.failures) > 0 {
		t.Errorf("got %v, failures %v", err, h.failures)
	}
}

func TestScheduleRefuses(t *testing.T) {
	for want, schedule := range map[string]func(ctx *Context[string, string]){
		"the interval must be at least 1 ms": func(ctx *Context[string, string]) {
			ctx.Schedule(time.Microsecond, StreamTime, func(int64) error { return nil })
		},
		"there is no punctuation type 9": func(ctx *Context[string, string]) {
			ctx.Schedule(time.Second, 9, func(int64) error { return nil })
		},
	} {
		program, err := scheduling(schedule)()
		if err != nil {
			t.Fatal(err)
		}
		_, err = program.Instantiate(0, &host{})
		if target := (*ProcessingError)(nil); !errors.As(err, &target) || target.Node != "p" || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestClosedGraphDoesNotPunctuate(t *testing.T) {
	graph := instantiate(t, &host{}, scheduling(func(ctx *Context[string, string]) {
		ctx.Schedule(time.Millisecond, WallClockTime, func(int64) error { return nil })
	}))
	if err := graph.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := graph.PunctuateWallClock(time.UnixMilli(1e6)); err == nil {
		t.Error("a closed graph punctuates")
	}
	if _, ok := graph.NextWallClock(); ok {
		t.Error("a closed graph is waiting for the clock")
	}
}
