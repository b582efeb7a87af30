package state

import (
	"errors"
	"fmt"
	"sync/atomic"
)

// cachedOverhead is what an entry costs in memory besides its key and value: the struct, and its slot in the map.
const cachedOverhead = 160

// RecordCache is the part of a [ThreadCache] that stands in front of one store. It belongs to the thread's goroutine; Stats may be called from others.
//
// The listener that passes entries on may use the cache, and others of the thread: what it puts is passed on too before the flush is over. It
// may not close the cache.
type RecordCache struct {
	thread   *ThreadCache
	task     string
	store    string
	listener func(key, value []byte, timestamp int64, context any) error

	entries map[string]*cached
	lru     chain // all entries, the one that was used last in front
	dirty   chain // the dirty ones, in the order in which they are passed on
	index   ordered[*cached]
	indexed bool // the index holds the dirty entries; it is made by the first scan, and dropped when nothing is dirty
	passing bool // a listener is being called
	epoch   int  // counts what Clear threw away
	closed  bool

	bytes, count, unclean, hits, misses, evictions, flushes atomic.Int64
}

// cached is one entry.
type cached struct {
	key       string
	value     []byte // nil: the key is deleted
	timestamp int64
	context   any // of a dirty entry
	dirty     bool
	links     [2]link
}

func (e *cached) size() int64 { return int64(len(e.key)+len(e.value)) + cachedOverhead }

// Get returns what the cache knows of a key: a nil value with ok says that it was deleted. The value must not be changed, and stays as it is.
func (c *RecordCache) Get(key []byte) (value []byte, timestamp int64, ok bool) {
	e := c.entries[string(key)]
	if e == nil {
		c.misses.Add(1)
		return nil, 0, false
	}
	c.hits.Add(1)
	c.lru.moveToFront(e)
	return e.value, e.timestamp, true
}

// Put writes a dirty entry; a nil value deletes the key. The cache keeps the value, which must not be changed any more, and the context until the
// entry was passed on. The error is the listener's, if the thread is over its budget: what was not passed on stays dirty then, the entry at which the
// listener failed included.
func (c *RecordCache) Put(key, value []byte, timestamp int64, context any) error {
	if c.closed {
		return c.wrap(ErrClosed)
	}
	e := c.entries[string(key)]
	if e == nil {
		e = &cached{key: string(key)}
		c.attach(e)
		c.lru.pushFront(e)
	} else {
		c.lru.moveToFront(e)
	}
	c.replace(e, value, timestamp)
	e.context = context
	switch {
	case !e.dirty:
		c.markDirty(e)
		c.dirty.pushBack(e)
	case c.thread.order == LastWritten:
		c.dirty.remove(e)
		c.dirty.pushBack(e)
	}
	return c.shrink()
}

// Fill adds a clean entry that was read from the store beneath; its value is copied. It changes nothing about a dirty one. To make room it drops
// clean entries only, the new one at the latest, so that reading never has the effects of a flush.
func (c *RecordCache) Fill(key, value []byte, timestamp int64) {
	e := c.entries[string(key)]
	if c.closed || value == nil || e != nil && e.dirty {
		return
	}
	if e == nil {
		e = &cached{key: string(key)}
		c.attach(e)
		c.lru.pushFront(e)
	} else {
		c.lru.moveToFront(e)
	}
	c.replace(e, append(make([]byte, 0, len(value)), value...), timestamp)
	for c.thread.over() {
		oldest := c.lru.last
		if oldest.dirty {
			oldest = e
		}
		c.evictions.Add(1)
		c.detach(oldest)
		if oldest == e {
			return
		}
	}
}

// OnFlush sets the listener that takes dirty entries, one at a time: a nil value deletes the key. It may keep what it is given.
func (c *RecordCache) OnFlush(listener func(key, value []byte, timestamp int64, context any) error) {
	c.listener = listener
}

// Flush passes all dirty entries on, in their order, those included that the listener puts meanwhile. Afterwards they are clean, and deleted
// keys are forgotten. If the listener fails, its error is returned, and what was not passed on stays dirty, the entry at which it failed
// included.
func (c *RecordCache) Flush() error {
	if err := c.flush(); err != nil {
		return err
	}
	return c.shrink() // listeners may have put more than the budget has room for
}

// Dirty returns the number of dirty entries.
func (c *RecordCache) Dirty() int { return int(c.unclean.Load()) }

// Scan passes the dirty entries from lower on and before upper in key order, deleted ones with a nil value, until fn returns false. A nil bound is
// open. Fn may use the cache.
func (c *RecordCache) Scan(lower, upper []byte, fn func(key, value []byte, timestamp int64) bool) {
	c.sort()
	c.index.ascend(bounds{lower, upper}, func(key string, e *cached) bool { return fn([]byte(key), e.value, e.timestamp) })
}

// ReverseScan is Scan from the last key to the first.
func (c *RecordCache) ReverseScan(lower, upper []byte, fn func(key, value []byte, timestamp int64) bool) {
	c.sort()
	c.index.descend(bounds{lower, upper}, func(key string, e *cached) bool { return fn([]byte(key), e.value, e.timestamp) })
}

// sort makes the index of the dirty entries, if it is not kept already.
func (c *RecordCache) sort() {
	if c.indexed {
		return
	}
	c.indexed = true
	for e := c.dirty.first; e != nil; e = e.links[byChange].next {
		c.index.insert(e.key, e)
	}
}

// Clear drops everything, and passes nothing on: the transaction was aborted, or the task changes from active to standby or back.
func (c *RecordCache) Clear() {
	c.epoch++
	c.thread.bytes.Add(-c.bytes.Load())
	c.bytes.Store(0)
	c.count.Store(0)
	c.unclean.Store(0)
	clear(c.entries)
	c.lru, c.dirty = chain{which: byUse}, chain{which: byChange}
	c.index.clear()
	c.indexed = false
}

