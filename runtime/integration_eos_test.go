package runtime_test

import (
	"errors"
	"maps"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"eostop/faults"
	"eostop/runtime"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The tests of this file are those of Kafka's EosIntegrationTest, under its names.

func TestShouldBeAbleToRunWithEosEnabled(t *testing.T) {
	t.Parallel()
	runSimpleCopyTest(t, 1, 1, "in", "out")
}

func TestShouldBeAbleToCommitMultiplePartitionOffsets(t *testing.T) {
	t.Parallel()
	runSimpleCopyTest(t, 1, 2, "in", "out")
}

func TestShouldBeAbleToRestartAfterClose(t *testing.T) {
	t.Parallel()
	runSimpleCopyTest(t, 2, 1, "in", "out")
}

func TestShouldBeAbleToRunWithTwoSubtopologiesAndMultiplePartitions(t *testing.T) {
	t.Parallel()
	runSimpleCopyTest(t, 1, 2, "in", "through", "out")
}

// runSimpleCopyTest copies through some topics, with a restart between one round and the next.
func runSimpleCopyTest(t *testing.T, rounds int, partitions int32, topics ...string) {
	t.Helper()
	everyMode(t, func(t *testing.T, m mode) {
		inBubble(t, m, func(c *cluster) {
			c.create(partitions, topics...)
			i := c.start("i1", copyProgram(t, topics...), nil)
			for round := range rounds {
				if round > 0 {
					i.restart(nil)
				}
				c.feed("in", partitions, int64(10*round), 10)
				for _, topic := range topics[:len(topics)-1] {
					c.awaitCommitted(soon, topic)
				}
				c.awaitRunning(soon, int(partitions)*(len(topics)-1), i)
				i.close()
				i.wantDeaths(0, 0)
				i.wantCalm()
			}
			for _, topic := range topics[1:] {
				c.wantCopied("in", topic)
				if n, want := len(c.read(topic, committed)), 10*rounds*int(partitions); n != want {
					c.Errorf("%s: %d records, want %d", topic, n, want)
				}
			}
			if offsets := c.committedOffsets("in"); len(offsets) != int(partitions) {
				c.Errorf("committed %v, want an offset of each of %d partitions", offsets, partitions)
			}
		})
	})
}

// TestShouldCommitCorrectOffsetIfInputTopicIsTransactional: the committed offset passes the markers that end the input's own
// transactions, also those of an aborted one.
func TestShouldCommitCorrectOffsetIfInputTopicIsTransactional(t *testing.T) {
	t.Parallel()
	everyMode(t, func(t *testing.T, m mode) {
		inBubble(t, m, func(c *cluster) {
			c.create(1, "in", "out")
			i := c.start("i1", copyProgram(t, "in", "out"), nil)
			producer := c.newClient(kgo.TransactionalID("input"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
			outcomes := []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryCommit}
			if m.exactlyOnce() { // others read what was aborted, too
				outcomes = append(outcomes, kgo.TryAbort)
			}
			end := int64(0)
			for round, outcome := range outcomes {
				if err := producer.BeginTransaction(); err != nil {
					c.Fatal(err)
				}
				for _, p := range series("k0", int64(10*round), 10) {
					if err := producer.ProduceSync(c.Context(), record("in", 0, p)).FirstErr(); err != nil {
						c.Fatal(err)
					}
				}
				if err := producer.EndTransaction(c.Context(), outcome); err != nil {
					c.Fatal(err)
				}
				end += 11 // ten records and a marker
				c.awaitCommitted(soon, "in")
				if got := c.committedOffsets("in")[0]; got != end {
					c.Errorf("after transaction %d: committed %d, want %d", round, got, end)
				}
			}
			c.wantCopied("in", "out")
			i.close()
			i.wantDeaths(0, 0)
			i.wantCalm()
		})
	})
}

func TestShouldBeAbleToPerformMultipleTransactions(t *testing.T) {
	t.Parallel()
	everyMode(t, func(t *testing.T, m mode) {
		inBubble(t, m, func(c *cluster) {
			c.create(1, "in", "out")
			i := c.start("i1", copyProgram(t, "in", "out"), nil)
			c.awaitRunning(soon, 1, i)
			const rounds = 5
			before := i.total().Committed
			for round := range int64(rounds) {
				c.feed("in", 1, 5*round, 5)
				c.awaitCommitted(soon, "in")
				c.wantCopied("in", "out")
			}
			if n := i.total().Committed - before; n < rounds {
				c.Errorf("%d transactions, want one for each of %d bursts", n, rounds)
			}
			i.close()
			i.wantDeaths(0, 0)
			i.wantCalm()
		})
	})
}

// errInjected is what a program fails with.
var errInjected = errors.New("injected test exception")

// failOnce returns a step that fails at the first record after it was armed.
func failOnce(armed *atomic.Bool) step {
	return func(string, string, int64) error {
		if armed.CompareAndSwap(true, false) {
			return errInjected
		}
		return nil
	}
}

// slowCommits has an instance commit every five seconds, so that a test can leave a transaction open.
func slowCommits(cfg *runtime.Config) { cfg.CommitInterval = 5 * time.Second }

// leaveOpen brings an application to the point where the first ten records of each of two partitions are committed, and the next
// five are processed and written, but not committed.
func leaveOpen(c *cluster) {
	c.Helper()
	c.feed("in", 2, 0, 10)
	c.awaitCommitted(late, "in")
	c.feed("in", 2, 10, 5)
	c.awaitRecords(2*time.Second, "out", uncommitted, 30)
	if n := len(c.read("out", committed)); c.exactlyOnce() && n != 20 {
		c.Fatalf("%d records are committed, want 20: the test needs an open transaction", n)
	}
}

func TestShouldNotViolateEosIfOneTaskFails(t *testing.T) {
	t.Parallel()
	everyMode(t, func(t *testing.T, m mode) {
		inBubble(t, m, func(c *cluster) {
			var armed atomic.Bool
			c.create(2, "in", "out")
			i := c.start("i1", mapProgram(t, failOnce(&armed)), slowCommits)
			leaveOpen(c)
			armed.Store(true)
			c.feed("in", 2, 15, 5)
			c.awaitCommitted(late, "in")
			c.wantCopied("in", "out")
			i.close()
			i.wantDeaths(1, 1)
		})
	})
}

func TestShouldNotViolateEosIfOneTaskFailsWithState(t *testing.T) {
	t.Parallel()
	exactlyOnceModes(t, func(t *testing.T, m mode) {
		inBubble(t, m, func(c *cluster) {
			var armed atomic.Bool
			c.create(2, "in", "out")
			i := c.start("i1", sumProgram(t, failOnce(&armed)), slowCommits)
			leaveOpen(c)
			armed.Store(true)
			c.feed("in", 2, 15, 5)
			c.awaitCommitted(late, "in")
			c.wantSums("in", "out")
			i.close()
			i.wantDeaths(1, 1)
			wantSumsStored(c, i)
		})
	})
}

// wantSumsStored checks the stores of a closed instance that owned both tasks of a sumProgram: they hold the final sums, and their
// positions leave nothing to restore.
func wantSumsStored(c *cluster, m *member) {
	c.Helper()
	totals := map[string]int64{}
	for key, values := range c.values("in", committed) {
		for _, v := range values {
			totals[key] += v
		}
	}
	stored := map[string]int64{}
	for partition, task := range []string{"0_0", "0_1"} {
		position := m.wantCommittedPrefix(task, sumStore, int32(partition))
		for _, r := range c.read(applicationID+"-"+sumStore+"-changelog", committed) {
			if r.Partition == int32(partition) && r.Offset >= position {
				c.Errorf("%s: task %s is at position %d, but offset %d of its changelog is committed", m.name, task, position, r.Offset)
			}
		}
		for key, value := range m.stored(task, sumStore).values {
			stored[key] = number(value)
		}
	}
	if !maps.Equal(stored, totals) {
		c.Errorf("%s: stored %v, want %v", m.name, stored, totals)
	}
	if n := m.total(); n.Wiped != 0 || n.Rebuilt != 0 {
		c.Errorf("%s: %d stores wiped, %d rebuilt, want none", m.name, n.Wiped, n.Rebuilt)
	}
}

// gate stops a thread's loop while it is closed: the thread stalls, as in a long pause of the process.
type gate struct{ stalled atomic.Pointer[chan struct{}] }

// pass is for Env.OnLoop.
func (g *gate) pass(string) {
	if hold := g.stalled.Load(); hold != nil {
		<-*hold
	}
}

func (g *gate) stall() { g.stalled.Store(new(make(chan struct{}))) }

func (g *gate) goOn() { close(*g.stalled.Swap(nil)) }

// TestShouldNotViolateEosIfOneTaskGetsFencedUsingIsolatedAppInstances: one of two instances stands still, as a stopped process
// does, with a transaction open. The other one takes its task over. When the first one goes on it tries to commit, and is refused.
func TestShouldNotViolateEosIfOneTaskGetsFencedUsingIsolatedAppInstances(t *testing.T) {
	t.Parallel()
	everyMode(t, func(t *testing.T, m mode) {
		inBubble(t, m, func(c *cluster) {
			var g gate
			c.create(2, "in", "out")
			program := sumProgram(t, nil)
			if !m.exactlyOnce() {
				program = mapProgram(t, failOnce(new(atomic.Bool)))
			}
			one := c.prepare("i1", program, slowCommits)
			one.onLoop = g.pass
			one.launch()
			two := c.start("i2", program, slowCommits)
			c.awaitRunning(late, 2, one, two)
			leaveOpen(c)

			g.stall()
			one.link.Cut(faults.Both)
			c.awaitRunning(late, 2, two)
			c.feed("in", 2, 15, 5)
			c.awaitCommitted(late, "in")

			one.link.Heal()
			g.goOn()
			c.awaitRunning(late, 2, one, two)
			if len(one.tasks()) != 1 || len(two.tasks()) != 1 {
				c.Errorf("tasks %v and %v, want one each", one.tasks(), two.tasks())
			}
			c.feed("in", 2, 20, 5)
			c.awaitCommitted(late, "in")
			if m.exactlyOnce() {
				c.wantSums("in", "out")
			} else {
				c.wantCopied("in", "out")
			}
			if n := one.total(); n.Migrated == 0 {
				c.Errorf("i1: %+v, want it to have lost its task", n)
			}
			for _, i := range []*member{one, two} {
				i.close()
				i.wantDeaths(0, 0)
			}
		})
	})
}

// TestShouldNotViolateEosIfAThreadStallsThroughARebalance: a thread stands still while its client goes on to send heartbeats. A
// rebalance that it does not join expels it, and it does not know.
func TestShouldNotViolateEosIfAThreadStallsThroughARebalance(t *testing.T) {
	t.Parallel()
	everyMode(t, func(t *testing.T, m mode) {
		inBubble(t, m, func(c *cluster) {
			var g gate
			c.create(2, "in", "out")
			program := sumProgram(t, nil)
			if !m.exactlyOnce() {
				program = mapProgram(t, failOnce(new(atomic.Bool)))
			}
			one := c.prepare("i1", program, slowCommits)
			one.onLoop = g.pass
			one.launch()
			c.awaitRunning(late, 2, one)
			leaveOpen(c)

			g.stall()
			two := c.start("i2", program, slowCommits)
			c.awaitRunning(late, 2, two)
			c.feed("in", 2, 15, 5)
			c.awaitCommitted(late, "in")

			g.goOn()
			c.awaitRunning(late, 2, one, two)
			c.feed("in", 2, 20, 5)
			c.awaitCommitted(late, "in")
			if m.exactlyOnce() {
				c.wantSums("in", "out")
			} else {
				c.wantCopied("in", "out")
			}
			for _, i := range []*member{one, two} {
				i.close()
				i.wantDeaths(0, 0)
			}
		})
	})
}

// TestShouldWriteLatestOffsetsToCheckpointOnShutdown: there are no checkpoint files here. What a clean close leaves on disk is the
// store with its position, and the next start has nothing to restore.
func TestShouldWriteLatestOffsetsToCheckpointOnShutdown(t *testing.T) {
	t.Parallel()
	everyMode(t, func(t *testing.T, m mode) {
		inBubble(t, m, func(c *cluster) {
			c.create(2, "in", "out")
			i := c.start("i1", sumProgram(t, nil), nil)
			c.feed("in", 2, 0, 10)
			c.awaitCommitted(soon, "in")
			i.close()
			wantSumsStored(c, i)
			for round := range int64(2) {
				i.restart(nil)
				c.awaitRunning(soon, 2, i)
				if n := i.total().RestoredRecords; n != 0 {
					c.Errorf("restart %d: %d records restored, want none", round, n)
				}
				c.feed("in", 2, 10+10*round, 10)
				c.awaitCommitted(soon, "in")
				i.close()
				wantSumsStored(c, i)
			}
			c.wantSums("in", "out")
			i.wantDeaths(0, 0)
		})
	})
}

// TestShouldCheckpointRestoredOffsetsWhenClosingCleanDuringRestoring: a restore that a close interrupts is gone on with by the next
// start, not begun anew.
func TestShouldCheckpointRestoredOffsetsWhenClosingCleanDuringRestoring(t *testing.T) {
	t.Parallel()
	everyMode(t, func(t *testing.T, m mode) {
		inBubble(t, m, func(c *cluster) {
			const records = 600
			c.create(1, "in", "out")
			first := c.start("i1", sumProgram(t, nil), nil)
			for n := range int64(records) { // 3 MB of changelog, of which a fetch gets 1 MB
				c.produce("in", 0, pair{strings.Repeat("k", 5000) + string(rune('a'+n%26)) + string(rune('a'+n/26)), 1})
			}
			c.awaitCommitted(soon, "in")
			first.close()

			second := c.start("i2", sumProgram(t, nil), func(cfg *runtime.Config) { cfg.TaskTimeout = time.Hour })
			ofRestore := func(r request) bool { return strings.HasSuffix(r.clientID, "-restore-consumer") }
			blocked := second.wire.disturb(&disturbance{key: kmsg.Fetch, of: ofRestore, do: refuse, err: kerr.NotLeaderForPartition, skip: 1, n: -1})
			c.await(soon, "the restore is blocked", func() bool { return blocked.hits.Load() > 1 })
			second.close()
			before := second.total().RestoredRecords
			if before == 0 || before >= records {
				c.Fatalf("%d of %d records restored before the close, want some", before, records)
			}
			if position := second.wantCommittedPrefix("0_0", sumStore, 0); position < int64(before) {
				c.Errorf("position %d, want it to be behind the %d records that were restored", position, before)
			}

			second.restart(nil)
			c.awaitRunning(soon, 1, second)
			if n := second.total().RestoredRecords; n != records-before {
				c.Errorf("%d records restored after %d, want the remaining %d", n, before, records-before)
			}
			c.produce("in", 0, pair{"new", 1})
			c.awaitCommitted(soon, "in")
			second.close()
			if n := len(second.stored("0_0", sumStore).values); n != records+1 {
				c.Errorf("%d keys stored, want %d", n, records+1)
			}
			c.wantSums("in", "out")
		})
	})
}
