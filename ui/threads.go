package ui

import (
	"strconv"
	"strings"
	"time"

	"eostop/faults/soak"
	"eostop/runtime"
)

// threadRow is an instance, or a thread of it.
type threadRow struct {
	at       int // position of the instance
	instance *soak.Instance
	thread   *runtime.ThreadStatus // nil: the instance's own row
	host     string                // of an instance in another process
	last     bool
}

func newThreads() *table[threadRow] {
	return &table[threadRow]{
		name: "instances", sort: -1,
		empty: "no instance has started yet",
		rows:  threadRows,
		id:    func(r *threadRow) string { return r.name() + r.host },
		owner: func(r *threadRow) string {
			if r.host != "" { // Another host may use the same names.
				return r.instance.Name + " on " + r.host
			}
			return r.instance.Name
		},
		size: func(v *view) string {
			size := strconv.Itoa(len(v.snap.Instances)) + ", threads " + strconv.Itoa(v.snap.ThreadsAlive) + "/" + strconv.Itoa(v.snap.ThreadsTotal)
			if n := len(v.snap.Elsewhere); n > 0 {
				size += ", " + strconv.Itoa(n) + " elsewhere"
			}
			return size
		},
		detail: explainThread,
		group: func(a, b *threadRow) int {
			if a.at != b.at {
				return compare(a.at, b.at)
			}
			if a.thread == nil || b.thread == nil { // The instance's row stays above its threads.
				if a.thread == nil && b.thread == nil {
					return 0
				}
				if a.thread == nil {
					return -1
				}
				return 1
			}
			return 0
		},
		note:     rowNote,
		noteFrom: rowNoteFrom,
		columns: []column[threadRow]{
			{title: "THREAD", min: 16, max: 18, grow: 3, cell: threadLabel},
			{title: "STATE", min: 10, want: 19, max: 19, order: by(func(r *threadRow) string { return r.state() }), cell: func(v *view, r *threadRow, _ int) (string, sgr) {
				return r.state(), v.stateStyle(r.state())
			}},
			{title: "TASKS", min: 15, max: 24, grow: 2, cell: threadTasks, drop: 2, order: by(func(r *threadRow) int { return r.tasks() })},
			{title: "REC/S", min: 6, max: 8, right: true, order: func(v *view, a, b *threadRow) int { return compare(v.rateOf(a), v.rateOf(b)) }, cell: func(v *view, r *threadRow, width int) (string, sgr) {
				rate := v.rateOf(r)
				if rate < 0 {
					return none, v.styles.dim
				}
				return fitCount(int64(rate+0.5), width), sgr{}
			}},
			{title: "COMMIT", min: 6, max: 8, right: true, drop: 3, order: byTime(func(r *threadRow) time.Time { return r.lastCommit() }), cell: func(v *view, r *threadRow, _ int) (string, sgr) {
				return age(v.now(), r.lastCommit()), v.commitStyle(r.lastCommit())
			}},
			{title: "GEN", min: 4, max: 5, right: true, drop: 4, order: by(func(r *threadRow) int32 { return r.generation() }), cell: func(v *view, r *threadRow, _ int) (string, sgr) {
				if r.generation() < 0 {
					return none, v.styles.dim
				}
				return strconv.Itoa(int(r.generation())), sgr{}
			}},
			{title: "NOTE", min: 14, drop: 5, cell: threadNote},
		},
	}
}

func threadRows(v *view, into []threadRow) []threadRow {
	add := func(at int, in *soak.Instance, host string) {
		into = append(into, threadRow{at: at, instance: in, host: host})
		for j := range in.Threads {
			into = append(into, threadRow{at: at, instance: in, thread: &in.Threads[j], last: j == len(in.Threads)-1, host: host})
		}
	}
	for i := range v.snap.Instances {
		add(i, &v.snap.Instances[i], "")
	}
	for i := range v.snap.Elsewhere {
		other := &v.snap.Elsewhere[i]
		add(len(v.snap.Instances)+i, &other.Instance, other.Host)
	}
	return into
}

func (r *threadRow) name() string {
	if r.thread != nil {
		return r.thread.Name
	}
	return r.instance.Name
}

func (r *threadRow) state() string {
	if r.thread != nil {
		return r.thread.State
	}
	return r.instance.State
}

func (r *threadRow) tasks() int {
	if r.thread != nil {
		return len(r.thread.Tasks)
	}
	n := 0
	for i := range r.instance.Threads {
		n += len(r.instance.Threads[i].Tasks)
	}
	return n
}

