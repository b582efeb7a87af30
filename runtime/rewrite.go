package runtime

import (
	"fmt"
	"time"
)

// rewritePass writes the live entries of a store to its changelog once more, a few at a time, within the thread's ordinary
// transactions. It is for brokers whose changelogs are not compacted: after a pass the changelog from the pass's beginning
// on is complete, so that older records can be deleted. Deletion lags one pass behind, for the sake of whoever is just
// reading.
type rewritePass struct {
	running  bool
	after    []byte    // key behind which the pass goes on
	begin    int64     // changelog position when this pass began
	previous int64     // begin of the pass before; 0 = none
	due      time.Time // when the next pass begins
	finished bool      // all entries are sent, not all committed
	trim     int64     // offset below which the changelog can be deleted; 0 = nothing new
}

// committed notes that everything sent so far is committed.
func (r *rewritePass) committed() {
	if !r.finished {
		return
	}
	r.running, r.finished = false, false
	r.trim, r.previous = r.previous, r.begin
}

// rewriteWorth is how many times more records than a store has entries must have come to its changelog before a pass is worth
// its own records: a big store that changes slowly is rewritten seldom, an idle one never.
const rewriteWorth = 2

// rewriteChunk is how many entries of a store are rewritten at once: small, so that a pass hides between records.
const rewriteChunk = 64

// rewriteSome continues the rewrite passes of a task's stores.
func (t *StreamThread) rewriteSome(task *streamTask) error {
	interval := t.instance.cfg.ChangelogRewriteInterval
	if interval == 0 {
		return nil
	}
	now := time.Now()
	for _, s := range task.manager.stores {
		if err := s.rewriteSome(now, interval); err != nil {
			return fmt.Errorf("rewrite changelog of store %s of task %s: %w", s.spec.Name, task.id, err)
		}
	}
	return nil
}

func (s *taskStore) rewriteSome(now time.Time, interval time.Duration) error {
	r := &s.rewrite
	switch {
	case !s.spec.Logged || r.finished || s.store.Stats().Entries == 0:
		return nil
	case !r.running && r.due.IsZero():
		r.due, r.begin = now.Add(interval), s.store.Position()
		return nil
	case !r.running && (now.Before(r.due) || s.store.Position()-r.begin < rewriteWorth*s.store.Stats().Entries):
		return nil
	case !r.running:
		r.running, r.after, r.begin, r.due = true, nil, s.store.Position(), now.Add(interval)
	}
	next, done, err := s.store.Scan(r.after, rewriteChunk, func(key, value []byte, timestamp int64) error {
		return s.log(append([]byte(nil), key...), append([]byte(nil), value...), timestamp)
	})
	if err != nil {
		return err
	}
	s.task.commitNeeded = true // also where the last look found nothing: the pass ends with a commit
	r.after, r.finished = next, done
	return nil
}
