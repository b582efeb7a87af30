package ui

import (
	"fmt"
	"time"

	"eostop/faults/soak"
	"eostop/faults/verify"
	"eostop/runtime"
	"eostop/runtime/journal"
)

// The scene is a session of 150 s in which i3 was cut off for 20 s and has recovered, and i2 has been cut off for
// 12.3 s: it is DISCONNECTED and expelled, and its tasks are restored elsewhere.
var (
	sceneStart = time.Date(2026, 11, 3, 14, 20, 0, 0, time.UTC)
	sceneEnd   = 150 * time.Second
)

const (
	sceneApp  = "eostop-soak"
	processID = "4f3c2a1b-77aa-4c01-9d2e-0123456789ab"
)

func sceneAt(at time.Duration) *soak.Snapshot {
	now := sceneStart.Add(at)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	processed := int64(20003 * at.Seconds())
	if dip := at - 60*time.Second; dip > 0 {
		processed -= int64(9000 * min(dip.Seconds(), 11))
	}
	if dip := at - 75*time.Second; dip > 0 {
		processed += int64(16500 * min(dip.Seconds(), 6))
	}
	if dip := at - sceneEnd + 12300*time.Millisecond; dip > 0 {
		processed -= int64(7000 * dip.Seconds())
	}
	s := &soak.Snapshot{
		Seq: uint64(at/(100*time.Millisecond)) + 1, At: now, Elapsed: at, Phase: soak.PhaseRunning, Duration: 10 * time.Minute,
		ApplicationID: sceneApp, Topology: "soak", Guarantee: "exactly_once_v2", Profile: "fixed", BrokerKind: "embedded",
		BrokerVersion: "3.7", Seed: 42, SessionTimeout: 10 * time.Second, TransactionTimeout: 10 * time.Second,
		TargetRate: 20000, InRate: 20001, ProcessedRate: 13402, MaxRate: 36411, In: int64(20000 * at.Seconds()), Processed: processed,
		ThreadsTotal: 9, ThreadsAlive: 9, ThreadsRunning: 7,
		Transactions: soak.Transactions{Committed: uint64(at.Seconds() * 87), Aborted: 11, Fenced: 6, UnknownOutcome: 2},
		NextCut:      &soak.PlannedCut{Instance: "i1", Direction: "both", In: 47 * time.Second, Length: 15 * time.Second},
		Verify: verify.Status{
			Verdict: verify.Clean, In: int64(20000 * at.Seconds()), Processed: processed, Out: processed * 13 / 2,
			Latency: verify.Latency{P50: 48 * time.Millisecond, P99: 131*time.Millisecond + at/2000, Max: 11800 * time.Millisecond},
			Lag:     74120, Stores: 54,
		},
	}
	s.Lag = s.In - s.Processed
	s.Cuts = []soak.Cut{
		{
			Instance: "i3", Direction: "in", Start: sceneStart.Add(60 * time.Second), Healed: sceneStart.Add(80 * time.Second), Expelled: true,
			Takeover: 11400 * time.Millisecond, Recovered: 1430 * time.Millisecond, RestoredRecords: 48211, AbortedTransactions: 3,
		},
		{
			Instance: "i2", Direction: "both", Start: sceneStart.Add(sceneEnd - 12300*time.Millisecond), Expelled: true,
			Takeover: -1, Recovered: -1, RestoredRecords: 31877, AbortedTransactions: 3,
		},
	}
	for i := 1; i <= 3; i++ {
		in := soak.Instance{InstanceStatus: runtime.InstanceStatus{Name: fmt.Sprint("i", i), ProcessID: processID, State: "RUNNING", Since: ago(40 * time.Second), Connected: true}}
		if i == 2 {
			in.Cut, in.CutDirection, in.CutSince = true, "both", s.Cuts[1].Start
			in.Connected, in.DisconnectedSince = false, s.Cuts[1].Start.Add(2*time.Second)
		}
		if i == 3 {
			in.State, in.Since = "REBALANCING", ago(time.Second)
		}
		for k := 1; k <= 3; k++ {
			in.Threads = append(in.Threads, sceneThread(s, i, k, at))
		}
		s.Instances = append(s.Instances, in)
	}
	s.Events = sceneEvents()
	return s
}

