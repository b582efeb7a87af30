package verify

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestClean verifies a correct run whose aborted transactions hold everything twice.
func TestClean(t *testing.T) {
	inBubble(t, 1, func(c *cluster) {
		t := c.t

		cfg := c.config()
		r := c.small()
		v := c.start(cfg)
		time.Sleep(3 * time.Second)
		if s := v.Status(); !strings.Contains(s.Waiting, "app-input") || len(v.Passed()) != 0 {
			t.Errorf("without topics: waiting %q, passed %v", s.Waiting, v.Passed())
		}
		c.create(&cfg, r.partitions)
		c.writeInputs(&cfg, r)
		time.Sleep(time.Second)
		if s := v.Status(); s.Waiting != "" || s.In != 600 || s.Lag == 0 || s.Out != 0 {
			t.Errorf("with inputs: %+v", s)
		}
		c.writeOutputs(&cfg, r)
		time.Sleep(time.Second)
		live := v.Status()
		if live.Lag != 0 || live.Processed != 600 || live.Verdict != Clean || live.Final {
			t.Errorf("with outputs: %+v", live)
		}
		for topic, partitions := range v.Passed() {
			for p, at := range partitions {
				info := c.fake.PartitionInfo(topic, p)
				if at > info.HighWatermark || topic != cfg.Input && at != info.HighWatermark {
					t.Errorf("passed %d on %s-%d, which ends at %d", at, topic, p, info.HighWatermark)
				}
			}
		}
		s := c.finish(v, r.digests())
		if s.Verdict != Clean || s.In != 600 || s.Processed != 600 || s.Lag != 0 {
			t.Errorf("%+v", s)
		}
		if s.Stores != 21 || s.DigestChecked != 21 || s.DigestMismatch != 0 {
			t.Errorf("%d stores, %d checked, %d differ", s.Stores, s.DigestChecked, s.DigestMismatch)
		}
		if s.Latency.P50 <= 0 || s.Latency.P99 < s.Latency.P50 || s.Latency.Max < s.Latency.P99 {
			t.Errorf("latency %+v", s.Latency)
		}
		if _, err := v.Finish(t.Context(), nil); !errors.Is(err, ErrNotRunning) {
			t.Errorf("second Finish: %v", err)
		}
	})
}

// TestOutputsFirst has the outputs read long before their inputs.
func TestOutputsFirst(t *testing.T) {
	inBubble(t, 1, func(c *cluster) {
		t := c.t

		cfg := c.config()
		r := c.small()
		c.create(&cfg, r.partitions)
		v := c.start(cfg)
		c.writeOutputs(&cfg, r)
		time.Sleep(600 * time.Millisecond) // an output that has waited for longer is taken for one without an input
		if s := v.Status(); s.Held == 0 || s.Verdict != Clean {
			t.Errorf("%+v", s)
		}
		c.writeInputs(&cfg, r)
		time.Sleep(time.Second)
		if s := v.Status(); s.Held != 0 || s.Verdict != Clean || s.Lag != 0 {
			t.Errorf("%+v", s)
		}
		if s := c.finish(v, r.digests()); s.Verdict != Clean {
			t.Errorf("%+v", s)
		}
	})
}

