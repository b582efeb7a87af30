package state

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// An error of the listener comes out of Put and Flush. What was not passed on stays dirty, and goes first the next time.
func TestCacheListenerFails(t *testing.T) {
	boom := errors.New("boom")
	for _, evicting := range []bool{false, true} {
		t.Run(fmt.Sprint("evicting=", evicting), func(t *testing.T) {
			for failAt := range 4 {
				var flushed []string
				note := listening(&flushed)
				thread := NewThreadCache(entriesOf(3), FirstDirty)
				c := thread.Open("0_1", "counts")
				n := 0
				c.OnFlush(func(key, value []byte, timestamp int64, context any) error {
					if n++; n == failAt+1 {
						return boom
					}
					return note(key, value, timestamp, context)
				})
				for _, key := range []string{"a", "b", "c"} {
					cachePut(t, c, key, "1")
				}
				wantCached(t, c, "a", "1")
				order := []string{"a", "b", "c", "d"}
				var err error
				if evicting {
					order = []string{"b", "a", "c", "d"}
					err = c.Put([]byte("d"), []byte("1"), 7, "ctx")
				} else {
					thread.Resize(entriesOf(4))
					cachePut(t, c, "d", "1")
					err = c.Flush()
				}
				if !errors.Is(err, boom) {
					t.Fatalf("failing at %d: %v", failAt, err)
				}
				wantFlushed(t, &flushed, order[:failAt]...)
				if c.Dirty() != 4-failAt {
					t.Fatalf("failing at %d: %d dirty", failAt, c.Dirty())
				}
				for _, key := range order[failAt:] {
					wantCached(t, c, key, "1")
				}
				must(t, c.Flush())
				wantFlushed(t, &flushed, order[failAt:]...)
				if thread.Bytes() > thread.Budget() {
					t.Fatalf("%d bytes, budget %d", thread.Bytes(), thread.Budget())
				}
			}
		})
	}
}

func TestCacheWithoutListener(t *testing.T) {
	c := NewThreadCache(0, FirstDirty).Open("0_1", "counts")
	if err := c.Put([]byte("a"), []byte("1"), 7, nil); !errors.Is(err, errNoListener) || !strings.Contains(err.Error(), "0_1") {
		t.Fatalf("Put: %v", err)
	}
	wantCached(t, c, "a", "1")
}

// Stores feed each other: what a listener puts into a cache further down is evicted there at once if need be.
func TestCacheChain(t *testing.T) {
	for _, budget := range []int64{0, entriesOf(1), entriesOf(3), 1 << 20} {
		t.Run(fmt.Sprint(budget), func(t *testing.T) {
			thread := NewThreadCache(budget, FirstDirty)
			up, down := thread.Open("0_1", "up"), thread.Open("0_1", "down")
			got := map[string]string{}
			up.OnFlush(func(key, value []byte, timestamp int64, context any) error {
				return down.Put(append(key, '!'), value, timestamp, context)
			})
			down.OnFlush(func(key, value []byte, _ int64, _ any) error {
				got[string(key)] = string(value)
				return nil
			})
			for i := range 20 {
				cachePut(t, up, fmt.Sprint(i%7), fmt.Sprint(i%10))
			}
			must(t, up.Flush())
			must(t, down.Flush())
			if len(got) != 7 || got["5!"] != "9" || got["6!"] != "3" {
				t.Fatalf("%q", got)
			}
			if thread.Bytes() > budget || up.Dirty()+down.Dirty() != 0 {
				t.Fatalf("%d bytes, %d and %d dirty", thread.Bytes(), up.Dirty(), down.Dirty())
			}
		})
	}
}

