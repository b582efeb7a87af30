package runtime

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"eostop/runtime/journal"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// leader is a member that decides rebalances against a broker, which remembers what it was asked.
type leader struct {
	*groupBalancer
	t       *testing.T
	inst    *Instance
	cluster *kfake.Cluster

	mu    sync.Mutex // guards what follows
	asked map[int16]int
	ids   []string // that were initialised
}

// newLeader starts a broker with the topics "in" and "side", of three partitions each, and a leader of the two step topology.
func newLeader(t *testing.T, change func(*Config)) *leader {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "in", "side"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	cfg := validConfig()
	cfg.ReplicationFactor = 1
	if change != nil {
		change(&cfg)
	}
	inst, err := New(cfg, twoStepTopology(t, 0, nil), Env{Brokers: cluster.ListenAddrs(), FS: vfs.NewMem(), Journal: journal.New(100)})
	if err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(inst.baseOptions("admin", nil)...)
	if err != nil {
		t.Fatal(err)
	}
	inst.admin = &admin{client: client, adm: kadm.NewClient(client), group: cfg.ApplicationID, timeout: cfg.RequestTimeout}
	t.Cleanup(func() {
		client.Close()
		if err := inst.directory.Close(); err != nil {
			t.Error(err)
		}
		inst.cache.Close()
	})
	thread := newThread(t.Context(), inst, 1)
	thread.member = &membership{thread: thread, client: client}
	l := &leader{groupBalancer: &groupBalancer{member: thread.member}, t: t, inst: inst, cluster: cluster, asked: map[int16]int{}}
	cluster.Control(func(request kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		l.mu.Lock()
		defer l.mu.Unlock()
		l.asked[request.Key()]++
		if init, ok := request.(*kmsg.InitProducerIDRequest); ok && init.TransactionalID != nil {
			l.ids = append(l.ids, *init.TransactionalID)
		}
		return nil, nil, false
	})
	return l
}

// requests counts the requests of a kind since the last call.
func (l *leader) requests(key kmsg.Key) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.asked[key.Int16()]
	l.asked[key.Int16()] = 0
	return n
}

// initialised returns the transactional ids that were initialised since the last call.
func (l *leader) initialised() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	ids := l.ids
	l.ids = nil
	slices.Sort(ids)
	return ids
}

// rebalance decides one and returns what each member is told. The leader's own thread hears of it.
func (l *leader) rebalance(members ...kmsg.JoinGroupResponseMember) map[string]assignment {
	l.t.Helper()
	bal, _, err := l.MemberBalancer(members)
	if err != nil {
		l.t.Fatal(err)
	}
	answer, err := bal.(*balance).BalanceOrError(map[string]int32{"in": 3, "side": 3})
	if err != nil {
		l.t.Fatal(err)
	}
	told := map[string]assignment{}
	for _, to := range answer.IntoSyncAssignment() {
		var meta kmsg.ConsumerMemberAssignment
		if err := meta.ReadFrom(to.MemberAssignment); err != nil {
			l.t.Fatal(err)
		}
		a, err := decodeAssignment(meta.UserData)
		if err != nil {
			l.t.Fatal(err)
		}
		told[to.MemberID] = *a
		if to.MemberID == "leader" {
			if _, err := l.ParseSyncAssignment(to.MemberAssignment); err != nil {
				l.t.Fatal(err)
			}
		}
	}
	return told
}

// texts returns what the journal says about the group, without the events of threads.
func (l *leader) texts() string {
	var texts []string
	for _, e := range l.inst.env.Journal.Tail(100) {
		if e.Kind == journal.KindGroup {
			texts = append(texts, fmt.Sprintf("%s: %s", e.To, e.Text))
		}
	}
	return strings.Join(texts, "\n")
}

// sub is a subscription of version 2: thread 1 of a process.
func sub(process string, change func(*subscription)) subscription {
	s := subscription{
		Version: 2, ProcessID: process, Thread: "i" + process + "-StreamThread-1", Guarantee: ExactlyOnceV2,
		TransactionalIDs: []string{"app-" + process + "-1"},
	}
	if change != nil {
		change(&s)
	}
	return s
}

