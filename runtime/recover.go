package runtime

import (
	"errors"
	"fmt"
	"slices"
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
	if t.instance.cfg.Policy.deadly(err) {
		return err
	}
	switch class {
	case Retriable:
		if timeout := t.tryAgain(&t.retry, err); timeout != nil {
			return timeout
		}
		t.log().Warn("retrying", "cause", cause, "error", err)
		t.publish()
		return nil
	case Migrated, Corrupted:
		return t.abandon(err, class, cause)
	default:
		return err
	}
}

// abandon gives open transactions up: the producer is discarded, its tasks go back to their last committed state. What
// really was committed is then learned from the broker, in prepare. An error that names a slot concerns that one, any other
// all of them.
func (t *StreamThread) abandon(err error, class ErrorClass, cause string) error {
	if fatal := t.countMigration(err); fatal != nil {
		return fatal
	}
	suspended, fatal := t.suspendClean(class)
	if fatal != nil {
		return fatal
	}
	slots := slices.DeleteFunc(t.failedSlots(err), func(s *producerSlot) bool { return s.task != nil && t.tasks[s.task.id] != s.task })
	kind := journal.KindMigrated
	if class == Corrupted {
		kind = journal.KindCorrupted
		t.counters.corrupted.Add(1)
		t.metrics.Corrupted(cause)
	} else {
		t.counters.migrated.Add(1)
		t.metrics.Migrated(cause)
	}
	e := journal.Event{
		Kind: kind, Level: journal.Warn, Cause: cause, Error: err.Error(),
		Text: fmt.Sprintf("stream-thread [%s] Detected that the thread is being fenced (%s). Giving up the transaction and starting over from what is committed.", t.name, cause),
	}
	if len(slots) == 1 {
		status := &slots[0].status
		e.TransactionalID, e.ProducerID, e.Epoch = status.TransactionalID, status.ProducerID, status.Epoch
	}
	t.emit(e)
	for _, slot := range slots {
		if err := t.abandonSlot(slot, err, cause); err != nil {
			return err
		}
	}
	if t.in(ThreadRunning) || suspended {
		return t.setState(ThreadPartitionsAssigned)
	}
	t.publish()
	return nil
}

// failedSlots returns the slots that an error names. Where one of several joined errors names none, it concerns all.
func (t *StreamThread) failedSlots(err error) []*producerSlot {
	var slots []*producerSlot
	for _, path := range pathsOf(err) {
		failed, ok := errors.AsType[*slotError](path)
		if !ok {
			return t.slots()
		}
		if !slices.Contains(slots, failed.slot) {
			slots = append(slots, failed.slot)
		}
	}
	return slots
}

// countMigration ends a thread that does nothing but start over: endless migrations would hide a mistake of ours. Tasks with
// producers of their own are fenced one by one when their thread has been expelled; that counts once.
func (t *StreamThread) countMigration(err error) error {
	if t.unconfirmed {
		return nil
	}
	t.migrationsInRow++
	if t.migrationsInRow >= t.instance.cfg.MaxMigrations {
		return fmt.Errorf("%w: %d in a row without a commit, last: %w", errTooManyMigrations, t.migrationsInRow, err)
	}
	// The first time at once. A member that was expelled is refused until its client has noticed.
	t.retry.at = time.Now().Add(time.Duration(t.migrationsInRow-1) * migrationPause)
	return nil
}

// migrationPause grows with each migration in a row.
const migrationPause = 50 * time.Millisecond

// errTooManyMigrations ends a thread that does nothing but start over.
var errTooManyMigrations = errors.New("too many migrations")

// abandonSlot discards a producer and takes its tasks back to CREATED. Tasks that are being restored go on: they have written
// nothing. Under exactly_once the task is closed and the group asked whose it is: to open its producer again fences whoever
// has got it meanwhile.
func (t *StreamThread) abandonSlot(slot *producerSlot, err error, cause string) error {
	if slot.task != nil {
		if fatal := t.flushZombie(slot.task); fatal != nil {
			return fatal
		}
	}
	slot.discard(err, cause)
	if slot.task != nil {
		task := slot.task
		delete(t.tasks, task.id)
		if !t.unconfirmed {
			t.unconfirmed = true
			t.member.rejoin()
		}
		return t.closeTask(task, false)
	}
	for _, task := range t.tasks {
		if task.is(TaskRestoring) {
			continue
		}
		t.detach(task)
		if err := task.revive(); err != nil {
			// Going back is a clean-up path, which must not end the thread. The task is opened anew; that will tell what is wrong.
			t.log().Warn("the task cannot go on with its stores", "task", task.id.String(), "error", err)
			delete(t.tasks, task.id)
			if err := t.closeTask(task, false); err != nil {
				return err
			}
		}
	}
	return nil
}

// closeTask ends a task, whoever owns its stores at the moment.
func (t *StreamThread) closeTask(task *streamTask, clean bool) error {
	t.detach(task)
	if task.is(TaskRestoring) {
		t.updater.remove(task.id)
	}
	clean = clean || !task.is(TaskRunning) // then it has written nothing
	return task.close(clean)
}

// detach stops everything that is fetched for a task.
func (t *StreamThread) detach(task *streamTask) {
	remove := map[string][]int32{}
	for _, in := range task.inputs {
		if _, ok := t.inputs[in.topicPartition]; ok {
			delete(t.inputs, in.topicPartition)
			remove[in.topic] = append(remove[in.topic], in.partition)
			in.resume(t)
			if in.metrics != nil {
				in.metrics.Close()
				in.metrics = nil
			}
		}
	}
	if len(remove) > 0 {
		t.consumer.RemoveConsumePartitions(remove)
	}
}
