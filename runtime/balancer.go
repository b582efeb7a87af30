package runtime

import (
	"context"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"time"

	"eostop/runtime/journal"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// protocolName is the name of Kafka Streams' assignor. A Go group is not wire compatible with a Java one.
const protocolName = "stream"

// groupBalancer carries subscriptions and assignments between members and the leader. The group client calls it in its own
// goroutine; it reads only what the membership publishes.
type groupBalancer struct{ member *membership }

var (
	_ kgo.GroupBalancer              = (*groupBalancer)(nil)
	_ kgo.GroupMemberBalancerOrError = (*balance)(nil)
)

// ProtocolName implements kgo.GroupBalancer.
func (b *groupBalancer) ProtocolName() string { return protocolName }

// IsCooperative implements kgo.GroupBalancer: tasks that stay are not interrupted by a rebalance.
func (b *groupBalancer) IsCooperative() bool { return true }

// JoinGroupMetadata implements kgo.GroupBalancer.
func (b *groupBalancer) JoinGroupMetadata(topics []string, _ map[string][]int32, generation int32) []byte {
	b.member.join(generation)
	meta := kmsg.NewConsumerMemberMetadata()
	meta.Version = 3
	meta.Topics = topics
	meta.Generation = generation
	meta.UserData = encodeUserData(b.member.subscription())
	return meta.AppendTo(nil)
}

// ParseSyncAssignment implements kgo.GroupBalancer. The client is told of no partitions: it would fetch them. The
// assignment waits for the callback that follows.
func (b *groupBalancer) ParseSyncAssignment(raw []byte) (map[string][]int32, error) {
	var a kmsg.ConsumerMemberAssignment
	if err := a.ReadFrom(raw); err != nil {
		return nil, fmt.Errorf("assignment: %w", err)
	}
	parsed, err := decodeAssignment(a.UserData)
	if err != nil {
		return nil, err
	}
	b.member.receive(parsed)
	return map[string][]int32{}, nil
}

// MemberBalancer implements kgo.GroupBalancer; only the leader gets here.
func (b *groupBalancer) MemberBalancer(members []kmsg.JoinGroupResponseMember) (kgo.GroupMemberBalancer, map[string]struct{}, error) {
	bal := &balance{member: b.member, version: userDataVersion}
	newest := int32(-1)
	generations := make([]int32, 0, len(members))
	for _, m := range members {
		meta := kmsg.NewConsumerMemberMetadata()
		if err := meta.ReadFrom(m.ProtocolMetadata); err != nil {
			return nil, nil, fmt.Errorf("member %s: %w", m.MemberID, err)
		}
		sub, err := decodeSubscription(meta.UserData)
		if err != nil {
			return nil, nil, fmt.Errorf("member %s: %w", m.MemberID, err)
		}
		bal.subscriptions = append(bal.subscriptions, sub)
		bal.version = min(bal.version, sub.Version)
		bal.members = append(bal.members, assignee{
			member: m.MemberID, process: sub.ProcessID, thread: sub.Thread,
			owned: sub.Tasks, claimed: sub.Tasks, promised: sub.Promised,
			standbys: slices.Concat(sub.Standby, sub.PromisedStandby), claimedStandbys: sub.Standby,
		})
		generations = append(generations, meta.Generation)
		if len(sub.Tasks)+len(sub.Standby) > 0 {
			newest = max(newest, meta.Generation)
		}
		if sub.Guarantee == ExactlyOnce {
			bal.exactlyOnce = append(bal.exactlyOnce, m.MemberID)
		}
	}
	// A claim from an older generation is that of a member that has missed a rebalance: its tasks may have been
	// somebody else's since (KIP-792). It is no reason to keep them there, but they stay withheld from others: also a
	// member that was never expelled claims with an old generation, when the answer to its last join was lost.
	for i := range bal.members {
		if generations[i] < newest {
			m := &bal.members[i]
			m.owned, m.standbys, m.promised = nil, nil, nil
		}
	}
	topics := map[string]struct{}{}
	for _, topic := range b.member.thread.instance.program.externalTopics() {
		topics[topic] = struct{}{}
	}
	return bal, topics, nil
}

// balance is one rebalance, decided by the leader.
type balance struct {
	member        *membership
	members       []assignee
	subscriptions []subscription // of the members, in the same order
	version       int            // the lowest among the members: what they are told must be possible in it
	exactlyOnce   []string       // member ids of those with a transactional producer for each task
}

// Balance implements kgo.GroupMemberBalancer; the client calls BalanceOrError instead.
func (b *balance) Balance(topics map[string]int32) kgo.IntoSyncAssignment {
	plan, err := b.BalanceOrError(topics)
	if err != nil {
		return syncAssignment(nil)
	}
	return plan
}

// BalanceOrError implements kgo.GroupMemberBalancerOrError: it makes sure that internal topics exist, aborts what expelled
// members left open, and assigns the tasks.
func (b *balance) BalanceOrError(external map[string]int32) (answer kgo.IntoSyncAssignment, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("assign tasks: %w", &PanicError{Value: r, Stack: debug.Stack()})
		}
	}()
	inst := b.member.thread.instance
	ctx := b.member.thread.ctx

	b.gather(ctx)
	common := assignment{Version: b.version, Leader: b.member.thread.name, ExactlyOnce: b.exactlyOnce != nil, PerTask: b.perTask()}
	common.TransactionalIDs, common.Fenced = b.fence(ctx)
	if b.shutdown() {
		common.Shutdown = true
		return b.encode(common, plan{}), nil
	}
	topics, err := inst.program.ensureTopics(ctx, inst.admin, &inst.cfg, external)
	if err != nil {
		var unusable *topicError
		if !asTopicError(err, &unusable) {
			return nil, fmt.Errorf("internal topics: %w", err)
		}
		common.Error = unusable.Error()
		return b.encode(common, plan{}), nil
	}
	common.Partitions = topics.partitions
	start := time.Now()
	wanted := assignTasks(b.assignorInput(ctx, topics))
	now := wanted.withhold(b.members)
	b.handOut(&common, now)
	if wanted.probing {
		common.Probing = inst.env.Now().Add(inst.cfg.ProbingInterval).UnixMilli()
	}
	b.report(wanted, now, time.Since(start), common.Probing)
	return b.encode(common, now), nil
}

