package runtime

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// admin asks the brokers what is not part of any transaction: offsets, log bounds, topics. Its methods may be called from
// any goroutine; each waits at most for the time-out it was made with.
type admin struct {
	client  *kgo.Client
	adm     *kadm.Client
	group   string
	timeout time.Duration
}

// logBounds are the first offset of a partition and the one behind its last record, as a read_uncommitted consumer sees them.
type logBounds struct{ start, end int64 }

// committedOffset is what the group has committed for a partition; offset -1 when nothing was. Unstable: a transaction
// that holds a newer offset is not decided yet.
type committedOffset struct {
	offset        int64
	epoch         int32
	partitionTime int64
	unstable      bool
}

// logBounds lists start and end of partitions.
func (a *admin) logBounds(ctx context.Context, partitions []topicPartition) (map[topicPartition]logBounds, error) {
	bounds := map[topicPartition]logBounds{}
	if len(partitions) == 0 {
		return bounds, nil
	}
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	topics := topicsOf(partitions)
	starts, err := a.adm.ListStartOffsets(ctx, topics...)
	if err != nil {
		return nil, err
	}
	ends, err := a.adm.ListEndOffsets(ctx, topics...)
	if err != nil {
		return nil, err
	}
	for _, tp := range partitions {
		start, ok1 := starts.Lookup(tp.topic, tp.partition)
		end, ok2 := ends.Lookup(tp.topic, tp.partition)
		if !ok1 || !ok2 {
			return nil, fmt.Errorf("%s: %w", tp, kerr.UnknownTopicOrPartition)
		}
		if err := errors.Join(start.Err, end.Err); err != nil {
			return nil, fmt.Errorf("%s: %w", tp, err)
		}
		bounds[tp] = logBounds{start.Offset, end.Offset}
	}
	return bounds, nil
}

// positions returns where a task may go on: what the group has committed, and the bounds of the logs. The bounds come first:
// purges follow commits, so an offset that is committed now and lies before them is a hole.
func (a *admin) positions(ctx context.Context, partitions []topicPartition) (map[topicPartition]logBounds, map[topicPartition]committedOffset, error) {
	bounds, err := a.logBounds(ctx, partitions)
	if err != nil {
		return nil, nil, err
	}
	offsets, err := a.committedOffsets(ctx, partitions)
	return bounds, offsets, err
}

// committedOffsets reads the group's offsets back with require_stable (KIP-447).
func (a *admin) committedOffsets(ctx context.Context, partitions []topicPartition) (map[topicPartition]committedOffset, error) {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	ids, err := a.topicIDs(ctx, topicsOf(partitions))
	if err != nil {
		return nil, err
	}
	request := kmsg.NewPtrOffsetFetchRequest()
	request.RequireStable = true
	group := kmsg.NewOffsetFetchRequestGroup()
	group.Group = a.group
	for _, topic := range topicsOf(partitions) {
		rt := kmsg.NewOffsetFetchRequestGroupTopic()
		rt.Topic, rt.TopicID = topic, ids[topic]
		for _, tp := range partitions {
			if tp.topic == topic {
				rt.Partitions = append(rt.Partitions, tp.partition)
			}
		}
		group.Topics = append(group.Topics, rt)
	}
	request.Groups = append(request.Groups, group)
	response, err := request.RequestWith(ctx, a.client)
	if err != nil {
		return nil, err
	}
	if len(response.Groups) != 1 {
		return nil, fmt.Errorf("offset fetch: %d groups in the answer, expected one", len(response.Groups))
	}
	answer := response.Groups[0]
	if err := kerr.ErrorForCode(answer.ErrorCode); err != nil {
		return nil, err
	}
	names := map[[16]byte]string{}
	for topic, id := range ids {
		names[id] = topic
	}
	offsets := map[topicPartition]committedOffset{}
	for _, rt := range answer.Topics {
		topic := rt.Topic
		if topic == "" {
			topic = names[rt.TopicID]
		}
		for _, rp := range rt.Partitions {
			o := committedOffset{offset: rp.Offset, epoch: rp.LeaderEpoch, partitionTime: -1}
			if rp.Metadata != nil {
				o.partitionTime = decodeOffsetMetadata(*rp.Metadata)
			}
			switch err := kerr.ErrorForCode(rp.ErrorCode); {
			case errors.Is(err, kerr.UnstableOffsetCommit):
				o.unstable = true
			case err != nil:
				return nil, fmt.Errorf("%s-%d: %w", topic, rp.Partition, err)
			}
			offsets[topicPartition{topic, rp.Partition}] = o
		}
	}
	for _, tp := range partitions {
		if _, ok := offsets[tp]; !ok {
			return nil, fmt.Errorf("offset fetch: no answer for %s", tp)
		}
	}
	return offsets, nil
}

