package soak

import (
	"math"
	"strconv"
	"time"

	"eostop/faults/verify"
	"eostop/runtime"

	"github.com/prometheus/client_golang/prometheus"
)

// A shown is a metric that is read off a part of a snapshot.
type shown[T any] struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(*T) float64 // NaN: not known, and absent
}

// Labels of the parts of a snapshot. Those that Kafka has, too, are called as there.
var (
	instanceLabels = []string{"client_id"}
	threadLabels   = []string{"client_id", "thread_id"}
	taskLabels     = []string{"client_id", "thread_id", "task_id"}
	storeLabels    = []string{"client_id", "thread_id", "task_id", "store"}
)

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("eostop_"+name, help, labels, nil)
}

func gauge[T any](name, help string, labels []string, read func(*T) float64) shown[T] {
	return shown[T]{describe(name, help, labels...), prometheus.GaugeValue, read}
}

func counter[T any](name, help string, labels []string, read func(*T) float64) shown[T] {
	return shown[T]{describe(name, help, labels...), prometheus.CounterValue, read}
}

var sessionMetrics = []shown[Snapshot]{
	gauge("session_elapsed_seconds", "Time since all threads were RUNNING for the first time.", nil,
		func(s *Snapshot) float64 { return s.Elapsed.Seconds() }),
	gauge("session_target_rate", "Records a second asked of the load generator.", nil,
		func(s *Snapshot) float64 { return s.TargetRate }),
	gauge("session_in_rate", "Records a second acknowledged to the load generator.", nil,
		func(s *Snapshot) float64 { return s.InRate }),
	gauge("session_processed_rate", "Input records processed a second.", nil, func(s *Snapshot) float64 { return s.ProcessedRate }),
	gauge("session_lag_records", "Input records that are not processed yet.", nil,
		func(s *Snapshot) float64 { return float64(s.Lag) }),
	counter("session_in_records_total", "Records acknowledged to the load generator; without one, seen by the verifier.", nil,
		func(s *Snapshot) float64 { return float64(s.In) }),
	counter("session_processed_records_total", "Input records whose effect is committed.", nil,
		func(s *Snapshot) float64 { return float64(s.Processed) }),
	gauge("session_threads", "Stream threads that there should be.", nil,
		func(s *Snapshot) float64 { return float64(s.ThreadsTotal) }),
	gauge("session_threads_alive", "Stream threads that run or take part in a rebalance.", nil,
		func(s *Snapshot) float64 { return float64(s.ThreadsAlive) }),
	gauge("session_threads_running", "Stream threads in the state RUNNING.", nil,
		func(s *Snapshot) float64 { return float64(s.ThreadsRunning) }),
	counter("session_threads_died_total", "Stream threads that died of an error.", nil,
		func(s *Snapshot) float64 { return float64(s.ThreadsDied) }),
	counter("session_fenced_producers_total", "Producers that a broker refused.", nil,
		func(s *Snapshot) float64 { return float64(s.Transactions.Fenced) }),
	counter("session_threads_replaced_total", "Stream threads that were replaced.", nil,
		func(s *Snapshot) float64 { return float64(s.ThreadsReplaced) }),
}

var verifyMetrics = []shown[verify.Status]{
	counter("verify_in_records_total", "Input records that the verifier has seen.", nil,
		func(v *verify.Status) float64 { return float64(v.In) }),
	counter("verify_processed_records_total", "Input records whose committed effect the verifier has seen exactly once.", nil,
		func(v *verify.Status) float64 { return float64(v.Processed) }),
	counter("verify_out_records_total", "Committed output records that the verifier has seen.", nil,
		func(v *verify.Status) float64 { return float64(v.Out) }),
	gauge("verify_lag_records", "Input records whose effect the verifier has not seen yet.", nil,
		func(v *verify.Status) float64 { return float64(v.Lag) }),
	gauge("verify_held_records", "Output records that wait for their input to be seen.", nil,
		func(v *verify.Status) float64 { return float64(v.Held) }),
	gauge("verify_witnesses", "Witnesses of violations, a hundred at most.", nil,
		func(v *verify.Status) float64 { return float64(len(v.Witnesses)) }),
	gauge("verify_stores", "Partitions of stores to be compared; known in the end.", nil,
		func(v *verify.Status) float64 { return float64(v.Stores) }),
	gauge("verify_stores_checked", "Partitions of stores that were compared with changelog and model.", nil,
		func(v *verify.Status) float64 { return float64(v.DigestChecked) }),
	gauge("verify_stores_mismatched", "Partitions of stores that differ from changelog or model.", nil,
		func(v *verify.Status) float64 { return float64(v.DigestMismatch) }),
}

