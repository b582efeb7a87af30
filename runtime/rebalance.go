package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"eostop/runtime/journal"
)

// groupNews is what the group client reports. The callbacks run in the client's goroutine and wait until the thread has
// handled the news, so that the group does not move on before the thread has: no commit can slip behind a rebalance.
type groupNews struct {
	kind       newsKind
	identity   groupIdentity
	assignment *assignment
	missed     bool // a generation was completed of which this member has never heard
	handled    chan struct{}
}

type newsKind uint8

const (
	// sessionEnded: a rebalance begins; the generation is valid until the callback returns.
	sessionEnded newsKind = iota
	// assigned: a new generation began; an assignment is there.
	assigned
	// lost: the group has expelled this member, or it cannot be reached; the tasks may be somebody else's already.
	lost
)

// serveGroup handles the news that has arrived.
func (t *StreamThread) serveGroup(ctx context.Context) error {
	for {
		select {
		case news := <-t.member.news:
			err := t.handleNews(ctx, news)
			close(news.handled)
			if err != nil {
				return err
			}
		default:
			return t.member.failure()
		}
	}
}

func (t *StreamThread) handleNews(ctx context.Context, news groupNews) error {
	switch news.kind {
	case sessionEnded:
		return t.onSessionEnded(ctx)
	case assigned:
		return t.onAssigned(ctx, news)
	default:
		return t.onLost("partitions lost", "the group has expelled this member, or its coordinator cannot be reached")
	}
}

// onSessionEnded commits everything while the old generation is still valid. Tasks go on; the next commit comes after the
// assignment.
func (t *StreamThread) onSessionEnded(ctx context.Context) error {
	err := t.commitForGroup(ctx)
	t.rebalancing, t.rebalanceSince = true, time.Now()
	t.publish()
	return err
}

// commitForGroup commits in a callback of the group. A failed commit is handled here, for the group must go on anyway;
// only fatal errors are returned.
func (t *StreamThread) commitForGroup(ctx context.Context) error {
	if !t.identity.valid() {
		return nil
	}
	return t.handleAll(t.commit(ctx))
}

// onAssigned brings the thread's tasks in line with the assignment. Tasks that were taken away are committed and closed
// first; the group learns by another join that they are free (KIP-429).
func (t *StreamThread) onAssigned(ctx context.Context, news groupNews) error {
	begin := time.Now()
	defer func() { t.metrics.TasksAssigned(time.Since(begin)) }()
	claimed := t.member.claimed()
	if t.identity.valid() && (news.identity.member != t.identity.member || news.missed) {
		// The member was expelled and has joined anew without noticing, or has missed a generation: meanwhile somebody else may
		// have owned the tasks, and a commit under the new identity would not be refused.
		if err := t.onLost("missed a generation", fmt.Sprintf("joined as %s in generation %d, was %s in %d",
			news.identity.member, news.identity.generation, t.identity.member, t.identity.generation)); err != nil {
			return err
		}
	}
	t.identity, t.rebalancing, t.unconfirmed = news.identity, false, false
	a := news.assignment
	if a == nil {
		a = &assignment{}
	}
	t.partitions, t.perTask = a.Partitions, a.PerTask
	if a.Shutdown {
		return new(shutdownRequestedError)
	}
	if a.Error != "" {
		return &AssignmentError{Reason: a.Error}
	}
	t.noteFenced(a.Fenced)

	revoked, err := t.release(ctx, a)
	if err != nil {
		return err
	}
	t.wanted, t.wantedStandbys = a.Tasks, a.Standby // prepare opens those that are new
	t.member.claim(t.wanted, t.wantedStandbys)
	if err := t.setState(ThreadPartitionsAssigned); err != nil {
		return err
	}
	if a.awaits(claimed) {
		t.member.rejoin() // what was claimed is free now
	}
	t.emit(journal.Event{
		Kind: journal.KindGroup, Level: journal.Info, To: "assigned", Count: int64(len(a.Tasks)),
		Text: fmt.Sprintf("stream-thread [%s] Handle new assignment with generation %d: %d active tasks, %d standby tasks, %d revoked",
			t.name, news.identity.generation, len(a.Tasks), len(a.Standby), revoked),
	})
	t.consumed.Rebalanced(time.Since(t.rebalanceSince))
	return nil
}

