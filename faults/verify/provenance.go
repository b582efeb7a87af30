package verify

import (
	"encoding/binary"
	"fmt"
)

// HeaderKey is the key of the record header that carries a Provenance.
const HeaderKey = "eostop"

// provenanceSize is the length of an encoded Provenance in bytes.
const provenanceSize = 28

// Provenance names an input record. The load generator sets it as the header HeaderKey, every operator forwards it.
type Provenance struct {
	Run         uint64 // of the load generator; a new one for each start
	Partition   int32  // of the input topic
	Sequence    int64  // rises within run and partition, from 0
	KeySequence int64  // 0-based count of the record's key within the run
}

// Encode returns the header's value: 28 bytes, the fields in order, big-endian.
func (p Provenance) Encode() []byte {
	return p.Append(make([]byte, 0, provenanceSize))
}

// Append appends what Encode returns to b.
func (p Provenance) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, p.Run)
	b = binary.BigEndian.AppendUint32(b, uint32(p.Partition))
	b = binary.BigEndian.AppendUint64(b, uint64(p.Sequence))
	return binary.BigEndian.AppendUint64(b, uint64(p.KeySequence))
}

// Decode reads a header's value. Anything but 28 bytes with numbers that are not negative is an error.
func Decode(b []byte) (Provenance, error) {
	if len(b) != provenanceSize {
		return Provenance{}, fmt.Errorf("provenance header: %d bytes, want %d", len(b), provenanceSize)
	}
	p := Provenance{
		Run:         binary.BigEndian.Uint64(b),
		Partition:   int32(binary.BigEndian.Uint32(b[8:])),
		Sequence:    int64(binary.BigEndian.Uint64(b[12:])),
		KeySequence: int64(binary.BigEndian.Uint64(b[20:])),
	}
	if p.Partition < 0 || p.Sequence < 0 || p.KeySequence < 0 {
		return Provenance{}, fmt.Errorf("provenance header: negative number in %+v", p)
	}
	return p, nil
}
