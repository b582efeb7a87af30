package ui

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"eostop/faults/soak"
	"eostop/faults/verify"
	"eostop/runtime/journal"
)

// meanings says in a sentence what a formal state is.
var meanings = map[string]string{
	// Instances and threads.
	"CREATED":             "It exists and has not started yet.",
	"STARTING":            "It has started and is about to join the consumer group.",
	"PARTITIONS_REVOKED":  "The group has taken tasks away; the thread waits for its next assignment.",
	"PARTITIONS_ASSIGNED": "The group has given it tasks; they are created and their stores restored before it runs.",
	"RUNNING":             "All of its tasks process records.",
	"REBALANCING":         "At least one of its threads has been assigned or has lost tasks and does not run yet.",
	"PENDING_SHUTDOWN":    "It is closing: commits, gives its tasks back and leaves.",
	"DEAD":                "It has ended.",
	"MEMBER":              "It is a member of the group in another process, which alone knows how it is. The coordinator tells its tasks.",
	"NOT_RUNNING":         "It has closed cleanly.",
	"PENDING_ERROR":       "It is closing because of an error.",
	"ERROR":               "It has closed because of an error.",
	// Tasks and stores.
	"RESTORING": "Its stores read what they miss from the changelog.",
	"SUSPENDED": "It has been revoked and is not closed yet.",
	"CLOSED":    "It has been closed.",
	"OPEN":      "It is restored and used by its task.",
	// Producers.
	"NONE":           "There is no producer.",
	"INITIALIZING":   "It asks the coordinator for its id and epoch, which fences its predecessor.",
	"READY":          "It has an id and an epoch, and no transaction is open.",
	"IN_TRANSACTION": "A transaction is open; read_committed consumers do not see its records yet.",
	"COMMITTING":     "Offsets have been sent and the end of the transaction is on its way.",
	"DISCARDED":      "It was fenced or its outcome is unknown: it is thrown away and a new one will be initialised.",
}

func explainThread(v *view, r *threadRow) *page {
	if r.host != "" {
		return explainElsewhere(v, r)
	}
	if r.thread == nil {
		return explainInstance(v, r)
	}
	t := r.thread
	p := &page{title: t.Name}
	p.add("state", t.State+" for "+age(v.now(), t.Since))
	p.add("", meanings[t.State])
	if !t.Connected {
		p.add("link", "DISCONNECTED for "+age(v.now(), t.DisconnectedSince)+": no byte has come from any broker, or every dial fails. The formal state does not change by that.")
		long, _ := v.countDowns(r)
		p.add("count-downs", strings.Join(long, ", "))
	}
	p.heading("Group")
	p.add("member", t.MemberID)
	group := "generation " + strconv.Itoa(int(t.Generation))
	if t.Leader {
		group += ", leader"
	}
	if t.Rebalancing {
		group += ", rebalancing"
	}
	p.add("membership", group)
	tasks, _ := threadTasks(v, r, 1000)
	p.add("tasks", tasks)
	p.heading("Work")
	p.add("records", count(t.Processed)+" processed, "+perSecond(v.hist.rate(t.Name)))
	p.add("transactions", count(t.Committed)+" committed, "+count(t.Aborted)+" aborted, "+count(t.Fenced)+" fenced, "+count(t.UnknownOutcome)+" of unknown outcome")
	p.add("last commit", age(v.now(), t.LastCommit)+" ago")
	p.add("trouble", "migrated "+plural(int(t.Migrated), "time")+", corrupted "+plural(int(t.Corrupted), "time"))
	p.add("state stores", count(t.RestoredRecords)+" records restored, "+count(t.Wiped)+" wiped, "+count(t.Rebuilt)+" rebuilt")
	p.add("last cause", t.LastCause)
	p.add("last error", t.LastError)
	return p
}

// explainElsewhere says what the group's coordinator knows of a member in another process.
func explainElsewhere(v *view, r *threadRow) *page {
	p := &page{title: clean(r.name())}
	p.add("state", r.state())
	p.add("", meanings[r.state()])
	p.add("host", clean(r.host))
	if r.thread != nil {
		p.add("member", clean(r.thread.MemberID))
		tasks, _ := threadTasks(v, r, 1000)
		p.add("tasks", tasks)
		return p
	}
	p.add("work", plural(len(r.instance.Threads), "thread")+", "+plural(r.tasks(), "task"))
	return p
}