// release lets go of the tasks that the thread has no more. It returns how many active ones there were.
func (t *StreamThread) release(ctx context.Context, a *assignment) (int, error) {
	var revoked []*streamTask
	for id, task := range t.tasks {
		if !slices.Contains(a.Tasks, id) {
			revoked = append(revoked, task)
		}
	}
	if err := t.revoke(ctx, revoked, a.Standby); err != nil {
		return 0, err
	}
	for id, standby := range t.standbys {
		switch {
		case slices.Contains(a.Standby, id):
		case slices.Contains(a.Tasks, id):
			manager, err := standby.end()
			if err != nil {
				return 0, err
			}
			delete(t.standbys, id)
			t.addTask(manager)
		default:
			delete(t.standbys, id)
			if err := standby.close(); err != nil {
				return 0, err
			}
		}
	}
	return len(revoked), nil
}

// revoke commits and closes tasks that another member is to get. Those that stay here as standby tasks keep their stores open.
func (t *StreamThread) revoke(ctx context.Context, tasks []*streamTask, standbys []TaskID) error {
	if len(tasks) == 0 {
		return nil
	}
	start := time.Now()
	if err := t.setState(ThreadPartitionsRevoked); err != nil {
		return err
	}
	if err := t.commitForGroup(ctx); err != nil {
		return err
	}
	for _, task := range tasks {
		if t.tasks[task.id] != task {
			continue // its commit has failed, and it is closed already
		}
		delete(t.tasks, task.id)
		if !slices.Contains(standbys, task.id) {
			if err := t.closeTask(task, true); err != nil {
				return err
			}
			continue
		}
		if err := t.recycle(task); err != nil {
			return err
		}
	}
	took := time.Since(start)
	t.metrics.TasksRevoked(took)
	t.log().Info(fmt.Sprintf("partition revocation took %d ms.", took.Milliseconds()))
	return nil
}

// recycle makes a standby task of an active one, with the same open stores.
func (t *StreamThread) recycle(task *streamTask) error {
	t.detach(task)
	if task.is(TaskRestoring) {
		t.updater.remove(task.id)
	}
	manager, err := task.release()
	if err != nil {
		return err
	}
	return t.addStandby(manager)
}

// noteFenced says it when the group has fenced a producer of this thread.
func (t *StreamThread) noteFenced(fenced []string) {
	for _, slot := range t.slots() {
		id := slot.status.TransactionalID
		if !slices.Contains(fenced, id) {
			continue
		}
		t.lastCause = "fenced by the group after expulsion"
		t.emit(journal.Event{
			Kind: journal.KindProducer, Level: journal.Info, TransactionalID: id, Cause: t.lastCause,
			Text: fmt.Sprintf("stream-thread [%s] The group has fenced this thread's producer, and aborted what it had open, after it was expelled", t.name),
		})
	}
}

// onLost closes all tasks dirty: nothing of the open transaction may be committed any more.
func (t *StreamThread) onLost(cause, detail string) error {
	start := time.Now()
	had := t.identity.valid()
	t.identity, t.rebalancing, t.unconfirmed, t.rebalanceSince = groupIdentity{}, false, false, start
	if !had && len(t.tasks) == 0 {
		return nil // said already: the client repeats it with every failed attempt to join
	}
	t.lastCause = cause
	t.emit(journal.Event{
		Kind: journal.KindGroup, Level: journal.Warn, To: "lost", Cause: cause, Count: int64(len(t.tasks)),
		Text: fmt.Sprintf("stream-thread [%s] partitions lost (%s): %s", t.name, cause, detail),
	})
	err := t.setState(ThreadPartitionsRevoked)
	t.counters.migrated.Add(1)
	t.metrics.Migrated(cause)
	for _, task := range t.tasks {
		err = errors.Join(err, t.flushZombie(task))
	}
	for _, slot := range t.slots() {
		slot.discard(nil, cause)
	}
	err = errors.Join(err, t.closeTasks(false))
	t.wanted, t.wantedStandbys = nil, nil
	t.member.claim(nil, nil)
	t.publish()
	took := time.Since(start)
	t.metrics.TasksLost(took)
	t.log().Info(fmt.Sprintf("partitions lost took %d ms.", took.Milliseconds()))
	return err
}

// closeTasks closes every task, active and standby, and forgets it.
func (t *StreamThread) closeTasks(clean bool) error {
	var errs []error
	for _, task := range t.tasks {
		errs = append(errs, t.closeTask(task, clean))
	}
	for _, standby := range t.standbys {
		errs = append(errs, standby.close())
	}
	clear(t.tasks)
	clear(t.standbys)
	return errors.Join(errs...)
}

// AssignmentError is an error that the group's leader found while it assigned tasks, and told every member.
type AssignmentError struct{ Reason string }

func (e *AssignmentError) Error() string { return "assignment: " + e.Reason }
