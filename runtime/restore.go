package runtime

import (
	"context"
	"errors"
	"fmt"
	"time"

	"eostop/runtime/journal"
	"eostop/runtime/state"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// restoration brings one store up to the end of its changelog. The end is the log end as a read_uncommitted consumer sees it, and the
// reader is read_committed: so it waits until every transaction that was open when the end was taken is decided, and
// misses nothing that a dead owner committed last (KAFKA-10167).
type restoration struct {
	next     int64 // offset of the next changelog record
	end      int64
	restored int64
	started  time.Time
	batch    []state.Entry
	index    map[string]int // of a key in batch
}

func (r *restoration) remaining() int64 { return max(0, r.end-r.next) }

// beginRestore decides for each store of the created tasks from where it has to be restored, and asks for those
// changelog partitions.
func (t *StreamThread) beginRestore(ctx context.Context, tasks []*streamTask) error {
	var changelogs []topicPartition
	for _, task := range tasks {
		for _, s := range task.stores {
			if s.spec.Logged {
				changelogs = append(changelogs, s.changelog)
			}
		}
	}
	bounds, err := t.instance.admin.logBounds(ctx, changelogs)
	if err != nil {
		return &retryError{"list ends of changelogs", err}
	}
	add := map[string]map[int32]kgo.Offset{}
	defer func() { t.data.AddConsumePartitions(add) }()
	for _, task := range tasks {
		for _, s := range task.stores {
			if !s.spec.Logged {
				continue
			}
			from, err := t.restoreFrom(s, bounds[s.changelog])
			if err != nil {
				return err
			}
			if from >= bounds[s.changelog].end {
				continue
			}
			s.restore = &restoration{next: from, end: bounds[s.changelog].end, started: time.Now(), index: map[string]int{}}
			t.restoring[s.changelog] = s
			addPartition(add, s.changelog, from)
		}
		if err := task.to(TaskRestoring); err != nil {
			return err
		}
	}
	return nil
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
	t.counters.rebuilt.Add(1)
	t.emit(journal.Event{
		Kind: journal.KindStore, Level: journal.Warn, Task: s.task.id.String(), Store: s.spec.Name, To: "REBUILT", Cause: why,
		Text: fmt.Sprintf("store %s of task %s starts over: %s", s.spec.Name, s.task.id, why),
	})
	if err := s.store.Wipe(); err != nil {
		return 0, fmt.Errorf("store %s of task %s: %w", s.spec.Name, s.task.id, err)
	}
	return log.start, nil
}

// restoreRecords applies fetched changelog records in one batch together with the position behind them.
func (t *StreamThread) restoreRecords(s *taskStore, records []*kgo.Record) error {
	r := s.restore
	r.batch = r.batch[:0]
	clear(r.index)
	seen := int64(0)
	for _, rec := range records {
		if rec.Offset < r.next {
			continue
		}
		r.next = rec.Offset + 1
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
	if err := s.store.Restore(r.batch, r.next); err != nil {
		return fmt.Errorf("restore store %s of task %s: %w", s.spec.Name, s.task.id, err)
	}
	r.restored += seen
	t.counters.restored.Add(uint64(seen))
	if r.next >= r.end {
		t.endRestore(s)
	}
	return nil
}

func (t *StreamThread) endRestore(s *taskStore) {
	r := s.restore
	s.restore = nil
	delete(t.restoring, s.changelog)
	t.data.RemoveConsumePartitions(map[string][]int32{s.changelog.topic: {s.changelog.partition}})
	t.emit(journal.Event{
		Kind: journal.KindRestore, Level: journal.Info, To: "COMPLETED", Task: s.task.id.String(), Store: s.spec.Name, Count: r.restored, Duration: time.Since(r.started),
		Text: fmt.Sprintf("Finished restoring changelog %s to store %s with a total number of %d records", s.changelog, s.spec.Name, r.restored),
	})
}

func (t *StreamThread) stopRestore(s *taskStore) {
	if s.restore == nil {
		return
	}
	s.restore = nil
	delete(t.restoring, s.changelog)
	t.data.RemoveConsumePartitions(map[string][]int32{s.changelog.topic: {s.changelog.partition}})
}

// completeRestore starts the tasks whose stores have caught up: it reads their committed offsets back from the broker and consumes
// from there. Offsets that belong to an undecided transaction are asked for again later.
func (t *StreamThread) completeRestore(ctx context.Context) error {
	now := time.Now()
	var ready []*streamTask
	var partitions []topicPartition
	for _, task := range t.tasks {
		if task.is(TaskRestoring) && task.restored() && !now.Before(task.offsetsDue) {
			ready = append(ready, task)
			for _, in := range task.inputs {
				partitions = append(partitions, in.topicPartition)
			}
		}
	}
	if len(ready) == 0 {
		return nil
	}
	// The log starts first: purges follow commits, so an offset that is committed now and lies before them is a hole.
	bounds, err := t.instance.admin.logBounds(ctx, partitions)
	if err != nil {
		return &retryError{"list starts of inputs", err}
	}
	offsets, err := t.instance.admin.committedOffsets(ctx, partitions)
	if err != nil {
		return &retryError{"read committed offsets", err}
	}
	add := map[string]map[int32]kgo.Offset{}
	defer func() { t.data.AddConsumePartitions(add) }()
	for _, task := range ready {
		if unstable(task, offsets) {
			task.offsetsDue = now.Add(offsetsRetry)
			continue
		}
		if err := t.startTask(task, offsets, bounds, add); err != nil {
			return err
		}
	}
	return nil
}

// offsetsRetry is the pause before committed offsets are asked for again that an undecided transaction holds back.
const offsetsRetry = 50 * time.Millisecond

func unstable(task *streamTask, offsets map[topicPartition]committedOffset) bool {
	for _, in := range task.inputs {
		if offsets[in.topicPartition].unstable {
			return true
		}
	}
	return false
}

func (t *StreamThread) startTask(task *streamTask, offsets map[topicPartition]committedOffset, bounds map[topicPartition]logBounds, add map[string]map[int32]kgo.Offset) error {
	for _, in := range task.inputs {
		o, start := offsets[in.topicPartition], bounds[in.topicPartition].start
		switch {
		case o.offset < 0:
			// Nothing was ever committed: the input is read from its beginning, wherever that is by now (auto.offset.reset earliest).
			o = committedOffset{offset: start, epoch: -1, partitionTime: -1}
		case o.offset < start:
			return &InputLostError{Topic: in.topic, Partition: in.partition, Offset: o.offset, Err: kerr.OffsetOutOfRange}
		}
		in.queue, in.position, in.epoch, in.partitionTime = nil, o.offset, o.epoch, o.partitionTime
		task.streamTime = max(task.streamTime, o.partitionTime)
		t.inputs[in.topicPartition] = taskInput{task, in}
		addPartition(add, in.topicPartition, o.offset)
	}
	// A task commits once after it has started, also where nothing came in: its group offsets then exist, and whoever
	// watches knows that it works.
	task.commitNeeded = true
	t.log().Info("Restored and ready to run", "task", task.id.String())
	return task.to(TaskRunning)
}

// fetchFailed handles the error of one partition of a fetch.
func (t *StreamThread) fetchFailed(tp topicPartition, err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.Is(err, kgo.ErrClientClosed) {
		return nil
	}
	if _, input := t.inputs[tp]; !input && t.restoring[tp] == nil && tp.topic != "" && tp.partition >= 0 {
		return nil // of a partition that is not read any more: the client reports what it had at hand
	}
	if s := t.restoring[tp]; s != nil {
		if class, _ := Classify(err); class == Corrupted {
			return t.reviveTask(s.task) // and begins anew from where its stores are
		}
	}
	// An input that is out of range is not lost yet: a member that was cut off may still hold a position that the next owner
	// of the task has left behind and purged. Starting over from the committed offsets tells.
	return fmt.Errorf("fetch %s: %w", tp, err)
}

func addPartition(m map[string]map[int32]kgo.Offset, tp topicPartition, offset int64) {
	if m[tp.topic] == nil {
		m[tp.topic] = map[int32]kgo.Offset{}
	}
	m[tp.topic][tp.partition] = kgo.NewOffset().At(offset)
}
