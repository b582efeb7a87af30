package state

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// For 10 s one of five writes to the disk fails, then no more. Each time the store breaks it is given up, begins again in a fresh folder and is restored;
// nothing that it ever held before comes back, not even after a restart.
func TestFailingWrites(t *testing.T) {
	for _, eager := range []bool{false, true} {
		t.Run(fmt.Sprint("eager=", eager), func(t *testing.T) {
			rng := randomly(t)
			synctest.Test(t, func(t *testing.T) {
				l := &life{t: t, rng: rng, eager: eager, model: map[string]string{}}
				l.faulty = &faultyFS{match: l.fail}
				l.f = newFixture(t, errorfs.Wrap(vfs.NewMem(), l.faulty))
				l.open()
				l.faulty.on.Store(true)
				l.until = time.Now().Add(10 * time.Second)
				for time.Since(l.until) < 2*time.Second {
					l.work()
					time.Sleep(20 * time.Millisecond)
				}
				if l.broken < 3 || l.refused < 3 {
					t.Errorf("broke %d times, %d openings failed: the test does not test what it should", l.broken, l.refused)
				}
				t.Logf("broke %d times, %d openings failed", l.broken, l.refused)
				wantDigest(t, l.s, l.model)
				must(t, l.s.Flush())
				l.f.close(l.s)
				l.f.openDirectory()
				l.s = l.f.open(StoreOptions{Eager: eager})
				wantDigest(t, l.s, l.model)
				l.f.close(l.s)
			})
		})
	}
}

// life is a store on a failing disk, and what it should hold.
type life struct {
	t       *testing.T
	rng     *rand.Rand
	mu      sync.Mutex // guards what fail draws from
	eager   bool
	faulty  *faultyFS
	f       *fixture
	s       *Store
	model   map[string]string
	until   time.Time // when the disk works again
	n       int64     // writes, and the position
	broken  int
	refused int
}

func (l *life) fail(op errorfs.Op) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if op.Kind == errorfs.OpFileWrite && time.Now().Before(l.until) && l.rng.IntN(5) == 0 {
		return errDisk
	}
	return nil
}

// open tries until it works. What it opens then must be empty, and becomes what it should be.
func (l *life) open() {
	for {
		s, err := l.f.tryOpen(StoreOptions{Eager: l.eager})
		if err == nil {
			l.s = s.(*Store)
			wantStats(l.t, s, StoreStats{Position: -1})
			if found := content(l.t, s, 0); len(found) > 0 {
				l.t.Fatalf("%d entries are back", len(found))
			}
			if l.restore() == nil {
				return
			}
			l.giveUp()
			continue
		}
		l.refused++
		time.Sleep(10 * time.Millisecond)
	}
}

func (l *life) restore() error {
	var batch []Entry
	for key, value := range l.model {
		batch = append(batch, Entry{Key: []byte(key), Value: []byte(value)})
	}
	return l.s.Restore(batch, l.n)
}

// work is a transaction, after which the store may be broken.
func (l *life) work() {
	changes := map[string]string{}
	var err error
	for range 20 {
		if err != nil {
			break
		}
		l.n++
		key, value := fmt.Sprint(l.rngKey()), fmt.Sprintf("%d-%s", l.n, strings.Repeat("v", 1000))
		changes[key] = value
		err = l.s.Put([]byte(key), []byte(value), l.n)
	}
	if err == nil {
		err = l.s.Commit(l.n)
	}
	if err == nil && l.n%7 == 0 {
		err = l.s.Flush()
	}
	maps.Copy(l.model, changes) // the changelog has them
	if err == nil {
		return
	}
	if !errors.Is(err, ErrBroken) || !errors.Is(err, errDisk) {
		l.t.Fatalf("%v: want ErrBroken with its cause", err)
	}
	l.broken++
	l.giveUp()
	l.open()
}

func (l *life) rngKey() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rng.IntN(100)
}

