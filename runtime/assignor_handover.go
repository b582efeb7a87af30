package runtime

import "slices"

// withhold takes out of a plan what cannot be had yet, since somebody else still has it open: tasks change hands in two steps
// (KIP-429), and whoever has to let go of one that is waited for joins once more when that is done.
//
// A task that somebody claims as active is nobody else's active task. A task that a thread claims in either role is no other
// thread's of the same process, whose state directory opens a store only once. A member that claims a task itself changes it from
// standby to active or back in one step; one that has a standby of what it has to wait for keeps it meanwhile.
func (p plan) withhold(members []assignee) plan {
	open := newClaimants(members)
	now := plan{members: make(map[string]memberPlan, len(members)), probing: p.probing, missing: p.missing}
	waitedFor := map[string]bool{}
	wait := func(blockers []*assignee) bool {
		for _, b := range blockers {
			waitedFor[b.member] = true
		}
		return len(blockers) > 0
	}
	for i := range members {
		m := &members[i]
		mine := p.members[m.member]
		given := memberPlan{warmups: slices.Clone(mine.warmups), standby: slices.Clone(mine.standby)}
		for _, id := range mine.active {
			if !wait(open.blockActive(m, id)) {
				given.active = append(given.active, id)
				continue
			}
			given.promised = append(given.promised, id)
			if slices.Contains(m.claimedStandbys, id) {
				given.standby = append(given.standby, id)
			}
		}
		given.standby = slices.DeleteFunc(given.standby, func(id TaskID) bool {
			blocked := wait(open.blockStandby(m, id))
			if blocked && !slices.Contains(given.promised, id) {
				given.promisedStandbys = append(given.promisedStandbys, id)
			}
			return blocked
		})
		given.warmups = slices.DeleteFunc(given.warmups, func(id TaskID) bool { return !slices.Contains(given.standby, id) })
		slices.SortFunc(given.standby, compareTaskIDs)
		now.members[m.member] = given
	}
	for member, given := range now.members {
		given.awaited = waitedFor[member]
		now.members[member] = given
	}
	return now
}

// claimants are the members by what they may have open.
type claimants struct {
	active  map[TaskID][]*assignee
	standby map[TaskID][]*assignee
}

func newClaimants(members []assignee) claimants {
	c := claimants{active: map[TaskID][]*assignee{}, standby: map[TaskID][]*assignee{}}
	for i := range members {
		m := &members[i]
		for _, id := range m.claimed {
			c.active[id] = append(c.active[id], m)
		}
		for _, id := range m.claimedStandbys {
			c.standby[id] = append(c.standby[id], m)
		}
	}
	return c
}

// blockActive returns who has to let go of a task before a member can have it as active.
func (c claimants) blockActive(m *assignee, id TaskID) []*assignee {
	blockers := slices.Clone(c.active[id])
	for _, other := range c.standby[id] {
		if other.process == m.process {
			blockers = append(blockers, other)
		}
	}
	return slices.DeleteFunc(blockers, func(other *assignee) bool { return other == m })
}

// blockStandby returns who has to let go of a task before a member can have it as a standby.
func (c claimants) blockStandby(m *assignee, id TaskID) []*assignee {
	return slices.DeleteFunc(slices.Concat(c.active[id], c.standby[id]), func(other *assignee) bool {
		return other == m || other.process != m.process
	})
}
