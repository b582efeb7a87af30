package verify

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// TestVariants verifies a correct run of each program in each of its ways, from the broker's topics to the digests.
func TestVariants(t *testing.T) {
	for _, v := range variants() {
		for _, bare := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, bare %v", v, bare), func(t *testing.T) {
				inBubble(t, 1, func(c *cluster) {
					t := c.t

					cfg := c.configOf(v)
					r := v.build(c.rng.Uint64(), 3, 600, 10, bare)
					c.create(&cfg, r.partitions)
					v := c.start(cfg)
					time.Sleep(time.Second) // the latency counts from when the inputs are said to be made
					c.writeInputs(&cfg, r)
					c.writeOutputs(&cfg, r)
					time.Sleep(5 * time.Second)
					if s := v.Status(); s.Verdict != Clean || s.Held != 0 {
						t.Errorf("live: %+v", s)
					}
					s := c.finish(v, r.digests())
					if s.Verdict != Clean || s.In != 600 || s.Processed != 600 || s.Lag != 0 {
						t.Errorf("%+v", s)
					}
					if want := int64(3 * len(cfg.Changelogs)); s.Stores != want || s.DigestChecked != want {
						t.Errorf("%d stores, %d checked, want %d", s.Stores, s.DigestChecked, want)
					}
					if s.Latency.Max <= 0 {
						t.Errorf("latency %+v", s.Latency)
					}
				})
			})
		}
	}
}

