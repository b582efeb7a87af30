package topology

import (
	"maps"
	"reflect"
	"slices"
)

// Builder collects the nodes and stores of a program: the Processor API. Nodes may name parents that are added later.
// It never fails before Build, which reports every mistake at once. A builder is for one goroutine.
type Builder struct {
	nodes        []*nodeDef // in insertion order
	stores       []*storeDef
	repartitions []RepartitionTopic
	problems     []error // found while adding
}

// nodeKind tells the three kinds of nodes apart.
type nodeKind uint8

const (
	sourceKind nodeKind = iota
	processorKind
	sinkKind
)

// nodeDef is a node as it was added. What is typed about it is in build.
type nodeDef struct {
	kind    nodeKind
	name    string
	parents []string
	topics  []string           // of a source
	topic   string             // of a sink
	extract TimestampExtractor // of a source; nil = the default
	stores  []string           // of a processor
	takes   reflect.Type
	gives   reflect.Type
	build   func(g *Graph) node
}

// storeDef is a store as it was added.
type storeDef struct {
	spec       StoreSpec
	processors []string
	open       func(below *layer) StateStore
}

// NewBuilder returns an empty builder.
func NewBuilder() *Builder { return &Builder{} }

// AddSource adds a node that reads topics.
func AddSource[K, V any](b *Builder, name string, key Serde[K], value Serde[V], topics ...string) {
	addSource(b, name, key, value, false, topics)
}

func addSource[K, V any](b *Builder, name string, key Serde[K], value Serde[V], ofATable bool, topics []string) {
	b.need(key != nil && value != nil, "source %s: a serde is nil", name)
	def := &nodeDef{
		kind:   sourceKind,
		name:   name,
		topics: slices.Clone(topics),
		gives:  reflect.TypeFor[Record[K, V]](),
	}
	def.build = func(g *Graph) node {
		return &sourceNode[K, V]{
			Context: Context[K, V]{graph: g, node: name}, key: key, value: value, extract: def.extract, ofATable: ofATable,
		}
	}
	b.nodes = append(b.nodes, def)
}

// SetTimestampExtractor sets how a source that was added gets the timestamps of its records.
func (b *Builder) SetTimestampExtractor(source string, extract TimestampExtractor) {
	i := slices.IndexFunc(b.nodes, func(n *nodeDef) bool { return n.kind == sourceKind && n.name == source })
	b.need(i >= 0, "timestamp extractor: source %s is not added yet", source)
	if i >= 0 {
		b.nodes[i].extract = extract
	}
}

// AddProcessor adds a node that gets the records its parents forward and forwards its own. The parents must forward
// what it takes. Its stores are connected by AddStateStore or ConnectStore.
func AddProcessor[KIn, VIn, KOut, VOut any](
	b *Builder, name string, supplier Supplier[KIn, VIn, KOut, VOut], parents ...string,
) {
	b.need(supplier != nil, "processor %s: the supplier is nil", name)
	def := &nodeDef{
		kind:    processorKind,
		name:    name,
		parents: slices.Clone(parents),
		takes:   reflect.TypeFor[Record[KIn, VIn]](),
		gives:   reflect.TypeFor[Record[KOut, VOut]](),
	}
	def.build = func(g *Graph) node {
		return &processorNode[KIn, VIn, KOut, VOut]{
			context:   Context[KOut, VOut]{graph: g, node: name, stores: def.stores},
			processor: supplier(),
		}
	}
	b.nodes = append(b.nodes, def)
}

// AddSink adds a node that writes what its parents forward to a topic, partitioned by the hash of the key.
func AddSink[K, V any](b *Builder, name, topic string, key Serde[K], value Serde[V], parents ...string) {
	b.need(key != nil && value != nil, "sink %s: a serde is nil", name)
	b.nodes = append(b.nodes, &nodeDef{
		kind:    sinkKind,
		name:    name,
		parents: slices.Clone(parents),
		topic:   topic,
		takes:   reflect.TypeFor[Record[K, V]](),
		build: func(g *Graph) node {
			return &sinkNode[K, V]{graph: g, node: name, topic: topic, key: key, value: value}
		},
	})
}

// AddStateStore adds a key-value store and connects processors to it. Processors that share a store belong to one
// sub-topology. They open it by [OpenStore], or by [OpenTimestampedStore] if the spec says that it is timestamped.
func AddStateStore[K, V any](b *Builder, spec StoreSpec, key Serde[K], value Serde[V], processors ...string) {
	b.need(key != nil && value != nil, "store %s: a serde is nil", spec.Name)
	spec.Config = maps.Clone(spec.Config)
	b.stores = append(b.stores, &storeDef{
		spec:       spec,
		processors: slices.Clone(processors),
		open: func(below *layer) StateStore {
			view := keyValueView[K, V]{below: below, key: key, value: value}
			if spec.Timestamped {
				return &TimestampedKeyValueStore[K, V]{view}
			}
			return &KeyValueStore[K, V]{view}
		},
	})
}

// ConnectStore connects a processor to further stores.
func (b *Builder) ConnectStore(processor string, stores ...string) {
	for _, name := range stores {
		i := slices.IndexFunc(b.stores, func(s *storeDef) bool { return s.spec.Name == name })
		if i < 0 {
			b.need(false, "processor %s: store %s is not added yet", processor, name)
			continue
		}
		if !slices.Contains(b.stores[i].processors, processor) {
			b.stores[i].processors = append(b.stores[i].processors, processor)
		}
	}
}

// AddRepartitionTopic declares a topic as internal to the application: the runtime creates it, prefixes its name with
// the application id and deletes what has been processed of it. A source has to read it and a sink has to write it.
func (b *Builder) AddRepartitionTopic(topic RepartitionTopic) {
	b.repartitions = append(b.repartitions, topic)
}

// need keeps a problem for Build unless a condition holds.
func (b *Builder) need(ok bool, format string, name ...any) {
	if !ok {
		b.problems = append(b.problems, problem(format, name...))
	}
}
