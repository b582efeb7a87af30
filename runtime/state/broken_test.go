package state

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

var errDisk = errors.New("disk on fire")

// faultyFS fails the operations that match once it is switched on.
type faultyFS struct {
	on    atomic.Bool
	count atomic.Int64 // failed operations
	match func(errorfs.Op) error
}

func (f *faultyFS) String() string { return "faulty" }

func (f *faultyFS) MaybeError(op errorfs.Op) error {
	if !f.on.Load() {
		return nil
	}
	err := f.match(op)
	if err != nil {
		f.count.Add(1)
	}
	return err
}

func failing(part string, err error, kinds ...errorfs.OpKind) func(errorfs.Op) error {
	return func(op errorfs.Op) error {
		if slices.Contains(kinds, op.Kind) && strings.Contains(op.Path, part) {
			return err
		}
		return nil
	}
}

// writeUntilBroken commits until the store refuses.
func writeUntilBroken(t *testing.T, s *Store) error {
	t.Helper()
	value := make([]byte, 1000)
	for i := range 100_000 {
		err := s.Put(fmt.Appendf(nil, "key-%d", i%1000), value, 7)
		if err == nil && i%10 == 9 {
			err = s.Commit(int64(100 + i))
		}
		if err != nil {
			return err
		}
	}
	t.Fatal("the store does not break")
	return nil
}

// Whatever part of the disk fails, the process lives, every call says that the store is broken, giving the store up takes no time and
// leaks no goroutine (the bubble would notice), and the store begins again in a fresh folder.
func TestDiskFailures(t *testing.T) {
	failures := map[string]func(errorfs.Op) error{
		"create table":   failing(".sst", errDisk, errorfs.OpCreate),
		"write table":    failing(".sst", errDisk, errorfs.OpFileWrite),
		"sync table":     failing(".sst", errDisk, errorfs.OpFileSync, errorfs.OpFileSyncData),
		"no space":       failing(".sst", syscall.ENOSPC, errorfs.OpFileWrite),
		"write manifest": failing("MANIFEST", errDisk, errorfs.OpFileWrite), // these two are fatal to Pebble
		"sync manifest":  failing("MANIFEST", errDisk, errorfs.OpFileSync, errorfs.OpFileSyncData),
	}
	ends := map[string]func(*testing.T, *Store){
		"close": func(t *testing.T, s *Store) {
			t.Helper()
			if err := s.Close(); !errors.Is(err, ErrBroken) {
				t.Errorf("Close: %v, want ErrBroken", err)
			}
		},
		"abandon": func(_ *testing.T, s *Store) { s.Abandon() },
		"wipe": func(t *testing.T, s *Store) {
			t.Helper()
			must(t, s.Wipe())
			wantStats(t, s, StoreStats{Position: -1})
			put(t, s, "a", "2")
			must(t, s.Commit(1))
			wantValue(t, s, "a", "2")
			must(t, s.Wipe())
			must(t, s.Close())
		},
	}
	for failure, match := range failures {
		for end, giveUp := range ends {
			t.Run(failure+"/"+end, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					faulty := &faultyFS{match: match}
					f := newFixture(t, errorfs.Wrap(vfs.NewMem(), faulty))
					s := f.open(StoreOptions{})
					put(t, s, "a", "1")
					must(t, s.Commit(1))
					faulty.on.Store(true)
					err := writeUntilBroken(t, s)
					if !errors.Is(err, ErrBroken) || !errors.Is(err, errDisk) && !errors.Is(err, syscall.ENOSPC) {
						t.Fatalf("%v: want ErrBroken with its cause", err)
					}
					wantBroken(t, s)
					synctest.Wait()
					if n := faulty.count.Load(); n > 20 {
						t.Errorf("%d operations failed: nothing holds the repetitions back", n)
					}
					faulty.on.Store(false)
					giveUp(t, s)
					s = f.open(StoreOptions{})
					wantStats(t, s, StoreStats{Position: -1})
					wantAbsent(t, s, "a")
					f.close(s)
				})
			})
		}
	}
}

