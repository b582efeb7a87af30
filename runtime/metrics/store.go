package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// StoreKind is a kind of state store. It decides which operations a store has.
type StoreKind int

// The kinds of state stores.
const (
	KeyValueStore StoreKind = iota // also one of versions
	WindowStore
	SessionStore
	SuppressionBuffer
)

// storeKinds lists the operations of each kind.
var storeKinds = [...]map[string]bool{
	KeyValueStore: {
		"put": true, "put-if-absent": true, "put-all": true, "get": true, "delete": true, "all": true, "range": true,
		"prefix-scan": true, "flush": true, "restore": true,
	},
	WindowStore:       {"put": true, "fetch": true, "flush": true, "restore": true},
	SessionStore:      {"put": true, "fetch": true, "remove": true, "flush": true, "restore": true},
	SuppressionBuffer: {},
}

// Store measures a state store. Its operations are recorded from the level Debug on, in nanoseconds; those that the store's kind
// does not have are nil.
type Store struct {
	set     *set
	builder builder

	Put, PutIfAbsent, PutAll, Get, Delete, Remove *Timer
	All, Range, PrefixScan, Fetch                 *Timer // until the iterator is there
	Flush, Restore                                *Timer
	Iterators                                     *Iterators // nil for a suppression buffer
	E2ELatency                                    *Value     // at a write, in milliseconds; at the level Trace
	SuppressionCount, SuppressionSize             *Value     // of a suppression buffer: records, bytes; from Debug on
}

// Store registers a state store of the task. The scope makes the name of the label that holds the store's name: "rocksdb" makes
// rocksdb_state_id, which is what dashboards for Kafka Streams expect of a persistent store; others are "rocksdb-window",
// "rocksdb-session", "in-memory", "in-memory-window", "in-memory-session", "in-memory-suppression".
func (k *Task) Store(kind StoreKind, scope, name string) *Store {
	s := &Store{set: k.set.child("store "+name, k.below(name))}
	s.builder = builder{s.set, storeGroup(scope)}
	operation := func(name, what string) *Timer {
		if !storeKinds[kind][name] {
			return nil
		}
		return s.builder.latency(Debug, time.Nanosecond, name, what)
	}
	s.Put = operation("put", "calls to put")
	s.PutIfAbsent = operation("put-if-absent", "calls to put-if-absent")
	s.PutAll = operation("put-all", "calls to put-all")
	s.Get = operation("get", "calls to get")
	s.Delete = operation("delete", "calls to delete")
	s.Remove = operation("remove", "calls to remove")
	s.All = operation("all", "calls to all")
	s.Range = operation("range", "calls to range")
	s.PrefixScan = operation("prefix-scan", "calls to prefix-scan")
	s.Fetch = operation("fetch", "calls to fetch")
	s.Flush = operation("flush", "calls to flush")
	s.Restore = operation("restore", "restorations")
	if kind == SuppressionBuffer {
		s.SuppressionCount = s.builder.value(Debug, "suppression-buffer-count", "number of buffered records")
		s.SuppressionSize = s.builder.value(Debug, "suppression-buffer-size", "size of buffered records in bytes")
		return s
	}
	s.E2ELatency = s.builder.rangeOf(Trace, "record-e2e-latency", "time from a record's timestamp until it was written, in milliseconds")
	s.Iterators = s.builder.iterators()
	return s
}

// Close takes the store away.
func (s *Store) Close() { s.set.remove() }

// Iterators measures the open iterators of a store. One that is never closed keeps old data on disk.
type Iterators struct {
	clock    *clock
	duration *Timer

	mu     sync.Mutex // guards the rest; held for a few instructions
	opened []time.Duration
	free   []int // places in opened that are not in use
}

// noIterator marks a place that is not in use.
const noIterator = -1

// iterators adds num-open-iterators, oldest-iterator-open-since-ms and iterator-duration-avg and -max.
func (b builder) iterators() *Iterators {
	if !b.on(Info) {
		return nil
	}
	i := &Iterators{clock: b.clock(), duration: b.timer(Debug, time.Nanosecond, "iterator-duration", "time between opening an iterator and closing it")}
	b.add(b.family("num-open-iterators", prometheus.GaugeValue, Info, "Number of iterators that are open."), func(time.Duration) (float64, bool) {
		open, _ := i.read()
		return float64(open), true
	})
	b.add(b.family("oldest-iterator-open-since-ms", prometheus.GaugeValue, Info, "When the oldest iterator that is open was opened, in milliseconds since 1970."),
		func(time.Duration) (float64, bool) {
			open, oldest := i.read()
			return i.clock.millis(oldest), open > 0
		})
	return i
}

// Iterator is an open iterator. It is closed once.
type Iterator struct {
	iterators *Iterators
	place     int
}

// Open notes that an iterator was opened.
func (i *Iterators) Open() Iterator {
	if i == nil {
		return Iterator{}
	}
	now := i.clock.now()
	i.mu.Lock()
	defer i.mu.Unlock()
	place := len(i.opened)
	if last := len(i.free) - 1; last >= 0 {
		place, i.free = i.free[last], i.free[:last]
		i.opened[place] = now
	} else {
		i.opened = append(i.opened, now)
	}
	return Iterator{i, place}
}

// Close notes that the iterator was closed.
func (it Iterator) Close() {
	i := it.iterators
	if i == nil {
		return
	}
	now := i.clock.now()
	i.mu.Lock()
	begun := i.opened[it.place]
	i.opened[it.place] = noIterator
	i.free = append(i.free, it.place)
	i.mu.Unlock()
	i.duration.Record(now - begun)
}

func (i *Iterators) read() (open int, oldest time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, begun := range i.opened {
		if begun == noIterator {
			continue
		}
		if open == 0 || begun < oldest {
			oldest = begun
		}
		open++
	}
	return open, oldest
}
