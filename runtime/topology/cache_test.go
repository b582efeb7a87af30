package topology

import (
	"fmt"
	"testing"
)

const foldStore = "KSTREAM-AGGREGATE-STATE-STORE-0000000001"

func (g *Graph) must(t *testing.T, key, value string, timestamp int64, headers ...Header) {
	t.Helper()
	err := g.Process(Input{
		Topic: "in", Partition: 2, Offset: timestamp, Key: []byte(key), Value: []byte(value), Timestamp: timestamp, Headers: headers,
	})
	if err != nil {
		t.Fatal(err)
	}
}

func mustFlush(t *testing.T, g *Graph) {
	t.Helper()
	if err := g.Flush(); err != nil {
		t.Fatal(err)
	}
}

// TestCacheKeepsTheLast checks the record cache's rules (KIP-63): nothing goes on before a flush, then the last update of
// each key does, in the order in which the keys became dirty, and only then it is in the store and its changelog.
func TestCacheKeepsTheLast(t *testing.T) {
	h := &host{caching: 100}
	graph := instantiate(t, h, joined().Build)
	graph.must(t, "k", "a", 20, Header{Key: "1"})
	graph.must(t, "j", "x", 5, Header{Key: "2"})
	graph.must(t, "k", "b", 10, Header{Key: "3"})
	puts := h.stores[foldStore]
	if len(h.sent) != 0 || len(puts.puts) != 0 {
		t.Fatalf("before the flush: sent %v, put %v", h.sent, puts.puts)
	}
	mustFlush(t, graph)
	want := []string{"out/-1 k=ab@20", "out/-1 j=x@5"}
	checkLines(t, "sent", h.sent, want)
	checkLines(t, "put", puts.puts, []string{"k=ab@20", "j=x@5"})
	if got := fmt.Sprint(h.headers); got != "[[{3 []}] [{2 []}]]" {
		t.Errorf("headers %s, want those of the last update", got)
	}
	mustFlush(t, graph)
	checkLines(t, "sent by an empty flush", h.sent, want)
}

// TestCacheDeletes: a row that is put and deleted between two flushes has never been there; the deletion of one that
// has been there goes on with the time of its record.
func TestCacheDeletes(t *testing.T) {
	h := &host{caching: 100}
	graph := instantiate(t, h, joined().Build)
	graph.must(t, "k", "a", 20)
	graph.must(t, "k", "-", 25)
	mustFlush(t, graph)
	puts := h.stores[foldStore]
	if len(h.sent) != 0 || len(puts.puts) != 0 {
		t.Errorf("sent %v, put %v", h.sent, puts.puts)
	}
	graph.must(t, "k", "b", 30)
	mustFlush(t, graph)
	graph.must(t, "k", "-", 28)
	graph.must(t, "k", "c", 29) // the row begins anew
	graph.must(t, "k", "-", 27)
	mustFlush(t, graph)
	checkLines(t, "sent", h.sent, []string{"out/-1 k=b@30", "out/-1 k=@27"})
	checkLines(t, "put", puts.puts, []string{"k=b@30", "k=@27"})
}

// TestCacheOfALeaf: a table that nobody reads is kept by the same rules, and its values are not read back.
func TestCacheOfALeaf(t *testing.T) {
	b := NewStreamsBuilder()
	Table(b, "table", String{}, oneWay{}, Materialized{Name: "rows"})
	h := &host{caching: 100}
	graph := instantiate(t, h, b.Build)
	for key, values := range map[string][]string{"k": {"-"}, "l": {"-", "-"}} {
		for i, value := range values {
			update(t, graph, key, value, int64(i))
		}
	}
	mustFlush(t, graph)
	if got := h.stores["rows"].puts; len(got) > 0 {
		t.Errorf("put %v, want nothing for rows that were never there", got)
	}
}

// TestCacheEvicts: an eviction takes along everything that is dirty, itself first.
func TestCacheEvicts(t *testing.T) {
	h := &host{caching: 3}
	graph := instantiate(t, h, joined().Build)
	graph.must(t, "a", "1", 1)
	graph.must(t, "b", "2", 2)
	graph.must(t, "a", "3", 3) // b is the one to go now
	graph.must(t, "c", "4", 4)
	if len(h.sent) != 0 {
		t.Fatalf("sent %v", h.sent)
	}
	graph.must(t, "d", "5", 5)
	checkLines(t, "sent", h.sent, []string{"out/-1 b=2@2", "out/-1 a=13@3", "out/-1 c=4@4", "out/-1 d=5@5"})
	mustFlush(t, graph)
	if len(h.sent) != 4 {
		t.Errorf("sent %v once more", h.sent[4:])
	}
	graph.must(t, "b", "6", 6) // not in the cache any more
	mustFlush(t, graph)
	checkLines(t, "sent", h.sent[4:], []string{"out/-1 b=26@6"})
}

