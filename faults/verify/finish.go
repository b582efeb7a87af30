package verify

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrNotRunning is what Finish returns when Run has ended, or ends before the judgement.
var ErrNotRunning = errors.New("the verifier is not running")

// command is a call of Finish on its way to the owner goroutine.
type command struct {
	ctx     context.Context
	digests []StoreDigest
	done    chan struct{} // closed when the final status is published
}

// Finish reads to the ends of the logs as of the call, declares lost what is still owed there, and compares stores,
// changelogs and model. Digests are the stores as their owners see them, one for each partition of each store; nil = there is
// no access to the stores, and only the changelogs are compared. The application must have come to rest.
//
// It waits for open transactions until ctx ends; what could not be decided then makes the verdict unknown. It ends Run.
// The error is ErrNotRunning, or that of a ctx that ended while Run still waited for its topics.
func (v *Verifier) Finish(ctx context.Context, digests []StoreDigest) (Status, error) {
	cmd := &command{ctx: ctx, digests: digests, done: make(chan struct{})}
	select {
	case v.commands <- cmd:
	case <-v.stopped:
		return v.Status(), ErrNotRunning
	case <-ctx.Done():
		return v.Status(), fmt.Errorf("finish: %w", ctx.Err())
	}
	select {
	case <-cmd.done:
		return v.Status(), nil
	case <-v.stopped:
	}
	select {
	case <-cmd.done: // Run returns right after it
		return v.Status(), nil
	default:
		return v.Status(), ErrNotRunning
	}
}

// finish does what Finish says, on the owner goroutine. Run's ctx ends it without a judgement.
func (v *Verifier) finish(run context.Context, cmd *command) {
	ctx, cancel := context.WithCancel(cmd.ctx)
	defer cancel()
	defer context.AfterFunc(run, cancel)()
	v.readToEnds(ctx)
	v.compareStores(ctx, cmd.digests)
	v.lookAgain(ctx)
	if run.Err() != nil {
		v.publish()
		return
	}
	v.judge.final = true
	v.publish()
	close(cmd.done)
}

// readToEnds reads inputs and outputs to their ends and judges what is missing.
func (v *Verifier) readToEnds(ctx context.Context) {
	var last error
	ends, err := v.reader.list(ctx, v.topics, v.reader.admin.ListEndOffsets, func(err error) { last = err })
	if err != nil {
		v.judge.doubt("the ends of the topics are not known: %v", firstOf(last, err))
		return
	}
	refresh := time.NewTicker(refreshEvery)
	defer refresh.Stop()
	for ctx.Err() == nil && !v.reader.failed() && len(v.reader.behind(ends)) > 0 {
		v.step(ctx)
		select {
		case <-refresh.C:
			v.publish()
		default:
		}
	}
	if reasons := v.reader.explain(ctx, ends); len(reasons) > 0 {
		for _, reason := range reasons {
			v.judge.doubt("%s", reason)
		}
		return
	}
	// Everything that a held output could wait for has been seen by now.
	now := time.Now()
	v.tracker.expireAll(now)
	inputs := make([]int64, len(ends[v.config.Input]))
	for p, end := range ends[v.config.Input] {
		inputs[p] = end
	}
	v.tracker.end(inputs, now)
	v.endCover(ctx)
}

// compareStores folds the changelogs and compares them with the model and with the digests.
func (v *Verifier) compareStores(ctx context.Context, digests []StoreDigest) {
	if len(v.config.Changelogs) == 0 {
		return
	}
	folded, doubts, err := foldChangelogs(ctx, v.clientOptions(), v.config.Changelogs)
	if err != nil {
		v.judge.doubt("stores were not compared: %v", err)
		return
	}
	for _, d := range doubts {
		v.judge.doubt("%s", d)
	}
	if len(doubts) > 0 {
		return
	}
	v.judgeStores(folded, digests)
}

// judgeStores compares folded changelogs, by topic, with the model and with the digests.
func (v *Verifier) judgeStores(folded map[string][]*changelog, digests []StoreDigest) {
	owners := make(map[string]map[int32]*StoreDigest)
	for i := range digests {
		d := &digests[i]
		if owners[d.Store] == nil {
			owners[d.Store] = make(map[int32]*StoreDigest)
		}
		owners[d.Store][d.Partition] = d
	}
	// What was processed again under at_least_once, or before the first input that was read, is in the stores.
	modelled := !v.config.AtLeastOnce && !v.amnesia
	var all []comparison
	for _, store := range v.model.Stores() {
		topic, ok := v.config.Changelogs[store]
		if !ok {
			continue
		}
		models := split(v.model, store, len(folded[topic]), v.config.Hash)
		for p, changelog := range folded[topic] {
			c := comparison{store: store, topic: topic, partition: int32(p), changelog: changelog.table, offsets: changelog.offsets, owner: owners[store][int32(p)]}
			if modelled {
				c.model = models[p]
			}
			if digests != nil && c.owner == nil {
				v.judge.doubt("no digest of %s partition %d was given", store, p)
			}
			if c.owner != nil && c.owner.Remote {
				c.owner = nil
			}
			if v.config.AtLeastOnce && changelog.handed {
				c.owner = nil // a former owner's last writes may have come after the restore, and the store does not hold them
			}
			all = append(all, c)
		}
	}
	compare(v.judge, all, time.Now())
}
