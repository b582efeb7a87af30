package state

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

func property(t *testing.T, d *Directory, name string) Property {
	t.Helper()
	for _, p := range d.Recorders().Snapshot()[0].Properties {
		if p.Name == name {
			return p
		}
	}
	t.Fatalf("no property %s", name)
	return Property{}
}

// Kafka: RocksDBStoreTest.shouldVerifyThatMetricsRecordedFromStatisticsGetMeasurementsFromRocksDB (KAFKA-9675: they were all 0).
func TestProperties(t *testing.T) {
	f := newFixture(t, vfs.NewMem())
	s := f.open(StoreOptions{CleanBytes: -1})
	if p := f.dir.Recorders().Snapshot()[0].Properties; p != nil {
		t.Fatalf("properties before the first sample: %v", p)
	}
	value := strings.Repeat("v", 2000)
	for i := range 2000 {
		put(t, s, fmt.Sprint(i%500), value)
		if i%10 == 9 {
			must(t, s.Commit(int64(i)))
		}
	}
	must(t, s.Flush())
	for i := range 600 {
		_, _, _, err := s.Get([]byte(fmt.Sprint(i)))
		must(t, err)
	}
	f.dir.Recorders().Sample()
	names := map[string]bool{}
	for _, p := range f.dir.Recorders().Snapshot()[0].Properties {
		if names[p.Name] || p.Value < 0 || p.Counter != strings.HasSuffix(p.Name, "-total") {
			t.Errorf("%+v", p)
		}
		names[p.Name] = true
	}
	for _, name := range []string{
		"num-immutable-mem-table", "cur-size-all-mem-tables", "size-all-mem-tables", "mem-table-flush-pending", "num-running-flushes",
		"compaction-pending", "num-running-compactions", "estimate-pending-compaction-bytes", "total-sst-files-size", "live-sst-files-size",
		"estimate-num-keys", "estimate-table-readers-mem", "background-errors", "block-cache-capacity", "block-cache-usage",
		"block-cache-data-hit-ratio", "number-open-files", "memtable-hit-ratio", "bytes-written-total", "bytes-read-total",
		"memtable-bytes-flushed-total", "memtable-flush-time-avg", "write-stall-duration-total", "bytes-read-compaction-total",
		"bytes-written-compaction-total", "compaction-time-avg",
	} {
		if !names[name] {
			t.Errorf("no property %s", name)
		}
		delete(names, name)
	}
	if len(names) > 0 {
		t.Errorf("also %v", names)
	}
	for name, least := range map[string]float64{
		"live-sst-files-size": 500 * 2000, "total-sst-files-size": 500 * 2000, "bytes-written-total": 2000 * 2000, "bytes-read-total": 500 * 2000,
		"memtable-bytes-flushed-total": 500 * 2000, "cur-size-all-mem-tables": 1, "size-all-mem-tables": 1, "number-open-files": 1,
		"block-cache-usage": 1, "memtable-flush-time-avg": 1e-9, "estimate-table-readers-mem": 1,
	} {
		if p := property(t, f.dir, name); p.Value < least {
			t.Errorf("%s is %v, want at least %v", name, p.Value, least)
		}
	}
	for name, want := range map[string]float64{"estimate-num-keys": 500, "block-cache-capacity": 1 << 20, "background-errors": 0, "memtable-hit-ratio": 0} {
		if p := property(t, f.dir, name); p.Value != want {
			t.Errorf("%s is %v, want %v", name, p.Value, want)
		}
	}
	s.engine.Load().fuse.blow(errDisk)
	f.dir.Recorders().Sample() // nothing new of a broken store, and no harm
	if p := property(t, f.dir, "estimate-num-keys"); p.Value != 500 {
		t.Errorf("%+v", p)
	}
	s.Abandon()
	must(t, f.dir.Close())
}

// Reads that the entries in front of Pebble answer are hits.
func TestMemoryHitRatio(t *testing.T) {
	f := newFixture(t, vfs.NewMem())
	s := f.open(StoreOptions{})
	put(t, s, "a", "1")
	wantValue(t, s, "a", "1")
	wantValue(t, s, "a", "1")
	wantValue(t, s, "a", "1")
	wantAbsent(t, s, "b")
	f.dir.Recorders().Sample()
	if p := property(t, f.dir, "memtable-hit-ratio"); p.Value != 0.75 {
		t.Errorf("%+v", p)
	}
	f.close(s)
}

// Figures are read while stores are opened, used, wiped and closed.
func TestSampleConcurrently(t *testing.T) {
	f := newFixture(t, vfs.NewMem())
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					f.dir.Recorders().Sample()
					f.dir.Recorders().Snapshot()
				}
			}
		})
	}
	for round := range 60 {
		s := f.open(StoreOptions{})
		for i := range 50 {
			put(t, s, fmt.Sprint(i), strings.Repeat("v", 1000))
		}
		must(t, s.Commit(1))
		switch round % 3 {
		case 0:
			must(t, s.Close())
		case 1:
			must(t, s.Wipe())
			must(t, s.Close())
		case 2:
			s.Abandon()
		}
	}
	close(done)
	readers.Wait()
	must(t, f.dir.Close())
}

// A disk that hangs holds up nobody but the goroutine that samples: not the others that read figures, and not the owner who gives the store
// up.
func TestSampleOnHangingDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		armed := false
		fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
			if armed && op.Kind == errorfs.OpFileSync && strings.Contains(op.Path, "MANIFEST") {
				<-hang
			}
			return nil
		}))
		f := newFixture(t, fs)
		s := f.open(StoreOptions{})
		put(t, s, "a", "1")
		must(t, s.Commit(1))
		f.dir.Recorders().Sample()
		armed = true
		must(t, s.engine.Load().startFlush())
		synctest.Wait()
		sampled := false
		go func() {
			f.dir.Recorders().Sample()
			sampled = true
		}()
		synctest.Wait()
		if sampled {
			t.Error("the sample did not wait: the test does not test what it should")
		}
		f.dir.Recorders().Sample()
		if p := property(t, f.dir, "estimate-num-keys"); p.Value != 1 {
			t.Errorf("%+v", p)
		}
		s.Abandon()
		wantRegistered(t, f.dir)
		armed = false
		s = f.open(StoreOptions{})
		wantStats(t, s, StoreStats{Position: -1})
		close(hang)
		synctest.Wait()
		if !sampled {
			t.Error("the sample hangs")
		}
		f.close(s)
	})
}