// TestCacheReadsThrough looks at what is asked of the store: nothing that the cache knows, and the old value at a flush only
// if somebody wants it.
func TestCacheReadsThrough(t *testing.T) {
	for _, wanted := range []bool{false, true} {
		t.Run(fmt.Sprintf("old=%v", wanted), func(t *testing.T) {
			b := NewStreamsBuilder()
			table := text(b, "in").GroupByKey(String{}, String{}).Count()
			var changes []string
			watch(table, &changes)
			if wanted {
				table.rows.sendOld(true)
			}
			h := &host{caching: 100}
			graph := instantiate(t, h, b.Build)
			h.stores[foldStore].rows["k"] = row{[]byte{0, 0, 0, 0, 0, 0, 0, 7}, 3}
			for i := range int64(3) {
				graph.must(t, "k", "", 10+i)
			}
			gets := h.stores[foldStore].gets
			if gets != 1 || h.caches[foldStore].filled != 1 {
				t.Errorf("%d look-ups for 3 updates, %d filled into the cache, want 1", gets, h.caches[foldStore].filled)
			}
			mustFlush(t, graph)
			gets = h.stores[foldStore].gets - gets
			if wanted {
				checkLines(t, "changes", changes, []string{"10 <- 7 @12"})
				if gets != 1 {
					t.Errorf("%d look-ups at the flush, want 1", gets)
				}
			} else {
				checkLines(t, "changes", changes, []string{"10 <- none @12"})
				if gets != 0 {
					t.Errorf("%d look-ups at the flush, want none", gets)
				}
			}
		})
	}
}

// TestCacheHandsTheContextBack: downstream of a cache a processor sees the record that the update came from.
func TestCacheHandsTheContextBack(t *testing.T) {
	b := NewStreamsBuilder()
	table := text(b, "in").GroupByKey(String{}, String{}).Count()
	var seen []string
	Process(table.ToStream(), Stateless(func(ctx *Context[string, int64], r Record[string, int64]) error {
		m, ok := ctx.RecordMetadata()
		seen = append(seen, fmt.Sprintf("%s=%d %v %v ts=%d %v", r.Key, r.Value, m, ok, ctx.Timestamp(), ctx.Headers()))
		return nil
	}), nil)
	h := &host{caching: 100}
	graph := instantiate(t, h, b.Build)
	graph.must(t, "k", "", 20, Header{Key: "h"})
	graph.must(t, "j", "", 21)
	graph.must(t, "k", "", 15, Header{Key: "i"})
	mustFlush(t, graph)
	// The row is of 20, the record of 15.
	checkLines(t, "seen", seen, []string{
		"k=2 {in 2 15} true ts=20 [{i []}]", "j=1 {in 2 21} true ts=21 []",
	})
}

// TestCachesInARow: what one cache lets go of waits in the next one, which is flushed behind it in the same commit.
func TestCachesInARow(t *testing.T) {
	b := NewStreamsBuilder()
	counts := text(b, "in").GroupByKey(String{}, String{}).Count()
	tens := MapTableValues(counts, func(_ string, n int64) int64 { return 10 * n }, Int64{}, Materialized{Name: "tens"})
	tens.ToStream().To("out", String{}, text64{})
	h := &host{caching: 100}
	graph := instantiate(t, h, b.Build)
	for i := range int64(3) {
		graph.must(t, "k", "", i)
		graph.must(t, "j", "", i)
	}
	if len(h.sent) > 0 || len(h.caches["tens"].entries) > 0 {
		t.Fatalf("before the flush: sent %v, cached %v", h.sent, h.caches["tens"].entries)
	}
	mustFlush(t, graph)
	checkLines(t, "sent", h.sent, []string{"out/-1 k=30@2", "out/-1 j=30@2"})
	if n := len(h.stores["tens"].puts); n != 2 {
		t.Errorf("%d updates of the second store, want 2", n)
	}
}

// text64 writes numbers as text.
type text64 struct{ Int64 }

func (text64) Serialize(n int64) ([]byte, error) { return fmt.Append(nil, n), nil }
