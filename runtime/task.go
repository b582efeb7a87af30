package runtime

import (
	"fmt"
	"time"

	"eostop/runtime/journal"
	"eostop/runtime/state"
	"eostop/runtime/topology"

	"github.com/twmb/franz-go/pkg/kgo"
)

// topicPartition names a partition of a topic as the broker knows it.
type topicPartition struct {
	topic     string
	partition int32
}

func (tp topicPartition) String() string { return fmt.Sprintf("%s-%d", tp.topic, tp.partition) }

// inputPartition is one source partition of a task: a queue of fetched records and the position behind the last processed one.
type inputPartition struct {
	topicPartition
	logical  string // the topic's name in the topology
	external bool   // written from outside the application

	queue         []*kgo.Record
	position      int64 // next offset to process; what a commit writes
	epoch         int32 // leader epoch of the record before position
	highWatermark int64
	partitionTime int64 // highest record timestamp, ms; -1 unknown
}

// lag returns the records between the position and the end of the partition as last seen; 0 before the first fetch.
func (in *inputPartition) lag() int64 { return max(0, in.highWatermark-in.position) }

// streamTask is an active task: a sub-topology's processors over one partition of its sources, with their stores. It
// belongs to its thread's goroutine. It implements topology.Host.
type streamTask struct {
	id     TaskID
	thread *StreamThread
	state  *stateMachine[TaskState]
	graph  *topology.Graph
	inputs []*inputPartition
	stores []*taskStore // in topological order, which is the order caches are flushed in

	streamTime    int64
	commitNeeded  bool
	processed     int64 // records taken from the queues, in committed transactions or not
	uncommittedIn int64 // records of external topics processed in the open transaction
	firstCommit   time.Time
	lastCommit    time.Time
	offsetsDue    time.Time // when to ask for the committed offsets (again)
}

var _ topology.Host = (*streamTask)(nil)

// newTask builds a task in state CREATED; nothing is opened yet.
func newTask(thread *StreamThread, id TaskID, partitions map[string]int32) *streamTask {
	t := &streamTask{id: id, thread: thread, streamTime: -1}
	t.state = newStateMachine("task ["+id.String()+"]", TaskCreated, taskTransitions, func(from, to TaskState) {
		thread.emit(journal.Event{
			Kind: journal.KindTaskState, Level: journal.Debug, Task: id.String(), From: string(from), To: string(to),
			Text: fmt.Sprintf("task [%s] State transition from %s to %s", id, from, to),
		})
	})
	sub := thread.instance.program.sub(id.Subtopology)
	for _, logical := range sub.Sources {
		topic := thread.instance.program.topic(logical)
		if id.Partition < partitions[topic] {
			t.inputs = append(t.inputs, &inputPartition{
				topicPartition: topicPartition{topic, id.Partition}, logical: logical,
				external: !thread.instance.program.internal(logical), partitionTime: -1, position: -1, epoch: -1, highWatermark: -1,
			})
		}
	}
	return t
}

// open opens the stores and builds the processors. A store is registered only once it is open, so that a failed open
// leaves nothing behind that a later open could trip over (KAFKA-9231, second cause).
func (t *streamTask) open() error {
	inst := t.thread.instance
	for _, spec := range inst.program.sub(t.id.Subtopology).Stores {
		store, err := inst.directory.OpenStore(t.id.String(), spec.Name, state.StoreOptions{Cache: inst.cache, MemtableBytes: inst.cfg.Memtable})
		if err != nil {
			t.closeStores(false)
			return fmt.Errorf("task %s: open store %s: %w", t.id, spec.Name, err)
		}
		t.stores = append(t.stores, newTaskStore(t, spec, store))
	}
	if err := t.instantiate(); err != nil {
		t.closeStores(false)
		return err
	}
	t.thread.log().Info("Initialized", "task", t.id.String())
	return nil
}

