package runtime

import (
	"context"
	"fmt"
	"time"

	"eostop/runtime/journal"
	"eostop/runtime/metrics"
	"eostop/runtime/topology"

	"github.com/twmb/franz-go/pkg/kgo"
)

// topicPartition names a partition of a topic as the broker knows it.
type topicPartition struct {
	topic     string
	partition int32
}

func (tp topicPartition) String() string { return fmt.Sprintf("%s-%d", tp.topic, tp.partition) }

// streamTask is an active task: a sub-topology's processors over one partition of its sources, with their stores. It
// belongs to its thread's goroutine. It implements topology.Host.
type streamTask struct {
	id      TaskID
	thread  *StreamThread
	state   *stateMachine[TaskState]
	graph   *topology.Graph // while the task is RUNNING
	nodes   *taskNodes      // what is measured of it
	inputs  []*inputPartition
	manager *stateManager
	slot    *producerSlot // what it writes through
	caches  []*measuredCache
	metrics *metrics.Task

	streamTime      int64
	commitNeeded    bool
	commitRequested bool
	processed       int64  // records taken from the queues, in committed transactions or not
	punctuated      int    // punctuators that were due the last time
	dropped         uint64 // records that the processors have left out, as counted last
	uncommitted     int64  // records processed in the open transaction
	uncommittedIn   int64  // those from outside the application among them
	firstCommit     time.Time
	lastCommit      time.Time
	idleSince       time.Time       // since when the task waits for an input although another one has records; zero = it does not
	working         *inputPartition // whose record is being processed; nil = none is
	workingOffset   int64           // of that record
	origin          *origin         // of what is sent for it; nil = nothing was yet
}

var _ topology.Host = (*streamTask)(nil)

// newTask builds a task in state CREATED over stores that are open.
func newTask(thread *StreamThread, id TaskID, manager *stateManager, partitions map[string]int32) *streamTask {
	t := &streamTask{id: id, thread: thread, manager: manager, streamTime: -1}
	t.state = newTaskState(thread, id)
	t.slot = thread.newTaskSlot(t)
	t.metrics = manager.measured()
	thread.metrics.TaskCreated()
	manager.attach(t)
	sub := thread.instance.program.sub(id.Subtopology)
	for _, logical := range sub.Sources {
		topic := thread.instance.program.topic(logical)
		if id.Partition < partitions[topic] {
			t.inputs = append(t.inputs, &inputPartition{
				topicPartition: topicPartition{topic, id.Partition}, logical: logical,
				external: !thread.instance.program.internal(logical), again: thread.instance.program.writes(logical), partitionTime: -1, position: -1, epoch: -1, highWatermark: -1, stable: -1,
			})
		}
	}
	return t
}

// newTaskState returns the state machine of a task, active or standby.
func newTaskState(thread *StreamThread, id TaskID) *stateMachine[TaskState] {
	return newStateMachine("task ["+id.String()+"]", TaskCreated, taskTransitions, func(from, to TaskState) {
		thread.emit(journal.Event{
			Kind: journal.KindTaskState, Level: journal.Debug, Task: id.String(), From: string(from), To: string(to),
			Text: fmt.Sprintf("task [%s] State transition from %s to %s", id, from, to),
		})
	})
}

// instantiate makes the processors, fresh ones each time the task begins to run.
func (t *streamTask) instantiate() error {
	graph, err := t.thread.instance.program.topology.Instantiate(t.id.Subtopology, t)
	if err != nil {
		return fmt.Errorf("task %s: build processors: %w", t.id, err)
	}
	t.graph, t.dropped = graph, 0
	t.nodes = t.measureNodes()
	return nil
}

// to changes the task's state. The transitions are driven by the thread alone, so a refusal is a bug of ours.
func (t *streamTask) to(next TaskState) error {
	_, err := t.state.to(next)
	return err
}

func (t *streamTask) is(s TaskState) bool {
	current, _ := t.state.get()
	return current == s
}

// TaskID implements topology.Host.
func (t *streamTask) TaskID() string { return t.id.String() }

// StreamTime implements topology.Host: the highest timestamp seen, in milliseconds, -1 before the first record.
func (t *streamTask) StreamTime() int64 { return t.streamTime }

// WallClock implements topology.Host.
func (t *streamTask) WallClock() time.Time { return t.thread.instance.env.Now() }

// RequestCommit implements topology.Host.
func (t *streamTask) RequestCommit() { t.commitRequested = true }

// Failed implements topology.Host: it asks the handler for the kind of failure.
func (t *streamTask) Failed(f topology.Failure) topology.Response {
	cfg := &t.thread.instance.cfg
	handler := cfg.SerializationHandler
	switch f.Kind {
	case topology.DeserializationFailure:
		handler = cfg.DeserializationHandler
	case topology.ProcessingFailure:
		handler = cfg.ProcessingHandler
	default:
	}
	if handler == nil {
		return topology.Fail
	}
	return handler(f)
}

// Store implements topology.Host.
func (t *streamTask) Store(name string) (topology.BytesStore, error) {
	for _, s := range t.manager.stores {
		if s.spec.Name == name {
			return s, nil
		}
	}
	return nil, fmt.Errorf("task %s has no store %q", t.id, name)
}

// Send implements topology.Host: it is the record collector's entry.
func (t *streamTask) Send(topic string, partition int32, key, value []byte, timestamp int64, headers []topology.Header) error {
	r := &kgo.Record{
		Topic: t.thread.instance.program.topic(topic), Partition: partition,
		Key: key, Value: value, Timestamp: time.UnixMilli(timestamp), Context: t.sentFor(),
	}
	if len(headers) > 0 {
		r.Headers = make([]kgo.RecordHeader, len(headers))
		for i, h := range headers {
			r.Headers[i] = kgo.RecordHeader(h)
		}
	}
	t.commitNeeded = true
	return t.slot.producer.send(r, t.slot.producer.sent)
}

