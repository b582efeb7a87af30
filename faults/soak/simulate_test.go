package soak

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"eostop/faults/verify"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// simulated is a configuration of a simulation that costs little.
func simulated(length time.Duration) Config {
	cfg := Default()
	SimulationDefaults(&cfg)
	cfg.Runtime.Threads, cfg.Cluster.Partitions = 1, 3
	cfg.Load.Duration, cfg.Load.Keys, cfg.Load.Seed = length, 40, 1
	return cfg
}

// simulate runs a simulation to its end.
func simulate(t *testing.T, cfg Config) (*Simulation, *Report) {
	t.Helper()
	s, err := NewSimulation(cfg, TestBubble(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	r, err := s.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return s, r
}

func TestSimulation(t *testing.T) {
	t.Parallel()
	cfg := simulated(4 * time.Minute)
	cfg.Session.File = filepath.Join(t.TempDir(), "s.jsonl")
	began := time.Now()
	s, r := simulate(t, cfg)
	checkSurvival(t, &cfg, r)
	if took := time.Since(began); took > 2*time.Minute {
		t.Errorf("4 minutes took %v", took)
	}
	if n := *r.Records.In; n < 4700 || n > 4800 {
		t.Errorf("%d records in 4 minutes at 20 a second", n)
	}
	// The schedule of a soak is done to the millisecond.
	planned := s.Config()
	script, err := planned.Script(planned.Load.Seed)
	if err != nil {
		t.Fatal(err)
	}
	if len(script.Cuts) != 1 || len(r.Cuts) != 1 {
		t.Fatalf("%d cuts were planned and %d made, want 1", len(script.Cuts), len(r.Cuts))
	}
	if c := script.Cuts[0]; *r.Cuts[0].StartMS != c.Start.Milliseconds() || *r.Cuts[0].LengthMS != c.Length.Milliseconds() {
		t.Errorf("%s was planned, made was %s", c, cutName(r.Cuts[0]))
	}
	if snap := s.Snapshot(); snap.Phase != PhaseStopped || snap.At.Year() != 2000 || snap.Elapsed < 4*time.Minute {
		t.Errorf("the last snapshot is of %v, %s after %v", snap.At, snap.Phase, snap.Elapsed)
	}
	if snapshots := linesOf(t, cfg.Session.File, `"type":"snapshot"`); snapshots < 4*6 || snapshots > 5*6 {
		t.Errorf("%d snapshots in the session log, want one in 10 seconds", snapshots)
	}
}

// TestASeedRepeatsItsSchedule: everything that is done to the instances happens at the same times of the same clock. What
// follows from it may differ in its order.
func TestASeedRepeatsItsSchedule(t *testing.T) {
	t.Parallel()
	cfg := simulated(2 * time.Minute)
	cfg.Faults.Schedule = ScheduleStorm
	done := make([]string, 2)
	for i := range done {
		_, r := simulate(t, cfg)
		if r.Verdict != verify.Clean {
			t.Errorf("verdict %q: %v", r.Verdict, r.Reasons)
		}
		var b strings.Builder
		for _, c := range r.Cuts {
			fmt.Fprintf(&b, "%s %s %s +%s\n", c.Instance, c.Direction, number(c.StartMS), number(c.LengthMS))
		}
		for _, f := range r.Faults {
			fmt.Fprintf(&b, "%s %s %s +%s\n", f.Kind, f.Thread, number(f.StartMS), number(f.LengthMS))
		}
		done[i] = b.String()
	}
	if done[0] != done[1] || done[0] == "" {
		t.Errorf("the first time was done\n%s\nthe second time\n%s", done[0], done[1])
	}
}

func TestStopASimulation(t *testing.T) {
	for now, want := range map[bool]verify.Verdict{false: verify.Clean, true: verify.Unknown} {
		t.Run(fmt.Sprintf("now %v", now), func(t *testing.T) {
			t.Parallel()
			s, err := NewSimulation(simulated(24*time.Hour), TestBubble(t), nil)
			if err != nil {
				t.Fatal(err)
			}
			s.Start()
			for snap := s.Snapshot(); snap == nil || snap.Elapsed < 20*time.Second; snap = s.Snapshot() {
				time.Sleep(10 * time.Millisecond)
			}
			s.Stop(now)
			s.Stop(false) // is too late to change anything
			r, err := s.Wait()
			if err != nil {
				t.Fatal(err)
			}
			if r.Verdict != want {
				t.Errorf("verdict %q, want %q: %v", r.Verdict, want, r.Reasons)
			}
		})
	}
}

func TestWhatASimulationNeeds(t *testing.T) {
	cfg := simulated(0)
	if _, err := NewSimulation(cfg, TestBubble(t), nil); err == nil || !strings.Contains(err.Error(), "load.duration: a simulation needs an end") {
		t.Errorf("without an end: %v", err)
	}
	cfg = simulated(time.Hour)
	cfg.Runtime.Threads = 0
	if _, err := NewSimulation(cfg, TestBubble(t), nil); err == nil || !strings.Contains(err.Error(), "runtime.threads: 0 is out of range") {
		t.Errorf("with a bad configuration: %v", err)
	}
	cfg = simulated(time.Hour)
	cfg.Cluster.Brokers, cfg.Load.Seed, cfg.Runtime.StateDir = []string{"a:1"}, 0, "/nonexistent"
	s, err := NewSimulation(cfg, TestBubble(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	if c := s.Config(); len(c.Cluster.Brokers) != 0 || c.Runtime.StateDir != "" || c.Load.Seed == 0 || c.Faults.Schedule != ScheduleSoak {
		t.Errorf("simulated is %+v", c)
	}
	cfg.Faults.Cuts = cuts(t, "i1@10s+5s")
	if s, err = NewSimulation(cfg, TestBubble(t), nil); err != nil || s.Config().Faults.Schedule != "" {
		t.Errorf("a cut is listed, and the schedule is %q, %v", s.Config().Faults.Schedule, err)
	}
}

// TestTimeThatStandsStill: a goroutine that waits for something outside would keep a bubble, and who waits for it, for ever.
func TestTimeThatStandsStill(t *testing.T) {
	for _, now := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) { // of which the real time is the virtual one here
			over := make(chan struct{})
			defer close(over)
			s, err := NewSimulation(simulated(time.Hour), func(func()) error { <-over; return nil }, nil)
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			s.Start()
			limit := stuckAfter * time.Second
			if now {
				s.Stop(true)
				limit = stopAfter * time.Second
			}
			if _, err := s.Wait(); err == nil || time.Since(began) > limit+time.Second {
				t.Errorf("stop now %v: %v after %v", now, err, time.Since(began))
			}
		})
	}
}

func TestBubbleErrors(t *testing.T) {
	bubble := TestBubble(t)
	var broken *PanicError
	if err := bubble(func() { panic("oops") }); !errors.As(err, &broken) || broken.Value != "oops" || !strings.Contains(string(broken.Stack), "TestBubbleErrors") {
		t.Errorf("a panic is %v", err)
	}
	if err := bubble(func() { <-make(chan int) }); !errors.As(err, &broken) || !strings.Contains(err.Error(), "deadlock") {
		t.Errorf("a deadlock is %v", err)
	}
	began := time.Now()
	passed := time.Duration(0)
	if err := bubble(func() {
		from := time.Now()
		time.Sleep(24 * time.Hour)
		passed = time.Since(from)
	}); err != nil || passed != 24*time.Hour || time.Since(began) > time.Minute {
		t.Errorf("%v passed, %v", passed, err)
	}
}

func TestAPanicOfTheSessionEndsIt(t *testing.T) {
	t.Parallel()
	var ended error
	err := TestBubble(t)(func() {
		s, err := New(simulated(time.Hour), nil, Deps{FS: vfs.NewMem()})
		if err != nil {
			t.Error(err)
			return
		}
		if err := s.Start(context.Background()); err != nil {
			t.Error(err)
			return
		}
		time.Sleep(10 * time.Second)
		s.commands <- command{do: func(*experiment, time.Time) error { panic("oops") }, done: make(chan error, 1)}
		_, ended = s.Wait()
		time.Sleep(orphans)
	})
	if err != nil {
		t.Error(err)
	}
	if _, ok := errors.AsType[*PanicError](ended); !ok {
		t.Errorf("the session ended with %v, want a panic", ended)
	}
}

func TestAPanicBesideTheSessionIsItsOwn(t *testing.T) {
	then := guarded(t.Context(), func(context.Context) func() { panic("oops") })
	defer func() {
		broken, ok := recover().(*PanicError)
		if !ok || broken.Value != "oops" || !strings.Contains(string(broken.Stack), "TestAPanicBesideTheSession") {
			t.Errorf("the session's goroutine panics with %v", broken)
		}
	}()
	then()
}

func linesOf(t *testing.T, path, part string) int {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, part) {
			n++
		}
	}
	return n
}
