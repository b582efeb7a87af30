package soak

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// findTopics sorts the topics of the cluster into those that are removed and those that are left. Changelogs and repartition topics are the
// application's by their names. Inputs and outputs may have been there before it, so they are removed only if they are as a
// run with this configuration would have created them.
func (p *CleanPlan) findTopics(ctx context.Context, cfg *Config, programs []builtin) error {
	existing, err := p.cluster.admin.ListTopics(ctx)
	if err != nil {
		return Runf("list topics: %w", err)
	}
	others, err := p.cluster.longerNames(ctx, p.ApplicationID)
	if err != nil {
		return Runf("list groups: %w; without them other applications cannot be told apart", err)
	}
	inside, outside, shared := map[string]bool{}, map[string]plannedTopic{}, map[string]bool{}
	for i := range programs {
		topics := programs[i].topics(p.ApplicationID)
		changelogs := slices.Collect(maps.Values(topics.Changelogs))
		for _, name := range slices.Concat(changelogs, topics.Repartitions) {
			inside[name] = true
		}
		for _, t := range p.cluster.outsideTopics(topics) {
			outside[t.name] = t
			// Where the program is not known for certain, all of its stores are a sign of it.
			if len(programs) == 1 || !slices.ContainsFunc(changelogs, func(name string) bool { return !existing.Has(name) }) {
				shared[t.name] = true
			}
		}
	}
	foreign := "of no built-in program"
	if len(programs) == 1 {
		foreign = "not of topology " + cfg.Application.Topology
	}
	for _, name := range existing.Names() {
		why := ""
		if !strings.HasPrefix(name, p.ApplicationID+"-") {
			if !shared[name] {
				continue
			}
			why = "does not carry the application's name"
		} else if other := ownerAmong(name, others, existing, p.ApplicationID); other != "" {
			why = "may be of application " + other
		} else if t, ok := outside[name]; ok {
			why = p.unlike(ctx, t, existing[name])
		} else if !inside[name] {
			why = foreign
		}
		if why == "" {
			p.Topics = append(p.Topics, name)
		} else {
			p.LeftAlone = append(p.LeftAlone, Left{name, why})
		}
	}
	return nil
}

// ownerAmong returns the application whose name is longer than that of the given one and may have the topic as well: one that
// has a group or an input.
func ownerAmong(topic string, others []string, existing kadm.TopicDetails, applicationID string) string {
	for at := len(applicationID) + 1; at < len(topic); at++ {
		if topic[at] != '-' {
			continue
		}
		if slices.Contains(others, topic[:at+1]) || existing.Has(topic[:at]+"-input") {
			return topic[:at]
		}
	}
	return ""
}

// unlike says what keeps a topic from being one that a run has created; empty = nothing does.
func (p *CleanPlan) unlike(ctx context.Context, t plannedTopic, detail kadm.TopicDetail) string {
	if n := len(detail.Partitions); n != int(t.partitions) {
		return fmt.Sprintf("not created by a run with this configuration: it has %d partitions, not %d", n, t.partitions)
	}
	described, err := p.cluster.admin.DescribeTopicConfigs(ctx, t.name)
	var resource kadm.ResourceConfig
	if err == nil {
		resource, err = described.On(t.name, nil)
	}
	if err == nil {
		err = resource.Err
	}
	if err != nil {
		return fmt.Sprintf("who has created it is not known without its configuration: %v; allow DESCRIBE_CONFIGS on it", err)
	}
	set := slices.DeleteFunc(slices.Clone(resource.Configs), func(c kadm.Config) bool { return c.Source != kmsg.ConfigSourceDynamicTopicConfig })
	if have, want := configText(configValues(set)), configText(t.configs); have != want {
		return fmt.Sprintf("not created by a run with this configuration: it is set up with %s, not %s", have, want)
	}
	return ""
}

// configText shows what is set of a topic.
func configText(configs map[string]string) string {
	if len(configs) == 0 {
		return "defaults"
	}
	var all []string
	for _, key := range sortedKeys(configs) {
		all = append(all, key+"="+configs[key])
	}
	return strings.Join(all, ",")
}
