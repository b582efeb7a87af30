package soak

import (
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"eostop/faults"
)

func frame(length time.Duration) Frame {
	return Frame{Seed: 7, Length: length, Instances: []string{"i1", "i2", "i3"}, Threads: 3, SessionTimeout: 10 * time.Second, TransactionTimeout: 10 * time.Second}
}

func named(t *testing.T, name string, f Frame) Script {
	t.Helper()
	s, err := Schedule(name, f)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// checkScript checks what holds for every schedule: it is in order and possible, and begins early enough to be seen through.
func checkScript(t *testing.T, s Script, f Frame) {
	t.Helper()
	cfg := Default()
	cfg.Runtime.Instances, cfg.Runtime.Threads, cfg.Runtime.SessionTimeout = len(f.Instances), f.Threads, f.SessionTimeout
	cfg.Load.Duration = f.Length
	cfg.Faults.Cuts, cfg.Faults.Faults = s.Cuts, s.Faults
	if err := cfg.Validate(); err != nil {
		t.Error(err)
	}
	if !slices.IsSortedFunc(s.Cuts, func(a, b CutSpec) int { return int(a.Start - b.Start) }) {
		t.Error("the cuts are not in order")
	}
	again, err := ReadScript(written(t, s.YAML("")))
	if err != nil || !reflect.DeepEqual(again, s) {
		t.Errorf("the script is not read as it was written: %v", err)
	}
}

func written(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "script.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSchedulesDependOnTheirFrameAlone(t *testing.T) {
	lengths := []time.Duration{0, 10 * time.Second, time.Minute, 59 * time.Minute, time.Hour, 5 * time.Hour}
	for _, name := range ScheduleNames() {
		for _, length := range lengths {
			t.Run(fmt.Sprintf("%s %v", name, length), func(t *testing.T) {
				f := frame(length)
				first := named(t, name, f)
				if again := named(t, name, f); !reflect.DeepEqual(first, again) {
					t.Error("two calls gave two schedules")
				}
				if length > 0 || name == ScheduleSoak {
					checkScript(t, first, f)
				}
				if name == ScheduleScripted {
					if first.Len() != 0 {
						t.Errorf("%d cuts and faults, want none", first.Len())
					}
					return
				}
				if first.Len() == 0 {
					t.Error("nothing happens")
				}
				other := f
				other.Seed++
				if reflect.DeepEqual(first, named(t, name, other)) {
					t.Error("another seed gives the same schedule")
				}
			})
		}
	}
}

// TestSchedulesStayWhatTheyAre: a seed that somebody has written down must go on to mean the same.
func TestSchedulesStayWhatTheyAre(t *testing.T) {
	for name, want := range map[string]string{
		ScheduleSoak:  "i1@28m0.296s+1m58.462s i2@1h31m27.455s+5m i3@2h37m59.579s+26.542s a0663d6a37a8c123",
		ScheduleStorm: "i2@3.665s+1.013s i2@5.507s+2.203s i3@5.56s+2.596s:out 01f1b3007e0e6cb0",
		ScheduleFlap:  "i1@5s+1.714s i1@9.685s+1.557s i1@13.944s+127ms e5b25685d24fb831",
	} {
		s := named(t, name, frame(24*time.Hour))
		h := fnv.New64a()
		_, _ = h.Write([]byte(s.YAML("")))
		got := fmt.Sprintf("%s %016x", strings.Join(texts(s.Cuts[:3]), " "), h.Sum64())
		if got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

func TestSoakCutsOneInstanceAnHourEachInTurn(t *testing.T) {
	s := named(t, ScheduleSoak, frame(24*time.Hour+20*time.Minute))
	full := 0
	for n, c := range s.Cuts {
		hour := time.Duration(n) * time.Hour
		if c.Instance != fmt.Sprintf("i%d", n%3+1) || c.Direction != faults.Both || c.Start < hour || c.Start+c.Length > hour+time.Hour || c.Length > 5*time.Minute {
			t.Errorf("cut %d is %s", n, c)
		}
		if c.Length == 5*time.Minute {
			full++
		}
	}
	if len(s.Cuts) != 24 || full < 6 || full > 18 || len(s.Faults) != 0 {
		t.Errorf("%d cuts, %d of them for 5 minutes, and %d faults", len(s.Cuts), full, len(s.Faults))
	}
	short := named(t, ScheduleSoak, frame(time.Minute))
	if len(short.Cuts) != 1 || short.Cuts[0].Length > 15*time.Second {
		t.Errorf("a minute has the cuts %v", short.Cuts)
	}
}

func TestStormCutsEverywhereAtOnce(t *testing.T) {
	s := named(t, ScheduleStorm, frame(time.Hour))
	if n := len(s.Cuts); n < 200 || n > 800 {
		t.Errorf("%d cuts in an hour", n)
	}
	kinds := map[string]int{}
	for _, f := range s.Faults {
		kinds[f.Kind]++
	}
	if stalls, errors := kinds[FaultStall], kinds[faults.KindError]+kinds[faults.KindRewrite]; stalls < 200 || stalls > 600 || errors < 500 || errors > 1000 || stalls+errors != len(s.Faults) {
		t.Errorf("the faults of an hour are %v", kinds)
	}
	directions, expelling, overlapping := map[faults.Direction]int{}, 0, 0
	for i, c := range s.Cuts {
		directions[c.Direction]++
		if c.Length > 10*time.Second {
			expelling++
		}
		if i > 0 && s.Cuts[i-1].Start+s.Cuts[i-1].Length > c.Start {
			overlapping++
		}
	}
	if n := len(s.Cuts); len(directions) != 3 || expelling < n/10 || expelling > n/2 || overlapping < n/10 {
		t.Errorf("of %d cuts %v are in a direction, %d expel and %d overlap", n, directions, expelling, overlapping)
	}
}

// TestMixedRestartsNodesOneByOne: one that is down cannot go down, and one must run.
func TestMixedRestartsNodesOneByOne(t *testing.T) {
	f := frame(24 * time.Hour)
	f.Nodes = 3
	restarts, up := 0, time.Duration(0)
	for _, s := range named(t, ScheduleMixed, f).Faults {
		if s.Kind != FaultBrokerRestart {
			continue
		}
		if restarts++; s.Start < up {
			t.Errorf("%s, but the last one is over at %v", s, up)
		}
		up = s.Start + s.Length
	}
	if restarts < 100 {
		t.Errorf("%d restarts in a day", restarts)
	}
}

func TestFlapStaysBelowTheSessionTimeout(t *testing.T) {
	f := frame(time.Hour)
	s := named(t, ScheduleFlap, f)
	inRow := map[string]int{}
	for _, c := range s.Cuts {
		inRow[c.Instance]++
		if c.Length > 3*time.Second {
			t.Errorf("%s is too long", c)
		}
	}
	if len(inRow) != 3 || inRow["i1"] < flaps {
		t.Errorf("cuts of each instance: %v", inRow)
	}
	f.SessionTimeout = 6 * time.Second
	for _, c := range named(t, ScheduleFlap, f).Cuts {
		if c.Length > 2*time.Second {
			t.Errorf("%s is too long for a session time-out of 6 s", c)
		}
	}
}

func TestListedCutsComeBeforeNamedOnes(t *testing.T) {
	cfg := Default()
	cfg.Load.Duration, cfg.Faults.Schedule = time.Hour, ScheduleStorm
	cfg.Faults.Cuts = cuts(t, "i2@10m+10m")
	cfg.Faults.Faults = plan(t, "panic,instance=i1,thread=1@5s")
	s, err := cfg.Script(7)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range s.Cuts {
		for _, other := range s.Cuts[:i] {
			if c.overlaps(other) {
				t.Errorf("%s overlaps %s", c, other)
			}
		}
	}
	if !slices.Contains(s.Cuts, cfg.Faults.Cuts[0]) || s.Faults[0] != cfg.Faults.Faults[0] {
		t.Errorf("what was listed is not there: %v, %v", s.Cuts, s.Faults)
	}
}

func TestScriptFiles(t *testing.T) {
	tests := []struct {
		name, text, want string
	}{
		{"nothing", "", ""},
		{"both", "# a comment\ncuts:\n  - i2@10s+15s\n  - i1@1s+2s:in\nfaults: [\"stall,instance=i1,thread=1@10s+25s\"]\n", ""},
		{"one text", "cuts: i1@1s+2s, i2@2s+3s\n", ""},
		{"bad cut", "cuts:\n  - i2@10s\n", `:2:5: cuts: cut "i2@10s": write INSTANCE@START+LENGTH`},
		{"bad fault", "faults: [\"stall@1s\"]\n", `:1:10: faults: fault "stall@1s"`},
		{"other key", "cut: [i1@1s+2s]\n", ":1:1: unknown key cut; did you mean cuts?"},
		{"a list", "- i1@1s+2s\n", "a schedule holds keys, one per line; valid: cuts, faults"},
		{"instance", "cuts: [i9@1s+2s]\n", `cuts[0]: there is no instance "i9"; valid: i1, i2, i3`},
		{"thread", "faults: [\"panic,instance=i1,thread=9@1s\"]\n", "faults[0]: there is no thread 9"},
		{"overlap", "cuts: [i1@1s+5s, i1@3s+5s]\n", "overlaps"},
		{"too late", "cuts: [i1@2m+5s]\n", "starts at 2m, but the run ends at load.duration (1m)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := Default()
			cfg.Load.Duration, cfg.Faults.Schedule = time.Minute, written(t, tt.text)
			_, err := New(cfg, nil, Deps{})
			if (tt.want == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	cfg := Default()
	cfg.Faults.Schedule = "/nonexistent/x.yaml"
	if _, err := New(cfg, nil, Deps{}); err == nil || !strings.Contains(err.Error(), "faults.schedule: cannot read /nonexistent/x.yaml: no such file") {
		t.Errorf("got %v", err)
	}
	cfg.Faults.Schedule = "hurricane"
	if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), `faults.schedule: "hurricane" is not a schedule; valid: soak, soak-2019, storm, timeouts, flap, mixed, scripted, or a file`) {
		t.Errorf("got %v", err)
	}
}

func TestOnlyWhatWasListedMustHappen(t *testing.T) {
	listed := FaultsSettings{Cuts: cuts(t, "i1@10s+5s"), Faults: plan(t, "panic,instance=i1,thread=1@5s")}
	script := Script{Cuts: cuts(t, "i1@10s+5s", "i2@10s+5s"), Faults: listed.Faults}
	for name, want := range map[string]int{"": 3, "x.yaml": 3, ScheduleStorm: 2} {
		listed.Schedule = name
		s := newSchedule(script)
		if got := s.left(&listed); got != want {
			t.Errorf("schedule %q: %d are left, want %d", name, got, want)
		}
	}
}

// TestCutsThatOverlapHealTogether: a listed cut and one made by hand, or two of a schedule.
func TestCutsThatOverlapHealTogether(t *testing.T) {
	s := schedule{heals: []plannedHeal{{instance: "i1", at: 10 * time.Second}, {instance: "i2", at: 10 * time.Second}, {instance: "i1", at: 20 * time.Second}}}
	if due := s.due(); due != 10*time.Second {
		t.Errorf("the first heal is due at %v", due)
	}
	if got := s.healed(10 * time.Second); !slices.Equal(got, []string{"i2"}) || !s.healPlanned("i1") || s.healPlanned("i2") {
		t.Errorf("healed %v, left %v", got, s.heals)
	}
	if got := s.healed(25 * time.Second); !slices.Equal(got, []string{"i1"}) || s.due() != 0 {
		t.Errorf("healed %v, left %v", got, s.heals)
	}
}
