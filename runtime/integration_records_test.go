package runtime_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"eostop/runtime"
	"eostop/runtime/topology"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// asked records what a production handler was asked.
type asked struct {
	mu       sync.Mutex
	sends    []runtime.FailedSend
	response runtime.HandlerResponse
}

// handle is a runtime.ProductionHandler.
func (a *asked) handle(f runtime.FailedSend) runtime.HandlerResponse {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sends = append(a.sends, f)
	return a.response
}

// bulkyProgram copies in to out, where the value becomes two megabytes for one key.
func bulkyProgram(t *testing.T) *topology.Topology {
	t.Helper()
	b := topology.NewStreamsBuilder()
	raw := topology.Bytes{}
	in := topology.Stream(b, "in", raw, raw)
	topology.MapValues(in, func(value []byte) []byte {
		if number(value) == 666 {
			return make([]byte, 2<<20)
		}
		return value
	}).To("out", raw, raw)
	return built(t, b)
}

// TestProductionHandler: a record that is too large is the handler's business (KIP-210).
func TestProductionHandler(t *testing.T) {
	t.Parallel()
	for name, response := range map[string]runtime.HandlerResponse{"fail": runtime.Fail, "continue": runtime.Continue, "retry": runtime.Retry} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			everyMode(t, func(t *testing.T, m mode) {
				inBubble(t, m, func(c *cluster) {
					a := &asked{response: response}
					c.create(2, "in", "out")
					i := c.start("i1", bulkyProgram(t), func(cfg *runtime.Config) {
						cfg.ProductionHandler, cfg.UncaughtHandler = a.handle, shutdownClient
					})
					c.awaitRunning(soon, 2, i)
					c.feed("in", 2, 0, 5)
					c.awaitCommitted(soon, "in")
					c.produce("in", 0, pair{keyOf(0), 666}, pair{keyOf(0), 5})
					if response == runtime.Continue {
						wantDropped(c, i)
					} else {
						wantFailed(c, i)
					}
					a.mu.Lock()
					defer a.mu.Unlock()
					if len(a.sends) != 1 {
						c.Fatalf("the handler was asked %d times, want once", len(a.sends))
					}
					f := a.sends[0]
					if f.Topic != "out" || string(f.Key) != keyOf(0) || len(f.Value) != 2<<20 || !errors.Is(f.Err, kerr.MessageTooLarge) {
						c.Errorf("asked about %s-%d, key %s, %d bytes, %v", f.Topic, f.Partition, f.Key, len(f.Value), f.Err)
					}
					if f.SourceTopic != "in" || f.SourcePartition != 0 || f.SourceOffset != 5 {
						c.Errorf("sent for %s-%d offset %d, want in-0 offset 5", f.SourceTopic, f.SourcePartition, f.SourceOffset)
					}
				})
			})
		})
	}
}

// wantDropped checks that the record was dropped, and what came after it was not.
func wantDropped(c *cluster, i *member) {
	c.Helper()
	c.awaitCommitted(soon, "in")
	want := map[string][]int64{keyOf(0): {0, 1, 2, 3, 4, 5}, keyOf(1): {0, 1, 2, 3, 4}}
	c.wantValues("out", want)
	if n := i.total(); n.Dropped != 1 || n.Aborted != 0 {
		c.Errorf("%d records dropped, %d transactions aborted, want one and none", n.Dropped, n.Aborted)
	}
	i.close()
	i.wantDeaths(0, 0)
}

// wantFailed checks that the client was shut down by the record, and has written nothing behind it.
func wantFailed(c *cluster, i *member) {
	c.Helper()
	c.await(late, "the client is shut down", func() bool { return i.Status().State == string(runtime.InstanceError) })
	deaths, _ := i.Deaths()
	if len(deaths) != 1 || deaths[0].Cause != "record too large" || deaths[0].Unexpected ||
		!strings.Contains(deaths[0].Error, "write to out-") || !strings.Contains(deaths[0].Error, " for in-0 offset 5: ") || strings.Contains(deaths[0].Error, "offset 6") {
		c.Errorf("%+v, want one death that names the cause, the topic and the record", deaths)
	}
	want := map[string][]int64{keyOf(0): {0, 1, 2, 3, 4}, keyOf(1): {0, 1, 2, 3, 4}}
	if c.exactlyOnce() {
		c.wantValues("out", want)
	}
	if at := c.committedOffsets("in")[0]; at != 5 {
		c.Errorf("committed %d, want the offset of the record that failed", at)
	}
}

// TestAProductionHandlerThatPanics: its panic is the thread's error.
func TestAProductionHandlerThatPanics(t *testing.T) {
	t.Parallel()
	inBubble(t, mode{runtime.ExactlyOnceV2, "3.7"}, func(c *cluster) {
		c.create(1, "in", "out")
		i := c.start("i1", bulkyProgram(t), func(cfg *runtime.Config) {
			cfg.ProductionHandler, cfg.UncaughtHandler = func(runtime.FailedSend) runtime.HandlerResponse { panic("no idea") }, shutdownClient
		})
		c.produce("in", 0, pair{"k", 666})
		c.await(late, "the client is shut down", func() bool { return i.Status().State == string(runtime.InstanceError) })
		if deaths, _ := i.Deaths(); len(deaths) != 1 || deaths[0].Cause != "panic" {
			c.Errorf("%+v, want one death by the panic", deaths)
		}
	})
}

