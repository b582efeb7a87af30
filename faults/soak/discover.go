package soak

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// discoverTimeout bounds each step of a discovery.
const discoverTimeout = 15 * time.Second

// VerifiedTopics are the topics of an application that are judged.
type VerifiedTopics struct {
	Inputs       []string `json:"inputs"`
	Outputs      []string `json:"outputs"`
	Repartitions []string `json:"repartitions"`
	Changelogs   []string `json:"changelogs"`
}

// all returns the names of all of them.
func (t *VerifiedTopics) all() []string {
	return slices.Concat(t.Inputs, t.Outputs, t.Repartitions, t.Changelogs)
}

// topicsOf lists the topics of a program, all of which must be there.
func (c *cluster) topicsOf(ctx context.Context, program *builtin, applicationID string) (*VerifiedTopics, error) {
	topics := program.topics(applicationID)
	t := &VerifiedTopics{Inputs: []string{topics.Input}, Repartitions: orEmpty(topics.Repartitions)}
	for _, role := range sortedKeys(topics.Outputs) {
		t.Outputs = append(t.Outputs, topics.Outputs[role])
	}
	for _, store := range sortedKeys(topics.Changelogs) {
		t.Changelogs = append(t.Changelogs, topics.Changelogs[store])
	}
	t.Changelogs = orEmpty(t.Changelogs)
	ctx, cancel := context.WithTimeout(ctx, discoverTimeout)
	defer cancel()
	all := t.all()
	details, err := c.admin.ListTopics(ctx, all...)
	if err != nil {
		return nil, Runf("look up topics: %w", err)
	}
	var missing []string
	for _, topic := range all {
		switch d, ok := details[topic]; {
		case !ok || errors.Is(d.Err, kerr.UnknownTopicOrPartition):
			missing = append(missing, topic)
		case d.Err != nil:
			return nil, Runf("topic %s: %w; allow DESCRIBE and READ on it", topic, d.Err)
		}
	}
	if len(missing) > 0 {
		return nil, Usagef("cluster %s has no topic %s, which topology %s of application %s writes or reads%s; choose another --application-id or --topology",
			c.id, missing[0], program.name, applicationID, andMore(len(missing)-1))
	}
	return t, nil
}

func andMore(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" (and %d more)", n)
}

// discover finds the topics of an application of which only the id is known: what its group has committed offsets of, what begins with
// its name, and what its transactional ids have written. Notes say what could not be found out.
func (c *cluster) discover(ctx context.Context, applicationID string) (*VerifiedTopics, []string, error) {
	ctx, cancel := context.WithTimeout(ctx, discoverTimeout)
	defer cancel()
	existing, err := c.admin.ListTopics(ctx)
	if err != nil {
		return nil, nil, Runf("list topics: %w", err)
	}
	committed, err := c.admin.FetchOffsets(ctx, applicationID)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return nil, nil, Runf("committed offsets of group %s: %w; allow DESCRIBE on the group", applicationID, err)
	}
	read := map[string]bool{}
	committed.Each(func(o kadm.OffsetResponse) {
		if o.At >= 0 && existing.Has(o.Topic) {
			read[o.Topic] = true
		}
	})
	written, notes := c.writtenBy(ctx, applicationID, existing)
	others, _ := c.longerNames(ctx, applicationID) // Who may not list groups has no others to tell apart.
	t := &VerifiedTopics{Inputs: []string{}, Outputs: []string{}, Repartitions: []string{}, Changelogs: []string{}}
	for _, name := range existing.Names() {
		own := strings.HasPrefix(name, applicationID+"-") && !slices.ContainsFunc(others, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
		switch {
		case existing[name].IsInternal:
		case own && strings.HasSuffix(name, "-changelog"):
			t.Changelogs = append(t.Changelogs, name)
		case own && strings.HasSuffix(name, "-repartition"), read[name] && written[name]: // The latter is a topic of the user's between two parts.
			t.Repartitions = append(t.Repartitions, name)
		case read[name]:
			t.Inputs = append(t.Inputs, name)
		case own, written[name]:
			t.Outputs = append(t.Outputs, name)
		}
	}
	if len(t.all()) == 0 {
		return nil, nil, Usagef("cluster %s knows no group %s with committed offsets, no topic %s-.. and no transactional id of it; choose another --application-id or --brokers",
			c.id, applicationID, applicationID)
	}
	return t, notes, nil
}

// longerNames returns the prefixes of other applications whose names begin as that of the given one.
func (c *cluster) longerNames(ctx context.Context, applicationID string) ([]string, error) {
	groups, err := c.admin.ListGroups(ctx)
	if err != nil {
		return nil, err
	}
	var prefixes []string
	for _, group := range groups.Groups() {
		if strings.HasPrefix(group, applicationID+"-") {
			prefixes = append(prefixes, group+"-")
		}
	}
	return prefixes, nil
}

// writtenBy finds the topics to which transactional ids of the application have written, as far as brokers remember: by the ids that
// coordinators know and the producers that partitions know.
func (c *cluster) writtenBy(ctx context.Context, applicationID string, existing kadm.TopicDetails) (written map[string]bool, notes []string) {
	written = map[string]bool{}
	listed, err := c.admin.ListTransactions(ctx, nil, nil)
	if err != nil && len(listed) == 0 {
		return written, []string{fmt.Sprintf("transactional ids are not listed to us, so that outputs are known by their names only: %v", err)}
	}
	producers := map[int64]bool{}
	for id, transaction := range listed {
		if strings.HasPrefix(id, applicationID+"-") {
			producers[transaction.ProducerID] = true
		}
	}
	if len(producers) == 0 {
		return written, []string{fmt.Sprintf("coordinators know no transactional id %s-.., so that outputs are known by their names only", applicationID)}
	}
	ask := kadm.TopicsSet{}
	for name, topic := range existing {
		if !topic.IsInternal && topic.Err == nil {
			ask.Add(name, topic.Partitions.Numbers()...)
		}
	}
	described, err := c.admin.DescribeProducers(ctx, ask)
	if err != nil {
		notes = append(notes, fmt.Sprintf("producers are not described to us everywhere, so that some outputs may be known by their names only: %v", err))
	}
	described.EachProducer(func(p kadm.DescribedProducer) {
		if producers[p.ProducerID] {
			written[p.Topic] = true
		}
	})
	return written, notes
}
