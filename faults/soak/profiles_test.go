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

// TestKnownBugsAreFound: under storms of cuts the verifier finds known bugs, or a thread dies of them. A bug needs the right moment,
// so a storm may pass it by; several do not.
func TestKnownBugsAreFound(t *testing.T) {
	t.Parallel()
	if raced {
		t.Skip("says nothing about races that storms of the fixed program do not")
	}
	const storms = 8
	for _, name := range []string{"no-reinit", "read-uncommitted-restore", "restart-on-fence", "shared-txn-id"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for n := range storms {
				seed := rand.Uint64()
				t.Logf("seed %d", seed)
				rng := rand.New(rand.NewPCG(seed, 0))
				cfg := small(8 * time.Minute)
				cfg.Faults.Profile = name
				cfg.Load.Seed = 1 + rng.Int64N(1<<30)
				cfg.Faults.Cuts = storm(rng, &cfg, cfg.Load.Duration-30*time.Second)
				r := endure(t, cfg)
				t.Logf("%s: %v; died %d, replaced %d, witnesses %d", r.Verdict, r.Reasons, len(r.Threads.Died), r.Threads.Replaced, len(r.Witnesses))
				if r.Verdict == verify.Violation || len(r.Threads.Died) > 0 {
					t.Logf("found by storm %d", n+1)
					return
				}
			}
			t.Errorf("%s is not found", name)
		})
	}
}
