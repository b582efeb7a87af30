package runtime_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"eostop/runtime/state"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// pair is a record as most tests want it: a key and a number.
type pair struct {
	key   string
	value int64
}

func number(value []byte) int64 { return int64(binary.BigEndian.Uint64(value)) }

// create creates topics.
func (c *cluster) create(partitions int32, topics ...string) {
	c.Helper()
	for _, topic := range topics {
		if err := c.broker.CreateTopic(topic, partitions, nil); err != nil {
			c.Fatal(err)
		}
	}
}

// record makes a record of a topic's partition with the present time.
func record(topic string, partition int32, p pair) *kgo.Record {
	return &kgo.Record{
		Topic: topic, Partition: partition, Key: []byte(p.key), Timestamp: time.Now(),
		Value: binary.BigEndian.AppendUint64(nil, uint64(p.value)),
	}
}

// produce writes records to a partition, outside any transaction.
func (c *cluster) produce(topic string, partition int32, pairs ...pair) {
	c.Helper()
	records := make([]*kgo.Record, len(pairs))
	for i, p := range pairs {
		records[i] = record(topic, partition, p)
	}
	if err := c.client.ProduceSync(context.Background(), records...).FirstErr(); err != nil {
		c.Fatalf("produce to %s-%d: %v", topic, partition, err)
	}
}

// series returns n pairs of a key with the values from, from+1, ...
func series(key string, from, n int64) []pair {
	pairs := make([]pair, n)
	for i := range pairs {
		pairs[i] = pair{key, from + int64(i)}
	}
	return pairs
}

// feed writes a series of n numbers to each partition of a topic, under a key of the partition's own.
func (c *cluster) feed(topic string, partitions int32, from, n int64) {
	c.Helper()
	for p := range partitions {
		c.produce(topic, p, series(keyOf(p), from, n)...)
	}
}

// keyOf is the key that feed uses in a partition.
func keyOf(partition int32) string { return fmt.Sprintf("k%d", partition) }

// isolation says which records of transactions are read.
type isolation bool

const (
	committed   isolation = true
	uncommitted isolation = false
)

// read returns what a topic holds at this moment, partition by partition and in the order of the offsets, as a consumer of the given
// isolation sees it.
func (c *cluster) read(topic string, level isolation) []*kgo.Record {
	c.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), late)
	defer cancel()
	starts, ends := c.ends(topic, level)
	from, open := map[int32]kgo.Offset{}, map[int32]int64{}
	for partition, end := range ends {
		if end > starts[partition] {
			from[partition], open[partition] = kgo.NewOffset().At(starts[partition]), end
		}
	}
	if len(open) == 0 {
		return nil
	}
	opts := []kgo.Opt{kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}), kgo.KeepControlRecords()}
	if level == committed {
		opts = append(opts, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	client := c.newClient(opts...)
	defer client.Close()
	var records []*kgo.Record
	for len(open) > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			c.Fatalf("read %s: %v", topic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			end, reading := open[r.Partition]
			if reading && r.Offset < end && !r.Attrs.IsControl() {
				records = append(records, r)
			}
			if reading && r.Offset >= end-1 {
				delete(open, r.Partition)
			}
		})
	}
	slices.SortStableFunc(records, func(a, b *kgo.Record) int { return int(a.Partition - b.Partition) })
	return records
}

// ends returns the first offsets of a topic's partitions, and those behind the last record that can be read.
func (c *cluster) ends(topic string, level isolation) (starts, ends map[int32]int64) {
	c.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), late)
	defer cancel()
	list := c.admin.ListEndOffsets
	if level == committed {
		list = c.admin.ListCommittedOffsets
	}
	return c.offsets(ctx, topic, c.admin.ListStartOffsets), c.offsets(ctx, topic, list)
}

func (c *cluster) offsets(ctx context.Context, topic string, list func(context.Context, ...string) (kadm.ListedOffsets, error)) map[int32]int64 {
	c.Helper()
	listed, err := list(ctx, topic)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		c.Fatalf("offsets of %s: %v", topic, err)
	}
	offsets := map[int32]int64{}
	listed.Each(func(o kadm.ListedOffset) { offsets[o.Partition] = o.Offset })
	return offsets
}

// values returns what a topic holds, as numbers by key in the order in which they were written. A key is written by one task only.
func (c *cluster) values(topic string, level isolation) map[string][]int64 {
	c.Helper()
	byKey := map[string][]int64{}
	for _, r := range c.read(topic, level) {
		byKey[string(r.Key)] = append(byKey[string(r.Key)], number(r.Value))
	}
	return byKey
}

// awaitRecords waits until a topic holds at least n records.
func (c *cluster) awaitRecords(atMost time.Duration, topic string, level isolation, n int) {
	c.Helper()
	c.await(atMost, fmt.Sprintf("%d records in %s", n, topic), func() bool { return len(c.read(topic, level)) >= n })
}

