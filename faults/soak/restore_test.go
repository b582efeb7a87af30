package soak

import (
	"context"
	"testing"
	"time"

	"eostop/faults"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// restores recognises fetches of changelogs; until the verifier compares them at the end, only restoring threads fetch them.
func (g *stage) restores() func(kmsg.Request) bool {
	topics := map[[16]byte]bool{}
	list := make([]string, 0, len(g.s.topics.Changelogs))
	for _, topic := range g.s.topics.Changelogs {
		list = append(list, topic)
	}
	details, err := g.s.cluster.admin.ListTopics(context.Background(), list...)
	if err != nil {
		g.Error(err)
	}
	for _, d := range details {
		topics[d.ID] = true
	}
	return func(req kmsg.Request) bool {
		fetch := req.(*kmsg.FetchRequest)
		for i := range fetch.Topics {
			if topics[fetch.Topics[i].TopicID] {
				return true
			}
		}
		return false
	}
}

// scenarioOfCutsInRestores cuts during a restore, and again after the heal (KAFKA-16077).
func scenarioOfCutsInRestores(t *testing.T) {
	everyCut(t, func(t *testing.T, d faults.Direction, length time.Duration) {
		cfg := small(80 * time.Second)
		cfg.Runtime.Instances, cfg.Cluster.Partitions = 2, 2
		cfg.Faults.Cuts = cuts(t, "i2@5s+14s")
		r := play(t, cfg, func(g *stage) {
			g.until(4 * time.Second)
			restores := g.restores()
			// i2 is about to be expelled; i1 takes its tasks.
			if !g.cutAt("i1", d, kmsg.Fetch, 1, restores) {
				return
			}
			g.follow("i1", d, length)
			g.until(g.s.Snapshot().Elapsed + 100*time.Millisecond)
			g.member("i1").link.Cut(d)
			g.follow("i1", d, length)
		})
		wantDeaths(t, r, 0)
		if r.State.RestoredRecords == 0 {
			t.Error("nothing was restored")
		}
	})
}

func scenarioOfLateRequests(t *testing.T) {
	for _, version := range []string{"3.7", "4.0"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			cfg := small(50 * time.Second)
			speak(t, &cfg, version)
			cfg.Runtime.CommitInterval = 2 * time.Second // so that records of an open transaction are on their way
			cfg.Faults.Cuts = cuts(t, "i1@6500ms+15s:out", "i2@28s+15s")
			var late uint64
			r := play(t, cfg, func(g *stage) {
				g.until(49 * time.Second)
				for _, m := range g.s.members[:2] {
					late += m.link.Stats().LateOut
				}
			})
			wantDeaths(t, r, 0)
			for _, c := range r.Cuts {
				wantTakeover(t, &cfg, c)
			}
			if late == 0 {
				t.Error("no byte arrived late")
			}
			t.Logf("%d bytes arrived late, %d transactions fenced", late, r.Transactions.Fenced)
		})
	}
}

func TestAChangelogIsRewrittenAndTrimmedAndRestoredFromScratch(t *testing.T) {
	t.Parallel()
	cfg := small(110 * time.Second)
	cfg.Runtime.ChangelogRewriteInterval = 5 * time.Second
	// Many keys are written so seldom that only the rewritten part of the changelog holds them.
	cfg.Load.Rate, cfg.Load.Keys = 100, 600
	cfg.Faults.Cuts = cuts(t, "i2@70s+20s")
	r := play(t, cfg, func(g *stage) {
		g.until(69 * time.Second)
		var topics []string
		for _, topic := range g.s.topics.Changelogs {
			topics = append(topics, topic)
		}
		starts, err := g.s.cluster.admin.ListStartOffsets(context.Background(), topics...)
		if err != nil {
			g.Error(err)
		}
		trimmed := 0
		starts.Each(func(o kadm.ListedOffset) {
			if o.Offset > 0 {
				trimmed++
			}
		})
		if trimmed < 9 {
			g.Errorf("%d partitions of changelogs are trimmed, want those of the three stores of each key at least", trimmed)
		}
	})
	wantDeaths(t, r, 0)
	wantTakeover(t, &cfg, r.Cuts[0])
	if r.Cuts[0].RestoredRecords == 0 {
		t.Error("the takers restored nothing")
	}
}
