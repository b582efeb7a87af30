package soak

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestRandomSchedules plays five minutes of everything that can be survived, in a new combination for each seed.
func TestRandomSchedules(t *testing.T) {
	t.Parallel()
	everySeed(t, func(t *testing.T, rng *rand.Rand) {
		cfg := small(5 * time.Minute)
		cfg.Cluster.Embedded.Version = []string{"3.7", "4.0"}[rng.IntN(2)]
		cfg.Cluster.Embedded.Nodes = []int{1, 3}[rng.IntN(2)]
		cfg.Runtime.CommitInterval = []time.Duration{100 * time.Millisecond, 500 * time.Millisecond, 2 * time.Second}[rng.IntN(3)]
		cfg.Load.Rate, cfg.Load.Interval = 20, 100*time.Millisecond
		cfg.Load.Seed = 1 + rng.Int64N(1<<30)
		cfg.Faults.Schedule = ScheduleMixed
		script, err := cfg.Script(cfg.Load.Seed)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("Kafka %s, %d nodes, commit interval %v\n%s", cfg.Cluster.Embedded.Version, cfg.Cluster.Embedded.Nodes, cfg.Runtime.CommitInterval, script.YAML(""))
		r := play(t, cfg, nil)
		wantDeaths(t, r, 0)
		hit := 0
		for _, f := range r.Faults {
			if f.Hits == nil || *f.Hits > 0 {
				hit++
			}
		}
		t.Logf("%d cuts, %d of %d faults hit something, %d transactions committed, %d aborted", len(r.Cuts), hit, len(r.Faults), r.Transactions.Committed, r.Transactions.Aborted)
		if hit < len(r.Faults)/2 {
			t.Error("more than half of the faults did not happen")
		}
	})
}
