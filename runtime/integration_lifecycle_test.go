package runtime_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"eostop/faults"
	"eostop/runtime"
	"eostop/runtime/topology"
)

// TestAnInputThatIsCreatedLater: threads die of a missing topic, and their successors go on once it is there.
func TestAnInputThatIsCreatedLater(t *testing.T) {
	t.Parallel()
	everyMode(t, func(t *testing.T, m mode) {
		inBubble(t, m, func(c *cluster) {
			c.create(2, "out")
			i := c.start("i1", copyProgram(t, "in", "out"), nil)
			time.Sleep(10 * time.Second)
			deaths, replaced := i.Deaths()
			if len(deaths) < 2 || len(deaths) > 10 || replaced != len(deaths) {
				c.Errorf("%d threads died in ten seconds, %d replaced; want some, with a pause between", len(deaths), replaced)
			}
			for _, d := range deaths {
				if d.Cause != "assignment" || !strings.Contains(d.Error, "source topic in does not exist") {
					c.Errorf("%+v does not name the topic", d)
				}
			}
			c.create(2, "in")
			c.feed("in", 2, 0, 5)
			c.awaitCommitted(late, "in")
			c.awaitRunning(late, 2, i)
			c.wantCopied("in", "out")
			i.close()
		})
	})
}

// TestOneOfTwoInputsDoesNotExist: the group's leader finds out, and all members are told.
func TestOneOfTwoInputsDoesNotExist(t *testing.T) {
	t.Parallel()
	exactlyOnceModes(t, func(t *testing.T, m mode) {
		inBubble(t, m, func(c *cluster) {
			c.create(2, "left", "out")
			change := func(cfg *runtime.Config) { cfg.UncaughtHandler = shutdownClient }
			both := []*member{c.start("i1", mergeProgram(t, nil), change), c.start("i2", mergeProgram(t, nil), change)}
			for _, i := range both {
				c.await(late, i.name+" is shut down", func() bool { return i.Status().State == string(runtime.InstanceError) })
				deaths, _ := i.Deaths()
				if len(deaths) != 1 || deaths[0].Cause != "assignment" || !strings.Contains(deaths[0].Error, "right") {
					c.Errorf("%+v, want one death that names the topic", deaths)
				}
			}
		})
	})
}

// TestInputsOfDifferentPartitions: a sub-topology has as many tasks as its biggest input has partitions.
func TestInputsOfDifferentPartitions(t *testing.T) {
	t.Parallel()
	everyMode(t, func(t *testing.T, m mode) {
		inBubble(t, m, func(c *cluster) {
			c.create(3, "left")
			c.create(1, "right", "out")
			b := topology.NewBuilder()
			topology.AddSource(b, "source", topology.String{}, topology.Int64{}, "left", "right")
			topology.AddSink(b, "sink", "out", topology.String{}, topology.Int64{}, "source")
			program := built(t, b)
			one, two := c.start("i1", program, nil), c.start("i2", program, nil)
			c.awaitRunning(late, 3, one, two)
			c.feed("left", 3, 0, 5)
			c.produce("right", 0, series("r", 0, 5)...)
			c.awaitCommitted(soon, "left")
			c.awaitCommitted(soon, "right")
			want := c.values("left", committed)
			want["r"] = upTo(5)
			c.wantValues("out", want)
			for _, i := range []*member{one, two} {
				i.close()
				i.wantDeaths(0, 0)
				i.wantCalm()
			}
		})
	})
}

// TestRemoveTheLastThread: an instance without threads has no tasks; another one has them, until there is a thread again.
func TestRemoveTheLastThread(t *testing.T) {
	t.Parallel()
	everyMode(t, func(t *testing.T, m mode) {
		inBubble(t, m, func(c *cluster) {
			c.create(2, "in", "out")
			program := sumProgram(t, nil)
			one, two := c.start("i1", program, nil), c.start("i2", program, nil)
			c.awaitRunning(late, 2, one, two)
			c.feed("in", 2, 0, 5)
			c.awaitCommitted(soon, "in")
			one.remove("i1-StreamThread-1")
			if name, err := one.RemoveThread(c.Context()); err == nil {
				c.Errorf("removed %s where there was none", name)
			}
			c.awaitRunning(soon, 2, two)
			c.feed("in", 2, 5, 5)
			c.awaitCommitted(soon, "in")
			one.add("i1-StreamThread-1")
			c.awaitRunning(soon, 2, one, two)
			if len(one.tasks()) != 1 {
				c.Errorf("i1 has tasks %v, want one again", one.tasks())
			}
			c.feed("in", 2, 10, 5)
			c.awaitCommitted(soon, "in")
			c.wantSums("in", "out")
			for _, i := range []*member{one, two} {
				i.close()
				i.wantDeaths(0, 0)
				i.wantCalm()
			}
		})
	})
}

