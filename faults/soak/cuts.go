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
	finished bool // both moments are known, or cannot come any more
}

// totals are counters of all threads at one moment.
type totals struct{ restored, aborted int64 }

func sum(instances []runtime.InstanceStatus) totals {
	var t totals
	for i := range instances {
		counted := instances[i].Totals()
		t.restored += int64(counted.RestoredRecords)
		t.aborted += int64(counted.Aborted)
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
		return !cut.finished && (cut.Takeover < 0 || !cut.Healed.IsZero())
	})
}

// heal notes the end of the cut of an instance.
func (c *cutTracker) heal(instance string, at time.Time) {
	for _, cut := range c.cuts {
		if cut.Instance == instance && cut.Healed.IsZero() {
			cut.Healed, c.shown = at, nil
		}
	}
}

// observe looks at all instances and notes what has happened since.
func (c *cutTracker) observe(now time.Time, instances []runtime.InstanceStatus) {
	for i, cut := range c.cuts {
		if cut.finished {
			continue
		}
		was := cut.Cut
		cut.observeTakeover(instances)
		cut.observeRecovery(now, instances)
		after := sum(instances)
		cut.RestoredRecords = after.restored - cut.before.restored
		cut.AbortedTransactions = after.aborted - cut.before.aborted
		if cut.Cut != was {
			c.shown = nil
		}
		// The next cut of the same instance ends the time in which this one can recover.
		superseded := slices.ContainsFunc(c.cuts[i+1:], func(later *trackedCut) bool { return later.Instance == cut.Instance })
		cut.finished = cut.Recovered >= 0 || (superseded && !cut.Healed.IsZero())
	}
}

// observeTakeover looks for the cut instance's tasks on the others. The tasks count as taken over when the last of them has
// committed there.
func (c *trackedCut) observeTakeover(instances []runtime.InstanceStatus) {
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
	if len(c.tasks) > 0 && committed == len(c.tasks) {
		c.Takeover = last.Sub(c.Start)
	}
}

// observeRecovery asks whether all threads of the instance work again.
func (c *trackedCut) observeRecovery(now time.Time, instances []runtime.InstanceStatus) {
	if c.Healed.IsZero() {
		return
	}
	if working(now, c.Healed, instances, c.Instance) {
		c.Recovered = now.Sub(c.Healed)
	}
}

// working reports whether all threads of an instance, or of all if its name is empty, do their work: RUNNING in the group's
// present generation, and each one that owns tasks has committed since a time.
func working(now, since time.Time, instances []runtime.InstanceStatus, instance string) bool {
	newest := int32(-1)
	for _, i := range instances {
		for _, t := range i.Threads {
			newest = max(newest, t.Generation)
		}
	}
	for _, i := range instances {
		if instance != "" && i.Name != instance {
			continue
		}
		for _, t := range i.Threads {
			if t.State != string(runtime.ThreadRunning) || t.Rebalancing || !t.Connected || t.Generation < newest {
				return false
			}
			proven := t.LastCommit.After(since) || (now.Sub(since) >= idleProof && idle(&t))
			if len(t.Tasks) > 0 && !proven {
				return false
			}
		}
	}
	return true
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
