package verify

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
)

// Streams of the soak program.
const (
	soakCount = iota
	soakSum
	soakMax
	soakGroupCount
	soakGroupSum
	soakGroupMax
	soakTotal
)

// What the soak model remembers of an input. The last two are known once the group-max output was seen.
const (
	factCount      = iota // inputs of the key up to this one
	factSum               // of their amounts
	factMax               // of their amounts
	factDelta             // by how much the maximum changed; 0 = this input owes nothing to the group
	factGroupCount        // changes of the group up to this one, in the order of the group's task
	factGroupSum          // of their deltas
)

// The stores of the soak program.
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
	soakGroups = 16
	soakEvery  = 10 // counts and sums pass their filters where this divides them
	totalKey   = "total"
)

// soakModel is the model of the soak program, which works on amounts: the first 8 bytes of an input's value, not
// negative. Inputs with shorter values have no effect. The program's key is the input's key, reversed.
//
//   - count, sum: number and sum of the key's amounts, written where 10 divides them.
//   - max: the key's maximum and by how much this input changed it, always written. The first input of a key
//     changes it by one more than its amount, so that it counts as a change.
//   - every change goes on to the key's group, one of 16: group-count and group-sum are number of changes and sum of
//     deltas, written where 10 divides them; group-max is the maximum, always written, and so is
//   - total: number of all changes, and the maximum of all.
//
// The order in which the changes of different keys meet in a group is the program's choice. The group-max stream
// shows it: it holds all of them. So group-count and group-sum are checked exactly, once the group-max output of the
// same input was seen, and total is checked exactly in its own order.
type soakModel struct {
	hash   func([]byte) uint32
	keys   []soakKey
	groups [soakGroups]soakGroup
	events drift // of the total stream: number of events against the number of its outputs
	seen   int64 // outputs on the total stream
	peak   int64 // their maximum
	buf    [16]byte
}

// soakKey is what the program's stores hold for one key.
type soakKey struct {
	name                   []byte // reversed
	group                  int
	count, sum, max, delta int64
	changes                int64
}

func newSoak(hash func([]byte) uint32) *soakModel {
	m := &soakModel{hash: hash}
	for i := range m.groups {
		m.groups[i].name = fmt.Appendf(nil, "group-%02d", i)
	}
	return m
}

// Streams implements Model.
func (m *soakModel) Streams() []Stream {
	return []Stream{
		soakCount:      {Role: "count"},
		soakSum:        {Role: "sum"},
		soakMax:        {Role: "max", Always: true, Latency: true},
		soakGroupCount: {Role: "group-count"},
		soakGroupSum:   {Role: "group-sum"},
		soakGroupMax:   {Role: "group-max"},
		soakTotal:      {Role: "total"},
	}
}

// Stores implements Model.
func (m *soakModel) Stores() []string {
	return []string{storeCount, storeSum, storeMax, storeGroupCount, storeGroupSum, storeGroupMax, storeTotal}
}

// Apply implements Model.
func (m *soakModel) Apply(key int, name, value []byte, f *Facts) (due, open Bits) {
	if key == len(m.keys) {
		reversed := slices.Clone(name)
		slices.Reverse(reversed)
		m.keys = append(m.keys, soakKey{
			name: reversed, group: int(m.hash(reversed)&0x7fffffff) % soakGroups,
		})
	}
	if len(value) < 8 {
		return 0, 0
	}
	k := &m.keys[key]
	amount := number(value)
	k.count++
	k.sum += amount
	peak := max(k.max, amount)
	k.delta = peak - k.max
	if k.count == 1 {
		k.delta = peak + 1
	}
	k.max = peak
	*f = Facts{factCount: k.count, factSum: k.sum, factMax: k.max, factDelta: k.delta}
	due = Bit(soakMax)
	if k.count%soakEvery == 0 {
		due |= Bit(soakCount)
	}
	if k.sum%soakEvery == 0 {
		due |= Bit(soakSum)
	}
	if k.delta > 0 {
		k.changes++
		m.groups[k.group].apply(k.delta, k.max)
		due |= Bit(soakGroupMax) | Bit(soakTotal)
		open = Bit(soakGroupCount) | Bit(soakGroupSum)
	}
	return due, open
}

