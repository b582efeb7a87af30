package topology

// Filter keeps the records for which keep returns true.
func (s *KStream[K, V]) Filter(keep func(key K, value V) bool) *KStream[K, V] {
	name := s.builder.name("KSTREAM-FILTER-")
	addFilter(s, name, keep)
	return &KStream[K, V]{builder: s.builder, node: name, rekeyed: s.rekeyed}
}

func addFilter[K, V any](s *KStream[K, V], name string, keep func(K, V) bool) {
	AddProcessor(s.builder.nodes, name, Stateless(func(ctx *Context[K, V], record Record[K, V]) error {
		if !keep(record.Key, record.Value) {
			return nil
		}
		return ctx.Forward(record)
	}), s.node)
}

// SelectKey gives each record a new key. What needs records of a key together must be preceded by a repartition, or
// does one by itself.
func SelectKey[K2, K, V any](s *KStream[K, V], key func(key K, value V) K2) *KStream[K2, V] {
	name := s.builder.name("KSTREAM-KEY-SELECT-")
	AddProcessor(s.builder.nodes, name, Stateless(func(ctx *Context[K2, V], record Record[K, V]) error {
		return ctx.Forward(WithKey(record, key(record.Key, record.Value)))
	}), s.node)
	return &KStream[K2, V]{builder: s.builder, node: name, rekeyed: true}
}

// MapValues gives each record a new value.
func MapValues[V2, K, V any](s *KStream[K, V], value func(value V) V2) *KStream[K, V2] {
	name := s.builder.name("KSTREAM-MAPVALUES-")
	AddProcessor(s.builder.nodes, name, Stateless(func(ctx *Context[K, V2], record Record[K, V]) error {
		return ctx.Forward(WithValue(record, value(record.Value)))
	}), s.node)
	return &KStream[K, V2]{builder: s.builder, node: name, rekeyed: s.rekeyed}
}

// To writes the stream to a topic of the user's, partitioned by the hash of the key.
func (s *KStream[K, V]) To(topic string, key Serde[K], value Serde[V]) {
	AddSink(s.builder.nodes, s.builder.name("KSTREAM-SINK-"), topic, key, value, s.node)
}
