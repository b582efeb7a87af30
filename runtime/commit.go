package runtime

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// slotError is an error of everything that is written through one slot.
type slotError struct {
	slot *producerSlot
	err  error
}

func (e *slotError) Error() string { return e.err.Error() }
func (e *slotError) Unwrap() error { return e.err }

// slotCommit is a commit of one slot on its way.
type slotCommit struct {
	slot     *producerSlot
	tasks    []*streamTask
	offsets  map[topicPartition]offsetAndMetadata
	identity groupIdentity
	begin    time.Time
	err      error
}

// commit is the commit protocol (KIP-98, KIP-129, KIP-447). Under exactly_once_v2 and at_least_once all tasks of the thread commit
// together, under exactly_once each by itself, in a transaction of its own:
//
//  1. flush the record caches, in the order of the stores in the topology: that may process and produce;
//  2. flush the producer: every record of the transaction is acknowledged, or the commit has failed;
//  3. look at the send errors; never go on after one;
//  4. send the offsets with the member id and generation under which the tasks are owned, and end the transaction;
//  5. only then apply the state: each store takes its buffer and its changelog position in one batch.
//
// A cut may come anywhere between these steps. Before 4 has succeeded nothing is visible to anybody; if the outcome of 4
// is not known the caller treats the commit as failed and learns the truth from the broker: the next producer of the same
// id completes or aborts the transaction, the committed offsets are read back, and the stores restore what they miss.
//
// Under at_least_once there is no transaction: step 4 commits the offsets as a member of the group, and what was sent
// before a failed commit is sent again.
//
// Steps 2 to 4 of several slots go on at the same time: one that hangs must not let the transactions of the others grow too old, and
// the thread must be back before the group misses it. It returns the slots that could not commit.
func (t *StreamThread) commit(ctx context.Context) []*slotError {
	if t.instance.cfg.Policy.StopAtFence {
		return t.commitInTurn(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, t.instance.cfg.Policy.patience(t.instance.cfg.TransactionTimeout))
	defer cancel()
	var commits []*slotCommit
	for _, slot := range t.slots() {
		if c := t.beginCommit(slot); c != nil {
			commits = append(commits, c)
		}
	}
	t.publish() // so that a commit that hangs can be seen to hang
	var wg sync.WaitGroup
	for _, c := range commits {
		if c.err == nil {
			wg.Go(func() { c.err = t.guard(func() error { return t.send(ctx, c) }) })
		}
	}
	wg.Wait()
	var failed []*slotError
	for _, c := range commits {
		if c.err == nil {
			c.err = t.endCommit(c)
		}
		if c.err != nil {
			failed = append(failed, &slotError{c.slot, c.err})
		}
	}
	t.publish()
	return failed
}

// beginCommit is step 1. It returns nil where there is nothing to commit.
func (t *StreamThread) beginCommit(slot *producerSlot) *slotCommit {
	c := &slotCommit{slot: slot, tasks: t.tasksToCommit(slot), identity: t.identity, begin: time.Now()}
	if slot.producer == nil || (len(c.tasks) == 0 && !slot.producer.inTransactionNow()) {
		return nil
	}
	slot.phase("COMMITTING")
	for _, task := range c.tasks {
		if c.err = task.flushCaches(); c.err != nil {
			return c
		}
	}
	c.offsets = map[topicPartition]offsetAndMetadata{}
	for _, task := range c.tasks {
		task.offsets(c.offsets)
	}
	c.err = slot.producer.begin()
	return c
}

// send is steps 2 to 4, in a goroutine of its own while the thread waits.
func (t *StreamThread) send(ctx context.Context, c *slotCommit) error {
	producer, m, begin := c.slot.producer, c.slot.metrics, time.Now()
	err := producer.flush(ctx)
	m.Flush(time.Since(begin))
	if err != nil {
		return err
	}
	if producer.guarantee.Transactional() {
		begin = time.Now()
		defer func() { m.TxnCommit(time.Since(begin)) }() // with the offsets: the client does both in one
		return producer.commit(ctx, c.identity, c.offsets)
	}
	if err := t.member.commitOffsets(ctx, c.identity, c.offsets); err != nil {
		return at(PlaceCommit, &transactionError{"commit offsets", err})
	}
	producer.endTransaction()
	return nil
}

// endCommit is step 5.
func (t *StreamThread) endCommit(c *slotCommit) error {
	now := time.Now()
	t.metrics.Committed(now.Sub(c.begin))
	t.noteCommit(now, c.slot, c.tasks)
	for _, task := range t.slotTasks(c.slot) {
		if !task.is(TaskRunning) {
			continue
		}
		if err := task.committed(now); err != nil {
			return fmt.Errorf("apply committed state: %w", err)
		}
		task.metrics.Commit.Record(now.Sub(c.begin))
	}
	return nil
}

// tasksToCommit returns the slot's running tasks whose position has moved, that have written something, or that have not
// committed since they started.
func (t *StreamThread) tasksToCommit(slot *producerSlot) []*streamTask {
	var tasks []*streamTask
	for _, task := range t.slotTasks(slot) {
		if task.commitNeeded && task.is(TaskRunning) {
			tasks = append(tasks, task)
		}
	}
	return tasks
}

// noteCommit counts a committed transaction. Epochs that rise with each commit (KIP-890) are not worth an event.
func (t *StreamThread) noteCommit(now time.Time, slot *producerSlot, tasks []*streamTask) {
	t.migrationsInRow = 0
	t.lastCommit, t.lastCommitted = now, now
	t.counters.committed.Add(1)
	if t.instance.cfg.Guarantee.Transactional() {
		t.metrics.TransactionCommitted()
	}
	for _, task := range tasks {
		t.counters.processedInputs.Add(uint64(task.uncommittedIn))
	}
	slot.committed()
}

// maybeCommit commits when the commit interval has passed, or when a task has asked for it. Between the end of a group session
// and the next assignment nothing is committed: the generation is about to change (Kafka Streams skips such commits, too).
func (t *StreamThread) maybeCommit(ctx context.Context) error {
	if t.rebalancing || (time.Since(t.lastCommit) < t.instance.cfg.CommitInterval && !t.commitRequested()) {
		return nil
	}
	t.lastCommit = time.Now()
	return t.handleAll(t.commit(ctx))
}

// commitRequested reports whether a processor wants its work to be committed before the interval has passed.
func (t *StreamThread) commitRequested() bool {
	for _, task := range t.tasks {
		if task.commitRequested && task.commitNeeded {
			return true
		}
	}
	return false
}

// handleAll reacts to failed commits; only fatal errors are returned.
func (t *StreamThread) handleAll(failed []*slotError) error {
	var fatal error
	for _, f := range failed {
		fatal = errors.Join(fatal, t.handle(f))
	}
	return fatal
}
