package topologytest

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"time"

	"eostop/runtime/topology"
)

// task is the host of one graph.
type task struct {
	driver         *Driver
	graph          *topology.Graph
	id             string
	partition      int32
	time           int64            // stream time
	partitionTimes map[string]int64 // by topic
	stores         map[string]*store
}

func newTask(d *Driver, sub topology.SubTopology, partition int32) *task {
	t := &task{
		driver:         d,
		id:             fmt.Sprintf("%d_%d", sub.ID, partition),
		partition:      partition,
		time:           -1,
		partitionTimes: make(map[string]int64),
		stores:         make(map[string]*store),
	}
	for _, topic := range sub.Sources {
		t.partitionTimes[topic] = -1
	}
	for _, spec := range sub.Stores {
		t.stores[spec.Name] = &store{task: t, spec: spec, entries: make(map[string]Entry)}
	}
	return t
}

// process takes a record through the graph as a thread does: its timestamp, the record, what is due in stream time.
func (t *task) process(r queued) error {
	in := topology.Input{
		Topic: r.topic, Partition: r.Partition, Offset: r.offset,
		Key: r.Key, Value: r.Value, Timestamp: r.Timestamp, Headers: r.Headers,
	}
	timestamp, ok, err := t.graph.Timestamp(in, t.partitionTimes[r.topic])
	if err != nil || !ok {
		return err
	}
	in.Timestamp = timestamp
	t.partitionTimes[r.topic] = max(t.partitionTimes[r.topic], timestamp)
	t.time = max(t.time, timestamp)
	if err := t.graph.Process(in); err != nil {
		return err
	}
	_, err = t.graph.PunctuateStreamTime(t.time)
	return err
}

func (t *task) TaskID() string { return t.id }

func (t *task) StreamTime() int64 { return t.time }

func (t *task) WallClock() time.Time { return t.driver.now }

func (t *task) RequestCommit() { t.driver.requested = true }

func (t *task) Failed(failure topology.Failure) topology.Response {
	if t.driver.config.Handler == nil {
		return topology.Fail
	}
	return t.driver.config.Handler(failure)
}

func (t *task) Store(name string) (topology.BytesStore, error) { return t.stores[name], nil }

func (t *task) Cache(string) topology.RecordCache {
	if t.driver.config.CacheBytes <= 0 {
		return nil
	}
	return newCache(t.driver.memory)
}

func (t *task) Send(
	topic string, partition int32, key, value []byte, timestamp int64, headers []topology.Header,
) error {
	d := t.driver
	r := Record{
		Record:    topology.Record[[]byte, []byte]{Key: key, Value: value, Timestamp: timestamp, Headers: headers},
		Partition: d.partitionOf(partition, key),
	}
	d.topics[topic] = append(d.topics[topic], r)
	if len(d.tasks[topic]) > 0 {
		d.enqueue(topic, r)
	}
	return nil
}

// store is a store of one task, with its changelog in the driver.
type store struct {
	task    *task
	spec    topology.StoreSpec
	entries map[string]Entry
}

func (s *store) Get(key []byte) (value []byte, timestamp int64, ok bool, err error) {
	entry, ok := s.entries[string(key)]
	return entry.Value, entry.Timestamp, ok, nil
}

func (s *store) Put(key, value []byte, timestamp int64) error {
	if value == nil {
		delete(s.entries, string(key))
	} else {
		s.entries[string(key)] = Entry{Value: value, Timestamp: timestamp}
	}
	if s.spec.Logged {
		logs := s.task.driver.changelogs
		logs[s.spec.Name] = append(logs[s.spec.Name], Record{
			Record:    topology.Record[[]byte, []byte]{Key: key, Value: value, Timestamp: timestamp},
			Partition: s.task.partition,
		})
	}
	return nil
}

func (s *store) Scan(
	after []byte, limit int, fn func(key, value []byte, timestamp int64) error,
) (next []byte, done bool, err error) {
	next = after
	n := 0
	for _, key := range slices.Sorted(maps.Keys(s.entries)) {
		if after != nil && bytes.Compare([]byte(key), after) <= 0 {
			continue
		}
		if limit > 0 && n == limit {
			return next, false, nil
		}
		entry := s.entries[key]
		if err := fn([]byte(key), entry.Value, entry.Timestamp); err != nil {
			return next, false, err
		}
		next = []byte(key)
		n++
	}
	return next, true, nil
}
