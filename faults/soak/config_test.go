package soak

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// embedded returns the text of the config.yaml at the root of the module.
func embedded(tb testing.TB) []byte {
	tb.Helper()
	text, err := os.ReadFile("../../config.yaml")
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

func TestDefaultIsValid(t *testing.T) {
	c := Default()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
}

func TestEmbeddedFileIsTheDefault(t *testing.T) {
	var c Config // Not Default: each key must be in the file.
	keys, err := readYAML("config.yaml", embedded(t), &c, configFile)
	if err != nil {
		t.Fatal(err)
	}
	if want := Default(); !reflect.DeepEqual(c, want) {
		t.Errorf("config.yaml says\n%+v\nDefault says\n%+v", c, want)
	}
	for _, s := range settings(&c) {
		if !keys[s.key] {
			t.Errorf("config.yaml does not have %s", s.key)
		}
	}
}

func TestEmbeddedFileExplainsEachKey(t *testing.T) {
	lines := strings.Split(string(embedded(t)), "\n")
	for i, line := range lines {
		// Keys that share a comment stand below one another.
		if strings.HasPrefix(line, "  ") && !strings.Contains(line, "#") && strings.Contains(line, ":") {
			above := strings.TrimSpace(lines[i-1])
			if !strings.HasPrefix(above, "#") && !strings.HasPrefix(above, "instances:") {
				t.Errorf("config.yaml:%d: %q has no comment above it", i+1, line)
			}
		}
	}
}

func TestValidateNamesKeyAndValidValues(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"id empty", func(c *Config) { c.Application.ID = "" }, `application.id: "" is not a valid id; valid: 1 to 150 letters`},
		{"id with slash", func(c *Config) { c.Application.ID = "a/b" }, `application.id: "a/b" is not`},
		{"id is a folder", func(c *Config) { c.Application.ID = ".." }, `application.id: ".."`},
		{"id long", func(c *Config) { c.Application.ID = strings.Repeat("a", 151) }, `application.id:`},
		{"name", func(c *Config) { c.Application.Name = "a b" }, `application.name: "a b" is not a valid prefix; valid: letters`},
		{"topology", func(c *Config) { c.Application.Topology = "wordcuont" }, `application.topology: "wordcuont" is not a topology; valid: soak, passthrough, wordcount, eostest, eostest-complex`},
		{"input without load", func(c *Config) { c.Load.Enabled, c.Load.Input = false, "x" }, `load.input: x, but there is no load`},
		{"broker", func(c *Config) { c.Cluster.Brokers = []string{"a:1", "b"} }, `cluster.brokers[1]: "b" is not an address; write HOST:PORT`},
		{"broker port", func(c *Config) { c.Cluster.Brokers = []string{"a:0"} }, `cluster.brokers[0]: "a:0"`},
		{"nodes", func(c *Config) { c.Cluster.Embedded.Nodes = 0 }, `cluster.embedded.nodes: 0 is out of range; valid: 1 to 100`},
		{"version", func(c *Config) { c.Cluster.Embedded.Version = "9.9" }, `cluster.embedded.version: "9.9" is not a Kafka version`},
		{"version too old", func(c *Config) { c.Cluster.Embedded.Version = "2.4" }, `cluster.embedded.version: "2.4"`},
		{"listen", func(c *Config) { c.Cluster.Embedded.Listen = ":9092" }, `cluster.embedded.listen: ":9092" is not an address`},
		{"listen and brokers", func(c *Config) { c.Cluster.Brokers, c.Cluster.Embedded.Listen = []string{"a:1"}, "a:1" }, `cluster.embedded.listen: set together with cluster.brokers`},
		{"segment", func(c *Config) { c.Cluster.Embedded.SegmentBytes = 1 }, `cluster.embedded.segment_bytes: 1 is out of range; valid: 4KiB to 64MiB`},
		{"replication", func(c *Config) { c.Cluster.ReplicationFactor = -2 }, `cluster.replication_factor: -2 is out of range; valid: 0`},
		{"partitions", func(c *Config) { c.Cluster.Partitions = 0 }, `cluster.partitions: 0 is out of range; valid: 1 to`},
		{"guarantee", func(c *Config) { c.Runtime.Guarantee = "twice" }, `runtime.guarantee: "twice" is not a guarantee; valid: exactly_once_v2, exactly_once, at_least_once`},
		{"instances", func(c *Config) { c.Runtime.Instances = 0 }, `runtime.instances: 0 is out of range; valid: 1 to 64`},
		{"threads", func(c *Config) { c.Runtime.Threads = -1 }, `runtime.threads: -1 is out of range; valid: 1 to 64`},
		{"state mode", func(c *Config) { c.Runtime.StateMode = "eager" }, `runtime.state_mode: "eager" is not a state mode; valid: transactional, wipe`},
		{"commit", func(c *Config) { c.Runtime.CommitInterval = 0 }, `runtime.commit_interval: 0s is out of range; valid: 1ms to 15m`},
		{"session", func(c *Config) { c.Runtime.SessionTimeout = time.Hour }, `runtime.session_timeout: 1h is out of range`},
		{"session, embedded", func(c *Config) { c.Runtime.SessionTimeout = 5 * time.Second }, `runtime.session_timeout: 5s is out of range; valid: 6s to 30m`},
		{"heartbeat", func(c *Config) { c.Runtime.HeartbeatInterval = 10 * time.Second }, `runtime.heartbeat_interval: 10s is out of range; valid: above 0s and below runtime.session_timeout (10s)`},
		{"transaction", func(c *Config) { c.Runtime.TransactionTimeout = time.Millisecond }, `runtime.transaction_timeout: 1ms is out of range`},
		{"transaction, embedded", func(c *Config) { c.Runtime.TransactionTimeout = 20 * time.Minute }, `runtime.transaction_timeout: 20m is out of range; valid: above runtime.commit_interval (100ms) and up to 15m`},
		{"rebalance", func(c *Config) { c.Runtime.RebalanceTimeout = 0 }, `runtime.rebalance_timeout: 0s`},
		{"cache", func(c *Config) { c.Runtime.StoreCache = 5 }, `runtime.store_cache: 5 is too small`},
		{"memtable", func(c *Config) { c.Runtime.StoreMemtable = 5 }, `runtime.store_memtable: 5 is out of range`},
		{"rewrite", func(c *Config) { c.Runtime.ChangelogRewriteInterval = -1 }, `runtime.changelog_rewrite_interval: -1ns is negative`},
		{"purge", func(c *Config) { c.Runtime.RepartitionPurgeInterval = -1 }, `runtime.repartition_purge_interval: -1ns is negative`},
		{"recording", func(c *Config) { c.Runtime.RecordingLevel = "loud" }, `runtime.recording_level: "loud" is not a recording level; valid: info, debug, trace`},
		{"poll", func(c *Config) { c.Runtime.PollInterval = 0 }, `runtime.poll_interval: 0s is out of range; valid: 1ms to 1m`},
		{"fetch", func(c *Config) { c.Runtime.FetchMaxWait = 2 * time.Second }, `runtime.fetch_max_wait: 2s is out of range; valid: 1ms to 1.5s`},
		{"interval", func(c *Config) { c.Load.Interval = time.Minute }, `load.interval: 1m is out of range; valid: 1ms to 5s`},
		{"burst", func(c *Config) { c.Load.Interval = 2 * time.Second }, `load.interval: 2s at 20000 records a second is more than 20000 at once; make it shorter`},
		{"rate", func(c *Config) { c.Load.Rate = 0 }, `load.rate: 0 is out of range`},
		{"records", func(c *Config) { c.Load.Records = -1 }, `load.records: -1 is negative`},
		{"duration", func(c *Config) { c.Load.Duration = -time.Second }, `load.duration: -1s is negative`},
		{"keys", func(c *Config) { c.Load.Keys = 0 }, `load.keys: 0 is out of range`},
		{"value", func(c *Config) { c.Load.ValueBytes = 7 }, `load.value_bytes: 7 is out of range; valid: 8 to`},
		{"profile that never existed", func(c *Config) { c.Faults.Profile = "kafka-2.3" }, `faults.profile: kafka-2.3 never existed with exactly_once_v2; valid with it: runtime.guarantee exactly_once, at_least_once`},
		{"profile", func(c *Config) { c.Faults.Profile = "x" }, `faults.profile: "x" is not a profile; valid: fixed, kafka-4.3, kafka-2.4.0-rc, kafka-2.3, no-reinit, read-uncommitted-restore, restart-on-fence, shared-txn-id, commit-after-failed-send, forget-generation`},
		{"schedule", func(c *Config) { c.Faults.Schedule = "x" }, `faults.schedule: "x" is not a schedule; valid: soak, soak-2019, storm, timeouts, flap, mixed, scripted, or a file`},
		{"shrink", func(c *Config) { c.Faults.Shrink, c.Cluster.Brokers = true, []string{"a:1"} }, `faults.shrink: is for the embedded broker only`},
		{"verifier", func(c *Config) { c.Verify.Interval = 0 }, `verify.interval: 0s is out of range; valid: 1ms to 1m`},
		{"snapshots", func(c *Config) { c.Session.SnapshotInterval = -1 }, `session.snapshot_interval: -1ns is negative; valid: 0s (none) and more`},
		{"theme", func(c *Config) { c.UI.Theme = "pink" }, `ui.theme: "pink" is not a theme; valid: ansi, colorblind, mono`},
		{"fps", func(c *Config) { c.UI.FPS = 31 }, `ui.fps: 31 is out of range; valid: 1 to 30`},
		{"pprof", func(c *Config) { c.Session.Pprof = "6060" }, `session.pprof: "6060" is not an address`},
		{"log level", func(c *Config) { c.Session.LogLevel = "trace" }, `session.log_level: "trace" is not a log level; valid: debug, info, warn, error`},
		{"memory", func(c *Config) { c.Session.Memory = 0 }, `session.memory: 0 is too small`},
		{"cut of nobody", func(c *Config) { c.Faults.Cuts = []CutSpec{cut(t, "i4@1s+1s")} }, `faults.cuts[0]: there is no instance "i4"; valid: i1, i2, i3`},
		{"cut without length", func(c *Config) { c.Faults.Cuts = []CutSpec{{Instance: "i1"}} }, `faults.cuts[0]: lasts 0s; valid: more than 0s`},
		{"fault kind", func(c *Config) {
			c.Faults.Faults = []FaultSpec{{Kind: "x", Instance: "i1", Thread: 1}}
		}, `faults.faults[0]: "x" is not a kind of fault; valid: panic, stall, disk-full`},
		{"cut after the end", func(c *Config) {
			c.Load.Duration, c.Faults.Cuts = time.Minute, []CutSpec{cut(t, "i1@60s+1s")}
		}, `faults.cuts[0]: starts at 1m, but the run ends at load.duration (1m)`},
		{"cuts overlap", func(c *Config) {
			c.Faults.Cuts = []CutSpec{cut(t, "i1@10s+10s"), cut(t, "i2@10s+10s"), cut(t, "i1@19s+5s:in")}
		}, `faults.cuts[2]: i1@19s+5s:in overlaps i1@10s+10s`},
		{"fault thread", func(c *Config) {
			c.Faults.Faults = []FaultSpec{{Kind: FaultPanic, Instance: "i1", Thread: 4}}
		}, `faults.faults[0]: there is no thread 4; valid: 1 to 3`},
		{"fault instance", func(c *Config) {
			c.Faults.Faults = []FaultSpec{{Kind: FaultPanic, Instance: "j1", Thread: 1}}
		}, `faults.faults[0]: there is no instance "j1"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := Default()
			tt.change(&c)
			problems := Problems(c.Validate())
			if !slices.ContainsFunc(problems, func(err error) bool { return strings.HasPrefix(err.Error(), tt.want) }) {
				t.Errorf("problems %q, want one that begins with %q", problems, tt.want)
			}
		})
	}
}

func TestValidateReportsEveryProblem(t *testing.T) {
	c := Config{}
	if n := len(Problems(c.Validate())); n < 15 {
		t.Errorf("%d problems in a zero configuration, want more:\n%v", n, c.Validate())
	}
}

func TestARealClusterMayHaveShorterSessions(t *testing.T) {
	c := Default()
	c.Cluster.Brokers, c.Runtime.SessionTimeout = []string{"localhost:9092"}, 2*time.Second
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
}

func TestCutsThatTouchDoNotOverlap(t *testing.T) {
	c := Default()
	c.Faults.Cuts = []CutSpec{cut(t, "i1@10s+10s"), cut(t, "i1@20s+5s"), cut(t, "i2@12s+10s"), cut(t, "i3@12s+10s")}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
}

func TestManyInstancesAreNamedByTheirEnds(t *testing.T) {
	c := Default()
	c.Application.Name, c.Runtime.Instances = "node-", 12
	c.Faults.Cuts = []CutSpec{cut(t, "x@1s+1s")}
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "valid: node-1 to node-12") {
		t.Error(err)
	}
}

func TestSize(t *testing.T) {
	tests := []struct {
		text string
		want Size
		back string
	}{
		{"0", 0, "0"},
		{"512", 512, "512"},
		{"512B", 512, "512"},
		{"1024", 1024, "1KiB"},
		{"10MiB", 10 << 20, "10MiB"},
		{"10 MiB", 10 << 20, "10MiB"},
		{"3GiB", 3 << 30, "3GiB"},
		{"1MB", 1e6, "1000000"},
		{"1536KiB", 1536 << 10, "1536KiB"},
	}
	for _, tt := range tests {
		got, err := ParseSize(tt.text)
		if err != nil || got != tt.want || got.String() != tt.back {
			t.Errorf("ParseSize(%q) = %d (%s), %v; want %d (%s)", tt.text, got, got, err, tt.want, tt.back)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "1.5MiB", "10mib", "9999999999GiB", "1TiB"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q) = %d, want an error", text, got)
		}
	}
}

func TestFormatDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 100 * time.Millisecond: "100ms", 10 * time.Second: "10s", time.Minute: "1m", 90 * time.Second: "1m30s",
		time.Hour: "1h", 90 * time.Minute: "1h30m", time.Hour + time.Second: "1h0m1s", 10 * time.Minute: "10m", 100 * time.Hour: "100h",
	} {
		if got := formatDuration(d); got != want {
			t.Errorf("formatDuration(%v) = %q, want %q", d, got, want)
		}
		if back, err := parseDuration(want); err != nil || back != d {
			t.Errorf("parseDuration(%q) = %v, %v", want, back, err)
		}
	}
}