// A listener that puts into its own cache does not lose anything, is not called deeper and deeper, and is done when Flush returns.
func TestCacheReentrant(t *testing.T) {
	for _, budget := range []int64{0, entriesOf(2), 1 << 20} {
		t.Run(fmt.Sprint(budget), func(t *testing.T) {
			thread := NewThreadCache(budget, FirstDirty)
			c := thread.Open("0_1", "counts")
			var order []string
			depth, deepest := 0, 0
			c.OnFlush(func(key, value []byte, timestamp int64, context any) error {
				depth++
				deepest = max(deepest, depth)
				defer func() { depth-- }()
				order = append(order, string(key))
				if len(key) < 100 {
					return c.Put(append(slices.Clone(key), '+'), value, timestamp, context)
				}
				return nil
			})
			cachePut(t, c, "k", "v")
			must(t, c.Flush())
			if len(order) != 100 || c.Dirty() != 0 || deepest != 1 || thread.Bytes() > budget {
				t.Fatalf("%d passed, %d dirty, depth %d, %d bytes", len(order), c.Dirty(), deepest, thread.Bytes())
			}
		})
	}
	t.Run("newer value of the key that is passed", func(t *testing.T) {
		var flushed []string
		note := listening(&flushed)
		boom := errors.New("boom")
		for _, err := range []error{nil, boom} {
			c := NewThreadCache(1<<20, FirstDirty).Open("0_1", "counts")
			first := true
			c.OnFlush(func(key, value []byte, timestamp int64, context any) error {
				must(t, note(key, value, timestamp, context))
				if first {
					first = false
					must(t, c.Put(key, []byte("newer"), 8, nil))
					return err
				}
				return nil
			})
			cachePut(t, c, "a", "1")
			cachePut(t, c, "b", "1")
			if got := c.Flush(); !errors.Is(got, err) {
				t.Fatalf("Flush: %v, want %v", got, err)
			}
			must(t, c.Flush())
			if want := []string{"a=1@7 ctx", "b=1@7 ctx", "a=newer@8 <nil>"}; !slices.Equal(flushed, want) {
				t.Fatalf("flushed %q, want %q", flushed, want)
			}
			flushed = nil
		}
	})
	t.Run("reads the key that is passed back from the store, then fails", func(t *testing.T) {
		boom := errors.New("boom")
		for _, budget := range []int64{0, 1 << 20} {
			c := NewThreadCache(budget, FirstDirty).Open("0_1", "counts")
			c.OnFlush(func(key, _ []byte, _ int64, _ any) error {
				c.thread.Resize(1 << 20)
				c.Fill(key, []byte("old"), 1)
				return boom
			})
			err := c.Put([]byte("a"), []byte("new"), 7, "ctx")
			if err == nil {
				err = c.Flush()
			}
			if !errors.Is(err, boom) || c.Dirty() != 1 || c.Stats().Entries != 1 {
				t.Fatalf("%v, %+v", err, c.Stats())
			}
			wantCached(t, c, "a", "new")
			var flushed []string
			c.OnFlush(listening(&flushed))
			must(t, c.Flush())
			if want := []string{"a=new@7 ctx"}; !slices.Equal(flushed, want) {
				t.Fatalf("flushed %q, want %q", flushed, want)
			}
			if got, want := c.thread.Bytes(), int64(4+cachedOverhead); got != want {
				t.Fatalf("%d bytes, want %d", got, want)
			}
		}
	})
	t.Run("clears the cache", func(t *testing.T) {
		boom := errors.New("boom")
		c := NewThreadCache(1<<20, FirstDirty).Open("0_1", "counts")
		c.OnFlush(func(_, _ []byte, _ int64, _ any) error {
			c.Clear()
			return boom
		})
		cachePut(t, c, "a", "1")
		cachePut(t, c, "b", "1")
		if err := c.Flush(); !errors.Is(err, boom) || c.Dirty() != 0 || c.thread.Bytes() != 0 {
			t.Fatalf("%v, %+v", err, c.Stats())
		}
	})
	t.Run("trims", func(t *testing.T) {
		thread := NewThreadCache(1<<20, FirstDirty)
		c, other := thread.Open("0_1", "counts"), thread.Open("0_1", "other")
		depth := 0
		var flushed []string
		note := listening(&flushed)
		c.OnFlush(func(key, value []byte, timestamp int64, context any) error {
			if depth++; depth > 1 {
				t.Fatal("called from its own call")
			}
			defer func() { depth-- }()
			must(t, thread.Trim())
			return note(key, value, timestamp, context)
		})
		other.OnFlush(note)
		for _, key := range []string{"a", "b", "c"} {
			cachePut(t, c, key, "1")
		}
		cachePut(t, other, "x", "1")
		thread.Resize(0)
		must(t, c.Flush())
		wantFlushed(t, &flushed, "x", "a", "b", "c")
		if thread.Bytes() != 0 {
			t.Fatalf("%d bytes", thread.Bytes())
		}
	})
	t.Run("flushes", func(t *testing.T) {
		c := NewThreadCache(1<<20, FirstDirty).Open("0_1", "counts")
		var flushed []string
		note := listening(&flushed)
		c.OnFlush(func(key, value []byte, timestamp int64, context any) error {
			must(t, note(key, value, timestamp, context))
			return c.Flush()
		})
		for _, key := range []string{"a", "b", "c"} {
			cachePut(t, c, key, "1")
		}
		must(t, c.Flush())
		wantFlushed(t, &flushed, "a", "b", "c")
	})
}
