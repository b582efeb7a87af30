package topology

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// update is a record of a table's topic; a value of "-" is null.
func update(t *testing.T, g *Graph, key, value string, timestamp int64) {
	t.Helper()
	in := Input{Topic: "table", Key: []byte(key), Value: []byte(value), Timestamp: timestamp}
	if value == "-" {
		in.Value = nil
	}
	if err := g.Process(in); err != nil {
		t.Fatal(err)
	}
}

// TestTable: with a store, without one, and with a cache.
func TestTable(t *testing.T) {
	tests := []struct {
		name     string
		options  []TableOption
		sendsOld bool
		caching  int
		changes  []string
		puts     []string
	}{
		{"not kept", nil, false, 0, []string{"a <- none @5", "b <- none @4", "none <- none @6", "none <- none @7"}, nil},
		{
			"kept by name",
			[]TableOption{Materialized{Name: "rows"}},
			false, 0,
			[]string{"a <- none @5", "b <- none @4", "none <- none @6", "none <- none @7"},
			[]string{"k=a@5", "k=b@4", "k=@6", "k=@7"},
		},
		{
			"old values", nil, true, 0,
			[]string{"a <- none @5", "b <- a @4", "none <- b @6", "none <- none @7"},
			[]string{"k=a@5", "k=b@4", "k=@6", "k=@7"},
		},
		{"cached", []TableOption{Materialized{Name: "rows"}}, true, 100, []string{"b <- none @4", "none <- b @7"}, []string{"k=b@4", "k=@7"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := NewStreamsBuilder()
			table := rows(b, "table", test.options...)
			var changes []string
			watch(table, &changes)
			if test.sendsOld {
				table.rows.sendOld(true)
			}
			h := &host{caching: test.caching}
			graph := instantiate(t, h, b.Build)
			update(t, graph, "k", "a", 5)
			update(t, graph, "k", "b", 4) // late, but it is the row now
			if test.caching > 0 {
				mustFlush(t, graph)
			}
			update(t, graph, "k", "-", 6)
			update(t, graph, "k", "-", 7)
			mustFlush(t, graph)
			checkLines(t, "changes", changes, test.changes)
			var puts []string
			for _, m := range h.stores {
				puts = append(puts, m.puts...)
			}
			checkLines(t, "put", puts, test.puts)
		})
	}
}

// TestTableWithoutKeys: such records are left out before a serde is asked, which might have no null.
func TestTableWithoutKeys(t *testing.T) {
	b := NewStreamsBuilder()
	var changes []string
	watch(rows(b, "table"), &changes)
	watch(Stream(b, "stream", Bytes{}, String{}).ToTable(Bytes{}, String{}), &changes)
	h := &host{}
	program, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	for sub, topic := range []string{"table", "stream"} {
		graph, err := program.Instantiate(sub, h)
		if err != nil {
			t.Fatal(err)
		}
		if err := graph.process(topic, nil, []byte("v"), 1, nil); err != nil {
			t.Fatal(err)
		}
		if graph.Dropped() != (Dropped{Nulls: 1}) || len(changes) > 0 || len(h.failures) > 0 {
			t.Errorf("%s: dropped %+v, changes %v, failures %v", topic, graph.Dropped(), changes, h.failures)
		}
	}
}

// TestTableFilter: a row that does not pass any more is deleted. Where the rows are kept upstream, old values come along and save
// deletions of what was not there (KAFKA-10077); else every row that does not pass is one.
func TestTableFilter(t *testing.T) {
	keep := func(_, value string) bool { return strings.HasPrefix(value, "y") }
	tests := []struct {
		name     string
		table    []TableOption
		filter   []TableOption
		sendsOld bool
		changes  []string
	}{
		{"nothing is kept", nil, nil, false, []string{"none <- none @1", "y1 <- none @2", "y2 <- none @3", "none <- none @4", "none <- none @5"}},
		{"rows upstream", []TableOption{Materialized{Name: "up"}}, nil, false, []string{"y1 <- none @2", "y2 <- y1 @3", "none <- y2 @4"}},
		{"rows of its own", nil, []TableOption{Materialized{Name: "own"}}, false, []string{
			"none <- none @1", "y1 <- none @2", "y2 <- none @3", "none <- none @4", "none <- none @5",
		}},
		{"rows of its own, and old values", nil, []TableOption{Materialized{Name: "own"}}, true, []string{
			"y1 <- none @2", "y2 <- y1 @3", "none <- y2 @4",
		}},
		{"old values force rows upstream", nil, nil, true, []string{"y1 <- none @2", "y2 <- y1 @3", "none <- y2 @4"}},
	}
	for _, test := range tests {
		for _, not := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, not=%v", test.name, not), func(t *testing.T) {
				b := NewStreamsBuilder()
				table := rows(b, "table", test.table...)
				if not {
					table = table.FilterNot(func(k, v string) bool { return !keep(k, v) }, test.filter...)
				} else {
					table = table.Filter(keep, test.filter...)
				}
				var changes []string
				watch(table, &changes)
				if test.sendsOld {
					table.rows.sendOld(true)
				}
				graph := instantiate(t, &host{}, b.Build)
				for i, value := range []string{"n1", "y1", "y2", "n2", "n3"} {
					update(t, graph, "k", value, int64(i+1))
				}
				checkLines(t, "changes", changes, test.changes)
			})
		}
	}
}

