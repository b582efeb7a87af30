package state

import (
	"errors"
	"fmt"
	"slices"
	"strings"
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

// Whoever goes does not take its successor with it.
func TestRecorderIsReplaced(t *testing.T) {
	recorder := func() *recorder {
		return &recorder{key: storeKey{"0_1", "counts"}, scope: scopeDisk, measures: &measures{}, stats: func() StoreStats { return StoreStats{} }}
	}
	f := newFixture(t, vfs.NewMem())
	r := f.dir.Recorders()
	first, second := recorder(), recorder()
	r.register(first)
	r.register(second)
	r.remove(first)
	r.remove(first)
	wantRegistered(t, f.dir, "0_1/counts")
	r.remove(second)
	wantRegistered(t, f.dir)
	must(t, f.dir.Close())
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
