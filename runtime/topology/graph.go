package topology

import (
	"errors"
	"fmt"
	"slices"
)

// Host is the task a graph runs in. All its methods are called on the goroutine that calls the graph.
type Host interface {
	// TaskID is the name of the task, such as "1_0".
	TaskID() string
	// Send hands a serialised record to the producer's side; it may keep the slices. The topic is the logical name,
	// without the application id for internal topics. Partition -1 means by the hash of the key, see [PartitionFor];
	// any partition will do for a key that is nil.
	Send(topic string, partition int32, key, value []byte, timestamp int64, headers []Header) error
	// Store returns the task's store of that name. It is called for each store of the sub-topology by Instantiate.
	Store(name string) (BytesStore, error)
	// StreamTime is the greatest timestamp of the task's records so far, in milliseconds; -1 before the first.
	StreamTime() int64
}

// Graph is the program of one task: fresh processors, connected to each other and to the task's stores. It is owned by
// one goroutine.
type Graph struct {
	host    Host
	sources map[string]entry // by topic
	nodes   []node
	stores  map[string]any // *KeyValueStore of some types
	failure error          // the first error of the record that is being processed
	dropped uint64
	closed  bool
}

// node is a node of a graph, whatever its types.
type node interface {
	name() string
	// attach adds a child. Build has made sure that the child takes what the node forwards.
	attach(child node)
	init() error
	close() error
}

// receiver is a node that takes records.
type receiver[K, V any] interface {
	receive(record Record[K, V]) error
}

// entry is a node that takes serialised records.
type entry interface {
	read(topic string, key, value []byte, timestamp int64, headers []Header) error
}

// Process takes one record of a source topic through the graph, depth first, and returns when all that follows from it
// has been handed to the host. The topic is the logical name; nil key or value is Kafka's null.
//
// The error is a *DeserializationError, a *ProcessingError, or carries an error of the host for errors.Is and
// errors.As. After an error what the record has already put and sent stays with the host, whose business it is to
// abandon it. A panic of a processor is not recovered: who calls Process decides what it means.
func (g *Graph) Process(topic string, key, value []byte, timestamp int64, headers []Header) error {
	if g.closed {
		return errors.New("process: the graph is closed")
	}
	source, ok := g.sources[topic]
	if !ok {
		return fmt.Errorf("process: no source reads topic %s", topic)
	}
	g.failure = nil
	// The capacity is cut so that a processor that appends a header gets a copy and cannot touch its siblings' view.
	err := source.read(topic, key, value, timestamp, slices.Clip(headers))
	if g.failure != nil {
		return g.failure
	}
	return err
}

// Dropped is the number of records that stateful operators have left out because their key or value was null, as Kafka
// Streams does.
func (g *Graph) Dropped() uint64 { return g.dropped }

// Close closes the processors, each of them whatever the others say, and returns all their errors, each as a
// *ProcessingError. Stores belong to the host and stay as they are. Closing twice does nothing.
func (g *Graph) Close() error {
	if g.closed {
		return nil
	}
	g.closed = true
	var errs []error
	for _, n := range g.nodes {
		if err := n.close(); err != nil {
			errs = append(errs, atNode(n.name(), fmt.Errorf("close: %w", err)))
		}
	}
	return errors.Join(errs...)
}

// fail keeps the first error of a record, for a processor may swallow it, and returns err.
func (g *Graph) fail(err error) error {
	if g.failure == nil {
		g.failure = err
	}
	return err
}

// sourceNode deserialises.
type sourceNode[K, V any] struct {
	Context[K, V]
	key   Serde[K]
	value Serde[V]
}

func (s *sourceNode[K, V]) name() string { return s.node }

func (s *sourceNode[K, V]) attach(n node) { s.children = attached(s.children, n) }

func (s *sourceNode[K, V]) init() error { return nil }

func (s *sourceNode[K, V]) close() error { return nil }

func (s *sourceNode[K, V]) read(topic string, key, value []byte, timestamp int64, headers []Header) error {
	k, err := s.key.Deserialize(key)
	if err != nil {
		return &DeserializationError{Topic: topic, Node: s.node, Part: "key", Err: err}
	}
	v, err := s.value.Deserialize(value)
	if err != nil {
		return &DeserializationError{Topic: topic, Node: s.node, Part: "value", Err: err}
	}
	return s.Forward(Record[K, V]{Key: k, Value: v, Timestamp: timestamp, Headers: headers})
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
	if err := p.processor.Process(record); err != nil {
		return atNode(p.context.node, err)
	}
	return nil
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
		return &ProcessingError{Node: s.node, Err: fmt.Errorf("serialize key for topic %s: %w", s.topic, err)}
	}
	value, err := s.value.Serialize(record.Value)
	if err != nil {
		return &ProcessingError{Node: s.node, Err: fmt.Errorf("serialize value for topic %s: %w", s.topic, err)}
	}
	if err := s.graph.host.Send(s.topic, -1, key, value, record.Timestamp, record.Headers); err != nil {
		return &hostError{"send to topic " + s.topic, err}
	}
	return nil
}

// attached adds a node to the children. Build has compared the types.
func attached[K, V any](children []child[K, V], n node) []child[K, V] {
	return append(children, child[K, V]{name: n.name(), node: n.(receiver[K, V])})
}
