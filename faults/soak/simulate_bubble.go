package soak

import (
	"errors"
	"flag"
	"runtime/debug"
	"sync"
	"testing"
	"testing/synctest"
)

// Bubble runs f on virtual time and returns when f and all goroutines that it has started have ended. In f, the clock begins at
// midnight of 1 January 2000 UTC, and moves on to the next timer whenever every goroutine waits. It returns a PanicError if f
// panics, or if its goroutines wait for one another without any timer.
//
// Nothing that f waits for may come from outside: neither channels and contexts that were made there, nor the network. Atomics
// and files may be shared.
type Bubble func(f func()) error

// VirtualTime is the bubble of a program that is not a test. Bubbles may run at the same time, each with its own clock.
func VirtualTime(f func()) error {
	return runBubble(ordinary(), f)
}

// TestBubble is the bubble of a test.
func TestBubble(t *testing.T) Bubble {
	return func(f func()) error { return runBubble(t, f) }
}

// ordinary returns a test outside of `go test`. Package synctest gives bubbles to tests only, for it is made for them; but what it
// does does not depend on that. So a test is started that never ends: package testing prints nothing and does not exit then.
var ordinary = sync.OnceValue(func() *testing.T {
	if testing.Testing() {
		panic("a test has a bubble of its own: use TestBubble")
	}
	// Else package testing would take the program's arguments for its own.
	if err := flag.CommandLine.Parse(nil); err != nil {
		panic(err) // there is nothing that could be wrong
	}
	began := make(chan *testing.T)
	every := func(string, string) (bool, error) { return true, nil }
	go testing.Main(every, []testing.InternalTest{{Name: "virtual time", F: func(t *testing.T) {
		began <- t
		select {}
	}}}, nil, nil)
	return <-began
})

// runBubble runs f in a bubble of the test. It has a goroutine of its own, because a failed test ends the goroutine it runs in.
func runBubble(t *testing.T, f func()) error {
	t.Helper()
	var failed error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		// The deadlock of a bubble is a panic outside of it.
		defer catch(&failed)
		failed = errors.New("virtual time ended early") // unless it is said below how
		synctest.Test(t, func(*testing.T) {
			var inside error
			defer func() { failed = inside }()
			defer catch(&inside)
			f()
		})
	}()
	<-ended
	return failed
}

// catch turns a panic into an error.
func catch(err *error) {
	if r := recover(); r != nil {
		*err = &PanicError{Value: r, Stack: debug.Stack()}
	}
}