func explainInstance(v *view, r *threadRow) *page {
	in := r.instance
	p := &page{title: in.Name}
	p.add("state", in.State+" for "+age(v.now(), in.Since))
	p.add("", meanings[in.State])
	p.add("process id", in.ProcessID)
	link := "linked"
	if in.Cut {
		link = "cut (" + in.CutDirection + ") for " + age(v.now(), in.CutSince) + "; p heals it"
	} else if !in.Connected {
		link = "DISCONNECTED for " + age(v.now(), in.DisconnectedSince)
	}
	p.add("link", link)
	p.add("work", plural(r.tasks(), "task")+", "+perSecond(v.rateOf(r)))
	if c := v.lastCut(in.Name); c != nil {
		p.heading("Last cut")
		for i := range v.snap.Cuts {
			if &v.snap.Cuts[i] == c {
				p.lines = append(p.lines, explainCut(v, &cutRow{i + 1, c}).lines...)
			}
		}
	}
	return p
}

func explainProducer(v *view, r *producerRow) *page {
	x := r.producer
	p := &page{title: "producer of " + r.thread.Name}
	p.add("transactional id", firstOf(x.TransactionalID, none))
	p.add("producer id", strconv.FormatInt(x.ProducerID, 10)+", epoch "+strconv.Itoa(int(x.Epoch)))
	p.add("phase", x.Phase+" for "+age(v.now(), x.PhaseSince))
	p.add("", meanings[x.Phase])
	if !x.TransactionSince.IsZero() {
		p.add("transaction", "open for "+age(v.now(), x.TransactionSince)+"; the coordinator aborts it after "+span(v.snap.TransactionTimeout))
	}
	p.add("counts", plural(int(x.Commits), "commit")+", "+plural(int(x.Aborts), "abort")+", "+plural(int(x.Fences), "fence"))
	p.heading("Changes of id and epoch, newest first")
	for _, e := range slices.Backward(x.Epochs) {
		p.add(tick(v.now().Sub(e.At))+" ago", "id "+strconv.FormatInt(e.ProducerID, 10)+", epoch "+strconv.Itoa(int(e.Epoch))+": "+causeWords(e.Cause))
	}
	p.text("")
	p.text("Under the newer transaction protocol the broker raises the epoch with every commit; that is no fencing. The next id follows when the epoch reaches its end.")
	return p
}

func explainStore(v *view, r *storeRow) *page {
	x := r.store
	p := &page{title: "store of task " + x.Task}
	p.add("name", x.Name)
	owner := "registered by " + r.thread.Name
	if !x.Registered {
		owner = "registered by nobody"
	}
	p.add("registry", owner)
	p.add("state", x.State)
	p.add("", meanings[x.State])
	p.add("entries", count(x.Entries)+", "+byteSize(x.Bytes))
	p.add("position", count(x.Position)+": the next changelog offset of the committed state")
	p.add("to go", count(x.Lag)+" changelog records not yet restored")
	p.add("changelog", v.snap.ApplicationID+"-"+x.Name+"-changelog")
	return p
}

func explainTask(v *view, r *taskRow) *page {
	x := r.task
	p := &page{title: "task " + x.ID}
	p.add("owner", r.thread.Name+", generation "+strconv.Itoa(int(r.thread.Generation)))
	if !r.thread.Connected {
		p.add("", "Its owner is cut off: the group may have given the task to another thread already, which is listed too.")
	}
	p.add("state", x.State+" for "+age(v.now(), x.Since))
	p.add("", meanings[x.State])
	lag := "unknown"
	if x.Lag >= 0 {
		lag = count(x.Lag) + " records"
	}
	p.add("lag", lag)
	p.add("processed", count(x.Processed))
	p.add("commits", "first "+age(v.now(), x.FirstCommit)+" ago, last "+age(v.now(), x.LastCommit)+" ago")
	if x.RestoreRemaining > 0 {
		p.add("restore", count(x.RestoreRemaining)+" changelog records to go")
	}
	p.add("partitions", strings.Join(x.Partitions, ", "))
	return p
}

