package runtime

import (
	"errors"
	"fmt"
	"time"

	"eostop/runtime/journal"
)

// handle reacts to an error of a round by its class. Only a fatal one is returned.
func (t *StreamThread) handle(err error) error {
	if err == nil || t.ctx.Err() != nil {
		return nil //nolint:nilerr // a thread that must stop at once has nothing to recover
	}
	class, cause := Classify(err)
	t.lastCause, t.lastError = cause, err.Error()
	switch class {
	case Retriable:
		t.retries++
		t.retryAt = time.Now().Add(min(time.Second, time.Duration(t.retries)*50*time.Millisecond))
		t.log().Warn("retrying", "cause", cause, "error", err)
		t.publish()
		return nil
	case Migrated, Corrupted:
		return t.abandon(err, class, cause)
	default:
		return err
	}
}

// abandon gives the open transaction up: the producer is discarded, every task goes back to its last committed state. What
// really was committed is then learned from the broker, in prepare.
func (t *StreamThread) abandon(err error, class ErrorClass, cause string) error {
	t.migrationsInRow++
	t.retryAt = time.Now().Add(time.Duration(t.migrationsInRow-1) * migrationPause) // the first time at once
	if t.migrationsInRow >= t.instance.cfg.MaxMigrations {
		return fmt.Errorf("%w: %d in a row without a commit, last: %w", errTooManyMigrations, t.migrationsInRow, err)
	}
	kind := journal.KindMigrated
	if class == Corrupted {
		kind = journal.KindCorrupted
		t.counters.corrupted.Add(1)
	} else {
		t.counters.migrated.Add(1)
	}
	t.emit(journal.Event{
		Kind: kind, Level: journal.Warn, TransactionalID: t.producing.status.TransactionalID,
		ProducerID: t.producing.status.ProducerID, Epoch: t.producing.status.Epoch, Cause: cause, Error: err.Error(),
		Text: fmt.Sprintf("stream-thread [%s] Detected that the thread is being fenced (%s). Giving up the transaction and starting over from what is committed.", t.name, cause),
	})
	t.discardProducer(err, cause)
	for _, task := range t.tasks {
		if err := t.reviveTask(task); err != nil {
			return err
		}
	}
	if t.in(ThreadRunning) {
		return t.setState(ThreadPartitionsAssigned)
	}
	t.publish()
	return nil
}

// migrationPause grows with each migration in a row: a member that was expelled is refused until its client has noticed.
const migrationPause = 50 * time.Millisecond

// errTooManyMigrations ends a thread that does nothing but start over.
var errTooManyMigrations = errors.New("too many migrations")

// reviveTask takes a task back to CREATED. Its stores stay open; one that is broken is
// emptied and rebuilt when the task is restored.
func (t *StreamThread) reviveTask(task *streamTask) error {
	t.detach(task)
	return task.revive()
}

// detach stops everything that is fetched for a task.
func (t *StreamThread) detach(task *streamTask) {
	remove := map[string][]int32{}
	for _, in := range task.inputs {
		if _, ok := t.inputs[in.topicPartition]; ok {
			delete(t.inputs, in.topicPartition)
			remove[in.topic] = append(remove[in.topic], in.partition)
		}
	}
	t.data.RemoveConsumePartitions(remove)
	for _, s := range task.stores {
		t.stopRestore(s)
	}
}

// discardProducer closes the producer and counts what is lost with it.
func (t *StreamThread) discardProducer(err error, cause string) {
	unknown, fenced, aborted := errors.Is(err, ErrUnknownOutcome), isFence(err), t.producer.inTransactionNow()
	if aborted {
		t.counters.aborted.Add(1)
	}
	if fenced {
		t.counters.fenced.Add(1)
	}
	if unknown {
		t.counters.unknown.Add(1)
	}
	t.leftOpen = t.leftOpen || aborted
	t.producing.discarded(cause, aborted, fenced)
	if t.producer != nil {
		t.producer.close()
		t.producer = nil
	}
}
