package metrics

import "time"

// Thread measures a stream thread.
type Thread struct {
	registry  *Registry
	set       *set
	name      string
	incidents *incidents // nil if nothing is recorded
	state     *text

	poll, punctuate, commit                              *Timer
	pollRecords, processRecords                          *Value
	processLatency                                       *Timer
	process, taskCreated, taskClosed                     *Meter
	pollShare, processShare, punctuateShare, commitShare *Share
	blocked                                              *Elapsed
	assigned, revoked, lost                              *Timer
}

// Thread registers a stream thread, in the state CREATED. What thread-start-time says is now.
func (r *Registry) Thread(name string) *Thread {
	if r == nil {
		return &Thread{}
	}
	t := &Thread{registry: r, name: name, incidents: r.incident(name)}
	t.set = r.root.child("thread "+name, valid(r.cfg.ClientID, name))
	b := builder{t.set, threadGroup}
	t.state = b.text("state", "State of the thread")
	t.state.set(threadStates[0])
	b.ordinal("thread-state", "State of the thread as a number", t.state, threadStates)
	b.gauge(Info, "thread-start-time", "When the thread was started, in milliseconds since 1970").Set(r.clock.millis(r.clock.now()))

	t.poll = b.calls(Info, "poll", "calls to poll")
	t.pollRecords = b.value(Info, "poll-records", "number of records that a poll returned")
	t.pollShare = b.share("poll-ratio", "on polling records")
	t.processLatency = b.timer(Info, time.Millisecond, "process-latency", "time to process a record")
	t.process = b.meter(Info, "process", "records processed")
	t.processRecords = b.value(Info, "process-records", "number of records processed in a round")
	t.processShare = b.share("process-ratio", "on processing active tasks")
	t.punctuate = b.calls(Info, "punctuate", "calls to punctuate")
	t.punctuateShare = b.share("punctuate-ratio", "on punctuating active tasks")
	t.commit = b.calls(Info, "commit", "calls to commit")
	t.commitShare = b.share("commit-ratio", "on committing")
	t.taskCreated = b.meter(Info, "task-created", "newly created tasks")
	t.taskClosed = b.meter(Info, "task-closed", "closed tasks")
	t.blocked = b.elapsed("blocked-time", "blocked on Kafka")
	t.assigned = b.timer(Info, time.Millisecond, "tasks-assigned-latency", "time to take over newly assigned tasks")
	t.revoked = b.timer(Info, time.Millisecond, "tasks-revoked-latency", "time to give revoked tasks away")
	t.lost = b.timer(Info, time.Millisecond, "tasks-lost-latency", "time to close lost tasks")

	r.mu.Lock()
	r.threads[name] = t
	r.mu.Unlock()
	return t
}

// Close takes the thread away with everything that belongs to it. What Kafka does not count (see the package's
// documentation) stays.
func (t *Thread) Close() {
	if t.registry == nil {
		return
	}
	t.set.remove()
	t.registry.mu.Lock()
	defer t.registry.mu.Unlock()
	if t.registry.threads[t.name] == t {
		delete(t.registry.threads, t.name)
	}
}

// SetState tells the state of the thread, by Kafka Streams' name in upper case.
func (t *Thread) SetState(state string) { t.state.set(state) }

// Polled notes a poll that returned so many records. Its time counts as blocked on Kafka.
func (t *Thread) Polled(records int, took time.Duration) {
	t.poll.Record(took)
	t.pollRecords.Record(float64(records))
	t.pollShare.Add(took)
	t.blocked.Add(took)
}

// Processed notes a round of processing, which worked off so many records. One without records does not count.
func (t *Thread) Processed(records int, took time.Duration) {
	if records <= 0 {
		return
	}
	t.processLatency.Record(took / time.Duration(records))
	t.process.Mark(records)
	t.processRecords.Record(float64(records))
	t.processShare.Add(took)
}

// Punctuated notes a call of a punctuator.
func (t *Thread) Punctuated(took time.Duration) {
	t.punctuate.Record(took)
	t.punctuateShare.Add(took)
}

// Committed notes a commit that has succeeded, of one or of several tasks.
func (t *Thread) Committed(took time.Duration) {
	t.commit.Record(took)
	t.commitShare.Add(took)
}

// TaskCreated counts a task that came to the thread.
func (t *Thread) TaskCreated() { t.taskCreated.Mark(1) }

// TaskClosed counts a task that the thread closed. Many in a short time mean that the thread was fenced.
func (t *Thread) TaskClosed() { t.taskClosed.Mark(1) }

