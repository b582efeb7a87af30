package soak

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"eostop/faults/verify"
	"eostop/runtime"
	"eostop/runtime/metrics"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// busy is a snapshot in which everything there is has happened.
func busy() *Snapshot {
	at := time.UnixMilli(1_700_000_000_500)
	task := runtime.TaskStatus{ID: "0_1", State: "RUNNING", Lag: 12, Processed: 7, LastCommit: at, RestoreRemaining: 0}
	unknown := runtime.TaskStatus{ID: "0_2", State: "RESTORING", Lag: -1, RestoreRemaining: 500}
	store := runtime.StoreStatus{Name: "counts", Task: "0_1", Thread: "i1-StreamThread-1", Instance: "i1", Entries: 3, Bytes: 300, Position: 40, Lag: 2, Registered: true}
	thread := runtime.ThreadStatus{
		Name: "i1-StreamThread-1", Instance: "i1", State: "RUNNING", Connected: true, Generation: 4, Leader: true, LastCommit: at,
		Tasks: []runtime.TaskStatus{task, unknown}, Stores: []runtime.StoreStatus{store},
	}
	thread.Processed, thread.ProcessedInputs, thread.Committed, thread.Aborted, thread.Fenced, thread.UnknownOutcome = 1, 2, 3, 4, 5, 6
	thread.Migrated, thread.Corrupted, thread.RestoredRecords, thread.Wiped, thread.Rebuilt = 7, 8, 9, 10, 11
	thread.Replayed = 12
	return &Snapshot{
		Phase: PhaseRunning, Elapsed: 90 * time.Second, ApplicationID: "app", Topology: "soak", Guarantee: "exactly_once_v2", Profile: "fixed",
		BrokerKind: "embedded", BrokerVersion: "3.7", Seed: 42, TargetRate: 100, InRate: 99, ProcessedRate: 98, In: 1000, Processed: 990, Lag: 10,
		ThreadsTotal: 2, ThreadsAlive: 2, ThreadsRunning: 1, ThreadsDied: 3, ThreadsReplaced: 2,
		Transactions: Transactions{Committed: 50, Aborted: 4, Fenced: 2, UnknownOutcome: 1},
		Verify: verify.Status{
			Verdict: verify.Violation, In: 1000, Processed: 989, Out: 2000, Duplicated: 1, Lost: 2, OutOfOrder: 3, Wrong: 4, Unexpected: 5, Lag: 6, Held: 7,
			Stores: 9, DigestChecked: 8, DigestMismatch: 1, Witnesses: make([]verify.Witness, 15),
			Latency: verify.Latency{P50: 10 * time.Millisecond, P99: time.Second, Max: 2 * time.Second},
		},
		Instances: []Instance{
			{InstanceStatus: runtime.InstanceStatus{Name: "i1", State: "RUNNING", Connected: true, Threads: []runtime.ThreadStatus{thread}}},
			{InstanceStatus: runtime.InstanceStatus{Name: "i2", State: "REBALANCING"}, Cut: true},
		},
		Cuts: []Cut{
			{Instance: "i2", Direction: "both", Takeover: 9 * time.Second, Recovered: time.Second, RestoredRecords: 5, AbortedTransactions: 1},
			{Instance: "i2", Direction: "in", Takeover: 11 * time.Second, Recovered: -1, RestoredRecords: 77, AbortedTransactions: 2},
			{Instance: "i1", Direction: "out", Takeover: -1, Recovered: 2500 * time.Millisecond}, // nobody was left to take over
			{Instance: "i2", Direction: "in", Takeover: 12 * time.Second, Recovered: -1, RestoredRecords: 78, AbortedTransactions: 3, ReplayedRecords: 13},
		},
	}
}

// exported is what a scraper reads: families by name.
type exported map[string]*dto.MetricFamily

// get reads a path of a handler.
func get(t *testing.T, h http.Handler, path string) (int, string) {
	t.Helper()
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
	return answer.Code, answer.Body.String()
}

// parse reads the text of a scrape, and checks that every family has a help and a type.
func parse(t *testing.T, text string) exported {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	for name, f := range families {
		// The Go collector has values of two kinds without a type.
		if f.GetHelp() == "" || (f.GetType() == dto.MetricType_UNTYPED && strings.HasPrefix(name, "eostop_")) {
			t.Errorf("%s: help %q, type %s", name, f.GetHelp(), f.GetType())
		}
	}
	return families
}

// values returns the values of a family by the values of its labels, which are sorted by their names.
func (e exported) values(name string) map[string]float64 {
	values := map[string]float64{}
	for _, m := range e[name].GetMetric() {
		var labels []string
		for _, l := range m.GetLabel() {
			labels = append(labels, l.GetValue())
		}
		v := m.GetGauge().GetValue()
		if m.Counter != nil {
			v = m.GetCounter().GetValue()
		}
		values[strings.Join(labels, " ")] = v
	}
	return values
}

