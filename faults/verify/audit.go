package verify

import (
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// audit judges an application of which only the topics are known, by the provenance of what is in them. It reads the inputs first.
type audit struct {
	s      *reading
	inputs map[origin]*inputLog
	logs   []*auditedLog // by number: outputs, then repartition topics and changelogs
	byName map[string]*auditedLog
	undone undone
	seed   maphash.Seed

	plain   int64 // inputs without provenance
	strange int64 // records whose run is in none of the inputs
	mixed   bool  // inputs whose provenance does not name their place
}

// inputLog is where the inputs of an origin are.
type inputLog struct {
	topic string
	spans
	partition int32
}

// auditedLog is a topic that the application has written.
type auditedLog struct {
	name   string
	number int
	kind   string
	named  int64 // records with a provenance
	seen   map[logOrigin]*sequences
	last   map[logOrigin]int64 // the newest sequence
	newest remembered[newestName, newestRecord]
	early  remembered[newestName, *early]
	// several is true once the topic holds several records of one input by right: in one transaction, or with different keys.
	several  bool
	repeated []Witness
	repeats  int64
	backward []Witness
}

type logOrigin struct {
	origin
	at int32 // partition of the topic
}

// newestName names one of the newest records of a topic.
type newestName struct {
	logOrigin
	seq int64
}

type newestRecord struct {
	key   uint64 // hash
	begin int64  // of the transaction
}

// Kinds of topics that an application writes.
const (
	outputLog      = "output"
	repartitionLog = "repartition"
	changelogLog   = "changelog"
)

// judgeByLogs applies the rules that need no model.
func (s *reading) judgeByLogs(ctx context.Context, opts []kgo.Opt) error {
	a := &audit{s: s, inputs: make(map[origin]*inputLog), byName: make(map[string]*auditedLog), seed: maphash.MakeSeed()}
	for _, of := range []struct {
		kind   string
		topics []string
	}{{outputLog, s.outputs}, {repartitionLog, s.repartitions}, {changelogLog, s.changelogs}} {
		for _, topic := range of.topics {
			l := &auditedLog{name: topic, number: len(a.logs), kind: of.kind, seen: make(map[logOrigin]*sequences), last: make(map[logOrigin]int64)}
			a.logs, a.byName[topic] = append(a.logs, l), l
		}
	}
	if err := s.pass(ctx, opts, s.inputs, a.takeInputs, a.takeAbortedInput); err != nil {
		return err
	}
	if err := s.pass(ctx, opts, slices.Concat(s.outputs, s.internal()), a.takeLog, a.takeAborted); err != nil {
		return err
	}
	return a.conclude(ctx)
}

func (a *audit) takeInputs(topic string, partition int32, records []logRecord) {
	for _, rec := range records {
		p, ok := provenanceOf(rec.Record)
		if !ok {
			a.plain++
			continue
		}
		o := origin{p.Run, p.Partition}
		in := a.inputs[o]
		if in == nil {
			in = &inputLog{topic: topic, partition: partition}
			a.inputs[o] = in
		}
		if in.topic != topic || in.partition != partition {
			a.mixed = true
			continue
		}
		in.add(p.Sequence, rec.Offset)
	}
}

func (a *audit) takeAbortedInput(rec *kgo.Record) {
	if p, ok := provenanceOf(rec); ok {
		a.undone.put(inputOrigin(p), placeName(rec.Topic, rec.Partition, rec.Offset))
	}
}

func (a *audit) takeLog(topic string, partition int32, records []logRecord) {
	a.s.judgeEpochs(topic, partition, records)
	a.s.judge.out += int64(len(records))
	if a.mixed {
		return
	}
	l := a.byName[topic]
	for i := range records {
		if p, ok := provenanceOf(records[i].Record); ok {
			a.takeNamed(l, &records[i], p)
		}
	}
}

// takeNamed judges a record that names its input.
func (a *audit) takeNamed(l *auditedLog, rec *logRecord, p Provenance) {
	l.named++
	w := Witness{Outputs: []string{placeName(l.name, rec.Partition, rec.Offset)}, Transaction: writerName(rec.Record), At: time.Now()}
	o := origin{p.Run, p.Partition}
	in := a.inputs[o]
	var offset int64
	known := in != nil && !in.full
	if known {
		offset, known = in.offsetOf(p.Sequence)
	}
	switch where, aborted := a.undone.names[inputOrigin(p)]; {
	case known:
	case aborted:
		w.Kind, w.Input, w.Detail = KindAbortedRead, where, "the input was aborted"
		a.s.judge.add(w)
		return
	case in == nil || in.full || p.Sequence < in.first():
		a.strange++ // or its input was deleted
		return
	default:
		w.Kind, w.Input, w.Detail = KindUnexpected, fmt.Sprintf("%s-%d sequence %d", in.topic, in.partition, p.Sequence), "there is no such input"
		a.s.judge.add(w)
		return
	}
	w.Input = placeName(in.topic, in.partition, offset)
	a.s.latest.note(rec, p)
	if l.kind != changelogLog {
		a.judgeOnce(l, rec, logOrigin{o, rec.Partition}, p.Sequence, w)
	}
}

// judgeOnce looks whether a record is the second one of its input in a partition, and whether it comes after one of a later input.
func (a *audit) judgeOnce(l *auditedLog, rec *logRecord, o logOrigin, seq int64, w Witness) {
	seen := l.seen[o]
	if seen == nil {
		seen = &sequences{}
		l.seen[o] = seen
	}
	name, now := newestName{o, seq}, newestRecord{maphash.Bytes(a.seed, rec.Key), rec.begin}
	if !seen.add(seq) {
		before, ok := l.newest.names[name]
		if ok && (before.key != now.key || rec.begin >= 0 && before.begin == rec.begin) {
			l.several = true
		}
		w.Kind, w.Detail = KindDuplicate, "a second record of the input, in another transaction"
		if e := l.early.names[name]; e != nil && !e.told {
			e.told = true
			w = e.taken(w.Outputs[0], w.At)
		}
		l.repeats++
		if len(l.repeated) < maxWitnesses {
			l.repeated = append(l.repeated, w)
		}
		return
	}
	l.newest.put(name, now)
	if rec.tail.follows(Provenance{Run: o.run, Partition: o.partition, Sequence: seq}) && !seen.has(rec.tail.provenance.Sequence) {
		l.early.put(name, &early{input: w.Input, output: w.Outputs[0], writer: w.Transaction})
	}
	if last, ok := l.last[o]; ok && seq < last {
		w.Kind, w.Detail = KindOutOfOrder, "it came after the output of a later input of the same partition"
		if len(l.backward) < maxWitnesses {
			l.backward = append(l.backward, w)
		}
		return
	}
	l.last[o] = seq
}

// takeAborted notes an output that was aborted: its input has to be processed again.
func (a *audit) takeAborted(rec *kgo.Record) {
	if p, ok := provenanceOf(rec); ok && a.byName[rec.Topic].kind == outputLog {
		a.undone.put(owedName{p.Partition, int32(a.byName[rec.Topic].number), noUnit, p.Run, p.Sequence}, placeName(rec.Topic, rec.Partition, rec.Offset))
	}
}

// conclude judges what needs all of the logs, and says which rules were applied.
func (a *audit) conclude(ctx context.Context) error {
	s := a.s
	s.applied(KindZombieWrite, "%d topics: outputs, repartition topics and changelogs", len(a.logs))
	const model = "needs a model of the program; see --topology"
	named := slices.ContainsFunc(a.logs, func(l *auditedLog) bool { return l.named > 0 })
	why := ""
	switch {
	case len(s.inputs) == 0:
		why = "the inputs are not known: the group has committed no offsets"
	case len(a.logs) == 0:
		why = "the outputs are not known"
	case a.mixed:
		why = "inputs were copied with their header " + HeaderKey + ", so that it does not name one place"
	case len(a.inputs) == 0 || !named:
		why = "inputs and outputs do not carry the header " + HeaderKey + " of eostop's load generator, so that nothing says which output belongs to which input"
	}
	if why != "" {
		for _, kind := range []string{KindAbortedRead, KindUnexpected, KindDuplicate, KindOutOfOrder, KindTorn} {
			s.notApplied(kind, "%s", why)
		}
	} else {
		by := few(namesOf(a.logs, func(l *auditedLog) bool { return l.named > 0 }))
		s.applied(KindAbortedRead, "inputs by the header %s: %s", HeaderKey, by)
		s.applied(KindUnexpected, "inputs that do not exist: %s", by)
		a.judgeRepeats()
		a.judgeOrder()
		if err := a.judgeTorn(ctx); err != nil {
			return err
		}
	}
	a.judgeMerged(why == "")
	for _, kind := range []string{KindLost, KindWrongValue, KindStateMismatch} {
		s.notApplied(kind, model)
	}
	if a.strange > 0 {
		s.note("%d records name inputs that are not there any more, or are in other topics; they were not judged", a.strange)
	}
	for _, in := range a.inputs {
		s.judge.in += in.count()
	}
	s.judge.in += a.plain
	return nil
}

func namesOf(logs []*auditedLog, fit func(*auditedLog) bool) (names []string) {
	for _, l := range logs {
		if fit(l) {
			names = append(names, l.name)
		}
	}
	return names
}

// judgeRepeats reports the second records of inputs, where a topic holds one record of each input at most.
func (a *audit) judgeRepeats() {
	upstream := namesOf(a.logs, func(l *auditedLog) bool { return l.kind == repartitionLog && l.several })
	single := func(l *auditedLog) bool {
		return l.kind != changelogLog && l.named > 0 && !l.several && (l.kind == repartitionLog || len(upstream) == 0)
	}
	names := namesOf(a.logs, single)
	if len(names) == 0 {
		a.s.notApplied(KindDuplicate, "all topics hold several records of one input by right")
		return
	}
	for _, l := range a.logs {
		if single(l) {
			for _, w := range l.repeated {
				a.s.judge.add(w)
			}
			if !a.s.cfg.AtLeastOnce {
				a.s.judge.duplicated += l.repeats - int64(len(l.repeated))
			}
		}
	}
	a.s.applied(KindDuplicate, "topics that hold one record of an input in a partition at most: %s", few(names))
}

// judgeOrder reports outputs in a wrong order, where nothing but a program without state stands between inputs and outputs: caches and
// repartition topics change the order of different keys.
func (a *audit) judgeOrder() {
	switch {
	case len(a.s.internal()) > 0:
		a.s.notApplied(KindOutOfOrder, "the program has stores or repartition topics, behind which the order of different keys means nothing; see --topology")
		return
	case a.s.cfg.AtLeastOnce:
		a.s.notApplied(KindOutOfOrder, "what is processed again comes later")
		return
	}
	for _, l := range a.logs {
		for _, w := range l.backward {
			a.s.judge.add(w)
		}
	}
	a.s.applied(KindOutOfOrder, "records of the same input partition in each output partition")
}

// judgeTorn reports transactions that hold a part of what belongs together: outputs without the offsets of their inputs, and
// offsets without outputs that had been written in a transaction that was aborted.
func (a *audit) judgeTorn(ctx context.Context) error {
	s := a.s
	if s.cfg.AtLeastOnce {
		s.notApplied(KindTorn, "there are no transactions")
		return nil
	}
	if err := s.judgeFurthest(ctx, func(o origin, seq int64) (string, int32, int64, bool) {
		in := a.inputs[o]
		offset, ok := in.offsetOf(seq)
		return in.topic, in.partition, offset, ok
	}); err != nil {
		return err
	}
	const first = "outputs whose inputs are not committed"
	whole := a.judgeUndone()
	if len(whole) == 0 {
		s.applied(KindTorn, "%s; not outputs that were aborted and did not come again: the program has stores, or no output topic has one of each input", first)
		return nil
	}
	s.applied(KindTorn, "%s; outputs that were aborted and did not come again in %s", first, few(whole))
	return nil
}

// judgeMerged says how far it was looked for transactions that hold what belongs to others. What was found is reported by others.
func (a *audit) judgeMerged(named bool) {
	const epochs = "records that a later transaction of their producer has committed"
	switch {
	case a.s.cfg.AtLeastOnce:
		a.s.notApplied(KindMerged, "there are no transactions")
	case !named:
		a.s.applied(KindMerged, "%s", epochs)
	default:
		a.s.applied(KindMerged, "%s; outputs on both sides of a committed offset; outputs that went on where their producer had aborted and came again, in the topics of %s",
			epochs, KindDuplicate)
	}
}

// judgeUndone reports outputs that were aborted and did not come again, in topics that hold an output of every other input. Where there are
// stores a record cache may have swallowed them when they were made again.
func (a *audit) judgeUndone() (whole []string) {
	if len(a.s.changelogs) > 0 {
		return nil
	}
	inputs := int64(0)
	for _, in := range a.inputs {
		if in.full {
			return nil
		}
		inputs += in.count()
	}
	if a.s.remaining(a.s.inputs) != "" || a.s.remaining(a.s.repartitions) != "" || a.s.scene.members > 0 || len(a.s.scene.open) > 0 {
		return nil
	}
	for _, l := range a.logs {
		if l.kind != outputLog || l.several {
			continue
		}
		var missing []Witness
		for name, where := range a.undone.names {
			in := a.inputs[origin{name.run, name.partition}]
			if int(name.stream) != l.number || in == nil || l.has(name) {
				continue
			}
			if offset, ok := in.offsetOf(name.seq); ok {
				missing = append(missing, Witness{
					Kind: KindTorn, Input: placeName(in.topic, in.partition, offset), Outputs: []string{where}, At: time.Now(),
					Detail: "the output was aborted, but the transaction that took the input is not, and every other input has its output",
				})
			}
		}
		if inputs-l.count() != int64(len(missing)) {
			continue
		}
		slices.SortFunc(missing, func(x, y Witness) int { return strings.Compare(x.Input, y.Input) })
		for _, w := range missing {
			a.s.judge.add(w)
		}
		whole = append(whole, l.name)
	}
	return whole
}

// has tells whether a log has a record of an input in any partition.
func (l *auditedLog) has(name owedName) bool {
	for o, seen := range l.seen {
		if o.origin == (origin{name.run, name.partition}) && seen.has(name.seq) {
			return true
		}
	}
	return false
}

// count is the number of inputs of which the log has a record.
func (l *auditedLog) count() (n int64) {
	for _, seen := range l.seen {
		n += seen.count
	}
	return n
}