// Check implements Model.
func (m *soakModel) Check(stream, key int, f *Facts, name, value []byte) (wrong string, due, settled Bits) {
	k := &m.keys[key]
	if wrong = m.checkForm(stream, k, name, value); wrong != "" {
		if stream == soakGroupMax {
			due, settled = m.groups[k.group].follow(f)
		}
		return wrong, due, settled
	}
	switch stream {
	case soakCount:
		wrong = differs("count", number(value), f[factCount], soakEvery)
	case soakSum:
		wrong = differs("sum", number(value), f[factSum], soakEvery)
	case soakMax:
		if wrong = differs("max", number(value), f[factMax], 1); wrong == "" {
			wrong = differs("delta", number(value[8:]), f[factDelta], 1)
		}
	case soakTotal:
		wrong = m.checkTotal(f, value)
	default:
		if f[factDelta] == 0 {
			return "the input does not change its key's maximum", 0, 0
		}
		wrong, due, settled = m.groups[k.group].check(stream, f, number(value))
	}
	return wrong, due, settled
}

// checkForm checks an output's key and the length of its value.
func (m *soakModel) checkForm(stream int, k *soakKey, name, value []byte) string {
	want, size := k.name, 8
	switch stream {
	case soakMax:
		size = 16
	case soakGroupCount, soakGroupSum, soakGroupMax:
		want = m.groups[k.group].name
	case soakTotal:
		want, size = []byte(totalKey), 16
	}
	switch {
	case !bytes.Equal(name, want):
		return fmt.Sprintf("key %q, want %q", name, want)
	case len(value) != size:
		return fmt.Sprintf("value of %d bytes, want %d", len(value), size)
	}
	return ""
}

// checkTotal checks an output of the total stream, whose order is its own.
func (m *soakModel) checkTotal(f *Facts, value []byte) string {
	if f[factDelta] == 0 {
		return "the input does not change its key's maximum"
	}
	m.seen++
	m.peak = max(m.peak, f[factMax])
	events, peak := number(value), number(value[8:])
	if want := m.seen + m.events.accepted; !m.events.judge(events - m.seen) {
		return fmt.Sprintf("events %d, want %d", events, want)
	}
	wrong := differs("max", peak, m.peak, 1)
	m.peak = peak // what differs is reported once
	return wrong
}

// Missed implements Model.
func (m *soakModel) Missed(stream, key int, f *Facts) (settled Bits, blame bool) {
	g := &m.groups[m.keys[key].group]
	switch stream {
	case soakGroupCount:
		return 0, !g.counts.lost // without the order it may not have been owed
	case soakGroupSum:
		return 0, !g.sums.lost
	case soakGroupMax:
		// Without it the order of the group is not known from here on.
		g.counts.lost, g.sums.lost = true, true
		g.replay.apply(0, f[factMax])
		return Bit(soakGroupCount) | Bit(soakGroupSum), true
	default:
		return 0, true
	}
}

// Late implements Model.
func (m *soakModel) Late(stream int, name, value []byte) (repeated bool, wrong string) {
	if stream != soakGroupCount && stream != soakGroupSum {
		return true, ""
	}
	for i := range m.groups {
		if g := &m.groups[i]; bytes.Equal(g.name, name) && len(value) == 8 {
			if stream == soakGroupCount {
				return g.counts.late(number(value))
			}
			return g.sums.late(number(value))
		}
	}
	return false, fmt.Sprintf("key %q with a value of %d bytes", name, len(value))
}

// State implements Model.
func (m *soakModel) State(store string, fn func(key, value []byte)) {
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
				fn(k.name, number(k.count))
			case store == storeSum:
				fn(k.name, number(k.sum))
			default:
				fn(k.name, number(k.max, k.delta))
			}
		}
	case storeGroupCount, storeGroupSum, storeGroupMax:
		for i := range m.groups {
			g := &m.groups[i]
			switch {
			case g.count == 0:
			case store == storeGroupCount:
				fn(g.name, number(g.count))
			case store == storeGroupSum:
				fn(g.name, number(g.sum))
			default:
				fn(g.name, number(g.max))
			}
		}
	case storeTotal:
		var events, peak int64
		for i := range m.groups {
			events += m.groups[i].count
			peak = max(peak, m.groups[i].max)
		}
		if events > 0 {
			fn([]byte(totalKey), number(events, peak))
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
