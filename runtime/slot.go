package runtime

import (
	"context"
	"errors"
	"fmt"
	"time"

	"eostop/runtime/journal"
	"eostop/runtime/metrics"
)

// epochHistory is how many changes of a producer's id or epoch are kept for the screen.
const epochHistory = 16

// producerSlot is the place of one producer over all its incarnations: the thread's only one, or one of each task under
// exactly_once. What is written through a slot is committed together. It belongs to the thread's goroutine.
type producerSlot struct {
	thread   *StreamThread
	task     *streamTask       // whose slot it is; nil for the thread's
	producer *streamsProducer  // nil: to be opened before anything can be written
	opening  *opening          // of the next producer; nil while there is none on its way
	retry    backoff           // of the opening
	metrics  *metrics.Producer // of the producer that is there, or being opened
	leftOpen bool              // a discarded producer may have left a transaction open
	status   ProducerStatus
	cause    string // why the next incarnation will be needed
}

func newSlot(t *StreamThread, transactionalID string) *producerSlot {
	return &producerSlot{thread: t, metrics: new(metrics.Producer), status: ProducerStatus{Thread: t.name, TransactionalID: transactionalID, ProducerID: -1, Epoch: -1, Phase: "NONE"}}
}

// slots returns the slots that are there now.
func (t *StreamThread) slots() []*producerSlot {
	if t.slot != nil {
		return []*producerSlot{t.slot}
	}
	var all []*producerSlot
	for _, task := range t.tasks {
		all = append(all, task.slot)
	}
	return all
}

// newTaskSlot returns the slot that a new task writes through.
func (t *StreamThread) newTaskSlot(task *streamTask) *producerSlot {
	if t.slot != nil {
		return t.slot
	}
	slot := newSlot(t, taskTransactionalID(t.instance.cfg.ApplicationID, task.id))
	slot.task = task
	return slot
}

// slotTasks returns the tasks that write through a slot.
func (t *StreamThread) slotTasks(slot *producerSlot) []*streamTask {
	if slot.task != nil {
		return []*streamTask{slot.task}
	}
	tasks := make([]*streamTask, 0, len(t.tasks))
	for _, task := range t.tasks {
		tasks = append(tasks, task)
	}
	return tasks
}

// opening is a producer that is being initialised, in a goroutine of its own: a coordinator that does not answer holds up the tasks
// of this slot, and nothing else.
type opening struct {
	cancel   context.CancelFunc
	done     chan struct{} // closed when what follows is set
	producer *streamsProducer
	err      error
}

// open initialises the slot's producer and reports whether it is there; that takes several calls. Whatever an older one left open
// is aborted or completed by it; so it comes before restoring and before the committed offsets are read.
func (s *producerSlot) open(ctx context.Context) (bool, error) {
	t := s.thread
	switch {
	case s.producer != nil:
		return true, nil
	case s.opening == nil && s.retry.waiting(time.Now()):
		return false, nil
	case s.opening == nil:
		s.phase("INITIALIZING")
		t.publish()
		s.begin(ctx)
	}
	select {
	case <-s.opening.done:
	default:
		return false, nil
	}
	o := s.opening
	s.opening = nil
	if o.err != nil {
		err := at(PlaceInit, &retryError{"open producer", o.err})
		class, cause := Classify(err)
		if class == Fatal || t.instance.cfg.Policy.deadly(err) {
			return false, err
		}
		t.log().Warn("retrying", "cause", cause, "error", err)
		t.lastCause, t.lastError = cause, err.Error()
		return false, t.tryAgain(&s.retry, err)
	}
	s.retry.reset()
	s.producer, s.leftOpen = o.producer, false
	s.opened()
	return true, nil
}

// begin starts the initialisation. The thread is woken when it is over.
func (s *producerSlot) begin(ctx context.Context) {
	t := s.thread
	ctx, cancel := context.WithTimeout(ctx, t.instance.cfg.RequestTimeout)
	o := &opening{cancel: cancel, done: make(chan struct{})}
	s.opening = o
	options := t.instance.producerOptions(t, s.status.TransactionalID)
	log := t.log().With("client", t.name+"-"+producerClient)
	s.metrics = t.metrics.Producer(s.clientID())
	m, begin := s.metrics, time.Now()
	go func() {
		defer t.interrupt()
		defer close(o.done)
		defer cancel()
		defer func() { m.TxnInit(time.Since(begin)) }()
		o.err = t.guard(func() (err error) {
			if err = t.instance.brokers.ok(ctx, t.instance.admin, t.instance.cfg.Guarantee); err == nil {
				o.producer, err = openProducer(ctx, &t.instance.cfg, log, options...)
			}
			return err
		})
		if o.producer != nil {
			o.producer.judge = t.judgeSend
		}
	}()
}

