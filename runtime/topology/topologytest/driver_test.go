package topologytest

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

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

// lines are records as text.
func lines(records []Record) string {
	var all []string
	for _, r := range records {
		all = append(all, fmt.Sprintf("%s=%v@%d", r.Key, r.Value, r.Timestamp))
	}
	return strings.Join(all, " ")
}

// twice counts by key and counts the counts by their last digit, behind a repartition.
func twice(t *testing.T) *topology.Topology {
	t.Helper()
	b := topology.NewStreamsBuilder()
	text, long := topology.String{}, topology.Int64{}
	counts := topology.Stream(b, "in", text, text).GroupByKey(text, text).Count(topology.Materialized{Name: "counts"})
	counts.ToStream().To("out", text, long)
	topology.GroupTableBy(counts, func(_ string, n int64) (string, int64) { return fmt.Sprint(n % 10), n }, text, long, "digits").
		Count(topology.Materialized{Name: "digits"}).ToStream().To("digits-out", text, long)
	program, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// TestDriverCommits: with a cache, records go on at a commit, sub-topology by sub-topology as the commits of a thread pass.
func TestDriverCommits(t *testing.T) {
	driver, err := NewWith(twice(t), Config{CacheBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	for i := range int64(3) {
		if err := driver.Pipe("in", []byte("k"), []byte("v"), i); err != nil {
			t.Fatal(err)
		}
	}
	if n := driver.Writes(); n != 0 {
		t.Fatalf("%d writes before the commit", n)
	}
	if err := driver.Commit(); err != nil {
		t.Fatal(err)
	}
	if got := lines(driver.Records("out")); got != "k=[0 0 0 0 0 0 0 3]@2" {
		t.Errorf("out: %s", got)
	}
	if len(driver.Changelog("counts")) != 1 || len(driver.Records("digits-repartition")) != 1 || len(driver.Records("digits-out")) != 0 {
		t.Errorf("behind the first commit: %v", driver.topics)
	}
	if err := driver.CommitAll(); err != nil {
		t.Fatal(err)
	}
	if got := lines(driver.Records("digits-out")); got != "3=[0 0 0 0 0 0 0 1]@2" {
		t.Errorf("digits-out: %s", got)
	}
	if err := driver.Close(); err != nil {
		t.Error(err)
	}
}

// TestCachesChangeNothingInTheEnd runs the same records without a cache and with caches of all sizes, committed at random: what
// lies in the stores is the same, with timestamps, and so is the last output of each key; what was swallowed in between is
// all that may differ.
func TestCachesChangeNothingInTheEnd(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	type end struct {
		counts, digits map[string]Entry
		out            map[string]string
		writes         int
	}
	run := func(bytes int64) end {
		rng, commits := rand.New(rand.NewPCG(seed, 0)), rand.New(rand.NewPCG(seed, 1))
		driver, err := NewWith(twice(t), Config{Partitions: 3, CacheBytes: bytes})
		if err != nil {
			t.Fatal(err)
		}
		for range 2000 {
			if err := driver.Pipe("in", fmt.Appendf(nil, "k%d", rng.IntN(40)), []byte("v"), rng.Int64N(1000)); err != nil {
				t.Fatal(err)
			}
			if commits.IntN(20) == 0 {
				if err := driver.Commit(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := driver.CommitAll(); err != nil {
			t.Fatal(err)
		}
		e := end{out: make(map[string]string), writes: driver.Writes()}
		for _, r := range driver.Records("out") {
			e.out[string(r.Key)] = fmt.Sprintf("%v@%d", r.Value, r.Timestamp)
		}
		if e.counts, err = driver.Entries("counts"); err != nil {
			t.Fatal(err)
		}
		if e.digits, err = driver.Entries("digits"); err != nil {
			t.Fatal(err)
		}
		return e
	}
	equal := func(a, b Entry) bool { return string(a.Value) == string(b.Value) && a.Timestamp == b.Timestamp }
	want := run(0)
	for _, bytes := range []int64{1, 100, 1000, 1 << 20} {
		got := run(bytes)
		if !maps.EqualFunc(got.counts, want.counts, equal) || !maps.Equal(got.out, want.out) {
			t.Errorf("cache of %d bytes: the counts differ", bytes)
		}
		// A digit that no count ever had at a commit has no row, where it has one that says 0 without a cache.
		for key, entry := range want.digits {
			if n := got.digits[key].Value; entry.Value[7] != 0 && string(n) != string(entry.Value) {
				t.Errorf("cache of %d bytes: digit %s is %v, want %v", bytes, key, n, entry.Value)
			}
		}
		if bytes > 1000 && got.writes >= want.writes/2 {
			t.Errorf("cache of %d bytes: %d writes, and %d without", bytes, got.writes, want.writes)
		}
	}
}

// ticking forwards the number of records since the last call, each second of the wall clock and each ten milliseconds of
// stream time, and asks for a commit at "commit".
type ticking struct {
	ctx *topology.Context[string, string]
	n   int
}

func (p *ticking) Init(ctx *topology.Context[string, string]) error {
	p.ctx = ctx
	tick := func(clock string) func(int64) error {
		return func(at int64) error {
			return ctx.Forward(topology.Record[string, string]{Key: clock, Value: fmt.Sprint(p.n), Timestamp: at})
		}
	}
	ctx.Schedule(time.Second, topology.WallClockTime, tick("wall"))
	ctx.Schedule(10*time.Millisecond, topology.StreamTime, tick("stream"))
	return nil
}

func (p *ticking) Process(r topology.Record[string, string]) error {
	p.n++
	switch r.Value {
	case "commit":
		p.ctx.Commit()
	case "fail":
		return errors.New("no")
	}
	return nil
}

func (p *ticking) Close() error { return nil }

// TestDriverClocks advances both clocks.
func TestDriverClocks(t *testing.T) {
	b := topology.NewStreamsBuilder()
	text := topology.String{}
	in := topology.Stream(b, "in", text, text)
	topology.Process(in, func() topology.Processor[string, string, string, string] { return &ticking{} }, nil).
		To("out", text, text)
	in.GroupByKey(text, text).Count().ToStream().To("counts", text, topology.Int64{})
	program, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	var failures []topology.Failure
	driver, err := NewWith(program, Config{
		CacheBytes: 1 << 20, Start: time.UnixMilli(100_500),
		Handler: func(f topology.Failure) topology.Response {
			failures = append(failures, f)
			return topology.Continue
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	pipe := func(value string, timestamp int64) {
		t.Helper()
		if err := driver.Pipe("in", []byte("k"), []byte(value), timestamp); err != nil {
			t.Fatal(err)
		}
	}
	pipe("a", 7)
	pipe("b", 9)
	if err := driver.Advance(2500 * time.Millisecond); err != nil {
		t.Fatal(err)
	}
	pipe("fail", 35)
	if n := len(driver.Records("counts")); n != 0 {
		t.Errorf("%d counts before a commit", n)
	}
	pipe("commit", 36)
	pipe("c", 40)
	var got []string
	for _, r := range driver.Records("out") {
		got = append(got, fmt.Sprintf("%s=%s@%d", r.Key, r.Value, r.Timestamp))
	}
	if want := "stream=1@7, wall=2@103000, stream=3@35, stream=5@40"; strings.Join(got, ", ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
	if got := lines(driver.Records("counts")); got != "k=[0 0 0 0 0 0 0 4]@36" {
		t.Errorf("counts: %s, want what there was at the commit that was asked for", got)
	}
	if len(failures) != 1 || failures[0].Offset != 2 || driver.Dropped() != (topology.Dropped{Processing: 1}) {
		t.Errorf("failures %+v, dropped %+v", failures, driver.Dropped())
	}
	if driver.Now() != time.UnixMilli(103_000) {
		t.Errorf("now %v", driver.Now())
	}
}

// TestDriverPartitionTime: a record without a timestamp gets that of its partition.
func TestDriverPartitionTime(t *testing.T) {
	b := topology.NewStreamsBuilder()
	text := topology.String{}
	topology.Stream(b, "in", text, text, topology.Consumed{Timestamps: topology.UsePartitionTime}).To("out", text, text)
	program, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	driver, err := New(program, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := driver.Pipe("in", []byte("k"), []byte("v"), -1); err == nil {
		t.Error("the partition has no time yet")
	}
	for _, timestamp := range []int64{5, 3, -1} {
		if err := driver.Pipe("in", []byte("k"), []byte("v"), timestamp); err != nil {
			t.Fatal(err)
		}
	}
	if got := lines(driver.Records("out")); got != "k=[118]@5 k=[118]@3 k=[118]@5" {
		t.Errorf("got %s", got)
	}
}

// growing keeps the value of each key in a store with a cache, and checks that what is evicted by that does not change what it
// sees of its record.
type growing struct {
	ctx  *topology.Context[string, string]
	rows *topology.KeyValueStore[string, string]
}

func (p *growing) Init(ctx *topology.Context[string, string]) (err error) {
	p.ctx = ctx
	p.rows, err = topology.OpenStore[string, string](ctx, "rows")
	return err
}

func (p *growing) Process(r topology.Record[string, string]) error {
	if err := p.rows.Put(r.Key, r.Value); err != nil {
		return err
	}
	m, ok := p.ctx.RecordMetadata()
	r.Value = fmt.Sprintf("%d %v %d %v", p.ctx.Timestamp(), p.ctx.Headers(), m.Offset, ok)
	return p.ctx.Forward(r)
}

func (p *growing) Close() error { return nil }

// TestContextSurvivesAnEviction lets an update of a grow so that b has to go, and takes a and c along: c is the last that is
// flushed, and a is still at work behind it.
func TestContextSurvivesAnEviction(t *testing.T) {
	b := topology.NewStreamsBuilder()
	text := topology.String{}
	topology.AddStore(b, topology.StoreSpec{Name: "rows", Cached: true, Logged: true}, text, text)
	topology.Process(topology.Stream(b, "in", text, text),
		func() topology.Processor[string, string, string, string] { return &growing{} }, []string{"rows"}).
		To("out", text, text)
	program, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	driver, err := NewWith(program, Config{CacheBytes: 8})
	if err != nil {
		t.Fatal(err)
	}
	for i, record := range []struct{ key, value string }{{"a", "1"}, {"b", "2"}, {"c", "3"}, {"a", "4567"}} {
		header := topology.Header{Key: fmt.Sprint("h", i)}
		if err := driver.Pipe("in", []byte(record.key), []byte(record.value), int64(10+i), header); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, r := range driver.Records("out") {
		got = append(got, string(r.Key)+" "+string(r.Value))
	}
	want := "a 10 [{h0 []}] 0 true, b 11 [{h1 []}] 1 true, c 12 [{h2 []}] 2 true, a 13 [{h3 []}] 3 true"
	if strings.Join(got, ", ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
	if got := lines(driver.Changelog("rows")); got != "b=[50]@11 a=[52 53 54 55]@13 c=[51]@12" {
		t.Errorf("changelog %s", got)
	}
}
