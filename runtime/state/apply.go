package state

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"
)

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
	if err := s.describe(batch, next); err != nil {
		return err
	}
	if err := engine.apply(batch); err != nil {
		return s.wrap(err)
	}
	s.changed = s.options.Eager && (s.changed || len(s.buffer.dirty) > 0)
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
