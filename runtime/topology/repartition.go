package topology

import (
	"regexp"
	"strings"
)

// repartitionSuffix ends the names of all repartition topics.
const repartitionSuffix = "-repartition"

// Repartitioned says how a stream is repartitioned.
type Repartitioned[K, V any] struct {
	Name       string // of the topic, without "-repartition"; empty = a generated one
	Partitions int32  // 0 = derived from the topics upstream
	Key        Serde[K]
	Value      Serde[V]
}

// Repartition sends the stream through an internal topic, so that records of the same key come together in one task.
// Records whose key is null go to any partition.
func (s *KStream[K, V]) Repartition(name string, key Serde[K], value Serde[V]) *KStream[K, V] {
	return s.RepartitionWith(Repartitioned[K, V]{Name: name, Key: key, Value: value})
}

// RepartitionWith is Repartition with every choice.
func (s *KStream[K, V]) RepartitionWith(r Repartitioned[K, V]) *KStream[K, V] {
	if r.Name == "" {
		r.Name = s.builder.name("KSTREAM-REPARTITION-")
	}
	return s.through(r, s.builder.repartitionNames(r.Name))
}

// repartitionNames are the names of the nodes of a repartition and of its topic.
type repartitionNames struct{ sink, filter, source, topic string }

var generatedName = regexp.MustCompile(`^KSTREAM.*-[0-9]{10}$`)

// repartitionNames takes three numbers whether or not they are used, as Kafka Streams does.
func (b *StreamsBuilder) repartitionNames(name string) repartitionNames {
	n := repartitionNames{topic: name}
	n.sink = b.name("KSTREAM-SINK-")
	n.filter = b.name("KSTREAM-FILTER-")
	n.source = b.name("KSTREAM-SOURCE-")
	if !strings.HasSuffix(n.topic, repartitionSuffix) {
		n.topic += repartitionSuffix
	}
	if !generatedName.MatchString(name) {
		n.sink, n.filter, n.source = n.topic+"-sink", n.topic+"-filter", n.topic+"-source"
	}
	return n
}

// through adds the three nodes of a repartition.
func (s *KStream[K, V]) through(r Repartitioned[K, V], n repartitionNames) *KStream[K, V] {
	at := s.builder.add(func(b *Builder) {
		// Old versions of Kafka Streams left null keys out here. The node is still there, for the sake of the numbers.
		AddProcessor(b, n.filter, filtering(func(K, V) bool { return true }), s.node)
		AddSink(b, n.sink, n.topic, r.Key, r.Value, n.filter)
		AddSource(b, n.source, r.Key, r.Value, n.topic)
		b.AddRepartitionTopic(RepartitionTopic{Name: n.topic, Partitions: r.Partitions})
	}, s.step)
	return &KStream[K, V]{builder: s.builder, node: n.source, step: at}
}
