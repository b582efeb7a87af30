package runtime_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"eostop/faults"
	"eostop/runtime"
	"eostop/runtime/journal"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// shutdownClient chooses SHUTDOWN_CLIENT for every error.
func shutdownClient(string, error) runtime.UncaughtResponse { return runtime.ShutdownClient }

// TestShouldWorkWithUncleanShutdownWipeOutStateStore is EOSUncleanShutdownIntegrationTest's only test, whose name says what Kafka
// Streams does. Transactional state wipes nothing: what is on disk is what was committed, and the next start goes on from there.
func TestShouldWorkWithUncleanShutdownWipeOutStateStore(t *testing.T) {
	t.Parallel()
	for _, stateMode := range runtime.StateModes() {
		t.Run(string(stateMode), func(t *testing.T) {
			t.Parallel()
			exactlyOnceModes(t, func(t *testing.T, m mode) {
				inBubble(t, m, func(c *cluster) { uncleanShutdown(c, stateMode) })
			})
		})
	}
}

func uncleanShutdown(c *cluster, stateMode runtime.StateMode) {
	c.Helper()
	var armed atomic.Bool
	c.create(2, "in", "out")
	i := c.start("i1", sumProgram(c.T, failOnce(&armed)), func(cfg *runtime.Config) {
		slowCommits(cfg)
		cfg.UncaughtHandler, cfg.StateMode = shutdownClient, stateMode
	})
	leaveOpen(c)
	armed.Store(true)
	c.feed("in", 2, 15, 5)
	c.await(late, "the client is shut down", func() bool { return i.Status().State == string(runtime.InstanceError) })
	i.close()
	i.wantDeaths(1, 0)
	n := i.total()
	if wipes := stateMode == runtime.StateWipe; n.Aborted == 0 || (n.Wiped > 0) != wipes || n.Rebuilt != 0 {
		c.Errorf("%+v, want an aborted transaction, stores wiped: %v, and none rebuilt", n, wipes)
	}
	for partition, task := range []string{"0_0", "0_1"} {
		if stateMode == runtime.StateWipe {
			if left, err := i.disk.List(i.cfg.StateDir + "/" + task); err == nil {
				c.Errorf("%v is left of task %s", left, task)
			}
			continue
		}
		if position := i.wantCommittedPrefix(task, sumStore, int32(partition)); position < 10 {
			c.Errorf("task %s: position %d, want the ten records that were committed to be stored", task, position)
		}
	}

	i.restart(nil)
	c.awaitCommitted(late, "in")
	c.wantSums("in", "out")
	restored := i.total().RestoredRecords
	if stateMode == runtime.StateWipe && restored != 20 || stateMode == runtime.StateTransactional && restored != 0 {
		c.Errorf("%d records restored, want all 20 that are committed where stores were wiped, else none", restored)
	}
	i.close()
	if stateMode == runtime.StateTransactional {
		wantSumsStored(c, i)
	}
}

// TestACrashRestoresOnlyTheTail: what a clean close has left on disk needs no restoring, also after a later run was killed.
func TestACrashRestoresOnlyTheTail(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*member){"kill": (*member).crash, "power cut": (*member).powerCut} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			everyMode(t, func(t *testing.T, m mode) {
				inBubble(t, m, func(c *cluster) {
					c.create(2, "in", "out")
					i := c.start("i1", sumProgram(t, nil), nil)
					c.feed("in", 2, 0, 100)
					c.awaitCommitted(soon, "in")
					i.close()

					i.restart(nil)
					c.awaitRunning(soon, 2, i)
					c.feed("in", 2, 100, 7)
					c.awaitCommitted(soon, "in")
					end(i)

					i.restart(nil)
					c.awaitRunning(late, 2, i)
					if n := i.total(); n.RestoredRecords == 0 || n.RestoredRecords > 2*7 || n.Wiped != 0 || n.Rebuilt != 0 {
						c.Errorf("%d records restored, %d stores wiped, %d rebuilt; want only the last 7 of each task restored", n.RestoredRecords, n.Wiped, n.Rebuilt)
					}
					c.feed("in", 2, 107, 3)
					c.awaitCommitted(soon, "in")
					c.wantSums("in", "out")
					i.close()
					i.wantDeaths(0, 0)
					wantSumsStored(c, i)
				})
			})
		})
	}
}

// TestACrashWithAnOpenTransaction: a process is killed, again and again, with a transaction open. Its successor has the same
// transactional ids, so it ends the transaction at once; another process would have to wait for it.
func TestACrashWithAnOpenTransaction(t *testing.T) {
	t.Parallel()
	everyMode(t, func(t *testing.T, m mode) {
		inBubble(t, m, func(c *cluster) {
			c.create(2, "in", "out")
			program := sumProgram(t, nil)
			if !m.exactlyOnce() {
				program = copyProgram(t, "in", "out")
			}
			i := c.start("i1", program, slowCommits)
			for round := range int64(4) {
				c.feed("in", 2, 20*round, 15)
				c.awaitCommitted(late, "in")
				c.feed("in", 2, 20*round+15, 5)
				c.awaitRecords(soon, "out", uncommitted, int(2*(20*round+20)))
				i.crash()
				i.restart(nil)
			}
			c.awaitCommitted(late, "in")
			if m.exactlyOnce() {
				c.wantSums("in", "out")
			} else {
				c.wantCopied("in", "out")
			}
			i.close()
			i.wantDeaths(0, 0)
		})
	})
}

