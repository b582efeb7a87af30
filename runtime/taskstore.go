package runtime

import (
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"eostop/runtime/metrics"
	"eostop/runtime/state"
	"eostop/runtime/topology"

	"github.com/twmb/franz-go/pkg/kgo"
)

// taskStore is a store as a task's processors see it: each write goes to the transaction buffer of the local store and,
// as a record, to the changelog. It belongs to the owner of its state manager; only acknowledgements come from the client's
// goroutine.
type taskStore struct {
	manager   *stateManager
	task      *streamTask // the active task that writes; nil while there is none
	spec      topology.StoreSpec
	store     state.KeyValue
	changelog topicPartition
	restore   atomic.Pointer[restoration] // while the changelog is read into the store
	rewrite   rewritePass
	metrics   *metrics.Store // of no store until the task is registered

	acks *acknowledgements // of the open transaction; nil before the first write
}

// acknowledgements follows what one producer has got into a changelog. It is tied to that incarnation of the producer, so
// that a late answer to an abandoned one changes nothing.
type acknowledgements struct {
	producer *streamsProducer
	next     atomic.Int64 // offset behind the last acknowledged record of the open transaction; 0 while there is none
	promise  func(*kgo.Record, error)
}

func newAcknowledgements(p *streamsProducer) *acknowledgements {
	a := &acknowledgements{producer: p}
	a.promise = func(r *kgo.Record, err error) { // runs in the client's goroutine, in the order of the offsets
		if err != nil {
			p.sent(r, err)
			return
		}
		a.next.Store(r.Offset + 1)
	}
	return a
}

func newTaskStore(m *stateManager, spec topology.StoreSpec, store state.KeyValue) *taskStore {
	return &taskStore{
		manager: m, spec: spec, store: store, metrics: new(metrics.Store),
		changelog: topicPartition{changelogTopic(m.thread.instance.cfg.ApplicationID, spec.Name), m.id.Partition},
	}
}

// changelogTopic names the changelog of a store as Kafka Streams does.
func changelogTopic(applicationID, store string) string {
	return applicationID + "-" + store + "-changelog"
}

// Get implements topology.BytesStore. The value is a copy: the program may send it on, while the store reuses its memory.
func (s *taskStore) Get(key []byte) (value []byte, timestamp int64, ok bool, err error) {
	begun := s.metrics.Get.Begin()
	value, timestamp, ok, err = s.store.Get(key)
	s.metrics.Get.End(begun)
	if err != nil || !ok {
		return nil, 0, false, err
	}
	return slices.Clone(value), timestamp, true, nil
}

// Put implements topology.BytesStore.
func (s *taskStore) Put(key, value []byte, timestamp int64) error {
	timer := s.metrics.Put
	if value == nil {
		timer = s.metrics.Delete
	}
	defer timer.End(timer.Begin())
	if err := s.store.Put(key, value, timestamp); err != nil {
		return fmt.Errorf("store %s: %w", s.spec.Name, err)
	}
	if !s.spec.Logged {
		return nil
	}
	return s.log(key, value, timestamp)
}

// Scan implements topology.BytesStore.
func (s *taskStore) Scan(
	after []byte, limit int, fn func(key, value []byte, timestamp int64) error,
) (next []byte, done bool, err error) {
	defer s.metrics.Range.End(s.metrics.Range.Begin())
	return s.store.Scan(after, limit, fn)
}

// log writes one changelog record: key and raw value, with the value's timestamp as the record's (Kafka Streams' format).
func (s *taskStore) log(key, value []byte, timestamp int64) error {
	producer := s.task.slot.producer
	if s.acks == nil || s.acks.producer != producer {
		s.acks = newAcknowledgements(producer)
	}
	s.task.commitNeeded = true
	return producer.send(&kgo.Record{
		Topic: s.changelog.topic, Partition: s.changelog.partition,
		Key: key, Value: value, Timestamp: time.UnixMilli(timestamp), Context: s.task.sentFor(),
	}, s.acks.promise)
}

// commit applies the buffer together with the changelog position of the committed transaction.
func (s *taskStore) commit() error {
	position := s.store.Position()
	if s.acks != nil {
		if next := s.acks.next.Swap(0); next > 0 {
			position = next
		}
	}
	begun := s.metrics.Flush.Begin()
	if err := s.store.Commit(position); err != nil { // costs nothing where nothing has changed
		return err
	}
	s.metrics.Flush.End(begun)
	s.rewrite.committed()
	return nil
}

// abort drops the buffer. Late acknowledgements of the abandoned transaction go nowhere.
func (s *taskStore) abort() {
	s.store.Abort()
	s.acks = nil
	s.rewrite = rewritePass{}
}

func (s *taskStore) lag() int64 {
	if r := s.restore.Load(); r != nil {
		return r.remaining()
	}
	return 0
}

func (s *taskStore) status(standby bool) StoreStatus {
	stats, m := s.store.Stats(), s.manager
	status := StoreStatus{
		Name: s.spec.Name, Task: m.id.String(), Thread: m.thread.name, Instance: m.thread.instance.cfg.ClientID,
		State: "OPEN", Entries: stats.Entries, Bytes: stats.Bytes, Position: stats.Position, Lag: s.lag(), Registered: true, Standby: standby,
	}
	switch {
	case standby:
		status.State = "STANDBY"
	case status.Lag > 0:
		status.State = "RESTORING"
	}
	return status
}
