package soak

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"eostop/faults/verify"
	"eostop/runtime"
	"eostop/runtime/journal"
)

const (
	observeEvery  = 50 * time.Millisecond // how often instances are looked at; the resolution of takeover and recovery
	trimEvery     = 5 * time.Second       // how often the embedded broker is relieved of what the verifier has passed
	trimIdle      = 30                    // or once in so many looks at instances of which nothing is expected
	drainDeadline = 60 * time.Second      // for the application to work off what is left when the load has stopped
	verifyTimeout = 60 * time.Second      // for the verifier to read to the ends
	startDeadline = 2 * time.Minute       // for all threads to run; a new cluster takes some seconds
)

// experiment is the state of run: everything in it belongs to the session's own goroutine.
type experiment struct {
	s        *Session
	phase    string
	waiting  string
	opened   time.Time // when the instances were started
	began    time.Time // when all threads were RUNNING for the first time
	cuts     cutTracker
	schedule schedule
	live     []*liveFault // in the order in which they began
	rates    rates
	events   []journal.Event // the newest ones, as they were shown last

	hindrance string    // what keeps the threads from running, as brokers said last
	nextAsk   time.Time // when they are asked again

	asked         bool               // somebody has asked for the end
	refused       error              // why the brokers do not let the application begin
	cancelLoad    context.CancelFunc // nil while no load runs
	loadEnded     time.Time          // zero before
	loadProcessed int64              // processed until then

	// then holds what is to be done with the result of work that runs beside: run executes it.
	then chan func()

	nextTrim, nextLog time.Time
	verdict           verify.Verdict
	teller            teller
	outcome           Outcome
}

// run is the session's life: wait for the instances, run load and schedule, drain, verify, stop.
func (s *Session) run() {
	defer close(s.done)
	defer s.rescue()
	e := &experiment{teller: teller{say: s.say}, s: s, phase: PhaseStarting, opened: time.Now(), nextAsk: time.Now().Add(hindranceEvery), schedule: newSchedule(s.script), verdict: verify.Clean, then: make(chan func(), 8)}
	e.outcome.Verified, e.outcome.Schedule = s.verifier != nil, s.cfg.Faults.Schedule
	tick := time.NewTimer(observeEvery)
	defer tick.Stop()
	stop, ended := s.stop, s.ctx.Done()
	for e.phase != PhaseStopping {
		select {
		case <-tick.C:
		case c := <-s.commands:
			c.done <- c.do(e, time.Now())
		case then := <-e.then:
			then()
		case <-stop:
			stop = nil // a closed channel is ready for ever
			e.asked = true
			e.stopLoad()
		case <-ended:
			ended = nil
			e.outcome.Undecided = append(e.outcome.Undecided, "stopped before the run was over")
			e.setPhase(PhaseStopping)
		}
		now := time.Now()
		e.observe(now)
		tick.Reset(e.rest(now))
	}
	e.finish()
}

// rest returns for how long nothing has to be looked at, and nothing is due.
func (e *experiment) rest(now time.Time) time.Duration {
	if e.phase != PhaseRunning && e.phase != PhaseDraining {
		return observeEvery
	}
	rest := observeEvery
	if e.phase == PhaseRunning && e.cuts.quiet() && e.faultsQuiet() {
		rest = max(rest, e.s.idle)
	}
	elapsed := now.Sub(e.began)
	for _, due := range append(e.faultsDue(), e.schedule.due(), e.s.cfg.Load.Duration) {
		if left := due - elapsed; left > 0 { // else it has been done
			rest = min(rest, left)
		}
	}
	return rest
}

// aside runs work beside the session's goroutine, and what it returns in it.
func (e *experiment) aside(work func(ctx context.Context) (then func())) {
	e.s.background.Go(func() {
		then := guarded(e.s.ctx, work)
		select {
		case e.then <- then:
		case <-e.s.done:
		}
	})
}

// guarded does the work; a panic in it becomes one of the session's goroutine.
func guarded(ctx context.Context, work func(ctx context.Context) (then func())) (then func()) {
	defer func() {
		if r := recover(); r != nil {
			broken := &PanicError{Value: r, Stack: debug.Stack()}
			then = func() { panic(broken) }
		}
	}()
	return work(ctx)
}

// rescue ends a session whose own goroutine has panicked: there is no verdict then, but whoever waits for the end is told.
func (s *Session) rescue() {
	r := recover()
	if r == nil {
		return
	}
	broken, ok := r.(*PanicError)
	if !ok {
		broken = &PanicError{Value: r, Stack: debug.Stack()}
	}
	s.log.Error("session", "error", broken, "stack", string(broken.Stack))
	s.abandon.Store(true)
	s.cancel()
	s.closeInstances()
	s.cancelVerify()
	s.err = errors.Join(broken, s.closeRest())
}

