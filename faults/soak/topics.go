package soak

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"eostop/runtime"
	"eostop/runtime/topology"

	"github.com/twmb/franz-go/pkg/kadm"
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
func (c *cluster) insideTopics(program *topology.Topology, cfg *runtime.Config, outside []plannedTopic) ([]plannedTopic, error) {
	sources := map[string]int32{}
	for _, t := range outside {
		sources[t.name] = t.partitions
	}
	internal, err := runtime.InternalTopics(program, cfg, sources)
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
	created := false
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
		created = true
	}
	if !created {
		return nil
	}
	return c.awaitTopics(ctx, names)
}

// awaitTopics waits until the brokers know of topics that have just been created: a member that is told that a source topic does not
// exist would die of it.
func (c *cluster) awaitTopics(ctx context.Context, names []string) error {
	pause := time.NewTicker(50 * time.Millisecond)
	defer pause.Stop()
	for seen := 0; ; {
		topics, err := c.admin.ListTopics(ctx, names...)
		if err == nil && led(topics, names) {
			if seen++; seen >= c.nodes { // Each answer is another broker's.
				return nil
			}
			continue
		}
		seen = 0
		select {
		case <-pause.C:
		case <-ctx.Done():
			return Runf("topics %s were created, but brokers do not lead all of their partitions: %w", strings.Join(names, ", "), ctx.Err())
		}
	}
}

// led says whether all of the topics have a leader for each partition.
func led(topics kadm.TopicDetails, names []string) bool {
	for _, name := range names {
		detail, ok := topics[name]
		if !ok || detail.Err != nil || len(detail.Partitions) == 0 {
			return false
		}
		for _, p := range detail.Partitions {
			if p.Err != nil || p.Leader < 0 {
				return false
			}
		}
	}
	return true
}

func wrongInput(t plannedTopic, have int32) error {
	return Usagef("cluster.partitions: %d, but topic %s has %d already; set it to %d or choose another application.id", t.partitions, t.name, have, have)
}

// isRefused says whether the brokers know us, but do not allow what was asked for.
func isRefused(err error) bool {
	return errors.Is(err, kerr.TopicAuthorizationFailed) || errors.Is(err, kerr.ClusterAuthorizationFailed) ||
		errors.Is(err, kerr.GroupAuthorizationFailed) || errors.Is(err, kerr.TransactionalIDAuthorizationFailed)
}
