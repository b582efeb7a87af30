package topology

import (
	"bytes"
	"maps"
	"slices"
)

// recordCache is a RecordCache of a number of entries, whose code follows the words of the interface.
type recordCache struct {
	capacity int
	entries  map[string]*cachedEntry
	recent   []string // least recently used first
	dirty    []string // in the order in which they became dirty
	listener func(key, value []byte, timestamp int64, context any) error
	filled   int
}

type cachedEntry struct {
	value     []byte
	timestamp int64
	context   any
	dirty     bool
}

func newRecordCache(capacity int) *recordCache {
	return &recordCache{capacity: capacity, entries: make(map[string]*cachedEntry)}
}

func (c *recordCache) OnFlush(listener func(key, value []byte, timestamp int64, context any) error) {
	c.listener = listener
}

func (c *recordCache) Get(key []byte) (value []byte, timestamp int64, ok bool) {
	e, ok := c.entries[string(key)]
	if !ok {
		return nil, 0, false
	}
	c.use(string(key))
	return e.value, e.timestamp, true
}

func (c *recordCache) Put(key, value []byte, timestamp int64, context any) error {
	k := string(key)
	e := c.entries[k]
	if e == nil {
		e = &cachedEntry{}
		c.entries[k] = e
	}
	e.value, e.timestamp, e.context = value, timestamp, context
	if !e.dirty {
		e.dirty = true
		c.dirty = append(c.dirty, k)
	}
	c.use(k)
	for len(c.entries) > c.capacity {
		evicted := c.recent[0]
		e := c.entries[evicted]
		c.recent = c.recent[1:]
		delete(c.entries, evicted)
		if e.dirty {
			if err := c.flush(evicted, e); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *recordCache) Fill(key, value []byte, timestamp int64) {
	if len(c.entries) >= c.capacity {
		i := slices.IndexFunc(c.recent, func(k string) bool { return !c.entries[k].dirty })
		if i < 0 {
			return
		}
		delete(c.entries, c.recent[i])
		c.recent = slices.Delete(c.recent, i, i+1)
	}
	c.filled++
	c.entries[string(key)] = &cachedEntry{value: value, timestamp: timestamp}
	c.use(string(key))
}

func (c *recordCache) Flush() error { return c.flush("", nil) }

// flush passes an evicted entry, if there is one, and every dirty one.
func (c *recordCache) flush(evicted string, e *cachedEntry) error {
	type update struct {
		key string
		cachedEntry
	}
	var updates []update
	if e != nil {
		updates = append(updates, update{evicted, *e})
	}
	for _, key := range c.dirty {
		if e := c.entries[key]; e != nil && e.dirty {
			updates = append(updates, update{key, *e})
			e.dirty = false
		}
	}
	c.dirty = nil
	for _, u := range updates {
		if err := c.listener([]byte(u.key), u.value, u.timestamp, u.context); err != nil {
			return err
		}
	}
	return nil
}

func (c *recordCache) Dirty(from, to []byte) [][]byte {
	var keys [][]byte
	for _, key := range slices.Sorted(maps.Keys(c.entries)) {
		k := []byte(key)
		if c.entries[key].dirty && bytes.Compare(k, from) >= 0 && (to == nil || bytes.Compare(k, to) <= 0) {
			keys = append(keys, k)
		}
	}
	return keys
}

func (c *recordCache) use(key string) {
	c.recent = slices.DeleteFunc(c.recent, func(k string) bool { return k == key })
	c.recent = append(c.recent, key)
}
