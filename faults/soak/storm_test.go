package soak

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"eostop/faults"
	"eostop/runtime"
)

// storm plans cuts of random instances, directions and lengths over a time. Cuts of one instance come one after another; those of
// different instances overlap as chance will have it.
func storm(rng *rand.Rand, cfg *Config, length time.Duration) []CutSpec {
	var all []CutSpec
	for _, instance := range cfg.InstanceNames() {
		at := time.Duration(rng.Int64N(int64(15 * time.Second)))
		for at < length {
			most := 25 * time.Second
			if rng.IntN(2) == 0 {
				most = 5 * time.Second // else almost every cut would expel somebody
			}
			cut := CutSpec{Instance: instance, Start: at, Length: 1 + time.Duration(rng.Int64N(int64(most))), Direction: faults.Direction(rng.IntN(3))}
			all = append(all, cut)
			at += cut.Length + time.Duration(rng.Int64N(int64(30*time.Second)))
		}
	}
	return all
}

// seeds are those of a random test: three, one under the race detector, or as many as EOSTOP_TEST_SEEDS says, or the one of EOSTOP_TEST_SEED.
func seeds(t *testing.T) []uint64 {
	t.Helper()
	if text := os.Getenv("EOSTOP_TEST_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("EOSTOP_TEST_SEED: %v", err)
		}
		return []uint64{seed}
	}
	n := 3
	if raced {
		n = 1
	}
	if text := os.Getenv("EOSTOP_TEST_SEEDS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatalf("EOSTOP_TEST_SEEDS: %v", err)
		}
	}
	list := make([]uint64, n)
	for i := range list {
		list[i] = rand.Uint64()
	}
	return list
}

// everySeed runs a test once for each seed, whose name it is, with a generator of its own.
func everySeed(t *testing.T, fn func(*testing.T, *rand.Rand)) {
	for _, seed := range seeds(t) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			t.Logf("EOSTOP_TEST_SEED=%d", seed)
			fn(t, rand.New(rand.NewPCG(seed, 0)))
		})
	}
}

func TestAStormOfCuts(t *testing.T) {
	t.Parallel()
	everySeed(t, func(t *testing.T, rng *rand.Rand) {
		cfg := small(3 * time.Minute)
		cfg.Cluster.Embedded.Version = []string{"3.7", "4.0"}[rng.IntN(2)]
		cfg.Load.Seed = 1 + rng.Int64N(1<<30)
		cfg.Faults.Cuts = storm(rng, &cfg, cfg.Load.Duration-30*time.Second)
		t.Logf("Kafka %s, cuts %v", cfg.Cluster.Embedded.Version, cfg.Faults.Cuts)
		r := play(t, cfg, nil)
		wantDeaths(t, r, 0)
	})
}

// stormUnderEveryGuarantee plays a storm of two minutes for each guarantee and seed. Set changes the configuration and returns what
// the log says of that.
func stormUnderEveryGuarantee(t *testing.T, set func(*rand.Rand, *Config) string, check func(*testing.T, *Config, *Report)) {
	t.Parallel()
	for _, guarantee := range runtime.Guarantees() {
		t.Run(string(guarantee), func(t *testing.T) {
			t.Parallel()
			everySeed(t, func(t *testing.T, rng *rand.Rand) {
				cfg := small(2 * time.Minute)
				cfg.Runtime.Guarantee = string(guarantee)
				chosen := set(rng, &cfg)
				cfg.Load.Seed = 1 + rng.Int64N(1<<30)
				cfg.Faults.Cuts = storm(rng, &cfg, cfg.Load.Duration-30*time.Second)
				t.Logf("%s, cuts %v", chosen, cfg.Faults.Cuts)
				r := play(t, cfg, nil)
				wantDeaths(t, r, 0)
				if check != nil {
					check(t, &cfg, r)
				}
			})
		})
	}
}

// TestAStormUnderEveryGuarantee holds the old guarantees to what they promise, on both transaction protocols.
func TestAStormUnderEveryGuarantee(t *testing.T) {
	stormUnderEveryGuarantee(t, func(rng *rand.Rand, cfg *Config) string {
		cfg.Cluster.Embedded.Version = []string{"3.7", "4.0"}[rng.IntN(2)]
		return "Kafka " + cfg.Cluster.Embedded.Version
	}, nil)
}

