package soak

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"eostop/faults/verify"
	"eostop/runtime"

	"github.com/spf13/pflag"
)

// defaultTolerance is by how much of a number may get worse before it counts.
const defaultTolerance = 0.10

// DiffFlags is a parsed command line of the diff command.
type DiffFlags struct {
	Before, After string  // files
	Tolerance     float64 // part of a number, e.g. 0.1
	Help          bool
}

// DiffUsage is the help of the diff command.
const DiffUsage = `eostop diff BEFORE.json AFTER.json [--tolerance 10%]

Compares two reports and prints what differs. Exit code 1 means that the second is worse: its verdict is, something was
lost, duplicated, out of order or died that was not before, or throughput, latency, the steps of recovery, wiped or rebuilt
stores are worse by more than the tolerance.
`

func (f *DiffFlags) set() *pflag.FlagSet {
	set := pflag.NewFlagSet("diff", pflag.ContinueOnError)
	set.Usage = func() {}
	set.String("tolerance", "10%", "by how much a number may get worse before it counts")
	set.BoolVarP(&f.Help, "help", "h", false, "this text")
	return set
}

// ParseDiffFlags parses the arguments behind the command. Its error is a UsageError.
func ParseDiffFlags(args []string) (*DiffFlags, error) {
	f := &DiffFlags{}
	set := f.set()
	if err := set.Parse(args); err != nil {
		return nil, Usagef("%s; see eostop diff --help", strings.TrimSpace(err.Error()))
	}
	if f.Help {
		return f, nil
	}
	var err error
	if f.Tolerance, err = parseTolerance(set.Lookup("tolerance").Value.String()); err != nil {
		return nil, err
	}
	if set.NArg() != 2 {
		return nil, Usagef("diff takes two reports, not %d; see eostop diff --help", set.NArg())
	}
	f.Before, f.After = set.Arg(0), set.Arg(1)
	return f, nil
}

// parseTolerance reads a percentage.
func parseTolerance(text string) (float64, error) {
	percent, ok := strings.CutSuffix(text, "%")
	n, err := strconv.ParseFloat(percent, 64)
	if !ok || err != nil || !(n >= 0 && n <= 1e6) {
		return 0, Usagef("flag --tolerance: %q is not a percentage; write it like %.0f%%", text, defaultTolerance*100)
	}
	return n / 100, nil
}

// ReadReport reads a report that WriteReport wrote. Its error is a UsageError.
func ReadReport(path string) (*Report, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, Usagef("report %s: %w", path, bareCause(err))
	}
	r := &Report{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, Usagef("report %s: %w", path, err)
	}
	if r.Schema != reportSchema {
		return nil, Usagef("report %s: its schema is %d, this program knows %d", path, r.Schema, reportSchema)
	}
	return r, nil
}

// Difference is one row of a comparison of two reports.
type Difference struct {
	What          string
	Before, After string // "-" = not measured
	Change        string // empty = cannot be said as a number
	Regression    bool   // it is worse, beyond what is tolerated
}

// Diff compares two reports. It returns what differs; a regression is worse by more than the tolerance, a part of the number before, or
// by anything at all where nothing is tolerated: the verdict, loss, duplicates, order, stores and deaths.
func Diff(before, after *Report, tolerance float64) []Difference {
	d := differ{tolerance: tolerance}
	d.verdict(before.Verdict, after.Verdict)
	twice := 0.0 // duplicates are a violation
	if after.Guarantee == string(runtime.AtLeastOnce) {
		twice = tolerance
	}
	d.count("records lost", before.Records.Lost, after.Records.Lost, 0)
	d.count("records duplicated", before.Records.Duplicated, after.Records.Duplicated, twice)
	d.count("records out of order", before.Records.OutOfOrder, after.Records.OutOfOrder, twice)
	d.count("threads died", new(int64(len(before.Threads.Died))), new(int64(len(after.Threads.Died))), 0)
	d.count("transactions open at the end", before.Transactions.OpenAtEnd, after.Transactions.OpenAtEnd, 0)
	d.count("stores that differ", before.State.DigestMismatch, after.State.DigestMismatch, 0)
	d.count("stores wiped", new(int64(before.State.Wiped)), new(int64(after.State.Wiped)), tolerance)
	d.count("stores rebuilt", new(int64(before.State.Rebuilt)), new(int64(after.State.Rebuilt)), tolerance)
	d.number("records/s", before.Throughput.AvgPerS, after.Throughput.AvgPerS, tolerance, true)
	var a, b ReportLatency
	if before.LatencyMS != nil && after.LatencyMS != nil {
		a, b = *before.LatencyMS, *after.LatencyMS
		d.number("latency p50, ms", &a.P50, &b.P50, tolerance, false)
		d.number("latency p99, ms", &a.P99, &b.P99, tolerance, false)
		d.number("latency max, ms", &a.Max, &b.Max, tolerance, false)
	}
	d.looks = float64(observeEvery.Milliseconds())
	for _, of := range []struct {
		name string
		ms   func(*ReportCut) *int64
	}{
		{"detected", func(c *ReportCut) *int64 { return c.DetectedMS }},
		{"expelled", func(c *ReportCut) *int64 { return c.ExpelledMS }},
		{"takeover", func(c *ReportCut) *int64 { return c.TakeoverMS }},
		{"rejoined", func(c *ReportCut) *int64 { return c.RejoinedMS }},
		{"restored", func(c *ReportCut) *int64 { return c.RestoredMS }},
		{"recovered", func(c *ReportCut) *int64 { return c.RecoveredMS }},
		{"caught up", func(c *ReportCut) *int64 { return c.CaughtUpMS }},
	} {
		x, y := measured(before.Cuts, of.ms), measured(after.Cuts, of.ms)
		for _, percent := range []int{50, 99} {
			d.number(fmt.Sprintf("%s p%d, ms", of.name, percent), percentile(x, percent), percentile(y, percent), tolerance, false)
		}
	}
	return d.rows
}

