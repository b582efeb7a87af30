package state

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"
)

// Scan passes up to limit live entries behind the key after, in key order, as the open transaction sees them: the buffer over
// the committed content. After nil begins with the first key, a limit of 0 or less has no end. Next is the last key that was passed, to go on
// from, and done is true if there are no more. Fn must not call the store, and what it is given is valid during the call only. If
// it returns an error, the scan ends with that error, unwrapped, and next is the key before. Writes between two scans do no harm: each scan
// sees the state of its own time.
func (s *Store) Scan(after []byte, limit int, fn func(key, value []byte, timestamp int64) error) (next []byte, done bool, err error) {
	if err := s.usable(); err != nil {
		return after, false, err
	}
	lower := dataBounds.lower
	if after != nil {
		lower = append(append([]byte{dataPrefix}, after...), 0)
	}
	c, err := s.engine.Load().newCursor(lower)
	if err != nil {
		return after, false, s.wrap(err)
	}
	defer func() {
		if closeErr := c.close(); err == nil {
			err = s.wrap(closeErr)
		}
	}()
	view := merged{cursor: c, changed: s.changedBehind(after)}
	next = after
	var last []byte
	for n := 0; ; n++ {
		key, cell, ok, err := view.next()
		if err != nil {
			return next, false, s.wrap(err)
		}
		if !ok {
			return next, true, nil
		}
		if limit > 0 && n == limit {
			return next, false, nil
		}
		if err := fn(key, cell[timestampBytes:len(cell):len(cell)], int64(binary.BigEndian.Uint64(cell))); err != nil {
			return next, false, err
		}
		if last == nil {
			last = make([]byte, 0, len(key))
		}
		last = append(last[:0], key...)
		next = last
	}
}

// merged is the view of an open transaction: its changes, in key order, over the committed entries.
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
		if c.valid && head.key > string(c.key) {
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

// changedBehind returns the dirty entries behind a key in key order.
func (s *Store) changedBehind(after []byte) []*entry {
	var changed []*entry
	for _, e := range s.buffer.dirty {
		if after == nil || e.key > string(after) {
			changed = append(changed, e)
		}
	}
	slices.SortFunc(changed, func(a, b *entry) int { return strings.Compare(a.key, b.key) })
	return changed
}

// Digest returns the SHA-256 over the committed entries in key order, each as length of the key (4 bytes, big-endian), key, length
// of the value, value, and their number. Timestamps are left out: two stores that hold the same values have the same digest,
// whatever way they came to it. The open transaction does not count.
func (s *Store) Digest() (sum [sha256.Size]byte, entries int64, err error) {
	if err := s.usable(); err != nil {
		return sum, 0, err
	}
	h := sha256.New()
	var buf []byte
	err = s.walk(func(key, cell []byte) {
		value := cell[timestampBytes:]
		buf = binary.BigEndian.AppendUint32(buf[:0], uint32(len(key)))
		buf = append(buf, key...)
		buf = binary.BigEndian.AppendUint32(buf, uint32(len(value)))
		buf = append(buf, value...)
		h.Write(buf)
		entries++
	})
	if err != nil {
		return sum, 0, s.wrap(fmt.Errorf("digest: %w", err))
	}
	h.Sum(sum[:0])
	return sum, entries, nil
}

// walk passes every committed entry in key order.
func (s *Store) walk(fn func(key, cell []byte)) error {
	c, err := s.engine.Load().newCursor(dataBounds.lower)
	if err != nil {
		return err
	}
	for c.valid && err == nil {
		fn(c.key, c.cell)
		err = c.next()
	}
	return errors.Join(err, c.close())
}

// cursor walks over committed entries. Each call into Pebble is guarded by itself, so that a panic of a callback passes through.
type cursor struct {
	fuse  *fuse
	iter  *pebble.Iterator
	valid bool
	key   []byte // without the prefix; key and cell are valid until the next step
	cell  []byte
}

func (e *engine) newCursor(lower []byte) (*cursor, error) {
	c := &cursor{fuse: e.fuse}
	err := c.fuse.guard("scan", func() error {
		iter, err := e.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: dataBounds.upper})
		if err != nil {
			return err
		}
		c.iter = iter
		return c.arrive(iter.First())
	})
	if err != nil && c.iter != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, err
}

func (c *cursor) next() error {
	return c.fuse.guard("scan", func() error { return c.arrive(c.iter.Next()) })
}

func (c *cursor) arrive(valid bool) error {
	c.valid = valid
	if !valid {
		c.key, c.cell = nil, nil
		return c.iter.Error()
	}
	c.key = c.iter.Key()[1:]
	var err error
	c.cell, err = c.iter.ValueAndErr()
	if err == nil {
		err = checkCell(c.key, c.cell)
	}
	return err
}

// close lets go of the tables that the cursor holds open, also if the database has broken meanwhile.
func (c *cursor) close() (err error) {
	defer func() {
		if r := recover(); r != nil {
			c.fuse.blow(fmt.Errorf("scan: panic: %v", r))
			err = c.fuse.err()
		}
	}()
	if err := c.iter.Close(); err != nil {
		c.fuse.blow(fmt.Errorf("scan: %w", err))
	}
	return c.fuse.err()
}
