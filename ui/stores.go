package ui

import (
	"eostop/runtime"
)

// storeRow is a state store of a task. Thread is the one that has it registered.
type storeRow struct {
	thread *runtime.ThreadStatus
	store  *runtime.StoreStatus
}

func newStores() *table[storeRow] {
	type row = storeRow
	return &table[row]{
		name: "stores", sort: -1,
		empty: "no store is open",
		rows: func(v *view, into []row) []row {
			v.eachThread(func(t *runtime.ThreadStatus) {
				for i := range t.Stores {
					into = append(into, row{t, &t.Stores[i]})
				}
			})
			return into
		},
		id:     func(r *row) string { return r.store.Task + "/" + r.store.Name + "@" + r.thread.Name },
		owner:  func(r *row) string { return r.thread.Instance },
		detail: explainStore,
		columns: []column[row]{
			{title: "STORE", min: 16, max: 42, grow: 2, order: by(func(r *row) string { return r.store.Name }), cell: func(v *view, r *row, width int) (string, sgr) {
				return elideLeft(r.store.Name, width, v.glyphs.ellipsis), sgr{}
			}},
			{title: "TASK", min: 5, max: 5, order: by(func(r *row) string { return r.store.Task }), cell: func(_ *view, r *row, _ int) (string, sgr) {
				return r.store.Task, sgr{}
			}},
			{title: "REGISTERED BY", brief: "THREAD", min: 6, max: 17, drop: 2, order: by(func(r *row) string { return r.thread.Name }), cell: func(v *view, r *row, width int) (string, sgr) {
				if !r.store.Registered {
					return "nobody", v.styles.warn
				}
				return threadName(r.thread.Instance, r.thread.Name, width), sgr{}
			}},
			{title: "STATE", min: 9, max: 9, order: by(func(r *row) string { return r.store.State }), cell: func(v *view, r *row, _ int) (string, sgr) {
				return r.store.State, v.stateStyle(r.store.State)
			}},
			{title: "ENTRIES", min: 7, max: 9, right: true, order: by(func(r *row) int64 { return r.store.Entries }), cell: func(_ *view, r *row, width int) (string, sgr) {
				return fitCount(r.store.Entries, width), sgr{}
			}},
			{title: "SIZE", min: 8, max: 8, right: true, drop: 3, order: by(func(r *row) int64 { return r.store.Bytes }), cell: func(_ *view, r *row, _ int) (string, sgr) {
				return byteSize(r.store.Bytes), sgr{}
			}},
			{title: "POSITION", min: 8, max: 11, right: true, drop: 4, order: by(func(r *row) int64 { return r.store.Position }), cell: func(v *view, r *row, width int) (string, sgr) {
				if r.store.Position < 0 {
					return none, v.styles.dim
				}
				return fitCount(r.store.Position, width), sgr{}
			}},
			{title: "TO GO", min: 6, max: 9, right: true, drop: 1, order: by(func(r *row) int64 { return r.store.Lag }), cell: func(v *view, r *row, width int) (string, sgr) {
				if r.store.Lag < 0 {
					return none, v.styles.dim
				}
				return v.unless(r.store.Lag, width, v.styles.warn)
			}},
		},
	}
}