func (l *life) giveUp() {
	if l.n%2 == 0 {
		l.s.Abandon()
		return
	}
	if err := l.s.Close(); !errors.Is(err, ErrBroken) {
		l.t.Fatalf("Close: %v", err)
	}
}

// One bit of any file of a closed store is turned over. The store says that it is damaged, or it is one that was committed once,
// position and content alike. An eager store, whose position is kept elsewhere, has to be what it was when it was closed.
func TestBitFlips(t *testing.T) {
	for _, eager := range []bool{false, true} {
		t.Run(fmt.Sprint("eager=", eager), func(t *testing.T) {
			rng := randomly(t)
			mem := vfs.NewCrashableMem()
			f := newFixture(t, mem)
			history := map[int64]map[string]string{-1: {}}
			model := map[string]string{}
			s := f.open(StoreOptions{Eager: eager})
			for i := range 40 {
				for range 20 {
					key, value := fmt.Sprint(rng.IntN(200)), strings.Repeat(fmt.Sprint(i), 1+rng.IntN(300))
					model[key] = value
					put(t, s, key, value)
				}
				must(t, s.Commit(int64(i)))
				history[int64(i)] = maps.Clone(model)
				if i%8 == 0 {
					must(t, s.Flush())
				}
				if i%20 == 0 {
					must(t, s.Close())
					s = f.open(StoreOptions{Eager: eager})
				}
			}
			f.close(s)
			if eager {
				history = map[int64]map[string]string{-1: model}
			}
			found, harmless := flipEach(t, rng, mem, StoreOptions{Eager: eager}, history)
			t.Logf("found %v, harmless %v", found, harmless)
			if found[".sst"] == 0 || found["MANIFEST"] == 0 || eager && found[sealFile] == 0 {
				t.Errorf("found %v: the test does not test what it should", found)
			}
		})
	}
}

// flipEach turns single bits of each file over, and counts by the kind of file what was found and what did no harm.
func flipEach(t *testing.T, rng *rand.Rand, mem *vfs.MemFS, o StoreOptions, history map[int64]map[string]string) (found, harmless map[string]int) {
	t.Helper()
	const folder = "app/i1/0_1/pebble/counts"
	names, err := mem.List(folder)
	must(t, err)
	found, harmless = map[string]int{}, map[string]int{}
	for _, name := range names {
		kind := strings.TrimLeft(name, "0123456789")
		if i := strings.Index(kind, "-"); i > 0 {
			kind = kind[:i]
		}
		for range 20 {
			clone := mem.CrashClone(vfs.CrashCloneCfg{})
			if !flip(t, rng, clone, clone.PathJoin(folder, name)) {
				continue
			}
			if detected(t, clone, o, history) {
				found[kind]++
			} else {
				harmless[kind]++
			}
		}
	}
	return found, harmless
}

// flip turns one bit of a file over. It returns false for an empty file.
func flip(t *testing.T, rng *rand.Rand, fs vfs.FS, path string) bool {
	t.Helper()
	r, err := fs.Open(path)
	must(t, err)
	data, err := io.ReadAll(r)
	must(t, err)
	must(t, r.Close())
	if len(data) == 0 {
		return false
	}
	data[rng.IntN(len(data))] ^= 1 << rng.IntN(8)
	overwrite(t, fs, path, string(data))
	return true
}

// detected tells whether a store is found to be damaged. If not, it has to be in the history.
func detected(t *testing.T, fs vfs.FS, o StoreOptions, history map[int64]map[string]string) bool {
	t.Helper()
	f := newFixture(t, fs)
	defer func() { must(t, f.dir.Close()) }()
	s, err := f.tryOpen(o)
	if err == nil {
		defer s.Abandon()
		_, _, err = s.Digest()
	}
	if err != nil {
		if !errors.Is(err, ErrBroken) {
			t.Fatalf("%v: want ErrBroken", err)
		}
		return true
	}
	want, ok := history[s.Position()]
	if !ok {
		t.Fatalf("position %d was never committed", s.Position())
	}
	wantDigest(t, s, want)
	return false
}