// gather lets the other members of a group that begins join before anything is assigned: while the leader has not answered, each
// join is the beginning of another rebalance, which the answer then only leads to. Else the first member would get all tasks, and
// restore what others have on their disks, until it hears of them with its next heartbeat. A broker does the same itself if its
// group.initial.rebalance.delay.ms is long enough (KIP-134).
func (b *balance) gather(ctx context.Context) {
	works := func(s subscription) bool {
		return len(s.Tasks)+len(s.Standby)+len(s.Promised)+len(s.PromisedStandby) > 0
	}
	stored := func(s subscription) bool { return len(s.Stored) > 0 }
	if b.member.latest.Load() != nil || slices.ContainsFunc(b.subscriptions, works) || !slices.ContainsFunc(b.subscriptions, stored) {
		return
	}
	delay := b.member.thread.instance.cfg.InitialRebalanceDelay
	if delay == 0 || b.member.gathered.Swap(true) {
		return
	}
	wait := time.NewTimer(delay)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-b.member.leaving:
	case <-ctx.Done():
	}
}

// perTask reports whether members of exactly_once are there or were there in the previous assignment.
func (b *balance) perTask() bool {
	previous := b.member.latest.Load()
	return b.exactlyOnce != nil || (previous != nil && previous.ExactlyOnce) ||
		slices.ContainsFunc(b.subscriptions, func(s subscription) bool { return s.PerTask })
}

// shutdown reports whether a member has asked for the end of the application.
func (b *balance) shutdown() bool {
	asked := slices.IndexFunc(b.subscriptions, func(s subscription) bool { return s.Shutdown })
	if asked < 0 {
		return false
	}
	b.member.shutdown.Store(true) // should the answer not reach everybody, the next join says it again
	b.member.thread.emit(journal.Event{
		Kind: journal.KindGroup, Level: journal.Warn, To: "shutdown", Cause: "shutdown requested", Count: int64(len(b.members)),
		Text: fmt.Sprintf("Shutdown of the application was requested by %s. All members are told", b.subscriptions[asked].Thread),
	})
	return true
}

// assignorInput puts together what the assignor decides by. Only a limited lag is worth asking the brokers for the ends of the
// changelogs.
func (b *balance) assignorInput(ctx context.Context, topics ensuredTopics) assignorInput {
	inst := b.member.thread.instance
	cfg := &inst.cfg
	in := assignorInput{
		tasks: inst.program.tasks(topics.partitions), members: b.members,
		standbyReplicas: cfg.StandbyReplicas, acceptableLag: cfg.AcceptableRecoveryLag, maxWarmups: cfg.MaxWarmupReplicas,
	}
	if b.version < 2 {
		in.standbyReplicas, in.acceptableLag = 0, unlimitedLag // no standbys, so no warm-ups
		b.member.thread.emit(journal.Event{
			Kind: journal.KindGroup, Level: journal.Info, To: "downgraded",
			Text: fmt.Sprintf("Some members know version %d of the assignment only. There are no standbys until all know version %d", b.version, userDataVersion),
		})
	}
	said := make([]memberOffsets, 0, len(b.members))
	processes := map[string]bool{}
	for i := range b.members {
		said = append(said, offsetsOf(&b.subscriptions[i], b.members[i].owned))
		processes[b.members[i].process] = true
	}
	offsets := offsetsByProcess(b.members, said)
	if in.acceptableLag != unlimitedLag && len(processes) > 1 {
		ends, err := inst.program.changelogEnds(ctx, inst.admin, in.tasks, topics.created)
		if err == nil {
			in.lags, in.whole = lagsFrom(offsets, ends)
			return in
		}
		in.preserve = true
		b.member.thread.emit(journal.Event{
			Kind: journal.KindGroup, Level: journal.Warn, To: "lags unknown", Error: err.Error(),
			Text: "Failed to fetch end offsets for changelogs, will return previous assignment to clients and trigger another rebalance to retry.",
		})
	}
	in.lags = lagsAmong(offsets)
	return in
}

