package metrics

import (
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// EngineStats are what the database below a persistent store says of itself. Each is shown by the metric that Kafka has for it
// with RocksDB. What RocksDB tells and Pebble does not has no field: bytes read, the size of the active memtable alone, entries
// and deletes of memtables, hit ratios of memtables and of index and filter blocks, extremes of the times of flushes and
// compactions, pinned usage, live versions, file errors.
type EngineStats struct {
	// Properties, as they are now.
	Memtables               int64  // in memory, the one that is written to among them
	MemtableBytes           uint64 // of these
	PinnedMemtableBytes     uint64 // of flushed ones that iterators still hold
	RunningFlushes          int64
	RunningCompactions      int64
	PendingCompactionBytes  uint64
	LiveTableBytes          uint64 // of the tables that make up the store
	ObsoleteTableBytes      uint64 // of tables that are still to be deleted, or that iterators still hold
	BlockCacheCapacityBytes int64  // of the cache that all stores of a process share
	BlockCacheBytes         int64
	TableReaderBytes        int64
	Entries                 int64
	BackgroundErrors        int64

	// Statistics since the database was opened; their metrics are recorded from the level Debug on.
	BytesWritten      uint64
	BytesFlushed      uint64
	CompactionRead    uint64
	CompactionWritten uint64
	CompactionTime    time.Duration
	Compactions       int64
	WriteStalls       int64
	WriteStallTime    time.Duration
	BlockCacheHits    int64
	BlockCacheMisses  int64
	OpenFiles         int64
}

// Engine measures the database below a store.
type Engine struct {
	properties []property
	statistics bool

	written, flushed                  *Meter
	compactionRead, compactionWritten *Meter
	compactionTime                    *Value
	stallTime                         *Value
	stallTotal, cacheHits, openFiles  *Gauge
	now, last                         EngineStats // what Update is told and was told before; of its caller alone
}

// property is a gauge with what it shows.
type property struct {
	gauge *Gauge
	of    func(*EngineStats) float64
}

// Engine registers the database below the store.
func (s *Store) Engine() *Engine {
	g := &Engine{}
	b := s.builder
	if !b.on(Info) {
		return g
	}
	for _, p := range []struct {
		name, what string
		of         func(*EngineStats) float64
	}{
		{
			"num-immutable-mem-table", "Number of memtables that have not been flushed yet",
			func(e *EngineStats) float64 { return float64(max(0, e.Memtables-1)) },
		},
		{"cur-size-all-mem-tables", "Size of the memtables in bytes", func(e *EngineStats) float64 { return float64(e.MemtableBytes) }},
		{
			"size-all-mem-tables", "Size of the memtables in bytes, with flushed ones that are still in use",
			func(e *EngineStats) float64 { return float64(e.MemtableBytes + e.PinnedMemtableBytes) },
		},
		{"mem-table-flush-pending", "1 if a memtable waits to be flushed", func(e *EngineStats) float64 { return flag(e.Memtables > 1) }},
		{"num-running-flushes", "Number of flushes that are running", func(e *EngineStats) float64 { return float64(e.RunningFlushes) }},
		{"compaction-pending", "1 if a compaction waits", func(e *EngineStats) float64 { return flag(e.PendingCompactionBytes > 0) }},
		{
			"num-running-compactions", "Number of compactions that are running",
			func(e *EngineStats) float64 { return float64(e.RunningCompactions) },
		},
		{
			"estimate-pending-compaction-bytes", "Estimated number of bytes that compactions have to rewrite",
			func(e *EngineStats) float64 { return float64(e.PendingCompactionBytes) },
		},
		{
			"total-sst-files-size", "Size of all tables in bytes",
			func(e *EngineStats) float64 { return float64(e.LiveTableBytes + e.ObsoleteTableBytes) },
		},
		{
			"live-sst-files-size", "Size of the tables that make up the store, in bytes",
			func(e *EngineStats) float64 { return float64(e.LiveTableBytes) },
		},
		{
			"block-cache-capacity", "Capacity of the block cache in bytes; all stores share it",
			func(e *EngineStats) float64 { return float64(e.BlockCacheCapacityBytes) },
		},
		{
			"block-cache-usage", "Size of the blocks in the block cache in bytes; all stores share it",
			func(e *EngineStats) float64 { return float64(e.BlockCacheBytes) },
		},
		{"estimate-num-keys", "Number of keys", func(e *EngineStats) float64 { return float64(e.Entries) }},
		{
			"estimate-table-readers-mem", "Memory for reading tables in bytes, without the block cache",
			func(e *EngineStats) float64 { return float64(e.TableReaderBytes) },
		},
		{"background-errors", "Number of errors in the background", func(e *EngineStats) float64 { return float64(e.BackgroundErrors) }},
	} {
		g.properties = append(g.properties, property{b.gauge(Info, p.name, p.what), p.of})
	}
	if g.statistics = b.on(Debug); !g.statistics {
		return g
	}
	g.written = b.meter(Debug, "bytes-written", "bytes written to the store")
	g.flushed = b.meter(Debug, "memtable-bytes-flushed", "bytes flushed from memtables to disk")
	g.compactionRead = b.frequency(Debug, "bytes-read-compaction", "bytes read by compactions")
	g.compactionWritten = b.frequency(Debug, "bytes-written-compaction", "bytes written by compactions")
	g.compactionTime = b.average("compaction-time-avg", "time of a compaction, in milliseconds")
	g.stallTime = b.average("write-stall-duration-avg", "time that a write was held up, in milliseconds")
	g.stallTotal = b.gaugeTotal("write-stall-duration-total", "Time that writes were held up, in milliseconds.")
	g.cacheHits = b.gauge(Debug, "block-cache-data-hit-ratio", "Ratio of hits to reads of the block cache, for blocks of all kinds; all stores share it")
	g.openFiles = b.gauge(Debug, "number-open-files", "Number of open files")
	return g
}

// average adds a metric that has neither extremes nor a rate.
func (b builder) average(name, what string) *Value {
	v := &Value{sensor{clock: b.clock()}}
	b.measure(&v.sensor, Debug, name, "Average "+what+".", func(r *sample) float64 { return r.sum / float64(r.count) })
	return v
}

// gaugeTotal adds a counter whose total is told rather than counted.
func (b builder) gaugeTotal(name, help string) *Gauge {
	g := &Gauge{}
	b.add(b.family(name, prometheus.CounterValue, Debug, help), g.read)
	return g
}

func flag(on bool) float64 {
	if on {
		return 1
	}
	return 0
}

// Update tells what the database says now. The store's owner calls it from time to time, as Kafka does once a minute.
// Statistics that went back mean that the database was opened anew.
func (g *Engine) Update(stats EngineStats) {
	g.now = stats // What the functions get a pointer to would be allocated.
	for _, p := range g.properties {
		p.gauge.Set(p.of(&g.now))
	}
	if !g.statistics {
		return
	}
	last := &g.last
	if stats.BytesWritten < last.BytesWritten || stats.Compactions < last.Compactions || stats.BytesFlushed < last.BytesFlushed {
		*last = EngineStats{}
	}
	g.written.Mark(since(stats.BytesWritten, last.BytesWritten))
	g.flushed.Mark(since(stats.BytesFlushed, last.BytesFlushed))
	g.compactionRead.Mark(since(stats.CompactionRead, last.CompactionRead))
	g.compactionWritten.Mark(since(stats.CompactionWritten, last.CompactionWritten))
	if n := stats.Compactions - last.Compactions; n > 0 {
		g.compactionTime.Record(float64(stats.CompactionTime-last.CompactionTime) / float64(n) / float64(time.Millisecond))
	}
	if n := stats.WriteStalls - last.WriteStalls; n > 0 {
		g.stallTime.Record(float64(stats.WriteStallTime-last.WriteStallTime) / float64(n) / float64(time.Millisecond))
	}
	g.stallTotal.Set(float64(stats.WriteStallTime) / float64(time.Millisecond))
	g.openFiles.Set(float64(stats.OpenFiles))
	ratio := math.NaN()
	hits, misses := stats.BlockCacheHits-last.BlockCacheHits, stats.BlockCacheMisses-last.BlockCacheMisses
	if hits+misses > 0 {
		ratio = float64(hits) / float64(hits+misses)
	}
	g.cacheHits.Set(ratio)
	*last = stats
}

func since(now, before uint64) int {
	if now < before {
		return 0
	}
	return int(now - before)
}
