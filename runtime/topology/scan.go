package topology

import (
	"bytes"
	"errors"
	"iter"
	"slices"
)

// scanBatch is how many entries are copied out of a store at a time, so that the store is free while they are worked off.
const scanBatch = 128

// errBehind ends a scan of the host at the upper bound.
var errBehind = errors.New("behind the last key")

// scannedEntry is an entry of a scan, with memory of its own.
type scannedEntry struct {
	key, value []byte
	timestamp  int64
}

// scan returns the entries from one key to another, both included, in key order, through cache and store. A nil bound is
// none.
func (l *layer) scan(from, to []byte) iter.Seq2[scannedEntry, error] {
	return func(yield func(scannedEntry, error) bool) {
		if to != nil && bytes.Compare(from, to) > 0 {
			return
		}
		// The cache's keys are those at the beginning; their values are looked up when their turn comes.
		var cached [][]byte
		if l.cache != nil {
			cached = l.cache.Dirty(from, to)
		}
		pass := func(key []byte) bool {
			value, timestamp, ok, err := l.peek(key)
			if err == nil && !ok {
				return true
			}
			return yield(scannedEntry{key, value, timestamp}, err) && err == nil
		}
		// Scans of the host begin behind a key.
		if from != nil {
			if len(cached) > 0 && bytes.Equal(cached[0], from) {
				cached = cached[1:]
			}
			if !pass(from) {
				return
			}
		}
		after, done := from, false
		var batch []scannedEntry
		for !done {
			var err error
			if batch, done, err = l.batch(batch[:0], after, to); err != nil {
				yield(scannedEntry{}, err)
				return
			}
			for _, entry := range batch {
				for len(cached) > 0 && bytes.Compare(cached[0], entry.key) < 0 {
					if !pass(cached[0]) {
						return
					}
					cached = cached[1:]
				}
				if len(cached) > 0 && bytes.Equal(cached[0], entry.key) {
					cached = cached[1:]
					if !pass(entry.key) {
						return
					}
				} else if !yield(entry, nil) {
					return
				}
				after = entry.key
			}
		}
		for _, key := range cached {
			if !pass(key) {
				return
			}
		}
	}
}

// batch reads the next entries of the host's store behind a key, up to another one.
func (l *layer) batch(batch []scannedEntry, after, to []byte) (_ []scannedEntry, done bool, err error) {
	_, done, err = l.bytes.Scan(after, scanBatch, func(key, value []byte, timestamp int64) error {
		if to != nil && bytes.Compare(key, to) > 0 {
			return errBehind
		}
		batch = append(batch, scannedEntry{slices.Clone(key), append([]byte{}, value...), timestamp})
		return nil
	})
	switch {
	case errors.Is(err, errBehind):
		return batch, true, nil
	case err != nil:
		return nil, false, l.graph.failHost("scan store", l.spec.Name, err)
	case len(batch) == 0:
		return batch, true, nil
	}
	return batch, done, nil
}

// peek is get without a trace in the cache.
func (l *layer) peek(key []byte) (value []byte, timestamp int64, ok bool, err error) {
	if l.cache != nil {
		if value, timestamp, ok = l.cache.Get(key); ok {
			return value, timestamp, value != nil, nil
		}
	}
	value, timestamp, ok, err = l.bytes.Get(key)
	if err != nil {
		return nil, 0, false, l.graph.failHost("get from store", l.spec.Name, err)
	}
	return value, timestamp, ok, nil
}
