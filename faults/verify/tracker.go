package verify

import (
	"fmt"
	"time"
)

// maxMissing bounds how many lost outputs are remembered in case they come late after all.
const maxMissing = 10_000

// inputRecord is an input as the tracker wants it. The slices are only used during the call.
type inputRecord struct {
	partition  int32
	offset     int64
	key, value []byte
	provenance Provenance
	hasHeader  bool
}

// outputRecord is a committed output as the tracker wants it. The slices are only used during the call.
type outputRecord struct {
	stream     int
	partition  int32
	offset     int64
	key, value []byte
	provenance Provenance
	hasHeader  bool
	created    time.Time // timestamp of the input, which the program forwards
	seen       time.Time
	producerID int64 // negative = unknown
	epoch      int16
}

// missingKey names an owed output.
type missingKey struct {
	partition int32
	stream    int32
	run       uint64
	seq       int64
}

// tracker matches outputs with inputs. It knows no Kafka and no clock, and belongs to one goroutine.
//
// Its memory follows the number of keys and the lag: an input is forgotten as soon as it and all inputs before it in
// its partition are settled. The entries of a key are chained, so that an output can declare the ones before it lost.
type tracker struct {
	model       Model
	streams     []Stream
	inputTopic  string
	topics      []string // by stream
	judge       *judge
	run         uint64 // counters and latency are about this run's inputs; 0 = all
	atLeastOnce bool

	lax     bool // values and conditional streams are not judged
	onlyRun bool // outputs of other runs are not judged
	blind   bool // no output is judged any more
	foreign bool // there are inputs without provenance, so outputs without it are not judged
	always  Bits

	backlogs []*backlog // by input partition
	ids      map[string]int32
	first    []int64   // by key: number of its first entry in its backlog, -1 = none
	last     []int64   // by key: number of its newest entry
	cursor   [][]int64 // by stream and key: no entry before this one is unseen and not declared lost
	missing  map[missingKey]int
	queues   []map[int32]*queue // by stream and output partition
	held     int                // records in all queues
}

// newTracker builds a tracker for input partitions that begin at the given offsets.
func newTracker(model Model, j *judge, inputTopic string, topics []string, starts []int64, run uint64) *tracker {
	t := &tracker{
		model: model, streams: model.Streams(), inputTopic: inputTopic, topics: topics, judge: j, run: run,
		atLeastOnce: j.atLeastOnce, lax: j.atLeastOnce,
		ids: make(map[string]int32), missing: make(map[missingKey]int),
	}
	for _, start := range starts {
		t.backlogs = append(t.backlogs, newBacklog(start))
	}
	for i, s := range t.streams {
		if s.Always {
			t.always |= Bit(i)
		}
		t.queues = append(t.queues, make(map[int32]*queue))
	}
	t.cursor = make([][]int64, len(t.streams))
	return t
}

// input takes the next record of an input partition.
func (t *tracker) input(r *inputRecord) {
	key := t.keyID(r.key)
	var e entry
	e.due, e.open = t.model.Apply(int(key), r.key, r.value, &e.facts)
	if t.run == 0 || r.hasHeader && r.provenance.Run == t.run {
		t.judge.in++
	}
	b := t.backlogs[r.partition]
	switch {
	case t.blind:
		return
	case !r.hasHeader:
		// It may decide the order that conditional streams depend on, and its outputs do not name it.
		t.foreign = true
		t.judge.doubt("inputs without provenance, the first at %s", t.inputName(r.partition, r.offset))
		t.relax()
		return
	case t.onlyRun && r.provenance.Run != t.run:
		return
	case r.provenance.Partition != r.partition || !b.follows(r.provenance.Run, r.provenance.Sequence):
		t.judge.doubt("input %s does not continue the sequence of its run and partition", t.inputName(r.partition, r.offset))
		t.blindfold()
		return
	}
	if t.lax {
		e.due, e.open = e.due&t.always, 0
	}
	e.key, e.seq, e.offset, e.next, e.run = key, r.provenance.Sequence, r.offset, -1, int32(len(b.runs)-1)
	n := b.push(e)
	if t.counted(b, &e) {
		t.judge.pending++
	}
	if t.first[key] < 0 {
		t.first[key] = n
	} else {
		b.at(t.last[key]).next = n
	}
	t.last[key] = n
	t.settle(b, n)
}

// keyID returns the number of a key, a new one at its first sight.
func (t *tracker) keyID(key []byte) int32 {
	if id, ok := t.ids[string(key)]; ok {
		return id
	}
	id := int32(len(t.ids))
	t.ids[string(key)] = id
	t.first, t.last = append(t.first, -1), append(t.last, -1)
	for s := range t.cursor {
		t.cursor[s] = append(t.cursor[s], 0)
	}
	return id
}

// counted tells whether an entry belongs to the run that the counters are about.
func (t *tracker) counted(b *backlog, e *entry) bool {
	return t.run == 0 || b.runs[e.run] == t.run
}

// settle takes note that an entry may owe nothing any more, and forgets what can be forgotten.
func (t *tracker) settle(b *backlog, n int64) {
	e := b.at(n)
	if e.due|e.open != 0 {
		return
	}
	if t.counted(b, e) {
		t.judge.pending--
		if e.lost == 0 {
			t.judge.processed++
		}
	}
	for b.head < b.tail && b.at(b.head).due|b.at(b.head).open == 0 {
		h := b.at(b.head)
		t.first[h.key] = h.next
		if h.seen != 0 {
			// An input without effects proves nothing: the application may not have read it yet.
			b.passed = h.offset + 1
		}
		b.pop()
	}
}

