package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"eostop/runtime/journal"
	"eostop/runtime/metrics"

	"github.com/twmb/franz-go/pkg/kgo"
)

// stateUpdater restores the stores of active tasks and keeps those of standby tasks up to date, in a goroutine of its own, so that
// tasks that run already go on meanwhile (KIP-869). Each thread has one. It owns its restore consumer and the stores of the
// tasks that it was given; the thread gives them with add and gets them back by remove, or restored by drain.
type stateUpdater struct {
	thread   *StreamThread
	client   *kgo.Client // the restore consumer
	waker    waker
	metrics  *metrics.Updater
	commands chan func()   // with room for one, so that it is there before the updater is woken
	done     chan struct{} // closed when the goroutine has ended
	stopped  context.Context
	stop     context.CancelFunc

	tasks       map[TaskID]*updating
	byChangelog map[topicPartition]*taskStore // what is being read

	mu       sync.Mutex // guards finished; never held while waiting
	finished []updated
}

// updating is a task that the updater has.
type updating struct {
	manager *stateManager
	inputs  []topicPartition // of an active task: whose committed offsets it needs; nil for a standby
	active  bool
	fence   bool // the former owner is to be fenced before anything is read
	begun   bool // the changelogs are being read
	wait    backoff
	blocked time.Time // since when an undecided transaction holds the committed offsets back
	told    bool      // that it takes too long
}

// updated is an active task that is restored, or a task that failed.
type updated struct {
	manager *stateManager
	offsets map[topicPartition]committedOffset
	bounds  map[topicPartition]logBounds // of the inputs
	err     error
}

// newUpdater creates the client and starts the goroutine. It ends with close.
func newUpdater(t *StreamThread) (*stateUpdater, error) {
	client, err := kgo.NewClient(t.instance.fetchOptions(t, restoreConsumer)...)
	if err != nil {
		return nil, fmt.Errorf("restore consumer: %w", err)
	}
	u := &stateUpdater{
		thread: t, client: client, commands: make(chan func(), 1), done: make(chan struct{}),
		tasks: map[TaskID]*updating{}, byChangelog: map[topicPartition]*taskStore{},
	}
	u.metrics = t.metrics.Updater(fmt.Sprintf("%s-StateUpdater-%d", t.instance.cfg.ClientID, t.index))
	u.stopped, u.stop = context.WithCancel(context.Background())
	go u.run()
	return u, nil
}

// do runs a command in the updater's goroutine and waits for it. It does nothing once the updater has ended.
func (u *stateUpdater) do(command func()) {
	ran := make(chan struct{})
	select {
	case u.commands <- func() { defer close(ran); command() }:
	case <-u.done:
		return
	}
	u.waker.wake() // only now: woken before there is a command, the updater would find none and wait again
	select {
	case <-ran:
	case <-u.done:
	}
}

// addActive hands an active task over to be restored. With fence its former owner is fenced first, if that had a producer for this
// task alone.
func (u *stateUpdater) addActive(task *streamTask, fence bool) {
	inputs := make([]topicPartition, len(task.inputs))
	for i, in := range task.inputs {
		inputs[i] = in.topicPartition
	}
	u.do(func() {
		u.tasks[task.id] = &updating{manager: task.manager, inputs: inputs, active: true, fence: fence && !task.manager.fenced}
	})
}

// addStandby hands a standby task over to be kept up to date.
func (u *stateUpdater) addStandby(task *standbyTask) {
	u.do(func() { u.tasks[task.id] = &updating{manager: task.manager} })
}

// remove takes a task back. Its stores belong to the caller again, whatever the updater had done to them.
func (u *stateUpdater) remove(id TaskID) {
	u.do(func() {
		if task := u.tasks[id]; task != nil {
			u.release(task)
		}
	})
	u.mu.Lock()
	u.finished = slices.DeleteFunc(u.finished, func(f updated) bool { return f.manager.id == id })
	u.mu.Unlock()
}

// drain returns what is ready for the thread.
func (u *stateUpdater) drain() []updated {
	u.mu.Lock()
	defer u.mu.Unlock()
	finished := u.finished
	u.finished = nil
	return finished
}

func (u *stateUpdater) pending() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.finished) > 0
}

// close ends the goroutine; tasks that it still has are the caller's.
func (u *stateUpdater) close() {
	u.stop()
	u.waker.wake()
	<-u.done
	u.client.Close()
	u.metrics.Close()
}

