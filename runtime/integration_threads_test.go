package runtime_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"eostop/runtime"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// The tests of this file are those of Kafka's AdjustStreamThreadCountTest and PauseResumeIntegrationTest.

// threadNames returns the names of an instance's threads.
func (m *member) threadNames() []string {
	var names []string
	for _, th := range m.Status().Threads {
		names = append(names, th.Name)
	}
	return names
}

func (m *member) add(want string) {
	m.c.Helper()
	if name, err := m.AddThread(); err != nil || name != want {
		m.c.Fatalf("added %q, %v; want %s", name, err, want)
	}
}

func (m *member) remove(want string) {
	m.c.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	if name, err := m.RemoveThread(ctx); err != nil || name != want {
		m.c.Fatalf("removed %q, %v; want %s", name, err, want)
	}
}

// TestShouldAddAndRemoveStreamThreads: names are given again where they are free, tasks follow, nothing is lost or done twice, and what
// threads have counted does not go away with them.
func TestShouldAddAndRemoveStreamThreads(t *testing.T) {
	t.Parallel()
	everyMode(t, func(t *testing.T, m mode) {
		inBubble(t, m, func(c *cluster) {
			const partitions = 4
			c.create(partitions, "in", "out")
			program := sumProgram(t, nil)
			i := c.start("i1", program, nil)
			c.awaitRunning(soon, partitions, i)
			sent, counted := int64(0), runtime.Counters{}
			// work lets the application process something in the middle of the change before.
			work := func(threads ...string) {
				c.Helper()
				c.feed("in", partitions, sent, 5)
				sent += 5
				c.awaitRunning(soon, partitions, i)
				c.feed("in", partitions, sent, 5)
				sent += 5
				c.awaitCommitted(soon, "in")
				if got := i.threadNames(); !slices.Equal(got, threads) {
					c.Errorf("threads %v, want %v", got, threads)
				}
				most, least := 0, partitions
				for _, th := range i.Status().Threads {
					most, least = max(most, len(th.Tasks)), min(least, len(th.Tasks))
				}
				if most > least+1 {
					c.Errorf("the threads have %d to %d tasks, want the work to be spread", least, most)
				}
				now := i.total()
				if now.Processed < counted.Processed || now.Committed < counted.Committed || now.RestoredRecords < counted.RestoredRecords {
					c.Errorf("counted %+v after %+v", now, counted)
				}
				if now.Processed != uint64(partitions*sent) {
					c.Errorf("%d records processed of %d", now.Processed, partitions*sent)
				}
				counted = now
			}
			const one, two, three = "i1-StreamThread-1", "i1-StreamThread-2", "i1-StreamThread-3"
			work(one)
			i.add(two)
			work(one, two)
			i.add(three)
			work(one, two, three)
			i.remove(three)
			work(one, two)
			i.remove(two)
			work(one)
			i.add(two)
			i.add(three) // in the middle of the rebalance for the one before
			work(one, two, three)
			i.remove(three)
			i.remove(two)
			work(one)
			c.wantSums("in", "out")
			i.close()
			i.wantDeaths(0, 0)
			i.wantCalm()
		})
	})
}

// TestShouldNotAddThreadInAWrongState: before the start and after the end there are none to add to.
func TestShouldNotAddThreadInAWrongState(t *testing.T) {
	t.Parallel()
	inBubble(t, mode{runtime.ExactlyOnceV2, "3.7"}, func(c *cluster) {
		c.create(1, "in", "out")
		i := c.start("i1", copyProgram(t, "in", "out"), nil)
		c.awaitRunning(soon, 1, i)
		i.close()
		if name, err := i.AddThread(); err == nil {
			c.Errorf("added %s to a closed instance", name)
		}
		if name, err := i.RemoveThread(c.Context()); err == nil {
			c.Errorf("removed %s from a closed instance", name)
		}
	})
}

