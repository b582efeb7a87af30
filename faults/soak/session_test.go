package soak

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// virtual runs a session in virtual time and returns its report.
func virtual(t *testing.T, change func(*Config)) *Report {
	t.Helper()
	var report *Report
	synctest.Test(t, func(t *testing.T) {
		cfg := Default()
		cfg.Load.Rate, cfg.Load.Duration, cfg.Load.Keys, cfg.Load.Seed = 300, 40*time.Second, 200, 1
		cfg.Runtime.CommitInterval = 200 * time.Millisecond
		change(&cfg)
		s, err := New(cfg, nil, Deps{FS: vfs.NewMem()})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start(context.Background()); err != nil {
			t.Fatal(err)
		}
		report, err = s.Wait()
		if err != nil {
			t.Fatal(err)
		}
		// Timers of abandoned connections run out before the bubble may end.
		time.Sleep(3 * time.Minute)
	})
	return report
}

func TestSessionSurvivesACut(t *testing.T) {
	r := virtual(t, func(c *Config) {
		cut, err := ParseCut("i2@5s+20s")
		if err != nil {
			t.Fatal(err)
		}
		c.Faults.Cuts = []CutSpec{cut}
	})
	t.Logf("%+v", r)
	for _, c := range r.Cuts {
		t.Logf("cut %+v takeover %v recovered %v", c, val(c.TakeoverMS), val(c.RecoveredMS))
	}
}

func val(p *int64) int64 {
	if p == nil {
		return -1
	}
	return *p
}
