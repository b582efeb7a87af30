package runtime

import (
	"cmp"
	"slices"
)

// movement is a task that is meant to go to a member whose process is not caught up, while another one lags less.
type movement struct {
	id       TaskID
	to       *seat
	warming  bool // the process has the task as a standby already
	caughtUp int  // processes that could have the task at once
}

// movements lists what cannot go to where it is meant to be at once. Warm-ups that have begun come first, so that they are
// carried on; then the tasks with the smallest choice.
func (p *placement) movements(of func(*seat) []TaskID) []movement {
	var out []movement
	for _, s := range p.seats {
		for _, id := range of(s) {
			if p.caughtUp(id, s.process) || p.source(id, s, func(*processSeats) bool { return true }) == nil {
				continue
			}
			m := movement{id: id, to: s, warming: slices.ContainsFunc(s.at.seats, func(s *seat) bool { return slices.Contains(s.standbys, id) })}
			for _, at := range p.processes {
				if p.caughtUp(id, at.id) {
					m.caughtUp++
				}
			}
			out = append(out, m)
		}
	}
	slices.SortStableFunc(out, func(a, b movement) int {
		return cmp.Or(first(a.warming, b.warming), cmp.Compare(a.caughtUp, b.caughtUp), compareTaskIDs(a.id, b.id))
	})
	return out
}

// source finds the process that should have a task for now: it lags less than where the task is meant to be. Those that are caught
// up are equal; of them the owner is the best, for nothing has to move, then one that has a standby.
func (p *placement) source(id TaskID, to *seat, eligible func(*processSeats) bool) *processSeats {
	claims := func(at *processSeats, of func(*seat) []TaskID) bool {
		return slices.ContainsFunc(at.seats, func(s *seat) bool { return slices.Contains(of(s), id) })
	}
	var best *processSeats
	for _, at := range p.processes {
		if at == to.at || !eligible(at) || p.lag(id, at.id) >= p.lag(id, to.process) {
			continue
		}
		if best == nil || cmp.Or(
			cmp.Compare(p.rank(id, at.id), p.rank(id, best.id)),
			first(claims(at, ownedBy), claims(best, ownedBy)),
			first(claims(at, standbyOf), claims(best, standbyOf)),
			first(claims(at, heldAsStandby), claims(best, heldAsStandby)),
			at.load(best),
		) < 0 {
			best = at
		}
	}
	return best
}

func ownedBy(s *seat) []TaskID       { return s.owned }
func heldAsStandby(s *seat) []TaskID { return s.standbys }
func standbyOf(s *seat) []TaskID     { return s.standby }

// moveActives gives tasks to processes that lag less until the wanted ones have caught up, and lets them warm up there. It
// returns how many tasks are not where they are meant to be.
func (p *placement) moveActives() int {
	movements := p.movements(func(s *seat) []TaskID { return s.active })
	for _, m := range movements {
		source := p.source(m.id, m.to, func(*processSeats) bool { return true })
		m.to.active = without(m.to.active, m.id)
		swapped := false
		for _, s := range source.seats {
			swapped = swapped || slices.Contains(s.standby, m.id)
			s.standby = without(s.standby, m.id)
		}
		if swapped {
			// The two change roles, so the standby is where it is wanted once the active task moves back.
			target := p.seatFor(m.to.at, m.id, m.to)
			target.standby = append(target.standby, m.id)
		} else {
			p.warmUp(m)
		}
		target := p.seatFor(source, m.id, nil)
		target.active = append(target.active, m.id)
	}
	return len(movements)
}

// moveStandbys does the same for standbys, so that a task is never without a copy that it would have had. Only processes count
// that do not have the task in another role.
func (p *placement) moveStandbys() int {
	moved := 0
	movements := p.movements(func(s *seat) []TaskID {
		return slices.DeleteFunc(slices.Clone(s.standby), func(id TaskID) bool { return slices.Contains(s.warmups, id) })
	})
	for _, m := range movements {
		source := p.source(m.id, m.to, func(at *processSeats) bool { return !p.holds(at, m.id) })
		if source == nil {
			continue
		}
		m.to.standby = without(m.to.standby, m.id)
		p.warmUp(m)
		target := p.seatFor(source, m.id, nil)
		target.standby = append(target.standby, m.id)
		moved++
	}
	return moved
}

// warmUp lets a task catch up where it is meant to be, as long as there are not too many that do.
func (p *placement) warmUp(m movement) {
	if p.warming >= p.maxWarmups {
		return
	}
	p.warming++
	target := p.seatFor(m.to.at, m.id, m.to)
	target.standby = append(target.standby, m.id)
	target.warmups = append(target.warmups, m.id)
}

// seatFor chooses the thread of a process that gets a task: the one that has it open, otherwise the wanted one, otherwise the one
// with the fewest tasks.
func (p *placement) seatFor(at *processSeats, id TaskID, wanted *seat) *seat {
	return slices.MinFunc(at.seats, func(a, b *seat) int {
		return cmp.Or(
			first(slices.Contains(a.owned, id), slices.Contains(b.owned, id)),
			first(slices.Contains(a.standbys, id), slices.Contains(b.standbys, id)),
			first(a == wanted, b == wanted),
			cmp.Compare(len(a.active), len(b.active)),
			cmp.Compare(len(a.standby), len(b.standby)),
		)
	})
}
