package state

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// Entry is one restored changelog record.
type Entry struct {
	Key       []byte
	Value     []byte // nil deletes the key
	Timestamp int64  // milliseconds
}

// StoreStats describes the committed content of a store. Entries and Bytes are exact, except from a large Restore to the
// next Commit: then they are estimates, too high if keys repeat.
type StoreStats struct {
	Entries  int64 // live keys
	Bytes    int64 // of their keys and values; what they take on disk differs
	Position int64 // as Store.Position
}

// A lookup costs about as much as counting countPerLookup entries.
const (
	estimateAfter  = 10_000
	countPerLookup = 50
)

// Store is a timestamped key-value store of one task. It belongs to one goroutine, except where noted.
type Store struct {
	directory *Directory
	task      string
	name      string
	options   StoreOptions
	ownCache  *Cache // set when the options brought none
	closed    bool

	engine  atomic.Pointer[engine]
	buffer  buffer
	meta    meta
	lookups int64  // of keys to restore, since the last commit
	keyBuf  []byte // scratch: a prefixed key,
	valBuf  []byte // and what Pebble returned for it

	position, entries, bytes atomic.Int64 // copies of meta for other goroutines
}

// Name returns the store's name.
func (s *Store) Name() string { return s.name }

// Get returns the value and timestamp of a key as the open transaction sees it. ok is false if there is none. The value must not be
// changed, and is valid until the next call to the store only.
func (s *Store) Get(key []byte) (value []byte, timestamp int64, ok bool, err error) {
	if err := s.usable(); err != nil {
		return nil, 0, false, err
	}
	e := s.buffer.get(key)
	if e == nil {
		if e, err = s.load(key); err != nil {
			return nil, 0, false, err
		}
	}
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
	e := s.buffer.touch(key)
	if value == nil {
		e.present = false
		return nil
	}
	e.set(value, timestamp)
	return nil
}

// Position is the next changelog offset that the committed content does not reflect yet: from there on the changelog has to be
// restored. It is -1 for an empty store and for one that was never committed with a position. It may be called from any goroutine.
func (s *Store) Position() int64 { return s.position.Load() }

// Dirty returns the number of keys that the open transaction has written.
func (s *Store) Dirty() int { return len(s.buffer.dirty) }

// Stats may be called from any goroutine, also after Close.
func (s *Store) Stats() StoreStats {
	return StoreStats{Entries: s.entries.Load(), Bytes: s.bytes.Load(), Position: s.position.Load()}
}

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
func (s *Store) Commit(position int64) error {
	if err := s.usable(); err != nil {
		return err
	}
	if position < -1 {
		return s.wrap(fmt.Errorf("commit: position %d: must be -1 or an offset", position))
	}
	if len(s.buffer.dirty) == 0 && position == s.meta.position {
		return nil
	}
	if len(s.buffer.dirty) > 0 && !s.meta.exact {
		if err := s.recount(); err != nil {
			return err
		}
	}
	s.lookups = 0
	return s.apply(position, s.meta.exact)
}

// Abort drops the buffer: the store is again what the last Commit or Restore left.
func (s *Store) Abort() { s.buffer.abort() }

// Restore applies changelog records in the given order, and the position behind them, in one batch. It is refused while the
// buffer holds writes of an open transaction. The entries are copied.
func (s *Store) Restore(records []Entry, position int64) error {
	if err := s.usable(); err != nil {
		return err
	}
	if n := s.Dirty(); n > 0 {
		return s.wrap(fmt.Errorf("restore: %d keys are written by an open transaction: commit or abort it first", n))
	}
	if position < -1 {
		return s.wrap(fmt.Errorf("restore: position %d: must be -1 or an offset", position))
	}
	for _, r := range records {
		e := s.buffer.touch(r.Key)
		if r.Value == nil {
			e.present = false
			continue
		}
		e.set(r.Value, r.Timestamp)
	}
	// In the beginning each key is looked up, so that the number of entries stays exact. When that costs more than to count the
	// whole store once afterwards, it is only estimated until then.
	exact := s.meta.exact && (len(records) == 0 || s.lookups < estimateAfter+s.meta.entries/countPerLookup)
	return s.apply(position, exact)
}

// Close writes the committed content to disk, which it waits for, and closes the store. The buffer is dropped. A broken store is abandoned
// instead, without waiting, and the error says so. Closing again does nothing.
func (s *Store) Close() error {
	if s.closed {
		return nil
	}
	engine := s.retire()
	if err := engine.close(); err != nil {
		s.giveUp(engine)
		return s.wrap(fmt.Errorf("close: %w", err))
	}
	s.release()
	return nil
}

// Abandon gives the store up as it is, without ever waiting. What it has on disk is not used again: when the store is opened the next time,
// it is empty. Abandoning a closed store does nothing.
func (s *Store) Abandon() {
	if s.closed {
		return
	}
	s.giveUp(s.retire())
}

