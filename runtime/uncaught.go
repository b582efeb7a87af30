package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"eostop/runtime/journal"
)

// replacePause keeps a thread that dies at once from being replaced at once, over and over.
const replacePause = time.Second

// errorCloseTimeout is what the other threads have to commit and close when the instance goes to ERROR.
const errorCloseTimeout = 20 * time.Second

// onThreadDeath asks the uncaught-exception handler what to do about a thread that has died (KIP-671).
func (i *Instance) onThreadDeath(t *StreamThread, err error) {
	v := classify(err)
	cause := v.name
	death := ThreadDeath{Thread: t.name, At: t.failedSince(), Cause: cause, Error: err.Error(), Class: v.class, Unexpected: !v.known}

	if i.env.Journal != nil {
		death.Log = lastWords(i.env.Journal.Tail(lastEvents), t.name)
	}

	var requested *shutdownRequestedError
	response := ShutdownClient
	switch {
	case errors.As(err, &requested):
	case i.cfg.Policy.KeepDead:
		response = keepDead
	default:
		response = i.uncaught(t.name, err)
	}
	var next *StreamThread
	i.mu.Lock()
	t.failedAt.Store(nil) // from now on it may be forgotten
	// Close changes the state before it takes the lock and tells the threads that are there: a thread added after that would
	// never be told.
	if current, _ := i.state.get(); response == ReplaceThread && (current == InstanceRunning || current == InstanceRebalancing) {
		next = newThread(i.ctx, i, t.index)
		next.replaces(t, &death)
		i.threads[slices.Index(i.threads, t)] = next
		i.replaced++
		death.Replaced = true
	}
	if requested == nil {
		i.dead = append(i.dead, death)
	}
	i.mu.Unlock()

	if requested == nil {
		i.metrics.ThreadDied(t.name, cause)
	}
	i.reportDeath(t, &death, err, response, next != nil)
	switch {
	case next != nil:
		pause := time.Duration(0)
		if death.At.Sub(t.began) < replacePause {
			pause = replacePause
		}
		i.launch(next, pause)
	case response == ShutdownClient:
		i.fail()
	case response == ShutdownApplication:
		i.requestShutdown()
	case !slices.ContainsFunc(i.list(), func(t *StreamThread) bool { return !t.in(ThreadDead) }):
		i.emit(journal.Event{
			Kind: journal.KindError, Level: journal.Error, Instance: i.cfg.ClientID,
			Text: fmt.Sprintf("stream-client [%s] All stream threads have died. The instance will be in error state and should be closed.", i.cfg.ClientID),
		})
		i.fail()
	}
}

// failedSince returns when the thread got the error that has ended it.
func (t *StreamThread) failedSince() time.Time {
	if at := t.failedAt.Load(); at != nil {
		return *at
	}
	return time.Now()
}

// lastEvents are searched for what a thread said when it died.
const lastEvents = 512

// lastWords returns what a thread that is dead said from its error on, or from its last state of life.
func lastWords(events []journal.Event, thread string) []string {
	var lines []string
	for n := len(events) - 1; n >= 0; n-- {
		e := &events[n]
		if e.Thread != thread || e.Kind != journal.KindThreadState && e.Kind != journal.KindError {
			continue
		}
		if e.Kind == journal.KindThreadState && e.To != string(ThreadDead) && e.To != string(ThreadPendingShutdown) {
			break
		}
		lines = append(lines, e.Line())
		if e.Kind == journal.KindError {
			break
		}
	}
	slices.Reverse(lines)
	return lines
}

// uncaught calls the handler. One that panics has made no choice.
func (i *Instance) uncaught(thread string, err error) (response UncaughtResponse) {
	handler := i.cfg.UncaughtHandler
	if handler == nil {
		handler = DefaultUncaughtHandler
	}
	defer func() {
		if r := recover(); r != nil {
			i.log.Error("the uncaught exception handler panicked", "thread", thread, "panic", fmt.Sprint(r))
			response = ShutdownClient
		}
	}()
	return handler(thread, err)
}

func (i *Instance) reportDeath(t *StreamThread, death *ThreadDeath, err error, response UncaughtResponse, replaced bool) {
	text := fmt.Sprintf("stream-thread [%s] Encountered an exception that ends the thread: %v", t.name, err)
	switch {
	case replaced:
		text += ". Replacing thread in the streams uncaught exception handler"
	case response == ShutdownClient:
		text += ". The registered exception handler opted to SHUTDOWN_CLIENT. The streams client is going to shut down now."
	case response == ShutdownApplication:
		text += ". The registered exception handler opted to SHUTDOWN_APPLICATION. All instances of the application are going to shut down."
	}
	if response != keepDead { // else the thread itself has said it
		i.emit(journal.Event{Kind: journal.KindError, Level: journal.Error, Instance: i.cfg.ClientID, Thread: t.name, Cause: death.Cause, Error: err.Error(), Text: text})
	}
	if panicked, ok := errors.AsType[*PanicError](err); ok {
		i.log.Error("thread panicked", "thread", t.name, "stack", string(panicked.Stack))
	}
}

// replaces makes a thread the successor of a dead one, under the same transactional id: it ends what that left open, and its
// counters go on.
func (t *StreamThread) replaces(dead *StreamThread, death *ThreadDeath) {
	t.counters.inherit(dead.counters.load())
	t.replaced = death
	if t.slot != nil {
		t.slot.leftOpen = dead.slot.leftOpen
	}
}

// noteReplaced says once how long it took from a thread's death until its successor runs.
func (t *StreamThread) noteReplaced() {
	if t.replaced == nil {
		return
	}
	took := time.Since(t.replaced.At)
	t.replaced = nil
	t.instance.metrics.ThreadReplaced(took)
	t.emit(journal.Event{
		Kind: journal.KindThreadState, Level: journal.Info, To: "REPLACED", Duration: took,
		Text: fmt.Sprintf("stream-thread [%s] runs in place of the one that died %d ms before", t.name, took.Milliseconds()),
	})
}

// fail ends the instance in state ERROR: the other threads commit and close.
func (i *Instance) fail() {
	i.setState(InstancePendingError)
	if current, _ := i.state.get(); current != InstancePendingError {
		return // somebody closes it already
	}
	i.failing.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), errorCloseTimeout)
		defer cancel()
		if err := i.end(ctx); err != nil {
			i.log.Warn("close after an error", "error", err)
		}
		i.setState(InstanceError)
	})
}

// shutdownRequestedError ends the threads of every instance when one of them wants the whole application to stop.
type shutdownRequestedError struct{}

func (e *shutdownRequestedError) Error() string {
	return "another instance has requested the shutdown of the application"
}

// requestShutdown tells the group that the application is to end. A thread that is left tells it with its next join; the last
// one needs a successor for that.
func (i *Instance) requestShutdown() {
	i.shutdown.Store(true) // a thread that joins from now on says it at once
	alive := slices.DeleteFunc(i.list(), func(t *StreamThread) bool { return t.in(ThreadDead) || t.in(ThreadPendingShutdown) })
	if len(alive) == 0 {
		if _, err := i.AddThread(); err != nil {
			i.log.Warn("no thread can tell the group of the shutdown", "error", err)
			i.fail()
		}
		return
	}
	for _, t := range alive {
		t.ask(func() { t.member.requestShutdown() }) // it may not have joined yet
	}
}