// TestMissingCheckpointOfAnActiveTask: stores that are written through are trusted with a checkpoint only. After a kill there is none, and what
// the store holds may never have been committed (the row "missing checkpoint + non-empty store under EOS").
func TestMissingCheckpointOfAnActiveTask(t *testing.T) {
	t.Parallel()
	everyMode(t, func(t *testing.T, m mode) {
		inBubble(t, m, func(c *cluster) {
			c.create(2, "in", "out")
			program := sumProgram(t, nil)
			if !m.exactlyOnce() {
				program = copyProgram(t, "in", "out")
			}
			i := c.start("i1", program, func(cfg *runtime.Config) {
				slowCommits(cfg)
				cfg.StateMode = runtime.StateWipe
			})
			leaveOpen(c)
			i.crash()
			i.restart(nil)
			c.awaitCommitted(late, "in")
			if n := i.total(); (n.Wiped == 2) != m.exactlyOnce() || n.Rebuilt != 0 {
				c.Errorf("%d stores wiped, %d rebuilt, want both to be wiped under exactly-once only", n.Wiped, n.Rebuilt)
			}
			said := 0
			for _, e := range c.events(journal.KindStore) {
				if strings.HasPrefix(e.Cause, "No checkpoint found with EOS turned on") {
					said++
				}
			}
			if (said == 2) != m.exactlyOnce() {
				c.Errorf("it was said of %d tasks that they have no checkpoint", said)
			}
			if m.exactlyOnce() {
				c.wantSums("in", "out")
			} else {
				c.wantCopied("in", "out")
			}
			i.close()
			i.wantDeaths(0, 0)
		})
	})
}

// exit is how an instance ends before it is started again under another guarantee.
type exit struct {
	name string
	end  func(*cluster, *member)
}

func exits() []exit {
	// failingCommit has the next commit of an instance fail, and kills it right after that.
	failingCommit := func(do deed, err *kerr.Error) func(*cluster, *member) {
		return func(c *cluster, i *member) {
			c.Helper()
			commits := func(r request) bool { return r.Request.(*kmsg.EndTxnRequest).Commit }
			d := i.wire.disturb(&disturbance{key: kmsg.EndTxn, of: commits, do: do, err: err})
			c.await(late, "a commit fails", func() bool { return d.hits.Load() > 0 })
			i.crash()
		}
	}
	// cutting cuts an instance off until the other one has its tasks, and heals it or kills it then.
	cutting := func(direction faults.Direction, heals bool) func(*cluster, *member) {
		return func(c *cluster, i *member) {
			c.Helper()
			i.link.Cut(direction)
			other := c.members[0]
			if other == i {
				other = c.members[1]
			}
			c.awaitRunning(late, 4, other)
			if !heals {
				i.crash()
				return
			}
			i.link.Heal()
			c.awaitRunning(late, 4, c.members...)
			i.close()
		}
	}
	return []exit{
		{"cut off and killed", cutting(faults.Both, false)},
		{"cut off and back", cutting(faults.Both, true)},
		{"not heard and back", cutting(faults.Out, true)},
		{"deaf and back", cutting(faults.In, true)},
		{"clean", func(_ *cluster, i *member) { i.close() }},
		{"crash", func(_ *cluster, i *member) { i.crash() }},
		{"commit refused", failingCommit(refuse, kerr.UnknownServerError)},
		{"commit applied and its answer lost", failingCommit(lose, nil)},
	}
}

// TestShouldUpgradeFromEosAlphaToEosV2 is EosV2UpgradeIntegrationTest: two instances are restarted one after the other with
// the other guarantee, cleanly or by a crash, in the middle of their work. Every record is processed exactly once. The way back works as well.
func TestShouldUpgradeFromEosAlphaToEosV2(t *testing.T) {
	t.Parallel()
	guarantees := []runtime.Guarantee{runtime.ExactlyOnce, runtime.ExactlyOnceV2}
	for direction := range guarantees {
		from, to := guarantees[direction], guarantees[1-direction]
		for _, ends := range exits() {
			for _, version := range []string{"3.7", "4.0"} {
				t.Run(fmt.Sprintf("%s to %s, %s, on %s", from, to, ends.name, version), func(t *testing.T) {
					t.Parallel()
					inBubble(t, mode{from, version}, func(c *cluster) { upgrade(c, to, ends) })
				})
			}
		}
	}
}

func upgrade(c *cluster, to runtime.Guarantee, ends exit) {
	c.Helper()
	const partitions = 4
	c.create(partitions, "in", "out")
	program := sumProgram(c.T, nil)
	both := []*member{c.start("i1", program, slowCommits), c.start("i2", program, slowCommits)}
	c.awaitRunning(late, partitions, both...)
	sent := int64(0)
	feed := func() {
		c.feed("in", partitions, sent, 5)
		sent += 5
	}
	for n, i := range both {
		feed()
		c.awaitCommitted(late, "in")
		feed()
		c.awaitRecords(late, "out", uncommitted, int(sent)*partitions) // written, and not committed yet
		ends.end(c, i)
		feed()
		c.awaitCommitted(late, "in") // by the other one
		i.restart(func(cfg *runtime.Config) { cfg.Guarantee = to })
		feed()
		c.awaitRunning(late, partitions, both...)
		feed()
		c.awaitCommitted(late, "in")
		c.wantSums("in", "out")
		if c.Failed() {
			c.Fatalf("after the restart of instance %d", n+1)
		}
	}
	for _, i := range both {
		i.close()
		i.wantDeaths(0, 0)
		if n := i.total(); n.Wiped != 0 {
			c.Errorf("%s: %d stores wiped", i.name, n.Wiped)
		}
	}
	if fatal := c.events(journal.KindError); len(fatal) > 0 {
		c.Errorf("errors: %+v", fatal)
	}
}
