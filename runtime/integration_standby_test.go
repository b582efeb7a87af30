package runtime_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"eostop/runtime"
	"eostop/runtime/topology"
)

// The tests of this file are those of Kafka's StandbyTaskEOSIntegrationTest and StandbyTaskEOSMultiRebalanceIntegrationTest.

// withStandby keeps one copy of each stateful task.
func withStandby(cfg *runtime.Config) { cfg.StandbyReplicas = 1 }

// standbys returns the ids of the standby tasks of an instance.
func (m *member) standbys() []string {
	var ids []string
	for _, th := range m.Status().Threads {
		for _, task := range th.Standbys {
			ids = append(ids, task.ID)
		}
	}
	return ids
}

// standbyPosition returns how far an instance's standby of a task has read the changelog; -1 if it has none.
func (m *member) standbyPosition(task string) int64 {
	for _, th := range m.Status().Threads {
		for _, s := range th.Stores {
			if s.Standby && s.Task == task && s.Name == sumStore {
				return s.Position
			}
		}
	}
	return -1
}

// awaitStandbys waits until instances have a number of standby tasks together.
func (c *cluster) awaitStandbys(n int, members ...*member) {
	c.Helper()
	c.await(late, fmt.Sprintf("%d standby tasks", n), func() bool {
		have := 0
		for _, m := range members {
			have += len(m.standbys())
		}
		return have == n
	})
}

// TestShouldSurviveWithOneTaskAsStandby: a standby follows what is committed, and only that. When the task comes to it there is nothing, or
// next to nothing, left to restore.
func TestShouldSurviveWithOneTaskAsStandby(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*member){"clean": (*member).close, "crash": (*member).crash} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			exactlyOnceModes(t, func(t *testing.T, m mode) {
				inBubble(t, m, func(c *cluster) {
					c.create(1, "in", "out")
					program := sumProgram(t, nil)
					change := func(cfg *runtime.Config) {
						slowCommits(cfg)
						withStandby(cfg)
					}
					both := []*member{c.start("i1", program, change), c.start("i2", program, change)}
					c.awaitRunning(late, 1, both...)
					c.awaitStandbys(1, both...)
					owner, standby := both[0], both[1]
					if len(owner.tasks()) == 0 {
						owner, standby = standby, owner
					}
					c.feed("in", 1, 0, 10)
					c.awaitCommitted(late, "in")
					c.await(soon, "the standby has what is committed", func() bool { return standby.standbyPosition("0_0") >= 10 })
					position := standby.standbyPosition("0_0")
					c.feed("in", 1, 10, 5)
					c.awaitRecords(2*time.Second, "out", uncommitted, 15)
					time.Sleep(time.Second)
					if now := standby.standbyPosition("0_0"); now != position {
						c.Errorf("the standby went from %d to %d while the transaction was open", position, now)
					}

					end(owner)
					c.awaitRunning(late, 1, standby)
					if n := standby.total().RestoredRecords; n > 5 {
						c.Errorf("%d records restored after the takeover, want no more than the last transaction's", n)
					}
					c.feed("in", 1, 15, 5)
					c.awaitCommitted(late, "in")
					c.wantSums("in", "out")

					owner.restart(nil)
					c.awaitRunning(late, 1, both...)
					c.awaitStandbys(1, both...)
					c.feed("in", 1, 20, 5)
					c.awaitCommitted(late, "in")
					c.wantSums("in", "out")
					for _, i := range both {
						i.close()
						i.wantDeaths(0, 0)
						i.wantCommittedPrefix("0_0", sumStore, 0)
						if n := i.total(); n.Wiped != 0 || n.Rebuilt != 0 {
							c.Errorf("%s: %d stores wiped, %d rebuilt", i.name, n.Wiped, n.Rebuilt)
						}
					}
				})
			})
		})
	}
}

// TestShouldWipeOutStandbyStateDirectoryIfCheckpointIsMissing: the way of Kafka Streams with stores that are written through. A standby that was
// killed has no checkpoint, so what it has is thrown away.
func TestShouldWipeOutStandbyStateDirectoryIfCheckpointIsMissing(t *testing.T) {
	t.Parallel()
	for _, stateMode := range runtime.StateModes() {
		t.Run(string(stateMode), func(t *testing.T) {
			t.Parallel()
			exactlyOnceModes(t, func(t *testing.T, m mode) {
				inBubble(t, m, func(c *cluster) {
					c.create(1, "in", "out")
					program := sumProgram(t, nil)
					change := func(cfg *runtime.Config) {
						withStandby(cfg)
						cfg.StateMode = stateMode
					}
					both := []*member{c.start("i1", program, change), c.start("i2", program, change)}
					c.awaitRunning(late, 1, both...)
					c.awaitStandbys(1, both...)
					c.feed("in", 1, 0, 10)
					c.awaitCommitted(late, "in")
					standby := both[0]
					if len(standby.standbys()) == 0 {
						standby = both[1]
					}
					c.await(soon, "the standby has what is committed", func() bool { return standby.standbyPosition("0_0") >= 10 })
					standby.crash()
					standby.restart(nil)
					c.awaitRunning(late, 1, both...)
					c.awaitStandbys(1, both...)
					if n, wipes := standby.total().Wiped, stateMode == runtime.StateWipe; (n > 0) != wipes {
						c.Errorf("%d stores wiped, want some: %v", n, wipes)
					}
					c.await(soon, "the standby has it again", func() bool { return standby.standbyPosition("0_0") >= 10 || len(standby.tasks()) == 1 })
					c.feed("in", 1, 10, 5)
					c.awaitCommitted(late, "in")
					c.wantSums("in", "out")
					for _, i := range both {
						i.close()
						i.wantDeaths(0, 0)
					}
				})
			})
		})
	}
}

