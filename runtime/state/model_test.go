package state

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// seedVariable names the environment variable that repeats one random test.
const seedVariable = "EOSTOP_SEED"

// seeds are those that every run has, and one of its own.
func seeds(t *testing.T) []uint64 {
	t.Helper()
	if s := os.Getenv(seedVariable); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		must(t, err)
		return []uint64{seed}
	}
	return []uint64{1, 2, 3, uint64(time.Now().UnixNano())}
}

// randomly returns a source of random numbers, and says how to repeat them.
func randomly(t *testing.T) *rand.Rand {
	t.Helper()
	all := seeds(t)
	seed := all[len(all)-1]
	t.Logf("repeat with %s=%d", seedVariable, seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// kinds are the kinds of stores.
var kinds = map[string]StoreOptions{
	"transactional":         {},
	"eager":                 {Eager: true},
	"transactional, memory": {InMemory: true},
	"eager, memory":         {InMemory: true, Eager: true},
}

// TestAgainstModel drives a store with random operations and compares it with a map after each. A crash takes any part of
// what was not synced; the store must then be what some commit had left, position and content alike. An eager store must be what some
// write had left, and one in memory empty.
func TestAgainstModel(t *testing.T) {
	for kind, options := range kinds {
		for _, seed := range seeds(t) {
			t.Run(fmt.Sprintf("%s/%d", kind, seed), func(t *testing.T) {
				t.Parallel()
				t.Logf("repeat with %s=%d", seedVariable, seed)
				m := newModel(t, options, seed)
				for m.step = range 1000 {
					m.act()
					m.compare()
				}
				m.f.close(m.s)
				if m.recovered == 0 && !options.InMemory {
					t.Error("no crash left anything: the test does not test what it should")
				}
			})
		}
	}
}

type model struct {
	t       *testing.T
	options StoreOptions
	rng     *rand.Rand
	mem     *vfs.MemFS
	f       *fixture
	s       KeyValue
	step    int

	committed map[string]string
	changes   map[string]*string // the open transaction; nil deletes
	position  int64
	history   map[int64]map[string]string // what each position stood for
	durable   int64                       // the position of the last flush that was awaited
	recovered int                         // crashes that left something

	// Of an eager store:
	flushed map[string]string // what the last flush that was awaited left
	written [][]Entry         // since then, each at once
}

func newModel(t *testing.T, options StoreOptions, seed uint64) *model {
	t.Helper()
	m := &model{t: t, options: options, rng: rand.New(rand.NewPCG(seed, 0)), mem: vfs.NewCrashableMem()}
	m.f = newFixture(t, m.mem)
	m.start()
	m.open()
	return m
}

func (m *model) start() {
	m.committed, m.changes, m.position, m.durable = map[string]string{}, map[string]*string{}, -1, -1
	m.history = map[int64]map[string]string{-1: {}}
	m.flushed, m.written = map[string]string{}, nil
}

func (m *model) open() {
	budgets := []int64{-1, 1000, 0}
	o := m.options
	o.CleanBytes = budgets[m.rng.IntN(len(budgets))]
	m.s = m.f.openKind(o)
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
	case n < 58:
		m.commit()
	case n < 66:
		clear(m.changes)
		m.s.Abort()
	case n < 76:
		m.restore()
	case n < 78:
		must(m.t, m.s.Flush())
		m.nowDurable()
	case n < 82:
		m.reopen()
	case n < 84:
		must(m.t, m.s.Wipe())
		m.start()
	case n < 92:
		m.crash()
	default:
		m.readSome()
	}
}

func (m *model) commit() {
	m.position = max(m.position, 0) + 1 + int64(m.rng.IntN(50))
	for key, v := range m.changes {
		apply(m.committed, key, v)
	}
	clear(m.changes)
	must(m.t, m.s.Commit(m.position))
	m.history[m.position] = maps.Clone(m.committed)
}

func (m *model) nowDurable() {
	m.durable = m.position
	m.flushed, m.written = maps.Clone(m.committed), nil
}

func (m *model) reopen() {
	must(m.t, m.s.Close())
	clear(m.changes)
	m.nowDurable()
	m.open()
	if m.options.InMemory {
		m.start()
	}
	if m.options.Eager {
		m.position = -1
	}
}

// change is what each write does to the content.
func (m *model) change(key string, v *string) {
	if !m.options.Eager {
		m.changes[key] = v
		return
	}
	apply(m.committed, key, v)
	m.written = append(m.written, []Entry{{Key: []byte(key), Value: raw(v)}})
}

func (m *model) write(n int) {
	for range n {
		key, v := m.key(), m.value()
		if m.rng.IntN(2) == 0 { // as an aggregate does
			_, _, _, err := m.s.Get([]byte(key))
			must(m.t, err)
		}
		m.change(key, v)
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
	m.written = append(m.written, batch)
}

// crash goes on with what a power failure at this moment may leave on disk.
func (m *model) crash() {
	clone := m.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: m.rng.IntN(3) * 50, RNG: m.rng})
	must(m.t, m.s.Close())
	must(m.t, m.f.dir.Close())
	m.mem, m.f.fs = clone, clone
	m.f.openDirectory()
	m.open()
	switch {
	case m.options.InMemory:
		m.start()
		wantDigest(m.t, m.s, nil)
		return
	case m.options.Eager:
		m.survivors()
	default:
		m.committedPrefix()
	}
	clear(m.changes)
	wantDigest(m.t, m.s, m.committed)
}

// committedPrefix takes over what a transactional store is after a crash.
func (m *model) committedPrefix() {
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
}

// survivors takes over what an eager store is after a crash: the state after any of the writes since the last flush, aborted or not.
func (m *model) survivors() {
	found := content(m.t, m.s, 0)
	at := maps.Clone(m.flushed)
	ok := maps.Equal(at, found)
	for _, batch := range m.written {
		for _, e := range batch {
			v := string(e.Value)
			if apply(at, string(e.Key), &v); e.Value == nil {
				delete(at, string(e.Key))
			}
		}
		ok = ok || maps.Equal(at, found)
	}
	if !ok {
		m.t.Fatalf("step %d: after the crash there are %d entries, which no prefix of the %d writes explains", m.step, len(found), len(m.written))
	}
	if len(found) > 0 {
		m.recovered++
	}
	m.start()
	m.committed, m.flushed = found, maps.Clone(found)
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
	wantRange(m.t, m.s, view, randomBounds(m.rng, m.key))
	wantDigest(m.t, m.s, m.committed)
}

// wantRange compares both directions of a range.
func wantRange(t *testing.T, s KeyValue, view map[string]string, b bounds) {
	t.Helper()
	var want, up, down []string
	for _, key := range slices.Sorted(maps.Keys(view)) {
		if b.contain(key) {
			want = append(want, key+"="+view[key])
		}
	}
	must(t, s.Range(b.lower, b.upper, func(key, value []byte, _ int64) bool {
		up = append(up, string(key)+"="+string(value))
		return true
	}))
	must(t, s.ReverseRange(b.lower, b.upper, func(key, value []byte, _ int64) bool {
		down = append(down, string(key)+"="+string(value))
		return true
	}))
	slices.Reverse(down)
	if !slices.Equal(up, want) || !slices.Equal(down, want) {
		t.Fatalf("between %q and %q: %d entries up, %d down, want %d", b.lower, b.upper, len(up), len(down), len(want))
	}
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
