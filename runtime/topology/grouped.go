package topology

// KGroupedStream is a stream whose records of the same key are to be aggregated.
type KGroupedStream[K, V any] struct {
	stream *KStream[K, V]
	key    Serde[K]
	value  Serde[V]
	name   string // of the repartition topic; empty = that of the store
	shared *KStream[K, V]
}

// GroupByKey groups the stream by its present key. Where the key was selected without a repartition, each aggregation
// repartitions the stream by itself; the serde of the value is needed for that alone. A name is that of the repartition
// topic, which all aggregations share then.
func (s *KStream[K, V]) GroupByKey(key Serde[K], value Serde[V], name ...Named) *KGroupedStream[K, V] {
	return &KGroupedStream[K, V]{stream: s, key: key, value: value, name: s.builder.either("", name)}
}

// GroupBy groups the stream by a key that is made of its key and value. A name is that of the node that selects
// the key, and of the repartition topic.
func GroupBy[K2, K, V any](
	s *KStream[K, V], key func(key K, value V) K2, keySerde Serde[K2], valueSerde Serde[V], name ...Named,
) *KGroupedStream[K2, V] {
	selected := selectKey(s, s.builder.named("KSTREAM-KEY-SELECT-", name), key)
	return &KGroupedStream[K2, V]{
		stream: selected, key: keySerde, value: valueSerde, name: s.builder.either("", name),
	}
}

// Count counts the records of each key. As in Kafka Streams a [Materialized] without a name takes one number more than
// none at all.
func (g *KGroupedStream[K, V]) Count(options ...TableOption) *KTable[K, int64] {
	b := g.stream.builder
	names, m, explicit := b.materialized("count", options)
	if explicit && m.Name == "" {
		b.storeName("KSTREAM-AGGREGATE-")
	}
	return fold(g, "KSTREAM-AGGREGATE-", names, m, Int64{}, func(count int64, found bool, _ K, _ V) int64 {
		if !found {
			return 1
		}
		return count + 1
	})
}

// Reduce folds the values of each key into one of the same type. The first value of a key is taken as it is. Otherwise
// as [Aggregate].
func (g *KGroupedStream[K, V]) Reduce(reduce func(aggregate, value V) V, options ...TableOption) *KTable[K, V] {
	names, m, _ := g.stream.builder.materialized("reduce", options)
	return fold(g, "KSTREAM-REDUCE-", names, m, g.value, func(aggregate V, found bool, _ K, value V) V {
		if !found {
			return value
		}
		return reduce(aggregate, value)
	})
}

// Aggregate folds the records of each key into one value, which is kept in a store and forwarded at each change, or
// at each commit what has become of it if the store is cached. initial makes the value of a key that has none;
// aggregate returns the next one and must not change the one before in place. A value whose bytes are nil removes the
// key. The time of the value is the greatest timestamp that went into it. Records whose key or value is null are left
// out, see [Graph.Dropped].
func Aggregate[A, K, V any](
	g *KGroupedStream[K, V], initial func() A, aggregate func(key K, value V, aggregate A) A, serde Serde[A],
	options ...TableOption,
) *KTable[K, A] {
	names, m, _ := g.stream.builder.materialized("aggregate", options)
	return fold(g, "KSTREAM-AGGREGATE-", names, m, serde, func(current A, found bool, key K, value V) A {
		if !found {
			current = initial()
		}
		return aggregate(key, value, current)
	})
}

// fold adds the node of an aggregation: next makes the new value of the one before, found is false if there was none.
func fold[A, K, V any](
	g *KGroupedStream[K, V], prefix string, names []Named, m Materialized, serde Serde[A],
	next func(current A, found bool, key K, value V) A,
) *KTable[K, A] {
	b := g.stream.builder
	store := b.storeOf(m, prefix)
	name := b.named(prefix, names)
	stream := g.repartitioned(store)
	rows := &lineage{stored: true}
	at := b.add(func(b *Builder) {
		sendsOld := rows.sendsOld
		AddProcessor(b, name, func() Processor[K, V, K, Change[A]] {
			return &folder[K, V, A]{
				rows:      rowsOf[K, A]{name: store, sendsOld: sendsOld},
				keyNull:   nullTest[K](),
				valueNull: nullTest[V](),
				next:      next,
			}
		}, stream.node)
		AddStateStore(b, m.spec(store), g.key, serde, name)
	}, stream.step)
	return &KTable[K, A]{builder: b, node: name, step: at, key: g.key, value: serde, rows: rows}
}

// repartitioned is the stream that an aggregation can use.
func (g *KGroupedStream[K, V]) repartitioned(store string) *KStream[K, V] {
	if !g.stream.rekeyed {
		return g.stream
	}
	name := g.name
	if name == "" {
		name = store
	}
	names := g.stream.builder.repartitionNames(name)
	if g.shared != nil {
		g.stream.builder.use(g.shared.step)
		return g.shared
	}
	stream := g.stream.through(Repartitioned[K, V]{Name: name, Key: g.key, Value: g.value}, names)
	if g.name != "" {
		g.shared = stream
	}
	return stream
}

// folder is the processor of aggregations of streams.
type folder[K, V, A any] struct {
	ctx       *Context[K, Change[A]]
	rows      rowsOf[K, A]
	keyNull   func(K) bool
	valueNull func(V) bool
	next      func(current A, found bool, key K, value V) A
}

func (f *folder[K, V, A]) Init(ctx *Context[K, Change[A]]) error {
	f.ctx = ctx
	return f.rows.open(ctx)
}

func (f *folder[K, V, A]) Process(record Record[K, V]) error {
	if f.keyNull != nil && f.keyNull(record.Key) || f.valueNull != nil && f.valueNull(record.Value) {
		f.ctx.graph.dropped.Nulls++
		return nil
	}
	// The key is serialised once for both accesses.
	raw, err := f.rows.store.rawKey(record.Key)
	if err != nil {
		return err
	}
	current, timestamp, found, err := f.rows.store.get(raw)
	if err != nil {
		return err
	}
	if found {
		timestamp = max(timestamp, record.Timestamp)
	} else {
		timestamp = record.Timestamp
	}
	next := f.next(current, found, record.Key, record.Value)
	return f.rows.update(record.Key, raw, timestamp, record.Timestamp, Change[A]{
		New: next, HasNew: true, Old: current, HasOld: found,
	})
}

func (f *folder[K, V, A]) Close() error { return nil }
