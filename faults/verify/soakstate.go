package verify

import (
	"encoding/binary"
	"fmt"
)

// State implements Model.
func (m *soakModel) State(store string, fn func(partition int32, key, value []byte)) {
	number := func(numbers ...int64) []byte {
		b := m.buf[:0]
		for _, n := range numbers {
			b = binary.BigEndian.AppendUint64(b, uint64(n))
		}
		return b
	}
	switch store {
	case storeCount, storeSum, storeMax:
		for i := range m.keys {
			k := &m.keys[i]
			switch {
			case k.count == 0:
			case store == storeCount:
				fn(ofKey, k.name, number(k.count))
			case store == storeSum:
				fn(ofKey, k.name, number(k.sum))
			default:
				fn(ofKey, k.name, number(k.max, k.delta))
			}
		}
	case storeGroupCount, storeGroupSum, storeGroupMax:
		for i := range m.groups {
			g := &m.groups[i]
			switch {
			case g.count == 0:
			case store == storeGroupCount:
				fn(ofKey, g.name, number(g.count))
			case store == storeGroupSum:
				fn(ofKey, g.name, number(g.sum))
			default:
				fn(ofKey, g.name, number(g.max))
			}
		}
	case storeTotal:
		var events, peak int64
		for i := range m.groups {
			g := &m.groups[i]
			events += g.count
			peak = max(peak, g.max)
		}
		if m.mode.Cached {
			events = m.total.events.applied // only the maxima that were written went on
		}
		if events > 0 {
			fn(ofKey, []byte(totalKey), number(events, peak))
		}
	}
}

// number reads the program's serialised integers.
func number(b []byte) int64 { return int64(binary.BigEndian.Uint64(b)) }

// differs compares a number with what it must be, and says so if the filter should have held it back.
func differs(what string, got, want, every int64) string {
	switch {
	case got != want:
		return fmt.Sprintf("%s %d, want %d", what, got, want)
	case got%every != 0:
		return fmt.Sprintf("%s %d should not have been written: %d does not divide it", what, got, every)
	}
	return ""
}
