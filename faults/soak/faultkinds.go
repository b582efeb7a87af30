package soak

import (
	"fmt"
	"slices"
	"strings"

	"eostop/faults"
)

// Kinds of faults that are done to threads; package faults has those of links and of what passes them.
const (
	FaultPanic = "panic" // user code of one thread panics once
	FaultStall = "stall" // one thread does nothing for a time, and does not notice
)

// Kinds of faults that the embedded broker does.
const (
	FaultLeaderMove      = "leader-move"
	FaultCoordinatorMove = "coordinator-move"
	FaultBrokerRestart   = "broker-restart"
	FaultBrokerError     = "broker-error"
	FaultCoordinatorLoad = "coordinator-load"
	FaultSlowMarkers     = "slow-markers"
	FaultSlowAborts      = "slow-aborts"
	FaultForgetProducers = "forget-producers"
	FaultTruncate        = "truncate"
	FaultHangingTxn      = "hanging-txn"
)

// Kinds of faults of the disk under the state directories.
const (
	FaultDiskFull = "disk-full"
	FaultSlowDisk = "slow-disk"
)

// place is where a fault is done.
type place uint8

const (
	onWire   place = iota // by package faults
	onThread              // by the injector
	onBroker              // by the embedded broker
	onDisk                // by the file system of the state
	onStore               // by storeFaults
	onClock               // by the wall clock of instances
)

// faultKind describes a kind of fault for the parser and for people.
type faultKind struct {
	faults.FaultKind
	place   place
	instant bool // there must be no LENGTH
}

func faultKinds() []faultKind {
	thread := []string{keyInstance, keyThread}
	kinds := []faultKind{
		{faults.FaultKind{
			Name: FaultPanic, Needs: thread, Does: "user code of the thread panics once; the thread is replaced",
			Example: "panic,instance=i3,thread=2@15s",
		}, onThread, true},
		{faults.FaultKind{
			Name: FaultStall, Needs: thread, Lasts: true, Does: "the thread stands still for LENGTH and then goes on as if nothing had been",
			Example: "stall,instance=i1,thread=1@10s+25s",
		}, onThread, false},
		{faults.FaultKind{
			Name: FaultDiskFull, Takes: []string{keyInstance}, Lasts: true, Does: "what needs space on the disk of the state directory fails",
			Example: "disk-full,instance=i1@10s+20s",
		}, onDisk, false},
		{faults.FaultKind{
			Name: FaultSlowDisk, Needs: []string{"delay"}, Takes: []string{keyInstance}, Lasts: true,
			Does:    "each fsync in the state directory takes that much longer",
			Example: "slow-disk,instance=i1,delay=2s@10s+20s",
		}, onDisk, false},
		storeFaultKind(),
		clockFaultKind(),
	}
	for _, k := range faults.FaultKinds() {
		kinds = append(kinds, faultKind{FaultKind: k, place: onWire})
	}
	return append(kinds, brokerKinds()...)
}