// origin is the input record that is at work when a record is sent. It travels as that one's context, the one field that the
// client passes on as it is.
type origin struct {
	context.Context
	topicPartition
	offset int64
}

// sentFor returns the origin of what is sent now; nil in a punctuator and in a commit.
func (t *streamTask) sentFor() context.Context {
	if t.working == nil {
		return nil
	}
	if t.origin == nil {
		t.origin = &origin{context.Background(), t.working.topicPartition, t.workingOffset}
	}
	return t.origin
}

// offsets returns what a commit writes for the task: the next offset of each input, with its partition time.
func (t *streamTask) offsets(into map[topicPartition]offsetAndMetadata) {
	for _, in := range t.inputs {
		into[in.topicPartition] = offsetAndMetadata{offset: in.position, epoch: in.epoch, metadata: encodeOffsetMetadata(in.partitionTime)}
	}
}

// flushCaches writes what the record caches hold to stores and changelogs, and passes it on downstream.
func (t *streamTask) flushCaches() error {
	if p := t.slot.producer; p != nil && t.slot.task == t {
		p.flushTakes = p.policy.FlushTakes
		defer func() { p.flushTakes = 0 }()
	}
	if err := t.graph.Flush(); err != nil {
		return at(PlaceStoreFlush, &transactionError{fmt.Sprintf("task %s", t.id), err})
	}
	t.measureCaches()
	return nil
}

// committed applies what the committed transaction wrote: each store takes its buffer and changelog position in one batch.
func (t *streamTask) committed(at time.Time) error {
	for _, s := range t.manager.stores {
		if err := s.commit(); err != nil {
			return fmt.Errorf("task %s: store %s: %w", t.id, s.spec.Name, err)
		}
	}
	if err := t.manager.committed(); err != nil {
		return err
	}
	t.countDropped()
	t.commitNeeded, t.commitRequested, t.uncommitted, t.uncommittedIn = false, false, 0, 0
	if t.firstCommit.IsZero() {
		t.firstCommit = at
	}
	t.lastCommit = at
	return nil
}

// countDropped adds what the processors have left out since the last time.
func (t *streamTask) countDropped() {
	total := t.graph.Dropped().Total()
	t.thread.counters.dropped.Add(total - t.dropped)
	t.metrics.Dropped.Mark(int(total - t.dropped))
	t.dropped = total
}

// revive throws away everything that is not committed and puts the task back to CREATED; transactional stores stay open, for on
// disk they are a committed prefix of their changelogs.
func (t *streamTask) revive() error {
	if err := t.suspend(); err != nil {
		return err
	}
	for _, next := range []TaskState{TaskClosed, TaskCreated} {
		if err := t.to(next); err != nil {
			return err
		}
	}
	if err := t.manager.abort(); err != nil {
		return err
	}
	t.manager.measureStores()
	t.manager.attach(t)
	return nil
}

// suspend closes the processors and forgets what was fetched.
func (t *streamTask) suspend() error {
	for _, in := range t.inputs {
		in.reset()
	}
	t.streamTime, t.commitNeeded, t.commitRequested, t.uncommitted, t.uncommittedIn = -1, false, false, 0, 0
	if t.graph != nil {
		if err := t.thread.guard(t.graph.Close); err != nil {
			// Closing is a clean-up path: it must not raise a new fatal error.
			t.thread.log().Warn("closing processors failed", "task", t.id.String(), "error", err)
		}
		t.graph = nil
	}
	t.closeCaches()
	t.manager.active.Store(false)
	if t.is(TaskSuspended) {
		return nil
	}
	return t.to(TaskSuspended)
}

// close ends the task. Uncommitted writes are dropped either way; a dirty close only says so in the log.
func (t *streamTask) close(clean bool) error {
	if t.is(TaskClosed) {
		return nil
	}
	err := t.suspend()
	if t.slot.task == t {
		t.slot.close()
	}
	t.manager.close(clean)
	t.metrics.Close()
	t.thread.metrics.TaskClosed()
	if err == nil {
		err = t.to(TaskClosed)
	}
	t.thread.logClosed(t.id, clean)
	return err
}

func (t *StreamThread) logClosed(id TaskID, clean bool) {
	text := "Closed dirty"
	if clean {
		text = "Closed clean"
	}
	t.log().Info(text, "task", id.String())
}

// release ends the task as close does, but leaves its stores open for the standby task that it becomes (recycling).
func (t *streamTask) release() (*stateManager, error) {
	if err := t.suspend(); err != nil {
		return nil, err
	}
	if t.slot.task == t {
		t.slot.close()
	}
	t.manager.attach(nil)
	t.metrics.Close()
	t.thread.metrics.TaskClosed()
	return t.manager, t.to(TaskClosed)
}

func (t *streamTask) status() TaskStatus {
	current, since := t.state.get()
	s := TaskStatus{
		ID: t.id.String(), State: string(current), Since: since, Lag: -1, Processed: t.processed,
		FirstCommit: t.firstCommit, LastCommit: t.lastCommit, RestoreRemaining: t.manager.lag(),
	}
	if current == TaskRunning {
		s.Lag = 0
	}
	for _, in := range t.inputs {
		s.Partitions = append(s.Partitions, in.String())
		if current == TaskRunning {
			s.Lag += in.lag()
		}
	}
	return s
}
