package runtime

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func testBalancer(t *testing.T) *groupBalancer {
	t.Helper()
	return &groupBalancer{member: newTestThread(t, twoStepTopology(t, 0, nil), nil).member}
}

// joined is a member as the coordinator hands it to the leader.
func joined(id string, generation int32, sub subscription) kmsg.JoinGroupResponseMember {
	meta := kmsg.NewConsumerMemberMetadata()
	meta.Version, meta.Generation, meta.UserData = 3, generation, encodeUserData(sub)
	m := kmsg.NewJoinGroupResponseMember()
	m.MemberID, m.ProtocolMetadata = id, meta.AppendTo(nil)
	return m
}

func TestJoinGroupMetadata(t *testing.T) {
	b := testBalancer(t)
	b.member.claim([]TaskID{{0, 1}, {1, 2}}, []TaskID{{1, 0}})
	b.member.nonce.Store(5)
	var meta kmsg.ConsumerMemberMetadata
	if err := meta.ReadFrom(b.JoinGroupMetadata([]string{"in", "side"}, nil, 7)); err != nil {
		t.Fatal(err)
	}
	sub, err := decodeSubscription(meta.UserData)
	if err != nil {
		t.Fatal(err)
	}
	inst := b.member.thread.instance
	want := subscription{
		Version: userDataVersion, ProcessID: inst.directory.ProcessID(), Thread: "i1-StreamThread-1",
		TransactionalID: "app-" + inst.directory.ProcessID() + "-1", Tasks: []TaskID{{0, 1}, {1, 2}}, Nonce: 5,
		Standby: []TaskID{{1, 0}}, Guarantee: "exactly_once_v2", TransactionalIDs: []string{"app-" + inst.directory.ProcessID() + "-1"},
		Client: clientVersion(),
	}
	if meta.Generation != 7 || !slices.Equal(meta.Topics, []string{"in", "side"}) || !reflect.DeepEqual(sub, want) {
		t.Errorf("got generation %d, topics %v, %+v; want %+v", meta.Generation, meta.Topics, sub, want)
	}
	if b.ProtocolName() != "stream" || !b.IsCooperative() {
		t.Error("want the cooperative protocol \"stream\"")
	}
}

// TestJoinGroupMetadataNamesStoredTasks: the leader learns what is on the disk of a member's process.
func TestJoinGroupMetadataNamesStoredTasks(t *testing.T) {
	b := testBalancer(t)
	newTestTask(t, b.member.thread)
	var meta kmsg.ConsumerMemberMetadata
	if err := meta.ReadFrom(b.JoinGroupMetadata(nil, nil, -1)); err != nil {
		t.Fatal(err)
	}
	sub, err := decodeSubscription(meta.UserData)
	if err != nil || !maps.Equal(sub.Stored, map[string]int64{"1_2": 0}) {
		t.Errorf("got %v, %v, want task 1_2", sub.Stored, err)
	}
}

func TestMemberBalancerClaims(t *testing.T) {
	one, three := TaskID{0, 1}, TaskID{0, 3}
	tests := []struct {
		name    string
		members []kmsg.JoinGroupResponseMember
		want    map[string][]TaskID
	}{
		{
			"the newest generation counts",
			[]kmsg.JoinGroupResponseMember{
				joined("a", 7, subscription{Version: 1, Tasks: []TaskID{one}}),
				joined("b", 6, subscription{Version: 1, Tasks: []TaskID{one}}),
				joined("c", 7, subscription{Version: 1, Tasks: []TaskID{three}}),
				joined("d", -1, subscription{Version: 1}),
			},
			map[string][]TaskID{"a": {one}, "b": nil, "c": {three}, "d": nil},
		},
		{
			"a generation without claims outdates nobody",
			[]kmsg.JoinGroupResponseMember{
				joined("a", 9, subscription{Version: 1}),
				joined("b", 6, subscription{Version: 1, Tasks: []TaskID{one}}),
			},
			map[string][]TaskID{"a": nil, "b": {one}},
		},
		{
			"claims without a generation are outdated by any other",
			[]kmsg.JoinGroupResponseMember{
				joined("a", -1, subscription{Version: 1, Tasks: []TaskID{one}}),
				joined("b", 0, subscription{Version: 1, Tasks: []TaskID{one}}),
			},
			map[string][]TaskID{"a": nil, "b": {one}},
		},
		{"nobody claims anything", []kmsg.JoinGroupResponseMember{joined("a", -1, subscription{Version: 1})}, map[string][]TaskID{"a": nil}},
	}
	for _, test := range tests {
		b := testBalancer(t)
		got, topics, err := b.MemberBalancer(test.members)
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		owned := map[string][]TaskID{}
		for _, m := range got.(*balance).members {
			owned[m.member] = m.owned
		}
		if !reflect.DeepEqual(owned, test.want) {
			t.Errorf("%s: got %v, want %v", test.name, owned, test.want)
		}
		if names := slices.Sorted(maps.Keys(topics)); !slices.Equal(names, []string{"in", "side"}) {
			t.Errorf("%s: topics %v, want the external sources", test.name, names)
		}
	}
}

