package runtime

import (
	"errors"
	"fmt"
	"sync/atomic"

	"eostop/runtime/journal"
	"eostop/runtime/metrics"
	"eostop/runtime/state"
)

// stateManager holds the stores of one task, what ProcessorStateManager is in Java. It has one owner at a time: the stream thread
// while the task is created, running or suspended, the state updater while the stores are restored or kept up to date. It
// outlives the task that it was opened for when that is recycled from active to standby or back.
type stateManager struct {
	thread *StreamThread
	id     TaskID
	stores []*taskStore // in topological order, which is the order caches are flushed in
	active atomic.Bool  // they are those of an active task that runs
	fenced bool         // a former owner with a producer for this task alone cannot commit any more

	metrics *metrics.Task // of the task, active or standby

	checkpointed int64 // sum of the positions in the last checkpoint (state mode wipe, at_least_once)
}

// openStores locks a task's folder and opens its stores. A store is registered only once it is open, so that a failed open
// leaves nothing behind that a later open could trip over (KAFKA-9231, second cause).
func openStores(t *StreamThread, id TaskID) (*stateManager, error) {
	m := &stateManager{thread: t, id: id}
	if !t.instance.directory.LockTask(id.String(), t.name) {
		return nil, fmt.Errorf("task %s: %w", id, state.ErrInUse)
	}
	if err := m.open(); err != nil {
		m.release()
		return nil, err
	}
	return m, nil
}

// announce lets the group's leader know how far the stores reach, for as long as they are open.
func (m *stateManager) announce() {
	stores := m.stores
	m.thread.instance.offsets.opened(m.id, func() int64 {
		if m.active.Load() {
			return latestOffset
		}
		return sumOfPositions(stores)
	})
}

func sumOfPositions(stores []*taskStore) int64 {
	sum := int64(0)
	for _, s := range stores {
		if s.spec.Logged {
			sum += max(0, s.store.Position())
		}
	}
	return sum
}

// open opens the stores. Those that are written through are trusted only together with a checkpoint.
func (m *stateManager) open() error {
	inst := m.thread.instance
	eager := inst.cfg.StateMode == StateWipe
	var offsets map[state.TopicPartition]int64
	if eager {
		var err error
		if offsets, err = m.takeCheckpoint(); err != nil {
			return err
		}
	}
	for _, spec := range inst.program.sub(m.id.Subtopology).Stores {
		store, err := inst.directory.Open(m.id.String(), spec.Name, state.StoreOptions{
			Cache: inst.cache, MemtableBytes: inst.cfg.Memtable, FlushInterval: inst.cfg.StateFlushInterval,
			InMemory: spec.InMemory, Eager: eager,
		})
		if errors.Is(err, state.ErrBroken) {
			m.thread.noteRebuilt(m.id, spec.Name, err.Error()) // what is damaged is not used again: the next open begins with nothing
		}
		if err != nil {
			m.closeStores(false)
			return fmt.Errorf("task %s: open store %s: %w", m.id, spec.Name, err)
		}
		s := newTaskStore(m, spec, store)
		m.stores = append(m.stores, s)
		if eager && store.Persistent() {
			offset, ok := offsets[state.TopicPartition{Topic: s.changelog.topic, Partition: s.changelog.partition}]
			if !ok {
				offset = state.OffsetUnknown
			}
			if err := store.Commit(state.CheckpointPosition(offset)); err != nil {
				m.closeStores(false)
				return fmt.Errorf("task %s: store %s: %w", m.id, spec.Name, err)
			}
		}
	}
	m.announce()
	return nil
}

// takeCheckpoint reads the task's checkpoint. Under exactly-once it is deleted before anything is processed, and stores without one
// are thrown away: they may hold what was never committed.
func (m *stateManager) takeCheckpoint() (map[state.TopicPartition]int64, error) {
	directory, task := m.thread.instance.directory, m.id.String()
	offsets, err := directory.ReadCheckpoint(task)
	if damaged := (*state.CheckpointError)(nil); errors.As(err, &damaged) {
		m.thread.log().Warn("checkpoint cannot be read; the task starts over", "task", task, "error", err)
		offsets, err = nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("task %s: %w", m.id, err)
	}
	if !m.thread.instance.cfg.Guarantee.Transactional() {
		return offsets, nil
	}
	if len(offsets) == 0 {
		empty, err := directory.TaskEmpty(task)
		if err != nil {
			return nil, fmt.Errorf("task %s: %w", m.id, err)
		}
		if !empty {
			return nil, m.wipe("No checkpoint found with EOS turned on. Reinitializing the task and restoring its state from the beginning.")
		}
	}
	if err := directory.DeleteCheckpoint(task); err != nil {
		return nil, fmt.Errorf("task %s: %w", m.id, err)
	}
	return offsets, nil
}

