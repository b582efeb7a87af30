package topology

import "fmt"

// sourceNode deserialises.
type sourceNode[K, V any] struct {
	Context[K, V]
	key      Serde[K]
	value    Serde[V]
	extract  TimestampExtractor // nil = the default
	ofATable bool               // records without a key are left out
}

func (s *sourceNode[K, V]) name() string { return s.node }

func (s *sourceNode[K, V]) attach(n node) { s.children = attached(s.children, n) }

func (s *sourceNode[K, V]) init() error { return nil }

func (s *sourceNode[K, V]) close() error { return nil }

func (s *sourceNode[K, V]) extractor() TimestampExtractor { return s.extract }

func (s *sourceNode[K, V]) read(in *Input) error {
	if s.ofATable && in.Key == nil {
		s.graph.dropped.Nulls++
		return nil
	}
	k, err := s.key.Deserialize(in.Key)
	if err != nil {
		return s.refuse(in, "key", err)
	}
	v, err := s.value.Deserialize(in.Value)
	if err != nil {
		return s.refuse(in, "value", err)
	}
	return s.Forward(Record[K, V]{Key: k, Value: v, Timestamp: s.graph.timestamp, Headers: s.graph.headers})
}

func (s *sourceNode[K, V]) refuse(in *Input, part string, err error) error {
	return s.graph.settle(DeserializationFailure, s.node, "", &DeserializationError{
		Topic: in.Topic, Partition: in.Partition, Offset: in.Offset, Node: s.node, Part: part, Err: err,
	})
}

// processorNode runs a processor.
type processorNode[KIn, VIn, KOut, VOut any] struct {
	context   Context[KOut, VOut]
	processor Processor[KIn, VIn, KOut, VOut]
}

func (p *processorNode[KIn, VIn, KOut, VOut]) name() string { return p.context.node }

func (p *processorNode[KIn, VIn, KOut, VOut]) attach(n node) {
	p.context.children = attached(p.context.children, n)
}

func (p *processorNode[KIn, VIn, KOut, VOut]) init() error { return p.processor.Init(&p.context) }

func (p *processorNode[KIn, VIn, KOut, VOut]) close() error { return p.processor.Close() }

func (p *processorNode[KIn, VIn, KOut, VOut]) receive(record Record[KIn, VIn]) error {
	g := p.context.graph
	timestamp, headers := g.timestamp, g.headers
	g.timestamp, g.headers = record.Timestamp, record.Headers
	err := p.processor.Process(record)
	if err != nil || g.failure != nil {
		err = g.settle(ProcessingFailure, p.context.node, "", err)
	}
	if g.watcher != nil && len(p.context.children) == 0 && err == nil {
		g.watcher.Arrived(p.context.node, record.Timestamp, "", 0)
	}
	g.timestamp, g.headers = timestamp, headers
	return err
}

// sinkNode serialises and sends.
type sinkNode[K, V any] struct {
	graph *Graph
	node  string
	topic string
	key   Serde[K]
	value Serde[V]
}

func (s *sinkNode[K, V]) name() string { return s.node }

// attach is never called: Build refuses a sink as a parent.
func (s *sinkNode[K, V]) attach(node) {}

func (s *sinkNode[K, V]) init() error { return nil }

func (s *sinkNode[K, V]) close() error { return nil }

func (s *sinkNode[K, V]) receive(record Record[K, V]) error {
	key, err := s.key.Serialize(record.Key)
	if err != nil {
		return s.refuse(record, KeySerializationFailure, fmt.Errorf("serialize key for topic %s: %w", s.topic, err))
	}
	value, err := s.value.Serialize(record.Value)
	if err != nil {
		return s.refuse(record, ValueSerializationFailure, fmt.Errorf("serialize value for topic %s: %w", s.topic, err))
	}
	if err := s.graph.host.Send(s.topic, -1, key, value, record.Timestamp, record.Headers); err != nil {
		return s.graph.failHost("send to topic", s.topic, err)
	}
	if s.graph.watcher != nil {
		s.graph.watcher.Arrived(s.node, record.Timestamp, s.topic, len(key)+len(value))
	}
	return nil
}

func (s *sinkNode[K, V]) refuse(record Record[K, V], kind FailureKind, err error) error {
	g := s.graph
	timestamp, headers := g.timestamp, g.headers
	g.timestamp, g.headers = record.Timestamp, record.Headers
	err = g.settle(kind, s.node, s.topic, err)
	g.timestamp, g.headers = timestamp, headers
	return err
}

// attached adds a node to the children. Build has compared the types.
func attached[K, V any](children []child[K, V], n node) []child[K, V] {
	return append(children, child[K, V]{name: n.name(), node: n.(receiver[K, V])})
}
