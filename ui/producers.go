package ui

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"eostop/runtime"
)

// producerRow is a producer of a thread, which has one, or one for each task.
type producerRow struct {
	thread   *runtime.ThreadStatus
	producer *runtime.ProducerStatus
}

func newProducers() *table[producerRow] {
	type row = producerRow
	return &table[row]{
		name: "producers", sort: -1,
		empty: "no transactional producer yet",
		rows: func(v *view, into []row) []row {
			v.eachThread(func(t *runtime.ThreadStatus) {
				for i := range t.Producers {
					into = append(into, row{t, &t.Producers[i]})
				}
			})
			return into
		},
		id:     func(r *row) string { return r.thread.Name + " " + r.producer.TransactionalID },
		owner:  func(r *row) string { return r.thread.Instance },
		detail: explainProducer,
		columns: []column[row]{
			{title: "THREAD", min: 6, max: 6, cell: func(_ *view, r *row, width int) (string, sgr) {
				return threadName(r.thread.Instance, r.thread.Name, width), sgr{}
			}},
			{title: "TRANSACTIONAL ID", brief: "TXN ID", min: 11, max: 56, grow: 2, drop: 1, cell: func(v *view, r *row, width int) (string, sgr) {
				if r.producer.TransactionalID == "" {
					return none, v.styles.dim
				}
				return shortID(r.producer.TransactionalID, v.snap.ApplicationID, width, v.glyphs.ellipsis), sgr{}
			}, order: by(func(r *row) string { return r.producer.TransactionalID })},
			{title: "ID", min: 6, max: 19, grow: 3, right: true, order: by(func(r *row) int64 { return r.producer.ProducerID }), cell: func(v *view, r *row, width int) (string, sgr) {
				if r.producer.ProducerID < 0 {
					return none, v.styles.dim
				}
				// Real brokers count from 0; the embedded one takes ids at random, as large as they get.
				return elideLeft(strconv.FormatInt(r.producer.ProducerID, 10), width, v.glyphs.ellipsis), sgr{}
			}},
			{title: "EPOCH", min: 5, max: 6, right: true, order: by(func(r *row) int16 { return r.producer.Epoch }), cell: func(v *view, r *row, _ int) (string, sgr) {
				if r.producer.Epoch < 0 {
					return none, v.styles.dim
				}
				return strconv.Itoa(int(r.producer.Epoch)), sgr{}
			}},
			{title: "PHASE", min: 14, max: 14, order: by(func(r *row) string { return r.producer.Phase }), cell: func(v *view, r *row, _ int) (string, sgr) {
				return r.producer.Phase, v.phaseStyle(r.producer.Phase)
			}},
			{title: "TXN AGE", min: 7, max: 7, right: true, drop: 3, order: byTime(func(r *row) time.Time { return r.producer.TransactionSince }), cell: func(v *view, r *row, _ int) (string, sgr) {
				at := r.producer.TransactionSince
				if at.IsZero() {
					return none, v.styles.dim
				}
				st := sgr{}
				if left := v.snap.TransactionTimeout; left > 0 && v.now().Sub(at) > left/2 {
					st = v.styles.warn
				}
				return age(v.now(), at), st
			}},
			{title: "COMMITS", min: 7, max: 9, right: true, drop: 5, order: by(func(r *row) uint64 { return r.producer.Commits }), cell: func(_ *view, r *row, width int) (string, sgr) {
				return fitCount(int64(r.producer.Commits), width), sgr{}
			}},
			{title: "ABORTS", min: 6, max: 7, right: true, drop: 4, order: by(func(r *row) uint64 { return r.producer.Aborts }), cell: func(v *view, r *row, width int) (string, sgr) {
				return v.unless(int64(r.producer.Aborts), width, v.styles.warn)
			}},
			{title: "FENCES", min: 6, max: 7, right: true, order: by(func(r *row) uint64 { return r.producer.Fences }), cell: func(v *view, r *row, width int) (string, sgr) {
				return v.unless(int64(r.producer.Fences), width, v.styles.warn)
			}},
			{title: "LAST CHANGE", min: 12, max: 27, grow: 1, drop: 2, cell: func(v *view, r *row, width int) (string, sgr) {
				change, ok := lastChange(r.producer.Epochs)
				if !ok {
					return none, v.styles.dim
				}
				cause := causeWords(change.Cause)
				st := v.styles.dim
				if alarming(change.Cause) && v.now().Sub(change.At) < time.Minute {
					st = v.styles.warn
				}
				return first(width, cause+" "+tick(v.now().Sub(change.At))+" ago", cause+" "+tick(v.now().Sub(change.At)), cause), st
			}},
		},
	}
}

func (v *view) phaseStyle(phase string) sgr {
	switch phase {
	case "READY", "IN_TRANSACTION", "COMMITTING":
		return v.styles.ok
	case "DISCARDED":
		return v.styles.bad
	case "NONE":
		return v.styles.dim
	}
	return v.styles.warn
}

// lastChange is the newest change of id or epoch that is worth a look: under the newer transaction protocol every
// commit raises the epoch, which says nothing, so such changes count only where there is no other.
func lastChange(epochs []runtime.EpochChange) (runtime.EpochChange, bool) {
	for _, e := range slices.Backward(epochs) {
		if !routine(e.Cause) {
			return e, true
		}
	}
	if n := len(epochs); n > 0 {
		return epochs[n-1], true
	}
	return runtime.EpochChange{}, false
}

// routine is true for epoch bumps by the commit of a transaction.
func routine(cause string) bool { return cause == "commit" || cause == "committed" }

// alarming is true for changes that were neither a commit nor the producer's first initialisation.
func alarming(cause string) bool {
	return !routine(cause) && cause != "start" && !strings.HasPrefix(cause, "init")
}

func causeWords(cause string) string {
	if cause == "" {
		return "changed"
	}
	return strings.ReplaceAll(cause, "_", " ")
}
