package topology

// Named gives a node a name. It takes the number that the node would have had all the same, as in Kafka Streams since
// 2.4, so that the other names stay what they are. The empty name is none.
type Named string

// Consumed says how a topic is read. The zero value is the default.
type Consumed struct {
	Name       Named
	Timestamps TimestampExtractor // nil = FailOnInvalidTimestamp
}

// Materialized says how the rows of a table are kept. The zero value means a generated name and a cached, logged store on
// disk: what tables that need a store have without it, too. For Count, [KTable.Filter] and [MapTableValues] it is not the
// same as none at all, see there.
type Materialized struct {
	Name     string            // of the store; empty = a generated one
	Uncached bool              // every update goes on at once, instead of the last one of a key at each commit
	Unlogged bool              // without a changelog: the rows are lost when the task moves
	InMemory bool              // kept in memory only
	Config   map[string]string // of the changelog topic, such as "min.cleanable.dirty.ratio"
}

// TableOption is an option of an operator that makes a table: [Named] for its node, [Materialized] for its store, and for
// [Table] also [Consumed].
type TableOption interface{ apply(*tableOptions) }

type tableOptions struct {
	names    []Named
	stores   []Materialized
	consumed []Consumed
}

func (n Named) apply(o *tableOptions) { o.names = append(o.names, n) }

func (m Materialized) apply(o *tableOptions) { o.stores = append(o.stores, m) }

func (c Consumed) apply(o *tableOptions) { o.consumed = append(o.consumed, c) }

func gathered(options []TableOption) tableOptions {
	var o tableOptions
	for _, option := range options {
		option.apply(&o)
	}
	return o
}

// materialized takes the options of an operator apart. explicit is true if there is a Materialized among them.
func (b *StreamsBuilder) materialized(of string, options []TableOption) (names []Named, m Materialized, explicit bool) {
	o := gathered(options)
	b.nodes.need(len(o.stores) < 2, "%s: it is materialized more than once", of)
	b.nodes.need(len(o.consumed) == 0 || of == tableOperator, "%s: it consumes no topic", of)
	if len(o.stores) > 0 {
		m, explicit = o.stores[0], true
	}
	return o.names, m, explicit
}

// spec describes the store of a table.
func (m Materialized) spec(name string) StoreSpec {
	return StoreSpec{
		Name: name, Logged: !m.Unlogged, Cached: !m.Uncached, InMemory: m.InMemory, Timestamped: true, Config: m.Config,
	}
}

// storeOf is the name of the store, which takes a number if none is given.
func (b *StreamsBuilder) storeOf(m Materialized, prefix string) string {
	if m.Name != "" {
		return m.Name
	}
	return b.storeName(prefix)
}

func (b *StreamsBuilder) consumed(topic string, consumed []Consumed) Consumed {
	b.nodes.need(len(consumed) < 2, "topic %s: it is consumed in more than one way", topic)
	if len(consumed) > 0 {
		return consumed[0]
	}
	return Consumed{}
}
