package topology

import "time"

// Host is the task a graph runs in. All its methods are called on the goroutine that calls the graph. Its errors are
// never shown to a handler: they are the runtime's own business and reach the caller of the graph as they are, findable
// by errors.Is and errors.As.
type Host interface {
	// TaskID is the name of the task, such as "1_0".
	TaskID() string
	// Send hands a serialised record to the producer's side; it may keep the slices. The topic is the logical name,
	// without the application id for internal topics. Partition -1 means by the hash of the key, see [PartitionFor];
	// any partition will do for a key that is nil.
	Send(topic string, partition int32, key, value []byte, timestamp int64, headers []Header) error
	// Store returns the task's store of that name. It is called for each store of the sub-topology by Instantiate.
	Store(name string) (BytesStore, error)
	// Cache returns the record cache of a store, empty, or a nil interface where records are not to be cached. It is
	// called by Instantiate, behind Store, for each store whose spec asks for a cache.
	Cache(store string) RecordCache
	// StreamTime is the greatest timestamp of the task's records so far, in milliseconds; -1 before the first.
	StreamTime() int64
	// WallClock is the present time.
	WallClock() time.Time
	// RequestCommit asks for a commit as soon as the record at work is through.
	RequestCommit()
	// Failed is asked what to do about a failure of the program or of a record.
	Failed(failure Failure) Response
}

// Watcher is a [Host] that measures: it is told of each record that has got to a node without children, a sink or a processor.
type Watcher interface {
	// Arrived comes once the node has processed the record. The topic is that of a sink, and size that of the key and value that it
	// has sent, in bytes; elsewhere they are empty.
	Arrived(node string, timestamp int64, topic string, size int)
}

// RecordCache is the part of a thread's record cache that belongs to one store of one task. It lies between the
// processors and the store: what is put is not written to the store, nor logged, nor passed downstream, before it
// is flushed, so that only the last of several updates of a key goes on.
//
// The listener may call every method of the cache but Flush and OnFlush, from within Put and Flush: an entry
// that is being passed to it is clean already, or no longer there if it was evicted, and what it puts waits for
// the next flush or eviction. The cache may keep the slices it is given; it never changes them, and nor may those who
// get them from it. An empty value that is not nil is a value. When an error of the listener comes back, the graph is not
// used any further, and what the cache holds is to be thrown away.
type RecordCache interface {
	// Get returns what the cache holds of a key, dirty or clean; a nil value with ok says that the key is deleted. The
	// value stays valid, and unchanged, after the call.
	Get(key []byte) (value []byte, timestamp int64, ok bool)
	// Put caches an update that the store beneath has not seen; a nil value deletes. The context is handed back to the
	// listener: that of the last Put of the key. It may evict: then every dirty entry of this cache goes to the
	// listener, the evicted first, the rest in the order in which they became dirty. An entry that is put again while it
	// is dirty may keep its place in that order, or move to the end, as in Kafka Streams. The error is the listener's.
	Put(key, value []byte, timestamp int64, context any) error
	// Fill caches what the store beneath holds: clean, so it may be evicted without a word to the listener. It never
	// calls the listener: if only dirty entries could make room, nothing is cached. The value is not nil.
	Fill(key, value []byte, timestamp int64)
	// OnFlush sets the listener.
	OnFlush(listener func(key, value []byte, timestamp int64, context any) error)
	// Flush passes every dirty entry to the listener, in the order in which they became dirty; they are clean
	// afterwards. It stops at the first error of the listener and returns it.
	Flush() error
	// Dirty returns the keys of the dirty entries from one key to another, both included, in key order. A nil bound is
	// none. It is for scans over cache and store together.
	Dirty(from, to []byte) [][]byte
}
