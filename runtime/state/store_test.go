package state

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// fixture is a directory on a file system of its own with one cache.
type fixture struct {
	t      *testing.T
	fs     vfs.FS
	config DirectoryConfig
	dir    *Directory
	cache  *Cache
}

func newFixture(t *testing.T, fs vfs.FS) *fixture {
	t.Helper()
	f := &fixture{t: t, fs: fs, cache: NewCache(1 << 20)}
	t.Cleanup(func() { f.cache.Close() })
	f.openDirectory()
	return f
}

func (f *fixture) openDirectory() {
	f.t.Helper()
	f.config.Path, f.config.ClusterID, f.config.FS = "app/i1", "c1", f.fs
	d, err := OpenDirectory(f.config)
	if err != nil {
		f.t.Fatal(err)
	}
	f.dir = d
}

func (f *fixture) open(o StoreOptions) *Store {
	f.t.Helper()
	return f.openKind(o).(*Store)
}

func (f *fixture) openKind(o StoreOptions) KeyValue {
	f.t.Helper()
	s, err := f.tryOpen(o)
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}

func (f *fixture) tryOpen(o StoreOptions) (KeyValue, error) {
	o.Cache = f.cache
	if o.MemtableBytes == 0 {
		o.MemtableBytes = minMemtableBytes
	}
	return f.dir.Open("0_1", "counts", o)
}

// close closes the store and the directory.
func (f *fixture) close(s KeyValue) {
	f.t.Helper()
	must(f.t, s.Close())
	must(f.t, f.dir.Close())
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, s KeyValue, key, value string) {
	t.Helper()
	must(t, s.Put([]byte(key), []byte(value), 7))
}

func wantValue(t *testing.T, s KeyValue, key, want string) {
	t.Helper()
	value, ts, ok, err := s.Get([]byte(key))
	if err != nil || !ok || string(value) != want || ts != 7 {
		t.Fatalf("Get(%q) = %q, %d, %v, %v, want %q, 7", key, value, ts, ok, err, want)
	}
}

func wantAbsent(t *testing.T, s KeyValue, key string) {
	t.Helper()
	if value, _, ok, err := s.Get([]byte(key)); ok || err != nil {
		t.Fatalf("Get(%q) = %q, %v, want nothing", key, value, err)
	}
}

func wantStats(t *testing.T, s KeyValue, want StoreStats) {
	t.Helper()
	if got := s.Stats(); got != want {
		t.Fatalf("Stats() = %+v, want %+v", got, want)
	}
}

func TestTransaction(t *testing.T) {
	f := newFixture(t, vfs.NewMem())
	s := f.open(StoreOptions{})
	if s.Position() != -1 {
		t.Fatalf("an empty store has position %d", s.Position())
	}
	wantStats(t, s, StoreStats{Position: -1})

	put(t, s, "a", "1")
	put(t, s, "b", "22")
	wantValue(t, s, "a", "1")
	if s.Dirty() != 2 {
		t.Fatalf("Dirty() = %d, want 2", s.Dirty())
	}
	wantStats(t, s, StoreStats{Position: -1})
	must(t, s.Commit(10))
	wantStats(t, s, StoreStats{Entries: 2, Bytes: 5, Position: 10})

	put(t, s, "a", "changed")
	must(t, s.Put([]byte("b"), nil, 0))
	put(t, s, "c", "3")
	wantAbsent(t, s, "b")
	wantDigest(t, s, map[string]string{"a": "1", "b": "22"})
	s.Abort()
	if s.Dirty() != 0 {
		t.Fatalf("Dirty() after Abort = %d", s.Dirty())
	}
	wantValue(t, s, "a", "1")
	wantValue(t, s, "b", "22")
	wantAbsent(t, s, "c")
	wantStats(t, s, StoreStats{Entries: 2, Bytes: 5, Position: 10})

	must(t, s.Put([]byte("b"), nil, 0))
	must(t, s.Put([]byte("never"), nil, 0))
	put(t, s, "", "empty key")
	must(t, s.Put([]byte("empty"), []byte{}, 7))
	wantValue(t, s, "empty", "")
	must(t, s.Commit(20))
	want := map[string]string{"a": "1", "": "empty key", "empty": ""}
	wantStats(t, s, StoreStats{Entries: 3, Bytes: 2 + 9 + 5, Position: 20})
	wantDigest(t, s, want)
	for page := range 5 {
		if got := content(t, s, page); !maps.Equal(got, want) {
			t.Fatalf("content in pages of %d: %q, want %q", page, got, want)
		}
	}
	f.close(s)

	f.openDirectory()
	s = f.open(StoreOptions{})
	wantStats(t, s, StoreStats{Entries: 3, Bytes: 16, Position: 20})
	wantDigest(t, s, want)
	wantValue(t, s, "", "empty key")
	f.close(s)
}

