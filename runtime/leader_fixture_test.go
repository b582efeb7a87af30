package runtime

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"eostop/runtime/journal"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kadm"
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
	thread.member = &membership{thread: thread, client: client, guarantee: guaranteeExactlyOnceV2}
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
		Version: 2, ProcessID: process, Thread: "i" + process + "-StreamThread-1", Guarantee: guaranteeExactlyOnceV2,
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

func stateful(partitions ...int32) []TaskID {
	var ids []TaskID
	for _, p := range partitions {
		ids = append(ids, TaskID{1, p})
	}
	return ids
}
