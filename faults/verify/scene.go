package verify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// scene is what the cluster says of the topics before any of them is read. The order in which it is asked makes the answers fit each other where
// the application runs: what an output below its end was made of is below the ends of the inputs, and what the group has
// committed has all its outputs below theirs, if settled.
type scene struct {
	starts    offsets
	committed offsets // of the group; partitions without a commit are absent
	ends      offsets // up to which is read: the last stable offset where something stays open
	members   int     // of the group
	settled   bool    // what the group had taken of the inputs has gone through the repartition topics
	waits     string  // what has not
	open      []*openTransaction
}

// look fills the scene, and judges what needs no reading.
func (s *reading) look(ctx context.Context) error {
	topics := slices.Concat(s.outputs, s.internal(), s.inputs)
	var err error
	if s.scene.starts, err = listOnce(ctx, topics, s.admin.admin.ListStartOffsets); err != nil {
		return err
	}
	if s.scene.committed, err = s.committedOffsets(ctx); err != nil {
		return err
	}
	if s.scene.members, err = s.groupMembers(ctx); err != nil {
		return err
	}
	if s.scene.members > 0 && s.v != nil {
		s.follow(ctx)
	}
	if s.scene.ends, err = listOnce(ctx, slices.Concat(s.outputs, s.internal()), s.admin.admin.ListEndOffsets); err != nil {
		return err
	}
	inputs, err := listOnce(ctx, s.inputs, s.admin.admin.ListEndOffsets)
	if err != nil {
		return err
	}
	maps.Copy(s.scene.ends, inputs)
	if err := s.judgeOffsets(ctx); err != nil {
		return err
	}
	if err := s.awaitOpen(ctx, topics); err != nil {
		return err
	}
	for _, topic := range topics {
		s.lastData[topic] = make(map[int32]int64)
		for p, end := range s.scene.ends[topic] {
			s.lastData[topic][p] = -1
			s.total += end - s.scene.starts[topic][p]
		}
	}
	return nil
}

// groupMembers counts who is in the group.
func (s *reading) groupMembers(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	groups, err := s.admin.admin.DescribeGroups(ctx, s.cfg.Group)
	if err != nil {
		return 0, fmt.Errorf("group %s: %w", s.cfg.Group, err)
	}
	group := groups[s.cfg.Group]
	if group.Err != nil && !errors.Is(group.Err, kerr.GroupIDNotFound) {
		return 0, fmt.Errorf("group %s: %w", s.cfg.Group, group.Err)
	}
	return len(group.Members), nil
}

// follow waits until what the group has taken of the input has gone through the repartition topics.
func (s *reading) follow(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, followFor)
	defer cancel()
	s.v.reader = s.admin
	s.scene.settled = s.v.follow(ctx, s.marks()) != nil
	s.scene.waits = fmt.Sprintf("the application runs, and has not passed on in %v what it had taken", followFor)
}

// mark returns below which offset the group has taken a partition.
func (s *reading) mark(topic string, partition int32) int64 {
	if at, ok := s.scene.committed[topic][partition]; ok {
		return at
	}
	return s.scene.starts[topic][partition]
}

// marks returns below which offsets the group has taken the partitions of the model's input.
func (s *reading) marks() []int64 {
	marks := make([]int64, len(s.scene.starts[s.cfg.Input]))
	for p := range marks {
		marks[p] = s.mark(s.cfg.Input, int32(p))
	}
	return marks
}

// judgeOffsets compares what the group has committed with the logs.
func (s *reading) judgeOffsets(ctx context.Context) error {
	var topics []string
	for topic := range s.scene.committed {
		if _, ok := s.scene.starts[topic]; ok {
			topics = append(topics, topic)
		}
	}
	slices.Sort(topics)
	if len(topics) == 0 {
		s.notApplied(KindOffset, "group %s has committed nothing in these topics", s.cfg.Group)
		return nil
	}
	ends, err := listOnce(ctx, topics, s.admin.admin.ListEndOffsets)
	if err != nil {
		return err
	}
	stable, err := listOnce(ctx, topics, s.admin.admin.ListCommittedOffsets)
	if err != nil {
		return err
	}
	count := 0
	for _, topic := range topics {
		for p := range int32(len(s.scene.starts[topic])) {
			at, ok := s.scene.committed[topic][p]
			if !ok {
				continue
			}
			count++
			w := Witness{Kind: KindOffset, Input: placeName(topic, p, at), Outputs: []string{}, At: time.Now()}
			switch start := s.scene.starts[topic][p]; {
			case at > ends[topic][p]:
				w.Detail = fmt.Sprintf("the group has committed offset %d, but the log ends at %d: what it had read is gone", at, ends[topic][p])
			case at < start:
				w.Detail = fmt.Sprintf("the group has committed offset %d, but the log begins at %d: %d offsets were deleted before they were processed", at, start, start-at)
			case at > stable[topic][p] && !s.cfg.AtLeastOnce:
				w.Kind = KindAbortedRead
				w.Detail = fmt.Sprintf("the group has committed offset %d, behind the last stable one, %d: it reads what is not committed", at, stable[topic][p])
			default:
				continue
			}
			s.judge.add(w)
		}
	}
	s.applied(KindOffset, "%d committed offsets lie within their logs and below what is undecided there, or have a witness", count)
	return nil
}

// remaining tells what of a topic the group has not processed, by what was read of it; empty if nothing.
func (s *reading) remaining(topics []string) string {
	for _, topic := range topics {
		for p := range int32(len(s.scene.starts[topic])) {
			if last := s.lastData[topic][p]; last >= s.mark(topic, p) {
				return fmt.Sprintf("%s has committed %d of %s-%d, which goes up to %d", s.cfg.Group, s.mark(topic, p), topic, p, last+1)
			}
		}
	}
	return ""
}
