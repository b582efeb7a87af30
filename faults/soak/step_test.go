package soak

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"eostop/faults"
	"eostop/runtime"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// step is a request of i1 at which the link is cut: the broker has it, and has not answered.
type step struct {
	name string
	key  kmsg.Key
	// of says whether the request is one of i1's, whose transactional ids are given.
	of func(req kmsg.Request, transactionalIDs []string) bool
	// rebalance takes i2 out of the group first, for steps that are gone only in a rebalance.
	rebalance bool
	nth       int64 // of these requests
	// begin counts from the start of the session, when the threads do not run yet.
	begin bool
}

// transactional recognises requests of i1's producer.
func transactional(req kmsg.Request, ids []string) bool {
	var of *string
	switch r := req.(type) {
	case *kmsg.ProduceRequest:
		of = r.TransactionID
	case *kmsg.AddPartitionsToTxnRequest:
		if of = &r.TransactionalID; len(r.Transactions) > 0 {
			of = &r.Transactions[0].TransactionalID
		}
	case *kmsg.AddOffsetsToTxnRequest:
		of = &r.TransactionalID
	case *kmsg.TxnOffsetCommitRequest:
		of = &r.TransactionalID
	case *kmsg.EndTxnRequest:
		of = &r.TransactionalID
	case *kmsg.InitProducerIDRequest:
		of = r.TransactionalID
	}
	return of != nil && slices.Contains(ids, *of)
}

// joins recognises i1's join: the member names its thread in what it tells the leader.
func joins(req kmsg.Request, _ []string) bool {
	r := req.(*kmsg.JoinGroupRequest)
	return len(r.Protocols) > 0 && bytes.Contains(r.Protocols[0].Metadata, []byte(`"i1-StreamThread-`))
}

// syncs recognises i1's sync: the broker makes member ids of client ids.
func syncs(req kmsg.Request, _ []string) bool {
	return strings.HasPrefix(req.(*kmsg.SyncGroupRequest).MemberID, "i1-StreamThread-")
}

// readsBack recognises the request for the committed offsets. While i2 is cut off it can only be i1's.
func readsBack(req kmsg.Request, _ []string) bool {
	return req.(*kmsg.OffsetFetchRequest).RequireStable
}

// commitSteps are the requests of a transaction, in their order.
func commitSteps() []step {
	return []step{
		{name: "AddPartitionsToTxn", key: kmsg.AddPartitionsToTxn, of: transactional, nth: 1},
		{name: "Produce", key: kmsg.Produce, of: transactional, nth: 3},
		{name: "AddOffsetsToTxn", key: kmsg.AddOffsetsToTxn, of: transactional, nth: 2},
		{name: "TxnOffsetCommit", key: kmsg.TxnOffsetCommit, of: transactional, nth: 2},
		{name: "EndTxn", key: kmsg.EndTxn, of: transactional, nth: 2},
	}
}

// groupSteps are the requests of a thread that comes into the group, or whose tasks change.
func groupSteps() []step {
	return []step{
		{name: "InitProducerID at the start", key: kmsg.InitProducerID, of: transactional, nth: 1, begin: true},
		{name: "JoinGroup at the start", key: kmsg.JoinGroup, of: joins, nth: 1, begin: true},
		{name: "SyncGroup at the start", key: kmsg.SyncGroup, of: syncs, nth: 1, begin: true},
		{name: "OffsetFetch at the start", key: kmsg.OffsetFetch, of: readsBack, nth: 1, begin: true},
		{name: "JoinGroup", key: kmsg.JoinGroup, of: joins, nth: 1, rebalance: true},
		{name: "SyncGroup", key: kmsg.SyncGroup, of: syncs, nth: 1, rebalance: true},
		{name: "second JoinGroup", key: kmsg.JoinGroup, of: joins, nth: 2, rebalance: true},
		{name: "second SyncGroup", key: kmsg.SyncGroup, of: syncs, nth: 2, rebalance: true},
		{name: "OffsetFetch", key: kmsg.OffsetFetch, of: readsBack, nth: 1, rebalance: true},
	}
}

