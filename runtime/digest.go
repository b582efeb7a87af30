package runtime

import (
	"context"
	"fmt"
	"slices"
)

// StoreDigest is a digest over the committed content of one store, see state.Store.Digest.
type StoreDigest struct {
	Store     string
	Task      string
	Partition int32
	Position  int64 // next changelog offset of the committed state
	Sum       [32]byte
	Entries   int64
}

// Digests returns the digests of all stores of the instance's running tasks. Each thread makes its own between two rounds,
// so that no store is read while it is written.
func (i *Instance) Digests(ctx context.Context) ([]StoreDigest, error) {
	i.mu.Lock()
	threads := slices.Clone(i.threads)
	i.mu.Unlock()
	var all []StoreDigest
	for _, t := range threads {
		digests, err := t.digests(ctx)
		if err != nil {
			return nil, fmt.Errorf("digests of %s: %w", t.name, err)
		}
		all = append(all, digests...)
	}
	return all, nil
}

// digests asks the thread's goroutine.
func (t *StreamThread) digests(ctx context.Context) ([]StoreDigest, error) {
	var (
		digests []StoreDigest
		err     error
	)
	done := make(chan struct{})
	ask := func() {
		defer close(done)
		digests, err = t.makeDigests()
	}
	select {
	case t.requests <- ask:
	case <-t.done:
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case <-done:
		return digests, err
	case <-t.done:
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (t *StreamThread) makeDigests() ([]StoreDigest, error) {
	var digests []StoreDigest
	for _, task := range t.tasks {
		if !task.is(TaskRunning) {
			return nil, fmt.Errorf("task %s is not running", task.id)
		}
		for _, s := range task.manager.stores {
			sum, entries, err := s.store.Digest()
			if err != nil {
				return nil, fmt.Errorf("store %s of task %s: %w", s.spec.Name, task.id, err)
			}
			digests = append(digests, StoreDigest{
				Store: s.spec.Name, Task: task.id.String(), Partition: task.id.Partition, Position: s.store.Position(), Sum: sum, Entries: entries,
			})
		}
	}
	return digests, nil
}

// serveRequests answers what others want to know from the thread's own goroutine.
func (t *StreamThread) serveRequests() {
	for {
		select {
		case ask := <-t.requests:
			ask()
		default:
			return
		}
	}
}
