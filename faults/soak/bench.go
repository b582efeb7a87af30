package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"eostop/faults"
	"eostop/runtime"

	"github.com/spf13/pflag"
)

// BenchFlags is the command line of the bench command.
type BenchFlags struct {
	Records  int64
	Rate     float64
	Duration time.Duration
	Report   string
	Help     bool

	rounds int // how often throughput is measured: what is compared takes turns, so that all have the same noise, and the median counts
}

func (f *BenchFlags) set() *pflag.FlagSet {
	set := pflag.NewFlagSet("bench", pflag.ContinueOnError)
	set.SortFlags = false
	set.Usage = func() {}
	set.Int64Var(&f.Records, "records", 300_000, "how many records throughput is measured with, and how many are there before a restore")
	set.Float64Var(&f.Rate, "rate", 5000, "records a second at which latency is measured")
	set.DurationVar(&f.Duration, "duration", 10*time.Second, "how long latency is measured")
	set.StringVar(&f.Report, "report", "", "write the result as JSON")
	set.BoolVarP(&f.Help, "help", "h", false, "this text")
	return set
}

// ParseBench parses the arguments behind bench. Its error is a UsageError.
func ParseBench(args []string) (*BenchFlags, error) {
	f := &BenchFlags{rounds: 3}
	set := f.set()
	if err := set.Parse(args); err != nil {
		return nil, &UsageError{Err: flagError("bench", set, err)}
	}
	switch {
	case set.NArg() > 0:
		return nil, Usagef("unexpected argument %q; bench takes flags only, see eostop bench --help", set.Arg(0))
	case f.Records < 1:
		return nil, Usagef("flag --records: %d is out of range; valid: 1 and more", f.Records)
	case !(f.Rate > 0 && f.Rate <= maxLoadRate/restoreLoad):
		return nil, Usagef("flag --rate: %v is out of range; valid: above 0 and up to %d", f.Rate, maxLoadRate/restoreLoad)
	case f.Duration < time.Second:
		return nil, Usagef("flag --duration: %s is too short; valid: 1s and more", formatDuration(f.Duration))
	}
	return f, nil
}

