package runtime

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// client is a process of a test group, written down: what each of its threads owns, what it has as standbys, and how far it
// lags in what it has stored.
type client struct {
	threads  int
	active   string // "0_0 0_1, 0_2": a comma between threads
	standby  string
	lags     map[string]int64 // tasks that are stored, besides those owned
	warmedUp string           // stored, and caught up
}

func taskIDs(t *testing.T, text string) []TaskID {
	t.Helper()
	var ids []TaskID
	for name := range strings.FieldsSeq(text) {
		id, err := ParseTaskID(name)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	return ids
}

// haInput builds a group: each of the tasks has 100,000 changelog records, of which 1,000 may be missing.
func haInput(t *testing.T, stateful, stateless string, standbys, warmups int, clients ...client) assignorInput {
	t.Helper()
	in := assignorInput{
		standbyReplicas: standbys, acceptableLag: 1000, maxWarmups: warmups, lags: map[string]map[TaskID]int64{}, whole: map[TaskID]int64{},
	}
	for _, id := range taskIDs(t, stateful) {
		in.tasks = append(in.tasks, assignorTask{id, true})
		in.whole[id] = 100_000
	}
	for _, id := range taskIDs(t, stateless) {
		in.tasks = append(in.tasks, assignorTask{id, false})
	}
	for p, c := range clients {
		members := newMembers(p, max(1, c.threads))
		for i, list := range strings.Split(c.active, ",") {
			members[i].owned = taskIDs(t, list)
		}
		for i, list := range strings.Split(c.standby, ",") {
			members[i].standbys = taskIDs(t, list)
		}
		claimAll(members)
		in.members = append(in.members, members...)
		in.lags[members[0].process] = map[TaskID]int64{}
		for name, lag := range c.lags {
			in.lags[members[0].process][taskIDs(t, name)[0]] = lag
		}
		for _, id := range taskIDs(t, c.warmedUp) {
			in.lags[members[0].process][id] = 0
		}
	}
	return store(in)
}

// byProcess shows a plan as one line for each process.
func byProcess(in assignorInput, p plan) []string {
	lines := map[string]string{}
	for _, m := range in.members {
		lines[m.process] = ""
	}
	for _, process := range slices.Sorted(maps.Keys(lines)) {
		var active, standby, warmups []TaskID
		for _, m := range in.members {
			if m.process == process {
				mine := p.members[m.member]
				active = append(active, mine.active...)
				warmups = append(warmups, mine.warmups...)
				standby = append(standby, slices.DeleteFunc(slices.Clone(mine.standby), func(id TaskID) bool { return slices.Contains(mine.warmups, id) })...)
			}
		}
		var parts []string
		for _, part := range []struct {
			name  string
			tasks []TaskID
		}{{"active", active}, {"standby", standby}, {"warm-up", warmups}} {
			slices.SortFunc(part.tasks, compareTaskIDs)
			if len(part.tasks) > 0 {
				parts = append(parts, fmt.Sprintf("%s %s", part.name, strings.Trim(fmt.Sprint(names(part.tasks)), "[]")))
			}
		}
		lines[process] = process + ": " + strings.Join(parts, "; ")
	}
	var out []string
	for _, process := range slices.Sorted(maps.Keys(lines)) {
		out = append(out, lines[process])
	}
	if p.probing {
		out = append(out, "probing")
	}
	return out
}

func names(ids []TaskID) []string {
	var out []string
	for _, id := range ids {
		out = append(out, id.String())
	}
	return out
}

// TestHighAvailabilityTaskAssignor has the cases of Kafka Streams' test of that name. Two of our rules differ: tasks are balanced
// over threads first, not over clients, and a task stays with an owner that is alive, rather than going to a standby that has
// caught up, until its new place has.
func TestHighAvailabilityTaskAssignor(t *testing.T) {
	tests := []struct {
		name string
		in   assignorInput
		want []string
	}{
		{
			"shouldBeStickyForActiveAndStandbyTasksWhileWarmingUp",
			haInput(t, "0_0 0_1 1_0 1_1 2_0 2_1", "", 1, 2,
				client{active: "0_0 0_1 1_0 1_1 2_0 2_1"},
				client{standby: "0_0 0_1 1_0 1_1 2_0 2_1", lags: map[string]int64{"0_0": 0, "0_1": 0, "1_0": 0, "1_1": 0, "2_0": 0, "2_1": 0}},
				client{}),
			// The standby takes its share at once; what the new client is to have is warmed up there, two tasks at a time.
			[]string{
				"p0: active 0_0 0_1 1_0 2_1; standby 1_1 2_0",
				"p1: active 1_1 2_0; standby 0_0 0_1 1_0 2_1",
				"p2: warm-up 0_1 2_1",
				"probing",
			},
		},
		{
			"shouldSkipWarmupsWhenAcceptableLagIsMax",
			func() assignorInput {
				in := haInput(t, "0_0 0_1 1_0 1_1 2_0 2_1", "", 1, 1,
					client{active: "0_0 0_1"}, client{active: "1_0 1_1"}, client{active: "2_0 2_1"}, client{}, client{}, client{})
				in.acceptableLag = unlimitedLag
				return in
			}(),
			[]string{
				"p0: active 0_0; standby 2_1", "p1: active 1_0; standby 0_0", "p2: active 2_0; standby 1_0",
				"p3: active 0_1; standby 1_1", "p4: active 1_1; standby 2_0", "p5: active 2_1; standby 0_1",
			},
		},
		{
			"shouldAssignActiveStatefulTasksEvenlyOverClientsWhereNumberOfClientsIntegralDivisorOfNumberOfTasks",
			haInput(t, "0_0 0_1 0_2 1_0 1_1 1_2 2_0 2_1 2_2", "", 0, 1, client{}, client{}, client{}),
			[]string{"p0: active 0_0 1_0 2_0", "p1: active 0_1 1_1 2_1", "p2: active 0_2 1_2 2_2"},
		},
		{
			"shouldAssignActiveStatefulTasksEvenlyOverUnevenlyDistributedStreamThreads",
			haInput(t, "0_0 0_1 0_2 1_0 1_1 1_2", "", 0, 1, client{threads: 1}, client{threads: 2}, client{threads: 3}),
			[]string{"p0: active 0_0", "p1: active 0_1 0_2", "p2: active 1_0 1_1 1_2"},
		},
		{
			"shouldAssignActiveStatefulTasksEvenlyOverClientsWithMoreClientsThanTasks",
			haInput(t, "0_0 0_1", "", 0, 1, client{}, client{}, client{}),
			[]string{"p0: active 0_0", "p1: active 0_1", "p2: "},
		},
		{
			"shouldAssignWarmUpTasksIfStatefulActiveTasksAreToMove",
			haInput(t, "0_0 0_1 1_0 1_1", "", 0, 10, client{threads: 2, active: "0_0 1_0, 0_1 1_1"}, client{threads: 2}),
			[]string{"p0: active 0_0 0_1 1_0 1_1", "p1: warm-up 1_0 1_1", "probing"},
		},
		{
			"shouldEvenlyAssignActiveStatefulTasksIfClientsAreWarmedUpToBalanceTaskOverClients",
			haInput(t, "0_0 0_1 1_0 1_1", "", 0, 10, client{threads: 2, active: "0_0 1_0, 0_1 1_1"}, client{threads: 2, standby: "1_0, 1_1", warmedUp: "1_0 1_1"}),
			[]string{"p0: active 0_0 0_1", "p1: active 1_0 1_1"},
		},
		{
			"shouldComputeNewAssignmentIfThereAreUnassignedActiveTasks",
			haInput(t, "0_0 0_1", "", 0, 1, client{active: "0_0"}),
			[]string{"p0: active 0_0 0_1"},
		},
		{
			"shouldComputeNewAssignmentIfThereAreUnassignedStandbyTasks",
			haInput(t, "0_0 0_1", "", 1, 1, client{active: "0_0"}, client{active: "0_1", standby: "0_0", warmedUp: "0_0"}),
			[]string{"p0: active 0_0; standby 0_1", "p1: active 0_1; standby 0_0"},
		},
		{
			"shouldComputeNewAssignmentIfActiveTasksWasNotOnCaughtUpClient",
			haInput(t, "0_0 0_1", "", 0, 1, client{active: "0_0"}, client{active: "0_1", lags: map[string]int64{"0_0": 500}}),
			[]string{"p0: active 0_0", "p1: active 0_1"},
		},
		{
			"shouldAssignToMostCaughtUpIfActiveTasksWasNotOnCaughtUpClient",
			haInput(t, "0_0", "", 1, 1, client{}, client{lags: map[string]int64{"0_0": 10_000}}, client{lags: map[string]int64{"0_0": 50_000}}),
			[]string{"p0: ", "p1: active 0_0", "p2: standby 0_0"},
		},
		{
			"shouldAssignToMostCaughtUpThoughItHasNoRoom",
			haInput(t, "0_0 0_1", "", 0, 1, client{active: "0_0", lags: map[string]int64{"0_1": 10_000}}, client{lags: map[string]int64{"0_1": 50_000}}),
			[]string{"p0: active 0_0 0_1", "p1: warm-up 0_1", "probing"},
		},
		{
			"shouldAssignStandbysForStatefulTasks",
			haInput(t, "0_0 0_1", "", 1, 1, client{active: "0_0"}, client{active: "0_1"}),
			[]string{"p0: active 0_0; standby 0_1", "p1: active 0_1; standby 0_0"},
		},
		{
			"shouldNotAssignStandbysForStatelessTasks",
			haInput(t, "", "0_0 0_1", 1, 1, client{active: "0_0"}, client{active: "0_1"}),
			[]string{"p0: active 0_0", "p1: active 0_1"},
		},
		{
			"shouldAssignWarmupReplicasEvenIfNoStandbyReplicasConfigured",
			haInput(t, "0_0 0_1", "", 0, 1, client{active: "0_0 0_1"}, client{}),
			[]string{"p0: active 0_0 0_1", "p1: warm-up 0_1", "probing"},
		},
		{
			"shouldNotAssignMoreThanMaxWarmupReplicas",
			haInput(t, "0_0 0_1 0_2 0_3", "", 0, 1, client{active: "0_0 0_1 0_2 0_3"}, client{}),
			[]string{"p0: active 0_0 0_1 0_2 0_3", "p1: warm-up 0_2", "probing"},
		},
		{
			"shouldGoOnWithTheWarmupThatHasBegun",
			haInput(t, "0_0 0_1 0_2 0_3", "", 0, 1, client{active: "0_0 0_1 0_2 0_3"}, client{standby: "0_3", lags: map[string]int64{"0_3": 60_000}}),
			[]string{"p0: active 0_0 0_1 0_2 0_3", "p1: warm-up 0_3", "probing"},
		},
		{
			"shouldNotAssignWarmupAndStandbyToTheSameClient",
			haInput(t, "0_0 0_1", "", 1, 1, client{active: "0_0 0_1"}, client{}),
			// The standby replica is where the task is to move: it needs no warm-up besides.
			[]string{"p0: active 0_0 0_1", "p1: standby 0_0 0_1", "probing"},
		},
		{
			"shouldNotAssignAnyStandbysWithInsufficientCapacity",
			haInput(t, "0_0 0_1", "", 1, 1, client{active: "0_0 0_1"}),
			[]string{"p0: active 0_0 0_1"},
		},
		{
			"shouldAssignActiveTasksToNotCaughtUpClientIfNoneExist",
			haInput(t, "0_0 0_1", "", 1, 1, client{}),
			[]string{"p0: active 0_0 0_1"},
		},
		{
			"shouldNotAssignMoreThanMaxWarmupReplicasWithStandbys",
			haInput(t, "0_0 0_1 0_2 0_3", "", 1, 1,
				client{active: "0_0 0_1", standby: "0_2 0_3", warmedUp: "0_2 0_3"}, client{active: "0_2 0_3", standby: "0_0 0_1", warmedUp: "0_0 0_1"}, client{}),
			// One active task and two standbys are to move to the new client, one of them may warm up.
			[]string{"p0: active 0_0 0_1; standby 0_2 0_3", "p1: active 0_2 0_3; standby 0_0 0_1", "p2: warm-up 0_3", "probing"},
		},
		{
			"shouldDistributeStatelessTasksToBalanceTotalTaskLoad",
			haInput(t, "0_0 0_1 0_2 0_3", "1_0 1_1 1_2", 0, 1, client{active: "0_0 0_1"}, client{active: "0_2 0_3"}),
			[]string{"p0: active 0_0 0_1 1_0 1_2", "p1: active 0_2 0_3 1_1"},
		},
		{
			"shouldReturnFalseIfPreviousAssignmentIsReused",
			haInput(t, "0_0 0_1 0_2 0_3", "", 0, 2, client{active: "0_0 0_2"}, client{active: "0_1 0_3"}),
			[]string{"p0: active 0_0 0_2", "p1: active 0_1 0_3"},
		},
		{
			"shouldReturnFalseIfNoWarmupTasksAreAssigned",
			haInput(t, "0_0 0_1", "", 1, 2, client{active: "0_0", standby: "0_1", warmedUp: "0_1"}, client{active: "0_1", standby: "0_0", warmedUp: "0_0"}),
			[]string{"p0: active 0_0; standby 0_1", "p1: active 0_1; standby 0_0"},
		},
		{
			"shouldGiveATaskWithoutOwnerToItsStandbyBeforeOthersMoveThere",
			haInput(t, "0_0 0_1 0_2 0_3", "", 0, 2, client{active: "0_0 0_1 0_2"}, client{warmedUp: "0_1 0_3"}, client{}),
			[]string{"p0: active 0_0 0_1 0_2", "p1: active 0_3", "p2: warm-up 0_1", "probing"},
		},
		{
			"shouldWarmUpAStandbyThatIsToMove",
			haInput(t, "0_0 0_1 0_2", "", 1, 2,
				client{active: "0_0", standby: "0_1", warmedUp: "0_1"}, client{active: "0_1", standby: "0_0 0_2", warmedUp: "0_0 0_2"}, client{active: "0_2"}),
			[]string{"p0: active 0_0; standby 0_1", "p1: active 0_1; standby 0_0 0_2", "p2: active 0_2; warm-up 0_0", "probing"},
		},
		{
			"shouldMoveStandbyOnlyOnceItHasCaughtUp",
			haInput(t, "0_0 0_1 0_2", "", 1, 2,
				client{active: "0_0", standby: "0_1", warmedUp: "0_1"}, client{active: "0_1", standby: "0_0 0_2", warmedUp: "0_0 0_2"},
				client{active: "0_2", standby: "0_0", warmedUp: "0_0"}),
			[]string{"p0: active 0_0; standby 0_1", "p1: active 0_1; standby 0_2", "p2: active 0_2; standby 0_0"},
		},
	}
	for _, test := range tests {
		p := assignTasks(test.in)
		checkPlan(t, test.in, p)
		if got := byProcess(test.in, p); !slices.Equal(got, test.want) {
			t.Errorf("%s: got\n\t%s\nwant\n\t%s", test.name, strings.Join(got, "\n\t"), strings.Join(test.want, "\n\t"))
		}
	}
}

// TestShortChangelogsNeedNoWarmup: a process without anything is caught up where there is little to restore.
func TestShortChangelogsNeedNoWarmup(t *testing.T) {
	in := haInput(t, "0_0 0_1", "", 0, 1, client{active: "0_0 0_1"}, client{})
	in.whole = map[TaskID]int64{{0, 0}: 1000, {0, 1}: 1000}
	if got, want := byProcess(in, assignTasks(in)), []string{"p0: active 0_0", "p1: active 0_1"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestFallbackPriorTaskAssignor: as long as the ends of the changelogs cannot be listed nothing moves, and another rebalance follows.
// A task whose owner is gone goes to the process that has the most of it, as far as is known.
func TestFallbackPriorTaskAssignor(t *testing.T) {
	in := haInput(t, "0_0 0_1 0_2 0_3", "", 0, 1,
		client{active: "0_0 0_1 0_2"}, client{lags: map[string]int64{"0_3": 10}}, client{lags: map[string]int64{"0_3": 5}})
	in.preserve, in.whole = true, nil
	want := []string{"p0: active 0_0 0_1 0_2", "p1: ", "p2: active 0_3", "probing"}
	if got := byProcess(in, assignTasks(in)); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestPromiseIsKept: who was to get a task gets it when it is free, also where somebody else would have been as good.
func TestPromiseIsKept(t *testing.T) {
	in := haInput(t, "0_0 0_1 0_2", "", 0, 1, client{active: "0_0"}, client{warmedUp: "0_2"}, client{warmedUp: "0_2"})
	for promised := 1; promised <= 2; promised++ {
		again := in
		again.members = slices.Clone(in.members)
		again.members[promised].promised = []TaskID{{0, 2}}
		p := assignTasks(again)
		if got := p.members[again.members[promised].member].active; !slices.Contains(got, TaskID{0, 2}) {
			t.Errorf("promised to %d: %q", promised, byProcess(again, p))
		}
	}
}

// TestStandbyThreadTakesOver: of the threads of a process the one that has the stores open takes the task over, for then it is
// done in one step.
func TestStandbyThreadTakesOver(t *testing.T) {
	for _, standby := range []string{"0_0,", ",0_0"} {
		in := haInput(t, "0_0", "", 0, 1, client{threads: 2, standby: standby, warmedUp: "0_0"}, client{})
		p := assignTasks(in).withhold(in.members)
		for _, m := range in.members {
			if got := p.members[m.member].active; slices.Contains(m.standbys, TaskID{0, 0}) != slices.Equal(got, []TaskID{{0, 0}}) {
				t.Errorf("standby on %q: %s gets %v", standby, m.thread, got)
			}
		}
	}
}
