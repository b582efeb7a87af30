package soak

import (
	"encoding/binary"
	"fmt"

	"eostop/runtime/topology"
)

// Roles of the soak program's output topics. The topic of a role is "<application.id>-<role>".
const (
	RoleCount      = "count"       // records of a key; every tenth value
	RoleSum        = "sum"         // sum of a key's amounts; values that 10 divides
	RoleMax        = "max"         // maximum of a key and what it changed by; one for each input record
	RoleGroupCount = "group-count" // changes of maxima in a group of keys; every tenth value
	RoleGroupSum   = "group-sum"   // sum of what the maxima of a group changed by; values that 10 divides
	RoleGroupMax   = "group-max"   // maximum of a group; one for each change
	RoleTotal      = "total"       // number of changes and maximum over all; one for each change
)

// Stores of the soak program, by what they hold. The names are Kafka Streams' own numbering.
const (
	storeCount      = "KSTREAM-AGGREGATE-STATE-STORE-0000000007"
	storeSum        = "KSTREAM-AGGREGATE-STATE-STORE-0000000013"
	storeMax        = "KSTREAM-AGGREGATE-STATE-STORE-0000000019"
	storeGroupCount = "KSTREAM-AGGREGATE-STATE-STORE-0000000028"
	storeGroupSum   = "KSTREAM-AGGREGATE-STATE-STORE-0000000034"
	storeGroupMax   = "KSTREAM-AGGREGATE-STATE-STORE-0000000040"
	storeTotal      = "KSTREAM-AGGREGATE-STATE-STORE-0000000049"
)

const (
	amountBytes = 8  // at the beginning of an input value: the amount, an int64, never negative
	groups      = 16 // that keys are gathered into
	keepEvery   = 10 // outputs of counts and sums that 10 does not divide are left out
)

// Topics returns the names of the soak program's topics for an application.
func Topics(applicationID string) ProgramTopics {
	return programTopics(applicationID,
		[]string{RoleCount, RoleSum, RoleMax, RoleGroupCount, RoleGroupSum, RoleGroupMax, RoleTotal},
		[]string{storeCount, storeSum, storeMax, storeGroupCount, storeGroupSum, storeGroupMax, storeTotal},
		[]string{"by-key", "by-group", "total"})
}

// Program builds the soak program: an input of amounts by key, repartitioned by another key, counted, summed and
// its maxima taken; changed maxima again by group of keys, and those once more over all. It has four sub-topologies
// and 53 nodes and stores, numbered as Kafka Streams numbers them. Changelogs and repartition topics included it writes
// 13 records for the first input record of a key, whose maximum is always new, and between six and seven on average
// once only one record in eight changes a maximum.
//
// All records of a key pass through one partition at every hop, so the order of a key's records is that of its input.
func Program(applicationID string) (*topology.Topology, error) {
	b := topology.NewStreamsBuilder()
	out := Topics(applicationID).Outputs
	raw, long := topology.Bytes{}, topology.Int64{}

	input := topology.Stream(b, applicationID+"-input", raw, raw).
		Filter(func(_, value []byte) bool { return len(value) >= amountBytes })
	amounts := topology.MapValues(
		topology.SelectKey(input, func(key, _ []byte) []byte { return reversed(key) }).
			Repartition("by-key", raw, raw),
		func(value []byte) int64 { return int64(binary.BigEndian.Uint64(value)) },
	)
	byKey := amounts.GroupByKey(raw, long)

	tenths(byKey.Count()).To(out[RoleCount], raw, long)
	tenths(topology.Aggregate(byKey, zero,
		func(_ []byte, amount, sum int64) int64 { return sum + amount }, long)).
		To(out[RoleSum], raw, long)
	// What a record has changed the maximum by must not get lost in a cache, for all that follows is made of it.
	maxima := topology.Aggregate(byKey, noMaximum,
		func(_ []byte, amount int64, m maximum) maximum { return m.next(amount) }, maximumSerde{},
		topology.Materialized{Uncached: true}).
		ToStream()
	maxima.To(out[RoleMax], raw, maximumSerde{})

	byGroup := topology.SelectKey(
		maxima.Filter(func(_ []byte, m maximum) bool { return m.delta > 0 }),
		func(key []byte, _ maximum) []byte { return groupOf(key) },
	).
		Repartition("by-group", raw, maximumSerde{}).
		GroupByKey(raw, maximumSerde{})

	tenths(byGroup.Count()).To(out[RoleGroupCount], raw, long)
	tenths(topology.Aggregate(byGroup, zero,
		func(_ []byte, m maximum, sum int64) int64 { return sum + m.delta }, long)).
		To(out[RoleGroupSum], raw, long)
	groupMaxima := topology.Aggregate(byGroup, zero,
		func(_ []byte, m maximum, most int64) int64 { return max(most, m.max) }, long).
		ToStream()
	groupMaxima.To(out[RoleGroupMax], raw, long)

	all := topology.SelectKey(groupMaxima, func([]byte, int64) []byte { return []byte("total") }).
		Repartition("total", raw, long).
		Filter(func(_ []byte, most int64) bool { return most >= 0 }).
		GroupByKey(raw, long)
	topology.Aggregate(all, func() total { return total{} },
		func(_ []byte, most int64, t total) total { return total{events: t.events + 1, max: max(t.max, most)} },
		totalSerde{}).
		ToStream().
		To(out[RoleTotal], raw, totalSerde{})

	program, err := b.Build()
	if err != nil {
		return nil, fmt.Errorf("build soak program: %w", err)
	}
	return program, nil
}