func TestCloseDropsTheBuffer(t *testing.T) {
	f := newFixture(t, vfs.NewMem())
	s := f.open(StoreOptions{})
	put(t, s, "a", "1")
	must(t, s.Commit(1))
	put(t, s, "a", "2")
	must(t, s.Close())
	must(t, s.Close())
	for name, err := range map[string]error{
		"Put": s.Put([]byte("a"), nil, 0), "Commit": s.Commit(2), "Restore": s.Restore(nil, 2), "Wipe": s.Wipe(),
		"Get": func() error { _, _, _, err := s.Get([]byte("a")); return err }(),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s after Close: %v, want ErrClosed", name, err)
		}
	}
	s = f.open(StoreOptions{})
	wantValue(t, s, "a", "1")
	wantStats(t, s, StoreStats{Entries: 1, Bytes: 2, Position: 1})
	f.close(s)
}

// A value stays as it was until the next call.
func TestPutCopies(t *testing.T) {
	f := newFixture(t, vfs.NewMem())
	s := f.open(StoreOptions{})
	key, value := []byte("k"), []byte("v")
	must(t, s.Put(key, value, 7))
	key[0], value[0] = 'x', 'x'
	wantValue(t, s, "k", "v")
	wantAbsent(t, s, "x")
	f.close(s)
}

func TestRestore(t *testing.T) {
	f := newFixture(t, vfs.NewMem())
	s := f.open(StoreOptions{})
	must(t, s.Restore([]Entry{
		{Key: []byte("a"), Value: []byte("1"), Timestamp: 1},
		{Key: []byte("b"), Value: []byte("1"), Timestamp: 1},
		{Key: []byte("a"), Value: []byte("2"), Timestamp: 7},
		{Key: []byte("b")},
		{Key: []byte("c")},
	}, 5))
	wantStats(t, s, StoreStats{Entries: 1, Bytes: 2, Position: 5})
	wantValue(t, s, "a", "2")
	wantAbsent(t, s, "b")
	must(t, s.Restore(nil, 9))
	wantStats(t, s, StoreStats{Entries: 1, Bytes: 2, Position: 9})

	put(t, s, "d", "1")
	if err := s.Restore(nil, 10); err == nil || s.Position() != 9 {
		t.Fatalf("Restore over an open transaction: %v, position %d", err, s.Position())
	}
	s.Abort()
	for _, position := range []int64{-2, -1 << 40} {
		if s.Commit(position) == nil || s.Restore(nil, position) == nil {
			t.Fatalf("position %d was taken", position)
		}
	}
	f.close(s)
}

// A large restore estimates the number of entries; the next transaction makes it exact again, also after a restart. An eager store, which
// has no transactions, does so with the next commit, and counts when it is opened after that was not reached.
func TestLargeRestoreCounts(t *testing.T) {
	const distinct = 2 * estimateAfter
	restored := func(t *testing.T, f *fixture, eager bool) (s *Store, position int64) {
		t.Helper()
		s = f.open(StoreOptions{CleanBytes: -1, MemtableBytes: 1 << 20, Eager: eager})
		for range 2 {
			var batch []Entry
			for i := range distinct {
				batch = append(batch, Entry{Key: fmt.Appendf(nil, "%08d", i), Value: []byte("v")})
				if len(batch) == 500 {
					position += 500
					must(t, s.Restore(batch, position))
					batch = batch[:0]
				}
			}
		}
		if got := s.Stats().Entries; got <= distinct {
			t.Fatalf("%d entries: expected an estimate above %d", got, distinct)
		}
		return s, position
	}
	t.Run("transactional", func(t *testing.T) {
		f := newFixture(t, vfs.NewMem())
		s, position := restored(t, f, false)
		must(t, s.Close())
		s = f.open(StoreOptions{})
		must(t, s.Commit(position+1))
		if s.meta.exact {
			t.Fatal("an empty commit took the estimate for exact")
		}
		put(t, s, "00000000", "longer")
		put(t, s, "new", "1")
		must(t, s.Commit(position+2))
		wantStats(t, s, StoreStats{Entries: distinct + 1, Bytes: distinct*9 + 5 + 4, Position: position + 2})
		f.close(s)
	})
	t.Run("eager", func(t *testing.T) {
		f := newFixture(t, vfs.NewMem())
		s, _ := restored(t, f, true)
		must(t, s.Close())
		s = f.open(StoreOptions{Eager: true})
		wantStats(t, s, StoreStats{Entries: distinct, Bytes: distinct * 9, Position: -1})
		must(t, s.Wipe())
		must(t, s.Close())
		s, position := restored(t, f, true)
		must(t, s.Commit(position))
		wantStats(t, s, StoreStats{Entries: distinct, Bytes: distinct * 9, Position: position})
		f.close(s)
	})
}

