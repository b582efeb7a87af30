package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"eostop/runtime/journal"
	"eostop/runtime/metrics"
	"eostop/runtime/state"
	"eostop/runtime/topology"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Instance is one process's share of an application: some stream threads over one state directory, what KafkaStreams is in
// Java. Several instances with the same application id share the work.
type Instance struct {
	cfg       Config
	env       Env
	log       *slog.Logger
	program   *program
	directory *state.Directory
	cache     *state.Cache
	ownCache  bool
	admin     *admin
	brokers   brokerCheck
	metrics   *metrics.Client
	offsets   offsetBook
	state     *stateMachine[InstanceState]

	ctx      context.Context
	cancel   context.CancelFunc
	wg       sync.WaitGroup
	closed   chan struct{} // closed by Close, once
	once     sync.Once
	ended    sync.Once      // releases what the threads used
	failing  sync.WaitGroup // the way to state ERROR
	stay     atomic.Bool    // threads end without leaving the group
	shutdown atomic.Bool    // the whole application is to end, and the group is to be told
	paused   atomic.Bool    // tasks stay, but nothing is processed or restored (KIP-834)

	mu       sync.Mutex // guards what follows, the start of threads, and what Start sets; never held while waiting
	threads  []*StreamThread
	dead     []ThreadDeath
	replaced int
	removed  Counters // of threads that were removed, so that totals never shrink
}

// ThreadDeath says how a thread ended that was not told to.
type ThreadDeath struct {
	Thread string    `json:"thread"`
	At     time.Time `json:"at"`
	Cause  string    `json:"cause"`
	Error  string    `json:"error"`
	// Log is what the thread said from the error until it was DEAD, as Kafka Streams logs it.
	Log []string `json:"log,omitempty"`
	// Class is the class of the error it died of.
	Class ErrorClass `json:"-"`
	// Unexpected is true for an error that the classifier does not know: that the thread died of it is a gap of ours.
	Unexpected bool `json:"-"`
	// Replaced is true when a new thread took its place.
	Replaced bool `json:"replaced"`
}

// New opens the state directory and prepares an instance; nothing talks to the brokers before Start.
func New(cfg Config, top *topology.Topology, env Env) (*Instance, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("instance %s: %w", cfg.ClientID, err)
	}
	if len(env.Brokers) == 0 {
		return nil, fmt.Errorf("instance %s: Brokers: must name at least one", cfg.ClientID)
	}
	if env.Logger == nil {
		env.Logger = slog.New(slog.DiscardHandler)
	}
	if env.Now == nil {
		env.Now = time.Now
	}
	env.Metrics.Expect(expectedCauses())
	inst := &Instance{cfg: cfg, env: env, metrics: env.Metrics.Client(), log: env.Logger.With("instance", cfg.ClientID), program: newProgram(top, cfg.ApplicationID), closed: make(chan struct{})}
	inst.state = newStateMachine("Stream-client "+cfg.ClientID, InstanceCreated, instanceTransitions, func(from, to InstanceState) {
		inst.emit(journal.Event{
			Kind: journal.KindClientState, Level: journal.Info, Instance: cfg.ClientID, From: string(from), To: string(to),
			Text: fmt.Sprintf("stream-client [%s] State transition from %s to %s", cfg.ClientID, from, to),
		})
		inst.metrics.SetState(string(to))
	})
	directory, err := state.OpenDirectory(state.DirectoryConfig{
		Path: cfg.StateDir, ClusterID: env.ClusterID, ApplicationID: cfg.ApplicationID, FS: env.FS, Recording: cfg.RecordingLevel,
		RegisterBeforeOpen: cfg.Policy.RegisterBeforeOpen, OpenStoreHook: env.OnOpenStore,
		Warn: func(text string) { inst.log.Warn(text) },
	})
	if err != nil {
		return nil, fmt.Errorf("instance %s: %w", cfg.ClientID, err)
	}
	inst.directory = directory
	inst.cache = env.Cache
	if inst.cache == nil {
		inst.cache, inst.ownCache = state.NewCache(defaultCacheBytes), true
	}
	return inst, nil
}

// defaultCacheBytes is the block cache of an instance that was given none.
const defaultCacheBytes = 64 << 20

// Start starts the threads. It does not wait for them; watch Status.
func (i *Instance) Start(ctx context.Context) error {
	// Under the lock, so that Close finds either nothing or everything. Nothing here waits.
	i.mu.Lock()
	defer i.mu.Unlock()
	current, _ := i.state.get()
	started := false
	if current == InstanceCreated {
		var err error
		if started, err = i.state.to(InstanceRebalancing); err != nil {
			return err
		}
	}
	if !started {
		return &IllegalTransitionError{Who: "Stream-client " + i.cfg.ClientID, From: string(current), To: string(InstanceRebalancing)}
	}
	i.ctx, i.cancel = context.WithCancel(context.WithoutCancel(ctx))
	client, err := kgo.NewClient(i.baseOptions(i.cfg.ClientID+"-admin", nil)...)
	if err != nil {
		return fmt.Errorf("admin client: %w", err)
	}
	i.admin = &admin{client: client, adm: kadm.NewClient(client), group: i.cfg.ApplicationID, timeout: i.cfg.RequestTimeout}
	for n := range i.cfg.StreamThreads {
		i.threads = append(i.threads, newThread(i.ctx, i, n+1))
	}
	for _, t := range i.threads {
		i.launch(t, 0)
	}
	if i.cfg.StateCleanupDelay > 0 {
		i.wg.Go(i.cleanState)
	}
	return nil
}

