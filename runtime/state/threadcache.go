package state

import (
	"slices"
	"sync/atomic"
)

// FlushOrder says in which order a record cache passes its dirty entries on.
type FlushOrder int

const (
	// FirstDirty is the order in which the entries have become dirty.
	FirstDirty FlushOrder = iota
	// LastWritten is the order of their newest writes: a key that is written again moves to the end. Kafka Streams does that, so what is
	// forwarded is in the order in which the records arrived that it comes from.
	LastWritten
)

// ThreadCache is the record cache of one stream thread: what its tasks' stores have been told and have not passed on yet, and what they were asked for. All of
// the stores share a budget of bytes. It belongs to the thread's goroutine; Resize, Budget, Bytes and Stats may be called from others.
//
// After each Put, while the thread is over its budget, the entry that was not used for the longest time is evicted from the store that was put
// into, as in Kafka Streams. If it is dirty, all dirty entries of that store are passed on: the evicted one first. So with a budget of 0
// each write is passed on at once.
type ThreadCache struct {
	order  FlushOrder
	budget atomic.Int64
	bytes  atomic.Int64
	caches []*RecordCache // in the order of their opening
	stats  atomic.Pointer[[]*RecordCache]
}

// NewThreadCache returns an empty cache. A budget below 0 is one of 0.
func NewThreadCache(budget int64, order FlushOrder) *ThreadCache {
	t := &ThreadCache{order: order}
	t.Resize(budget)
	return t
}

// Resize sets the budget, from any goroutine. The next Put keeps to it, and so does Trim.
func (t *ThreadCache) Resize(budget int64) { t.budget.Store(max(budget, 0)) }

// Budget returns the number of bytes that the thread's stores may keep.
func (t *ThreadCache) Budget() int64 { return t.budget.Load() }

// Bytes returns what they keep: keys, values and an estimate of what an entry costs besides. What the contexts of entries hold is not known.
func (t *ThreadCache) Bytes() int64 { return t.bytes.Load() }

// Trim evicts from one store after the other until the thread keeps to its budget. It is for the thread's loop, after a Resize.
func (t *ThreadCache) Trim() error {
	for t.over() {
		evicted := false
		for _, c := range slices.Clone(t.caches) {
			if !t.over() || c.passing || c.lru.last == nil {
				continue
			}
			evicted = true
			if err := c.evict(c.lru.last); err != nil {
				return err
			}
		}
		if !evicted {
			return nil
		}
	}
	return nil
}

func (t *ThreadCache) over() bool { return t.bytes.Load() > t.budget.Load() }

// Open returns an empty record cache for a store of a task. One that is open under the same names is closed.
func (t *ThreadCache) Open(task, store string) *RecordCache {
	for _, c := range t.caches {
		if c.task == task && c.store == store {
			c.Close()
			break
		}
	}
	c := &RecordCache{thread: t, task: task, store: store, entries: map[string]*cached{}}
	c.lru.which, c.dirty.which = byUse, byChange
	t.caches = append(t.caches, c)
	t.publish()
	return c
}

func (t *ThreadCache) close(c *RecordCache) {
	t.caches = slices.DeleteFunc(t.caches, func(other *RecordCache) bool { return other == c })
	t.publish()
}

func (t *ThreadCache) publish() {
	caches := slices.Clone(t.caches)
	t.stats.Store(&caches)
}

// CacheStats are the figures of one record cache. The counts are of its whole life; the hit ratio of a time is that of their differences.
type CacheStats struct {
	Task, Store  string
	Bytes        int64
	Entries      int64
	Dirty        int64
	Hits, Misses int64 // of Get
	Evictions    int64 // of entries
	Flushes      int64 // times that dirty entries were passed on, by Flush or by an eviction
}

// Stats returns the figures of the open record caches. It may be called from any goroutine.
func (t *ThreadCache) Stats() []CacheStats {
	caches := t.stats.Load()
	if caches == nil {
		return nil
	}
	stats := make([]CacheStats, len(*caches))
	for i, c := range *caches {
		stats[i] = c.Stats()
	}
	return stats
}