func wantBroken(t *testing.T, s *Store) {
	t.Helper()
	_, _, _, get := s.Get([]byte("a"))
	_, _, scan := s.Scan(nil, 0, func(_, _ []byte, _ int64) error { return nil })
	_, _, digest := s.Digest()
	for name, err := range map[string]error{
		"Get": get, "Scan": scan, "Digest": digest, "Err": s.Err(), "Put": s.Put([]byte("a"), nil, 0),
		"Commit": s.Commit(1000), "Restore": s.Restore(nil, 1000),
	} {
		if !errors.Is(err, ErrBroken) {
			t.Errorf("%s of a broken store: %v, want ErrBroken", name, err)
		}
	}
	s.Abort()
}

// A failed read breaks the store as well: there is no telling what else is gone.
func TestReadFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		faulty := &faultyFS{match: failing(".sst", errDisk, errorfs.OpFileReadAt)}
		f := newFixture(t, errorfs.Wrap(vfs.NewMem(), faulty))
		s := f.open(StoreOptions{})
		put(t, s, "a", "1")
		must(t, s.Commit(1))
		must(t, s.Close())
		f.cache.Close()
		f.cache = NewCache(0)
		s = f.open(StoreOptions{})
		faulty.on.Store(true)
		_, _, _, err := s.Get([]byte("a"))
		if !errors.Is(err, ErrBroken) || !errors.Is(err, errDisk) {
			t.Fatalf("Get: %v", err)
		}
		wantBroken(t, s)
		faulty.on.Store(false)
		s.Abandon()
		must(t, f.dir.Close())
	})
}

// A store whose files were damaged says so once, and begins afresh then.
func TestDamagedFiles(t *testing.T) {
	for _, part := range []string{"MANIFEST-", ".sst"} {
		t.Run(part, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem := vfs.NewMem()
				f := newFixture(t, mem)
				s := f.open(StoreOptions{})
				for i := range 100 {
					put(t, s, fmt.Sprint(i), "1")
				}
				must(t, s.Commit(1))
				must(t, s.Close())
				damage(t, mem, part)
				s, err := f.dir.OpenStore("0_1", "counts", StoreOptions{Cache: f.cache})
				if err == nil { // found when it is read
					_, _, _, err = s.Get([]byte("1"))
					s.Abandon()
				}
				if !errors.Is(err, ErrBroken) {
					t.Fatalf("damaged %s: %v, want ErrBroken", part, err)
				}
				s = f.open(StoreOptions{})
				wantStats(t, s, StoreStats{Position: -1})
				f.close(s)
			})
		})
	}
}

func damage(t *testing.T, mem *vfs.MemFS, part string) {
	t.Helper()
	folder := "app/i1/0_1/pebble/counts"
	names, err := mem.List(folder)
	must(t, err)
	damaged := 0
	for _, name := range names {
		if !strings.Contains(name, part) || strings.HasPrefix(name, "marker") {
			continue
		}
		path := mem.PathJoin(folder, name)
		r, err := mem.Open(path)
		must(t, err)
		data, err := io.ReadAll(r)
		must(t, err)
		must(t, r.Close())
		for i := range data {
			data[i] ^= 0xff
		}
		w, err := mem.Create(path, vfs.WriteCategoryUnspecified)
		must(t, err)
		_, err = w.Write(data)
		must(t, err)
		must(t, w.Close())
		damaged++
	}
	if damaged == 0 {
		t.Fatalf("no file %s among %q", part, names)
	}
}

// hangingFS is a disk that does not answer writes of tables any more.
type hangingFS struct {
	vfs.FS
	hang chan struct{}
}

func (h hangingFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasSuffix(name, ".sst") {
		<-h.hang
	}
	return h.FS.Create(name, category)
}

