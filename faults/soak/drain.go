package soak

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"eostop/faults/verify"
	"eostop/runtime"
	"eostop/runtime/topology"

	"github.com/twmb/franz-go/pkg/kadm"
)

const (
	drainPoll      = 200 * time.Millisecond // how often the drain asks how much is left
	abortScan      = 10 * time.Second       // a coordinator looks so often for transactions that have timed out
	digestDeadline = 30 * time.Second       // for the stores' owners to answer, once everything is worked off
)

// drain waits until the group has committed every record of its source topics and all cuts and faults are over. It returns what
// is left when the deadline passes; their time does not count.
func (s *Session) drain(ctx context.Context) (left []remaining, err error) {
	deadline := time.Now().Add(drainDeadline)
	suspect := time.Now().Add(s.cfg.Runtime.TransactionTimeout + abortScan)
	var failed error
	for {
		left, failed = s.behind(ctx)
		cut := s.cutOff() || s.disturbed.Load() > 0
		if failed == nil && len(left) == 0 && !cut && s.settled() {
			return nil, nil
		}
		now := time.Now()
		if cut {
			deadline = now.Add(drainDeadline)
		}
		if now.After(suspect) && len(left) > 0 {
			suspect = deadline.Add(time.Hour) // it is told once
			s.tellHolders(ctx, left)
		}
		if now.After(deadline) {
			if failed == nil && len(left) == 0 {
				failed = errNotSettled
			}
			return left, failed
		}
		wait := time.NewTimer(drainPoll)
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return nil, ctx.Err()
		}
	}
}

// errNotSettled is the end of a drain that has worked everything off, but not brought every thread back.
var errNotSettled = errors.New("not every thread was RUNNING and had recovered from its cuts in time")

// behind lists the source partitions that hold records which the group has not committed. Only what is committed counts:
// records merely consumed may come again.
func (s *Session) behind(ctx context.Context) ([]remaining, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	topics := s.sourceTopics()
	// Offsets come first: a commit between the two would bring records to later topics, whose ends are known only from before.
	committed, err := s.cluster.admin.FetchOffsets(ctx, s.cfg.Application.ID)
	if err != nil {
		return nil, fmt.Errorf("read committed offsets: %w", err)
	}
	ends, err := s.cluster.admin.ListEndOffsets(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("list ends of source topics: %w", err)
	}
	starts, err := s.cluster.admin.ListStartOffsets(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("list starts of source topics: %w", err)
	}
	if err := errors.Join(ends.Error(), starts.Error()); err != nil {
		return nil, fmt.Errorf("list offsets of source topics: %w", err)
	}
	var left []remaining
	ends.Each(func(end kadm.ListedOffset) {
		start, _ := starts.Lookup(end.Topic, end.Partition)
		at := start.Offset
		if c, ok := committed.Lookup(end.Topic, end.Partition); ok && c.At >= 0 {
			at = c.At
		}
		if at < end.Offset {
			left = append(left, remaining{end.Topic, end.Partition, at, end.Offset})
		}
	})
	return left, nil
}

// sourceTopics are the topics that the program reads.
func (s *Session) sourceTopics() []string {
	internal := map[string]bool{}
	for _, r := range s.program.InternalRepartitionTopics() {
		internal[r.Name] = true
	}
	var topics []string
	for _, sub := range s.program.SubTopologies() {
		for _, source := range sub.Sources {
			if internal[source] {
				source = s.cfg.Application.ID + "-" + source
			}
			topics = append(topics, source)
		}
	}
	return topics
}

func (s *Session) cutOff() bool {
	for _, m := range s.members {
		if m.link.State().Cut {
			return true
		}
	}
	return false
}

// settled reports whether every cut has been recovered from and every task runs.
func (s *Session) settled() bool {
	snap := s.Snapshot()
	if p, ok := findProfile(s.cfg.Faults.Profile); ok && p.policy.KeepDead {
		return snap.ThreadsRunning == snap.ThreadsAlive // the dead stay dead, and so do their instances
	}
	for _, c := range snap.Cuts {
		if c.Healed.IsZero() {
			return false
		}
	}
	return snap.recovered()
}

// recovered reports whether every thread runs, and has recovered from the last cut of its instance. An instance that has ended in
// ERROR stays as it is.
func (s *Snapshot) recovered() bool {
	recovered := map[string]bool{}
	for _, c := range s.Cuts {
		recovered[c.Instance] = c.Recovered >= 0
	}
	for _, i := range s.Instances {
		if i.State == string(runtime.InstanceError) {
			continue
		}
		if ok, cut := recovered[i.Name]; cut && !ok {
			return false
		}
		if slices.ContainsFunc(i.Threads, func(t runtime.ThreadStatus) bool { return t.State != string(runtime.ThreadRunning) }) {
			return false
		}
	}
	return true
}

