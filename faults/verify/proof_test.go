package verify

import (
	"fmt"
	"math/rand/v2"
	"slices"
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
		r.repeat = rng.Float64() * 0.2
	}
	r.generate(7, records, keys)
	r.run()
	return r
}

// TestNoFalseAlarm feeds correct runs in many orders.
func TestNoFalseAlarm(t *testing.T) {
	runs := 400
	if testing.Short() {
		runs = 40
	}
	for _, v := range variants() {
		for _, bare := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, bare %v", v, bare), func(t *testing.T) {
				for range runs {
					seed := rand.Uint64()
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
		if v.model != ModelSoak {
			continue
		}
		for range 100 {
			seed := rand.Uint64()
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
		seed := rand.Uint64()
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
		_, s := r.feed(feeding{seed: seed, outputBias: 0.5})
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

// finding is what a mutation must bring about: one of some kinds, with the records that prove it.
type finding struct {
	kinds         []string
	input, output string // empty = any
}

func (f finding) in(witnesses []Witness) bool {
	return slices.ContainsFunc(witnesses, func(w Witness) bool {
		return slices.Contains(f.kinds, w.Kind) && (f.input == "" || w.Input == f.input) &&
			(f.output == "" || slices.Contains(w.Outputs, f.output))
	})
}

// mutation damages one record of a correct run and says what must be found. A finding without kinds means that there is
// nothing to damage by chance, or nothing that could be found.
type mutation struct {
	name string
	do   func(*reference, spot) finding
}

func mutations() []mutation {
	return []mutation{
		{"drop", drop}, {"double", double}, {"alter", alter}, {"rekey", rekey}, {"swap", swap}, {"forge", forge}, {"strip", strip},
	}
}

// drop removes an output, under at_least_once with all its repetitions.
func drop(r *reference, s spot) finding {
	m := *r.at(s)
	want := finding{kinds: []string{KindLost}, input: r.inputOf(s)}
	switch {
	case r.mode.AtLeastOnce && r.model != ModelWordcount:
		for p, log := range r.outputs[s.role] {
			r.outputs[s.role][p] = slices.DeleteFunc(log, func(o message) bool { return string(o.header) == string(m.header) })
		}
		if r.mode.Cached && !r.lastOfKey(s.role, m) {
			return finding{}
		}
		return want
	case r.mode.Cached && r.model != ModelPassthrough && !r.final(s):
		return finding{} // a later output stands for it, see TestCachedDrops
	case r.mode.AtLeastOnce:
		return finding{} // what is processed again counts again, see TestAtLeastOnceWords
	}
	if r.mode.Cached && s.role != "count" && s.role != "sum" && s.role != "max" && r.model != ModelPassthrough {
		want.input = "" // the inputs of a group, and those of a word, stand for one another
		if s.role == "group-max" {
			want.kinds = append(want.kinds, KindWrongValue) // the total is made of more than was written
		}
	}
	log := &r.outputs[s.role][s.partition]
	*log = slices.Delete(*log, s.index, s.index+1)
	return want
}

// double appends an output once more.
func double(r *reference, s spot) finding {
	log := &r.outputs[s.role][s.partition]
	*log = append(*log, *r.at(s))
	if r.mode.AtLeastOnce {
		return finding{}
	}
	s.index = len(*log) - 1
	want := finding{kinds: []string{KindDuplicate}, output: s.output()}
	if r.mode.Cached && r.model == ModelWordcount {
		want.kinds = append(want.kinds, KindOutOfOrder) // a line that holds a word twice may have two outputs for it
	}
	return want
}

// alter changes a value by more than there is, such that a filter's rule still holds.
func alter(r *reference, s spot) finding {
	m := r.at(s)
	want := finding{[]string{KindWrongValue}, r.inputOf(s), s.output()}
	switch {
	case r.mode.AtLeastOnce && (r.repeats(s) || r.mode.Cached && r.model == ModelSoak):
		return finding{} // it may repeat one that was judged
	case r.model == ModelPassthrough:
		m.value = append(slices.Clone(m.value), 'x')
		return want
	case !r.mode.AtLeastOnce:
		m.value = pack(append([]int64{number(m.value) + 1<<40*10}, rest(m.value)...)...)
		return want
	case r.model == ModelSoak:
		m.value = pack(number(m.value)-1, number(m.value[8:])) // what is processed again can only be more
		for p, log := range r.outputs[s.role] {
			r.outputs[s.role][p] = slices.DeleteFunc(log, func(o message) bool {
				return string(o.header) == string(m.header) && string(o.value) != string(m.value)
			})
		}
		want.output = ""
		return want
	default:
		return finding{}
	}
}

// rest returns the numbers of a value behind the first.
func rest(value []byte) []int64 {
	var numbers []int64
	for value = value[8:]; len(value) >= 8; value = value[8:] {
		numbers = append(numbers, number(value))
	}
	return numbers
}

// rekey changes a key.
func rekey(r *reference, s spot) finding {
	want := finding{[]string{KindWrongValue}, r.inputOf(s), s.output()}
	r.at(s).key = []byte("another")
	if r.model == ModelWordcount {
		want.kinds, want.input = []string{KindUnexpected}, "" // it is another word
	}
	if r.mode.AtLeastOnce {
		want.kinds = append(want.kinds, KindUnexpected)
		if r.repeats(s) || r.mode.Cached && r.model == ModelSoak {
			return finding{} // it may repeat one that was judged
		}
	}
	return want
}

// repeats tells whether the input of an output has others on the stream.
func (r *reference) repeats(s spot) bool {
	n := 0
	for _, log := range r.outputs[s.role] {
		for _, m := range log {
			if string(m.header) == string(r.at(s).header) {
				n++
			}
		}
	}
	return n > 1
}

// swap exchanges two outputs whose order is kept: those of one input key, or word, or pair of partitions.
func swap(r *reference, s spot) finding {
	log := r.outputs[s.role][s.partition]
	for i := s.index; i > 0; i-- {
		for k := i - 1; k >= 0; k-- {
			a, _ := Decode(log[i].header)
			b, _ := Decode(log[k].header)
			if a == b || a.Partition != b.Partition || !r.sameUnit(&log[i], a, &log[k], b) {
				continue
			}
			want := finding{[]string{KindOutOfOrder}, r.inputOf(spot{s.role, s.partition, k}), spot{s.role, s.partition, i}.output()}
			log[i], log[k] = log[k], log[i]
			if r.mode.AtLeastOnce {
				return finding{}
			}
			if r.mode.Cached {
				want.input = ""
			}
			return want
		}
	}
	return finding{} // no two by chance
}

func (r *reference) sameUnit(x *message, a Provenance, y *message, b Provenance) bool {
	switch r.model {
	case ModelWordcount:
		return string(x.key) == string(y.key)
	case ModelPassthrough:
		return (x.key == nil) == (y.key == nil)
	default:
		return string(r.inputs[a.Partition][a.Sequence].key) == string(r.inputs[b.Partition][b.Sequence].key)
	}
}

// forge appends an output of an input that does not exist.
func forge(r *reference, s spot) finding {
	m := *r.at(s)
	m.header = Provenance{Run: 99, Partition: 0, Sequence: 3}.Encode()
	log := &r.outputs[s.role][s.partition]
	*log = append(*log, m)
	s.index = len(*log) - 1
	return finding{kinds: []string{KindUnexpected}, output: s.output()}
}

// strip removes the provenance of an output.
func strip(r *reference, s spot) finding {
	r.at(s).header = nil
	return finding{kinds: []string{KindUnexpected}, output: s.output()}
}

// lastOfKey tells whether the input of an output is the last of its key.
func (r *reference) lastOfKey(role string, m message) bool {
	a, _ := Decode(m.header)
	log := r.inputs[a.Partition]
	for _, later := range log[a.Sequence+1:] {
		if string(later.key) == string(log[a.Sequence].key) && len(later.value) >= 8 {
			return false
		}
	}
	return role != ""
}

// final tells whether an output shows what the store holds at last, so that no later one stands for it.
func (r *reference) final(s spot) bool {
	m := r.at(s)
	for store, forward := range map[string]string{
		storeCount: "count", storeSum: "sum", storeMax: "max", storeGroupCount: "group-count", storeGroupSum: "group-sum",
		storeGroupMax: "group-max", storeTotal: "total", storeWords: "counts",
	} {
		if forward != s.role || r.stores[store] == nil {
			continue
		}
		for _, t := range r.stores[store] {
			if v, ok := t[string(m.key)]; ok && number(v) == number(m.value) {
				for _, later := range r.outputs[s.role][s.partition][s.index+1:] {
					if string(later.key) == string(m.key) {
						return false
					}
				}
				return s.role == "group-max" || s.role == "total" || s.role == "counts" || s.role == "group-count" || s.role == "group-sum" || r.lastOfKey(s.role, *m)
			}
		}
	}
	return false
}

// TestMutations damages one record of a correct run and expects that it is found, with the records that prove it.
func TestMutations(t *testing.T) {
	for _, v := range variants() {
		for _, role := range v.roles() {
			for _, mutation := range mutations() {
				t.Run(fmt.Sprintf("%s/%s/%s", v, role, mutation.name), func(t *testing.T) {
					found := 0
					for range 12 {
						seed := rand.Uint64()
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

// TestCachedDrops drops outputs in the middle, for which later ones stand: what they moved is missed all the same.
func TestCachedDrops(t *testing.T) {
	for _, role := range []string{"max", "group-max"} {
		t.Run(role, func(t *testing.T) {
			for range 20 {
				seed := rand.Uint64()
				r := variant{ModelSoak, Mode{Cached: true}}.build(seed, 3, 1500, 20, false)
				s := r.pick(role, 10)
				// One that has moved the maximum, and has gone on.
				for s.index > 0 && role == "max" && number(r.at(s).value[8:]) == 0 {
					s.index--
				}
				input := r.inputOf(s)
				r.outputs[role][s.partition] = slices.Delete(r.outputs[role][s.partition], s.index, s.index+1)
				_, status := r.feed(feeding{seed: seed, outputBias: 0.7})
				if status.Verdict != Violation {
					t.Fatalf("seed %d: the output of %s is dropped: %+v", seed, input, status)
				}
			}
		})
	}
}

// TestAtLeastOnceWords drops what was written of the last line for a word, and everything that repeats it.
func TestAtLeastOnceWords(t *testing.T) {
	for _, cached := range []bool{false, true} {
		for range 50 {
			seed := rand.Uint64()
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
					for range 12 {
						seed := rand.Uint64()
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
		if r.mode.Cached && r.model != ModelPassthrough && !r.finalOfStore(s) {
			return false
		}
		if r.model == ModelSoak && s.role == "group-sum" {
			return false // which sums are shown depends on an order that nobody sees
		}
		*log = slices.Delete(*log, s.index, s.index+1)
	case "double":
		*log = append(*log, m)
		// A maximum may come out of the cache, or change a group, and be the same.
		return s.role != "group-max" && (s.role != "max" || !r.mode.Cached)
	case "alter":
		if r.model == ModelPassthrough {
			(*log)[s.index].value = append(slices.Clone(m.value), 'x')
			break
		}
		(*log)[s.index].value = pack(append([]int64{number(m.value) + 1<<40*10}, rest(m.value)...)...)
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
		if number(o.value) == number(m.value) {
			n++
		}
	}
	for store, role := range map[string]string{
		storeMax: "max", storeGroupMax: "group-max", storeTotal: "total", storeWords: "counts",
	} {
		if role == s.role && r.stores[store] != nil {
			return n == 1
		}
	}
	return false
}

// TestOrderWithoutKeys keeps records without a key in the order of their input partition within each output partition.
func TestOrderWithoutKeys(t *testing.T) {
	for range 50 {
		seed := rand.Uint64()
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
