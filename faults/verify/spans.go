package verify

import "sort"

// maxSpans bounds the spans of a partition's inputs; a load that writes in transactions of a few records could make many.
const maxSpans = 1 << 16

// span is a row of inputs whose sequences and offsets both follow each other.
type span struct{ seq, offset, n int64 }

// spans says where in an input partition the sequences of a run are, committed ones only.
type spans struct {
	all  []span
	full bool // there were more
}

// add notes the next input; sequences rise.
func (s *spans) add(seq, offset int64) {
	if len(s.all) > 0 {
		last := &s.all[len(s.all)-1]
		if seq == last.seq+last.n && offset == last.offset+last.n {
			last.n++
			return
		}
		if seq < last.seq+last.n {
			return // it is there already
		}
	}
	if len(s.all) == maxSpans {
		s.full = true
		return
	}
	s.all = append(s.all, span{seq, offset, 1})
}

// offsetOf returns where a sequence is; false if it is not there.
func (s *spans) offsetOf(seq int64) (int64, bool) {
	i := sort.Search(len(s.all), func(i int) bool { return s.all[i].seq > seq }) - 1
	if i < 0 || seq >= s.all[i].seq+s.all[i].n {
		return 0, false
	}
	return s.all[i].offset + seq - s.all[i].seq, true
}

// first returns the first sequence that is known.
func (s *spans) first() int64 { return s.all[0].seq }

// count is the number of inputs.
func (s *spans) count() (n int64) {
	for _, x := range s.all {
		n += x.n
	}
	return n
}
