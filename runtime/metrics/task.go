package metrics

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Task measures a task, active or standby.
type Task struct {
	set    *set
	labels []string // client, thread, task

	// Dropped counts records that were not processed on purpose: too late, without a key, or refused by a handler.
	Dropped *Meter
	// RestoreRemaining is the number of changelog records that are still to be restored.
	RestoreRemaining *Gauge
	// From the level Debug on.
	BufferCount        *Gauge // records that were fetched and not yet processed
	CacheBytes         *Gauge // size of the task's record caches
	RecordLateness     *Value // stream time less timestamp of each record, in milliseconds
	EnforcedProcessing *Meter // times that the task did not wait for an input any longer (max.task.idle.ms)
	Punctuate          *Timer
	Commit             *Timer
	Restored           *Meter // changelog records of an active task
	Updated            *Meter // changelog records of a standby task

	processLatency *Timer
	process        *Meter
	processShare   *Share
}

// Task registers a task of the thread.
func (t *Thread) Task(id string) *Task {
	k := &Task{}
	if t.set == nil {
		return k
	}
	k.labels = valid(t.registry.cfg.ClientID, t.name, id)
	k.set = t.set.child("task "+id, k.labels)
	b := builder{k.set, taskGroup}
	k.Dropped = b.meter(Info, "dropped-records", "dropped records")
	k.RestoreRemaining = b.gauge(Info, "restore-remaining-records-total", "Number of changelog records that are still to be restored; goes down")
	k.BufferCount = b.gauge(Debug, "active-buffer-count", "Number of records that were fetched and not yet processed")
	k.CacheBytes = b.gauge(Debug, "cache-size-bytes-total", "Size of the task's record caches; goes up and down")
	k.RecordLateness = b.value(Debug, "record-lateness", "lateness of records against the stream time, in milliseconds")
	k.EnforcedProcessing = b.meter(Debug, "enforced-processing", "times that the task did not wait for an input any longer")
	k.Punctuate = b.calls(Debug, "punctuate", "calls to punctuate")
	k.Commit = b.calls(Debug, "commit", "calls to commit")
	k.Restored = b.meter(Debug, "restore", "records restored")
	k.Updated = b.meter(Debug, "update", "records updated in a standby task")
	k.processLatency = b.timer(Debug, time.Millisecond, "process-latency", "time to process a record")
	k.process = b.meter(Debug, "process", "records processed")

	// Of the time that the thread spends on all of its tasks.
	all := t.processShare
	own := newShare(t.registry.clock)
	k.processShare = own
	b.add(b.family("active-process-ratio", prometheus.GaugeValue, Info,
		"Fraction of the time that the thread spent on processing active tasks which it spent on this one."),
		func(now time.Duration) (float64, bool) {
			task, _ := own.read(now)
			thread, ok := all.read(now)
			return min(1, task/thread), ok && thread > 0
		})
	return k
}

// Processed notes a batch of so many records. One without records does not count.
func (k *Task) Processed(records int, took time.Duration) {
	if records <= 0 {
		return
	}
	k.processShare.Add(took)
	k.process.Mark(records)
	k.processLatency.Record(took / time.Duration(records))
}

// Close takes the task away with its nodes, topics, stores and caches.
func (k *Task) Close() { k.set.remove() }

// Topic measures what a task consumes from or produces to a topic.
type Topic struct{ records, bytes *Counter }

// Add notes records with their size: keys, values and headers.
func (t *Topic) Add(records, bytes int) {
	t.records.Add(records)
	t.bytes.Add(bytes)
}

// Consumed registers a topic that a source node of the task reads.
func (k *Task) Consumed(node, topic string) *Topic { return k.topic(node, topic, "consumed", "from") }

// Produced registers a topic that a sink node of the task writes.
func (k *Task) Produced(node, topic string) *Topic { return k.topic(node, topic, "produced", "to") }

func (k *Task) topic(node, topic, done, where string) *Topic {
	b := builder{k.set.child(done+" "+node+" "+topic, append(k.below(node), valid(topic)...)), topicGroup}
	return &Topic{
		records: b.counter("records-"+done, "records "+done+" "+where+" the topic"),
		bytes:   b.counter("bytes-"+done, "bytes "+done+" "+where+" the topic"),
	}
}

// below returns the values of the labels of something that belongs to the task.
func (k *Task) below(name string) []string {
	return slices.Concat(k.labels, valid(name))
}

// Node measures a processor node of a task. Its sensors are registered one by one, for each kind of node has others.
type Node struct{ builder }

// Node registers a processor node of the task.
func (k *Task) Node(name string) *Node {
	return &Node{builder{k.set.child("node "+name, k.below(name)), nodeGroup}}
}

// Process registers process-rate and process-total, which source nodes have from the level Debug on.
func (n *Node) Process() *Meter { return n.meter(Debug, "process", "records processed") }

// E2ELatency registers record-e2e-latency-avg, -min and -max, which source nodes and nodes without children have: the time from a
// record's timestamp until it got to the node, in milliseconds.
func (n *Node) E2ELatency() *Value {
	return n.rangeOf(Info, "record-e2e-latency", "time from a record's timestamp until it was processed at the node, in milliseconds")
}

// Suppression registers suppression-emit-rate and -total, which nodes that suppress have from the level Debug on.
func (n *Node) Suppression() *Meter {
	return n.meter(Debug, "suppression-emit", "records emitted from the suppression buffer")
}

// IdempotentSkips registers idempotent-update-skip-rate and -total, which source nodes of tables have from the level Debug on.
func (n *Node) IdempotentSkips() *Meter {
	return n.meter(Debug, "idempotent-update-skip", "updates skipped that change nothing")
}

// FinalEmits measures what windowed aggregations emit that emit final results only.
type FinalEmits struct {
	Records *Meter
	Calls   *Timer
}

// FinalEmits registers window-aggregate-final-emit-rate, -total, -latency-avg and -latency-max, from the level Debug on.
func (n *Node) FinalEmits() FinalEmits {
	return FinalEmits{
		Records: n.meter(Debug, "window-aggregate-final-emit", "final results emitted"),
		Calls:   n.timer(Debug, time.Millisecond, "window-aggregate-final-emit-latency", "latency of calls to emit final results"),
	}
}

// RecordCache measures the record cache in front of a store.
type RecordCache struct {
	set *set
	// HitRatio is recorded at each flush: hits divided by reads since the one before. From the level Debug on.
	HitRatio *Value
}

// RecordCache registers the cache in front of a store.
func (k *Task) RecordCache(store string) *RecordCache {
	c := &RecordCache{set: k.set.child("cache "+store, k.below(store))}
	c.HitRatio = builder{c.set, cacheGroup}.rangeOf(Debug, "hit-ratio", "ratio of hits to reads of the record cache")
	return c
}

// Close takes the cache away.
func (c *RecordCache) Close() { c.set.remove() }
