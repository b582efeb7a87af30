package broker

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	sessionTimeout   = 10 * time.Second
	rebalanceTimeout = 30 * time.Second
)

// joins joins a group as a member, or as a new one where the id is empty, and waits for the answer.
func joins(t *testing.T, cl *kgo.Client, member string) *kmsg.JoinGroupResponse {
	t.Helper()
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.ProtocolType, req.MemberID = "group", "consumer", member
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = int32(sessionTimeout.Milliseconds()), int32(rebalanceTimeout.Milliseconds())
	req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "stream"}}
	for {
		resp, err := req.RequestWith(within(t), cl)
		if err != nil {
			t.Errorf("join: %v", err)
			return &kmsg.JoinGroupResponse{}
		}
		if resp.ErrorCode != kerr.MemberIDRequired.Code {
			return resp
		}
		req.MemberID = resp.MemberID
	}
}

// pair returns the two members of a group whose leader has not assigned anything yet. Each needs a connection of its own,
// for a join that waits occupies one.
func pair(t *testing.T, leader, follower *kgo.Client) (first, second *kmsg.JoinGroupResponse) {
	t.Helper()
	first = joins(t, leader, "")
	joined := make(chan *kmsg.JoinGroupResponse)
	go func() { joined <- joins(t, follower, "") }()
	synctest.Wait()
	first = joins(t, leader, first.MemberID)
	return first, <-joined
}

func TestAFollowerOutlivesASilentLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		settle(t)
		b := start(t, Default())
		follower := client(t, b)
		_, second := pair(t, client(t, b), follower)

		// The leader says nothing any more; the follower waits for its assignment.
		began := time.Now()
		sync := kmsg.NewPtrSyncGroupRequest()
		sync.Group, sync.MemberID, sync.Generation = "group", second.MemberID, second.Generation
		answer, err := sync.RequestWith(within(t), follower)
		if err != nil {
			t.Fatal(err)
		}
		if answer.ErrorCode != kerr.RebalanceInProgress.Code {
			t.Errorf("the follower was answered %v, want REBALANCE_IN_PROGRESS", kerr.ErrorForCode(answer.ErrorCode))
		}
		if took := time.Since(began); took > sessionTimeout+time.Second {
			t.Errorf("the follower was answered after %v, want the session time-out of the leader", took)
		}
		// It is a member still, and with the leader gone nobody else is waited for.
		began = time.Now()
		if again := joins(t, follower, second.MemberID); again.ErrorCode != 0 {
			t.Errorf("the follower could not join again: %v", kerr.ErrorForCode(again.ErrorCode))
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("the follower's next join took %v", took)
		}
	})
}

func TestAMemberOutlivesALongJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		settle(t)
		b := start(t, Default())
		leader, follower := client(t, b), client(t, b)
		first, second := pair(t, leader, follower)
		sync := kmsg.NewPtrSyncGroupRequest()
		sync.Group, sync.MemberID, sync.Generation = "group", first.MemberID, first.Generation
		if _, err := sync.RequestWith(within(t), leader); err != nil {
			t.Fatal(err)
		}

		beat := kmsg.NewPtrHeartbeatRequest()
		beat.Group, beat.MemberID, beat.Generation = "group", second.MemberID, second.Generation
		beats := func(length time.Duration) {
			for began := time.Now(); time.Since(began) < length; time.Sleep(500 * time.Millisecond) {
				if _, err := beat.RequestWith(within(t), follower); err != nil {
					t.Fatal(err)
				}
			}
		}
		// The leader is silent for nearly a session time-out, joins anew and waits for the follower, which heartbeats but is busy for
		// longer than one.
		beats(sessionTimeout - time.Second)
		again := make(chan *kmsg.JoinGroupResponse)
		go func() { again <- joins(t, leader, first.MemberID) }()
		beats(rebalanceTimeout - 5*time.Second)
		third := joins(t, follower, second.MemberID)
		if first := <-again; first.ErrorCode != 0 || first.Generation != third.Generation {
			t.Errorf("the leader was answered %v for generation %d, the follower is in %d", kerr.ErrorForCode(first.ErrorCode), first.Generation, third.Generation)
		}
	})
}