// TestDamage damages what the application wrote, in the broker.
func TestDamage(t *testing.T) {
	tests := map[string]struct {
		do     func(r *reference, digests []StoreDigest) []StoreDigest
		live   bool // found before Finish
		kind   string
		detail string
	}{
		"dropped": {func(r *reference, d []StoreDigest) []StoreDigest {
			s := r.pick("max", 0)
			s.index = 3 // its key goes on
			r.outputs["max"][s.partition] = slices.Delete(r.outputs["max"][s.partition], s.index, s.index+1)
			return d
		}, true, KindLost, ""},
		"doubled": {func(r *reference, d []StoreDigest) []StoreDigest {
			s := r.pick("count", 0)
			r.outputs["count"][s.partition] = append(r.outputs["count"][s.partition], *r.at(s))
			return d
		}, true, KindDuplicate, ""},
		"altered": {func(r *reference, d []StoreDigest) []StoreDigest {
			m := r.at(r.pick("group-max", 2))
			m.value = pack(number(m.value) + 1)
			return d
		}, true, KindWrongValue, ""},
		"forged": {func(r *reference, d []StoreDigest) []StoreDigest {
			m := *r.at(r.pick("total", 0))
			m.header = Provenance{Run: 1234}.Encode()
			s := r.pick("total", 0)
			r.outputs["total"][s.partition] = append(r.outputs["total"][s.partition], m)
			return d
		}, true, KindUnexpected, "no such input"},
		"order not shown": {func(r *reference, d []StoreDigest) []StoreDigest {
			// A later output of the group cannot be judged without it, and must not block its partition.
			s := r.pick("group-count", 0)
			for p, log := range r.outputs["group-max"] {
				r.outputs["group-max"][p] = slices.DeleteFunc(log, func(m message) bool {
					return string(m.header) == string(r.outputs["group-count"][s.partition][0].header)
				})
			}
			return d
		}, true, KindLost, ""},
		"tail missing": {func(r *reference, d []StoreDigest) []StoreDigest {
			s := r.pick("sum", 0)
			r.outputs["sum"][s.partition] = r.outputs["sum"][s.partition][:s.index]
			return d
		}, false, KindLost, "everything was read"},
		"changelog altered": {func(r *reference, d []StoreDigest) []StoreDigest {
			for _, log := range r.changelogs[storeSum] {
				if n := len(log); n > 0 {
					log[n-1].value = pack(1)
					break
				}
			}
			return d
		}, false, KindStateMismatch, "changelog differs from the model: key"},
		"store altered": {func(_ *reference, d []StoreDigest) []StoreDigest {
			d[0].Sum[0]++
			return d
		}, false, KindStateMismatch, "differs from its changelog"},
		"both altered": {func(r *reference, _ []StoreDigest) []StoreDigest {
			for p, log := range r.changelogs[storeTotal] {
				if n := len(log); n > 0 {
					log[n-1].value = pack(1, 1)
					r.stores[storeTotal][p].put(log[n-1].key, pack(1, 1))
				}
			}
			return r.digests()
		}, false, KindStateMismatch, "store of task 1_"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 1, func(c *cluster) {
				t := c.t

				cfg := c.config()
				r := c.small()
				digests := tt.do(r, r.digests())
				c.create(&cfg, r.partitions)
				v := c.start(cfg)
				c.writeInputs(&cfg, r)
				c.writeOutputs(&cfg, r)
				time.Sleep(5 * time.Second)
				// Whether the key of this one changes its maximum again is left to chance.
				either := name == "order not shown"
				if s := v.Status(); (s.Verdict == Violation) != tt.live && !either || s.Held != 0 {
					t.Errorf("live: %+v", s)
				}
				s := c.finish(v, digests)
				if s.Verdict != Violation || len(s.Reasons) == 0 {
					t.Fatalf("%+v", s)
				}
				if !slices.ContainsFunc(s.Witnesses, func(w Witness) bool {
					return w.Kind == tt.kind && strings.Contains(w.Detail, tt.detail)
				}) {
					t.Errorf("no witness %s %q in %+v", tt.kind, tt.detail, s.Witnesses)
				}
				if tt.kind == KindDuplicate && !strings.HasPrefix(s.Witnesses[0].Transaction, "producer id ") {
					t.Errorf("the witness does not name the producer: %+v", s.Witnesses[0])
				}
			})
		})
	}
}

// TestRunEnds ends Run in each of its phases.
func TestRunEnds(t *testing.T) {
	for name, created := range map[string]bool{"waiting for topics": false, "reading": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 1, func(c *cluster) {
				t := c.t

				cfg := c.config()
				if created {
					c.create(&cfg, 2)
				}
				v, err := New(cfg)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				begin := time.Now()
				if err := v.Run(ctx); err != nil {
					t.Error(err)
				}
				if took := time.Since(begin); took > 4*time.Second {
					t.Errorf("Run ended after %v", took)
				}
				if _, err := v.Finish(t.Context(), nil); !errors.Is(err, ErrNotRunning) {
					t.Errorf("Finish: %v", err)
				}
			})
		})
	}
}

func TestConfigValidate(t *testing.T) {
	empty := Default()
	err := empty.Validate()
	for _, part := range []string{"seeds:", "input:", "hash:", `outputs: role "group-sum"`} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v lacks %q", err, part)
		}
	}
	good := Config{
		Seeds: []string{"a:1"}, Input: "in", Model: ModelSoak, Hash: testHash,
		Outputs: map[string]string{
			"count": "a", "sum": "b", "max": "c", "group-count": "d", "group-sum": "e", "group-max": "f", "total": "g",
		},
		Changelogs: map[string]string{storeCount: "h"},
	}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for name, damage := range map[string]func(*Config){
		"outputs:":    func(c *Config) { c.Outputs = map[string]string{"count": "in"} },
		"changelogs:": func(c *Config) { c.Changelogs = map[string]string{"store": "x"} },
		"model:":      func(c *Config) { c.Model = "other" },
	} {
		bad := good
		damage(&bad)
		if _, err := New(bad); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
