package runtime

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"eostop/runtime/journal"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// membership is a thread's place in the consumer group. The client only joins, syncs and heartbeats; what a member owns is
// decided by our own assignment, and fetched by the thread's own consumer. Its fields are safe for the client's goroutine
// and the thread's.
type membership struct {
	thread *StreamThread
	client *kgo.Client
	drop   context.CancelFunc // fails every request of the client
	news   chan groupNews

	leaving  chan struct{} // closed when the thread has no ear for the group any more
	err      atomic.Pointer[error]
	claims   atomic.Pointer[claims]
	latest   atomic.Pointer[assignment] // as last received
	probing  atomic.Int64               // when to ask for a followup rebalance, in milliseconds since 1970; 0 = not at all
	shutdown atomic.Bool                // the next join asks for the end of the application
	nonce    atomic.Uint32
	joined   atomic.Int32 // generation that the last join was sent with, -1 before the first
	missed   atomic.Bool  // a generation was completed of which this member has never heard
	gathered atomic.Bool  // it has waited for the other members of a group that begins
	check    time.Time    // when the thread looks for its source topics next; the thread's alone
}

// claims are the tasks that a thread has, or is about to open, because an assignment says so: what its next join claims.
type claims struct{ active, standby []TaskID }

// joinGroup creates the client; it joins in the background.
func joinGroup(t *StreamThread) (*membership, error) {
	m := &membership{thread: t, news: make(chan groupNews, 1), leaving: make(chan struct{}), check: time.Now().Add(topicsCheck)}
	m.joined.Store(-1)
	m.shutdown.Store(t.instance.shutdown.Load())
	cfg := &t.instance.cfg
	t.instance.offsets.load(t.instance)
	opts := append(t.instance.clientOptions(t, groupConsumer),
		kgo.ConsumerGroup(cfg.ApplicationID),
		kgo.ConsumeTopics(t.instance.program.externalTopics()...),
		kgo.Balancers(&groupBalancer{member: m}),
		kgo.SessionTimeout(cfg.SessionTimeout),
		kgo.HeartbeatInterval(cfg.HeartbeatInterval),
		kgo.RebalanceTimeout(cfg.RebalanceTimeout),
		kgo.DisableAutoCommit(),
		kgo.OnPartitionsRevoked(func(_ context.Context, c *kgo.Client, _ map[string][]int32) { m.tell(c, sessionEnded) }),
		kgo.OnPartitionsAssigned(func(_ context.Context, c *kgo.Client, _ map[string][]int32) { m.tell(c, assigned) }),
		kgo.OnPartitionsLost(func(_ context.Context, c *kgo.Client, _ map[string][]int32) { m.tell(c, lost) }),
		kgo.WithHooks(groupErrors{m}),
	)
	if id := t.instance.groupInstanceID(t.index); id != "" {
		opts = append(opts, kgo.InstanceID(id))
	}
	ctx, drop := context.WithCancel(context.Background())
	client, err := kgo.NewClient(append(opts, kgo.WithContext(ctx))...)
	if err != nil {
		drop()
		return nil, fmt.Errorf("group member: %w", err)
	}
	m.client, m.drop = client, drop
	return m, nil
}

// groupErrors hears of errors that end a group session.
type groupErrors struct{ m *membership }

// OnGroupManageError keeps errors that no retry will cure: those that we know as such, and answers of the broker that are not
// meant to be retried. The client itself retries them all. What else it reports are its own words for a lost connection.
func (h groupErrors) OnGroupManageError(err error) {
	h.m.thread.consumed.RebalanceFailed()
	var answer *kerr.Error
	if class, _, known := classifyCause(err); class == Fatal && (known || errors.As(err, &answer)) {
		h.m.fail(fmt.Errorf("group: %w", err))
	}
}

// fail keeps the first fatal error for the thread.
func (m *membership) fail(err error) {
	m.err.CompareAndSwap(nil, &err)
	m.thread.interrupt()
}

// failure returns a fatal error of the group, if there is one.
func (m *membership) failure() error {
	// What the client wants to say through polls is said by callbacks and hooks already; it must be taken all the same, or it
	// would pile up. The group client fetches nothing, so there are never records.
	m.client.PollRecords(nil, 1) //nolint:staticcheck // a nil context is kgo's documented way of not waiting
	if err := m.err.Load(); err != nil {
		return *err
	}
	return nil
}

// tell hands news to the thread and waits until it has been handled. It runs in the client's goroutine.
func (m *membership) tell(client *kgo.Client, kind newsKind) {
	news := groupNews{kind: kind, handled: make(chan struct{})}
	if kind == assigned {
		news.identity.member, news.identity.generation = client.GroupMetadata()
		news.identity.static = m.thread.instance.groupInstanceID(m.thread.index)
		news.assignment = m.latest.Load()
		m.follow(m.joined.Load(), news.identity.generation)
		news.missed = m.missed.Swap(false)
	}
	select {
	case m.news <- news:
	case <-m.leaving:
		return
	}
	m.thread.interrupt()
	select {
	case <-news.handled:
	case <-m.leaving:
	}
}

