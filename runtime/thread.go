package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	"eostop/runtime/journal"
	"eostop/runtime/metrics"
	"eostop/runtime/state"

	"github.com/twmb/franz-go/pkg/kgo"
)

// taskInput ties a fetched partition to its task.
type taskInput struct {
	task  *streamTask
	input *inputPartition
}

// StreamThread runs tasks. One goroutine, the one that runs run, owns everything in it but what is marked otherwise:
// others read what it publishes, and the group client's callbacks hand their news over and wait (see rebalance.go).
type StreamThread struct {
	name     string
	index    int
	instance *Instance
	began    time.Time                 // when run began
	replaced *ThreadDeath              // the thread that it replaces; nil if none, or once this one has run
	failedAt atomic.Pointer[time.Time] // when it got the error that ends it; nil once somebody has decided what follows from it
	state    *stateMachine[ThreadState]
	monitor  connectionMonitor
	counters counters
	metrics  *metrics.Thread
	consumed *metrics.Consumer // of the inputs

	ctx  context.Context // ends when the thread must stop at once
	done chan struct{}   // closed when the thread is DEAD
	stop atomic.Bool     // set: finish the loop and shut down clean

	requests chan func() // to be run by the thread's goroutine between two rounds
	waker    waker       // ends the current poll

	member   *membership
	consumer *kgo.Client // inputs; assigned by hand, so that each position is one that the broker has told us
	updater  *stateUpdater
	cache    *state.ThreadCache
	slot     *producerSlot // of the thread's one producer; nil under exactly_once, where each task has its own

	identity       groupIdentity
	rebalancing    bool // between the end of a group session and the next assignment
	rebalanceSince time.Time
	unconfirmed    bool     // under exactly_once: a task was given up, and is opened again only with the next assignment
	wanted         []TaskID // the active tasks of the assignment; tasks follows it
	wantedStandbys []TaskID
	perTask        bool // members with a producer for each task are, or were, in the group
	tasks          map[TaskID]*streamTask
	standbys       map[TaskID]*standbyTask
	inputs         map[topicPartition]taskInput
	partitions     map[string]int32 // partition counts of the source topics, from the last assignment

	lastCommit      time.Time // last attempt
	lastCommitted   time.Time // last success
	migrationsInRow int
	retry           backoff // of what failed in the thread's own steps
	purge           purge
	lastCause       string
	lastError       string

	published   atomic.Pointer[ThreadStatus]
	publishedAt time.Time
}

func newThread(ctx context.Context, inst *Instance, index int) *StreamThread {
	t := &StreamThread{
		name: fmt.Sprintf("%s-StreamThread-%d", inst.cfg.ClientID, index), index: index, instance: inst,
		ctx: ctx, done: make(chan struct{}), requests: make(chan func()),
		cache: state.NewThreadCache(inst.cfg.RecordCache/int64(max(1, inst.cfg.StreamThreads)), state.LastWritten),
		tasks: map[TaskID]*streamTask{}, standbys: map[TaskID]*standbyTask{}, inputs: map[topicPartition]taskInput{},
	}
	if inst.cfg.Guarantee != ExactlyOnce {
		t.slot = newSlot(t, inst.transactionalID(index))
	}
	t.metrics = inst.env.Metrics.Thread(t.name)
	t.consumed = t.metrics.Consumer(t.name + "-" + groupConsumer)
	t.state = newStateMachine("stream-thread ["+t.name+"]", ThreadCreated, threadTransitions, t.stateChanged)
	t.publish()
	return t
}

func (t *StreamThread) log() *slog.Logger { return t.instance.log.With("thread", t.name) }

// emit completes an event with the thread's names.
func (t *StreamThread) emit(e journal.Event) {
	e.Instance, e.Thread = t.instance.cfg.ClientID, t.name
	t.instance.emit(e)
}

func (t *StreamThread) stateChanged(from, to ThreadState) {
	t.emit(journal.Event{
		Kind: journal.KindThreadState, Level: journal.Info, From: string(from), To: string(to),
		Text: fmt.Sprintf("stream-thread [%s] State transition from %s to %s", t.name, from, to),
	})
	t.metrics.SetState(string(to))
	t.instance.threadChanged(to)
}

