package state

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"sync/atomic"
)

// KeyValue is a timestamped key-value store of one task, whatever it keeps its entries in. It belongs to one goroutine; Name, Task, Persistent,
// Position, Stats and Err may be called from others. Window and session stores are key layouts over it.
//
// Range and ReverseRange may be nested, and their callback may call Get and Put; whether it sees entries that were put meanwhile is not defined.
// Every other call has to wait until they are over.
type KeyValue interface {
	// Name returns the store's name, Task the id of its task.
	Name() string
	Task() string
	// Persistent tells whether the content outlives the process. If not, the store is empty each time it is opened.
	Persistent() bool

	// Get returns the value and timestamp of a key as the open transaction sees it. The value must not be changed, and is valid until the
	// next call to the store only.
	Get(key []byte) (value []byte, timestamp int64, ok bool, err error)
	// Put writes into the open transaction; a nil value deletes the key. Key and value are copied. The timestamp is in milliseconds,
	// and of no meaning for a deletion.
	Put(key, value []byte, timestamp int64) error
	// Range passes the entries from lower on and before upper in key order, as the open transaction sees them, until fn returns false. A nil
	// bound is open. What fn is given is valid until its next call to the store.
	Range(lower, upper []byte, fn func(key, value []byte, timestamp int64) bool) error
	// ReverseRange is Range from the last key to the first.
	ReverseRange(lower, upper []byte, fn func(key, value []byte, timestamp int64) bool) error
	// Scan passes up to limit entries behind a key, see [Store.Scan].
	Scan(after []byte, limit int, fn func(key, value []byte, timestamp int64) error) (next []byte, done bool, err error)
	// Digest returns the SHA-256 over the committed entries and their number, see [Store.Digest].
	Digest() (sum [sha256.Size]byte, entries int64, err error)

	// Dirty returns the number of keys that the open transaction has written, Commit makes them part of the content together with the
	// position, the changelog offset behind the transaction's last record, and Abort drops them. An eager store has no open transaction.
	Dirty() int
	Commit(position int64) error
	Abort()
	// Restore applies changelog records in the given order, and the position behind them. It is refused while the open transaction
	// has writes. The entries are copied.
	Restore(records []Entry, position int64) error
	// Flush brings the content to disk and waits for that. It comes before a checkpoint is written. A store in memory has nothing to flush.
	Flush() error

	// Position is the next changelog offset that the content does not reflect yet, -1 if it is unknown.
	Position() int64
	Stats() StoreStats
	// Err returns an error that wraps ErrBroken once the store is broken.
	Err() error

	// Wipe empties the store, Close closes it and Abandon gives it up without ever waiting. Closing again does nothing.
	Wipe() error
	Close() error
	Abandon()
}

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
	Bytes    int64 // of their keys and values; what they take on disk or in memory differs
	Position int64 // as Store.Position
}

// handle is what all kinds of stores have in common: who they are, and what others may read of them.
type handle struct {
	directory *Directory
	task      string
	name      string
	closed    bool
	measures  measures
	recorder  *recorder

	position, entries, bytes atomic.Int64
}

// Name returns the store's name.
func (h *handle) Name() string { return h.name }

// Task returns the id of the store's task.
func (h *handle) Task() string { return h.task }

// Position is the next changelog offset that the committed content does not reflect yet: from there on the changelog has to be
// restored. It is -1 for an empty store, for one that was never committed with a position, and for an eager one that was just opened. It may
// be called from any goroutine.
func (h *handle) Position() int64 { return h.position.Load() }

// Stats may be called from any goroutine, also after Close.
func (h *handle) Stats() StoreStats {
	return StoreStats{Entries: h.entries.Load(), Bytes: h.bytes.Load(), Position: h.position.Load()}
}

// publish copies the counts for other goroutines.
func (h *handle) publish(m meta) {
	h.position.Store(m.position)
	h.entries.Store(m.entries)
	h.bytes.Store(m.bytes)
}

func (h *handle) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("store %s of task %s: %w", h.name, h.task, err)
}

// checkPosition refuses what no changelog can have.
func (h *handle) checkPosition(call string, position int64) error {
	if position < -1 {
		return h.wrap(fmt.Errorf("%s: position %d: must be -1 or an offset", call, position))
	}
	return nil
}

// checkRestore refuses to restore over an open transaction.
func (h *handle) checkRestore(dirty int, position int64) error {
	if dirty > 0 {
		return h.wrap(fmt.Errorf("restore: %d keys are written by an open transaction: commit or abort it first", dirty))
	}
	return h.checkPosition("restore", position)
}

// hasher computes a store's digest from its entries in key order.
type hasher struct {
	hash    hash.Hash
	buf     []byte
	entries int64
}

func newHasher() *hasher { return &hasher{hash: sha256.New()} }

func (h *hasher) add(key, value []byte) {
	h.buf = binary.BigEndian.AppendUint32(h.buf[:0], uint32(len(key)))
	h.buf = append(h.buf, key...)
	h.buf = binary.BigEndian.AppendUint32(h.buf, uint32(len(value)))
	h.buf = append(h.buf, value...)
	h.hash.Write(h.buf)
	h.entries++
}

func (h *hasher) sum() (sum [sha256.Size]byte, entries int64) {
	h.hash.Sum(sum[:0])
	return sum, h.entries
}
