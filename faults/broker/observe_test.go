package broker

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestObserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		settle(t)
		b := start(t, Default())
		var topics []string
		err := b.Observe(kmsg.CreateTopics.Int16(), func(req kmsg.Request) {
			for _, topic := range req.(*kmsg.CreateTopicsRequest).Topics {
				topics = append(topics, topic.Topic)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		adm := kadm.NewClient(client(t, b))
		for _, topic := range []string{"first", "second"} {
			if _, err := adm.CreateTopic(within(t), 1, 1, nil, topic); err != nil {
				t.Fatal(err)
			}
		}
		if want := []string{"first", "second"}; !slices.Equal(topics, want) {
			t.Errorf("observed the creation of %v, want %v", topics, want)
		}
		b.Close()
		if err := b.Observe(kmsg.Fetch.Int16(), func(kmsg.Request) {}); !errors.Is(err, ErrClosed) {
			t.Errorf("observing a closed broker: %v, want ErrClosed", err)
		}
	})
}

func TestAFollowerOutlivesASilentLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		settle(t)
		b := start(t, Default())
		leader, follower := client(t, b), client(t, b) // each with a connection of its own, for a join occupies one
		const sessionTimeout = 10 * time.Second
		joined := make(chan *kmsg.JoinGroupResponse)
		join := func(cl *kgo.Client) {
			req := kmsg.NewPtrJoinGroupRequest()
			req.Group, req.ProtocolType = "group", "consumer"
			req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = int32(sessionTimeout.Milliseconds()), 60_000
			req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "stream"}}
			for {
				resp, err := req.RequestWith(within(t), cl)
				if err != nil {
					t.Error(err)
				}
				if resp.ErrorCode != kerr.MemberIDRequired.Code {
					joined <- resp
					return
				}
				req.MemberID = resp.MemberID
			}
		}
		// The first member is alone until the second one's join; both then join once more to be of one generation.
		go join(leader)
		first := <-joined
		go join(follower)
		rejoin := kmsg.NewPtrJoinGroupRequest()
		rejoin.Group, rejoin.ProtocolType, rejoin.MemberID = "group", "consumer", first.MemberID
		rejoin.SessionTimeoutMillis, rejoin.RebalanceTimeoutMillis = int32(sessionTimeout.Milliseconds()), 60_000
		rejoin.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "stream"}}
		synctest.Wait()
		if _, err := rejoin.RequestWith(within(t), leader); err != nil {
			t.Fatal(err)
		}
		second := <-joined

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
		rejoin.MemberID = second.MemberID
		third, err := rejoin.RequestWith(within(t), follower)
		if err != nil || third.ErrorCode != 0 {
			t.Errorf("the follower could not join again: %v, %v", err, kerr.ErrorForCode(third.ErrorCode))
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("the follower's next join took %v", took)
		}
	})
}
