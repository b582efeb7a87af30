package state

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

var errRefused = errors.New("refused")

// TestCacheAgainstModel drives two record caches of one thread, each in front of a store, with random operations: what is put into the first
// arrives, by its listener, in the second. Cache and store together are a map; entries are passed on in the order that the model says; a listener that
// fails loses nothing.
func TestCacheAgainstModel(t *testing.T) {
	for kind, options := range kinds {
		for _, order := range []FlushOrder{FirstDirty, LastWritten} {
			for _, seed := range seeds(t) {
				t.Run(fmt.Sprintf("%s/%d/%d", kind, order, seed), func(t *testing.T) {
					t.Parallel()
					t.Logf("repeat with %s=%d", seedVariable, seed)
					m := newCacheModel(t, options, order, seed)
					for m.step = range 1500 {
						m.act()
						m.compare()
					}
					if m.evictions == 0 || m.failures == 0 {
						t.Errorf("%d evictions, %d failures: the test does not test what it should", m.evictions, m.failures)
					}
					for _, l := range m.layers {
						must(t, l.store.Close())
					}
					must(t, m.f.dir.Close())
				})
			}
		}
	}
}

type cacheModel struct {
	t         *testing.T
	rng       *rand.Rand
	f         *fixture
	order     FlushOrder
	thread    *ThreadCache
	layers    [2]*layer
	step      int
	flushing  bool // by Flush, not by an eviction
	failing   bool
	evictions int
	failures  int
}

// layer is a store with its cache, and what both should be.
type layer struct {
	m         *cacheModel
	store     KeyValue
	cache     *RecordCache
	below     *layer
	view      map[string]string
	committed map[string]string
	order     []string       // of the dirty keys
	uses      map[string]int // when each key was used
	clock     int
	passed    int // in the current flush
}

func newCacheModel(t *testing.T, options StoreOptions, order FlushOrder, seed uint64) *cacheModel {
	t.Helper()
	m := &cacheModel{
		t: t, rng: rand.New(rand.NewPCG(seed, 0)), f: newFixture(t, vfs.NewMem()), order: order,
		thread: NewThreadCache(entriesOf(20), order),
	}
	options.Cache, options.MemtableBytes = m.f.cache, minMemtableBytes
	for i := range m.layers {
		name := fmt.Sprint("store-", i)
		s, err := m.f.dir.Open("0_1", name, options)
		must(t, err)
		l := &layer{m: m, store: s, cache: m.thread.Open("0_1", name), view: map[string]string{}, committed: map[string]string{}, uses: map[string]int{}}
		l.cache.OnFlush(l.take)
		m.layers[i] = l
	}
	m.layers[0].below = m.layers[1]
	return m
}

func (l *layer) use(key string) {
	l.clock++
	l.uses[key] = l.clock
}

// take is the listener: it writes to the store and to the layer below.
func (l *layer) take(key, value []byte, timestamp int64, context any) error {
	m := l.m
	k := string(key)
	first := l.passed == 0
	l.passed++
	at := slices.Index(l.order, k)
	switch {
	case at < 0:
		m.t.Fatalf("step %d: %q is passed on and is not dirty", m.step, k)
	case at > 0 && (m.flushing || !first):
		m.t.Fatalf("step %d: %q is passed on before %q", m.step, k, l.order[0])
	case !m.flushing && first:
		m.evictions++
		for other := range l.cache.entries {
			if l.uses[other] < l.uses[k] {
				m.t.Fatalf("step %d: %q is evicted, but %q was not used for longer", m.step, k, other)
			}
		}
	}
	if context != l.view[k] && value != nil {
		m.t.Fatalf("step %d: %q has the context %v, want %q", m.step, k, context, l.view[k])
	}
	if m.failing && m.rng.IntN(4) == 0 {
		l.order = slices.Insert(slices.Delete(l.order, at, at+1), 0, k) // it goes first the next time
		m.failures++
		return errRefused
	}
	must(m.t, l.store.Put(key, value, timestamp))
	l.order = slices.Delete(l.order, at, at+1)
	if l.below == nil {
		return nil
	}
	flushing := m.flushing
	m.flushing = false
	defer func() { m.flushing = flushing }()
	err := l.below.put(k, value)
	if err != nil {
		l.order = slices.Insert(l.order, 0, k)
	}
	return err
}

func (l *layer) put(key string, value []byte) error {
	l.use(key)
	if value == nil {
		delete(l.view, key)
	} else {
		l.view[key] = string(value)
	}
	if at := slices.Index(l.order, key); at < 0 || l.m.order == LastWritten {
		l.order = append(slices.DeleteFunc(l.order, func(k string) bool { return k == key }), key)
	}
	l.passed = 0
	return l.cache.Put([]byte(key), value, int64(l.m.step), string(value))
}

