package soak

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"eostop/faults"
	"eostop/faults/verify"
	"eostop/runtime"
	"eostop/runtime/journal"
	"eostop/runtime/metrics"
	"eostop/runtime/state"
	"eostop/runtime/topology"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Deps is what a session takes from outside; its zero value is usable.
type Deps struct {
	// Logger receives the log of the clients and of the runtime; nil drops it.
	Logger *slog.Logger
	// FS holds the state directory; nil is the disk.
	FS vfs.FS
	// Idle is how often instances are looked at while nothing is expected of them: no cut to be noticed or recovered from. 0
	// looks always as often as can be, for those who watch.
	Idle time.Duration
	// ByHand prepares the session for Inject: links look at requests, and the disk under the state can be made to fail.
	ByHand bool
	// Say is called with each line that the client of a talking program has to say; nil drops them. It may be called from any
	// goroutine, one at a time.
	Say func(line string)
}

// Session is one experiment: brokers, instances, load, cuts and verifier, from start to verdict. Its methods may be called
// from any goroutine; one goroutine of its own, in run, does everything that happens over time.
type Session struct {
	cfg     Config
	log     *slog.Logger
	fs      vfs.FS
	idle    time.Duration
	script  Script // what is going to be done to the instances
	program *topology.Topology
	foreign bool // the program is not a built-in one
	topics  ProgramTopics
	model   string            // of the verifier
	say     func(line string) // of a talking program; nil if nobody listens
	byHand  bool              // anything may be done by hand
	seed    int64
	loadRun uint64 // marks the records of this session's load; 0 without load

	cluster  *cluster
	cache    *state.Cache
	journal  *journal.Journal
	events   *journal.Log
	members  []*member
	injector *injector
	// storeFaults is asked about each store that is opened.
	storeFaults *storeFaults
	rules       *faults.Rules // nil if the script has none, so that links look at nothing
	hits        *hitBook
	disk        *diskFaults // nil if nothing is done to it
	load        *Generator  // nil without load
	verifier    *verify.Verifier
	stateDir    string // temporary, to be removed; empty when the user chose one

	registries []*metrics.Registry // of the instances, in their order
	metrics    *metricsServer      // nil if none is wanted

	ctx    context.Context // ends everything at once
	cancel context.CancelFunc

	verifyCtx    context.Context // the verifier goes on reading until the instances have stopped
	cancelVerify context.CancelFunc

	commands chan command // cuts and heals asked for by hand
	stop     chan struct{}
	stopOnce sync.Once
	abandon  atomic.Bool // Stop(true) was called
	done     chan struct{}

	seq      atomic.Uint64
	snapshot atomic.Pointer[Snapshot] // what run has observed last
	// elsewhere are the members of the group in other processes, on a real cluster.
	elsewhere atomic.Pointer[[]Elsewhere]
	report    *Report // set before done is closed
	err       error   // set before done is closed

	disturbed atomic.Int32 // faults that go on

	background sync.WaitGroup
}

// member is an instance with its link.
type member struct {
	name     string
	link     *faults.Link
	clock    wallClock
	instance *runtime.Instance
}

// command is what somebody asked for by hand. The session's own goroutine does it.
type command struct {
	do   func(e *experiment, now time.Time) error
	done chan error
}

