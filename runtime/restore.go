package runtime

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"eostop/runtime/journal"
	"eostop/runtime/state"

	"github.com/twmb/franz-go/pkg/kgo"
)

// restoration brings one store up to the end of its changelog. The end is the log end as a read_uncommitted consumer sees it, and the
// reader is read_committed: so it waits until every transaction that was open when the end was taken is decided, and
// misses nothing that a dead owner committed last (KAFKA-10167). A standby's end moves on. It belongs to the state
// updater; the offsets may be read by anyone.
type restoration struct {
	from     int64
	next     atomic.Int64 // offset of the next changelog record
	end      atomic.Int64
	restored int64
	started  time.Time
	batch    []state.Entry
	index    map[string]int // of a key in batch
}

func (r *restoration) remaining() int64 { return max(0, r.end.Load()-r.next.Load()) }

// begin decides for each store of the tasks that have not begun from where it has to be restored, and asks for those
// changelog partitions.
func (u *stateUpdater) begin(ctx context.Context) {
	t, now := u.thread, time.Now()
	var tasks []*updating
	var changelogs []topicPartition
	for _, task := range u.tasks {
		if !task.begun && !task.wait.waiting(now) {
			tasks = append(tasks, task)
		}
	}
	tasks = u.fence(ctx, tasks)
	for _, task := range tasks {
		changelogs = append(changelogs, task.manager.changelogs()...)
	}
	if len(tasks) == 0 || ctx.Err() != nil {
		return
	}
	bounds, err := t.instance.admin.logBounds(ctx, changelogs)
	if err != nil {
		if ctx.Err() != nil {
			return // a command has come first
		}
		for _, task := range tasks {
			u.failed(task, &retryError{"list ends of changelogs", err})
		}
		return
	}
	add := map[string]map[int32]kgo.Offset{}
	for _, task := range tasks {
		if err := u.beginTask(task, bounds, add); err != nil {
			u.failed(task, err)
			continue
		}
		task.begun = true
		task.wait.at = time.Time{}
	}
	if len(add) > 0 {
		u.client.AddConsumePartitions(add)
	}
}

// fence initialises the transactional ids of the tasks whose former owner is to be fenced, and returns the tasks that nothing holds up.
func (u *stateUpdater) fence(ctx context.Context, tasks []*updating) []*updating {
	inst := u.thread.instance
	errs := make([]error, len(tasks))
	var wg sync.WaitGroup
	for i, task := range tasks {
		if task.fence {
			id := taskTransactionalID(inst.cfg.ApplicationID, task.manager.id)
			wg.Go(func() { errs[i] = inst.admin.initProducerID(ctx, id, inst.cfg.TransactionTimeout) })
		}
	}
	wg.Wait()
	var free []*updating
	for i, task := range tasks {
		switch {
		case errs[i] == nil:
			task.manager.fenced = task.manager.fenced || task.fence
			task.fence = false
			free = append(free, task)
		case ctx.Err() == nil: // else a command has come first
			u.failed(task, at(PlaceInit, &retryError{"fence the former owner of task " + task.manager.id.String(), errs[i]}))
		}
	}
	return free
}

func (u *stateUpdater) beginTask(task *updating, bounds map[topicPartition]logBounds, add map[string]map[int32]kgo.Offset) error {
	var read []*taskStore
	for _, s := range task.manager.stores {
		if !s.spec.Logged {
			continue
		}
		log := bounds[s.changelog]
		from, err := u.thread.restoreFrom(s, log)
		if err != nil {
			return err
		}
		r := &restoration{from: from, started: time.Now(), index: map[string]int{}}
		r.next.Store(from)
		r.end.Store(log.end)
		s.restore.Store(r)
		if from < log.end || !task.active {
			read = append(read, s)
		}
	}
	for _, s := range read { // only when all have begun, so that there is nothing to take back
		u.byChangelog[s.changelog] = s
		addPartition(add, s.changelog, s.restore.Load().from)
	}
	return nil
}

// noteRebuilt says that a store starts over with nothing.
func (t *StreamThread) noteRebuilt(task TaskID, store, why string) {
	t.counters.rebuilt.Add(1)
	t.metrics.StoreRebuilt()
	t.emit(journal.Event{
		Kind: journal.KindStore, Level: journal.Warn, Task: task.String(), Store: store, To: "REBUILT", Cause: why,
		Text: fmt.Sprintf("store %s of task %s starts over: %s", store, task, why),
	})
}

// restoreFrom returns the changelog offset to restore a store from. A store whose position the changelog no longer, or not
// yet, holds starts over from the log start: its content cannot be told from a hole.
func (t *StreamThread) restoreFrom(s *taskStore, log logBounds) (int64, error) {
	position := s.store.Position()
	broken := s.store.Err()
	if broken == nil && position < 0 {
		return log.start, nil
	}
	if broken == nil && position >= log.start && position <= log.end {
		return position, nil
	}
	why := fmt.Sprintf("its position %d is outside its changelog %s (%d to %d)", position, s.changelog, log.start, log.end)
	if broken != nil {
		why = broken.Error()
	}
	t.noteRebuilt(s.manager.id, s.spec.Name, why)
	if err := s.store.Wipe(); err != nil {
		return 0, fmt.Errorf("store %s of task %s: %w", s.spec.Name, s.manager.id, err)
	}
	return log.start, nil
}