// TestAddThreadWhileClosing: a thread is either not added, or ends with the instance.
func TestAddThreadWhileClosing(t *testing.T) {
	t.Parallel()
	for range 20 {
		inBubble(t, mode{runtime.ExactlyOnceV2, "3.7"}, func(c *cluster) {
			c.create(1, "in", "out")
			i := c.start("i1", copyProgram(t, "in", "out"), nil)
			c.awaitRunning(soon, 1, i)
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					for {
						if _, err := i.AddThread(); err != nil {
							return
						}
					}
				})
			}
			i.close()
			wg.Wait()
			for _, th := range i.Status().Threads {
				if th.State != string(runtime.ThreadDead) {
					c.Errorf("%s is %s", th.Name, th.State)
				}
			}
			i.wantDeaths(0, 0)
		})
	}
}

// TestShouldRemoveStreamThreadWithStaticMembership: a static member that goes for good must not keep its tasks until the session
// time-out.
func TestShouldRemoveStreamThreadWithStaticMembership(t *testing.T) {
	t.Parallel()
	everyMode(t, func(t *testing.T, m mode) {
		inBubble(t, m, func(c *cluster) {
			c.create(2, "in", "out")
			i := c.start("i1", copyProgram(t, "in", "out"), func(cfg *runtime.Config) {
				cfg.StreamThreads, cfg.GroupInstanceID = 2, "static-i1"
			})
			c.awaitRunning(soon, 2, i)
			began := time.Now()
			i.remove("i1-StreamThread-2")
			c.feed("in", 2, 0, 5)
			c.awaitRunning(late, 2, i)
			c.awaitCommitted(late, "in")
			if took := time.Since(began); took > i.cfg.SessionTimeout/2 {
				c.Errorf("it took %v until the other thread had the tasks", took)
			}
			c.wantCopied("in", "out")
			i.close()
			i.wantDeaths(0, 0)
		})
	})
}

// TestAThreadThatIsRemovedEndsItsTransaction: what it has processed is committed, not left to others.
func TestAThreadThatIsRemovedEndsItsTransaction(t *testing.T) {
	t.Parallel()
	exactlyOnceModes(t, func(t *testing.T, m mode) {
		inBubble(t, m, func(c *cluster) {
			c.create(2, "in", "out")
			i := c.start("i1", sumProgram(t, nil), func(cfg *runtime.Config) {
				slowCommits(cfg)
				cfg.StreamThreads = 2
			})
			c.awaitRunning(soon, 2, i)
			leaveOpen(c)
			i.remove("i1-StreamThread-2")
			c.awaitRunning(soon, 2, i)
			if n := i.total(); n.Processed != 30 {
				c.Errorf("%d records processed, want 30: none a second time", n.Processed)
			}
			c.awaitCommitted(late, "in")
			c.wantSums("in", "out")
			i.close()
			i.wantDeaths(0, 0)
			i.wantCalm()
		})
	})
}

// TestShouldPauseAndResumeKafkaStreams: a paused instance keeps its tasks and its place in the group, commits what it has processed, and goes on
// where it was.
func TestShouldPauseAndResumeKafkaStreams(t *testing.T) {
	t.Parallel()
	everyMode(t, func(t *testing.T, m mode) {
		inBubble(t, m, func(c *cluster) {
			c.create(2, "in", "out")
			i := c.start("i1", copyProgram(t, "in", "out"), slowCommits)
			c.awaitRunning(soon, 2, i)
			c.feed("in", 2, 0, 5)
			c.awaitRecords(soon, "out", uncommitted, 10)
			generation := i.generation()
			i.Pause()
			if !i.Paused() || !i.Status().Paused {
				c.Error("it does not say that it is paused")
			}
			c.awaitCommitted(soon, "in") // what was processed
			c.feed("in", 2, 5, 5)
			time.Sleep(2*i.cfg.SessionTimeout + 2*i.cfg.TransactionTimeout)
			if n := len(c.read("out", uncommitted)); n != 10 {
				c.Errorf("%d records are written, want the ten from before the pause", n)
			}
			c.awaitRunning(soon, 2, i)
			if now := i.generation(); now != generation {
				c.Errorf("generation %d became %d, want it to stay a member", generation, now)
			}
			i.Resume()
			c.awaitCommitted(soon, "in")
			c.wantCopied("in", "out")
			i.close()
			i.wantDeaths(0, 0)
			i.wantCalm()
		})
	})
}

