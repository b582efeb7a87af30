package runtime

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// drawTasks draws the tasks of up to four sub-topologies.
func drawTasks(t *rapid.T) []TaskID {
	var tasks []TaskID
	for sub, n := range rapid.SliceOfN(rapid.IntRange(0, 9), 1, 4).Draw(t, "partitions of sub-topologies") {
		for p := range n {
			tasks = append(tasks, TaskID{Subtopology: sub, Partition: int32(p)})
		}
	}
	return tasks
}

// drawMembers draws up to six processes with up to three threads each, in any order. Nobody owns or stores anything.
func drawMembers(t *rapid.T) []assignee {
	var members []assignee
	for p, threads := range rapid.SliceOfN(rapid.IntRange(1, 3), 1, 6).Draw(t, "threads of processes") {
		members = append(members, newMembers(p, threads)...)
	}
	return rapid.Permutation(members).Draw(t, "members")
}

func newMembers(process, threads int) []assignee {
	var members []assignee
	for n := range threads {
		thread := fmt.Sprintf("i%d-StreamThread-%d", process, n+1)
		members = append(members, assignee{member: thread + "-member", process: fmt.Sprintf("p%d", process), thread: thread})
	}
	return members
}

// drawClaims lets members claim tasks, each task at most once, as after the filter by generation.
func drawClaims(t *rapid.T, tasks []TaskID, members []assignee) {
	for _, id := range tasks {
		if owner := rapid.IntRange(-1, len(members)-1).Draw(t, "owner of "+id.String()); owner >= 0 {
			members[owner].owned = append(members[owner].owned, id)
		}
	}
}

// drawStored puts state on the disks of processes; what a process owns is always on its disk.
func drawStored(t *rapid.T, tasks []TaskID, members []assignee) {
	disks := map[string]map[TaskID]bool{}
	for _, m := range members {
		if disks[m.process] == nil {
			disks[m.process] = map[TaskID]bool{}
			for _, id := range tasks {
				if rapid.Bool().Draw(t, m.process+" stores "+id.String()) {
					disks[m.process][id] = true
				}
			}
		}
		for _, id := range m.owned {
			disks[m.process][id] = true
		}
	}
	for i := range members {
		members[i].stored = disks[members[i].process]
	}
}

// holders inverts a plan.
func holders(plan map[string][]TaskID) map[TaskID]string {
	holders := map[TaskID]string{}
	for member, tasks := range plan {
		for _, id := range tasks {
			holders[id] = member
		}
	}
	return holders
}

// claim makes a plan what the members own.
func claim(members []assignee, plan map[string][]TaskID) []assignee {
	members = slices.Clone(members)
	for i := range members {
		members[i].owned = slices.Clone(plan[members[i].member])
	}
	return members
}

// store adds what members own to the disks of their processes.
func store(members []assignee) []assignee {
	members = slices.Clone(members)
	disks := map[string]map[TaskID]bool{}
	for _, m := range members {
		if disks[m.process] == nil {
			disks[m.process] = maps.Clone(m.stored)
			if disks[m.process] == nil {
				disks[m.process] = map[TaskID]bool{}
			}
		}
		for _, id := range m.owned {
			disks[m.process][id] = true
		}
	}
	for i := range members {
		members[i].stored = disks[members[i].process]
	}
	return members
}

func samePlan(a, b map[string][]TaskID) bool { return maps.EqualFunc(a, b, slices.Equal) }

// checkPlan holds a plan to what every plan must be: each task once, every member named, loads within one of each other.
func checkPlan(t interface{ Fatalf(string, ...any) }, tasks []TaskID, members []assignee, plan map[string][]TaskID) {
	if len(plan) != len(members) {
		t.Fatalf("%d members in the plan, want %d: %v", len(plan), len(members), plan)
	}
	seen := map[TaskID]int{}
	least, most := len(tasks), 0
	for _, m := range members {
		mine, ok := plan[m.member]
		if !ok {
			t.Fatalf("%s is not in the plan %v", m.member, plan)
		}
		if !slices.IsSortedFunc(mine, compareTaskIDs) {
			t.Fatalf("tasks of %s are not sorted: %v", m.member, mine)
		}
		least, most = min(least, len(mine)), max(most, len(mine))
		for _, id := range mine {
			seen[id]++
		}
	}
	if most-least > 1 {
		t.Fatalf("not balanced, %d to %d tasks: %v", least, most, plan)
	}
	for _, id := range tasks {
		if seen[id] != 1 {
			t.Fatalf("task %s is assigned %d times: %v", id, seen[id], plan)
		}
	}
	if len(seen) != len(tasks) {
		t.Fatalf("the plan has %d tasks, want %d: %v", len(seen), len(tasks), plan)
	}
}

func TestAssignNobody(t *testing.T) {
	if plan := assignTasks([]TaskID{{0, 0}}, nil); len(plan) != 0 {
		t.Errorf("got %v, want nothing", plan)
	}
	plan := assignTasks(nil, newMembers(0, 2))
	if len(plan) != 2 || count(plan) != 0 {
		t.Errorf("got %v, want two members without tasks", plan)
	}
}