func brokerKinds() []faultKind {
	return []faultKind{
		{faults.FaultKind{
			Name: FaultLeaderMove, Takes: []string{"topic", "seed"}, Does: "partitions get another leader",
			Example: "leader-move,topic=*-changelog@10s",
		}, onBroker, true},
		{faults.FaultKind{
			Name: FaultCoordinatorMove, Does: "groups and transactional ids get other coordinators",
			Example: "coordinator-move@10s",
		}, onBroker, true},
		{faults.FaultKind{
			Name: FaultBrokerRestart, Needs: []string{"node"}, Lasts: true, Does: "a node goes down and comes up again after LENGTH",
			Example: "broker-restart,node=1@10s+20s",
		}, onBroker, false},
		{faults.FaultKind{
			Name: FaultBrokerError, Needs: []string{"api", "code"}, Takes: []string{"txn", "topic", "count", "probability", "seed"},
			Does:    "the broker answers with an error code, to the load and the verifier as well",
			Example: "broker-error,api=Produce,code=NOT_LEADER_FOR_PARTITION,probability=0.2@10s+20s",
		}, onBroker, false},
		{faults.FaultKind{
			Name: FaultCoordinatorLoad, Lasts: true, Does: "coordinators are loading",
			Example: "coordinator-load@10s+5s",
		}, onBroker, false},
		{faults.FaultKind{
			Name: FaultSlowMarkers, Needs: []string{"delay"}, Takes: []string{"seed"}, Lasts: true,
			Does:    "markers of transactions take a tenth of delay up to delay, as on a real broker: the next transaction and stable offsets wait for them",
			Example: "slow-markers,delay=500ms@10s+1m",
		}, onBroker, false},
		{faults.FaultKind{
			Name: FaultSlowAborts, Needs: []string{"delay"}, Takes: []string{"seed"}, Lasts: true,
			Does:    "transactions that time out are aborted up to so much later, for producers that are opened meanwhile",
			Example: "slow-aborts,delay=10s@0s+5m",
		}, onBroker, false},
		{faults.FaultKind{
			Name: FaultForgetProducers, Does: "the next records of each transactional producer are answered with UNKNOWN_PRODUCER_ID",
			Example: "forget-producers@10s",
		}, onBroker, false},
		{faults.FaultKind{
			Name: FaultTruncate, Needs: []string{"topic"}, Does: "all records of topics are deleted",
			Example: "truncate,topic=*-changelog@10s",
		}, onBroker, true},
		{faults.FaultKind{
			Name: FaultHangingTxn, Needs: []string{"topic"}, Does: "somebody's transaction stays open on the topics: nobody reads past it; it is aborted after LENGTH, if there is one",
			Example: "hanging-txn,topic=*-by-key-repartition@10s+30s",
		}, onBroker, false},
	}
}

// findFaultKind returns the kind of that name.
func findFaultKind(name string) (faultKind, bool) {
	kinds := faultKinds()
	at := slices.IndexFunc(kinds, func(k faultKind) bool { return k.Name == name })
	if at < 0 {
		return faultKind{}, false
	}
	return kinds[at], true
}

func faultKindNames() string {
	var names []string
	for _, k := range faultKinds() {
		names = append(names, k.Name)
	}
	return strings.Join(names, ", ")
}

// Keys that every spec keeps apart from the others.
const (
	keyInstance = "instance"
	keyThread   = "thread"
)

// faultKeys are all keys, in the order in which they are written.
func faultKeys() []faults.FaultKey {
	return append(faults.FaultKeys(),
		faults.FaultKey{Name: keyWiped, Value: "true|false", Says: "only the first opening after the task's folder was thrown away"},
		faults.FaultKey{Name: keyBy, Value: "DURATION", Says: "how far, like 1h; -1h is back"})
}

// FaultHelp describes the kinds of faults and their keys, for `--fault help`.
func FaultHelp() string {
	var b strings.Builder
	b.WriteString("--fault KIND[,key=value..]@START[+LENGTH]\n\n" +
		"START counts from the first moment when all threads are RUNNING. The flag may be repeated. What is to happen to a request\n" +
		"happens once where there is no LENGTH, unless count says how often.\n\nKinds\n")
	for _, k := range faultKinds() {
		fmt.Fprintf(&b, "  %-17s %s\n  %-17s ", k.Name, k.Does, "")
		if len(k.Needs) > 0 {
			fmt.Fprintf(&b, "needs %s; ", strings.Join(k.Needs, ", "))
		}
		if len(k.Takes) > 0 {
			fmt.Fprintf(&b, "takes %s\n  %-17s ", strings.Join(k.Takes, ", "), "")
		}
		fmt.Fprintf(&b, "like %s\n", k.Example)
	}
	b.WriteString("\nKeys\n")
	for _, k := range faultKeys() {
		fmt.Fprintf(&b, "  %-26s %s\n", k.Name+"="+k.Value, k.Says)
	}
	return b.String()
}