// apply writes fetched changelog records in one batch together with the position behind them.
func (u *stateUpdater) apply(task *updating, s *taskStore, records []*kgo.Record, highWatermark int64) error {
	r := s.restore.Load()
	r.batch = r.batch[:0]
	clear(r.index)
	next, seen := r.next.Load(), int64(0)
	for _, rec := range records {
		if rec.Offset < next {
			continue
		}
		next = rec.Offset + 1
		if rec.Attrs.IsControl() || rec.Key == nil {
			continue
		}
		seen++
		entry := state.Entry{Key: rec.Key, Value: rec.Value, Timestamp: rec.Timestamp.UnixMilli()}
		// Of many updates of a key only the last one has to reach the disk.
		if i, ok := r.index[string(rec.Key)]; ok {
			r.batch[i] = entry
			continue
		}
		r.index[string(rec.Key)] = len(r.batch)
		r.batch = append(r.batch, entry)
	}
	begun := s.metrics.Restore.Begin()
	if err := s.store.Restore(r.batch, next); err != nil {
		return fmt.Errorf("restore store %s of task %s: %w", s.spec.Name, s.manager.id, err)
	}
	s.metrics.Restore.End(begun)
	u.metrics.Restored(int(seen))
	r.next.Store(next)
	task.wait.reset() // it gets on
	r.restored += seen
	if !task.active {
		s.manager.metrics.Updated.Mark(int(seen))
		r.end.Store(max(r.end.Load(), highWatermark))
		return nil
	}
	u.thread.counters.restored.Add(uint64(seen))
	u.thread.metrics.Restored(int(seen))
	s.manager.metrics.Restored.Mark(int(seen))
	if next >= r.end.Load() {
		u.endRestore(s, r)
	}
	return nil
}

func (u *stateUpdater) endRestore(s *taskStore, r *restoration) {
	delete(u.byChangelog, s.changelog)
	u.client.RemoveConsumePartitions(map[string][]int32{s.changelog.topic: {s.changelog.partition}})
	u.thread.emit(journal.Event{
		Kind: journal.KindRestore, Level: journal.Info, To: "COMPLETED", Task: s.manager.id.String(), Store: s.spec.Name, Count: r.restored, Duration: time.Since(r.started),
		Text: fmt.Sprintf("Finished restoring changelog %s to store %s with a total number of %d records", s.changelog, s.spec.Name, r.restored),
	})
}

// complete gives the active tasks that have caught up back to the thread, together with what their group has committed. Offsets
// that belong to an undecided transaction are asked for again later.
func (u *stateUpdater) complete(ctx context.Context) {
	t, now := u.thread, time.Now()
	var ready []*updating
	var partitions []topicPartition
	for _, task := range u.tasks {
		if task.active && task.begun && !task.wait.waiting(now) && task.manager.restored() {
			ready = append(ready, task)
			partitions = append(partitions, task.inputs...)
		}
	}
	if len(ready) == 0 {
		return
	}
	bounds, offsets, err := t.instance.admin.positions(ctx, partitions)
	if err != nil && ctx.Err() != nil {
		return // a command has come first
	}
	for _, task := range ready {
		switch {
		case err != nil:
			failed := error(&retryError{"read committed offsets", err})
			if class, _ := Classify(failed); class != Fatal {
				failed = t.tryAgain(&task.wait, failed)
			}
			if failed != nil {
				u.finish(task, updated{manager: task.manager, err: failed})
			}
		case unstable(task.inputs, offsets):
			u.block(task, now)
		default:
			u.finish(task, updated{manager: task.manager, offsets: offsets, bounds: bounds})
		}
	}
}

// offsetsRetry is the pause before committed offsets are asked for again that an undecided transaction holds back.
const offsetsRetry = 50 * time.Millisecond

// block waits for the transaction that holds a task's offsets back. That it takes longer than any transaction may is said
// once: somebody has to look.
func (u *stateUpdater) block(task *updating, now time.Time) {
	task.wait.pause(offsetsRetry)
	limit := u.thread.instance.cfg.TransactionTimeout + coordinatorScan
	switch {
	case task.blocked.IsZero():
		task.blocked = now
	case now.Sub(task.blocked) > limit && !task.told:
		task.told = true
		u.thread.emit(journal.Event{
			Kind: journal.KindTransaction, Level: journal.Warn, To: "HANGING", Task: task.manager.id.String(), Cause: "unstable offsets",
			Text: fmt.Sprintf("task %s still waits for the committed offsets of %v: a transaction that holds them is not decided after %v", task.manager.id, task.inputs, limit),
		})
	}
}

// coordinatorScan is how often a real coordinator looks for transactions that have timed out.
const coordinatorScan = 10 * time.Second

func unstable(inputs []topicPartition, offsets map[topicPartition]committedOffset) bool {
	for _, tp := range inputs {
		if offsets[tp].unstable {
			return true
		}
	}
	return false
}

func addPartition(m map[string]map[int32]kgo.Offset, tp topicPartition, offset int64) {
	if m[tp.topic] == nil {
		m[tp.topic] = map[int32]kgo.Offset{}
	}
	m[tp.topic][tp.partition] = kgo.NewOffset().At(offset)
}