// tenths keeps of a table's changes the values that keepEvery divides.
func tenths(table *topology.KTable[[]byte, int64]) *topology.KStream[[]byte, int64] {
	same := func(value int64) int64 { return value }
	return topology.MapValues(table.ToStream(), same).
		Filter(func(_ []byte, value int64) bool { return value%keepEvery == 0 })
}

func zero() int64 { return 0 }

// reversed is a key that is as unique as the one it is made of and lies in another partition.
func reversed(key []byte) []byte {
	r := make([]byte, len(key))
	for i, b := range key {
		r[len(key)-1-i] = b
	}
	return r
}

// groupOf returns "group-00" to "group-15".
func groupOf(key []byte) []byte {
	n := topology.PartitionFor(key, groups)
	return []byte{'g', 'r', 'o', 'u', 'p', '-', byte('0' + n/10), byte('0' + n%10)}
}

// maximum is the greatest amount of a key and what the latest record has changed it by.
type maximum struct{ max, delta int64 }

// noMaximum comes before the first amount. With -1 the first amount is a change even if it is 0.
func noMaximum() maximum { return maximum{max: -1} }

func (m maximum) next(amount int64) maximum {
	most := max(m.max, amount)
	return maximum{max: most, delta: most - m.max}
}

// total is the number of changes of maxima and the greatest of them.
type total struct{ events, max int64 }

// maximumSerde writes max and delta, each 8 bytes big endian.
type maximumSerde struct{}

func (maximumSerde) Serialize(m maximum) ([]byte, error) { return appendPair(m.max, m.delta), nil }

func (maximumSerde) Deserialize(data []byte) (maximum, error) {
	most, delta, err := pair(data)
	return maximum{max: most, delta: delta}, err
}

// totalSerde writes events and max, each 8 bytes big endian.
type totalSerde struct{}

func (totalSerde) Serialize(t total) ([]byte, error) { return appendPair(t.events, t.max), nil }

func (totalSerde) Deserialize(data []byte) (total, error) {
	events, most, err := pair(data)
	return total{events: events, max: most}, err
}

func appendPair(a, b int64) []byte {
	data := binary.BigEndian.AppendUint64(make([]byte, 0, 16), uint64(a))
	return binary.BigEndian.AppendUint64(data, uint64(b))
}

func pair(data []byte) (a, b int64, err error) {
	if len(data) != 16 {
		return 0, 0, fmt.Errorf("pair of %d bytes, want 16", len(data))
	}
	return int64(binary.BigEndian.Uint64(data)), int64(binary.BigEndian.Uint64(data[8:])), nil
}
