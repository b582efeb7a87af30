package state

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// The file cache holds open table files. Stores are many and small, a handful of files each; the shards keep threads out of each
// other's way.
const (
	openFiles      = 1000
	openFileShards = 4
)

// Cache is Pebble's block cache and file cache, shared by all stores of one process. It may be used from any goroutine.
type Cache struct {
	blocks *pebble.Cache
	files  *pebble.FileCache
	close  sync.Once
}

// NewCache returns a cache of up to bytes of table blocks. Memtables reserve their memory in it as well, so it should be larger than
// the memtables of all stores together. Bytes of 0 or less mean no block cache.
func NewCache(bytes int64) *Cache {
	return &Cache{blocks: pebble.NewCache(max(bytes, 0)), files: pebble.NewFileCache(openFileShards, openFiles)}
}

// Close gives the cache up. Stores that are still open keep it alive until they are closed. It may be called more than once.
func (c *Cache) Close() {
	c.close.Do(func() {
		c.files.Unref()
		c.blocks.Unref()
	})
}

// StoreOptions configures one store.
type StoreOptions struct {
	// Cache is shared with other stores; nil gives the store a small one of its own.
	Cache *Cache
	// MemtableBytes is the size of Pebble's memtable, 64 KiB to 64 MiB; 0 means DefaultMemtableBytes.
	MemtableBytes int
	// FlushInterval is how often what was committed is brought to the disk without waiting for it: so much is missing after a crash,
	// and is restored from the changelog. 0 means only when memtables are full, and at the close.
	FlushInterval time.Duration
	// CleanBytes bounds the memory for unchanged entries that are kept in front of Pebble; 0 means DefaultCleanBytes, a negative
	// value keeps none. While the keys in use fit, a store is some times faster. Changed entries are kept until commit or abort, whatever their size.
	CleanBytes int64
	// InMemory makes the store one that keeps everything in memory, and is empty each time it is opened, see [MemoryStore].
	InMemory bool
	// Eager makes Put write to the content at once, as Kafka Streams' stores do: there is no transaction to commit or abort, and positions
	// are kept in a checkpoint file instead of in the store. See [Directory.WriteCheckpoint].
	Eager bool
}

const (
	// DefaultMemtableBytes suits many small stores: a store costs about 2 MB of memory.
	DefaultMemtableBytes = 1 << 20
	// DefaultCleanBytes holds some 20,000 entries of small keys and values.
	DefaultCleanBytes = 4 << 20

	minMemtableBytes  = 64 << 10
	maxMemtableBytes  = 64 << 20
	privateCacheBytes = 8 << 20
)

// Validate reports every problem of the options.
func (o StoreOptions) Validate() error {
	if o.MemtableBytes != 0 && (o.MemtableBytes < minMemtableBytes || o.MemtableBytes > maxMemtableBytes) {
		return errors.New("memtable_bytes: must be between 64 KiB and 64 MiB")
	}
	if o.FlushInterval < 0 {
		return fmt.Errorf("flush_interval: %v, must not be negative", o.FlushInterval)
	}
	return nil
}

func (o StoreOptions) withDefaults() StoreOptions {
	if o.MemtableBytes == 0 {
		o.MemtableBytes = DefaultMemtableBytes
	}
	switch {
	case o.CleanBytes == 0:
		o.CleanBytes = DefaultCleanBytes
	case o.CleanBytes < 0:
		o.CleanBytes = 0
	}
	return o
}

// MemoryBudget divides a number of bytes, which is what all stores of a process may use together besides their clean entries, among a number of
// stores. The first result is for [NewCache], which counts the memtables too; the second is for StoreOptions.MemtableBytes. A store has two
// memtables at a time as a rule, the one that is written to and one that is being flushed, and all of them shall leave half of the cache to
// blocks. With very many stores, or very little memory, the smallest memtables there are take more than that.
func MemoryBudget(bytes int64, stores int) (cacheBytes int64, memtableBytes int) {
	bytes = max(bytes, 0)
	share := bytes / 2 / (2 * int64(max(stores, 1)))
	return bytes, int(min(max(share, minMemtableBytes), maxMemtableBytes))
}
