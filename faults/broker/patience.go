package broker

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// patience is how often a member that waits for the others is kept in the group: well below any session time-out.
const patience = 2 * time.Second

// States of a group in which members wait: for the last one to join, and for the leader's assignment.
const (
	preparing  = "PreparingRebalance"
	completing = "CompletingRebalance"
)

// keepWaiting keeps members in the group whose join or sync waits for others. A member does not heartbeat while it waits, and
// a real coordinator does not expect it to. kfake does: after a session time-out it expels those who wait together with the
// one they wait for, never answers them, and miscounts the members that have joined since.
func (b *Broker) keepWaiting() {
	b.cluster.ControlKey(kmsg.JoinGroup.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if join, ok := req.(*kmsg.JoinGroupRequest); ok && join.MemberID != "" {
			b.wait(preparing, join.Group, join.MemberID, join.InstanceID)
		}
		return nil, nil, false
	})
	b.cluster.ControlKey(kmsg.SyncGroup.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if sync, ok := req.(*kmsg.SyncGroupRequest); ok {
			b.wait(completing, sync.Group, sync.MemberID, sync.InstanceID)
		}
		return nil, nil, false
	})
}

// wait keeps a member in the group, beside the caller, for as long as the group is in a state.
func (b *Broker) wait(state, group, member string, instance *string) {
	if b.ctx.Err() != nil {
		return
	}
	b.background.Go(func() {
		// The broker is with the request that called; it answers this after it.
		generation, waits := b.generation(group, state)
		if !waits {
			return
		}
		beat := kmsg.NewPtrHeartbeatRequest()
		beat.Group, beat.MemberID, beat.InstanceID, beat.Generation = group, member, instance, generation
		b.heartbeat(state, beat)
	})
}

// heartbeat sends heartbeats in a member's name until its group is past the state or the generation. The first goes at once: a join
// does not count as one.
func (b *Broker) heartbeat(state string, beat *kmsg.HeartbeatRequest) {
	client, err := b.beats.client(b)
	if err != nil {
		return
	}
	tick := time.NewTicker(patience)
	defer tick.Stop()
	for {
		ctx, cancel := context.WithTimeout(b.ctx, patience)
		// An answer tells nothing that the group does not: that it rebalances, or that the member has left.
		_, _ = beat.RequestWith(ctx, client)
		cancel()
		select {
		case <-tick.C:
		case <-b.ctx.Done():
			return
		}
		if generation, waits := b.generation(beat.Group, state); !waits || generation != beat.Generation {
			return
		}
	}
}

// beats is the client that heartbeats in the name of others, from the first time that one has to wait.
type beats struct {
	mu     sync.Mutex
	shared *kgo.Client
}

func (s *beats) client(b *Broker) (*kgo.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shared != nil {
		return s.shared, nil
	}
	var err error
	s.shared, err = kgo.NewClient(kgo.SeedBrokers(b.addrs...), kgo.Dialer(b.Dial), kgo.DisableClientMetrics())
	return s.shared, err
}

// close is called when nobody asks for the client any more.
func (s *beats) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shared != nil {
		s.shared.Close()
		s.shared = nil
	}
}

// generation returns the generation of a group and whether the group is in a state.
func (b *Broker) generation(group, state string) (generation int32, is bool) {
	err := b.use(func(c *kfake.Cluster) error {
		if info := c.GroupInfo(group); info != nil {
			generation, is = info.Epoch, info.State == state
		}
		return nil
	})
	return generation, err == nil && is
}