// lastCommit of an instance is that of the thread which has waited longest, for that is the one to look at.
func (r *threadRow) lastCommit() time.Time {
	if r.thread != nil {
		return r.thread.LastCommit
	}
	var oldest time.Time
	for i := range r.instance.Threads {
		t := &r.instance.Threads[i]
		if len(t.Tasks) > 0 && (oldest.IsZero() || t.LastCommit.Before(oldest)) {
			oldest = t.LastCommit
		}
	}
	return oldest
}

func (r *threadRow) generation() int32 {
	if r.thread != nil {
		return r.thread.Generation
	}
	newest := int32(-1)
	for i := range r.instance.Threads {
		newest = max(newest, r.instance.Threads[i].Generation)
	}
	return newest
}

// rateOf is negative where nobody here knows the rate.
func (v *view) rateOf(r *threadRow) float64 {
	if r.host != "" {
		return -1
	}
	if r.thread != nil {
		return v.hist.rate(r.thread.Name)
	}
	sum := 0.0
	for i := range r.instance.Threads {
		sum += v.hist.rate(r.instance.Threads[i].Name)
	}
	return sum
}

// commitStyle warns where a thread has not committed for a second or more, ten commit intervals by default.
func (v *view) commitStyle(at time.Time) sgr {
	if !at.IsZero() && v.now().Sub(at) > 2*time.Second {
		return v.styles.warn
	}
	return sgr{}
}

func threadLabel(v *view, r *threadRow, width int) (string, sgr) {
	if r.thread == nil {
		return clean(r.instance.Name), v.styles.bold
	}
	branch := v.glyphs.branch
	if r.last {
		branch = v.glyphs.lastBranch
	}
	name := clean(strings.TrimPrefix(r.thread.Name, r.instance.Name+"-"))
	if len(name)+2 > width {
		name = strings.TrimPrefix(name, "Stream")
	}
	return branch + " " + name, sgr{}
}

// threadTasks lists the ids of the tasks, those marked that are still being restored.
func threadTasks(v *view, r *threadRow, room int) (string, sgr) {
	if r.thread == nil {
		text := plural(r.tasks(), "task")
		if v.narrow() && r.host == "" { // There is no note beside it that says so.
			text = v.glyphs.linked + " linked, " + text
		}
		return text, v.styles.dim
	}
	tasks := r.thread.Tasks
	if len(tasks) == 0 {
		return none, v.styles.dim
	}
	st := sgr{}
	marks := make([]string, len(tasks)+1) // of this task or of a later one
	for i := len(tasks) - 1; i >= 0; i-- {
		marks[i] = marks[i+1]
		if tasks[i].State != "RUNNING" {
			marks[i], st = v.glyphs.restore, v.styles.warn
		}
	}
	var b strings.Builder
	used := 0
	for i := range tasks {
		id, sep := clean(tasks[i].ID), min(i, 1)
		if tasks[i].State != "RUNNING" {
			id += v.glyphs.restore
		}
		reserve, more := 0, "+"+strconv.Itoa(len(tasks)-i)+marks[i]
		if i < len(tasks)-1 {
			reserve = width(more) + 1
		}
		if used+sep+width(id)+reserve > room {
			id = more
		}
		b.WriteString(spaces(sep) + id)
		used += sep + width(id)
		if id == more {
			break
		}
	}
	return b.String(), st
}

// rowNoteFrom says which cells mean nothing while a link is broken, and in narrow tables while a thread restores.
func rowNoteFrom(v *view, r *threadRow, width int) string {
	broken := v.broken(r)
	switch {
	case r.host != "" && r.thread == nil && width < 110:
		return "REC/S"
	case broken && width < 60:
		return "STATE"
	case broken && width < 110:
		return "TASKS"
	case broken, width < 100 && r.thread != nil && remaining(r.thread) > 0:
		return "REC/S"
	}
	return ""
}

// broken is true for rows whose link is not simply all right.
func (v *view) broken(r *threadRow) bool {
	if r.host != "" {
		return false
	}
	if r.thread != nil {
		return !r.thread.Connected || r.thread.State == "DEAD"
	}
	c := v.lastCut(r.instance.Name)
	return r.instance.Cut || !r.instance.Connected || c != nil && !c.Healed.IsZero() && c.Recovered < 0
}

// remaining is how many changelog records the tasks of a thread have still to read.
func remaining(t *runtime.ThreadStatus) int64 {
	var n int64
	for i := range t.Tasks {
		n += t.Tasks[i].RestoreRemaining
	}
	return n
}