// report says what was decided, in Kafka Streams' words.
func (b *balance) report(wanted, now plan, took time.Duration, probing int64) {
	t := b.member.thread
	tasks, given := wanted.actives(), now.actives()
	standbys, warmups := wanted.standbys()
	no, text := " no", fmt.Sprintf("Decided on assignment: %d tasks for %d members, %d tasks wait for their present owner", tasks, len(b.members), tasks-given)
	if wanted.probing {
		no = ""
	}
	if standbys > 0 {
		text += fmt.Sprintf(", %d standby tasks, %d of them warm-ups", standbys, warmups)
	}
	t.emit(journal.Event{
		Kind: journal.KindGroup, Level: journal.Info, To: "balanced", Count: int64(len(b.members)), Duration: took,
		Text: text + fmt.Sprintf(", with%s followup probing rebalance.", no),
	})
	if wanted.missing > 0 {
		t.emit(journal.Event{
			Kind: journal.KindGroup, Level: journal.Warn, To: "standbys missing", Count: int64(wanted.missing),
			Text: fmt.Sprintf("Unable to assign %d of %d standby tasks. There is not enough available capacity. "+
				"You should increase the number of application instances to maintain the requested number of standby replicas.",
				wanted.missing, wanted.missing+standbys-warmups),
		})
	}
	if probing > 0 {
		t.emit(journal.Event{
			Kind: journal.KindGroup, Level: journal.Info, To: "probing",
			Text: fmt.Sprintf("Requesting followup rebalance be scheduled by %s for %s to probe for caught-up replica tasks.", t.name, utc(probing)),
		})
	}
	e := journal.Event{Kind: journal.KindGroup, Level: journal.Info, To: "stable", Text: "Finished stable assignment of tasks, no followup rebalances required."}
	if wanted.probing || slices.ContainsFunc(b.members, func(m assignee) bool { return now.members[m.member].awaited }) {
		e.To, e.Text = "unstable", "Finished unstable assignment of tasks, a followup rebalance will be scheduled."
	}
	t.emit(e)
}

// utc renders a time as log lines show it.
func utc(milliseconds int64) string {
	return time.UnixMilli(milliseconds).UTC().Format(time.RFC3339Nano)
}

// encode renders the assignment of each member. The topics are there for the group's tools; members go by the tasks.
// The followup rebalance is the leader's business: if it is lost, there is another rebalance anyway.
func (b *balance) encode(common assignment, now plan) syncAssignment {
	var out syncAssignment
	program := b.member.thread.instance.program
	for _, m := range b.members {
		a, mine := common, now.members[m.member]
		a.Tasks, a.Standby, a.Warmups = mine.active, mine.standby, mine.warmups
		a.Promised, a.PromisedStandby, a.Awaited = mine.promised, mine.promisedStandbys, mine.awaited
		if m.thread != b.member.thread.name {
			a.Probing = 0
		}
		meta := kmsg.NewConsumerMemberAssignment()
		byTopic := map[string][]int32{}
		for _, id := range a.Tasks {
			for _, logical := range program.sub(id.Subtopology).Sources {
				if topic := program.topic(logical); id.Partition < common.Partitions[topic] {
					byTopic[topic] = append(byTopic[topic], id.Partition)
				}
			}
		}
		for _, topic := range slices.Sorted(maps.Keys(byTopic)) {
			at := kmsg.NewConsumerMemberAssignmentTopic()
			at.Topic, at.Partitions = topic, byTopic[topic]
			meta.Topics = append(meta.Topics, at)
		}
		meta.UserData = encodeUserData(a)
		sa := kmsg.NewSyncGroupRequestGroupAssignment()
		sa.MemberID, sa.MemberAssignment = m.member, meta.AppendTo(nil)
		out = append(out, sa)
	}
	return out
}

type syncAssignment []kmsg.SyncGroupRequestGroupAssignment

// IntoSyncAssignment implements kgo.IntoSyncAssignment.
func (s syncAssignment) IntoSyncAssignment() []kmsg.SyncGroupRequestGroupAssignment { return s }
