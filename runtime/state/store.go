package state

import (
	"fmt"
	"sync/atomic"
)

// Store is a [KeyValue] over Pebble. It belongs to one goroutine, except where noted.
//
// As a rule it is transactional: what is on disk is what the last Commit or Restore left. With [StoreOptions].Eager it is what Kafka Streams has
// instead: each Put goes to Pebble at once, there is nothing to commit or abort, and after a crash the disk may hold any part of an aborted transaction.
type Store struct {
	handle
	options  StoreOptions
	ownCache *Cache // set when the options brought none

	engine  atomic.Pointer[engine]
	buffer  buffer
	meta    meta
	lookups int64        // of keys to restore, since the last commit
	loads   atomic.Int64 // keys that were not in memory
	keyBuf  []byte       // scratch: a prefixed key,
	valBuf  []byte       // and what Pebble returned for it

	// Of an eager store:
	changed bool  // something was put since the last Commit
	sealed  bool  // nothing was put since the last seal
	seals   int64 // the number of that
}

var _ KeyValue = (*Store)(nil)

// Persistent implements KeyValue.
func (s *Store) Persistent() bool { return true }

// Get returns the value and timestamp of a key as the open transaction sees it. ok is false if there is none. The value must not be
// changed, and is valid until the next call to the store only.
func (s *Store) Get(key []byte) (value []byte, timestamp int64, ok bool, err error) {
	if err := s.usable(); err != nil {
		return nil, 0, false, err
	}
	start := s.measures.start()
	e := s.buffer.get(key)
	if e == nil {
		if e, err = s.load(key); err != nil {
			return nil, 0, false, err
		}
	}
	s.measures.done(OperationGet, start)
	if !e.present {
		return nil, 0, false, nil
	}
	return e.value(), e.timestamp(), true, nil
}

// Put writes a value into the open transaction's buffer; a nil value deletes the key. Key and value are copied. The timestamp is in
// milliseconds, and of no meaning for a deletion.
func (s *Store) Put(key, value []byte, timestamp int64) error {
	if err := s.usable(); err != nil {
		return err
	}
	start := s.measures.start()
	operation := s.change(key, value, timestamp)
	if s.options.Eager {
		if err := s.apply(s.meta.position, s.meta.exact); err != nil {
			return err
		}
	}
	s.measures.done(operation, start)
	return nil
}

// change writes into the buffer.
func (s *Store) change(key, value []byte, timestamp int64) Operation {
	e := s.buffer.touch(key)
	if value == nil {
		e.present = false
		return OperationDelete
	}
	e.set(value, timestamp)
	return OperationPut
}

// Dirty returns the number of keys that the open transaction has written.
func (s *Store) Dirty() int { return len(s.buffer.dirty) }

// Err returns nil while the store works, otherwise an error that wraps ErrBroken. It may be called from any goroutine: a store can break
// in the background, between two calls.
func (s *Store) Err() error {
	if err := s.engine.Load().fuse.err(); err != nil {
		return s.wrap(err)
	}
	return nil
}

// Commit applies the buffer and the position, the changelog offset behind the transaction's last record, in one batch: on disk there are
// either both or none. A position of -1 says that it is unknown, as for a store without a changelog. If Commit fails, the store is broken.
// It may wait for the disk if that cannot keep up.
//
// An eager store only remembers the position, and forgets it when it is closed.
func (s *Store) Commit(position int64) error {
	if err := s.usable(); err != nil {
		return err
	}
	if err := s.checkPosition("commit", position); err != nil {
		return err
	}
	dirty := len(s.buffer.dirty) > 0 || s.changed
	if !dirty && position == s.meta.position {
		return nil
	}
	if dirty && !s.meta.exact {
		if err := s.recount(); err != nil {
			return err
		}
	}
	s.lookups = 0
	if s.options.Eager {
		s.changed = false
		s.setPosition(position)
		return nil
	}
	return s.apply(position, s.meta.exact)
}

// Abort drops the buffer: the store is again what the last Commit or Restore left. In an eager store everything stays.
func (s *Store) Abort() { s.buffer.abort() }

// Restore applies changelog records in the given order, and the position behind them, in one batch. It is refused while the
// buffer holds writes of an open transaction. The entries are copied.
func (s *Store) Restore(records []Entry, position int64) error {
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
	// In the beginning each key is looked up, so that the number of entries stays exact. When that costs more than to count the
	// whole store once afterwards, it is only estimated until then.
	exact := s.meta.exact && (len(records) == 0 || s.lookups < estimateAfter+s.meta.entries/countPerLookup)
	if err := s.apply(position, exact); err != nil {
		return err
	}
	s.measures.done(OperationRestore, start)
	return nil
}

// A lookup costs about as much as counting countPerLookup entries.
const (
	estimateAfter  = 10_000
	countPerLookup = 50
)

// Flush writes the committed content to disk, of an eager store everything, and waits until it is there. It costs nothing if nothing has
// changed since the last time.
func (s *Store) Flush() error {
	if err := s.usable(); err != nil {
		return err
	}
	start := s.measures.start()
	if err := s.persist(); err != nil {
		return s.wrap(fmt.Errorf("flush: %w", err))
	}
	s.measures.done(OperationFlush, start)
	return nil
}

// load reads a key that is not in memory.
func (s *Store) load(key []byte) (*entry, error) {
	s.loads.Add(1)
	s.keyBuf = append(append(s.keyBuf[:0], dataPrefix), key...)
	cell, ok, err := s.engine.Load().getCell(s.keyBuf, s.valBuf[:0])
	if err != nil {
		return nil, s.wrap(err)
	}
	if !ok {
		return s.buffer.admit(key, nil, false), nil
	}
	s.valBuf = cell
	return s.buffer.admit(key, cell, true), nil
}

func (s *Store) setMeta(m meta) {
	s.meta = m
	s.publish(m)
}

func (s *Store) setPosition(position int64) {
	m := s.meta
	m.position = position
	s.setMeta(m)
}

func (s *Store) usable() error {
	if s.closed {
		return s.wrap(ErrClosed)
	}
	if s.engine.Load().fuse.cause.Load() != nil {
		return s.Err()
	}
	return nil
}
