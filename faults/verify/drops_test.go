package verify

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestCachedDrops drops outputs in the middle, for which later ones stand: the total, which is made of them, shows it.
func TestCachedDrops(t *testing.T) {
	for range plays(50) {
		seed := newSeed()
		r := variant{ModelSoak, Mode{Cached: true}}.build(seed, 3, 1500, 20, false)
		s := r.pick("group-max", 10)
		input := r.inputOf(s)
		r.outputs[s.role][s.partition] = slices.Delete(r.outputs[s.role][s.partition], s.index, s.index+1)
		_, status := r.feed(feeding{seed: seed, outputBias: 0.7})
		if status.Verdict != Violation {
			t.Fatalf("seed %d: the output of %s is dropped: %+v", seed, input, status)
		}
	}
}

// TestAtLeastOnceWords drops what was written of the last line for a word, and everything that repeats it.
func TestAtLeastOnceWords(t *testing.T) {
	for _, cached := range []bool{false, true} {
		for range plays(50) {
			seed := newSeed()
			r := variant{ModelWordcount, Mode{Cached: cached, AtLeastOnce: true}}.build(seed, 3, 500, 20, false)
			if _, s := r.feed(feeding{seed: seed, outputBias: 0.5}); s.Verdict != Clean || s.In != s.Processed {
				t.Fatalf("seed %d: %+v", seed, s)
			}
			word := string(r.at(r.pick("counts", 0)).key)
			for p, log := range r.outputs["counts"] {
				r.outputs["counts"][p] = slices.DeleteFunc(log, func(m message) bool { return string(m.key) == word })
			}
			if _, s := r.feed(feeding{seed: seed, outputBias: 0.5, closing: seed%2 == 0}); s.Verdict != Violation || s.Lost == 0 {
				t.Fatalf("seed %d, cached %v: %q is lost: %+v", seed, cached, word, s)
			}
		}
	}
}

// TestAnonymousMutations damages runs without provenance.
func TestAnonymousMutations(t *testing.T) {
	for _, v := range variants() {
		if v.mode.AtLeastOnce {
			continue // without provenance a repetition hides what is lost
		}
		for _, role := range v.roles() {
			for _, name := range []string{"drop", "double", "alter", "rekey"} {
				t.Run(fmt.Sprintf("%s/%s/%s", v, role, name), func(t *testing.T) {
					for range plays(12) {
						seed := newSeed()
						r := v.build(seed, 3, 1500, 20, true)
						s := r.pick(role, int(seed%7))
						if s.index < 0 || !r.damage(name, s) {
							continue
						}
						_, status := r.feed(feeding{seed: seed, outputBias: 0.7, closing: seed%2 == 0})
						if status.Verdict != Violation {
							t.Fatalf("seed %d: verdict %s", seed, status.Verdict)
						}
						if len(status.Witnesses) > 6 {
							t.Fatalf("seed %d: %d witnesses: %+v", seed, len(status.Witnesses), status.Witnesses)
						}
					}
				})
			}
		}
	}
}

// damage does to an output what mutations do, without a look at its provenance. It returns false where nothing could be
// found.
func (r *reference) damage(name string, s spot) bool {
	log := &r.outputs[s.role][s.partition]
	m := (*log)[s.index]
	switch name {
	case "drop":
		if r.stream(s.role).Skips && !r.finalOfStore(s) {
			return false
		}
		if r.model == ModelSoak && s.role == "group-sum" {
			return false // which sums are shown depends on an order that nobody sees
		}
		*log = slices.Delete(*log, s.index, s.index+1)
	case "double":
		*log = append(*log, m)
		// A change may leave the maximum of a group as it is, and the same is true of all that a cached store holds but of a number of records.
		return s.role != "group-max" && (!r.eosTest() || !r.stream(s.role).Skips || s.role == "cnt")
	case "alter":
		(*log)[s.index].value = r.other(m.value)
	case "rekey":
		(*log)[s.index].key = []byte("another")
	}
	return true
}

// finalOfStore tells whether an output is the last of its key and shows what no other output shows.
func (r *reference) finalOfStore(s spot) bool {
	m, n := r.at(s), 0
	for i, o := range r.outputs[s.role][s.partition] {
		if string(o.key) != string(m.key) {
			continue
		}
		if i > s.index {
			return false
		}
		if bytes.Equal(o.value, m.value) {
			n++
		}
	}
	if tenths := r.model == ModelSoak && (strings.HasSuffix(s.role, "count") || strings.HasSuffix(s.role, "sum")); tenths {
		return false
	}
	return n == 1
}

func (r *reference) eosTest() bool { return r.model == ModelEosTest || r.model == ModelEosTestComplex }

// TestOrderWithoutKeys keeps records without a key in the order of their input partition within each output partition.
func TestOrderWithoutKeys(t *testing.T) {
	for range plays(50) {
		seed := newSeed()
		r := variant{model: ModelPassthrough}.build(seed, 3, 300, 5, false)
		log := r.outputs["output"][0]
		swapped := false
		for i := range log {
			for k := i + 1; k < len(log) && !swapped; k++ {
				a, _ := Decode(log[i].header)
				b, _ := Decode(log[k].header)
				if log[i].key == nil && log[k].key == nil && a.Partition == b.Partition {
					log[i], log[k] = log[k], log[i]
					swapped = true
				}
			}
		}
		_, s := r.feed(feeding{seed: seed, outputBias: 0.5})
		if swapped != (s.OutOfOrder > 0) || swapped != (s.Verdict == Violation) || s.Lost > 0 {
			t.Fatalf("seed %d, swapped %v: %+v", seed, swapped, s)
		}
	}
}

// TestLongLine has lines with very many words, of which each is an effect of its own.
func TestLongLine(t *testing.T) {
	r := newProgram(ModelWordcount, Mode{}, rand.New(rand.NewPCG(1, 0)), 2)
	var line []byte
	for i := range 20_000 {
		line = fmt.Appendf(line, "w%d ", i%15_000)
	}
	for i := range 3 {
		r.input(0, message{value: line, header: Provenance{Run: 1, Sequence: int64(i)}.Encode(), created: testStart})
	}
	r.run()
	checkClean(t, r, feeding{seed: 1, outputBias: 0.5})
}
