package topology

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestStatelessOperators(t *testing.T) {
	b := NewStreamsBuilder()
	s := Stream(b, "in", String{}, Int64{}).Filter(func(key string, value int64) bool { return key != "" && value > 1 })
	MapValues(s, func(value int64) string { return fmt.Sprint(value * 2) }).To("doubled", String{}, String{})
	SelectKey(s, func(key string, value int64) string { return fmt.Sprint(key, value) }).To("keyed", String{}, Int64{})
	h := &host{}
	graph := instantiate(t, h, b.Build)
	for i, key := range []string{"a", "b", "", "c"} {
		value, _ := Int64{}.Serialize(int64(i))
		if err := graph.process("in", []byte(key), value, int64(100+i), []Header{{Key: key}}); err != nil {
			t.Fatal(err)
		}
	}
	checkLines(t, "sent", h.sent, []string{
		"doubled/-1 c=6@103", "keyed/-1 c3=\x00\x00\x00\x00\x00\x00\x00\x03@103",
	})
	for _, headers := range h.headers {
		if len(headers) != 1 || headers[0].Key != "c" {
			t.Errorf("headers %v", headers)
		}
	}
}

// joined builds a program that joins the values of a key; "-" removes it.
func joined() *StreamsBuilder {
	b := NewStreamsBuilder()
	Aggregate(Stream(b, "in", Bytes{}, Bytes{}).GroupByKey(Bytes{}, Bytes{}),
		func() []byte { return []byte{} },
		func(_, value, all []byte) []byte {
			if string(value) == "-" {
				return nil
			}
			return fmt.Appendf(nil, "%s%s", all, value)
		}, Bytes{}).
		ToStream().To("out", Bytes{}, Bytes{})
	return b
}

func TestAggregate(t *testing.T) {
	h := &host{}
	graph := instantiate(t, h, joined().Build)
	records := []struct {
		key, value string
		timestamp  int64
	}{{"k", "a", 20}, {"k", "b", 10}, {"j", "x", 5}, {"k", "c", 30}, {"k", "-", 25}, {"k", "d", 1}}
	for _, r := range records {
		if err := graph.process("in", []byte(r.key), []byte(r.value), r.timestamp, nil); err != nil {
			t.Fatal(err)
		}
	}
	// A late record does not turn back the time of its key; a tombstone is logged with its own time.
	checkLines(t, "sent", h.sent, []string{
		"out/-1 k=a@20", "out/-1 k=ab@20", "out/-1 j=x@5", "out/-1 k=abc@30", "out/-1 k=@30", "out/-1 k=d@1",
	})
	checkLines(t, "put", h.stores["KSTREAM-AGGREGATE-STATE-STORE-0000000001"].puts, []string{
		"k=a@20", "k=ab@20", "j=x@5", "k=abc@30", "k=@25", "k=d@1",
	})
}

func TestAggregateLeavesNullsOut(t *testing.T) {
	h := &host{}
	graph := instantiate(t, h, joined().Build)
	for _, r := range []struct{ key, value []byte }{{nil, []byte("v")}, {[]byte("k"), nil}} {
		if err := graph.process("in", r.key, r.value, 1, nil); err != nil {
			t.Fatal(err)
		}
	}
	if len(h.sent) != 0 || graph.Dropped() != (Dropped{Nulls: 2}) {
		t.Errorf("sent %v, dropped %+v, want 2", h.sent, graph.Dropped())
	}
}

func TestAggregateForwardsOldAndNew(t *testing.T) {
	b := NewStreamsBuilder()
	table := Stream(b, "in", String{}, String{}).GroupByKey(String{}, String{}).Count()
	var changes []string
	table.rows.sendOld(true) // as operators do that need old values
	watch(table, &changes)
	graph := instantiate(t, &host{}, b.Build)
	for range 3 {
		if err := graph.process("in", []byte("k"), []byte("v"), 1, nil); err != nil {
			t.Fatal(err)
		}
	}
	checkLines(t, "changes", changes, []string{
		"1 <- none @1", "2 <- 1 @1", "3 <- 2 @1",
	})
}

func TestAggregateErrors(t *testing.T) {
	const name = "KSTREAM-AGGREGATE-STATE-STORE-0000000001"
	tests := []struct {
		name     string
		key      Serde[string]
		value    Serde[string]
		record   string
		stored   []byte
		contains string
	}{
		{"key", picky{}, String{}, "bad", nil, "serialize key for store " + name},
		{"value", String{}, picky{}, "bad", nil, "serialize value for store " + name},
		{"stored value", String{}, gone{}, "k", []byte("v"), "deserialize value of store " + name},
		{"null key", gone{}, String{}, "k", nil, "key for store " + name + ": null"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := NewStreamsBuilder()
			Aggregate(Stream(b, "in", String{}, String{}).GroupByKey(test.key, String{}),
				func() string { return "" },
				func(_, value, _ string) string { return value }, test.value)
			h := &host{}
			graph := instantiate(t, h, b.Build)
			if test.stored != nil {
				h.stores[name].rows[test.record] = row{test.stored, 1}
			}
			err := graph.process("in", []byte(test.record), []byte(test.record), 1, nil)
			target := (*ProcessingError)(nil)
			if !errors.As(err, &target) || target.Node != "KSTREAM-AGGREGATE-0000000002" {
				t.Fatalf("got %v", err)
			}
			if !strings.Contains(err.Error(), test.contains) {
				t.Errorf("error does not say %q: %v", test.contains, err)
			}
		})
	}
}

// gone turns every value into null and can read none.
type gone struct{}

func (gone) Serialize(string) ([]byte, error) { return nil, nil }

func (gone) Deserialize([]byte) (string, error) { return "", ErrNull }

// watch writes down the changes of a table.
func watch[K, V any](table *KTable[K, V], changes *[]string) {
	table.builder.add(func(b *Builder) {
		AddProcessor(b, "watch-"+table.node, Stateless(func(_ *Context[K, V], r Record[K, Change[V]]) error {
			text := func(value V, ok bool) string {
				if !ok {
					return "none"
				}
				return fmt.Sprint(value)
			}
			*changes = append(*changes, fmt.Sprintf("%s <- %s @%d",
				text(r.Value.New, r.Value.HasNew), text(r.Value.Old, r.Value.HasOld), r.Timestamp))
			return nil
		}), table.node)
	}, table.step)
}
