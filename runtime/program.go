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
	copartitioned [][]string       // logical names of source topics that must have the same number of partitions
}

func newProgram(top *topology.Topology, applicationID string) *program {
	p := &program{topology: top, applicationID: applicationID, subs: map[int]topology.SubTopology{}, repartitions: map[string]int32{}}
	for _, sub := range top.SubTopologies() {
		p.subs[sub.ID] = sub
	}
	for _, r := range top.InternalRepartitionTopics() {
		p.repartitions[r.Name] = r.Partitions
	}
	if joins, ok := any(top).(copartitioner); ok {
		p.copartitioned = joins.CopartitionGroups()
	}
	return p
}

// copartitioner is a topology with joins: it says by logical names which source topics meet in one task by key.
type copartitioner interface{ CopartitionGroups() [][]string }

func (p *program) sub(id int) topology.SubTopology { return p.subs[id] }

// internal reports whether the topology creates the topic itself.
func (p *program) internal(logical string) bool {
	_, ok := p.repartitions[logical]
	return ok
}

// writes reports whether the topology writes to the topic.
func (p *program) writes(logical string) bool {
	return slices.ContainsFunc(p.topology.SubTopologies(), func(sub topology.SubTopology) bool { return slices.Contains(sub.Sinks, logical) })
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
func (p *program) tasks(partitions map[string]int32) []assignorTask {
	var tasks []assignorTask
	for _, sub := range p.topology.SubTopologies() {
		stateful := slices.ContainsFunc(sub.Stores, func(s topology.StoreSpec) bool { return s.Logged })
		for partition := range p.taskCount(sub, partitions) {
			tasks = append(tasks, assignorTask{id: TaskID{Subtopology: sub.ID, Partition: partition}, stateful: stateful})
		}
	}
	return tasks
}

// changelogs lists the changelog partitions of a task.
func (p *program) changelogs(id TaskID) []topicPartition {
	var changelogs []topicPartition
	for _, store := range p.sub(id.Subtopology).Stores {
		if store.Logged {
			changelogs = append(changelogs, topicPartition{changelogTopic(p.applicationID, store.Name), id.Partition})
		}
	}
	return changelogs
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

// repartitionPartitions derives the partition counts of all source topics. A repartition topic without a wanted count gets that
// of the topics it must be co-partitioned with; without such topics the largest count among the sources of the sub-topologies
// that write to it.
func (p *program) repartitionPartitions(external map[string]int32) (map[string]int32, error) {
	counts, fixed := map[string]int32{}, map[string]bool{}
	var missing []string
	for _, topic := range p.externalTopics() {
		if external[topic] == 0 {
			missing = append(missing, topic)
		}
		counts[topic], fixed[topic] = external[topic], true
	}
	if len(missing) == 1 {
		return nil, &topicError{fmt.Sprintf("source topic %s does not exist; create it first", missing[0])}
	} else if len(missing) > 1 {
		return nil, &topicError{fmt.Sprintf("source topics %s do not exist; create them first", strings.Join(missing, ", "))}
	}
	for logical, wanted := range p.repartitions {
		if wanted > 0 {
			counts[p.topic(logical)], fixed[p.topic(logical)] = wanted, true
		}
	}
	if err := p.copartition(counts, fixed); err != nil {
		return nil, err
	}
	for changed := true; changed; {
		changed = false
		raise := func(topic string, n int32) {
			if !fixed[topic] && counts[topic] < n {
				counts[topic], changed = n, true
			}
		}
		for _, sub := range p.topology.SubTopologies() {
			n := p.taskCount(sub, counts)
			for _, logical := range sub.Sinks {
				if p.internal(logical) {
					raise(p.topic(logical), n)
				}
			}
		}
		for _, group := range p.copartitioned {
			n := int32(0)
			for _, logical := range group {
				n = max(n, counts[p.topic(logical)])
			}
			for _, logical := range group {
				raise(p.topic(logical), n)
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

// copartition checks that topics which meet in one task by key have the same number of partitions, and fixes the counts of those
// repartition topics that have to follow one.
func (p *program) copartition(counts map[string]int32, fixed map[string]bool) error {
	for changed := true; changed; {
		changed = false
		for _, group := range p.copartitioned {
			var known []string
			n := int32(0)
			for _, logical := range group {
				if topic := p.topic(logical); fixed[topic] {
					known, n = append(known, fmt.Sprintf("%s (%d partitions)", topic, counts[topic])), max(n, counts[topic])
				}
			}
			for _, logical := range group {
				topic := p.topic(logical)
				switch {
				case n > 0 && !fixed[topic]:
					counts[topic], fixed[topic], changed = n, true, true
				case fixed[topic] && counts[topic] != n:
					slices.Sort(known)
					return &topicError{fmt.Sprintf("Invalid topology: Topics not co-partitioned: [%s]", strings.Join(known, ", "))}
				}
			}
		}
	}
	return nil
}

// ensuredTopics are the topics of a program once all of them exist.
type ensuredTopics struct {
	partitions map[string]int32 // counts of all source topics
	created    map[string]bool  // internal topics that did not exist before
}

// InternalTopic is a topic that an application creates for itself.
type InternalTopic struct {
	Name       string
	Partitions int32
	Changelog  bool              // else it is a repartition topic
	Configs    map[string]string // what it is created with
}

// InternalTopics lists the topics that instances with this topology and configuration create where they are missing, changelogs
// last. Sources are the partition counts of the source topics that the topology does not create; the error says which are
// missing or do not fit together.
func InternalTopics(top *topology.Topology, cfg *Config, sources map[string]int32) ([]InternalTopic, error) {
	p := newProgram(top, cfg.ApplicationID)
	counts, err := p.repartitionPartitions(sources)
	if err != nil {
		return nil, err
	}
	return p.internalTopics(cfg, counts), nil
}

func (p *program) internalTopics(cfg *Config, counts map[string]int32) []InternalTopic {
	var topics []InternalTopic
	add := func(name string, partitions int32, changelog bool, configs map[string]string) {
		all := maps.Clone(cfg.TopicConfigs)
		if all == nil {
			all = map[string]string{}
		}
		maps.Copy(all, configs)
		topics = append(topics, InternalTopic{Name: name, Partitions: partitions, Changelog: changelog, Configs: all})
	}
	forever := map[string]string{"cleanup.policy": "delete", "retention.ms": "-1"}
	for _, logical := range slices.Sorted(maps.Keys(p.repartitions)) {
		topic := p.topic(logical)
		add(topic, counts[topic], false, forever)
	}
	for _, sub := range p.topology.SubTopologies() {
		for _, store := range sub.Stores {
			if !store.Logged {
				continue
			}
			configs := map[string]string{"cleanup.policy": "compact", "message.timestamp.type": "CreateTime"}
			if !cfg.CompactChangelogs {
				configs = forever
			}
			add(changelogTopic(p.applicationID, store.Name), p.taskCount(sub, counts), true, configs)
		}
	}
	return topics
}

// ensureTopics creates the internal topics that are missing. An existing topic with another number of partitions than needed is an
// error that every member is told.
func (p *program) ensureTopics(ctx context.Context, adm *admin, cfg *Config, external map[string]int32) (ensuredTopics, error) {
	counts, err := p.repartitionPartitions(external)
	if err != nil {
		return ensuredTopics{}, err
	}
	ensured := ensuredTopics{partitions: counts}
	needed, configs := map[string]int32{}, map[string]map[string]string{}
	for _, topic := range p.internalTopics(cfg, counts) {
		needed[topic.Name], configs[topic.Name] = topic.Partitions, topic.Configs
	}
	topics := slices.Sorted(maps.Keys(needed))
	if len(topics) == 0 {
		return ensured, nil
	}
	existing, err := adm.partitionCounts(ctx, topics...)
	if err != nil {
		return ensuredTopics{}, err
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
		return ensuredTopics{}, &topicError{strings.Join(wrong, "; ")}
	}
	// What seemed to be missing may be there all the same: metadata is seldom fresh.
	ensured.created, err = adm.createTopics(ctx, missing, cfg.ReplicationFactor, configs)
	return ensured, err
}
