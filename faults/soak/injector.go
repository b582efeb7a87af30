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
	next map[string]injection // by thread name
}

// injection is what happens to a thread the next time it comes by.
type injection struct {
	kind  string
	until time.Time
}

func newInjector(ctx context.Context) *injector {
	return &injector{ctx: ctx, next: map[string]injection{}}
}

// threadName is the name that the runtime gives to a thread.
func threadName(instance string, index int) string {
	return fmt.Sprintf("%s-StreamThread-%d", instance, index)
}

// plan makes the fault happen the next time its thread comes by.
func (i *injector) plan(f FaultSpec) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.next[threadName(f.Instance, f.Thread)] = injection{kind: f.Kind, until: time.Now().Add(f.Length)}
}

// onLoop runs in the thread's goroutine.
func (i *injector) onLoop(thread string) {
	i.mu.Lock()
	what, ok := i.next[thread]
	delete(i.next, thread)
	i.mu.Unlock()
	if !ok {
		return
	}
	switch what.kind {
	case FaultPanic:
		panic("injected by --fault panic")
	case FaultStall:
		stall := time.NewTimer(time.Until(what.until))
		defer stall.Stop()
		select {
		case <-stall.C:
		case <-i.ctx.Done():
		}
	}
}