// setPhase moves on and says so.
func (e *experiment) setPhase(phase string) {
	e.s.log.Info("session", "phase", phase)
	e.phase, e.waiting = phase, ""
}

// observe is one tick: look at the instances, do what is due, publish.
func (e *experiment) observe(now time.Time) {
	statuses := e.s.statuses()
	e.cuts.observe(now, statuses, e.s.others(), e.s.Snapshot().Processed)
	e.teller.tell(e.s.journal)
	e.observeFaults(now, statuses)
	switch e.phase {
	case PhaseStarting:
		if e.awaitStart(now, statuses); e.phase == PhaseRunning {
			e.applySchedule(now) // what begins at once
		}
	case PhaseRunning, PhaseDraining:
		if e.endRefused(statuses); e.phase == PhaseStopping {
			break
		}
		e.applySchedule(now)
		if d := e.s.cfg.Load.Duration; d > 0 && now.Sub(e.began) >= d {
			e.stopLoad()
		}
	default:
	}
	if now.After(e.nextTrim) {
		e.nextTrim = now.Add(max(trimEvery, trimIdle*e.s.idle))
		e.trim()
	}
	e.noteVerdict()
	snap := e.publish(now, statuses)
	e.noteFound(now, snap)
	if every := e.s.cfg.Session.SnapshotInterval; every > 0 && now.After(e.nextLog) {
		// From the time it was due, so that ticks do not add up to a drift.
		if e.nextLog = e.nextLog.Add(every); e.nextLog.Before(now) {
			e.nextLog = now.Add(every)
		}
		e.s.events.Snapshot(snap)
	}
}

// awaitStart begins the experiment once all threads are RUNNING as members of the group.
func (e *experiment) awaitStart(now time.Time, statuses []runtime.InstanceStatus) {
	total, running := 0, 0
	for _, i := range statuses {
		for _, t := range i.Threads {
			total++
			if t.State == string(runtime.ThreadRunning) && !t.Rebalancing {
				running++
			}
		}
	}
	if e.refused = e.s.refused(); e.refused != nil {
		e.setPhase(PhaseStopping)
		return
	}
	e.waiting = fmt.Sprintf("%d of %d threads are RUNNING", running, total)
	if running < total {
		if e.hindrance != "" {
			e.waiting += "; " + e.hindrance
		}
		if now.After(e.nextAsk) {
			e.nextAsk = now.Add(hindranceEvery)
			e.aside(func(ctx context.Context) func() {
				hindrance := e.s.hindrance(ctx)
				return func() { e.hindrance = hindrance }
			})
		}
		if now.Sub(e.opened) > startDeadline {
			e.outcome.Undecided = append(e.outcome.Undecided, fmt.Sprintf("only %s after %v; see the log (--log-file) for what they wait for", e.waiting, startDeadline))
			e.setPhase(PhaseStopping)
		}
		return
	}
	e.began = now
	e.setPhase(PhaseRunning)
	if e.s.load == nil {
		return
	}
	ctx, cancel := context.WithCancel(e.s.ctx)
	e.cancelLoad = cancel
	e.aside(func(context.Context) func() {
		err := e.s.load.Run(ctx)
		return func() { e.loadOver(err) }
	})
}

// refused returns why the brokers do not let a thread do what it has to: that does not change by trying again.
func (s *Session) refused() error {
	for _, m := range s.members {
		deaths, _ := m.instance.Deaths()
		for _, d := range deaths {
			if runtime.Refused(d.Cause) {
				return Runf("the brokers do not let the application run: %s: %s; eostop check says what is missing", d.Cause, d.Error)
			}
		}
	}
	return nil
}

// endRefused ends a session in which no instance is left because the brokers have come to refuse what the application has to do.
// What was processed until then is judged, but whether the rest would have been is not known.
func (e *experiment) endRefused(statuses []runtime.InstanceStatus) {
	for i := range statuses {
		if state := statuses[i].State; state != string(runtime.InstanceError) && state != string(runtime.InstanceNotRunning) {
			return
		}
	}
	err := e.s.refused()
	if err == nil {
		return
	}
	e.outcome.Undecided = append(e.outcome.Undecided, oneLine(err))
	e.markLoadEnd()
	if e.cancelLoad != nil {
		e.cancelLoad()
	}
	e.setPhase(PhaseStopping)
}

// stopLoad ends the load; draining begins when the generator has said how it went.
func (e *experiment) stopLoad() {
	if e.phase != PhaseStarting && e.phase != PhaseRunning {
		return
	}
	if e.cancelLoad != nil {
		e.markLoadEnd()
		e.cancelLoad()
		return
	}
	e.beginDrain()
}

