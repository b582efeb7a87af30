package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"time"

	"eostop/runtime/journal"
	"eostop/runtime/metrics"
	"eostop/runtime/state"
	"eostop/runtime/topology"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/sasl"
)

// Config configures one instance. All instances of an application share everything but ClientID and StateDir.
type Config struct {
	// ApplicationID is the consumer group, and the prefix of internal topics and transactional ids.
	ApplicationID string
	// ClientID names the instance; its threads are called <ClientID>-StreamThread-<n>.
	ClientID string
	// StreamThreads is the number of stream threads.
	StreamThreads int
	// StateDir is the instance's own state directory.
	StateDir string

	Guarantee Guarantee // processing guarantee
	StateMode StateMode

	CommitInterval    time.Duration // between two commits of a thread
	PollInterval      time.Duration // the longest that a thread waits for records (Kafka's poll.ms)
	MaxPollRecords    int           // records taken at once
	FetchMaxWait      time.Duration // how long the broker keeps a fetch that has nothing to bring (fetch.max.wait.ms)
	SessionTimeout    time.Duration // after which the group expels a silent member
	HeartbeatInterval time.Duration
	RebalanceTimeout  time.Duration // how long the group waits for a member to rejoin
	// TransactionTimeout is the broker's limit for an open transaction, and our limit for a commit.
	TransactionTimeout time.Duration
	RequestTimeout     time.Duration // how long a request may stay unanswered
	DialTimeout        time.Duration

	// StandbyReplicas is how many instances besides its owner keep a copy of each stateful task up to date.
	StandbyReplicas int
	// AcceptableRecoveryLag is how many changelog records an instance may lack of a task that is moved to it at once; a task that
	// lacks more is warmed up first (KIP-441). -1 = unlimited: tasks always move at once.
	AcceptableRecoveryLag int64
	// MaxWarmupReplicas is how many tasks are warmed up at a time, in the whole group.
	MaxWarmupReplicas int
	// InitialRebalanceDelay is how long the first member of a group that begins waits for others before it assigns anything, so
	// that tasks go to where their state is at once, and not through the first member that is there. It is for brokers whose
	// group.initial.rebalance.delay.ms is short, and for groups whose members have state on disk. 0 = not at all.
	InitialRebalanceDelay time.Duration
	// ProbingInterval is the time after which the group looks again whether what is warmed up has caught up.
	ProbingInterval time.Duration

	// ReplicationFactor of internal topics; -1 takes the broker's default.
	ReplicationFactor int16
	// TopicConfigs are settings that internal topics are created with besides those that they need, e.g. min.insync.replicas.
	TopicConfigs map[string]string
	// CompactChangelogs creates changelogs with cleanup.policy=compact. Without it ChangelogRewriteInterval must be set, or
	// changelogs grow for ever.
	CompactChangelogs bool
	// ChangelogRewriteInterval is the time in which the live entries of each store are written to its changelog once more, so
	// that older records can be deleted; 0 switches it off.
	ChangelogRewriteInterval time.Duration
	// RepartitionPurgeInterval is how often consumed and committed records of repartition topics are deleted; 0 switches it off.
	RepartitionPurgeInterval time.Duration
	// ActiveFencing lets the group's leader abort what expelled members left open, instead of waiting for the transaction time-out.
	ActiveFencing bool
	// TaskTimeout is how long a step of a task may fail again and again, while brokers can be reached, before the thread
	// dies of it (task.timeout.ms).
	TaskTimeout time.Duration
	// MaxTaskIdle is how long a task waits for an input that has nothing although it is not behind, so that it processes
	// its inputs in the order of time; negative: it never waits, not even for records that it knows of (max.task.idle.ms).
	MaxTaskIdle time.Duration
	// BufferedRecords is how many fetched records of a partition may wait before it is no longer fetched
	// (buffered.records.per.partition).
	BufferedRecords int
	// RecordCache is the size of the instance's record cache in bytes, shared by its threads: updates of a table within a
	// commit interval become one (statestore.cache.max.bytes). 0: every update goes on at once.
	RecordCache int64
	// StateCleanupDelay is after how long the state of a task that is somewhere else is deleted (state.cleanup.delay.ms); 0: never.
	StateCleanupDelay time.Duration
	// RecordingLevel says how much the stores measure of themselves.
	RecordingLevel state.RecordingLevel
	// GroupInstanceID makes the threads static members of the group, called <GroupInstanceID>-<n>: the group keeps their
	// tasks for them until the session time-out when they go away (KIP-345). Empty: dynamic members.
	GroupInstanceID string
	// DeserializationHandler, ProcessingHandler (KIP-1033) and SerializationHandler decide about records that the program fails
	// with; nil fails. They are called in the thread's goroutine.
	DeserializationHandler, ProcessingHandler, SerializationHandler func(topology.Failure) topology.Response
	// ProductionHandler and UncaughtHandler decide about errors; nil takes the defaults.
	ProductionHandler ProductionHandler
	UncaughtHandler   UncaughtHandler
	// Policy makes known bugs happen again; its zero value is right.
	Policy Policy
	// MaxMigrations in a row of one thread, without a commit between, are fatal: they would hide a mistake of ours.
	MaxMigrations int
	// StateFlushInterval is how often stores bring what was committed to the disk in the background. After a crash the changelog's
	// records since then are restored. 0 = only when a memtable is full, and at the close.
	StateFlushInterval time.Duration
	// Memtable is the size of a store's memtable in bytes.
	Memtable int
}

