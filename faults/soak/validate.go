package soak

import (
	"errors"
	"fmt"
	"math"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"eostop/runtime"

	"github.com/twmb/franz-go/pkg/kversion"
)

// Names with a meaning beyond the configuration.
const (
	profileFixed = "fixed"
)

// Limits of values. The first three are those that brokers have when nothing else is configured
// (group.min.session.timeout.ms, group.max.session.timeout.ms since KIP-389, transaction.max.timeout.ms), and so the embedded one.
const (
	minSessionTimeout     = 6 * time.Second
	maxSessionTimeout     = 30 * time.Minute
	maxTransactionTimeout = 15 * time.Minute
	maxRequestTimeout     = math.MaxInt32 * time.Millisecond // what a request can carry
	maxInstances          = 64
	maxThreads            = 64
	maxNodes              = 100
	minSegmentBytes       = 4 << 10
	maxSegmentBytes       = 64 << 20
	maxApplicationID      = 150                     // leaves room for the rest of a topic's name, which has at most 249 characters
	minValueBytes         = 8                       // the amount at the beginning of each value
	maxFetchWait          = 1500 * time.Millisecond // threads show DISCONNECTED after a silence of 2 s
)

// A choice is a setting with a fixed set of values, of which some belong to later versions.
type choice struct {
	key, value string
	available  []string
	later      []string // known, but not available yet
	noun       string
}

// Validate reports every problem of the configuration, each with its key first (as *KeyError, joined by errors.Join).
func (c *Config) Validate() error {
	v := &validator{config: c}
	v.application()
	v.cluster()
	v.runtime()
	v.load()
	v.faults()
	v.rest()
	return errors.Join(v.errs...)
}

type validator struct {
	config *Config
	errs   []error
}

func (v *validator) check(ok bool, key, format string, args ...any) {
	if !ok {
		v.errs = append(v.errs, &KeyError{Key: key, Problem: fmt.Sprintf(format, args...)})
	}
}

func (v *validator) between(key string, value, low, high int) {
	v.check(value >= low && value <= high, key, "%d is out of range; valid: %d to %d", value, low, high)
}

func (v *validator) duration(key string, value, low, high time.Duration) {
	v.check(value >= low && value <= high, key, "%s is out of range; valid: %s to %s",
		formatDuration(value), formatDuration(low), formatDuration(high))
}

func (v *validator) choice(c choice) {
	if slices.Contains(c.available, c.value) {
		return
	}
	valid := strings.Join(c.available, ", ")
	if slices.Contains(c.later, c.value) {
		v.check(false, c.key, "%s is not available yet; valid: %s", c.value, valid)
		return
	}
	v.check(false, c.key, "%q is not a %s; valid: %s", c.value, c.noun, valid)
}

// namePattern holds what is allowed in names of topics, groups and folders.
var namePattern = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

func (v *validator) application() {
	a := &v.config.Application
	v.check(namePattern.MatchString(a.ID) && len(a.ID) <= maxApplicationID && a.ID != "." && a.ID != "..", "application.id",
		"%q is not a valid id; valid: 1 to %d letters, digits, dots, underscores and hyphens", a.ID, maxApplicationID)
	v.check(namePattern.MatchString(a.Name) && !strings.HasPrefix(a.Name, "."), "application.name",
		"%q is not a valid prefix; valid: letters, digits, dots, underscores and hyphens, no dot at the start", a.Name)
	v.choice(choice{"application.topology", a.Topology, TopologyNames(), nil, "topology"})
	named, _ := findBuiltin(a.Topology)
	v.check(named.talking == nil || v.config.Load.Input == "", "load.input", "topology %s takes numbers of 4 bytes, no lines of text; leave it out", a.Topology)
}

