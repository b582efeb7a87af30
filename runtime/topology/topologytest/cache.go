package topologytest

import (
	"bytes"
	"container/list"
	"slices"
)

// memory is what the caches of all tasks share.
type memory struct{ used, limit int64 }

// cache is the record cache of one store of one task: least recently used first out.
type cache struct {
	memory   *memory
	entries  map[string]*list.Element
	recent   *list.List // of *cacheEntry, the most recently used first
	dirty    *list.List // of *cacheEntry, in the order in which they became dirty
	listener func(key, value []byte, timestamp int64, context any) error
}

type cacheEntry struct {
	key, value []byte
	timestamp  int64
	context    any
	dirty      *list.Element // nil = clean
}

func (e *cacheEntry) size() int64 { return int64(len(e.key) + len(e.value)) }

func newCache(m *memory) *cache {
	return &cache{memory: m, entries: make(map[string]*list.Element), recent: list.New(), dirty: list.New()}
}

func (c *cache) OnFlush(listener func(key, value []byte, timestamp int64, context any) error) {
	c.listener = listener
}

func (c *cache) Get(key []byte) (value []byte, timestamp int64, ok bool) {
	at := c.entries[string(key)]
	if at == nil {
		return nil, 0, false
	}
	c.recent.MoveToFront(at)
	e := at.Value.(*cacheEntry)
	return e.value, e.timestamp, true
}

func (c *cache) Put(key, value []byte, timestamp int64, context any) error {
	e := c.entry(key)
	c.memory.used += int64(len(value) - len(e.value))
	e.value, e.timestamp, e.context = value, timestamp, context
	if e.dirty == nil {
		e.dirty = c.dirty.PushBack(e)
	}
	// What the listener puts makes room for itself.
	for c.memory.used > c.memory.limit && c.recent.Len() > 0 {
		evicted := c.remove(c.recent.Back())
		if evicted.dirty == nil {
			continue
		}
		c.dirty.MoveToFront(evicted.dirty)
		if err := c.Flush(); err != nil {
			return err
		}
	}
	return nil
}

func (c *cache) Fill(key, value []byte, timestamp int64) {
	size := int64(len(key) + len(value))
	if size > c.memory.limit {
		return
	}
	for at := c.recent.Back(); at != nil && c.memory.used+size > c.memory.limit; {
		older := at
		at = at.Prev()
		if older.Value.(*cacheEntry).dirty == nil {
			c.remove(older)
		}
	}
	if c.memory.used+size > c.memory.limit {
		return
	}
	e := c.entry(key)
	c.memory.used += int64(len(value) - len(e.value))
	e.value, e.timestamp = value, timestamp
}

func (c *cache) Flush() error {
	// The listener may put any of these keys again, which then wait for the next flush.
	updates := make([]cacheEntry, 0, c.dirty.Len())
	for at := c.dirty.Front(); at != nil; at = at.Next() {
		e := at.Value.(*cacheEntry)
		updates = append(updates, *e)
		e.dirty = nil
	}
	c.dirty.Init()
	for _, e := range updates {
		if err := c.listener(e.key, e.value, e.timestamp, e.context); err != nil {
			return err
		}
	}
	return nil
}

func (c *cache) Dirty(from, to []byte) [][]byte {
	var keys [][]byte
	for at := c.dirty.Front(); at != nil; at = at.Next() {
		key := at.Value.(*cacheEntry).key
		if bytes.Compare(key, from) >= 0 && (to == nil || bytes.Compare(key, to) <= 0) {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, bytes.Compare)
	return keys
}

// entry returns the entry of a key, made if need be, as the most recently used.
func (c *cache) entry(key []byte) *cacheEntry {
	if at := c.entries[string(key)]; at != nil {
		c.recent.MoveToFront(at)
		return at.Value.(*cacheEntry)
	}
	e := &cacheEntry{key: key}
	c.entries[string(key)] = c.recent.PushFront(e)
	c.memory.used += int64(len(key))
	return e
}

func (c *cache) remove(at *list.Element) *cacheEntry {
	e := c.recent.Remove(at).(*cacheEntry)
	delete(c.entries, string(e.key))
	c.memory.used -= e.size()
	return e
}
