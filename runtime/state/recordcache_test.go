package state

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

// What package topology asks of a record cache.
var _ interface {
	Get(key []byte) (value []byte, timestamp int64, ok bool)
	Put(key, value []byte, timestamp int64, context any) error
	Fill(key, value []byte, timestamp int64)
	OnFlush(listener func(key, value []byte, timestamp int64, context any) error)
	Flush() error
	Dirty() int
	Scan(lower, upper []byte, fn func(key, value []byte, timestamp int64) bool)
	Clear()
} = (*RecordCache)(nil)

// listening returns a listener that notes what it is given.
func listening(flushed *[]string) func(key, value []byte, timestamp int64, context any) error {
	return func(key, value []byte, timestamp int64, context any) error {
		*flushed = append(*flushed, describe(key, value, timestamp, context))
		return nil
	}
}

func describe(key, value []byte, timestamp int64, context any) string {
	if value == nil {
		return fmt.Sprintf("%s deleted@%d %v", key, timestamp, context)
	}
	return fmt.Sprintf("%s=%s@%d %v", key, value, timestamp, context)
}

func cachePut(t *testing.T, c *RecordCache, key, value string) {
	t.Helper()
	must(t, c.Put([]byte(key), []byte(value), 7, "ctx"))
}

func wantFlushed(t *testing.T, flushed *[]string, want ...string) {
	t.Helper()
	var keys []string
	for _, f := range *flushed {
		keys = append(keys, strings.FieldsFunc(f, func(r rune) bool { return r == '=' || r == ' ' })[0])
	}
	if !slices.Equal(keys, want) {
		t.Fatalf("flushed %q, want %q", keys, want)
	}
	*flushed = nil
}

func wantCached(t *testing.T, c *RecordCache, key, want string) {
	t.Helper()
	if value, _, ok := c.Get([]byte(key)); !ok || string(value) != want || value == nil {
		t.Fatalf("Get(%q) = %q, %v, want %q", key, value, ok, want)
	}
}

func wantNotCached(t *testing.T, c *RecordCache, keys ...string) {
	t.Helper()
	for _, key := range keys {
		if value, _, ok := c.Get([]byte(key)); ok {
			t.Fatalf("Get(%q) = %q, want nothing", key, value)
		}
	}
}

// entriesOf is a budget for n entries with keys and values of one byte.
func entriesOf(n int64) int64 { return n * (2 + cachedOverhead) }

func TestCacheFlushOrder(t *testing.T) {
	for order, want := range map[FlushOrder][]string{
		FirstDirty:  {"b", "a", "c", "d"},
		LastWritten: {"a", "c", "b", "d"},
	} {
		var flushed []string
		c := NewThreadCache(1<<20, order).Open("0_1", "counts")
		c.OnFlush(listening(&flushed))
		for _, key := range []string{"b", "a", "c", "b", "d"} {
			cachePut(t, c, key, "1")
		}
		if c.Dirty() != 4 {
			t.Fatalf("Dirty() = %d", c.Dirty())
		}
		must(t, c.Flush())
		wantFlushed(t, &flushed, want...)
		if c.Dirty() != 0 || c.Stats().Entries != 4 {
			t.Fatalf("after Flush: %+v", c.Stats())
		}
		must(t, c.Flush())
		wantFlushed(t, &flushed)
		cachePut(t, c, "a", "2") // a clean entry starts again at the end
		cachePut(t, c, "b", "2")
		must(t, c.Flush())
		wantFlushed(t, &flushed, "a", "b")
	}
}

// The listener gets what was put last, with that record's timestamp and context.
func TestCacheEntries(t *testing.T) {
	var flushed []string
	c := NewThreadCache(1<<20, FirstDirty).Open("0_1", "counts")
	c.OnFlush(listening(&flushed))
	must(t, c.Put([]byte("a"), []byte("1"), 1, "first"))
	must(t, c.Put([]byte("a"), []byte("2"), 2, "second"))
	must(t, c.Put([]byte("b"), nil, 3, "third"))
	must(t, c.Put([]byte("c"), []byte{}, 4, nil))
	value, ts, ok := c.Get([]byte("b"))
	if value != nil || !ok || ts != 3 {
		t.Fatalf("a deleted key: %q, %d, %v", value, ts, ok)
	}
	wantCached(t, c, "c", "")
	must(t, c.Flush())
	if want := []string{"a=2@2 second", "b deleted@3 third", "c=@4 <nil>"}; !slices.Equal(flushed, want) {
		t.Fatalf("flushed %q, want %q", flushed, want)
	}
	wantNotCached(t, c, "b") // the store knows now
	wantCached(t, c, "a", "2")
}

