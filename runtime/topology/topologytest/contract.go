package topologytest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"eostop/runtime/topology"
)

// CheckRecordCache holds a record cache to the words of [topology.RecordCache]. create returns an empty one with room for
// about so many bytes of keys and values; what else it counts is up to it. Which entries it evicts, and when, is up to it
// as well, but with no room at all it keeps nothing.
func CheckRecordCache(t *testing.T, create func(bytes int64) topology.RecordCache) {
	t.Helper()
	const plenty = 1 << 20
	t.Run("flush", func(t *testing.T) { checkFlush(t, create(plenty)) })
	t.Run("fill", func(t *testing.T) { checkFill(t, create) })
	t.Run("errors", func(t *testing.T) { checkErrors(t, create) })
	t.Run("listener that puts", func(t *testing.T) { checkReentrance(t, create(plenty)) })
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for _, room := range []int64{0, 1, 40, 400, plenty} {
		t.Run(fmt.Sprintf("random with room for %d bytes", room), func(t *testing.T) { checkAtRandom(t, rng, create(room)) })
	}
}

// heard is a listener that writes down what it gets, as the store beneath.
type heard struct {
	updates []string
	beneath map[string]string
}

func (h *heard) listen(key, value []byte, timestamp int64, context any) error {
	text := "deleted"
	if value != nil {
		text = fmt.Sprintf("%q", value)
	}
	h.updates = append(h.updates, fmt.Sprintf("%s=%s@%d %v", key, text, timestamp, context))
	if h.beneath != nil {
		if value == nil {
			delete(h.beneath, string(key))
		} else {
			h.beneath[string(key)] = string(value)
		}
	}
	return nil
}

