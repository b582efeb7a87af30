package runtime

import (
	"cmp"
	"math"
	"slices"
)

// assignorTask is a task as the assignor sees it. A stateful one has a store with a changelog: only such tasks have a lag, and
// standbys.
type assignorTask struct {
	id       TaskID
	stateful bool
}

// assignee is a member of the group as the assignor sees it: a thread. The claims of the newest generation are what it keeps if
// the balance allows; all claims together are what it may still have open.
type assignee struct {
	member  string // member id
	process string // members of one process share its state directory
	thread  string

	owned    []TaskID // active tasks, claimed in the newest generation
	standbys []TaskID // standby tasks, claimed in the newest generation or promised by its assignment
	promised []TaskID // active tasks that the assignment of the newest generation meant for it, but others had still open

	claimed         []TaskID // active tasks, claimed at all
	claimedStandbys []TaskID
}

// unlimitedLag as acceptable lag makes everybody caught up: tasks move at once, and are restored where they arrive.
const unlimitedLag = -1

// assignorInput is all that the assignor decides by. Nothing in it is changed.
type assignorInput struct {
	tasks   []assignorTask
	members []assignee

	// lags are, by process, how many changelog records it has to restore for the tasks of which it has any state; 0 where it
	// runs the task. A process without an entry has nothing of the task.
	lags map[string]map[TaskID]int64
	// whole is the lag of a process that has nothing of a task. A task without an entry is one of unknown length.
	whole map[TaskID]int64
	// preserve leaves every active task with its owner, whatever the balance, and asks for a probing rebalance: the lags could
	// not be told (Kafka Streams' FallbackPriorTaskAssignor).
	preserve bool

	standbyReplicas int
	acceptableLag   int64 // records; unlimitedLag
	maxWarmups      int
}

// memberPlan is what one member is to have. Its slices are sorted and have no task twice.
type memberPlan struct {
	active  []TaskID
	standby []TaskID // warm-ups, too
	warmups []TaskID // those of standby that only prepare the move of a task, and are on top of the standby replicas

	// Set by withhold.

	promised         []TaskID // active tasks that the member is to get when others have let go of them
	promisedStandbys []TaskID // the same for standby tasks
	awaited          bool     // somebody waits for a task that the member has to let go of
}

// plan is what the assignor has decided.
type plan struct {
	members map[string]memberPlan // by member id
	probing bool                  // it is not what the assignor wants in the end: a rebalance has to follow once warm-ups may have caught up
	missing int                   // standby tasks for which there are not enough processes
}

// assignTasks decides which member gets which tasks. It is a pure function, and the order of tasks, members and claims is of no
// meaning to it.
//
// Active tasks are placed first: sticky (an owner keeps its tasks as long as the balance allows), balanced (loads differ by at
// most one), and spread (the tasks of one sub-topology go to as many members as possible, since tasks of one sub-topology tend
// to cost the same). A task without an owner goes where its state is. Then each stateful task gets its standbys, on processes
// other than its own. With a limit for the lag, an active task that is to move to a process that is not caught up stays where
// it is, or goes to the process that lags least, until a warm-up on the wanted process has caught up (KIP-441,
// HighAvailabilityTaskAssignor); until then loads may differ by more than one.
func assignTasks(in assignorInput) plan {
	p := newPlacement(in)
	if len(p.seats) == 0 {
		return plan{members: map[string]memberPlan{}}
	}
	p.placeActives()
	p.placeStandbys()
	moves := 0
	if p.limited() {
		moves = p.moveActives() + p.moveStandbys()
	}
	out := plan{members: make(map[string]memberPlan, len(p.seats)), probing: moves > 0 || in.preserve, missing: p.missing}
	for _, s := range p.seats {
		for _, tasks := range [][]TaskID{s.active, s.standby, s.warmups} {
			slices.SortFunc(tasks, compareTaskIDs)
		}
		out.members[s.member] = memberPlan{active: s.active, standby: s.standby, warmups: s.warmups}
	}
	return out
}