// TestTableMapValues asks the function for rows that are there only.
func TestTableMapValues(t *testing.T) {
	b := NewStreamsBuilder()
	table := MapTableValues(rows(b, "table"), func(key, value string) []byte {
		if value == "null" {
			return nil
		}
		return []byte(key + value)
	}, Serde[[]byte](Bytes{}))
	table.rows.sendOld(true)
	var changes []string
	watch(table, &changes)
	table.ToStream().To("out", String{}, Bytes{})
	h := &host{}
	graph := instantiate(t, h, b.Build)
	for i, value := range []string{"a", "null", "b", "-"} {
		update(t, graph, "k", value, int64(i))
	}
	checkLines(t, "changes", changes, []string{"[107 97] <- none @0", "none <- [107 97] @1", "[107 98] <- none @2", "none <- [107 98] @3"})
	checkLines(t, "sent", h.sent, []string{"out/-1 k=ka@0", "out/-1 k=@1", "out/-1 k=kb@2", "out/-1 k=@3"})
}

// TestToNullableStream writes deletions as nulls where the values have none.
func TestToNullableStream(t *testing.T) {
	b := NewStreamsBuilder()
	ToNullableStream(rows(b, "table")).To("out", String{}, Nullable[string](String{}))
	h := &host{}
	graph := instantiate(t, h, b.Build)
	update(t, graph, "k", "", 1)
	update(t, graph, "k", "-", 2)
	checkLines(t, "sent", h.sent, []string{"out/-1 k=@1", "out/-1 k=@2"})
}

// TestToStreamWithoutANull: a serde that writes null for a value of a type that has none deletes a row, too. That cannot be
// known before it happens.
func TestToStreamWithoutANull(t *testing.T) {
	b := NewStreamsBuilder()
	Aggregate(text(b, "in").GroupByKey(String{}, String{}), func() string { return "" },
		func(_, value, _ string) string { return value }, gone{}).ToStream().To("out", String{}, String{})
	graph := instantiate(t, &host{}, b.Build)
	err := graph.process("in", []byte("k"), []byte("v"), 1, nil)
	if target := (*ProcessingError)(nil); !errors.As(err, &target) || !errors.Is(err, ErrNull) {
		t.Errorf("got %v", err)
	}
}

// TestToTable repartitions where the key may have changed.
func TestToTable(t *testing.T) {
	b := NewStreamsBuilder()
	table := SelectKey(Stream(b, "in", String{}, Bytes{}), func(k string, _ []byte) string { return k + k }).
		ToTable(String{}, Bytes{}, Materialized{})
	var changes []string
	watch(table, &changes)
	program, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	const topic = "KSTREAM-TOTABLE-0000000002-repartition"
	if got := program.InternalRepartitionTopics(); len(got) != 1 || got[0].Name != topic {
		t.Fatalf("repartition topics %v", got)
	}
	h := &host{}
	graph, err := program.Instantiate(1, h)
	if err != nil {
		t.Fatal(err)
	}
	for i, value := range [][]byte{[]byte("v"), nil} {
		if err := graph.process(topic, []byte("k"), value, int64(i), nil); err != nil {
			t.Fatal(err)
		}
	}
	checkLines(t, "changes", changes, []string{"[118] <- none @0", "none <- none @1"})
}

func TestReduce(t *testing.T) {
	b := NewStreamsBuilder()
	Stream(b, "in", Bytes{}, Bytes{}).GroupByKey(Bytes{}, Bytes{}).Reduce(func(all, value []byte) []byte {
		if string(value) == "-" {
			return nil
		}
		return fmt.Appendf(nil, "%s%s", all, value)
	}).ToStream().To("out", Bytes{}, Bytes{})
	h := &host{}
	graph := instantiate(t, h, b.Build)
	for i, value := range []string{"a", "b", "-", "c"} {
		if err := graph.process("in", []byte("k"), []byte(value), int64(10-i), nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range []struct{ key, value []byte }{{nil, []byte("v")}, {[]byte("k"), nil}} {
		if err := graph.process("in", r.key, r.value, 1, nil); err != nil {
			t.Fatal(err)
		}
	}
	checkLines(t, "sent", h.sent, []string{"out/-1 k=a@10", "out/-1 k=ab@10", "out/-1 k=@10", "out/-1 k=c@7"})
	checkLines(t, "put", h.stores["KSTREAM-REDUCE-STATE-STORE-0000000001"].puts, []string{"k=a@10", "k=ab@10", "k=@8", "k=c@7"})
	if graph.Dropped() != (Dropped{Nulls: 2}) {
		t.Errorf("dropped %+v, want 2 nulls", graph.Dropped())
	}
}
