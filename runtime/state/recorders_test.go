package state

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// registered returns the stores in the registry.
func registered(d *Directory) []string {
	var all []string
	for _, m := range d.Recorders().Snapshot() {
		all = append(all, m.Task+"/"+m.Store)
	}
	return all
}

func wantRegistered(t *testing.T, d *Directory, want ...string) {
	t.Helper()
	if got := registered(d); !slices.Equal(got, want) {
		t.Fatalf("registered %q, want %q", got, want)
	}
}

// recorded is a fixture whose next openings fail while on is set.
func recorded(t *testing.T, before bool, level RecordingLevel, on *bool) *fixture {
	t.Helper()
	f := &fixture{t: t, fs: vfs.NewMem(), cache: NewCache(1 << 20), config: DirectoryConfig{
		RegisterBeforeOpen: before, Recording: level,
		OpenStoreHook: func(task, store string) error {
			if *on {
				return fmt.Errorf("open %s of %s: %w", store, task, errDisk)
			}
			return nil
		},
	}}
	t.Cleanup(func() { f.cache.Close() })
	f.openDirectory()
	return f
}

// A store is registered while it is open, whatever comes of closing it.
func TestRegistered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, before := range []bool{false, true} {
			failing := false
			f := recorded(t, before, RecordingDebug, &failing)
			wantRegistered(t, f.dir)
			s := f.open(StoreOptions{})
			m := f.openMemory("10_2", "b")
			other := f.openMemory("2_10", "a")
			wantRegistered(t, f.dir, "0_1/counts", "2_10/a", "10_2/b")
			must(t, other.Close())
			must(t, m.Wipe())
			must(t, s.Wipe())
			wantRegistered(t, f.dir, "0_1/counts", "10_2/b")
			m.Abandon()
			must(t, s.Close())
			wantRegistered(t, f.dir)

			s = f.open(StoreOptions{})
			s.engine.Load().fuse.blow(errDisk)
			if err := s.Close(); !errors.Is(err, ErrBroken) {
				t.Fatalf("Close: %v", err)
			}
			wantRegistered(t, f.dir)
			s = f.open(StoreOptions{})
			s.Abandon()
			wantRegistered(t, f.dir)
			must(t, f.dir.Close())
		}
	})
}

// An opening that fails leaves nothing behind, so the next one works.
func TestOpenFailureLeavesNoRecorder(t *testing.T) {
	for _, c := range []struct {
		before bool
		level  RecordingLevel
	}{{false, RecordingInfo}, {false, RecordingDebug}, {true, RecordingInfo}} {
		failing := true
		f := recorded(t, c.before, c.level, &failing)
		for kind, options := range kinds {
			for range 2 {
				if _, err := f.tryOpen(options); !errors.Is(err, errDisk) || !strings.Contains(err.Error(), "open counts of 0_1") {
					t.Fatalf("%s: %v", kind, err)
				}
				wantRegistered(t, f.dir)
			}
		}
		failing = false
		s := f.open(StoreOptions{})
		put(t, s, "a", "1")
		must(t, s.Commit(1))
		failing = true
		if err := s.Wipe(); !errors.Is(err, errDisk) {
			t.Fatalf("Wipe: %v", err)
		}
		wantRegistered(t, f.dir)
		failing = false
		s = f.open(StoreOptions{})
		wantStats(t, s, StoreStats{Position: -1})
		f.close(s)
	}
}

// KAFKA-9231, cause 2: the recorder of a store that could not be opened stays, and every later opening fails on it, in whatever thread.
func TestRegisterBeforeOpen(t *testing.T) {
	const text = `RocksDB metrics recorder for store "counts" of task 0_1 has already been added. This is a bug in Kafka Streams.`
	wantExists := func(t *testing.T, err error) {
		t.Helper()
		exists, ok := errors.AsType[*RecorderExistsError](err)
		if !ok || exists.Error() != text || !strings.HasSuffix(err.Error(), text) {
			t.Fatalf("%v, want %s", err, text)
		}
	}
	t.Run("open", func(t *testing.T) {
		failing := true
		f := recorded(t, true, RecordingDebug, &failing)
		if _, err := f.tryOpen(StoreOptions{}); !errors.Is(err, errDisk) {
			t.Fatalf("OpenStore: %v", err)
		}
		failing = false
		for range 3 {
			_, err := f.tryOpen(StoreOptions{})
			wantExists(t, err)
		}
		f.dir.Recorders().Sample()
		wantRegistered(t, f.dir, "0_1/counts")
		if p := f.dir.Recorders().Snapshot()[0].Properties; p != nil {
			t.Errorf("a store that is not open has properties: %v", p)
		}
		must(t, f.openMemory("0_1", "counts").Close()) // those have no RocksDB
		other, err := f.dir.OpenStore("0_2", "counts", StoreOptions{})
		must(t, err)
		must(t, other.Close())
		must(t, f.dir.Close())
	})
	t.Run("wipe", func(t *testing.T) {
		failing := false
		f := recorded(t, true, RecordingDebug, &failing)
		s := f.open(StoreOptions{Eager: true})
		failing = true
		if err := s.Wipe(); !errors.Is(err, errDisk) {
			t.Fatalf("Wipe: %v", err)
		}
		must(t, s.Close())
		failing = false
		_, err := f.tryOpen(StoreOptions{Eager: true})
		wantExists(t, err)
		must(t, f.dir.Close())
	})
}

