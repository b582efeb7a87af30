package soak

import (
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"eostop/faults/verify"
	"eostop/runtime/topology"
	"eostop/runtime/topology/topologytest"

	"github.com/twmb/franz-go/pkg/kgo"
)

func TestEosTestComputes(t *testing.T) {
	var said []string
	program, err := eosTest(true, func(line string) { said = append(said, line) })
	if err != nil {
		t.Fatal(err)
	}
	driver, err := topologytest.New(program, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := driver.Close(); err != nil {
			t.Error(err)
		}
	}()
	for i := range 100 {
		for _, n := range []int32{5, -3} {
			if err := driver.Pipe("data", []byte("k"), binary.BigEndian.AppendUint32(nil, uint32(n)), int64(i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for topic, want := range map[string]uint64{"echo": uint64(0xffff_fffd), "min": uint64(0xffff_fffd), "max": 5, "sum": 200, "cnt": 200} {
		all := driver.Records(topic)
		if len(all) != 200 {
			t.Fatalf("%s: %d records, want 200", topic, len(all))
		}
		last := all[len(all)-1].Value
		got := uint64(0)
		for _, b := range last {
			got = got<<8 | uint64(b)
		}
		length := 4
		if topic == "sum" || topic == "cnt" {
			length = 8
		}
		if got != want || len(last) != length {
			t.Errorf("%s: %x, want %d in %d bytes", topic, last, want, length)
		}
	}
	slices.Sort(said)
	want := []string{
		"processed 100 records from topic=data", "processed 100 records from topic=repartition",
		"processed 200 records from topic=data", "processed 200 records from topic=repartition",
	}
	if !slices.Equal(said, want) {
		t.Errorf("said %q, want %q", said, want)
	}
}

// Without a load it is one client of those tests; with one it is an experiment like all others. Both are verified.
func TestEosTestSettings(t *testing.T) {
	read := func(flags ...FlagValue) *Loaded {
		loaded, err := ReadConfig(Sources{Embedded: embedded(t), Flags: append(flags, FlagValue{Name: "topology", Key: "application.topology", Texts: []string{topologyEosTest}})})
		if err != nil {
			t.Fatal(err)
		}
		return loaded
	}
	for _, load := range []bool{true, false} {
		loaded := read(FlagValue{Name: "no-load", Key: "load.enabled", Texts: []string{strconv.FormatBool(load)}})
		if err := loaded.Validate(); err != nil {
			t.Error(err)
		}
		c := loaded.Config
		if c.Application.ID != "EosTest" || c.Cluster.Partitions != 5 || c.Runtime.RecordCache != 0 || c.Load.Keys != 20_000 || !c.Verify.Enabled || c.Load.Enabled != load {
			t.Errorf("load %v: %+v", load, c)
		}
		if want := map[bool]int{true: 3, false: 1}[load]; c.Runtime.Instances != want {
			t.Errorf("load %v: %d instances, want %d", load, c.Runtime.Instances, want)
		}
	}
	text := read(FlagValue{Name: "input", Key: "load.input", Texts: []string{"book.txt"}})
	if err := text.Validate(); err == nil || !strings.Contains(err.Error(), "load.input: topology eostest takes numbers of 4 bytes") {
		t.Errorf("lines of text: %v", err)
	}
}

// TestEosTestLoad compares with what the driver of Kafka's tests writes: "0" to "19999", and numbers from 0 to 9999 in 4 bytes.
func TestEosTestLoad(t *testing.T) {
	cfg := DefaultLoadConfig()
	cfg.Topology, cfg.Keys, cfg.Partitions = topologyEosTest, 20_000, 5
	source, err := newRecordSource(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer source.close()
	p, keys := &pendingRecord{}, map[string]int64{}
	for range 100_000 {
		if err := source.fill(p, time.Now()); err != nil {
			t.Fatal(err)
		}
		r := &p.record
		key, err := strconv.Atoi(string(r.Key))
		origin, bad := verify.Decode(r.Headers[0].Value)
		if err != nil || bad != nil || strconv.Itoa(key) != string(r.Key) || key < 0 || key >= 20_000 || len(r.Value) != 4 || binary.BigEndian.Uint32(r.Value) >= 10_000 {
			t.Fatalf("%+v", r)
		}
		if r.Partition != topology.PartitionFor(r.Key, 5) || origin.Partition != r.Partition || origin.KeySequence != keys[string(r.Key)] {
			t.Fatalf("key %s in partition %d, origin %+v", r.Key, r.Partition, origin)
		}
		keys[string(r.Key)]++
	}
	if len(keys) < 19_500 {
		t.Errorf("%d keys only", len(keys))
	}
}

// A client of Kafka's tests of exactly-once: it says what it does, commits on every input partition, also where nothing came, and closes
// well when it is stopped.
func TestEosTestClient(t *testing.T) {
	t.Parallel()
	cfg := reachable(t)
	if brokers := os.Getenv(testBrokers); brokers != "" {
		cfg.Cluster.Brokers = strings.Split(brokers, ",")
	}
	cfg.Application = ApplicationSettings{ID: fmt.Sprintf("EosTest%d", time.Now().UnixNano()), Name: "i", Topology: topologyEosTestComplex}
	cfg.Load.Enabled, cfg.Load.Duration, cfg.Verify.Enabled, cfg.Cluster.Partitions, cfg.Runtime.Instances = false, 0, false, 5, 1
	cfg.Runtime.RecordCache = 0
	var mu sync.Mutex
	var said []string
	s, err := New(cfg, nil, Deps{Say: func(line string) {
		mu.Lock()
		defer mu.Unlock()
		said = append(said, line)
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(cfg.Cluster.Brokers...), kgo.DefaultProduceTopic("data"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	// All to one partition: the others have no records.
	var records []*kgo.Record
	for i := range 250 {
		records = append(records, &kgo.Record{Key: []byte("k"), Value: binary.BigEndian.AppendUint32(nil, uint32(i))})
	}
	if err := client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	admin := administrator(t, &cfg)
	heard := func(line string) bool {
		mu.Lock()
		defer mu.Unlock()
		return slices.Contains(said, line)
	}
	committed := func() int {
		offsets, err := admin.FetchOffsets(t.Context(), cfg.Application.ID)
		if err != nil {
			return 0
		}
		n := 0
		for _, topic := range []string{"data", "repartition"} {
			for partition := range int32(5) {
				if o, ok := offsets.Lookup(topic, partition); ok && o.At >= 0 {
					n++
				}
			}
		}
		return n
	}
	for deadline := time.Now().Add(time.Minute); !heard("processed 200 records from topic=repartition") || committed() < 10; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("offsets of %d partitions are committed, want 10; said %q", committed(), said)
		}
	}
	s.Stop(false)
	r, err := s.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Threads.Died) > 0 || r.Verdict != "" || ExitCode(r) != ExitClean {
		t.Errorf("verdict %q, %v; died %+v", r.Verdict, r.Reasons, r.Threads.Died)
	}
	if r.Records.Processed != 250 {
		t.Errorf("%d records processed, want 250: those of the topic that it reads again are no others", r.Records.Processed)
	}
	if n := r.Transactions.OpenAtEnd; n != nil && *n != 0 {
		t.Errorf("%d transactions are open at the end", *n)
	}
	// What it has left is judged without provenance, as records of Kafka's driver carry none.
	left := verified(t, &cfg, true, verify.Clean)
	if left.Records.In != 250 || *left.Records.Processed != 250 || left.Records.Out != 6*250 || *left.State.DigestChecked != 4*5 {
		t.Errorf("left %+v, %d stores compared", left.Records, *left.State.DigestChecked)
	}
	writeAgain(t, &cfg, "min", func(*kgo.Record) {})
	verified(t, &cfg, true, verify.Violation)
	mu.Lock()
	defer mu.Unlock()
	var states []string
	for _, line := range said {
		if !strings.HasPrefix(line, "processed ") {
			states = append(states, line)
		}
	}
	want := []string{
		"StateChange: CREATED -> REBALANCING", "StateChange: REBALANCING -> RUNNING", "StateChange: RUNNING -> PENDING_SHUTDOWN",
		"StateChange: PENDING_SHUTDOWN -> NOT_RUNNING", "EOS-TEST-CLIENT-CLOSED",
	}
	if !slices.Equal(states, want) {
		t.Errorf("said %q, want %q", states, want)
	}
}
