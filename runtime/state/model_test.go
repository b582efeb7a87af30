package state

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// seedVariable names the environment variable that repeats one random test.
const seedVariable = "EOSTOP_SEED"

// TestAgainstModel drives a store with random operations and compares it with a map after each. A crash takes any part of
// what was not synced; the store must then be what some commit had left, position and content alike.
func TestAgainstModel(t *testing.T) {
	seeds := []uint64{1, 2, 3, uint64(time.Now().UnixNano())}
	if s := os.Getenv(seedVariable); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		must(t, err)
		seeds = []uint64{seed}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			t.Logf("repeat with %s=%d", seedVariable, seed)
			m := newModel(t, seed)
			for m.step = range 1000 {
				m.act()
				m.compare()
			}
			m.f.close(m.s)
			if m.recovered == 0 {
				t.Error("no crash left anything: the test does not test what it should")
			}
		})
	}
}

type model struct {
	t    *testing.T
	rng  *rand.Rand
	mem  *vfs.MemFS
	f    *fixture
	s    *Store
	step int

	committed map[string]string
	changes   map[string]*string // the open transaction; nil deletes
	position  int64
	history   map[int64]map[string]string // what each position stood for
	durable   int64                       // the position of the last flush that was awaited
	recovered int                         // crashes that left something
}

func newModel(t *testing.T, seed uint64) *model {
	t.Helper()
	m := &model{t: t, rng: rand.New(rand.NewPCG(seed, 0)), mem: vfs.NewCrashableMem()}
	m.f = newFixture(t, m.mem)
	m.start()
	m.open()
	return m
}

func (m *model) start() {
	m.committed, m.changes, m.position, m.durable = map[string]string{}, map[string]*string{}, -1, -1
	m.history = map[int64]map[string]string{-1: {}}
}

func (m *model) open() {
	budgets := []int64{-1, 1000, 0}
	m.s = m.f.open(StoreOptions{CleanBytes: budgets[m.rng.IntN(len(budgets))]})
}

func (m *model) key() string {
	if m.rng.IntN(50) == 0 {
		return ""
	}
	return fmt.Sprintf("key-%03d", m.rng.IntN(300))
}

// value returns nil in one of five cases. Some values are large, so that memtables fill up.
func (m *model) value() *string {
	if m.rng.IntN(5) == 0 {
		return nil
	}
	v := fmt.Sprintf("%d-%0*d", m.step, m.rng.IntN(2)*m.rng.IntN(4000), 0)
	return &v
}

func raw(v *string) []byte {
	if v == nil {
		return nil
	}
	return []byte(*v)
}

func apply(to map[string]string, key string, v *string) {
	if v == nil {
		delete(to, key)
		return
	}
	to[key] = *v
}

func (m *model) act() {
	switch n := m.rng.IntN(100); {
	case n < 40:
		m.write(1 + m.rng.IntN(20))
	case n < 60:
		m.position = max(m.position, 0) + 1 + int64(m.rng.IntN(50))
		for key, v := range m.changes {
			apply(m.committed, key, v)
		}
		clear(m.changes)
		must(m.t, m.s.Commit(m.position))
		m.history[m.position] = maps.Clone(m.committed)
	case n < 68:
		clear(m.changes)
		m.s.Abort()
	case n < 78:
		m.restore()
	case n < 82:
		must(m.t, m.s.Close())
		clear(m.changes)
		m.durable = m.position
		m.open()
	case n < 84:
		must(m.t, m.s.Wipe())
		m.start()
	case n < 92:
		m.crash()
	default:
		m.readSome()
	}
}

func (m *model) write(n int) {
	for range n {
		key, v := m.key(), m.value()
		if m.rng.IntN(2) == 0 { // as an aggregate does
			_, _, _, err := m.s.Get([]byte(key))
			must(m.t, err)
		}
		m.changes[key] = v
		must(m.t, m.s.Put([]byte(key), raw(v), int64(m.step)))
	}
}

func (m *model) restore() {
	if len(m.changes) > 0 {
		return
	}
	var batch []Entry
	for range 1 + m.rng.IntN(30) {
		key, v := m.key(), m.value()
		batch = append(batch, Entry{Key: []byte(key), Value: raw(v), Timestamp: int64(m.step)})
		apply(m.committed, key, v)
	}
	m.position = max(m.position, 0) + int64(len(batch))
	must(m.t, m.s.Restore(batch, m.position))
	m.history[m.position] = maps.Clone(m.committed)
}

// crash goes on with what a power failure at this moment may leave on disk.
func (m *model) crash() {
	clone := m.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: m.rng.IntN(3) * 50, RNG: m.rng})
	must(m.t, m.s.Close())
	must(m.t, m.f.dir.Close())
	m.mem, m.f.fs = clone, clone
	m.f.openDirectory()
	m.open()
	position := m.s.Position()
	content, ok := m.history[position]
	if !ok || position < m.durable {
		m.t.Fatalf("step %d: after the crash the position is %d: was committed: %v, flushed before: %d", m.step, position, ok, m.durable)
	}
	if position >= 0 {
		m.recovered++
	}
	m.committed, m.position, m.durable = maps.Clone(content), position, position
	maps.DeleteFunc(m.history, func(p int64, _ map[string]string) bool { return p > position })
	clear(m.changes)
	wantDigest(m.t, m.s, m.committed)
}

func (m *model) readSome() {
	view := maps.Clone(m.committed)
	for key, v := range m.changes {
		apply(view, key, v)
	}
	for range 20 {
		key := m.key()
		got, _, ok, err := m.s.Get([]byte(key))
		must(m.t, err)
		if want, has := view[key]; ok != has || string(got) != want {
			m.t.Fatalf("step %d: Get(%q) = %.20q, %v, want %.20q, %v", m.step, key, got, ok, want, has)
		}
	}
	if got := content(m.t, m.s, m.rng.IntN(40)); !maps.Equal(got, view) {
		m.t.Fatalf("step %d: Scan found %d entries, want %d", m.step, len(got), len(view))
	}
	wantDigest(m.t, m.s, m.committed)
}

func (m *model) compare() {
	size := 0
	for key, v := range m.committed {
		size += len(key) + len(v)
	}
	if got, want := m.s.Stats(), (StoreStats{Entries: int64(len(m.committed)), Bytes: int64(size), Position: m.position}); got != want {
		m.t.Fatalf("step %d: Stats() = %+v, want %+v", m.step, got, want)
	}
	if m.s.Dirty() != len(m.changes) {
		m.t.Fatalf("step %d: Dirty() = %d, want %d", m.step, m.s.Dirty(), len(m.changes))
	}
}
