package state

import "crypto/sha256"

// MemoryStore is a [KeyValue] in memory. It is empty each time it is opened, so its changelog is restored from the beginning; a task that changes
// from active to standby and back within the process hands the store itself over. Values that Get returned stay as they are.
type MemoryStore struct {
	handle
	eager   bool
	entries map[string]*memoryEntry
	index   ordered[*memoryEntry]
	dirty   []*memoryEntry
	meta    meta
}

var _ KeyValue = (*MemoryStore)(nil)

// memoryEntry is one key with its committed cell and, while it is dirty, what the open transaction made of it. One of the two is present.
type memoryEntry struct {
	key       string
	committed cell
	changed   cell
	dirty     bool
}

// cell is a value with its timestamp.
type cell struct {
	value     []byte // never changed, only replaced
	timestamp int64
	present   bool
}

func (e *memoryEntry) view() cell {
	if e.dirty {
		return e.changed
	}
	return e.committed
}

func (s *MemoryStore) reset() {
	s.entries, s.dirty = map[string]*memoryEntry{}, nil
	s.index.clear()
	s.setMeta(emptyMeta)
}

// Persistent implements KeyValue.
func (s *MemoryStore) Persistent() bool { return false }

// Get implements KeyValue.
func (s *MemoryStore) Get(key []byte) (value []byte, timestamp int64, ok bool, err error) {
	if err := s.usable(); err != nil {
		return nil, 0, false, err
	}
	start := s.measures.start()
	if e := s.entries[string(key)]; e != nil {
		c := e.view()
		value, timestamp, ok = c.value, c.timestamp, c.present
	}
	s.measures.done(OperationGet, start)
	return value, timestamp, ok, nil
}

// Put implements KeyValue.
func (s *MemoryStore) Put(key, value []byte, timestamp int64) error {
	if err := s.usable(); err != nil {
		return err
	}
	start := s.measures.start()
	s.change(key, value, timestamp)
	if s.eager {
		s.apply(s.meta.position)
	}
	operation := OperationPut
	if value == nil {
		operation = OperationDelete
	}
	s.measures.done(operation, start)
	return nil
}

func (s *MemoryStore) change(key, value []byte, timestamp int64) {
	e := s.entries[string(key)]
	if e == nil {
		e = &memoryEntry{key: string(key)}
		s.entries[e.key] = e
		s.index.insert(e.key, e)
	}
	if !e.dirty {
		e.dirty = true
		s.dirty = append(s.dirty, e)
	}
	e.changed = cell{}
	if value != nil {
		e.changed = cell{append(make([]byte, 0, len(value)), value...), timestamp, true}
	}
}

// apply makes the open transaction the content.
func (s *MemoryStore) apply(position int64) {
	m := s.meta
	m.position = position
	for _, e := range s.dirty {
		m.count(e.key, e.committed, -1)
		m.count(e.key, e.changed, +1)
		s.settle(e, e.changed)
	}
	s.forget()
	s.setMeta(m)
}

func (m *meta) count(key string, c cell, sign int64) {
	if c.present {
		m.entries += sign
		m.bytes += sign * int64(len(key)+len(c.value))
	}
}

// settle ends the change of an entry. One that has nothing left is dropped.
func (s *MemoryStore) settle(e *memoryEntry, c cell) {
	e.committed, e.changed, e.dirty = c, cell{}, false
	if !c.present {
		delete(s.entries, e.key)
		s.index.remove(e.key)
	}
}

// forget empties the list of dirty entries without keeping them alive.
func (s *MemoryStore) forget() {
	clear(s.dirty)
	s.dirty = s.dirty[:0]
}

// Range implements KeyValue.
func (s *MemoryStore) Range(lower, upper []byte, fn func(key, value []byte, timestamp int64) bool) error {
	return s.measured(bounds{lower, upper}, s.index.ascend, fn)
}

