package verify

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// leave writes all that a reference has left, and commits its inputs.
func (c *cluster) leave(cfg *Config, r *reference) {
	c.t.Helper()
	c.create(cfg, r.partitions)
	c.writeInputs(cfg, r)
	c.writeOutputs(cfg, r)
	for p, log := range r.inputs {
		c.commitOffset(cfg.Input, int32(p), int64(len(log)))
	}
}

// TestLeftClean judges what correct programs have left: there is nothing to complain about, by model or without.
func TestLeftClean(t *testing.T) {
	for _, v := range variants() {
		for _, bare := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, bare %v", v, bare), func(t *testing.T) {
				inBubble(t, 1, func(c *cluster) {
					t := c.t

					r := v.build(c.rng.Uint64(), 3, 400, 20, bare)
					cfg := c.configOf(v)
					c.leave(&cfg, r)
					for _, byModel := range []bool{true, false} {
						status := c.judgeLeft(left(&cfg, byModel))
						if status.Verdict != Clean || status.In != 400 || status.Out == 0 {
							t.Errorf("model %v: %+v", byModel, status)
						}
						if byModel && status.Processed != 400 {
							t.Errorf("processed %d of 400", status.Processed)
						}
						if named := !bare && !byModel; named && !ruleOf(status, KindAbortedRead).Applied || !byModel && ruleOf(status, KindLost).Applied {
							t.Errorf("rules %+v", status.Rules)
						}
						if stores := len(cfg.Changelogs) * r.partitions; byModel && !v.mode.AtLeastOnce && status.DigestChecked != int64(stores) {
							t.Errorf("%d of %d changelog partitions were compared", status.DigestChecked, stores)
						}
					}
				})
			})
		}
	}
}

// TestLeftChangelog alters a value in a changelog.
func TestLeftChangelog(t *testing.T) {
	for _, model := range Models() {
		v := variant{model: model}
		for store := range v.build(1, 1, 0, 1, false).changelogs {
			t.Run(model+" "+store, func(t *testing.T) {
				inBubble(t, 1, func(c *cluster) {
					t := c.t

					cfg := c.configOf(v)
					r := v.build(c.rng.Uint64(), 3, 600, 10, false)
					p := slices.IndexFunc(r.changelogs[store], func(log []message) bool { return len(log) > 0 })
					log := r.changelogs[store][p]
					last := &log[len(log)-1]
					last.value = slices.Clone(last.value)
					last.value[len(last.value)-1] ^= 1
					c.leave(&cfg, r)
					status := c.judgeLeft(left(&cfg, true))
					if status.Verdict != Violation || status.DigestMismatch != 1 || len(status.Witnesses) != 1 {
						t.Fatalf("%+v", status)
					}
					w, place := status.Witnesses[0], fmt.Sprintf("%s-%d@", cfg.Changelogs[store], p)
					if w.Kind != KindStateMismatch || len(w.Outputs) != 1 || !strings.HasPrefix(w.Outputs[0], place) || !strings.Contains(w.Detail, fmt.Sprintf("%q", last.key)) {
						t.Errorf("%+v, want key %q", w, last.key)
					}
					if status := c.judgeLeft(left(&cfg, false)); status.Verdict != Clean || ruleOf(status, KindStateMismatch).Applied {
						t.Errorf("without a model nobody knows: %+v", status)
					}
				})
			})
		}
	}
}

// TestLeftOpen leaves a transaction open. Its coordinator will end it, or knows nothing of it, or should have ended it.
func TestLeftOpen(t *testing.T) {
	for name, tt := range map[string]struct {
		lie     func(c *cluster)
		timeout time.Duration
		verdict Verdict
		detail  string
	}{
		"ends by itself": {nil, 5 * time.Second, Clean, ""},
		"young":          {nil, 10 * time.Minute, Clean, ""},
		"orphan": {func(c *cluster) {
			c.answer(kmsg.ListTransactions, func() kmsg.Response { return kmsg.NewPtrListTransactionsResponse() })
		}, 10 * time.Minute, Violation, "no coordinator knows of it"},
		"overdue": {func(c *cluster) {
			began := time.Now()
			c.answer(kmsg.DescribeTransactions, func() kmsg.Response {
				r, s := kmsg.NewPtrDescribeTransactionsResponse(), kmsg.NewDescribeTransactionsResponseTransactionState()
				s.TransactionalID, s.State, s.ProducerID, s.TimeoutMillis, s.StartTimestamp = "app-x", "Ongoing", c.producer, 1000, began.UnixMilli()
				r.TransactionStates = append(r.TransactionStates, s)
				return r
			})
		}, 10 * time.Minute, Violation, "though its time-out is 1s"},
		"nobody knows": {func(c *cluster) {
			c.answer(kmsg.ListTransactions, func() kmsg.Response {
				r := kmsg.NewPtrListTransactionsResponse()
				r.ErrorCode = 53 // TRANSACTIONAL_ID_AUTHORIZATION_FAILED
				return r
			})
		}, 10 * time.Minute, Unknown, ""},
	} {
		for _, byModel := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/model=%t", name, byModel), func(t *testing.T) {
				inBubble(t, 1, func(c *cluster) {
					t := c.t

					cfg := c.configOf(variant{model: ModelPassthrough})
					c.create(&cfg, 1)
					s := &stored{c: c, cfg: &cfg, cl: c.client(kgo.TransactionalID("app-x"), kgo.TransactionTimeout(tt.timeout))}
					c.produceLog(cfg.Input, 0, []message{s.message(0, "value 0")})
					if err := s.cl.BeginTransaction(); err != nil {
						t.Fatal(err)
					}
					if err := s.cl.ProduceSync(t.Context(), records("app-output", 0, []message{s.message(0, "value 0")})...).FirstErr(); err != nil {
						t.Fatal(err)
					}
					c.producer, _, _ = s.cl.ProducerID(t.Context())
					if tt.lie != nil {
						tt.lie(c)
					}
					status := c.judgeLeft(left(&cfg, byModel))
					if status.Verdict != tt.verdict {
						t.Fatalf("%+v", status)
					}
					if young := name == "young"; young != (len(status.Notes) == 1) {
						t.Errorf("notes %q", status.Notes)
					}
					if tt.detail == "" {
						return
					}
					w := status.Witnesses[0]
					if w.Kind != KindHanging || !slices.Equal(w.Outputs, []string{"app-output-0@0"}) || !strings.Contains(w.Detail, tt.detail) ||
						!strings.Contains(w.Detail, "abort --topic app-output --partition 0 --start-offset 0") {
						t.Errorf("%+v", w)
					}
				})
			})
		}
	}
}

// answer has the broker answer a kind of request with what fn says.
func (c *cluster) answer(key kmsg.Key, fn func() kmsg.Response) {
	c.fake.ControlKey(int16(key), func(request kmsg.Request) (kmsg.Response, error, bool) {
		c.fake.KeepControl()
		r := fn()
		r.SetVersion(request.GetVersion())
		return r, nil, true
	})
}

// TestLeftMemory reads far more than may be kept at a time, of a program that shows the effect of each input.
func TestLeftMemory(t *testing.T) {
	inBubble(t, 1, func(c *cluster) {
		t := c.t

		r := newProgram(ModelPassthrough, Mode{}, c.rng, 2)
		r.generate(7, 3*maxAhead, 50)
		r.run()
		cfg := c.configOf(variant{model: ModelPassthrough})
		c.leave(&cfg, r)
		s := left(&cfg, true)
		status := c.judgeLeft(s)
		if status.Verdict != Clean || status.Processed != 3*maxAhead {
			t.Errorf("%+v", status)
		}
	})
}
