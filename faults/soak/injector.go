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
	next map[string][]FaultSpec // by thread name, in order
}

func newInjector(ctx context.Context) *injector {
	return &injector{ctx: ctx, next: map[string][]FaultSpec{}}
}

// threadName is the name that the runtime gives to a thread.
func threadName(instance string, index int) string {
	return fmt.Sprintf("%s-StreamThread-%d", instance, index)
}

// plan makes the fault happen the next time its thread comes by.
func (i *injector) plan(f FaultSpec) {
	i.mu.Lock()
	defer i.mu.Unlock()
	thread := threadName(f.Instance, f.Thread)
	i.next[thread] = append(i.next[thread], f)
}

// onLoop runs in the thread's goroutine.
func (i *injector) onLoop(thread string) {
	for _, f := range i.take(thread) {
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
func (i *injector) take(thread string) []FaultSpec {
	i.mu.Lock()
	defer i.mu.Unlock()
	planned := i.next[thread]
	delete(i.next, thread)
	return planned
}
