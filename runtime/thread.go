package runtime

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"eostop/runtime/journal"
	"eostop/runtime/state"

	"github.com/twmb/franz-go/pkg/kgo"
)

// taskInput ties a fetched partition to its task.
type taskInput struct {
	task  *streamTask
	input *inputPartition
}

// counters are written by the thread's goroutine and read by anyone.
type counters struct {
	processed, processedInputs, committed, aborted, fenced, unknown, migrated, corrupted, restored, wiped, rebuilt atomic.Uint64
}

// inherit takes over what a replaced thread has counted, so that totals never shrink.
func (c *counters) inherit(from *counters) {
	mine := []*atomic.Uint64{&c.processed, &c.processedInputs, &c.committed, &c.aborted, &c.fenced, &c.unknown, &c.migrated, &c.corrupted, &c.restored, &c.wiped, &c.rebuilt}
	theirs := []*atomic.Uint64{&from.processed, &from.processedInputs, &from.committed, &from.aborted, &from.fenced, &from.unknown, &from.migrated, &from.corrupted, &from.restored, &from.wiped, &from.rebuilt}
	for i := range mine {
		mine[i].Store(theirs[i].Load())
	}
}

// StreamThread runs tasks. One goroutine, the one that runs run, owns everything in it but what is marked otherwise:
// others read what it publishes, and the group client's callbacks hand their news over and wait (see rebalance.go).
type StreamThread struct {
	name     string
	index    int
	instance *Instance
	began    time.Time // when run began
	state    *stateMachine[ThreadState]
	monitor  connectionMonitor
	counters counters

	ctx  context.Context // ends when the thread must stop at once
	done chan struct{}   // closed when the thread is DEAD
	stop atomic.Bool     // set: finish the loop and shut down clean

	requests chan func() // to be run by the thread's goroutine between two rounds

	member   *membership
	data     *kgo.Client // inputs and changelogs; assigned by hand, so that each position is one that the broker has told us
	producer *streamsProducer
	leftOpen bool // a discarded producer may have left a transaction open

	identity       groupIdentity
	rebalancing    bool // between the end of a group session and the next assignment
	rebalanceSince time.Time
	wanted         []TaskID // the assignment; tasks follows it
	tasks          map[TaskID]*streamTask
	inputs         map[topicPartition]taskInput
	restoring      map[topicPartition]*taskStore
	partitions     map[string]int32 // partition counts of the source topics, from the last assignment

	producing       producing
	lastCommit      time.Time // last attempt
	lastCommitted   time.Time // last success
	migrationsInRow int
	retryAt         time.Time // before which nothing that failed is tried again
	retries         int
	purge           purge
	lastCause       string
	lastError       string

	wakeMu sync.Mutex
	wake   context.CancelFunc // ends the current poll; nil while not polling

	published   atomic.Pointer[ThreadStatus]
	publishedAt time.Time
}

func newThread(ctx context.Context, inst *Instance, index int) *StreamThread {
	t := &StreamThread{
		name: fmt.Sprintf("%s-StreamThread-%d", inst.cfg.ClientID, index), index: index, instance: inst,
		ctx: ctx, done: make(chan struct{}), requests: make(chan func()),
		tasks: map[TaskID]*streamTask{}, inputs: map[topicPartition]taskInput{}, restoring: map[topicPartition]*taskStore{},
	}
	t.producing = producing{thread: t, status: ProducerStatus{Thread: t.name, TransactionalID: inst.transactionalID(index), ProducerID: -1, Epoch: -1, Phase: "NONE"}}
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
	data, err := kgo.NewClient(t.instance.dataOptions(t)...)
	if err != nil {
		return fmt.Errorf("consumer: %w", err)
	}
	t.data = data
	member, err := joinGroup(t)
	if err != nil {
		return err
	}
	t.member = member
	return nil
}

