package broker

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// syncPatience is how often a member that waits for its assignment is kept in the group: well below any session time-out.
const syncPatience = 2 * time.Second

// watchSyncs keeps members in the group that wait for the leader's assignment. A member does not heartbeat while it waits,
// and a real coordinator does not expect it to. kfake does: where the leader falls silent it expels those who wait
// together with the leader, never answers them, and miscounts the members that have joined since, so that a group needs a rebalance
// time-out or two more to get over a lost leader.
func (b *Broker) watchSyncs() {
	b.cluster.ControlKey(kmsg.SyncGroup.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if sync, ok := req.(*kmsg.SyncGroupRequest); ok {
			beat := kmsg.NewPtrHeartbeatRequest()
			beat.Group, beat.MemberID, beat.InstanceID, beat.Generation = sync.Group, sync.MemberID, sync.InstanceID, sync.Generation
			b.background.Go(func() { b.keepInGroup(beat) })
		}
		return nil, nil, false
	})
}

// keepInGroup sends heartbeats for a member until its generation has an assignment or is over.
func (b *Broker) keepInGroup(beat *kmsg.HeartbeatRequest) {
	var client *kgo.Client
	defer func() {
		if client != nil {
			client.Close()
		}
	}()
	tick := time.NewTicker(syncPatience)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-b.ctx.Done():
			return
		}
		if !b.awaitsSync(beat.Group, beat.Generation) {
			return
		}
		if client == nil {
			var err error
			if client, err = kgo.NewClient(kgo.SeedBrokers(b.addrs...), kgo.Dialer(b.Dial), kgo.DisableClientMetrics()); err != nil {
				return
			}
		}
		ctx, cancel := context.WithTimeout(b.ctx, syncPatience)
		answer, err := beat.RequestWith(ctx, client)
		cancel()
		if err == nil && answer.ErrorCode != 0 {
			return // the member or its generation is gone
		}
	}
}

// awaitsSync reports whether the members of a generation wait for their leader.
func (b *Broker) awaitsSync(group string, generation int32) bool {
	waits := false
	err := b.use(func(c *kfake.Cluster) error {
		info := c.GroupInfo(group)
		waits = info != nil && info.State == "CompletingRebalance" && info.Epoch == generation
		return nil
	})
	return err == nil && waits
}
