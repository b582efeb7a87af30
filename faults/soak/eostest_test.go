package soak

import (
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"eostop/runtime/topology/topologytest"

	"github.com/twmb/franz-go/pkg/kgo"
)

func TestEosTestTopics(t *testing.T) {
	for _, b := range eosTests() {
		program, topics := buildBuiltin(t, b.name), b.topics("EosTest")
		stores, sinks := map[string]string{}, map[string]bool{}
		for _, sub := range program.SubTopologies() {
			for _, s := range sub.Stores {
				stores[s.Name] = "EosTest-" + s.Name + "-changelog"
			}
			for _, sink := range sub.Sinks {
				sinks[sink] = true
			}
		}
		outputs := slices.Sorted(maps.Values(topics.Outputs))
		if !maps.Equal(stores, topics.Changelogs) || !slices.Equal(slices.Sorted(maps.Keys(sinks)), outputs) || topics.Input != "data" {
			t.Errorf("%s: stores %v, sinks %v; topics %+v", b.name, stores, sinks, topics)
		}
	}
}

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

func TestEosTestSettings(t *testing.T) {
	loaded, err := ReadConfig(Sources{Embedded: embedded(t), Flags: []FlagValue{{Name: "topology", Key: "application.topology", Texts: []string{topologyEosTest}}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := loaded.Validate(); err != nil {
		t.Error(err)
	}
	c := loaded.Config
	if c.Application.ID != "EosTest" || c.Cluster.Partitions != 5 || c.Load.Enabled || c.Verify.Enabled || c.Runtime.RecordCache != 0 || c.Runtime.Instances != 1 {
		t.Errorf("%+v", c)
	}
	c.Load.Enabled = true
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "use --no-load") {
		t.Errorf("with a load: %v", err)
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
	if n := r.Transactions.OpenAtEnd; n != nil && *n != 0 {
		t.Errorf("%d transactions are open at the end", *n)
	}
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
