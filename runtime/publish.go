package runtime

import (
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
		LastCommit: t.lastCommitted, LastCause: t.lastCause, LastError: t.lastError,
	}
	if t.member != nil {
		s.Leader = t.member.leads()
	}
	for _, slot := range t.slots() {
		s.Producers = append(s.Producers, slot.snapshot())
	}
	for _, task := range t.tasks {
		s.Tasks = append(s.Tasks, task.status())
		for _, store := range task.manager.stores {
			s.Stores = append(s.Stores, store.status(false))
		}
	}
	for _, task := range t.standbys {
		s.Standbys = append(s.Standbys, task.status())
		for _, store := range task.manager.stores {
			s.Stores = append(s.Stores, store.status(true))
		}
	}
	slices.SortFunc(s.Producers, func(a, b ProducerStatus) int { return compareText(a.TransactionalID, b.TransactionalID) })
	slices.SortFunc(s.Tasks, func(a, b TaskStatus) int { return compareText(a.ID, b.ID) })
	slices.SortFunc(s.Standbys, func(a, b TaskStatus) int { return compareText(a.ID, b.ID) })
	slices.SortFunc(s.Stores, func(a, b StoreStatus) int {
		if a.Task != b.Task {
			return compareText(a.Task, b.Task)
		}
		return compareText(a.Name, b.Name)
	})
	t.published.Store(s)
	t.publishedAt = now
	t.measureTasks()
}

// Status returns what the thread published last, completed by its counters and the state of its connections, which
// change without it.
func (t *StreamThread) Status() ThreadStatus {
	s := *t.published.Load()
	now := time.Now()
	s.Counters = t.counters.load()
	s.DisconnectedSince = t.monitor.disconnectedSince(now)
	s.Connected = s.DisconnectedSince.IsZero()
	if !s.Connected {
		cfg := &t.instance.cfg
		if at := t.monitor.lastHeartbeat(); !at.IsZero() {
			s.SessionDeadline = at.Add(cfg.SessionTimeout)
		}
		if oldest := s.TransactionSince(); !oldest.IsZero() {
			s.TransactionDeadline = oldest.Add(cfg.TransactionTimeout)
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
