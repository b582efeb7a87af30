package runtime

import (
	"cmp"
	"slices"
)

// placeStandbys gives each stateful task its standbys, each on a process of its own and none on the active task's. Who has a
// standby keeps it; a new one goes to a member that has few, and if possible to one whose process has state. At the end no
// standby could be moved so that loads differ less.
func (p *placement) placeStandbys() {
	wanted := min(p.standbyReplicas, len(p.processes)-1)
	if p.standbyReplicas <= 0 {
		return
	}
	tasks := p.statefulTasks()
	p.missing = len(tasks) * (p.standbyReplicas - wanted)
	limit := (len(tasks)*wanted + len(p.seats) - 1) / len(p.seats) // an even share
	for _, id := range tasks {
		var holders []*seat
		for _, s := range p.seats {
			if slices.Contains(s.standbys, id) {
				holders = append(holders, s)
			}
		}
		slices.SortStableFunc(holders, func(a, b *seat) int { return cmp.Compare(p.rank(id, a.process), p.rank(id, b.process)) })
		kept := 0
		for _, s := range holders {
			if kept < wanted && !p.holds(s.at, id) {
				s.standby = append(s.standby, id)
				kept++
			}
		}
	}
	for _, id := range tasks {
		for range wanted - p.copies(id) {
			s := p.standbySeat(id, limit)
			s.standby = append(s.standby, id)
		}
	}
	for p.evenStandbys() {
	}
}

func (p *placement) statefulTasks() []TaskID {
	var tasks []TaskID
	for _, t := range p.tasks {
		if t.stateful {
			tasks = append(tasks, t.id)
		}
	}
	return tasks
}

// holds reports whether a process is to have a task in any role. Its stores can be opened only once.
func (p *placement) holds(at *processSeats, id TaskID) bool {
	return slices.ContainsFunc(at.seats, func(s *seat) bool {
		return slices.Contains(s.active, id) || slices.Contains(s.standby, id)
	})
}

// copies counts the standbys that a task has already.
func (p *placement) copies(id TaskID) int {
	n := 0
	for _, s := range p.seats {
		if slices.Contains(s.standby, id) {
			n++
		}
	}
	return n
}

// standbySeat finds the member for one more standby of a task. There is one as long as there is a process without the task.
func (p *placement) standbySeat(id TaskID, limit int) *seat {
	var best *seat
	compare := func(a, b *seat) int {
		state := func(s *seat) bool { return p.stored(id, s.process) && len(s.standby) < limit }
		order := first(state(a), state(b))
		if order == 0 && state(a) {
			order = cmp.Compare(p.rank(id, a.process), p.rank(id, b.process))
		}
		return cmp.Or(order, cmp.Compare(len(a.standby), len(b.standby)), cmp.Compare(len(a.active), len(b.active)))
	}
	for _, s := range p.seats {
		if !p.holds(s.at, id) && (best == nil || compare(s, best) < 0) {
			best = s
		}
	}
	return best
}

// evenStandbys moves one standby from a member to one that has at least two less. It returns false when nothing can be moved. Each
// move brings loads closer together, so there is an end.
func (p *placement) evenStandbys() bool {
	byLoad := slices.Clone(p.seats)
	slices.SortStableFunc(byLoad, func(a, b *seat) int { return cmp.Compare(len(a.standby), len(b.standby)) })
	for _, from := range slices.Backward(byLoad) {
		for _, to := range byLoad {
			if len(from.standby)-len(to.standby) < 2 {
				break
			}
			if id, ok := p.movable(from, to); ok {
				from.standby = without(from.standby, id)
				to.standby = append(to.standby, id)
				return true
			}
		}
	}
	return false
}

// movable chooses the standby that moves from one member to another with the least harm: best one that is new there, then
// one that the other process has state of.
func (p *placement) movable(from, to *seat) (TaskID, bool) {
	candidates := slices.DeleteFunc(slices.Clone(from.standby), func(id TaskID) bool { return from.at != to.at && p.holds(to.at, id) })
	if len(candidates) == 0 {
		return TaskID{}, false
	}
	return slices.MinFunc(candidates, func(a, b TaskID) int {
		return cmp.Or(
			first(!slices.Contains(from.standbys, a), !slices.Contains(from.standbys, b)),
			cmp.Compare(p.rank(a, to.process), p.rank(b, to.process)),
			compareTaskIDs(a, b),
		)
	}), true
}

// without removes a task.
func without(tasks []TaskID, id TaskID) []TaskID {
	return slices.DeleteFunc(tasks, func(other TaskID) bool { return other == id })
}
