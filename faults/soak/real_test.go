package soak

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// Environment variables that tests on a real Kafka need. Without the first there are none, and with the second there are all of
// them rather than those that everybody should run; so it is with scenarios on virtual time.
const (
	testBrokers = "EOSTOP_TEST_BROKERS"
	testAll     = "EOSTOP_TEST_ALL"
)

// onKafka returns a short experiment on the real broker, with time-outs as short as a broker takes by default.
func onKafka(t *testing.T, length time.Duration) Config {
	t.Helper()
	brokers := os.Getenv(testBrokers)
	if brokers == "" {
		t.Skipf("%s is not set: it names real brokers", testBrokers)
	}
	cfg := onBrokers(t, strings.Split(brokers, ","), length)
	cfg.Cluster.Partitions, cfg.Runtime.Threads = 6, 2
	cfg.Load.Rate = 200
	return cfg
}

// onBrokers returns an experiment with all threads and partitions on real brokers.
func onBrokers(t *testing.T, brokers []string, length time.Duration) Config {
	t.Helper()
	cfg := Default()
	cfg.Cluster.Brokers = brokers
	cfg.Application.ID = fmt.Sprintf("t%d-%s", time.Now().UnixMilli(), slug(t.Name()))
	cfg.Runtime.StateDir = t.TempDir()
	cfg.Runtime.SessionTimeout, cfg.Runtime.HeartbeatInterval, cfg.Runtime.TransactionTimeout = 6*time.Second, 500*time.Millisecond, 6*time.Second
	cfg.Load.Rate, cfg.Load.Keys, cfg.Load.Duration = 1000, 500, length
	cfg.Session.Memory = 1 << 20
	return cfg
}

// slug makes a part of a topic's name of the name of a test.
func slug(name string) string {
	name = strings.ToLower(name[strings.LastIndexByte(name, '/')+1:])
	return strings.Map(func(r rune) rune {
		if (r >= 'a' && r <= 'z') || (r >= '0' && r <= '9') {
			return r
		}
		return '-'
	}, name)
}

// perform runs an experiment in real time. The verdict is clean, or the test fails.
func perform(t *testing.T, cfg Config) *Report {
	t.Helper()
	return performScript(t, cfg, nil)
}