// TestPauseResumeShouldWorkAcrossInstances: each instance is paused by itself, and takes part in rebalances meanwhile.
func TestPauseResumeShouldWorkAcrossInstances(t *testing.T) {
	t.Parallel()
	everyMode(t, func(t *testing.T, m mode) {
		inBubble(t, m, func(c *cluster) {
			c.create(2, "in", "out")
			program := sumProgram(t, nil)
			if !m.exactlyOnce() {
				program = copyProgram(t, "in", "out")
			}
			one := c.start("i1", program, nil)
			c.awaitRunning(soon, 2, one)
			c.feed("in", 2, 0, 5)
			c.awaitCommitted(soon, "in")
			one.Pause()
			c.feed("in", 2, 5, 5)
			two := c.start("i2", program, nil)
			c.await(late, "i2 has a task", func() bool { return len(two.tasks()) == 1 && len(one.tasks()) == 1 })
			time.Sleep(soon)
			kept := one.tasks()[0]
			for p, records := range c.perPartition("out") {
				want := 10
				if kept == []string{"0_0", "0_1"}[p] {
					want = 5 // it is still paused
				}
				if records != want {
					c.Errorf("%d records of partition %d are written, want %d", records, p, want)
				}
			}
			one.Resume()
			c.awaitCommitted(soon, "in")
			if m.exactlyOnce() {
				c.wantSums("in", "out")
			} else {
				c.wantCopied("in", "out")
			}
			for _, i := range []*member{one, two} {
				i.close()
				i.wantDeaths(0, 0)
				i.wantCalm()
			}
		})
	})
}

// perPartition counts the committed records of an output by the input partition that their keys come from.
func (c *cluster) perPartition(topic string) [2]int {
	c.Helper()
	values := c.values(topic, committed)
	return [2]int{len(values[keyOf(0)]), len(values[keyOf(1)])}
}

// TestShouldNotRestoreWhilePaused: an instance that is paused before its tasks are restored restores nothing.
func TestShouldNotRestoreWhilePaused(t *testing.T) {
	t.Parallel()
	everyMode(t, func(t *testing.T, m mode) {
		inBubble(t, m, func(c *cluster) {
			c.create(2, "in", "out")
			program := sumProgram(t, nil)
			first := c.start("i1", program, nil)
			c.feed("in", 2, 0, 20)
			c.awaitCommitted(soon, "in")
			first.close()
			second := c.prepare("i2", program, nil)
			second.launch()
			second.Pause()
			restores := second.wire.disturb(&disturbance{key: kmsg.Fetch, do: watch, n: -1, of: func(r request) bool {
				return r.clientID == "i2-StreamThread-1-restore-consumer"
			}})
			c.feed("in", 2, 20, 5)
			c.await(soon, "it has its tasks", func() bool { return len(second.tasks()) == 2 })
			time.Sleep(soon)
			if n := second.total(); n.RestoredRecords > 0 || n.Processed > 0 {
				c.Errorf("%d records restored and %d processed while paused (%d fetches)", n.RestoredRecords, n.Processed, restores.hits.Load())
			}
			second.Resume()
			c.awaitRunning(soon, 2, second)
			c.awaitCommitted(soon, "in")
			if n := second.total().RestoredRecords; n != 40 {
				c.Errorf("%d records restored, want 40", n)
			}
			c.wantSums("in", "out")
			second.close()
			second.wantDeaths(0, 0)
		})
	})
}
