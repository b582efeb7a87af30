package soak

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"eostop/runtime"

	"github.com/twmb/franz-go/pkg/kgo"
)

// suited is small for a program, a guarantee and a size of the record cache.
func suited(name string, guarantee runtime.Guarantee, cache Size, length time.Duration) Config {
	cfg := small(length)
	cfg.Application.Topology, cfg.Runtime.Guarantee, cfg.Runtime.RecordCache = name, string(guarantee), cache
	if name == topologyWordcount {
		cfg.Load.Rate = 20 // lines, of some words each
	}
	return cfg
}

// cacheSizes are: off, so small that it overflows all the time, and the default.
var cacheSizes = []Size{0, 6 << 10, 10 << 20}

// TestEveryProgramUnderEveryGuarantee cuts an instance off, with and without a record cache.
func TestEveryProgramUnderEveryGuarantee(t *testing.T) {
	t.Parallel()
	for _, name := range TopologyNames() {
		for _, guarantee := range runtime.Guarantees() {
			for _, cache := range cacheSizes {
				t.Run(fmt.Sprintf("%s %s cache %s", name, guarantee, cache), func(t *testing.T) {
					t.Parallel()
					cfg := suited(name, guarantee, cache, 45*time.Second)
					cfg.Faults.Cuts = cuts(t, "i2@5s+20s")
					r := playProgram(t, cfg)
					wantDeaths(t, r, 0)
					wantTakeover(t, &cfg, r.Cuts[0])
				})
			}
		}
	}
}

// playProgram is play for a program that may have no stores.
func playProgram(t *testing.T, cfg Config) *Report {
	t.Helper()
	r := play(t, cfg, nil)
	if r.LatencyMS == nil || r.LatencyMS.Max <= 0 {
		t.Errorf("latency %+v", r.LatencyMS)
	}
	return r
}

// TestAStormOnEveryProgram cuts instances off at random, under every guarantee and with every size of cache by chance.
func TestAStormOnEveryProgram(t *testing.T) {
	t.Parallel()
	for _, name := range TopologyNames() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			everySeed(t, func(t *testing.T, rng *rand.Rand) {
				cfg := suited(name, runtime.Guarantees()[rng.IntN(3)], cacheSizes[rng.IntN(3)], 2*time.Minute)
				cfg.Cluster.Embedded.Version = []string{"3.7", "4.0"}[rng.IntN(2)]
				cfg.Load.Seed = 1 + rng.Int64N(1<<30)
				cfg.Faults.Cuts = storm(rng, &cfg, cfg.Load.Duration-30*time.Second)
				t.Logf("Kafka %s, %s, cache %s, cuts %v", cfg.Cluster.Embedded.Version, cfg.Runtime.Guarantee, cfg.Runtime.RecordCache, cfg.Faults.Cuts)
				r := playProgram(t, cfg)
				wantDeaths(t, r, 0)
			})
		})
	}
}

// TestAFileEndsTheLoad runs every program on a text as people have them, and ends by itself.
func TestAFileEndsTheLoad(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("The quick brown fox, the lazy dog\u2019s \u00fcbel.\r\n\n\xff\xfe \x00 42\n"+strings.Repeat("long ", 2000)+"\n", 40) + "no end"
	for _, name := range []string{topologySoak, topologyPassthrough, topologyWordcount} {
		for _, cache := range cacheSizes {
			t.Run(fmt.Sprintf("%s cache %s", name, cache), func(t *testing.T) {
				t.Parallel()
				cfg := suited(name, runtime.ExactlyOnceV2, cache, 0)
				cfg.Load.Input = writeInput(t, text)
				if name == topologyWordcount {
					cfg.Load.Rate = 4
				}
				cfg.Faults.Cuts = cuts(t, "i1@2s+3s")
				r := play(t, cfg, nil)
				if in := *r.Records.In; in != 161 || r.Records.Processed != in {
					t.Errorf("%d in, %d processed, want 161", in, r.Records.Processed)
				}
				wantDeaths(t, r, 0)
			})
		}
	}
}

// TestAnEmptyFileEndsAtOnce has nothing to process, and nothing wrong.
func TestAnEmptyFileEndsAtOnce(t *testing.T) {
	t.Parallel()
	cfg := suited(topologyPassthrough, runtime.ExactlyOnceV2, 0, 0)
	cfg.Load.Input = writeInput(t, "")
	r := play(t, cfg, nil)
	if *r.Records.In != 0 || *r.Records.Out != 0 || ExitCode(r) != ExitClean {
		t.Errorf("%+v", r)
	}
}

// TestOthersFeedTheProgram has no load of its own: what others write carries no provenance.
func TestOthersFeedTheProgram(t *testing.T) {
	t.Parallel()
	for _, name := range TopologyNames() {
		for _, guarantee := range []runtime.Guarantee{runtime.ExactlyOnceV2, runtime.AtLeastOnce} {
			for _, cache := range cacheSizes {
				t.Run(fmt.Sprintf("%s %s cache %s", name, guarantee, cache), func(t *testing.T) {
					t.Parallel()
					cfg := suited(name, guarantee, cache, 0)
					cfg.Load.Enabled = false
					cfg.Faults.Cuts = cuts(t, "i1@5s+15s")
					r := play(t, cfg, func(g *stage) {
						g.until(time.Second)
						g.feed(400, 100*time.Millisecond)
						g.s.Stop(false)
					})
					if in := *r.Records.In; in != 400 {
						t.Errorf("%d in, want 400", in)
					}
					wantDeaths(t, r, 0)
				})
			}
		}
	}
}

// feed writes records to the program's input as any producer would, one at a time.
func (g *stage) feed(n int, pause time.Duration) {
	g.Helper()
	client, err := kgo.NewClient(append(g.s.cluster.options(), kgo.DefaultProduceTopic(g.s.topics.Input))...)
	if err != nil {
		g.Error(err)
		return
	}
	defer client.Close()
	for i := range n {
		r := &kgo.Record{Value: fmt.Appendf(nil, "number %d is %d", i, i%7)}
		if strings.HasPrefix(g.s.cfg.Application.Topology, topologyEosTest) {
			r.Value = binary.BigEndian.AppendUint32(nil, uint32(int32(i%7*(i%13-6))))
		}
		if g.s.cfg.Application.Topology != topologyWordcount {
			r.Key = fmt.Appendf(nil, "key %d", i%20)
		}
		if i%3 == 0 && g.s.cfg.Application.Topology == topologyPassthrough {
			r.Key = nil
		}
		if err := client.ProduceSync(context.Background(), r).FirstErr(); err != nil {
			g.Error(err)
			return
		}
		time.Sleep(pause)
	}
}
