package verify

import (
	"encoding/binary"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
)

// logRecord is a record with what the log before it says about its producer.
type logRecord struct {
	*kgo.Record
	stale bool  // its producer had written before, or had been fenced, under a later epoch: in the partition, or in another one; see leaveBehind
	begin int64 // offset of the first record of its transaction in the partition; negative = it belongs to none
	// foreign is true if it was committed with a later transaction than the one that it was written in: a transaction has one epoch, and
	// its marker that one or, since KIP-890, the next.
	foreign bool
	tail    *tail // of the transaction before in the partition, if its producer has aborted it under the same epoch
}

// tail is the last record of a transaction that was aborted under an epoch that its producer goes on with. What was still on its way then
// would join the next transaction (KIP-890).
type tail struct {
	epoch      int16
	key        []byte
	provenance Provenance
	// redone is true once the next transaction holds an output of that input, or of one before it: it has begun anew.
	redone bool
}

// fate is what became of a record.
type fate uint8

const (
	undecided fate = iota // its transaction is open
	committed
	aborted
)

// transactions derives what is committed in one partition from all that is in its log, markers included. Records come out in
// the order of the log, as far as all before them are decided: up to the last stable offset.
//
// Its memory follows the records behind the oldest open transaction, and the producers.
type transactions struct {
	open   map[int64]int64 // producer id to the first offset of its open transaction
	epochs map[int64]int16 // producer id to its newest epoch
	tails  map[int64]*tail // by producer id

	newest map[int64]int16 // the newest epochs of all partitions; nil = nobody wants to know
	behind map[int64]int16 // epochs that producers had left behind, in whatever partition, before anything was written from the next offset on
	from   int64
	queue  []logRecord
	fates  []fate // of the queue
}

// maxEpochs bounds how many producers are remembered. A broker forgets them, too.
const maxEpochs = 10_000

// Types of control records, as their keys say.
const (
	markerAbort  = 0
	markerCommit = 1
)

// take takes the next record of the log.
func (t *transactions) take(rec *kgo.Record) {
	r := logRecord{Record: rec, begin: -1}
	switch {
	case rec.Attrs.IsControl():
		if len(rec.Key) >= 4 {
			t.end(rec, int16(binary.BigEndian.Uint16(rec.Key[2:])))
		}
		return
	case rec.ProducerID >= 0:
		r.stale = !t.note(rec) || t.leftBehind(rec)
	}
	f := committed
	if rec.Attrs.IsTransactional() {
		f = undecided
		if _, ok := t.open[rec.ProducerID]; !ok {
			if t.open == nil {
				t.open = make(map[int64]int64)
			}
			t.open[rec.ProducerID] = rec.Offset
		}
		r.begin = t.open[rec.ProducerID]
		if tail := t.tails[rec.ProducerID]; tail != nil && tail.epoch == rec.ProducerEpoch {
			r.tail = tail
		}
	}
	t.queue, t.fates = append(t.queue, r), append(t.fates, f)
}

// note notes the epoch of a producer; it returns false if a later one is known.
func (t *transactions) note(rec *kgo.Record) bool {
	newest, ok := t.epochs[rec.ProducerID]
	switch {
	case ok && rec.ProducerEpoch < newest:
		return false
	case ok && rec.ProducerEpoch == newest:
		return true
	case t.epochs == nil || !ok && len(t.epochs) >= maxEpochs:
		t.epochs = make(map[int64]int16)
	}
	t.epochs[rec.ProducerID] = rec.ProducerEpoch
	if e, ok := t.newest[rec.ProducerID]; t.newest != nil && (!ok || e < rec.ProducerEpoch) {
		if len(t.newest) >= maxEpochs {
			clear(t.newest)
		}
		t.newest[rec.ProducerID] = rec.ProducerEpoch
	}
	return true
}

// leftBehind tells whether a record of a transaction was written after its producer was known under a later epoch in another partition.
func (t *transactions) leftBehind(rec *kgo.Record) bool {
	if t.behind == nil || rec.Offset < t.from || !rec.Attrs.IsTransactional() {
		return false
	}
	newest, ok := t.behind[rec.ProducerID]
	return ok && rec.ProducerEpoch < newest
}

// end takes the marker that ends a transaction.
func (t *transactions) end(marker *kgo.Record, kind int16) {
	if kind != markerAbort && kind != markerCommit {
		return // such as the change of a leader
	}
	t.note(marker)
	begin, ok := t.open[marker.ProducerID]
	if !ok {
		return // what it ends is empty here, or is before the first record that was read
	}
	delete(t.open, marker.ProducerID)
	f := aborted
	if kind == markerCommit {
		f = committed
	}
	var last *kgo.Record
	oldest, newest := marker.ProducerEpoch, marker.ProducerEpoch-1
	for i := range t.queue {
		if q := &t.queue[i]; q.Offset >= begin && q.ProducerID == marker.ProducerID && t.fates[i] == undecided {
			t.fates[i], last = f, q.Record
			oldest, newest = min(oldest, q.ProducerEpoch), max(newest, q.ProducerEpoch)
		}
	}
	delete(t.tails, marker.ProducerID)
	switch {
	case f == committed && oldest < newest:
		for i := range t.queue {
			if q := &t.queue[i]; q.Offset >= begin && q.ProducerID == marker.ProducerID {
				q.foreign = q.ProducerEpoch < newest && !q.stale
			}
		}
	case f == aborted && last != nil && last.ProducerEpoch == marker.ProducerEpoch:
		t.leave(last)
	}
}

// leave keeps the last record of a transaction that was aborted.
func (t *transactions) leave(rec *kgo.Record) {
	name, ok := provenanceOf(rec)
	if !ok {
		return
	}
	if t.tails == nil || len(t.tails) >= maxEpochs {
		t.tails = make(map[int64]*tail)
	}
	t.tails[rec.ProducerID] = &tail{epoch: rec.ProducerEpoch, key: slices.Clone(rec.Key), provenance: name}
}

// decided hands out what is decided, in the order of the log: appends committed records to those given and calls drop with
// those that were aborted.
func (t *transactions) decided(records []logRecord, drop func(*kgo.Record)) []logRecord {
	n := 0
	for ; n < len(t.queue) && t.fates[n] != undecided; n++ {
		if t.fates[n] == committed {
			records = append(records, t.queue[n])
		} else {
			drop(t.queue[n].Record)
		}
	}
	rest := copy(t.queue, t.queue[n:])
	copy(t.fates, t.fates[n:])
	clear(t.queue[rest:])
	t.queue, t.fates = t.queue[:rest], t.fates[:rest]
	return records
}
