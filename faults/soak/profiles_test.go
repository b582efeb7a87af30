package soak

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"eostop/faults/verify"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// bugSeeds are the storms of the table in the README. The first find each bug early.
func bugSeeds(profile string) []int64 {
	if os.Getenv("EOSTOP_TEST_ALL") != "" {
		return []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	}
	return []int64{cmp.Or(map[string]int64{"commit-after-failed-send": 8, "forget-generation": 4}[profile], 1)}
}

// stormOf is what `eostop simulate --hours 1 --schedule storm` does.
func stormOf(profile string, seed int64) Config {
	cfg := Default()
	SimulationDefaults(&cfg)
	cfg.Faults.Profile, cfg.Faults.Schedule, cfg.Load.Duration, cfg.Load.Seed = profile, ScheduleStorm, time.Hour, seed
	return cfg
}

// untilFound simulates until the verifier has found something, a thread has died, or the run is over.
func untilFound(t *testing.T, cfg Config) *Report {
	t.Helper()
	s, err := NewSimulation(cfg, TestBubble(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for over := false; !over; {
		select {
		case <-s.Done():
			over = true
		case <-look.C:
			snap := s.Snapshot()
			over = snap != nil && snap.Found != nil
		}
	}
	s.Stop(true)
	r, err := s.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestAStormFindsEveryKnownBug: the verifier finds each bug profile, or a thread dies of it, within an hour of storm.
func TestAStormFindsEveryKnownBug(t *testing.T) {
	t.Parallel()
	if raced {
		t.Skip("says nothing about races that storms of the fixed program do not")
	}
	for _, p := range profiles() {
		if p.kafka || p.name == profileFixed {
			continue
		}
		for _, seed := range bugSeeds(p.name) {
			t.Run(fmt.Sprintf("%s/seed %d", p.name, seed), func(t *testing.T) {
				t.Parallel()
				r := untilFound(t, stormOf(p.name, seed))
				if ExitCode(r) != ExitViolation || r.Found == nil {
					t.Fatalf("not found: verdict %q, %v", r.Verdict, r.Reasons)
				}
				t.Logf("found after %d records: %s", r.Found.Records, r.Found.By)
			})
		}
	}
}

// TestAStormIsSurvived: the storms that find the bugs find nothing in the fixed program.
func TestAStormIsSurvived(t *testing.T) {
	t.Parallel()
	seeds := bugSeeds(profileFixed)
	if raced {
		seeds = nil // a minute has them all, see TestAStormOfCuts
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			cfg := stormOf(profileFixed, seed)
			if os.Getenv("EOSTOP_TEST_ALL") == "" {
				cfg.Load.Duration = 10 * time.Minute
			}
			r := untilFound(t, cfg)
			if r.Verdict != verify.Clean || len(r.Threads.Died) > 0 || r.Found != nil {
				t.Errorf("verdict %q, %v, died %v", r.Verdict, r.Reasons, r.Threads.Died)
			}
		})
	}
}

// TestARefusedCommitIsToldAgain: Kafka Streams 2.4.0-rc commits a task once more whose commit has been refused. That it had nothing to
// flush then does not end the thread: the producer says again why.
func TestARefusedCommitIsToldAgain(t *testing.T) {
	t.Parallel()
	cfg := Default()
	SimulationDefaults(&cfg)
	cfg.Faults.Profile, cfg.Runtime.Guarantee, cfg.Load.Duration, cfg.Load.Rate = "kafka-2.4.0-rc", "exactly_once", 2*time.Minute, 2
	cfg.Faults.Faults = plan(t, "error,api=TxnOffsetCommit,txn=*,code=ILLEGAL_GENERATION,probability=0.3@10s+1m")
	_, r := simulate(t, cfg)
	wantHits(t, r)
	for _, d := range r.Threads.Died {
		if causeOf(d) == CauseOther {
			t.Errorf("%s died of %s", d.Thread, d.Error)
		}
	}
}

// TestAnExpelledMemberIsCaught: a member is removed from the group, does not hear of it, and nobody can fence its producer. Without member and
// generation its offsets are taken all the same, and the verifier says whose they are.
func TestAnExpelledMemberIsCaught(t *testing.T) {
	t.Parallel()
	for _, profile := range []string{profileFixed, "forget-generation"} {
		t.Run(profile, func(t *testing.T) {
			t.Parallel()
			cfg := small(20 * time.Second)
			cfg.Faults.Profile = profile
			cfg.Faults.Faults = plan(t, "hold,instance=i2,api=Heartbeat,delay=9s@5s+2s", "error,api=InitProducerID,code=COORDINATOR_NOT_AVAILABLE@5s+5s")
			playJudged(t, cfg, Deps{FS: vfs.NewMem()}, func(g *stage) {
				time.Sleep(7 * time.Second)
				leave := kmsg.NewPtrLeaveGroupRequest()
				member := kmsg.NewLeaveGroupRequestMember()
				leave.Group, member.MemberID = cfg.Application.ID, g.s.Snapshot().Instances[1].Threads[0].MemberID
				leave.Members = append(leave.Members, member)
				if _, err := leave.RequestWith(context.Background(), g.s.cluster.client); err != nil {
					g.Error(err)
				}
			}, func(t *testing.T, _ *Config, r *Report) {
				caught := slices.ContainsFunc(r.Witnesses, func(w ReportWitness) bool {
					return w.Kind == verify.KindZombieWrite && strings.HasPrefix(w.Transaction, cfg.Application.ID+"-") && w.Input != "" && len(w.Outputs) == 1
				})
				if fixed := profile == profileFixed; caught == fixed || fixed != (r.Verdict == verify.Clean) {
					t.Errorf("verdict %q, %v, %+v", r.Verdict, r.Reasons, r.Witnesses)
				}
			})
		})
	}
}