// cleanState deletes the state of tasks that have been somewhere else for long.
func (i *Instance) cleanState() {
	ticker := time.NewTicker(i.cfg.StateCleanupDelay)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-i.closed:
			return
		}
		if current, _ := i.state.get(); current != InstanceRunning {
			continue
		}
		removed, err := i.directory.CleanObsolete(i.cfg.StateCleanupDelay, time.Now())
		if err != nil {
			i.log.Warn("cleaning state", "error", err)
		}
		for _, task := range removed {
			i.log.Info("Deleting obsolete state directory", "task", task)
		}
	}
}

// launch runs a thread after a pause and reacts to its death.
func (i *Instance) launch(t *StreamThread, pause time.Duration) {
	i.wg.Go(func() {
		if pause > 0 {
			timer := time.NewTimer(pause)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-i.closed: // the thread then ends as soon as it has begun
			}
		}
		if err := t.run(); err != nil {
			i.onThreadDeath(t, err)
		}
	})
}

// threadChanged drives the instance's state from those of its threads.
func (i *Instance) threadChanged(to ThreadState) {
	switch to {
	case ThreadPartitionsRevoked, ThreadPartitionsAssigned:
		i.setState(InstanceRebalancing)
	case ThreadRunning:
		i.mu.Lock()
		all := !slices.ContainsFunc(i.threads, func(t *StreamThread) bool {
			return !t.in(ThreadRunning) && !t.in(ThreadDead) && !t.in(ThreadPendingShutdown)
		})
		i.mu.Unlock()
		if current, _ := i.state.get(); all && current == InstanceRebalancing {
			i.setState(InstanceRunning)
		}
	default:
	}
}

// setState changes the state; the drivers ask often, and a refusal is not worth more than a debug line.
func (i *Instance) setState(next InstanceState) {
	if _, err := i.state.to(next); err != nil {
		i.log.Debug("state", "error", err)
	}
}

func (i *Instance) emit(e journal.Event) {
	if i.env.Journal != nil {
		i.env.Journal.Emit(e)
	}
}

// transactionalID names the producer of a thread (exactly_once_v2): stable for a state directory and an index, so that a
// restarted thread fences its predecessor at once. Under at_least_once producers have none.
func (i *Instance) transactionalID(index int) string {
	if !i.cfg.Guarantee.Transactional() {
		return ""
	}
	if i.cfg.Policy.SharedTransactionalID {
		return i.cfg.ApplicationID + "-shared"
	}
	return fmt.Sprintf("%s-%s-%d", i.cfg.ApplicationID, i.directory.ProcessID(), index)
}

// groupInstanceID names a static member; empty for a dynamic one.
func (i *Instance) groupInstanceID(index int) string {
	if i.cfg.GroupInstanceID == "" {
		return ""
	}
	return fmt.Sprintf("%s-%d", i.cfg.GroupInstanceID, index)
}

// Close commits, closes all tasks, leaves the group and ends every thread. When ctx ends first the threads are told to
// stop at once; Close still waits for them, which then takes at most the time-outs of the calls they are in.
func (i *Instance) Close(ctx context.Context) error {
	i.setState(InstancePendingShutdown)
	err := i.end(ctx)
	i.failing.Wait()
	i.setState(InstanceNotRunning)
	return err
}

// CloseWithoutLeaving is Close, but the members stay in the group: their tasks are kept for them until the session time-out, so
// that a restart within it moves nothing (Kafka Streams' default, internal.leave.group.on.close=false).
func (i *Instance) CloseWithoutLeaving(ctx context.Context) error {
	i.stay.Store(true)
	return i.Close(ctx)
}

// end stops every thread and releases what they used.
func (i *Instance) end(ctx context.Context) error {
	i.once.Do(func() { close(i.closed) })
	for _, t := range i.list() { // whoever adds one from now on sees the state, and does not
		t.stop.Store(true)
		t.interrupt()
	}
	ended := make(chan struct{})
	go func() {
		i.wg.Wait()
		close(ended)
	}()
	var err error
	select {
	case <-ended:
	case <-ctx.Done():
		err = fmt.Errorf("instance %s: clean shutdown not finished: %w", i.cfg.ClientID, ctx.Err())
		if i.cancel != nil {
			i.cancel()
		}
		<-ended
	}
	i.ended.Do(func() {
		if i.cancel != nil {
			i.cancel()
		}
		if i.admin != nil {
			i.admin.client.Close()
		}
		if i.ownCache {
			i.cache.Close()
		}
		err = errors.Join(err, i.directory.Close())
	})
	return err
}

// list returns the threads that are there now.
func (i *Instance) list() []*StreamThread {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.threads)
}

// Status assembles what the threads have published.
func (i *Instance) Status() InstanceStatus {
	current, since := i.state.get()
	s := InstanceStatus{Name: i.cfg.ClientID, ProcessID: i.directory.ProcessID(), State: string(current), Since: since, Connected: false, Paused: i.paused.Load()}
	i.mu.Lock()
	s.Removed = i.removed
	i.mu.Unlock()
	for _, t := range i.list() {
		status := t.Status()
		s.Threads = append(s.Threads, status)
		s.Connected = s.Connected || status.Connected
		if !status.Connected && (s.DisconnectedSince.IsZero() || status.DisconnectedSince.After(s.DisconnectedSince)) {
			s.DisconnectedSince = status.DisconnectedSince
		}
	}
	if s.Connected {
		s.DisconnectedSince = time.Time{}
	}
	return s
}

// Deaths returns the threads that died, oldest first, and how many were replaced.
func (i *Instance) Deaths() ([]ThreadDeath, int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.dead), i.replaced
}