// runOnce is one round of the loop: news of the group, then what is needed before records can be processed, then the
// records, then the commit.
func (t *StreamThread) runOnce() error {
	ctx := t.ctx
	if err := t.serveGroup(ctx); err != nil {
		return err
	}
	t.serveRequests()
	if t.instance.env.OnLoop != nil {
		t.instance.env.OnLoop(t.name)
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
	t.maybePurge(ctx)
	if time.Since(t.publishedAt) >= t.instance.cfg.PollInterval {
		t.publish()
	}
	return nil
}

// prepare brings created tasks to RUNNING, step by step: a producer, restored stores, committed offsets. Tasks that run
// already go on meanwhile.
func (t *StreamThread) prepare(ctx context.Context) error {
	if (len(t.wanted) == 0 && !t.leftOpen) || time.Now().Before(t.retryAt) {
		return t.maybeRunning()
	}
	// Also a thread without tasks initialises its producer when it has left a transaction open: that ends it, and others may
	// be waiting for it.
	if t.producer == nil {
		if err := t.openProducer(ctx); err != nil {
			return err
		}
	}
	var inUse error // another thread has not closed the store yet; other tasks need not wait for it
	for _, id := range t.wanted {
		if t.tasks[id] == nil {
			err := t.addTask(id)
			if err != nil && !errors.Is(err, state.ErrInUse) {
				return err
			}
			inUse = cmp.Or(inUse, err)
		}
	}
	var created []*streamTask
	for _, task := range t.tasks {
		if task.is(TaskCreated) {
			created = append(created, task)
		}
	}
	if len(created) > 0 {
		slices.SortFunc(created, func(a, b *streamTask) int { return compareTaskIDs(a.id, b.id) })
		if err := t.beginRestore(ctx, created); err != nil {
			return err
		}
	}
	if err := t.completeRestore(ctx); err != nil {
		return err
	}
	if inUse != nil {
		return inUse
	}
	t.retries = 0
	return t.maybeRunning()
}

// maybeRunning ends PARTITIONS_ASSIGNED once every task runs; a thread without tasks runs, too.
func (t *StreamThread) maybeRunning() error {
	if !t.in(ThreadPartitionsAssigned) || t.rebalancing || len(t.tasks) < len(t.wanted) {
		return nil
	}
	for _, task := range t.tasks {
		if !task.is(TaskRunning) {
			return nil
		}
	}
	return t.setState(ThreadRunning)
}

// openProducer initialises the thread's transactional producer. Whatever an older one left open is aborted or completed by
// it; so it comes before restoring and before the committed offsets are read.
func (t *StreamThread) openProducer(ctx context.Context) error {
	t.producing.phase("INITIALIZING")
	t.publish()
	ctx, cancel := context.WithTimeout(ctx, t.instance.cfg.RequestTimeout)
	defer cancel()
	producer, err := openProducer(ctx, t.instance.cfg.TransactionTimeout, t.instance.producerOptions(t)...)
	if err != nil {
		return &retryError{"open producer", err}
	}
	t.producer, t.leftOpen = producer, false
	t.producing.opened(producer)
	return nil
}

// poll takes fetched records and hands them to tasks and restoring stores.
func (t *StreamThread) poll(ctx context.Context) error {
	wait := t.instance.cfg.PollInterval
	if t.producer != nil && !t.rebalancing {
		// Not below a millisecond: a poll whose time is over already would return nothing.
		wait = min(wait, max(time.Millisecond, t.instance.cfg.CommitInterval-time.Since(t.lastCommit)))
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	t.setWake(cancel)
	defer t.setWake(nil)
	if t.member.waiting() {
		cancel()
	}
	if t.paused() && len(t.restoring) == 0 {
		<-ctx.Done() // what is fetched now could only pile up
		return nil
	}
	limit := t.instance.cfg.MaxPollRecords
	if len(t.restoring) > 0 {
		limit = 0 // all there is: the next fetch is sent only when this one has been taken
	}
	fetches := t.data.PollRecords(ctx, limit)
	var errs []error
	fetches.EachError(func(topic string, partition int32, err error) {
		errs = append(errs, t.fetchFailed(topicPartition{topic, partition}, err))
	})
	fetches.EachPartition(func(f kgo.FetchTopicPartition) {
		tp := topicPartition{f.Topic, f.Partition}
		if in, ok := t.inputs[tp]; ok {
			in.input.highWatermark = f.HighWatermark
			in.task.add(in.input, f.Records)
		} else if s := t.restoring[tp]; s != nil && len(f.Records) > 0 {
			errs = append(errs, t.restoreRecords(s, f.Records))
		}
	})
	return errors.Join(errs...)
}

func (t *StreamThread) setWake(cancel context.CancelFunc) {
	t.wakeMu.Lock()
	t.wake = cancel
	t.wakeMu.Unlock()
}

// interrupt ends the current poll. Any goroutine may call it.
func (t *StreamThread) interrupt() {
	t.wakeMu.Lock()
	defer t.wakeMu.Unlock()
	if t.wake != nil {
		t.wake()
	}
}

// paused reports whether a rebalance, during which nothing can be committed, has lasted so long that the open transaction is
// half as old as the broker allows.
func (t *StreamThread) paused() bool {
	return t.rebalancing && t.producer.inTransactionNow() && time.Since(t.producer.since) > t.instance.cfg.TransactionTimeout/2
}

// process works off what was fetched, a batch of each task in turn. During a long rebalance, when nothing can be committed,
// it stops before the open transaction is so old that the broker would abort it.
func (t *StreamThread) process(ctx context.Context) error {
	const batch = 100
	for {
		if t.paused() {
			return nil
		}
		processed := 0
		for _, task := range t.tasks {
			if !task.is(TaskRunning) {
				continue
			}
			before := task.processed
			n, err := task.process(batch)
			processed += n // control records, too
			t.counters.processed.Add(uint64(task.processed - before))
			if err != nil {
				return err
			}
			if err := t.rewriteSome(task); err != nil {
				return err
			}
		}
		if processed == 0 {
			return nil
		}
		if err := t.maybeCommit(ctx); err != nil {
			return err
		}
		if t.member.waiting() {
			return nil
		}
	}
}
