package verify

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestMerged has transactions that hold what belongs to others, and wants the right kind and the exact places. The input holds six
// records at offsets 0 to 5.
func TestMerged(t *testing.T) {
	all := func(s *stored) { s.outputs(0, 1, 2); s.outputs(3, 4, 5) }
	tests := map[string]struct {
		do     func(s *stored)
		commit int64 // by the group; negative = it does not commit
		kinds  []string
		input  string // of the first witness
		output []string
	}{
		"nothing":            {all, 6, nil, "", nil},
		"nobody commits":     {all, -1, nil, "", nil},
		"offsets are ahead":  {func(s *stored) { s.outputs(0, 1, 2, 3, 4, 5) }, 6, nil, "", nil},
		"offsets are absent": {all, 3, []string{KindTorn}, "app-input-0@5", []string{"app-output-0@6"}},
		"offsets are short":  {all, 5, []string{KindMerged}, "app-input-0@5", []string{"app-output-0@6"}},
		"an aborted output joins the next transaction": {
			func(s *stored) { s.joins(); s.outputs(3, 4, 5) }, 6,
			[]string{KindMerged, KindDuplicate},
			"app-input-0@4",
			[]string{"app-output-0@6", "app-output-0@8"},
		},
		"it joins that which does all of it anew": {
			func(s *stored) {
				s.outputs(0, 1, 2)
				s.write(kgo.TryAbort, "app-output", s.message(3, "value 3"))
				s.outputs(4, 3, 4, 5)
			}, 6, []string{KindMerged, KindDuplicate}, "app-input-0@4", []string{"app-output-0@6", "app-output-0@7"},
		},
		"others have done it anew before": {
			func(s *stored) {
				s.outputs(0, 1, 2)
				s.write(kgo.TryAbort, "app-output", s.message(3, "value 3"))
				s.c.transaction(s.c.client(kgo.TransactionalID("other")), records("app-output", 0, []message{s.message(3, "value 3"), s.message(4, "value 4")}), kgo.TryCommit)
				s.outputs(4, 5)
			}, 6, []string{KindDuplicate}, "app-input-0@4", []string{"app-output-0@9"}, // the group may have given it the input once more
		},
		"a marker of a later transaction": {
			func(s *stored) { s.outputs(0, 1, 2); s.adopt(3, 4, 5) }, 6,
			[]string{KindMerged, KindMerged, KindMerged},
			"app-input-0@3",
			[]string{"app-output-0@4"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 1, func(c *cluster) {
				t := c.t

				s := newStored(c)
				s.cfg.Group = "app"
				tt.do(s)
				if tt.commit >= 0 {
					c.commitOffset(s.cfg.Input, 0, tt.commit)
				}
				v := c.start(*s.cfg)
				time.Sleep(8 * time.Second)
				status := c.finish(v, nil)
				var kinds []string
				for _, w := range status.Witnesses {
					kinds = append(kinds, w.Kind)
				}
				if !slices.Equal(kinds, tt.kinds) || (status.Verdict == Clean) != (len(tt.kinds) == 0) {
					t.Fatalf("want %v: %+v", tt.kinds, status)
				}
				if len(kinds) == 0 {
					return
				}
				if w := status.Witnesses[0]; w.Input != tt.input || !slices.Equal(w.Outputs, tt.output) || w.Transaction == "" {
					t.Errorf("%+v, want %s of %s by %s", w, tt.kinds[0], tt.input, tt.output)
				}
			})
		})
	}
}

// TestOffsetGoesBack commits an older offset of the group than before.
func TestOffsetGoesBack(t *testing.T) {
	inBubble(t, 1, func(c *cluster) {
		t := c.t

		s := newStored(c)
		s.cfg.Group = "app"
		v := c.start(*s.cfg)
		s.outputs(0, 1, 2, 3, 4, 5)
		c.commitOffset(s.cfg.Input, 0, 6)
		time.Sleep(3 * time.Second)
		if status := v.Status(); status.Verdict != Clean {
			t.Errorf("%+v", status)
		}
		c.commitOffset(s.cfg.Input, 0, 4)
		time.Sleep(3 * time.Second)
		status := c.finish(v, nil)
		w := firstWitness(t, status, 1)
		if w.Kind != KindZombieWrite || w.Input != "app-input-0@5" || !slices.Equal(w.Outputs, []string{"app-output-0@5"}) || !strings.Contains(w.Detail, "offset 4 after 6") {
			t.Errorf("%+v", w)
		}
	})
}

// adopt writes the outputs of some inputs in a transaction that nobody ends but a marker of a later one of the same producer.
func (s *stored) adopt(sequences ...int64) {
	s.c.t.Helper()
	s.cl = s.c.client(kgo.TransactionalID("adopted"))
	s.open(sequences...)
	id, epoch, err := s.cl.ProducerID(s.c.t.Context())
	if err != nil {
		s.c.t.Fatal(err)
	}
	var partitions kadm.TopicsSet
	partitions.Add("app-output", 0)
	marker := kadm.TxnMarkers{ProducerID: id, ProducerEpoch: epoch + 2, Commit: true, Topics: partitions}
	if _, err := kadm.NewClient(s.c.client()).WriteTxnMarkers(s.c.t.Context(), marker); err != nil {
		s.c.t.Fatal(err)
	}
}

// TestForeignEpochs takes logs of one producer as no broker writes them that is not broken, and as all do. A step is the epoch of a record,
// or of a marker.
func TestForeignEpochs(t *testing.T) {
	type step struct {
		epoch  int16
		marker string
	}
	write := func(epoch int16) step { return step{epoch, ""} }
	for name, tt := range map[string]struct {
		log     []step
		foreign []int64 // offsets
	}{
		"marker of the same epoch":          {[]step{write(1), write(1), {1, "commit"}}, nil},
		"marker of the next epoch":          {[]step{write(1), {2, "commit"}, write(2), {3, "commit"}}, nil},
		"marker of a later epoch":           {[]step{write(1), write(1), {3, "commit"}}, []int64{0, 1}},
		"aborted by a later epoch":          {[]step{write(1), {3, "abort"}}, nil},
		"later records join":                {[]step{write(1), write(2), {2, "commit"}}, []int64{0}},
		"later records join and are undone": {[]step{write(1), write(2), {2, "abort"}}, nil},
		"fenced before":                     {[]step{write(1), {2, "abort"}, write(1), {2, "commit"}}, nil}, // that is a zombie
	} {
		t.Run(name, func(t *testing.T) {
			var log transactions
			for i, s := range tt.log {
				r := &kgo.Record{Offset: int64(i), ProducerID: 5, ProducerEpoch: s.epoch}
				r.Attrs = kgo.NewRecordAttrs(kgo.RecordAttrsOpts{Transactional: true, Control: s.marker != ""})
				switch s.marker {
				case "commit":
					r.Key = []byte{0, 0, 0, markerCommit}
				case "abort":
					r.Key = []byte{0, 0, 0, markerAbort}
				}
				log.take(r)
			}
			var foreign []int64
			for _, r := range log.decided(nil, func(*kgo.Record) {}) {
				if r.foreign {
					foreign = append(foreign, r.Offset)
				}
			}
			if !slices.Equal(foreign, tt.foreign) {
				t.Errorf("foreign at %v, want %v", foreign, tt.foreign)
			}
		})
	}
}
