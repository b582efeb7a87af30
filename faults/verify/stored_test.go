package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// stored writes a passthrough's topics by hand, in transactions of one producer: steps of the outputs' sequences.
type stored struct {
	c   *cluster
	cfg *Config
	cl  *kgo.Client
}

// newStored creates the topics of a passthrough application, with six inputs.
func newStored(c *cluster) *stored {
	cfg := c.configOf(variant{model: ModelPassthrough})
	c.create(&cfg, 1)
	s := &stored{c: c, cfg: &cfg, cl: c.client(kgo.TransactionalID("app"))}
	var inputs []message
	for seq := range int64(6) {
		inputs = append(inputs, s.message(seq, fmt.Sprint("value ", seq)))
	}
	c.produceLog(cfg.Input, 0, inputs)
	return s
}

func (s *stored) message(seq int64, value string) message {
	return message{key: []byte("k"), value: []byte(value), header: Provenance{Run: 7, Sequence: seq, KeySequence: seq}.Encode(), created: testStart}
}

func (s *stored) write(how kgo.TransactionEndTry, topic string, all ...message) {
	s.c.transaction(s.cl, records(topic, 0, all), how)
}

// outputs commits the outputs of some inputs, in one transaction.
func (s *stored) outputs(sequences ...int64) {
	var all []message
	for _, seq := range sequences {
		all = append(all, s.message(seq, fmt.Sprint("value ", seq)))
	}
	s.write(kgo.TryCommit, s.cfg.Outputs["output"], all...)
}

// TestStoredMutations damages what an application has left, and wants the right kind and the exact places. The input holds six
// records at offsets 0 to 5.
func TestStoredMutations(t *testing.T) {
	tests := map[string]struct {
		do     func(s *stored)
		kind   string // empty = clean
		input  string
		output []string
	}{
		"nothing": {func(s *stored) { s.outputs(0, 1, 2); s.outputs(3, 4, 5) }, "", "", nil},
		"done again": {func(s *stored) {
			s.write(kgo.TryAbort, "app-output", s.message(0, "value 0"))
			s.outputs(0, 1, 2, 3, 4, 5)
		}, "", "", nil},
		"drop":            {func(s *stored) { s.outputs(0, 1); s.outputs(3, 4, 5) }, KindLost, "app-input-0@2", []string{"app-output-0@3"}},
		"drop at the end": {func(s *stored) { s.outputs(0, 1, 2, 3, 4) }, KindLost, "app-input-0@5", nil},
		"double":          {func(s *stored) { s.outputs(0, 1, 2); s.outputs(1); s.outputs(3, 4, 5) }, KindDuplicate, "app-input-0@1", []string{"app-output-0@4"}},
		"swap":            {func(s *stored) { s.outputs(0, 2, 1, 3, 4, 5) }, KindOutOfOrder, "app-input-0@1", []string{"app-output-0@2"}},
		"alter": {func(s *stored) {
			s.outputs(0, 1)
			s.write(kgo.TryCommit, "app-output", s.message(2, "other"))
			s.outputs(3, 4, 5)
		}, KindWrongValue, "app-input-0@2", []string{"app-output-0@3"}},
		"torn transaction": {func(s *stored) {
			s.outputs(0, 1, 2)
			s.write(kgo.TryAbort, "app-output", s.message(3, "value 3"))
			s.outputs(4, 5)
		}, KindTorn, "app-input-0@3", []string{"app-output-0@4", "app-output-0@6"}},
		"aborted read": {func(s *stored) {
			s.write(kgo.TryAbort, "app-input", s.message(6, "value 6"))
			s.outputs(0, 1, 2, 3, 4, 5)
			s.outputs(6)
		}, KindAbortedRead, "app-input-0@6", []string{"app-output-0@7"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 1, func(c *cluster) {
				t := c.t

				s := newStored(c)
				tt.do(s)
				v := c.start(*s.cfg)
				time.Sleep(8 * time.Second)
				status := c.finish(v, nil)
				if tt.kind == "" {
					if status.Verdict != Clean || status.Processed != 6 {
						t.Errorf("%+v", status)
					}
					return
				}
				if w := firstWitness(t, status, 1); w.Kind != tt.kind || w.Input != tt.input || !slices.Equal(w.Outputs, tt.output) {
					t.Errorf("%+v, want %s of %s by %s", w, tt.kind, tt.input, tt.output)
				}
			})
		})
	}
}