// TestAStormWithStoresThatAreWiped: with stores that are written through, as Kafka Streams has them, everything survives too; it only
// costs more.
func TestAStormWithStoresThatAreWiped(t *testing.T) {
	stormUnderEveryGuarantee(t, func(_ *rand.Rand, cfg *Config) string {
		cfg.Runtime.StateMode = string(runtime.StateWipe)
		return "state wipe"
	}, func(t *testing.T, cfg *Config, r *Report) {
		t.Logf("%d stores wiped", r.State.Wiped)
		if r.State.Wiped > 0 && cfg.Runtime.Guarantee == string(runtime.AtLeastOnce) {
			t.Error("nothing is wiped without transactions: what was written is in the changelog")
		}
	})
}

// TestAStormWithStandbys: copies of the stores on other instances, promoted and demoted as instances come and go.
func TestAStormWithStandbys(t *testing.T) {
	stormUnderEveryGuarantee(t, func(rng *rand.Rand, cfg *Config) string {
		r := &cfg.Runtime
		r.Threads, cfg.Cluster.Partitions = 2, 4
		r.StandbyReplicas = 1 + rng.IntN(2)
		if rng.IntN(2) == 0 { // warm-ups and probing rebalances
			r.AcceptableRecoveryLag, r.ProbingRebalanceInterval = 20, 10*time.Second
		}
		r.StateMode = []string{"transactional", "wipe"}[rng.IntN(2)]
		return fmt.Sprintf("%d replicas, acceptable lag %v, state %s", r.StandbyReplicas, r.AcceptableRecoveryLag, r.StateMode)
	}, nil)
}

func TestAStormOfCutsAndStalls(t *testing.T) {
	t.Parallel()
	everySeed(t, func(t *testing.T, rng *rand.Rand) {
		cfg := small(2 * time.Minute)
		cfg.Runtime.Threads, cfg.Cluster.Partitions = 2, 4
		cfg.Load.Seed = 1 + rng.Int64N(1<<30)
		cfg.Faults.Cuts = storm(rng, &cfg, cfg.Load.Duration-30*time.Second)
		names := cfg.InstanceNames()
		for at := time.Duration(0); at < cfg.Load.Duration-30*time.Second; at += time.Duration(rng.Int64N(int64(20 * time.Second))) {
			cfg.Faults.Faults = append(cfg.Faults.Faults, FaultSpec{
				Kind: FaultStall, Instance: names[rng.IntN(len(names))], Thread: 1 + rng.IntN(2), Start: at, Length: 1 + time.Duration(rng.Int64N(int64(15*time.Second))),
			})
		}
		t.Logf("cuts %v, faults %v", cfg.Faults.Cuts, cfg.Faults.Faults)
		r := play(t, cfg, nil)
		wantDeaths(t, r, 0)
	})
}

func scenarioOfResets(t *testing.T) {
	everySeed(t, func(t *testing.T, rng *rand.Rand) {
		cfg := small(40 * time.Second)
		resets := uint64(0)
		r := play(t, cfg, func(g *stage) {
			for g.until(2 * time.Second); g.s.Snapshot().Elapsed < 35*time.Second; {
				g.s.members[rng.IntN(len(g.s.members))].link.Reset()
				time.Sleep(time.Duration(rng.Int64N(int64(time.Second))))
			}
			for _, m := range g.s.members {
				resets += m.link.Stats().Resets
			}
		})
		wantDeaths(t, r, 0)
		if resets == 0 {
			t.Error("no connection was reset")
		}
	})
}

func scenarioOfFlaps(t *testing.T) {
	everySeed(t, func(t *testing.T, rng *rand.Rand) {
		cfg := small(2*time.Minute + 30*time.Second)
		at := 3 * time.Second
		for range 50 {
			cut := CutSpec{Instance: "i2", Start: at, Length: 1 + time.Duration(rng.Int64N(int64(3*time.Second))), Direction: faults.Direction(rng.IntN(3))}
			cfg.Faults.Cuts = append(cfg.Faults.Cuts, cut)
			at += cut.Length + 100*time.Millisecond + time.Duration(rng.Int64N(int64(time.Second)))
		}
		r := play(t, cfg, func(g *stage) { g.keepsGeneration(2*time.Second, cfg.Load.Duration) })
		wantNoneExpelled(t, r.Cuts)
		wantDeaths(t, r, 0)
		if len(r.Cuts) < 45 { // two in the same tick are one
			t.Errorf("%d cuts were made, want about 50", len(r.Cuts))
		}
	})
}