// DefaultConfig returns the defaults of a configuration; ApplicationID, ClientID and StateDir are left to be set.
func DefaultConfig() Config {
	return Config{
		StreamThreads:            3,
		Guarantee:                ExactlyOnceV2,
		StateMode:                StateTransactional,
		TaskTimeout:              5 * time.Minute,
		BufferedRecords:          1000,
		RecordCache:              10 << 20,
		StateCleanupDelay:        10 * time.Minute,
		CommitInterval:           100 * time.Millisecond,
		PollInterval:             100 * time.Millisecond,
		MaxPollRecords:           1000,
		FetchMaxWait:             500 * time.Millisecond,
		SessionTimeout:           10 * time.Second,
		HeartbeatInterval:        time.Second,
		RebalanceTimeout:         15 * time.Second,
		TransactionTimeout:       10 * time.Second,
		RequestTimeout:           10 * time.Second,
		DialTimeout:              2 * time.Second,
		AcceptableRecoveryLag:    unlimitedLag,
		MaxWarmupReplicas:        2,
		InitialRebalanceDelay:    500 * time.Millisecond,
		ProbingInterval:          10 * time.Minute,
		ReplicationFactor:        -1,
		CompactChangelogs:        true,
		RepartitionPurgeInterval: 30 * time.Second,
		ActiveFencing:            true,
		MaxMigrations:            20,
		Memtable:                 1 << 20,
		StateFlushInterval:       10 * time.Second,
	}
}