// Blocked notes time that the thread waited for Kafka, other than in a poll or in calls of a [Producer].
func (t *Thread) Blocked(took time.Duration) { t.blocked.Add(took) }

// TasksAssigned notes how long it took to take over what an assignment brought.
func (t *Thread) TasksAssigned(took time.Duration) { t.assigned.Record(took) }

// TasksRevoked notes how long it took to give away what was revoked.
func (t *Thread) TasksRevoked(took time.Duration) { t.revoked.Record(took) }

// TasksLost notes how long it took to close what was lost.
func (t *Thread) TasksLost(took time.Duration) { t.lost.Record(took) }

// Migrated counts a transaction or tasks that somebody else owns, by cause: a short name, as the error classifier has it.
func (t *Thread) Migrated(cause string) {
	if t.incidents != nil {
		t.incidents.migrations.add(cause)
	}
}

// Corrupted counts a transaction or a store whose content is in doubt.
func (t *Thread) Corrupted(cause string) {
	if t.incidents != nil {
		t.incidents.corruptions.add(cause)
	}
}

// Fenced counts a producer that a broker refused.
func (t *Thread) Fenced(cause string) {
	if t.incidents != nil {
		t.incidents.fences.add(cause)
	}
}

// TransactionCommitted counts a transaction that was committed.
func (t *Thread) TransactionCommitted() {
	if t.incidents != nil {
		t.incidents.committed.Add(1)
	}
}

// TransactionAborted counts a transaction that was given up, whatever the cause.
func (t *Thread) TransactionAborted() {
	if t.incidents != nil {
		t.incidents.aborted.Add(1)
	}
}

// TransactionUnknown counts a transaction of which nobody told whether it was committed. It counts beside
// TransactionAborted, not instead of it, if it was given up as well.
func (t *Thread) TransactionUnknown() {
	if t.incidents != nil {
		t.incidents.unknown.Add(1)
	}
}

// StoreWiped counts a store that was thrown away after an unclean close.
func (t *Thread) StoreWiped() {
	if t.incidents != nil {
		t.incidents.wiped.Add(1)
	}
}

// StoreRebuilt counts a store that started over because its position was not in the changelog any more, or a file was damaged.
func (t *Thread) StoreRebuilt() {
	if t.incidents != nil {
		t.incidents.rebuilt.Add(1)
	}
}

// Restored counts changelog records that were restored.
func (t *Thread) Restored(records int) {
	if t.incidents != nil {
		t.incidents.restored.Add(records)
	}
}

// Updater measures a state updater.
type Updater struct {
	set *set

	// Numbers of tasks by what is done with them.
	ActiveRestoring, StandbyUpdating, ActivePaused, StandbyPaused *Gauge
	// Shares of the updater's time.
	Idle, ActiveRestore, StandbyUpdate, Checkpoint *Share

	records, calls *Meter
}

// Updater registers the state updater of the thread, under its own name.
func (t *Thread) Updater(name string) *Updater {
	u := &Updater{}
	if t.set == nil {
		return u
	}
	u.set = t.set.child("updater", valid(t.registry.cfg.ClientID, name))
	b := builder{u.set, updaterGroup}
	u.ActiveRestoring = b.gauge(Info, "active-restoring-tasks", "Number of active tasks that are being restored")
	u.StandbyUpdating = b.gauge(Info, "standby-updating-tasks", "Number of standby tasks that are being updated")
	u.ActivePaused = b.gauge(Info, "active-paused-tasks", "Number of active tasks whose restoring is paused")
	u.StandbyPaused = b.gauge(Info, "standby-paused-tasks", "Number of standby tasks whose updating is paused")
	u.Idle = b.share("idle-ratio", "being idle")
	u.ActiveRestore = b.share("active-restore-ratio", "on restoring active tasks")
	u.StandbyUpdate = b.share("standby-update-ratio", "on updating standby tasks")
	u.Checkpoint = b.share("checkpoint-ratio", "on checkpointing restored progress")
	u.records = b.frequency(Info, "restore-records", "records restored")
	u.calls = b.frequency(Info, "restore-call", "calls to restore")
	return u
}

// Restored notes one call that restored so many records, in standby tasks as well.
func (u *Updater) Restored(records int) {
	u.records.Mark(records)
	u.calls.Mark(1)
}

// Close takes the updater away.
func (u *Updater) Close() { u.set.remove() }