// get reads as a caching store does.
func (l *layer) get(key string) (string, bool) {
	if value, _, ok := l.cache.Get([]byte(key)); ok {
		l.use(key)
		return string(value), value != nil
	}
	value, ts, ok, err := l.store.Get([]byte(key))
	must(l.m.t, err)
	if ok {
		l.use(key)
		l.cache.Fill([]byte(key), value, ts)
	}
	return string(value), ok
}

func (m *cacheModel) act() {
	l := m.layers[m.rng.IntN(2)]
	key := fmt.Sprint(m.rng.IntN(40))
	switch n := m.rng.IntN(100); {
	case n < 50:
		var value []byte
		if m.rng.IntN(5) > 0 {
			value = fmt.Appendf(nil, "%d", m.step)
		}
		m.failing = m.rng.IntN(10) == 0
		if err := m.layers[0].put(key, value); err != nil && !errors.Is(err, errRefused) {
			m.t.Fatal(err)
		}
		m.failing = false
	case n < 75:
		value, ok := l.get(key)
		if want, has := l.view[key]; ok != has || value != want {
			m.t.Fatalf("step %d: %q is %q, %v, want %q, %v", m.step, key, value, ok, want, has)
		}
	case n < 85:
		m.scan(l)
	case n < 92:
		m.commit()
	case n < 95:
		m.abort()
	default:
		m.thread.Resize(entriesOf(int64(m.rng.IntN(50))))
		m.failing = m.rng.IntN(2) == 0
		for _, l := range m.layers {
			l.passed = 0
		}
		m.trim()
		m.failing = false
	}
}

// trim evicts one entry after the other, so that the model can tell which flush an entry belongs to.
func (m *cacheModel) trim() {
	for m.thread.over() {
		for _, l := range m.layers {
			l.passed = 0
			if err := l.cache.shrink(); err != nil && !errors.Is(err, errRefused) {
				m.t.Fatal(err)
			}
		}
		if m.failing {
			return
		}
	}
}

// commit flushes the caches, the upper one first, as the runtime does.
func (m *cacheModel) commit() {
	for _, l := range m.layers {
		m.flushing = true
		l.passed = 0
		must(m.t, l.cache.Flush())
		m.flushing = false
		if l.cache.Dirty() != 0 {
			m.t.Fatalf("step %d: %d entries are dirty after Flush", m.step, l.cache.Dirty())
		}
	}
	for _, l := range m.layers {
		must(m.t, l.store.Commit(int64(m.step)))
		l.committed = maps.Clone(l.view)
		wantDigest(m.t, l.store, l.view)
	}
}

// abort goes back to the last commit. An eager store cannot do that.
func (m *cacheModel) abort() {
	if m.f.t.Failed() || m.eager() {
		return
	}
	for _, l := range m.layers {
		l.cache.Clear()
		l.store.Abort()
		l.order, l.view = nil, maps.Clone(l.committed)
	}
}

func (m *cacheModel) eager() bool {
	switch s := m.layers[0].store.(type) {
	case *Store:
		return s.options.Eager
	case *MemoryStore:
		return s.eager
	}
	return false
}

// scan merges the dirty entries with the store, as a caching store does.
func (m *cacheModel) scan(l *layer) {
	b := randomBounds(m.rng, func() string { return fmt.Sprint(m.rng.IntN(40)) })
	got := map[string]string{}
	must(m.t, l.store.Range(b.lower, b.upper, func(key, value []byte, _ int64) bool {
		got[string(key)] = string(value)
		return true
	}))
	last := ""
	l.cache.Scan(b.lower, b.upper, func(key, value []byte, _ int64) bool {
		if last != "" && string(key) <= last {
			m.t.Fatalf("step %d: %q after %q", m.step, key, last)
		}
		last = string(key)
		if delete(got, last); value != nil {
			got[last] = string(value)
		}
		return true
	})
	want := maps.Clone(l.view)
	maps.DeleteFunc(want, func(key, _ string) bool { return !b.contain(key) })
	if !maps.Equal(got, want) {
		m.t.Fatalf("step %d: between %q and %q: %q, want %q", m.step, b.lower, b.upper, got, want)
	}
}

func (m *cacheModel) compare() {
	var total int64
	for i, l := range m.layers {
		var bytes int64
		dirty := 0
		for key, e := range l.cache.entries {
			bytes += e.size()
			if e.dirty {
				dirty++
			}
			if value, has := l.view[key]; string(e.value) != value || has == (e.value == nil) {
				m.t.Fatalf("step %d: layer %d caches %q as %q, want %q, %v", m.step, i, key, e.value, value, has)
			}
		}
		stats := l.cache.Stats()
		if dirty != len(l.order) || stats.Dirty != int64(dirty) || stats.Bytes != bytes || stats.Entries != int64(len(l.cache.entries)) {
			m.t.Fatalf("step %d: layer %d: %+v, want %d dirty, %d bytes, %d entries", m.step, i, stats, len(l.order), bytes, len(l.cache.entries))
		}
		total += bytes
	}
	if got := m.thread.Bytes(); got != total {
		m.t.Fatalf("step %d: the thread has %d bytes, its caches %d", m.step, got, total)
	}
}
