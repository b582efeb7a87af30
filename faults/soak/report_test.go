package soak

import (
	"encoding/json"
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"eostop/faults/verify"
	"eostop/runtime"
)

// finished is the snapshot at the end of a run of a minute with three cuts.
func finished() *Snapshot {
	began := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	return &Snapshot{
		At: began.Add(time.Minute), Elapsed: time.Minute, ApplicationID: "app", Guarantee: "exactly_once_v2", Profile: "fixed",
		BrokerKind: "embedded", BrokerVersion: "3.7", Seed: 7,
		Verify: verify.Status{
			Verdict: verify.Clean, Final: true, In: 1000, Processed: 1000, Out: 4000, Stores: 63, DigestChecked: 63,
			Latency: verify.Latency{P50: 61234 * time.Microsecond, P99: 150 * time.Millisecond, Max: time.Second},
		},
		In: 1000, Processed: 1010, MaxRate: 20000.04, ThreadsTotal: 9, ThreadsAlive: 9,
		Transactions: Transactions{Committed: 500, Aborted: 3, Fenced: 2, UnknownOutcome: 1},
		Instances: []Instance{{InstanceStatus: runtime.InstanceStatus{
			Name: "i1", Threads: []runtime.ThreadStatus{
				{Counters: runtime.Counters{RestoredRecords: 5}}, {Counters: runtime.Counters{RestoredRecords: 6, Rebuilt: 1}},
			},
		}}},
		Cuts: []Cut{
			{
				Instance: "i2", Direction: "both", Start: began.Add(10 * time.Second), Healed: began.Add(30 * time.Second), Expelled: true,
				Takeover: 10400 * time.Millisecond, Recovered: 1500 * time.Millisecond, RestoredRecords: 90, AbortedTransactions: 3, ReplayedRecords: 40,
				Detected: began.Add(12 * time.Second), Away: began.Add(20100 * time.Millisecond),
				Rejoined: began.Add(31 * time.Second), Restored: began.Add(31200 * time.Millisecond), CaughtUp: began.Add(33 * time.Second),
			},
			{Instance: "i1", Direction: "in", Start: began.Add(5 * time.Second), Healed: began.Add(10 * time.Second), Takeover: -1},
			{Instance: "i3", Direction: "out", Start: began.Add(50 * time.Second), Expelled: true, Takeover: -1, Recovered: -1},
		},
	}
}