func sceneThread(s *soak.Snapshot, i, k int, at time.Duration) runtime.ThreadStatus {
	now := s.At
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	n := (i-1)*3 + k - 1
	t := runtime.ThreadStatus{
		Name: fmt.Sprintf("i%d-StreamThread-%d", i, k), Instance: fmt.Sprint("i", i), Index: k, State: "RUNNING", Since: ago(39 * time.Second), Connected: true,
		MemberID: fmt.Sprintf("i%d-StreamThread-%d-consumer-7d1c", i, k), Generation: 17, Leader: n == 0,
		Counters:   runtime.Counters{Processed: uint64(float64(2200+13*n) * at.Seconds()), Committed: uint64(10 * at.Seconds()), Aborted: 1, Fenced: 0, RestoredRecords: 3541},
		LastCommit: ago(time.Duration(40+n*7) * time.Millisecond),
		Producers: []runtime.ProducerStatus{{
			TransactionalID: fmt.Sprintf("%s-%s-%d", sceneApp, processID, k), ProducerID: int64(4000 + n), Epoch: int16(10 * at.Seconds()), Phase: "IN_TRANSACTION",
			PhaseSince: ago(35 * time.Millisecond), TransactionSince: ago(35 * time.Millisecond), Commits: uint64(10 * at.Seconds()),
			Epochs: []runtime.EpochChange{{At: ago(151 * time.Second), ProducerID: int64(4000 + n), Epoch: 0, Cause: "start"}, {At: ago(50 * time.Millisecond), ProducerID: int64(4000 + n), Epoch: 3, Cause: "commit"}},
		}},
	}
	t.Producers[0].Thread = t.Name
	state := "RUNNING"
	switch {
	case i == 2:
		t.Connected, t.DisconnectedSince, t.Generation = false, ago(10300*time.Millisecond), 16
		t.TransactionDeadline = now.Add(-2100 * time.Millisecond)
		t.SessionDeadline = now.Add(-2300 * time.Millisecond)
		t.LastCommit, t.Processed = s.Cuts[1].Start, uint64(float64(2200+13*n)*(sceneEnd-12300*time.Millisecond).Seconds())
		t.Producers[0].TransactionSince, t.Producers[0].PhaseSince, t.Producers[0].Phase = ago(12100*time.Millisecond), ago(11*time.Second), "COMMITTING"
	case i == 3 && k == 2:
		t.State, t.Rebalancing, state = "PARTITIONS_ASSIGNED", true, "RESTORING"
		t.Producers[0].Phase, t.Producers[0].TransactionSince = "READY", time.Time{}
	case i == 3 && k == 3:
		t.State, t.LastCause = "PARTITIONS_ASSIGNED", "fenced"
		t.Producers[0].Phase, t.Producers[0].Fences, t.Producers[0].Aborts, t.Producers[0].TransactionSince = "INITIALIZING", 1, 2, time.Time{}
		t.Producers[0].Epochs = append(t.Producers[0].Epochs, runtime.EpochChange{At: ago(3200 * time.Millisecond), ProducerID: 4008, Epoch: 41, Cause: "fenced"})
	}
	for sub := range 4 {
		task := runtime.TaskStatus{ID: fmt.Sprintf("%d_%d", sub, n), State: "RUNNING", Since: ago(39 * time.Second), Lag: int64(41 * (n + 1)), Processed: int64(9000 * (n + 1)), FirstCommit: ago(38 * time.Second), LastCommit: t.LastCommit}
		task.Partitions = []string{fmt.Sprintf("%s-%s-%d", sceneApp, []string{"input", "by-key-repartition", "by-group-repartition", "total-repartition"}[sub], n)}
		if state == "RESTORING" && sub == 1 {
			task.State, task.RestoreRemaining, task.Lag = state, 12877, -1
		}
		t.Tasks = append(t.Tasks, task)
		for _, number := range [][]int{nil, {7, 13, 19}, {28, 34, 40}, {49}}[sub] {
			st := runtime.StoreStatus{
				Name: fmt.Sprintf("KSTREAM-AGGREGATE-STATE-STORE-%010d", number), Task: task.ID, Thread: t.Name, Instance: t.Instance, State: "OPEN",
				Entries: int64(1111 + n), Bytes: int64(48211 * (n + 1)), Position: int64(2200 * at.Seconds()), Registered: true,
			}
			if task.State == "RESTORING" {
				st.State, st.Lag = "RESTORING", 4292
			}
			t.Stores = append(t.Stores, st)
		}
	}
	return t
}

func sceneEvents() []journal.Event {
	var events []journal.Event
	cut := sceneEnd - 12300*time.Millisecond
	add := func(at time.Duration, e journal.Event) {
		e.Seq, e.At = uint64(4+len(events)), sceneStart.Add(at)
		events = append(events, e)
	}
	for n := range 40 {
		add(time.Duration(n)*time.Second, journal.Event{Kind: journal.KindTransaction, Level: journal.Debug, Instance: "i1", Thread: "i1-StreamThread-1", Text: fmt.Sprintf("transaction %d committed", n)})
	}
	add(cut, journal.Event{Kind: journal.KindFault, Level: journal.Warn, Instance: "i2", Cause: "cut", Text: "cut off from the brokers, both directions"})
	for k := 1; k <= 3; k++ {
		add(cut+2*time.Second, journal.Event{Kind: journal.KindThreadState, Level: journal.Warn, Instance: "i2", Thread: fmt.Sprint("i2-StreamThread-", k), Text: fmt.Sprintf("stream-thread [i2-StreamThread-%d] DISCONNECTED: no byte from any broker for 2 s", k)})
	}
	add(cut+10100*time.Millisecond, journal.Event{Kind: journal.KindGroup, Level: journal.Info, Instance: "i1", Thread: "i1-StreamThread-1", To: "assigned", Cause: "expelled", Text: "generation 17: 12 tasks of i2 were given to i1 and i3"})
	for k := 1; k <= 3; k++ {
		add(cut+10200*time.Millisecond, journal.Event{Kind: journal.KindThreadState, Level: journal.Info, Instance: "i3", Thread: fmt.Sprint("i3-StreamThread-", k), From: "RUNNING", To: "PARTITIONS_ASSIGNED", Text: fmt.Sprintf("stream-thread [i3-StreamThread-%d] State transition from RUNNING to PARTITIONS_ASSIGNED", k)})
	}
	add(cut+10400*time.Millisecond, journal.Event{Kind: journal.KindMigrated, Level: journal.Error, Instance: "i3", Thread: "i3-StreamThread-3", Cause: "fenced", Error: "INVALID_PRODUCER_EPOCH: Producer attempted to produce with an old epoch.", Text: "abandoning the transaction and re-creating the producer"})
	add(cut+10500*time.Millisecond, journal.Event{Kind: journal.KindRestore, Level: journal.Info, Instance: "i3", Thread: "i3-StreamThread-2", Task: "1_7", Store: "KSTREAM-AGGREGATE-STATE-STORE-0000000007", To: "STARTED", Count: 12877})
	return events
}
