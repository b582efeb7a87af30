package topology

// Change is an update of a table's row: what nodes of tables forward.
type Change[V any] struct {
	New, Old V
	HasOld   bool // false when the key had no value, so that Old means nothing
}

// KTable is a table that is kept up to date by a stream of changes.
type KTable[K, V any] struct {
	builder *StreamsBuilder
	node    string
}

// ToStream returns the stream of the table's new values, one record for each change.
func (t *KTable[K, V]) ToStream() *KStream[K, V] {
	name := t.builder.name("KTABLE-TOSTREAM-")
	AddProcessor(t.builder.nodes, name, Stateless(func(ctx *Context[K, V], record Record[K, Change[V]]) error {
		return ctx.Forward(WithValue(record, record.Value.New))
	}), t.node)
	return &KStream[K, V]{builder: t.builder, node: name}
}