// TestHangingTransaction leaves a transaction open: the verdict is unknown as soon as it must be over, and names it.
func TestHangingTransaction(t *testing.T) {
	for name, look := range map[string]func(*Verifier) (Status, error){
		"seen to end":           func(v *Verifier) (Status, error) { time.Sleep(5 * time.Second); return v.Status(), nil },
		"over when all is over": func(v *Verifier) (Status, error) { return v.Finish(context.Background(), nil) },
	} {
		t.Run(name, func(t *testing.T) { hang(t, look) })
	}
}

// hang leaves a transaction open until it is noticed, ends it, and looks at what is made of it then.
func hang(t *testing.T, look func(*Verifier) (Status, error)) {
	t.Helper()
	inBubble(t, 1, func(c *cluster) {
		t := c.t

		cfg := c.configOf(variant{model: ModelPassthrough})
		cfg.TransactionTimeout = 5 * time.Second
		c.create(&cfg, 1)
		s := &stored{c: c, cfg: &cfg, cl: c.client(kgo.TransactionalID("app"), kgo.TransactionTimeout(10*time.Minute))}
		c.produceLog(cfg.Input, 0, []message{s.message(0, "value 0")})
		v := c.start(cfg)
		if err := s.cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := s.cl.ProduceSync(t.Context(), records("app-output", 0, []message{s.message(0, "value 0")})...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if s := v.Status(); s.Verdict != Clean {
			t.Errorf("it may still end: %+v", s)
		}
		time.Sleep(12 * time.Second)
		status := v.Status()
		if status.Verdict != Unknown || len(status.Witnesses) != 1 || status.Witnesses[0].Kind != KindHanging {
			t.Fatalf("%+v", status)
		}
		id, _, _ := s.cl.ProducerID(t.Context())
		reason := fmt.Sprintf("a transaction of producer id %d hangs at app-output-0@0, open for ", id)
		if !strings.HasPrefix(status.Reasons[0], reason) || !slices.Equal(status.Witnesses[0].Outputs, []string{"app-output-0@0"}) {
			t.Errorf("%+v, want %q", status, reason)
		}
		if err := s.cl.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
			t.Fatal(err)
		}
		if s, err := look(v); err != nil || s.Verdict != Clean || s.Processed != 1 {
			t.Errorf("it has ended: %+v, %v", s, err)
		}
	})
}

// TestStaleEpoch takes a record that an epoch wrote which had been fenced: no broker takes it, but a broken one has.
func TestStaleEpoch(t *testing.T) {
	var log transactions
	record := func(offset int64, epoch int16, control bool) *kgo.Record {
		r := &kgo.Record{Offset: offset, ProducerID: 5, ProducerEpoch: epoch}
		if control {
			r.Key = []byte{0, 0, 0, markerCommit}
		}
		return r
	}
	for _, r := range []*kgo.Record{record(0, 1, false), record(1, 2, false), record(2, 1, false), record(3, 2, false)} {
		log.take(r)
	}
	var stale []int64
	for _, r := range log.decided(nil, func(*kgo.Record) { t.Error("nothing is aborted") }) {
		if r.stale {
			stale = append(stale, r.Offset)
		}
	}
	if !slices.Equal(stale, []int64{2}) {
		t.Errorf("stale at %v, want 2", stale)
	}

	m := newPassthrough(testHash)
	m.Partitions(1, []int{1})
	j := &judge{}
	tr := newTracker(m, j, "app-input", []string{"app-output"}, []int64{0}, 0)
	for i := range int64(3) {
		tr.input(&inputRecord{offset: i, key: []byte("k"), value: pack(i), provenance: Provenance{Run: 7, Sequence: i}, hasHeader: true})
	}
	for i, seq := range []int64{0, 1, 0, 2} {
		tr.output(&outputRecord{
			offset: int64(i), key: []byte("k"), value: pack(seq), provenance: Provenance{Run: 7, Sequence: seq}, hasHeader: true,
			producerID: 5, epoch: int16(1), stale: i == 2,
		})
	}
	w := j.status().Witnesses
	if len(w) != 1 || w[0].Kind != KindZombieWrite || w[0].Input != "app-input-0@0" || !slices.Equal(w[0].Outputs, []string{"app-output-0@2"}) {
		t.Errorf("%+v", w)
	}
}