// Wipe throws the content away, committed or not. Afterwards the store is empty, in a fresh folder, with position -1, and works again even if it was
// broken before. If Wipe fails the store is closed, and its next opening starts empty too.
func (s *Store) Wipe() error {
	if s.closed {
		return s.wrap(ErrClosed)
	}
	old := s.engine.Load()
	s.buffer.reset()
	s.directory.retireFolder(s.task, s.name)
	if err := old.discard(); err != nil {
		old.abandon(func() { s.directory.remove(old.dir) })
	} else {
		s.directory.remove(old.dir)
	}
	fresh, m, err := s.directory.openFolder(s.task, s.name, s.cache(), s.options.MemtableBytes)
	if err != nil {
		s.closed = true
		s.release()
		return s.wrap(fmt.Errorf("wipe: %w", err))
	}
	s.engine.Store(fresh)
	s.setMeta(m)
	return nil
}

// retire drops the buffer and marks the store as closed.
func (s *Store) retire() *engine {
	s.closed = true
	s.buffer.reset()
	return s.engine.Load()
}

// giveUp abandons a database whose content must not be used again.
func (s *Store) giveUp(e *engine) {
	s.directory.retireFolder(s.task, s.name)
	e.abandon(func() { s.directory.remove(e.dir) })
	s.release()
}

func (s *Store) release() {
	if s.ownCache != nil {
		s.ownCache.Close()
	}
	s.directory.closed(s.task, s.name)
}

func (s *Store) cache() *Cache {
	if s.ownCache != nil {
		return s.ownCache
	}
	return s.options.Cache
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

func (s *Store) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("store %s of task %s: %w", s.name, s.task, err)
}

// load reads a key that is not in memory.
func (s *Store) load(key []byte) (*entry, error) {
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

// apply writes the dirty entries and the position in one batch and makes the entries clean. If the counts need not be exact, keys
// of which nothing is known are taken for new.
func (s *Store) apply(position int64, exact bool) error {
	next := s.meta
	next.position, next.exact = position, exact
	// Sorted, the batch goes into Pebble's skip list in half the time.
	slices.SortFunc(s.buffer.dirty, func(a, b *entry) int { return strings.Compare(a.key, b.key) })
	engine := s.engine.Load()
	batch := engine.db.NewBatch()
	for _, e := range s.buffer.dirty {
		if e.prior == priorUnknown && exact {
			if err := s.lookUp(e); err != nil {
				return err
			}
		}
		if err := write(batch, e, &next); err != nil {
			return s.wrap(fmt.Errorf("build batch: %w", err))
		}
	}
	s.valBuf = next.append(s.valBuf[:0])
	if err := batch.Set(metaKey, s.valBuf, nil); err != nil {
		return s.wrap(fmt.Errorf("build batch: %w", err))
	}
	if err := engine.apply(batch); err != nil {
		return s.wrap(err)
	}
	s.setMeta(next)
	s.buffer.committed()
	return nil
}

// lookUp learns the committed state of a dirty entry. Only keys that were written without being read first need it.
func (s *Store) lookUp(e *entry) error {
	s.lookups++
	s.keyBuf = append(append(s.keyBuf[:0], dataPrefix), e.key...)
	cell, ok, err := s.engine.Load().getCell(s.keyBuf, s.valBuf[:0])
	if err != nil {
		return s.wrap(err)
	}
	e.prior = priorAbsent
	if ok {
		s.valBuf = cell
		e.prior, e.priorBytes = priorPresent, int64(len(e.key)+len(cell)-timestampBytes)
	}
	return nil
}

// write adds a dirty entry to a batch and counts it.
func write(batch *pebble.Batch, e *entry, m *meta) error {
	m.bytes += e.size() - e.priorBytes
	var op *pebble.DeferredBatchOp
	switch {
	case e.present:
		if e.prior != priorPresent {
			m.entries++
		}
		op = batch.SetDeferred(1+len(e.key), len(e.cell))
		copy(op.Value, e.cell)
	case e.prior == priorAbsent: // came and went within the transaction
		return nil
	default:
		if e.prior == priorPresent {
			m.entries--
		}
		op = batch.DeleteDeferred(1 + len(e.key))
	}
	op.Key[0] = dataPrefix
	copy(op.Key[1:], e.key)
	return op.Finish()
}

// recount replaces estimated counts of the committed content.
func (s *Store) recount() error {
	m := s.meta
	m.entries, m.bytes, m.exact = 0, 0, true
	err := s.walk(func(key, cell []byte) {
		m.entries++
		m.bytes += int64(len(key) + len(cell) - timestampBytes)
	})
	if err != nil {
		return s.wrap(fmt.Errorf("count entries: %w", err))
	}
	s.setMeta(m)
	return nil
}

func (s *Store) setMeta(m meta) {
	s.meta = m
	s.position.Store(m.position)
	s.entries.Store(m.entries)
	s.bytes.Store(m.bytes)
}