// clientID names the producer in metrics: that of a task has the task's name in it, as in Kafka Streams.
func (s *producerSlot) clientID() string {
	if s.task != nil {
		return s.thread.name + "-" + s.task.id.String() + "-" + producerClient
	}
	return s.thread.name + "-" + producerClient
}

// abandonOpening gives an initialisation up that is on its way.
func (s *producerSlot) abandonOpening() {
	if s.opening == nil {
		return
	}
	s.opening.cancel()
	<-s.opening.done
	if s.opening.producer != nil {
		s.opening.producer.close()
	}
	s.opening = nil
}

func (s *producerSlot) phase(name string) {
	if s.status.Phase != name {
		s.status.Phase, s.status.PhaseSince = name, time.Now()
	}
}

// opened notes a new incarnation.
func (s *producerSlot) opened() {
	id, epoch := s.producer.id()
	cause := s.cause
	if cause == "" {
		cause = "start"
	}
	s.cause = ""
	s.status.ProducerID, s.status.Epoch = id, epoch
	s.status.Epochs = append(s.status.Epochs[max(0, len(s.status.Epochs)-epochHistory+1):len(s.status.Epochs):len(s.status.Epochs)],
		EpochChange{At: time.Now(), ProducerID: id, Epoch: epoch, Cause: cause})
	s.phase("READY")
	s.thread.emit(journal.Event{
		Kind: journal.KindProducer, Level: journal.Info, TransactionalID: s.status.TransactionalID, ProducerID: id, Epoch: epoch, Cause: cause,
		Text: fmt.Sprintf("producer %s initialised: producer id %d, epoch %d (%s)", s.status.name(), id, epoch, cause),
	})
}

// committed notes a committed transaction and the epoch that may have come with it.
func (s *producerSlot) committed() {
	s.status.Commits++
	s.status.ProducerID, s.status.Epoch = s.producer.id()
	s.phase("READY")
}

// discard closes the producer and counts what is lost with it. What it left open is ended by the next producer of the same
// transactional id, by the group's leader, or by the broker's time-out.
func (s *producerSlot) discard(err error, cause string) {
	c := &s.thread.counters
	unknown, fenced, aborted := errors.Is(err, ErrUnknownOutcome), isFence(err), s.transactionOpen()
	if aborted {
		c.aborted.Add(1)
		s.thread.metrics.TransactionAborted()
		s.status.Aborts++
	}
	if fenced {
		c.fenced.Add(1)
		s.thread.metrics.Fenced(cause)
		s.status.Fences++
	}
	if unknown {
		c.unknown.Add(1)
		s.thread.metrics.TransactionUnknown()
	}
	for _, task := range s.thread.slotTasks(s) {
		c.replayed.Add(uint64(task.uncommitted))
		task.uncommitted = 0 // it may be discarded once more
	}
	s.leftOpen = s.leftOpen || aborted
	s.cause = cause
	s.phase("DISCARDED")
	if s.thread.instance.cfg.Policy.NoReinit && s.producer != nil {
		s.producer.endTransaction()
		return
	}
	s.close()
}

// close closes the producer; nothing is open in it.
func (s *producerSlot) close() {
	s.abandonOpening()
	s.metrics.Close()
	s.metrics = new(metrics.Producer)
	if s.producer != nil {
		s.producer.close()
		s.producer = nil
	}
}

// transactionOpen reports whether a transaction is open; records without transactions can be sent again, but not aborted.
func (s *producerSlot) transactionOpen() bool {
	return s.producer.inTransactionNow() && s.thread.instance.cfg.Guarantee.Transactional()
}

// snapshot completes the status for publication.
func (s *producerSlot) snapshot() ProducerStatus {
	status := s.status
	status.TransactionSince = time.Time{}
	if s.transactionOpen() {
		status.TransactionSince = s.producer.since
		if status.Phase == "READY" {
			status.Phase, status.PhaseSince = "IN_TRANSACTION", s.producer.since
		}
	}
	return status
}
