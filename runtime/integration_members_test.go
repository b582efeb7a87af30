package runtime_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"eostop/faults"
	"eostop/runtime"
	"eostop/runtime/journal"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// static makes an instance a static member of the group.
func static(id string) func(*runtime.Config) {
	return func(cfg *runtime.Config) { cfg.GroupInstanceID = id }
}

// restartStatic restarts a static member. A real broker lets it back in without a rebalance as long as the group's protocol stays; the
// embedded one only where its subscription is the same byte for byte. So it is given the last one once more.
func (m *member) restartStatic(last *subscriptions) {
	m.c.Helper()
	m.prepareRestart(nil)
	m.wire.disturb(&disturbance{key: kmsg.JoinGroup, do: edit, n: 1, edit: func(r request) {
		r.Request.(*kmsg.JoinGroupRequest).Protocols = last.of(r)
	}})
	m.begin()
}

// subscriptions remembers with which subscription a static member has joined last.
type subscriptions struct {
	mu   sync.Mutex
	last map[string][]kmsg.JoinGroupRequestProtocol // by group.instance.id
}

func (s *subscriptions) watch(i *member) {
	i.wire.disturb(&disturbance{key: kmsg.JoinGroup, do: watch, n: -1, of: func(r request) bool {
		join := r.Request.(*kmsg.JoinGroupRequest)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.last == nil {
			s.last = map[string][]kmsg.JoinGroupRequestProtocol{}
		}
		s.last[*join.InstanceID] = join.Protocols
		return true
	}})
}

func (s *subscriptions) of(r request) []kmsg.JoinGroupRequestProtocol {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last[*r.Request.(*kmsg.JoinGroupRequest).InstanceID]
}

// TestStaticMembershipSurvivesARestart: an instance that comes back within the session time-out has its tasks as before, and nobody
// else notices. That must hold for the group's leader as well.
func TestStaticMembershipSurvivesARestart(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*member){"clean": (*member).close, "crash": (*member).crash} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			everyMode(t, func(t *testing.T, m mode) {
				inBubble(t, m, func(c *cluster) {
					c.create(4, "in", "out")
					program := sumProgram(t, nil)
					if !m.exactlyOnce() {
						program = copyProgram(t, "in", "out")
					}
					var last subscriptions
					both := []*member{c.prepare("i1", program, static("one")), c.prepare("i2", program, static("two"))}
					for _, i := range both {
						i.assemble()
						last.watch(i)
						i.begin()
					}
					c.awaitRunning(late, 4, both...)
					for n, i := range both { // one of them leads the group
						sent := 20 * int64(n)
						c.feed("in", 4, sent, 10)
						c.awaitCommitted(late, "in")
						other := both[1-n]
						generation, before := other.generation(), strings.Join(i.tasks(), " ")
						end(i)
						c.feed("in", 4, sent+10, 10)
						time.Sleep(i.cfg.SessionTimeout / 2)
						i.restartStatic(&last)
						last.watch(i)
						c.awaitRunning(soon, 4, both...)
						c.awaitCommitted(soon, "in")
						time.Sleep(soon)
						if now := other.generation(); now != generation {
							c.Errorf("restart of %s: generation %d became %d, want no rebalance", i.name, generation, now)
						}
						if now := strings.Join(i.tasks(), " "); now != before {
							c.Errorf("%s has tasks %s after the restart, had %s", i.name, now, before)
						}
					}
					if m.exactlyOnce() {
						c.wantSums("in", "out")
					} else {
						c.wantCopied("in", "out")
					}
					for _, i := range both {
						i.close()
						i.wantDeaths(0, 0)
						i.wantCalm()
					}
				})
			})
		})
	}
}

// TestStaticMembershipEndsWithTheSession: an instance that does not come back within the session time-out loses its tasks.
func TestStaticMembershipEndsWithTheSession(t *testing.T) {
	t.Parallel()
	everyMode(t, func(t *testing.T, m mode) {
		inBubble(t, m, func(c *cluster) {
			c.create(4, "in", "out")
			program := copyProgram(t, "in", "out")
			one, two := c.start("i1", program, static("one")), c.start("i2", program, static("two"))
			c.awaitRunning(late, 4, one, two)
			generation := two.generation()
			one.close()
			c.feed("in", 4, 0, 10)
			time.Sleep(one.cfg.SessionTimeout - 2*time.Second)
			if now := two.generation(); now != generation {
				c.Errorf("generation %d became %d before the session time-out", generation, now)
			}
			c.awaitRunning(soon, 4, two)
			c.awaitCommitted(soon, "in")
			c.wantCopied("in", "out")
			two.close()
			two.wantDeaths(0, 0)
			two.wantCalm()
		})
	})
}

// TestASecondInstanceWithTheSameGroupInstanceID: the first one is fenced, which is meant to be deadly (KIP-345). It must not fence the
// other one in turn where its handler shuts it down.
func TestASecondInstanceWithTheSameGroupInstanceID(t *testing.T) {
	t.Parallel()
	everyMode(t, func(t *testing.T, m mode) {
		inBubble(t, m, func(c *cluster) {
			c.create(2, "in", "out")
			program := copyProgram(t, "in", "out")
			change := func(cfg *runtime.Config) {
				slowCommits(cfg)
				cfg.GroupInstanceID, cfg.UncaughtHandler = "same", shutdownClient
			}
			one := c.start("i1", program, change)
			leaveOpen(c)
			two := c.start("i2", program, change)
			c.await(late, "the first one is shut down", func() bool { return one.Status().State == string(runtime.InstanceError) })
			c.awaitRunning(late, 2, two)
			c.feed("in", 2, 15, 5)
			c.awaitCommitted(late, "in")
			c.wantCopied("in", "out")
			deaths, replaced := one.Deaths()
			if len(deaths) != 1 || replaced != 0 || deaths[0].Cause != "fenced instance id" {
				c.Errorf("%+v, %d replaced; want one death by the fenced instance id", deaths, replaced)
			}
			one.close()
			two.close()
			two.wantDeaths(0, 0)
		})
	})
}

