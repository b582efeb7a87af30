package verify

import "slices"

// minRing is the smallest capacity of a backlog; a power of two.
const minRing = 256

// entry is an input whose outputs are not all seen yet, or that stands behind one of these. It holds no pointer, so
// that a long backlog costs the garbage collector nothing.
type entry struct {
	seq, offset int64
	next        int64 // number of the key's next entry, -1 = none yet
	key, run    int32 // run is an index into backlog.runs
	due         Bits  // owed and not seen
	open        Bits  // not decided yet whether owed
	seen        Bits
	lost        Bits // owed, declared lost
	facts       Facts
}

// place says where a sequence lies in relation to a backlog.
type place uint8

const (
	placeKnown  place = iota // the entry is there
	placeAhead               // no input that far has been seen
	placeBehind              // before the first entry: all effects of that input are settled
	placeAbsent              // between inputs that were seen: no such input
)

// backlog holds the inputs of one partition in the order of the log, from the first one that is not settled.
// Entries are named by a number that counts all inputs of the partition.
type backlog struct {
	ring       []entry // length is a power of two
	head, tail int64
	runs       []uint64 // in the order of their first input; usually one
	lastSeq    int64    // of the newest input, in the last run
	passed     int64    // offset below which every effect was seen
}

func newBacklog(start int64) *backlog {
	return &backlog{ring: make([]entry, minRing), passed: start}
}

func (b *backlog) at(n int64) *entry { return &b.ring[n&int64(len(b.ring)-1)] }

func (b *backlog) len() int64 { return b.tail - b.head }

// follows tells whether a provenance continues what was seen, and notes it if so. A generator numbers its records
// upwards, and generators do not share a topic at the same time, so anything else cannot be told apart later.
func (b *backlog) follows(run uint64, seq int64) bool {
	last := len(b.runs) - 1
	switch i := slices.Index(b.runs, run); {
	case i < 0:
		b.runs = append(b.runs, run)
	case i != last || seq <= b.lastSeq:
		return false
	}
	b.lastSeq = seq
	return true
}

// push appends an input and returns its number. Its run is the last one that follows has seen.
func (b *backlog) push(e entry) int64 {
	if b.len() == int64(len(b.ring)) {
		b.resize(2 * len(b.ring))
	}
	n := b.tail
	b.tail++
	*b.at(n) = e
	return n
}

// pop drops the first entry and gives memory back once the backlog has become short again.
func (b *backlog) pop() {
	b.head++
	if len(b.ring) > minRing && b.len() < int64(len(b.ring)/8) {
		b.resize(len(b.ring) / 2)
	}
}

func (b *backlog) resize(size int) {
	ring := make([]entry, size)
	for n := b.head; n < b.tail; n++ {
		ring[n&int64(size-1)] = *b.at(n)
	}
	b.ring = ring
}

// find returns the number of the entry with a provenance.
func (b *backlog) find(run uint64, seq int64) (int64, place) {
	last := len(b.runs) - 1
	r := slices.Index(b.runs, run)
	if r < 0 || r == last && seq > b.lastSeq {
		return 0, placeAhead
	}
	if b.head == b.tail || before(int32(r), seq, b.at(b.head)) {
		return 0, placeBehind
	}
	// Sequences are dense as a rule, so that the distance to the head is the place.
	if h := b.at(b.head); h.run == int32(r) {
		if n := b.head + seq - h.seq; n < b.tail {
			if e := b.at(n); e.seq == seq && e.run == int32(r) {
				return n, placeKnown
			}
		}
	}
	lo, hi := b.head, b.tail
	for lo < hi {
		if mid := lo + (hi-lo)/2; before(int32(r), seq, b.at(mid)) {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	if e := b.at(lo - 1); e.seq == seq && e.run == int32(r) {
		return lo - 1, placeKnown
	}
	return 0, placeAbsent
}

// before tells whether a run and sequence come before an entry.
func before(run int32, seq int64, e *entry) bool {
	return run < e.run || run == e.run && seq < e.seq
}
