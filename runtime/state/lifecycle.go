package state

import (
	"errors"
	"fmt"
)

// open is how a store comes to its database, when it is opened and when it was wiped. The order in which its recorder is registered is a
// policy, see [DirectoryConfig].RegisterBeforeOpen.
func (s *Store) open() error {
	if err := s.directory.announce(s.recorder); err != nil {
		return err
	}
	e, m, err := s.directory.openFolder(s.task, s.name, s.cache(), s.options)
	if err != nil {
		return err
	}
	if err := s.adopt(e, m); err != nil {
		return s.refuse(e, err)
	}
	s.directory.recorders.register(s.recorder)
	return nil
}

// refuse closes a database again that cannot be worked with. Its folder is not used any more, unless another one would not be better.
func (s *Store) refuse(e *engine, err error) error {
	if environmental(err) {
		e.abandon(nil)
		return err
	}
	s.directory.retireFolder(s.task, s.name)
	e.abandon(func() { s.directory.removeAbandoned(e.dir) })
	if errors.Is(err, ErrBroken) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrBroken, err)
}

// Close writes the committed content to disk, which it waits for, and closes the store. The buffer is dropped. A broken store is abandoned
// instead, without waiting, and the error says so. Closing again does nothing.
func (s *Store) Close() error {
	if s.closed {
		return nil
	}
	err := s.persist()
	engine := s.retire()
	if err == nil {
		err = engine.close()
	}
	if err != nil {
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
// broken before; the task's checkpoint is gone. If Wipe fails the store is closed, and its next opening starts empty too.
func (s *Store) Wipe() error {
	if s.closed {
		return s.wrap(ErrClosed)
	}
	old := s.engine.Load()
	s.buffer.reset()
	s.lookups = 0
	s.directory.recorders.remove(s.recorder)
	s.directory.retireFolder(s.task, s.name)
	if err := old.discard(); err != nil {
		old.abandon(func() { s.directory.removeAbandoned(old.dir) })
	} else {
		s.directory.remove(old.dir)
	}
	if err := s.open(); err != nil {
		s.closed = true
		s.letGo()
		return s.wrap(fmt.Errorf("wipe: %w", err))
	}
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
	e.abandon(func() { s.directory.removeAbandoned(e.dir) })
	s.release()
}

// release gives back what an open store holds, whatever came of closing it.
func (s *Store) release() {
	s.directory.recorders.remove(s.recorder)
	s.letGo()
}

// letGo gives back what a store holds that was never open.
func (s *Store) letGo() {
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
