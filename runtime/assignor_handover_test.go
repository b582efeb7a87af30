package runtime

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// drawAnyClaims lets members claim anything, also the same tasks, ones that do not exist, and one task in both roles.
func drawAnyClaims(t *rapid.T, in *assignorInput) {
	tasks := []TaskID{{7, 7}}
	for _, task := range in.tasks {
		tasks = append(tasks, task.id)
	}
	for i := range in.members {
		m := &in.members[i]
		for _, id := range tasks {
			switch rapid.IntRange(0, 7).Draw(t, m.member+" claims "+id.String()) {
			case 0:
				m.claimed = append(m.claimed, id)
			case 1:
				m.claimedStandbys = append(m.claimedStandbys, id)
			case 2:
				m.claimed, m.claimedStandbys = append(m.claimed, id), append(m.claimedStandbys, id)
			}
		}
		if rapid.Bool().Draw(t, m.member+" is of the newest generation") {
			m.owned, m.standbys = m.claimed, m.claimedStandbys
		}
	}
}

// mayHave says whether nobody else has a task open in a way that a member with it would be one too many.
func mayHave(in assignorInput, m assignee, id TaskID, active bool) bool {
	return !slices.ContainsFunc(in.members, func(other assignee) bool {
		if other.member == m.member {
			return false
		}
		if other.process == m.process && slices.Contains(other.claimedStandbys, id) {
			return true
		}
		return slices.Contains(other.claimed, id) && (active || other.process == m.process)
	})
}

// TestWithhold: nobody is given what another member claims, and everybody is given all the rest, whatever is claimed.
func TestWithhold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		drawAnyClaims(t, &in)
		drawStored(t, &in)
		p := assignTasks(in)
		checkPlan(t, in, p)
		now := p.withhold(in.members)
		for _, m := range in.members {
			want, got := p.members[m.member], now.members[m.member]
			for _, id := range got.active {
				if !slices.Contains(want.active, id) || !mayHave(in, m, id, true) {
					t.Fatalf("%s is given %s: %+v, planned %+v", m.member, id, now, p)
				}
			}
			for _, id := range want.active {
				if mayHave(in, m, id, true) && !slices.Contains(got.active, id) {
					t.Fatalf("%s is withheld from %s though nobody has it: %+v", id, m.member, now)
				}
			}
			for _, id := range got.standby {
				planned := slices.Contains(want.standby, id) || (slices.Contains(want.active, id) && slices.Contains(m.claimedStandbys, id))
				if !planned || !mayHave(in, m, id, false) {
					t.Fatalf("%s is given a standby of %s: %+v, planned %+v", m.member, id, now, p)
				}
			}
			for _, id := range want.standby {
				if mayHave(in, m, id, false) && !slices.Contains(got.standby, id) {
					t.Fatalf("standby %s is withheld from %s though the process does not have it: %+v", id, m.member, now)
				}
			}
			for _, id := range got.warmups {
				if !slices.Contains(got.standby, id) {
					t.Fatalf("%s warms up %s, which it does not have: %+v", m.member, id, now)
				}
			}
		}
	})
}

// TestHandOver goes through the ways in which a task changes its place or its role.
func TestHandOver(t *testing.T) {
	id := TaskID{0, 0}
	has := []TaskID{id}
	member := func(process, thread int) assignee {
		return newMembers(process, thread)[thread-1]
	}
	a1, a2, b1 := member(0, 1), member(0, 2), member(1, 1)
	active := func(m assignee) assignee { m.owned, m.claimed = has, has; return m }
	standby := func(m assignee) assignee { m.standbys, m.claimedStandbys = has, has; return m }
	give := func(m assignee, given memberPlan) map[string]memberPlan {
		return map[string]memberPlan{m.member: given}
	}

	tests := []struct {
		name    string
		members []assignee
		planned map[string]memberPlan
		want    map[string]memberPlan
	}{
		{
			"active to another process: first it is let go of",
			[]assignee{active(a1), b1},
			give(b1, memberPlan{active: has}),
			map[string]memberPlan{a1.member: {awaited: true}, b1.member: {promised: has}},
		},
		{
			"then it is had",
			[]assignee{a1, b1},
			give(b1, memberPlan{active: has}),
			give(b1, memberPlan{active: has}),
		},
		{
			"active to a standby of another process: it stays a standby meanwhile",
			[]assignee{active(a1), standby(b1)},
			map[string]memberPlan{b1.member: {active: has}, a1.member: {standby: has}},
			map[string]memberPlan{b1.member: {standby: has, promised: has}, a1.member: {standby: has, awaited: true}},
		},
		{
			"standby becomes active on the same member in one step",
			[]assignee{standby(a1), b1},
			give(a1, memberPlan{active: has}),
			give(a1, memberPlan{active: has}),
		},
		{
			"active becomes standby on the same member in one step, though its next owner has to wait",
			[]assignee{active(a1), b1},
			map[string]memberPlan{a1.member: {standby: has}, b1.member: {active: has}},
			map[string]memberPlan{a1.member: {standby: has, awaited: true}, b1.member: {promised: has}},
		},
		{
			"standby becomes active on another thread of the process: the store can be opened once only",
			[]assignee{standby(a1), a2},
			give(a2, memberPlan{active: has}),
			map[string]memberPlan{a1.member: {awaited: true}, a2.member: {promised: has}},
		},
		{
			"active becomes standby on another thread of the process",
			[]assignee{active(a1), a2, b1},
			map[string]memberPlan{a2.member: {standby: has}, b1.member: {active: has}},
			map[string]memberPlan{a1.member: {awaited: true}, a2.member: {promisedStandbys: has}, b1.member: {promised: has}},
		},
		{
			"standby to another thread of the process",
			[]assignee{standby(a1), a2},
			give(a2, memberPlan{standby: has}),
			map[string]memberPlan{a1.member: {awaited: true}, a2.member: {promisedStandbys: has}},
		},
		{
			"standby to another process: nobody waits",
			[]assignee{standby(a1), b1},
			give(b1, memberPlan{standby: has}),
			give(b1, memberPlan{standby: has}),
		},
		{
			"a warm-up that has to wait is none yet",
			[]assignee{standby(a1), a2},
			give(a2, memberPlan{standby: has, warmups: has}),
			map[string]memberPlan{a1.member: {awaited: true}, a2.member: {promisedStandbys: has}},
		},
		{
			"a claim of two: both let go of it",
			[]assignee{active(a1), active(b1)},
			give(b1, memberPlan{active: has}),
			map[string]memberPlan{a1.member: {awaited: true}, b1.member: {promised: has}},
		},
	}
	for _, test := range tests {
		want := plan{members: map[string]memberPlan{}}
		for _, m := range test.members {
			want.members[m.member] = test.want[m.member]
		}
		if got := (plan{members: test.planned}).withhold(test.members); !samePlan(got, want) {
			t.Errorf("%s: got %+v, want %+v", test.name, got.members, want.members)
		}
	}
}
