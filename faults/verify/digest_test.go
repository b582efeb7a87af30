package verify

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
	"time"
)

// TestDigest pins the definition.
func TestDigest(t *testing.T) {
	tb := make(table)
	tb.put([]byte("b"), []byte{1, 2})
	tb.put([]byte("a"), []byte{})
	tb.put([]byte("c"), []byte{9})
	tb.put([]byte("c"), nil)
	raw, err := hex.DecodeString("00000001" + "61" + "00000000" + "00000001" + "62" + "00000002" + "0102")
	if err != nil {
		t.Fatal(err)
	}
	if tb.digest() != sha256.Sum256(raw) || make(table).digest() != sha256.Sum256(nil) {
		t.Error("digest differs from its definition")
	}
}

func TestTableKeepsItsOwnValues(t *testing.T) {
	tb := make(table)
	v := []byte{1}
	tb.put([]byte("a"), v)
	v[0] = 2
	if tb["a"][0] != 1 {
		t.Error("the table shares a slice with the caller")
	}
}

func TestCompare(t *testing.T) {
	content := func(pairs ...string) table {
		tb := make(table)
		for i := 0; i < len(pairs); i += 2 {
			tb.put([]byte(pairs[i]), []byte(pairs[i+1]))
		}
		return tb
	}
	owner := func(tb table) *StoreDigest {
		return &StoreDigest{Task: "1_0", Sum: tb.digest(), Entries: int64(len(tb))}
	}
	ab := content("a", "1", "b", "2")
	tests := map[string]struct {
		c       comparison
		checked int64
		want    []string // parts of the witness's detail; nil = no finding
	}{
		"equal":                 {comparison{changelog: ab, model: ab, owner: owner(ab)}, 1, nil},
		"nothing to compare":    {comparison{changelog: ab}, 0, nil},
		"without owner":         {comparison{changelog: ab, model: ab}, 1, nil},
		"without model":         {comparison{changelog: ab, owner: owner(ab)}, 1, nil},
		"changelog lacks a key": {comparison{changelog: content("a", "1"), model: ab}, 1, []string{`key "b" is missing, want 32`}},
		"changelog has one more": {
			comparison{changelog: ab, model: content("a", "1")},
			1,
			[]string{`key "b" is 32, want none`},
		},
		"changelog differs": {
			comparison{changelog: content("a", "1", "b", "3"), model: ab, owner: owner(ab)},
			1,
			[]string{`changelog differs from the model: key "b" is 33, want 32`, "store of task 1_0 at position 0 (2 entries) differs from its changelog"},
		},
		"store differs": {
			comparison{changelog: ab, model: ab, owner: owner(content("a", "1"))},
			1,
			[]string{"(1 entries) differs from its changelog (2 entries)", "differs from the model"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.c.store, tt.c.topic = "store", "topic"
			j := &judge{}
			compare(j, []comparison{tt.c}, time.Time{})
			s := j.status()
			if s.Stores != 1 || s.DigestChecked != tt.checked || (s.DigestMismatch == 1) != (tt.want != nil) {
				t.Fatalf("%+v", s)
			}
			for _, part := range tt.want {
				if !strings.Contains(s.Witnesses[0].Detail, part) {
					t.Errorf("%q lacks %q", s.Witnesses[0].Detail, part)
				}
			}
		})
	}
}

// TestModelState compares the model's stores with those of the reference.
func TestModelState(t *testing.T) {
	r := built(3, 3000, 40)
	m := newSoak(Mode{}, testHash)
	tr := newTracker(m, &judge{}, "in", make([]string, 7), make([]int64, r.partitions), 0)
	for p, log := range r.inputs {
		for i := range log {
			tr.input(inputOf(p, i, &log[i]))
		}
	}
	for _, store := range m.Stores() {
		for p, want := range r.stores[store] {
			if d := split(m, store, r.partitions, testHash)[p].difference(want); d != "" {
				t.Errorf("%s partition %d: %s", store, p, d)
			}
		}
	}
}