// TestStateAtLeastOnce has counts that are too high in a store and its changelog, which is no violation, and then a store
// that differs from its changelog, which is one.
func TestStateAtLeastOnce(t *testing.T) {
	v := variant{ModelWordcount, Mode{AtLeastOnce: true}}
	for _, damage := range []bool{false, true} {
		t.Run(fmt.Sprint(damage), func(t *testing.T) {
			inBubble(t, 1, func(c *cluster) {
				t := c.t

				cfg := c.configOf(v)
				r := newProgram(v.model, v.mode, c.rng, 3)
				r.repeat = 0.3
				r.generate(7, 600, 10)
				r.run()
				c.create(&cfg, r.partitions)
				ver := c.start(cfg)
				c.writeInputs(&cfg, r)
				c.writeOutputs(&cfg, r)
				digests := r.digests()
				if damage {
					digests[1].Sum[0]++
				}
				s := c.finish(ver, digests)
				if s.Duplicated == 0 || s.DigestChecked != 3 {
					t.Errorf("%+v", s)
				}
				if damage != (s.Verdict == Violation) || damage != (s.DigestMismatch == 1) {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

// TestBarrier finds out while the program runs what no later output shows: that an output is lost although the group has
// committed its input, and all that came of it.
func TestBarrier(t *testing.T) {
	tests := map[string]struct {
		v    variant
		drop func(r *reference) bool
	}{
		"nothing, passthrough":             {variant{model: ModelPassthrough}, nil},
		"nothing, soak cached":             {variant{ModelSoak, Mode{Cached: true}}, nil},
		"nothing, wordcount cached":        {variant{ModelWordcount, Mode{Cached: true}}, nil},
		"nothing, wordcount at least once": {variant{ModelWordcount, Mode{AtLeastOnce: true}}, nil},
		"output of a passthrough": {variant{model: ModelPassthrough}, func(r *reference) bool {
			return dropLast(r, "output", func(m message) bool { return m.key == nil })
		}},
		"last max of a key, cached": {variant{ModelSoak, Mode{Cached: true}}, func(r *reference) bool {
			return dropLast(r, "max", func(m message) bool { return r.lastOfKey("max", m) })
		}},
		"last count of a key, cached": {variant{ModelSoak, Mode{Cached: true}}, func(r *reference) bool {
			return dropLast(r, "count", func(m message) bool { return r.lastOfKey("count", m) })
		}},
		"last maximum of a group, cached": {variant{ModelSoak, Mode{Cached: true}}, func(r *reference) bool {
			return dropLast(r, "group-max", func(message) bool { return true })
		}},
		"last count of a word, cached": {variant{ModelWordcount, Mode{Cached: true}}, func(r *reference) bool {
			return dropLast(r, "counts", func(message) bool { return true })
		}},
		"all outputs of an input, at least once": {variant{ModelSoak, Mode{AtLeastOnce: true}}, func(r *reference) bool {
			origin := string(r.at(r.pick("max", 5)).header)
			for p, log := range r.outputs["max"] {
				r.outputs["max"][p] = slices.DeleteFunc(log, func(m message) bool { return string(m.header) == origin })
			}
			return true
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 1, func(c *cluster) {
				t := c.t

				cfg := c.configOf(tt.v)
				cfg.Group, cfg.Hops = "app", []string{"app-first-repartition", "app-second-repartition"}
				r := tt.v.build(c.rng.Uint64(), 3, 600, 10, false)
				lost := tt.drop != nil
				if lost && !tt.drop(r) {
					t.Skip("nothing to drop by chance")
				}
				c.create(&cfg, r.partitions)
				for _, hop := range cfg.Hops {
					if err := c.fake.CreateTopic(hop, 3, nil); err != nil {
						t.Fatal(err)
					}
				}
				v := c.start(cfg)
				c.writeInputs(&cfg, r)
				for p := range 3 {
					m := []message{{key: []byte("a"), value: []byte("b"), created: testStart}}
					for _, hop := range cfg.Hops {
						c.produceLog(hop, p, m)
					}
				}
				c.writeOutputs(&cfg, r)
				time.Sleep(10 * time.Second)
				shown := strings.Contains(name, "group") // by the total, which is made of it
				if s := v.Status(); s.Verdict != Clean && !shown {
					t.Errorf("not committed: %+v", s)
				}
				c.commitEnds("app", cfg.Input, cfg.Hops[0])
				time.Sleep(10 * time.Second)
				if s := v.Status(); s.Verdict != Clean && !shown {
					t.Errorf("one topic is not committed: %+v", s)
				}
				c.commitEnds("app", cfg.Hops[1])
				time.Sleep(10 * time.Second)
				s := v.Status()
				if lost != (s.Lost > 0) && !shown || lost != (s.Verdict == Violation) || s.Lag != 0 {
					t.Errorf("%+v", s)
				}
				for p, at := range v.Passed()[cfg.Input] {
					if end := c.fake.PartitionInfo(cfg.Input, p).HighWatermark; at != end {
						t.Errorf("passed %d of %d on partition %d", at, end, p)
					}
				}
				final := c.finish(v, r.digests())
				if final.Verdict != s.Verdict || final.Lost < s.Lost || final.Lost > s.Lost+1 {
					t.Errorf("final: %+v, before %+v", final, s)
				}
			})
		})
	}
}

// dropLast removes the last output that a predicate holds of; it returns false if there is none.
func dropLast(r *reference, role string, of func(message) bool) bool {
	for p, log := range r.outputs[role] {
		for i, m := range slices.Backward(log) {
			if of(m) {
				r.outputs[role][p] = slices.Delete(log, i, i+1)
				return true
			}
		}
	}
	return false
}

func (c *cluster) produceLog(topic string, p int, log []message) {
	c.t.Helper()
	if err := c.client().ProduceSync(c.t.Context(), records(topic, p, log)...).FirstErr(); err != nil {
		c.t.Fatal(err)
	}
}

// commitEnds commits the ends of topics for a group.
func (c *cluster) commitEnds(group string, topics ...string) {
	c.t.Helper()
	offsets := make(kadm.Offsets)
	for _, topic := range topics {
		for p := range int32(3) {
			offsets.AddOffset(topic, p, c.fake.PartitionInfo(topic, p).HighWatermark, -1)
		}
	}
	if err := kadm.NewClient(c.client()).CommitAllOffsets(c.t.Context(), group, offsets); err != nil {
		c.t.Fatal(err)
	}
}

// TestBarrierWithoutAnswer has a group whose repartition topic does not exist, and then no broker: Run still ends.
func TestBarrierWithoutAnswer(t *testing.T) {
	inBubble(t, 1, func(c *cluster) {
		t := c.t

		v := variant{model: ModelPassthrough}
		cfg := c.configOf(v)
		cfg.Group, cfg.Hops = "app", []string{"missing"}
		r := v.build(c.rng.Uint64(), 3, 100, 10, false)
		c.create(&cfg, r.partitions)
		verifier, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		c.writeInputs(&cfg, r)
		c.commitEnds("app", cfg.Input)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		time.AfterFunc(10*time.Second, c.fake.Close)
		begin := time.Now()
		if err := verifier.Run(ctx); err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took > 21*time.Second {
			t.Errorf("Run ended after %v", took)
		}
		if s := verifier.Status(); s.Verdict != Clean || s.Lag != 100 {
			t.Errorf("%+v", s)
		}
	})
}

// TestUnknownModel names those that there are.
func TestUnknownModel(t *testing.T) {
	cfg := Config{Seeds: []string{"a:1"}, Input: "in", Hash: testHash, Model: "wordcuont"}
	err := cfg.Validate()
	for _, name := range Models() {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v lacks %s", err, name)
		}
	}
}

// TestModelsAreComplete checks what the tracker relies on.
func TestModelsAreComplete(t *testing.T) {
	for _, v := range variants() {
		m, err := newModel(v.model, v.mode, testHash)
		if err != nil {
			t.Fatal(err)
		}
		roles := make(map[string]bool)
		latency, always := 0, 0
		for _, s := range m.Streams() {
			roles[s.Role] = true
			if s.Latency {
				latency++
			}
			if s.Always {
				always++
			}
			if s.Shared && !s.Skips {
				t.Errorf("%s: %s is shared, but skips nothing", v, s.Role)
			}
		}
		if len(roles) != len(m.Streams()) || len(roles) > 16 || latency != 1 || always == 0 {
			t.Errorf("%s: streams %+v", v, m.Streams())
		}
		names := slices.Sorted(maps.Keys(roles))
		if len(names) == 0 {
			t.Errorf("%s: no streams", v)
		}
	}
}