// openVerifier prepares the verifier and lets it read.
func (s *Session) openVerifier() error {
	if !s.cfg.Verify.Enabled {
		return nil
	}
	v, err := verify.New(verify.Config{
		Seeds: s.cluster.brokers, Dial: s.cluster.dial, Options: saslOptions(s.cluster.sasl), Input: s.topics.Input, Outputs: s.topics.Outputs, Changelogs: s.topics.Changelogs,
		Model: s.model, Group: s.cfg.Application.ID, Hops: s.topics.hops(),
		Cached: s.cfg.recordCache() > 0, AtLeastOnce: !runtime.Guarantee(s.cfg.Runtime.Guarantee).Transactional(),
		TransactionTimeout: s.cfg.Runtime.TransactionTimeout, TransactionalIDs: runtime.AnnouncedIDs,
		Run: s.loadRun, FetchWait: s.cfg.Verify.Interval, Hash: func(key []byte) uint32 { return uint32(topology.Murmur2(key)) },
	})
	if err != nil {
		return fmt.Errorf("verifier: %w", err)
	}
	s.verifier = v
	s.background.Go(func() {
		if err := v.Run(s.verifyCtx); err != nil && s.verifyCtx.Err() == nil {
			s.log.Error("verifier", "error", err)
		}
	})
	return nil
}

// finishVerify hands the stores' digests to the verifier and lets it read to the ends.
func (s *Session) finishVerify(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, verifyTimeout)
	defer cancel()
	digests, err := s.digests(ctx)
	if err != nil {
		return err
	}
	_, err = s.verifier.Finish(ctx, digests)
	return err
}

// digests asks the owners of the stores what they hold. A rebalance may be under way: then some partition has no owner for a
// while, or its owner still restores it, so it asks again until every partition was answered for once. What is missing after
// digestDeadline the verifier names.
func (s *Session) digests(ctx context.Context) ([]verify.StoreDigest, error) {
	deadline := time.Now().Add(digestDeadline)
	for {
		digests, err := s.askDigests(ctx)
		digests = append(digests, s.remoteDigests()...)
		complete := false
		if err == nil {
			complete, err = s.complete(ctx, digests)
		}
		if complete || time.Now().After(deadline) {
			return digests, err
		}
		wait := time.NewTimer(drainPoll)
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return digests, errors.Join(err, ctx.Err())
		}
	}
}

// askDigests asks every instance once.
func (s *Session) askDigests(ctx context.Context) ([]verify.StoreDigest, error) {
	var all []verify.StoreDigest
	for _, m := range s.members {
		own, err := m.instance.Digests(ctx)
		if err != nil {
			return nil, err
		}
		for _, d := range own {
			all = append(all, verify.StoreDigest{Store: d.Store, Task: d.Task, Partition: d.Partition, Position: d.Position, Sum: d.Sum, Entries: d.Entries})
		}
	}
	return all, nil
}

// complete tells whether every partition of every store is among the digests, and none twice.
func (s *Session) complete(ctx context.Context, digests []verify.StoreDigest) (bool, error) {
	if len(s.topics.Changelogs) == 0 {
		return true, nil
	}
	topics, err := s.cluster.admin.ListTopics(ctx, slices.Collect(maps.Values(s.topics.Changelogs))...)
	if err != nil {
		return false, fmt.Errorf("list changelogs: %w", err)
	}
	type part struct {
		store     string
		partition int32
	}
	answered := make(map[part]int)
	for i := range digests {
		answered[part{digests[i].Store, digests[i].Partition}]++
	}
	for store, topic := range s.topics.Changelogs {
		for _, p := range topics[topic].Partitions.Numbers() {
			if answered[part{store, p}] != 1 {
				return false, nil
			}
		}
	}
	return true, nil
}

// trim frees on the embedded broker what nobody needs any more: what the verifier has passed, of topics that the program reads only
// what the group has committed too. It runs beside, one at a time.
func (e *experiment) trim() {
	s := e.s
	if s.cluster.embedded == nil || s.verifier == nil {
		return
	}
	e.aside(func(ctx context.Context) func() {
		ctx, cancel := context.WithTimeout(ctx, trimEvery)
		defer cancel()
		committed, err := s.cluster.admin.FetchOffsets(ctx, s.cfg.Application.ID)
		if err != nil {
			return func() {}
		}
		for topic, partitions := range s.verifier.Passed() {
			for partition, offset := range partitions {
				if topic == s.topics.Input || slices.Contains(s.topics.Through, topic) {
					c, ok := committed.Lookup(topic, partition)
					if !ok || c.At < 0 {
						continue
					}
					offset = min(offset, c.At)
				}
				if offset > 0 {
					if err := s.cluster.embedded.Trim(topic, partition, offset); err != nil {
						s.log.Debug("trim", "topic", topic, "partition", partition, "error", err)
					}
				}
			}
		}
		return func() {}
	})
}
