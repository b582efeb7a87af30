package soak

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"eostop/faults"
	"eostop/runtime"
	"eostop/runtime/journal"
)

// hitEvents is how many hits of one fault are events of their own. From then on there is one for as many together, so that a fault
// that hits every request does not push everything else out of the journal.
const hitEvents = 100

// hitBook counts what faults have hit. It is written from the goroutines that are hit.
type hitBook struct {
	mu   sync.Mutex // short
	hits map[string]hits
}

type hits struct {
	n    int64
	last time.Time
}

func newHitBook() *hitBook { return &hitBook{hits: map[string]hits{}} }

// add counts a hit and returns how many that makes.
func (b *hitBook) add(id string, at time.Time) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := b.hits[id]
	h.n, h.last = h.n+1, at
	b.hits[id] = h
	return h.n
}

func (b *hitBook) set(id string, h hits) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hits[id] = h
}

func (b *hitBook) of(id string) hits {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.hits[id]
}

// liveFault is a fault that has been started. It belongs to the session's goroutine.
type liveFault struct {
	FaultSpec
	id        string
	began     time.Time
	counted   bool          // its hits are
	lasting   bool          // what it has hit goes on until its end
	poll      func() int    // returns them, where nobody tells; nil where somebody does
	most      int64         // hits after which it is over; 0 = no such number
	after     time.Duration // how long a hit lasts
	end       func()        // nil where nothing has to be ended, and once it is
	ended     time.Time     // zero while it goes on, and if it has never done anything
	recovered time.Duration // from its end until all threads worked; negative before
	over      bool          // nothing is expected of it any more
	byHand    bool          // it may as well hit nothing
}

// onHit tells the journal of a request that a rule has acted on. It is called from goroutines of links.
func (s *Session) onHit(h faults.Hit) {
	n := s.hits.add(h.Rule, h.Time)
	if n > hitEvents && n%hitEvents != 0 {
		return
	}
	event := journal.Event{
		Kind: journal.KindFault, Level: journal.Warn, Instance: h.Instance, Thread: threadOf(h.ClientID), Cause: h.Action.String(),
		Duration: h.Delay, Count: n, Text: h.String(),
	}
	if len(h.TransactionalIDs) == 1 {
		event.TransactionalID = h.TransactionalIDs[0]
	}
	if n > hitEvents {
		event.Text += fmt.Sprintf(" (and %d like it before)", hitEvents-1)
	}
	s.journal.Emit(event)
}

// threadOf returns the name of the thread that a client belongs to; empty for other clients.
func threadOf(clientID string) string {
	instance, rest, ok := strings.Cut(clientID, "-StreamThread-")
	if !ok {
		return ""
	}
	number, _, _ := strings.Cut(rest, "-")
	return instance + "-StreamThread-" + number
}

// fault starts a fault, of the schedule or by hand.
func (e *experiment) fault(f FaultSpec, now time.Time, byHand bool) {
	if f.whole() {
		e.faultCut(f, now, byHand)
		return
	}
	live := &liveFault{FaultSpec: f, id: fmt.Sprintf("fault-%d", len(e.live)+1), began: now, recovered: -1, byHand: byHand}
	e.live = append(e.live, live)
	if f.Length > 0 {
		e.s.disturbed.Add(1)
	}
	e.tell(live, journal.Warn, f.Length, "fault "+live.what())
	kind, _ := findFaultKind(f.Kind) // it has been checked
	switch kind.place {
	case onThread:
		live.counted, live.most, live.after = true, 1, f.Length
		e.s.injector.plan(f, func() { e.s.hits.add(live.id, time.Now()) })
	case onStore:
		e.faultStore(live)
	case onClock:
		e.faultClock(live)
	case onWire:
		e.faultWire(live)
	case onBroker:
		e.faultBroker(live)
	case onDisk:
		rule, err := f.rule()
		if err != nil {
			e.failed(live, err)
			return
		}
		live.counted = true
		live.end = e.s.disk.start(&diskFault{
			instance: f.Instance, full: f.Kind == FaultDiskFull, delay: rule.Delay, hit: func() { e.s.hits.add(live.id, time.Now()) },
		})
	}
}