var instanceMetrics = []shown[Instance]{
	gauge("instance_connected", "1 if a thread of the instance reaches its brokers.", instanceLabels,
		func(i *Instance) float64 { return truth(i.Connected) }),
	gauge("instance_cut", "1 while the instance is cut off from the brokers.", instanceLabels,
		func(i *Instance) float64 { return truth(i.Cut) }),
}

var threadMetrics = []shown[runtime.ThreadStatus]{
	gauge("thread_connected", "1 if the thread reaches its brokers.", threadLabels,
		func(t *runtime.ThreadStatus) float64 { return truth(t.Connected) }),
	gauge("thread_leader", "1 if the thread leads the group.", threadLabels,
		func(t *runtime.ThreadStatus) float64 { return truth(t.Leader) }),
	gauge("thread_rebalancing", "1 while the thread takes part in a rebalance.", threadLabels,
		func(t *runtime.ThreadStatus) float64 { return truth(t.Rebalancing) }),
	gauge("thread_generation", "Generation of the group that the thread belongs to.", threadLabels,
		func(t *runtime.ThreadStatus) float64 { return float64(t.Generation) }),
	gauge("thread_tasks", "Active tasks of the thread.", threadLabels,
		func(t *runtime.ThreadStatus) float64 { return float64(len(t.Tasks)) }),
	gauge("thread_last_commit_timestamp_seconds", "When the thread committed last.", threadLabels,
		func(t *runtime.ThreadStatus) float64 { return timestamp(t.LastCommit) }),
	counter("thread_processed_records_total", "Records taken from source topics.", threadLabels,
		func(t *runtime.ThreadStatus) float64 { return float64(t.Processed) }),
	counter("thread_processed_inputs_total", "Records from outside the application, in committed transactions.", threadLabels,
		func(t *runtime.ThreadStatus) float64 { return float64(t.ProcessedInputs) }),
	counter("thread_committed_transactions_total", "Transactions committed.", threadLabels,
		func(t *runtime.ThreadStatus) float64 { return float64(t.Committed) }),
	counter("thread_aborted_transactions_total", "Transactions given up, whatever the cause.", threadLabels,
		func(t *runtime.ThreadStatus) float64 { return float64(t.Aborted) }),
	counter("thread_unknown_transactions_total", "Transactions of which nobody told whether they were committed.", threadLabels,
		func(t *runtime.ThreadStatus) float64 { return float64(t.UnknownOutcome) }),
	counter("thread_fenced_producers_total", "Producers that a broker refused.", threadLabels,
		func(t *runtime.ThreadStatus) float64 { return float64(t.Fenced) }),
	counter("thread_migrations_total", "Times that somebody else owned the transaction or the tasks.", threadLabels,
		func(t *runtime.ThreadStatus) float64 { return float64(t.Migrated) }),
	counter("thread_corruptions_total", "Times that a transaction's outcome or a store was in doubt.", threadLabels,
		func(t *runtime.ThreadStatus) float64 { return float64(t.Corrupted) }),
	counter("thread_replayed_records_total", "Records processed in transactions that were given up.", threadLabels,
		func(t *runtime.ThreadStatus) float64 { return float64(t.Replayed) }),
	counter("thread_restored_records_total", "Changelog records restored.", threadLabels,
		func(t *runtime.ThreadStatus) float64 { return float64(t.RestoredRecords) }),
	counter("thread_wiped_stores_total", "Stores thrown away after an unclean close.", threadLabels,
		func(t *runtime.ThreadStatus) float64 { return float64(t.Wiped) }),
	counter("thread_rebuilt_stores_total", "Stores that started over from the beginning of their changelog.", threadLabels,
		func(t *runtime.ThreadStatus) float64 { return float64(t.Rebuilt) }),
}

var taskMetrics = []shown[runtime.TaskStatus]{
	gauge("task_lag_records", "Records between the task's position and the end of its inputs.", taskLabels,
		func(t *runtime.TaskStatus) float64 { return known(t.Lag) }),
	gauge("task_restore_remaining_records", "Changelog records that the task has still to restore.", taskLabels,
		func(t *runtime.TaskStatus) float64 { return known(t.RestoreRemaining) }),
	counter("task_processed_records_total", "Records that the task has processed since it came to the thread.", taskLabels,
		func(t *runtime.TaskStatus) float64 { return float64(t.Processed) }),
	gauge("task_last_commit_timestamp_seconds", "When the task committed last on this thread.", taskLabels,
		func(t *runtime.TaskStatus) float64 { return timestamp(t.LastCommit) }),
}

