package verify

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"
)

// The one stream of the passthrough program.
const passthroughOutput = 0

// What the passthrough model remembers of an input.
const (
	factHash        = iota // of key and value
	factKeyLength          // -1 = null
	factValueLength        // the same
)

// passthroughModel is the model of a program that writes its input to its output. Records that share an input partition
// and an output partition keep their order. A key decides the output partition; records without one may go to any, so
// that nobody sees their order but within each partition.
type passthroughModel struct {
	hash        func([]byte) uint32
	seed        maphash.Seed
	inputs, out int // partitions
	anonymous   bool
	buf         []byte
}

func newPassthrough(hash func([]byte) uint32) *passthroughModel {
	return &passthroughModel{hash: hash, seed: maphash.MakeSeed(), inputs: 1, out: 1}
}

// Streams implements Model.
func (m *passthroughModel) Streams() []Stream {
	return []Stream{passthroughOutput: {Role: "output", Always: true, Latency: true}}
}

// Stores implements Model.
func (m *passthroughModel) Stores() []string { return nil }

// Partitions implements Model.
func (m *passthroughModel) Partitions(input int, outputs []int) {
	m.inputs, m.out = input, outputs[passthroughOutput]
}

// Relax implements Model. What was before does not matter to a program without state.
func (m *passthroughModel) Relax() {}

// Anonymous implements Model.
func (m *passthroughModel) Anonymous() { m.anonymous = true }

// Apply implements Model.
func (m *passthroughModel) Apply(partition int32, name, value []byte, effects []Effect) []Effect {
	e := Effect{Unit: m.unit(partition, name), Free: m.free(partition, name), Due: Bit(passthroughOutput)}
	e.Facts = Facts{factHash: m.sum(name, value), factKeyLength: length(name), factValueLength: length(value)}
	return append(effects, e)
}

// free tells whether nobody knows the output partition; or, where nothing but the key tells where a record came from, the
// input partition.
func (m *passthroughModel) free(partition int32, name []byte) bool {
	return name == nil || m.anonymous && partitionOf(m.hash, name, m.inputs) != int(partition)
}

// unit numbers the pairs of partitions; free records have one unit for each input partition behind these.
func (m *passthroughModel) unit(partition int32, name []byte) int32 {
	if m.free(partition, name) {
		return int32(m.inputs*m.out) + partition
	}
	return partition*int32(m.out) + int32(partitionOf(m.hash, name, m.out))
}

// sum is a hash of key and value; null is not the same as empty.
func (m *passthroughModel) sum(name, value []byte) int64 {
	m.buf = binary.BigEndian.AppendUint64(m.buf[:0], uint64(length(name)))
	m.buf = binary.BigEndian.AppendUint64(m.buf, uint64(length(value)))
	m.buf = append(append(m.buf, name...), value...)
	return int64(maphash.Bytes(m.seed, m.buf))
}

func length(b []byte) int64 {
	if b == nil {
		return -1
	}
	return int64(len(b))
}

// Splits implements Model.
func (m *passthroughModel) Splits() bool { return false }

// Unit implements Model.
func (m *passthroughModel) Unit(int, int32, []byte) (int32, bool) { return noUnit, true }

// Ready implements Model.
func (m *passthroughModel) Ready(int, *Effect, []byte, []byte) bool { return true }

// Check implements Model.
func (m *passthroughModel) Check(_ int, e *Effect, name, value []byte) Finding {
	switch {
	case m.Matches(passthroughOutput, e, name, value):
		return Finding{}
	case length(name) != e.Facts[factKeyLength]:
		return Finding{Wrong: fmt.Sprintf("key of %s, want %s", size(length(name)), size(e.Facts[factKeyLength]))}
	case length(value) != e.Facts[factValueLength]:
		return Finding{Wrong: fmt.Sprintf("value of %s, want %s", size(length(value)), size(e.Facts[factValueLength]))}
	default:
		return Finding{Wrong: "key or value differs from the input's"}
	}
}

// size puts a length into words.
func size(n int64) string {
	if n < 0 {
		return "null"
	}
	return fmt.Sprintf("%d bytes", n)
}

// Stands implements Model.
func (m *passthroughModel) Stands(int, *Effect) Bits { return 0 }

// Missed implements Model.
func (m *passthroughModel) Missed(int, *Effect) (settled Bits, blame bool) { return 0, true }

// Short implements Model.
func (m *passthroughModel) Short(int, *Effect) string { return "" }

// Late implements Model.
func (m *passthroughModel) Late(int, []byte, []byte) (repeated bool, wrong string) { return true, "" }

// Repeated implements Model.
func (m *passthroughModel) Repeated(int, []byte, []byte) {}

// Finals implements Model.
func (m *passthroughModel) Finals() []Missing { return nil }

// State implements Model.
func (m *passthroughModel) State(string, func(partition int32, key, value []byte)) {}

// Candidates implements Model.
func (m *passthroughModel) Candidates(_ int, name []byte) []int32 {
	if name == nil {
		return nil
	}
	return []int32{m.unit(int32(partitionOf(m.hash, name, m.inputs)), name)}
}

// Matches implements Model.
func (m *passthroughModel) Matches(_ int, e *Effect, name, value []byte) bool {
	return m.sum(name, value) == e.Facts[factHash]
}

// Fingerprint implements Model.
func (m *passthroughModel) Fingerprint(_ int, name, value []byte) int64 { return m.sum(name, value) }

// Covered implements Model.
func (m *passthroughModel) Covered(int, *Effect) bool { return false }

// CheckAnonymous implements Model.
func (m *passthroughModel) CheckAnonymous(int, []byte, []byte, bool) (wrong string, ready bool) {
	return "", true
}
