package runtime

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// drawTasks draws the tasks of up to four sub-topologies, each of them stateful or not.
func drawTasks(t *rapid.T) []assignorTask {
	var tasks []assignorTask
	for sub, n := range rapid.SliceOfN(rapid.IntRange(0, 9), 1, 4).Draw(t, "partitions of sub-topologies") {
		stateful := rapid.Bool().Draw(t, fmt.Sprintf("sub-topology %d is stateful", sub))
		tasks = append(tasks, newTasks(sub, n, stateful)...)
	}
	return tasks
}

func newTasks(sub, partitions int, stateful bool) []assignorTask {
	var tasks []assignorTask
	for p := range partitions {
		tasks = append(tasks, assignorTask{id: TaskID{Subtopology: sub, Partition: int32(p)}, stateful: stateful})
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

// drawInput draws tasks and members that own and store nothing yet, without a limit for the lag.
func drawInput(t *rapid.T) assignorInput {
	return assignorInput{
		tasks: drawTasks(t), members: drawMembers(t), lags: map[string]map[TaskID]int64{},
		standbyReplicas: rapid.IntRange(0, 3).Draw(t, "standby replicas"), acceptableLag: unlimitedLag, maxWarmups: 2,
	}
}

// drawClaims lets members claim tasks: each at most once as active, and as a standby by any processes without it.
func drawClaims(t *rapid.T, in *assignorInput) {
	holder := map[TaskID]map[string]bool{}
	for _, task := range in.tasks {
		id := task.id
		holder[id] = map[string]bool{}
		if owner := rapid.IntRange(-1, len(in.members)-1).Draw(t, "owner of "+id.String()); owner >= 0 {
			in.members[owner].owned = append(in.members[owner].owned, id)
			holder[id][in.members[owner].process] = true
		}
		for i := range in.members {
			m := &in.members[i]
			if task.stateful && !holder[id][m.process] && rapid.IntRange(0, 4).Draw(t, m.member+" has a standby of "+id.String()) == 0 {
				m.standbys = append(m.standbys, id)
				holder[id][m.process] = true
			}
		}
	}
	claimAll(in.members)
}

// claimAll makes all that is claimed claims of the newest generation.
func claimAll(members []assignee) {
	for i := range members {
		members[i].claimed, members[i].claimedStandbys = members[i].owned, members[i].standbys
	}
}

// drawStored puts state on the disks of processes; what a process has claimed is always on its disk.
func drawStored(t *rapid.T, in *assignorInput) {
	for _, m := range in.members {
		if in.lags[m.process] == nil {
			in.lags[m.process] = map[TaskID]int64{}
			for _, task := range in.tasks {
				if rapid.Bool().Draw(t, m.process+" stores "+task.id.String()) {
					in.lags[m.process][task.id] = int64(rapid.SampledFrom([]int{0, 0, 1, 50, 1000}).Draw(t, m.process+" lacks of "+task.id.String()))
				}
			}
		}
	}
	*in = store(*in)
}

// store adds what members have open to the disks of their processes. Owners have caught up.
func store(in assignorInput) assignorInput {
	lags := map[string]map[TaskID]int64{}
	for process, at := range in.lags {
		lags[process] = maps.Clone(at)
	}
	for _, m := range in.members {
		if lags[m.process] == nil {
			lags[m.process] = map[TaskID]int64{}
		}
		for _, id := range m.standbys {
			if _, ok := lags[m.process][id]; !ok {
				lags[m.process][id] = 1
			}
		}
		for _, id := range m.owned {
			lags[m.process][id] = 0
		}
	}
	in.lags = lags
	return in
}

// claim makes a plan what the members have.
func claim(in assignorInput, p plan) assignorInput {
	in.members = slices.Clone(in.members)
	for i := range in.members {
		mine := p.members[in.members[i].member]
		in.members[i].owned, in.members[i].standbys = slices.Clone(mine.active), slices.Clone(mine.standby)
	}
	claimAll(in.members)
	return in
}

// holders inverts a plan.
func holders(p plan) map[TaskID]string {
	holders := map[TaskID]string{}
	for member, mine := range p.members {
		for _, id := range mine.active {
			holders[id] = member
		}
	}
	return holders
}

func samePlan(a, b plan) bool {
	return a.probing == b.probing && a.missing == b.missing && maps.EqualFunc(a.members, b.members, func(a, b memberPlan) bool {
		return slices.Equal(a.active, b.active) && slices.Equal(a.standby, b.standby) && slices.Equal(a.warmups, b.warmups) &&
			slices.Equal(a.promised, b.promised) && slices.Equal(a.promisedStandbys, b.promisedStandbys) && a.awaited == b.awaited
	})
}

type failer interface{ Fatalf(string, ...any) }

// checkPlan holds a plan to what every plan must be: every member named, each task active once, and as a standby on processes of
// its own, as many as there should be. It does not look at the balance.
func checkPlan(t failer, in assignorInput, p plan) {
	if len(p.members) != len(in.members) {
		t.Fatalf("%d members in the plan, want %d: %+v", len(p.members), len(in.members), p)
	}
	active, standbys := map[TaskID]int{}, map[TaskID]int{}
	places, processes := map[TaskID]map[string]bool{}, map[string]bool{}
	warmups := 0
	for _, task := range in.tasks {
		places[task.id] = map[string]bool{}
	}
	for _, m := range in.members {
		mine, ok := p.members[m.member]
		if !ok {
			t.Fatalf("%s is not in the plan %+v", m.member, p)
		}
		processes[m.process] = true
		for _, tasks := range [][]TaskID{mine.active, mine.standby, mine.warmups} {
			if !slices.IsSortedFunc(tasks, compareTaskIDs) {
				t.Fatalf("tasks of %s are not sorted: %v", m.member, tasks)
			}
		}
		for _, id := range slices.Concat(mine.active, mine.standby) {
			if places[id] == nil {
				t.Fatalf("%s has task %s, which does not exist", m.member, id)
			}
			if places[id][m.process] {
				t.Fatalf("task %s is twice in process %s: %+v", id, m.process, p)
			}
			places[id][m.process] = true
		}
		for _, id := range mine.active {
			active[id]++
		}
		for _, id := range mine.standby {
			standbys[id]++
		}
		for _, id := range mine.warmups {
			if !slices.Contains(mine.standby, id) {
				t.Fatalf("%s warms up %s, which is not among its standbys: %+v", m.member, id, p)
			}
			standbys[id]--
			warmups++
		}
	}
	if warmups > in.maxWarmups || (warmups > 0 && in.acceptableLag == unlimitedLag) {
		t.Fatalf("%d warm-ups, allowed are %d: %+v", warmups, in.maxWarmups, p)
	}
	replicas := min(in.standbyReplicas, len(processes)-1)
	missing := 0
	for _, task := range in.tasks {
		if active[task.id] != 1 {
			t.Fatalf("task %s is assigned %d times: %+v", task.id, active[task.id], p)
		}
		want := replicas
		if !task.stateful {
			want = 0
		} else {
			missing += in.standbyReplicas - replicas
		}
		if standbys[task.id] != want {
			t.Fatalf("task %s has %d standbys, want %d: %+v", task.id, standbys[task.id], want, p)
		}
	}
	if p.missing != missing {
		t.Fatalf("the plan says that %d standbys are missing, it is %d", p.missing, missing)
	}
}

// checkBalance: numbers of active tasks differ by at most one, and no standby could be moved so that theirs differ less.
func checkBalance(t failer, in assignorInput, p plan) {
	least, most := len(in.tasks), 0
	for _, mine := range p.members {
		least, most = min(least, len(mine.active)), max(most, len(mine.active))
	}
	if most-least > 1 {
		t.Fatalf("not balanced, %d to %d tasks: %+v", least, most, p)
	}
	processHas := map[string]map[TaskID]bool{}
	for _, m := range in.members {
		if processHas[m.process] == nil {
			processHas[m.process] = map[TaskID]bool{}
		}
		for _, id := range slices.Concat(p.members[m.member].active, p.members[m.member].standby) {
			processHas[m.process][id] = true
		}
	}
	for _, from := range in.members {
		for _, to := range in.members {
			if len(p.members[from.member].standby)-len(p.members[to.member].standby) < 2 {
				continue
			}
			for _, id := range p.members[from.member].standby {
				if from.process == to.process || !processHas[to.process][id] {
					t.Fatalf("standby %s could move from %s to %s: %+v", id, from.member, to.member, p)
				}
			}
		}
	}
}

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