// judgeOutput takes an output, unless it has to wait for something that was not seen yet: then it returns false and
// has done nothing.
func (t *tracker) judgeOutput(o *outputRecord) bool {
	switch {
	case t.blind || t.lax && !t.streams[o.stream].Always:
		return true
	case !o.hasHeader:
		return t.foreign // else its input may be still to come, and may have no provenance either
	case t.onlyRun && o.provenance.Run != t.run:
		return true
	case int(o.provenance.Partition) >= len(t.backlogs):
		t.report(KindUnexpected, o, "", "its provenance names an input partition that does not exist")
		return true
	}
	b := t.backlogs[o.provenance.Partition]
	n, where := b.find(o.provenance.Run, o.provenance.Sequence)
	switch where {
	case placeAhead:
		return false
	case placeAbsent:
		t.report(KindUnexpected, o, "", "there is no such input")
	case placeBehind:
		t.late(o)
	case placeKnown:
		if b.at(n).open.Has(o.stream) {
			return false
		}
		t.match(b, n, o)
	}
	return true
}

// match judges an output whose input is known and not settled, or not forgotten yet.
func (t *tracker) match(b *backlog, n int64, o *outputRecord) {
	e := b.at(n)
	s := o.stream
	switch {
	case e.lost.Has(s):
		t.late(o)
		return
	case e.seen.Has(s):
		t.report(KindDuplicate, o, t.inputName(o.provenance.Partition, e.offset), "")
		return
	}
	owed := e.due.Has(s)
	if owed && !t.atLeastOnce {
		key := e.key
		m := max(t.cursor[s][key], t.first[key])
		t.cursor[s][key] = max(m, n)
		for m < n {
			next := b.at(m).next
			if b.at(m).due.Has(s) {
				t.lose(b, m, o.provenance.Partition, s, o, o.seen)
			}
			m = max(next, t.first[key]) // losing one may have forgotten the next ones, too
		}
		e = b.at(n) // losing may have moved the entries
	}
	if owed && t.streams[s].Latency && t.counted(b, e) {
		t.judge.latency.add(o.seen.Sub(o.created))
	}
	e.seen |= Bit(s)
	var wrong string
	if !t.lax {
		var due, settled Bits
		wrong, due, settled = t.model.Check(s, int(e.key), &e.facts, o.key, o.value)
		e.due |= due & e.open
		e.open &^= due | settled
	} else if !owed {
		wrong = "the input owes no output here"
	}
	if wrong != "" {
		kind := KindWrongValue
		if !owed {
			kind = KindUnexpected
		}
		t.report(kind, o, t.inputName(o.provenance.Partition, e.offset), wrong)
	}
	if owed {
		e.due &^= Bit(s)
		t.settle(b, n)
	}
}

// lose declares an owed output of an entry lost. By is the output that proves it, nil at the end of the run.
func (t *tracker) lose(b *backlog, n int64, partition int32, stream int, by *outputRecord, at time.Time) {
	e := b.at(n)
	e.due &^= Bit(stream)
	settled, blame := t.model.Missed(stream, int(e.key), &e.facts)
	e.open &^= settled
	if blame {
		e.lost |= Bit(stream)
		w := Witness{Kind: KindLost, Input: t.inputName(partition, e.offset), At: at}
		w.Detail = fmt.Sprintf("no output on %s until the end", t.topics[stream])
		if by != nil {
			w.Outputs = []string{t.outputName(by)}
			w.Detail = "the output is already that of a later input of the same key"
		}
		i := t.judge.add(w)
		if len(t.missing) < maxMissing {
			t.missing[missingKey{partition, int32(stream), b.runs[e.run], e.seq}] = i
		}
	}
	t.settle(b, n)
}

// late judges an output whose input owes it no more.
func (t *tracker) late(o *outputRecord) {
	k := missingKey{o.provenance.Partition, int32(o.stream), o.provenance.Run, o.provenance.Sequence}
	if i, ok := t.missing[k]; ok {
		delete(t.missing, k)
		t.judge.found(i, t.outputName(o), "it came after the output of a later input of the same key", o.seen)
		return
	}
	input := fmt.Sprintf("%s-%d sequence %d", t.inputTopic, o.provenance.Partition, o.provenance.Sequence)
	repeated, wrong := true, ""
	if !t.lax {
		repeated, wrong = t.model.Late(o.stream, o.key, o.value)
	}
	switch {
	case repeated:
		t.report(KindDuplicate, o, input, "")
	case wrong != "":
		t.report(KindUnexpected, o, input, wrong)
	}
}

// report adds a finding about an output.
func (t *tracker) report(kind string, o *outputRecord, input, detail string) {
	w := Witness{Kind: kind, Input: input, Outputs: []string{t.outputName(o)}, Detail: detail, At: o.seen}
	if o.producerID >= 0 {
		w.Transaction = fmt.Sprintf("producer id %d, epoch %d", o.producerID, o.epoch)
	}
	t.judge.add(w)
}

func (t *tracker) inputName(partition int32, offset int64) string {
	return fmt.Sprintf("%s-%d@%d", t.inputTopic, partition, offset)
}

func (t *tracker) outputName(o *outputRecord) string {
	return fmt.Sprintf("%s-%d@%d", t.topics[o.stream], o.partition, o.offset)
}
