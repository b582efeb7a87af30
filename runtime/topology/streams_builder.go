package topology

import "fmt"

// StreamsBuilder is the streams DSL: every operator adds a node to a graph beneath. Names of nodes and stores are
// those that Kafka Streams would give, from one counter in the order of the calls, so the order of the calls is part
// of an application's identity: changelogs are named after it.
type StreamsBuilder struct {
	nodes *Builder
	next  int
}

// NewStreamsBuilder returns an empty builder.
func NewStreamsBuilder() *StreamsBuilder { return &StreamsBuilder{nodes: NewBuilder()} }

// Build checks the program and returns it, see [Builder.Build]. The builder must not be used any more.
func (b *StreamsBuilder) Build() (*Topology, error) { return b.nodes.Build() }

// name takes the next number.
func (b *StreamsBuilder) name(prefix string) string {
	name := fmt.Sprintf("%s%010d", prefix, b.next)
	b.next++
	return name
}

// Stream reads a topic. A topic can be read once in a program.
func Stream[K, V any](b *StreamsBuilder, topic string, key Serde[K], value Serde[V]) *KStream[K, V] {
	name := b.name("KSTREAM-SOURCE-")
	AddSource(b.nodes, name, key, value, topic)
	return &KStream[K, V]{builder: b, node: name}
}

// KStream is a stream of records, each of which stands for itself. Several operators on the same stream each get all
// its records.
type KStream[K, V any] struct {
	builder *StreamsBuilder
	node    string
	// rekeyed is true when records may lie in another partition than their key asks for.
	rekeyed bool
}
