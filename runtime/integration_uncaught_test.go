package runtime_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"eostop/runtime"
	"eostop/runtime/journal"
	"eostop/runtime/topology"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// The tests of this file are those of Kafka's StreamsUncaughtExceptionHandlerIntegrationTest, under its names.

// handled records what an uncaught-exception handler was asked.
type handled struct {
	mu       sync.Mutex
	threads  []string
	errs     []error
	response runtime.UncaughtResponse
}

// handle is a runtime.UncaughtHandler.
func (h *handled) handle(thread string, err error) runtime.UncaughtResponse {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.threads, h.errs = append(h.threads, thread), append(h.errs, err)
	return h.response
}

func (h *handled) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.threads)
}

// failOn returns a step that fails at a value, so many times; -1 = always.
func failOn(value int64, times int64) step {
	var left atomic.Int64
	left.Store(times)
	return func(_, _ string, v int64) error {
		if v == value && (times < 0 || left.Add(-1) >= 0) {
			return errInjected
		}
		return nil
	}
}

func TestShouldShutdownClient(t *testing.T) {
	t.Parallel()
	everyMode(t, func(t *testing.T, m mode) {
		inBubble(t, m, func(c *cluster) {
			h := &handled{response: runtime.ShutdownClient}
			c.create(2, "in", "out")
			i := c.start("i1", mapProgram(t, failOn(666, -1)), func(cfg *runtime.Config) {
				cfg.StreamThreads, cfg.UncaughtHandler = 2, h.handle
			})
			other := c.start("i2", mapProgram(t, failOn(666, 0)), nil)
			c.awaitRunning(late, 2, i, other)
			id, err := runtime.ParseTaskID(i.tasks()[0])
			if err != nil {
				c.Fatal(err)
			}
			c.produce("in", id.Partition, pair{"bad", 666})
			c.await(late, "the client is shut down", func() bool { return i.Status().State == string(runtime.InstanceError) })
			if n := h.count(); n != 1 || !errors.Is(h.errs[0], errInjected) {
				c.Errorf("the handler was asked about %v, want the injected error once", h.errs)
			}
			processing, ok := errors.AsType[*topology.ProcessingError](h.errs[0])
			if !ok || processing.Node != "map" {
				c.Errorf("%v does not name the processor", h.errs[0])
			}
			for _, th := range i.Status().Threads {
				if th.State != string(runtime.ThreadDead) {
					c.Errorf("%s is %s, want all threads of the client to have ended", th.Name, th.State)
				}
			}
			i.wantDeaths(1, 0)
			// The application goes on elsewhere.
			c.awaitRunning(late, 2, other)
			c.feed("in", 2, 0, 5)
			c.awaitCommitted(late, "in")
			c.wantCopied("in", "out")
			i.close()
			if state := i.Status().State; state != string(runtime.InstanceError) {
				c.Errorf("state %s after the close, want it to stay ERROR", state)
			}
			other.wantDeaths(0, 0)
		})
	})
}

func TestShouldReplaceThreads(t *testing.T) {
	t.Parallel()
	testReplaceThreads(t, 2)
}

func TestShouldReplaceSingleThread(t *testing.T) {
	t.Parallel()
	testReplaceThreads(t, 1)
}

// testReplaceThreads fails once in each thread.
func testReplaceThreads(t *testing.T, threads int) {
	t.Helper()
	everyMode(t, func(t *testing.T, m mode) {
		inBubble(t, m, func(c *cluster) {
			h := &handled{response: runtime.ReplaceThread}
			partitions := int32(threads)
			c.create(partitions, "in", "out")
			var left atomic.Int64
			if err := c.broker.Observe(kmsg.LeaveGroup.Int16(), func(kmsg.Request) { left.Add(1) }); err != nil {
				c.Fatal(err)
			}
			i := c.start("i1", mapProgram(t, failOn(666, int64(threads))), func(cfg *runtime.Config) {
				cfg.StreamThreads, cfg.UncaughtHandler = threads, h.handle
			})
			c.awaitRunning(late, threads, i)
			c.feed("in", partitions, 0, 5)
			c.awaitCommitted(late, "in")
			for p := range partitions { // one after another: a task may move to the thread that is left
				c.produce("in", p, pair{keyOf(p), 666})
				c.await(late, "the thread is replaced", func() bool {
					_, replaced := i.Deaths()
					return replaced == int(p)+1
				})
				c.awaitRunning(late, threads, i)
			}
			c.feed("in", partitions, 5, 5)
			c.awaitCommitted(late, "in")
			c.wantCopied("in", "out")
			i.wantDeaths(threads, threads)
			// A dead thread leaves the group, so that nobody waits for its session to run out, and its successor says how long it took.
			if n := left.Load(); n != int64(threads) {
				c.Errorf("%d members have left the group, want %d", n, threads)
			}
			var took []time.Duration
			for _, e := range c.events(journal.KindThreadState) {
				if e.To == "REPLACED" {
					took = append(took, e.Duration)
				}
			}
			if len(took) != threads || slices.ContainsFunc(took, func(d time.Duration) bool { return d > 5*time.Second }) {
				c.Errorf("threads were replaced after %v, want %d of them, within half a session time-out", took, threads)
			}
			if n := h.count(); n != threads {
				c.Errorf("the handler was asked %d times, want %d", n, threads)
			}
			for n, th := range i.Status().Threads {
				if th.Index != n+1 || th.State != string(runtime.ThreadRunning) {
					c.Errorf("%s is %s, want threads 1 to %d to run", th.Name, th.State, threads)
				}
			}
			i.close()
		})
	})
}