func discarded() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestMetricsOfASnapshot(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(showing{busy})
	if _, err := r.Gather(); err != nil {
		t.Fatal(err)
	}
	code, text := get(t, metricsHandler(busy, discarded(), showing{busy}), "/metrics")
	if code != http.StatusOK {
		t.Fatal(code, text)
	}
	all := parse(t, text)
	const thread, task = "i1 i1-StreamThread-1", "i1 0_1 i1-StreamThread-1"
	for name, want := range map[string]map[string]float64{
		"session_info":                         {"app embedded 3.7 exactly_once_v2 fixed 42 soak " + Version: 1},
		"session_phase":                        {"starting": 0, "running": 1, "draining": 0, "verifying": 0, "stopping": 0, "stopped": 0},
		"session_elapsed_seconds":              {"": 90},
		"session_target_rate":                  {"": 100},
		"session_in_rate":                      {"": 99},
		"session_processed_rate":               {"": 98},
		"session_lag_records":                  {"": 10},
		"session_in_records_total":             {"": 1000},
		"session_processed_records_total":      {"": 990},
		"session_threads":                      {"": 2},
		"session_threads_alive":                {"": 2},
		"session_threads_running":              {"": 1},
		"session_threads_died_total":           {"": 3},
		"session_threads_replaced_total":       {"": 2},
		"session_fenced_producers_total":       {"": 2},
		"session_transactions_total":           {"committed": 50, "aborted": 4, "unknown": 1},
		"verify_verdict":                       {"clean": 0, "violation": 1, "unknown": 0},
		"verify_findings":                      {"duplicate": 1, "lost": 2, "out_of_order": 3, "wrong": 4, "unexpected": 5},
		"verify_latency_seconds":               {"0.5": 0.01, "0.99": 1, "1": 2},
		"verify_in_records_total":              {"": 1000},
		"verify_processed_records_total":       {"": 989},
		"verify_out_records_total":             {"": 2000},
		"verify_lag_records":                   {"": 6},
		"verify_held_records":                  {"": 7},
		"verify_witnesses":                     {"": 15},
		"verify_stores":                        {"": 9},
		"verify_stores_checked":                {"": 8},
		"verify_stores_mismatched":             {"": 1},
		"instance_state":                       {"i1 RUNNING": 1, "i2 REBALANCING": 1},
		"instance_connected":                   {"i1": 1, "i2": 0},
		"instance_cut":                         {"i1": 0, "i2": 1},
		"thread_state":                         {"i1 RUNNING i1-StreamThread-1": 1},
		"thread_connected":                     {thread: 1},
		"thread_leader":                        {thread: 1},
		"thread_rebalancing":                   {thread: 0},
		"thread_generation":                    {thread: 4},
		"thread_tasks":                         {thread: 2},
		"thread_last_commit_timestamp_seconds": {thread: 1_700_000_000.5},
		"thread_processed_records_total":       {thread: 1},
		"thread_processed_inputs_total":        {thread: 2},
		"thread_committed_transactions_total":  {thread: 3},
		"thread_aborted_transactions_total":    {thread: 4},
		"thread_fenced_producers_total":        {thread: 5},
		"thread_unknown_transactions_total":    {thread: 6},
		"thread_migrations_total":              {thread: 7},
		"thread_corruptions_total":             {thread: 8},
		"thread_restored_records_total":        {thread: 9},
		"thread_wiped_stores_total":            {thread: 10},
		"thread_rebuilt_stores_total":          {thread: 11},
		"thread_replayed_records_total":        {thread: 12},
		"task_state":                           {"i1 RUNNING 0_1 i1-StreamThread-1": 1, "i1 RESTORING 0_2 i1-StreamThread-1": 1},
		"task_lag_records":                     {task: 12}, // the other's is not known
		"task_restore_remaining_records":       {task: 0, "i1 0_2 i1-StreamThread-1": 500},
		"task_processed_records_total":         {task: 7, "i1 0_2 i1-StreamThread-1": 0},
		"task_last_commit_timestamp_seconds":   {task: 1_700_000_000.5}, // the other has not committed
		"store_entries":                        {"i1 counts 0_1 i1-StreamThread-1": 3},
		"store_bytes":                          {"i1 counts 0_1 i1-StreamThread-1": 300},
		"store_position":                       {"i1 counts 0_1 i1-StreamThread-1": 40},
		"store_lag_records":                    {"i1 counts 0_1 i1-StreamThread-1": 2},
		"store_registered":                     {"i1 counts 0_1 i1-StreamThread-1": 1},
		"cuts_total":                           {"i2 both": 1, "i2 in": 2, "i1 out": 1},
		"cut_recovered_seconds":                {"i1": 2.5},
		"cut_takeover_seconds":                 {"i2": 12}, // of the last one, which has not recovered yet
		"cut_restored_records":                 {"i1": 0, "i2": 78},
		"cut_aborted_transactions":             {"i1": 0, "i2": 3},
		"cut_replayed_records":                 {"i1": 0, "i2": 13},
	} {
		if got := all.values("eostop_" + name); !maps.Equal(got, want) {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
		delete(all, "eostop_"+name)
	}
	for name := range all {
		t.Errorf("%s is not expected: %v", name, all.values(name))
	}
}

func TestMetricsOfNothing(t *testing.T) {
	empty := func() *Snapshot { return &Snapshot{Phase: PhaseStarting} }
	code, text := get(t, metricsHandler(empty, discarded(), showing{empty}), "/metrics")
	all := parse(t, text)
	if code != http.StatusOK || all["eostop_session_phase"] == nil {
		t.Errorf("%d\n%s", code, text)
	}
	for _, name := range []string{"eostop_verify_verdict", "eostop_verify_findings", "eostop_cut_takeover_seconds", "eostop_thread_state"} {
		if all[name] != nil {
			t.Errorf("%s is %v without a verifier, cuts and threads", name, all.values(name))
		}
	}
}

func TestHealth(t *testing.T) {
	tests := []struct {
		name                  string
		phase                 string
		total, alive, running int
		healthz, readyz       string // what is said; empty: ok
	}{
		{"nothing yet", PhaseStarting, 9, 0, 0, "0 of 9 threads are alive", "0 of 9 threads are alive"},
		{"starting", PhaseStarting, 9, 9, 5, "", "the session is starting"},
		{"running", PhaseRunning, 9, 9, 9, "", ""},
		{"rebalancing", PhaseRunning, 9, 9, 6, "", "6 of 9 threads are RUNNING"},
		{"a dead thread", PhaseRunning, 9, 8, 8, "8 of 9 threads are alive", "8 of 9 threads are alive"},
		{"draining", PhaseDraining, 9, 9, 9, "", ""},
		{"verifying", PhaseVerifying, 9, 9, 9, "", ""},
		{"stopping", PhaseStopping, 9, 9, 9, "the session is stopping", "the session is stopping"},
		{"stopped", PhaseStopped, 9, 9, 9, "the session is stopped", "the session is stopped"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := metricsHandler(func() *Snapshot {
				return &Snapshot{Phase: tt.phase, ThreadsTotal: tt.total, ThreadsAlive: tt.alive, ThreadsRunning: tt.running}
			}, discarded())
			for path, want := range map[string]string{"/healthz": tt.healthz, "/readyz": tt.readyz} {
				code, text := get(t, h, path)
				wanted, text2 := http.StatusServiceUnavailable, want+"\n"
				if want == "" {
					wanted, text2 = http.StatusOK, "ok\n"
				}
				if code != wanted || text != text2 {
					t.Errorf("%s: %d %q, want %d %q", path, code, text, wanted, text2)
				}
			}
		})
	}
	h := metricsHandler(busy, discarded())
	if code, _ := get(t, h, "/"); code != http.StatusNotFound {
		t.Error(code)
	}
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/metrics", nil))
	if answer.Code != http.StatusMethodNotAllowed {
		t.Error(answer.Code)
	}
}