// Evicting one dirty entry passes all of them on, the evicted first (Kafka: NamedCache.evict).
func TestCacheEviction(t *testing.T) {
	var flushed []string
	thread := NewThreadCache(entriesOf(3), FirstDirty)
	c := thread.Open("0_1", "counts")
	c.OnFlush(listening(&flushed))
	for _, key := range []string{"a", "b", "c"} {
		cachePut(t, c, key, "1")
	}
	wantCached(t, c, "a", "1") // so b is the one that was not used for the longest time
	wantFlushed(t, &flushed)
	cachePut(t, c, "d", "1")
	wantFlushed(t, &flushed, "b", "a", "c", "d")
	wantNotCached(t, c, "b")
	if c.Dirty() != 0 || thread.Bytes() != entriesOf(3) {
		t.Fatalf("%d dirty, %d bytes", c.Dirty(), thread.Bytes())
	}
	cachePut(t, c, "e", "1") // c is clean: nothing to pass on
	wantFlushed(t, &flushed)
	wantNotCached(t, c, "c")
	if stats := c.Stats(); stats.Evictions != 2 || stats.Flushes != 1 || stats.Hits != 1 || stats.Misses != 2 {
		t.Fatalf("%+v", stats)
	}
}

// With a budget of 0 every write is forwarded (EosTest of Kafka Streams runs that way).
func TestCacheWithoutBudget(t *testing.T) {
	for _, budget := range []int64{0, -5} {
		var flushed []string
		thread := NewThreadCache(budget, FirstDirty)
		c := thread.Open("0_1", "counts")
		c.OnFlush(listening(&flushed))
		for _, key := range []string{"a", "a", "b"} {
			cachePut(t, c, key, "1")
			wantFlushed(t, &flushed, key)
			wantNotCached(t, c, key)
		}
		c.Fill([]byte("f"), []byte("1"), 1)
		wantNotCached(t, c, "f")
		if thread.Bytes() != 0 || c.Dirty() != 0 {
			t.Fatalf("%d bytes, %d dirty", thread.Bytes(), c.Dirty())
		}
	}
}

// The budget is the thread's; who overflows it pays (Kafka: ThreadCache.maybeEvict).
func TestCacheSharedBudget(t *testing.T) {
	var first, second []string
	thread := NewThreadCache(entriesOf(4), FirstDirty)
	a, b := thread.Open("0_1", "a"), thread.Open("0_2", "b")
	a.OnFlush(listening(&first))
	b.OnFlush(listening(&second))
	for _, key := range []string{"1", "2", "3", "4"} {
		cachePut(t, a, key, "v")
	}
	cachePut(t, b, "x", "v")
	wantFlushed(t, &second, "x") // although a is the one that fills the thread
	wantFlushed(t, &first)
	cachePut(t, a, "5", "v")
	wantFlushed(t, &first, "1", "2", "3", "4", "5")

	stats := thread.Stats()
	if len(stats) != 2 || stats[0].Task != "0_1" || stats[0].Store != "a" || stats[0].Entries != 4 || stats[1].Entries != 0 {
		t.Fatalf("%+v", stats)
	}
	a.Close()
	if thread.Bytes() != 0 || len(thread.Stats()) != 1 {
		t.Fatalf("after Close: %d bytes, %+v", thread.Bytes(), thread.Stats())
	}
	if err := a.Put([]byte("1"), nil, 0, nil); !errors.Is(err, ErrClosed) {
		t.Fatalf("Put after Close: %v", err)
	}
	a.Fill([]byte("1"), []byte("v"), 0)
	wantNotCached(t, a, "1")
	a.Close()
}