// ReverseRange implements KeyValue.
func (s *MemoryStore) ReverseRange(lower, upper []byte, fn func(key, value []byte, timestamp int64) bool) error {
	return s.measured(bounds{lower, upper}, s.index.descend, fn)
}

func (s *MemoryStore) measured(b bounds, walk walk, fn func(key, value []byte, timestamp int64) bool) error {
	if err := s.usable(); err != nil {
		return err
	}
	start := s.measures.start()
	pass(b, walk, fn)
	s.measures.done(rangeOperation(b), start)
	return nil
}

type walk = func(b bounds, fn func(key string, e *memoryEntry) bool)

// pass walks over the view of the open transaction.
func pass(b bounds, walk walk, fn func(key, value []byte, timestamp int64) bool) {
	walk(b, func(key string, e *memoryEntry) bool {
		c := e.view()
		return !c.present || fn([]byte(key), c.value, c.timestamp)
	})
}

// Scan implements KeyValue.
func (s *MemoryStore) Scan(after []byte, limit int, fn func(key, value []byte, timestamp int64) error) (next []byte, done bool, err error) {
	if err := s.usable(); err != nil {
		return after, false, err
	}
	p := page{next: after, limit: limit, fn: fn}
	pass(behind(after), s.index.ascend, p.take)
	return p.result(nil)
}

// Digest implements KeyValue.
func (s *MemoryStore) Digest() (sum [sha256.Size]byte, entries int64, err error) {
	if err := s.usable(); err != nil {
		return sum, 0, err
	}
	h := newHasher()
	s.index.ascend(bounds{}, func(key string, e *memoryEntry) bool {
		if e.committed.present {
			h.add([]byte(key), e.committed.value)
		}
		return true
	})
	sum, entries = h.sum()
	return sum, entries, nil
}

// Dirty implements KeyValue.
func (s *MemoryStore) Dirty() int { return len(s.dirty) }

// Commit implements KeyValue.
func (s *MemoryStore) Commit(position int64) error {
	if err := s.usable(); err != nil {
		return err
	}
	if err := s.checkPosition("commit", position); err != nil {
		return err
	}
	s.apply(position)
	return nil
}

// Abort implements KeyValue.
func (s *MemoryStore) Abort() {
	for _, e := range s.dirty {
		s.settle(e, e.committed)
	}
	s.forget()
}

// Restore implements KeyValue.
func (s *MemoryStore) Restore(records []Entry, position int64) error {
	if err := s.usable(); err != nil {
		return err
	}
	if err := s.checkRestore(s.Dirty(), position); err != nil {
		return err
	}
	start := s.measures.start()
	for _, r := range records {
		s.change(r.Key, r.Value, r.Timestamp)
	}
	s.apply(position)
	s.measures.done(OperationRestore, start)
	return nil
}

// Flush implements KeyValue: there is nothing to flush.
func (s *MemoryStore) Flush() error {
	if err := s.usable(); err != nil {
		return err
	}
	s.measures.done(OperationFlush, s.measures.start())
	return nil
}

// Err implements KeyValue: nothing breaks a store in memory.
func (s *MemoryStore) Err() error { return nil }

// Wipe implements KeyValue.
func (s *MemoryStore) Wipe() error {
	if err := s.usable(); err != nil {
		return err
	}
	s.reset()
	return nil
}

// Close implements KeyValue. The content is gone.
func (s *MemoryStore) Close() error {
	if s.closed {
		return nil
	}
	stats := s.meta
	s.reset()
	s.publish(stats)
	s.closed = true
	s.directory.recorders.remove(s.recorder)
	s.directory.closed(s.task, s.name)
	return nil
}

// Abandon implements KeyValue: it is the same as Close.
func (s *MemoryStore) Abandon() { _ = s.Close() }

func (s *MemoryStore) setMeta(m meta) {
	s.meta = m
	s.publish(m)
}

func (s *MemoryStore) usable() error {
	if s.closed {
		return s.wrap(ErrClosed)
	}
	return nil
}
