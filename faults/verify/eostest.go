package verify

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Streams of the eostest programs. The plain one has the first three.
const (
	eosEcho = iota
	eosMin
	eosSum
	eosRepartition
	eosMax
	eosCnt
	eosStreams
)

// eosRoles names the streams.
var eosRoles = [eosStreams]string{"echo", "min", "sum", "repartition", "max", "cnt"}

// The stores of the eostest programs.
const (
	storeEosMin = "KSTREAM-AGGREGATE-STATE-STORE-0000000003"
	storeEosSum = "KSTREAM-AGGREGATE-STATE-STORE-0000000007"
	storeEosMax = "KSTREAM-AGGREGATE-STATE-STORE-0000000014"
	storeEosCnt = "KSTREAM-AGGREGATE-STATE-STORE-0000000018"
)

// eosTestModel is the model of EosTestClient, the client of Kafka's own system tests of exactly-once. Inputs have a key and a
// number, 4 bytes big endian; others have no effect. An input owes one output on each stream, whose key is its own:
//
//   - echo: the number.
//   - min and sum: of the key's numbers, the sum in 8 bytes. It wraps around where it overflows.
//
// The complex program has besides:
//
//   - repartition: the number, a topic that the program reads again.
//   - max and cnt: of what it has read there by key, the number of records in 8 bytes.
//
// All records of a key pass through one partition at every hop, so each output is known exactly: the facts of an effect
// are what it must show, by stream. A cache swallows outputs of the stores, for which later ones of the key stand. Under
// at_least_once that may be one of an earlier input on max and cnt: what a former owner has written late to repartition is behind
// what its successor has made of later inputs.
type eosTestModel struct {
	mode      Mode
	further   bool // the complex program
	lax       bool
	anonymous bool
	ids       map[string]int32
	keys      []eosKey
	buf       [8]byte
}

// eosKey is what is known of a key.
type eosKey struct {
	name  string
	tasks []eosTask // one, unless the key is in several input partitions
	most  int32
	count int64
	shown [eosStreams]int64 // by the last output of each stream, on max the greatest
	any   Bits              // streams of which an output was seen
}

// eosTask is what the task of an input partition keeps of a key.
type eosTask struct {
	partition int32
	least     int32
	sum       int64
}

func newEosTest(mode Mode, further bool) *eosTestModel {
	return &eosTestModel{mode: mode, further: further, ids: make(map[string]int32)}
}

// Streams implements Model.
func (m *eosTestModel) Streams() []Stream {
	streams := make([]Stream, m.streams())
	for s := range streams {
		streams[s] = Stream{Role: eosRoles[s], Always: true, Latency: s == eosEcho, Skips: m.mode.Cached && eosStored(s), Shared: m.shared(s)}
	}
	return streams
}

// streams is how many streams there are.
func (m *eosTestModel) streams() int {
	if m.further {
		return eosStreams
	}
	return eosRepartition
}

// eosStored tells whether the outputs of a stream come out of a store.
func eosStored(stream int) bool { return stream != eosEcho && stream != eosRepartition }

// shared tells whether outputs of earlier inputs of a key may stand for those of later ones, too.
func (m *eosTestModel) shared(stream int) bool {
	return m.mode.Cached && m.mode.AtLeastOnce && (stream == eosMax || stream == eosCnt)
}

// Stores implements Model.
func (m *eosTestModel) Stores() []string {
	stores := []string{storeEosMin, storeEosSum}
	if m.further {
		stores = append(stores, storeEosMax, storeEosCnt)
	}
	return stores
}

// Partitions implements Model.
func (m *eosTestModel) Partitions(int, []int) {}

// Relax implements Model.
func (m *eosTestModel) Relax() { m.lax = true }

// Anonymous implements Model.
func (m *eosTestModel) Anonymous() { m.anonymous = true }

// Apply implements Model.
func (m *eosTestModel) Apply(partition int32, name, value []byte, effects []Effect) []Effect {
	if name == nil || len(value) != 4 {
		return effects
	}
	id, ok := m.ids[string(name)]
	if !ok {
		id = int32(len(m.keys))
		m.keys = append(m.keys, eosKey{name: string(name), most: math.MinInt32})
		m.ids[m.keys[id].name] = id
	}
	k := &m.keys[id]
	n := int32(binary.BigEndian.Uint32(value))
	t := k.task(partition)
	t.least, t.sum = min(t.least, n), t.sum+int64(n)
	k.most, k.count = max(k.most, n), k.count+1
	return append(effects, Effect{
		Unit: id, Due: Bit(m.streams()) - 1,
		Facts: Facts{eosEcho: int64(n), eosMin: int64(t.least), eosSum: t.sum, eosRepartition: int64(n), eosMax: int64(k.most), eosCnt: k.count},
	})
}

func (k *eosKey) task(partition int32) *eosTask {
	for i := range k.tasks {
		if k.tasks[i].partition == partition {
			return &k.tasks[i]
		}
	}
	k.tasks = append(k.tasks, eosTask{partition: partition, least: math.MaxInt32})
	return &k.tasks[len(k.tasks)-1]
}

// Splits implements Model.
func (m *eosTestModel) Splits() bool { return false }

// Unit implements Model.
func (m *eosTestModel) Unit(_ int, _ int32, name []byte) (int32, bool) {
	_, known := m.ids[string(name)]
	return noUnit, known
}

// Ready implements Model.
func (m *eosTestModel) Ready(int, *Effect, []byte, []byte) bool { return true }

// Check implements Model.
func (m *eosTestModel) Check(stream int, e *Effect, name, value []byte) Finding {
	if wrong := m.wrong(stream, e, name, value); wrong != "" {
		return Finding{Wrong: wrong}
	}
	m.keys[e.Unit].show(stream, eosNumber(value))
	return Finding{}
}