// faultCut cuts instances off as if it had been said by --cut.
func (e *experiment) faultCut(f FaultSpec, now time.Time, byHand bool) {
	direction, err := faults.ParseDirection(cmp.Or(f.values()["direction"], faults.Both.String()))
	if err != nil {
		direction = faults.Both // it has been checked
	}
	for _, m := range e.s.members {
		if f.Instance == "" || f.Instance == m.name {
			e.cut(m, direction, f.Length, now)
			e.schedule.heals = append(e.schedule.heals, plannedHeal{m.name, f.Start + f.Length, byHand})
		}
	}
}

// faultWire starts a fault of package faults.
func (e *experiment) faultWire(live *liveFault) {
	wire, err := live.wire()
	if err != nil {
		e.failed(live, err)
		return
	}
	_, seeded := live.values()["seed"]
	if rule := wire.Rule; rule != nil {
		rule.ID = live.id
		live.counted, live.most, live.after = true, int64(rule.Count), rule.Delay
		if !seeded {
			rule.Seed = uint64(e.s.seed) + uint64(len(e.live))
		}
	} else if wire.Impairment != nil && !seeded {
		wire.Impairment.Seed = uint64(e.s.seed) + uint64(len(e.live))
	}
	start := func() {
		if live.over {
			return
		}
		links := make([]*faults.Link, len(e.s.members))
		for i, m := range e.s.members {
			links[i] = m.link
		}
		end, err := wire.Start(e.s.rules, links...)
		if err != nil {
			e.failed(live, err)
			return
		}
		if live.end = end; live.Length == 0 && wire.Rule == nil { // it has happened
			live.end, live.ended = nil, time.Now()
		}
	}
	if wire.Rule == nil || wire.Rule.Topic == "" {
		start()
		return
	}
	// Clients may have learnt before which id a topic has.
	e.aside(func(ctx context.Context) func() {
		e.s.learnTopics(ctx)
		return start
	})
}

// faultStore starts a fault of stores.
func (e *experiment) faultStore(live *liveFault) {
	fault, err := newStoreFault(live.FaultSpec, uint64(e.s.seed)+uint64(len(e.live)))
	if err != nil {
		e.failed(live, err)
		return
	}
	live.counted, live.most = true, int64(fault.count)
	fault.hit = func(instance, task, store string) {
		now := time.Now()
		e.s.hits.add(live.id, now)
		e.s.journal.Emit(journal.Event{
			Kind: journal.KindFault, Level: journal.Warn, Instance: instance, Task: task, Cause: live.Kind,
			Text: fmt.Sprintf("store %s of task %s cannot be opened", store, task),
		})
	}
	live.end = e.s.storeFaults.start(fault)
}

// learnTopics tells the rules the ids of all topics.
func (s *Session) learnTopics(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	details, err := s.cluster.admin.ListTopics(ctx)
	if err != nil {
		s.log.Warn("fault: names of topics", "error", err)
		return
	}
	for _, d := range details {
		s.rules.LearnTopic(d.ID, d.Topic)
	}
}

// failed notes a fault that could not be started.
func (e *experiment) failed(live *liveFault, err error) {
	e.close(live)
	live.counted = true
	e.outcome.Undecided = append(e.outcome.Undecided, fmt.Sprintf("fault %s: %v", live.FaultSpec, err))
	e.s.journal.Emit(journal.Event{
		Kind: journal.KindError, Level: journal.Error, Instance: live.Instance, Cause: live.Kind, Error: err.Error(),
		Text: fmt.Sprintf("fault %s: %v", live.FaultSpec, err),
	})
}

// tell writes what becomes of a fault to the journal.
func (e *experiment) tell(live *liveFault, level journal.Level, d time.Duration, text string) {
	event := journal.Event{Kind: journal.KindFault, Level: level, Instance: live.Instance, Cause: live.Kind, Duration: d, Text: text}
	if live.Instance != "" && live.Thread > 0 {
		event.Thread = threadName(live.Instance, live.Thread)
	}
	e.s.journal.Emit(event)
}

// what names the fault without its times.
func (f *FaultSpec) what() string {
	text, _, _ := strings.Cut(f.String(), "@"+formatDuration(f.Start))
	return text
}

// close ends a fault for good.
func (e *experiment) close(live *liveFault) {
	if live.over {
		return
	}
	live.over = true
	if live.Length > 0 {
		e.s.disturbed.Add(-1)
	}
	if live.end != nil {
		live.end()
		live.end = nil
	}
}

