package soak

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	// simulationIdle is how often instances are looked at while nothing is expected of them.
	simulationIdle = time.Second
	// askEvery is how often a simulation looks whether it shall stop, on its own time.
	askEvery = time.Second
	// orphans is for how long closed connections may try to deliver what they owe. A bubble waits for it.
	orphans = 3 * time.Minute
	// stuckAfter is for how long the time of a simulation may stand still, in seconds of real time. Nothing it computes at one moment
	// takes nearly as long; so something waits for what cannot come.
	stuckAfter = 120
	// stopAfter is the same for a simulation that was told to stop at once.
	stopAfter = 15
)

// SimulationDefaults sets what is different on virtual time: waiting costs nothing there, but each wake-up does. The load is that of
// a soak of 24 hours.
func SimulationDefaults(c *Config) {
	c.Load.Rate, c.Load.Interval, c.Load.Keys, c.Load.Duration = 20, 2*time.Second, 1000, 24*time.Hour
	r := &c.Runtime
	r.CommitInterval, r.PollInterval, r.HeartbeatInterval, r.TransactionTimeout = 5*time.Second, time.Second, 3*time.Second, 30*time.Second
	r.FetchMaxWait = 1500 * time.Millisecond
	r.StateFlushInterval = 10 * time.Minute
	r.ChangelogRewriteInterval, r.RepartitionPurgeInterval = 10*time.Minute, 5*time.Minute
	c.Verify.Interval = time.Second
	c.Session.SnapshotInterval = 10 * time.Second
}

// Simulation is a session on virtual time, with an embedded broker and its state in memory. Its methods may be called from any
// goroutine outside of the bubble.
type Simulation struct {
	cfg    Config
	bubble Bubble
	logger *slog.Logger

	session atomic.Pointer[Session]
	beats   atomic.Int64 // seconds of its time that have passed
	asked   atomic.Int32 // one of the wishes
	done    chan struct{}
	report  *Report
	err     error
}

// What a simulation may be asked for.
const (
	goOn int32 = iota
	stopLoad
	stopNow
)

// NewSimulation prepares a simulation. What the configuration says of a cluster and of a state directory is left out; without a
// schedule, cuts and faults the schedule is that of a soak. The error is a UsageError.
func NewSimulation(cfg Config, bubble Bubble, logger *slog.Logger) (*Simulation, error) {
	cfg.Cluster.Brokers, cfg.Cluster.Embedded.Listen, cfg.Runtime.StateDir = nil, "", ""
	if cfg.Faults.Schedule == "" && len(cfg.Faults.Cuts)+len(cfg.Faults.Faults) == 0 {
		cfg.Faults.Schedule = ScheduleSoak
	}
	if cfg.Load.Seed == 0 {
		cfg.Load.Seed = newSeed()
	}
	if cfg.Session.File == "" {
		cfg.Session.SnapshotInterval = 0 // nobody could ever ask for them
	}
	if cfg.Load.Duration <= 0 && cfg.Load.Records <= 0 {
		return nil, Usagef("load.duration: a simulation needs an end; name one with --hours")
	}
	// What is wrong is told before anything runs.
	if _, err := New(cfg, nil, Deps{}); err != nil {
		return nil, err
	}
	return &Simulation{cfg: cfg, bubble: bubble, logger: logger, done: make(chan struct{})}, nil
}

// Config returns the configuration that is simulated, with its seed.
func (s *Simulation) Config() Config { return s.cfg }

// Start lets the simulation run.
func (s *Simulation) Start() {
	began := time.Now()
	go func() {
		defer close(s.done)
		if s.report, s.err = s.run(); s.report != nil {
			s.report.RealMS = new(time.Since(began).Milliseconds())
		}
	}()
}