func TestCacheResize(t *testing.T) {
	var first, second []string
	thread := NewThreadCache(entriesOf(10), FirstDirty)
	a, b := thread.Open("0_1", "a"), thread.Open("0_1", "b")
	a.OnFlush(listening(&first))
	b.OnFlush(listening(&second))
	for i := range 5 {
		cachePut(t, a, fmt.Sprint(i), "v")
		cachePut(t, b, fmt.Sprint(i), "v")
	}
	var others sync.WaitGroup
	others.Go(func() { thread.Resize(entriesOf(4)) })
	others.Wait()
	if thread.Budget() != entriesOf(4) || thread.Bytes() != entriesOf(10) {
		t.Fatalf("budget %d, %d bytes: a new budget needs the owner", thread.Budget(), thread.Bytes())
	}
	must(t, thread.Trim())
	if thread.Bytes() != entriesOf(4) || a.Stats().Entries != 2 || b.Stats().Entries != 2 {
		t.Fatalf("%d bytes, %+v", thread.Bytes(), thread.Stats())
	}
	wantFlushed(t, &first, "0", "1", "2", "3", "4")
	wantFlushed(t, &second, "0", "1", "2", "3", "4")
	thread.Resize(0)
	boom := errors.New("boom")
	cause := func(_, _ []byte, _ int64, _ any) error { return boom }
	b.OnFlush(cause)
	thread.Resize(1 << 20)
	cachePut(t, b, "x", "v")
	thread.Resize(0)
	if err := thread.Trim(); !errors.Is(err, boom) {
		t.Fatalf("Trim: %v", err)
	}
	b.OnFlush(listening(&second))
	must(t, thread.Trim())
	wantFlushed(t, &second, "x")
	if thread.Bytes() != 0 {
		t.Fatalf("%d bytes", thread.Bytes())
	}
}

// A clean entry never hides a dirty one, and reading never flushes.
func TestCacheFill(t *testing.T) {
	var flushed []string
	thread := NewThreadCache(entriesOf(3), FirstDirty)
	c := thread.Open("0_1", "counts")
	c.OnFlush(listening(&flushed))
	cachePut(t, c, "a", "2")
	c.Fill([]byte("a"), []byte("1"), 1)
	wantCached(t, c, "a", "2")
	value := []byte("x")
	c.Fill([]byte("b"), value, 1)
	value[0] = 'y'
	wantCached(t, c, "b", "x")
	c.Fill([]byte("b"), []byte("z"), 1)
	wantCached(t, c, "b", "z")
	c.Fill([]byte("none"), nil, 1)
	wantNotCached(t, c, "none")
	c.Fill([]byte("c"), []byte("1"), 1)
	wantCached(t, c, "a", "2")
	c.Fill([]byte("d"), []byte("1"), 1) // b goes
	wantNotCached(t, c, "b")
	wantCached(t, c, "d", "1")
	cachePut(t, c, "d", "2")
	cachePut(t, c, "c", "2")
	c.Fill([]byte("e"), []byte("1"), 1) // the oldest is dirty, so the new one goes
	wantNotCached(t, c, "e")
	wantFlushed(t, &flushed)
	must(t, c.Flush())
	wantFlushed(t, &flushed, "a", "d", "c")
}

