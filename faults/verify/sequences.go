package verify

// chunkBits is how many sequences share a chunk.
const chunkBits = 4096

// sequences is a set of the sequences of one run and input partition. A chunk of which all are in costs next to nothing, others a bit
// for each sequence.
type sequences struct {
	chunks map[int64]*chunk // a nil one is full
	count  int64
}

type chunk struct {
	bits [chunkBits / 64]uint64
	n    int
}

// add adds a sequence; it returns false if it was in.
func (s *sequences) add(n int64) bool {
	if s.has(n) {
		return false
	}
	at, bit := n/chunkBits, n%chunkBits
	c := s.chunks[at]
	if c == nil {
		if s.chunks == nil {
			s.chunks = make(map[int64]*chunk)
		}
		c = &chunk{}
		s.chunks[at] = c
	}
	c.bits[bit/64] |= 1 << (bit % 64)
	s.count++
	if c.n++; c.n == chunkBits {
		s.chunks[at] = nil
	}
	return true
}

// has tells whether a sequence is in.
func (s *sequences) has(n int64) bool {
	c, ok := s.chunks[n/chunkBits]
	if c == nil {
		return ok
	}
	bit := n % chunkBits
	return c.bits[bit/64]&(1<<(bit%64)) != 0
}
