package topologytest

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"eostop/runtime/topology"
)

// counting counts by the first letter of the value, after a repartition.
func counting(t *testing.T, partitions int32) *Driver {
	t.Helper()
	b := topology.NewStreamsBuilder()
	text := topology.String{}
	in := topology.Stream(b, "in", topology.Bytes{}, text)
	topology.SelectKey(in, func(_ []byte, value string) string { return value[:1] }).
		Repartition("letters", text, text).
		GroupByKey(text, text).
		Count().ToStream().To("out", text, topology.Int64{})
	program, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	driver, err := New(program, partitions)
	if err != nil {
		t.Fatal(err)
	}
	return driver
}

func TestDriver(t *testing.T) {
	const store = "KSTREAM-AGGREGATE-STATE-STORE-0000000005"
	driver := counting(t, 4)
	for i, value := range []string{"ant", "bee", "asp"} {
		if err := driver.Pipe("in", nil, []byte(value), int64(i), topology.Header{Key: value}); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, r := range driver.Records("out") {
		if want := topology.PartitionFor(r.Key, 4); r.Partition != want {
			t.Errorf("%s went to partition %d, want %d", r.Key, r.Partition, want)
		}
		got = append(got, fmt.Sprintf("%s=%d@%d %s", r.Key, r.Value[7], r.Timestamp, r.Headers[0].Key))
	}
	if want := "a=1@0 ant, b=1@1 bee, a=2@2 asp"; strings.Join(got, ", ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
	entries, err := driver.Entries(store)
	if err != nil || len(entries) != 2 || entries["a"].Value[7] != 2 || entries["a"].Timestamp != 2 {
		t.Errorf("entries %v, %v", entries, err)
	}
	if n := len(driver.Changelog(store)); n != 3 {
		t.Errorf("%d changelog records, want 3", n)
	}
	if n := driver.Writes(); n != 9 {
		t.Errorf("%d writes, want 3 to each of repartition, changelog and out", n)
	}
	if err := driver.Close(); err != nil {
		t.Error(err)
	}
}

func TestDriverErrors(t *testing.T) {
	driver := counting(t, 1)
	if err := driver.Pipe("out", nil, nil, 0); err == nil {
		t.Error("piped into a topic that nobody reads")
	}
	err := driver.Pipe("in", nil, nil, 0)
	if target := (*topology.DeserializationError)(nil); !errors.As(err, &target) || !strings.HasPrefix(err.Error(), "task 0_0: ") {
		t.Errorf("got %v", err)
	}
}
