package state

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// storeOn makes a task with one closed store that has content.
func storeOn(t *testing.T, d *Directory, task string) {
	t.Helper()
	s, err := d.OpenStore(task, "counts", StoreOptions{})
	must(t, err)
	put(t, s, "a", "1")
	must(t, s.Commit(1))
	must(t, s.Close())
}

// Kafka: StateDirectoryTest, shouldLockMultipleTaskDirectories, shouldBeTrueIfAlreadyHoldsLock, shouldNotLockStateDirLockedByAnotherThread,
// shouldNotUnLockStateDirLockedByAnotherThread.
func TestTaskLocks(t *testing.T) {
	f := newFixture(t, vfs.NewMem())
	lock := func(task, owner string, want bool) {
		t.Helper()
		if got := f.dir.LockTask(task, owner); got != want {
			t.Fatalf("LockTask(%s, %s) = %v", task, owner, got)
		}
	}
	owner := func(task, want string) {
		t.Helper()
		if got, locked := f.dir.LockedBy(task); got != want || locked != (want != "") {
			t.Fatalf("LockedBy(%s) = %q, %v, want %q", task, got, locked, want)
		}
	}
	owner("0_1", "")
	lock("0_1", "thread-1", true)
	lock("0_2", "thread-1", true)
	lock("0_1", "thread-1", true)
	lock("0_1", "thread-2", false)
	owner("0_1", "thread-1")
	f.dir.UnlockTask("0_1", "thread-2")
	f.dir.UnlockTask("0_7", "thread-2")
	lock("0_1", "thread-2", false)
	f.dir.UnlockTask("0_1", "thread-1")
	owner("0_1", "")
	lock("0_1", "thread-2", true)
	owner("0_2", "thread-1")
	lock("nonsense", "thread-1", false)
	if got, err := f.fs.List("app/i1"); err != nil || slices.Contains(got, "0_1") {
		t.Fatalf("a lock made a folder: %q, %v", got, err)
	}
	must(t, f.dir.Close())
	owner("0_1", "")
	lock("0_3", "thread-1", false)
}

func TestTaskLocksConcurrently(t *testing.T) {
	f := newFixture(t, vfs.NewMem())
	var threads sync.WaitGroup
	var mu sync.Mutex
	holds := map[string]string{}
	for i := range 4 {
		threads.Go(func() {
			me := fmt.Sprint("thread-", i)
			for n := range 2000 {
				task := fmt.Sprint("0_", n%5)
				if f.dir.LockTask(task, me) {
					mu.Lock()
					if other, held := holds[task]; held {
						t.Errorf("%s and %s have task %s", me, other, task)
					}
					holds[task] = me
					mu.Unlock()
					goruntime.Gosched()
					mu.Lock()
					delete(holds, task)
					mu.Unlock()
					f.dir.UnlockTask(task, me)
				}
			}
		})
	}
	threads.Wait()
	must(t, f.dir.Close())
}

// Kafka: StateDirectoryTest.shouldReportDirectoryEmptyWhenOnlyHasCheckpointOrLockFiles and its kin.
func TestTaskEmpty(t *testing.T) {
	mem := vfs.NewMem()
	f := newFixture(t, mem)
	empty := func(want bool) {
		t.Helper()
		got, err := f.dir.TaskEmpty("0_1")
		if err != nil || got != want {
			t.Fatalf("TaskEmpty = %v, %v", got, err)
		}
	}
	empty(true)
	must(t, mem.MkdirAll("app/i1/0_1", 0o750))
	empty(true)
	must(t, f.dir.WriteCheckpoint("0_1", map[TopicPartition]int64{counts: 1}))
	overwrite(t, mem, "app/i1/0_1/.lock", "")
	overwrite(t, mem, "app/i1/0_1/.checkpoint.tmp", "0\n")
	empty(true)
	must(t, mem.MkdirAll("app/i1/0_1/pebble", 0o750))
	empty(true)
	must(t, mem.MkdirAll("app/i1/0_1/pebble/counts", 0o750))
	empty(false)
	must(t, mem.RemoveAll("app/i1/0_1/pebble"))
	empty(true)
	overwrite(t, mem, "app/i1/0_1/file", "")
	empty(false)
	if _, err := f.dir.TaskEmpty("x"); err == nil {
		t.Error("task x was taken")
	}
	must(t, f.dir.Close())
}