// mergeProgram copies left and right to out in the order in which they are processed, all under one key.
func mergeProgram(t *testing.T, at step) *topology.Topology {
	t.Helper()
	b := topology.NewBuilder()
	topology.AddSource(b, "source", topology.String{}, topology.Int64{}, "left", "right")
	topology.AddProcessor(b, "merge", topology.Stateless(func(ctx *topology.Context[string, int64], r topology.Record[string, int64]) error {
		if at != nil {
			if err := at(ctx.TaskID(), r.Key, r.Value); err != nil {
				return err
			}
		}
		return ctx.Forward(topology.WithKey(r, "k"))
	}), "source")
	topology.AddSink(b, "sink", "out", topology.String{}, topology.Int64{}, "merge")
	return built(t, b)
}

// at writes the numbers from, from+2, ... to partition 0, each with itself as its time in seconds.
func (c *cluster) at(topic string, from, n int64) {
	c.Helper()
	epoch := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	var records []*kgo.Record
	for i := range n {
		r := record(topic, 0, pair{"k", from + 2*i})
		r.Timestamp = epoch.Add(time.Duration(from+2*i) * time.Second)
		records = append(records, r)
	}
	if err := c.client.ProduceSync(c.Context(), records...).FirstErr(); err != nil {
		c.Fatal(err)
	}
}

// upTo returns 0, 1, ... n-1.
func upTo(n int64) []int64 {
	all := make([]int64, n)
	for i := range all {
		all[i] = int64(i)
	}
	return all
}

// TestMaxTaskIdle: the records of two inputs are processed in the order of time, for as long as it is worth waiting (KIP-353, KIP-695).
func TestMaxTaskIdle(t *testing.T) {
	t.Parallel()
	const n = 50
	tests := []struct {
		name string
		idle time.Duration
		// pause is between the arrival of the even numbers on the left and the odd ones on the right.
		pause   time.Duration
		ordered bool
	}{
		{"the other input comes in time", 5 * time.Second, 3 * time.Second, true},
		{"the other input comes late", 5 * time.Second, 10 * time.Second, false},
		{"it does not wait for what is not there", 0, 3 * time.Second, false},
		{"it never waits", -1, 3 * time.Second, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			everyMode(t, func(t *testing.T, m mode) {
				inBubble(t, m, func(c *cluster) {
					c.create(1, "left", "right", "out")
					i := c.start("i1", mergeProgram(t, nil), func(cfg *runtime.Config) { cfg.MaxTaskIdle = test.idle })
					c.awaitRunning(soon, 1, i)
					began := time.Now()
					c.at("left", 0, n)
					c.await(late, "something is processed", func() bool {
						if time.Since(began) >= test.pause && len(c.read("right", committed)) == 0 {
							c.at("right", 1, n)
						}
						return len(c.read("out", committed)) > 0
					})
					if !test.ordered && test.idle > 0 && time.Since(began) < test.idle {
						c.Errorf("it went ahead after %v, want it to wait for %v", time.Since(began), test.idle)
					}
					if !test.ordered && test.idle <= 0 && time.Since(began) > time.Second {
						c.Errorf("it waited for %v", time.Since(began))
					}
					if len(c.read("right", committed)) == 0 {
						c.at("right", 1, n)
					}
					c.awaitCommitted(late, "left")
					c.awaitCommitted(late, "right")
					got := c.values("out", committed)["k"]
					if ordered := slices.Equal(got, upTo(2*n)); ordered != test.ordered {
						c.Errorf("got %v, want it ordered: %v", got, test.ordered)
					}
					slices.Sort(got)
					if !slices.Equal(got, upTo(2*n)) {
						c.Errorf("got %v, want each number once", got)
					}
					i.close()
					i.wantDeaths(0, 0)
					i.wantCalm()
				})
			})
		})
	}
}

