package runtime

import (
	"cmp"
	"context"
	"fmt"
	"slices"
)

// AddThread starts another stream thread (KIP-663) and returns its name. It takes the smallest index that is free. The group
// rebalances; the state must be RUNNING or REBALANCING.
func (i *Instance) AddThread() (string, error) {
	i.mu.Lock()
	current, _ := i.state.get() // under the lock: Close changes it before it takes the lock
	if current != InstanceRunning && current != InstanceRebalancing {
		i.mu.Unlock()
		return "", fmt.Errorf("instance %s: cannot add a thread in state %s", i.cfg.ClientID, current)
	}
	i.forgetDead()
	index := 1
	for slices.ContainsFunc(i.threads, func(t *StreamThread) bool { return t.index == index }) {
		index++
	}
	t := newThread(i.ctx, i, index)
	i.threads = append(i.threads, t)
	slices.SortFunc(i.threads, func(a, b *StreamThread) int { return cmp.Compare(a.index, b.index) })
	i.shareCache()
	i.launch(t, 0) // under the lock, too: Close waits for the threads that it finds
	i.mu.Unlock()
	return t.name, nil
}

// RemoveThread ends the stream thread with the highest index, which commits, closes its tasks and leaves the group (KIP-663), also
// as a static member. It returns its name once it is DEAD, or the error of ctx; the thread ends then all the same.
func (i *Instance) RemoveThread(ctx context.Context) (string, error) {
	var t *StreamThread
	for _, candidate := range slices.Backward(i.list()) {
		if !candidate.in(ThreadDead) && !candidate.in(ThreadPendingShutdown) && !candidate.stop.Load() {
			t = candidate
			break
		}
	}
	if t == nil {
		return "", fmt.Errorf("instance %s: there is no thread to remove", i.cfg.ClientID)
	}
	t.stop.Store(true)
	t.interrupt()
	select {
	case <-t.done:
	case <-ctx.Done():
		go func() { // its end is only a matter of time
			<-t.done
			i.letGo()
		}()
		return t.name, ctx.Err()
	}
	if id := i.groupInstanceID(t.index); id != "" {
		// A static member stays in the group when it ends, and keeps its tasks from others. This one does not come back.
		if err := i.admin.removeMember(ctx, id); err != nil {
			i.log.Warn("removing a static member from the group failed; it goes by its session time-out", "thread", t.name, "error", err)
		}
	}
	i.letGo()
	return t.name, nil
}

// letGo forgets threads that have ended, and shares the cache among the others.
func (i *Instance) letGo() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.forgetDead()
	i.shareCache()
}

// forgetDead drops threads that have ended; what they counted stays. One that has failed keeps its place until it is decided whether
// another one takes it. The caller holds the lock.
func (i *Instance) forgetDead() {
	i.threads = slices.DeleteFunc(i.threads, func(t *StreamThread) bool {
		if !t.in(ThreadDead) || t.failedAt.Load() != nil {
			return false
		}
		counted := t.counters.load()
		i.removed.Add(&counted)
		return true
	})
}

// Pause stops processing and restoring; the tasks stay assigned, and what was processed is committed (KIP-834).
func (i *Instance) Pause() { i.paused.Store(true) }

// Resume ends a Pause.
func (i *Instance) Resume() {
	i.paused.Store(false)
	for _, t := range i.list() {
		t.interrupt()
		t.ask(func() { t.updater.waker.wake() })
	}
}

// Paused reports whether Pause was called.
func (i *Instance) Paused() bool { return i.paused.Load() }

// ask has a function run by the thread's goroutine between two rounds. It does not wait for it.
func (t *StreamThread) ask(fn func()) {
	go func() {
		select {
		case t.requests <- fn:
		case <-t.done:
		}
	}()
}
