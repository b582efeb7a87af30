package soak

import (
	"fmt"
	"time"

	"eostop/runtime"
)

// Config is everything that can be set for a run. Its YAML keys are the names in the tags, joined by dots; config.yaml
// at the root of the module describes each of them.
type Config struct {
	Application ApplicationSettings `yaml:"application"`
	Cluster     ClusterSettings     `yaml:"cluster"`
	Runtime     RuntimeSettings     `yaml:"runtime"`
	Load        LoadSettings        `yaml:"load"`
	Faults      FaultsSettings      `yaml:"faults"`
	Verify      VerifySettings      `yaml:"verify"`
	UI          UISettings          `yaml:"ui"`
	Session     SessionSettings     `yaml:"session"`
}

// ApplicationSettings names the application and says what it computes.
type ApplicationSettings struct {
	ID       string `yaml:"id"`       // application.id of Kafka Streams: the group, and the prefix of topics and transactional ids
	Name     string `yaml:"name"`     // instances are called NAME1, NAME2, ..
	Topology string `yaml:"topology"` // name of the built-in program
}

// ClusterSettings says which brokers the application runs on.
type ClusterSettings struct {
	Brokers           []string         `yaml:"brokers"` // HOST:PORT; empty = the embedded broker
	Embedded          EmbeddedSettings `yaml:"embedded"`
	ReplicationFactor int              `yaml:"replication_factor"` // of topics that are created; 0 = three, or as many as there are brokers; -1 = the cluster's default
	Partitions        int              `yaml:"partitions"`         // of the input topic
	TLS               TLSSettings      `yaml:"tls"`
	SASL              SASLSettings     `yaml:"sasl"`
}

// EmbeddedSettings configures the broker inside this process.
type EmbeddedSettings struct {
	Nodes        int    `yaml:"nodes"`
	Version      string `yaml:"version"`       // the Kafka version that it speaks like, e.g. "3.7"
	Listen       string `yaml:"listen"`        // HOST:PORT of the first node; empty = reachable from this process only
	SegmentBytes Size   `yaml:"segment_bytes"` // size of a log segment, the unit in which old records are freed
	// Settle is how long coordinators load at the start, and new topics have no leader.
	Settle time.Duration `yaml:"settle"`
}

// RuntimeSettings configures the instances of the application.
type RuntimeSettings struct {
	Guarantee                string        `yaml:"guarantee"`
	Instances                int           `yaml:"instances"`
	Threads                  int           `yaml:"threads"`   // of each instance
	StateDir                 string        `yaml:"state_dir"` // empty = chosen by the session
	StateMode                string        `yaml:"state_mode"`
	CommitInterval           time.Duration `yaml:"commit_interval"`
	PollInterval             time.Duration `yaml:"poll_interval"`  // the longest that a thread waits for records
	FetchMaxWait             time.Duration `yaml:"fetch_max_wait"` // how long the broker keeps a fetch that has nothing to bring
	SessionTimeout           time.Duration `yaml:"session_timeout"`
	HeartbeatInterval        time.Duration `yaml:"heartbeat_interval"`
	RebalanceTimeout         time.Duration `yaml:"rebalance_timeout"`
	TransactionTimeout       time.Duration `yaml:"transaction_timeout"`
	StoreCache               Size          `yaml:"store_cache"`                // block cache shared by all stores of the process
	StoreMemtable            Size          `yaml:"store_memtable"`             // of each store
	StateFlushInterval       time.Duration `yaml:"state_flush_interval"`       // 0 = never
	ChangelogRewriteInterval time.Duration `yaml:"changelog_rewrite_interval"` // embedded broker only; 0 = never
	RepartitionPurgeInterval time.Duration `yaml:"repartition_purge_interval"` // 0 = never
	RecordCache              Size          `yaml:"record_cache"`               // of each instance; 0 = off
	StateCleanupDelay        time.Duration `yaml:"state_cleanup_delay"`        // 0 = never
	StandbyReplicas          int           `yaml:"standby_replicas"`
	AcceptableRecoveryLag    Lag           `yaml:"acceptable_recovery_lag"`
	MaxWarmupReplicas        int           `yaml:"max_warmup_replicas"`
	InitialRebalanceDelay    time.Duration `yaml:"initial_rebalance_delay"`
	ProbingRebalanceInterval time.Duration `yaml:"probing_rebalance_interval"`
	TaskTimeout              time.Duration `yaml:"task_timeout"`
	MaxTaskIdle              time.Duration `yaml:"max_task_idle"` // negative = never wait
	BufferedRecords          int           `yaml:"buffered_records"`
	StaticMembership         bool          `yaml:"static_membership"`
	RecordingLevel           string        `yaml:"recording_level"`
	ActiveFencing            bool          `yaml:"active_fencing"`
}

