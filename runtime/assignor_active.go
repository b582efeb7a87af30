package runtime

import (
	"cmp"
	"slices"
)

// placeActives hands out the active tasks as they should be in the end, whether their stores are caught up there or not.
func (p *placement) placeActives() {
	// A promise is as good as a claim: without it a task that was taken from its owner for somebody's sake would be up for grabs
	// in the next rebalance, and could be taken from the next owner again, for ever.
	owner := map[TaskID]*seat{}
	for _, s := range p.seats {
		for _, id := range s.promised {
			owner[id] = s
		}
	}
	for _, s := range p.seats {
		for _, id := range s.owned {
			owner[id] = s
		}
	}
	// Owners keep what they may. Tasks that a member with room could take over are offered last, so that a member that came
	// back is given its own ones; the readier it is the later.
	keep := make([]TaskID, 0, len(p.tasks))
	pulls := map[TaskID]pull{}
	for _, t := range p.tasks {
		keep = append(keep, t.id)
		pulls[t.id] = p.pull(t.id, owner[t.id])
	}
	slices.SortStableFunc(keep, func(a, b TaskID) int { return pulls[a].compare(pulls[b]) })
	var rest, soft []TaskID
	for _, id := range keep {
		s := owner[id]
		switch {
		case s == nil || (!p.preserve && !p.room(s)):
			rest = append(rest, id)
		case p.preserve || p.over(s, id) < 0:
			p.put(s, id)
		default:
			soft = append(soft, id)
		}
	}
	// Tasks beyond an even spread stay, too, unless they can be had elsewhere in the end.
	loose := map[TaskID]bool{}
	for _, id := range soft {
		loose[id] = true
		if s := owner[id]; p.room(s) {
			p.put(s, id)
		} else {
			rest = append(rest, id)
		}
	}
	// The others go where their state is as long as there is room. Tasks without an owner come first: they cannot stay where they
	// are, and among them are those that an owner has just let go of in favour of a member that has room for them. Then the
	// smallest choice counts.
	choice := map[TaskID]int{}
	for _, id := range rest {
		loose[id] = true
		choice[id] = p.choice(id)
	}
	slices.SortFunc(rest, func(a, b TaskID) int {
		return cmp.Or(first(owner[a] == nil, owner[b] == nil), cmp.Compare(choice[a], choice[b]), compareTaskIDs(a, b))
	})
	rest = slices.DeleteFunc(rest, func(id TaskID) bool { return p.putBest(id, true) })
	slices.SortFunc(rest, compareTaskIDs)
	for _, id := range rest {
		p.putBest(id, false)
	}
	for p.spread(loose) {
	}
}

// spread moves a task from a member that has more than its even share of the sub-topology to one that has less, or exchanges it
// for another one, if that brings the whole closer to an even spread. It returns false when nothing can be gained. Only loose
// tasks are touched: the others stay with their owners.
func (p *placement) spread(loose map[TaskID]bool) bool {
	type exchange struct {
		from, to *seat
		id, back TaskID
		swap     bool
		harm     int // tasks that lose the state they would have had
	}
	leavesState := func(id TaskID, from, to *seat) int {
		if p.stored(id, from.process) && !p.stored(id, to.process) {
			return 1
		}
		return 0
	}
	var best *exchange
	better := func(e exchange) {
		if best == nil || e.harm < best.harm {
			best = &e
		}
	}
	for _, from := range p.seats {
		for _, id := range from.active {
			if !loose[id] || p.over(from, id) <= 0 {
				continue
			}
			for _, to := range p.seats {
				if p.over(to, id) >= 0 {
					continue
				}
				harm := leavesState(id, from, to)
				if len(from.active) > len(to.active) {
					better(exchange{from: from, to: to, id: id, harm: harm})
				}
				for _, back := range to.active {
					gained := p.over(to, back) > 0
					if loose[back] && back.Subtopology != id.Subtopology && (gained || p.over(from, back) < 0) {
						better(exchange{from: from, to: to, id: id, back: back, swap: true, harm: harm + leavesState(back, to, from)})
					}
				}
			}
		}
	}
	if best == nil {
		return false
	}
	best.from.give(best.to, best.id)
	if best.swap {
		best.to.give(best.from, best.back)
	}
	return true
}

// over returns how many more tasks of a task's sub-topology a member has than an even spread allows.
func (p *placement) over(s *seat, id TaskID) int {
	return s.perSub[id.Subtopology] - p.subLimit[id.Subtopology]
}

func (s *seat) give(to *seat, id TaskID) {
	s.active = without(s.active, id)
	s.perSub[id.Subtopology]--
	to.active = append(to.active, id)
	to.perSub[id.Subtopology]++
}

// choice counts the processes that could run a task at once and have room for it.
func (p *placement) choice(id TaskID) int {
	n := 0
	for _, at := range p.processes {
		if p.stored(id, at.id) && p.caughtUp(id, at.id) && slices.ContainsFunc(at.seats, p.room) {
			n++
		}
	}
	return n
}

// pull says how much a member with room wants a task.
type pull struct {
	level int // 0: nobody has its state, 1: somebody has, 2: is warming up, 3: could run it at once
	lag   int64
}

// compare puts the stronger pull last.
func (a pull) compare(b pull) int {
	return cmp.Or(cmp.Compare(a.level, b.level), cmp.Compare(b.lag, a.lag))
}

// pull looks for members outside the owner's process that own less than their share and have state of the task.
func (p *placement) pull(id TaskID, owner *seat) pull {
	best := pull{}
	for _, s := range p.seats {
		if len(s.owned) >= p.floor || (owner != nil && s.at == owner.at) || !p.stored(id, s.process) {
			continue
		}
		here := pull{level: 1, lag: p.rank(id, s.process)}
		switch {
		case p.caughtUp(id, s.process):
			here.level = 3
		case slices.Contains(s.standbys, id):
			here.level = 2
		}
		if best.compare(here) < 0 {
			best = here
		}
	}
	return best
}

// room reports whether a member may get one more task without breaking the balance.
func (p *placement) room(s *seat) bool {
	return len(s.active) < p.floor || (len(s.active) == p.floor && p.full < p.extra)
}

func (p *placement) put(s *seat, id TaskID) {
	s.active = append(s.active, id)
	s.perSub[id.Subtopology]++
	if len(s.active) == p.floor+1 {
		p.full++
	}
}

// putBest gives a task to the best member with room: fewest tasks of the same sub-topology, then fewest tasks. With withState
// only members count whose process has the task's state; of them the one that lags least is the best, and in a process the
// thread that has the task as a standby. It returns false if there is no such member.
func (p *placement) putBest(id TaskID, withState bool) bool {
	var best *seat
	compare := func(a, b *seat) int {
		spread := cmp.Or(cmp.Compare(a.perSub[id.Subtopology], b.perSub[id.Subtopology]), cmp.Compare(len(a.active), len(b.active)))
		if !withState {
			return spread
		}
		return cmp.Or(
			cmp.Compare(p.rank(id, a.process), p.rank(id, b.process)),
			first(slices.Contains(a.standbys, id), slices.Contains(b.standbys, id)),
			spread,
		)
	}
	for _, s := range p.seats {
		if !p.room(s) || (withState && (!p.stored(id, s.process) || p.over(s, id) >= 0)) {
			continue
		}
		if best == nil || compare(s, best) < 0 {
			best = s
		}
	}
	if best == nil {
		return false
	}
	p.put(best, id)
	return true
}
