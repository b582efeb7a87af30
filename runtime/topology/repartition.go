package topology

import "regexp"

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
	return s.through(r)
}

// through adds the three nodes of a repartition. It takes three numbers whether or not they are used, as Kafka
// Streams does.
func (s *KStream[K, V]) through(r Repartitioned[K, V]) *KStream[K, V] {
	sink := s.builder.name("KSTREAM-SINK-")
	filter := s.builder.name("KSTREAM-FILTER-")
	source := s.builder.name("KSTREAM-SOURCE-")
	topic := r.Name + repartitionSuffix
	if generated := regexp.MustCompile(`^KSTREAM.*-[0-9]{10}$`); !generated.MatchString(r.Name) {
		sink, filter, source = topic+"-sink", topic+"-filter", topic+"-source"
	}
	// Old versions of Kafka Streams left null keys out here. The node is still there, for the sake of the numbers.
	addFilter(s, filter, func(K, V) bool { return true })
	AddSink(s.builder.nodes, sink, topic, r.Key, r.Value, filter)
	AddSource(s.builder.nodes, source, r.Key, r.Value, topic)
	s.builder.nodes.AddRepartitionTopic(RepartitionTopic{Name: topic, Partitions: r.Partitions})
	return &KStream[K, V]{builder: s.builder, node: source}
}