func (h *heard) expect(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(h.updates, want) {
		t.Errorf("heard %q, want %q", h.updates, want)
	}
	h.updates = nil
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func checkGet(t *testing.T, c topology.RecordCache, key string, value []byte, timestamp int64, ok bool) {
	t.Helper()
	v, ts, found := c.Get([]byte(key))
	if found != ok || ok && (!bytes.Equal(v, value) || (v == nil) != (value == nil) || ts != timestamp) {
		t.Errorf("get %s: %q @%d %v, want %q @%d %v", key, v, ts, found, value, timestamp, ok)
	}
}

func checkDirty(t *testing.T, c topology.RecordCache, from, to []byte, want ...string) {
	t.Helper()
	var got []string
	for _, key := range c.Dirty(from, to) {
		got = append(got, string(key))
	}
	if !slices.Equal(got, want) {
		t.Errorf("dirty from %q to %q: %q, want %q", from, to, got, want)
	}
}

func checkFlush(t *testing.T, c topology.RecordCache) {
	var h heard
	c.OnFlush(h.listen)
	must(t, c.Put([]byte("c"), []byte("1"), 10, "first"))
	must(t, c.Put([]byte("a"), []byte{}, 11, "second"))
	must(t, c.Put([]byte("b"), nil, 12, "third"))
	must(t, c.Put([]byte("c"), []byte("2"), 9, "fourth"))
	h.expect(t)
	checkGet(t, c, "c", []byte("2"), 9, true)
	checkGet(t, c, "a", []byte{}, 11, true)
	checkGet(t, c, "b", nil, 12, true)
	checkGet(t, c, "d", nil, 0, false)
	checkDirty(t, c, nil, nil, "a", "b", "c")
	checkDirty(t, c, []byte("b"), nil, "b", "c")
	checkDirty(t, c, nil, []byte("b"), "a", "b")
	checkDirty(t, c, []byte("aa"), []byte("bb"), "b")
	checkDirty(t, c, []byte("d"), nil)
	must(t, c.Flush())
	h.expect(t, `c="2"@9 fourth`, `a=""@11 second`, `b=deleted@12 third`)
	checkDirty(t, c, nil, nil)
	checkGet(t, c, "c", []byte("2"), 9, true) // clean, but still there
	must(t, c.Flush())
	h.expect(t)
	must(t, c.Put([]byte("a"), []byte("3"), 13, "fifth"))
	must(t, c.Put([]byte("c"), []byte("4"), 14, "sixth"))
	must(t, c.Flush())
	h.expect(t, `a="3"@13 fifth`, `c="4"@14 sixth`)
}

func checkFill(t *testing.T, create func(bytes int64) topology.RecordCache) {
	var h heard
	c := create(1 << 20)
	c.OnFlush(h.listen)
	c.Fill([]byte("a"), []byte("1"), 10)
	checkGet(t, c, "a", []byte("1"), 10, true)
	checkDirty(t, c, nil, nil)
	must(t, c.Flush())
	h.expect(t)
	must(t, c.Put([]byte("a"), []byte("2"), 11, "put"))
	must(t, c.Flush())
	h.expect(t, `a="2"@11 put`)
	// However much is filled in, what is dirty stays, and the listener is not called.
	c = create(1000)
	c.OnFlush(h.listen)
	must(t, c.Put([]byte("dirty"), []byte("3"), 12, "put"))
	h.expect(t)
	for i := range 1000 {
		c.Fill(fmt.Appendf(nil, "key %d", i), make([]byte, 100), 13)
	}
	h.expect(t)
	checkGet(t, c, "dirty", []byte("3"), 12, true)
	must(t, c.Flush())
	h.expect(t, `dirty="3"@12 put`)
}

func checkErrors(t *testing.T, create func(bytes int64) topology.RecordCache) {
	boom := errors.New("boom")
	calls := 0
	fail := func([]byte, []byte, int64, any) error {
		calls++
		return boom
	}
	c := create(1 << 20)
	c.OnFlush(fail)
	must(t, c.Put([]byte("a"), []byte("1"), 1, nil))
	must(t, c.Put([]byte("b"), []byte("2"), 1, nil))
	if err := c.Flush(); !errors.Is(err, boom) || calls != 1 {
		t.Errorf("flush: %v after %d calls, want the first error", err, calls)
	}
	c = create(0)
	c.OnFlush(fail)
	if err := c.Put([]byte("a"), []byte("1"), 1, nil); !errors.Is(err, boom) {
		t.Errorf("put that evicts: %v", err)
	}
}

// checkReentrance has the listener put what it gets under another key, which must wait for the next flush.
func checkReentrance(t *testing.T, c topology.RecordCache) {
	var h heard
	c.OnFlush(func(key, value []byte, timestamp int64, context any) error {
		if _, _, ok := c.Get(append([]byte("x"), key...)); !ok && len(key) < 3 {
			if err := c.Put(append([]byte("x"), key...), value, timestamp, context); err != nil {
				return err
			}
		}
		c.Fill([]byte("filled"), value, timestamp)
		return h.listen(key, value, timestamp, context)
	})
	must(t, c.Put([]byte("a"), []byte("1"), 1, "c"))
	must(t, c.Put([]byte("b"), []byte("2"), 2, "d"))
	must(t, c.Flush())
	h.expect(t, `a="1"@1 c`, `b="2"@2 d`)
	checkDirty(t, c, nil, nil, "xa", "xb")
	must(t, c.Flush())
	h.expect(t, `xa="1"@1 c`, `xb="2"@2 d`)
	must(t, c.Flush())
	h.expect(t, `xxa="1"@1 c`, `xxb="2"@2 d`)
	must(t, c.Flush())
	h.expect(t)
}

// checkAtRandom compares cache and store together with a map, and the order of what the listener hears with that of the
// puts.
func checkAtRandom(t *testing.T, rng *rand.Rand, c topology.RecordCache) {
	h := &heard{beneath: make(map[string]string)}
	c.OnFlush(h.listen)
	model := make(map[string]string)
	var dirty []string // in the order in which they became so
	expected := func(evicted int) []string {
		var want []string
		if evicted > 0 {
			want = append(want, dirty[evicted])
		}
		for i, key := range dirty {
			if i != evicted || evicted <= 0 {
				want = append(want, key)
			}
		}
		return want
	}
	contexts, timestamps := make(map[string]int), make(map[string]int64)
	for i := range 3000 {
		key := fmt.Sprintf("k%02d", rng.IntN(30))
		h.updates = nil
		switch rng.IntN(10) {
		case 0:
			if value, ok := h.beneath[key]; ok {
				if _, _, cached := c.Get([]byte(key)); !cached {
					c.Fill([]byte(key), []byte(value), 1)
				}
			}
		case 1:
			must(t, c.Flush())
			checkHeard(t, h.updates, expected(0), model, timestamps, contexts)
			dirty = nil
		default:
			value := make([]byte, rng.IntN(20))
			for j := range value {
				value[j] = byte('a' + rng.IntN(26))
			}
			if rng.IntN(4) == 0 {
				value = nil
				delete(model, key)
			} else {
				model[key] = string(value)
			}
			contexts[key], timestamps[key] = i, rng.Int64N(1000)
			if !slices.Contains(dirty, key) {
				dirty = append(dirty, key)
			}
			must(t, c.Put([]byte(key), value, timestamps[key], i))
			if len(h.updates) > 0 {
				first := slices.IndexFunc(dirty, func(k string) bool { return h.updates[0] == line(k, model, timestamps, contexts) })
				if first < 0 {
					t.Fatalf("heard %q first, which is not dirty: %q", h.updates[0], dirty)
				}
				if _, _, ok := c.Get([]byte(dirty[first])); ok {
					t.Fatalf("heard %q first, which was not evicted", dirty[first])
				}
				checkHeard(t, h.updates, expected(first), model, timestamps, contexts)
				dirty = nil
			}
		}
		// Which entries it holds is up to the cache, but what it holds is true, and what it does not hold is beneath.
		for k := range 30 {
			key := fmt.Sprintf("k%02d", k)
			want, there := model[key]
			value, _, ok := c.Get([]byte(key))
			if !ok {
				below, isBelow := h.beneath[key]
				if below != want || isBelow != there {
					t.Fatalf("%s is not cached, and %q %v beneath, want %q %v", key, below, isBelow, want, there)
				}
			} else if string(value) != want || (value != nil) != there {
				t.Fatalf("%s is %q in the cache, want %q %v", key, value, want, there)
			}
		}
		checkDirty(t, c, nil, nil, slices.Sorted(slices.Values(dirty))...)
		if t.Failed() {
			return
		}
	}
	must(t, c.Flush())
	if !maps.Equal(h.beneath, model) {
		t.Errorf("beneath %v, want %v", h.beneath, model)
	}
}

func line(key string, model map[string]string, timestamps map[string]int64, contexts map[string]int) string {
	text := "deleted"
	if value, ok := model[key]; ok {
		text = fmt.Sprintf("%q", value)
	}
	return fmt.Sprintf("%s=%s@%d %v", key, text, timestamps[key], contexts[key])
}

func checkHeard(
	t *testing.T, got, keys []string, model map[string]string, timestamps map[string]int64, contexts map[string]int,
) {
	t.Helper()
	var want []string
	for _, key := range keys {
		want = append(want, line(key, model, timestamps, contexts))
	}
	if !slices.Equal(got, want) {
		t.Errorf("heard %q, want %q", got, want)
	}
}
