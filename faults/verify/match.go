package verify

import (
	"fmt"
	"time"
)

// judgeOutput takes an output, unless it has to wait for something that was not seen yet: then it returns false and
// has done nothing.
func (t *tracker) judgeOutput(o *outputRecord) bool {
	switch {
	case t.unjudged(o):
		return true
	case !o.hasHeader && t.anonymous.on:
		return t.judgeAnonymous(o, false)
	case !o.hasHeader:
		return t.mixed // else its input may be still to come, and may have no provenance either
	case int(o.provenance.Partition) >= len(t.backlogs):
		t.report(KindUnexpected, o, "", "its provenance names an input partition that does not exist")
		return true
	}
	b := t.backlogs[o.provenance.Partition]
	n, where := b.find(o.provenance.Run, o.provenance.Sequence)
	if where != placeKnown && t.ofAborted(o) {
		return true
	}
	switch where {
	case placeAhead:
		return false
	case placeAbsent:
		t.report(KindUnexpected, o, "", "there is no such input")
	case placeBehind:
		t.late(o)
	case placeKnown:
		n, ok := t.effectOf(b, n, o)
		if !ok {
			t.report(KindUnexpected, o, t.inputName(o.provenance.Partition, b.at(n).offset), "the input owes no output with this key")
			return true
		}
		return t.ready(b.at(n), o) && t.match(b, n, o, true, false)
	}
	return true
}

// unjudged tells whether nothing is to be said about an output.
func (t *tracker) unjudged(o *outputRecord) bool {
	return t.blind || t.lax && !t.streams[o.stream].Always || o.hasHeader && t.onlyRun && o.provenance.Run != t.run
}

// effectOf returns the entry that an output belongs to, of those of an input; if there is none, the first and false.
func (t *tracker) effectOf(b *backlog, first int64, o *outputRecord) (int64, bool) {
	if !t.splits {
		return first, b.at(first).Unit != noUnit
	}
	if unit, ok := t.model.Unit(o.stream, o.provenance.Partition, o.key); ok {
		if n, ok := b.ofUnit(first, unit); ok {
			return n, true
		}
	}
	return first, false
}

// ready tells whether an output of an entry need not wait for others.
func (t *tracker) ready(e *entry, o *outputRecord) bool {
	if (e.seen | e.lost | e.skipped).Has(o.stream) {
		return true
	}
	return !e.Open.Has(o.stream) && t.model.Ready(o.stream, &e.Effect, o.key, o.value)
}

// match judges an output whose input is known and not settled, or not forgotten yet. Ordered is false where the place of
// the output among those of its unit means nothing. It returns false if the output has to wait after all, unless forced.
func (t *tracker) match(b *backlog, n int64, o *outputRecord, ordered, forced bool) bool {
	e := b.at(n)
	s := o.stream
	switch {
	case (e.lost | e.seen | e.skipped).Has(s) && t.strange(o):
		t.report(KindUnexpected, o, t.inputName(b.partition, e.offset), "no input has this key")
		return true
	case e.lost.Has(s) && t.returned(o, t.owed(b, e, s)):
		return true
	case (e.lost | e.seen).Has(s):
		t.again(o, t.owed(b, e, s), t.inputName(b.partition, e.offset))
		return true
	case e.skipped.Has(s):
		t.backward(o, t.inputName(b.partition, e.offset))
		return true
	}
	owed := e.Due.Has(s)
	if owed && ordered {
		t.inOrder(b, n, o)
		e = b.at(n) // what was decided may have moved the entries
		if !forced && !t.ready(e, o) {
			return false // it does not hold what it now stands for, unless there is more than was seen
		}
	}
	f := Finding{Wrong: "the input owes no output here"}
	if owed || !t.lax {
		f = t.model.Check(s, &e.Effect, o.key, o.value)
	}
	if owed && !f.More && t.streams[s].Latency && t.counted(b, e) {
		t.judge.latency.add(o.seen.Sub(o.created))
	}
	if f.Wrong != "" {
		if f.Kind == "" {
			f.Kind = KindWrongValue
			if !owed {
				f.Kind = KindUnexpected
			}
		}
		t.report(f.Kind, o, t.inputName(b.partition, e.offset), f.Wrong)
	}
	if f.More {
		return true
	}
	e.seen |= Bit(s)
	e.Due |= f.Due & e.Open
	e.Open &^= f.Due | f.Settled
	e.Due &^= Bit(s)
	t.settle(b, n)
	return true
}

// inOrder draws the conclusions from an owed output about the entries of its unit that come before: their outputs are
// lost, or this one stands for them.
func (t *tracker) inOrder(b *backlog, n int64, o *outputRecord) {
	e, s := b.at(n), o.stream
	stream := &t.streams[s]
	switch {
	case e.Free:
		t.inLane(b, n, o)
		return
	case t.atLeastOnce && !stream.Skips:
		return // what is processed again comes later
	}
	unit := e.Unit
	m := max(t.cursor[s][unit], t.first[unit])
	t.cursor[s][unit] = max(m, n)
	for m < n {
		next := b.at(m).next
		switch {
		case !b.at(m).Due.Has(s):
		case stream.Skips:
			t.skip(b, m, s)
		default:
			t.lose(b, m, s, o, o.seen)
		}
		m = max(next, t.first[unit]) // deciding one may have forgotten the next ones, too
	}
}

