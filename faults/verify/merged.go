package verify

import (
	"fmt"
	"time"
)

// early is an output that seems to have been on its way when its transaction was aborted, and to have joined the next one of its
// producer: it goes on where the aborted one had stopped, though nobody has made anew what was aborted.
//
// That alone proves nothing, for a program may have several tasks whose outputs mix. The proof is that the offsets of its transaction do not
// cover its input: what comes before the input, or the input itself, is taken once more.
type early struct {
	input, output, writer string
	told                  bool
}

// follows tells whether a record goes on behind what its producer had aborted, where the next transaction has not begun anew.
func (t *tail) follows(p Provenance) bool {
	switch {
	case t == nil || t.provenance.Run != p.Run || t.provenance.Partition != p.Partition:
		return false
	case p.Sequence <= t.provenance.Sequence:
		t.redone = true
	}
	return !t.redone
}

// join looks whether an output may have joined a later transaction than its own.
func (t *tracker) join(o *outputRecord) {
	if !o.hasHeader || int(o.provenance.Partition) >= len(t.backlogs) || !o.tail.follows(o.provenance) {
		return
	}
	name, ok := t.nameOf(o.stream, o.provenance, o.key)
	if !ok || !t.owes(o.stream, o.tail) {
		return
	}
	t.early.put(name, &early{input: t.originName(o.provenance), output: t.outputName(o), writer: o.writer()})
}

// owes tells whether an output is still to come that was the last one of an aborted transaction.
func (t *tracker) owes(stream int, tail *tail) bool {
	b := t.backlogs[tail.provenance.Partition]
	n, where := b.find(tail.provenance.Run, tail.provenance.Sequence)
	if where != placeKnown {
		return false
	}
	if n, ok := t.effectOf(b, n, &outputRecord{stream: stream, provenance: tail.provenance, key: tail.key}); ok {
		return !(b.at(n).seen | b.at(n).skipped).Has(stream)
	}
	return false
}

// again reports a second output of an effect. If the first one came too early for its transaction, that is why.
func (t *tracker) again(o *outputRecord, name owedName, input string) {
	e := t.early.names[name]
	if t.atLeastOnce || e == nil || e.told {
		t.report(KindDuplicate, o, input, "")
		return
	}
	e.told = true
	t.judge.add(e.taken(t.outputName(o), o.seen))
}

// merged says that an output joined a later transaction. Another one proves it.
func (e *early) merged(proof, why string, at time.Time) Witness {
	return Witness{
		Kind: KindMerged, Input: e.input, Outputs: []string{e.output, proof}, Transaction: e.writer, At: at,
		Detail: "the first output named here went on where an aborted transaction had stopped, and joined the next one, whose offsets do not cover the input: " + why,
	}
}

// taken says so because the input was taken once more.
func (e *early) taken(output string, at time.Time) Witness {
	return e.merged(output, "the second one is another of the input", at)
}

// foreign reports an output that was committed with a later transaction of its producer.
func (t *tracker) foreign(o *outputRecord) {
	t.report(KindMerged, o, t.nameOfInput(o), foreignDetail(o.epoch))
}

func foreignDetail(epoch int16) string {
	return fmt.Sprintf("written under epoch %d, it was committed with a transaction of a later one", epoch)
}

// nameOfInput names the input of an output, as far as it is known.
func (t *tracker) nameOfInput(o *outputRecord) string {
	if !o.hasHeader || int(o.provenance.Partition) >= len(t.backlogs) {
		return ""
	}
	return t.originName(o.provenance)
}

// nameOf names the output that an input owes on a stream, with the key that it has there.
func (t *tracker) nameOf(stream int, p Provenance, key []byte) (owedName, bool) {
	name := owedName{p.Partition, int32(stream), noUnit, p.Run, p.Sequence}
	if !t.splits {
		return name, true
	}
	if int(p.Partition) >= len(t.backlogs) {
		return name, false
	}
	var ok bool
	name.unit, ok = t.model.Unit(stream, p.Partition, key)
	return name, ok
}