// LoadSettings configures the load generator. With both Records and Duration the load stops at whichever comes first.
type LoadSettings struct {
	Enabled    bool          `yaml:"enabled"`
	Input      string        `yaml:"input"`    // text file whose lines are the records; empty = records are made up
	Rate       float64       `yaml:"rate"`     // records a second
	Interval   time.Duration `yaml:"interval"` // between two bursts that add up to the rate
	Records    int64         `yaml:"records"`  // 0 = no limit
	Duration   time.Duration `yaml:"duration"` // 0 = until stopped
	Keys       int           `yaml:"keys"`
	ValueBytes int           `yaml:"value_bytes"`
	Seed       int64         `yaml:"seed"` // 0 = a new one for each run, which the report states
}

// FaultsSettings says what is done to the application while it runs.
type FaultsSettings struct {
	Cuts     []CutSpec   `yaml:"cuts"`
	Faults   []FaultSpec `yaml:"faults"`
	Schedule string      `yaml:"schedule"` // name or file of more cuts and faults; empty = none
	Shrink   bool        `yaml:"shrink"`   // look for a shorter schedule when a run fails
	Profile  string      `yaml:"profile"`
}

// VerifySettings configures the verifier.
type VerifySettings struct {
	Enabled  bool          `yaml:"enabled"`
	Interval time.Duration `yaml:"interval"` // how long a fetch waits for records to come together
}

// UISettings configures the terminal.
type UISettings struct {
	Theme    string `yaml:"theme"`
	ASCII    bool   `yaml:"ascii"`    // no glyphs outside ASCII
	FPS      int    `yaml:"fps"`      // pictures a second
	Plain    bool   `yaml:"plain"`    // no dashboard, and progress as whole lines even on a terminal
	Headless bool   `yaml:"headless"` // no dashboard even on a terminal
}

// SessionSettings says what a session leaves behind, and how it can be looked into.
type SessionSettings struct {
	File             string        `yaml:"file"`              // session log, written while the session runs; empty = none
	SnapshotInterval time.Duration `yaml:"snapshot_interval"` // between two snapshots in the session log; 0 = none
	Report           string        `yaml:"report"`            // JSON report; empty = none
	JUnit            string        `yaml:"junit"`             // JUnit report; empty = none
	Metrics          string        `yaml:"metrics"`           // HOST:PORT of Prometheus metrics; empty = none
	Pprof            string        `yaml:"pprof"`             // HOST:PORT of the profiler; empty = none
	LogFile          string        `yaml:"log_file"`
	LogLevel         string        `yaml:"log_level"`
	Memory           Size          `yaml:"memory"` // session log kept in memory for an export
}

// Default returns the defaults, which are those of the embedded config.yaml.
func Default() Config {
	return Config{
		Application: ApplicationSettings{ID: "eostop", Name: "i", Topology: topologySoak},
		Cluster: ClusterSettings{
			Embedded:   EmbeddedSettings{Nodes: 1, Version: "3.7", SegmentBytes: 256 << 10},
			Partitions: 9,
		},
		Runtime: RuntimeSettings{
			Guarantee:                string(runtime.ExactlyOnceV2),
			Instances:                3,
			Threads:                  3,
			StateMode:                string(runtime.StateTransactional),
			CommitInterval:           100 * time.Millisecond,
			PollInterval:             100 * time.Millisecond,
			FetchMaxWait:             500 * time.Millisecond,
			SessionTimeout:           10 * time.Second,
			HeartbeatInterval:        time.Second,
			RebalanceTimeout:         15 * time.Second,
			TransactionTimeout:       10 * time.Second,
			StoreCache:               64 << 20,
			StoreMemtable:            1 << 20,
			StateFlushInterval:       10 * time.Second,
			ChangelogRewriteInterval: 15 * time.Second,
			RepartitionPurgeInterval: 30 * time.Second,
			RecordCache:              10 << 20,
			StateCleanupDelay:        10 * time.Minute,
			AcceptableRecoveryLag:    Unlimited,
			MaxWarmupReplicas:        2,
			InitialRebalanceDelay:    500 * time.Millisecond,
			ProbingRebalanceInterval: 10 * time.Minute,
			TaskTimeout:              5 * time.Minute,
			BufferedRecords:          1000,
			RecordingLevel:           "info",
			ActiveFencing:            true,
		},
		Load:    LoadSettings{Enabled: true, Rate: 20000, Interval: 5 * time.Millisecond, Keys: 10000, ValueBytes: 100},
		Faults:  FaultsSettings{Profile: profileFixed},
		Verify:  VerifySettings{Enabled: true, Interval: 50 * time.Millisecond},
		UI:      UISettings{Theme: "ansi", FPS: 10},
		Session: SessionSettings{SnapshotInterval: time.Second, LogLevel: "info", Memory: 64 << 20},
	}
}

// InstanceNames returns the names of the instances that a run starts with, in their order.
func (c *Config) InstanceNames() []string {
	names := make([]string, 0, max(c.Runtime.Instances, 0))
	for i := range max(c.Runtime.Instances, 0) {
		names = append(names, fmt.Sprintf("%s%d", c.Application.Name, i+1))
	}
	return names
}