func (k *eosKey) show(stream int, n int64) {
	if stream == eosMax && k.any.Has(stream) {
		n = max(n, k.shown[stream])
	}
	k.shown[stream], k.any = n, k.any|Bit(stream)
}

// wrong tells what is wrong with an output of an effect.
func (m *eosTestModel) wrong(stream int, e *Effect, name, value []byte) string {
	size := eosSize(stream)
	switch key := m.keys[e.Unit].name; {
	case string(name) != key:
		return fmt.Sprintf("key %q, want %q", name, key)
	case len(value) != size:
		return fmt.Sprintf("value of %d bytes, want %d", len(value), size)
	case eosStored(stream) && m.lax:
		return ""
	default:
		return differs(eosRoles[stream], eosNumber(value), e.Facts[stream], 1)
	}
}

// eosSize is the length of a value in bytes.
func eosSize(stream int) int {
	if stream == eosSum || stream == eosCnt {
		return 8
	}
	return 4
}

// eosNumber reads 4 or 8 bytes.
func eosNumber(value []byte) int64 {
	if len(value) == 4 {
		return int64(int32(binary.BigEndian.Uint32(value)))
	}
	return number(value)
}

// Stands implements Model.
func (m *eosTestModel) Stands(int, *Effect) Bits { return 0 }

// Missed implements Model.
func (m *eosTestModel) Missed(int, *Effect) (settled Bits, blame bool) { return 0, true }

// Short implements Model.
func (m *eosTestModel) Short(stream int, e *Effect) string {
	k, least := &m.keys[e.Unit], e.Facts[eosRepartition]
	switch {
	case !m.shared(stream):
		return ""
	case !k.any.Has(stream):
		k.any |= Bit(stream)
		k.shown[stream] = math.MaxInt64 // it is reported once
		return fmt.Sprintf("%q: no %s was written", k.name, eosRoles[stream])
	case stream == eosMax && k.shown[stream] < least:
		short := fmt.Sprintf("%q: the greatest max is %d, want at least %d", k.name, k.shown[stream], least)
		k.shown[stream] = math.MaxInt64
		return short
	}
	return ""
}

// Late implements Model.
func (m *eosTestModel) Late(int, []byte, []byte) (repeated bool, wrong string) { return true, "" }

// Repeated implements Model.
func (m *eosTestModel) Repeated(stream int, name, value []byte) {
	if id, ok := m.ids[string(name)]; ok && len(value) == eosSize(stream) {
		m.keys[id].show(stream, eosNumber(value))
	}
}

// Finals implements Model. Without provenance any output of a key may stand for those before it, so that only the last one shows
// whether something is missing. Where those of earlier inputs stand for later ones, too, one of them has to show the maximum.
func (m *eosTestModel) Finals() []Missing {
	if !m.anonymous || !m.mode.Cached {
		return nil
	}
	var all []Missing
	for i := range m.keys {
		k := &m.keys[i]
		t := &k.tasks[0] // where there are more nothing is judged
		for stream := range m.streams() {
			want := Facts{eosMin: int64(t.least), eosSum: t.sum, eosMax: int64(k.most), eosCnt: k.count}[stream]
			switch {
			case !eosStored(stream):
			case !k.any.Has(stream):
				all = append(all, Missing{stream, fmt.Sprintf("%q: no %s was written", k.name, eosRoles[stream])})
			case m.lax && stream == eosMax && m.shared(stream) && k.shown[stream] < want:
				all = append(all, Missing{stream, fmt.Sprintf("%q: the greatest max is %d, want at least %d", k.name, k.shown[stream], want)})
			case !m.lax && k.shown[stream] != want:
				all = append(all, Missing{stream, fmt.Sprintf("%q: the last %s is %d, want %d", k.name, eosRoles[stream], k.shown[stream], want)})
			}
		}
	}
	return all
}

// State implements Model.
func (m *eosTestModel) State(store string, fn func(partition int32, key, value []byte)) {
	short := func(n int32) []byte { return binary.BigEndian.AppendUint32(m.buf[:0], uint32(n)) }
	long := func(n int64) []byte { return binary.BigEndian.AppendUint64(m.buf[:0], uint64(n)) }
	for i := range m.keys {
		k := &m.keys[i]
		name := []byte(k.name)
		switch store {
		case storeEosMax:
			fn(ofKey, name, short(k.most))
		case storeEosCnt:
			fn(ofKey, name, long(k.count))
		default:
			// These tasks read the input itself, so that whoever has written it decides where a key is.
			for _, t := range k.tasks {
				if store == storeEosMin {
					fn(t.partition, name, short(t.least))
				} else {
					fn(t.partition, name, long(t.sum))
				}
			}
		}
	}
}

// Candidates implements Model.
func (m *eosTestModel) Candidates(_ int, name []byte) []int32 {
	if id, ok := m.ids[string(name)]; ok {
		return []int32{id}
	}
	return nil
}

// Matches implements Model.
func (m *eosTestModel) Matches(stream int, e *Effect, name, value []byte) bool {
	return m.wrong(stream, e, name, value) == ""
}

// Fingerprint implements Model.
func (m *eosTestModel) Fingerprint(int, []byte, []byte) int64 { return 0 }

// Covered implements Model. See Finals.
func (m *eosTestModel) Covered(int, *Effect) bool { return true }

// CheckAnonymous implements Model.
func (m *eosTestModel) CheckAnonymous(int, []byte, []byte, bool) (wrong string, ready bool) {
	return "", true
}
