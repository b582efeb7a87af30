package runtime

import (
	"context"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
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
	inst, m := b.member.thread.instance, b.member
	m.join(generation)
	meta := kmsg.NewConsumerMemberMetadata()
	meta.Version = 3
	meta.Topics = topics
	meta.Generation = generation
	stored := map[string]int64{}
	for _, task := range inst.directory.StoredTasks() {
		stored[task] = 1
	}
	meta.UserData = encodeUserData(subscription{
		Version: userDataVersion, ProcessID: inst.directory.ProcessID(), Thread: m.thread.name,
		TransactionalID: inst.transactionalID(m.thread.index), Tasks: *m.owned.Load(), Stored: stored, Nonce: m.nonce.Load(),
	})
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
	b.member.latest.Store(parsed)
	return map[string][]int32{}, nil
}

// MemberBalancer implements kgo.GroupBalancer; only the leader gets here.
func (b *groupBalancer) MemberBalancer(members []kmsg.JoinGroupResponseMember) (kgo.GroupMemberBalancer, map[string]struct{}, error) {
	bal := &balance{member: b.member}
	newest := int32(-1)
	claims := make([]int32, 0, len(members))
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
		bal.members = append(bal.members, assignee{member: m.MemberID, process: sub.ProcessID, thread: sub.Thread, owned: sub.Tasks, claimed: sub.Tasks, stored: storedTasks(sub)})
		claims = append(claims, meta.Generation)
		if len(sub.Tasks) > 0 {
			newest = max(newest, meta.Generation)
		}
	}
	// A claim from an older generation is that of a member that has missed a rebalance: its tasks may have been
	// somebody else's since (KIP-792). It is no reason to keep them there, but they stay withheld from others: also a
	// member that was never expelled claims with an old generation, when the answer to its last join was lost.
	for i := range bal.members {
		if claims[i] < newest {
			bal.members[i].owned = nil
		}
	}
	topics := map[string]struct{}{}
	for _, topic := range b.member.thread.instance.program.externalTopics() {
		topics[topic] = struct{}{}
	}
	return bal, topics, nil
}

func storedTasks(sub subscription) map[TaskID]bool {
	stored := map[TaskID]bool{}
	for name := range sub.Stored {
		if id, err := ParseTaskID(name); err == nil {
			stored[id] = true
		}
	}
	return stored
}

// balance is one rebalance, decided by the leader.
type balance struct {
	member        *membership
	members       []assignee
	subscriptions []subscription
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
func (b *balance) BalanceOrError(topics map[string]int32) (plan kgo.IntoSyncAssignment, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("assign tasks: %w", &PanicError{Value: r, Stack: debug.Stack()})
		}
	}()
	inst := b.member.thread.instance
	ctx := b.member.thread.ctx

	common := assignment{Version: userDataVersion, Leader: b.member.thread.name}
	common.TransactionalIDs, common.Fenced = b.fence(ctx)
	common.Partitions, err = inst.program.ensureTopics(ctx, inst.admin, &inst.cfg, topics)
	if err != nil {
		var unusable *topicError
		if !asTopicError(err, &unusable) {
			return nil, fmt.Errorf("internal topics: %w", err)
		}
		common.Error = unusable.Error()
		return b.encode(common, nil), nil
	}
	start := time.Now()
	wanted := assignTasks(inst.program.tasks(common.Partitions), b.members)
	now := withhold(wanted, b.members)
	b.member.thread.emit(journal.Event{
		Kind: journal.KindGroup, Level: journal.Info, To: "balanced", Count: int64(len(b.members)), Duration: time.Since(start),
		Text: fmt.Sprintf("Decided on assignment: %d tasks for %d members, %d tasks wait for their present owner", count(wanted), len(b.members), count(wanted)-count(now)),
	})
	return b.encode(common, now), nil
}

func count(plan map[string][]TaskID) int {
	n := 0
	for _, tasks := range plan {
		n += len(tasks)
	}
	return n
}

// fencingLimit is how long the leader may take to abort what expelled members left open.
const fencingLimit = 2 * time.Second

// fence initialises the transactional ids that the previous assignment names and no present member uses: that aborts the
// open transactions of expelled members, which takers would otherwise wait for until the coordinator's scan. It can only
// abort, never commit. Failures are ignored: then the takers wait. It returns the ids of all members, and the fenced ids
// whose members have not come back yet.
func (b *balance) fence(ctx context.Context) (current, fenced []string) {
	for _, sub := range b.subscriptions {
		current = append(current, sub.TransactionalID)
	}
	slices.Sort(current)
	previous := b.member.latest.Load()
	if previous == nil || !b.member.thread.instance.cfg.ActiveFencing {
		return current, nil
	}
	fenced = slices.Clone(previous.Fenced)
	var gone []string
	for _, id := range previous.TransactionalIDs {
		if !slices.Contains(current, id) {
			gone = append(gone, id)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, fencingLimit)
	defer cancel()
	inst := b.member.thread.instance
	var wg sync.WaitGroup
	for _, id := range gone {
		wg.Go(func() {
			err := inst.admin.initProducerID(ctx, id, inst.cfg.TransactionTimeout)
			e := journal.Event{
				Kind: journal.KindTransaction, Level: journal.Info, TransactionalID: id, To: "ABORTED", Cause: "fenced by the group after expulsion",
				Text: fmt.Sprintf("The group aborts what expelled producer %s left open", id),
			}
			if err != nil {
				e.Level, e.Error = journal.Warn, err.Error()
			}
			b.member.thread.emit(e)
		})
	}
	wg.Wait()
	fenced = append(fenced, gone...)
	// A member that is back learns it from this assignment; the next one need not say it again.
	returned := func(id string) bool {
		return slices.Contains(current, id) && slices.Contains(previous.TransactionalIDs, id)
	}
	fenced = slices.DeleteFunc(fenced, returned)
	slices.Sort(fenced)
	return current, slices.Compact(fenced)
}

// encode renders the assignment of each member. The topics are there for the group's tools; members go by the tasks.
func (b *balance) encode(common assignment, plan map[string][]TaskID) syncAssignment {
	var out syncAssignment
	program := b.member.thread.instance.program
	for _, m := range b.members {
		a := common
		a.Tasks = plan[m.member]
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
