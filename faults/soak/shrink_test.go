package soak

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"eostop/faults/verify"
)

// search shrinks a schedule whose runs fail when fails says so.
func search(t *testing.T, s Script, length time.Duration, first Attempt, fails func(Script, time.Duration) Attempt) (Shrunk, error) {
	t.Helper()
	return Shrinking{Calm: 30 * time.Second, Try: func(_ context.Context, s Script, length time.Duration) (Attempt, error) {
		for _, c := range s.Cuts {
			if c.Start >= length {
				t.Errorf("%s is tried in a run of %v", c, length)
			}
		}
		return fails(s, length), nil
	}}.Shrink(t.Context(), s, length, first)
}

func TestShrinkFindsWhatIsNeeded(t *testing.T) {
	f := frame(2 * time.Hour)
	s := named(t, ScheduleStorm, f)
	one, other := s.Cuts[len(s.Cuts)/3], s.Faults[len(s.Faults)/2]
	one.Length = 0
	rng := rand.New(rand.NewPCG(1, 2))
	needed := func(s Script, _ time.Duration) Attempt {
		cut := slices.ContainsFunc(s.Cuts, func(c CutSpec) bool {
			return c.Instance == one.Instance && c.Direction == one.Direction && c.Length > 0
		})
		stall := slices.ContainsFunc(s.Faults, func(f FaultSpec) bool { return f.Instance == other.Instance && f.Thread == other.Thread })
		if cut && stall && rng.IntN(4) > 0 { // Virtual time is not repeatable to the bit.
			return Attempt{Kinds: []string{"lost", "torn"}, At: other.Start + time.Minute}
		}
		return Attempt{}
	}
	got, err := search(t, s, f.Length, Attempt{Kinds: []string{"duplicate", "lost"}, At: other.Start + time.Minute}, needed)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Script.Cuts) != 1 || len(got.Script.Faults) != 1 || got.Length > 2*time.Minute {
		t.Errorf("shrunk to %s in %v, %d runs", got.Script.YAML(""), got.Length, got.Runs)
	}
	if c := got.Script.Cuts[0]; c.Length > 2*time.Second || c.Start > time.Minute {
		t.Errorf("%s could be shorter or earlier", c)
	}
}

func TestShrinkKeepsTheKindOfFailure(t *testing.T) {
	s := Script{Cuts: cuts(t, "i1@10s+20s", "i2@40s+20s")}
	got, err := search(t, s, 5*time.Minute, Attempt{Kinds: []string{"lost"}}, func(s Script, _ time.Duration) Attempt {
		if len(s.Cuts) == 2 {
			return Attempt{Kinds: []string{"lost"}}
		}
		return Attempt{Kinds: []string{"duplicate"}} // another mistake
	})
	if err != nil || len(got.Script.Cuts) != 2 {
		t.Errorf("shrunk to %v, %v", got.Script.Cuts, err)
	}
}

func TestShrinkGivesUpWhatDoesNotRepeat(t *testing.T) {
	s := Script{Cuts: cuts(t, "i1@10s+20s", "i2@40s+20s")}
	runs := 0
	got, err := search(t, s, 5*time.Minute, Attempt{Kinds: []string{"lost"}}, func(Script, time.Duration) Attempt {
		if runs++; runs%5 == 0 {
			return Attempt{Kinds: []string{"lost"}}
		}
		return Attempt{}
	})
	if !errors.Is(err, ErrNotRepeated) || got.Script.Len() != 2 {
		t.Errorf("got %v, %v", got.Script, err)
	}
}

func TestShrinkEndsWithItsContext(t *testing.T) {
	s := named(t, ScheduleStorm, frame(time.Hour))
	ctx, cancel := context.WithCancel(t.Context())
	runs := 0
	search := Shrinking{Try: func(context.Context, Script, time.Duration) (Attempt, error) {
		if runs++; runs == 6 {
			cancel()
		}
		return Attempt{Kinds: []string{"lost"}}, nil
	}}
	got, err := search.Shrink(ctx, s, time.Hour, Attempt{Kinds: []string{"lost"}})
	if !errors.Is(err, context.Canceled) || runs != 6 || got.Script.Len() >= s.Len() || got.Script.Len() == 0 {
		t.Errorf("%d of %d are left after %d runs, %v", got.Script.Len(), s.Len(), runs, err)
	}
}

func TestFailures(t *testing.T) {
	began := time.Date(2000, 1, 1, 0, 0, 10, 0, time.UTC)
	at := func(s int) time.Time { return began.Add(time.Duration(s) * time.Second) }
	tests := []struct {
		name   string
		report Report
		want   Attempt
	}{
		{"clean", Report{Verdict: verify.Clean}, Attempt{}},
		{"unknown", Report{Verdict: verify.Unknown, Witnesses: []ReportWitness{{Kind: "hanging", At: at(5)}}}, Attempt{}},
		{"violation without a witness", Report{Verdict: verify.Violation}, Attempt{Kinds: []string{"violation"}}},
		{
			"witnesses",
			Report{Verdict: verify.Violation, Witnesses: []ReportWitness{{Kind: "torn", At: at(9)}, {Kind: "lost"}, {Kind: "torn", At: at(7)}}},
			Attempt{Kinds: []string{"lost", "torn"}, At: 7 * time.Second},
		},
		{
			"death",
			Report{Verdict: verify.Clean, Threads: ReportThreads{Died: []ThreadDied{{Cause: "fenced", At: at(3), Survivable: true}, {Cause: "panic", At: at(1)}}}},
			Attempt{Kinds: []string{"died of fenced"}, At: 3 * time.Second},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.report.began = began
			got := Failures(&tt.report)
			if strings.Join(got.Kinds, " ") != strings.Join(tt.want.Kinds, " ") || got.At != tt.want.At {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}
