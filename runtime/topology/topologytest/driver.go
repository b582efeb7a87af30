package topologytest

import (
	"errors"
	"fmt"
	"slices"
	"time"

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

// Config is what can be chosen of a [Driver]. The zero value is one partition, no record cache, and every failure
// reported.
type Config struct {
	// Partitions is the number of partitions of every topic, and so of tasks of every sub-topology; 0 = 1.
	Partitions int32
	// CacheBytes is the size of the record cache that all tasks share, as those of a thread do: bytes of keys and values.
	// 0 = no cache, so that every update goes on at once. With a cache, updates wait for an eviction or for Commit.
	CacheBytes int64
	// Start is the wall clock's time in the beginning.
	Start time.Time
	// Handler decides about failures; nil = all of them are errors of Pipe, Advance or Commit.
	Handler func(topology.Failure) topology.Response
}

// Driver runs a program whose topics all have the same number of partitions, so that every sub-topology has one task
// for each. It is for one goroutine.
type Driver struct {
	config     Config
	tasks      map[string][]*task // by source topic, then partition
	all        []*task            // in the order of their ids
	pending    []queued           // records that are still to be processed, oldest first
	offsets    map[string][]int64 // next ones, by topic and partition
	topics     map[string][]Record
	changelogs map[string][]Record
	memory     *memory
	now        time.Time
	requested  bool // a commit
}

type queued struct {
	topic  string
	offset int64
	Record
}

// New instantiates every task of the program, without a record cache.
func New(program *topology.Topology, partitions int32) (*Driver, error) {
	return NewWith(program, Config{Partitions: partitions})
}

// NewWith instantiates every task of the program.
func NewWith(program *topology.Topology, config Config) (*Driver, error) {
	config.Partitions = max(1, config.Partitions)
	d := &Driver{
		config:     config,
		tasks:      make(map[string][]*task),
		offsets:    make(map[string][]int64),
		topics:     make(map[string][]Record),
		changelogs: make(map[string][]Record),
		memory:     &memory{limit: config.CacheBytes},
		now:        config.Start,
	}
	for _, sub := range program.SubTopologies() {
		for partition := range config.Partitions {
			t := newTask(d, sub, partition)
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
	d.pending = d.pending[:0]
	d.enqueue(topic, Record{
		Record:    topology.Record[[]byte, []byte]{Key: key, Value: value, Timestamp: timestamp, Headers: headers},
		Partition: d.partitionOf(-1, key),
	})
	return d.work()
}

// Advance moves the wall clock, calls what is due, and processes all that follows from it. Stream time moves with the
// records alone.
func (d *Driver) Advance(by time.Duration) error {
	d.now = d.now.Add(by)
	d.pending = d.pending[:0]
	for _, t := range d.all {
		if _, err := t.graph.PunctuateWallClock(d.now); err != nil {
			return fmt.Errorf("task %s: %w", t.id, err)
		}
	}
	return d.work()
}

// Commit flushes the record caches as a commit of the thread does: task by task in the order of their ids, each in
// topological order. Then it processes what has come into repartition topics, as the polls after a commit do. What that
// leaves in the caches of later sub-topologies waits for the next commit.
func (d *Driver) Commit() error {
	d.pending = d.pending[:0]
	if err := d.flush(); err != nil {
		return err
	}
	return d.work()
}

// CommitAll commits until nothing more comes out of the caches.
func (d *Driver) CommitAll() error {
	for {
		before := d.Writes()
		if err := d.Commit(); err != nil {
			return err
		}
		if d.Writes() == before {
			return nil
		}
	}
}

func (d *Driver) flush() error {
	d.requested = false
	for _, t := range d.all {
		if err := t.graph.Flush(); err != nil {
			return fmt.Errorf("task %s: %w", t.id, err)
		}
	}
	return nil
}

// work processes what is pending.
func (d *Driver) work() error {
	for {
		if d.requested {
			if err := d.flush(); err != nil {
				return err
			}
		}
		if len(d.pending) == 0 {
			return nil
		}
		r := d.pending[0]
		d.pending = d.pending[1:]
		t := d.tasks[r.topic][r.Partition]
		if err := t.process(r); err != nil {
			return fmt.Errorf("task %s: %w", t.id, err)
		}
	}
}

// Now is the wall clock's time.
func (d *Driver) Now() time.Time { return d.now }

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

// Entries returns what a store holds now in all its tasks together, by serialised key: beneath the record cache. It
// fails if the same key is in two tasks.
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

// Dropped is how many records all tasks have left out, and why.
func (d *Driver) Dropped() topology.Dropped {
	var sum topology.Dropped
	for _, t := range d.all {
		dropped := t.graph.Dropped()
		sum.Nulls += dropped.Nulls
		sum.Timestamps += dropped.Timestamps
		sum.Deserialization += dropped.Deserialization
		sum.Processing += dropped.Processing
		sum.Serialization += dropped.Serialization
	}
	return sum
}

// Close closes the graphs of all tasks. What is in their caches is lost, as when a task is taken away without a commit.
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
		return topology.PartitionFor(key, d.config.Partitions)
	}
}

// enqueue gives a record of a source topic its offset and has it processed.
func (d *Driver) enqueue(topic string, r Record) {
	if d.offsets[topic] == nil {
		d.offsets[topic] = make([]int64, d.config.Partitions)
	}
	offset := d.offsets[topic][r.Partition]
	d.offsets[topic][r.Partition]++
	d.pending = append(d.pending, queued{topic, offset, r})
}