// performScript is perform with a script, which begins when the session has started.
func performScript(t *testing.T, cfg Config, script func(*stage)) *Report {
	t.Helper()
	s, err := New(cfg, nil, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if script != nil {
		script(&stage{T: t, s: s})
	}
	r, err := s.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if ExitCode(r) != ExitClean || r.Records.In == nil || *r.Records.In == 0 {
		t.Errorf("verdict %s: %v; records %+v; witnesses %+v", r.Verdict, r.Reasons, r.Records, r.Witnesses)
	}
	if r.Transactions.OpenAtEnd != nil && *r.Transactions.OpenAtEnd != 0 {
		t.Errorf("%d transactions are open at the end", *r.Transactions.OpenAtEnd)
	}
	return r
}

// onDemand skips a test that takes long.
func onDemand(t *testing.T) {
	t.Helper()
	if os.Getenv(testAll) == "" {
		t.Skipf("%s is not set", testAll)
	}
}

// tidy removes what the experiments of a configuration have left.
func tidy(t *testing.T, cfg *Config) {
	t.Helper()
	p, err := PlanClean(t.Context(), cfg, true)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// realScenario is what is done to an application on a real broker, and what has to come of it beside a clean verdict.
type realScenario struct {
	name   string
	length time.Duration
	cuts   []string
	faults []string
	set    func(*Config)
	script func(*stage)
	want   func(*testing.T, *Config, *Report)
	long   bool // on demand only
}

func realScenarios() []realScenario {
	expelled := func(t *testing.T, _ *Config, r *Report) {
		t.Helper()
		for _, c := range r.Cuts {
			if !c.Expelled || c.RecoveredMS == nil || *c.RecoveredMS > 20_000 {
				t.Errorf("%s: expelled %v, recovered after %s ms", cutName(c), c.Expelled, number(c.RecoveredMS))
			}
		}
		wantDeaths(t, r, 0)
	}
	takenOver := func(t *testing.T, cfg *Config, r *Report) {
		t.Helper()
		expelled(t, cfg, r)
		for _, c := range r.Cuts {
			if limit := (cfg.Runtime.SessionTimeout + 8*time.Second).Milliseconds(); c.TakeoverMS == nil || *c.TakeoverMS > limit {
				t.Errorf("%s: taken over after %s ms, want at most %d", cutName(c), number(c.TakeoverMS), limit)
			}
		}
	}
	stay := func(t *testing.T, _ *Config, r *Report) {
		t.Helper()
		wantNoneExpelled(t, r.Cuts)
		wantDeaths(t, r, 0)
	}
	alive := func(t *testing.T, _ *Config, r *Report) { t.Helper(); wantDeaths(t, r, 0) }
	hit := func(t *testing.T, cfg *Config, r *Report) { t.Helper(); alive(t, cfg, r); wantHits(t, r) }
	return []realScenario{
		{name: "nothing", length: 15 * time.Second, want: func(t *testing.T, _ *Config, r *Report) { t.Helper(); wantDeaths(t, r, 0); wantCalm(t, r) }},
		{name: "cut-both", length: 35 * time.Second, cuts: []string{"i2@4s+14s"}, want: takenOver},
		// The open transaction of the expelled would block the takers for a minute: that they go on soon shows that they end it themselves,
		// for the limit is far below that on the slowest machine. Brokers that look for timed-out transactions each second are no help here.
		{
			name: "expelled-open-txn", length: 35 * time.Second, cuts: []string{"i2@4s+16s"}, want: takenOver,
			set: func(c *Config) { c.Runtime.TransactionTimeout, c.Runtime.CommitInterval = time.Minute, 2*time.Second },
		},
		{name: "cut-in", length: 35 * time.Second, cuts: []string{"i2@4s+14s:in"}, want: takenOver},
		{name: "cut-out", length: 35 * time.Second, cuts: []string{"i2@4s+14s:out"}, want: takenOver, long: true},
		{name: "cut-short", length: 20 * time.Second, cuts: []string{"i1@4s+3s", "i2@10s+3s:in"}, want: stay},
		{name: "cut-two", length: 40 * time.Second, cuts: []string{"i1@4s+14s", "i2@8s+14s"}, want: expelled},
		{name: "cut-all", length: 40 * time.Second, cuts: []string{"i1@4s+12s", "i2@4s+12s", "i3@4s+12s"}, want: alive, long: true},
		{
			name: "cut-tolerant", length: 35 * time.Second, cuts: []string{"i2@4s+14s"}, want: stay,
			set: func(c *Config) {
				c.Runtime.SessionTimeout, c.Runtime.TransactionTimeout, c.Runtime.RebalanceTimeout = time.Minute, time.Minute, time.Minute
			},
		},
		{
			name: "flap", length: 30 * time.Second, want: alive, long: true,
			cuts: []string{"i1@2s+1s", "i1@4s+2s", "i1@7s+500ms", "i1@9s+2s", "i1@12s+1s", "i1@14s+2500ms", "i1@18s+1s", "i1@20s+2s"},
		},
		{name: "reset-storm", length: 25 * time.Second, faults: []string{"reset,rate=3@4s+14s"}, want: alive},
		{name: "fences", length: 30 * time.Second, faults: everyFence(), want: hit},
		// EndTxn is applied and its answer lost, on an open connection and on one that closes; not applied; and applied too late.
		{name: "endtxn", length: 40 * time.Second, want: hit, faults: []string{
			"drop-response,instance=i1,api=EndTxn,end=commit@4s", "drop-response,instance=i2,api=EndTxn,end=commit,close=true@8s",
			"close,instance=i3,api=EndTxn@12s", "hold,instance=i2,api=EndTxn,delay=8s@16s",
		}},
		// The coordinator aborts the transaction of a stalled thread, which then goes on (KAFKA-20785).
		{name: "stall", length: 35 * time.Second, faults: []string{"stall,instance=i1,thread=1@4s+14s"}, want: alive},
		{
			name: "thread-replace", length: 25 * time.Second, faults: []string{"panic,instance=i3,thread=2@4s"},
			want: func(t *testing.T, _ *Config, r *Report) { t.Helper(); wantDeaths(t, r, 1) },
		},
		{
			name: "exactly-once-v1", length: 35 * time.Second, cuts: []string{"i2@4s+14s"}, want: expelled,
			set: func(c *Config) { c.Runtime.Guarantee = "exactly_once" },
		},
		{
			name: "standbys", length: 35 * time.Second, cuts: []string{"i2@4s+14s"}, want: expelled, long: true,
			set: func(c *Config) { c.Runtime.StandbyReplicas = 1 },
		},
		{
			name: "record-cache", length: 35 * time.Second, cuts: []string{"i2@4s+14s"}, want: expelled, long: true,
			set: func(c *Config) { c.Runtime.RecordCache = 1 << 20 },
		},
		{
			name: "wipe", length: 40 * time.Second, cuts: []string{"i2@4s+14s"}, want: expelled, long: true,
			set: func(c *Config) { c.Runtime.StateMode = "wipe" },
		},
		{
			name: "waiting-for-the-scan", length: 50 * time.Second, cuts: []string{"i2@4s+14s"}, want: expelled, long: true,
			set: func(c *Config) { c.Runtime.ActiveFencing = false },
		},
		// Commits are rare and some fail, so that much is consumed and not committed all the time.
		{
			name: "purge", length: 8 * time.Second, want: hit, script: (*stage).purgesWhatIsCommitted, faults: []string{
				"error,instance=i1,api=TxnOffsetCommit,txn=*,code=TRANSACTION_ABORTABLE@2s", "error,instance=i2,api=EndTxn,end=commit,code=PRODUCER_FENCED@4s",
				"error,instance=i3,api=Produce,txn=*,code=INVALID_PRODUCER_EPOCH@6s",
			},
			set: func(c *Config) {
				c.Runtime.RepartitionPurgeInterval, c.Runtime.CommitInterval = 50*time.Millisecond, time.Second
			},
		},
		{name: "cut-long", length: 4 * time.Minute, cuts: []string{"i1@10s+90s", "i2@110s+90s"}, want: takenOver, long: true},
		{name: "storm", length: 5 * time.Minute, want: alive, long: true, set: func(c *Config) { c.Faults.Schedule, c.Load.Seed = "storm", 7 }},
	}
}

// everyFence answers the requests of a transaction once with each error that ends it, one a second and in turn to all instances. Those
// that only the old protocol of transactions has are left out.
func everyFence() []string {
	var list []string
	for _, api := range []string{"Produce", "TxnOffsetCommit", "EndTxn"} {
		for _, code := range fencingCodes() {
			list = append(list, fmt.Sprintf("error,instance=i%d,api=%s,txn=*,code=%s@%ds", len(list)%3+1, api, code, 4+len(list)))
		}
	}
	return list
}

// Faults on a real broker, in real time: the same expectations as on virtual time.
func TestOnKafka(t *testing.T) {
	for _, scenario := range realScenarios() {
		t.Run(scenario.name, func(t *testing.T) {
			cfg := onKafka(t, scenario.length)
			if scenario.long {
				onDemand(t)
			}
			t.Parallel()
			cfg.Faults.Cuts = cuts(t, scenario.cuts...)
			for _, text := range scenario.faults {
				fault, err := ParseFault(text)
				if err != nil {
					t.Fatal(err)
				}
				cfg.Faults.Faults = append(cfg.Faults.Faults, fault)
			}
			if scenario.set != nil {
				scenario.set(&cfg)
			}
			r := performScript(t, cfg, scenario.script)
			scenario.want(t, &cfg, r)
			tidy(t, &cfg)
		})
	}
}

// An application that is started again finds its state, its offsets and its topics, and needs no right to create any.
func TestOnKafkaARestartRestoresNothing(t *testing.T) {
	t.Parallel()
	cfg := onKafka(t, 6*time.Second)
	perform(t, cfg)
	again := cfg
	r := perform(t, again)
	if n := r.State.RestoredRecords; n != 0 {
		t.Errorf("restored %d records, want none", n)
	}
	tidy(t, &cfg)
}

// What a check says before a run is what the run meets.
func TestOnKafkaCheck(t *testing.T) {
	t.Parallel()
	cfg := onKafka(t, time.Second)
	report, err := CheckCluster(t.Context(), &cfg)
	if err != nil {
		t.Fatal(err)
	}
	if !report.Fit || slices.ContainsFunc(report.Findings, func(f Finding) bool { return f.Result == CheckUnknown }) {
		t.Errorf("the cluster is not fit, or does not say:\n%s", report.Text())
	}
	for _, tt := range []struct {
		set   func(*Config)
		check string
	}{
		{func(c *Config) { c.Runtime.TransactionTimeout = maxTransactionTimeout }, ""},
		{func(c *Config) { c.Runtime.SessionTimeout = time.Second }, "session time-out"},
		{func(c *Config) { c.Cluster.ReplicationFactor = 99 }, "replication"},
	} {
		wrong := cfg
		tt.set(&wrong)
		report, err := CheckCluster(t.Context(), &wrong)
		if err != nil {
			t.Fatal(err)
		}
		if tt.check == "" {
			if !report.Fit {
				t.Errorf("not fit:\n%s", report.Text())
			}
			continue
		}
		if f := found(t, report, tt.check); f.Result != CheckFailed || report.Fit {
			t.Errorf("%s is %s, fit: %t", tt.check, f.Result, report.Fit)
		}
	}
}
