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
	if t.member != nil {
		t.member.leave(leaveTimeout, cause == nil && t.instance.stay.Load())
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

// leaveTimeout bounds the wish to leave the group: a member that is cut off cannot.
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
