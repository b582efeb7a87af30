package runtime

import (
	"cmp"
	"slices"
)

// assignee is a member of the group as the assignor sees it.
type assignee struct {
	member  string // member id
	process string
	thread  string
	owned   []TaskID        // claimed in the newest generation: what it keeps if the balance allows
	claimed []TaskID        // claimed at all: what it may still be processing
	stored  map[TaskID]bool // state of these tasks is on the disk of the member's process
}

// assignTasks decides which member gets which tasks. It is a pure function: sticky (an owner keeps its tasks as long as
// the balance allows), balanced (loads differ by at most one), and spread (the tasks of one sub-topology go to as many
// members as possible, since tasks of one sub-topology tend to cost the same). A task without an owner goes where its
// state is, then to the least loaded member.
func assignTasks(tasks []TaskID, members []assignee) map[string][]TaskID {
	plan := make(map[string][]TaskID, len(members))
	if len(members) == 0 {
		return plan
	}
	p := newPlacement(tasks, members)
	owner := map[TaskID]*seat{}
	for _, s := range p.seats {
		for _, id := range s.assignee.owned {
			owner[id] = s
		}
	}

	// Owners keep what they may. Tasks that a member with room has on its disk are offered last, so that a member that came
	// back is given its own ones.
	keep := slices.Clone(p.tasks)
	slices.SortStableFunc(keep, func(a, b TaskID) int {
		return cmp.Compare(p.wantedElsewhere(a, owner[a]), p.wantedElsewhere(b, owner[b]))
	})
	var rest []TaskID
	for _, id := range keep {
		if s := owner[id]; s != nil && p.room(s) && s.perSub[id.Subtopology] < p.subLimit[id.Subtopology] {
			p.put(s, id)
		} else {
			rest = append(rest, id)
		}
	}
	slices.SortFunc(rest, compareTaskIDs)
	for _, withState := range []bool{true, false} {
		rest = slices.DeleteFunc(rest, func(id TaskID) bool {
			s := p.best(id, withState)
			if s == nil {
				return false
			}
			p.put(s, id)
			return true
		})
	}
	for _, s := range p.seats {
		slices.SortFunc(s.tasks, compareTaskIDs)
		plan[s.assignee.member] = s.tasks
	}
	return plan
}

// seat is a member while tasks are handed out.
type seat struct {
	assignee assignee
	tasks    []TaskID
	perSub   map[int]int
}

// placement is the state of one run of the assignor.
type placement struct {
	tasks    []TaskID
	seats    []*seat
	floor    int // every member gets at least so many
	extra    int // so many members get one more
	full     int // members that have got one more
	subLimit map[int]int
}

func newPlacement(tasks []TaskID, members []assignee) *placement {
	p := &placement{
		tasks: slices.Clone(tasks), floor: len(tasks) / len(members), extra: len(tasks) % len(members), subLimit: map[int]int{},
	}
	slices.SortFunc(p.tasks, compareTaskIDs)
	for _, id := range tasks {
		p.subLimit[id.Subtopology]++
	}
	for sub, n := range p.subLimit {
		p.subLimit[sub] = (n + len(members) - 1) / len(members)
	}
	for _, m := range members {
		p.seats = append(p.seats, &seat{assignee: m, perSub: map[int]int{}})
	}
	// Threads first, so that the result does not depend on member ids, which change with each join.
	slices.SortFunc(p.seats, func(a, b *seat) int {
		return cmp.Or(cmp.Compare(a.assignee.thread, b.assignee.thread), cmp.Compare(a.assignee.member, b.assignee.member))
	})
	return p
}

// room reports whether a member may get one more task without breaking the balance.
func (p *placement) room(s *seat) bool {
	return len(s.tasks) < p.floor || (len(s.tasks) == p.floor && p.full < p.extra)
}

func (p *placement) put(s *seat, id TaskID) {
	s.tasks = append(s.tasks, id)
	s.perSub[id.Subtopology]++
	if len(s.tasks) == p.floor+1 {
		p.full++
	}
}

// wantedElsewhere is 1 when a member other than the owner, one that owns less than its share, has the task's state.
func (p *placement) wantedElsewhere(id TaskID, owner *seat) int {
	for _, s := range p.seats {
		if s.assignee.stored[id] && len(s.assignee.owned) < p.floor && (owner == nil || s.assignee.process != owner.assignee.process) {
			return 1
		}
	}
	return 0
}

// best finds the member for a task among those with room: fewest tasks of the same sub-topology, then fewest tasks. With
// withState only members count whose process has the task's state.
func (p *placement) best(id TaskID, withState bool) *seat {
	var best *seat
	for _, s := range p.seats {
		if !p.room(s) || (withState && (!s.assignee.stored[id] || s.perSub[id.Subtopology] >= p.subLimit[id.Subtopology])) {
			continue
		}
		if best == nil || cmp.Or(
			cmp.Compare(s.perSub[id.Subtopology], best.perSub[id.Subtopology]),
			cmp.Compare(len(s.tasks), len(best.tasks)),
		) < 0 {
			best = s
		}
	}
	return best
}

// withhold takes out of a plan what another member still owns: it must first commit and revoke it (KIP-429).
func withhold(plan map[string][]TaskID, members []assignee) map[string][]TaskID {
	claims := map[TaskID][]string{}
	for _, m := range members {
		for _, id := range slices.Concat(m.owned, m.claimed) {
			claims[id] = append(claims[id], m.member)
		}
	}
	now := make(map[string][]TaskID, len(plan))
	for member, tasks := range plan {
		now[member] = slices.DeleteFunc(slices.Clone(tasks), func(id TaskID) bool {
			return slices.ContainsFunc(claims[id], func(claimant string) bool { return claimant != member })
		})
	}
	return now
}
