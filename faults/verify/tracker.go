package verify

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

const (
	// maxMissing bounds how many lost outputs are remembered in case they come late after all.
	maxMissing = 10_000
	// anonymousRun stands for the run of inputs without provenance, whose offsets serve as sequences.
	anonymousRun = 0
)

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
	stale      bool // of a producer that was known under a later epoch before
	foreign    bool // committed with a later transaction of its producer
	tail       *tail
}

// writer names the producer; empty if it is not known.
func (o *outputRecord) writer() string { return writerOf(o.producerID, o.epoch) }

// lostOutput is an output that was declared lost.
type lostOutput struct {
	witness int    // index, -1 = none
	by      *early // the output that proved it, if it may have joined a later transaction
}

// owedName names an output that an effect owes.
type owedName struct {
	partition, stream, unit int32 // the unit is noUnit where inputs have one effect only
	run                     uint64
	seq                     int64
}

// lane is the part of a free unit's outputs that are in one partition of a stream.
type lane struct {
	stream, unit, partition int32
}

// tracker matches outputs with inputs. It knows no Kafka and no clock, and belongs to one goroutine.
//
// Its memory follows the number of units and the lag: an input is forgotten as soon as it and all inputs before it in
// its partition are settled. The entries of a unit are chained, so that an output can decide about the ones before it.
type tracker struct {
	model       Model
	splits      bool
	streams     []Stream
	depth       int // the greatest of the streams
	inputTopic  string
	topics      []string // by stream
	judge       *judge
	run         uint64 // counters and latency are about this run's inputs; 0 = all
	atLeastOnce bool

	lax       bool // what depends on inputs before is not judged
	partial   bool // some keys may be those of inputs that were not seen
	onlyRun   bool // outputs of other runs are not judged
	blind     bool // no output is judged any more
	named     bool // an input with provenance was seen
	mixed     bool // some inputs carry none, so outputs without it are not judged
	always    Bits
	anonymous anonymous

	backlogs []*backlog // by input partition
	effects  []Effect   // of the input at work
	home     []int32    // by unit: its input partition, -1 = not met yet
	first    []int64    // by unit: number of its first entry in its backlog, -1 = none
	last     []int64    // by unit: number of its newest entry
	cursor   [][]int64  // by stream and unit: no entry before this one is unseen and not decided
	free     bool       // there are free units
	lanes    map[lane]int64
	missing  map[owedName]lostOutput
	recent   recent
	idle     remembered[owedName, struct{}] // inputs without effects
	undone   undone
	early    remembered[owedName, *early]
	queues   []map[int32]*queue // by stream and output partition
	held     int                // records in all queues
}

// newTracker builds a tracker for input partitions that begin at the given offsets.
func newTracker(model Model, j *judge, inputTopic string, topics []string, starts []int64, run uint64) *tracker {
	t := &tracker{
		model: model, splits: model.Splits(), streams: model.Streams(), inputTopic: inputTopic, topics: topics, judge: j, run: run,
		atLeastOnce: j.atLeastOnce, lax: j.atLeastOnce,
		lanes: make(map[lane]int64), missing: make(map[owedName]lostOutput),
	}
	for p, start := range starts {
		t.backlogs = append(t.backlogs, newBacklog(int32(p), start))
	}
	for i, s := range t.streams {
		if s.Always {
			t.always |= Bit(i)
		}
		t.depth = max(t.depth, s.Depth)
		t.queues = append(t.queues, make(map[int32]*queue))
	}
	t.cursor = make([][]int64, len(t.streams))
	return t
}

// input takes the next record of an input partition.
func (t *tracker) input(r *inputRecord) {
	origin, ok := t.origin(r)
	t.effects = t.model.Apply(r.partition, r.key, r.value, t.effects[:0])
	if t.run == 0 || r.hasHeader && r.provenance.Run == t.run {
		t.judge.in++
	}
	b := t.backlogs[r.partition]
	switch {
	case t.blind:
		return
	case t.anonymous.on && r.hasHeader:
		t.judge.doubt("inputs with provenance among others without, the first at %s", t.inputName(r.partition, r.offset))
		t.blindfold()
		return
	case !ok:
		// It may decide the order that conditional streams depend on, and its outputs do not name it.
		t.mixed = true
		t.judge.doubt("inputs without provenance, the first at %s", t.inputName(r.partition, r.offset))
		t.relax()
		return
	case t.onlyRun && origin.Run != t.run:
		return
	case origin.Partition != r.partition || !b.follows(origin.Run, origin.Sequence, r.offset):
		t.judge.doubt("input %s does not continue the sequence of its run and partition", t.inputName(r.partition, r.offset))
		t.blindfold()
		return
	}
	for i := range t.effects {
		if unit := t.effects[i].Unit; int(unit) < len(t.home) && unit != noUnit && t.home[unit] >= 0 && t.home[unit] != r.partition {
			t.judge.doubt("the key of input %s is in several partitions, so that the order of its records is not known", t.inputName(r.partition, r.offset))
			t.blindfold()
			return
		}
	}
	if len(t.undone.names) > 0 {
		delete(t.undone.names, inputOrigin(origin)) // it was written again
	}
	t.push(b, origin.Sequence, r)
}

// origin returns what names an input. Where the first inputs carry no provenance, and no load is known that would give
// them one, none is expected to: then it is the place in the log.
func (t *tracker) origin(r *inputRecord) (Provenance, bool) {
	if r.hasHeader {
		t.named = true
		return r.provenance, true
	}
	if t.named || t.run != 0 {
		return Provenance{}, false
	}
	if !t.anonymous.on {
		t.anonymous.on = true
		t.model.Anonymous()
	}
	return Provenance{Run: anonymousRun, Partition: r.partition, Sequence: r.offset}, true
}