// Validate reports everything that is wrong, each problem with the field first.
func (c *Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.ApplicationID != "", "ApplicationID: must not be empty")
	check(c.ClientID != "", "ClientID: must not be empty")
	check(c.StateDir != "", "StateDir: must not be empty")
	check(c.StreamThreads > 0, "StreamThreads: %d, must be at least 1", c.StreamThreads)
	check(slices.Contains(Guarantees(), c.Guarantee), "Guarantee: %q, must be one of %v", c.Guarantee, Guarantees())
	check(slices.Contains(StateModes(), c.StateMode), "StateMode: %q, must be one of %v", c.StateMode, StateModes())
	check(c.TaskTimeout >= 0, "TaskTimeout: %v, must not be negative", c.TaskTimeout)
	check(c.RecordCache >= 0, "RecordCache: %d, must not be negative", c.RecordCache)
	check(c.StateCleanupDelay >= 0, "StateCleanupDelay: %v, must not be negative", c.StateCleanupDelay)
	check(c.BufferedRecords > 0, "BufferedRecords: %d, must be at least 1", c.BufferedRecords)
	check(c.CommitInterval > 0, "CommitInterval: %v, must be positive", c.CommitInterval)
	check(c.FetchMaxWait > 0, "FetchMaxWait: %v, must be positive", c.FetchMaxWait)
	check(c.PollInterval > 0, "PollInterval: %v, must be positive", c.PollInterval)
	check(c.MaxPollRecords > 0, "MaxPollRecords: %d, must be at least 1", c.MaxPollRecords)
	check(c.HeartbeatInterval > 0 && c.HeartbeatInterval < c.SessionTimeout,
		"HeartbeatInterval: %v, must be positive and shorter than SessionTimeout (%v)", c.HeartbeatInterval, c.SessionTimeout)
	check(c.RebalanceTimeout > 0, "RebalanceTimeout: %v, must be positive", c.RebalanceTimeout)
	check(c.TransactionTimeout > c.CommitInterval,
		"TransactionTimeout: %v, must be longer than CommitInterval (%v)", c.TransactionTimeout, c.CommitInterval)
	check(c.RequestTimeout > 0, "RequestTimeout: %v, must be positive", c.RequestTimeout)
	check(c.DialTimeout > 0, "DialTimeout: %v, must be positive", c.DialTimeout)
	check(c.MaxMigrations > 0, "MaxMigrations: %d, must be at least 1", c.MaxMigrations)
	check(c.StandbyReplicas >= 0, "StandbyReplicas: %d, must not be negative", c.StandbyReplicas)
	check(c.AcceptableRecoveryLag >= unlimitedLag, "AcceptableRecoveryLag: %d, must not be negative, or -1 for unlimited", c.AcceptableRecoveryLag)
	check(c.MaxWarmupReplicas > 0, "MaxWarmupReplicas: %d, must be at least 1", c.MaxWarmupReplicas)
	check(c.InitialRebalanceDelay >= 0, "InitialRebalanceDelay: %v, must not be negative", c.InitialRebalanceDelay)
	check(c.ProbingInterval > 0, "ProbingInterval: %v, must be positive", c.ProbingInterval)
	check(c.ReplicationFactor == -1 || c.ReplicationFactor > 0, "ReplicationFactor: %d, must be positive, or -1 for the broker's default", c.ReplicationFactor)
	check(c.ChangelogRewriteInterval >= 0, "ChangelogRewriteInterval: %v, must not be negative", c.ChangelogRewriteInterval)
	check(c.RepartitionPurgeInterval >= 0, "RepartitionPurgeInterval: %v, must not be negative", c.RepartitionPurgeInterval)
	options := state.StoreOptions{MemtableBytes: c.Memtable, FlushInterval: c.StateFlushInterval}
	if err := options.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("%s: %w", "Memtable", err))
	}
	return errors.Join(errs...)
}

// Env is what an instance needs from the outside. Brokers is required; the rest has usable zero values.
type Env struct {
	// Brokers are the bootstrap addresses, HOST:PORT.
	Brokers []string
	// Dial opens every connection of the instance; nil dials TCP.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// SASL are the mechanisms that clients authenticate themselves with, the preferred one first; none without SASL.
	SASL []sasl.Mechanism
	// ClusterID ties the state directory to one cluster.
	ClusterID string
	// FS holds the state directory; nil is the disk.
	FS vfs.FS
	// Cache is shared by all stores of the process; nil makes one of the instance's own.
	Cache *state.Cache
	// Journal receives the events; nil drops them.
	Journal *journal.Journal
	// Logger receives what the journal does not: the clients' own log. Nil drops it.
	Logger *slog.Logger
	// OnOpenStore, when set, is called when a store is about to be opened; its error is what the opening fails with.
	OnOpenStore func(task, store string) error
	// OnWipe, when set, is called when a task's folder was thrown away after an unclean close.
	OnWipe func(task string)
	// OnLoop, when set, is called by each stream thread's own goroutine once in each round of its loop, before it polls. It
	// may block or panic: it is where stalls and crashes are injected.
	OnLoop func(thread string)
	// Now is the wall clock, which punctuators, timestamp extractors and probing rebalances go by: it is where jumps of the clock
	// are injected. Nil is time.Now. How long something takes is never measured with it.
	Now func() time.Time
	// Metrics receives what the instance measures. It is the instance's own; nil measures nothing.
	Metrics *metrics.Registry
}
