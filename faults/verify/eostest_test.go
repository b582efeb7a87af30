package verify

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// eosTestVariants are the ways in which the eostest programs may run.
func eosTestVariants() []variant {
	var all []variant
	for _, v := range variants() {
		if strings.HasPrefix(v.model, ModelEosTest) {
			all = append(all, v)
		}
	}
	return all
}

// TestAnotherPartitioner has inputs where somebody else's partitioner puts them: stores lie there, outputs where their keys belong.
func TestAnotherPartitioner(t *testing.T) {
	for _, v := range eosTestVariants() {
		for _, bare := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, bare %v", v, bare), func(t *testing.T) {
				for range plays(30) {
					seed := newSeed()
					r := newProgram(v.model, v.mode, rand.New(rand.NewPCG(seed, 0)), 4)
					r.bare, r.strewn = bare, true
					if v.mode.AtLeastOnce {
						r.repeat = 0.1
					}
					r.generate(7, 400, 30)
					r.run()
					checkClean(t, r, feeding{seed: seed, outputBias: 0.5, closing: seed%2 == 0})
				}
			})
		}
	}
}

// TestRareFlushes has many more inputs of a key between two outputs than are looked through without a cache.
func TestRareFlushes(t *testing.T) {
	for _, v := range eosTestVariants() {
		if !v.mode.Cached {
			continue
		}
		for _, bare := range []bool{false, true} {
			seed := newSeed()
			r := newProgram(v.model, v.mode, rand.New(rand.NewPCG(seed, 0)), 1)
			r.bare, r.evict = bare, 0
			for range 3 {
				r.generate(7, 5*maxLook, 1)
				for sub := range r.hops {
					for _, m := range r.hops[sub][0][r.taken[sub][0]:] {
						r.taken[sub][0]++
						r.step(r, sub, 0, m)
					}
					r.commit(sub, 0)
				}
				if !bare {
					break // a run begins its sequence anew
				}
			}
			checkClean(t, r, feeding{seed: seed, outputBias: 0.5})
		}
	}
}

// TestInputsOfAnotherKind has keys and values that the eostest programs do not take.
func TestInputsOfAnotherKind(t *testing.T) {
	m := newEosTest(Mode{}, true)
	for _, in := range []struct{ key, value []byte }{{nil, []byte("four")}, {[]byte("k"), nil}, {[]byte("k"), []byte("3")}, {[]byte("k"), make([]byte, 8)}} {
		if effects := m.Apply(0, in.key, in.value, nil); len(effects) > 0 {
			t.Errorf("%q %q: %+v", in.key, in.value, effects)
		}
	}
	if effects := m.Apply(0, []byte{}, []byte("four"), nil); len(effects) != 1 {
		t.Errorf("an empty key is one, too: %+v", effects)
	}
}

// TestAtLeastOnceMaxima drops outputs of a cached store that records reach which are written again, in any order: those of a key, or
// those that show its maximum.
func TestAtLeastOnceMaxima(t *testing.T) {
	for _, role := range []string{"max", "cnt"} {
		for range plays(50) {
			seed := newSeed()
			r := variant{ModelEosTestComplex, Mode{Cached: true, AtLeastOnce: true}}.build(seed, 3, 500, 20, seed%3 == 0)
			last := *r.at(r.pick(role, 0))
			// A former owner's late writes may come behind the maximum.
			for _, log := range r.outputs[role] {
				for _, m := range log {
					if role == "max" && string(m.key) == string(last.key) && eosNumber(m.value) > eosNumber(last.value) {
						last = m
					}
				}
			}
			for p, log := range r.outputs[role] {
				r.outputs[role][p] = slices.DeleteFunc(log, func(m message) bool {
					return string(m.key) == string(last.key) && (seed%2 == 0 || role == "cnt" || bytes.Equal(m.value, last.value))
				})
			}
			if _, s := r.feed(feeding{seed: seed, outputBias: 0.5, closing: seed%5 == 0}); s.Verdict != Violation || s.Lost == 0 {
				t.Fatalf("seed %d: %s of %q is lost: %+v", seed, role, last.key, s)
			}
		}
	}
}
