package soak

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"eostop/faults/verify"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// endure runs a session in virtual time without judging it.
func endure(t *testing.T, cfg Config) *Report {
	t.Helper()
	var report *Report
	synctest.Test(t, func(t *testing.T) {
		s, err := New(cfg, nil, Deps{FS: vfs.NewMem()})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start(context.Background()); err != nil {
			t.Fatal(err)
		}
		if report, err = s.Wait(); err != nil {
			t.Errorf("session: %v", err)
		}
		time.Sleep(3 * time.Minute)
	})
	return report
}

// TestKnownBugsAreFound: under a storm of cuts the verifier finds known bugs, or a thread dies of them.
func TestKnownBugsAreFound(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"no-reinit", "read-uncommitted-restore", "restart-on-fence", "shared-txn-id"} {
		t.Run(name, func(t *testing.T) {
			everySeed(t, func(t *testing.T, rng *rand.Rand) {
				cfg := small(4 * time.Minute)
				cfg.Faults.Profile = name
				cfg.Load.Seed = 1 + rng.Int64N(1<<30)
				cfg.Faults.Cuts = storm(rng, &cfg, cfg.Load.Duration-30*time.Second)
				r := endure(t, cfg)
				t.Logf("%s: %v; died %d, replaced %d, witnesses %d", r.Verdict, r.Reasons, len(r.Threads.Died), r.Threads.Replaced, len(r.Witnesses))
				if r.Verdict != verify.Violation && len(r.Threads.Died) == 0 {
					t.Errorf("%s is not found: %s", name, r.Verdict)
				}
			})
		})
	}
}
