package runtime

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestAssignNobody(t *testing.T) {
	if p := assignTasks(assignorInput{tasks: newTasks(0, 1, true), standbyReplicas: 1, acceptableLag: unlimitedLag}); len(p.members) != 0 {
		t.Errorf("got %+v, want nothing", p)
	}
	p := assignTasks(assignorInput{members: newMembers(0, 2), standbyReplicas: 1, acceptableLag: 10})
	if len(p.members) != 2 || p.actives() != 0 || p.probing || p.missing != 0 {
		t.Errorf("got %+v, want two members without tasks", p)
	}
}

func TestAssignEachTaskOnceAndBalanced(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		drawClaims(t, &in)
		drawStored(t, &in)
		p := assignTasks(in)
		checkPlan(t, in, p)
		checkBalance(t, in, p)
		if p.probing {
			t.Fatal("without a limit for the lag there is nothing to probe for")
		}
	})
}

// TestAssignWithLimit: with a limit for the lag loads may differ for a time, which is what the probing rebalance is for.
func TestAssignWithLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		drawClaims(t, &in)
		drawStored(t, &in)
		in.acceptableLag = int64(rapid.SampledFrom([]int{0, 1, 100}).Draw(t, "acceptable lag"))
		in.maxWarmups = rapid.IntRange(1, 4).Draw(t, "max warm-ups")
		in.whole = map[TaskID]int64{}
		for _, task := range in.tasks {
			in.whole[task.id] = 2000
		}
		p := assignTasks(in)
		checkPlan(t, in, p)
		if !p.probing {
			checkBalance(t, in, p)
		}
		for member, mine := range p.members {
			process := processOf(in, member)
			for _, id := range mine.active {
				lag := newPlacement(in).lag(id, process)
				if isStateful(in, id) && lag > in.acceptableLag && !p.probing {
					for other := range in.lags {
						if newPlacement(in).lag(id, other) < lag {
							t.Fatalf("%s starts %s with a lag of %d, %s has less, and nothing is to follow: %+v", member, id, lag, other, p)
						}
					}
				}
			}
			for _, id := range mine.warmups {
				if newPlacement(in).lag(id, process) <= in.acceptableLag {
					t.Fatalf("%s warms up %s, which has caught up: %+v", member, id, p)
				}
			}
		}
	})
}

func processOf(in assignorInput, member string) string {
	for _, m := range in.members {
		if m.member == member {
			return m.process
		}
	}
	return ""
}

func isStateful(in assignorInput, id TaskID) bool {
	return slices.Contains(in.tasks, assignorTask{id: id, stateful: true})
}

// TestAssignIgnoresOrder: the same members and claims give the same plan, whatever the order in which they come and whatever the
// member ids, which change with each join.
func TestAssignIgnoresOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		drawClaims(t, &in)
		drawStored(t, &in)
		if rapid.Bool().Draw(t, "limited") {
			in.acceptableLag = 10
		}
		want := assignTasks(in)
		wantNow := want.withhold(in.members)

		again := in
		again.tasks = rapid.Permutation(slices.Clone(in.tasks)).Draw(t, "tasks again")
		again.members = rapid.Permutation(slices.Clone(in.members)).Draw(t, "members again")
		ids := map[string]string{}
		for i := range again.members {
			m := &again.members[i]
			m.owned = rapid.Permutation(slices.Clone(m.owned)).Draw(t, "claims again")
			m.standbys = rapid.Permutation(slices.Clone(m.standbys)).Draw(t, "standbys again")
			id := fmt.Sprintf("%d-%s", i, m.member)
			ids[id], m.member = m.member, id
		}
		claimAll(again.members)
		back := func(p plan) plan {
			named := map[string]memberPlan{}
			for id, mine := range p.members {
				named[ids[id]] = mine
			}
			p.members = named
			return p
		}
		p := assignTasks(again)
		if got := back(p); !samePlan(got, want) {
			t.Fatalf("got %+v, want %+v", got, want)
		}
		if got := back(p.withhold(again.members)); !samePlan(got, wantNow) {
			t.Fatalf("got %+v, want %+v", got, wantNow)
		}
	})
}

// TestAssignKeepsItsArguments: the assignor is a pure function.
func TestAssignKeepsItsArguments(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		drawClaims(t, &in)
		drawStored(t, &in)
		in.acceptableLag = 10
		before := fmt.Sprintf("%+v", in)
		p := assignTasks(in)
		planned := fmt.Sprintf("%+v", p)
		p.withhold(in.members)
		if fmt.Sprintf("%+v", p) != planned {
			t.Fatal("withhold has changed the plan")
		}
		if fmt.Sprintf("%+v", in) != before {
			t.Fatal("the input was changed")
		}
	})
}

// TestAssignSticks: once a plan is carried out, nothing moves any more.
func TestAssignSticks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		drawClaims(t, &in)
		drawStored(t, &in)
		first := assignTasks(in)
		in = store(claim(in, first))
		second := assignTasks(in)
		if !samePlan(first, second) {
			t.Fatalf("tasks moved for no reason:\nfirst  %+v\nsecond %+v", first, second)
		}
	})
}