// TestTaskTimeout: a step of a task that fails again and again, while brokers can be reached, is fatal after the task time-out and not
// before (KIP-572).
func TestTaskTimeout(t *testing.T) {
	t.Parallel()
	steps := []struct {
		name string
		key  kmsg.Key
		of   func(request) bool
	}{
		{"committed offsets", kmsg.OffsetFetch, nil},
		{"ends of changelogs", kmsg.ListOffsets, nil},
		{"restore", kmsg.Fetch, func(r request) bool { return strings.HasSuffix(r.clientID, "-restore-consumer") }},
		{"producer", kmsg.InitProducerID, nil},
	}
	for _, s := range steps {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			everyMode(t, func(t *testing.T, m mode) {
				inBubble(t, m, func(c *cluster) {
					const limit = 20 * time.Second
					c.create(2, "in", "out")
					first := c.start("i0", sumProgram(t, nil), nil)
					c.feed("in", 2, 0, 5)
					c.awaitCommitted(soon, "in")
					first.close()

					i := c.prepare("i1", sumProgram(t, nil), func(cfg *runtime.Config) { cfg.TaskTimeout = limit })
					began := time.Now()
					i.launch()
					d := i.wire.disturb(&disturbance{key: s.key, of: s.of, do: refuse, err: kerr.UnknownServerError, n: -1})
					c.feed("in", 2, 5, 5)
					c.await(late, "the thread dies", func() bool {
						deaths, _ := i.Deaths()
						return len(deaths) > 0
					})
					deaths, _ := i.Deaths()
					if after := deaths[0].At.Sub(began); after < limit || after > limit+soon {
						c.Errorf("it died after %v, want a little more than %v", after, limit)
					}
					if deaths[0].Cause != "task time-out" || !deaths[0].Replaced || !strings.Contains(deaths[0].Error, kerr.UnknownServerError.Message) {
						c.Errorf("%+v, want a replaced thread that died of the task time-out, with the last error", deaths[0])
					}
					i.wire.withdraw(d)
					c.awaitRunning(soon, 2, i)
					c.awaitCommitted(soon, "in")
					c.wantSums("in", "out")
					i.close()
					i.wantDeaths(1, 1)
				})
			})
		})
	}
}

// TestTaskTimeoutForgetsWithProgress: failures that a success interrupts do not add up, and the time in which no broker can be reached
// does not count.
func TestTaskTimeoutForgetsWithProgress(t *testing.T) {
	t.Parallel()
	everyMode(t, func(t *testing.T, m mode) {
		inBubble(t, m, func(c *cluster) {
			c.create(2, "in", "out")
			i := c.start("i1", copyProgram(t, "in", "out"), func(cfg *runtime.Config) { cfg.TaskTimeout = 15 * time.Second })
			c.awaitRunning(soon, 2, i)
			other := c.start("i2", copyProgram(t, "in", "out"), nil)
			c.awaitRunning(soon, 2, i, other)
			for round := range int64(3) {
				// Each time that the task comes back its offsets cannot be had for ten seconds.
				d := i.wire.disturb(&disturbance{key: kmsg.OffsetFetch, do: refuse, err: kerr.CoordinatorLoadInProgress, n: -1})
				other.close()
				time.Sleep(10 * time.Second)
				i.wire.withdraw(d)
				c.awaitRunning(soon, 2, i)
				other.restart(nil)
				c.awaitRunning(late, 2, i, other)
				c.feed("in", 2, 5*round, 5)
				c.awaitCommitted(soon, "in")
			}
			other.close()
			i.link.Cut(faults.Both)
			time.Sleep(2 * time.Minute)
			i.link.Heal()
			c.awaitRunning(late, 2, i)
			c.feed("in", 2, 15, 5)
			c.awaitCommitted(soon, "in")
			c.wantCopied("in", "out")
			i.close()
			i.wantDeaths(0, 0)
		})
	})
}

// TestAnInputThatDoesNotExist: the leader tells every member, and the error names the topic.
func TestAnInputThatDoesNotExist(t *testing.T) {
	t.Parallel()
	inBubble(t, mode{runtime.ExactlyOnceV2, "3.7"}, func(c *cluster) {
		c.create(1, "out")
		i := c.start("i1", copyProgram(t, "in", "out"), func(cfg *runtime.Config) { cfg.UncaughtHandler = shutdownClient })
		c.await(late, "the client is shut down", func() bool { return i.Status().State == string(runtime.InstanceError) })
		deaths, _ := i.Deaths()
		if len(deaths) != 1 || deaths[0].Cause != "assignment" || !strings.Contains(deaths[0].Error, "source topic in does not exist") {
			c.Errorf("%+v, want one death that names the topic", deaths)
		}
		if errs := c.events(journal.KindError); len(errs) != 1 || errs[0].Cause != "assignment" {
			c.Errorf("events %+v, want the error once", errs)
		}
	})
}
