package runtime

import (
	"context"
	"fmt"
	"time"
)

// commit is the commit protocol of exactly_once_v2 (KIP-129, KIP-447). All tasks of the thread commit in one transaction:
//
//  1. collect the tasks that have something to commit;
//  2. flush the producer: every record of the transaction is acknowledged, or the commit has failed;
//  3. look at the send errors; never go on after one;
//  4. send the offsets with the member id and generation under which the tasks are owned, and end the transaction;
//  5. only then apply the state: each store takes its buffer and its changelog position in one batch.
//
// A cut may come anywhere between these steps. Before 4 has succeeded nothing is visible to anybody; if the outcome of 4
// is not known the caller treats the commit as failed and learns the truth from the broker: the next producer of the same
// id completes or aborts the transaction, the committed offsets are read back, and the stores restore what they miss.
func (t *StreamThread) commit(ctx context.Context) error {
	tasks := t.tasksToCommit()
	if len(tasks) == 0 && !t.producer.inTransactionNow() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, t.instance.cfg.TransactionTimeout)
	defer cancel()
	t.producing.phase("COMMITTING")
	t.publish() // so that a commit that hangs can be seen to hang

	if err := t.producer.begin(); err != nil {
		return err
	}
	if err := t.producer.flush(ctx); err != nil {
		return err
	}
	offsets := map[topicPartition]offsetAndMetadata{}
	for _, task := range tasks {
		task.offsets(offsets)
	}
	if err := t.producer.commit(ctx, t.identity, offsets); err != nil {
		return err
	}

	now := time.Now()
	t.noteCommit(now, tasks)
	for _, task := range t.tasks {
		if !task.is(TaskRunning) {
			continue
		}
		if err := task.committed(now); err != nil {
			return fmt.Errorf("apply committed state: %w", err)
		}
	}
	t.publish()
	return nil
}

// tasksToCommit returns the running tasks whose position has moved or that have not committed since they started.
func (t *StreamThread) tasksToCommit() []*streamTask {
	var tasks []*streamTask
	for _, task := range t.tasks {
		if task.commitNeeded && task.is(TaskRunning) {
			tasks = append(tasks, task)
		}
	}
	return tasks
}

// noteCommit counts a committed transaction. Epochs that rise with each commit (KIP-890) are not worth an event.
func (t *StreamThread) noteCommit(now time.Time, tasks []*streamTask) {
	t.migrationsInRow = 0
	t.lastCommit, t.lastCommitted = now, now
	t.counters.committed.Add(1)
	for _, task := range tasks {
		t.counters.processedInputs.Add(uint64(task.uncommittedIn))
	}
	t.producing.committed(t.producer)
}

// maybeCommit commits when the commit interval has passed. Between the end of a group session and the next assignment
// nothing is committed: the generation is about to change (Kafka Streams skips such commits, too).
func (t *StreamThread) maybeCommit(ctx context.Context) error {
	if t.rebalancing || t.producer == nil || time.Since(t.lastCommit) < t.instance.cfg.CommitInterval {
		return nil
	}
	t.lastCommit = time.Now()
	return t.commit(ctx)
}
