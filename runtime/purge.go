package runtime

import (
	"context"
	"time"
)

// purge deletes what the application itself no longer needs: consumed and committed records of repartition topics, and
// changelog records that a rewrite pass has made superfluous. It is best effort and runs beside the thread.
type purge struct {
	due     time.Time
	pending chan struct{} // closed when the request in flight has ended; nil when none is
}

// purgeChangelogs is how often finished rewrite passes are looked for.
const purgeChangelogs = 5 * time.Second

// maybePurge starts a purge when one is due. Only committed offsets are used: records that were merely consumed may be
// needed again (KAFKA-17635). A store's Position and a task's position right after a commit are committed ones.
func (t *StreamThread) maybePurge(ctx context.Context) {
	now := time.Now()
	if t.purge.pending != nil {
		select {
		case <-t.purge.pending:
			t.purge.pending = nil
		default:
			return
		}
	}
	interval := t.instance.cfg.RepartitionPurgeInterval
	if t.instance.cfg.ChangelogRewriteInterval > 0 && (interval == 0 || interval > purgeChangelogs) {
		interval = purgeChangelogs
	}
	if interval == 0 || now.Before(t.purge.due) {
		return
	}
	t.purge.due = now.Add(interval)
	below := t.purgeable()
	if len(below) == 0 {
		return
	}
	pending := make(chan struct{})
	t.purge.pending = pending
	log := t.log()
	go func() {
		defer close(pending)
		if err := t.instance.admin.deleteRecords(ctx, below); err != nil {
			log.Debug("purge", "error", err)
		}
	}()
}

// purgeable returns the offsets below which records can go. The position of a task that has nothing to commit is what it has
// committed; so only those count.
func (t *StreamThread) purgeable() map[topicPartition]int64 {
	below := map[topicPartition]int64{}
	for _, task := range t.tasks {
		if !task.is(TaskRunning) || task.commitNeeded {
			continue
		}
		for _, in := range task.inputs {
			if !in.external && in.position > 0 && t.instance.cfg.RepartitionPurgeInterval > 0 {
				below[in.topicPartition] = in.position
			}
		}
		for _, s := range task.manager.stores {
			if s.rewrite.trim > 0 {
				below[s.changelog] = s.rewrite.trim
				s.rewrite.trim = 0
			}
		}
	}
	return below
}
