package topology

// KGroupedStream is a stream whose records of the same key are to be aggregated.
type KGroupedStream[K, V any] struct {
	stream *KStream[K, V]
	key    Serde[K]
	value  Serde[V]
}

// GroupByKey groups the stream by its present key. Where the key was selected without a repartition, each aggregation
// repartitions the stream by itself; the serde of the value is needed for that alone.
func (s *KStream[K, V]) GroupByKey(key Serde[K], value Serde[V]) *KGroupedStream[K, V] {
	return &KGroupedStream[K, V]{stream: s, key: key, value: value}
}

// Count counts the records of each key.
func (g *KGroupedStream[K, V]) Count() *KTable[K, int64] {
	return Aggregate(g,
		func() int64 { return 0 },
		func(_ K, _ V, count int64) int64 { return count + 1 },
		Int64{})
}

// Aggregate folds the records of each key into one value, which is kept in a logged store and forwarded at each
// change. initial makes the value of a key that has none; aggregate returns the next one and must not change the one
// before in place. A value whose bytes are nil removes the key. The time of the value is the greatest timestamp
// that went into it. Records whose key or value is null are left out, see [Graph.Dropped].
func Aggregate[A, K, V any](
	g *KGroupedStream[K, V], initial func() A, aggregate func(key K, value V, aggregate A) A, serde Serde[A],
) *KTable[K, A] {
	b := g.stream.builder
	store := b.name("KSTREAM-AGGREGATE-STATE-STORE-")
	name := b.name("KSTREAM-AGGREGATE-")
	stream := g.stream
	if stream.rekeyed {
		stream = stream.through(Repartitioned[K, V]{Name: store, Key: g.key, Value: g.value})
	}
	AddProcessor(b.nodes, name, func() Processor[K, V, K, Change[A]] {
		return &aggregator[K, V, A]{
			storeName: store,
			keyNull:   nullTest[K](),
			valueNull: nullTest[V](),
			aggNull:   nullTest[A](),
			initial:   initial,
			aggregate: aggregate,
		}
	}, stream.node)
	AddStateStore(b.nodes, StoreSpec{Name: store, Logged: true}, g.key, serde, name)
	return &KTable[K, A]{builder: b, node: name}
}

// aggregator is the processor of Aggregate.
type aggregator[K, V, A any] struct {
	ctx       *Context[K, Change[A]]
	storeName string
	store     *KeyValueStore[K, A]
	keyNull   func(K) bool
	valueNull func(V) bool
	aggNull   func(A) bool
	initial   func() A
	aggregate func(K, V, A) A
}

func (a *aggregator[K, V, A]) Init(ctx *Context[K, Change[A]]) (err error) {
	a.ctx = ctx
	a.store, err = OpenStore[K, A](ctx, a.storeName)
	return err
}

func (a *aggregator[K, V, A]) Process(record Record[K, V]) error {
	if a.keyNull != nil && a.keyNull(record.Key) || a.valueNull != nil && a.valueNull(record.Value) {
		a.ctx.graph.dropped++
		return nil
	}
	// The key is serialised once for both accesses.
	raw, err := a.store.rawKey(record.Key)
	if err != nil {
		return err
	}
	old, timestamp, found, err := a.store.get(raw)
	if err != nil {
		return err
	}
	current := old
	if !found {
		current, timestamp = a.initial(), record.Timestamp
	}
	timestamp = max(timestamp, record.Timestamp)
	next := a.aggregate(record.Key, record.Value, current)
	// A tombstone in the changelog carries the time of the record, not of the value it removes.
	written := timestamp
	if a.aggNull != nil && a.aggNull(next) {
		written = record.Timestamp
	}
	if err := a.store.put(raw, next, written); err != nil {
		return err
	}
	return a.ctx.Forward(Record[K, Change[A]]{
		Key:       record.Key,
		Value:     Change[A]{New: next, Old: old, HasOld: found},
		Timestamp: timestamp,
		Headers:   record.Headers,
	})
}

func (a *aggregator[K, V, A]) Close() error { return nil }