// Close drops everything and takes the cache out of its thread's. What is put afterwards is refused.
func (c *RecordCache) Close() {
	if c.closed {
		return
	}
	c.Clear()
	c.closed = true
	c.thread.close(c)
}

// Stats may be called from any goroutine.
func (c *RecordCache) Stats() CacheStats {
	return CacheStats{
		Task: c.task, Store: c.store, Bytes: c.bytes.Load(), Entries: c.count.Load(), Dirty: c.unclean.Load(),
		Hits: c.hits.Load(), Misses: c.misses.Load(), Evictions: c.evictions.Load(), Flushes: c.flushes.Load(),
	}
}

func (c *RecordCache) wrap(err error) error {
	return fmt.Errorf("cache of store %s of task %s: %w", c.store, c.task, err)
}

// attach makes an entry part of the content; its place in the order of use is up to the caller.
func (c *RecordCache) attach(e *cached) {
	c.entries[e.key] = e
	c.count.Add(1)
	c.grow(e.size())
}

func (c *RecordCache) detach(e *cached) {
	delete(c.entries, e.key)
	c.lru.remove(e)
	c.count.Add(-1)
	c.grow(-e.size())
}

func (c *RecordCache) grow(bytes int64) {
	c.bytes.Add(bytes)
	c.thread.bytes.Add(bytes)
}

func (c *RecordCache) replace(e *cached, value []byte, timestamp int64) {
	c.grow(int64(len(value) - len(e.value)))
	e.value, e.timestamp = value, timestamp
}

// markDirty changes an entry's state; its place in the order of flushing is up to the caller.
func (c *RecordCache) markDirty(e *cached) {
	e.dirty = true
	c.unclean.Add(1)
	if c.indexed {
		c.index.insert(e.key, e)
	}
}

func (c *RecordCache) markClean(e *cached) {
	e.dirty = false
	c.unclean.Add(-1)
	c.dirty.remove(e)
	if c.indexed {
		c.index.remove(e.key)
		c.indexed = c.index.count > 0
	}
}

// shrink evicts while the thread is over its budget. Below a listener it leaves that to whoever called the listener, so that the depth of calls does not grow with
// the number of entries.
func (c *RecordCache) shrink() error {
	for !c.passing && c.thread.over() && c.lru.last != nil {
		if err := c.evict(c.lru.last); err != nil {
			return err
		}
	}
	return nil
}

// evict drops an entry. If it is dirty, it is passed on before all others that are.
func (c *RecordCache) evict(e *cached) error {
	c.evictions.Add(1)
	c.detach(e)
	if !e.dirty {
		return nil
	}
	c.dirty.moveToFront(e)
	return c.flush()
}

// flush passes entries on until none is dirty.
func (c *RecordCache) flush() error {
	if c.dirty.first == nil {
		return nil
	}
	c.flushes.Add(1)
	before := c.passing
	c.passing = true
	defer func() { c.passing = before }()
	for c.dirty.first != nil {
		if err := c.pass(c.dirty.first); err != nil {
			return err
		}
	}
	return nil
}

var errNoListener = errors.New("nobody takes its dirty entries")

// pass gives an entry to the listener. It is clean while the listener looks at it.
func (c *RecordCache) pass(e *cached) error {
	value, timestamp, context := e.value, e.timestamp, e.context
	epoch := c.epoch
	c.markClean(e)
	e.context = nil
	err := c.wrap(errNoListener)
	if c.listener != nil {
		err = c.listener([]byte(e.key), value, timestamp, context)
	}
	switch current := c.entries[e.key]; {
	case c.epoch != epoch: // the listener has cleared the cache
	case err == nil && current == e && !e.dirty && e.value == nil:
		c.detach(e) // deleted, and the store knows
	case err == nil || current != nil && current.dirty:
	default:
		c.reinstate(e, current, value, timestamp, context)
	}
	return err
}

// reinstate makes an entry dirty again that the listener did not take, as the next one to be passed on. Current is what the cache holds
// under its key now, which the listener may have read back from the store.
func (c *RecordCache) reinstate(e, current *cached, value []byte, timestamp int64, context any) {
	if current != e {
		if current != nil {
			c.detach(current)
		}
		c.attach(e)
		c.lru.pushBack(e)
	}
	c.replace(e, value, timestamp)
	e.context = context
	c.markDirty(e)
	c.dirty.pushFront(e)
}

// The orders in which entries stand.
const (
	byUse = iota
	byChange
)

type link struct{ previous, next *cached }

// chain is a list of entries that can be taken out at any place.
type chain struct {
	which       int // of the links
	first, last *cached
}

func (l *chain) pushFront(e *cached) {
	e.links[l.which] = link{next: l.first}
	if l.first == nil {
		l.last = e
	} else {
		l.first.links[l.which].previous = e
	}
	l.first = e
}

func (l *chain) pushBack(e *cached) {
	e.links[l.which] = link{previous: l.last}
	if l.last == nil {
		l.first = e
	} else {
		l.last.links[l.which].next = e
	}
	l.last = e
}

func (l *chain) remove(e *cached) {
	here := e.links[l.which]
	if here.previous == nil {
		l.first = here.next
	} else {
		here.previous.links[l.which].next = here.next
	}
	if here.next == nil {
		l.last = here.previous
	} else {
		here.next.links[l.which].previous = here.previous
	}
	e.links[l.which] = link{}
}

func (l *chain) moveToFront(e *cached) {
	if l.first == e {
		return
	}
	l.remove(e)
	l.pushFront(e)
}
