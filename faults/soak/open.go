package soak

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"eostop/faults"
	"eostop/runtime"
	"eostop/runtime/journal"
	"eostop/runtime/metrics"
	"eostop/runtime/state"

	"github.com/twmb/franz-go/pkg/kgo"
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

func (s *Session) logHeader() sessionHeader {
	return sessionHeader{
		Version: Version, ApplicationID: s.cfg.Application.ID, Topology: s.cfg.Application.Topology,
		Guarantee: s.cfg.Runtime.Guarantee, Profile: s.cfg.Faults.Profile, Seed: s.seed, Began: time.Now(),
	}
}
