package state

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2"
)

// sealFile stands in the folder of an eager store, beside Pebble's files, and holds the number of the last seal.
//
// A seal is the metadata record that a flush ends with. Without it nothing would be noticed where Pebble comes up with an older state than was
// flushed: it takes the damaged end of a manifest for one that was being written during a crash. A transactional store knows its position
// whatever state that is; an eager one is believed to be as far as the checkpoint says.
const sealFile = "SEALED"

// describe adds the metadata to a batch. That of an eager store is written here only to withdraw the last seal: it stands in the same batch as the first
// change after it.
func (s *Store) describe(batch *pebble.Batch, m meta) error {
	if s.options.Eager {
		if !s.sealed || batch.Empty() {
			return nil
		}
		s.sealed = false
		m = s.unsealed()
	}
	s.valBuf = m.append(s.valBuf[:0])
	if err := batch.Set(metaKey, s.valBuf, nil); err != nil {
		return s.wrap(fmt.Errorf("build batch: %w", err))
	}
	return nil
}

// unsealed is what the disk of an eager store says while the store is being written to.
func (s *Store) unsealed() meta { return meta{position: s.seals, eager: true} }

// persist brings everything to disk, and of an eager store the seal.
func (s *Store) persist() error {
	engine := s.engine.Load()
	if !s.options.Eager || s.sealed {
		return engine.flush()
	}
	m := s.meta
	m.position, m.eager = s.seals+1, true
	err := s.writeMeta(m)
	if err == nil {
		err = engine.flush()
	}
	if err == nil {
		err = engine.fuse.guard("seal", func() error {
			return s.directory.writeFile(s.sealPath(), fmt.Appendf(nil, "%d\n", m.position))
		})
	}
	if err != nil {
		return err
	}
	s.seals, s.sealed = m.position, true
	return nil
}

func (s *Store) sealPath() string { return s.directory.fs.PathJoin(s.engine.Load().dir, sealFile) }

// writeMeta writes the metadata of an eager store alone.
func (s *Store) writeMeta(m meta) error {
	engine := s.engine.Load()
	batch := engine.db.NewBatch()
	s.valBuf = m.append(s.valBuf[:0])
	if err := batch.Set(metaKey, s.valBuf, nil); err != nil {
		return fmt.Errorf("build batch: %w", err)
	}
	return engine.apply(batch)
}

// adopt begins to work with an open database. What an eager store knows about itself after a crash is what it counts.
func (s *Store) adopt(e *engine, m meta) error {
	s.engine.Store(e)
	s.changed, s.sealed, s.seals = false, false, 0
	if !s.options.Eager {
		s.setMeta(m)
		return nil
	}
	sealed, err := s.lastSeal()
	if err != nil {
		return fmt.Errorf("read seal: %w", err)
	}
	if m.stored {
		s.seals = m.position
	}
	if s.seals < sealed {
		return fmt.Errorf("it was flushed %d times, but holds what was there after %d", sealed, s.seals)
	}
	m.position = -1
	s.setMeta(m)
	if m.stored && m.exact {
		s.sealed = true
		return nil
	}
	if !m.stored {
		if err := s.writeMeta(s.unsealed()); err != nil {
			return err
		}
	}
	return s.recount()
}

func (s *Store) lastSeal() (int64, error) {
	data, err := s.directory.readFile(s.sealPath())
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
}
