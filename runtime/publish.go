package runtime

import (
	"context"
	"slices"
	"time"
)

// publish makes the thread's present state visible to others.
func (t *StreamThread) publish() {
	now := time.Now()
	state, since := t.state.get()
	s := &ThreadStatus{
		Name: t.name, Instance: t.instance.cfg.ClientID, Index: t.index, State: string(state), Since: since,
		MemberID: t.identity.member, Generation: t.identity.generation, Rebalancing: t.rebalancing, RebalancingSince: t.rebalanceSince,
		Producer: t.producing.snapshot(t.producer), LastCommit: t.lastCommitted, LastCause: t.lastCause, LastError: t.lastError,
	}
	if t.member != nil {
		s.Leader = t.member.leads()
	}
	for _, task := range t.tasks {
		s.Tasks = append(s.Tasks, task.status())
		for _, store := range task.stores {
			s.Stores = append(s.Stores, store.status())
		}
	}
	slices.SortFunc(s.Tasks, func(a, b TaskStatus) int { return compareText(a.ID, b.ID) })
	slices.SortFunc(s.Stores, func(a, b StoreStatus) int {
		if a.Task != b.Task {
			return compareText(a.Task, b.Task)
		}
		return compareText(a.Name, b.Name)
	})
	t.published.Store(s)
	t.publishedAt = now
}

// Status returns what the thread published last, completed by its counters and the state of its connections, which
// change without it.
func (t *StreamThread) Status() ThreadStatus {
	s := *t.published.Load()
	now := time.Now()
	c := &t.counters
	s.Processed, s.ProcessedInputs = c.processed.Load(), c.processedInputs.Load()
	s.Committed, s.Aborted, s.Fenced, s.UnknownOutcome = c.committed.Load(), c.aborted.Load(), c.fenced.Load(), c.unknown.Load()
	s.Migrated, s.Corrupted = c.migrated.Load(), c.corrupted.Load()
	s.RestoredRecords, s.Wiped, s.Rebuilt = c.restored.Load(), c.wiped.Load(), c.rebuilt.Load()
	s.DisconnectedSince = t.monitor.disconnectedSince(now)
	s.Connected = s.DisconnectedSince.IsZero()
	if !s.Connected {
		cfg := &t.instance.cfg
		if at := t.monitor.lastHeartbeat(); !at.IsZero() {
			s.SessionDeadline = at.Add(cfg.SessionTimeout)
		}
		if !s.Producer.TransactionSince.IsZero() {
			s.TransactionDeadline = s.Producer.TransactionSince.Add(cfg.TransactionTimeout)
		}
		if s.Rebalancing {
			s.RebalanceDeadline = s.RebalancingSince.Add(cfg.RebalanceTimeout)
		}
	}
	return s
}

// compareText orders names that hold numbers without leading zeros: shorter first, then by content.
func compareText(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	if a < b {
		return -1
	}
	if a > b {
		return 1
	}
	return 0
}

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
	if !clean {
		t.discardProducer(cause, why)
	} else if t.producer != nil {
		t.producer.close()
		t.producer = nil
	}
	if t.data != nil {
		if err := t.guard(func() error { return t.closeTasks(clean) }); err != nil {
			t.log().Warn("closing tasks failed", "error", err)
		}
		t.wanted = nil
	}
	if t.member != nil {
		t.member.leave(leaveTimeout)
	}
	if t.data != nil {
		t.data.Close()
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
	if t.producer == nil || !t.identity.valid() {
		return nil
	}
	if err := t.commit(ctx); err != nil {
		class, why := Classify(err)
		t.log().Warn("final commit failed", "class", class.String(), "cause", why, "error", err)
		t.discardProducer(err, why)
		return err
	}
	return nil
}
