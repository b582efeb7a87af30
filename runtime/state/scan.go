package state

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// Scan passes up to limit live entries behind the key after, in key order, as the open transaction sees them: the buffer over
// the committed content. After nil begins with the first key, a limit of 0 or less has no end. Next is the last key that was passed, to go on
// from, and done is true if there are no more. Fn must not call the store, and what it is given is valid during the call only. If
// it returns an error, the scan ends with that error, unwrapped, and next is the key before. Writes between two scans do no harm: each scan
// sees the state of its own time.
func (s *Store) Scan(after []byte, limit int, fn func(key, value []byte, timestamp int64) error) (next []byte, done bool, err error) {
	p := page{next: after, limit: limit, fn: fn}
	return p.result(s.pass(behind(after), false, p.take))
}

// page is one scan with a limit.
type page struct {
	next  []byte
	limit int
	fn    func(key, value []byte, timestamp int64) error
	n     int
	last  []byte
	cut   bool  // there is more
	err   error // of fn
}

func (p *page) take(key, value []byte, timestamp int64) bool {
	if p.limit > 0 && p.n == p.limit {
		p.cut = true
		return false
	}
	if p.err = p.fn(key, value, timestamp); p.err != nil {
		p.cut = true
		return false
	}
	p.n++
	if p.last == nil {
		p.last = make([]byte, 0, len(key))
	}
	p.last = append(p.last[:0], key...)
	p.next = p.last
	return true
}

func (p *page) result(err error) (next []byte, done bool, _ error) {
	if p.err != nil {
		err = p.err
	}
	return p.next, err == nil && !p.cut, err
}

// Range passes the entries from lower on and before upper in key order, as the open transaction sees them, until fn returns false. A nil bound
// is open. Fn may call Get and Put, and other ranges; what it is given is valid until its next call to the store.
func (s *Store) Range(lower, upper []byte, fn func(key, value []byte, timestamp int64) bool) error {
	return s.measured(bounds{lower, upper}, false, fn)
}

// ReverseRange is Range from the last key to the first.
func (s *Store) ReverseRange(lower, upper []byte, fn func(key, value []byte, timestamp int64) bool) error {
	return s.measured(bounds{lower, upper}, true, fn)
}

func (s *Store) measured(b bounds, reverse bool, fn func(key, value []byte, timestamp int64) bool) error {
	start := s.measures.start()
	if err := s.pass(b, reverse, fn); err != nil {
		return err
	}
	s.measures.done(rangeOperation(b), start)
	return nil
}

// pass walks over the view of the open transaction.
func (s *Store) pass(b bounds, reverse bool, fn func(key, value []byte, timestamp int64) bool) (err error) {
	if err := s.usable(); err != nil {
		return err
	}
	c, err := s.engine.Load().newCursor(b, reverse)
	if err != nil {
		return s.wrap(err)
	}
	defer func() {
		if closeErr := c.close(); err == nil {
			err = s.wrap(closeErr)
		}
	}()
	view := merged{cursor: c, changed: s.buffer.changed(b, reverse)}
	for {
		key, cell, ok, err := view.next()
		if err != nil {
			return s.wrap(err)
		}
		if !ok || !fn(key, cell[timestampBytes:len(cell):len(cell)], int64(binary.BigEndian.Uint64(cell))) {
			return nil
		}
	}
}

// merged is the view of an open transaction: its changes, in the order of the cursor, over the committed entries.
type merged struct {
	cursor  *cursor
	changed []*entry
	passed  bool // the cursor's entry was returned
}

// next returns the next live entry, valid until the next call.
func (m *merged) next() (key, cell []byte, ok bool, err error) {
	c := m.cursor
	if m.passed {
		m.passed = false
		if err := c.next(); err != nil {
			return nil, nil, false, err
		}
	}
	for len(m.changed) > 0 {
		head := m.changed[0]
		if c.valid && c.before(head.key) {
			break
		}
		m.changed = m.changed[1:]
		if c.valid && head.key == string(c.key) {
			if err := c.next(); err != nil {
				return nil, nil, false, err
			}
		}
		if head.present {
			return []byte(head.key), head.cell, true, nil
		}
	}
	if !c.valid {
		return nil, nil, false, nil
	}
	m.passed = true
	return c.key, c.cell, true, nil
}

// Digest returns the SHA-256 over the committed entries in key order, each as length of the key (4 bytes, big-endian), key, length
// of the value, value, and their number. Timestamps are left out: two stores that hold the same values have the same digest,
// whatever way they came to it. The open transaction does not count.
func (s *Store) Digest() (sum [sha256.Size]byte, entries int64, err error) {
	if err := s.usable(); err != nil {
		return sum, 0, err
	}
	h := newHasher()
	if err := s.walk(func(key, cell []byte) { h.add(key, cell[timestampBytes:]) }); err != nil {
		return sum, 0, s.wrap(fmt.Errorf("digest: %w", err))
	}
	sum, entries = h.sum()
	return sum, entries, nil
}

// walk passes every committed entry in key order.
func (s *Store) walk(fn func(key, cell []byte)) error {
	c, err := s.engine.Load().newCursor(bounds{}, false)
	if err != nil {
		return err
	}
	for c.valid && err == nil {
		fn(c.key, c.cell)
		err = c.next()
	}
	return errors.Join(err, c.close())
}