// actives counts the active tasks of all members.
func (p plan) actives() int {
	n := 0
	for _, m := range p.members {
		n += len(m.active)
	}
	return n
}

// standbys counts the standby tasks of all members, and how many of them are warm-ups.
func (p plan) standbys() (all, warmups int) {
	for _, m := range p.members {
		all += len(m.standby)
		warmups += len(m.warmups)
	}
	return all, warmups
}

// seat is a member while tasks are handed out.
type seat struct {
	assignee
	at      *processSeats
	active  []TaskID
	standby []TaskID
	warmups []TaskID
	perSub  map[int]int // active tasks by sub-topology
}

// processSeats are the members of one process.
type processSeats struct {
	id    string
	seats []*seat
}

// load compares processes by active tasks for each thread.
func (a *processSeats) load(b *processSeats) int {
	count := func(p *processSeats) (n int) {
		for _, s := range p.seats {
			n += len(s.active)
		}
		return n
	}
	return cmp.Compare(count(a)*len(b.seats), count(b)*len(a.seats))
}

// placement is the state of one run of the assignor.
type placement struct {
	assignorInput
	seats     []*seat
	processes []*processSeats
	stateful  map[TaskID]bool

	floor    int // every member gets at least so many active tasks
	extra    int // so many members get one more
	full     int // members that have got one more
	subLimit map[int]int

	missing int // standbys without a process
	warming int // warm-ups handed out
}

func newPlacement(in assignorInput) *placement {
	p := &placement{assignorInput: in, stateful: map[TaskID]bool{}, subLimit: map[int]int{}}
	p.tasks = slices.Clone(in.tasks)
	slices.SortFunc(p.tasks, func(a, b assignorTask) int { return compareTaskIDs(a.id, b.id) })
	for _, t := range p.tasks {
		p.stateful[t.id] = t.stateful
		p.subLimit[t.id.Subtopology]++
	}
	if len(in.members) == 0 {
		return p
	}
	p.floor, p.extra = len(in.tasks)/len(in.members), len(in.tasks)%len(in.members)
	for sub, n := range p.subLimit {
		p.subLimit[sub] = (n + len(in.members) - 1) / len(in.members)
	}
	for _, m := range in.members {
		p.seats = append(p.seats, &seat{assignee: m, perSub: map[int]int{}})
	}
	// Threads first, so that the result does not depend on member ids, which change with each join.
	slices.SortFunc(p.seats, func(a, b *seat) int { return cmp.Or(cmp.Compare(a.thread, b.thread), cmp.Compare(a.member, b.member)) })
	byID := map[string]*processSeats{}
	for _, s := range p.seats {
		if byID[s.process] == nil {
			byID[s.process] = &processSeats{id: s.process}
			p.processes = append(p.processes, byID[s.process])
		}
		s.at = byID[s.process]
		s.at.seats = append(s.at.seats, s)
	}
	return p
}

// limited reports whether tasks may only move to where they are caught up.
func (p *placement) limited() bool { return p.acceptableLag != unlimitedLag && !p.preserve }

// lag returns how many records a process has to restore for a task; unknownLag if nobody knows.
func (p *placement) lag(id TaskID, process string) int64 {
	if lag, ok := p.lags[process][id]; ok {
		return lag
	}
	if lag, ok := p.whole[id]; ok {
		return lag
	}
	return unknownLag
}

const unknownLag = math.MaxInt64

// caughtUp reports whether a process may have a task at once.
func (p *placement) caughtUp(id TaskID, process string) bool {
	return !p.limited() || !p.stateful[id] || p.lag(id, process) <= p.acceptableLag
}

// rank orders processes by how soon a task could run there: all that are caught up are equal where there is a limit.
func (p *placement) rank(id TaskID, process string) int64 {
	if p.limited() && p.caughtUp(id, process) {
		return 0
	}
	return p.lag(id, process)
}

// stored reports whether a process has any state of a task.
func (p *placement) stored(id TaskID, process string) bool {
	_, ok := p.lags[process][id]
	return ok
}

// first is a comparison by which those come first for which a condition holds.
func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	default:
		return 1
	}
}