func (t *streamTask) instantiate() error {
	graph, err := t.thread.instance.program.topology.Instantiate(t.id.Subtopology, t)
	if err != nil {
		return fmt.Errorf("task %s: build processors: %w", t.id, err)
	}
	t.graph = graph
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
func (t *streamTask) WallClock() time.Time { return time.Now() }

// Cache implements topology.Host: there is no record cache, every update goes on at once.
func (t *streamTask) Cache(string) topology.RecordCache { return nil }

// RequestCommit implements topology.Host. The commit interval is so short that the next commit comes soon enough.
func (t *streamTask) RequestCommit() {}

// Failed implements topology.Host: every failure of the program is fatal.
func (t *streamTask) Failed(topology.Failure) topology.Response { return topology.Fail }

// Store implements topology.Host.
func (t *streamTask) Store(name string) (topology.BytesStore, error) {
	for _, s := range t.stores {
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
		Key: key, Value: value, Timestamp: time.UnixMilli(timestamp),
	}
	if len(headers) > 0 {
		r.Headers = make([]kgo.RecordHeader, len(headers))
		for i, h := range headers {
			r.Headers[i] = kgo.RecordHeader(h)
		}
	}
	return t.thread.producer.send(r, t.thread.producer.sent)
}

// add queues fetched records. Control records have no payload, but the position must pass them.
func (t *streamTask) add(in *inputPartition, records []*kgo.Record) {
	for _, r := range records {
		if r.Offset >= in.position {
			in.queue = append(in.queue, r)
		}
	}
}

// next chooses the queue whose head has the smallest timestamp, so that inputs are worked off in the order of time.
func (t *streamTask) next() *inputPartition {
	var chosen *inputPartition
	for _, in := range t.inputs {
		if len(in.queue) > 0 && (chosen == nil || in.queue[0].Timestamp.Before(chosen.queue[0].Timestamp)) {
			chosen = in
		}
	}
	return chosen
}

// process works off up to limit queued records and returns how many it took.
func (t *streamTask) process(limit int) (int, error) {
	for n := range limit {
		in := t.next()
		if in == nil {
			return n, nil
		}
		r := in.queue[0]
		in.queue[0] = nil
		in.queue = in.queue[1:]
		if !r.Attrs.IsControl() {
			if err := t.processRecord(in, r); err != nil {
				// The record has left the queue: whatever the cause, the transaction cannot be gone on with.
				return n, &transactionError{fmt.Sprintf("task %s: %s offset %d", t.id, in.topicPartition, r.Offset), err}
			}
		}
		in.position, in.epoch = r.Offset+1, r.LeaderEpoch
		t.commitNeeded = true
	}
	return limit, nil
}

func (t *streamTask) processRecord(in *inputPartition, r *kgo.Record) error {
	record := topology.Input{
		Topic: in.logical, Partition: in.partition, Offset: r.Offset, Key: r.Key, Value: r.Value, Timestamp: r.Timestamp.UnixMilli(),
	}
	if len(r.Headers) > 0 {
		record.Headers = make([]topology.Header, len(r.Headers))
		for i, h := range r.Headers {
			record.Headers[i] = topology.Header(h)
		}
	}
	timestamp, ok, err := t.graph.Timestamp(record, in.partitionTime)
	if err != nil {
		return err
	}
	if ok {
		record.Timestamp = timestamp
		in.partitionTime = max(in.partitionTime, timestamp)
		t.streamTime = max(t.streamTime, timestamp)
		if err := t.graph.Process(record); err != nil {
			return err
		}
	} else {
		t.thread.log().Warn("record skipped: its timestamp is not valid", "task", t.id.String(), "topic", in.topic,
			"partition", in.partition, "offset", r.Offset, "timestamp", timestamp)
	}
	t.processed++
	if in.external {
		t.uncommittedIn++
	}
	return nil
}

// offsets returns what a commit writes for the task: the next offset of each input, with its partition time.
func (t *streamTask) offsets(into map[topicPartition]offsetAndMetadata) {
	for _, in := range t.inputs {
		into[in.topicPartition] = offsetAndMetadata{offset: in.position, epoch: in.epoch, metadata: encodeOffsetMetadata(in.partitionTime)}
	}
}

// committed applies what the committed transaction wrote: each store takes its buffer and changelog position in one batch.
func (t *streamTask) committed(at time.Time) error {
	for _, s := range t.stores {
		if err := s.commit(); err != nil {
			return fmt.Errorf("task %s: store %s: %w", t.id, s.spec.Name, err)
		}
	}
	t.commitNeeded, t.uncommittedIn = false, 0
	if t.firstCommit.IsZero() {
		t.firstCommit = at
	}
	t.lastCommit = at
	return nil
}

// revive throws away everything that is not committed and puts the task back to CREATED; its stores stay open, for on
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
	for _, s := range t.stores {
		s.abort()
	}
	t.commitNeeded, t.uncommittedIn = false, 0
	return t.instantiate()
}

// suspend closes the processors and forgets what was fetched.
func (t *streamTask) suspend() error {
	for _, in := range t.inputs {
		in.queue, in.position, in.epoch = nil, -1, -1
	}
	t.streamTime = -1
	if t.graph != nil {
		if err := t.thread.guard(t.graph.Close); err != nil {
			// Closing is a clean-up path: it must not raise a new fatal error.
			t.thread.log().Warn("closing processors failed", "task", t.id.String(), "error", err)
		}
		t.graph = nil
	}
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
	t.closeStores(clean)
	if err == nil {
		err = t.to(TaskClosed)
	}
	text := "Closed dirty"
	if clean {
		text = "Closed clean"
	}
	t.thread.log().Info(text, "task", t.id.String())
	return err
}

func (t *streamTask) closeStores(clean bool) {
	for _, s := range t.stores {
		if err := s.close(); err != nil {
			t.thread.log().Warn("closing store failed", "task", t.id.String(), "store", s.spec.Name, "clean", clean, "error", err)
		}
	}
	t.stores = nil
}

// restored reports whether every store has caught up with its changelog.
func (t *streamTask) restored() bool {
	for _, s := range t.stores {
		if s.restore != nil {
			return false
		}
	}
	return true
}

func (t *streamTask) status() TaskStatus {
	current, since := t.state.get()
	s := TaskStatus{
		ID: t.id.String(), State: string(current), Since: since, Lag: -1, Processed: t.processed,
		FirstCommit: t.firstCommit, LastCommit: t.lastCommit,
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
	for _, store := range t.stores {
		s.RestoreRemaining += store.lag()
	}
	return s
}