// TestOneBadMetricDoesNotHideTheOthers has two instances of the same name, whose metrics cannot be told apart.
func TestOneBadMetricDoesNotHideTheOthers(t *testing.T) {
	var log bytes.Buffer
	one, two := metrics.New(metrics.Config{ClientID: "i1"}), metrics.New(metrics.Config{ClientID: "i1"})
	h := metricsHandler(busy, slog.New(slog.NewTextHandler(&log, nil)), showing{busy}, one, two)
	code, text := get(t, h, "/metrics")
	if all := parse(t, text); code != http.StatusOK || all["eostop_verify_verdict"] == nil {
		t.Errorf("%d\n%s", code, text)
	}
	if !strings.Contains(log.String(), "was collected before") {
		t.Errorf("the log says %q", log.String())
	}
}

// served asks a server until it answers.
func served(t *testing.T, address, path string) (int, string) {
	t.Helper()
	client := &http.Client{Timeout: 10 * time.Second}
	answer, err := client.Get("http://" + address + path)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	client.CloseIdleConnections()
	return answer.StatusCode, string(text)
}

// TestMetricsOfASession looks at a session while it runs, is cut, and has ended.
func TestMetricsOfASession(t *testing.T) {
	t.Parallel()
	cfg := small(40 * time.Second)
	cfg.Faults.Cuts = cuts(t, "i2@10s+20s")
	play(t, cfg, func(g *stage) {
		h := g.s.MetricsHandler()
		scrape := func() exported {
			code, text := get(t, h, "/metrics")
			if code != http.StatusOK {
				t.Errorf("%d %s", code, text)
			}
			return parse(t, text)
		}
		well := func(healthz, readyz int) {
			t.Helper()
			if code, text := get(t, h, "/healthz"); code != healthz {
				t.Errorf("healthz: %d %s", code, text)
			}
			if code, text := get(t, h, "/readyz"); code != readyz {
				t.Errorf("readyz: %d %s", code, text)
			}
		}
		if phase := scrape().values("eostop_session_phase")["starting"]; phase != 1 {
			t.Errorf("starting is %v", phase)
		}
		for g.s.Snapshot().Phase == PhaseStarting {
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(5 * time.Second)
		well(http.StatusOK, http.StatusOK)
		all := scrape()
		if got := all.values("eostop_session_processed_records_total")[""]; got < 100 || got > 250 {
			t.Errorf("%v records processed after 5 s of 40 a second", got)
		}
		if len(all.values("eostop_thread_state")) != 3 || len(all.values("eostop_store_entries")) != 21 || all.values("eostop_verify_verdict")["clean"] != 1 {
			t.Errorf("threads %v, stores %v, verdict %v", all.values("eostop_thread_state"), all.values("eostop_store_entries"), all.values("eostop_verify_verdict"))
		}
		if got := slices.Sorted(maps.Keys(all.values("kafka_streams_stream_metrics_application_id"))); !slices.Equal(got, []string{"eostop i1", "eostop i2", "eostop i3"}) {
			t.Errorf("instances %q", got)
		}
		for _, name := range []string{"go_goroutines", "process_resident_memory_bytes"} {
			if all[name] == nil {
				t.Errorf("%s is missing", name)
			}
		}
		time.Sleep(20 * time.Second) // in the cut
		all = scrape()
		if got := all.values("eostop_instance_cut"); got["i2"] != 1 || got["i1"] != 0 {
			t.Errorf("cut: %v", got)
		}
		if got := all.values("eostop_cuts_total"); got["i2 both"] != 1 {
			t.Errorf("cuts: %v", got)
		}
		well(http.StatusOK, http.StatusServiceUnavailable)
		_, _ = g.s.Wait() // play looks at the error
		all = scrape()
		if all.values("eostop_session_phase")["stopped"] != 1 || all.values("eostop_cut_recovered_seconds")["i2"] <= 0 {
			t.Errorf("phase %v, recovered %v", all.values("eostop_session_phase"), all.values("eostop_cut_recovered_seconds"))
		}
		well(http.StatusServiceUnavailable, http.StatusServiceUnavailable)
	})
}

// TestMetricsServer has a server for as long as the session lasts.
func TestMetricsServer(t *testing.T) {
	t.Parallel()
	cfg := small(time.Minute)
	cfg.Session.Metrics, cfg.Runtime.StateDir = "127.0.0.1:0", t.TempDir()
	s, err := New(cfg, nil, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	if s.MetricsAddress() != "" {
		t.Error("served before the start")
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	address := s.MetricsAddress()
	code, text := served(t, address, "/metrics")
	if all := parse(t, text); code != http.StatusOK || all["eostop_session_phase"] == nil {
		t.Errorf("%d\n%s", code, text)
	}

	// Somebody else cannot have it now: that is an error of the run.
	other := cfg
	other.Session.Metrics = address
	second, err := New(other, nil, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	err = second.Start(t.Context())
	if want := "session.metrics: listen tcp " + address + ": bind: address already in use; choose another address with --metrics"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if _, ok := errors.AsType[*RunError](err); !ok {
		t.Errorf("%T", err)
	}

	s.Stop(true)
	if _, err := s.Wait(); err != nil {
		t.Fatal(err)
	}
	if connection, err := net.Dial("tcp", address); err == nil {
		connection.Close()
		t.Error("still served after the end")
	}
}

// TestAFailedStartFreesTheAddress has no broker to connect to.
func TestAFailedStartFreesTheAddress(t *testing.T) {
	t.Parallel()
	cfg := small(time.Second)
	cfg.Session.Metrics, cfg.Runtime.StateDir = "127.0.0.1:0", t.TempDir()
	cfg.Cluster.Brokers = []string{"127.0.0.1:1"}
	s, err := New(cfg, nil, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err == nil {
		t.Fatal("no error")
	}
	listener, err := net.Listen("tcp", s.MetricsAddress())
	if err != nil {
		t.Fatal(fmt.Errorf("still taken: %w", err))
	}
	listener.Close()
}
