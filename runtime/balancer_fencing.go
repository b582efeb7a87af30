package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"eostop/runtime/journal"
)

// fencingLimit is how long the leader may take to abort what expelled members left open.
const fencingLimit = 2 * time.Second

// fence initialises the transactional ids that the previous assignment names and no present member uses: that aborts what expelled
// members left, which takers would otherwise wait for until the coordinator's scan, and refuses what is still on its way from them.
// It can only abort, never commit. Ids that are over are left alone. Failures are ignored: then the takers wait. It returns the ids of
// all members, and the fenced ids whose members have not come back yet.
func (b *balance) fence(ctx context.Context) (current, fenced []string) {
	for i := range b.subscriptions {
		current = append(current, b.subscriptions[i].ids()...)
	}
	slices.Sort(current)
	current = slices.Compact(current)
	previous := b.member.latest.Load()
	if previous == nil || !b.member.thread.instance.cfg.ActiveFencing {
		return current, nil
	}
	fenced = slices.Clone(previous.Fenced)
	var gone []string
	for _, id := range previous.TransactionalIDs {
		if !slices.Contains(current, id) {
			gone = append(gone, id)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, fencingLimit)
	defer cancel()
	inst := b.member.thread.instance
	described := inst.admin.transactions(ctx, gone)
	gone = slices.DeleteFunc(gone, func(id string) bool {
		d, ok := described[id]
		return ok && over(d, isTaskTransactionalID(inst.cfg.ApplicationID, id))
	})
	var wg sync.WaitGroup
	for _, id := range gone {
		wg.Go(func() {
			err := inst.admin.initProducerID(ctx, id, inst.cfg.TransactionTimeout)
			e := journal.Event{
				Kind: journal.KindTransaction, Level: journal.Info, TransactionalID: id, To: "ABORTED", Cause: "fenced by the group after expulsion",
				Text: fmt.Sprintf("The group aborts what expelled producer %s left open", id),
			}
			if err != nil {
				e.Level, e.Error = journal.Warn, err.Error()
			}
			b.member.thread.emit(e)
		})
	}
	wg.Wait()
	fenced = append(fenced, gone...)
	// A member that is back learns it from this assignment; the next one need not say it again.
	returned := func(id string) bool {
		return slices.Contains(current, id) && slices.Contains(previous.TransactionalIDs, id)
	}
	fenced = slices.DeleteFunc(fenced, returned)
	slices.Sort(fenced)
	return current, slices.Compact(fenced)
}

// over reports whether nothing can come any more under a transactional id: it is not known, or nothing was written since it was
// initialised. A thread that leaves the group initialises its id for the last time; so does one that is just starting, and must not
// be disturbed. (kfake says "Empty" of whatever is not open.) The id of a task (exactly_once) is initialised by the task's next
// owner; in its name only an open transaction is to be ended, for in a rolling change to exactly_once_v2 nobody else does.
func over(d kadm.DescribedTransaction, ofTask bool) bool {
	switch {
	case d.Err != nil:
		return errors.Is(d.Err, kerr.TransactionalIDNotFound)
	case d.State == "CompleteCommit" || d.State == "CompleteAbort":
		return ofTask
	default:
		return d.State == "Empty" || d.State == "Dead"
	}
}

// handOut adds the transactional ids that members of exactly_once get with their tasks. Nobody has announced them yet, but the
// next leader must know them when their member is expelled at once. Whoever gets such an id initialises it anew, so it is not
// one of an expelled member any more.
func (b *balance) handOut(common *assignment, now plan) {
	if b.exactlyOnce == nil {
		return
	}
	app := b.member.thread.instance.cfg.ApplicationID
	var given []string
	for _, member := range b.exactlyOnce {
		for _, id := range now.members[member].active {
			given = append(given, taskTransactionalID(app, id))
		}
	}
	common.Fenced = slices.DeleteFunc(common.Fenced, func(id string) bool { return slices.Contains(given, id) })
	common.TransactionalIDs = append(slices.Clone(common.TransactionalIDs), given...)
	slices.Sort(common.TransactionalIDs)
	common.TransactionalIDs = slices.Compact(common.TransactionalIDs)
}