// cutDuring plays a session in which i1 is cut off right at a request.
func cutDuring(t *testing.T, guarantee runtime.Guarantee, version string, at step, d faults.Direction, length time.Duration) *Report {
	t.Helper()
	cfg := small(length + 20*time.Second)
	cfg.Runtime.Instances, cfg.Cluster.Partitions = 2, 2
	cfg.Load.Rate, cfg.Load.Keys = 20, 20
	cfg.Runtime.Guarantee = string(guarantee)
	speak(t, &cfg, version)
	if at.rebalance {
		cfg.Faults.Cuts = cuts(t, "i2@3s+14s")
		cfg.Load.Duration += 20 * time.Second
	}
	r := play(t, cfg, func(g *stage) {
		m := g.member("i1")
		ids := []string{fmt.Sprintf("%s-%s-1", cfg.Application.ID, m.instance.Status().ProcessID)}
		if !at.begin {
			g.until(4 * time.Second)
			for _, p := range m.instance.Status().Threads[0].Producers {
				ids = append(ids, p.TransactionalID) // under exactly_once those of its tasks
			}
		}
		if g.cutAt("i1", d, at.key, at.nth, func(req kmsg.Request) bool { return at.of(req, ids) }) {
			g.follow("i1", d, length)
		}
	})
	wantDeaths(t, r, 0)
	return r
}

// everyCut runs a test for each direction and length of a cut, beside all others: on a real broker they wait most of the time.
func everyCut(t *testing.T, fn func(*testing.T, faults.Direction, time.Duration)) {
	t.Parallel()
	for _, d := range []faults.Direction{faults.Both, faults.In, faults.Out} {
		for _, length := range []time.Duration{5 * time.Second, 20 * time.Second} {
			t.Run(fmt.Sprintf("%s for %v", d, length), func(t *testing.T) {
				t.Parallel()
				fn(t, d, length)
			})
		}
	}
}

func scenarioOfCutsInCommits(t *testing.T) {
	t.Parallel()
	t.Run("a transaction of many", cutInACommit)
	t.Run("with an epoch for each transaction", cutInACommitOfTheNewProtocol)
	t.Run("a transaction of a task", cutInACommitOfATask)
}

func cutInACommit(t *testing.T) {
	t.Parallel()
	for _, at := range commitSteps() {
		t.Run(at.name, func(t *testing.T) {
			everyCut(t, func(t *testing.T, d faults.Direction, length time.Duration) {
				cutDuring(t, runtime.ExactlyOnceV2, "3.7", at, d, length)
			})
		})
	}
}

func cutInACommitOfTheNewProtocol(t *testing.T) {
	t.Parallel()
	for _, at := range commitSteps() {
		if at.key == kmsg.AddPartitionsToTxn || at.key == kmsg.AddOffsetsToTxn {
			continue // these are part of other requests there
		}
		t.Run(at.name, func(t *testing.T) {
			everyCut(t, func(t *testing.T, d faults.Direction, length time.Duration) {
				cutDuring(t, runtime.ExactlyOnceV2, "4.0", at, d, length)
			})
		})
	}
}

func scenarioOfCutsInJoins(t *testing.T) {
	t.Parallel()
	version := "3.7"
	if os.Getenv(testScenarios) != "" {
		version = "" // they are the same in both protocols
	}
	for _, at := range groupSteps() {
		t.Run(at.name, func(t *testing.T) {
			everyCut(t, func(t *testing.T, d faults.Direction, length time.Duration) {
				cutDuring(t, runtime.ExactlyOnceV2, version, at, d, length)
			})
		})
	}
}

// cutInACommitOfATask is the same with a producer for each task.
func cutInACommitOfATask(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"3.7", "4.0"} {
		for _, at := range commitSteps() {
			if version == "4.0" && (at.key == kmsg.AddPartitionsToTxn || at.key == kmsg.AddOffsetsToTxn) {
				continue
			}
			t.Run(version+" "+at.name, func(t *testing.T) {
				everyCut(t, func(t *testing.T, d faults.Direction, length time.Duration) {
					cutDuring(t, runtime.ExactlyOnce, version, at, d, length)
				})
			})
		}
	}
}