func TestCacheScan(t *testing.T) {
	var flushed []string
	c := NewThreadCache(1<<20, FirstDirty).Open("0_1", "counts")
	c.OnFlush(listening(&flushed))
	scan := func(lower, upper []byte) (up string) {
		t.Helper()
		c.Scan(lower, upper, func(key, value []byte, timestamp int64) bool {
			up += describe(key, value, timestamp, "") + ","
			return true
		})
		down := []string{}
		c.ReverseScan(lower, upper, func(key, value []byte, timestamp int64) bool {
			down = append(down, describe(key, value, timestamp, "")+",")
			return true
		})
		slices.Reverse(down)
		if got := strings.Join(down, ""); got != up {
			t.Fatalf("ReverseScan found %q, Scan %q", got, up)
		}
		return up
	}
	if got := scan(nil, nil); got != "" {
		t.Fatalf("an empty cache has %q", got)
	}
	for _, key := range []string{"d", "b", "", "a"} {
		cachePut(t, c, key, "1")
	}
	must(t, c.Put([]byte("c"), nil, 8, nil))
	c.Fill([]byte("bb"), []byte("clean"), 1)
	for _, want := range []struct {
		lower, upper []byte
		found        string
	}{
		{nil, nil, "=1@7 ,a=1@7 ,b=1@7 ,c deleted@8 ,d=1@7 ,"},
		{[]byte("a"), []byte("c"), "a=1@7 ,b=1@7 ,"},
		{[]byte("b"), nil, "b=1@7 ,c deleted@8 ,d=1@7 ,"},
		{nil, []byte("a"), "=1@7 ,"},
		{[]byte("x"), nil, ""},
		{[]byte("c"), []byte("b"), ""},
		{nil, []byte{}, ""},
	} {
		if got := scan(want.lower, want.upper); got != want.found {
			t.Errorf("Scan(%q, %q) found %q, want %q", want.lower, want.upper, got, want.found)
		}
	}
	cachePut(t, c, "a", "2") // what is scanned is kept up to date
	cachePut(t, c, "e", "1")
	if got, want := scan([]byte("a"), nil), "a=2@7 ,b=1@7 ,c deleted@8 ,d=1@7 ,e=1@7 ,"; got != want {
		t.Fatalf("found %q, want %q", got, want)
	}
	n := 0
	c.Scan(nil, nil, func(key, _ []byte, _ int64) bool {
		n++
		cachePut(t, c, string(key), "3")
		return n < 2
	})
	if n != 2 {
		t.Fatalf("Scan passed %d entries after it was told to stop", n)
	}
	must(t, c.Flush())
	if got := scan(nil, nil); got != "" {
		t.Fatalf("after Flush: %q", got)
	}
	cachePut(t, c, "z", "1")
	if got := scan(nil, nil); got != "z=1@7 ," {
		t.Fatalf("found %q", got)
	}
}

func TestCacheClear(t *testing.T) {
	var flushed []string
	thread := NewThreadCache(1<<20, FirstDirty)
	c := thread.Open("0_1", "counts")
	c.OnFlush(listening(&flushed))
	cachePut(t, c, "a", "1")
	c.Scan(nil, nil, func(_, _ []byte, _ int64) bool { return true })
	c.Clear()
	wantNotCached(t, c, "a")
	must(t, c.Flush())
	wantFlushed(t, &flushed)
	if thread.Bytes() != 0 || c.Dirty() != 0 || c.Stats().Entries != 0 {
		t.Fatalf("%d bytes, %+v", thread.Bytes(), c.Stats())
	}
	cachePut(t, c, "b", "1")
	must(t, c.Flush())
	wantFlushed(t, &flushed, "b")

	// One under the same names takes the place of the old one.
	cachePut(t, c, "x", "1")
	again := thread.Open("0_1", "counts")
	wantNotCached(t, again, "x")
	if thread.Bytes() != 0 || len(thread.Stats()) != 1 {
		t.Fatalf("%d bytes, %d caches", thread.Bytes(), len(thread.Stats()))
	}
	if err := c.Put(nil, nil, 0, nil); !errors.Is(err, ErrClosed) {
		t.Fatalf("Put into the old one: %v", err)
	}
}

// Others look at the figures, and change the budget, while the owner works.
func TestCacheObservers(t *testing.T) {
	thread := NewThreadCache(entriesOf(10), FirstDirty)
	done := make(chan struct{})
	var others sync.WaitGroup
	others.Go(func() {
		for n := int64(0); ; n++ {
			select {
			case <-done:
				return
			default:
				thread.Resize(entriesOf(n % 20))
				for _, s := range thread.Stats() {
					if s.Bytes < 0 || s.Dirty < 0 || s.Entries < 0 {
						t.Errorf("%+v", s)
					}
				}
				if thread.Bytes() < 0 || thread.Budget() < 0 {
					t.Errorf("%d bytes, budget %d", thread.Bytes(), thread.Budget())
				}
			}
		}
	})
	for round := range 50 {
		c := thread.Open("0_1", fmt.Sprint("store-", round%3))
		c.OnFlush(func(_, _ []byte, _ int64, _ any) error { return nil })
		for i := range 100 {
			cachePut(t, c, fmt.Sprint(i%10), "v")
			c.Get([]byte("5"))
		}
		must(t, thread.Trim())
		if round%2 == 0 {
			c.Close()
		}
	}
	close(done)
	others.Wait()
}