// measured returns one of the numbers of cuts, where it was measured, in ascending order.
func measured(cuts []ReportCut, of func(*ReportCut) *int64) []float64 {
	var all []float64
	for i := range cuts {
		if ms := of(&cuts[i]); ms != nil {
			all = append(all, float64(*ms))
		}
	}
	slices.Sort(all)
	return all
}

// percentile returns the smallest number that so many of a hundred do not exceed; nil of none.
func percentile(sorted []float64, percent int) *float64 {
	if len(sorted) == 0 {
		return nil
	}
	return new(Percentile(sorted, percent))
}

// differ collects rows. A time that was measured by looking at instances now and then must be worse by more than the time
// between two looks.
type differ struct {
	looks     float64 // 0 = measured to the point
	tolerance float64
	rows      []Difference
}

func (d *differ) verdict(before, after verify.Verdict) {
	if before == after {
		return
	}
	// A verdict that is not there any more must not look like a good one.
	rank := []verify.Verdict{verify.Clean, "", verify.Unknown, verify.Violation}
	worse := slices.Index(rank, after) > slices.Index(rank, before)
	d.rows = append(d.rows, Difference{
		What: "verdict", Before: cmp.Or(string(before), "-"), After: cmp.Or(string(after), "-"), Regression: worse,
	})
}

func (d *differ) count(what string, before, after *int64, tolerance float64) {
	float := func(n *int64) *float64 {
		if n == nil {
			return nil
		}
		return new(float64(*n))
	}
	d.number(what, float(before), float(after), tolerance, false)
}

// number compares two numbers, of which the greater is the worse one unless more is better.
func (d *differ) number(what string, before, after *float64, tolerance float64, better bool) {
	switch {
	case before == nil && after == nil, before != nil && after != nil && *before == *after:
		return
	case before == nil || after == nil:
		d.rows = append(d.rows, Difference{What: what, Before: inWords(before), After: inWords(after)})
		return
	}
	worse := *after - *before
	if better {
		worse = -worse
	}
	row := Difference{What: what, Before: inWords(before), After: inWords(after), Regression: worse > max(tolerance*math.Abs(*before), d.looks)}
	if *before != 0 {
		row.Change = fmt.Sprintf("%+.1f%%", (*after-*before) / *before * 100)
	}
	d.rows = append(d.rows, row)
}

func inWords(n *float64) string {
	if n == nil {
		return "-"
	}
	return strconv.FormatFloat(tenth(*n), 'f', -1, 64)
}

// WriteDiff prints a comparison as a table, and tells whether it holds a regression.
func WriteDiff(w io.Writer, rows []Difference) (regression bool, err error) {
	if len(rows) == 0 {
		_, err := fmt.Fprintln(w, "no differences")
		return false, err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "WHAT\tBEFORE\tAFTER\tCHANGE\t")
	for _, r := range rows {
		mark := ""
		if r.Regression {
			mark, regression = "regression", true
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", r.What, r.Before, r.After, r.Change, mark)
	}
	return regression, table.Flush()
}