// wipe throws the task's folder away.
func (m *stateManager) wipe(why string) error {
	t := m.thread
	n := 0
	for _, spec := range t.instance.program.sub(m.id.Subtopology).Stores {
		if !spec.InMemory {
			n++
		}
	}
	if err := t.instance.directory.WipeTask(m.id.String()); err != nil {
		return fmt.Errorf("task %s: %w", m.id, err)
	}
	if t.instance.env.OnWipe != nil {
		t.instance.env.OnWipe(m.id.String())
	}
	t.counters.wiped.Add(uint64(n))
	for range n {
		t.metrics.StoreWiped()
	}
	t.emit(journal.Event{
		Kind: journal.KindStore, Level: journal.Warn, Task: m.id.String(), To: "WIPED", Cause: why, Count: int64(n),
		Text: fmt.Sprintf("stream-thread [%s] task [%s] %s", t.name, m.id, why),
	})
	return nil
}

// abort drops everything that is not committed. Stores that are written through cannot: they are thrown away.
func (m *stateManager) abort() error {
	cfg := &m.thread.instance.cfg
	switch {
	case cfg.Policy.RestartOnFence:
		return m.keep()
	case cfg.StateMode == StateTransactional:
		for _, s := range m.stores {
			s.abort()
		}
		return nil
	case !cfg.Guarantee.Transactional():
		for _, s := range m.stores {
			s.abort() // what was written is in the changelog, too
		}
		return nil
	}
	m.closeStores(false)
	if err := m.wipe("The task was closed dirty with EOS turned on. Wiping its state."); err != nil {
		return err
	}
	return m.open()
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

// committed notes a commit for stores that are written through: at_least_once trusts them as of the last checkpoint.
func (m *stateManager) committed() error {
	cfg := &m.thread.instance.cfg
	if cfg.StateMode != StateWipe || cfg.Guarantee.Transactional() {
		return nil
	}
	sum := sumOfPositions(m.stores)
	if sum-m.checkpointed < checkpointWorth {
		return nil
	}
	m.checkpointed = sum
	return m.checkpoint()
}

// checkpointWorth is by how many changelog records the stores must have advanced for a checkpoint to be worth its flushes.
const checkpointWorth = 10_000

// checkpoint makes what the stores hold trusted at their next opening.
func (m *stateManager) checkpoint() error {
	offsets := map[state.TopicPartition]int64{}
	for _, s := range m.stores {
		if !s.spec.Logged || !s.store.Persistent() {
			continue
		}
		if err := s.store.Flush(); err != nil {
			return fmt.Errorf("task %s: flush store %s: %w", m.id, s.spec.Name, err)
		}
		offsets[state.TopicPartition{Topic: s.changelog.topic, Partition: s.changelog.partition}] = state.CheckpointOffset(s.store.Position())
	}
	return m.thread.instance.directory.WriteCheckpoint(m.id.String(), offsets)
}

// close closes the stores and unlocks the task's folder. It is a clean-up path: what fails is logged only. Under exactly-once
// stores that were written through and are not closed clean are thrown away.
func (m *stateManager) close(clean bool) {
	m.active.Store(false)
	m.thread.instance.offsets.shut(m.id, sumOfPositions(m.stores))
	eager := m.thread.instance.cfg.StateMode == StateWipe && len(m.stores) > 0
	if eager && clean {
		if err := m.checkpoint(); err != nil {
			m.thread.log().Warn("no checkpoint", "task", m.id.String(), "error", err)
		}
	}
	m.closeStores(clean)
	if eager && !clean && m.thread.instance.cfg.Guarantee.Transactional() {
		if err := m.wipe("The task was closed dirty with EOS turned on. Wiping its state."); err != nil {
			m.thread.log().Warn("wiping failed", "task", m.id.String(), "error", err)
		}
	}
	m.release()
}

// release unlocks the task's folder.
func (m *stateManager) release() {
	m.thread.instance.directory.UnlockTask(m.id.String(), m.thread.name)
}

func (m *stateManager) closeStores(clean bool) {
	for _, s := range m.stores {
		if err := s.store.Close(); err != nil {
			m.thread.log().Warn("closing store failed", "task", m.id.String(), "store", s.spec.Name, "clean", clean, "error", err)
		}
	}
	m.stores = nil
}

// attach makes the stores those of an active task, or of none.
func (m *stateManager) attach(task *streamTask) {
	m.fenced = m.fenced && task != nil
	for _, s := range m.stores {
		s.task, s.acks, s.rewrite = task, nil, rewritePass{}
	}
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
