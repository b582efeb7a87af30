package verify

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestOpenTransaction finishes while a transaction is open: the verdict waits for it, or is unknown.
func TestOpenTransaction(t *testing.T) {
	for _, topic := range []string{"app-max", "app-" + storeCount + "-changelog"} {
		for _, ends := range []bool{true, false} {
			inBubble(t, 1, func(c *cluster) {
				t := c.t

				cfg := c.config()
				r := c.small()
				c.create(&cfg, r.partitions)
				v := c.start(cfg)
				c.writeInputs(&cfg, r)
				c.writeOutputs(&cfg, r)
				cl := c.client(kgo.TransactionalID("other"), kgo.TransactionTimeout(10*time.Minute))
				if err := cl.BeginTransaction(); err != nil {
					t.Fatal(err)
				}
				if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Partition: 1, Value: []byte("x")}).FirstErr(); err != nil {
					t.Fatal(err)
				}
				if ends {
					time.AfterFunc(10*time.Second, func() {
						if err := cl.EndTransaction(context.Background(), kgo.TryAbort); err != nil {
							t.Error(err)
						}
					})
				}
				s := c.finish(v, r.digests())
				if ends {
					if s.Verdict != Clean {
						t.Errorf("%+v", s)
					}
					return
				}
				wantUnknown(t, &s, "open transaction on "+topic+"-1")
			})
		}
	}
}

// TestUndecided has what makes a verdict unknown.
func TestUndecided(t *testing.T) {
	tests := map[string]struct {
		before func(c *cluster) // the verifier starts, inputs and outputs are written
		after  func(c *cluster) // the verifier has read them
		run    uint64
		forget bool // no digest for one store
		reason string
	}{
		"inputs are gone": {before: func(c *cluster) { c.trim("app-input", 1, 10) }, reason: "what was on app-input-1 before offset 10 is gone"},
		"inputs are gone, and the run is known": {
			before: func(c *cluster) { c.trim("app-input", 1, 10) }, run: 8, reason: "what was on app-input-1 before offset 10 is gone",
		},
		"outputs are gone":    {before: func(c *cluster) { c.trim("app-max", 2, 10) }, reason: "what was on app-max-2 before offset 10 is gone"},
		"a digest is missing": {forget: true, reason: "no digest of KSTREAM-AGGREGATE-STATE-STORE-0000000"},
		"the broker is gone":  {after: func(c *cluster) { c.fake.Close() }, reason: "the ends of the topics are not known"},
		"a changelog is gone": {after: func(c *cluster) {
			if err := c.fake.DeleteTopic("app-" + storeMax + "-changelog"); err != nil {
				c.t.Fatal(err)
			}
		}, reason: "stores were not compared"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 1, func(c *cluster) {
				t := c.t

				cfg := c.config()
				cfg.Run = tt.run
				r := c.small()
				c.create(&cfg, r.partitions)
				c.writeInputs(&cfg, r)
				c.writeOutputs(&cfg, r)
				if tt.before != nil {
					tt.before(c)
				}
				v := c.start(cfg)
				time.Sleep(5 * time.Second)
				if tt.after != nil {
					tt.after(c)
				}
				digests := r.digests()
				if tt.forget {
					digests = digests[1:]
				}
				s := c.finish(v, digests)
				wantUnknown(t, &s, tt.reason)
			})
		})
	}
}

// trim deletes the beginning of a log.
func (c *cluster) trim(topic string, partition int32, offset int64) {
	c.t.Helper()
	if err := c.fake.DeleteRecords(topic, partition, offset); err != nil {
		c.t.Fatal(err)
	}
}

// TestSecondRunAfterTrim judges a run by provenance alone, as the model does not know the run before.
func TestSecondRunAfterTrim(t *testing.T) {
	inBubble(t, 1, func(c *cluster) {
		t := c.t

		cfg := c.config()
		cfg.Run = 8
		r := c.small()
		first := len(r.outputs["max"][0])
		c.create(&cfg, r.partitions)
		r.generate(8, 500, 10)
		r.run()
		r.outputs["max"][0] = append(r.outputs["max"][0], r.outputs["max"][0][first+1]) // of the second run
		c.writeInputs(&cfg, r)
		c.trim(cfg.Input, 0, 5)
		v := c.start(cfg)
		c.writeOutputs(&cfg, r)
		s := c.finish(v, r.digests())
		if s.Verdict != Violation || s.Duplicated != 1 || s.Lost != 0 || s.Wrong != 0 || s.DigestMismatch != 0 || s.In != 500 || s.Processed != 500 {
			t.Errorf("%+v", s)
		}
	})
}

