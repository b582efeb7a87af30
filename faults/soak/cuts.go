package soak

import (
	"slices"
	"time"

	"eostop/runtime"
)

// cutTracker follows what the group does about each cut. It belongs to the session's goroutine.
type cutTracker struct {
	cuts  []*trackedCut
	shown []Cut // what list has returned; nil when it is not true any more
}

// trackedCut is a cut together with what is needed to judge the recovery.
type trackedCut struct {
	Cut
	tasks    []string // that the instance owned when it was cut
	before   totals
	arrived  int64 // input records when it was healed
	finished bool  // takeover and recovery are known, or cannot come any more
	settled  bool  // and so is whether the application has caught up
}

// totals are counters of all threads at one moment.
type totals struct{ restored, aborted, replayed int64 }

func sum(instances []runtime.InstanceStatus) totals {
	var t totals
	for i := range instances {
		counted := instances[i].Totals()
		t.restored += int64(counted.RestoredRecords)
		t.aborted += int64(counted.Aborted)
		t.replayed += int64(counted.Replayed)
	}
	return t
}

// begin notes a cut.
func (c *cutTracker) begin(instance, direction string, at time.Time, now []runtime.InstanceStatus) {
	cut := &trackedCut{Cut: Cut{Instance: instance, Direction: direction, Start: at, Takeover: -1, Recovered: -1}, before: sum(now)}
	for _, i := range now {
		if i.Name == instance {
			for _, t := range i.Threads {
				for _, task := range t.Tasks {
					cut.tasks = append(cut.tasks, task.ID)
				}
			}
		}
	}
	c.cuts, c.shown = append(c.cuts, cut), nil
}

// quiet reports whether nothing is expected to happen: each instance that is cut off has been replaced, each other has recovered.
func (c *cutTracker) quiet() bool {
	return !slices.ContainsFunc(c.cuts, func(cut *trackedCut) bool {
		return !cut.settled && (cut.Takeover < 0 || !cut.Healed.IsZero())
	})
}

// heal notes the end of the cut of an instance, and how many records had come in until then; below 0 if nobody knows.
func (c *cutTracker) heal(instance string, at time.Time, arrived int64) {
	for _, cut := range c.cuts {
		if cut.Instance == instance && cut.Healed.IsZero() {
			cut.Healed, cut.arrived, c.shown = at, arrived, nil
		}
	}
}

// observe looks at all instances, at the members in other processes, and at the number of input records that are processed, and notes
// what has happened since.
func (c *cutTracker) observe(now time.Time, instances []runtime.InstanceStatus, others []Elsewhere, processed int64) {
	for i, cut := range c.cuts {
		if cut.settled {
			continue
		}
		was := cut.Cut
		// The next cut of the same instance ends the time in which this one can recover.
		superseded := slices.ContainsFunc(c.cuts[i+1:], func(later *trackedCut) bool { return later.Instance == cut.Instance })
		if !cut.finished {
			cut.observeTakeover(now, instances)
			cut.observeOthers(now, others)
			cut.observeRecovery(now, instances)
			after := sum(instances)
			cut.RestoredRecords = after.restored - cut.before.restored
			cut.AbortedTransactions = after.aborted - cut.before.aborted
			cut.ReplayedRecords = after.replayed - cut.before.replayed
			cut.finished = cut.Recovered >= 0 || (superseded && !cut.Healed.IsZero())
		}
		if !cut.Healed.IsZero() && cut.arrived >= 0 && processed >= cut.arrived {
			cut.CaughtUp = now
		}
		cut.settled = cut.finished && (superseded || cut.arrived < 0 || !cut.CaughtUp.IsZero())
		if cut.Cut != was {
			c.shown = nil
		}
	}
}

// observeTakeover looks for what the instance itself has noticed, and for its tasks on the others. The tasks count as taken over
// when the last of them has committed there.
func (c *trackedCut) observeTakeover(now time.Time, instances []runtime.InstanceStatus) {
	if c.Detected.IsZero() && c.Healed.IsZero() && slices.ContainsFunc(threadsOf(c.Instance, instances), func(t runtime.ThreadStatus) bool { return !t.Connected }) {
		c.Detected = now
	}
	if c.Takeover >= 0 || (c.Expelled && !c.Healed.IsZero() && c.Recovered >= 0) {
		return
	}
	last, committed := time.Time{}, 0
	for _, i := range instances {
		if i.Name == c.Instance {
			continue
		}
		for _, t := range i.Threads {
			for _, task := range t.Tasks {
				if !slices.Contains(c.tasks, task.ID) {
					continue
				}
				c.Expelled = c.Expelled || task.Since.After(c.Start) || task.FirstCommit.After(c.Start)
				if task.FirstCommit.After(c.Start) {
					committed++
					if task.FirstCommit.After(last) {
						last = task.FirstCommit
					}
				}
			}
		}
	}
	c.noteExpulsion(now)
	if len(c.tasks) > 0 && committed == len(c.tasks) {
		c.Takeover = last.Sub(c.Start)
	}
}