// rowNote words what rowNoteFrom makes room for.
func rowNote(v *view, r *threadRow, room int) (string, sgr) {
	if r.host != "" {
		return threadNote(v, r, room)
	}
	if r.thread == nil {
		return v.instanceNote(r.instance, room)
	}
	t := r.thread
	if t.State == "DEAD" {
		return v.glyphs.bad + " died: " + firstOf(t.LastCause, t.LastError, "cause unknown"), v.styles.bad
	}
	if t.Connected {
		return threadNote(v, r, room)
	}
	text := v.glyphs.cut + " DISCONNECTED"
	since := ""
	if !t.DisconnectedSince.IsZero() {
		since = " " + tick(v.now().Sub(t.DisconnectedSince))
	}
	long, brief := v.countDowns(r)
	all := strings.Join(brief, ", ")
	return first(room, text+since+": "+strings.Join(long, ", "), text+since+": "+all, text+": "+all, text+": "+brief[0], text), v.styles.bad
}

// countDowns words the deadlines that run for a thread that is cut off, the soonest concern first.
func (v *view) countDowns(r *threadRow) (long, brief []string) {
	t, now := r.thread, v.now()
	expelled := false
	if c := v.lastCut(r.instance.Name); c != nil && c.Expelled && c.Healed.IsZero() {
		expelled = true
	}
	add := func(at time.Time, running, ended, brieflyRunning, brieflyEnded string) {
		switch {
		case at.IsZero():
		case at.After(now):
			long, brief = append(long, running+" "+tick(at.Sub(now))), append(brief, brieflyRunning+" "+tick(at.Sub(now)))
		default:
			long, brief = append(long, ended), append(brief, brieflyEnded)
		}
	}
	if expelled {
		long, brief = append(long, "expelled from the group"), append(brief, "expelled")
	} else {
		add(t.SessionDeadline, "session expires in", "session has expired", "session", "session expired")
	}
	add(t.TransactionDeadline, "transaction times out in", "transaction has timed out", "txn", "txn timed out")
	add(t.RebalanceDeadline, "rebalance ends in", "rebalance has ended", "rebalance", "rebalance over")
	if len(long) == 0 {
		long, brief = []string{"no count-down"}, []string{"waiting"}
	}
	return long, brief
}

// instanceNote is the state of an instance's link, where it is not simply linked.
func (v *view) instanceNote(in *soak.Instance, room int) (string, sgr) {
	c := v.lastCut(in.Name)
	switch {
	case in.Cut:
		text := v.glyphs.cut + " CUT " + in.CutDirection + " " + tick(v.now().Sub(in.CutSince))
		after := ""
		if c != nil && c.Healed.IsZero() && c.Expelled {
			after = ", expelled"
			if c.Takeover >= 0 {
				after += ", taken over in " + span(c.Takeover)
			}
		}
		return first(room, text+after, text), v.styles.bad
	case !in.Connected:
		return v.glyphs.cut + " DISCONNECTED " + age(v.now(), in.DisconnectedSince), v.styles.bad
	case c != nil && !c.Healed.IsZero() && c.Recovered < 0:
		text := v.glyphs.linked + " healed " + tick(v.now().Sub(c.Healed)) + " ago"
		return first(room, text+", recovering", text), v.styles.warn
	}
	return "", sgr{}
}

// threadNote fills the last column of rows whose link is all right.
func threadNote(v *view, r *threadRow, room int) (string, sgr) {
	switch {
	case r.host != "" && r.thread == nil:
		host := clean(strings.TrimPrefix(r.host, "/"))
		return first(room, "in another process, on "+host, "on "+host, host), v.styles.dim
	case r.host != "":
		return "", sgr{}
	case r.thread == nil:
		return v.glyphs.linked + " linked", v.styles.ok
	}
	t := r.thread
	n := remaining(t)
	switch {
	case n > 0:
		return first(room, v.glyphs.restore+" restoring, "+count(n)+" to go", v.glyphs.restore+" "+count(n)+" to go", v.glyphs.restore+" "+short(float64(n))+" to go"), v.styles.warn
	case t.Rebalancing:
		return v.glyphs.restore + " rebalancing", v.styles.warn
	case t.LastCause != "":
		text := "last: " + t.LastCause
		return first(room, text, t.LastCause), v.styles.dim
	case t.Leader:
		return "leader", v.styles.dim
	}
	return "", sgr{}
}

// firstOf returns the first text that is not empty.
func firstOf(texts ...string) string {
	for _, s := range texts {
		if s != "" {
			return s
		}
	}
	return ""
}
