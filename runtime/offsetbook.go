package runtime

import (
	"fmt"
	"sync"

	"eostop/runtime/state"
)

// offsetBook knows how far the stores of an instance's tasks reach into their changelogs, for the leader to find out who lags
// least. It is shared by the instance's threads, for a store directory belongs to all of them.
type offsetBook struct {
	loaded sync.Once

	mu     sync.Mutex // guards what follows; nothing waits while it is held
	open   map[TaskID]func() int64
	closed map[TaskID]int64
}

// opened says that a thread has opened the stores of a task. From then on sum is asked, from any goroutine: it returns the sum
// of the changelog positions, or latestOffset while the task is active and running.
func (b *offsetBook) opened(id TaskID, sum func() int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open == nil {
		b.open = map[TaskID]func() int64{}
	}
	b.open[id] = sum
	delete(b.closed, id)
}

// shut says that the stores of a task have been closed, with the sum of the positions they were left at; unknownOffset if
// their content was thrown away.
func (b *offsetBook) shut(id TaskID, sum int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed == nil {
		b.closed = map[TaskID]int64{}
	}
	delete(b.open, id)
	b.closed[id] = sum
}

// sums returns what a subscription says about the tasks that have stores on disk.
func (b *offsetBook) sums(stored []string) map[string]int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	sums := make(map[string]int64, len(stored))
	for _, name := range stored {
		sums[name] = unknownOffset
		id, err := ParseTaskID(name)
		if err != nil {
			continue
		}
		if sum, ok := b.open[id]; ok {
			sums[name] = sum()
		} else if sum, ok := b.closed[id]; ok {
			sums[name] = sum
		}
	}
	return sums
}

// load looks once how far the stores reach that an earlier life of the instance has left behind. It opens each of them, which
// takes its time and is of use only where tasks may not move to a process that lags; and it has to come before any thread
// opens a store. A store that cannot be opened stays one of unknown extent.
func (b *offsetBook) load(inst *Instance) {
	b.loaded.Do(func() {
		if inst.cfg.AcceptableRecoveryLag == unlimitedLag {
			return
		}
		for _, name := range inst.directory.StoredTasks() {
			id, err := ParseTaskID(name)
			if err != nil {
				continue
			}
			sum, err := inst.storedOffset(id)
			if err != nil {
				inst.log.Warn("stored offsets are unknown", "task", name, "error", err)
				continue
			}
			b.shut(id, sum)
		}
	})
}

// storedOffset looks how far the stores of a task reach: in its checkpoint where there is one, else in the stores themselves.
func (i *Instance) storedOffset(id TaskID) (int64, error) {
	sum := int64(0)
	if i.cfg.StateMode == StateWipe {
		offsets, err := i.directory.ReadCheckpoint(id.String())
		for _, offset := range offsets {
			sum += max(0, state.CheckpointPosition(offset))
		}
		return sum, err
	}
	for _, spec := range i.program.sub(id.Subtopology).Stores {
		if !spec.Logged || spec.InMemory {
			continue
		}
		store, err := i.directory.OpenStore(id.String(), spec.Name, state.StoreOptions{Cache: i.cache, MemtableBytes: i.cfg.Memtable})
		if err != nil {
			return 0, err
		}
		sum += max(0, store.Position())
		if err := store.Close(); err != nil {
			return 0, fmt.Errorf("close store %s: %w", spec.Name, err)
		}
	}
	return sum, nil
}