// observeOthers looks for the instance's tasks in other processes. Whether they have committed there those processes know alone, so
// then nobody here can tell when the last task was taken over.
func (c *trackedCut) observeOthers(now time.Time, others []Elsewhere) {
	for i := range others {
		for _, t := range others[i].Threads {
			c.Expelled = c.Expelled || slices.ContainsFunc(t.Tasks, func(task runtime.TaskStatus) bool {
				return slices.Contains(c.tasks, task.ID) && task.Since.After(c.Start)
			})
		}
	}
	c.noteExpulsion(now)
}

func (c *trackedCut) noteExpulsion(now time.Time) {
	if c.Expelled && c.Away.IsZero() {
		c.Away = now
	}
}

// observeRecovery asks whether all threads of the instance work again. On the way there each step can be undone by another
// rebalance; what counts is the first time.
func (c *trackedCut) observeRecovery(now time.Time, instances []runtime.InstanceStatus) {
	if c.Healed.IsZero() {
		return
	}
	newest, threads := newestGeneration(instances), threadsOf(c.Instance, instances)
	if c.Rejoined.IsZero() && !slices.ContainsFunc(threads, func(t runtime.ThreadStatus) bool { return !joined(&t, newest) }) {
		c.Rejoined = now
	}
	if c.Restored.IsZero() && !c.Rejoined.IsZero() && !slices.ContainsFunc(threads, func(t runtime.ThreadStatus) bool { return !joined(&t, newest) || !restored(&t) }) {
		c.Restored = now
	}
	if working(now, c.Healed, instances, c.Instance) {
		c.Recovered = now.Sub(c.Healed)
	}
}

// working reports whether all threads of an instance, or of all if its name is empty, do their work: RUNNING in the group's
// present generation, and each one that owns tasks has committed since a time.
func working(now, since time.Time, instances []runtime.InstanceStatus, instance string) bool {
	newest := newestGeneration(instances)
	return !slices.ContainsFunc(threadsOf(instance, instances), func(t runtime.ThreadStatus) bool {
		proven := len(t.Tasks) == 0 || t.LastCommit.After(since) || (now.Sub(since) >= idleProof && idle(&t))
		return t.State != string(runtime.ThreadRunning) || !joined(&t, newest) || !proven
	})
}

// threadsOf returns the threads of an instance, or of all if its name is empty.
func threadsOf(instance string, instances []runtime.InstanceStatus) []runtime.ThreadStatus {
	var threads []runtime.ThreadStatus
	for i := range instances {
		if instance == "" || instances[i].Name == instance {
			threads = append(threads, instances[i].Threads...)
		}
	}
	return threads
}

// newestGeneration returns the newest generation of the group that any thread knows.
func newestGeneration(instances []runtime.InstanceStatus) int32 {
	newest := int32(-1)
	for _, t := range threadsOf("", instances) {
		newest = max(newest, t.Generation)
	}
	return newest
}

// joined reports whether a thread is in the group's newest generation.
func joined(t *runtime.ThreadStatus, newest int32) bool {
	return t.Connected && !t.Rebalancing && t.Generation >= newest
}

// restored reports whether all tasks of a thread are RUNNING.
func restored(t *runtime.ThreadStatus) bool {
	return !slices.ContainsFunc(t.Tasks, func(task runtime.TaskStatus) bool { return task.State != string(runtime.TaskRunning) })
}

// idleProof is how long after a heal a thread with nothing to commit must have been connected: by then every fetch that
// hung has been answered, and what it says of lags is of after the heal.
const idleProof = time.Second

// idle reports whether a thread has nothing to commit: none of its tasks has input, and no transaction is open.
func idle(t *runtime.ThreadStatus) bool {
	return t.TransactionSince().IsZero() && !slices.ContainsFunc(t.Tasks, func(task runtime.TaskStatus) bool {
		return task.State != string(runtime.TaskRunning) || task.Lag != 0
	})
}

// list returns the cuts in the order of their start. Nobody may change it: it is returned again until something has happened.
func (c *cutTracker) list() []Cut {
	if c.shown == nil {
		c.shown = make([]Cut, len(c.cuts))
		for i, cut := range c.cuts {
			c.shown[i] = cut.Cut
		}
	}
	return c.shown
}