// leading is the subscription of the leader itself, process 1.
func leading(change func(*subscription)) kmsg.JoinGroupResponseMember {
	return joined("leader", 5, sub("1", change))
}

func (l *leader) produce(topic string, partition int32, records int) {
	l.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(l.cluster.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		l.t.Fatal(err)
	}
	defer client.Close()
	for range records {
		if err := client.ProduceSync(context.Background(), &kgo.Record{Topic: topic, Partition: partition, Value: []byte("v")}).FirstErr(); err != nil {
			l.t.Fatal(err)
		}
	}
}

// leaveOpen begins a transaction and leaves it open.
func (l *leader) leaveOpen(transactionalID string) *kgo.Client {
	l.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(l.cluster.ListenAddrs()...), kgo.TransactionalID(transactionalID))
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(client.Close)
	if err := client.BeginTransaction(); err != nil {
		l.t.Fatal(err)
	}
	if err := client.ProduceSync(l.t.Context(), &kgo.Record{Topic: "in", Value: []byte("v")}).FirstErr(); err != nil {
		l.t.Fatal(err)
	}
	return client
}

func stateful(partitions ...int32) []TaskID {
	var ids []TaskID
	for _, p := range partitions {
		ids = append(ids, TaskID{1, p})
	}
	return ids
}

// TestLeaderAsksNothingWithoutALimit: the ends of changelogs matter only where tasks may not move at once.
func TestLeaderAsksNothingWithoutALimit(t *testing.T) {
	l := newLeader(t, nil)
	l.rebalance(leading(nil))
	l.requests(kmsg.ListOffsets)
	told := l.rebalance(
		leading(func(s *subscription) {
			s.Tasks, s.Stored = stateful(0, 1, 2), map[string]int64{"1_0": -2, "1_1": -2, "1_2": -2}
		}),
		joined("other", 5, sub("2", func(s *subscription) { s.Stored = map[string]int64{"1_1": 7} })),
	)
	if n := l.requests(kmsg.ListOffsets); n != 0 {
		t.Errorf("%d requests for the ends of logs", n)
	}
	if a := told["other"]; !slices.Contains(a.Promised, TaskID{1, 1}) || a.Probing != 0 || len(a.Standby) != 0 {
		t.Errorf("other is told %+v, want the promise of the task whose state it has", a)
	}
	if a := told["leader"]; !a.Awaited || slices.Contains(a.Tasks, TaskID{1, 1}) || a.Probing != 0 {
		t.Errorf("the leader is told %+v, want that it has to let go of 1_1", a)
	}
}

