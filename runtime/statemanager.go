package runtime

import (
	"fmt"

	"eostop/runtime/state"
)

// stateManager holds the stores of one task, what ProcessorStateManager is in Java. It has one owner at a time: the stream thread
// while the task is created, running or suspended, the state updater while the stores are restored or kept up to date. It
// outlives the task that it was opened for when that is recycled from active to standby or back.
type stateManager struct {
	thread *StreamThread
	id     TaskID
	stores []*taskStore // in topological order, which is the order caches are flushed in
}

// openStores opens the stores of a task. A store is registered only once it is open, so that a failed open leaves nothing
// behind that a later open could trip over (KAFKA-9231, second cause).
func openStores(t *StreamThread, id TaskID) (*stateManager, error) {
	m := &stateManager{thread: t, id: id}
	inst := t.instance
	for _, spec := range inst.program.sub(id.Subtopology).Stores {
		store, err := inst.directory.OpenStore(id.String(), spec.Name, state.StoreOptions{Cache: inst.cache, MemtableBytes: inst.cfg.Memtable})
		if err != nil {
			m.close(false)
			return nil, fmt.Errorf("task %s: open store %s: %w", id, spec.Name, err)
		}
		m.stores = append(m.stores, newTaskStore(m, spec, store))
	}
	return m, nil
}

// abort drops everything that is not committed.
func (m *stateManager) abort() {
	for _, s := range m.stores {
		s.abort()
	}
}

// keep applies what is not committed: the bug that Policy.RestartOnFence makes.
func (m *stateManager) keep() error {
	for _, s := range m.stores {
		if err := s.store.Commit(s.store.Position()); err != nil {
			return fmt.Errorf("task %s: store %s: %w", m.id, s.spec.Name, err)
		}
		s.abort()
	}
	return nil
}

// close closes the stores. It is a clean-up path: what fails is logged only.
func (m *stateManager) close(clean bool) {
	for _, s := range m.stores {
		if err := s.store.Close(); err != nil {
			m.thread.log().Warn("closing store failed", "task", m.id.String(), "store", s.spec.Name, "clean", clean, "error", err)
		}
	}
	m.stores = nil
}

// changelogs returns the changelog partitions of the logged stores.
func (m *stateManager) changelogs() []topicPartition {
	var all []topicPartition
	for _, s := range m.stores {
		if s.spec.Logged {
			all = append(all, s.changelog)
		}
	}
	return all
}

// restored reports whether every store has caught up with its changelog.
func (m *stateManager) restored() bool {
	for _, s := range m.stores {
		if r := s.restore.Load(); r != nil && r.remaining() > 0 {
			return false
		}
	}
	return true
}

// lag returns the changelog records that are still to be read.
func (m *stateManager) lag() int64 {
	n := int64(0)
	for _, s := range m.stores {
		n += s.lag()
	}
	return n
}