// TestLogDeletedUnderReader deletes records that the verifier has still to read.
func TestLogDeletedUnderReader(t *testing.T) {
	for _, topic := range []string{"app-input", "app-max"} {
		inBubble(t, 1, func(c *cluster) {
			t := c.t

			cfg := c.config()
			r := c.small()
			c.create(&cfg, r.partitions)
			v := c.start(cfg)
			time.Sleep(time.Second)
			var cut atomic.Bool
			cut.Store(true)
			c.fake.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
				c.fake.KeepControl()
				return nil, errors.New("cut"), cut.Load()
			})
			c.writeInputs(&cfg, r)
			c.writeOutputs(&cfg, r)
			for p := range int32(r.partitions) {
				c.trim(topic, p, 20)
			}
			cut.Store(false)
			s := c.finish(v, r.digests())
			wantUnknown(t, &s, "was deleted before it could be read")
		})
	}
}

// TestReaderRecovers has the broker say that offsets are out of range which are not.
func TestReaderRecovers(t *testing.T) {
	inBubble(t, 1, func(c *cluster) {
		t := c.t

		cfg := c.config()
		r := c.small()
		c.create(&cfg, r.partitions)
		v := c.start(cfg)
		c.writeInputs(&cfg, r)
		time.Sleep(time.Second)
		for _, topic := range []string{"app-input", "app-max", "app-total"} {
			c.fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: topic, Err: kerr.OffsetOutOfRange, Count: 2})
		}
		c.writeOutputs(&cfg, r)
		time.Sleep(time.Second)
		if s := c.finish(v, r.digests()); s.Verdict != Clean || s.In != 600 || s.Processed != 600 {
			t.Errorf("%+v", s)
		}
	})
}

// TestThrottle has far more outputs than may be held while their inputs are not there.
func TestThrottle(t *testing.T) {
	inBubble(t, 1, func(c *cluster) {
		t := c.t

		cfg := c.config()
		r := newReference(c.rng, 1)
		r.generate(7, 25_000, 200)
		r.run()
		c.create(&cfg, r.partitions)
		v := c.start(cfg)
		c.writeOutputs(&cfg, r)
		time.Sleep(600 * time.Millisecond)
		s := v.Status()
		written := int64(0)
		for _, partitions := range r.outputs {
			written += int64(len(partitions[0]))
		}
		if s.Held < maxQueue || s.Held > written*3/4 || s.Verdict != Clean {
			t.Errorf("held %d of %d, verdict %s", s.Held, written, s.Verdict)
		}
		c.writeInputs(&cfg, r)
		time.Sleep(3 * time.Second)
		if s := v.Status(); s.Held != 0 || s.Lag != 0 || s.Verdict != Clean {
			t.Errorf("%+v", s)
		}
		if s := c.finish(v, r.digests()); s.Verdict != Clean {
			t.Errorf("%+v", s)
		}
	})
}

// TestLeaderMoves moves leaders while the verifier reads.
func TestLeaderMoves(t *testing.T) {
	inBubble(t, 3, func(c *cluster) {
		t := c.t

		cfg := c.config()
		r := c.small()
		c.create(&cfg, r.partitions)
		v := c.start(cfg)
		c.writeInputs(&cfg, r)
		time.Sleep(time.Second)
		c.fake.ShufflePartitionLeaders()
		time.Sleep(time.Second)
		c.writeOutputs(&cfg, r)
		c.fake.ShufflePartitionLeaders()
		time.Sleep(time.Second)
		s := c.finish(v, r.digests())
		if s.Verdict != Clean || s.In != 600 || s.Processed != 600 {
			t.Errorf("%+v", s)
		}
	})
}
