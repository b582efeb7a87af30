package topology

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// withStore runs a piece of work as a processor with a plain store "rows", and returns the store's bytes.
func withStore(
	t *testing.T, h *host, spec StoreSpec, work func(ctx *Context[string, string], rows *KeyValueStore[string, string]) error,
) *Graph {
	t.Helper()
	b := NewBuilder()
	source(b, "s", "in")
	AddProcessor(b, "p", func() Processor[string, string, string, string] {
		var rows *KeyValueStore[string, string]
		var context *Context[string, string]
		return &opening[string, string]{
			open: func(ctx *Context[string, string]) (err error) {
				context = ctx
				rows, err = OpenStore[string, string](ctx, "rows")
				return err
			},
			process: func(Record[string, string]) error { return work(context, rows) },
		}
	}, "s")
	spec.Name = "rows"
	AddStateStore(b, spec, String{}, String{}, "p")
	return instantiate(t, h, b.Build)
}

// TestPlainStore puts with the record's timestamp, and in a punctuator with the time of the call.
func TestPlainStore(t *testing.T) {
	var seen []string
	h := &host{}
	graph := withStore(t, h, StoreSpec{Logged: true}, func(ctx *Context[string, string], rows *KeyValueStore[string, string]) error {
		had, present, err := rows.PutIfAbsent("k", "first")
		seen = append(seen, fmt.Sprintf("%q %v %v", had, present, err))
		value, ok, err := rows.Get("k")
		seen = append(seen, fmt.Sprintf("%q %v %v", value, ok, err))
		had, present, err = rows.PutIfAbsent("k", "second")
		seen = append(seen, fmt.Sprintf("%q %v %v", had, present, err))
		ctx.Schedule(time.Millisecond, StreamTime, func(int64) error { return rows.Delete("k") })
		return rows.Put("l", rows.Name())
	})
	if err := graph.process("in", []byte("k"), []byte("v"), 5, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := graph.PunctuateStreamTime(8); err != nil {
		t.Fatal(err)
	}
	checkLines(t, "seen", seen, []string{`"" false <nil>`, `"first" true <nil>`, `"first" true <nil>`})
	checkLines(t, "put", h.stores["rows"].puts, []string{"k=first@5", "l=rows@5", "k=@8"})
}

// TestTimestampedPutIfAbsent returns the timestamp of the value that was there.
func TestTimestampedPutIfAbsent(t *testing.T) {
	b := NewBuilder()
	source(b, "s", "in")
	AddProcessor(b, "p", func() Processor[string, string, string, string] {
		var rows *TimestampedKeyValueStore[string, string]
		return &opening[string, string]{
			open: func(ctx *Context[string, string]) (err error) {
				rows, err = OpenTimestampedStore[string, string](ctx, "rows")
				return err
			},
			process: func(r Record[string, string]) error {
				had, timestamp, present, err := rows.PutIfAbsent(r.Key, r.Value, r.Timestamp)
				if present != (r.Timestamp > 5) || present && (had != "first" || timestamp != 5) {
					return fmt.Errorf("%q %d %v", had, timestamp, present)
				}
				return err
			},
		}
	}, "s")
	store(b, "rows", "p")
	graph := instantiate(t, &host{}, b.Build)
	for timestamp, value := range []string{5: "first", 6: "second"} {
		if value == "" {
			continue
		}
		if err := graph.process("in", []byte("k"), []byte(value), int64(timestamp), nil); err != nil {
			t.Error(err)
		}
	}
}

// TestScans compares scans with a model, through caches that evict all the time and stores that give their entries in
// batches. While it goes on, keys are put and deleted: an entry that is not touched must come, one that is there neither before
// nor after must not, and the order is that of the keys.
func TestScans(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	key := func() string { return fmt.Sprintf("%03d", rng.IntN(400)) }
	for _, caching := range []int{0, 2, 30, 1000} {
		model := make(map[string]string)
		h := &host{caching: caching}
		change := func(rows *KeyValueStore[string, string], touched map[string]bool) error {
			k := key()
			touched[k] = true
			if rng.IntN(3) == 0 {
				delete(model, k)
				return rows.Delete(k)
			}
			model[k] = fmt.Sprint("v", rng.IntN(1000))
			return rows.Put(k, model[k])
		}
		work := func(_ *Context[string, string], rows *KeyValueStore[string, string]) error {
			for range 200 {
				if err := change(rows, map[string]bool{}); err != nil {
					return err
				}
			}
			from, to := key(), key()
			entries, bounded := rows.Range(from, to), rng.IntN(3) > 0
			if !bounded {
				entries = rows.All()
			}
			inRange := func(k string) bool { return !bounded || k >= from && k <= to }
			before := maps.Clone(model)
			touched, changes, stopAt := make(map[string]bool), rng.IntN(2), rng.IntN(400)
			var got []string
			for entry, err := range entries {
				if err != nil {
					return err
				}
				k := entry.Key
				switch {
				case !inRange(k):
					return fmt.Errorf("%s is not between %s and %s", k, from, to)
				case len(got) > 0 && k <= got[len(got)-1]:
					return fmt.Errorf("%s behind %s", k, got[len(got)-1])
				case !touched[k] && entry.Value != before[k]:
					return fmt.Errorf("%s is %s, want %s", k, entry.Value, before[k])
				}
				got = append(got, k)
				for range changes * rng.IntN(3) {
					if err := change(rows, touched); err != nil {
						return err
					}
				}
				if len(got) == stopAt {
					return nil
				}
			}
			for k := range before {
				if !touched[k] && inRange(k) && !slices.Contains(got, k) {
					return fmt.Errorf("%s is missing", k)
				}
			}
			return nil
		}
		graph := withStore(t, h, StoreSpec{Cached: true}, work)
		for i := range int64(20) {
			if err := graph.process("in", []byte("k"), []byte("v"), i, nil); err != nil {
				t.Fatalf("cache of %d: %v", caching, err)
			}
			if i%5 == 0 {
				mustFlush(t, graph)
			}
		}
	}
}

// TestScanOfATimestampedStore goes over cache and store.
func TestScanOfATimestampedStore(t *testing.T) {
	b := NewStreamsBuilder()
	g := text(b, "in").GroupByKey(String{}, String{})
	g.Count(Materialized{Name: "counts"})
	var seen []string
	Process(text(b, "ask"), func() Processor[string, string, string, string] {
		var rows *TimestampedKeyValueStore[string, int64]
		return &opening[string, string]{
			open: func(ctx *Context[string, string]) (err error) {
				rows, err = OpenTimestampedStore[string, int64](ctx, "counts")
				return err
			},
			process: func(Record[string, string]) error {
				show := func(entries iter.Seq2[TimestampedKeyValue[string, int64], error]) error {
					seen = append(seen, "-")
					for entry, err := range entries {
						if err != nil {
							return err
						}
						seen = append(seen, fmt.Sprintf("%s=%d@%d", entry.Key, entry.Value, entry.Timestamp))
					}
					return nil
				}
				return errors.Join(show(rows.All()), show(rows.Range("b", "c")), show(rows.Range("c", "b")))
			},
		}
	}, []string{"counts"})
	h := &host{caching: 100}
	graph := instantiate(t, h, b.Build)
	graph.must(t, "b", "", 1)
	graph.must(t, "d", "", 2)
	mustFlush(t, graph)
	graph.must(t, "a", "", 3)
	graph.must(t, "d", "", 4)
	if err := graph.process("ask", []byte("k"), []byte(""), 9, nil); err != nil {
		t.Fatal(err)
	}
	checkLines(t, "seen", seen, []string{"-", "a=1@3", "b=1@1", "d=2@4", "-", "b=1@1", "-"})
}

// TestScanErrors: those of the host end the record, whatever the processor does; those of serdes are the program's.
func TestScanErrors(t *testing.T) {
	h := &host{}
	graph := withStore(t, h, StoreSpec{}, func(_ *Context[string, string], rows *KeyValueStore[string, string]) error {
		n := 0
		for _, err := range rows.All() {
			if n++; err == nil || n > 1 {
				return fmt.Errorf("entry %d: %w", n, err)
			}
		}
		return nil // the error is swallowed
	})
	h.stores["rows"].scanErr = &failing{6}
	err := graph.process("in", []byte("k"), []byte("v"), 1, nil)
	if target := (*failing)(nil); !errors.As(err, &target) || !strings.Contains(err.Error(), "scan store rows") {
		t.Errorf("got %v", err)
	}
}
