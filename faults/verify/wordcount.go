package verify

import (
	"encoding/binary"
	"fmt"
)

// The one stream of the wordcount program, and its store.
const (
	wordcountCounts = 0
	storeWords      = "KSTREAM-AGGREGATE-STATE-STORE-0000000003"
)

// What the wordcount model remembers of a word in a line.
const (
	factTimes  = iota // how often the line holds it
	factSeen          // outputs of the line for it
	factProved        // how many of its places in the line are known to be counted
)

// wordcountModel is the model of a program that counts the words of lines. The output is keyed by the word, its value is
// the count. A line owes an output for each place of a word in it; with a cache, one for the last place that the count
// holds when it comes out of the cache.
//
// The words of a line, and of all lines of an input partition, are counted in their order. How lines of different
// partitions meet is the program's choice, which only the counts show: they go up by one, or with a cache somehow.
type wordcountModel struct {
	mode  Mode
	lax   bool
	step  int64 // between two counts that no line is known of; 0 = they rise somehow
	parts int   // input partitions
	ids   map[string]int32
	words []wordState
	units []int32 // by unit: the word
	lines int64
	buf   [8]byte
}

// wordState is what is known of a word.
type wordState struct {
	name  string
	units []int32 // by input partition; noUnit = not seen there
	line  int64   // newest line with the word, and its place among the line's effects
	place int
	count ledger
	// Without a cache every count is shown. Then it is their number but for a difference that was reported.
	seen  int64
	drift drift
	last  int64 // the number that was expected when another came, 0 = none
}

func newWordcount(mode Mode) *wordcountModel {
	return &wordcountModel{mode: mode, parts: 1, ids: make(map[string]int32)}
}

// Streams implements Model.
func (m *wordcountModel) Streams() []Stream {
	return []Stream{wordcountCounts: {
		Role: "counts", Always: true, Latency: true, Skips: m.mode.Cached, Shared: m.mode.Cached, Pooled: true,
	}}
}

// Stores implements Model.
func (m *wordcountModel) Stores() []string { return []string{storeWords} }

// Partitions implements Model.
func (m *wordcountModel) Partitions(input int, _ []int) { m.parts = input }

// Relax implements Model.
func (m *wordcountModel) Relax() { m.lax = true }

// Anonymous implements Model.
func (m *wordcountModel) Anonymous() {
	if !m.mode.Cached {
		m.step = 1
	}
}

// Apply implements Model.
func (m *wordcountModel) Apply(partition int32, _, value []byte, effects []Effect) []Effect {
	m.lines++
	begin := len(effects)
	eachWord(value, func(word []byte) {
		w := m.word(word)
		w.count.apply(1)
		if w.line == m.lines {
			effects[begin+w.place].Facts[factTimes]++
			return
		}
		w.line, w.place = m.lines, len(effects)-begin
		effects = append(effects, Effect{
			Unit: m.unit(w, partition), Due: Bit(wordcountCounts), Facts: Facts{factTimes: 1},
		})
	})
	return effects
}

// word returns what is known of a word, which is noted at its first sight.
func (m *wordcountModel) word(word []byte) *wordState {
	id, ok := m.ids[string(word)]
	if !ok {
		id = int32(len(m.words))
		w := wordState{name: string(word), units: make([]int32, m.parts), count: ledger{what: "count", every: 1, step: m.step}}
		for p := range w.units {
			w.units[p] = noUnit
		}
		m.ids[w.name], m.words = id, append(m.words, w)
	}
	return &m.words[id]
}

func (m *wordcountModel) unit(w *wordState, partition int32) int32 {
	if w.units[partition] == noUnit {
		w.units[partition] = int32(len(m.units))
		m.units = append(m.units, m.ids[w.name])
	}
	return w.units[partition]
}

// Splits implements Model.
func (m *wordcountModel) Splits() bool { return true }

// Unit implements Model.
func (m *wordcountModel) Unit(_ int, partition int32, name []byte) (int32, bool) {
	id, ok := m.ids[string(name)]
	if !ok {
		return 0, false
	}
	unit := m.words[id].units[partition]
	return unit, unit != noUnit
}

// of returns the word of an effect.
func (m *wordcountModel) of(e *Effect) *wordState { return &m.words[m.units[e.Unit]] }

// Ready implements Model.
func (m *wordcountModel) Ready(_ int, e *Effect, _, value []byte) bool {
	return m.lax || !m.mode.Cached || len(value) != 8 || m.of(e).count.ready(number(value), 0)
}