// TestAssignSpreads: without claims the tasks of each sub-topology are spread evenly, too.
func TestAssignSpreads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		p := assignTasks(in)
		perSub := map[int]int{}
		for _, task := range in.tasks {
			perSub[task.id.Subtopology]++
		}
		for sub, n := range perSub {
			limit := (n + len(in.members) - 1) / len(in.members)
			for member, mine := range p.members {
				got := 0
				for _, id := range mine.active {
					if id.Subtopology == sub {
						got++
					}
				}
				if got > limit {
					t.Fatalf("%s has %d of %d tasks of sub-topology %d, want at most %d: %+v", member, got, n, sub, limit, p)
				}
			}
		}
	})
}

// TestAssignMemberLeaves: the tasks of who stays do not move, for everybody may only get more. The one exception is the spread of
// a sub-topology, which never tightens when a member leaves.
func TestAssignMemberLeaves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		if len(in.members) < 2 {
			t.Skip("nobody would stay")
		}
		in = store(claim(in, assignTasks(in)))
		gone := rapid.IntRange(0, len(in.members)-1).Draw(t, "who leaves")
		before := map[TaskID]string{}
		for i, m := range in.members {
			for _, id := range m.owned {
				if i != gone {
					before[id] = m.member
				}
			}
		}
		left := in.members[gone].member
		in.members = slices.Delete(slices.Clone(in.members), gone, gone+1)
		p := assignTasks(in)
		checkPlan(t, in, p)
		checkBalance(t, in, p)
		after := holders(p)
		for id, member := range before {
			if after[id] != member {
				t.Fatalf("%s moved from %s to %s though %s left: %+v", id, member, after[id], left, p)
			}
		}
	})
}

// TestAssignMemberJoins: only as many tasks move as the new member needs for its share, where the spread is no reason to move more.
func TestAssignMemberJoins(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		in.tasks = slices.DeleteFunc(in.tasks, func(task assignorTask) bool { return task.id.Subtopology > 0 })
		p := assignTasks(in)
		old := holders(p)
		in = store(claim(in, p))
		joined := newMembers(99, 1)
		in.members = append(in.members, joined...)
		p = assignTasks(in)
		checkPlan(t, in, p)
		checkBalance(t, in, p)
		moved := 0
		for id, member := range holders(p) {
			if old[id] != member {
				moved++
			}
		}
		if want := len(p.members[joined[0].member].active); moved != want {
			t.Fatalf("%d tasks moved, want the %d that the new member got: %+v", moved, want, p)
		}
	})
}

// TestAssignProcessComesBack: a process whose threads were away gets back what it had, for it still has the state, as far as
// its share goes.
func TestAssignProcessComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := assignorInput{acceptableLag: unlimitedLag}
		for sub := range rapid.IntRange(1, 4).Draw(t, "sub-topologies") {
			in.tasks = append(in.tasks, newTasks(sub, rapid.IntRange(1, 3).Draw(t, "tasks of a thread and sub-topology")*9, true)...)
		}
		for p := range 3 {
			in.members = append(in.members, newMembers(p, 3)...)
		}
		in = store(claim(in, assignTasks(in)))
		away := fmt.Sprintf("p%d", rapid.IntRange(0, 2).Draw(t, "who is away"))
		had := map[TaskID]bool{}
		stay := in
		stay.members = nil
		for _, m := range in.members {
			if m.process != away {
				stay.members = append(stay.members, m)
				continue
			}
			for _, id := range m.owned {
				had[id] = true
			}
		}
		stay = store(claim(stay, assignTasks(stay)))
		back := stay
		for _, m := range in.members {
			if m.process == away {
				m.owned = nil
				back.members = append(back.members, m)
			}
		}
		for id := range back.lags[away] {
			back.lags[away][id] = 100_000
		}
		p := assignTasks(back)
		checkPlan(t, back, p)
		checkBalance(t, back, p)
		for _, m := range back.members {
			if m.process != away {
				continue
			}
			for _, id := range p.members[m.member].active {
				if !had[id] {
					t.Fatalf("%s got %s, whose state it does not have: %+v", m.member, id, p)
				}
			}
		}
	})
}

// TestAssignFreeTaskGoesToItsState: a task without an owner goes where its state is, if there is room, and to the process that lags
// least.
func TestAssignFreeTaskGoesToItsState(t *testing.T) {
	in := assignorInput{tasks: newTasks(0, 2, true), acceptableLag: unlimitedLag}
	in.members = slices.Concat(newMembers(0, 1), newMembers(1, 1))
	a, b := in.members[0].member, in.members[1].member
	in.lags = map[string]map[TaskID]int64{"p1": {{0, 0}: 5000}}
	if p := assignTasks(in); !slices.Equal(p.members[b].active, []TaskID{{0, 0}}) || !slices.Equal(p.members[a].active, []TaskID{{0, 1}}) {
		t.Errorf("got %+v, want 0_0 where its state is", p)
	}
	in.lags = map[string]map[TaskID]int64{"p0": {{0, 0}: 5000, {0, 1}: 1}, "p1": {{0, 0}: 1, {0, 1}: 5000}}
	if p := assignTasks(in); !slices.Equal(p.members[b].active, []TaskID{{0, 0}}) || !slices.Equal(p.members[a].active, []TaskID{{0, 1}}) {
		t.Errorf("got %+v, want each task where less is to be restored", p)
	}
}