// Giving a store up does not wait for a disk that hangs, nor does closing it once it is broken.
func TestHangingFlush(t *testing.T) {
	for _, end := range []string{"abandon", "broken, abandon", "broken, close", "broken while closing", "broken, wipe"} {
		t.Run(end, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fs := hangingFS{vfs.NewMem(), make(chan struct{})}
				f := newFixture(t, fs)
				s := f.open(StoreOptions{})
				put(t, s, "a", "1")
				must(t, s.Commit(1))
				must(t, s.engine.Load().startFlush())
				synctest.Wait()
				broken := strings.HasPrefix(end, "broken,")
				if broken {
					s.engine.Load().fuse.blow(errDisk)
				}
				switch end {
				case "abandon", "broken, abandon":
					s.Abandon()
				case "broken, close":
					if err := s.Close(); !errors.Is(err, ErrBroken) {
						t.Errorf("Close: %v", err)
					}
				case "broken while closing":
					go func() {
						synctest.Wait()
						s.engine.Load().fuse.blow(errDisk)
					}()
					if err := s.Close(); !errors.Is(err, ErrBroken) {
						t.Errorf("Close: %v", err)
					}
				case "broken, wipe":
					must(t, s.Wipe())
					wantStats(t, s, StoreStats{Position: -1})
					s.Abandon()
				}
				s = f.open(StoreOptions{})
				wantStats(t, s, StoreStats{Position: -1})
				close(fs.hang)
				f.close(s)
			})
		})
	}
}

// An abandoned database that is slow to end does nothing to a store that was opened in its folder after a restart of the directory.
func TestAbandonedOutlivesDirectory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := hangingFS{vfs.NewMem(), make(chan struct{})}
		f := newFixture(t, fs)
		s := f.open(StoreOptions{})
		put(t, s, "a", "1")
		must(t, s.Commit(1))
		must(t, s.engine.Load().startFlush())
		synctest.Wait()
		s.Abandon()
		must(t, f.dir.Close())
		mem := hangingFS{fs.FS, make(chan struct{})}
		close(mem.hang)
		f.fs = mem
		f.openDirectory()
		s = f.open(StoreOptions{})
		wantStats(t, s, StoreStats{Position: -1}) // nothing was flushed
		put(t, s, "b", "1")
		must(t, s.Commit(2))
		must(t, s.Flush())
		close(fs.hang)
		synctest.Wait()
		must(t, s.Close())
		s = f.open(StoreOptions{})
		wantValue(t, s, "b", "1")
		f.close(s)
	})
}

// What Fatalf does depends on who calls it.
func TestFatalf(t *testing.T) {
	t.Run("with an error it returns, as Pebble does then", func(t *testing.T) {
		f := newFuse()
		err := f.guard("write", func() error {
			f.Fatalf("MANIFEST flush failed: %v", errDisk)
			return nil
		})
		if !errors.Is(err, ErrBroken) || !strings.Contains(err.Error(), errDisk.Error()) {
			t.Fatalf("%v", err)
		}
	})
	t.Run("below a call of ours it ends the call", func(t *testing.T) {
		f := newFuse()
		returned := false
		err := f.guard("read", func() error {
			var logger pebble.Logger = f
			logger.Fatalf("lower bound violation: %s", "a")
			returned = true
			return nil
		})
		if returned || !errors.Is(err, ErrBroken) || !strings.Contains(err.Error(), "lower bound violation: a") {
			t.Fatalf("%v, returned: %v", err, returned)
		}
	})
	t.Run("in a goroutine of Pebble's it ends the goroutine", func(t *testing.T) {
		f := newFuse()
		done := make(chan bool, 1)
		go func() {
			returned := false
			defer func() { done <- returned }()
			var logger pebble.Logger = f
			logger.Fatalf("L%d: already being compacted", 1)
			returned = true
		}()
		if <-done {
			t.Fatal("Fatalf returned")
		}
		if err := f.err(); !errors.Is(err, ErrBroken) {
			t.Fatalf("%v", err)
		}
	})
	t.Run("a panic in Pebble breaks the store only", func(t *testing.T) {
		f := newFuse()
		err := f.guard("write", func() error { panic("batch too large") })
		if !errors.Is(err, ErrBroken) || !strings.Contains(err.Error(), "batch too large") {
			t.Fatalf("%v", err)
		}
	})
}
