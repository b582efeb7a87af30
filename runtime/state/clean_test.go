package state

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// Kafka: StateDirectoryTest, shouldCleanUpTaskStateDirectoriesThatAreNotCurrentlyLocked, shouldNotRemoveNonTaskDirectoriesAndFiles,
// shouldCleanupStateDirectoriesWhenLastModifiedIsLessThanNowMinusCleanupDelay.
func TestCleanObsolete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		f := newFixture(t, mem)
		const delay = 10 * time.Minute
		clean := func(want ...string) {
			t.Helper()
			got, err := f.dir.CleanObsolete(delay, time.Now())
			if err != nil || !slices.Equal(got, want) {
				t.Fatalf("CleanObsolete = %q, %v, want %q", got, err, want)
			}
		}
		clean()
		for _, task := range []string{"0_0", "0_1", "0_2", "0_3", "10_1"} {
			storeOn(t, f.dir, task)
		}
		must(t, mem.MkdirAll("app/i1/global/counts", 0o750))
		must(t, mem.MkdirAll("app/i1/0_9x", 0o750))
		overwrite(t, mem, "app/i1/7_7", "a file")
		open, err := f.dir.OpenStore("0_0", "counts", StoreOptions{})
		must(t, err)
		memory := f.openMemory("0_3", "in-memory")
		f.dir.LockTask("0_1", "thread-1")
		time.Sleep(delay)
		clean() // not longer than that
		time.Sleep(time.Second)
		clean("0_2", "10_1")
		clean()

		f.dir.UnlockTask("0_1", "thread-1") // in use until now
		must(t, open.Close())
		must(t, memory.Close())
		time.Sleep(delay)
		clean()
		must(t, f.dir.WriteCheckpoint("0_1", map[TopicPartition]int64{counts: 1}))
		time.Sleep(time.Second)
		clean("0_0", "0_3")

		// After a restart only the files tell when a task was used.
		must(t, f.dir.Close())
		f.openDirectory()
		clean()
		time.Sleep(delay)
		clean("0_1")
		names, err := mem.List("app/i1")
		must(t, err)
		slices.Sort(names)
		if want := []string{"0_9x", "7_7", "cluster-id", "global", processFile}; !slices.Equal(slices.DeleteFunc(names, func(n string) bool { return n == lockFile }), want) {
			t.Fatalf("left: %q, want %q", names, want)
		}
		storeOn(t, f.dir, "0_1")
		must(t, f.dir.Close())
		if _, err := f.dir.CleanObsolete(0, time.Now()); !errors.Is(err, ErrClosed) {
			t.Fatalf("CleanObsolete after Close: %v", err)
		}
	})
}

// What cannot be deleted is reported, and does not keep the rest from being cleaned.
func TestCleanObsoleteFailure(t *testing.T) {
	faulty := &faultyFS{match: failing("0_1", errDisk, errorfs.OpRemoveAll)}
	f := newFixture(t, errorfs.Wrap(vfs.NewMem(), faulty))
	for _, task := range []string{"0_0", "0_1", "0_2"} {
		storeOn(t, f.dir, task)
	}
	faulty.on.Store(true)
	removed, err := f.dir.CleanObsolete(time.Minute, time.Now().Add(time.Hour))
	if !slices.Equal(removed, []string{"0_0", "0_2"}) || !errors.Is(err, errDisk) || !strings.Contains(err.Error(), "0_1") {
		t.Fatalf("CleanObsolete = %q, %v", removed, err)
	}
	faulty.on.Store(false)
	removed, err = f.dir.CleanObsolete(time.Minute, time.Now().Add(time.Hour))
	if !slices.Equal(removed, []string{"0_1"}) || err != nil {
		t.Fatalf("CleanObsolete = %q, %v", removed, err)
	}
	must(t, f.dir.Close())
}

// While a task's folder is being deleted, nobody can lock the task or open its stores; both is a matter of trying again.
func TestCleanKeepsOthersOut(t *testing.T) {
	removing, release := make(chan struct{}), make(chan struct{})
	block := sync.OnceFunc(func() {
		close(removing)
		<-release
	})
	armed := false
	f := newFixture(t, &removingFS{FS: vfs.NewMem(), before: func() {
		if armed {
			block()
		}
	}})
	storeOn(t, f.dir, "0_1")
	armed = true
	done := make(chan error)
	go func() {
		_, err := f.dir.CleanObsolete(0, time.Now().Add(time.Hour))
		done <- err
	}()
	<-removing
	if f.dir.LockTask("0_1", "thread-1") {
		t.Error("locked while being removed")
	}
	for _, o := range kinds {
		if _, err := f.dir.Open("0_1", "counts", o); !errors.Is(err, ErrInUse) {
			t.Errorf("opened while being removed: %v", err)
		}
	}
	if err := f.dir.WipeTask("0_1"); !errors.Is(err, ErrInUse) {
		t.Errorf("wiped while being removed: %v", err)
	}
	close(release)
	must(t, <-done)
	if !f.dir.LockTask("0_1", "thread-1") {
		t.Error("still kept out")
	}
	s := f.open(StoreOptions{})
	wantStats(t, s, StoreStats{Position: -1})
	f.close(s)
}

func TestClean(t *testing.T) {
	path := t.TempDir()
	d := openDisk(t, path, "c1")
	id := d.ProcessID()
	for _, task := range []string{"0_0", "0_1"} {
		storeOn(t, d, task)
	}
	must(t, os.WriteFile(filepath.Join(path, "notes"), nil, 0o600))
	d.LockTask("0_1", "dead thread") // Kafka: locks are ignored, since the application is not running
	s, err := d.OpenStore("0_0", "counts", StoreOptions{})
	must(t, err)
	if err := d.Clean(); err == nil || !strings.Contains(err.Error(), "1 stores are still open") {
		t.Fatalf("Clean with an open store: %v", err)
	}
	must(t, s.Close())
	must(t, d.Clean())
	if got := d.StoredTasks(); len(got) != 0 {
		t.Fatalf("stored tasks %q", got)
	}
	must(t, d.Close())
	d = openDisk(t, path, "c1")
	if d.ProcessID() != id {
		t.Error("the identity is gone")
	}
	if _, err := os.Stat(filepath.Join(path, "notes")); err != nil {
		t.Errorf("a file of somebody else is gone: %v", err)
	}
	must(t, d.Clean())
	must(t, d.Close())
}