// TestLeaderWarmsUp: with a limit a task stays where it runs until its new process has caught up, and the leader's thread asks
// for another rebalance.
func TestLeaderWarmsUp(t *testing.T) {
	l := newLeader(t, func(c *Config) { c.AcceptableRecoveryLag, c.MaxWarmupReplicas, c.ProbingInterval = 3, 1, time.Minute })
	told := l.rebalance(leading(nil), joined("other", 5, sub("2", nil)))
	if n := l.requests(kmsg.ListOffsets); n != 0 {
		t.Errorf("%d requests for the ends of changelogs that were created just now", n)
	}
	if told["leader"].Probing != 0 || len(told["leader"].Tasks)+len(told["other"].Tasks) != 6 {
		t.Errorf("a new application is told %+v", told)
	}
	for p := range int32(3) {
		l.produce("app-counts-changelog", p, 10)
	}
	before := time.Now()
	told = l.rebalance(
		leading(func(s *subscription) {
			s.Tasks = append([]TaskID{{0, 0}, {0, 1}, {0, 2}}, stateful(0, 1, 2)...)
			s.Stored = map[string]int64{"1_0": -2, "1_1": -2, "1_2": -2}
		}),
		joined("other", 5, sub("2", func(s *subscription) { s.Stored = map[string]int64{"1_0": 8, "1_1": 6} })),
	)
	if n := l.requests(kmsg.ListOffsets); n == 0 {
		t.Error("nobody has asked for the ends of the changelogs")
	}
	other, own := told["other"], told["leader"]
	if !slices.Contains(other.Promised, TaskID{1, 0}) {
		t.Errorf("other is told %+v, want the promise of 1_0, of which it lacks two records", other)
	}
	if !slices.Equal(other.Warmups, stateful(1)) || !slices.Equal(other.Standby, stateful(1)) {
		t.Errorf("other is told %+v, want a warm-up of 1_1, of which it lacks four records", other)
	}
	if !slices.Contains(own.Tasks, TaskID{1, 1}) || !slices.Contains(own.Tasks, TaskID{1, 2}) || slices.Contains(own.Tasks, TaskID{1, 0}) {
		t.Errorf("the leader is told %+v, want that it keeps what other is not ready for", own)
	}
	if at := time.UnixMilli(own.Probing); at.Before(before.Add(59*time.Second)) || at.After(time.Now().Add(time.Minute)) || other.Probing != 0 {
		t.Errorf("probing at %v and %d, want in a minute, by the leader", at, other.Probing)
	}
	if l.member.probing.Load() != own.Probing {
		t.Error("the leader's thread does not know when")
	}
	for _, want := range []string{
		"balanced: Decided on assignment: 6 tasks for 2 members, 2 tasks wait for their present owner, 1 standby tasks, 1 of them warm-ups, with followup probing rebalance.",
		"probing: Requesting followup rebalance be scheduled by i1-StreamThread-1 for ",
		"unstable: Finished unstable assignment of tasks, a followup rebalance will be scheduled.",
	} {
		if !strings.Contains(l.texts(), want) {
			t.Errorf("the journal does not say %q:\n%s", want, l.texts())
		}
	}
}

// TestLeaderReportsStability says the opposite in a group where everything is in its place.
func TestLeaderReportsStability(t *testing.T) {
	l := newLeader(t, nil)
	l.rebalance(leading(nil))
	for _, want := range []string{", with no followup probing rebalance.", "stable: Finished stable assignment of tasks, no followup rebalances required."} {
		if !strings.Contains(l.texts(), want) {
			t.Errorf("the journal does not say %q:\n%s", want, l.texts())
		}
	}
}

// TestLeaderFallsBack: when the ends cannot be listed everything stays where it is, and the group tries again later.
func TestLeaderFallsBack(t *testing.T) {
	l := newLeader(t, func(c *Config) { c.AcceptableRecoveryLag = 3 })
	l.rebalance(leading(nil))
	l.cluster.ControlKey(kmsg.ListOffsets.Int16(), func(request kmsg.Request) (kmsg.Response, error, bool) {
		l.cluster.KeepControl()
		response := request.ResponseKind().(*kmsg.ListOffsetsResponse)
		for _, topic := range request.(*kmsg.ListOffsetsRequest).Topics {
			rt := kmsg.NewListOffsetsResponseTopic()
			rt.Topic = topic.Topic
			for _, partition := range topic.Partitions {
				rp := kmsg.NewListOffsetsResponseTopicPartition()
				rp.Partition, rp.ErrorCode = partition.Partition, kerr.TopicAuthorizationFailed.Code
				rt.Partitions = append(rt.Partitions, rp)
			}
			response.Topics = append(response.Topics, rt)
		}
		return response, nil, true
	})
	all := append([]TaskID{{0, 0}, {0, 1}, {0, 2}}, stateful(0, 1, 2)...)
	told := l.rebalance(
		leading(func(s *subscription) { s.Tasks, s.Stored = all, map[string]int64{"1_0": -2, "1_1": -2, "1_2": -2} }),
		joined("other", 5, sub("2", nil)),
	)
	if a := told["leader"]; !slices.Equal(a.Tasks, all) || a.Probing == 0 || a.Awaited {
		t.Errorf("the leader is told %+v, want everything it has, and to try again", a)
	}
	if !strings.Contains(l.texts(), "Failed to fetch end offsets for changelogs, will return previous assignment to clients and trigger another rebalance to retry.") {
		t.Errorf("the journal does not say so:\n%s", l.texts())
	}
}

