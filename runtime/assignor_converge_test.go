package runtime

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// group is a whole group with what its members have open and what is on their disks, to play rebalances with.
type group struct {
	t          *rapid.T
	in         assignorInput // its members carry no claims
	open       map[string]claims
	promised   map[string]claims
	generation int
	heard      map[string]int              // the last generation that a member knows of
	disk       map[string]map[TaskID]int64 // by process: position in the changelog
	end        map[TaskID]int64            // of the changelog
	listing    bool                        // whether the ends can be listed
}

func newGroup(t *rapid.T) *group {
	g := &group{
		t: t, open: map[string]claims{}, promised: map[string]claims{}, heard: map[string]int{}, disk: map[string]map[TaskID]int64{}, end: map[TaskID]int64{}, listing: true,
		in: assignorInput{
			tasks: drawTasks(t), members: drawMembers(t), standbyReplicas: rapid.IntRange(0, 2).Draw(t, "standby replicas"),
			maxWarmups:    rapid.IntRange(1, 3).Draw(t, "max warm-ups"),
			acceptableLag: rapid.SampledFrom([]int64{unlimitedLag, 0, 10, 100}).Draw(t, "acceptable lag"),
		},
	}
	for _, task := range g.in.tasks {
		if task.stateful {
			g.end[task.id] = rapid.Int64Range(0, 300).Draw(t, "length of "+task.id.String())
		}
	}
	return g
}

// input is what the members tell the leader, and what the leader finds out.
func (g *group) input() assignorInput {
	in := g.in
	in.members = slices.Clone(g.in.members)
	newest := -1
	for _, m := range in.members {
		if c := g.open[m.member]; len(c.active)+len(c.standby) > 0 {
			newest = max(newest, g.heard[m.member])
		}
	}
	var said []memberOffsets
	for i := range in.members {
		m := &in.members[i]
		c := g.open[m.member]
		m.claimed, m.claimedStandbys = c.active, c.standby
		if g.heard[m.member] >= newest {
			promised := g.promised[m.member]
			m.owned, m.standbys, m.promised = c.active, slices.Concat(c.standby, promised.standby), promised.active
		}
		offsets := memberOffsets{}
		for id, position := range g.disk[m.process] {
			offsets[id] = position
			for member, c := range g.open {
				if processOf(g.in, member) == m.process && slices.Contains(c.active, id) && position == g.end[id] {
					offsets[id] = latestOffset
				}
			}
		}
		said = append(said, offsets)
	}
	offsets := offsetsByProcess(in.members, said)
	switch {
	case in.acceptableLag == unlimitedLag:
		in.lags = lagsAmong(offsets)
	case !g.listing:
		in.lags, in.preserve = lagsAmong(offsets), true
	default:
		ends := map[TaskID]changelogEnds{}
		for id, end := range g.end {
			ends[id] = changelogEnds{0, end}
		}
		in.lags, in.whole = lagsFrom(offsets, ends)
	}
	return in
}

// rebalance lets the leader decide and the members follow, in any order; those that miss it know nothing of it. It returns whether
// somebody joins again at once, and the plan.
func (g *group) rebalance(missed map[string]bool) (again bool, wanted plan) {
	in := g.input()
	wanted = assignTasks(in)
	checkPlan(g.t, in, wanted)
	now := wanted.withhold(in.members)
	g.generation++
	for _, i := range rapid.Permutation(indices(len(in.members))).Draw(g.t, "who hears first") {
		m := in.members[i]
		if missed[m.member] {
			again = true // it is told that its generation is old
			continue
		}
		mine := now.members[m.member]
		a := assignment{Version: userDataVersion, Tasks: mine.active, Standby: mine.standby, Awaited: mine.awaited}
		again = again || a.awaits(g.open[m.member])
		g.open[m.member], g.promised[m.member] = claims{mine.active, mine.standby}, claims{mine.promised, mine.promisedStandbys}
		g.heard[m.member] = g.generation
		if g.disk[m.process] == nil {
			g.disk[m.process] = map[TaskID]int64{}
		}
		for _, id := range slices.Concat(mine.active, mine.standby) {
			if _, ok := g.disk[m.process][id]; !ok {
				g.disk[m.process][id] = 0
			}
		}
		g.checkOpen()
	}
	return again, wanted
}

func indices(n int) []int {
	var all []int
	for i := range n {
		all = append(all, i)
	}
	return all
}

// checkOpen: no task is active twice, and no store is open twice.
func (g *group) checkOpen() {
	active, stores := map[TaskID]string{}, map[string]string{}
	for _, member := range slices.Sorted(maps.Keys(g.open)) {
		c, process := g.open[member], processOf(g.in, member)
		for _, id := range c.active {
			if other, ok := active[id]; ok {
				g.t.Fatalf("%s is active on %s and on %s", id, other, member)
			}
			active[id] = member
		}
		for _, id := range slices.Concat(c.active, c.standby) {
			key := process + " " + id.String()
			if other, ok := stores[key]; ok {
				g.t.Fatalf("%s is open on %s and on %s, of the same process", id, other, member)
			}
			stores[key] = member
		}
	}
}