// topicsCheck is how often a thread that is in no group yet looks for its source topics.
const topicsCheck = time.Second

// checkTopics fails when a source topic does not exist. The group's leader would say so, but a client that finds none of its
// topics does not even join, and is silent about it.
func (m *membership) checkTopics(ctx context.Context) error {
	t, now := m.thread, time.Now()
	if !t.in(ThreadStarting) || now.Before(m.check) {
		return nil
	}
	m.check = now.Add(topicsCheck)
	topics := t.instance.program.externalTopics()
	counts, err := t.instance.admin.partitionCounts(ctx, topics...)
	if err != nil {
		t.log().Debug("look for source topics", "error", err)
		return nil // the client tries again by itself, for as long as it takes
	}
	if _, err := t.instance.program.repartitionPartitions(counts); err != nil {
		return &AssignmentError{Reason: err.Error()}
	}
	return nil
}

// join notes the generation that a join is sent with.
func (m *membership) join(generation int32) { m.follow(m.joined.Swap(generation), generation) }

// follow checks that no generation lies between two that this member has heard of. In one that it has not heard of, its
// claims may have been old ones, and its tasks somebody else's.
func (m *membership) follow(before, generation int32) {
	if before >= 0 && generation != before && generation != before+1 {
		m.missed.Store(true)
	}
}

// waiting reports whether news is there to be handled.
func (m *membership) waiting() bool { return len(m.news) > 0 }

// leads reports whether this member decided the present assignment.
func (m *membership) leads() bool {
	a := m.latest.Load()
	return a != nil && a.Leader == m.thread.name
}

// claim publishes the tasks that the next join claims. A task must be in it from before its stores are opened until after they
// are closed: nobody else opens them, or gets the task, as long as it is claimed. The slices must not change afterwards.
func (m *membership) claim(active, standby []TaskID) { m.claims.Store(&claims{active, standby}) }

// claimed returns what was published last.
func (m *membership) claimed() claims {
	if c := m.claims.Load(); c != nil {
		return *c
	}
	return claims{}
}

// subscription is what the next join tells the leader.
func (m *membership) subscription() subscription {
	inst, c := m.thread.instance, m.claimed()
	s := subscription{
		Version: userDataVersion, ProcessID: inst.directory.ProcessID(), Thread: m.thread.name,
		Tasks: c.active, Standby: c.standby, Stored: inst.offsets.sums(inst.directory.StoredTasks()), Nonce: m.nonce.Load(),
		Guarantee: inst.cfg.Guarantee, Shutdown: m.shutdown.Load(), Client: clientVersion(),
	}
	s.TransactionalIDs = transactionalIDs(inst.cfg.Guarantee, inst.cfg.ApplicationID, inst.transactionalID(m.thread.index), c.active)
	if inst.cfg.Guarantee == ExactlyOnceV2 {
		s.TransactionalID = s.TransactionalIDs[0]
	}
	if a := m.latest.Load(); a != nil {
		s.PerTask, s.Promised, s.PromisedStandby, s.Known = a.ExactlyOnce, a.Promised, a.PromisedStandby, a.TransactionalIDs
	}
	return s
}

// receive keeps an assignment for the callback that follows.
func (m *membership) receive(a *assignment) {
	m.latest.Store(a)
	m.probing.Store(a.Probing)
}

// rejoin starts a rebalance. The nonce makes the subscription differ, for brokers ignore a follower's unchanged one.
func (m *membership) rejoin() {
	m.nonce.Add(1)
	m.client.ForceRebalance()
}

// maybeProbe asks for the followup rebalance once it is due, and says whether it did. The thread calls it in each round in which
// no rebalance is going on. A wall clock that was set back does not put it off for longer than the interval.
func (m *membership) maybeProbe(now time.Time) bool {
	at := m.probing.Load()
	wait := time.Duration(at-now.UnixMilli()) * time.Millisecond
	if at == 0 || wait > 0 && wait <= m.thread.instance.cfg.ProbingInterval || !m.probing.CompareAndSwap(at, 0) {
		return false
	}
	m.thread.emit(journal.Event{
		Kind: journal.KindGroup, Level: journal.Info, To: "probing",
		Text: fmt.Sprintf("Triggering the followup rebalance scheduled for %s.", utc(at)),
	})
	m.rejoin()
	return true
}

// requestShutdown asks the group for the end of the application (KIP-671, SHUTDOWN_APPLICATION): the leader tells every member in
// the rebalance that follows, this one, too.
func (m *membership) requestShutdown() {
	m.shutdown.Store(true)
	m.rejoin()
}

// leave closes the client and, unless it is to stay, leaves the group. The deadline of ctx matters: without it a member that is cut
// off would wait for the heal. A static member stays anyway. Whoever stays keeps its tasks until the session time-out.
func (m *membership) leave(ctx context.Context, stay bool) {
	close(m.leaving)
	defer m.drop()
	if stay {
		m.drop()
	} else {
		if err := m.client.LeaveGroupContext(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			m.thread.log().Debug("leave group", "error", err)
		}
	}
	m.client.Close()
}