// TestLeaderAssignsStandbys and says when there are not enough processes for them.
func TestLeaderAssignsStandbys(t *testing.T) {
	l := newLeader(t, func(c *Config) { c.StandbyReplicas = 1 })
	l.rebalance(leading(nil))
	want := "Unable to assign 3 of 3 standby tasks. There is not enough available capacity."
	if !strings.Contains(l.texts(), want) {
		t.Errorf("the journal does not say %q:\n%s", want, l.texts())
	}
	told := l.rebalance(leading(nil), joined("other", 5, sub("2", nil)))
	if n := len(told["leader"].Standby) + len(told["other"].Standby); n != 3 || len(told["other"].Warmups) != 0 {
		t.Errorf("%d standbys, want one for each stateful task: %+v", n, told)
	}
	for _, id := range stateful(0, 1, 2) {
		if slices.Contains(told["leader"].Tasks, id) == slices.Contains(told["leader"].Standby, id) {
			t.Errorf("%s: active and standby are not on two members: %+v", id, told)
		}
	}
}

// TestLeaderAnswersInTheLowestVersion: as long as there are members that know no standbys nobody gets any.
func TestLeaderAnswersInTheLowestVersion(t *testing.T) {
	l := newLeader(t, func(c *Config) { c.StandbyReplicas, c.AcceptableRecoveryLag = 1, 0 })
	l.rebalance(leading(nil))
	l.produce("app-counts-changelog", 0, 10)
	l.requests(kmsg.ListOffsets)
	old := subscription{Version: 1, ProcessID: "2", Thread: "i2-StreamThread-1", TransactionalID: "app-2-1", Stored: map[string]int64{"1_0": 1}}
	told := l.rebalance(
		leading(func(s *subscription) {
			s.Tasks, s.Standby, s.Stored = stateful(0), stateful(1), map[string]int64{"1_0": -2}
		}),
		joined("old", 5, old),
		joined("new", 5, sub("3", func(s *subscription) { s.Version = 9 })),
	)
	for member, a := range told {
		if a.Version != 1 || len(a.Standby) != 0 || a.Probing != 0 {
			t.Errorf("%s is told %+v, want what version 1 knows", member, a)
		}
		if !slices.Equal(a.TransactionalIDs, []string{"app-1-1", "app-2-1", "app-3-1"}) {
			t.Errorf("%s hears of ids %v", member, a.TransactionalIDs)
		}
	}
	if l.requests(kmsg.ListOffsets) != 0 {
		t.Error("the lags were asked for though nothing depends on them")
	}
	if a := told["leader"]; !a.awaits(claims{active: stateful(0), standby: stateful(1)}) {
		t.Errorf("the leader is told %+v, and would not join again for who waits for its standby", a)
	}
	told = l.rebalance(leading(nil), joined("new", 5, sub("3", func(s *subscription) { s.Version = 9 })))
	if a := told["new"]; a.Version != userDataVersion || len(told["leader"].Standby)+len(a.Standby) == 0 {
		t.Errorf("without old members they are told %+v", told)
	}
}

// TestLeaderPassesShutdownOn: one member asks for the end of the application, all of them are told, and nobody gets a task.
func TestLeaderPassesShutdownOn(t *testing.T) {
	l := newLeader(t, nil)
	told := l.rebalance(leading(nil), joined("other", 5, sub("2", func(s *subscription) { s.Shutdown, s.Tasks = true, stateful(0) })))
	for _, member := range []string{"leader", "other"} {
		if a := told[member]; !a.Shutdown || len(a.Tasks) != 0 || a.Error != "" {
			t.Errorf("%s is told %+v, want the end", member, a)
		}
	}
	if !strings.Contains(l.texts(), "Shutdown of the application was requested by i2-StreamThread-1") {
		t.Errorf("the journal does not say who:\n%s", l.texts())
	}
}
