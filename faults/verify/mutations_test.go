package verify

import (
	"bytes"
	"encoding/binary"
	"slices"
)

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
		{"drop", drop},
		{"double", double},
		{"alter", alter},
		{"rekey", rekey},
		{"swap", swap},
		{"forge", forge},
		{"claim", claim},
		{"strip", strip},
	}
}

// drop removes an output, under at_least_once with all its repetitions.
func drop(r *reference, s spot) finding {
	m := *r.at(s)
	want := finding{kinds: []string{KindLost}, input: r.inputOf(s)}
	switch {
	case r.stream(s.role).Skips && !r.final(s):
		return finding{} // a later output stands for it, see TestCachedDrops
	case r.mode.AtLeastOnce && r.stream(s.role).Shared:
		return finding{} // see TestAtLeastOnceWords and TestAtLeastOnceMaxima
	case r.mode.AtLeastOnce && r.model != ModelWordcount:
		for p, log := range r.outputs[s.role] {
			r.outputs[s.role][p] = slices.DeleteFunc(log, func(o message) bool { return string(o.header) == string(m.header) })
		}
		return want
	case r.mode.AtLeastOnce:
		return finding{} // what is processed again counts again, see TestAtLeastOnceWords
	}
	if r.stream(s.role).Shared {
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
	case r.mode.AtLeastOnce && (r.repeats(s) || r.model == ModelSoak || r.storeOf(s.role) != ""):
		return finding{} // it may repeat one that was judged, or what is processed again has changed it
	default:
		m.value = r.other(m.value)
		return want
	}
}

// other returns a value that no output has, such that a filter's rule still holds.
func (r *reference) other(value []byte) []byte {
	switch {
	case r.model == ModelPassthrough:
		return append(slices.Clone(value), 'x')
	case len(value) == 4:
		return binary.BigEndian.AppendUint32(nil, binary.BigEndian.Uint32(value)^1<<30)
	default:
		return pack(append([]int64{number(value) + 1<<40*10}, rest(value)...)...)
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
		if r.repeats(s) {
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

// claim appends an output of an input that has no effect.
func claim(r *reference, s spot) finding {
	if r.model == ModelPassthrough {
		return finding{} // there every input has one
	}
	owing := make(map[string]bool)
	for _, logs := range r.outputs {
		for _, log := range logs {
			for _, m := range log {
				owing[string(m.header)] = true
			}
		}
	}
	m := *r.at(s)
	for _, log := range r.inputs {
		for _, input := range log {
			if owing[string(input.header)] || input.header == nil || r.model == ModelWordcount && len(bytes.Trim(input.value, " .")) > 0 {
				continue
			}
			m.header = input.header
			out := &r.outputs[s.role][s.partition]
			*out = append(*out, m)
			s.index = len(*out) - 1
			return finding{kinds: []string{KindUnexpected}, output: s.output()}
		}
	}
	return finding{} // none by chance
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
	for _, t := range r.stores[r.storeOf(s.role)] {
		if v, ok := t[string(m.key)]; ok && bytes.Equal(v, m.value) {
			for _, later := range r.outputs[s.role][s.partition][s.index+1:] {
				if string(later.key) == string(m.key) {
					return false
				}
			}
			return r.model != ModelSoak || r.stream(s.role).Shared || r.lastOfKey(s.role, *m)
		}
	}
	return false
}

// storeOf returns the store that a stream shows, empty if there is none.
func (r *reference) storeOf(role string) string {
	for store, shown := range r.roles {
		if shown == role {
			return store
		}
	}
	return ""
}

// stream returns what the model says of a stream.
func (r *reference) stream(role string) Stream {
	streams := r.newModel().Streams()
	return streams[slices.IndexFunc(streams, func(s Stream) bool { return s.Role == role })]
}
