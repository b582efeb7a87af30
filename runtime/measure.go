package runtime

import (
	"time"

	"eostop/runtime/metrics"
	"eostop/runtime/topology"
)

// What a thread measures of its parts, under Kafka Streams' names (package metrics). Everything here is nil, and costs a branch, where the
// recording level leaves it out or nobody measures.

// storeScope names a store's tag, as in Kafka Streams.
func storeScope(spec topology.StoreSpec) string {
	if spec.InMemory {
		return "in-memory"
	}
	return "rocksdb"
}

// measured registers a task with the metrics of its stores, which are open. Whatever was registered for it before is replaced, and
// closing it takes the stores' away with it, open or not: nothing of a store can outlive its task (KAFKA-9231, second cause).
func (m *stateManager) measured() *metrics.Task {
	m.metrics = m.thread.metrics.Task(m.id.String())
	m.measureStores()
	return m.metrics
}

// measureStores registers the stores, which are open.
func (m *stateManager) measureStores() {
	for _, s := range m.stores {
		s.metrics = m.metrics.Store(metrics.KeyValueStore, storeScope(s.spec), s.spec.Name)
	}
}

// measureTasks brings the gauges of the tasks up to date.
func (t *StreamThread) measureTasks() {
	t.measureLags()
	for _, task := range t.tasks {
		buffered, cached := 0, int64(0)
		for _, in := range task.inputs {
			buffered += len(in.queue)
		}
		for _, c := range task.caches {
			cached += c.Stats().Bytes
		}
		task.metrics.BufferCount.Set(float64(buffered))
		task.metrics.CacheBytes.Set(float64(cached))
		task.metrics.RestoreRemaining.Set(float64(task.manager.lag()))
	}
	for _, standby := range t.standbys {
		standby.metrics.RestoreRemaining.Set(float64(standby.manager.lag()))
	}
}

// measureCaches notes, at a flush, which part of the reads since the last one each cache has answered.
func (t *streamTask) measureCaches() {
	for _, c := range t.caches {
		stats := c.Stats()
		if c.metrics == nil {
			c.metrics = t.metrics.RecordCache(stats.Store) // it goes away with the task's
		}
		hits, reads := stats.Hits-c.hits, stats.Hits+stats.Misses-c.reads
		c.hits, c.reads = stats.Hits, stats.Hits+stats.Misses
		if reads > 0 {
			c.metrics.HitRatio.Record(float64(hits) / float64(reads))
		}
	}
}

// measuredCache is a record cache with what was measured of it last.
type measuredCache struct {
	recordCache
	metrics     *metrics.RecordCache
	hits, reads int64
}

// late notes how far a record lies behind the stream time that the task has had with it.
func (t *streamTask) late(timestamp int64) {
	t.metrics.RecordLateness.Record(float64(max(0, t.streamTime-timestamp)))
}

// measure counts the updater's tasks, and the time of a round as what it was spent on.
func (u *stateUpdater) measure(waited, worked time.Duration) {
	active, standby := 0, 0
	for _, task := range u.tasks {
		if task.active {
			active++
		} else {
			standby++
		}
	}
	m := u.metrics
	restoring, updating := float64(active), float64(standby)
	if u.thread.instance.paused.Load() {
		m.ActivePaused.Set(restoring)
		m.StandbyPaused.Set(updating)
		restoring, updating = 0, 0
	} else {
		m.ActivePaused.Set(0)
		m.StandbyPaused.Set(0)
	}
	m.ActiveRestoring.Set(restoring)
	m.StandbyUpdating.Set(updating)
	m.Idle.Add(waited)
	if active > 0 {
		m.ActiveRestore.Add(worked)
	} else {
		m.StandbyUpdate.Add(worked)
	}
}