// Counting works without the help of the caller's reads, and whatever is in the cache of clean entries.
func TestCountsWithoutReads(t *testing.T) {
	for _, clean := range []int64{-1, 1, 2 * entryOverhead, 1 << 20} {
		t.Run(fmt.Sprint(clean), func(t *testing.T) {
			f := newFixture(t, vfs.NewMem())
			s := f.open(StoreOptions{CleanBytes: clean})
			for round := range 3 {
				for i := range 10 {
					put(t, s, fmt.Sprint(i), fmt.Sprint(round))
				}
				must(t, s.Commit(int64(round)))
				wantStats(t, s, StoreStats{Entries: 10, Bytes: 20, Position: int64(round)})
			}
			for i := range 10 {
				must(t, s.Put([]byte(fmt.Sprint(i)), nil, 0))
			}
			must(t, s.Commit(3))
			wantStats(t, s, StoreStats{Position: 3})
			if s.buffer.cost > max(clean, 0) {
				t.Fatalf("the cache of clean entries costs %d, budget %d", s.buffer.cost, clean)
			}
			f.close(s)
		})
	}
}

func TestWipe(t *testing.T) {
	mem := vfs.NewMem()
	f := newFixture(t, mem)
	s := f.open(StoreOptions{})
	put(t, s, "a", "1")
	must(t, s.Commit(1))
	put(t, s, "b", "1")
	for range 2 {
		must(t, s.Wipe())
		wantStats(t, s, StoreStats{Position: -1})
		wantAbsent(t, s, "a")
		wantAbsent(t, s, "b")
		if s.Dirty() != 0 {
			t.Fatal("the buffer survived")
		}
	}
	put(t, s, "c", "1")
	must(t, s.Commit(2))
	folders, err := mem.List("app/i1/0_1/pebble")
	must(t, err)
	if !slices.Equal(folders, []string{"counts~2"}) {
		t.Fatalf("folders: %q", folders)
	}
	f.close(s)
	f.openDirectory()
	s = f.open(StoreOptions{})
	wantValue(t, s, "c", "1")
	wantStats(t, s, StoreStats{Entries: 1, Bytes: 2, Position: 2})
	f.close(s)
}

func TestAbandon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, vfs.NewMem())
		s := f.open(StoreOptions{})
		put(t, s, "a", "1")
		must(t, s.Commit(1))
		s.Abandon()
		s.Abandon()
		must(t, s.Close())
		s = f.open(StoreOptions{})
		wantStats(t, s, StoreStats{Position: -1})
		wantAbsent(t, s, "a")
		f.close(s)
	})
}

// Enough is written for many flushes and compactions, all on virtual time.
func TestBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, vfs.NewMem())
		s := f.open(StoreOptions{CleanBytes: -1})
		value := bytes.Repeat([]byte("v"), 500)
		for i := range 20_000 {
			must(t, s.Put(fmt.Appendf(nil, "%d", i%5000), value, 7))
			if i%100 == 99 {
				must(t, s.Commit(int64(i)))
			}
		}
		if m := s.engine.Load().db.Metrics(); m.Flush.Count < 10 || m.Compact.Count < 1 {
			t.Fatalf("%d flushes, %d compactions: the test does not test what it should", m.Flush.Count, m.Compact.Count)
		}
		if got := s.Stats().Entries; got != 5000 {
			t.Fatalf("%d entries, want 5000", got)
		}
		f.close(s)
	})
}
