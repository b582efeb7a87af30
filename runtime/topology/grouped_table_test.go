package topology

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// TestChangeSerde holds the bytes to Kafka Streams' ChangedSerializer.
func TestChangeSerde(t *testing.T) {
	serde := changeSerde[string]{String{}}
	tests := []struct {
		change Change[string]
		bytes  string
	}{
		{Change[string]{New: "new", HasNew: true}, "new\x01"},
		{Change[string]{Old: "old", HasOld: true}, "old\x00"},
		{Change[string]{New: "ab", HasNew: true, Old: "old", HasOld: true}, "\x04abold\x02"}, // the length is zigzag
		{Change[string]{HasNew: true}, "\x01"},
		{Change[string]{HasNew: true, HasOld: true}, "\x00\x02"},
	}
	for _, test := range tests {
		data, err := serde.Serialize(test.change)
		if err != nil || string(data) != test.bytes {
			t.Errorf("%+v: %q, %v, want %q", test.change, data, err, test.bytes)
		}
		back, err := serde.Deserialize(data)
		if err != nil || back != test.change {
			t.Errorf("%q: %+v, %v, want %+v", data, back, err, test.change)
		}
	}
	// Versioned tables of Java put a flag in between.
	for data, want := range map[string]Change[string]{
		"old\x01\x03":              {Old: "old", HasOld: true},
		"new\x00\x04":              {New: "new", HasNew: true},
		"\x04abold\x01\x05":        {New: "ab", HasNew: true, Old: "old", HasOld: true},
		"\x80\x02" + z128 + "\x02": {New: z128, HasNew: true, HasOld: true},
	} {
		if back, err := serde.Deserialize([]byte(data)); err != nil || back != want {
			t.Errorf("%q: %+v, %v, want %+v", data, back, err, want)
		}
	}
	for _, data := range []string{"", "\x02", "\x09", "\x05", "\x03", "\x04a\x02", "\x05ab\x02", "\xff\x02", "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02"} {
		if back, err := serde.Deserialize([]byte(data)); err == nil {
			t.Errorf("%q is read as %+v", data, back)
		}
	}
	if _, err := serde.Serialize(Change[string]{}); !errors.Is(err, errEmptyChange) {
		t.Errorf("no values: %v", err)
	}
	if _, err := (changeSerde[string]{picky{}}).Serialize(Change[string]{New: "bad", HasNew: true}); !errors.Is(err, errPicky) {
		t.Errorf("a value that is refused: %v", err)
	}
	if _, err := (changeSerde[string]{picky{}}).Serialize(Change[string]{Old: "bad", HasOld: true}); !errors.Is(err, errPicky) {
		t.Errorf("a value that is refused: %v", err)
	}
	if _, err := (changeSerde[int64]{Int64{}}).Deserialize([]byte("123\x01")); err == nil {
		t.Error("a new value of 3 bytes is an int64")
	}
	if _, err := (changeSerde[int64]{Int64{}}).Deserialize([]byte("123\x00")); err == nil {
		t.Error("an old value of 3 bytes is an int64")
	}
}

// z128 is as long as needs two bytes for the length.
var z128 = string(bytes.Repeat([]byte("z"), 128))

// FuzzChangeSerde reads whatever there is without a panic, and what it has read it writes so that it reads the same.
func FuzzChangeSerde(f *testing.F) {
	f.Add([]byte("\x04abold\x02"))
	f.Add([]byte("\x04abold\x01\x05"))
	f.Add([]byte("new\x01"))
	serde := changeSerde[string]{String{}}
	f.Fuzz(func(t *testing.T, data []byte) {
		change, err := serde.Deserialize(data)
		if err != nil {
			return
		}
		again, err := serde.Serialize(change)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := serde.Deserialize(again); err != nil || back != change {
			t.Errorf("%q: %+v, then %+v, %v", data, change, back, err)
		}
	})
}

// TestRowSelector: what goes is passed before what comes, in one record if the key is the same.
func TestRowSelector(t *testing.T) {
	b := NewStreamsBuilder()
	null := func(s string) *string {
		if s == "null" {
			return nil
		}
		return &s
	}
	GroupTableBy(rows(b, "table"), func(_, value string) (*string, *string) { return null(value[:4]), null(value[4:]) },
		Nullable[string](String{}), Nullable[string](String{})).Count()
	h := &host{}
	graph := instantiate(t, h, b.Build)
	for i, value := range []string{"key1a", "key1b", "key2c", "nulld", "key1null", "key1e", "-", "-"} {
		update(t, graph, "k", value, int64(i))
	}
	const topic = "KTABLE-AGGREGATE-STATE-STORE-0000000004-repartition/-1 "
	checkLines(t, "sent", h.sent, []string{
		topic + "key1=a\x01@0",
		topic + "key1=\x02ba\x02@1",
		topic + "key1=b\x00@2", topic + "key2=c\x01@2",
		topic + "key2=c\x00@3",
		topic + "key1=e\x01@5",
		topic + "key1=e\x00@6",
	})
}