func TestAssignEachTaskOnceAndBalanced(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tasks, members := drawTasks(t), drawMembers(t)
		drawClaims(t, tasks, members)
		drawStored(t, tasks, members)
		checkPlan(t, tasks, members, assignTasks(tasks, members))
	})
}

// TestAssignIgnoresOrder: the same members and claims give the same plan, whatever the order in which they come and whatever the
// member ids, which change with each join.
func TestAssignIgnoresOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tasks, members := drawTasks(t), drawMembers(t)
		drawClaims(t, tasks, members)
		drawStored(t, tasks, members)
		want := assignTasks(tasks, members)

		renamed := rapid.Permutation(slices.Clone(members)).Draw(t, "members again")
		ids := map[string]string{}
		for i := range renamed {
			renamed[i].owned = rapid.Permutation(slices.Clone(renamed[i].owned)).Draw(t, "claims again")
			id := fmt.Sprintf("%d-%s", i, renamed[i].member)
			ids[id], renamed[i].member = renamed[i].member, id
		}
		got := map[string][]TaskID{}
		for id, mine := range assignTasks(rapid.Permutation(slices.Clone(tasks)).Draw(t, "tasks again"), renamed) {
			got[ids[id]] = mine
		}
		if !samePlan(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

// TestAssignKeepsItsArguments: the assignor is a pure function.
func TestAssignKeepsItsArguments(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tasks, members := drawTasks(t), drawMembers(t)
		drawClaims(t, tasks, members)
		before, owned := slices.Clone(tasks), map[string][]TaskID{}
		for _, m := range members {
			owned[m.member] = slices.Clone(m.owned)
		}
		plan := assignTasks(tasks, members)
		whole := count(plan)
		withhold(plan, members)
		if count(plan) != whole {
			t.Fatal("withhold has changed the plan")
		}
		if !slices.Equal(before, tasks) {
			t.Fatal("the tasks were changed")
		}
		for _, m := range members {
			if !slices.Equal(owned[m.member], m.owned) {
				t.Fatal("the claims were changed")
			}
		}
	})
}

// TestAssignSticks: once a plan is carried out, nothing moves any more.
func TestAssignSticks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tasks, members := drawTasks(t), drawMembers(t)
		drawClaims(t, tasks, members)
		drawStored(t, tasks, members)
		first := assignTasks(tasks, members)
		members = store(claim(members, first))
		second := assignTasks(tasks, members)
		if !samePlan(first, second) {
			t.Fatalf("tasks moved for no reason:\nfirst  %v\nsecond %v", first, second)
		}
	})
}

// TestAssignSpreads: without claims the tasks of each sub-topology are spread evenly, too.
func TestAssignSpreads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tasks, members := drawTasks(t), drawMembers(t)
		plan := assignTasks(tasks, members)
		perSub := map[int]int{}
		for _, id := range tasks {
			perSub[id.Subtopology]++
		}
		for sub, n := range perSub {
			limit := (n + len(members) - 1) / len(members)
			for member, mine := range plan {
				got := 0
				for _, id := range mine {
					if id.Subtopology == sub {
						got++
					}
				}
				if got > limit {
					t.Fatalf("%s has %d of %d tasks of sub-topology %d, want at most %d: %v", member, got, n, sub, limit, plan)
				}
			}
		}
	})
}

// TestAssignMemberLeaves: the tasks of who stays do not move, for everybody may only get more. The one exception is the spread of
// a sub-topology, which never tightens when a member leaves.
func TestAssignMemberLeaves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tasks, members := drawTasks(t), drawMembers(t)
		if len(members) < 2 {
			t.Skip("nobody would stay")
		}
		members = store(claim(members, assignTasks(tasks, members)))
		gone := rapid.IntRange(0, len(members)-1).Draw(t, "who leaves")
		before := map[TaskID]string{}
		for i, m := range members {
			for _, id := range m.owned {
				if i != gone {
					before[id] = m.member
				}
			}
		}
		rest := slices.Delete(slices.Clone(members), gone, gone+1)
		plan := assignTasks(tasks, rest)
		checkPlan(t, tasks, rest, plan)
		after := holders(plan)
		for id, member := range before {
			if after[id] != member {
				t.Fatalf("%s moved from %s to %s though %s left: %v", id, member, after[id], members[gone].member, plan)
			}
		}
	})
}

// TestAssignMemberJoins: only as many tasks move as the new member needs for its share, where the spread is no reason to move more.
func TestAssignMemberJoins(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tasks, members := drawTasks(t), drawMembers(t)
		one := slices.ContainsFunc(tasks, func(id TaskID) bool { return id.Subtopology > 0 })
		if one {
			tasks = slices.DeleteFunc(tasks, func(id TaskID) bool { return id.Subtopology > 0 })
		}
		old := holders(assignTasks(tasks, members))
		members = store(claim(members, assignTasks(tasks, members)))
		joined := newMembers(99, 1)
		members = append(members, joined...)
		plan := assignTasks(tasks, members)
		checkPlan(t, tasks, members, plan)
		moved := 0
		for id, member := range holders(plan) {
			if old[id] != member {
				moved++
			}
		}
		if want := len(plan[joined[0].member]); moved != want {
			t.Fatalf("%d tasks moved, want the %d that the new member got: %v", moved, want, plan)
		}
	})
}