// committedOffsets returns the offsets that the group has committed for a topic; a partition without one is missing.
func (c *cluster) committedOffsets(topic string) map[int32]int64 {
	c.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), late)
	defer cancel()
	offsets := map[int32]int64{}
	responses, err := c.admin.FetchOffsets(ctx, applicationID)
	if errors.Is(err, kerr.GroupIDNotFound) {
		return offsets // nobody has joined yet
	}
	if err == nil {
		err = responses.Error()
	}
	if err != nil {
		c.Fatalf("committed offsets: %v", err)
	}
	for partition, o := range responses[topic] {
		if o.At >= 0 {
			offsets[partition] = o.At
		}
	}
	return offsets
}

// awaitCommitted waits until the group has committed everything that a topic holds.
func (c *cluster) awaitCommitted(atMost time.Duration, topic string) {
	c.Helper()
	c.await(atMost, "all of "+topic+" is committed", func() bool {
		_, ends := c.ends(topic, uncommitted)
		offsets := c.committedOffsets(topic)
		for partition, end := range ends {
			if end > 0 && offsets[partition] < end {
				return false
			}
		}
		return true
	})
}

// wantCopied checks that an output holds exactly what an input holds, key by key and in order; under at_least_once records
// may be there more than once.
func (c *cluster) wantCopied(input, output string) {
	c.Helper()
	c.wantValues(output, c.values(input, committed))
}

// wantSums checks that an output holds the running sums of an input, each exactly once.
func (c *cluster) wantSums(input, output string) {
	c.Helper()
	want := c.values(input, committed)
	for _, values := range want {
		for i := 1; i < len(values); i++ {
			values[i] += values[i-1]
		}
	}
	c.wantValues(output, want)
}

func (c *cluster) wantValues(topic string, want map[string][]int64) {
	c.Helper()
	got := c.values(topic, committed)
	if !slices.Equal(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want))) {
		c.Errorf("%s: keys %v, want %v", topic, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
	for key, values := range want {
		switch {
		case c.exactlyOnce() && !slices.Equal(got[key], values):
			c.Errorf("%s: key %s: got %v, want %v", topic, key, got[key], values)
		case !c.exactlyOnce():
			if missing := slices.DeleteFunc(slices.Clone(values), func(v int64) bool { return slices.Contains(got[key], v) }); len(missing) > 0 {
				c.Errorf("%s: key %s: %v are missing in %v", topic, key, missing, got[key])
			}
		}
	}
}

// content is what a store holds on disk.
type content struct {
	position int64 // the next changelog offset
	values   map[string][]byte
}

// stored reads a store of a closed instance from its disk.
func (m *member) stored(task, store string) content {
	m.c.Helper()
	if !m.closed {
		m.c.Fatalf("%s has its stores open", m.name)
	}
	directory, err := state.OpenDirectory(state.DirectoryConfig{Path: m.cfg.StateDir, FS: m.disk})
	if err != nil {
		m.c.Fatal(err)
	}
	defer func() {
		if err := directory.Close(); err != nil {
			m.c.Error(err)
		}
	}()
	s, err := directory.OpenStore(task, store, state.StoreOptions{})
	if err != nil {
		m.c.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			m.c.Error(err)
		}
	}()
	got := content{position: s.Position(), values: map[string][]byte{}}
	for next, done := []byte(nil), false; !done; {
		next, done, err = s.Scan(next, 1000, func(key, value []byte, _ int64) error {
			got.values[string(key)] = bytes.Clone(value)
			return nil
		})
		if err != nil {
			m.c.Fatal(err)
		}
	}
	return got
}

// wantCommittedPrefix checks that a store on a closed instance's disk is what the committed records of its changelog make
// of it, up to its own position. It returns the position.
func (m *member) wantCommittedPrefix(task, store string, partition int32) int64 {
	m.c.Helper()
	got := m.stored(task, store)
	want := map[string][]byte{}
	for _, r := range m.c.read(applicationID+"-"+store+"-changelog", committed) {
		switch {
		case r.Partition != partition || r.Offset >= got.position:
		case r.Value == nil:
			delete(want, string(r.Key))
		default:
			want[string(r.Key)] = r.Value
		}
	}
	if !maps.EqualFunc(got.values, want, bytes.Equal) {
		m.c.Errorf("%s: store %s of task %s at position %d holds %v, want the committed prefix of its changelog %v", m.name, store, task, got.position, got.values, want)
	}
	return got.position
}

// membersOfGroup returns how many members the group has.
func (c *cluster) membersOfGroup() int {
	c.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), late)
	defer cancel()
	groups, err := c.admin.DescribeGroups(ctx, applicationID)
	if err == nil {
		err = groups.Error()
	}
	if err != nil {
		c.Fatalf("describe group: %v", err)
	}
	return len(groups[applicationID].Members)
}