// TestMemberBalancerClaimsOfStandbys: standbys claim as active tasks do, and a promise of the newest assignment is as good as a claim.
func TestMemberBalancerClaimsOfStandbys(t *testing.T) {
	one, two, three := []TaskID{{0, 1}}, []TaskID{{0, 2}}, []TaskID{{0, 3}}
	b := testBalancer(t)
	got, _, err := b.MemberBalancer([]kmsg.JoinGroupResponseMember{
		joined("a", 7, subscription{Version: 2, Standby: one, Promised: two, PromisedStandby: three}),
		joined("b", 6, subscription{Version: 2, Tasks: one, Standby: two, Promised: three, PromisedStandby: three}),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []assignee{
		{member: "a", standbys: slices.Concat(one, three), promised: two, claimedStandbys: one},
		{member: "b", claimed: one, claimedStandbys: two}, // of an older generation than a's standby
	}
	if members := got.(*balance).members; !reflect.DeepEqual(members, want) {
		t.Errorf("got %+v, want %+v", members, want)
	}
}

// TestOutdatedClaimIsWithheld: a member whose answer to a join was lost claims with the generation before, though it was never
// expelled and goes on processing. It commits when it is told to give the task up; nobody may have the task before.
func TestOutdatedClaimIsWithheld(t *testing.T) {
	one, two := TaskID{0, 1}, TaskID{0, 2}
	for _, generations := range [][2]int32{{6, 7}, {7, 6}, {7, 7}} {
		b := testBalancer(t)
		got, _, err := b.MemberBalancer([]kmsg.JoinGroupResponseMember{
			joined("a", generations[0], subscription{Version: 1, Thread: "i1-StreamThread-1", Tasks: []TaskID{one}}),
			joined("b", generations[1], subscription{Version: 1, Thread: "i2-StreamThread-1", Tasks: []TaskID{one, two}}),
			joined("c", -1, subscription{Version: 1, Thread: "i0-StreamThread-1"}),
		})
		if err != nil {
			t.Fatal(err)
		}
		members := got.(*balance).members
		for _, tasks := range [][]TaskID{{one}, {one, two}} {
			in := assignorInput{members: members, acceptableLag: unlimitedLag}
			for _, id := range tasks {
				in.tasks = append(in.tasks, assignorTask{id: id, stateful: true})
			}
			for member, mine := range assignTasks(in).withhold(members).members {
				if slices.Contains(mine.active, one) {
					t.Errorf("claims of generations %v: %s is given %s, which a and b claim", generations, member, one)
				}
				if member != "b" && slices.Contains(mine.active, two) {
					t.Errorf("claims of generations %v: %s is given %s, which b claims", generations, member, two)
				}
			}
		}
	}
}

func TestMemberBalancerReadsSubscriptions(t *testing.T) {
	b := testBalancer(t)
	got, _, err := b.MemberBalancer([]kmsg.JoinGroupResponseMember{
		joined("a", 3, subscription{
			Version: 1, ProcessID: "p1", Thread: "i1-StreamThread-1", TransactionalID: "app-p1-1",
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	m := got.(*balance).members[0]
	if m.member != "a" || m.process != "p1" || m.thread != "i1-StreamThread-1" {
		t.Errorf("got %+v", m)
	}
}

func TestMemberBalancerRefuses(t *testing.T) {
	b := testBalancer(t)
	broken := joined("b", 1, subscription{Version: 1})
	broken.ProtocolMetadata = []byte{0}
	for _, members := range [][]kmsg.JoinGroupResponseMember{
		{joined("b", 1, subscription{})},
		{broken},
	} {
		if _, _, err := b.MemberBalancer(members); err == nil || !strings.HasPrefix(err.Error(), "member b: ") {
			t.Errorf("got %v, want an error that names the member", err)
		}
	}
}

func TestEncodeAndParseAssignment(t *testing.T) {
	b := testBalancer(t)
	bal := &balance{member: b.member, version: userDataVersion, members: []assignee{{member: "a"}, {member: "b"}}}
	common := assignment{
		Version: userDataVersion, Partitions: map[string]int32{"in": 2, "side": 3, "app-mid": 3}, TransactionalIDs: []string{"app-p1-1"},
	}
	now := plan{members: map[string]memberPlan{"a": {
		active: []TaskID{{0, 0}, {0, 2}, {1, 1}}, standby: []TaskID{{1, 0}, {1, 2}}, warmups: []TaskID{{1, 2}},
		promised: []TaskID{{0, 1}}, promisedStandbys: []TaskID{{1, 3}}, awaited: true,
	}}}
	out := bal.encode(common, now).IntoSyncAssignment()
	if len(out) != 2 || out[0].MemberID != "a" || out[1].MemberID != "b" {
		t.Fatalf("got %+v, want both members", out)
	}
	var meta kmsg.ConsumerMemberAssignment
	if err := meta.ReadFrom(out[0].MemberAssignment); err != nil {
		t.Fatal(err)
	}
	var topics []string
	partitions := map[string][]int32{}
	for _, topic := range meta.Topics {
		topics = append(topics, topic.Topic)
		partitions[topic.Topic] = topic.Partitions
	}
	if !slices.IsSorted(topics) {
		t.Errorf("the topics are not sorted: %v", topics)
	}
	// Topic "in" has no partition 2.
	if want := map[string][]int32{"in": {0}, "side": {0, 2}, "app-mid": {1}}; !reflect.DeepEqual(partitions, want) {
		t.Errorf("got %v, want %v", partitions, want)
	}

	fetched, err := b.ParseSyncAssignment(out[0].MemberAssignment)
	if err != nil || len(fetched) != 0 {
		t.Errorf("got %v, %v; the client must not be told of partitions", fetched, err)
	}
	want := common
	a := now.members["a"]
	want.Tasks, want.Standby, want.Warmups, want.Promised, want.PromisedStandby, want.Awaited = a.active, a.standby, a.warmups, a.promised, a.promisedStandbys, true
	if got := b.member.latest.Load(); !reflect.DeepEqual(*got, want) {
		t.Errorf("got %+v, want %+v", *got, want)
	}
	if _, err := b.ParseSyncAssignment(out[1].MemberAssignment); err != nil {
		t.Error(err)
	}
	if got := b.member.latest.Load(); len(got.Tasks) != 0 || !slices.Equal(got.TransactionalIDs, want.TransactionalIDs) {
		t.Errorf("got %+v, want no tasks, and the ids of all", *got)
	}
	if common.Tasks != nil {
		t.Error("what is common was changed")
	}
}

func TestParseSyncAssignmentRefuses(t *testing.T) {
	b := testBalancer(t)
	before := &assignment{Version: 1}
	b.member.latest.Store(before)
	for _, userData := range []string{"x", `{"v":0}`} {
		meta := kmsg.NewConsumerMemberAssignment()
		meta.UserData = []byte(userData)
		if _, err := b.ParseSyncAssignment(meta.AppendTo(nil)); err == nil {
			t.Errorf("%q: no error", userData)
		}
	}
	if _, err := b.ParseSyncAssignment([]byte{0}); err == nil {
		t.Error("half an assignment: no error")
	}
	if b.member.latest.Load() != before {
		t.Error("a bad assignment has replaced the last good one")
	}
}

// TestAssignmentErrorReachesEveryMember: a missing topic is not retried, every member is told.
func TestAssignmentErrorReachesEveryMember(t *testing.T) {
	b := testBalancer(t)
	bal := &balance{member: b.member, version: userDataVersion, members: []assignee{{member: "a"}, {member: "b"}}}
	plan, err := bal.BalanceOrError(map[string]int32{"in": 3})
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range plan.IntoSyncAssignment() {
		if _, err := b.ParseSyncAssignment(to.MemberAssignment); err != nil {
			t.Fatal(err)
		}
		if got := b.member.latest.Load(); !strings.Contains(got.Error, "side") || len(got.Tasks) != 0 {
			t.Errorf("%s: got %+v, want an error about topic side", to.MemberID, *got)
		}
	}
}