// The hook runs when the store is reserved, and its error gives the store free again.
func TestOpenStoreHook(t *testing.T) {
	var calls []string
	f := newFixture(t, vfs.NewMem())
	must(t, f.dir.Close())
	var inside error
	f.config.OpenStoreHook = func(task, store string) error {
		calls = append(calls, task+"/"+store)
		_, inside = f.dir.OpenMemoryStore(task, store, StoreOptions{})
		return nil
	}
	f.openDirectory()
	s := f.open(StoreOptions{})
	if !errors.Is(inside, ErrInUse) {
		t.Errorf("opened inside the hook: %v", inside)
	}
	if _, err := f.tryOpen(StoreOptions{}); !errors.Is(err, ErrInUse) {
		t.Errorf("second owner: %v", err)
	}
	must(t, s.Wipe())
	must(t, s.Close())
	must(t, f.openMemory("0_2", "m").Close())
	if want := []string{"0_1/counts", "0_1/counts", "0_2/m"}; !slices.Equal(calls, want) {
		t.Errorf("calls %q, want %q", calls, want)
	}
	must(t, f.dir.Close())
}

func operation(t *testing.T, d *Directory, o Operation) OperationMetrics {
	t.Helper()
	all := d.Recorders().Snapshot()
	if len(all) != 1 || len(all[0].Operations) != int(operations) {
		t.Fatalf("%+v", all)
	}
	return all[0].Operations[o]
}

func TestOperationCounts(t *testing.T) {
	for kind, options := range kinds {
		t.Run(kind, func(t *testing.T) {
			f := newFixture(t, vfs.NewMem())
			s := f.openKind(options)
			put(t, s, "a", "1")
			put(t, s, "b", "1")
			must(t, s.Put([]byte("b"), nil, 0))
			wantValue(t, s, "a", "1")
			wantAbsent(t, s, "b")
			wantAbsent(t, s, "c")
			must(t, s.Commit(1))
			must(t, s.Restore([]Entry{{Key: []byte("d")}}, 2))
			must(t, s.Flush())
			all := func(_, _ []byte, _ int64) bool { return true }
			must(t, s.Range(nil, nil, all))
			must(t, s.Range([]byte("a"), nil, all))
			must(t, s.ReverseRange(nil, []byte("b"), all))
			for o, want := range map[Operation]int64{
				OperationPut: 2, OperationDelete: 1, OperationGet: 3, OperationAll: 1, OperationRange: 2, OperationFlush: 1, OperationRestore: 1,
			} {
				if got := operation(t, f.dir, o); got != (OperationMetrics{Operation: o, Count: want}) {
					t.Errorf("%s: %+v, want %d", o, got, want)
				}
			}
			if scope := f.dir.Recorders().Snapshot()[0].Scope; (scope == "in-memory") != options.InMemory {
				t.Errorf("scope %s", scope)
			}
			f.close(s)
		})
	}
}

// At debug the time of each operation is taken.
func TestOperationLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var slow bool
		fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
			if slow && op.Kind == errorfs.OpFileReadAt {
				time.Sleep(5 * time.Millisecond)
			}
			return nil
		}))
		f := &fixture{t: t, fs: fs, cache: NewCache(0), config: DirectoryConfig{Recording: RecordingDebug}}
		t.Cleanup(func() { f.cache.Close() })
		f.openDirectory()
		s := f.open(StoreOptions{CleanBytes: -1})
		put(t, s, "a", "1")
		must(t, s.Commit(1))
		must(t, s.Flush())
		slow = true
		wantValue(t, s, "a", "1")
		slow = false
		time.Sleep(time.Second)
		wantValue(t, s, "a", "1")
		got := operation(t, f.dir, OperationGet)
		if got.Count != 2 || got.Total < 5*time.Millisecond || got.Total > time.Second || got.Max != got.Total {
			t.Errorf("%+v", got)
		}
		time.Sleep(2 * peakWindow)
		if got := operation(t, f.dir, OperationGet); got.Count != 2 || got.Max != 0 {
			t.Errorf("a minute later: %+v", got)
		}
		f.close(s)
	})
}

func TestPeak(t *testing.T) {
	var p peak
	start := time.Unix(1000, 0)
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	want := func(seconds int, want time.Duration) {
		t.Helper()
		if got := p.at(at(seconds)); got != want {
			t.Errorf("after %d s: %v, want %v", seconds, got, want)
		}
	}
	want(0, 0)
	p.add(5, at(0))
	p.add(9, at(10))
	p.add(7, at(20))
	want(29, 9)
	want(59, 9)
	want(60, 0)
	p.add(3, at(35)) // a new window
	want(36, 9)
	want(64, 9)
	want(65, 3)
	p.add(2, at(70))
	want(70, 3)
	p.add(1, at(200))
	want(200, 1)
}

func TestOperationNames(t *testing.T) {
	var names []string
	for o := range Operation(operations) {
		names = append(names, o.String())
	}
	if want := []string{"put", "get", "delete", "all", "range", "flush", "restore"}; !slices.Equal(names, want) {
		t.Errorf("%q", names)
	}
}

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
