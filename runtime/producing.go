package runtime

import (
	"fmt"
	"time"

	"eostop/runtime/journal"
)

// epochHistory is how many changes of a producer's id or epoch are kept for the screen.
const epochHistory = 16

// producing follows a thread's producer over all its incarnations. It belongs to the thread's goroutine.
type producing struct {
	thread *StreamThread
	status ProducerStatus
	cause  string // why the next incarnation will be needed
}

func (p *producing) phase(name string) {
	if p.status.Phase != name {
		p.status.Phase, p.status.PhaseSince = name, time.Now()
	}
}

// opened notes a new incarnation.
func (p *producing) opened(producer *streamsProducer) {
	id, epoch := producer.id()
	cause := p.cause
	if cause == "" {
		cause = "start"
	}
	p.cause = ""
	p.status.ProducerID, p.status.Epoch = id, epoch
	p.status.Epochs = append(p.status.Epochs[max(0, len(p.status.Epochs)-epochHistory+1):len(p.status.Epochs):len(p.status.Epochs)],
		EpochChange{At: time.Now(), ProducerID: id, Epoch: epoch, Cause: cause})
	p.phase("READY")
	p.thread.emit(journal.Event{
		Kind: journal.KindProducer, Level: journal.Info, TransactionalID: p.status.TransactionalID, ProducerID: id, Epoch: epoch, Cause: cause,
		Text: fmt.Sprintf("producer %s initialised: producer id %d, epoch %d (%s)", p.status.TransactionalID, id, epoch, cause),
	})
}

// committed notes a committed transaction and the epoch that may have come with it.
func (p *producing) committed(producer *streamsProducer) {
	p.status.Commits++
	p.status.ProducerID, p.status.Epoch = producer.id()
	p.phase("READY")
}

// discarded notes that the producer was given up.
func (p *producing) discarded(cause string, aborted, fenced bool) {
	if aborted {
		p.status.Aborts++
	}
	if fenced {
		p.status.Fences++
	}
	p.cause = cause
	p.phase("DISCARDED")
}

// snapshot completes the status for publication.
func (p *producing) snapshot(producer *streamsProducer) ProducerStatus {
	s := p.status
	s.TransactionSince = time.Time{}
	if producer.inTransactionNow() {
		s.TransactionSince = producer.since
		if s.Phase == "READY" {
			s.Phase, s.PhaseSince = "IN_TRANSACTION", producer.since
		}
	}
	return s
}
