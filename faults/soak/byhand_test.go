package soak

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"eostop/faults"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestByHand does to a session what the keys of the dashboard do: a cut with an end, faults of each place, threads more and less. All is
// survived, and what hits nothing is no reason to doubt the run.
func TestByHand(t *testing.T) {
	t.Parallel()
	cfg := small(70 * time.Second)
	cfg.Cluster.Embedded.Nodes = 3
	playJudged(t, cfg, Deps{FS: vfs.NewMem(), ByHand: true}, func(g *stage) {
		must := func(err error) {
			g.Helper()
			if err != nil {
				g.Error(err)
			}
		}
		g.until(2 * time.Second)
		must(g.s.Cut("i2", "12s:in"))
		g.until(3 * time.Second)
		for text, want := range map[string]string{
			"stall,instance=i9,thread=1 for 2s": `there is no instance "i9"; valid: i1, i2, i3`,
			"panic,instance=i1,thread=2":        "there is no thread 2; valid: 1 to 1",
			"stall,instance=i1,thread=1":        "stall needs a LENGTH",
			"earthquake":                        `"earthquake" is not a kind of fault`,
			"error,api=EndTxn@3s":               "@",
		} {
			if err := g.s.Inject(text); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
				g.Errorf("%s: %v, want %s", text, err, want)
			}
		}
		must(g.s.Inject("error,api=EndTxn,code=INVALID_TXN_STATE,instance=i1"))
		must(g.s.Inject("stall,instance=i3,thread=1 for 3s"))
		must(g.s.Inject("error,api=ListGroups,code=NOT_COORDINATOR"))
		must(g.s.Inject("broker-restart,node=1 for 2s"))
		g.until(20 * time.Second)
		must(g.s.Inject("panic,instance=i1,thread=1"))
		must(g.s.Inject("disk-full,instance=i3 for 1s"))
		must(g.s.Inject("cut,instance=i1,direction=out for 3s"))
		g.until(30 * time.Second)
		name, err := g.s.AddThread("i2")
		must(err)
		g.until(35 * time.Second)
		must(g.s.Inject("panic,instance=i2,thread=2"))
		g.until(40 * time.Second)
		removed, err := g.s.RemoveThread("i2")
		must(err)
		if name != "i2-StreamThread-2" || removed != name {
			g.Errorf("added %s, removed %s", name, removed)
		}
		for _, err := range []error{g.s.Cut("i7", "both"), g.s.Cut("i1", "5"), g.s.Heal("i7"), g.s.Heal("i1")} {
			if err == nil {
				g.Error("no error")
			}
		}
		if _, err := g.s.AddThread("i7"); err == nil {
			g.Error("no error")
		}
	}, func(t *testing.T, cfg *Config, r *Report) {
		t.Helper()
		checkSurvival(t, cfg, r)
		panics := 0
		for _, d := range r.Threads.Died { // A thread may also die of the full disk.
			switch {
			case d.Cause == "panic":
				panics++
			case d.Survivable || !strings.HasPrefix(d.Thread, "i3-") || !strings.Contains(d.Error, syscall.ENOSPC.Error()):
				t.Errorf("%s died of %s: %s", d.Thread, d.Cause, d.Error)
			}
		}
		if panics != 2 || r.Threads.Replaced != len(r.Threads.Died) {
			t.Errorf("%d threads died of a panic, want 2; %d died and %d were replaced", panics, len(r.Threads.Died), r.Threads.Replaced)
		}
		if len(r.Cuts) != 2 || *r.Cuts[0].LengthMS != 12_000 || r.Cuts[0].Direction != "in" || *r.Cuts[1].LengthMS > 3_200 {
			t.Errorf("cuts %+v", r.Cuts)
		}
		hits := map[string]int64{}
		for _, f := range r.Faults {
			if f.Hits != nil {
				hits[f.Kind] += *f.Hits
			}
		}
		if hits["error"] != 1 || hits["stall"] != 1 || hits["panic"] != 2 || hits["broker-restart"] != 1 {
			t.Errorf("hits %v", hits)
		}
	})
}

func TestFaultChoices(t *testing.T) {
	cfg := Default()
	choices := cfg.FaultChoices("i2", 3)
	if len(choices) < 20 {
		t.Errorf("%d choices", len(choices))
	}
	for _, c := range choices {
		f, err := ParseFaultNow(c.Text)
		if err != nil || f.now() != c.Text || f.Instance != "" && f.Instance != "i2" || f.Thread > 0 && f.Thread != 3 || c.Does == "" {
			t.Errorf("%+v: %+v, %v", c, f, err)
		}
		if f.Kind == FaultBrokerRestart {
			t.Error("there is one node only")
		}
	}
	cfg.Cluster.Brokers = []string{"a:1"}
	for _, c := range cfg.FaultChoices("i2", 3) {
		if strings.HasPrefix(c.Text, FaultTruncate) {
			t.Error("it is somebody's cluster")
		}
	}
}

func TestParseCutNow(t *testing.T) {
	for text, want := range map[string]struct {
		d      faults.Direction
		length time.Duration
	}{
		"20s": {faults.Both, 20 * time.Second}, "5m:in": {faults.In, 5 * time.Minute}, "out": {faults.Out, 0}, "1s:both": {faults.Both, time.Second},
	} {
		if d, length, err := ParseCutNow(text); err != nil || d != want.d || length != want.length {
			t.Errorf("%q: %v %v %v", text, d, length, err)
		}
	}
	for _, text := range []string{"", "5", "0s", "-1s", "5s:up", "up", "9999999h", "5s:"} {
		if _, _, err := ParseCutNow(text); err == nil || !strings.Contains(err.Error(), "LENGTH[:both|in|out]") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
