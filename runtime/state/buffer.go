package state

import (
	"encoding/binary"
	"slices"
)

// timestampBytes is the length of the timestamp in front of each stored value.
const timestampBytes = 8

// entryOverhead is what an entry costs in memory besides its key and value: the struct, its slot in the map and the ring.
const entryOverhead = 176

// prior is what is known of a changed entry's committed state.
type prior uint8

const (
	priorUnknown prior = iota
	priorAbsent
	priorPresent
)

// entry is one key in memory: changed by the open transaction (dirty), or a copy of what Pebble holds (clean). Also that a key does not
// exist is kept, since an aggregate asks for each new key before it writes it.
type entry struct {
	key     string
	cell    []byte // timestamp and value; of no meaning unless present
	present bool
	dirty   bool

	prior      prior // of a dirty entry: the committed state,
	priorBytes int64 // and how much it counts; both are needed to keep the counts of the store exact

	slot   int  // of a clean entry: its place in the ring
	recent bool // of a clean entry: it was asked for since the hand passed
}

func (e *entry) value() []byte { return e.cell[timestampBytes:len(e.cell):len(e.cell)] }

func (e *entry) timestamp() int64 { return int64(binary.BigEndian.Uint64(e.cell)) }

// size is what the entry counts towards the bytes of its store.
func (e *entry) size() int64 {
	if !e.present {
		return 0
	}
	return int64(len(e.key) + len(e.cell) - timestampBytes)
}

func (e *entry) cost() int64 { return int64(len(e.key)+cap(e.cell)) + entryOverhead }

func (e *entry) set(value []byte, timestamp int64) {
	e.present = true
	e.cell = binary.BigEndian.AppendUint64(e.cell[:0], uint64(timestamp))
	e.cell = append(e.cell, value...)
}

// buffer is the open transaction's writes and, in front of Pebble, a bounded cache of clean entries. The clean ones stand in a ring that
// is evicted by the clock rule: an entry that was used since the hand last passed gets another round.
type buffer struct {
	entries map[string]*entry
	dirty   []*entry // in the order of their first change
	index   ordered[*entry]
	indexed bool // the index holds the dirty entries; a transaction that scans nothing does without
	ring    []*entry
	hand    int
	cost    int64 // of the clean entries
	budget  int64
}

func newBuffer(budget int64) buffer {
	return buffer{entries: map[string]*entry{}, budget: budget}
}

func (b *buffer) get(key []byte) *entry {
	e := b.entries[string(key)]
	if e != nil {
		e.recent = true
	}
	return e
}

// admit remembers what Pebble said about a key. The new entry outlives this call whatever the budget, so that the write which follows
// a read finds it.
func (b *buffer) admit(key, cell []byte, present bool) *entry {
	e := &entry{key: string(key), present: present}
	if present {
		e.cell = append(e.cell, cell...)
	}
	b.evict(b.budget - e.cost())
	b.entries[e.key] = e
	b.enter(e)
	return e
}

// touch returns the entry of a key that is about to be changed.
func (b *buffer) touch(key []byte) *entry {
	e := b.entries[string(key)]
	switch {
	case e == nil:
		e = &entry{key: string(key)}
		b.entries[e.key] = e
	case e.dirty:
		return e
	default:
		b.leave(e)
		e.prior, e.priorBytes = priorAbsent, 0
		if e.present {
			e.prior, e.priorBytes = priorPresent, e.size()
		}
	}
	e.dirty = true
	b.dirty = append(b.dirty, e)
	if b.indexed {
		b.index.insert(e.key, e)
	}
	return e
}

// changed returns the dirty entries within the bounds in key order, or in reverse.
func (b *buffer) changed(within bounds, reverse bool) []*entry {
	if !b.indexed && len(b.dirty) > 0 {
		for _, e := range b.dirty {
			b.index.insert(e.key, e)
		}
		b.indexed = true
	}
	var found []*entry
	b.index.ascend(within, func(_ string, e *entry) bool {
		found = append(found, e)
		return true
	})
	if reverse {
		slices.Reverse(found)
	}
	return found
}

// committed turns the dirty entries into clean ones.
func (b *buffer) committed() {
	for _, e := range b.dirty {
		e.dirty, e.prior, e.priorBytes = false, priorUnknown, 0
		e.recent = true
		b.enter(e)
	}
	b.forget()
	b.evict(b.budget)
}

// abort drops the dirty entries. What they covered is read from Pebble again.
func (b *buffer) abort() {
	for _, e := range b.dirty {
		delete(b.entries, e.key)
	}
	b.forget()
}

// reset drops everything.
func (b *buffer) reset() {
	*b = newBuffer(b.budget)
}

// forget empties the list of dirty entries without keeping them alive.
func (b *buffer) forget() {
	clear(b.dirty)
	b.dirty = b.dirty[:0]
	if b.indexed {
		b.index.clear()
		b.indexed = false
	}
}

func (b *buffer) enter(e *entry) {
	e.slot = len(b.ring)
	b.ring = append(b.ring, e)
	b.cost += e.cost()
}

func (b *buffer) leave(e *entry) {
	last := len(b.ring) - 1
	b.ring[e.slot] = b.ring[last]
	b.ring[e.slot].slot = e.slot
	b.ring[last] = nil
	b.ring = b.ring[:last]
	b.cost -= e.cost()
}

func (b *buffer) evict(budget int64) {
	for b.cost > budget && len(b.ring) > 0 {
		if b.hand >= len(b.ring) {
			b.hand = 0
		}
		e := b.ring[b.hand]
		if e.recent && budget > 0 {
			e.recent = false
			b.hand++
			continue
		}
		b.leave(e)
		delete(b.entries, e.key)
	}
}
