package runtime

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"eostop/runtime/state"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// prepare brings the tasks of the assignment to RUNNING, step by step: open stores, a producer, restored stores, committed
// offsets. Tasks that run already go on meanwhile.
func (t *StreamThread) prepare(ctx context.Context) error {
	if err := t.takeRestored(); err != nil {
		return err
	}
	if t.unconfirmed || t.retry.waiting(time.Now()) {
		return t.maybeRunning()
	}
	inUse, err := t.openTasks()
	if err != nil {
		return err
	}
	if err := t.openProducers(ctx); err != nil {
		return err
	}
	if err := t.startRestore(); err != nil {
		return err
	}
	if inUse != nil {
		return inUse
	}
	t.retry.reset()
	return t.maybeRunning()
}

// openTasks opens the tasks of the assignment that are not there yet. A store that another thread has not closed yet is
// returned as inUse: other tasks need not wait for it.
func (t *StreamThread) openTasks() (inUse, err error) {
	open := func(id TaskID, there bool, add func(*stateManager) error) error {
		if there {
			return nil
		}
		manager, err := openStores(t, id)
		if errors.Is(err, state.ErrInUse) {
			inUse = cmp.Or(inUse, err)
			return nil
		}
		if err != nil {
			return err
		}
		return add(manager)
	}
	for _, id := range t.wanted {
		err := open(id, t.tasks[id] != nil, func(m *stateManager) error { t.addTask(m); return nil })
		if err != nil {
			return inUse, err
		}
	}
	for _, id := range t.wantedStandbys {
		if err := open(id, t.standbys[id] != nil, t.addStandby); err != nil {
			return inUse, err
		}
	}
	return inUse, nil
}

func (t *StreamThread) addTask(m *stateManager) {
	t.tasks[m.id] = newTask(t, m.id, m, t.partitions)
	t.log().Info("Initialized", "task", m.id.String())
}

func (t *StreamThread) addStandby(m *stateManager) error {
	standby, err := newStandby(t, m.id, m)
	if err != nil {
		return err
	}
	t.standbys[m.id] = standby
	t.updater.addStandby(standby)
	return nil
}

// openProducers opens the producers that are missing. A thread without tasks does so, too, when it has left a transaction
// open: that ends it, and others may be waiting for it.
func (t *StreamThread) openProducers(ctx context.Context) error {
	if t.slot != nil && len(t.tasks) == 0 && !t.slot.leftOpen {
		return nil
	}
	for _, slot := range t.slots() {
		if _, err := slot.open(ctx); err != nil {
			return err
		}
	}
	return nil
}

// startRestore hands the tasks in state CREATED over to the state updater. Their producer is there: so whatever it had left
// open is decided before the ends of the changelogs are taken, and before the committed offsets are read.
//
// While members with a producer for each task are in the group, or were until now, the task's own transactional id is
// initialised, too, before its restore begins: what such a member has left open would hold it up (upgrade from exactly_once to
// exactly_once_v2).
func (t *StreamThread) startRestore() error {
	var created []*streamTask
	for _, task := range t.tasks {
		if task.is(TaskCreated) && task.slot.producer != nil {
			created = append(created, task)
		}
	}
	slices.SortFunc(created, func(a, b *streamTask) int { return compareTaskIDs(a.id, b.id) })
	for _, task := range created {
		if err := task.to(TaskRestoring); err != nil {
			return err
		}
		t.updater.addActive(task, t.perTask && t.instance.cfg.Guarantee != ExactlyOnce)
	}
	return nil
}

// takeRestored starts the tasks that the state updater has finished with.
func (t *StreamThread) takeRestored() error {
	var errs []error
	var failed []*slotError
	add := map[string]map[int32]kgo.Offset{}
	for _, u := range t.updater.drain() {
		task := t.tasks[u.manager.id]
		switch {
		case u.err != nil:
			errs = append(errs, u.err)
		case task == nil || task.manager != u.manager || !task.is(TaskRestoring):
			errs = append(errs, fmt.Errorf("task %s was restored but is not restoring", u.manager.id))
		default:
			err := t.startTask(task, &u, add)
			known := slices.ContainsFunc(failed, func(f *slotError) bool { return f.slot == task.slot }) // gives up all its tasks
			if err != nil && !known {
				failed = append(failed, &slotError{task.slot, err})
			}
		}
	}
	if len(add) > 0 {
		t.consumer.AddConsumePartitions(add)
	}
	return errors.Join(append(errs, t.handleAll(failed))...)
}

// startTask lets a restored task run from its committed offsets on.
func (t *StreamThread) startTask(task *streamTask, u *updated, add map[string]map[int32]kgo.Offset) error {
	for _, in := range task.inputs {
		o, log := u.offsets[in.topicPartition], u.bounds[in.topicPartition]
		switch {
		case o.offset < 0:
			// Nothing was ever committed: the input is read from its beginning, wherever that is by now (auto.offset.reset earliest).
			o = committedOffset{offset: log.start, epoch: -1, partitionTime: -1}
		case o.offset < log.start:
			return &InputLostError{Topic: in.topic, Partition: in.partition, Offset: o.offset, Err: kerr.OffsetOutOfRange}
		}
		in.reset()
		in.position, in.epoch, in.partitionTime = o.offset, o.epoch, o.partitionTime
		in.highWatermark, in.stable = log.end, log.end
		task.streamTime = max(task.streamTime, o.partitionTime)
		t.inputs[in.topicPartition] = taskInput{task, in}
		addPartition(add, in.topicPartition, o.offset)
	}
	// The processors are made in state RUNNING: what they write when they are initialised is part of the transaction, and when
	// that fails the task is given up like any other that runs.
	if err := task.to(TaskRunning); err != nil {
		return err
	}
	if err := task.instantiate(); err != nil {
		return &transactionError{"start", err}
	}
	// A task commits once after it has started, also where nothing came in: its group offsets then exist, and whoever
	// watches knows that it works.
	task.commitNeeded = true
	task.manager.active.Store(true)
	t.log().Info("Restored and ready to run", "task", task.id.String())
	return nil
}

// maybeRunning ends PARTITIONS_ASSIGNED once every active task runs; a thread without tasks runs, too.
func (t *StreamThread) maybeRunning() error {
	if !t.in(ThreadPartitionsAssigned) || t.rebalancing || len(t.tasks) < len(t.wanted) {
		return nil
	}
	for _, task := range t.tasks {
		if !task.is(TaskRunning) {
			return nil
		}
	}
	t.noteReplaced()
	return t.setState(ThreadRunning)
}
