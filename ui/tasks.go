package ui

import (
	"strings"
	"time"

	"eostop/runtime"
)

// taskRow is a task of a thread, active or standby. While an instance is cut off, a task may have two owners: the thread that
// does not know yet that it has lost it, and the one that took it over.
type taskRow struct {
	thread *runtime.ThreadStatus
	task   *runtime.TaskStatus
	state  string // STANDBY for a standby task, which has no life of its own to tell of
}

func newTasks() *table[taskRow] {
	type row = taskRow
	return &table[row]{
		name: "tasks", sort: -1,
		empty: "no task is assigned",
		rows: func(v *view, into []row) []row {
			v.eachThread(func(t *runtime.ThreadStatus) {
				for i := range t.Tasks {
					into = append(into, row{t, &t.Tasks[i], t.Tasks[i].State})
				}
				for i := range t.Standbys {
					into = append(into, row{t, &t.Standbys[i], "STANDBY"})
				}
			})
			return into
		},
		id:     func(r *row) string { return r.task.ID + "@" + r.thread.Name },
		owner:  func(r *row) string { return r.thread.Instance },
		detail: explainTask,
		columns: []column[row]{
			{title: "TASK", min: 5, max: 5, order: by(func(r *row) string { return r.task.ID }), cell: func(_ *view, r *row, _ int) (string, sgr) {
				return r.task.ID, sgr{}
			}},
			{title: "THREAD", min: 6, max: 19, order: by(func(r *row) string { return r.thread.Name }), cell: func(v *view, r *row, width int) (string, sgr) {
				name := threadName(r.thread.Instance, r.thread.Name, width-2)
				if !r.thread.Connected {
					return name + " " + v.glyphs.cut, v.styles.bad
				}
				return name, sgr{}
			}},
			{title: "STATE", min: 10, max: 10, order: by(func(r *row) string { return r.state }), cell: func(v *view, r *row, _ int) (string, sgr) {
				return r.state, v.stateStyle(r.state)
			}},
			{title: "LAG", min: 5, max: 8, right: true, order: by(func(r *row) int64 { return r.task.Lag }), cell: func(v *view, r *row, width int) (string, sgr) {
				if r.task.Lag < 0 {
					return none, v.styles.dim
				}
				return fitCount(r.task.Lag, width), sgr{}
			}},
			{title: "PROCESSED", min: 9, max: 11, right: true, drop: 1, order: by(func(r *row) int64 { return r.task.Processed }), cell: func(_ *view, r *row, width int) (string, sgr) {
				return fitCount(r.task.Processed, width), sgr{}
			}},
			{title: "COMMIT", min: 6, max: 7, right: true, drop: 2, order: byTime(func(r *row) time.Time { return r.task.LastCommit }), cell: func(v *view, r *row, _ int) (string, sgr) {
				return age(v.now(), r.task.LastCommit), v.commitStyle(r.task.LastCommit)
			}},
			{title: "RESTORE", min: 7, max: 9, right: true, drop: 4, order: by(func(r *row) int64 { return r.task.RestoreRemaining }), cell: func(v *view, r *row, width int) (string, sgr) {
				if r.task.RestoreRemaining <= 0 {
					return none, v.styles.dim
				}
				return fitCount(r.task.RestoreRemaining, width), v.styles.warn
			}},
			{title: "PARTITIONS", min: 23, drop: 3, cell: func(v *view, r *row, _ int) (string, sgr) {
				return strings.Join(v.shortPartitions(r.task.Partitions), " "), v.styles.dim
			}},
		},
	}
}

// shortPartitions leaves out the application id in front of the names of topics, which all of them share.
func (v *view) shortPartitions(partitions []string) []string {
	names := make([]string, len(partitions))
	for i, p := range partitions {
		names[i] = strings.TrimPrefix(p, v.snap.ApplicationID+"-")
	}
	return names
}
