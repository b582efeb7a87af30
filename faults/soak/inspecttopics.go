package soak

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// topicState is what the cluster says of a topic.
type topicState struct {
	err        error
	partitions int32
	replicas   int
	allowed    int32             // bits by kmsg.ACLOperation; negative = not said
	configs    map[string]string // nil = not shown to us
}

// topics looks at the topics that a run needs. Those of a kind of which the same is found share a line.
func (i *inspection) topics(ctx context.Context, planned []plannedTopic) {
	states, err := i.topicStates(ctx, planned)
	if err != nil {
		i.add("topics", CheckUnknown, fmt.Sprintf("the cluster does not say which there are: %v", err), "")
		return
	}
	type same struct{ kind, result, found, advice string }
	names := map[same][]string{}
	var order []Finding
	for _, t := range planned {
		f := Finding{Check: t.kind, Result: CheckOK}
		state := states[t.name]
		switch {
		case state == nil || errors.Is(state.err, kerr.UnknownTopicOrPartition):
			i.creatable(ctx, t, &f)
		case state.err != nil && isRefused(state.err):
			f.Result, f.Found = CheckFailed, fmt.Sprintf("hidden from us: %v", state.err)
			f.Advice = fmt.Sprintf("allow %s on topics with prefix %s-", strings.Join(operationNames(i.operations(t)), ", "), i.cfg.Application.ID)
		case state.err != nil:
			f.Result, f.Found = CheckUnknown, state.err.Error()
		default:
			i.existing(t, state, &f)
		}
		key := same{f.Check, f.Result, f.Found, f.Advice}
		if names[key] == nil {
			order = append(order, f)
		}
		names[key] = append(names[key], t.name)
	}
	for _, f := range order {
		all := names[same{f.Check, f.Result, f.Found, f.Advice}]
		f.Check += " " + all[0]
		if len(all) > 1 {
			f.Check += fmt.Sprintf(" and %d more", len(all)-1)
		}
		f.Topics = all
		i.findings = append(i.findings, f)
	}
}

// topicStates asks for all topics at once.
func (i *inspection) topicStates(ctx context.Context, planned []plannedTopic) (map[string]*topicState, error) {
	request := kmsg.NewPtrMetadataRequest()
	request.IncludeTopicAuthorizedOperations = true
	for _, t := range planned {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = &t.name
		request.Topics = append(request.Topics, topic)
	}
	response, err := request.RequestWith(ctx, i.client)
	if err != nil {
		return nil, err
	}
	states := map[string]*topicState{}
	var there []string
	for _, t := range response.Topics {
		if t.Topic == nil {
			continue
		}
		state := &topicState{err: kerr.ErrorForCode(t.ErrorCode), partitions: int32(len(t.Partitions)), allowed: t.AuthorizedOperations}
		if len(t.Partitions) > 0 {
			state.replicas = len(t.Partitions[0].Replicas)
		}
		if state.err == nil {
			there = append(there, *t.Topic)
		}
		states[*t.Topic] = state
	}
	for _, topic := range there {
		// One by one: who is denied one of them is denied all of a request.
		described, err := i.admin.DescribeTopicConfigs(ctx, topic)
		if err != nil {
			continue
		}
		for _, d := range described {
			if d.Err == nil && states[d.Name] != nil {
				states[d.Name].configs = configValues(d.Configs)
			}
		}
	}
	return states, nil
}

func configValues(all []kadm.Config) map[string]string {
	values := map[string]string{}
	for _, c := range all {
		values[c.Key] = c.MaybeValue()
	}
	return values
}

// creatable asks for the creation of a topic without creating it.
func (i *inspection) creatable(ctx context.Context, t plannedTopic, f *Finding) {
	configs := make(map[string]*string, len(t.configs))
	for key, value := range t.configs {
		configs[key] = &value
	}
	factor, _ := i.replication()
	responses, err := i.admin.ValidateCreateTopics(ctx, t.partitions, factor, configs, t.name)
	message := ""
	if r, ok := responses[t.name]; ok && err == nil {
		err, message = r.Err, r.ErrMessage
	}
	switch {
	case err == nil, errors.Is(err, kerr.TopicAlreadyExists):
		f.Found = "will be created"
	case isRefused(err):
		f.Result, f.Found = CheckFailed, fmt.Sprintf("does not exist, and we may not create it: %v", err)
		f.Advice = fmt.Sprintf("create it with %d partitions%s, or allow CREATE on it", t.partitions, settingsText(t.configs))
	case !isAnswer(err):
		f.Result, f.Found = CheckUnknown, fmt.Sprintf("does not exist; the cluster does not say whether it can be created: %v", err)
	default:
		f.Result, f.Found = CheckFailed, strings.TrimSpace(fmt.Sprintf("cannot be created: %v %s", err, message))
		f.Advice = fmt.Sprintf("create it with %d partitions%s, or change cluster.replication_factor", t.partitions, settingsText(t.configs))
	}
}