// observeFaults ends the faults whose time is over and notes when everybody has recovered from them.
func (e *experiment) observeFaults(now time.Time, statuses []runtime.InstanceStatus) {
	for _, live := range e.live {
		if live.poll != nil && !live.over {
			e.pollHits(live, now)
		}
		hit := e.s.hits.of(live.id)
		if !live.over {
			timeout := live.Length > 0 && !now.Before(live.began.Add(live.Length))
			spent := live.most > 0 && hit.n >= live.most && !live.lasting
			if !timeout && !spent && live.ended.IsZero() {
				continue
			}
			e.close(live)
			switch {
			case !live.ended.IsZero():
			case live.lasting:
				live.ended = now
			case live.counted && hit.n > 0:
				live.ended = hit.last.Add(live.after)
			case !live.counted:
				live.ended = now
			}
			if timeout {
				e.tell(live, journal.Info, now.Sub(live.began), "end of fault "+live.what()+live.count(hit.n))
			}
		}
		if live.recovered < 0 && !live.ended.IsZero() && now.After(live.ended) && working(now, live.ended, statuses, "") {
			live.recovered = now.Sub(live.ended)
		}
	}
}

// pollHits asks for hits of which nobody tells.
func (e *experiment) pollHits(live *liveFault, now time.Time) {
	before, n := e.s.hits.of(live.id).n, int64(live.poll())
	if n == before {
		return
	}
	e.s.hits.set(live.id, hits{n, now})
	if before/hitEvents != n/hitEvents || n <= hitEvents {
		e.tell(live, journal.Warn, 0, fmt.Sprintf("fault %s has hit %d requests", live.what(), n))
	}
}

func (f *liveFault) count(n int64) string {
	if !f.counted {
		return ""
	}
	return fmt.Sprintf(", which hit %d times", n)
}

// stopFaults ends those that wait for something to hit and have no end of their own. What one of them has done for good stays.
func (e *experiment) stopFaults() {
	for _, live := range e.live {
		if live.Length == 0 && !live.lasting {
			hit := e.s.hits.of(live.id)
			e.close(live)
			if live.ended.IsZero() && hit.n > 0 {
				live.ended = hit.last.Add(live.after)
			}
		}
	}
}

// faultsQuiet reports whether nothing is expected of the faults that have begun.
func (e *experiment) faultsQuiet() bool {
	return !slices.ContainsFunc(e.live, func(live *liveFault) bool {
		return !live.over && live.Length == 0 && !live.lasting || !live.ended.IsZero() && live.recovered < 0
	})
}

// faultsDue returns when faults are to be ended, from the moment when all threads were RUNNING.
func (e *experiment) faultsDue() []time.Duration {
	var due []time.Duration
	for _, live := range e.live {
		if !live.over && live.Length > 0 {
			due = append(due, live.began.Add(live.Length).Sub(e.began))
		}
	}
	return due
}

// reportFaults says what became of the faults. One that somebody has listed and that never hit anything leaves open what would
// have happened.
func (e *experiment) reportFaults() {
	for _, live := range e.live {
		e.close(live)
		hit := e.s.hits.of(live.id)
		r := ReportFault{
			Kind: live.Kind, Spec: live.String(), Instance: live.Instance, StartMS: new(live.began.Sub(e.began).Milliseconds()),
			RecoveredMS: sinceMS(live.recovered),
		}
		if live.Instance != "" && live.Thread > 0 {
			r.Thread = threadName(live.Instance, live.Thread)
		}
		if live.Length > 0 {
			r.LengthMS = new(live.Length.Milliseconds())
		}
		if !live.ended.IsZero() {
			r.EndedMS = new(live.ended.Sub(e.began).Milliseconds())
		}
		if live.counted {
			r.Hits = new(hit.n)
		}
		e.outcome.Faults = append(e.outcome.Faults, r)
		if live.counted && hit.n == 0 && !e.asked && !live.byHand && e.s.cfg.Faults.lists(live.String()) {
			e.outcome.Undecided = append(e.outcome.Undecided, fmt.Sprintf("fault %s did not happen: there was nothing to hit", live.FaultSpec))
		}
	}
}

// lists reports whether somebody has written a cut or a fault down, and not a named schedule made it up.
func (f *FaultsSettings) lists(spec string) bool {
	return f.Schedule == "" || isScriptFile(f.Schedule) || slices.Contains(slices.Concat(texts(f.Cuts), texts(f.Faults)), spec)
}