// TestKnownRecordsAreWaitedFor: with the default max.task.idle of 0 a task does not wait for what may come, but for what it knows to
// be there, however long the fetch takes.
func TestKnownRecordsAreWaitedFor(t *testing.T) {
	t.Parallel()
	everyMode(t, func(t *testing.T, m mode) {
		inBubble(t, m, func(c *cluster) {
			const n = 50
			c.create(1, "left", "right", "out")
			c.at("left", 0, n)
			c.at("right", 1, n)
			// The right one cannot be fetched in the beginning: whatever is asked for is refused where the right one is in it.
			right := c.topicID("right")
			i := c.prepare("i1", mergeProgram(t, nil), func(cfg *runtime.Config) { cfg.MaxPollRecords = 7 })
			i.launch()
			d := i.wire.disturb(&disturbance{key: kmsg.Fetch, do: refuse, err: kerr.NotLeaderForPartition, n: -1, of: func(r request) bool {
				return slices.ContainsFunc(r.Request.(*kmsg.FetchRequest).Topics, func(t kmsg.FetchRequestTopic) bool { return t.TopicID == right })
			}})
			c.await(soon, "fetches are refused", func() bool { return d.hits.Load() > 3 })
			time.Sleep(2 * time.Second)
			if got := c.read("out", uncommitted); len(got) > 0 {
				c.Errorf("%d records processed without the other input", len(got))
			}
			i.wire.withdraw(d)
			c.awaitCommitted(late, "left")
			c.awaitCommitted(late, "right")
			if got := c.values("out", committed)["k"]; !slices.Equal(got, upTo(2*n)) {
				c.Errorf("got %v, want them ordered", got)
			}
			i.close()
			i.wantDeaths(0, 0)
			i.wantCalm()
		})
	})
}

// topicID returns the id of a topic.
func (c *cluster) topicID(topic string) [16]byte {
	c.Helper()
	topics, err := c.admin.ListTopics(c.Context(), topic)
	if err != nil {
		c.Fatal(err)
	}
	return topics[topic].ID
}

// TestBufferedRecordsPerPartition: a partition of which more is fetched than the buffer is to hold is not fetched until it is worked
// off; other partitions are.
func TestBufferedRecordsPerPartition(t *testing.T) {
	t.Parallel()
	everyMode(t, func(t *testing.T, m mode) {
		inBubble(t, m, func(c *cluster) {
			const n = 2000
			c.create(1, "left", "right", "out")
			left := c.topicID("left")
			i := c.prepare("i1", mergeProgram(t, nil), func(cfg *runtime.Config) {
				cfg.BufferedRecords, cfg.MaxPollRecords, cfg.MaxTaskIdle = 100, 50, 30*time.Second
			})
			var fetched session
			i.assemble()
			fetched.watch(i)
			i.begin()
			c.awaitRunning(soon, 1, i)
			c.await(soon, "the left one is fetched", func() bool { return fetched.has(left) })
			c.at("left", 0, n)
			c.await(soon, "the left one is not fetched any more", func() bool { return !fetched.has(left) })
			if got := c.read("out", uncommitted); len(got) > 0 {
				c.Errorf("%d records processed, the test needs them to wait", len(got))
			}
			c.at("right", 1, n)
			c.awaitCommitted(late, "left")
			c.awaitCommitted(late, "right")
			if got := c.values("out", committed)["k"]; !slices.Equal(got, upTo(2*n)) {
				c.Errorf("%d records, not in the order of time", len(got))
			}
			c.await(soon, "the left one is fetched again", func() bool { return fetched.has(left) })
			c.at("left", 2*n, 5)
			c.at("right", 2*n+1, 5)
			c.awaitCommitted(late, "left")
			c.awaitCommitted(late, "right")
			i.close()
			i.wantDeaths(0, 0)
			i.wantCalm()
		})
	})
}

// session follows which topics the input consumer of an instance's first thread fetches (KIP-227).
type session struct {
	mu     sync.Mutex
	topics map[[16]byte]bool
}

func (s *session) watch(i *member) {
	i.wire.disturb(&disturbance{key: kmsg.Fetch, do: watch, n: -1, of: func(r request) bool {
		if r.clientID != i.name+"-StreamThread-1-input-consumer" {
			return false
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		req := r.Request.(*kmsg.FetchRequest)
		if req.SessionEpoch <= 0 || s.topics == nil {
			s.topics = map[[16]byte]bool{}
		}
		for _, t := range req.ForgottenTopics {
			delete(s.topics, t.TopicID)
		}
		for _, t := range req.Topics {
			s.topics[t.TopicID] = true
		}
		return true
	}})
}

func (s *session) has(topic [16]byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.topics[topic]
}

// TestOrderSurvivesFailures: that what was read is thrown away and read again does not change the order in which two inputs are merged.
func TestOrderSurvivesFailures(t *testing.T) {
	t.Parallel()
	exactlyOnceModes(t, func(t *testing.T, m mode) {
		inBubble(t, m, func(c *cluster) {
			const n = 200
			var calls atomic.Int64
			c.create(1, "left", "right", "out")
			c.at("left", 0, n)
			c.at("right", 1, n)
			i := c.start("i1", mergeProgram(t, func(string, string, int64) error {
				if call := calls.Add(1); call == 90 || call == 300 || call == 600 {
					return fmt.Errorf("call %d: %w", call, errInjected)
				}
				return nil
			}), func(cfg *runtime.Config) { cfg.MaxPollRecords = 13 })
			for range 20 {
				time.Sleep(200 * time.Millisecond)
				i.link.Reset()
			}
			c.awaitCommitted(late, "left")
			c.awaitCommitted(late, "right")
			if got := c.values("out", committed)["k"]; !slices.Equal(got, upTo(2*n)) {
				c.Errorf("got %v, want them ordered", got)
			}
			i.close()
			i.wantDeaths(3, 3)
		})
	})
}