// Measure is one figure of a benchmark.
type Measure struct {
	What  string  `json:"what"`
	Of    string  `json:"of"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	// Ratio is to the first measure of the same kind: machines differ, ratios do less.
	Ratio float64 `json:"ratio"`
}

// benchmark measures one thing after another, all in real time on the embedded broker.
type benchmark struct {
	flags    *BenchFlags
	startUp  []float64 // milliseconds, of every session
	measures []Measure
	tell     func(Measure)
}

// UncleanError is the end of a benchmark in which a session has not come out clean.
type UncleanError struct {
	Code   int // that a run of the session would have ended with
	Report *Report
}

func (e *UncleanError) Error() string {
	return fmt.Sprintf("bench: a session was not clean: verdict %s, %s", e.Report.Verdict, strings.Join(e.Report.Reasons, "; "))
}

// RunBench measures throughput, latency, restore and start-up of the soak program. tell is called with each measure as it is known. A
// session that does not come out clean is an UncleanError: how fast it is does not matter then.
func RunBench(ctx context.Context, f *BenchFlags, tell func(Measure)) ([]Measure, error) {
	b := &benchmark{flags: f, tell: tell}
	for _, step := range []func(context.Context) error{b.throughput, b.latency, b.restore} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	b.add("start-up", fmt.Sprintf("median of %d sessions, until all threads are RUNNING", len(b.startUp)), median(b.startUp), "ms")
	return b.measures, nil
}

func (b *benchmark) add(what, of string, value float64, unit string) {
	m := Measure{what, of, value, unit, 1}
	if at := slices.IndexFunc(b.measures, func(other Measure) bool { return other.What == what }); at >= 0 {
		m.Ratio = value / b.measures[at].Value
	}
	b.measures = append(b.measures, m)
	b.tell(m)
}

// session runs one, does something with it once all threads are RUNNING, and stops it.
func (b *benchmark) session(ctx context.Context, cfg Config, script func(context.Context, *Session) error) (*Report, error) {
	s, err := New(cfg, nil, Deps{})
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := s.Start(ctx); err != nil {
		return nil, err
	}
	err = until(ctx, s, func(snap *Snapshot) bool { return snap.Phase != PhaseStarting })
	b.startUp = append(b.startUp, float64(time.Since(began).Microseconds())/1000)
	if err == nil {
		err = script(ctx, s)
	}
	s.Stop(err != nil)
	report, ended := s.Wait()
	if err := errors.Join(err, ended); err != nil {
		return nil, &RunError{Err: err}
	}
	if code := ExitCode(report); code != ExitClean {
		return nil, &UncleanError{code, report}
	}
	return report, nil
}

// benchLook is how often a session is looked at.
const benchLook = 5 * time.Millisecond

// until waits for something that can be seen.
func until(ctx context.Context, s *Session, seen func(*Snapshot) bool) error {
	tick := time.NewTicker(benchLook)
	defer tick.Stop()
	for !seen(s.Snapshot()) {
		select {
		case <-tick.C:
		case <-s.Done():
			if seen(s.Snapshot()) {
				return nil
			}
			return errors.New("bench: the session ended by itself")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// filled is a configuration whose load writes all records at once, as fast as it can.
func (b *benchmark) filled() Config {
	cfg := Default()
	cfg.Load.Records, cfg.Load.Rate = b.flags.Records, maxLoadRate
	return cfg
}

// worked waits until all records have been processed.
func (b *benchmark) worked(ctx context.Context, s *Session) error {
	return until(ctx, s, func(snap *Snapshot) bool { return snap.In >= b.flags.Records && snap.Processed >= snap.In })
}

func (b *benchmark) throughput(ctx context.Context) error {
	runs := []struct {
		of        string
		guarantee runtime.Guarantee
		verified  bool
		rates     []float64
	}{
		{"exactly_once_v2", runtime.ExactlyOnceV2, true, nil},
		{"exactly_once", runtime.ExactlyOnce, true, nil},
		{"at_least_once", runtime.AtLeastOnce, true, nil},
		{"exactly_once_v2, not verified", runtime.ExactlyOnceV2, false, nil},
	}
	for range b.flags.rounds {
		for i := range runs {
			run := &runs[i]
			cfg := b.filled()
			cfg.Runtime.Guarantee, cfg.Verify.Enabled = string(run.guarantee), run.verified
			_, err := b.session(ctx, cfg, func(ctx context.Context, s *Session) error {
				began := time.Now()
				err := b.worked(ctx, s)
				run.rates = append(run.rates, float64(b.flags.Records)/time.Since(began).Seconds())
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	for _, run := range runs {
		b.add("throughput", run.of, median(run.rates), "records/s")
	}
	return nil
}

func median(values []float64) float64 {
	slices.Sort(values)
	return *percentile(values, 50)
}

func (b *benchmark) latency(ctx context.Context) error {
	type figure struct{ p50, p99 float64 }
	guarantees := []runtime.Guarantee{runtime.ExactlyOnceV2, runtime.ExactlyOnce, runtime.AtLeastOnce}
	figures := make([]figure, len(guarantees))
	for i, guarantee := range guarantees {
		cfg := Default()
		cfg.Load.Rate, cfg.Load.Duration, cfg.Runtime.Guarantee = b.flags.Rate, b.flags.Duration, string(guarantee)
		report, err := b.session(ctx, cfg, func(ctx context.Context, s *Session) error {
			return until(ctx, s, func(snap *Snapshot) bool { return snap.Phase != PhaseRunning })
		})
		if err != nil {
			return err
		}
		if report.LatencyMS == nil {
			return errors.New("bench: no latency was measured")
		}
		figures[i] = figure{report.LatencyMS.P50, report.LatencyMS.P99}
	}
	for i, guarantee := range guarantees {
		b.add("latency p50", string(guarantee), figures[i].p50, "ms")
	}
	for i, guarantee := range guarantees {
		b.add("latency p99", string(guarantee), figures[i].p99, "ms")
	}
	return nil
}

// restoreLoad is how many times the rate a restore is measured under.
const restoreLoad = 4

// takeoverTimeout is how long the others may take.
const takeoverTimeout = 2 * time.Minute

// restore cuts an instance off, and measures how fast the others restore its stores, from when they have got the first of its tasks.
func (b *benchmark) restore(ctx context.Context) error {
	cfg := Default()
	cfg.Runtime.ChangelogRewriteInterval = 0 // all that was written is still there
	cfg.Load.Rate = restoreLoad * b.flags.Rate
	var cut Cut
	_, err := b.session(ctx, cfg, func(ctx context.Context, s *Session) error {
		if err := until(ctx, s, func(snap *Snapshot) bool { return snap.Processed >= b.flags.Records }); err != nil {
			return err
		}
		if err := s.Partition("i2", faults.Both.String()); err != nil {
			return err
		}
		taken, cancel := context.WithTimeout(ctx, takeoverTimeout)
		defer cancel()
		err := until(taken, s, func(snap *Snapshot) bool {
			if len(snap.Cuts) > 0 {
				cut = snap.Cuts[0]
			}
			return len(snap.Cuts) > 0 && cut.Takeover >= 0
		})
		return errors.Join(err, s.Heal("i2"))
	})
	if err != nil {
		return err
	}
	took := max(observeEvery, cut.Start.Add(cut.Takeover).Sub(cut.Away)) // it cannot be seen more exactly
	b.add("restore", "stores of a cut instance", float64(cut.RestoredRecords)/took.Seconds(), "records/s")
	return nil
}

// WriteBench writes measures as a table.
func WriteBench(w io.Writer, measures []Measure) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "measure\tof\tvalue\tunit\tratio")
	for _, m := range measures {
		fmt.Fprintf(table, "%s\t%s\t%.0f\t%s\t%.2f\n", m.What, m.Of, m.Value, m.Unit, m.Ratio)
	}
	return table.Flush()
}

// WriteBenchReport writes measures as a JSON file.
func WriteBenchReport(path string, measures []Measure) error {
	return writeJSON(path, "report", struct {
		Schema   int       `json:"schema"`
		Version  string    `json:"version"`
		Measures []Measure `json:"measures"`
	}{1, Version, measures})
}
