package verify

import "slices"

// minRing is the smallest capacity of a backlog; a power of two.
const minRing = 256

// entry is an effect of an input whose outputs are not all seen yet, or that stands behind one of these. It holds no
// pointer, so that a long backlog costs the garbage collector nothing. An input without effects has one entry, which
// owes nothing; of several effects each has its own, sorted by unit.
type entry struct {
	Effect
	seq, offset int64 // of the input
	next        int64 // number of the unit's next entry, -1 = none yet
	run         int32 // index into backlog.runs
	nth         int32 // place among the entries of the input
	width, rest int32 // first entry of the input only: its entries, and how many of them are not settled
	seen        Bits
	lost        Bits // owed, declared lost
	skipped     Bits // owed, a later output stands for it
	settled     bool // owes nothing any more
	spoiled     bool // first entry of the input only: something of it was lost
}

// place says where a sequence lies in relation to a backlog.
type place uint8

const (
	placeKnown  place = iota // the entry is there
	placeAhead               // no input that far has been seen
	placeBehind              // before the first entry: all effects of that input are settled
	placeAbsent              // between inputs that were seen: no such input
)

// backlog holds the effects of the inputs of one partition in the order of the log, from the first input that is not
// settled. Entries are named by a number that counts all entries of the partition.
type backlog struct {
	partition  int32
	ring       []entry // length is a power of two
	head, tail int64
	runs       []uint64 // in the order of their first input; usually one
	shifts     []shift  // by run
	lastSeq    int64    // of the newest input, in the last run
	next       int64    // offset behind the newest input
	passed     int64    // offset below which every effect was seen
}

func newBacklog(partition int32, start int64) *backlog {
	return &backlog{partition: partition, ring: make([]entry, minRing), next: start, passed: start}
}

func (b *backlog) at(n int64) *entry { return &b.ring[n&int64(len(b.ring)-1)] }

func (b *backlog) len() int64 { return b.tail - b.head }

// follows tells whether the provenance of the input at an offset continues what was seen, and notes it if so. A generator numbers its records
// upwards, and generators do not share a topic at the same time, so anything else cannot be told apart later.
func (b *backlog) follows(run uint64, seq, offset int64) bool {
	last := len(b.runs) - 1
	switch i := slices.Index(b.runs, run); {
	case i < 0:
		b.runs, b.shifts = append(b.runs, run), append(b.shifts, shift{offset - seq, true})
	case i != last || seq <= b.lastSeq:
		return false
	}
	b.lastSeq = seq
	s := &b.shifts[len(b.shifts)-1]
	s.even = s.even && s.by == offset-seq
	return true
}

// shift is the distance from sequences to offsets in a run, as long as it is the same for all.
type shift struct {
	by   int64
	even bool
}

// offsetOf returns the offset of an input that may be forgotten; false if it is not known.
func (b *backlog) offsetOf(run uint64, seq int64) (int64, bool) {
	if n, where := b.find(run, seq); where == placeKnown {
		return b.at(n).offset, true
	}
	i := slices.Index(b.runs, run)
	if i < 0 || !b.shifts[i].even {
		return 0, false
	}
	return seq + b.shifts[i].by, true
}

// push appends an entry and returns its number.
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

// find returns the number of the first entry of the input with a provenance.
func (b *backlog) find(run uint64, seq int64) (int64, place) {
	last := len(b.runs) - 1
	r := slices.Index(b.runs, run)
	if r < 0 || r == last && seq > b.lastSeq {
		return 0, placeAhead
	}
	if b.head == b.tail || before(int32(r), seq, b.at(b.head)) {
		return 0, placeBehind
	}
	// Where each input has one effect, sequences are dense as a rule, so that the distance to the head is the place.
	if h := b.at(b.head); h.run == int32(r) {
		if n := b.head + seq - h.seq; n < b.tail {
			if e := b.at(n); e.seq == seq && e.run == int32(r) {
				return n - int64(e.nth), placeKnown
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
		return lo - 1 - int64(e.nth), placeKnown
	}
	return 0, placeAbsent
}

// before tells whether a run and sequence come before an entry.
func before(run int32, seq int64, e *entry) bool {
	return run < e.run || run == e.run && seq < e.seq
}

// ofUnit returns the number of the entry of a unit among those of an input, whose first entry is given.
func (b *backlog) ofUnit(first int64, unit int32) (int64, bool) {
	if unit == noUnit {
		return first, true
	}
	lo, hi := first, first+int64(b.at(first).width)
	for lo < hi {
		if mid := lo + (hi-lo)/2; b.at(mid).Unit < unit {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, lo < first+int64(b.at(first).width) && b.at(lo).Unit == unit
}