func (a *admin) topicIDs(ctx context.Context, topics []string) (map[string][16]byte, error) {
	request := kmsg.NewPtrMetadataRequest()
	for _, topic := range topics {
		rt := kmsg.NewMetadataRequestTopic()
		rt.Topic = &topic
		request.Topics = append(request.Topics, rt)
	}
	response, err := a.client.RequestCachedMetadata(ctx, request, 0)
	if err != nil {
		return nil, err
	}
	ids := map[string][16]byte{}
	for _, rt := range response.Topics {
		if rt.Topic == nil {
			continue
		}
		if err := kerr.ErrorForCode(rt.ErrorCode); err != nil {
			return nil, fmt.Errorf("topic %s: %w", *rt.Topic, err)
		}
		ids[*rt.Topic] = rt.TopicID
	}
	return ids, nil
}

// deleteRecords deletes records below the given offsets. It is best effort: what fails is tried again with the next pass.
func (a *admin) deleteRecords(ctx context.Context, below map[topicPartition]int64) error {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	offsets := kadm.Offsets{}
	for tp, offset := range below {
		offsets.Add(kadm.Offset{Topic: tp.topic, Partition: tp.partition, At: offset, LeaderEpoch: -1})
	}
	responses, err := a.adm.DeleteRecords(ctx, offsets)
	if err != nil {
		return err
	}
	return responses.Error()
}

// createTopics creates topics; those that exist already are left as they are. It returns those that did not exist.
func (a *admin) createTopics(ctx context.Context, partitions map[string]int32, replicationFactor int16, configs map[string]map[string]string) (map[string]bool, error) {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	created := map[string]bool{}
	for _, topic := range slices.Sorted(maps.Keys(partitions)) {
		set := map[string]*string{}
		for k, v := range configs[topic] {
			set[k] = &v
		}
		_, err := a.adm.CreateTopic(ctx, partitions[topic], replicationFactor, set, topic)
		if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return nil, fmt.Errorf("create topic %s: %w", topic, err)
		}
		created[topic] = err == nil
	}
	return created, nil
}

// partitionCounts returns the partition counts of those of the topics that exist.
func (a *admin) partitionCounts(ctx context.Context, topics ...string) (map[string]int32, error) {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	details, err := a.adm.ListTopics(ctx, topics...)
	if err != nil {
		return nil, err
	}
	counts := map[string]int32{}
	for topic, detail := range details {
		if errors.Is(detail.Err, kerr.UnknownTopicOrPartition) {
			continue
		}
		if detail.Err != nil {
			return nil, fmt.Errorf("topic %s: %w", topic, detail.Err)
		}
		counts[topic] = int32(len(detail.Partitions))
	}
	return counts, nil
}

// initProducerID initialises a transactional id in somebody else's name: it fences the producer that used it and aborts
// what that left open.
func (a *admin) initProducerID(ctx context.Context, transactionalID string, transactionTimeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	for {
		request := kmsg.NewPtrInitProducerIDRequest()
		request.TransactionalID = &transactionalID
		request.TransactionTimeoutMillis = int32(transactionTimeout.Milliseconds())
		request.ProducerID, request.ProducerEpoch = -1, -1
		response, err := request.RequestWith(ctx, a.client)
		if err != nil {
			return err
		}
		err = kerr.ErrorForCode(response.ErrorCode)
		if !errors.Is(err, kerr.ConcurrentTransactions) {
			return err
		}
		// The open transaction is being aborted; the id is free once its markers are written.
		pause := time.NewTimer(20 * time.Millisecond)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return ctx.Err()
		}
	}
}

// transactions returns what the coordinators know of transactional ids. What is not to be had is missing: brokers before 3.0 do
// not tell.
func (a *admin) transactions(ctx context.Context, ids []string) kadm.DescribedTransactions {
	if len(ids) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, fencingLimit/2)
	defer cancel()
	described, _ := a.adm.DescribeTransactions(ctx, ids...)
	return described
}

// removeMember takes a static member out of the group in its name.
func (a *admin) removeMember(ctx context.Context, instanceID string) error {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	responses, err := a.adm.LeaveGroup(ctx, kadm.LeaveGroup(a.group).Reason("stream thread removed").InstanceIDs(instanceID))
	if err != nil {
		return err
	}
	return responses.Error()
}

func topicsOf(partitions []topicPartition) []string {
	var topics []string
	for _, tp := range partitions {
		if !slices.Contains(topics, tp.topic) {
			topics = append(topics, tp.topic)
		}
	}
	return topics
}