// run is the goroutine. Whatever ends it but close is the error of all its tasks, and so of the thread.
func (u *stateUpdater) run() {
	defer close(u.done)
	err := u.thread.guard(func() error {
		for u.stopped.Err() == nil {
			if err := u.runOnce(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		for _, task := range u.tasks {
			u.finish(task, updated{manager: task.manager, err: fmt.Errorf("state updater: %w", err)})
		}
	}
}

// runOnce is one round: commands, then what asks the brokers, then a poll of the changelogs. Every wait ends when a command
// comes.
func (u *stateUpdater) runOnce() error {
	begin := time.Now()
	if !u.serve(len(u.tasks) == 0) {
		return nil
	}
	served := time.Now()
	defer func() { u.measure(served.Sub(begin), time.Since(served)) }()
	ctx := u.waker.begin(u.stopped, 0)
	u.begin(ctx)
	u.complete(ctx)
	woken := ctx.Err() != nil
	u.waker.end()
	if woken || len(u.tasks) == 0 {
		return nil
	}
	ctx = u.waker.begin(u.stopped, u.untilRetry())
	defer u.waker.end()
	if len(u.byChangelog) == 0 || u.thread.instance.paused.Load() {
		<-ctx.Done() // nothing to read
		return nil
	}
	return u.poll(ctx)
}

// serve runs commands; it waits for one if there is nothing else to do. It returns false once the updater is told to stop.
func (u *stateUpdater) serve(wait bool) bool {
	for {
		if wait {
			select {
			case command := <-u.commands:
				command()
				wait = false
				continue
			case <-u.stopped.Done():
				return false
			}
		}
		select {
		case command := <-u.commands:
			command()
		default:
			return u.stopped.Err() == nil
		}
	}
}

// poll reads changelogs and applies what has come.
func (u *stateUpdater) poll(ctx context.Context) error {
	fetches := u.client.PollRecords(ctx, 0) // all there is: the next fetch is sent only when this one has been taken
	fetches.EachError(func(topic string, partition int32, err error) {
		u.fetchFailed(topicPartition{topic, partition}, err)
	})
	fetches.EachPartition(func(f kgo.FetchTopicPartition) {
		s := u.byChangelog[topicPartition{f.Topic, f.Partition}]
		if s == nil || len(f.Records) == 0 {
			return
		}
		task := u.tasks[s.manager.id]
		if err := u.apply(task, s, f.Records, f.HighWatermark); err != nil {
			u.failed(task, err)
		}
	})
	return nil
}

// fetchFailed handles the error of one changelog partition. The client repeats what can be repeated by itself.
func (u *stateUpdater) fetchFailed(tp topicPartition, err error) {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.Is(err, kgo.ErrClientClosed) {
		return
	}
	if s := u.byChangelog[tp]; s != nil {
		u.failed(u.tasks[s.manager.id], fmt.Errorf("fetch %s: %w", tp, err))
		return
	}
	if tp.topic == "" || tp.partition < 0 { // of the consumer as a whole
		for _, task := range u.tasks {
			u.failed(task, fmt.Errorf("fetch changelogs: %w", err))
		}
	}
}

// failed reacts to an error of one task: what can be cured by beginning the task's restore anew is, the rest is the thread's.
func (u *stateUpdater) failed(task *updating, err error) {
	if u.tasks[task.manager.id] != task {
		return // was reported already
	}
	class, cause := Classify(err)
	if class == Fatal {
		u.finish(task, updated{manager: task.manager, err: err})
		return
	}
	if class == Corrupted {
		u.thread.counters.corrupted.Add(1)
		u.thread.emit(journal.Event{
			Kind: journal.KindCorrupted, Level: journal.Warn, Task: task.manager.id.String(), Cause: cause, Error: err.Error(),
			Text: fmt.Sprintf("task %s cannot be restored from where its stores are (%s). Its restore begins anew.", task.manager.id, cause),
		})
	}
	u.thread.log().Warn("restore begins anew", "task", task.manager.id.String(), "cause", cause, "error", err)
	u.forget(task)
	task.begun = false
	if err := u.thread.tryAgain(&task.wait, fmt.Errorf("restore task %s: %w", task.manager.id, err)); err != nil {
		u.finish(task, updated{manager: task.manager, err: err})
	}
}

// finish gives a task back to the thread.
func (u *stateUpdater) finish(task *updating, result updated) {
	u.release(task)
	u.mu.Lock()
	u.finished = append(u.finished, result)
	u.mu.Unlock()
	u.thread.interrupt()
}

// release stops reading for a task and lets go of it.
func (u *stateUpdater) release(task *updating) {
	u.forget(task)
	for _, s := range task.manager.stores {
		s.restore.Store(nil)
	}
	delete(u.tasks, task.manager.id)
}

// forget stops reading the changelogs of a task.
func (u *stateUpdater) forget(task *updating) {
	remove := map[string][]int32{}
	for _, s := range task.manager.stores {
		if u.byChangelog[s.changelog] == s {
			delete(u.byChangelog, s.changelog)
			remove[s.changelog.topic] = append(remove[s.changelog.topic], s.changelog.partition)
		}
	}
	if len(remove) > 0 {
		u.client.RemoveConsumePartitions(remove)
	}
}

// untilRetry returns how long a wait may be: until the first task that waits is due; 0 = no end.
func (u *stateUpdater) untilRetry() time.Duration {
	next := time.Duration(0)
	for _, task := range u.tasks {
		if !task.wait.at.IsZero() {
			if d := max(time.Millisecond, time.Until(task.wait.at)); next == 0 || d < next {
				next = d
			}
		}
	}
	return next
}