func TestWipeTask(t *testing.T) {
	mem := vfs.NewMem()
	f := newFixture(t, mem)
	must(t, f.dir.WipeTask("0_1"))
	storeOn(t, f.dir, "0_1")
	storeOn(t, f.dir, "0_2")
	must(t, f.dir.WriteCheckpoint("0_1", map[TopicPartition]int64{counts: 1}))
	if !f.dir.LockTask("0_1", "thread-1") {
		t.Fatal("not locked")
	}
	s := f.open(StoreOptions{})
	m := f.openMemory("0_1", "other")
	if err := f.dir.WipeTask("0_1"); !errors.Is(err, ErrInUse) {
		t.Fatalf("WipeTask with open stores: %v", err)
	}
	must(t, s.Close())
	if err := f.dir.WipeTask("0_1"); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "other") {
		t.Fatalf("WipeTask with an open store: %v", err)
	}
	must(t, m.Close())
	must(t, f.dir.WipeTask("0_1"))
	if got := f.dir.StoredTasks(); !slices.Equal(got, []string{"0_2"}) {
		t.Fatalf("stored tasks %q", got)
	}
	if _, err := mem.Stat("app/i1/0_1"); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("the folder is still there: %v", err)
	}
	if owner, _ := f.dir.LockedBy("0_1"); owner != "thread-1" {
		t.Fatalf("locked by %q", owner)
	}
	wantCheckpoint(t, f.dir, nil)
	s = f.open(StoreOptions{})
	wantStats(t, s, StoreStats{Position: -1})
	wantAbsent(t, s, "a")
	must(t, s.Close())
	if err := f.dir.WipeTask("x"); err == nil {
		t.Error("task x was taken")
	}
	must(t, f.dir.Close())
	if err := f.dir.WipeTask("0_2"); !errors.Is(err, ErrClosed) {
		t.Fatalf("WipeTask after Close: %v", err)
	}
}

func (f *fixture) openMemory(task, name string) KeyValue {
	f.t.Helper()
	s, err := f.dir.Open(task, name, StoreOptions{InMemory: true})
	must(f.t, err)
	return s
}

// A crash while a task is being wiped never leaves the checkpoint with a part of the stores.
func TestWipeTaskCrash(t *testing.T) {
	rng := randomly(t)
	left := map[string]int{}
	for range 100 {
		mem := vfs.NewCrashableMem()
		var clone *vfs.MemFS
		at := 0
		f := newFixture(t, &removingFS{FS: mem, before: func() {
			if at--; at == 0 {
				clone = mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
			}
		}})
		s := f.open(StoreOptions{Eager: true})
		put(t, s, "a", "1")
		must(t, s.Close())
		must(t, f.dir.WriteCheckpoint("0_1", map[TopicPartition]int64{counts: 1}))
		at = 1 + rng.IntN(8)
		must(t, f.dir.WipeTask("0_1"))
		if clone == nil {
			clone = mem.CrashClone(vfs.CrashCloneCfg{RNG: rng})
		}
		must(t, f.dir.Close())
		f.fs = clone
		f.openDirectory()
		checkpoint, err := f.dir.ReadCheckpoint("0_1")
		must(t, err)
		if s, err := f.tryOpen(StoreOptions{Eager: true}); err == nil {
			_, _, ok, err := s.Get([]byte("a"))
			if len(checkpoint) > 0 && (err != nil || !ok) {
				t.Fatalf("the checkpoint survived, the store did not: %v", err)
			}
			left[fmt.Sprint(len(checkpoint) > 0, ok)]++
			s.Abandon()
		} else if len(checkpoint) > 0 {
			t.Fatalf("the checkpoint survived, the store did not: %v", err)
		}
		must(t, f.dir.Close())
	}
	if len(left) < 2 {
		t.Errorf("%v: the test does not test what it should", left)
	}
}

// removingFS calls before each removal. RemoveAll removes one file after the other, as that of the disk does.
type removingFS struct {
	vfs.FS
	before func()
}

func (r *removingFS) Remove(name string) error {
	r.before()
	return r.FS.Remove(name)
}

func (r *removingFS) RemoveAll(name string) error {
	if names, err := r.List(name); err == nil {
		for _, n := range names {
			if err := r.RemoveAll(r.PathJoin(name, n)); err != nil {
				return err
			}
		}
	}
	r.before()
	return r.FS.RemoveAll(name)
}

func (r *removingFS) Unwrap() vfs.FS { return r.FS }

// Kafka: StateDirectoryTest.shouldHaveSecurePermissions.
func TestTaskPermissions(t *testing.T) {
	if goruntime.GOOS == "windows" {
		t.Skip("the modes are those of POSIX")
	}
	path := filepath.Join(t.TempDir(), "state", "i1")
	d := openDisk(t, path, "")
	storeOn(t, d, "0_1")
	must(t, d.WriteCheckpoint("0_1", map[TopicPartition]int64{counts: 1}))
	for _, elem := range []string{"..", ".", "0_1", "0_1/pebble", "0_1/pebble/counts"} {
		info, err := os.Stat(filepath.Join(path, elem))
		must(t, err)
		if mode := info.Mode().Perm(); mode&^0o750 != 0 || mode&0o700 != 0o700 {
			t.Errorf("mode of %s is %v, want at most rwxr-x---", elem, mode)
		}
	}
	must(t, d.Close())
}
