package topologytest

import (
	"errors"
	"fmt"
	"slices"

	"eostop/runtime/topology"
)

// Record is a record of a topic, key and value serialised.
type Record struct {
	topology.Record[[]byte, []byte]
	Partition int32
}

// Entry is a value of a store.
type Entry struct {
	Value     []byte
	Timestamp int64 // milliseconds
}

// Driver runs a program whose topics all have the same number of partitions, so that every sub-topology has one task
// for each. It is for one goroutine.
type Driver struct {
	partitions int32
	tasks      map[string][]*task // by source topic, then partition
	all        []*task
	pending    []queued // records that are still to be processed, oldest first
	topics     map[string][]Record
	changelogs map[string][]Record
}

type queued struct {
	topic string
	Record
}

// New instantiates every task of the program.
func New(program *topology.Topology, partitions int32) (*Driver, error) {
	d := &Driver{
		partitions: partitions,
		tasks:      make(map[string][]*task),
		topics:     make(map[string][]Record),
		changelogs: make(map[string][]Record),
	}
	for _, sub := range program.SubTopologies() {
		for partition := range partitions {
			t := &task{
				driver:    d,
				id:        fmt.Sprintf("%d_%d", sub.ID, partition),
				partition: partition,
				time:      -1,
				stores:    make(map[string]*store),
			}
			for _, spec := range sub.Stores {
				t.stores[spec.Name] = &store{task: t, spec: spec, entries: make(map[string]Entry)}
			}
			graph, err := program.Instantiate(sub.ID, t)
			if err != nil {
				return nil, errors.Join(fmt.Errorf("task %s: %w", t.id, err), d.Close())
			}
			t.graph = graph
			d.all = append(d.all, t)
			for _, topic := range sub.Sources {
				d.tasks[topic] = append(d.tasks[topic], t)
			}
		}
	}
	return d, nil
}

// Pipe processes a record of a source topic, in the partition that its key asks for, and all that follows from it. An
// error of the graph is returned as it is, behind the name of the task; the rest of what was to follow is forgotten.
func (d *Driver) Pipe(topic string, key, value []byte, timestamp int64, headers ...topology.Header) error {
	if len(d.tasks[topic]) == 0 {
		return fmt.Errorf("pipe: no source reads topic %s", topic)
	}
	d.pending = append(d.pending[:0], queued{topic, Record{
		Record:    topology.Record[[]byte, []byte]{Key: key, Value: value, Timestamp: timestamp, Headers: headers},
		Partition: d.partitionOf(-1, key),
	}})
	for len(d.pending) > 0 {
		r := d.pending[0]
		d.pending = d.pending[1:]
		t := d.tasks[r.topic][r.Partition]
		t.time = max(t.time, r.Timestamp)
		if err := t.graph.Process(r.topic, r.Key, r.Value, r.Timestamp, r.Headers); err != nil {
			return fmt.Errorf("task %s: %w", t.id, err)
		}
	}
	return nil
}

// Records returns what was written to a topic, repartition topics included, in the order of writing. Topic names are
// logical.
func (d *Driver) Records(topic string) []Record { return slices.Clone(d.topics[topic]) }

// Changelog returns what was written to the changelog of a store, in the order of writing. Deletions have a nil value.
func (d *Driver) Changelog(store string) []Record { return slices.Clone(d.changelogs[store]) }

// Writes is the number of records written to all topics and changelogs.
func (d *Driver) Writes() int {
	n := 0
	for _, records := range d.topics {
		n += len(records)
	}
	for _, records := range d.changelogs {
		n += len(records)
	}
	return n
}

// Entries returns what a store holds now in all its tasks together, by serialised key. It fails if the same key is in
// two tasks.
func (d *Driver) Entries(name string) (map[string]Entry, error) {
	all := make(map[string]Entry)
	for _, t := range d.all {
		s, ok := t.stores[name]
		if !ok {
			continue
		}
		for key, entry := range s.entries {
			if _, ok := all[key]; ok {
				return nil, fmt.Errorf("store %s: key %q is in two tasks", name, key)
			}
			all[key] = entry
		}
	}
	return all, nil
}

// Close closes the graphs of all tasks.
func (d *Driver) Close() error {
	var errs []error
	for _, t := range d.all {
		errs = append(errs, t.graph.Close())
	}
	return errors.Join(errs...)
}

// partitionOf returns the partition asked for, or that of the key. Records without a key go to partition 0, so that
// runs can be repeated.
func (d *Driver) partitionOf(partition int32, key []byte) int32 {
	switch {
	case partition >= 0:
		return partition
	case key == nil:
		return 0
	default:
		return topology.PartitionFor(key, d.partitions)
	}
}

// task is the host of one graph.
type task struct {
	driver    *Driver
	graph     *topology.Graph
	id        string
	partition int32
	time      int64
	stores    map[string]*store
}

func (t *task) TaskID() string { return t.id }

func (t *task) StreamTime() int64 { return t.time }

func (t *task) Store(name string) (topology.BytesStore, error) { return t.stores[name], nil }

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
		d.pending = append(d.pending, queued{topic, r})
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
