package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Prefixes of the keys in Pebble. Metadata sorts first.
const (
	metaPrefix = 0x00
	dataPrefix = 0x01
)

// dataBounds enclose all data keys.
var dataBounds = struct{ lower, upper []byte }{[]byte{dataPrefix}, []byte{dataPrefix + 1}}

// metaKey is the key of the one metadata record.
var metaKey = []byte{metaPrefix, 'm'}

const (
	metaVersion = 1
	metaBytes   = 2 + 3*8

	flagExact = 1 << 0
	flagEager = 1 << 1
)

// meta is what a store knows about its committed content. It is written in the same batch as the content.
type meta struct {
	position int64 // next changelog offset, -1 if unknown; on the disk of an eager store the number of its last seal
	entries  int64
	bytes    int64 // of keys and values, timestamps not counted
	exact    bool  // entries and bytes were counted, not estimated
	eager    bool  // the store was written by an eager one, so its content is worth nothing to a transactional one
	stored   bool  // it was read from the database
}

var emptyMeta = meta{position: -1, exact: true}

func (m meta) append(b []byte) []byte {
	var flags byte
	if m.exact {
		flags |= flagExact
	}
	if m.eager {
		flags |= flagEager
	}
	b = append(b, metaVersion, flags)
	b = binary.BigEndian.AppendUint64(b, uint64(m.position))
	b = binary.BigEndian.AppendUint64(b, uint64(m.entries))
	return binary.BigEndian.AppendUint64(b, uint64(m.bytes))
}

func decodeMeta(b []byte) (meta, error) {
	if len(b) != metaBytes || b[0] != metaVersion || b[1] > flagExact|flagEager {
		return emptyMeta, fmt.Errorf("decode metadata: %d bytes %x: unknown format", len(b), b)
	}
	return meta{
		exact:    b[1]&flagExact != 0,
		eager:    b[1]&flagEager != 0,
		stored:   true,
		position: int64(binary.BigEndian.Uint64(b[2:])),
		entries:  int64(binary.BigEndian.Uint64(b[10:])),
		bytes:    int64(binary.BigEndian.Uint64(b[18:])),
	}, nil
}

// Pebble itself never stalls a write, because nothing could interrupt that once the database is broken: its limits are out of reach, and
// engine.apply keeps to these instead.
const (
	unlimited      = 1 << 20
	flushMemtables = 4  // a flush is awaited each time so many memtables have been written since the last one
	maxSublevels   = 12 // of level 0, Pebble's own default
)

// tableFormat has columnar tables with checksummed footers. Not only are they newer: the writer of Pebble's older format pools channels
// across databases, which ends a process that runs several synctest bubbles.
const tableFormat = pebble.FormatTableFormatV6

// engine is one open Pebble database. It belongs to the goroutine of its store.
type engine struct {
	db        *pebble.DB
	fuse      *fuse
	dir       string
	compacted chan struct{} // signalled after each compaction

	flushEvery    int             // bytes
	flushInterval time.Duration   // 0 = never
	unflushed     int             // bytes written since the last flush was asked for
	flushed       time.Time       // when that was
	flushing      <-chan struct{} // closed when that flush is done; nil at first

	visitors visitors // goroutines besides the owner's that read the figures of the database
	written  atomic.Int64
	read     atomic.Int64
	stalled  atomic.Int64 // nanoseconds that writes have waited for the disk
}

// openEngine opens or creates the database in dir. The metadata of a new one is emptyMeta.
func openEngine(fs vfs.FS, dir string, cache *Cache, o StoreOptions) (*engine, meta, error) {
	e := &engine{
		fuse: newFuse(), dir: dir, compacted: make(chan struct{}, 1),
		flushEvery: flushMemtables * o.MemtableBytes, flushInterval: o.FlushInterval, flushed: time.Now(),
	}
	if o.FlushInterval > 0 { // not all stores of an instance at the same time
		e.flushed = e.flushed.Add(-rand.N(o.FlushInterval))
	}
	options := &pebble.Options{
		FS:                          gate{fs, e.fuse},
		FormatMajorVersion:          tableFormat,
		Cache:                       cache.blocks,
		FileCache:                   cache.files,
		DisableWAL:                  true,
		MemTableSize:                uint64(o.MemtableBytes),
		MemTableStopWritesThreshold: unlimited,
		L0StopWritesThreshold:       unlimited,
		Logger:                      e.fuse,
		EventListener:               e.fuse.listen(e.compacted),
	}
	// As Kafka Streams does for RocksDB: the values are small and binary, and what they would save is not worth the processor.
	options.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionNone })
	options.Levels[0].FilterPolicy = bloom.FilterPolicy(10)
	// Pebble's default scheduler looks ten times a second, in each database, whether more compactions than before may run, and the
	// goroutine that does so is left behind when Open fails. Here it is one compaction at a time, for which the end of the one before is
	// sign enough.
	options.Experimental.CompactionScheduler = pebble.NewConcurrencyLimitSchedulerWithNoPeriodicGrantingForTest()
	if err := removeLogs(fs, dir); err != nil {
		return nil, emptyMeta, err
	}
	// A Fatalf during Open comes with an error that Open returns. So the error is judged by itself, not by the fuse.
	err := func() (err error) {
		defer func() {
			if r := recover(); r != nil {
				err = fmt.Errorf("panic: %v", r)
			}
		}()
		e.db, err = pebble.Open(dir, options)
		return err
	}()
	if err != nil {
		return nil, emptyMeta, err
	}
	e.fuse.serving.Store(true)
	m, err := e.meta()
	if err != nil {
		e.abandon(nil)
		return nil, emptyMeta, err
	}
	return e, m, nil
}

