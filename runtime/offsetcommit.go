package runtime

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// commitOffsets commits offsets as a member of the group (at_least_once), under the identity under which the tasks are owned.
// It is never sent without a generation: a real broker would accept that while the group is empty.
func (m *membership) commitOffsets(ctx context.Context, who groupIdentity, offsets map[topicPartition]offsetAndMetadata) error {
	if !who.valid() {
		return errNoGeneration
	}
	ids, err := m.thread.instance.admin.topicIDs(ctx, topicsOfOffsets(offsets))
	if err != nil {
		return err
	}
	request := kmsg.NewPtrOffsetCommitRequest()
	request.Group, request.MemberID, request.Generation, request.InstanceID = m.thread.instance.cfg.ApplicationID, who.member, who.generation, who.instanceID()
	for _, t := range offsetTopics(offsets) {
		topic := kmsg.NewOffsetCommitRequestTopic()
		topic.Topic, topic.TopicID = t.Topic, ids[t.Topic]
		for _, p := range t.Partitions {
			partition := kmsg.NewOffsetCommitRequestTopicPartition()
			partition.Partition, partition.Offset, partition.LeaderEpoch, partition.Metadata = p.Partition, p.Offset, p.LeaderEpoch, p.Metadata
			topic.Partitions = append(topic.Partitions, partition)
		}
		request.Topics = append(request.Topics, topic)
	}
	response, err := request.RequestWith(ctx, m.client)
	if err != nil {
		return err
	}
	var errs []error
	for _, t := range response.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				errs = append(errs, fmt.Errorf("%s-%d: %w", t.Topic, p.Partition, err))
			}
		}
	}
	return errors.Join(errs...)
}

func topicsOfOffsets(offsets map[topicPartition]offsetAndMetadata) []string {
	partitions := make([]topicPartition, 0, len(offsets))
	for tp := range offsets {
		partitions = append(partitions, tp)
	}
	return topicsOf(partitions)
}
