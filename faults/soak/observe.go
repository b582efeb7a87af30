package soak

import (
	"context"
	"errors"
	"os"
	"time"

	"eostop/faults/verify"
	"eostop/runtime"
	"eostop/runtime/journal"

	"github.com/twmb/franz-go/pkg/kadm"
)

// statuses asks every instance for its status.
func (s *Session) statuses() []runtime.InstanceStatus {
	statuses := make([]runtime.InstanceStatus, len(s.members))
	for i, m := range s.members {
		statuses[i] = m.instance.Status()
	}
	return statuses
}

// Snapshot returns an immutable picture of the session, at most a tick old.
func (s *Session) Snapshot() *Snapshot { return s.snapshot.Load() }

func (s *Session) emptySnapshot() *Snapshot {
	var verdict verify.Verdict // none without a verifier
	if s.cfg.Verify.Enabled {
		verdict = verify.Unknown
	}
	return &Snapshot{
		At: time.Now(), Phase: PhaseStarting, ApplicationID: s.cfg.Application.ID, Topology: s.cfg.Application.Topology,
		Guarantee: s.cfg.Runtime.Guarantee, Profile: s.cfg.Faults.Profile, Seed: s.seed,
		SessionTimeout: s.cfg.Runtime.SessionTimeout, TransactionTimeout: s.cfg.Runtime.TransactionTimeout,
		Duration: s.cfg.Load.Duration, Verify: verify.Status{Verdict: verdict},
		ThreadsTotal: s.cfg.Runtime.Instances * s.cfg.Runtime.Threads,
	}
}

// publish makes a snapshot of what was just observed.
func (e *experiment) publish(now time.Time, statuses []runtime.InstanceStatus) *Snapshot {
	s := e.s
	snap := s.emptySnapshot()
	snap.Seq, snap.At, snap.Phase, snap.Waiting = s.seq.Add(1), now, e.phase, e.waiting
	if !e.began.IsZero() {
		snap.Elapsed = now.Sub(e.began)
	}
	snap.BrokerKind, snap.BrokerVersion = "kafka", s.cluster.version
	if s.cluster.embedded != nil {
		snap.BrokerKind = "embedded"
	}
	if s.verifier != nil {
		snap.Verify = s.verifier.Status()
	}
	snap.ThreadsTotal = 0
	for i, m := range s.members {
		link := m.link.State()
		instance := Instance{InstanceStatus: statuses[i], Cut: link.Cut, CutSince: link.Since}
		if link.Cut {
			instance.CutDirection = link.Direction.String()
		}
		snap.Instances = append(snap.Instances, instance)
		snap.count(&statuses[i])
		deaths, replaced := m.instance.Deaths()
		snap.ThreadsDied += len(deaths)
		snap.ThreadsReplaced += replaced
	}
	snap.Elsewhere = s.others()
	if s.load != nil {
		load := s.load.Stats()
		snap.In = load.Acked
		if e.cancelLoad != nil && e.loadEnded.IsZero() {
			snap.TargetRate, snap.InRate = s.cfg.Load.Rate, load.Rate
		}
	} else {
		snap.In = snap.Verify.In
	}
	snap.Processed = e.processed(statuses)
	snap.Lag = max(0, snap.In-snap.Processed)
	snap.ProcessedRate, snap.MaxRate = e.rates.add(now, snap.Processed)
	snap.Cuts, snap.Found = e.cuts.list(), e.outcome.Found
	if e.phase == PhaseRunning || e.phase == PhaseStarting {
		snap.NextCut = e.schedule.next(snap.Elapsed)
	}
	snap.Events = e.newest()
	s.snapshot.Store(snap)
	return snap
}

// newest returns the newest events, the same slice for as long as there are no others.
func (e *experiment) newest() []journal.Event {
	last := uint64(0)
	if n := len(e.events); n > 0 {
		last = e.events[n-1].Seq
	}
	if fresh, _ := e.s.journal.Since(last); len(fresh) > 0 {
		e.events = e.s.journal.Tail(screenEvents)
	}
	return e.events
}

// count adds an instance's threads.
func (snap *Snapshot) count(i *runtime.InstanceStatus) {
	for _, t := range i.Threads {
		snap.ThreadsTotal++
		switch runtime.ThreadState(t.State) {
		case runtime.ThreadRunning:
			snap.ThreadsRunning++
			snap.ThreadsAlive++
		case runtime.ThreadStarting, runtime.ThreadPartitionsAssigned, runtime.ThreadPartitionsRevoked:
			snap.ThreadsAlive++
		default:
		}
	}
	counted := i.Totals()
	snap.Transactions.Committed += counted.Committed
	snap.Transactions.Aborted += counted.Aborted
	snap.Transactions.Fenced += counted.Fenced
	snap.Transactions.UnknownOutcome += counted.UnknownOutcome
}

