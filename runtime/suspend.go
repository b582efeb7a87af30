package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"eostop/runtime/journal"
	"eostop/runtime/state"
	"eostop/runtime/topology"

	"github.com/twmb/franz-go/pkg/kerr"
)

// suspendClean does what Kafka Streams 2.4.0-rc did about a task whose producer had been fenced: before the thread rejoined,
// the callback of the rebalance suspended all of its tasks clean, the fenced one included. That commits each of them, and
// first flushes what its record caches hold: a send to a producer that is known to be fenced fails inside the flush of the
// store, where nobody looked for a fence (KAFKA-9231, first cause). It returns whether it did so, and the error that ends the
// thread.
func (t *StreamThread) suspendClean(class ErrorClass) (bool, error) {
	if !t.instance.cfg.Policy.SuspendClean || t.slot != nil || class != Migrated {
		return false, nil
	}
	changed := false
	if t.in(ThreadRunning) || t.in(ThreadPartitionsAssigned) {
		if err := t.setState(ThreadPartitionsRevoked); err != nil {
			return false, err
		}
		changed = true
	}
	tasks := t.sortedTasks()
	for _, task := range tasks {
		if !task.is(TaskRunning) {
			continue
		}
		err := t.commitSlot(t.ctx, task.slot)
		switch {
		case err == nil:
		case t.instance.cfg.Policy.deadly(err):
			return changed, at(PlaceSuspend, &suspendError{task.id, err})
		default:
			_, cause := Classify(err)
			if fatal := t.abandonSlot(task.slot, err, cause); fatal != nil {
				return changed, fatal
			}
		}
	}
	return changed, nil
}

// commitInTurn commits one slot after the other, and stops at the first that cannot.
func (t *StreamThread) commitInTurn(ctx context.Context) []*slotError {
	for _, slot := range t.slots() {
		if err := t.commitSlot(ctx, slot); err != nil {
			return []*slotError{{slot, err}}
		}
	}
	t.publish()
	return nil
}

// commitSlot commits what is written through one slot.
func (t *StreamThread) commitSlot(ctx context.Context, slot *producerSlot) error {
	ctx, cancel := context.WithTimeout(ctx, t.instance.cfg.Policy.patience(t.instance.cfg.TransactionTimeout))
	defer cancel()
	c := t.beginCommit(slot)
	if c == nil {
		return nil
	}
	t.publish() // so that a commit that hangs can be seen to hang
	if c.err == nil {
		c.err = t.send(ctx, c)
	}
	if c.err == nil {
		c.err = t.endCommit(c)
	}
	return c.err
}

// sortedTasks returns the tasks in the order of their ids.
func (t *StreamThread) sortedTasks() []*streamTask {
	var tasks []*streamTask
	for _, task := range t.tasks {
		tasks = append(tasks, task)
	}
	slices.SortFunc(tasks, func(a, b *streamTask) int { return compareTaskIDs(a.id, b.id) })
	return tasks
}

// flushZombie flushes the record caches of a task that is about to be closed dirty, as Kafka Streams 2.4.0-rc did. What is
// written then is never committed; but what fails within it ends the thread.
func (t *StreamThread) flushZombie(task *streamTask) error {
	if !t.instance.cfg.Policy.SuspendClean || t.slot != nil || !task.is(TaskRunning) || task.slot.producer == nil || task.graph == nil {
		return nil
	}
	if err := task.flushCaches(); isFence(err) && t.instance.cfg.Policy.deadly(err) {
		return at(PlaceSuspend, &suspendError{task.id, err})
	}
	return nil
}

// suspendError is the error of a task that was suspended or closed because of a fence, and met it again.
type suspendError struct {
	task TaskID
	err  error
}

func (e *suspendError) Error() string {
	return "suspend task " + e.task.String() + ": " + e.err.Error()
}
func (e *suspendError) Unwrap() error { return e.err }

// oldError is an error in the words of Kafka Streams 2.3 and 2.4.
type oldError struct {
	text string
	err  error
}

func (e *oldError) Error() string { return e.text }
func (e *oldError) Unwrap() error { return e.err }

// inOldWords says what ends the thread as Kafka Streams 2.3 and 2.4 did, before its state changes, where the policy is one of
// them.
func (t *StreamThread) inOldWords(err error) error {
	if !t.instance.cfg.Policy.KeepDead {
		return err
	}
	headline := "Encountered the following unexpected Kafka exception during processing, this usually indicate Streams internal errors:"
	if _, ok := errors.AsType[*state.RecorderExistsError](err); ok {
		headline = "Encountered the following error during processing:"
	}
	err = &oldError{t.oldWords(err), err}
	_, cause := Classify(err)
	t.emit(journal.Event{
		Kind: journal.KindError, Level: journal.Error, Cause: cause, Error: err.Error(),
		Text: fmt.Sprintf("stream-thread [%s] %s %s", t.name, headline, err),
	})
	return err
}

func (t *StreamThread) oldWords(err error) string {
	var (
		recorder *state.RecorderExistsError
		failed   *slotError
		suspend  *suspendError
		flush    *topology.FlushError
		sent     *sendFailure
	)
	task := ""
	switch {
	case errors.As(err, &suspend):
		task = suspend.task.String()
	case errors.As(err, &failed) && failed.slot.task != nil:
		task = failed.slot.task.id.String()
	}
	switch root := oldException(err); {
	case errors.As(err, &recorder):
		return "java.lang.IllegalStateException: " + recorder.Error()
	case root == "":
		return err.Error()
	case suspend != nil && errors.As(err, &flush):
		return fmt.Sprintf("stream-thread [%s] Failed to rebalance.: stream-thread [%s] failed to suspend stream tasks: "+
			"task [%s] Failed to flush state store %s: %s", t.name, t.name, task, flush.Store, root)
	case errors.As(err, &flush) && isFence(err) && !errors.Is(err, kerr.UnknownProducerID):
		return fmt.Sprintf("task [%s] Failed to flush state store %s: %s", task, flush.Store, root)
	case errors.As(err, &sent):
		return fmt.Sprintf("task [%s] Abort sending since an error caught with a previous record (timestamp %d) to topic %s due to %s",
			task, sent.timestamp.UnixMilli(), sent.topic, root)
	default:
		return fmt.Sprintf("task [%s] %s", task, root)
	}
}

// oldException returns the class and the text that an error of a broker had in the Java client of that time; empty for others.
func oldException(err error) string {
	const class = "org.apache.kafka.common.errors."
	switch {
	case errors.Is(err, kerr.ProducerFenced), errors.Is(err, kerr.InvalidProducerEpoch):
		return class + "ProducerFencedException: Producer attempted an operation with an old epoch. Either there is a newer producer with the " +
			"same transactionalId, or the producer's transaction has been expired by the broker."
	case errors.Is(err, kerr.UnknownProducerID):
		return class + "UnknownProducerIdException: This exception is raised by the broker if it could not locate the producer metadata " +
			"associated with the producerId in question. This could happen if, for instance, the producer's records were deleted because " +
			"their retention time had elapsed. Once the last records of the producerId are removed, the producer's metadata is removed " +
			"from the broker, and future appends by the producer will return this exception."
	case errors.Is(err, kerr.InvalidTxnState):
		return class + "InvalidTxnStateException: The producer attempted a transactional operation in an invalid state."
	default:
		return ""
	}
}