func TestReport(t *testing.T) {
	r := NewReport(finished(), Outcome{
		Verified: true, Loaded: true, LoadPeriod: 50 * time.Second, LoadProcessed: 999, OpenAtEnd: new(int64(0)),
		Faults: []ReportFault{{
			Kind: FaultPanic, Spec: "panic,instance=i3,thread=2@15s", Instance: "i3", Thread: "i3-StreamThread-2", StartMS: new(int64(15000)),
			Hits: new(int64(1)), EndedMS: new(int64(15001)), RecoveredMS: new(int64(900)),
		}},
		Died: []ThreadDied{{Thread: "i3-StreamThread-2", At: time.Date(2026, 1, 1, 12, 0, 15, 0, time.UTC), Cause: "panic", Error: "panic: injected"}},
	})
	got, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	want := `{
 "schema": 1,
 "version": "` + Version + `",
 "verdict": "clean",
 "reasons": [],
 "application_id": "app",
 "guarantee": "exactly_once_v2",
 "profile": "fixed",
 "broker": {
  "kind": "embedded",
  "version": "3.7"
 },
 "seed": 7,
 "duration_ms": 60000,
 "records": {
  "in": 1000,
  "processed": 1000,
  "out": 4000,
  "duplicated": 0,
  "lost": 0,
  "out_of_order": 0
 },
 "throughput": {
  "avg_per_s": 20,
  "max_per_s": 20000
 },
 "latency_ms": {
  "p50": 61.2,
  "p99": 150,
  "max": 1000
 },
 "threads": {
  "total": 9,
  "alive": 9,
  "died": [
   {
    "thread": "i3-StreamThread-2",
    "at": "2026-01-01T12:00:15Z",
    "cause": "panic",
    "error": "panic: injected"
   }
  ],
  "replaced": 0
 },
 "transactions": {
  "committed": 500,
  "aborted": 3,
  "fenced": 2,
  "unknown_outcome": 1,
  "open_at_end": 0
 },
 "state": {
  "stores": 63,
  "digest_checked": 63,
  "digest_mismatch": 0,
  "restored_records": 11,
  "wiped": 0,
  "rebuilt": 1
 },
 "cuts": [
  {
   "instance": "i2",
   "direction": "both",
   "start_ms": 10000,
   "length_ms": 20000,
   "expelled": true,
   "detected_ms": 2000,
   "expelled_ms": 10100,
   "takeover_ms": 10400,
   "rejoined_ms": 1000,
   "restored_ms": 1200,
   "recovered_ms": 1500,
   "caught_up_ms": 3000,
   "restored_records": 90,
   "aborted_transactions": 3,
   "replayed_records": 40
  },
  {
   "instance": "i1",
   "direction": "in",
   "start_ms": 5000,
   "length_ms": 5000,
   "expelled": false,
   "recovered_ms": 0,
   "restored_records": 0,
   "aborted_transactions": 0,
   "replayed_records": 0
  },
  {
   "instance": "i3",
   "direction": "out",
   "start_ms": 50000,
   "expelled": true,
   "restored_records": 0,
   "aborted_transactions": 0,
   "replayed_records": 0
  }
 ],
 "recovery": {
  "detected_ms": {
   "count": 1,
   "p50": 2000,
   "p90": 2000,
   "max": 2000
  },
  "expelled_ms": {
   "count": 1,
   "p50": 10100,
   "p90": 10100,
   "max": 10100
  },
  "takeover_ms": {
   "count": 1,
   "p50": 10400,
   "p90": 10400,
   "max": 10400
  },
  "rejoined_ms": {
   "count": 1,
   "p50": 1000,
   "p90": 1000,
   "max": 1000
  },
  "restored_ms": {
   "count": 1,
   "p50": 1200,
   "p90": 1200,
   "max": 1200
  },
  "recovered_ms": {
   "count": 2,
   "p50": 0,
   "p90": 1500,
   "max": 1500
  },
  "caught_up_ms": {
   "count": 1,
   "p50": 3000,
   "p90": 3000,
   "max": 3000
  },
  "restored_records": 90,
  "aborted_transactions": 3,
  "replayed_records": 40
 },
 "faults": [
  {
   "kind": "panic",
   "spec": "panic,instance=i3,thread=2@15s",
   "instance": "i3",
   "thread": "i3-StreamThread-2",
   "start_ms": 15000,
   "hits": 1,
   "ended_ms": 15001,
   "recovered_ms": 900
  }
 ],
 "witnesses": []
}`
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestReportOfNothingHasNoZeroesForUnknown(t *testing.T) {
	r := NewReport(&Snapshot{ApplicationID: "app", BrokerKind: "kafka"}, Outcome{})
	got, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, absent := range []string{
		"verdict", "duration_ms", "in\"", "out\"", "lost", "duplicated", "avg_per_s", "max_per_s", "latency_ms", "open_at_end", "stores", "digest",
	} {
		if strings.Contains(string(got), absent) {
			t.Errorf("%s must be absent in %s", absent, got)
		}
	}
	for _, list := range []string{`"reasons":[]`, `"died":[]`, `"cuts":[]`, `"faults":[]`, `"witnesses":[]`} {
		if !strings.Contains(string(got), list) {
			t.Errorf("%s is missing in %s", list, got)
		}
	}
}

func TestReportOfInput(t *testing.T) {
	tests := []struct {
		name    string
		outcome Outcome
		want    *int64
	}{
		{"load", Outcome{Loaded: true}, new(int64(0))},
		{"load and verifier", Outcome{Loaded: true, Verified: true}, new(int64(0))},
		{"verifier", Outcome{Verified: true}, new(int64(1000))},
		{"neither", Outcome{}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := finished()
			s.In = 0
			got := NewReport(s, tt.outcome).Records.In
			if (got == nil) != (tt.want == nil) || got != nil && *got != *tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestReportHasNoDigestsBeforeTheyAreCompared(t *testing.T) {
	s := finished()
	s.Verify.Final = false
	r := NewReport(s, Outcome{Verified: true})
	if r.State.Stores != nil || r.State.DigestChecked != nil || r.State.DigestMismatch != nil || r.Records.Out == nil {
		t.Errorf("%+v %+v", r.State, r.Records)
	}
}

func TestVerdictAndExitCode(t *testing.T) {
	survivable := []ThreadDied{{Thread: "i1-StreamThread-1", Cause: "fenced", Survivable: true}}
	tests := []struct {
		name     string
		verifier verify.Verdict
		outcome  Outcome
		verdict  verify.Verdict
		code     int
	}{
		{"clean", verify.Clean, Outcome{Verified: true}, verify.Clean, ExitClean},
		{"violation", verify.Violation, Outcome{Verified: true}, verify.Violation, ExitViolation},
		{"unknown", verify.Unknown, Outcome{Verified: true}, verify.Unknown, ExitUnknown},
		{"verifier without verdict", "", Outcome{Verified: true}, verify.Unknown, ExitUnknown},
		{"undecided", verify.Clean, Outcome{Verified: true, Undecided: []string{"no broker"}}, verify.Unknown, ExitUnknown},
		{"drain deadline", verify.Clean, Outcome{Verified: true, Violations: []string{"5 left"}, Undecided: []string{"x"}}, verify.Violation, ExitViolation},
		{"violation outweighs undecided", verify.Violation, Outcome{Verified: true, Undecided: []string{"x"}}, verify.Violation, ExitViolation},
		{"survivable death", verify.Clean, Outcome{Verified: true, Died: survivable}, verify.Clean, ExitViolation},
		{"survivable death, unknown", verify.Unknown, Outcome{Verified: true, Died: survivable}, verify.Unknown, ExitViolation},
		{"death of user code", verify.Clean, Outcome{Verified: true, Died: []ThreadDied{{Cause: "panic"}}}, verify.Clean, ExitClean},
		{"no verifier", "", Outcome{}, "", ExitClean},
		{"no verifier, not clean", "", Outcome{Violations: []string{"5 left"}}, "", ExitViolation},
		{"no verifier, death", "", Outcome{Died: survivable}, "", ExitViolation},
		{"no verifier, undecided", "", Outcome{Undecided: []string{"no broker"}}, "", ExitUnknown},
		{"no verifier, not clean and undecided", "", Outcome{Violations: []string{"5 left"}, Undecided: []string{"x"}}, "", ExitViolation},
		{"no verifier, undecided and death", "", Outcome{Undecided: []string{"x"}, Died: survivable}, "", ExitViolation},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := finished()
			s.Verify.Verdict = tt.verifier
			r := NewReport(s, tt.outcome)
			if r.Verdict != tt.verdict || ExitCode(r) != tt.code {
				t.Errorf("verdict %q, exit code %d; want %q, %d", r.Verdict, ExitCode(r), tt.verdict, tt.code)
			}
			if tt.code == ExitViolation && tt.verifier != verify.Violation && len(r.Reasons) == 0 {
				t.Error("no reason is given")
			}
		})
	}
}

func TestWitnessesAreReported(t *testing.T) {
	s := finished()
	s.Verify.Verdict, s.Verify.Reasons = verify.Violation, []string{"1 record lost"}
	s.Verify.Witnesses = []verify.Witness{{Kind: "lost", Input: "in-0@5", Detail: "key-1"}}
	r := NewReport(s, Outcome{Verified: true})
	if len(r.Witnesses) != 1 || r.Witnesses[0].Outputs == nil || r.Reasons[0] != "1 record lost" {
		t.Errorf("%+v %q", r.Witnesses, r.Reasons)
	}
}

func TestWriteReport(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.json")
	if err := WriteReport(path, NewReport(finished(), Outcome{Verified: true})); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(text, &back); err != nil || back.Verdict != verify.Clean {
		t.Errorf("%v, %v", back.Verdict, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&0o600 != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	err = WriteReport(filepath.Join(path, "x"), &back)
	if err == nil || !strings.Contains(err.Error(), "report: cannot write "+path+"/x: not a directory") {
		t.Error(err)
	}
}

func TestJUnit(t *testing.T) {
	s := finished()
	s.Elapsed, s.At = 10*time.Minute, s.At.Add(9*time.Minute)
	s.Cuts[1].Recovered = -1
	s.Cuts = append(s.Cuts, s.Cuts[1])
	s.Cuts[3].Start = s.At.Add(-15 * time.Second)
	s.Cuts[3].Healed = s.At.Add(-5 * time.Second)
	r := NewReport(s, Outcome{Verified: true})
	r.Reasons = append(r.Reasons, "a <reason>")
	path := filepath.Join(t.TempDir(), "r.xml")
	if err := WriteJUnit(path, r); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var back junitSuites
	if err := xml.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	suite := back.Suites[0]
	if suite.Tests != 11 || suite.Failures != 1 || suite.Errors != 0 || suite.Skipped != 5 || suite.Time != "600.000" {
		t.Errorf("%+v", suite)
	}
	want := map[string]string{
		"verdict": "passed", "9 threads alive": "passed", "store digests": "passed",
		"cut 1: takeover of i2": "passed 10.400", "cut 1: recovery of i2": "passed 1.500",
		"cut 2: takeover of i1": "skipped", "cut 2: recovery of i1": "failed",
		"cut 3: takeover of i3": "skipped", "cut 3: recovery of i3": "skipped",
		"cut 4: takeover of i1": "skipped", "cut 4: recovery of i1": "skipped",
	}
	for _, c := range suite.Cases {
		got := strings.TrimSpace("passed " + c.Time)
		switch {
		case c.Failure != nil:
			got = "failed"
		case c.Error != nil:
			got = "error"
		case c.Skipped != nil:
			got = "skipped"
		}
		if got != want[c.Name] || c.Class != "eostop.app" {
			t.Errorf("%s %s: %s, want %s", c.Class, c.Name, got, want[c.Name])
		}
	}
}

func TestJUnitOfBadRuns(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Report)
		check  func(junitSuite) bool
	}{
		{"violation", func(r *Report) { r.Verdict = verify.Violation }, func(s junitSuite) bool { return s.Cases[0].Failure != nil }},
		{"unknown", func(r *Report) { r.Verdict = verify.Unknown }, func(s junitSuite) bool { return s.Cases[0].Error != nil && s.Errors == 1 }},
		{"none", func(r *Report) { r.Verdict = "" }, func(s junitSuite) bool { return s.Cases[0].Skipped != nil }},
		{"not verified, undecided", func(r *Report) { r.Verdict, r.Reasons, r.undecided = "", []string{"no broker"}, true }, func(s junitSuite) bool {
			return s.Cases[0].Error != nil && s.Cases[0].Error.Message == "not verified: no broker"
		}},
		{"not verified, not clean", func(r *Report) { r.Verdict, r.Reasons = "", []string{"5 left"} }, func(s junitSuite) bool {
			return s.Cases[0].Failure != nil && s.Failures == 1
		}},
		{"thread missing", func(r *Report) { r.Threads.Alive-- }, func(s junitSuite) bool { return s.Cases[1].Failure != nil }},
		{"thread died", func(r *Report) { r.Threads.Died = []ThreadDied{{Survivable: true}} }, func(s junitSuite) bool { return s.Cases[1].Failure != nil }},
		{"user code died", func(r *Report) { r.Threads.Died = []ThreadDied{{}} }, func(s junitSuite) bool { return s.Cases[1].Failure == nil }},
		{"digests differ", func(r *Report) { r.State.DigestMismatch = new(int64(1)) }, func(s junitSuite) bool { return s.Cases[2].Failure != nil }},
		{"no digests", func(r *Report) { r.State.DigestChecked = nil }, func(s junitSuite) bool { return s.Cases[2].Skipped != nil }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := NewReport(finished(), Outcome{Verified: true})
			tt.change(r)
			if suite := newJUnitSuite(r); !tt.check(suite) {
				t.Errorf("%+v", suite)
			}
		})
	}
}
