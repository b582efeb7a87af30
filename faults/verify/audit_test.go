package verify

import (
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// left is what the verifier is told about a Config's topics, with the model or without.
func left(cfg *Config, byModel bool) StoredConfig {
	c := StoredConfig{Config: *cfg}
	c.Group = "app"
	if !byModel {
		c.Model = ""
		c.Inputs = []string{cfg.Input}
		for _, topic := range cfg.Outputs {
			c.Outputs = append(c.Outputs, topic)
		}
		for _, topic := range cfg.Changelogs {
			c.Changelogs = append(c.Changelogs, topic)
		}
	}
	return c
}

// judgeLeft judges what was left, and checks what is common to all judgements.
func (c *cluster) judgeLeft(cfg StoredConfig) *StoredStatus {
	c.t.Helper()
	var read, total int64
	cfg.Progress = func(r, t int64) { read, total = r, t }
	status, err := Stored(c.t.Context(), cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	if !status.Final || read != total || read == 0 && status.In > 0 {
		c.t.Errorf("final %v, read %d of %d", status.Final, read, total)
	}
	return status
}

// commitOffset commits an offset of the input's one partition for the group.
func (c *cluster) commitOffset(topic string, partition int32, at int64) {
	c.t.Helper()
	var o kadm.Offsets
	o.AddOffset(topic, partition, at, -1)
	if err := kadm.NewClient(c.client()).CommitAllOffsets(c.t.Context(), "app", o); err != nil {
		c.t.Fatal(err)
	}
}

func ruleOf(s *StoredStatus, kind string) Rule {
	i := slices.IndexFunc(s.Rules, func(r Rule) bool { return r.Name == kind })
	if i < 0 {
		return Rule{}
	}
	return s.Rules[i]
}

// TestLeftMutations damages what an application has left, and wants the right kind and the exact places, with the model and
// without one. The input holds six records at offsets 0 to 5.
func TestLeftMutations(t *testing.T) {
	type witness struct {
		kind   string // empty = clean
		input  string
		output []string
	}
	clean := witness{}
	all := func(s *stored) { s.outputs(0, 1, 2); s.outputs(3, 4, 5) }
	tests := map[string]struct {
		do            func(s *stored)
		commit        int64
		model, nobody witness // with a model and without
	}{
		"nothing": {all, 6, clean, clean},
		"done again": {func(s *stored) {
			s.write(kgo.TryAbort, "app-output", s.message(0, "value 0"))
			s.outputs(0, 1, 2, 3, 4, 5)
		}, 6, clean, clean},
		"drop":                {func(s *stored) { s.outputs(0, 1); s.outputs(3, 4, 5) }, 6, witness{KindLost, "app-input-0@2", []string{"app-output-0@3"}}, clean},
		"drop at the end":     {func(s *stored) { s.outputs(0, 1, 2, 3, 4) }, 6, witness{KindLost, "app-input-0@5", nil}, clean},
		"not yet processed":   {func(s *stored) { s.outputs(0, 1, 2, 3) }, 4, clean, clean},
		"nothing committed":   {func(*stored) {}, -1, clean, clean},
		"drop before":         {func(s *stored) { s.outputs(0, 1, 2) }, 4, witness{KindLost, "app-input-0@3", nil}, clean},
		"double":              {func(s *stored) { s.outputs(0, 1, 2); s.outputs(1); s.outputs(3, 4, 5) }, 6, witness{KindDuplicate, "app-input-0@1", []string{"app-output-0@4"}}, witness{KindDuplicate, "app-input-0@1", []string{"app-output-0@4"}}},
		"swap":                {func(s *stored) { s.outputs(0, 2, 1, 3, 4, 5) }, 6, witness{KindOutOfOrder, "app-input-0@1", []string{"app-output-0@2"}}, witness{KindOutOfOrder, "app-input-0@1", []string{"app-output-0@2"}}},
		"offsets are missing": {all, 3, witness{KindTorn, "app-input-0@5", []string{"app-output-0@6"}}, witness{KindTorn, "app-input-0@5", []string{"app-output-0@6"}}},
		"offsets are short":   {all, 5, witness{KindMerged, "app-input-0@5", []string{"app-output-0@6"}}, witness{KindMerged, "app-input-0@5", []string{"app-output-0@6"}}},
		"an aborted output joins the next transaction": {
			func(s *stored) { s.joins(); s.outputs(3, 4, 5) }, 6,
			witness{KindMerged, "app-input-0@4", []string{"app-output-0@6", "app-output-0@8"}},
			witness{KindMerged, "app-input-0@4", []string{"app-output-0@6", "app-output-0@9"}},
		},
		"alter": {func(s *stored) {
			s.outputs(0, 1)
			s.write(kgo.TryCommit, "app-output", s.message(2, "other"))
			s.outputs(3, 4, 5)
		}, 6, witness{KindWrongValue, "app-input-0@2", []string{"app-output-0@3"}}, clean},
		"torn transaction": {func(s *stored) {
			s.outputs(0, 1, 2)
			s.write(kgo.TryAbort, "app-output", s.message(3, "value 3"))
			s.outputs(4, 5)
		}, 6, witness{KindTorn, "app-input-0@3", []string{"app-output-0@4", "app-output-0@6"}}, witness{KindTorn, "app-input-0@3", []string{"app-output-0@4"}}},
		"aborted read": {func(s *stored) {
			s.write(kgo.TryAbort, "app-input", s.message(6, "value 6"))
			s.outputs(0, 1, 2, 3, 4, 5)
			s.outputs(6)
		}, 8, witness{KindAbortedRead, "app-input-0@6", []string{"app-output-0@7"}}, witness{KindAbortedRead, "app-input-0@6", []string{"app-output-0@7"}}},
		"no such input": {func(s *stored) { s.outputs(0, 1, 2, 3, 4, 5, 9) }, 6, witness{KindUnexpected, "", []string{"app-output-0@6"}}, witness{KindUnexpected, "app-input-0 sequence 9", []string{"app-output-0@6"}}},
		"stale epoch": {func(s *stored) {
			s.outputs(0, 1, 2)
			s.fence("app-output")
			s.outputs(3, 4, 5)
		}, 6, witness{KindZombieWrite, "app-input-0@3", []string{"app-output-0@5"}}, witness{KindZombieWrite, "", []string{"app-output-0@5"}}},
		"input behind the end": {all, 9, witness{KindOffset, "app-input-0@9", []string{}}, witness{KindOffset, "app-input-0@9", []string{}}},
		"input deleted": {
			func(s *stored) { s.c.trim("app-input", 0, 4); s.outputs(0, 1, 2) }, 3,
			witness{KindOffset, "app-input-0@3", []string{}},
			witness{KindOffset, "app-input-0@3", []string{}},
		},
	}
	for name, tt := range tests {
		for _, byModel := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/model=%t", name, byModel), func(t *testing.T) {
				inBubble(t, 1, func(c *cluster) {
					t := c.t

					s := newStored(c)
					tt.do(s)
					if tt.commit >= 0 {
						c.commitOffset(s.cfg.Input, 0, tt.commit)
					}
					status := c.judgeLeft(left(s.cfg, byModel))
					want := tt.nobody
					if byModel {
						want = tt.model
					}
					if want.kind == "" {
						if status.Verdict != Clean || len(status.Witnesses) > 0 {
							t.Errorf("%+v", status)
						}
						return
					}
					if status.Verdict != Violation || len(status.Witnesses) == 0 || !ruleOf(status, want.kind).Applied {
						t.Fatalf("%+v", status)
					}
					if w := status.Witnesses[0]; w.Kind != want.kind || w.Input != want.input || !slices.Equal(w.Outputs, want.output) {
						t.Errorf("%+v, want %+v", w, want)
					}
				})
			})
		}
	}
}

// joins takes three inputs. Then the output of the fourth is aborted, that of the fifth comes late, and is committed with a transaction that
// knows nothing of it.
func (s *stored) joins() {
	s.outputs(0, 1, 2)
	s.write(kgo.TryAbort, s.cfg.Outputs["output"], s.message(3, "value 3"))
	s.outputs(4)
}

// fence marks the end of a transaction of the producer under a later epoch in a partition, without the coordinator: a broken
// broker, that takes what the producer goes on to write.
func (s *stored) fence(topic string) {
	s.c.t.Helper()
	id, epoch, err := s.cl.ProducerID(s.c.t.Context())
	if err != nil {
		s.c.t.Fatal(err)
	}
	var partitions kadm.TopicsSet
	partitions.Add(topic, 0)
	if _, err := kadm.NewClient(s.c.client()).WriteTxnMarkers(s.c.t.Context(), kadm.TxnMarkers{ProducerID: id, ProducerEpoch: epoch + 1, Topics: partitions}); err != nil {
		s.c.t.Fatal(err)
	}
}