// rates derives a rate from a counter over a window of a second.
type rates struct {
	window []point
	max    float64
}

type point struct {
	at time.Time
	n  int64
}

// rateWindow is the time over which rates are averaged.
const rateWindow = time.Second

// add notes the counter's value and returns the present and the highest rate, in records a second.
func (r *rates) add(now time.Time, n int64) (rate, highest float64) {
	r.window = append(r.window, point{now, n})
	for len(r.window) > 2 && now.Sub(r.window[1].at) >= rateWindow {
		r.window = r.window[1:]
	}
	first := r.window[0]
	if span := now.Sub(first.at); span >= rateWindow {
		rate = float64(n-first.n) / span.Seconds()
		r.max = max(r.max, rate)
	}
	return rate, r.max
}

// finish stops everything, takes the last look, and writes the report.
func (e *experiment) finish() {
	s := e.s
	e.noteFound(time.Now(), e.publish(time.Now(), s.statuses()))
	final := e.s.Snapshot()
	s.closeInstances()
	e.teller.close(s.journal)
	s.cancelVerify()
	e.outcome.OpenAtEnd = s.openTransactions()
	e.reportFaults()
	e.outcome.Loaded = s.load != nil && !e.began.IsZero()
	if !e.began.IsZero() && !e.loadEnded.IsZero() && s.load != nil {
		e.outcome.LoadPeriod, e.outcome.LoadProcessed = e.loadEnded.Sub(e.began), e.loadProcessed
	}
	for _, m := range s.members {
		deaths, _ := m.instance.Deaths()
		for _, d := range deaths {
			e.outcome.Died = append(e.outcome.Died, ThreadDied{Thread: d.Thread, At: d.At, Cause: d.Cause, Error: d.Error, Log: d.Log, Survivable: survivable(&d)})
		}
	}
	if e.refused != nil { // There is nothing to judge.
		s.err = errors.Join(e.refused, s.closeRest())
		return
	}
	last := *final
	last.Phase, last.At, last.Seq = PhaseStopped, time.Now(), s.seq.Add(1)
	last.Events = s.journal.Tail(screenEvents)
	s.snapshot.Store(&last)
	s.events.Snapshot(&last)
	s.report = NewReport(final, e.outcome)
	s.err = errors.Join(s.err, s.closeRest())
}

// survivable reports whether a thread should have lived on: only errors that the classifier knows and calls fatal may end one.
func survivable(d *runtime.ThreadDeath) bool { return d.Class != runtime.Fatal || d.Unexpected }

// closeInstances shuts all instances down, each within its time; after Stop(true) at once.
func (s *Session) closeInstances() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if s.abandon.Load() {
		cancel()
	}
	ended := make(chan struct{})
	for _, m := range s.members {
		go func() {
			if err := m.instance.Close(ctx); err != nil {
				s.log.Warn("close instance", "instance", m.name, "error", err)
			}
			m.link.Close()
			ended <- struct{}{}
		}()
	}
	for range s.members {
		<-ended
	}
}

// closeTimeout is what the instances have to shut down clean.
const closeTimeout = 20 * time.Second

// openTransactions counts transactions of the application that the coordinator still holds open; nil when it cannot tell.
func (s *Session) openTransactions() *int64 {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	listed, err := s.cluster.admin.ListTransactions(ctx, nil, []string{"Ongoing", "PrepareCommit", "PrepareAbort"})
	if err != nil {
		return nil
	}
	n := int64(0)
	listed.Each(func(t kadm.ListedTransaction) {
		if len(t.TxnID) > len(s.cfg.Application.ID) && t.TxnID[:len(s.cfg.Application.ID)+1] == s.cfg.Application.ID+"-" {
			n++
		}
	})
	return &n
}

// close undoes a failed start.
func (s *Session) close() {
	s.cancel()
	s.abandon.Store(true)
	s.closeInstances()
	s.cancelVerify()
	s.err = s.closeRest()
	s.background.Wait()
	close(s.done)
}

// closeRest closes what is below the instances.
func (s *Session) closeRest() error {
	s.cancel()
	if s.cache != nil {
		s.cache.Close()
	}
	if s.cluster != nil {
		s.cluster.close()
	}
	errs := []error{s.metrics.close()}
	if s.events != nil {
		errs = append(errs, s.events.Close())
	}
	if s.stateDir != "" {
		errs = append(errs, os.RemoveAll(s.stateDir))
	}
	return errors.Join(errs...)
}