// work lets active tasks restore and write, and standbys catch up by some records.
func (g *group) work(most int64) {
	for _, member := range slices.Sorted(maps.Keys(g.open)) {
		c, process := g.open[member], processOf(g.in, member)
		for _, id := range c.active {
			if isStateful(g.in, id) {
				g.end[id] += rapid.Int64Range(0, 5).Draw(g.t, "written to "+id.String())
				g.disk[process][id] = g.end[id]
			}
		}
	}
	for _, member := range slices.Sorted(maps.Keys(g.open)) {
		process := processOf(g.in, member)
		for _, id := range g.open[member].standby {
			step := most - rapid.Int64Range(0, most/2).Draw(g.t, "not read of "+id.String())
			g.disk[process][id] = min(g.end[id], g.disk[process][id]+step)
		}
	}
}

// settle plays rebalances until none has to follow, and checks that it comes to an end and what that is.
func (g *group) settle() {
	// Each probing rebalance finds at least one warm-up more that has caught up, unless the lag is longer than it can have read.
	limit := 20 + 4*len(g.in.tasks)*max(1, len(g.in.members))
	for probed := 0; ; probed++ {
		if probed > limit {
			g.t.Fatalf("still probing after %d times: %+v", probed, g.open)
		}
		var wanted plan
		again := true
		for round := 0; again; round++ {
			if round > 5 {
				g.t.Fatalf("tasks still change hands after %d rebalances: %+v", round, g.open)
			}
			again, wanted = g.rebalance(nil)
		}
		for _, m := range g.in.members {
			c, mine := g.open[m.member], wanted.members[m.member]
			if !slices.Equal(c.active, mine.active) || !slices.Equal(c.standby, mine.standby) {
				g.t.Fatalf("%s has %+v, was to have %+v", m.member, c, mine)
			}
		}
		g.listing = true
		g.work(100)
		if wanted.probing {
			continue
		}
		in := g.input()
		checkBalance(g.t, in, wanted)
		if again := assignTasks(in); !samePlan(again, wanted) {
			g.t.Fatalf("another rebalance moves tasks:\nfirst  %+v\nsecond %+v", wanted, again)
		}
		return
	}
}

// perturb changes the group: a process dies or comes, with or without its disk, a thread ends or is added, members miss an answer,
// or the leader cannot ask the brokers.
func (g *group) perturb() {
	processes := map[string]int{}
	for _, m := range g.in.members {
		processes[m.process]++
	}
	drop := func(gone func(assignee) bool) {
		for _, m := range g.in.members {
			if gone(m) {
				delete(g.open, m.member)
				delete(g.promised, m.member)
			}
		}
		g.in.members = slices.DeleteFunc(slices.Clone(g.in.members), gone)
	}
	some := func() string { return rapid.SampledFrom(slices.Sorted(maps.Keys(processes))).Draw(g.t, "process") }
	switch rapid.IntRange(0, 4).Draw(g.t, "what happens") {
	case 0:
		if at := some(); len(processes) > 1 {
			drop(func(m assignee) bool { return m.process == at })
		}
	case 1:
		for p := range 8 {
			if process := fmt.Sprintf("p%d", p); processes[process] == 0 {
				g.in.members = append(slices.Clone(g.in.members), newMembers(p, rapid.IntRange(1, 3).Draw(g.t, "threads"))...)
				if rapid.Bool().Draw(g.t, "with an empty disk") {
					delete(g.disk, process)
				}
				break
			}
		}
	case 2:
		if at := some(); processes[at] > 1 {
			thread := g.in.members[slices.IndexFunc(g.in.members, func(m assignee) bool { return m.process == at })].member
			drop(func(m assignee) bool { return m.member == thread })
		}
	case 3:
		missed := map[string]bool{}
		for _, m := range g.in.members {
			missed[m.member] = rapid.IntRange(0, 3).Draw(g.t, m.member+" misses the answer") == 0
		}
		g.rebalance(missed)
	case 4:
		g.listing = rapid.Bool().Draw(g.t, "the ends can be listed")
		g.rebalance(nil)
	}
	if rapid.Bool().Draw(g.t, "time to work") {
		g.work(10)
	}
}

// TestRebalancesConverge: whatever happens to a group, the rebalances that follow end in a stable and balanced assignment, and at no
// time a task is where it must not be.
func TestRebalancesConverge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := newGroup(t)
		if rapid.Bool().Draw(t, "settled") {
			g.settle()
		}
		for range rapid.IntRange(0, 5).Draw(t, "perturbations") {
			g.perturb()
		}
		g.settle()
	})
}

// TestRebalancesConvergeFromAnything: even when members claim the same tasks, or ones that do not exist.
func TestRebalancesConvergeFromAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		drawAnyClaims(t, &in)
		drawStored(t, &in)
		const limit = 6
		for round := 1; ; round++ {
			p := assignTasks(in)
			now := p.withhold(in.members)
			changed := !samePlan(p, now)
			for _, m := range in.members {
				a := assignment{Version: userDataVersion, Tasks: now.members[m.member].active, Awaited: now.members[m.member].awaited}
				changed = changed || a.awaits(claims{m.claimed, m.claimedStandbys})
			}
			in = store(claim(in, now))
			if !changed {
				checkPlan(t, in, now)
				checkBalance(t, in, now)
				return
			}
			if round == limit {
				t.Fatalf("not stable after %d rounds: %+v", limit, now)
			}
		}
	})
}