func (v *validator) cluster() {
	c := &v.config.Cluster
	for i, broker := range c.Brokers {
		key := fmt.Sprintf("cluster.brokers[%d]", i)
		v.check(validAddress(broker, false), key, "%q is not an address; write HOST:PORT, like localhost:9092", broker)
	}
	v.between("cluster.embedded.nodes", c.Embedded.Nodes, 1, maxNodes)
	v.check(emulated(c.Embedded.Version), "cluster.embedded.version",
		"%q is not a Kafka version with %s; valid: 2.5 to 2.8, 3.0 to 3.9, 4.0 and later, like 3.7", c.Embedded.Version, runtime.ExactlyOnceV2)
	v.check(c.Embedded.Listen == "" || validListen(c.Embedded.Listen), "cluster.embedded.listen",
		"%q is not an address that clients can connect to; write HOST:PORT, like 127.0.0.1:9092", c.Embedded.Listen)
	v.check(len(c.Brokers) == 0 || c.Embedded.Listen == "", "cluster.embedded.listen",
		"set together with cluster.brokers; with brokers there is no embedded one to listen")
	v.check(c.Embedded.SegmentBytes >= minSegmentBytes && c.Embedded.SegmentBytes <= maxSegmentBytes, "cluster.embedded.segment_bytes",
		"%s is out of range; valid: %s to %s", c.Embedded.SegmentBytes, Size(minSegmentBytes), Size(maxSegmentBytes))
	v.duration("cluster.embedded.settle", c.Embedded.Settle, 0, time.Minute)
	v.check(c.ReplicationFactor >= -1 && c.ReplicationFactor <= math.MaxInt16,
		"cluster.replication_factor", "%d is out of range; valid: 0 (three, or as many as there are brokers), -1 (the cluster's default), or 1 and more",
		c.ReplicationFactor)
	v.between("cluster.partitions", c.Partitions, 1, maxLoadPartitions)
	v.security()
}

// emulated says whether the embedded broker can speak like the version and transactions of exactly_once_v2 (KIP-447,
// Kafka 2.5) exist in it.
func emulated(version string) bool {
	major, rest, ok := strings.Cut(version, ".")
	if !ok || kversion.FromString(version) == nil {
		return false
	}
	minor, _, _ := strings.Cut(rest, ".")
	x, errX := strconv.Atoi(major)
	y, errY := strconv.Atoi(minor)
	return errX == nil && errY == nil && (x > 2 || (x == 2 && y >= 5))
}

// validAddress accepts HOST:PORT; an empty host means all interfaces, which only a listener can use.
func validAddress(address string, listener bool) bool {
	host, port, err := net.SplitHostPort(address)
	if err != nil || (host == "" && !listener) || strings.ContainsAny(host, " /,") {
		return false
	}
	n, err := strconv.Atoi(port)
	return err == nil && n <= math.MaxUint16 && (n > 0 || (n == 0 && listener))
}

// validListen accepts HOST:PORT whose host can be handed out to clients, which an unspecified one cannot.
func validListen(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && host != "" && (ip == nil || !ip.IsUnspecified()) && validAddress(address, true)
}

func (v *validator) runtime() {
	r := &v.config.Runtime
	v.choice(choice{"runtime.guarantee", r.Guarantee, names(runtime.Guarantees()), nil, "guarantee"})
	v.between("runtime.instances", r.Instances, 1, maxInstances)
	v.between("runtime.threads", r.Threads, 1, maxThreads)
	v.choice(choice{"runtime.state_mode", r.StateMode, names(runtime.StateModes()), nil, "state mode"})
	v.duration("runtime.commit_interval", r.CommitInterval, time.Millisecond, maxTransactionTimeout)
	v.duration("runtime.poll_interval", r.PollInterval, time.Millisecond, time.Minute)
	v.duration("runtime.fetch_max_wait", r.FetchMaxWait, time.Millisecond, maxFetchWait)
	shortest, longest := 100*time.Millisecond, maxRequestTimeout // A real cluster may be configured for anything.
	if len(v.config.Cluster.Brokers) == 0 {
		shortest, longest = minSessionTimeout, maxTransactionTimeout
	}
	v.duration("runtime.session_timeout", r.SessionTimeout, shortest, maxSessionTimeout)
	v.check(r.HeartbeatInterval > 0 && r.HeartbeatInterval < r.SessionTimeout, "runtime.heartbeat_interval",
		"%s is out of range; valid: above 0s and below runtime.session_timeout (%s)",
		formatDuration(r.HeartbeatInterval), formatDuration(r.SessionTimeout))
	v.duration("runtime.rebalance_timeout", r.RebalanceTimeout, 100*time.Millisecond, time.Hour)
	v.check(r.TransactionTimeout > r.CommitInterval && r.TransactionTimeout <= longest, "runtime.transaction_timeout",
		"%s is out of range; valid: above runtime.commit_interval (%s) and up to %s",
		formatDuration(r.TransactionTimeout), formatDuration(r.CommitInterval), formatDuration(longest))
	v.check(r.StoreCache >= 1<<20, "runtime.store_cache", "%s is too small; valid: 1MiB and more", r.StoreCache)
	v.check(r.StoreMemtable >= 64<<10 && r.StoreMemtable <= 1<<30, "runtime.store_memtable",
		"%s is out of range; valid: 64KiB to 1GiB", r.StoreMemtable)
	v.check(r.StateFlushInterval >= 0, "runtime.state_flush_interval", "%s is negative; valid: 0s (never) and more", formatDuration(r.StateFlushInterval))
	v.check(r.ChangelogRewriteInterval >= 0, "runtime.changelog_rewrite_interval",
		"%s is negative; valid: 0s (never) and more", formatDuration(r.ChangelogRewriteInterval))
	v.check(r.RepartitionPurgeInterval >= 0, "runtime.repartition_purge_interval",
		"%s is negative; valid: 0s (never) and more", formatDuration(r.RepartitionPurgeInterval))
	v.check(r.RecordCache >= 0, "runtime.record_cache", "%s is negative; valid: 0 (off) and more", r.RecordCache)
	v.check(r.StateCleanupDelay >= 0, "runtime.state_cleanup_delay", "%s is negative; valid: 0s (never) and more", formatDuration(r.StateCleanupDelay))
	v.between("runtime.standby_replicas", r.StandbyReplicas, 0, maxInstances)
	v.between("runtime.max_warmup_replicas", r.MaxWarmupReplicas, 1, math.MaxInt32)
	v.duration("runtime.initial_rebalance_delay", r.InitialRebalanceDelay, 0, r.RebalanceTimeout/2)
	v.duration("runtime.probing_rebalance_interval", r.ProbingRebalanceInterval, time.Second, 24*time.Hour)
	v.check(r.TaskTimeout >= 0, "runtime.task_timeout", "%s is negative; valid: 0s and more", formatDuration(r.TaskTimeout))
	v.between("runtime.buffered_records", r.BufferedRecords, 1, math.MaxInt32)
	v.choice(choice{"runtime.recording_level", r.RecordingLevel, []string{"info", "debug", "trace"}, nil, "recording level"})
}

