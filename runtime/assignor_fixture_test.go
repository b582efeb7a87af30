package runtime

import (
	"fmt"
	"maps"
	"slices"

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
