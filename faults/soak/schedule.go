package soak

import (
	"fmt"
	"slices"
	"time"

	"eostop/faults"
	"eostop/runtime/journal"
)

// schedule is what is left of the planned cuts and faults, in the order of their time.
type schedule struct {
	cuts   []CutSpec
	faults []FaultSpec
	heals  []plannedHeal
}

// plannedHeal ends a cut of the schedule.
type plannedHeal struct {
	instance string
	at       time.Duration
	byHand   bool
}

// dropByHand forgets the heals that somebody has asked for by hand: of one instance, or of all if it is empty.
func (s *schedule) dropByHand(instance string) {
	s.heals = slices.DeleteFunc(s.heals, func(h plannedHeal) bool { return h.byHand && (instance == "" || h.instance == instance) })
}

// newSchedule takes over a script, which is in order.
func newSchedule(script Script) schedule { return schedule{cuts: script.Cuts, faults: script.Faults} }

// stop drops what has not begun yet, and what was asked for by hand: those cuts are healed at once, however long they were to last.
func (s *schedule) stop() {
	s.cuts, s.faults = nil, nil
	s.dropByHand("")
}

// left counts what has not begun, of what somebody has listed. A named schedule may be planned for longer than a run takes.
func (s *schedule) left(asked *FaultsSettings) int {
	left := slices.Concat(texts(s.cuts), texts(s.faults))
	return len(slices.DeleteFunc(left, func(spec string) bool { return !asked.lists(spec) }))
}

// next returns the next planned cut, nil when there is none.
func (s *schedule) next(elapsed time.Duration) *PlannedCut {
	if len(s.cuts) == 0 {
		return nil
	}
	c := s.cuts[0]
	return &PlannedCut{Instance: c.Instance, Direction: c.Direction.String(), In: max(0, c.Start-elapsed), Length: c.Length}
}

// due returns when the next thing is to be done; 0 when there is none.
func (s *schedule) due() time.Duration {
	var times []time.Duration
	if len(s.cuts) > 0 {
		times = append(times, s.cuts[0].Start)
	}
	if len(s.faults) > 0 {
		times = append(times, s.faults[0].Start)
	}
	for _, h := range s.heals {
		times = append(times, h.at)
	}
	if len(times) == 0 {
		return 0
	}
	return slices.Min(times)
}

// applySchedule does what is due. Heals come before cuts, so that a cut that follows another at once is not healed by it.
func (e *experiment) applySchedule(now time.Time) {
	elapsed := now.Sub(e.began)
	s := &e.schedule
	for _, h := range s.healed(elapsed) {
		e.heal(e.s.member(h), now)
	}
	for len(s.cuts) > 0 && elapsed >= s.cuts[0].Start {
		c := s.cuts[0]
		s.cuts = s.cuts[1:]
		e.cut(e.s.member(c.Instance), c.Direction, c.Length, now)
		s.heals = append(s.heals, plannedHeal{instance: c.Instance, at: c.Start + c.Length})
	}
	for len(s.faults) > 0 && elapsed >= s.faults[0].Start {
		f := s.faults[0]
		s.faults = s.faults[1:]
		e.fault(f, now, false)
	}
}

// healed takes the heals that are due and returns the instances that are to be healed: those of which no other cut goes on.
func (s *schedule) healed(elapsed time.Duration) []string {
	var over []string
	s.heals = slices.DeleteFunc(s.heals, func(h plannedHeal) bool {
		if elapsed >= h.at {
			over = append(over, h.instance)
		}
		return elapsed >= h.at
	})
	return slices.DeleteFunc(over, s.healPlanned)
}

// healPlanned reports whether the schedule will heal an instance.
func (s *schedule) healPlanned(instance string) bool {
	return slices.ContainsFunc(s.heals, func(h plannedHeal) bool { return h.instance == instance })
}

// cut cuts an instance off; the length is 0 where nobody knows it yet.
func (e *experiment) cut(m *member, d faults.Direction, length time.Duration, now time.Time) {
	already := m.link.State()
	m.link.Cut(d)
	if already.Cut {
		return // the cut goes on; what it blocks has grown at most
	}
	e.cuts.begin(m.name, d.String(), now, e.s.statuses())
	e.s.journal.Emit(journal.Event{
		Kind: journal.KindFault, Level: journal.Warn, Instance: m.name, Cause: "cut", To: d.String(), Duration: length,
		Text: fmt.Sprintf("%s is cut off from the brokers (%s)", m.name, d),
	})
}

func (e *experiment) heal(m *member, now time.Time) {
	since := m.link.State()
	if !since.Cut {
		return
	}
	m.link.Heal()
	e.cuts.heal(m.name, now, e.arrived())
	e.s.journal.Emit(journal.Event{
		Kind: journal.KindFault, Level: journal.Info, Instance: m.name, Cause: "heal", Duration: now.Sub(since.Since),
		Text: fmt.Sprintf("%s reaches the brokers again after %v", m.name, now.Sub(since.Since).Round(100*time.Millisecond)),
	})
}

// healManual heals the cuts that no schedule will.
func (e *experiment) healManual() {
	for _, m := range e.s.members {
		if !e.schedule.healPlanned(m.name) {
			e.heal(m, time.Now())
		}
	}
}

// member finds an instance by its name; specs and commands have been checked before.
func (s *Session) member(name string) *member {
	at := slices.IndexFunc(s.members, func(m *member) bool { return m.name == name })
	if at < 0 {
		return nil
	}
	return s.members[at]
}
