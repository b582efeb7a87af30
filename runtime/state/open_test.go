package state

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

func TestNames(t *testing.T) {
	f := newFixture(t, vfs.NewMem())
	for _, c := range []struct{ task, name string }{
		{"", "s"},
		{"0", "s"},
		{"0_", "s"},
		{"a_1", "s"},
		{"../0_1", "s"},
		{"0_1/..", "s"},
		{"-1_0", "s"},
		{"0_1\n", "s"},
		{"0_1", ""},
		{"0_1", "."},
		{"0_1", ".checkpoint"},
		{"0_1", ".."},
		{"0_1", "../s"},
		{"0_1", "a/b"},
		{"0_1", `a\b`},
		{"0_1", "a~1"},
		{"0_1", "a b"},
		{"0_1", strings.Repeat("s", 201)},
		{"0_1", "s\x00"},
	} {
		if s, err := f.dir.OpenStore(c.task, c.name, StoreOptions{}); err == nil {
			t.Errorf("OpenStore(%q, %q) worked", c.task, c.name)
			s.Abandon()
		}
	}
	s, err := f.dir.OpenStore("10_123", "KSTREAM-AGGREGATE-STATE-STORE-0000000007", StoreOptions{})
	must(t, err)
	f.close(s)
	for _, n := range []int{1, minMemtableBytes - 1, maxMemtableBytes + 1, -1} {
		if (StoreOptions{MemtableBytes: n}).Validate() == nil {
			t.Errorf("memtable of %d bytes was taken", n)
		}
	}
}

func TestMemoryBudget(t *testing.T) {
	for _, c := range []struct {
		bytes    int64
		stores   int
		cache    int64
		memtable int
	}{
		{64 << 20, 16, 64 << 20, 1 << 20},
		{64 << 20, 1, 64 << 20, 16 << 20},
		{64 << 20, 0, 64 << 20, 16 << 20},
		{1 << 30, 1, 1 << 30, maxMemtableBytes},
		{32 << 20, 1000, 32 << 20, minMemtableBytes},
		{0, 10, 0, minMemtableBytes},
		{-1, -1, 0, minMemtableBytes},
	} {
		cache, memtable := MemoryBudget(c.bytes, c.stores)
		if cache != c.cache || memtable != c.memtable {
			t.Errorf("MemoryBudget(%d, %d) = %d, %d, want %d, %d", c.bytes, c.stores, cache, memtable, c.cache, c.memtable)
		}
		must(t, StoreOptions{MemtableBytes: memtable}.Validate())
	}
	for stores := range 200 { // half of the cache is left for blocks
		if cache, memtable := MemoryBudget(64<<20, stores); 2*int64(stores)*int64(memtable) > cache/2 {
			t.Errorf("%d stores with memtables of %d bytes", stores, memtable)
		}
	}
}

func TestOpenByKind(t *testing.T) {
	f := newFixture(t, vfs.NewMem())
	for kind, options := range kinds {
		s, err := f.dir.Open("0_1", "counts", options)
		must(t, err)
		if s.Name() != "counts" || s.Task() != "0_1" || s.Persistent() == options.InMemory {
			t.Errorf("%s: store %s of task %s, persistent: %v", kind, s.Name(), s.Task(), s.Persistent())
		}
		again, err := f.dir.Open("0_1", "counts", options)
		if again != nil || !errors.Is(err, ErrInUse) {
			t.Errorf("%s: opened twice: %v, %v", kind, again, err)
		}
		must(t, s.Err())
		must(t, s.Close())
	}
	if s, err := f.dir.OpenStore("0_1", "counts", StoreOptions{InMemory: true}); s != nil || err == nil {
		t.Errorf("a store in memory was opened on disk: %v", err)
	}
	if _, err := f.dir.Open("0_1", "a/b", StoreOptions{InMemory: true}); err == nil {
		t.Error("a store in memory has any name")
	}
	if _, err := f.dir.Open("0_1", "counts", StoreOptions{MemtableBytes: 1}); err == nil {
		t.Error("a memtable of one byte was taken")
	}
	must(t, f.dir.Close())
}

func TestStoreInUse(t *testing.T) {
	f := newFixture(t, vfs.NewMem())
	s := f.open(StoreOptions{})
	if _, err := f.dir.OpenStore("0_1", "counts", StoreOptions{}); !errors.Is(err, ErrInUse) {
		t.Fatalf("second owner: %v", err)
	}
	other, err := f.dir.OpenStore("0_2", "counts", StoreOptions{})
	must(t, err)
	must(t, other.Close())
	must(t, s.Close())
	f.close(f.open(StoreOptions{}))
}

// The highest generation counts, and older ones are removed.
func TestGenerations(t *testing.T) {
	mem := vfs.NewMem()
	f := newFixture(t, mem)
	s := f.open(StoreOptions{})
	put(t, s, "a", "1")
	must(t, s.Commit(1))
	must(t, s.Close())
	const parent = "app/i1/0_1/pebble"
	must(t, mem.Rename(parent+"/counts", parent+"/counts~12"))
	for _, n := range []string{"counts", "counts~3", "counts~9", "counts-other"} {
		must(t, mem.MkdirAll(parent+"/"+n, 0o750))
	}
	s = f.open(StoreOptions{})
	wantValue(t, s, "a", "1")
	names, err := mem.List(parent)
	must(t, err)
	slices.Sort(names)
	if want := []string{"counts-other", "counts~12"}; !slices.Equal(names, want) {
		t.Fatalf("folders %q, want %q", names, want)
	}
	f.close(s)
}

// A full disk or a missing permission is no reason to throw a store away.
func TestOpenFailureKeepsTheStore(t *testing.T) {
	faulty := &faultyFS{match: failing("", os.ErrPermission, errorfs.OpCreate)}
	f := newFixture(t, errorfs.Wrap(vfs.NewMem(), faulty))
	s := f.open(StoreOptions{})
	put(t, s, "a", "1")
	must(t, s.Commit(1))
	must(t, s.Close())
	faulty.on.Store(true)
	if _, err := f.dir.OpenStore("0_1", "counts", StoreOptions{}); !errors.Is(err, os.ErrPermission) || errors.Is(err, ErrBroken) {
		t.Fatalf("OpenStore: %v", err)
	}
	faulty.on.Store(false)
	s = f.open(StoreOptions{})
	wantValue(t, s, "a", "1")
	f.close(s)
}
