package soak

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"eostop/faults/verify"
)

// compared is a report that has measured everything.
func compared() *Report {
	return &Report{
		Schema: reportSchema, Verdict: verify.Clean, Guarantee: "exactly_once_v2",
		Records:    ReportRecords{Lost: new(int64(0)), Duplicated: new(int64(0)), OutOfOrder: new(int64(0))},
		Throughput: ReportThroughput{AvgPerS: new(20000.0)},
		LatencyMS:  &ReportLatency{P50: 50, P99: 200, Max: 1000},
		State:      ReportState{DigestMismatch: new(int64(0)), Wiped: 10},
		Cuts: []ReportCut{
			{TakeoverMS: new(int64(12000)), RecoveredMS: new(int64(500))}, {RecoveredMS: new(int64(700))}, {},
		},
		Transactions: ReportTransactions{OpenAtEnd: new(int64(0))},
	}
}

func TestDiff(t *testing.T) {
	tests := map[string]struct {
		change     func(*Report)
		want       string // the row, joined; empty = no difference
		regression bool
	}{
		"nothing":                {func(*Report) {}, "", false},
		"worse verdict":          {func(r *Report) { r.Verdict = verify.Violation }, "verdict clean violation ", true},
		"unknown verdict":        {func(r *Report) { r.Verdict = verify.Unknown }, "verdict clean unknown ", true},
		"no verdict":             {func(r *Report) { r.Verdict = "" }, "verdict clean - ", true},
		"one is lost":            {func(r *Report) { r.Records.Lost = new(int64(1)) }, "records lost 0 1 ", true},
		"one is doubled":         {func(r *Report) { r.Records.Duplicated = new(int64(1)) }, "records duplicated 0 1 ", true},
		"a thread died":          {func(r *Report) { r.Threads.Died = make([]ThreadDied, 1) }, "threads died 0 1 ", true},
		"one is open":            {func(r *Report) { r.Transactions.OpenAtEnd = new(int64(1)) }, "transactions open at the end 0 1 ", true},
		"a store differs":        {func(r *Report) { r.State.DigestMismatch = new(int64(2)) }, "stores that differ 0 2 ", true},
		"one more is wiped":      {func(r *Report) { r.State.Wiped = 11 }, "stores wiped 10 11 +10.0%", false},
		"two more are wiped":     {func(r *Report) { r.State.Wiped = 12 }, "stores wiped 10 12 +20.0%", true},
		"the first is rebuilt":   {func(r *Report) { r.State.Rebuilt = 1 }, "stores rebuilt 0 1 ", true},
		"somewhat slower":        {func(r *Report) { r.Throughput.AvgPerS = new(18000.0) }, "records/s 20000 18000 -10.0%", false},
		"slower":                 {func(r *Report) { r.Throughput.AvgPerS = new(17999.0) }, "records/s 20000 17999 -10.0%", true},
		"faster":                 {func(r *Report) { r.Throughput.AvgPerS = new(40000.0) }, "records/s 20000 40000 +100.0%", false},
		"not measured":           {func(r *Report) { r.Throughput.AvgPerS = nil }, "records/s 20000 - ", false},
		"later":                  {func(r *Report) { r.LatencyMS.P99 = 221 }, "latency p99, ms 200 221 +10.5%", true},
		"somewhat later":         {func(r *Report) { r.LatencyMS.P50 = 55 }, "latency p50, ms 50 55 +10.0%", false},
		"sooner":                 {func(r *Report) { r.LatencyMS.Max = 10 }, "latency max, ms 1000 10 -99.0%", false},
		"slow to recover":        {func(r *Report) { r.Cuts[1].RecoveredMS = new(int64(900)) }, "recovered p99, ms 700 900 +28.6%", true},
		"no takeover":            {func(r *Report) { r.Cuts[0].TakeoverMS = nil }, "takeover p50, ms 12000 - ", false},
		"duplicates are allowed": {func(r *Report) { r.Guarantee = "at_least_once"; r.State.Wiped = 9 }, "stores wiped 10 9 -10.0%", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			after := compared()
			tt.change(after)
			rows := Diff(compared(), after, 0.1)
			var out strings.Builder
			regression, err := WriteDiff(&out, rows)
			if err != nil || regression != tt.regression {
				t.Errorf("regression %v, %v: %+v", regression, err, rows)
			}
			if tt.want == "" {
				if len(rows) != 0 || out.String() != "no differences\n" {
					t.Errorf("%+v, %q", rows, out.String())
				}
				return
			}
			if len(rows) == 0 {
				t.Fatal("no difference")
			}
			first := rows[0]
			if got := strings.Join([]string{first.What, first.Before, first.After, first.Change}, " "); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
			if tt.regression != strings.Contains(out.String(), "regression") || !strings.HasPrefix(out.String(), "WHAT ") {
				t.Errorf("%s", out.String())
			}
		})
	}
}

func TestPercentiles(t *testing.T) {
	var all []float64
	for i := range 100 {
		all = append(all, float64(i+1))
	}
	for _, tt := range []struct {
		of      []float64
		percent int
		want    float64
	}{{all, 50, 50}, {all, 99, 99}, {all[:1], 50, 1}, {all[:1], 99, 1}, {all[:2], 50, 1}, {all[:3], 50, 2}, {all[:3], 99, 3}} {
		if got := percentile(tt.of, tt.percent); got == nil || *got != tt.want {
			t.Errorf("p%d of %d: %v, want %v", tt.percent, len(tt.of), got, tt.want)
		}
	}
	if percentile(nil, 50) != nil {
		t.Error("of none")
	}
}

// TestReportsAreReadBack reads what was written, and says what is wrong with other files.
func TestReportsAreReadBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.json")
	if err := WriteReport(path, compared()); err != nil {
		t.Fatal(err)
	}
	back, err := ReadReport(path)
	if err != nil || len(Diff(compared(), back, 0)) > 0 {
		t.Errorf("%+v, %v", Diff(compared(), back, 0), err)
	}
	for text, want := range map[string]string{
		"{":            "unexpected end of JSON input",
		"[]":           "cannot unmarshal array",
		`{"schema":2}`: "its schema is 2, this program knows 1",
		"{}":           "its schema is 0",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := ReadReport(path)
		if _, usage := errors.AsType[*UsageError](err); !usage || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if _, err := ReadReport(path + "x"); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("missing: %v", err)
	}
}

func TestDiffFlags(t *testing.T) {
	f, err := ParseDiffFlags([]string{"a", "b", "--tolerance", "2.5%"})
	if err != nil || *f != (DiffFlags{Before: "a", After: "b", Tolerance: 0.025}) {
		t.Errorf("%+v, %v", f, err)
	}
	if f, err := ParseDiffFlags([]string{"a", "b"}); err != nil || f.Tolerance != defaultTolerance {
		t.Errorf("%+v, %v", f, err)
	}
	for _, args := range []string{"", "a", "a b c", "a b --tolerance 10", "a b --tolerance -1%", "a b --tolerance NaN%", "a b --tolerance x%", "a b --what"} {
		if _, err := ParseDiffFlags(strings.Fields(args)); err == nil {
			t.Errorf("%q is accepted", args)
		} else if _, usage := errors.AsType[*UsageError](err); !usage {
			t.Errorf("%q: %v is no usage error", args, err)
		}
	}
}
