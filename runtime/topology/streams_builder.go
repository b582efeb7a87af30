package topology

import "fmt"

// StreamsBuilder is the streams DSL: every operator adds a node to a graph beneath. Names of nodes and stores are
// those that Kafka Streams would give, from one counter in the order of the calls, so the order of the calls is part
// of an application's identity: changelogs are named after it.
type StreamsBuilder struct {
	nodes    *Builder
	next     int
	steps    []*step
	priority int // of the latest step
}

// NewStreamsBuilder returns an empty builder.
func NewStreamsBuilder() *StreamsBuilder { return &StreamsBuilder{nodes: NewBuilder()} }

// Build checks the program and returns it, see [Builder.Build]. The builder must not be used any more.
func (b *StreamsBuilder) Build() (*Topology, error) {
	for _, s := range inOrder(b.steps) {
		s.write(b.nodes)
	}
	return b.nodes.Build()
}

// name takes the next number.
func (b *StreamsBuilder) name(prefix string) string {
	name := fmt.Sprintf("%s%010d", prefix, b.next)
	b.next++
	return name
}

// storeName takes the next number for a store.
func (b *StreamsBuilder) storeName(prefix string) string { return b.name(prefix + "STATE-STORE-") }

// named is name unless another name is given. The number is taken all the same, as Kafka Streams does it, so that giving
// a name to one node does not change those of the others.
func (b *StreamsBuilder) named(prefix string, given []Named) string {
	return b.either(b.name(prefix), given)
}

// either is the given name, or else the generated one.
func (b *StreamsBuilder) either(generated string, given []Named) string {
	b.nodes.need(len(given) < 2, "node %s: it has more than one name", generated)
	if len(given) > 0 && given[0] != "" {
		return string(given[0])
	}
	return generated
}

// step is what one operator adds to the program. It is written at the end, for later operators have a say in it: whether
// a table needs a store, and whether it passes old values on.
type step struct {
	parents  []*step
	priority int
	write    func(b *Builder)
	written  bool
}

// add adds a step behind others.
func (b *StreamsBuilder) add(write func(b *Builder), parents ...*step) *step {
	s := &step{parents: parents, write: write}
	b.steps = append(b.steps, s)
	b.use(s)
	return s
}

// use makes a step the latest one. It is for steps that a second operator uses again: Kafka Streams counts them anew.
func (b *StreamsBuilder) use(s *step) {
	b.priority++
	s.priority = b.priority
}

// inOrder returns the steps in the order in which Kafka Streams would write them, on which the numbers of the
// sub-topologies depend: always the one with the smallest priority among those whose parents are written.
func inOrder(steps []*step) []*step {
	ordered := make([]*step, 0, len(steps))
	for len(ordered) < len(steps) {
		var next *step
		for _, s := range steps {
			if !s.written && (next == nil || s.priority < next.priority) && s.ready() {
				next = s
			}
		}
		next.written = true
		ordered = append(ordered, next)
	}
	return ordered
}

func (s *step) ready() bool {
	for _, p := range s.parents {
		if !p.written {
			return false
		}
	}
	return true
}

// Stream reads a topic. A topic can be read once in a program.
func Stream[K, V any](
	b *StreamsBuilder, topic string, key Serde[K], value Serde[V], consumed ...Consumed,
) *KStream[K, V] {
	c := b.consumed(topic, consumed)
	name := b.named("KSTREAM-SOURCE-", []Named{c.Name})
	at := b.add(func(b *Builder) {
		AddSource(b, name, key, value, topic)
		b.SetTimestampExtractor(name, c.Timestamps)
	})
	return &KStream[K, V]{builder: b, node: name, step: at}
}

// AddStore adds a store for [Process], without a number of its own. See [AddStateStore].
func AddStore[K, V any](b *StreamsBuilder, spec StoreSpec, key Serde[K], value Serde[V]) {
	b.add(func(b *Builder) { AddStateStore(b, spec, key, value) })
}

// KStream is a stream of records, each of which stands for itself. Several operators on the same stream each get all
// its records.
type KStream[K, V any] struct {
	builder *StreamsBuilder
	node    string
	step    *step // that adds the node
	// rekeyed is true when records may lie in another partition than their key asks for.
	rekeyed bool
}

// then adds a processor behind the stream and returns what it forwards.
func then[K2, V2, K, V any](
	s *KStream[K, V], name string, rekeyed bool, supplier Supplier[K, V, K2, V2], stores ...string,
) *KStream[K2, V2] {
	at := s.builder.add(func(b *Builder) {
		AddProcessor(b, name, supplier, s.node)
		b.ConnectStore(name, stores...)
	}, s.step)
	return &KStream[K2, V2]{builder: s.builder, node: name, step: at, rekeyed: s.rekeyed || rekeyed}
}