var storeMetrics = []shown[runtime.StoreStatus]{
	gauge("store_entries", "Entries of the store.", storeLabels, func(s *runtime.StoreStatus) float64 { return float64(s.Entries) }),
	gauge("store_bytes", "Size of the store's keys and values.", storeLabels,
		func(s *runtime.StoreStatus) float64 { return float64(s.Bytes) }),
	gauge("store_position", "Next changelog offset of the store's committed state.", storeLabels,
		func(s *runtime.StoreStatus) float64 { return float64(s.Position) }),
	gauge("store_lag_records", "Changelog records that the store has still to restore.", storeLabels,
		func(s *runtime.StoreStatus) float64 { return float64(s.Lag) }),
	gauge("store_registered", "1 while the store is in its task's registry.", storeLabels,
		func(s *runtime.StoreStatus) float64 { return truth(s.Registered) }),
}

var cutMetrics = []shown[Cut]{
	gauge("cut_takeover_seconds", "From the start of the instance's last cut until its tasks had committed elsewhere; absent until then.", instanceLabels,
		func(c *Cut) float64 { return seconds(c.Takeover) }),
	gauge("cut_caught_up_seconds", "From the heal of the instance's last cut until all that had come in by then was processed; absent until then.", instanceLabels,
		func(c *Cut) float64 { return seconds(between(c.Healed, c.CaughtUp)) }),
	gauge("cut_recovered_seconds", "From the heal of the instance's last cut until its threads ran and committed again; absent until then.", instanceLabels,
		func(c *Cut) float64 { return seconds(c.Recovered) }),
	gauge("cut_replayed_records", "Records that were processed in transactions given up because of the instance's last cut.", instanceLabels,
		func(c *Cut) float64 { return float64(c.ReplayedRecords) }),
	gauge("cut_restored_records", "Changelog records restored because of the instance's last cut.", instanceLabels,
		func(c *Cut) float64 { return float64(c.RestoredRecords) }),
	gauge("cut_aborted_transactions", "Transactions aborted because of the instance's last cut.", instanceLabels,
		func(c *Cut) float64 { return float64(c.AbortedTransactions) }),
}

// Metrics whose labels say more than what they belong to.
var (
	descInfo = describe("session_info", "What runs; the value is 1.",
		"version", "application_id", "topology", "guarantee", "profile", "broker_kind", "broker_version", "seed")
	descPhase        = describe("session_phase", "1 for the phase that the session is in.", "phase")
	descTransactions = describe("session_transactions_total", "Transactions of all threads, by outcome.", "outcome")
	descVerdict      = describe("verify_verdict", "1 for the verdict as far as it is known.", "verdict")
	descFindings     = describe("verify_findings", "Effects that violate exactly-once, by kind; goes down where a lost one came late.", "kind")
	descLatency      = describe("verify_latency_seconds", "From a record's timestamp to the sight of its committed output.", "quantile")
	descInstance     = describe("instance_state", "State of the instance, as a label; the value is 1.", "client_id", "state")
	descThread       = describe("thread_state", "State of the thread, as a label; the value is 1.", "client_id", "thread_id", "state")
	descTask         = describe("task_state", "State of the task, as a label; the value is 1.", "client_id", "thread_id", "task_id", "state")
	descCuts         = describe("cuts_total", "Cuts made, by instance and direction.", "client_id", "direction")
)

// showing collects a snapshot. It does so anew each time, so what is gone from the snapshot is gone from the metrics.
type showing struct{ snapshot func() *Snapshot }

// Describe sends nothing; see Collect for what there is.
func (showing) Describe(chan<- *prometheus.Desc) {}