// names are the values of a type of names.
func names[S ~string](values []S) []string {
	all := make([]string, len(values))
	for i, v := range values {
		all[i] = string(v)
	}
	return all
}

func (v *validator) load() {
	l := &v.config.Load
	v.check(l.Rate > 0 && l.Rate <= maxLoadRate, "load.rate",
		"%v is out of range; valid: above 0 and up to %d (no load at all: load.enabled false)", l.Rate, maxLoadRate)
	v.duration("load.interval", l.Interval, minLoadInterval, maxLoadInterval)
	burst := LoadConfig{Rate: l.Rate, ValueBytes: l.ValueBytes}
	v.check(l.Rate*l.Interval.Seconds() <= float64(burst.maxPending()), "load.interval",
		"%s at %v records a second is more than %d at once; make it shorter", formatDuration(l.Interval), l.Rate, burst.maxPending())
	v.check(l.Records >= 0, "load.records", "%d is negative; valid: 0 (no limit) and more", l.Records)
	v.check(l.Enabled || l.Records <= 0, "load.records", "%d, but there is no load (load.enabled is false); leave one of them out", l.Records)
	v.check(l.Enabled || l.Input == "", "load.input", "%s, but there is no load (load.enabled is false); leave one of them out", l.Input)
	v.check(l.Duration >= 0, "load.duration", "%s is negative; valid: 0s (until stopped) and more", formatDuration(l.Duration))
	v.between("load.keys", l.Keys, 1, maxLoadKeys)
	v.between("load.value_bytes", l.ValueBytes, minValueBytes, maxLoadValueBytes)
}

func (v *validator) faults() {
	c := v.config
	v.script("faults.", c.Faults.Cuts, c.Faults.Faults)
	v.check(c.Faults.Schedule == "" || isScriptFile(c.Faults.Schedule) || slices.Contains(ScheduleNames(), c.Faults.Schedule), "faults.schedule",
		"%q is not a schedule; valid: %s, or a file that ends in .yaml", c.Faults.Schedule, strings.Join(ScheduleNames(), ", "))
	v.check(!c.Faults.Shrink || len(c.Cluster.Brokers) == 0, "faults.shrink", "is for the embedded broker only; leave out cluster.brokers, or this")
	v.choice(choice{"faults.profile", c.Faults.Profile, ProfileNames(), nil, "profile"})
	if p, ok := findProfile(c.Faults.Profile); ok {
		v.check(p.existed(runtime.Guarantee(c.Runtime.Guarantee)), "faults.profile", "%s never existed with %s; valid with it: runtime.guarantee %s",
			p.name, c.Runtime.Guarantee, p.describeGuarantees())
	}
}

