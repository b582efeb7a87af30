package soak

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
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
	"github.com/twmb/franz-go/pkg/kgo"
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

// Start opens the brokers and the state, and starts the instances; it returns once they run on their own. When it fails
// everything that was opened is closed again.
func (s *Session) Start(ctx context.Context) error {
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.verifyCtx, s.cancelVerify = context.WithCancel(context.WithoutCancel(ctx))
	if err := s.open(ctx); err != nil {
		s.close()
		return err
	}
	s.background.Go(s.run)
	if s.cluster.embedded == nil {
		s.background.Go(func() { s.watchElsewhere(s.ctx) })
	}
	return nil
}

func (s *Session) open(ctx context.Context) error {
	err := s.serveMetrics()
	if err != nil {
		return err
	}
	admission, cancel := context.WithTimeout(ctx, admitTimeout)
	defer cancel()
	if s.cluster, err = openCluster(admission, &s.cfg); err != nil {
		return err
	}
	s.events = journal.NewLog(s.logHeader(), int(s.cfg.Session.Memory))
	s.journal.Attach(s.events)
	if s.cfg.Session.File != "" {
		if err := s.events.Stream(s.cfg.Session.File); err != nil {
			return Runf("session.file: %w", err)
		}
	}
	if err := s.admit(admission); err != nil {
		return err
	}
	if s.program != nil {
		if err := s.cluster.createTopics(ctx, s.topics); err != nil {
			return err
		}
	}
	if err := s.openVerifier(); err != nil {
		return err
	}
	if err := s.openLoad(); err != nil {
		return err
	}
	if err := s.openInstances(); err != nil {
		return err
	}
	for _, m := range s.members {
		if err := m.instance.Start(s.ctx); err != nil {
			return Runf("start instance %s: %w", m.name, err)
		}
	}
	return nil
}

// admit checks a real cluster before anything is started on it.
func (s *Session) admit(ctx context.Context) error {
	if s.cluster.embedded != nil || s.foreign {
		return nil
	}
	findings, err := s.cluster.inspect(ctx, &s.cfg, s.program, s.topics)
	if err != nil {
		return err
	}
	for _, f := range findings {
		s.log.Info("check", "check", f.Check, "result", f.Result, "found", f.Found, "advice", f.Advice)
	}
	return refuse(findings)
}

// openInstances opens the state directory of every instance.
func (s *Session) openInstances() error {
	root, err := s.stateRoot()
	if err != nil {
		return err
	}
	s.cache = state.NewCache(int64(s.cfg.Runtime.StoreCache))
	s.injector, s.storeFaults = newInjector(s.ctx), newStoreFaults()
	disk := s.fs
	if s.disk != nil {
		s.disk.ctx = s.ctx
		disk = s.disk.wrap(s.fs)
	}
	for n, name := range s.cfg.InstanceNames() {
		m := &member{name: name, link: faults.NewLink(name)}
		m.link.NameNodes(s.cluster.node)
		dial := m.link.Wrap(s.cluster.dial)
		if s.rules != nil {
			m.link.SetRules(s.rules)
		}
		switch {
		case s.script.rules() || s.script.on(onBroker):
			dial = withLatency(dial, func() bool { return true })
		case s.byHand:
			dial = withLatency(dial, func() bool { return s.disturbed.Load() > 0 })
		}
		cfg := s.instanceConfig(name, filepath.Join(root, name))
		m.instance, err = runtime.New(cfg, s.program, runtime.Env{
			Brokers: s.cluster.brokers, Dial: dial, SASL: s.cluster.sasl, ClusterID: s.cluster.id, FS: disk, Cache: s.cache,
			Journal: s.journal, Logger: s.log, OnLoop: s.injector.onLoop, Now: m.clock.now, Metrics: s.registries[n],
			OnOpenStore: func(task, store string) error { return s.storeFaults.open(name, task, store) },
			OnWipe:      func(task string) { s.storeFaults.wipe(name, task) },
		})
		if err != nil {
			m.link.Close()
			return stateError(err)
		}
		s.members = append(s.members, m)
	}
	return nil
}

// stateError sorts the errors of a state directory: one that belongs to another cluster or application is a mistake of the
// user, the rest is a machine that cannot run the session.
func stateError(err error) error {
	if _, ok := errors.AsType[*state.ClusterMismatchError](err); ok {
		return &UsageError{err}
	}
	if _, ok := errors.AsType[*state.ApplicationMismatchError](err); ok {
		return &UsageError{err}
	}
	if _, ok := errors.AsType[*state.LockedError](err); ok {
		return &RunError{err}
	}
	return Runf("%w; name a folder that can be written with --state-dir", err)
}

