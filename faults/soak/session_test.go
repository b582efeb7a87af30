package soak

import (
	"fmt"
	"testing"
	"time"
)

func TestWithoutFaultsNothingFails(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"3.7", "4.0"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			cfg := small(30 * time.Second)
			cfg.Cluster.Embedded.Version = version
			r := play(t, cfg, func(g *stage) { g.keepsGeneration(2*time.Second, 30*time.Second) })
			wantCalm(t, r)
			wantDeaths(t, r, 0)
		})
	}
}

func TestOneInstanceIsCutOff(t *testing.T) {
	t.Parallel()
	for _, direction := range []string{"both", "in", "out"} {
		for _, version := range []string{"3.7", "4.0"} {
			t.Run(direction+" "+version, func(t *testing.T) {
				t.Parallel()
				cfg := small(45 * time.Second)
				cfg.Cluster.Embedded.Version = version
				cfg.Faults.Cuts = cuts(t, "i2@5s+20s:"+direction)
				r := play(t, cfg, nil)
				wantTakeover(t, &cfg, r.Cuts[0])
				wantDeaths(t, r, 0)
			})
		}
	}
}

func scenarioOfShortCuts(t *testing.T) {
	for _, direction := range []string{"both", "in", "out"} {
		t.Run(direction, func(t *testing.T) {
			t.Parallel()
			cfg := small(20 * time.Second)
			cfg.Faults.Cuts = cuts(t, "i1@5s+5s:"+direction)
			r := play(t, cfg, func(g *stage) { g.keepsGeneration(4*time.Second, 20*time.Second) })
			wantNoneExpelled(t, r.Cuts)
			wantDeaths(t, r, 0)
			if x := r.Transactions; x.Aborted != 0 {
				t.Logf("%d aborted, %d fenced, %d unknown", x.Aborted, x.Fenced, x.UnknownOutcome)
			}
		})
	}
}

func TestSeveralInstancesAreCutOff(t *testing.T) {
	t.Parallel()
	for name, specs := range map[string][]string{
		"two at once":        {"i1@5s+20s", "i3@5s+20s"},
		"three that overlap": {"i1@5s+20s", "i2@12s+20s", "i3@19s+20s"},
		"all for a moment":   {"i1@5s+4s", "i2@5s+4s", "i3@5s+4s"},
		"all directions":     {"i1@5s+25s:in", "i2@8s+20s:out", "i3@11s+15s:both"},
		"one after another":  {"i1@5s+15s", "i2@20s+15s", "i3@35s+15s"},
		"again on the heal":  {"i1@5s+15s", "i1@20200ms+15s", "i1@36s+3s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := small(60 * time.Second)
			cfg.Faults.Cuts = cuts(t, specs...)
			r := play(t, cfg, nil)
			wantDeaths(t, r, 0)
			if len(r.Cuts) != len(specs) {
				t.Errorf("%d cuts were made, want %d", len(r.Cuts), len(specs))
			}
		})
	}
}

func scenarioOfStalls(t *testing.T) {
	for _, length := range []time.Duration{3 * time.Second, 12 * time.Second, 30 * time.Second} {
		t.Run(fmt.Sprint(length), func(t *testing.T) {
			t.Parallel()
			cfg := small(55 * time.Second)
			cfg.Faults.Faults = plan(t, fmt.Sprintf("stall,instance=i2,thread=1@5s+%s", length))
			r := play(t, cfg, nil)
			wantDeaths(t, r, 0)
		})
	}
}
