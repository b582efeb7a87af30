package soak

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"

	"eostop/runtime"
	"eostop/runtime/topology"

	"github.com/twmb/franz-go/pkg/kerr"
)

// What a topic is to the application.
const (
	topicInput       = "input"
	topicOutput      = "output"
	topicRepartition = "repartition"
	topicChangelog   = "changelog"
)

// plannedTopic is a topic that a run needs.
type plannedTopic struct {
	name       string
	kind       string
	partitions int32             // 0 = any number
	configs    map[string]string // what it is created with, if it has to be
}

// replication returns the replication factor and settings of topics that are created: three replicas, or as many as there are
// brokers, and all but one of them have to acknowledge. -1 leaves both to the cluster.
func (c *cluster) replication() (factor int16, configs map[string]string) {
	factor = int16(c.settings.ReplicationFactor)
	switch {
	case factor < 0, factor == 0 && c.embedded != nil:
		return -1, nil
	case factor == 0:
		factor = int16(min(3, max(c.nodes, 1)))
	}
	return factor, map[string]string{"min.insync.replicas": strconv.Itoa(max(1, int(factor)-1))}
}

// outsideTopics lists the topics that are the world outside of the application, its inputs and outputs.
func (c *cluster) outsideTopics(topics ProgramTopics) []plannedTopic {
	_, configs := c.replication()
	partitions := int32(c.settings.Partitions)
	planned := []plannedTopic{{name: topics.Input, kind: topicInput, partitions: partitions, configs: configs}}
	for _, name := range slices.Sorted(maps.Values(topics.Outputs)) {
		planned = append(planned, plannedTopic{name: name, kind: topicOutput, partitions: partitions, configs: configs})
	}
	return planned
}

// insideTopics lists the topics that the application creates for itself.
func (c *cluster) insideTopics(program *topology.Topology, cfg *runtime.Config, input ProgramTopics) ([]plannedTopic, error) {
	internal, err := runtime.InternalTopics(program, cfg, map[string]int32{input.Input: int32(c.settings.Partitions)})
	if err != nil {
		return nil, &UsageError{err}
	}
	var planned []plannedTopic
	for _, t := range internal {
		kind := topicRepartition
		if t.Changelog {
			kind = topicChangelog
		}
		planned = append(planned, plannedTopic{name: t.Name, kind: kind, partitions: t.Partitions, configs: t.Configs})
	}
	return planned, nil
}

// createTopics creates the topics that are the world outside of the application, unless they exist. Those that do are left as
// they are, and need no permission to create.
func (c *cluster) createTopics(ctx context.Context, topics ProgramTopics) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	planned := c.outsideTopics(topics)
	names := make([]string, len(planned))
	for i, t := range planned {
		names[i] = t.name
	}
	existing, err := c.admin.ListTopics(ctx, names...)
	if err != nil {
		return Runf("look up topics: %w", err)
	}
	factor, _ := c.replication()
	for _, t := range planned {
		detail, listed := existing[t.name]
		if n := int32(len(detail.Partitions)); n > 0 && detail.Err == nil {
			if t.kind == topicInput && n != t.partitions {
				return wrongInput(t, n)
			}
			continue
		}
		if listed && detail.Err != nil && !errors.Is(detail.Err, kerr.UnknownTopicOrPartition) {
			return Runf("topic %s: %w", t.name, detail.Err)
		}
		configs := make(map[string]*string, len(t.configs))
		for key, value := range t.configs {
			configs[key] = &value
		}
		r, err := c.admin.CreateTopic(ctx, t.partitions, factor, configs, t.name)
		switch {
		case errors.Is(err, kerr.TopicAlreadyExists): // Another host was faster.
		case err != nil && isRefused(err):
			return Runf("topic %s does not exist, and we may not create it: %w; create it with %d partitions, or allow CREATE on it", t.name, err, t.partitions)
		case err != nil:
			return Runf("create topic %s: %w %s", t.name, err, r.ErrMessage)
		}
	}
	return nil
}

func wrongInput(t plannedTopic, have int32) error {
	return Usagef("cluster.partitions: %d, but topic %s has %d already; set it to %d or choose another application.id", t.partitions, t.name, have, have)
}

// isRefused says whether the brokers know us, but do not allow what was asked for.
func isRefused(err error) bool {
	return errors.Is(err, kerr.TopicAuthorizationFailed) || errors.Is(err, kerr.ClusterAuthorizationFailed) ||
		errors.Is(err, kerr.GroupAuthorizationFailed) || errors.Is(err, kerr.TransactionalIDAuthorizationFailed)
}
