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

// fencedLimit bounds how many ids of members that have not come back an assignment carries: they only tell those who do come back
// why, and every member gets them all.
const fencedLimit = 100

// fence initialises the transactional ids that the previous assignment names and no present member uses: that aborts what expelled
// members left, which takers would otherwise wait for until the coordinator's scan, and refuses what is still on its way from them.
// It can only abort, never commit. Ids that are over are left alone. A failure costs time: the takers wait, and the next leader tries
// again. It returns the ids of all members, with those whose fencing failed, and the fenced ids whose members have not come back yet.
func (b *balance) fence(ctx context.Context) (current, fenced []string) {
	var known []string // of the previous assignment; a leader that is new hears of it from the others
	for i := range b.subscriptions {
		current = append(current, b.subscriptions[i].ids()...)
		known = append(known, b.subscriptions[i].Known...)
	}
	current, known = sorted(current), sorted(known)
	inst := b.member.thread.instance
	if !inst.cfg.ActiveFencing {
		return current, nil
	}
	if previous := b.member.latest.Load(); previous != nil {
		// A member that is back learns it from the first assignment with it; the next one need not say it again.
		fenced = slices.DeleteFunc(slices.Clone(previous.Fenced), func(id string) bool {
			return slices.Contains(current, id) && slices.Contains(previous.TransactionalIDs, id)
		})
		known = sorted(append(known, previous.TransactionalIDs...))
	}

	gone := slices.DeleteFunc(slices.Clone(known), func(id string) bool { return slices.Contains(current, id) })
	ctx, cancel := context.WithTimeout(ctx, fencingLimit)
	defer cancel()
	described := inst.admin.transactions(ctx, gone)
	gone = slices.DeleteFunc(gone, func(id string) bool {
		d, ok := described[id]
		return ok && over(d, isTaskTransactionalID(inst.cfg.ApplicationID, id))
	})
	errs := make([]error, len(gone))
	var wg sync.WaitGroup
	for i, id := range gone {
		wg.Go(func() {
			errs[i] = b.member.thread.guard(func() error { return inst.admin.initProducerID(ctx, id, inst.cfg.TransactionTimeout) })
			b.sayFenced(id, errs[i])
		})
	}
	wg.Wait()
	for i, id := range gone {
		if errs[i] != nil {
			current = append(current, id)
		} else {
			fenced = append(fenced, id)
		}
	}
	fenced = sorted(fenced)
	return sorted(current), fenced[:min(len(fenced), fencedLimit)]
}

func (b *balance) sayFenced(id string, err error) {
	e := journal.Event{
		Kind: journal.KindTransaction, Level: journal.Info, TransactionalID: id, To: "ABORTED", Cause: "fenced by the group after expulsion",
		Text: fmt.Sprintf("The group aborts what expelled producer %s left open", id),
	}
	if err != nil {
		e.Level, e.To, e.Error = journal.Warn, "", err.Error()
		e.Text = fmt.Sprintf("The group cannot abort what expelled producer %s left open: %v", id, err)
	}
	b.member.thread.emit(e)
}

// sorted returns strings in order, each once. It may change those it is given.
func sorted(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
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
	common.TransactionalIDs = sorted(common.TransactionalIDs)
}