// numberer gives each key a number, once: the next one of its task. It keeps the numbers in one store and the last one in another.
type numberer struct {
	ctx     *topology.Context[string, int64]
	numbers *topology.KeyValueStore[string, int64]
	last    *topology.KeyValueStore[string, int64]
}

const (
	numberStore = "numbers"
	lastStore   = "last"
)

func (n *numberer) Init(ctx *topology.Context[string, int64]) (err error) {
	n.ctx = ctx
	if n.numbers, err = topology.OpenStore[string, int64](ctx, numberStore); err != nil {
		return err
	}
	n.last, err = topology.OpenStore[string, int64](ctx, lastStore)
	return err
}

func (n *numberer) Process(r topology.Record[string, int64]) error {
	given, known, err := n.numbers.Get(r.Key)
	if err != nil {
		return err
	}
	if !known {
		last, _, err := n.last.Get("last")
		if err != nil {
			return err
		}
		given = last + 1
		if err := n.last.Put("last", given); err != nil {
			return err
		}
		if err := n.numbers.Put(r.Key, given); err != nil {
			return err
		}
	}
	return n.ctx.Forward(topology.WithValue(r, given))
}

func (n *numberer) Close() error { return nil }

// numberProgram numbers the keys of in and writes their numbers to out. Both of its stores are cached.
func numberProgram(t *testing.T) *topology.Topology {
	t.Helper()
	b := topology.NewBuilder()
	topology.AddSource(b, "source", topology.String{}, topology.Int64{}, "in")
	topology.AddProcessor(b, "number", func() topology.Processor[string, int64, string, int64] { return new(numberer) }, "source")
	for _, store := range []string{numberStore, lastStore} {
		topology.AddStateStore(b, topology.StoreSpec{Name: store, Logged: true, Cached: true}, topology.String{}, topology.Int64{}, "number")
	}
	topology.AddSink(b, "sink", "out", topology.String{}, topology.Int64{}, "number")
	return built(t, b)
}

// TestShouldHonorEOSWhenUsingCachingAndStandbyReplicas: keys are numbered by three instances that come and go, with caches and standby tasks. A
// key has one number, and the numbers of a task have no gaps.
func TestShouldHonorEOSWhenUsingCachingAndStandbyReplicas(t *testing.T) {
	t.Parallel()
	exactlyOnceModes(t, func(t *testing.T, m mode) {
		inBubble(t, m, func(c *cluster) {
			const partitions, perRound = 4, 10
			c.create(partitions, "in", "out")
			program := numberProgram(t)
			change := func(cfg *runtime.Config) {
				withStandby(cfg)
				cfg.CommitInterval = time.Second
			}
			round := int64(0)
			// feed gives each task new keys, and once more those of the round before.
			feed := func() {
				c.Helper()
				for p := range int32(partitions) {
					var pairs []pair
					for n := max(0, (round-1)*perRound); n < (round+1)*perRound; n++ {
						pairs = append(pairs, pair{fmt.Sprintf("p%d-%d", p, n), 0})
					}
					c.produce("in", p, pairs...)
				}
				round++
			}
			members := []*member{c.start("i1", program, change), c.start("i2", program, change)}
			steps := []func(){
				func() {},
				func() { members = append(members, c.start("i3", program, change)) },
				func() { members[0].close() },
				func() { members[0].restart(nil) },
				func() { members[1].crash() },
				func() { members[1].restart(nil) },
				func() { members[2].crash(); members[0].close() },
				func() { members[2].restart(nil); members[0].restart(nil) },
			}
			for _, step := range steps {
				feed()
				time.Sleep(time.Duration(c.rng.Int64N(int64(2 * time.Second))))
				step()
				feed()
				c.awaitCommitted(2*late, "in")
			}
			c.awaitRunning(late, partitions, members...)
			wantNumbered(c, partitions, round*perRound)
			for _, i := range members {
				i.close()
				i.wantDeaths(0, 0)
				if n := i.total(); n.Wiped != 0 || n.Rebuilt != 0 {
					c.Errorf("%s: %d stores wiped, %d rebuilt", i.name, n.Wiped, n.Rebuilt)
				}
				for _, store := range []string{numberStore, lastStore} {
					for p := range int32(partitions) {
						i.wantCommittedPrefix(fmt.Sprintf("0_%d", p), store, p)
					}
				}
			}
		})
	})
}

// wantNumbered checks that each partition's keys have the numbers from 1 on, one each, and that there is one output for each input.
func wantNumbered(c *cluster, partitions int32, keys int64) {
	c.Helper()
	numbers := make([]map[int64]bool, partitions)
	for key, values := range c.values("out", committed) {
		if len(slices.Compact(slices.Clone(values))) != 1 {
			c.Errorf("key %s has numbers %v", key, values)
		}
		p := key[1] - '0'
		if numbers[p] == nil {
			numbers[p] = map[int64]bool{}
		}
		if numbers[p][values[0]] {
			c.Errorf("number %d of partition %d was given twice", values[0], p)
		}
		numbers[p][values[0]] = true
	}
	for p, given := range numbers {
		all := slices.Sorted(maps.Keys(given))
		if int64(len(all)) != keys || all[0] != 1 || all[len(all)-1] != keys {
			c.Errorf("partition %d: %d numbers, want 1 to %d: %v", p, len(all), keys, all)
		}
	}
	if in, out := len(c.read("in", committed)), len(c.read("out", committed)); in != out {
		c.Errorf("%d records in, %d out", in, out)
	}
}