// script checks cuts and faults against the instances that there will be. The prefix leads to the keys that hold them.
func (v *validator) script(prefix string, cuts []CutSpec, faults []FaultSpec) {
	c := v.config
	names := c.InstanceNames()
	valid := describeNames(names)
	for i, cut := range cuts {
		key := fmt.Sprintf("%scuts[%d]", prefix, i)
		v.check(slices.Contains(names, cut.Instance), key, "there is no instance %q; valid: %s", cut.Instance, valid)
		v.check(cut.Length > 0, key, "lasts %s; valid: more than 0s", formatDuration(cut.Length))
		v.starts(key, cut.Start)
		if at := slices.IndexFunc(cuts[:i], cut.overlaps); at >= 0 {
			v.check(false, key, "%s overlaps %s; valid: cuts of one instance that follow one another", cut, cuts[at])
		}
	}
	for i, fault := range faults {
		key := fmt.Sprintf("%sfaults[%d]", prefix, i)
		v.fault(key, &fault)
	}
}

// fault checks a fault against the instances and brokers that there will be.
func (v *validator) fault(key string, f *FaultSpec) {
	c := v.config
	names := c.InstanceNames()
	if err := f.check(); err != nil {
		v.check(false, key, "%s", oneLine(err))
		return
	}
	v.check(f.Instance == "" || slices.Contains(names, f.Instance), key, "there is no instance %q; valid: %s", f.Instance, describeNames(names))
	v.check(f.Thread >= 0 && f.Thread <= c.Runtime.Threads, key, "there is no thread %d; valid: 1 to %d", f.Thread, c.Runtime.Threads)
	if node, err := strconv.Atoi(f.values()["node"]); err == nil && len(c.Cluster.Brokers) == 0 {
		v.check(node >= 0 && node < c.Cluster.Embedded.Nodes, key, "there is no node %d; valid: 0 to %d (cluster.embedded.nodes)", node, c.Cluster.Embedded.Nodes-1)
	}
	if kind, _ := findFaultKind(f.Kind); kind.place == onBroker {
		v.check(len(c.Cluster.Brokers) == 0, key, "%s is done by the embedded broker only; leave out cluster.brokers, or this", f.Kind)
		needy := f.Kind == FaultLeaderMove || f.Kind == FaultBrokerRestart || f.Kind == FaultCoordinatorMove
		v.check(!needy || c.Cluster.Embedded.Nodes > 1, key, "%s needs several nodes; valid: cluster.embedded.nodes 2 and more", f.Kind)
	}
	v.starts(key, f.Start)
}

// starts refuses what would never happen, for a run that then comes out clean would prove nothing.
func (v *validator) starts(key string, start time.Duration) {
	d := v.config.Load.Duration
	v.check(d <= 0 || start < d, key, "starts at %s, but the run ends at load.duration (%s)", formatDuration(start), formatDuration(d))
}

// describeNames lists names, shortened to the first and the last when they are many.
func describeNames(names []string) string {
	switch {
	case len(names) == 0:
		return "none"
	case len(names) > 9:
		return names[0] + " to " + names[len(names)-1]
	default:
		return strings.Join(names, ", ")
	}
}

// What some settings can be.
var (
	themes    = []string{"ansi", "colorblind", "mono"}
	logLevels = []string{"debug", "info", "warn", "error"}
)

func (v *validator) rest() {
	c := v.config
	v.duration("verify.interval", c.Verify.Interval, time.Millisecond, time.Minute)
	v.check(c.Session.SnapshotInterval >= 0, "session.snapshot_interval", "%s is negative; valid: 0s (none) and more", formatDuration(c.Session.SnapshotInterval))
	v.choice(choice{"ui.theme", c.UI.Theme, themes, []string{"dark", "light"}, "theme"})
	v.between("ui.fps", c.UI.FPS, 1, 30)
	v.check(c.Session.Metrics == "" || validAddress(c.Session.Metrics, true), "session.metrics",
		"%q is not an address; write HOST:PORT, like 127.0.0.1:9464", c.Session.Metrics)
	v.check(c.Session.Pprof == "" || validAddress(c.Session.Pprof, true), "session.pprof",
		"%q is not an address; write HOST:PORT, like 127.0.0.1:6060", c.Session.Pprof)
	v.choice(choice{"session.log_level", c.Session.LogLevel, logLevels, nil, "log level"})
	v.check(c.Session.Memory >= 1<<20, "session.memory", "%s is too small; valid: 1MiB and more", c.Session.Memory)
}
