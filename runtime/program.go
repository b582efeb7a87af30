package runtime

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"eostop/runtime/topology"
)

// program is a topology together with the names it has on the broker.
type program struct {
	topology      *topology.Topology
	applicationID string
	subs          map[int]topology.SubTopology
	repartitions  map[string]int32 // logical name -> wanted partitions, 0 = derived
}

func newProgram(top *topology.Topology, applicationID string) *program {
	p := &program{topology: top, applicationID: applicationID, subs: map[int]topology.SubTopology{}, repartitions: map[string]int32{}}
	for _, sub := range top.SubTopologies() {
		p.subs[sub.ID] = sub
	}
	for _, r := range top.InternalRepartitionTopics() {
		p.repartitions[r.Name] = r.Partitions
	}
	return p
}

func (p *program) sub(id int) topology.SubTopology { return p.subs[id] }

// internal reports whether the topology creates the topic itself.
func (p *program) internal(logical string) bool {
	_, ok := p.repartitions[logical]
	return ok
}

// topic translates a topology's topic name to the broker's: internal topics carry the application id.
func (p *program) topic(logical string) string {
	if p.internal(logical) {
		return p.applicationID + "-" + logical
	}
	return logical
}

// externalTopics returns the source topics that somebody else must have created.
func (p *program) externalTopics() []string {
	var topics []string
	for _, sub := range p.topology.SubTopologies() {
		for _, logical := range sub.Sources {
			if !p.internal(logical) && !slices.Contains(topics, logical) {
				topics = append(topics, logical)
			}
		}
	}
	slices.Sort(topics)
	return topics
}

// tasks lists all tasks: a sub-topology has as many as its source topic with the most partitions.
func (p *program) tasks(partitions map[string]int32) []TaskID {
	var tasks []TaskID
	for _, sub := range p.topology.SubTopologies() {
		for partition := range p.taskCount(sub, partitions) {
			tasks = append(tasks, TaskID{Subtopology: sub.ID, Partition: partition})
		}
	}
	return tasks
}

func (p *program) taskCount(sub topology.SubTopology, partitions map[string]int32) int32 {
	var n int32
	for _, logical := range sub.Sources {
		n = max(n, partitions[p.topic(logical)])
	}
	return n
}

// topicError is a state of the topics that no retry will cure.
type topicError struct{ reason string }

func (e *topicError) Error() string { return e.reason }

func asTopicError(err error, target **topicError) bool { return errors.As(err, target) }

// repartitionPartitions derives the partition counts of all source topics: a repartition topic without a wanted count gets
// the largest count among the sources of the sub-topologies that write to it.
func (p *program) repartitionPartitions(external map[string]int32) (map[string]int32, error) {
	counts := map[string]int32{}
	for _, topic := range p.externalTopics() {
		if external[topic] == 0 {
			return nil, &topicError{fmt.Sprintf("source topic %s does not exist; create it first", topic)}
		}
		counts[topic] = external[topic]
	}
	for logical, wanted := range p.repartitions {
		if wanted > 0 {
			counts[p.topic(logical)] = wanted
		}
	}
	for changed := true; changed; {
		changed = false
		for _, sub := range p.topology.SubTopologies() {
			n := p.taskCount(sub, counts)
			for _, logical := range sub.Sinks {
				if topic := p.topic(logical); p.internal(logical) && p.repartitions[logical] == 0 && counts[topic] < n {
					counts[topic], changed = n, true
				}
			}
		}
	}
	for logical := range p.repartitions {
		if topic := p.topic(logical); counts[topic] == 0 {
			return nil, &topicError{fmt.Sprintf("repartition topic %s: nothing writes to it, so its number of partitions is unknown", topic)}
		}
	}
	return counts, nil
}

// ensureTopics creates the internal topics that are missing and returns the partition counts of all source topics. An
// existing topic with another count than needed is an error that every member is told.
func (p *program) ensureTopics(ctx context.Context, adm *admin, cfg *Config, external map[string]int32) (map[string]int32, error) {
	counts, err := p.repartitionPartitions(external)
	if err != nil {
		return nil, err
	}
	needed, configs := map[string]int32{}, map[string]map[string]string{}
	for logical := range p.repartitions {
		topic := p.topic(logical)
		needed[topic] = counts[topic]
		configs[topic] = map[string]string{"cleanup.policy": "delete", "retention.ms": "-1"}
	}
	for _, sub := range p.topology.SubTopologies() {
		for _, store := range sub.Stores {
			if !store.Logged {
				continue
			}
			topic := changelogTopic(p.applicationID, store.Name)
			needed[topic] = p.taskCount(sub, counts)
			configs[topic] = map[string]string{"cleanup.policy": "compact", "message.timestamp.type": "CreateTime"}
			if !cfg.CompactChangelogs {
				configs[topic] = map[string]string{"cleanup.policy": "delete", "retention.ms": "-1"}
			}
		}
	}
	topics := slices.Sorted(maps.Keys(needed))
	if len(topics) == 0 {
		return counts, nil
	}
	existing, err := adm.partitionCounts(ctx, topics...)
	if err != nil {
		return nil, err
	}
	missing := map[string]int32{}
	var wrong []string
	for _, topic := range topics {
		switch have, ok := existing[topic]; {
		case !ok:
			missing[topic] = needed[topic]
		case have != needed[topic]:
			wrong = append(wrong, fmt.Sprintf("internal topic %s has %d partitions, needs %d; delete it or reset the application", topic, have, needed[topic]))
		}
	}
	if len(wrong) > 0 {
		return nil, &topicError{strings.Join(wrong, "; ")}
	}
	return counts, adm.createTopics(ctx, missing, cfg.ReplicationFactor, configs)
}
