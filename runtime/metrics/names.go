package metrics

import (
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// group is a group of Kafka's metrics: an MBean without the values of its tags.
type group struct {
	domain string   // of JMX
	name   string   // the MBean's type; empty for metrics of our own
	tags   []string // besides client-id, which every metric has
}

// The groups, in the order of the things that they measure.
var (
	clientGroup   = group{"kafka.streams", "stream-metrics", nil}
	threadGroup   = group{"kafka.streams", "stream-thread-metrics", []string{"thread-id"}}
	updaterGroup  = group{"kafka.streams", "stream-state-updater-metrics", []string{"thread-id"}}
	taskGroup     = group{"kafka.streams", "stream-task-metrics", []string{"thread-id", "task-id"}}
	topicGroup    = group{"kafka.streams", "stream-topic-metrics", []string{"thread-id", "task-id", "processor-node-id", "topic-name"}}
	nodeGroup     = group{"kafka.streams", "stream-processor-node-metrics", []string{"thread-id", "task-id", "processor-node-id"}}
	cacheGroup    = group{"kafka.streams", "stream-record-cache-metrics", []string{"thread-id", "task-id", "record-cache-id"}}
	producerGroup = group{"kafka.producer", "producer-metrics", []string{"thread-id"}}
	consumerGroup = group{"kafka.consumer", "consumer-metrics", []string{"thread-id"}}
	memberGroup   = group{"kafka.consumer", "consumer-coordinator-metrics", []string{"thread-id"}}
	fetchGroup    = group{"kafka.consumer", "consumer-fetch-manager-metrics", []string{"thread-id", "topic", "partition"}}
	threadOwn     = group{"eostop", "", []string{"thread-id"}}
	clientOwn     = group{"eostop", "", nil}
)

// storeGroup is the group of the stores of a scope, which names their tag: "rocksdb" makes rocksdb-state-id.
func storeGroup(scope string) group {
	return group{"kafka.streams", "stream-state-metrics", []string{"thread-id", "task-id", scope + "-state-id"}}
}

// prometheusName joins parts of a name and replaces what Prometheus does not allow.
func prometheusName(parts ...string) string {
	parts = slices.DeleteFunc(slices.Clone(parts), func(part string) bool { return part == "" })
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_':
			return r
		default:
			return '_'
		}
	}, strings.Join(parts, "_"))
}

// family is a metric without the values of its labels.
type family struct {
	Family
	kind prometheus.ValueType
	desc *prometheus.Desc
}

// Family describes a metric without the values of its labels.
type Family struct {
	Name   string   // in Prometheus
	Group  string   // Kafka's name of the group; empty for metrics of our own
	Metric string   // Kafka's name in the group, or the own name with dashes
	Type   string   // counter, gauge or histogram
	Level  Level    // from which on it is recorded
	Labels []string // the first is client_id
	Help   string
}

// newFamily describes a metric of a group; extra are labels behind those that come from the group's tags.
func newFamily(g group, name string, kind prometheus.ValueType, level Level, help string, extra ...string) *family {
	labels := []string{"client_id"}
	for _, tag := range slices.Concat(g.tags, extra) {
		labels = append(labels, strings.TrimLeft(prometheusName(tag), "_0123456789")) // which a label may not begin with
	}
	f := &family{kind: kind, Family: Family{
		Name: prometheusName(g.domain, g.name, name), Group: g.name, Metric: name, Type: "gauge", Level: level, Labels: labels, Help: help,
	}}
	switch kind {
	case prometheus.CounterValue:
		f.Type = "counter"
	case prometheus.UntypedValue: // which stands for a histogram here
		f.Type = "histogram"
	default:
	}
	f.desc = prometheus.NewDesc(f.Name, help, labels, nil)
	return f
}