func (e *experiment) markLoadEnd() {
	if e.loadEnded.IsZero() {
		e.loadEnded, e.loadProcessed = time.Now(), e.processed(e.s.statuses())
	}
}

// loadOver notes that the load generator has ended, by itself or because it was stopped.
func (e *experiment) loadOver(err error) {
	e.cancelLoad()
	if err != nil {
		e.outcome.Undecided = append(e.outcome.Undecided, fmt.Sprintf("load generator: %v", err))
		e.s.journal.Emit(journal.Event{
			Kind: journal.KindError, Level: journal.Error, Cause: "load generator", Error: err.Error(), Text: "load generator: " + err.Error(),
		})
	}
	e.beginDrain()
}

// beginDrain lets the application work off what is left. Cuts that the schedule has not made yet are left out, those made by
// hand are healed: nobody would be there to do it.
func (e *experiment) beginDrain() {
	if e.phase != PhaseStarting && e.phase != PhaseRunning {
		return
	}
	e.markLoadEnd()
	if n := e.schedule.left(&e.s.cfg.Faults); n > 0 && !e.asked {
		e.outcome.Undecided = append(e.outcome.Undecided, fmt.Sprintf("%d planned cuts and faults did not happen: the load was over before", n))
	}
	e.setPhase(PhaseDraining)
	e.schedule.stop()
	e.stopFaults()
	e.healManual()
	if e.s.load == nil && e.s.verifier == nil {
		// What is in the topics is others' concern; whoever has a load of their own goes on with it elsewhere.
		e.setPhase(PhaseStopping)
		return
	}
	e.aside(func(ctx context.Context) func() {
		left, err := e.s.drain(ctx)
		var held []string
		if err == nil && len(left) > 0 {
			held, left = e.s.holders(ctx, left)
		}
		return func() { e.drained(left, held, err) }
	})
}

// drained decides what the end of the drain means, and begins to verify.
func (e *experiment) drained(left []remaining, held []string, err error) {
	if e.phase != PhaseDraining {
		return
	}
	switch {
	case err != nil:
		e.outcome.Undecided = append(e.outcome.Undecided, fmt.Sprintf("drain: %v", err))
	case len(left) > 0:
		e.outcome.Violations = append(e.outcome.Violations, fmt.Sprintf("still unprocessed %v after the load had stopped: %s", drainDeadline, left))
	case len(held) > 0:
		// What has not been read yet cannot be judged.
		e.outcome.Undecided = append(e.outcome.Undecided, held...)
		e.setPhase(PhaseStopping)
		return
	}
	if e.s.verifier == nil {
		e.setPhase(PhaseStopping)
		return
	}
	e.setPhase(PhaseVerifying)
	e.aside(func(ctx context.Context) func() {
		err := e.s.finishVerify(ctx)
		return func() {
			if err != nil {
				e.outcome.Undecided = append(e.outcome.Undecided, fmt.Sprintf("verify: %v", err))
			}
			e.setPhase(PhaseStopping)
		}
	})
}

// noteVerdict tells the journal when the judgement changes.
func (e *experiment) noteVerdict() {
	if e.s.verifier == nil {
		return
	}
	status := e.s.verifier.Status()
	if status.Verdict == e.verdict {
		return
	}
	event := journal.Event{
		Kind: journal.KindVerdict, Level: journal.Info, From: string(e.verdict), To: string(status.Verdict), Count: int64(len(status.Witnesses)),
		Text: fmt.Sprintf("verdict changed from %s to %s", e.verdict, status.Verdict),
	}
	if status.Verdict != verify.Clean {
		event.Level = journal.Error
	}
	if len(status.Reasons) > 0 {
		event.Cause = status.Reasons[0]
		event.Text += ": " + status.Reasons[0]
	}
	e.verdict = status.Verdict
	e.s.journal.Emit(event)
}

// arrived counts the input records that have come in; below 0 if nobody knows.
func (e *experiment) arrived() int64 {
	switch {
	case e.s.load != nil:
		return e.s.load.Stats().Acked
	case e.s.verifier != nil:
		return e.s.verifier.Status().In
	}
	return -1
}

// processed counts input records whose effect is committed. The threads' count lacks transactions whose outcome they never
// learnt, the verifier's those that an open transaction of somebody else still hides; neither ever counts too many.
func (e *experiment) processed(statuses []runtime.InstanceStatus) int64 {
	var n int64
	for i := range statuses {
		n += int64(statuses[i].Totals().ProcessedInputs)
	}
	if e.s.verifier != nil {
		n = max(n, e.s.verifier.Status().Processed)
	}
	return n
}
