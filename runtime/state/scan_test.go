package state

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// content reads everything with Scan in pages.
func content(t *testing.T, s KeyValue, page int) map[string]string {
	t.Helper()
	got := map[string]string{}
	var after []byte
	last, first := "", true
	for {
		n := 0
		next, done, err := s.Scan(after, page, func(key, value []byte, _ int64) error {
			if !first && string(key) <= last {
				t.Fatalf("Scan passed %q after %q", key, last)
			}
			last, first = string(key), false
			got[last] = string(value)
			n++
			return nil
		})
		must(t, err)
		if page > 0 && n > page {
			t.Fatalf("Scan passed %d entries, limit %d", n, page)
		}
		if done {
			return got
		}
		if n == 0 || string(next) != last {
			t.Fatalf("Scan stopped after %d entries at %q, last passed %q", n, next, last)
		}
		after = next
	}
}

// digestOf computes what Digest must return.
func digestOf(m map[string]string) [sha256.Size]byte {
	h := sha256.New()
	for _, k := range slices.Sorted(maps.Keys(m)) {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(k))))
		h.Write([]byte(k))
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(m[k]))))
		h.Write([]byte(m[k]))
	}
	return [sha256.Size]byte(h.Sum(nil))
}

func wantDigest(t *testing.T, s KeyValue, m map[string]string) {
	t.Helper()
	sum, n, err := s.Digest()
	must(t, err)
	if n != int64(len(m)) || sum != digestOf(m) {
		t.Fatalf("Digest() = %x over %d entries, want %x over %d", sum, n, digestOf(m), len(m))
	}
}

func TestDigestIndependentOfHistory(t *testing.T) {
	f := newFixture(t, vfs.NewMem())
	s := f.open(StoreOptions{})
	want := map[string]string{}
	for i := range 1000 {
		key, value := fmt.Sprint(i), fmt.Sprint(i*i)
		want[key] = value
		put(t, s, key, "old")
		put(t, s, "gone"+key, value)
		if i%100 == 99 {
			must(t, s.Commit(int64(i)))
		}
	}
	for key, value := range want {
		put(t, s, key, value)
		must(t, s.Put([]byte("gone"+key), nil, 0))
	}
	must(t, s.Commit(2000))
	other, err := f.dir.OpenStore("0_2", "counts", StoreOptions{})
	must(t, err)
	var batch []Entry
	for key, value := range want {
		batch = append(batch, Entry{Key: []byte(key), Value: []byte(value), Timestamp: 99})
	}
	must(t, other.Restore(batch, 1))
	wantDigest(t, s, want)
	wantDigest(t, other, want)
	must(t, other.Close())
	f.close(s)
}

func TestScanCallback(t *testing.T) {
	f := newFixture(t, vfs.NewMem())
	s := f.open(StoreOptions{})
	for _, key := range []string{"a", "b", "c"} {
		put(t, s, key, key)
	}
	must(t, s.Commit(1))
	stop := errors.New("stop")
	next, done, err := s.Scan(nil, 0, func(key, _ []byte, _ int64) error {
		if bytes.Equal(key, []byte("b")) {
			return stop
		}
		return nil
	})
	if string(next) != "a" || done || !errors.Is(err, stop) {
		t.Fatalf("Scan = %q, %v, %v", next, done, err)
	}
	func() {
		defer func() {
			if r := recover(); r != "callback" {
				t.Fatalf("recovered %v", r)
			}
		}()
		_, _, _ = s.Scan(nil, 0, func(_, _ []byte, _ int64) error { panic("callback") })
	}()
	must(t, s.Err())
	wantValue(t, s, "a", "a")
	f.close(s)
}

func TestRange(t *testing.T) {
	for kind, options := range kinds {
		t.Run(kind, func(t *testing.T) {
			f := newFixture(t, vfs.NewMem())
			s := f.openKind(options)
			view := map[string]string{}
			for _, key := range []string{"", "a", "b", "bb", "c", "gone", "\xff", "\xff\xff"} {
				put(t, s, key, key)
				view[key] = key
			}
			must(t, s.Commit(1))
			must(t, s.Put([]byte("gone"), nil, 0))
			delete(view, "gone")
			put(t, s, "b", "changed")
			put(t, s, "new", "1")
			view["b"], view["new"] = "changed", "1"
			for _, lower := range [][]byte{nil, {}, []byte("a"), []byte("b\x00"), []byte("gone"), []byte("z"), {0xff, 0xff}} {
				for _, upper := range [][]byte{nil, {}, []byte("a"), []byte("bb"), []byte("gone\x00"), {0xff}, {0xff, 0xff, 0xff}} {
					wantRange(t, s, view, bounds{lower, upper})
				}
			}
			n := 0
			must(t, s.ReverseRange(nil, nil, func(_, _ []byte, _ int64) bool { n++; return n < 3 }))
			if n != 3 {
				t.Errorf("%d entries were passed after fn returned false", n)
			}
			must(t, s.Close())
			stop := func(_, _ []byte, _ int64) bool { return false }
			if err := s.Range(nil, nil, stop); !errors.Is(err, ErrClosed) {
				t.Errorf("Range after Close: %v", err)
			}
			must(t, f.dir.Close())
		})
	}
}

// Whoever ranges may read and write meanwhile, and range again: expired windows are deleted that way. Every entry that was there is passed once.
func TestChangesDuringRange(t *testing.T) {
	for kind, options := range kinds {
		t.Run(kind, func(t *testing.T) {
			f := newFixture(t, vfs.NewMem())
			options.CleanBytes = -1
			s := f.openKind(options)
			const n = 500
			for i := range n {
				put(t, s, fmt.Sprintf("%04d", i), strings.Repeat("v", 300))
				if i == n/2 {
					must(t, s.Commit(1))
				}
			}
			for _, walk := range []func([]byte, []byte, func(_, _ []byte, _ int64) bool) error{s.Range, s.ReverseRange} {
				passed := map[string]int{}
				must(t, walk(nil, nil, func(key, value []byte, _ int64) bool {
					k, v := string(key), string(value)
					if strings.HasPrefix(k, "new") {
						return true
					}
					passed[k]++
					got, _, ok, err := s.Get(key)
					if must(t, err); !ok || string(got) != v {
						t.Fatalf("Get(%q) = %.20q, %v during the range", k, got, ok)
					}
					must(t, s.Put([]byte("new"+k), []byte("1"), 7))
					must(t, s.Put([]byte(k), []byte(v), 8))
					last := ""
					must(t, s.Range([]byte("0100"), []byte("0110"), func(key, _ []byte, _ int64) bool {
						if string(key) <= last {
							t.Fatalf("%q after %q in the inner range", key, last)
						}
						last = string(key)
						return true
					}))
					return true
				}))
				if len(passed) != n {
					t.Fatalf("%d entries were passed, want %d", len(passed), n)
				}
				for key, times := range passed {
					if times != 1 {
						t.Fatalf("%q was passed %d times", key, times)
					}
				}
			}
			must(t, s.Range(nil, []byte("0400"), func(key, _ []byte, _ int64) bool {
				must(t, s.Put(bytes.Clone(key), nil, 0))
				return true
			}))
			must(t, s.Commit(2))
			if got := s.Stats().Entries; got != n-400+n {
				t.Fatalf("%d entries are left, want %d", got, n-400+n)
			}
			f.close(s)
		})
	}
}
