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

// place is where a fault is done.
type place uint8

const (
	onWire   place = iota // by package faults
	onThread              // by the injector
	onStore               // by storeFaults
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
		storeFaultKind(),
	}
	for _, k := range faults.FaultKinds() {
		kinds = append(kinds, faultKind{FaultKind: k, place: onWire})
	}
	return kinds
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
	return append(faults.FaultKeys(), faults.FaultKey{Name: keyWiped, Value: "true|false", Says: "only the first opening after the task's folder was thrown away"})
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