// inLane checks the order within a partition of outputs that spread over partitions.
func (t *tracker) inLane(b *backlog, n int64, o *outputRecord) {
	if t.atLeastOnce {
		return
	}
	l := lane{int32(o.stream), b.at(n).Unit, o.partition}
	if n < t.lanes[l] {
		t.report(KindOutOfOrder, o, t.inputName(b.partition, b.at(n).offset), "it came after the output of a later input")
		return
	}
	t.lanes[l] = n
}

// skip notes that a later output stands for what an entry owes.
func (t *tracker) skip(b *backlog, n int64, stream int) {
	e := b.at(n)
	e.Due &^= Bit(stream)
	e.skipped |= Bit(stream)
	e.Open &^= t.model.Stands(stream, &e.Effect)
	t.recent.put(t.owed(b, e, stream), struct{}{})
	t.settle(b, n)
}

// lose declares an owed output of an entry lost. By is the output that proves it, nil if all were seen that could come.
func (t *tracker) lose(b *backlog, n int64, stream int, by *outputRecord, at time.Time) {
	e := b.at(n)
	e.Due &^= Bit(stream)
	settled, blame := t.model.Missed(stream, &e.Effect)
	e.Open &^= settled
	if blame {
		detail := fmt.Sprintf("no output on %s, though everything was read that could hold it", t.topics[stream])
		if by != nil {
			detail = "the output is already that of a later input of the same key"
		}
		t.blame(b, e, stream, by, detail, at)
	}
	t.settle(b, n)
}

// blame reports that an output of an entry is lost.
func (t *tracker) blame(b *backlog, e *entry, stream int, by *outputRecord, detail string, at time.Time) {
	e.lost |= Bit(stream)
	w := Witness{Kind: KindLost, Input: t.inputName(b.partition, e.offset), Detail: detail, At: at}
	if by != nil {
		w.Outputs = []string{t.outputName(by)}
	}
	if where, ok := t.undone.names[t.owed(b, e, stream)]; ok {
		w.Kind, w.Outputs = KindTorn, append([]string{where}, w.Outputs...)
		w.Detail = "the first output named here was aborted, but the transaction that took the input is not"
	}
	l := lostOutput{witness: t.judge.add(w)}
	if by != nil {
		if name, ok := t.nameOf(stream, by.provenance, by.key); ok {
			l.by = t.early.names[name]
		}
	}
	if len(t.missing) < maxMissing {
		t.missing[t.owed(b, e, stream)] = l
	}
}

// strange tells whether an output that came before, or that a later one stood for, has a key that it cannot have had.
func (t *tracker) strange(o *outputRecord) bool {
	if t.splits || t.partial || !o.hasHeader {
		return false
	}
	_, ok := t.model.Unit(o.stream, o.provenance.Partition, o.key)
	return !ok
}

// late judges an output whose input is forgotten.
func (t *tracker) late(o *outputRecord) {
	name, ok := t.nameOf(o.stream, o.provenance, o.key)
	if !ok {
		t.report(KindUnexpected, o, "", "no input owes an output with this key")
		return
	}
	input := t.originName(o.provenance)
	if _, idle := t.idle.names[inputOrigin(o.provenance)]; idle {
		t.report(KindUnexpected, o, input, "the input has no effect")
		return
	}
	if t.strange(o) {
		t.report(KindUnexpected, o, input, "no input has this key")
		return
	}
	if t.returned(o, name) {
		return
	}
	if t.recent.take(name) {
		t.backward(o, input)
		return
	}
	repeated, wrong := true, ""
	if !t.lax && !t.streams[o.stream].Skips {
		repeated, wrong = t.model.Late(o.stream, o.key, o.value)
	}
	switch {
	case repeated:
		t.again(o, name, input)
	case wrong != "":
		t.report(KindUnexpected, o, input, wrong)
	}
}

// returned judges an output that was declared lost; it returns false if it was not, or came a second time.
func (t *tracker) returned(o *outputRecord, name owedName) bool {
	l, ok := t.missing[name]
	if !ok {
		return false
	}
	delete(t.missing, name)
	w := Witness{
		Kind: KindOutOfOrder, Outputs: []string{t.outputName(o)}, Transaction: o.writer(), At: o.seen,
		Detail: "it came after the output of a later input of the same key",
	}
	if by := l.by; by != nil && !by.told {
		by.told = true
		w = by.merged(w.Outputs[0], "the second one is of an input before it", o.seen)
	}
	t.judge.found(l.witness, w)
	return true
}

// backward judges an output for which a later one has stood already. Where inputs are processed again it just repeats
// their effect.
func (t *tracker) backward(o *outputRecord, input string) {
	if t.atLeastOnce {
		t.report(KindDuplicate, o, input, "")
		return
	}
	t.report(KindOutOfOrder, o, input, "it came after the output of a later input of the same key")
}

// report adds a finding about an output.
func (t *tracker) report(kind string, o *outputRecord, input, detail string) {
	if kind == KindDuplicate && t.atLeastOnce {
		t.model.Repeated(o.stream, o.key, o.value)
	}
	if (o.stale && kind != KindZombieWrite || o.foreign && kind != KindMerged) && !t.atLeastOnce {
		return // it was reported as that
	}
	t.judge.add(Witness{Kind: kind, Input: input, Outputs: []string{t.outputName(o)}, Transaction: o.writer(), Detail: detail, At: o.seen})
}