// run waits for the end of the bubble, or for the end of its time.
func (s *Simulation) run() (*Report, error) {
	type result struct {
		report *Report
		err    error
	}
	ended := make(chan result, 1)
	go func() {
		var r result
		if err := s.bubble(func() { r.report, r.err = s.play() }); err != nil {
			r.err = errors.Join(r.err, err)
		}
		ended <- r
	}()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for last, still := int64(-1), 0; ; {
		select {
		case r := <-ended:
			return r.report, r.err
		case <-tick.C:
		}
		// Ticks are counted, not time, which goes on while the whole process is stopped.
		if beats := s.beats.Load(); beats != last {
			last, still = beats, 0
		}
		still++
		switch asked := s.asked.Load(); {
		case still >= stuckAfter:
			return nil, fmt.Errorf("virtual time has stood still for %d s at %v: something waits for what cannot come", stuckAfter, time.Duration(last)*time.Second)
		case asked == stopNow && still >= stopAfter:
			return nil, fmt.Errorf("the simulation did not stop within %d s", stopAfter)
		}
	}
}

// play is the session's life. It runs in the bubble.
func (s *Simulation) play() (*Report, error) {
	session, err := New(s.cfg, nil, Deps{Logger: s.logger, FS: vfs.NewMem(), Idle: simulationIdle})
	if err != nil {
		return nil, err
	}
	if err := session.Start(context.Background()); err != nil {
		return nil, err
	}
	s.session.Store(session)
	s.ask(session)
	report, err := session.Wait()
	wait := time.NewTimer(orphans)
	<-wait.C
	return report, err
}

// ask passes on what was asked for outside, and tells outside that time goes on, until the session has ended.
func (s *Simulation) ask(session *Session) {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for told := goOn; ; {
		select {
		case <-session.Done():
			return
		case <-tick.C:
		}
		s.beats.Add(1)
		if asked := s.asked.Load(); asked != told {
			told = asked
			session.Stop(asked == stopNow)
		}
	}
}

// Stop ends the load and lets the application drain; with now, everything ends at once and the verdict is unknown. It does not
// wait.
func (s *Simulation) Stop(now bool) {
	if now {
		s.asked.Store(stopNow)
		return
	}
	s.asked.CompareAndSwap(goOn, stopLoad)
}

// Shrink looks for the shortest part of the schedule that still fails as first says. It runs simulations of its own, and may be
// called whether or not this one was started. Tell hears how far the search is.
func (s *Simulation) Shrink(ctx context.Context, first Attempt, tell func(Shrunk)) (Shrunk, error) {
	script, err := s.cfg.Script(s.cfg.Load.Seed)
	if err != nil {
		return Shrunk{}, err
	}
	length := s.cfg.Load.Duration
	if length <= 0 {
		length = script.last() + s.calm()
		script = script.until(length)
	}
	search := Shrinking{Calm: s.calm(), Tell: tell, Try: func(ctx context.Context, script Script, length time.Duration) (Attempt, error) {
		return s.try(ctx, script, length)
	}}
	return search.Shrink(ctx, script, length, first)
}

// calm is how long a run goes on after the last that was done to it: everybody may be expelled and come back once more.
func (s *Simulation) calm() time.Duration {
	r := &s.cfg.Runtime
	return r.SessionTimeout + r.RebalanceTimeout + r.TransactionTimeout + 2*r.CommitInterval
}

// try simulates another schedule.
func (s *Simulation) try(ctx context.Context, script Script, length time.Duration) (Attempt, error) {
	cfg := s.cfg
	cfg.Faults.Schedule, cfg.Faults.Cuts, cfg.Faults.Faults = ScheduleScripted, script.Cuts, script.Faults
	cfg.Load.Duration, cfg.Load.Records = length, 0
	cfg.Session.File = ""
	other, err := NewSimulation(cfg, s.bubble, s.logger)
	if err != nil {
		return Attempt{}, err
	}
	other.Start()
	select {
	case <-other.Done():
	case <-ctx.Done():
		other.Stop(true)
	}
	report, err := other.Wait()
	if err != nil {
		return Attempt{}, err
	}
	return Failures(report), nil
}

// Done is closed when the simulation has ended.
func (s *Simulation) Done() <-chan struct{} { return s.done }

// Wait waits for the end of the simulation and returns its report. A panic, or time that stands still, is an error.
func (s *Simulation) Wait() (*Report, error) {
	<-s.done
	return s.report, s.err
}

// Snapshot returns an immutable picture of the session; its times are virtual. It is nil as long as there is none.
func (s *Simulation) Snapshot() *Snapshot {
	if session := s.session.Load(); session != nil {
		return session.Snapshot()
	}
	return nil
}