func (t *StreamThread) setState(next ThreadState) error {
	_, err := t.state.to(next)
	t.publish()
	return err
}

func (t *StreamThread) in(s ThreadState) bool {
	current, _ := t.state.get()
	return current == s
}

// run is the thread's life. It returns the error the thread died of, nil after a clean shutdown.
func (t *StreamThread) run() error {
	defer close(t.done)
	defer t.metrics.Close()
	t.began = time.Now()
	err := t.guard(func() error {
		if err := t.start(); err != nil {
			return err
		}
		for (!t.stop.Load() || t.rebalancing) && t.ctx.Err() == nil { // a rebalance that has begun is finished first
			if err := t.handle(t.guard(t.runOnce)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		now := time.Now()
		t.failedAt.Store(&now)
		err = t.inOldWords(err)
	}
	t.shutdown(err)
	return err
}

// guard turns a panic into an error.
func (t *StreamThread) guard(fn func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &PanicError{Value: r, Stack: debug.Stack()}
		}
	}()
	return fn()
}

func (t *StreamThread) start() error {
	t.log().Info("Starting")
	if err := t.setState(ThreadStarting); err != nil {
		return err
	}
	var err error
	if t.consumer, err = kgo.NewClient(t.instance.fetchOptions(t, inputConsumer)...); err != nil {
		return fmt.Errorf("consumer: %w", err)
	}
	if t.updater, err = newUpdater(t); err != nil {
		return err
	}
	t.rebalanceSince = time.Now()
	t.member, err = joinGroup(t)
	return err
}

// runOnce is one round of the loop: news of the group, then what is needed before records can be processed, then the
// records, then the commit.
func (t *StreamThread) runOnce() error {
	ctx := t.ctx
	if err := t.serveGroup(ctx); err != nil {
		return err
	}
	t.serveRequests()
	if !t.rebalancing {
		t.member.maybeProbe(t.instance.env.Now())
	}
	if t.instance.env.OnLoop != nil {
		t.instance.env.OnLoop(t.name)
	}
	if err := t.member.checkTopics(ctx); err != nil {
		return err
	}
	if err := t.prepare(ctx); err != nil {
		return err
	}
	if err := t.poll(ctx); err != nil {
		return err
	}
	if err := t.process(ctx); err != nil {
		return err
	}
	if err := t.maybeCommit(ctx); err != nil {
		return err
	}
	if err := t.cache.Trim(); err != nil { // after it was made smaller
		return &transactionError{"trim the record cache", err}
	}
	t.maybePurge(ctx)
	if time.Since(t.publishedAt) >= t.instance.cfg.PollInterval {
		t.publish()
	}
	return nil
}

// poll takes fetched records and hands them to their tasks.
func (t *StreamThread) poll(ctx context.Context) error {
	ctx = t.waker.begin(ctx, t.pollTime())
	defer t.waker.end()
	if t.member.waiting() || t.updater.pending() {
		return nil
	}
	if t.held() || t.instance.paused.Load() {
		<-ctx.Done() // what is fetched now could only pile up
		return nil
	}
	begin := time.Now()
	t.consumed.Polled()
	fetches := t.consumer.PollRecords(ctx, t.instance.cfg.MaxPollRecords)
	t.metrics.Polled(fetches.NumRecords(), time.Since(begin))
	var errs []error
	fetches.EachError(func(topic string, partition int32, err error) {
		errs = append(errs, t.fetchFailed(topicPartition{topic, partition}, err))
	})
	fetches.EachPartition(func(f kgo.FetchTopicPartition) {
		if in, ok := t.inputs[topicPartition{f.Topic, f.Partition}]; ok {
			in.input.highWatermark, in.input.stable = f.HighWatermark, f.HighWatermark
			if t.instance.cfg.Guarantee.Transactional() && f.LastStableOffset >= 0 {
				in.input.stable = f.LastStableOffset
			}
			in.task.add(in.input, f.Records)
		}
	})
	t.limitBuffers()
	return errors.Join(errs...)
}

// pollTime is how long a poll may wait: until a commit or a punctuator is due. It is never less than a millisecond: a poll
// whose time is over already would return nothing.
func (t *StreamThread) pollTime() time.Duration {
	wait := t.instance.cfg.PollInterval
	if !t.rebalancing && len(t.tasks) > 0 {
		wait = min(wait, t.instance.cfg.CommitInterval-time.Since(t.lastCommit))
	}
	for _, task := range t.tasks {
		if task.graph != nil {
			if at, ok := task.graph.NextWallClock(); ok {
				wait = min(wait, at.Sub(task.WallClock()))
			}
		}
	}
	return max(time.Millisecond, wait)
}

// interrupt ends the current poll. Any goroutine may call it.
func (t *StreamThread) interrupt() { t.waker.wake() }

// held reports whether a rebalance, during which nothing can be committed, has lasted so long that an open transaction is
// half as old as the broker allows.
func (t *StreamThread) held() bool {
	if !t.rebalancing {
		return false
	}
	for _, slot := range t.slots() {
		if slot.transactionOpen() && time.Since(slot.producer.since) > t.instance.cfg.TransactionTimeout/2 {
			return true
		}
	}
	return false
}

// limitBuffers stops fetching for partitions whose tasks are behind by more than the buffer limit, and goes on for those that
// have caught up (buffered.records.per.partition).
func (t *StreamThread) limitBuffers() {
	pause, resume := map[string][]int32{}, map[string][]int32{}
	for tp, in := range t.inputs {
		switch full := len(in.input.queue) > t.instance.cfg.BufferedRecords; {
		case full && !in.input.paused:
			pause[tp.topic] = append(pause[tp.topic], tp.partition)
			in.input.paused = true
		case !full && in.input.paused:
			resume[tp.topic] = append(resume[tp.topic], tp.partition)
			in.input.paused = false
		}
	}
	if len(pause) > 0 {
		t.consumer.PauseFetchPartitions(pause)
	}
	if len(resume) > 0 {
		t.consumer.ResumeFetchPartitions(resume)
	}
}

// process works off what was fetched, a batch of each task in turn. During a long rebalance, when nothing can be committed,
// it stops before the open transaction is so old that the broker would abort it.
func (t *StreamThread) process(ctx context.Context) error {
	const batch = 100
	for {
		if t.held() || t.instance.paused.Load() {
			return nil
		}
		processed := 0
		for _, task := range t.tasks {
			if !task.is(TaskRunning) || task.slot.producer == nil {
				continue
			}
			n, err := t.processTask(task, batch)
			processed += n // control records, too
			if err != nil {
				return &slotError{task.slot, err}
			}
		}
		if processed == 0 {
			return nil
		}
		if err := t.maybeCommit(ctx); err != nil {
			return err
		}
		if t.member.waiting() || t.updater.pending() {
			return nil
		}
	}
}

func (t *StreamThread) processTask(task *streamTask, batch int) (int, error) {
	before, begin := task.processed, time.Now()
	n, err := task.process(batch)
	if done := int(task.processed - before); done > 0 {
		took := time.Since(begin)
		t.counters.processed.Add(uint64(done))
		t.metrics.Processed(done, took)
		task.metrics.Processed(done, took)
	}
	if err != nil {
		return n, err
	}
	if err := task.punctuate(); err != nil {
		return n, err
	}
	return n, t.rewriteSome(task)
}

// fetchFailed handles the error of one partition of a fetch.
func (t *StreamThread) fetchFailed(tp topicPartition, err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.Is(err, kgo.ErrClientClosed) {
		return nil
	}
	in, input := t.inputs[tp]
	if !input && tp.topic != "" && tp.partition >= 0 {
		return nil // of a partition that is not read any more: the client reports what it had at hand
	}
	// An input that is out of range is not lost yet: a member that was cut off may still hold a position that the next owner
	// of the task has left behind and purged. Starting over from the committed offsets tells.
	err = fmt.Errorf("fetch %s: %w", tp, err)
	if input {
		return &slotError{in.task.slot, err}
	}
	return err
}