// push appends the effects of an input to its backlog.
func (t *tracker) push(b *backlog, seq int64, r *inputRecord) {
	if len(t.effects) == 0 {
		t.effects = append(t.effects, Effect{Unit: noUnit})
		t.idle.put(inputOrigin(Provenance{Run: b.runs[len(b.runs)-1], Partition: r.partition, Sequence: seq}), struct{}{})
	}
	if len(t.effects) > 1 {
		slices.SortFunc(t.effects, func(x, y Effect) int { return cmp.Compare(x.Unit, y.Unit) })
	}
	width, begin := int32(len(t.effects)), b.tail
	b.next = r.offset + 1
	for i := range t.effects {
		e := entry{
			Effect: t.effects[i], seq: seq, offset: r.offset, next: -1, run: int32(len(b.runs) - 1),
			nth: int32(i), width: width, rest: width,
		}
		if t.lax {
			e.Due, e.Open = e.Due&t.always, 0
		}
		n := b.push(e)
		if e.Unit == noUnit {
			continue
		}
		if e.Free {
			t.free = true
			if t.anonymous.on {
				t.print(&e, entryAt{r.partition, n})
			}
		}
		t.meet(e.Unit, r.partition)
		if t.first[e.Unit] < 0 {
			t.first[e.Unit] = n
		} else {
			b.at(t.last[e.Unit]).next = n
		}
		t.last[e.Unit] = n
	}
	if t.counted(b, b.at(begin)) {
		t.judge.pending++
	}
	for n := begin; n < begin+int64(width) && n >= b.head; n++ {
		t.settle(b, n)
	}
}

// meet makes room for a unit.
func (t *tracker) meet(unit, partition int32) {
	for int(unit) >= len(t.first) {
		t.home, t.first, t.last = append(t.home, -1), append(t.first, -1), append(t.last, -1)
		for s := range t.cursor {
			t.cursor[s] = append(t.cursor[s], 0)
		}
	}
	t.home[unit] = partition
}

// counted tells whether an entry belongs to the run that the counters are about.
func (t *tracker) counted(b *backlog, e *entry) bool {
	return t.run == 0 || b.runs[e.run] == t.run
}

// settle takes note that an entry may owe nothing any more, and forgets what can be forgotten.
func (t *tracker) settle(b *backlog, n int64) {
	e := b.at(n)
	if e.settled || e.Due|e.Open != 0 {
		return
	}
	e.settled = true
	first := b.at(n - int64(e.nth))
	first.spoiled = first.spoiled || e.lost != 0
	if first.rest--; first.rest > 0 {
		return
	}
	if t.counted(b, first) {
		t.judge.pending--
		if !first.spoiled {
			t.judge.processed++
		}
	}
	for b.head < b.tail && b.at(b.head).rest == 0 {
		h := *b.at(b.head)
		var shown Bits
		for range h.width {
			e := b.at(b.head)
			shown |= e.seen | e.skipped
			if e.Unit != noUnit {
				t.first[e.Unit] = e.next
			}
			b.pop()
		}
		if shown != 0 {
			// An input without effects proves nothing: the application may not have read it yet.
			b.passed = h.offset + 1
		}
	}
}

// relax ends the judgement of values and of streams that depend on them.
func (t *tracker) relax() {
	t.partial = true
	if t.lax {
		return
	}
	t.lax = true
	t.model.Relax()
	t.mask(t.always)
}

// blindfold ends the judgement of outputs.
func (t *tracker) blindfold() {
	t.mask(0)
	t.blind = true
	t.release()
}

// mask drops what entries owe on all other streams.
func (t *tracker) mask(keep Bits) {
	for _, b := range t.backlogs {
		for n := b.head; n < b.tail; n = max(n+1, b.head) {
			e := b.at(n)
			e.Due, e.Open = e.Due&keep, 0
			t.settle(b, n)
		}
	}
}

// passed returns for each input partition the offset below which the effect of every input was seen.
func (t *tracker) passed() []int64 {
	offsets := make([]int64, len(t.backlogs))
	for p, b := range t.backlogs {
		offsets[p] = b.passed
	}
	return offsets
}

// owed names what an entry owes on a stream.
func (t *tracker) owed(b *backlog, e *entry, stream int) owedName {
	name := owedName{partition: b.partition, stream: int32(stream), unit: noUnit, run: b.runs[e.run], seq: e.seq}
	if t.splits {
		name.unit = e.Unit
	}
	return name
}

func (t *tracker) inputName(partition int32, offset int64) string {
	return fmt.Sprintf("%s-%d@%d", t.inputTopic, partition, offset)
}

// originName names the input of a provenance by its offset, or by its sequence if that is not known.
func (t *tracker) originName(p Provenance) string {
	if offset, ok := t.backlogs[p.Partition].offsetOf(p.Run, p.Sequence); ok {
		return t.inputName(p.Partition, offset)
	}
	return fmt.Sprintf("%s-%d sequence %d", t.inputTopic, p.Partition, p.Sequence)
}

func (t *tracker) outputName(o *outputRecord) string {
	return fmt.Sprintf("%s-%d@%d", t.topics[o.stream], o.partition, o.offset)
}

// recent remembers the last few outputs that need not come any more, since a later one stands for them. One that comes
// all the same is out of order, and not a repetition.
type recent struct {
	remembered[owedName, struct{}]
}

// take tells whether a name is remembered, and forgets it.
func (r *recent) take(name owedName) bool {
	_, ok := r.names[name]
	delete(r.names, name)
	return ok
}
