package topology

// Filter keeps the records for which keep returns true.
func (s *KStream[K, V]) Filter(keep func(key K, value V) bool, name ...Named) *KStream[K, V] {
	return filter(s, s.builder.named("KSTREAM-FILTER-", name), keep)
}

// FilterNot keeps the records for which leave returns false.
func (s *KStream[K, V]) FilterNot(leave func(key K, value V) bool, name ...Named) *KStream[K, V] {
	return filter(s, s.builder.named("KSTREAM-FILTER-", name), func(key K, value V) bool { return !leave(key, value) })
}

func filter[K, V any](s *KStream[K, V], name string, keep func(K, V) bool) *KStream[K, V] {
	return then(s, name, false, filtering(keep))
}

func filtering[K, V any](keep func(K, V) bool) Supplier[K, V, K, V] {
	return Stateless(func(ctx *Context[K, V], record Record[K, V]) error {
		if !keep(record.Key, record.Value) {
			return nil
		}
		return ctx.Forward(record)
	})
}

// SelectKey gives each record a new key. What needs records of a key together must be preceded by a repartition, or
// does one by itself.
func SelectKey[K2, K, V any](s *KStream[K, V], key func(key K, value V) K2, name ...Named) *KStream[K2, V] {
	return selectKey(s, s.builder.named("KSTREAM-KEY-SELECT-", name), key)
}

func selectKey[K2, K, V any](s *KStream[K, V], name string, key func(key K, value V) K2) *KStream[K2, V] {
	return then(s, name, true, Stateless(func(ctx *Context[K2, V], record Record[K, V]) error {
		return ctx.Forward(WithKey(record, key(record.Key, record.Value)))
	}))
}

// Map gives each record a new key and a new value. Of keys see SelectKey.
func Map[K2, V2, K, V any](
	s *KStream[K, V], pair func(key K, value V) (K2, V2), name ...Named,
) *KStream[K2, V2] {
	return then(s, s.builder.named("KSTREAM-MAP-", name), true,
		Stateless(func(ctx *Context[K2, V2], record Record[K, V]) error {
			key, value := pair(record.Key, record.Value)
			return ctx.Forward(WithValue(WithKey(record, key), value))
		}))
}

// MapValues gives each record a new value.
func MapValues[V2, K, V any](s *KStream[K, V], value func(value V) V2, name ...Named) *KStream[K, V2] {
	return MapValuesWithKey(s, func(_ K, v V) V2 { return value(v) }, name...)
}

// MapValuesWithKey gives each record a new value, made of key and value.
func MapValuesWithKey[V2, K, V any](s *KStream[K, V], value func(key K, value V) V2, name ...Named) *KStream[K, V2] {
	return then(s, s.builder.named("KSTREAM-MAPVALUES-", name), false,
		Stateless(func(ctx *Context[K, V2], record Record[K, V]) error {
			return ctx.Forward(WithValue(record, value(record.Key, record.Value)))
		}))
}

// FlatMap makes any number of records of each one. Of keys see SelectKey.
func FlatMap[K2, V2, K, V any](
	s *KStream[K, V], pairs func(key K, value V) []KeyValue[K2, V2], name ...Named,
) *KStream[K2, V2] {
	return then(s, s.builder.named("KSTREAM-FLATMAP-", name), true,
		Stateless(func(ctx *Context[K2, V2], record Record[K, V]) error {
			for _, pair := range pairs(record.Key, record.Value) {
				if err := ctx.Forward(WithValue(WithKey(record, pair.Key), pair.Value)); err != nil {
					return err
				}
			}
			return nil
		}))
}

// FlatMapValues makes any number of records with the same key of each one.
func FlatMapValues[V2, K, V any](s *KStream[K, V], values func(value V) []V2, name ...Named) *KStream[K, V2] {
	return FlatMapValuesWithKey(s, func(_ K, value V) []V2 { return values(value) }, name...)
}

// FlatMapValuesWithKey is FlatMapValues for values that are made of key and value.
func FlatMapValuesWithKey[V2, K, V any](
	s *KStream[K, V], values func(key K, value V) []V2, name ...Named,
) *KStream[K, V2] {
	return then(s, s.builder.named("KSTREAM-FLATMAPVALUES-", name), false,
		Stateless(func(ctx *Context[K, V2], record Record[K, V]) error {
			for _, value := range values(record.Key, record.Value) {
				if err := ctx.Forward(WithValue(record, value)); err != nil {
					return err
				}
			}
			return nil
		}))
}

// Peek calls look with each record and passes it on.
func (s *KStream[K, V]) Peek(look func(key K, value V), name ...Named) *KStream[K, V] {
	return then(s, s.builder.named("KSTREAM-PEEK-", name), false,
		Stateless(func(ctx *Context[K, V], record Record[K, V]) error {
			look(record.Key, record.Value)
			return ctx.Forward(record)
		}))
}

// ForEach calls do with each record; it ends the stream. What it does outside of the program may be done again for a
// record whose transaction was aborted.
func (s *KStream[K, V]) ForEach(do func(key K, value V), name ...Named) {
	then(s, s.builder.named("KSTREAM-FOREACH-", name), false,
		Stateless(func(_ *Context[K, V], record Record[K, V]) error {
			do(record.Key, record.Value)
			return nil
		}))
}

// Merge puts two streams into one, without an order between them.
func (s *KStream[K, V]) Merge(other *KStream[K, V], name ...Named) *KStream[K, V] {
	merged := s.builder.named("KSTREAM-MERGE-", name)
	at := s.builder.add(func(b *Builder) {
		AddProcessor(b, merged, Stateless(func(ctx *Context[K, V], record Record[K, V]) error {
			return ctx.Forward(record)
		}), s.node, other.node)
	}, s.step, other.step)
	return &KStream[K, V]{builder: s.builder, node: merged, step: at, rekeyed: s.rekeyed || other.rekeyed}
}

// Process puts a processor of the user's behind the stream and connects it to stores that [AddStore] has added before.
// What it forwards counts as having new keys. A name that is given takes no number here.
func Process[K2, V2, K, V any](
	s *KStream[K, V], supplier Supplier[K, V, K2, V2], stores []string, name ...Named,
) *KStream[K2, V2] {
	var node string
	if len(name) == 0 || name[0] == "" {
		node = s.builder.name("KSTREAM-PROCESSOR-")
	} else {
		node = s.builder.either("", name)
	}
	return then(s, node, true, supplier, stores...)
}

// To writes the stream to a topic of the user's, partitioned by the hash of the key.
func (s *KStream[K, V]) To(topic string, key Serde[K], value Serde[V], name ...Named) {
	sink := s.builder.named("KSTREAM-SINK-", name)
	s.builder.add(func(b *Builder) { AddSink(b, sink, topic, key, value, s.node) }, s.step)
}