// removeLogs deletes the write-ahead logs, which Pebble creates although nothing is ever written to them. One that is there makes Open
// flush, and Open would repeat that for ever on a disk that fails.
func removeLogs(fs vfs.FS, dir string) error {
	names, err := fs.List(dir)
	if err != nil {
		return fmt.Errorf("list folder: %w", err)
	}
	for _, name := range names {
		if !strings.HasSuffix(name, ".log") {
			continue
		}
		if err := fs.Remove(fs.PathJoin(dir, name)); err != nil {
			return fmt.Errorf("remove empty log: %w", err)
		}
	}
	return nil
}

func (e *engine) meta() (meta, error) {
	value, ok, err := e.get(metaKey, nil)
	if err != nil || !ok {
		return emptyMeta, err
	}
	return decodeMeta(value)
}

// get appends the value of a prefixed key to buf.
func (e *engine) get(key, buf []byte) (_ []byte, ok bool, err error) {
	err = e.fuse.guard("read", func() error {
		v, closer, err := e.db.Get(key)
		if errors.Is(err, pebble.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		e.read.Add(int64(len(v)))
		buf, ok = append(buf, v...), true
		return closer.Close()
	})
	return buf, ok && err == nil, err
}

// getCell is get for a data key.
func (e *engine) getCell(key, buf []byte) (cell []byte, ok bool, err error) {
	cell, ok, err = e.get(key, buf)
	if ok {
		if err := checkCell(key[1:], cell); err != nil {
			e.fuse.blow(fmt.Errorf("read: %w", err))
			return nil, false, e.fuse.err()
		}
	}
	return cell, ok, err
}

// checkCell makes sure that a stored value can be taken apart.
func checkCell(key, cell []byte) error {
	if len(cell) < timestampBytes {
		return fmt.Errorf("value of key %x: %d bytes are too short for a timestamp", key, len(cell))
	}
	return nil
}

// apply writes a batch and gives it back to Pebble. It waits for the disk when that falls behind.
func (e *engine) apply(batch *pebble.Batch) error {
	size := batch.Len()
	err := e.fuse.guard("write", func() error {
		if err := e.db.Apply(batch, pebble.NoSync); err != nil {
			return err
		}
		return batch.Close()
	})
	if err != nil {
		return err
	}
	e.written.Add(int64(size))
	e.unflushed += size
	if e.unflushed < e.flushEvery {
		return e.flushInTime()
	}
	start := time.Now()
	defer func() { e.stalled.Add(int64(time.Since(start))) }()
	before := e.flushing
	if err := e.startFlush(); err != nil {
		return err
	}
	if err := e.await(before); err != nil {
		return err
	}
	return e.awaitCompaction()
}

// flushInTime begins a flush when the last one is long ago and done.
func (e *engine) flushInTime() error {
	if e.flushInterval == 0 || time.Since(e.flushed) < e.flushInterval {
		return nil
	}
	if e.flushing != nil {
		select {
		case <-e.flushing:
		default:
			return nil
		}
	}
	return e.startFlush()
}

// flush brings everything that was written to disk and waits for it.
func (e *engine) flush() error {
	if e.unflushed > 0 {
		if err := e.startFlush(); err != nil {
			return err
		}
	}
	return e.await(e.flushing)
}

func (e *engine) startFlush() error {
	return e.fuse.guard("flush", func() error {
		flushed, err := e.db.AsyncFlush()
		e.flushing, e.unflushed, e.flushed = flushed, 0, time.Now()
		return err
	})
}

// await waits until a flush is done or the database is broken, in which case it never will be.
func (e *engine) await(flushed <-chan struct{}) error {
	if flushed == nil {
		return e.fuse.err()
	}
	select {
	case <-flushed:
	case <-e.fuse.blown:
	}
	return e.fuse.err()
}

// awaitCompaction waits while level 0 is so deep that reads would suffer.
func (e *engine) awaitCompaction() error {
	for {
		var sublevels int32
		err := e.fuse.guard("metrics", func() error {
			sublevels = e.db.Metrics().Levels[0].Sublevels
			return nil
		})
		if err != nil || sublevels < maxSublevels {
			return err
		}
		select {
		case <-e.compacted:
		case <-e.fuse.blown:
		}
	}
}

// close flushes and closes the database. A broken one is abandoned, and its failure is the error.
func (e *engine) close() error {
	err := e.startFlush()
	if err == nil {
		err = e.await(e.flushing)
	}
	if err == nil {
		err = e.discard()
	}
	return err
}

// discard closes the database without a flush, for its content is not needed any more.
func (e *engine) discard() error {
	select {
	case <-e.visitors.leave():
	case <-e.fuse.blown:
	}
	return e.fuse.guard("close", e.db.Close)
}

// abandon gives the database up without waiting for it: nothing reaches the disk any more, and then runs once Pebble has let go of
// the files. If Pebble hangs, so does the goroutine that closes it.
func (e *engine) abandon(then func()) {
	e.fuse.blow(errors.New("abandoned"))
	close(e.fuse.released)
	go func() {
		// Closing is all that is left to do with a database that may be broken in any way, so whatever comes of it is ignored.
		defer func() {
			_ = recover()
			if then != nil {
				then()
			}
		}()
		<-e.visitors.leave()
		_ = e.db.Close()
	}()
}
