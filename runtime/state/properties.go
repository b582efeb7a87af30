package state

import (
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Property is one figure of a store's database. The name is that of Kafka Streams' RocksDB metric where Pebble has something that
// corresponds; times are in milliseconds, as there.
type Property struct {
	Name    string
	Value   float64
	Counter bool // it only grows while the store is open, so a rate can be made of it
}

// properties reads the figures of the database. It is nil if the store is broken or not open. It may be called from any goroutine.
func (s *Store) properties() []Property {
	e := s.engine.Load()
	if e == nil {
		return nil
	}
	var m *pebble.Metrics
	e.visit(func() { m = e.db.Metrics() })
	if m == nil {
		return nil
	}
	var all []Property
	gauge := func(name string, value float64) { all = append(all, Property{Name: name, Value: value}) }
	counter := func(name string, value float64) { all = append(all, Property{Name: name, Value: value, Counter: true}) }

	immutable := max(m.MemTable.Count-1, 0)
	gauge("num-immutable-mem-table", float64(immutable))
	gauge("cur-size-all-mem-tables", float64(m.MemTable.Size))
	gauge("size-all-mem-tables", float64(m.MemTable.Size+m.MemTable.ZombieSize)) // those that scans keep included
	gauge("mem-table-flush-pending", flag(immutable > 0))
	gauge("num-running-flushes", float64(m.Flush.NumInProgress))
	gauge("compaction-pending", flag(m.Compact.EstimatedDebt > 0))
	gauge("num-running-compactions", float64(m.Compact.NumInProgress))
	gauge("estimate-pending-compaction-bytes", float64(m.Compact.EstimatedDebt))
	gauge("total-sst-files-size", float64(m.Table.Local.LiveSize+m.Table.Local.ObsoleteSize+m.Table.Local.ZombieSize))
	gauge("live-sst-files-size", float64(m.Table.Local.LiveSize))
	gauge("estimate-num-keys", float64(s.entries.Load()))
	gauge("estimate-table-readers-mem", float64(m.FileCache.Size))
	gauge("background-errors", float64(e.fuse.background.Load()))

	// The block cache and the open files are those of all stores that share them.
	gauge("block-cache-capacity", float64(s.cache().blocks.MaxSize()))
	gauge("block-cache-usage", float64(m.BlockCache.Size))
	gauge("block-cache-data-hit-ratio", ratio(m.BlockCache.Hits, m.BlockCache.Misses))
	gauge("number-open-files", float64(m.FileCache.TableCount))

	// What RocksDB finds in its memtable is here mostly found before that, in the entries in front of Pebble.
	gets, loads := s.measures.of[OperationGet].count.Load(), s.loads.Load()
	gauge("memtable-hit-ratio", ratio(max(gets-loads, 0), loads))

	counter("bytes-written-total", float64(e.written.Load()))
	counter("bytes-read-total", float64(e.read.Load()))
	counter("memtable-bytes-flushed-total", float64(m.Levels[0].TableBytesFlushed))
	gauge("memtable-flush-time-avg", average(m.Flush.WriteThroughput.WorkDuration, m.Flush.Count))
	counter("write-stall-duration-total", milliseconds(time.Duration(e.stalled.Load())))
	var read, written uint64
	for i := range m.Levels {
		read += m.Levels[i].TableBytesRead
		written += m.Levels[i].TableBytesCompacted
	}
	counter("bytes-read-compaction-total", float64(read))
	counter("bytes-written-compaction-total", float64(written))
	gauge("compaction-time-avg", average(m.Compact.Duration, m.Compact.Count))
	return all
}

func flag(set bool) float64 {
	if set {
		return 1
	}
	return 0
}

// ratio is the part of hits in all lookups, 0 if there were none.
func ratio(hits, misses int64) float64 {
	if hits+misses == 0 {
		return 0
	}
	return float64(hits) / float64(hits+misses)
}

func average(total time.Duration, n int64) float64 {
	if n == 0 {
		return 0
	}
	return milliseconds(total) / float64(n)
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
