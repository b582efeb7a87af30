package soak

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"eostop/runtime/topology"
)

// discard is a host whose stores are maps and whose output goes to the graphs behind it, through the bytes only.
type discard struct {
	stores map[string]*mapStore
	graphs map[string]*topology.Graph
	writes int
}

type mapStore struct {
	entries map[string][]byte
	host    *discard
}

func (s *mapStore) Get(key []byte) (value []byte, timestamp int64, ok bool, err error) {
	value, ok = s.entries[string(key)]
	return value, 0, ok, nil
}

func (s *mapStore) Put(key, value []byte, _ int64) error {
	s.entries[string(key)] = value
	s.host.writes++
	return nil
}

func (s *mapStore) Scan(
	[]byte, int, func(key, value []byte, timestamp int64) error,
) (next []byte, done bool, err error) {
	return nil, true, nil // the program scans nothing
}

func (d *discard) TaskID() string { return "0_0" }

func (d *discard) StreamTime() int64 { return 0 }

func (d *discard) WallClock() time.Time { return time.Time{} }

func (d *discard) RequestCommit() {}

func (d *discard) Failed(topology.Failure) topology.Response { return topology.Fail }

func (d *discard) Cache(string) topology.RecordCache { return nil }

func (d *discard) Store(name string) (topology.BytesStore, error) {
	s := &mapStore{entries: make(map[string][]byte), host: d}
	d.stores[name] = s
	return s, nil
}

func (d *discard) Send(topic string, _ int32, key, value []byte, timestamp int64, headers []topology.Header) error {
	d.writes++
	if graph := d.graphs[topic]; graph != nil {
		return graph.Process(topology.Input{Topic: topic, Key: key, Value: value, Timestamp: timestamp, Headers: headers})
	}
	return nil
}

// BenchmarkProgram takes one input record through all four sub-topologies.
func BenchmarkProgram(b *testing.B) {
	program := buildProgram(b)
	host := &discard{stores: make(map[string]*mapStore), graphs: make(map[string]*topology.Graph)}
	for _, sub := range program.SubTopologies() {
		graph, err := program.Instantiate(sub.ID, host)
		if err != nil {
			b.Fatal(err)
		}
		for _, topic := range sub.Sources {
			host.graphs[topic] = graph
		}
	}
	const keys = 10000
	type input struct{ key, value []byte }
	inputs := make([]input, 1<<17)
	rng := rand.New(rand.NewPCG(1, 2))
	counts := make([]int64, keys)
	for i := range inputs {
		key := rng.IntN(keys)
		amount := rng.Int64N(10000)
		if rng.IntN(8) == 0 {
			amount += counts[key] * 10000
		}
		counts[key]++
		value := make([]byte, 100)
		binary.BigEndian.PutUint64(value, uint64(amount))
		inputs[i] = input{fmt.Appendf(nil, "key-%06d", key), value}
	}
	headers := []topology.Header{{Key: "eostop", Value: make([]byte, 28)}}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		in := inputs[i%len(inputs)]
		if err := host.Send("app-input", -1, in.key, in.value, int64(i), headers); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(host.writes)/float64(b.N)-1, "writes/op")
}