// Check implements Model.
func (m *wordcountModel) Check(_ int, e *Effect, _, value []byte) Finding {
	w := m.of(e)
	e.Facts[factSeen]++
	var f Finding
	switch {
	case len(value) != 8:
		f.Wrong = fmt.Sprintf("value of %d bytes, want 8", len(value))
		m.place(w, e)
		w.seen++
	case m.mode.Cached:
		m.place(w, e)
		again := e.Facts[factSeen] > 1 && number(value) == w.count.shown
		if f = m.checkCached(w, number(value)); again && f.Wrong != "" {
			f.Kind = KindDuplicate
		}
	case !m.lax:
		f = w.next(number(value))
	}
	f.More = e.Facts[factSeen] < e.Facts[factTimes]
	return f
}

// place takes note that one more place of a word in a line is counted.
func (m *wordcountModel) place(w *wordState, e *Effect) {
	if e.Facts[factProved] < e.Facts[factTimes] {
		e.Facts[factProved]++
		w.count.prove(1)
	}
}

// checkCached judges a count that has come out of a cache, or whose line is not known. Where lines are processed again it may
// be anything.
func (m *wordcountModel) checkCached(w *wordState, got int64) Finding {
	if m.lax {
		w.count.shown = max(w.count.shown, got)
		return Finding{}
	}
	return w.count.check(got)
}

// next judges the next count where every count is shown.
func (w *wordState) next(got int64) Finding {
	w.seen++
	want := w.seen + w.drift.accepted
	missed := w.last
	w.last = 0
	switch {
	case w.drift.judge(got - w.seen):
		return Finding{}
	case got == missed:
		return Finding{Wrong: fmt.Sprintf("count %d, after a greater one", got), Kind: KindOutOfOrder}
	}
	w.last = want
	return Finding{Wrong: fmt.Sprintf("count %d, want %d", got, want)}
}

// Stands implements Model. What a later output stands for is counted in it.
func (m *wordcountModel) Stands(_ int, e *Effect) Bits {
	w := m.of(e)
	w.count.prove(e.Facts[factTimes] - e.Facts[factProved])
	e.Facts[factProved] = e.Facts[factTimes]
	return 0
}

// Missed implements Model.
func (m *wordcountModel) Missed(int, *Effect) (settled Bits, blame bool) { return 0, true }

// Short implements Model.
func (m *wordcountModel) Short(_ int, e *Effect) string {
	w := m.of(e)
	switch {
	case m.lax && (w.count.shown > 0 || w.count.loose):
		return ""
	case m.lax:
		w.count.loose = true
		return fmt.Sprintf("%q: no count was written", w.name)
	}
	if short := w.count.short(); short != "" {
		return fmt.Sprintf("%q: %s", w.name, short)
	}
	return ""
}

// Late implements Model.
func (m *wordcountModel) Late(int, []byte, []byte) (repeated bool, wrong string) { return true, "" }

// Repeated implements Model.
func (m *wordcountModel) Repeated(_ int, name, value []byte) {
	if id, ok := m.ids[string(name)]; ok && len(value) == 8 {
		w := &m.words[id]
		w.count.shown = max(w.count.shown, number(value))
	}
}

// Finals implements Model.
func (m *wordcountModel) Finals() []Missing {
	if m.lax || !m.mode.Cached && m.step == 0 {
		return nil
	}
	var all []Missing
	for i := range m.words {
		w := &m.words[i]
		if wrong := w.count.final(); wrong != "" {
			all = append(all, Missing{wordcountCounts, fmt.Sprintf("%q: %s", w.name, wrong)})
		}
	}
	return all
}

// State implements Model.
func (m *wordcountModel) State(_ string, fn func(partition int32, key, value []byte)) {
	for i := range m.words {
		w := &m.words[i]
		fn(ofKey, []byte(w.name), binary.BigEndian.AppendUint64(m.buf[:0], uint64(w.count.applied)))
	}
}

// Candidates implements Model.
func (m *wordcountModel) Candidates(int, []byte) []int32 { return nil }

// Matches implements Model.
func (m *wordcountModel) Matches(int, *Effect, []byte, []byte) bool { return false }

// Fingerprint implements Model.
func (m *wordcountModel) Fingerprint(int, []byte, []byte) int64 { return 0 }

// Covered implements Model.
func (m *wordcountModel) Covered(int, *Effect) bool { return false }

// CheckAnonymous implements Model.
func (m *wordcountModel) CheckAnonymous(_ int, name, value []byte, forced bool) (wrong string, ready bool) {
	id, ok := m.ids[string(name)]
	switch {
	case !ok && forced:
		return "no line holds this word", true
	case !ok:
		return "", false
	case len(value) != 8:
		return fmt.Sprintf("value of %d bytes, want 8", len(value)), true
	}
	w, got := &m.words[id], number(value)
	if !m.lax && !forced && !w.count.ready(got, 0) {
		return "", false
	}
	return m.checkCached(w, got).Wrong, true
}