// TestAssignProcessComesBack: a process whose threads were away gets back what it had, for it still has the state, as far as
// its share goes.
func TestAssignProcessComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tasks []TaskID
		for sub := range rapid.IntRange(1, 4).Draw(t, "sub-topologies") {
			for p := range rapid.IntRange(1, 3).Draw(t, "tasks of a thread and sub-topology") * 9 {
				tasks = append(tasks, TaskID{Subtopology: sub, Partition: int32(p)})
			}
		}
		var members []assignee
		for p := range 3 {
			members = append(members, newMembers(p, 3)...)
		}
		members = store(claim(members, assignTasks(tasks, members)))
		away := fmt.Sprintf("p%d", rapid.IntRange(0, 2).Draw(t, "who is away"))
		had := map[TaskID]bool{}
		var stay []assignee
		for _, m := range members {
			if m.process != away {
				stay = append(stay, m)
				continue
			}
			for _, id := range m.owned {
				had[id] = true
			}
		}
		stay = store(claim(stay, assignTasks(tasks, stay)))
		back := slices.Clone(stay)
		for _, m := range members {
			if m.process == away {
				m.owned = nil
				back = append(back, m)
			}
		}
		plan := assignTasks(tasks, back)
		checkPlan(t, tasks, back, plan)
		for _, m := range back {
			if m.process != away {
				continue
			}
			for _, id := range plan[m.member] {
				if !had[id] {
					t.Fatalf("%s got %s, whose state it does not have: %v", m.member, id, plan)
				}
			}
		}
	})
}

// TestAssignFreeTaskGoesToItsState: a task without an owner goes where its state is, if there is room.
func TestAssignFreeTaskGoesToItsState(t *testing.T) {
	members := []assignee{
		{member: "a", process: "p0", thread: "i0-StreamThread-1"},
		{member: "b", process: "p1", thread: "i1-StreamThread-1", stored: map[TaskID]bool{{0, 0}: true}},
	}
	plan := assignTasks([]TaskID{{0, 0}, {0, 1}}, members)
	if !slices.Equal(plan["b"], []TaskID{{0, 0}}) || !slices.Equal(plan["a"], []TaskID{{0, 1}}) {
		t.Errorf("got %v, want 0_0 where its state is", plan)
	}
}

// TestWithholdClaims: nobody is given what another member claims, also where several claim the same task.
func TestWithholdClaims(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tasks, members := drawTasks(t), drawMembers(t)
		for i := range members {
			for _, id := range tasks {
				if rapid.IntRange(0, 3).Draw(t, members[i].member+" claims "+id.String()) == 0 {
					members[i].owned = append(members[i].owned, id)
				}
			}
		}
		plan := assignTasks(tasks, members)
		now := withhold(plan, members)
		for member, mine := range now {
			for _, id := range mine {
				if !slices.Contains(plan[member], id) {
					t.Fatalf("%s is given %s, which the plan gives to somebody else", member, id)
				}
				for _, m := range members {
					if m.member != member && slices.Contains(m.owned, id) {
						t.Fatalf("%s is given %s, which %s claims", member, id, m.member)
					}
				}
			}
		}
		for member, mine := range plan {
			for _, id := range mine {
				foreign := slices.ContainsFunc(members, func(m assignee) bool { return m.member != member && slices.Contains(m.owned, id) })
				if !foreign && !slices.Contains(now[member], id) {
					t.Fatalf("%s is withheld from %s though nobody claims it", id, member)
				}
			}
		}
	})
}

// converge plays rebalances until nothing is withheld or revoked any more, and returns how many it took.
func converge(t *rapid.T, tasks []TaskID, members []assignee) {
	const limit = 3
	for round := 1; ; round++ {
		plan := assignTasks(tasks, members)
		now := withhold(plan, members)
		changed := count(now) != count(plan)
		for _, m := range members {
			for _, id := range m.owned {
				changed = changed || !slices.Contains(now[m.member], id)
			}
		}
		members = store(claim(members, now))
		if !changed {
			checkPlan(t, tasks, members, now)
			return
		}
		if round == limit {
			t.Fatalf("not stable after %d rounds: %v", limit, now)
		}
	}
}

func TestRebalancesConverge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tasks, members := drawTasks(t), drawMembers(t)
		drawClaims(t, tasks, members)
		drawStored(t, tasks, members)
		converge(t, tasks, members)
	})
}

// TestRebalancesConvergeFromAnything: even when members claim the same tasks, or ones that do not exist.
func TestRebalancesConvergeFromAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tasks, members := drawTasks(t), drawMembers(t)
		for i := range members {
			for _, id := range append(slices.Clone(tasks), TaskID{7, 7}) {
				if rapid.IntRange(0, 2).Draw(t, members[i].member+" claims "+id.String()) == 0 {
					members[i].owned = append(members[i].owned, id)
				}
			}
		}
		drawStored(t, tasks, members)
		converge(t, tasks, members)
	})
}