// New prepares a session. The program is nil for the one that the configuration names; a program of one's own runs without
// a verifier. Nothing is started before Start.
func New(cfg Config, program *topology.Topology, deps Deps) (*Session, error) {
	if err := cfg.Validate(); err != nil {
		return nil, &UsageError{err}
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	if err := checkInput(cfg.Load.Input); err != nil {
		return nil, err
	}
	named, _ := findBuiltin(cfg.Application.Topology)
	s := &Session{
		cfg: cfg, log: deps.Logger, fs: deps.FS, idle: deps.Idle, program: program, topics: named.topics(cfg.Application.ID), model: named.model, seed: cfg.Load.Seed,
		commands: make(chan command), stop: make(chan struct{}), done: make(chan struct{}),
	}
	if s.seed == 0 {
		s.seed = newSeed()
	}
	script, err := cfg.Script(s.seed)
	if err != nil {
		return nil, &UsageError{err}
	}
	s.script = script
	if s.byHand = deps.ByHand; s.byHand || script.on(onDisk) {
		s.disk = new(diskFaults)
	}
	s.hits = newHitBook()
	if s.byHand || script.rules() {
		s.rules = faults.NewRules(s.onHit)
	}
	if program == nil {
		if cfg.Load.Enabled {
			deps.Say = nil // it is an experiment, and no client of somebody's tests
		}
		built, err := named.program(&cfg, deps.Say)
		if err != nil {
			return nil, fmt.Errorf("program %s: %w", cfg.Application.Topology, err)
		}
		s.program = built
	} else {
		s.cfg.Verify.Enabled, s.foreign = false, true
	}
	if named.talking != nil && program == nil {
		s.say = deps.Say
	}
	if cfg.Load.Enabled {
		s.loadRun = uint64(time.Now().UnixNano())
	}
	level, err := metrics.ParseLevel(cfg.recordingLevel())
	if err != nil {
		return nil, Usagef("runtime.recording_level: %w", err)
	}
	for _, name := range cfg.InstanceNames() {
		s.registries = append(s.registries, metrics.New(metrics.Config{
			ClientID: name, ApplicationID: cfg.Application.ID, Version: Version, CommitID: Revision(), Level: level,
		}))
	}
	s.journal = journal.New(journalEvents)
	s.snapshot.Store(s.emptySnapshot())
	return s, nil
}

// newSeed draws a seed, one that survives JSON readers that know floating point only.
func newSeed() int64 { return 1 + rand.Int64N(1<<53-1) }

const (
	journalEvents = 4096 // events kept for the screen
	screenEvents  = 512  // events in a snapshot
)

// sessionHeader is the first line of a session log.
type sessionHeader struct {
	Version       string    `json:"version"`
	ApplicationID string    `json:"application_id"`
	Topology      string    `json:"topology"`
	Guarantee     string    `json:"guarantee"`
	Profile       string    `json:"profile"`
	Seed          int64     `json:"seed"`
	Began         time.Time `json:"began"`
}

// Partition cuts an instance off from the brokers, in the direction "both", "in" or "out". It is done when it returns.
func (s *Session) Partition(instance, direction string) error {
	if _, err := faults.ParseDirection(direction); err != nil {
		return err
	}
	return s.Cut(instance, direction)
}

// Heal ends the cut of an instance.
func (s *Session) Heal(instance string) error {
	m, err := s.find(instance)
	if err != nil {
		return err
	}
	return s.ask(command{do: func(e *experiment, now time.Time) error {
		if !m.link.State().Cut {
			return fmt.Errorf("%s is not cut off", instance)
		}
		// A planned heal would end a later cut.
		e.schedule.heals = slices.DeleteFunc(e.schedule.heals, func(h plannedHeal) bool { return h.instance == instance })
		e.heal(m, now)
		return nil
	}})
}

var errSessionEnded = errors.New("the session has ended")

func (s *Session) ask(c command) error {
	c.done = make(chan error, 1)
	select {
	case s.commands <- c:
	case <-s.done:
		return errSessionEnded
	}
	select {
	case err := <-c.done:
		return err
	case <-s.done: // perhaps by a panic in it
		return errSessionEnded
	}
}

func (s *Session) memberNames() string {
	names := make([]string, len(s.members))
	for i, m := range s.members {
		names[i] = m.name
	}
	return strings.Join(names, ", ")
}

// Export writes the session log so far to a new file in the working directory and returns its path.
func (s *Session) Export() (string, error) {
	path := fmt.Sprintf("eostop-session-%s.jsonl", time.Now().Format("20060102-150405.000"))
	if _, _, err := s.events.Export(path); err != nil {
		return "", fmt.Errorf("export session log: %w", err)
	}
	return path, nil
}

// Stop ends the load and lets the application drain; with now, everything ends at once and the verdict is unknown.
func (s *Session) Stop(now bool) {
	if now {
		s.abandon.Store(true)
		s.cancel()
	}
	s.stopOnce.Do(func() { close(s.stop) })
}

// Done is closed when the session has ended.
func (s *Session) Done() <-chan struct{} { return s.done }

// Wait waits for the end of the session and returns its report.
func (s *Session) Wait() (*Report, error) {
	<-s.done
	s.background.Wait()
	return s.report, s.err
}
