package verify

import (
	"bytes"
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

// soakModel is the model of the soak program, which works on amounts: the first 8 bytes of an input's value, as an int64
// that wraps around where it overflows. Inputs with shorter values have no effect. The program's key is the input's key,
// reversed.
//
//   - count, sum: number and sum of the key's amounts, written where 10 divides them.
//   - max: the key's maximum and by how much it changed since it was written last. Before the first amount it is -1, so
//     that an amount of 0 is a change, too.
//   - every change goes on to the key's group, one of 16: group-count and group-sum are number of changes and sum of
//     deltas, written where 10 divides them; group-max is the maximum, written for each change, and so is
//   - total: number of all changes, and the maximum of all.
//
// The order in which the changes of different keys meet in a group is the program's choice. The group-max stream
// shows it: it holds all of them. So group-count and group-sum are checked exactly, once the group-max output of the
// same input was seen, and total is checked exactly in its own order.
//
// With a cache, which stands before all stores but that of max, outputs are swallowed, and the order of a group's changes is
// not shown any more. So the numbers of groups are followed by ledgers, and so is the total, whose events are the outputs on the
// group-max stream.
type soakModel struct {
	hash      func([]byte) uint32
	mode      Mode
	lax       bool
	anonymous bool
	ids       map[string]int32
	keys      []soakKey
	groups    [soakGroups]soakGroup
	events    drift // of the total stream: number of events against the number of its outputs
	seen      int64 // outputs on the total stream
	peak      int64 // their maximum
	total     struct{ events, peak ledger }
	buf       [16]byte
}

// soakKey is what the program's stores hold for one key.
type soakKey struct {
	name                   []byte // reversed
	group                  int
	count, sum, max, delta int64
	tenths                 [2]int64 // count and sum that were written last
}

func newSoak(mode Mode, hash func([]byte) uint32) *soakModel {
	m := &soakModel{hash: hash, mode: mode, ids: make(map[string]int32)}
	for i := range m.groups {
		m.groups[i].begin(i)
	}
	m.total.events, m.total.peak = ledger{what: "events", every: 1}, ledger{what: "max", every: 1, most: true}
	return m
}

// Streams implements Model.
func (m *soakModel) Streams() []Stream {
	c := m.mode.Cached
	streams := []Stream{
		soakCount:      {Role: "count", Skips: c},
		soakSum:        {Role: "sum", Skips: c},
		soakMax:        {Role: "max", Always: true, Latency: true},
		soakGroupCount: {Role: "group-count", Skips: c, Shared: c, Pooled: true, Depth: 1},
		soakGroupSum:   {Role: "group-sum", Skips: c, Shared: c, Pooled: true, Depth: 1},
		soakGroupMax:   {Role: "group-max", Skips: c, Shared: c, Pooled: true},
		soakTotal:      {Role: "total", Skips: c, Shared: c, Pooled: true},
	}
	if c {
		streams[soakTotal].Depth = 1 // it is made of what the group-max stream shows
	}
	return streams
}

// Stores implements Model.
func (m *soakModel) Stores() []string {
	return []string{storeCount, storeSum, storeMax, storeGroupCount, storeGroupSum, storeGroupMax, storeTotal}
}

// Partitions implements Model.
func (m *soakModel) Partitions(int, []int) {}

// Relax implements Model.
func (m *soakModel) Relax() { m.lax = true }

// Anonymous implements Model. Which key a change of a group belongs to is not known then, so ledgers follow it.
func (m *soakModel) Anonymous() {
	m.anonymous = true
	if m.mode.Cached {
		return
	}
	for i := range m.groups {
		m.groups[i].ledgers[0].step = soakEvery
	}
	m.total.events.step = 1
}

// key returns the number of a key, which is noted at its first sight.
func (m *soakModel) key(name []byte) int32 {
	id, ok := m.ids[string(name)]
	if !ok {
		reversed := slices.Clone(name)
		slices.Reverse(reversed)
		id = int32(len(m.keys))
		m.ids[string(name)] = id
		m.keys = append(m.keys, soakKey{name: reversed, group: partitionOf(m.hash, reversed, soakGroups), max: -1})
	}
	return id
}

// Apply implements Model.
func (m *soakModel) Apply(_ int32, name, value []byte, effects []Effect) []Effect {
	if len(value) < 8 {
		return effects
	}
	e := Effect{Unit: m.key(name)}
	k := &m.keys[e.Unit]
	amount := number(value)
	k.count++
	k.sum += amount
	peak := max(k.max, amount)
	k.delta, k.max = peak-k.max, peak
	e.Facts = Facts{factCount: k.count, factSum: k.sum, factMax: k.max, factDelta: k.delta}
	e.Due = Bit(soakMax)
	if k.count%soakEvery == 0 {
		e.Due |= Bit(soakCount)
	}
	if k.sum%soakEvery == 0 {
		e.Due |= Bit(soakSum)
	}
	if k.delta > 0 {
		m.change(k, &e)
	}
	return append(effects, e)
}

// change applies a change of a key's maximum to its group, and notes what is owed for it.
func (m *soakModel) change(k *soakKey, e *Effect) {
	g := &m.groups[k.group]
	g.apply(k.delta, k.max)
	if m.mode.Cached || m.anonymous {
		g.note(k.delta, k.max)
	}
	switch {
	case m.anonymous && !m.mode.Cached:
		m.total.events.apply(1)
		m.total.peak.apply(k.max)
	case m.anonymous:
	case m.mode.Cached:
		e.Due |= Bit(soakGroupCount) | Bit(soakGroupSum) | Bit(soakGroupMax)
		e.Open = Bit(soakTotal)
	default:
		e.Due |= Bit(soakGroupMax) | Bit(soakTotal)
		e.Open = Bit(soakGroupCount) | Bit(soakGroupSum)
	}
}

// Splits implements Model.
func (m *soakModel) Splits() bool { return false }

// Unit implements Model.
func (m *soakModel) Unit(stream int, _ int32, name []byte) (int32, bool) {
	switch stream {
	case soakGroupCount, soakGroupSum, soakGroupMax:
		return noUnit, m.group(name) != nil
	case soakTotal:
		return noUnit, string(name) == totalKey
	default:
		return noUnit, len(m.Candidates(stream, name)) > 0
	}
}

// Ready implements Model.
func (m *soakModel) Ready(stream int, e *Effect, _, value []byte) bool {
	if m.lax || !m.mode.Cached || stream < soakGroupCount {
		return true
	}
	var own int64
	if stream == soakGroupSum {
		own = e.Facts[factDelta]
	}
	return m.ready(stream, m.keys[e.Unit].group, value, own)
}

// ready tells whether everything is known that a value of a ledger's stream can be made of. What is not a value is ready.
// Own is what the value's own input adds to a sum: one that is less wraps around, or is wrong.
func (m *soakModel) ready(stream, group int, value []byte, own int64) bool {
	switch {
	case stream == soakTotal:
		return len(value) != 16 || m.total.events.ready(number(value), 0) && m.total.peak.ready(number(value[8:]), 0)
	case len(value) != 8:
		return true
	default:
		return m.groups[group].ledger(stream).ready(number(value), own)
	}
}

// Check implements Model.
func (m *soakModel) Check(stream int, e *Effect, name, value []byte) Finding {
	k, f := &m.keys[e.Unit], &e.Facts
	wrong := m.checkForm(stream, k.name, m.groups[k.group].name, name, value)
	switch {
	case m.lax:
		return Finding{Wrong: wrong}
	case m.mode.Cached && stream != soakMax:
		return m.checkCached(stream, e, value, wrong)
	case wrong != "" && stream == soakGroupMax:
		due, settled := m.groups[k.group].follow(f)
		return Finding{Wrong: wrong, Due: due, Settled: settled}
	case wrong != "":
		return Finding{Wrong: wrong}
	}
	switch stream {
	case soakCount, soakSum:
		return Finding{Wrong: checkTenth(stream, f, value)}
	case soakMax:
		wrong := differs("max", number(value), f[factMax], 1)
		if wrong == "" {
			wrong = differs("delta", number(value[8:]), f[factDelta], 1)
		}
		return Finding{Wrong: wrong}
	case soakTotal:
		return Finding{Wrong: m.checkTotal(f, value)}
	default:
		if f[factDelta] == 0 {
			return Finding{Wrong: "the input does not change its key's maximum"}
		}
		return m.groups[k.group].check(stream, f, number(value))
	}
}

// checkTenth checks an output of the count or sum stream.
func checkTenth(stream int, f *Facts, value []byte) string {
	if stream == soakCount {
		return differs("count", number(value), f[factCount], soakEvery)
	}
	return differs("sum", number(value), f[factSum], soakEvery)
}

// checkForm checks an output's key and the length of its value.
func (m *soakModel) checkForm(stream int, key, group, name, value []byte) string {
	want, size := key, 8
	switch stream {
	case soakMax:
		size = 16
	case soakGroupCount, soakGroupSum, soakGroupMax:
		want = group
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
func (m *soakModel) Missed(stream int, e *Effect) (settled Bits, blame bool) {
	g := &m.groups[m.keys[e.Unit].group]
	switch {
	case m.mode.Cached:
		if stream == soakTotal {
			m.loosen()
		}
		return 0, true
	case stream == soakGroupCount:
		return 0, !g.counts.lost // without the order it may not have been owed
	case stream == soakGroupSum:
		return 0, !g.sums.lost
	case stream == soakGroupMax:
		// Without it the order of the group is not known from here on.
		g.counts.lost, g.sums.lost = true, true
		g.replay.apply(0, e.Facts[factMax])
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
	g := m.group(name)
	if g == nil || len(value) != 8 {
		return false, fmt.Sprintf("key %q with a value of %d bytes", name, len(value))
	}
	if stream == soakGroupCount {
		return g.counts.late(number(value))
	}
	return g.sums.late(number(value))
}

// group returns the group of a name, or nil.
func (m *soakModel) group(name []byte) *soakGroup {
	for i := range m.groups {
		if bytes.Equal(m.groups[i].name, name) {
			return &m.groups[i]
		}
	}
	return nil
}

// Repeated implements Model.
func (m *soakModel) Repeated(int, []byte, []byte) {}

// Candidates implements Model.
func (m *soakModel) Candidates(_ int, name []byte) []int32 {
	original := slices.Clone(name)
	slices.Reverse(original)
	if id, ok := m.ids[string(original)]; ok {
		return []int32{id}
	}
	return nil
}

// Matches implements Model.
func (m *soakModel) Matches(stream int, e *Effect, name, value []byte) bool {
	k, f := &m.keys[e.Unit], &e.Facts
	switch {
	case m.checkForm(stream, k.name, nil, name, value) != "":
		return false
	case m.lax:
		return true
	case stream == soakMax:
		return number(value) == f[factMax] && number(value[8:]) == f[factDelta]
	default:
		return checkTenth(stream, f, value) == ""
	}
}