// Collect sends what the present snapshot says.
func (s showing) Collect(ch chan<- prometheus.Metric) {
	snap := s.snapshot()
	o := output{ch}
	o.send(descInfo, prometheus.GaugeValue, 1, Version, snap.ApplicationID, snap.Topology, snap.Guarantee, snap.Profile,
		snap.BrokerKind, snap.BrokerVersion, strconv.FormatInt(snap.Seed, 10))
	for _, phase := range []string{PhaseStarting, PhaseRunning, PhaseDraining, PhaseVerifying, PhaseStopping, PhaseStopped} {
		o.send(descPhase, prometheus.GaugeValue, truth(phase == snap.Phase), phase)
	}
	show(o, sessionMetrics, snap)
	x := &snap.Transactions
	o.send(descTransactions, prometheus.CounterValue, float64(x.Committed), "committed")
	o.send(descTransactions, prometheus.CounterValue, float64(x.Aborted), "aborted")
	o.send(descTransactions, prometheus.CounterValue, float64(x.UnknownOutcome), "unknown")
	if snap.Verify.Verdict != "" {
		o.verify(&snap.Verify)
	}
	for i := range snap.Instances {
		o.instance(&snap.Instances[i])
	}
	o.cuts(snap.Cuts)
}

// output sends metrics.
type output struct{ ch chan<- prometheus.Metric }

func (o output) send(desc *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
	if !math.IsNaN(v) {
		o.ch <- prometheus.MustNewConstMetric(desc, kind, v, labels...)
	}
}

// show sends all metrics of one part.
func show[T any](o output, all []shown[T], part *T, labels ...string) {
	for _, m := range all {
		o.send(m.desc, m.kind, m.read(part), labels...)
	}
}

func (o output) verify(v *verify.Status) {
	for _, verdict := range []verify.Verdict{verify.Clean, verify.Violation, verify.Unknown} {
		o.send(descVerdict, prometheus.GaugeValue, truth(v.Verdict == verdict), string(verdict))
	}
	show(o, verifyMetrics, v)
	for _, finding := range []struct {
		kind string
		n    int64
	}{{"duplicate", v.Duplicated}, {"lost", v.Lost}, {"out_of_order", v.OutOfOrder}, {"wrong", v.Wrong}, {"unexpected", v.Unexpected}} {
		o.send(descFindings, prometheus.GaugeValue, float64(finding.n), finding.kind)
	}
	if v.Latency.Max > 0 { // Otherwise nothing was measured.
		o.send(descLatency, prometheus.GaugeValue, v.Latency.P50.Seconds(), "0.5")
		o.send(descLatency, prometheus.GaugeValue, v.Latency.P99.Seconds(), "0.99")
		o.send(descLatency, prometheus.GaugeValue, v.Latency.Max.Seconds(), "1")
	}
}

func (o output) instance(i *Instance) {
	o.send(descInstance, prometheus.GaugeValue, 1, i.Name, i.State)
	show(o, instanceMetrics, i, i.Name)
	for n := range i.Threads {
		t := &i.Threads[n]
		o.send(descThread, prometheus.GaugeValue, 1, i.Name, t.Name, t.State)
		show(o, threadMetrics, t, i.Name, t.Name)
		for n := range t.Tasks {
			task := &t.Tasks[n]
			o.send(descTask, prometheus.GaugeValue, 1, i.Name, t.Name, task.ID, task.State)
			show(o, taskMetrics, task, i.Name, t.Name, task.ID)
		}
		for n := range t.Stores {
			store := &t.Stores[n]
			show(o, storeMetrics, store, i.Name, t.Name, store.Task, store.Name)
		}
	}
}

// cuts sends how many cuts there were, and of each instance what came of the last one.
func (o output) cuts(all []Cut) {
	type made struct{ instance, direction string }
	count, last := map[made]int{}, map[string]*Cut{}
	for i := range all {
		count[made{all[i].Instance, all[i].Direction}]++
		last[all[i].Instance] = &all[i]
	}
	for m, n := range count {
		o.send(descCuts, prometheus.CounterValue, float64(n), m.instance, m.direction)
	}
	for instance, cut := range last {
		show(o, cutMetrics, cut, instance)
	}
}

func truth(on bool) float64 {
	if on {
		return 1
	}
	return 0
}

// known makes what is negative while it is not known absent.
func known(n int64) float64 {
	if n < 0 {
		return math.NaN()
	}
	return float64(n)
}

// seconds makes a time that was not measured absent.
func seconds(d time.Duration) float64 {
	if d < 0 {
		return math.NaN()
	}
	return d.Seconds()
}

// timestamp makes a time that was not reached absent.
func timestamp(t time.Time) float64 {
	if t.IsZero() {
		return math.NaN()
	}
	return float64(t.UnixMilli()) / 1000
}