// TestGroupedTable runs random updates through a table's aggregates and compares with a count of the rows themselves,
// with and without caches, and with commits at random places.
func TestGroupedTable(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for _, caching := range []int{0, 1, 5, 1000} {
		t.Run(fmt.Sprint("cache of ", caching), func(t *testing.T) { checkGroupedTable(t, rng, caching) })
	}
}

func checkGroupedTable(t *testing.T, rng *rand.Rand, caching int) {
	t.Helper()
	b := NewStreamsBuilder()
	split := func(_, value string) (string, int64) { return value[:1], int64(value[1] - '0') }
	groups := GroupTableBy(rows(b, "table"), split, String{}, Int64{}, "groups")
	plus := func(a, v int64) int64 { return a + v }
	minus := func(a, v int64) int64 { return a - v }
	groups.Count(Materialized{Name: "count"})
	groups.Reduce(plus, minus, Materialized{Name: "sum"})
	AggregateTable(groups, func() int64 { return 1000 },
		func(_ string, v, a int64) int64 { return a + v }, func(_ string, v, a int64) int64 { return a - v },
		Int64{}, Materialized{Name: "thousand"})
	program, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	up, down := &host{caching: caching}, &host{caching: caching}
	upper, err := program.Instantiate(0, up)
	if err != nil {
		t.Fatal(err)
	}
	lower, err := program.Instantiate(1, down)
	if err != nil {
		t.Fatal(err)
	}
	pipe := &piped{host: up, to: lower}
	upper.host = pipe
	model := make(map[string]string)
	for i := range int64(2000) {
		key, value := fmt.Sprint("k", rng.IntN(20)), fmt.Sprintf("%c%d", 'a'+rune(rng.IntN(4)), rng.IntN(10))
		if rng.IntN(4) == 0 {
			value = "-"
			delete(model, key)
		} else {
			model[key] = value
		}
		update(t, upper, key, value, i)
		if rng.IntN(50) == 0 {
			mustFlush(t, upper)
		}
	}
	mustFlush(t, upper)
	mustFlush(t, lower)
	want := make(map[string]map[string]int64)
	for _, store := range []string{"count", "sum", "thousand"} {
		want[store] = make(map[string]int64)
		for key := range down.stores[store].rows {
			want[store][key] = 0
			if store == "thousand" {
				want[store][key] = 1000
			}
		}
	}
	for _, value := range model {
		key, n := value[:1], int64(value[1]-'0')
		want["count"][key]++
		want["sum"][key] += n
		want["thousand"][key] += n
	}
	for store, values := range want {
		for key, value := range values {
			got, err := Int64{}.Deserialize(down.stores[store].rows[key].value)
			if err != nil || got != value {
				t.Errorf("%s of %s is %d, %v, want %d", store, key, got, err, value)
			}
		}
	}
}

// piped is a host whose output goes to the graph behind it.
type piped struct {
	*host
	to *Graph
}

func (p *piped) Send(topic string, _ int32, key, value []byte, timestamp int64, headers []Header) error {
	return p.to.process(topic, key, value, timestamp, headers)
}

// TestSubtractingTheLast: an aggregate that becomes null is a row that is deleted, and begins anew.
func TestSubtractingTheLast(t *testing.T) {
	b := NewStreamsBuilder()
	groups := GroupTableBy(Table(b, "table", String{}, Bytes{}),
		func(_ string, value []byte) (string, []byte) { return "g", value }, String{}, Bytes{}, "groups")
	table := AggregateTable(groups, func() []byte { return []byte{} },
		func(_ string, value, all []byte) []byte { return append(bytes.Clone(all), value...) },
		func(_ string, value, all []byte) []byte {
			if rest := bytes.Replace(all, value, nil, 1); len(rest) > 0 {
				return rest
			}
			return nil
		}, Bytes{})
	table.rows.sendOld(true)
	var changes []string
	watch(table, &changes)
	program, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	graph, err := program.Instantiate(1, &host{})
	if err != nil {
		t.Fatal(err)
	}
	for i, value := range []string{"a\x01", "b\x01", "a\x00", "b\x00", "c\x00", "d\x01"} {
		if err := graph.process("groups-repartition", []byte("g"), []byte(value), int64(10-i), nil); err != nil {
			t.Fatal(err)
		}
	}
	checkLines(t, "changes", changes, []string{
		"[97] <- none @10", "[97 98] <- [97] @10", "[98] <- [97 98] @10", "none <- [98] @10", "none <- none @6", "[100] <- none @5",
	})
}
