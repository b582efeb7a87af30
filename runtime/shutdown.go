package runtime

import (
	"context"
	"errors"
	"time"
)

// shutdown ends the thread: clean after a stop, dirty after an error. It never raises a new error.
func (t *StreamThread) shutdown(cause error) {
	clean := cause == nil && t.ctx.Err() == nil
	if err := t.setState(ThreadPendingShutdown); err != nil {
		t.log().Debug("shutdown", "error", err)
	}
	t.log().Info("Shutting down", "clean", clean)
	if clean {
		clean = t.guard(func() error { return t.finalCommit(t.ctx) }) == nil
	}
	_, why := Classify(cause)
	for _, slot := range t.slots() {
		if !clean {
			slot.discard(cause, why)
		}
		slot.close()
	}
	if t.updater != nil {
		if err := t.guard(func() error { return t.closeTasks(clean) }); err != nil {
			t.log().Warn("closing tasks failed", "error", err)
		}
		t.wanted, t.wantedStandbys = nil, nil
		t.updater.close()
	}
	deadline, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	t.retire(deadline, cause)
	if t.member != nil {
		t.member.leave(deadline, t.stays(cause))
	}
	if t.consumer != nil {
		t.consumer.Close()
	}
	if t.purge.pending != nil {
		<-t.purge.pending
	}
	if err := t.setState(ThreadDead); err != nil {
		t.log().Debug("shutdown", "error", err)
	}
	t.log().Info("Shutdown complete")
}

// stays reports whether the member stays in the group until its session times out. One that ends because the application is to end
// does: if it left, the group would rebalance before the others have heard of it.
func (t *StreamThread) stays(cause error) bool {
	_, requested := errors.AsType[*shutdownRequestedError](cause)
	return requested || (cause == nil && t.instance.stay.Load())
}

// retire initialises the transactional id of the thread's producer once more. That aborts what it has left open, so that nobody has to
// wait for the transaction's time-out, and tells the group's leader that nothing is to come from a member that leaves. A task's own
// producer (exactly_once) is left alone: its id may be the next owner's by now, who ends what is open anyway.
func (t *StreamThread) retire(ctx context.Context, cause error) {
	cfg := &t.instance.cfg
	if t.slot == nil || !cfg.Guarantee.Transactional() || t.ctx.Err() != nil || cfg.Policy.NoReinit || cfg.Policy.SharedTransactionalID {
		return
	}
	if !t.slot.leftOpen && (t.slot.status.ProducerID < 0 || t.stays(cause)) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout/2)
	defer cancel()
	if err := t.instance.admin.initProducerID(ctx, t.slot.status.TransactionalID, cfg.TransactionTimeout); err != nil {
		t.log().Debug("initialise the producer's id for the last time", "error", err)
		return
	}
	t.slot.leftOpen = false
}

// leaveTimeout bounds what a thread wants from the brokers before it is gone: one that is cut off gets no answer.
const leaveTimeout = 2 * time.Second

// finalCommit commits before a clean shutdown. While a rebalance is going on the generation may be stale; then the commit
// is refused and the next owner processes the records again.
func (t *StreamThread) finalCommit(ctx context.Context) error {
	if !t.identity.valid() {
		return nil
	}
	var errs []error
	for _, failed := range t.commit(ctx) {
		class, why := Classify(failed)
		t.log().Warn("final commit failed", "class", class.String(), "cause", why, "error", failed)
		failed.slot.discard(failed, why)
		errs = append(errs, failed)
	}
	return errors.Join(errs...)
}