// isAnswer reports whether an error is a broker's judgement. A busy one answers late or puts off, which says nothing.
func isAnswer(err error) bool {
	var code *kerr.Error
	return errors.As(err, &code) && !code.Retriable
}

func settingsText(configs map[string]string) string {
	var parts []string
	for _, key := range sortedKeys(configs) {
		parts = append(parts, key+"="+configs[key])
	}
	if len(parts) == 0 {
		return ""
	}
	return " and " + strings.Join(parts, ", ")
}

// existing judges a topic that is there. The worst of what is wrong with it is told.
func (i *inspection) existing(t plannedTopic, s *topicState, f *Finding) {
	fail := func(found, advice string) { f.Result, f.Found, f.Advice = CheckFailed, found, advice }
	warn := func(found, advice string) { f.Result, f.Found, f.Advice = CheckWarning, found, advice }
	f.Found = fmt.Sprintf("%d partitions, %d replicas", s.partitions, s.replicas)
	inSync, _ := strconv.Atoi(s.configs["min.insync.replicas"])
	var denied, wanted []kmsg.ACLOperation
	for _, operation := range i.operations(t) {
		if s.allowed >= 0 && s.allowed&(1<<uint(operation)) == 0 {
			denied = append(denied, operation)
		}
	}
	if t.kind == topicRepartition && s.allowed >= 0 && s.allowed&(1<<uint(kmsg.ACLOperationDelete)) == 0 {
		wanted = append(wanted, kmsg.ACLOperationDelete)
	}
	policy := s.configs["cleanup.policy"]
	switch {
	case t.kind == topicInput && s.partitions != t.partitions:
		fail(fmt.Sprintf("has %d partitions, not %d", s.partitions, t.partitions),
			fmt.Sprintf("set cluster.partitions to %d, or choose another --application-id", s.partitions))
		f.usage = true
	case t.kind != topicOutput && s.partitions != t.partitions:
		fail(fmt.Sprintf("has %d partitions, not %d", s.partitions, t.partitions), "remove it with eostop clean, or create it anew")
	case len(denied) > 0:
		fail("not allowed to us: "+strings.Join(operationNames(denied), ", "), "allow "+strings.Join(operationNames(denied), ", ")+" on it")
	case inSync > s.replicas:
		fail(fmt.Sprintf("nothing can be written: min.insync.replicas is %d of %d replicas", inSync, s.replicas), "lower min.insync.replicas of the topic")
	case t.kind == topicChangelog && policy != "" && !strings.Contains(policy, "compact"):
		warn("has cleanup.policy "+policy, "set cleanup.policy=compact, or state is lost when records expire")
	case t.kind == topicRepartition && strings.Contains(policy, "compact"):
		fail("has cleanup.policy "+policy+", which drops records that were not processed", "set cleanup.policy=delete")
	case t.kind == topicInput && strings.Contains(policy, "compact"):
		warn("has cleanup.policy "+policy+", which drops records that were not processed", "set cleanup.policy=delete")
	case len(wanted) > 0:
		warn("records may not be deleted by us, so it grows", "allow DELETE on it, or give it a retention")
	case inSync == s.replicas && s.replicas > 1:
		warn(fmt.Sprintf("stops with one broker: min.insync.replicas is %d of %d replicas", inSync, s.replicas), "lower min.insync.replicas of the topic")
	case inSync == 1 && s.replicas > 1:
		warn(fmt.Sprintf("min.insync.replicas is 1 of %d replicas: acknowledged records may be lost with a broker", s.replicas), "raise min.insync.replicas of the topic")
	}
}

// operations lists what must be allowed on a topic.
func (i *inspection) operations(t plannedTopic) []kmsg.ACLOperation {
	all := []kmsg.ACLOperation{kmsg.ACLOperationDescribe}
	if t.kind != topicOutput || i.cfg.Verify.Enabled {
		all = append(all, kmsg.ACLOperationRead)
	}
	if t.kind != topicInput || i.cfg.Load.Enabled {
		all = append(all, kmsg.ACLOperationWrite)
	}
	return all
}

func operationNames(all []kmsg.ACLOperation) []string {
	names := make([]string, len(all))
	for i, o := range all {
		names[i] = o.String()
	}
	return names
}