// TestCloseAtAnyTime: before the start, twice, by several at once, and before anything has come of it.
func TestCloseAtAnyTime(t *testing.T) {
	t.Parallel()
	everyMode(t, func(t *testing.T, m mode) {
		inBubble(t, m, func(c *cluster) {
			c.create(2, "in", "out")
			unstarted := c.prepare("i0", copyProgram(t, "in", "out"), nil)
			unstarted.assemble()
			unstarted.close()
			i := c.start("i1", copyProgram(t, "in", "out"), nil)
			for _, after := range []time.Duration{0, time.Millisecond, 51 * time.Millisecond, 300 * time.Millisecond, 2 * time.Second} {
				time.Sleep(after)
				var closing sync.WaitGroup
				for range 3 {
					closing.Go(func() {
						if err := i.Close(context.Background()); err != nil {
							c.Errorf("close after %v: %v", after, err)
						}
					})
				}
				closing.Wait()
				if state := i.Status().State; state != string(runtime.InstanceNotRunning) {
					c.Errorf("closed after %v: %s", after, state)
				}
				i.wantDeaths(0, 0)
				i.restart(nil)
			}
			c.feed("in", 2, 0, 5)
			c.awaitCommitted(late, "in")
			c.wantCopied("in", "out")
		})
	})
}

// TestCloseOfAnInstanceThatIsCutOff: it takes no longer than it is given, and a little; what was open is somebody else's.
func TestCloseOfAnInstanceThatIsCutOff(t *testing.T) {
	t.Parallel()
	everyMode(t, func(t *testing.T, m mode) {
		inBubble(t, m, func(c *cluster) {
			c.create(2, "in", "out")
			program := sumProgram(t, nil)
			if !m.exactlyOnce() {
				program = copyProgram(t, "in", "out")
			}
			one := c.start("i1", program, slowCommits)
			leaveOpen(c)
			one.link.Cut(faults.Both)
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
			defer cancel()
			began := time.Now()
			if err := one.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
				c.Errorf("close: %v, want it to say that it was not clean", err)
			}
			one.closed = true
			if took := time.Since(began); took > 10*time.Second {
				c.Errorf("the close took %v", took)
			}
			one.wantDeaths(0, 0)
			two := c.start("i2", program, nil)
			c.feed("in", 2, 15, 5)
			c.awaitCommitted(late, "in")
			one.link.Heal() // what it had sent and nobody had taken arrives now
			time.Sleep(soon)
			c.feed("in", 2, 20, 5)
			c.awaitCommitted(late, "in")
			if m.exactlyOnce() {
				c.wantSums("in", "out")
			} else {
				c.wantCopied("in", "out")
			}
			two.close()
			two.wantDeaths(0, 0)
		})
	})
}

// TestStartWithoutBrokers: an instance that reaches nobody waits, and starts when it does. It can be closed meanwhile.
func TestStartWithoutBrokers(t *testing.T) {
	t.Parallel()
	everyMode(t, func(t *testing.T, m mode) {
		inBubble(t, m, func(c *cluster) {
			c.create(2, "in", "out")
			i := c.prepare("i1", copyProgram(t, "in", "out"), nil)
			i.assemble()
			i.link.Cut(faults.Both)
			i.begin()
			time.Sleep(10 * time.Minute) // longer than any time-out
			if state := i.Status().State; state != string(runtime.InstanceRebalancing) {
				c.Errorf("state %s, want it to wait", state)
			}
			i.link.Heal()
			c.feed("in", 2, 0, 5)
			c.awaitCommitted(late, "in")
			c.wantCopied("in", "out")
			i.close()
			i.wantDeaths(0, 0)

			i.prepareRestart(nil)
			i.link.Cut(faults.Both)
			i.begin()
			time.Sleep(time.Minute)
			began := time.Now()
			i.close()
			if took := time.Since(began); took > 15*time.Second {
				c.Errorf("the close took %v", took)
			}
			i.wantDeaths(0, 0)
		})
	})
}

// TestTheFirstOfAGroupWaitsForTheOthers: the first member of a group that begins does not restore what others have on their disks.
func TestTheFirstOfAGroupWaitsForTheOthers(t *testing.T) {
	t.Parallel()
	everyMode(t, func(t *testing.T, m mode) {
		inBubble(t, m, func(c *cluster) {
			c.create(6, "in", "out")
			all := make([]*member, 3)
			for i := range all {
				all[i] = c.start(fmt.Sprintf("i%d", i+1), sumProgram(t, nil), nil)
			}
			c.awaitRunning(late, 6, all...)
			c.feed("in", 6, 0, 20)
			c.awaitCommitted(soon, "in")
			owned := func() string {
				var text []string
				for _, i := range all {
					text = append(text, fmt.Sprint(i.tasks()))
				}
				return strings.Join(text, ", ")
			}
			before := owned()
			var closing sync.WaitGroup
			for _, i := range all {
				i.closed = true
				closing.Go(func() {
					if err := i.Close(context.Background()); err != nil {
						t.Error(err)
					}
				})
			}
			closing.Wait()
			for _, i := range all {
				i.prepareRestart(nil)
			}
			all[2].begin()
			time.Sleep(300 * time.Millisecond)
			all[0].begin()
			all[1].begin()
			c.awaitRunning(late, 6, all...)
			for _, i := range all {
				if n := i.total().RestoredRecords; n > 0 {
					c.Errorf("%s restored %d records that were on the disk of another instance", i.name, n)
				}
			}
			if after := owned(); after != before {
				c.Errorf("tasks before: %s; after: %s", before, after)
			}
			for _, i := range all {
				i.close()
			}
		})
	})
}