// stateRoot returns the folder of the state directories: the configured one; on the embedded broker, whose topics end with
// the process, a temporary one.
func (s *Session) stateRoot() (string, error) {
	if s.cfg.Runtime.StateDir == "" && s.fs != nil {
		return "/state", nil
	}
	if s.cfg.Runtime.StateDir == "" && s.cluster.embedded != nil {
		dir, err := os.MkdirTemp("", "eostop-")
		if err != nil {
			return "", Runf("state directory: %w; name a writable one with --state-dir", err)
		}
		s.stateDir = dir
		return dir, nil
	}
	return stateHome(&s.cfg)
}

// stateHome is where state directories of runs on a real cluster are.
func stateHome(cfg *Config) (string, error) {
	if dir := cfg.Runtime.StateDir; dir != "" {
		return dir, nil
	}
	home := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(home) { // also when it is not set; a relative one is to be ignored (XDG base directories)
		user, err := os.UserHomeDir()
		if err != nil {
			return "", Runf("state directory: %w; name one with --state-dir", err)
		}
		home = filepath.Join(user, ".local", "state")
	}
	return filepath.Join(home, "eostop", cfg.Application.ID), nil
}

func (s *Session) instanceConfig(name, dir string) runtime.Config {
	r := &s.cfg.Runtime
	cfg := runtime.DefaultConfig()
	cfg.ApplicationID, cfg.ClientID, cfg.StateDir = s.cfg.Application.ID, name, dir
	cfg.StreamThreads = r.Threads
	cfg.Guarantee, cfg.StateMode = runtime.Guarantee(r.Guarantee), runtime.StateMode(r.StateMode)
	cfg.TaskTimeout, cfg.MaxTaskIdle, cfg.BufferedRecords = r.TaskTimeout, r.MaxTaskIdle, r.BufferedRecords
	cfg.StandbyReplicas, cfg.AcceptableRecoveryLag = r.StandbyReplicas, int64(r.AcceptableRecoveryLag)
	cfg.InitialRebalanceDelay = r.InitialRebalanceDelay
	cfg.MaxWarmupReplicas, cfg.ProbingInterval = r.MaxWarmupReplicas, r.ProbingRebalanceInterval
	cfg.RecordCache, cfg.StateCleanupDelay = int64(r.RecordCache), r.StateCleanupDelay
	if level, err := metrics.ParseLevel(r.RecordingLevel); err == nil && level >= metrics.Debug {
		cfg.RecordingLevel = state.RecordingDebug
	}
	if r.StaticMembership {
		cfg.GroupInstanceID = name
	}
	cfg.CommitInterval, cfg.SessionTimeout, cfg.HeartbeatInterval = r.CommitInterval, r.SessionTimeout, r.HeartbeatInterval
	cfg.PollInterval, cfg.FetchMaxWait = r.PollInterval, r.FetchMaxWait
	cfg.RebalanceTimeout, cfg.TransactionTimeout = r.RebalanceTimeout, r.TransactionTimeout
	cfg.ReplicationFactor, cfg.TopicConfigs = s.cluster.replication()
	cfg.RepartitionPurgeInterval, cfg.ActiveFencing = r.RepartitionPurgeInterval, r.ActiveFencing
	cfg.Memtable, cfg.StateFlushInterval = int(r.StoreMemtable), r.StateFlushInterval
	if p, ok := findProfile(s.cfg.Faults.Profile); ok {
		p.apply(&cfg)
	}
	if s.cluster.embedded != nil {
		cfg.CompactChangelogs, cfg.ChangelogRewriteInterval = false, r.ChangelogRewriteInterval
	}
	return cfg
}

func (s *Session) openLoad() error {
	if !s.cfg.Load.Enabled {
		return nil
	}
	load, err := NewGenerator(LoadConfig{
		Topology: s.cfg.Application.Topology, Input: s.cfg.Load.Input,
		Rate: s.cfg.Load.Rate, Interval: s.cfg.Load.Interval, Records: s.cfg.Load.Records, Keys: s.cfg.Load.Keys, ValueBytes: s.cfg.Load.ValueBytes,
		Partitions: int32(s.cfg.Cluster.Partitions), Seed: s.seed, Run: s.loadRun,
	}, s.topics.Input, append(s.cluster.options(), kgo.ClientID("eostop-load"))...)
	if err != nil {
		return &UsageError{err}
	}
	s.load = load
	return nil
}

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

func (s *Session) logHeader() sessionHeader {
	return sessionHeader{
		Version: Version, ApplicationID: s.cfg.Application.ID, Topology: s.cfg.Application.Topology,
		Guarantee: s.cfg.Runtime.Guarantee, Profile: s.cfg.Faults.Profile, Seed: s.seed, Began: time.Now(),
	}
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