func explainCut(v *view, r *cutRow) *page {
	c := r.cut
	p := &page{title: "cut " + strconv.Itoa(r.number) + " of " + c.Instance}
	directions := map[string]string{"both": "nothing passes", "in": "nothing comes from the brokers", "out": "nothing reaches the brokers"}
	p.add("direction", c.Direction+": "+directions[c.Direction])
	if c.Healed.IsZero() {
		p.add("time", "since "+c.Start.Format(time.TimeOnly)+", "+age(v.now(), c.Start))
	} else {
		p.add("time", c.Start.Format(time.TimeOnly)+" to "+c.Healed.Format(time.TimeOnly)+", "+span(c.Healed.Sub(c.Start)))
	}
	if c.Expelled {
		p.add("group", "has given its tasks away")
	} else {
		p.add("group", "has not expelled it")
	}
	until := map[string]string{
		"detected":   "the cut until a thread showed DISCONNECTED",
		"expelled":   "the cut until the first of its tasks was another instance's",
		"taken over": "the cut until every task had committed on another instance",
		"rejoined":   "the heal until all its threads were in the group's present generation",
		"restored":   "the heal until all their tasks ran",
		"recovered":  "the heal until all its threads ran again and had committed",
		"caught up":  "the heal until every record that had come in by then was processed",
	}
	for _, step := range soak.RecoverySteps() {
		switch took := step.Took(c); {
		case took >= 0:
			p.add(step.Name, span(took)+" from "+until[step.Name])
		case step.Name == "recovered" && !c.Healed.IsZero():
			p.add(step.Name, "not yet, "+age(v.now(), c.Healed)+" after the heal")
		}
	}
	p.add("records", count(c.RestoredRecords)+" restored from changelogs, "+count(c.ReplayedRecords)+" replayed")
	p.add("aborted", plural(int(c.AbortedTransactions), "transaction"))
	return p
}

func explainEvent(e journal.Event) *page {
	p := &page{title: "event " + count(e.Seq)}
	p.add("time", e.At.Format("2006-01-02 15:04:05.000"))
	p.add("kind", string(e.Kind)+", "+e.Level.String())
	p.add("instance", e.Instance)
	p.add("thread", e.Thread)
	p.add("task", e.Task)
	p.add("store", e.Store)
	if e.From != "" || e.To != "" {
		p.add("transition", strings.TrimSpace(e.From+" -> "+e.To))
	}
	if e.TransactionalID != "" {
		p.add("producer", e.TransactionalID+", id "+strconv.FormatInt(e.ProducerID, 10)+", epoch "+strconv.Itoa(int(e.Epoch)))
	}
	p.add("cause", e.Cause)
	if e.Count != 0 {
		p.add("count", count(e.Count))
	}
	if e.Duration != 0 {
		p.add("duration", span(e.Duration))
	}
	p.add("text", e.Text)
	p.add("error", e.Error)
	return p
}

// explainVerdict shows what the verifier has looked at, and what it found.
func explainVerdict(v *view) *page {
	s := &v.snap.Verify
	p := &page{title: "verdict"}
	words := map[verify.Verdict]string{
		verify.Clean:     "clean: every input record seen so far took effect exactly once",
		verify.Violation: "violation: at least one witness proves that exactly-once does not hold",
		verify.Unknown:   "unknown: it could not be decided",
		"":               "there is none: the run is not verified",
	}
	p.add("verdict", words[s.Verdict])
	for _, reason := range s.Reasons {
		p.add("reason", reason)
	}
	p.heading("Records, as any consumer sees them")
	p.add("in", count(s.In))
	p.add("processed", count(s.Processed)+", seen to have taken effect once")
	p.add("out", count(s.Out)+" committed")
	p.add("to be seen", count(s.Lag))
	p.add("wrong", count(s.Duplicated)+" duplicated, "+count(s.Lost)+" lost, "+count(s.OutOfOrder)+" out of order, "+count(s.Wrong)+" with a wrong value")
	p.add("state", plural(int(s.Stores), "store")+", "+count(s.DigestChecked)+" compared with changelog and model, "+count(s.DigestMismatch)+" differ")
	if s.Latency.Max > 0 {
		p.add("latency", "p50 "+span(s.Latency.P50)+", p99 "+span(s.Latency.P99)+", max "+span(s.Latency.Max)+", from a record's creation to the sight of its committed output")
	}
	if len(s.Witnesses) > 0 {
		p.heading("Witnesses")
	}
	for i := range s.Witnesses {
		w := &s.Witnesses[i]
		records := w.Input
		if len(w.Outputs) > 0 {
			records += " -> " + strings.Join(w.Outputs, ", ")
		}
		parts := slices.DeleteFunc([]string{records, w.Thread, w.Transaction, w.Detail}, func(s string) bool { return s == "" })
		p.add(w.Kind, w.At.Format(time.TimeOnly)+" "+strings.Join(parts, "; "))
	}
	return p
}

func explainKeys() *page {
	p := &page{title: "keys"}
	for i, g := range keyGroups {
		if i > 0 {
			p.lines = append(p.lines, pageLine{})
		}
		p.lines = append(p.lines, pageLine{name: g.title})
		for _, b := range keymap {
			if b.group == g.id {
				p.add(b.label, b.help)
			}
		}
	}
	return p
}
