package soak

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// injector does to stream threads what cannot be done to them from outside: it is called by each thread once a round.
type injector struct {
	ctx context.Context // ends stalls

	mu   sync.Mutex
	next map[string][]planned // by thread name, in order
}

// planned is a fault that waits for its thread to come by.
type planned struct {
	FaultSpec
	hit func() // told when it does
}

func newInjector(ctx context.Context) *injector {
	return &injector{ctx: ctx, next: map[string][]planned{}}
}

// threadName is the name that the runtime gives to a thread.
func threadName(instance string, index int) string {
	return fmt.Sprintf("%s-StreamThread-%d", instance, index)
}

// plan makes the fault happen the next time its thread comes by.
func (i *injector) plan(f FaultSpec, hit func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	thread := threadName(f.Instance, f.Thread)
	i.next[thread] = append(i.next[thread], planned{f, hit})
}

// onLoop runs in the thread's goroutine.
func (i *injector) onLoop(thread string) {
	for _, f := range i.take(thread) {
		f.hit()
		switch f.Kind {
		case FaultPanic:
			panic("injected by --fault panic")
		case FaultStall:
			stall := time.NewTimer(f.Length)
			select {
			case <-stall.C:
			case <-i.ctx.Done():
				stall.Stop()
			}
		}
	}
}

// take returns what is planned for a thread, and forgets it.
func (i *injector) take(thread string) []planned {
	i.mu.Lock()
	defer i.mu.Unlock()
	planned := i.next[thread]
	delete(i.next, thread)
	return planned
}
