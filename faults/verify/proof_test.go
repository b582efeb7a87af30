package verify

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// variant is a program in one of the ways in which it may run.
type variant struct {
	model string
	mode  Mode
}

func (v variant) String() string {
	name := v.model
	if v.mode.Cached {
		name += " cached"
	}
	if v.mode.AtLeastOnce {
		name += " at least once"
	}
	return name
}

func variants() []variant {
	var all []variant
	for _, model := range Models() {
		for _, atLeastOnce := range []bool{false, true} {
			for _, cached := range []bool{false, true} {
				all = append(all, variant{model, Mode{Cached: cached, AtLeastOnce: atLeastOnce}})
			}
		}
	}
	return all
}

// roles returns the streams that are judged.
func (v variant) roles() []string {
	m, err := newModel(v.model, v.mode, testHash)
	if err != nil {
		panic(err)
	}
	var roles []string
	for _, s := range m.Streams() {
		if s.Always || !v.mode.AtLeastOnce {
			roles = append(roles, s.Role)
		}
	}
	return roles
}

// build returns a reference that has processed some inputs, and under at_least_once some of them again.
func (v variant) build(seed uint64, partitions, records, keys int, bare bool) *reference {
	rng := rand.New(rand.NewPCG(seed, 0))
	r := newProgram(v.model, v.mode, rng, partitions)
	r.bare, r.evict = bare, rng.Float64()*0.1
	if v.mode.AtLeastOnce {
		r.repeat, r.stale = rng.Float64()*0.2, rng.Float64()*0.1
	}
	r.generate(7, records, keys)
	r.run()
	return r
}

// TestNoFalseAlarm feeds correct runs in many orders.
func TestNoFalseAlarm(t *testing.T) {
	runs := 150
	if testing.Short() {
		runs = 40
	}
	for _, v := range variants() {
		for _, bare := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, bare %v", v, bare), func(t *testing.T) {
				for range plays(runs) {
					seed := newSeed()
					rng := rand.New(rand.NewPCG(seed, 2))
					r := v.build(seed, 1+rng.IntN(6), rng.IntN(800), 1+rng.IntN(60), bare)
					checkClean(t, r, feeding{seed: seed, outputBias: rng.Float64(), closing: rng.IntN(3) > 0})
				}
			})
		}
	}
}

// TestAnyAmounts has amounts that are negative, and so great that sums wrap around.
func TestAnyAmounts(t *testing.T) {
	for _, v := range variants() {
		if v.model == ModelPassthrough || v.model == ModelWordcount {
			continue
		}
		for range plays(100) {
			seed := newSeed()
			r := newProgram(v.model, v.mode, rand.New(rand.NewPCG(seed, 0)), 3)
			r.wild, r.bare = true, seed%3 == 0
			r.generate(7, 300, 40)
			r.run()
			checkClean(t, r, feeding{seed: seed, outputBias: 0.5, closing: seed%2 == 0})
		}
	}
}

// TestKeyInSeveralPartitions cannot know how the records of a key are processed, and says so.
func TestKeyInSeveralPartitions(t *testing.T) {
	for _, header := range []bool{true, false} {
		seed := newSeed()
		r := variant{model: ModelSoak}.build(seed, 3, 0, 1, false)
		for i := range int64(100) {
			for p := range int32(2) {
				m := message{value: pack(i), header: Provenance{Run: 7, Partition: p, Sequence: i}.Encode(), created: testStart}
				if !header {
					m.header = nil
				}
				r.input(p, m)
			}
		}
		r.run()
		_, s := r.feed(feeding{seed: seed}) // inputs first: before they are read nobody can know
		if s.Verdict != Unknown || !strings.Contains(s.Reasons[0], "is in several partitions") {
			t.Errorf("seed %d: %+v", seed, s)
		}
	}
}

// checkClean feeds a run and expects that nothing is found, and nothing is left.
func checkClean(t *testing.T, r *reference, f feeding) {
	t.Helper()
	tr, s := r.feed(f)
	if s.Verdict != Clean || s.Lag != 0 || s.In != s.Processed || tr.held != 0 {
		t.Fatalf("seed %d: %d held, %+v", f.seed, tr.held, s)
	}
	for p, b := range tr.backlogs {
		if b.len() != 0 {
			t.Fatalf("seed %d: %d entries are left on partition %d", f.seed, b.len(), p)
		}
	}
	if len(tr.missing) != 0 {
		t.Fatalf("seed %d: %d remembered", f.seed, len(tr.missing))
	}
	if r.mode.AtLeastOnce {
		return
	}
	for store, tables := range r.stores {
		for p, want := range tables {
			if d := split(tr.model, store, r.partitions, testHash)[p].difference(want); d != "" {
				t.Fatalf("seed %d: %s partition %d: model %s", f.seed, store, p, d)
			}
		}
	}
}

// TestMutations damages one record of a correct run and expects that it is found, with the records that prove it.
func TestMutations(t *testing.T) {
	for _, v := range variants() {
		for _, role := range v.roles() {
			for _, mutation := range mutations() {
				t.Run(fmt.Sprintf("%s/%s/%s", v, role, mutation.name), func(t *testing.T) {
					found := 0
					for range plays(12) {
						seed := newSeed()
						r := v.build(seed, 3, 1500, 20, false)
						s := r.pick(role, int(seed%7))
						if s.index < 0 {
							continue
						}
						want := mutation.do(r, s)
						_, status := r.feed(feeding{seed: seed, outputBias: 0.7, closing: seed%2 == 0})
						if len(want.kinds) == 0 {
							if mutation.name == "double" && (status.Verdict != Clean || status.Duplicated == 0) {
								t.Fatalf("seed %d: doubled at least once: %+v", seed, status)
							}
							continue
						}
						found++
						if status.Verdict != Violation || !want.in(status.Witnesses) {
							t.Fatalf("seed %d: want %+v, verdict %s with %+v", seed, want, status.Verdict, status.Witnesses)
						}
						// One fault may show at a few places, but must not drag a tail of others behind it.
						if len(status.Witnesses) > 6 {
							t.Fatalf("seed %d: %d witnesses: %+v", seed, len(status.Witnesses), status.Witnesses)
						}
					}
					if found == 0 && !v.mode.AtLeastOnce {
						t.Log("nothing to find")
					}
				})
			}
		}
	}
}