func TestShouldShutdownMultipleThreadApplication(t *testing.T) {
	t.Parallel()
	testShutdownApplication(t, 2)
}

// TestShouldShutdownSingleThreadApplication: the only thread of the instance has died of the error; somebody has to tell the group.
func TestShouldShutdownSingleThreadApplication(t *testing.T) {
	t.Parallel()
	testShutdownApplication(t, 1)
}

func testShutdownApplication(t *testing.T, threads int) {
	t.Helper()
	everyMode(t, func(t *testing.T, m mode) {
		inBubble(t, m, func(c *cluster) {
			h := &handled{response: runtime.ShutdownApplication}
			c.create(4, "in", "out")
			change := func(cfg *runtime.Config) { cfg.StreamThreads, cfg.UncaughtHandler = threads, h.handle }
			one := c.start("i1", mapProgram(t, failOn(666, -1)), change)
			two := c.start("i2", mapProgram(t, failOn(666, -1)), change)
			c.awaitRunning(late, 4, one, two)
			c.feed("in", 4, 0, 5)
			c.awaitCommitted(late, "in")
			c.produce("in", 0, pair{keyOf(0), 666})
			c.await(late, "both clients are shut down", func() bool {
				return one.Status().State == string(runtime.InstanceError) && two.Status().State == string(runtime.InstanceError)
			})
			for _, i := range []*member{one, two} {
				i.close()
			}
			if n := h.count(); n != 1 {
				c.Errorf("the handlers were asked about %v, want the first error only", h.errs)
			}
			c.await(late, "the group is empty", func() bool { return c.membersOfGroup() == 0 })
		})
	})
}

// TestShouldEmitSameRecordAfterFailover: the store must not already hold what the failed record has put into it, or its result would
// differ when it is processed again.
func TestShouldEmitSameRecordAfterFailover(t *testing.T) {
	t.Parallel()
	everyMode(t, func(t *testing.T, m mode) {
		inBubble(t, m, func(c *cluster) {
			var armed atomic.Bool
			c.create(1, "in", "out")
			i := c.start("i1", sumProgram(t, failOnce(&armed)), slowCommits)
			c.produce("in", 0, pair{"a", 1})
			c.awaitCommitted(late, "in")
			c.produce("in", 0, pair{"a", 10})
			c.awaitRecords(soon, "out", uncommitted, 2)
			armed.Store(true)
			c.produce("in", 0, pair{"b", 100})
			c.awaitCommitted(late, "in")
			i.close()
			i.wantDeaths(1, 1)
			got := c.values("out", committed)
			if m.exactlyOnce() {
				if !slices.Equal(got["a"], []int64{1, 11}) || !slices.Equal(got["b"], []int64{100}) {
					c.Errorf("got %v, want a: 1, 11 and b: 100", got)
				}
				return
			}
			// The second record of a is sent again. What was in the changelog by then counts twice, as in Kafka Streams.
			if n := len(got["a"]); n != 3 || got["a"][1] != 11 || len(got["b"]) != 1 {
				c.Errorf("got %v, want three sums of a, the second one 11, and one of b", got)
			}
		})
	})
}

// TestAHandlerThatPanicsHasChosenNothing: the client shuts down, as without a handler in Kafka Streams.
func TestAHandlerThatPanicsHasChosenNothing(t *testing.T) {
	t.Parallel()
	inBubble(t, mode{runtime.ExactlyOnceV2, "3.7"}, func(c *cluster) {
		c.create(1, "in", "out")
		i := c.start("i1", mapProgram(t, failOn(1, -1)), func(cfg *runtime.Config) {
			cfg.UncaughtHandler = func(string, error) runtime.UncaughtResponse { panic("no idea") }
		})
		c.feed("in", 1, 0, 2)
		c.await(late, "the client is shut down", func() bool { return i.Status().State == string(runtime.InstanceError) })
		i.wantDeaths(1, 0)
	})
}

// TestAThreadThatDiesAtOnceIsNotReplacedInARush: a record that fails whenever it is processed must not keep the machine busy.
func TestAThreadThatDiesAtOnceIsNotReplacedInARush(t *testing.T) {
	t.Parallel()
	exactlyOnceModes(t, func(t *testing.T, m mode) {
		inBubble(t, m, func(c *cluster) {
			c.create(1, "in", "out")
			i := c.start("i1", mapProgram(t, failOn(3, 12)), nil)
			c.feed("in", 1, 0, 6)
			c.awaitCommitted(late, "in")
			c.wantCopied("in", "out")
			i.close()
			i.wantDeaths(12, 12)
			deaths, _ := i.Deaths()
			for n := 1; n < len(deaths); n++ {
				if between := deaths[n].At.Sub(deaths[n-1].At); n > 1 && between < time.Second {
					c.Errorf("death %d came %v after the one before, want a pause", n+1, between)
				}
			}
			if !strings.Contains(deaths[0].Error, errInjected.Error()) || deaths[0].Cause != "processing" || deaths[0].Unexpected {
				c.Errorf("death %+v does not tell its cause", deaths[0])
			}
		})
	})
}
