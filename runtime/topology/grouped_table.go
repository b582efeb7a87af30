package topology

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// KGroupedTable is a table whose rows are to be aggregated by another key.
type KGroupedTable[K, V any] struct {
	builder *StreamsBuilder
	node    string
	step    *step
	key     Serde[K]
	value   Serde[V]
	name    string // of the repartition topic; empty = that of the store
	shared  *step
	source  string // of the shared repartition
}

// GroupTableBy groups the rows of a table: each row counts as one of the pair that is made of it, and counts no longer when
// it changes. Pairs with a null are left out. The pairs go through a repartition topic in Kafka Streams' format (3.5 and
// later). A name is that of the node and of the topic, which all aggregations share then.
func GroupTableBy[K2, V2, K, V any](
	t *KTable[K, V], pair func(key K, value V) (K2, V2), key Serde[K2], value Serde[V2], name ...Named,
) *KGroupedTable[K2, V2] {
	b := t.builder
	node := b.named("KTABLE-SELECT-", name)
	at := b.add(func(b *Builder) {
		b.need(key != nil && value != nil, "node %s: a serde is nil", node)
		AddProcessor(b, node, func() Processor[K, Change[V], K2, Change[V2]] {
			return &rowSelector[K, V, K2, V2]{
				pair: pair, key: key, keyNull: nullTest[K2](), valueNull: nullTest[V2](),
			}
		}, t.node)
	}, t.step)
	t.rows.sendOld(true)
	return &KGroupedTable[K2, V2]{
		builder: b, node: node, step: at, key: key, value: value, name: b.either("", name),
	}
}

// Count counts the rows of each key. A key without rows keeps a count of 0.
func (g *KGroupedTable[K, V]) Count(options ...TableOption) *KTable[K, int64] {
	one := func(by int64) func(int64, K, V) int64 {
		return func(count int64, _ K, _ V) int64 { return count + by }
	}
	return foldRows(g, "KTABLE-AGGREGATE-", options, Int64{}, func(K, V) int64 { return 1 }, one(1), one(-1))
}

// Reduce folds the values of each key into one of the same type, with add for a value that comes and subtract for one
// that goes. The first value of a key is taken as it is.
func (g *KGroupedTable[K, V]) Reduce(
	add, subtract func(aggregate, value V) V, options ...TableOption,
) *KTable[K, V] {
	without := func(f func(aggregate, value V) V) func(V, K, V) V {
		return func(aggregate V, _ K, value V) V { return f(aggregate, value) }
	}
	return foldRows(g, "KTABLE-REDUCE-", options, g.value,
		func(_ K, value V) V { return value }, without(add), without(subtract))
}

// AggregateTable folds the values of each key into one of another type, with add for a value that comes and subtract for
// one that goes. initial makes the value of a key that has none. Otherwise as [Aggregate].
func AggregateTable[A, K, V any](
	g *KGroupedTable[K, V], initial func() A, add, subtract func(key K, value V, aggregate A) A, serde Serde[A],
	options ...TableOption,
) *KTable[K, A] {
	turned := func(f func(key K, value V, aggregate A) A) func(A, K, V) A {
		return func(aggregate A, key K, value V) A { return f(key, value, aggregate) }
	}
	return foldRows(g, "KTABLE-AGGREGATE-", options, serde,
		func(key K, value V) A { return add(key, value, initial()) }, turned(add), turned(subtract))
}

// foldRows adds the nodes of an aggregation. first makes the aggregate of a key that has none.
func foldRows[A, K, V any](
	g *KGroupedTable[K, V], prefix string, options []TableOption, serde Serde[A],
	first func(key K, value V) A, add, subtract func(aggregate A, key K, value V) A,
) *KTable[K, A] {
	b := g.builder
	names, m, _ := b.materialized(prefix, options)
	store := b.storeOf(m, "KTABLE-AGGREGATE-") // also for Reduce
	sink := b.named("KSTREAM-SINK-", suffixed(names, "-sink"))
	source := b.named("KSTREAM-SOURCE-", suffixed(names, "-source"))
	name := b.named(prefix, names)
	repartition, source := g.repartition(store, sink, source)
	rows := &lineage{stored: true}
	at := b.add(func(b *Builder) {
		sendsOld := rows.sendsOld
		AddProcessor(b, name, func() Processor[K, Change[V], K, Change[A]] {
			return &rowFolder[K, V, A]{
				rows: rowsOf[K, A]{name: store, sendsOld: sendsOld}, aggregateNull: nullTest[A](),
				first: first, add: add, subtract: subtract,
			}
		}, source)
		AddStateStore(b, m.spec(store), g.key, serde, name)
	}, repartition)
	return &KTable[K, A]{builder: b, node: name, step: at, key: g.key, value: serde, rows: rows}
}

// repartition adds sink and source of a repartition, or takes those that are there if the topic has a name.
func (g *KGroupedTable[K, V]) repartition(store, sink, source string) (at *step, from string) {
	if g.shared != nil {
		g.builder.use(g.shared)
		return g.shared, g.source
	}
	topic := g.name
	if topic == "" {
		topic = store
	}
	topic += repartitionSuffix
	at = g.builder.add(func(b *Builder) {
		changes := changeSerde[V]{g.value}
		AddSink[K, Change[V]](b, sink, topic, g.key, changes, g.node)
		AddSource[K, Change[V]](b, source, g.key, changes, topic)
		b.AddRepartitionTopic(RepartitionTopic{Name: topic})
	}, g.step)
	if g.name != "" {
		g.shared, g.source = at, source
	}
	return at, source
}

func suffixed(names []Named, suffix Named) []Named {
	var all []Named
	for _, name := range names {
		if name != "" {
			name += suffix
		}
		all = append(all, name)
	}
	return all
}

// rowSelector makes the pairs of a table's rows.
type rowSelector[K, V, K2, V2 any] struct {
	ctx       *Context[K2, Change[V2]]
	pair      func(key K, value V) (K2, V2)
	key       Serde[K2]
	keyNull   func(K2) bool
	valueNull func(V2) bool
}

func (s *rowSelector[K, V, K2, V2]) Init(ctx *Context[K2, Change[V2]]) error {
	s.ctx = ctx
	return nil
}

// Process passes a pair that goes on before the one that comes, in one record if they have the same key, so that an
// aggregate is not seen without either.
func (s *rowSelector[K, V, K2, V2]) Process(record Record[K, Change[V]]) error {
	var oldKey, newKey K2
	var change Change[V2]
	if record.Value.HasOld {
		oldKey, change.Old = s.pair(record.Key, record.Value.Old)
		change.HasOld = s.complete(oldKey, change.Old)
	}
	if record.Value.HasNew {
		newKey, change.New = s.pair(record.Key, record.Value.New)
		change.HasNew = s.complete(newKey, change.New)
	}
	if change.HasOld && change.HasNew {
		same, err := s.same(oldKey, newKey)
		if err != nil {
			return err
		}
		if same {
			return s.ctx.Forward(WithValue(WithKey(record, newKey), change))
		}
	}
	if change.HasOld {
		goes := WithValue(WithKey(record, oldKey), Change[V2]{Old: change.Old, HasOld: true})
		if err := s.ctx.Forward(goes); err != nil {
			return err
		}
	}
	if change.HasNew {
		return s.ctx.Forward(WithValue(WithKey(record, newKey), Change[V2]{New: change.New, HasNew: true}))
	}
	return nil
}

func (s *rowSelector[K, V, K2, V2]) complete(key K2, value V2) bool {
	return (s.keyNull == nil || !s.keyNull(key)) && (s.valueNull == nil || !s.valueNull(value))
}

// same compares keys as the topic will see them.
func (s *rowSelector[K, V, K2, V2]) same(a, b K2) (bool, error) {
	rawA, err := s.key.Serialize(a)
	if err != nil {
		return false, fmt.Errorf("serialize key: %w", err)
	}
	rawB, err := s.key.Serialize(b)
	if err != nil {
		return false, fmt.Errorf("serialize key: %w", err)
	}
	return bytes.Equal(rawA, rawB), nil
}

func (s *rowSelector[K, V, K2, V2]) Close() error { return nil }

// rowFolder is the processor of aggregations of tables.
type rowFolder[K, V, A any] struct {
	rows          rowsOf[K, A]
	aggregateNull func(A) bool
	first         func(key K, value V) A
	add           func(aggregate A, key K, value V) A
	subtract      func(aggregate A, key K, value V) A
}

func (f *rowFolder[K, V, A]) Init(ctx *Context[K, Change[A]]) error { return f.rows.open(ctx) }

func (f *rowFolder[K, V, A]) Process(record Record[K, Change[V]]) error {
	raw, err := f.rows.store.rawKey(record.Key)
	if err != nil {
		return err
	}
	change := Change[A]{}
	var timestamp int64
	if change.Old, timestamp, change.HasOld, err = f.rows.store.get(raw); err != nil {
		return err
	}
	change.New, change.HasNew = change.Old, change.HasOld
	goes, comes := record.Value.HasOld && change.HasOld, record.Value.HasNew
	if goes {
		change.New = f.subtract(change.New, record.Key, record.Value.Old)
		change.HasNew = f.aggregateNull == nil || !f.aggregateNull(change.New)
	}
	if comes {
		if change.HasNew {
			change.New = f.add(change.New, record.Key, record.Value.New)
		} else {
			change.New, change.HasNew = f.first(record.Key, record.Value.New), true
		}
	}
	if change.HasOld && (goes || comes) {
		timestamp = max(timestamp, record.Timestamp)
	} else {
		timestamp = record.Timestamp
	}
	return f.rows.update(record.Key, raw, timestamp, record.Timestamp, change)
}

func (f *rowFolder[K, V, A]) Close() error { return nil }

// Flags at the end of a serialised change.
const (
	onlyOld byte = iota
	onlyNew
	newAndOld
	onlyOldLatest // with a byte before it that says whether the change is the latest, for versioned stores
	onlyNewLatest
	newAndOldLatest
)

var errEmptyChange = errors.New("change without a new and an old value")

// changeSerde is Kafka Streams' serde of changes in repartition topics.
type changeSerde[V any] struct{ value Serde[V] }

func (c changeSerde[V]) Serialize(change Change[V]) ([]byte, error) {
	var newData, oldData []byte
	var err error
	if change.HasNew {
		if newData, err = c.value.Serialize(change.New); err != nil {
			return nil, fmt.Errorf("new value: %w", err)
		}
	}
	if change.HasOld {
		if oldData, err = c.value.Serialize(change.Old); err != nil {
			return nil, fmt.Errorf("old value: %w", err)
		}
	}
	switch {
	case newData != nil && oldData != nil:
		data := make([]byte, 0, binary.MaxVarintLen32+len(newData)+len(oldData)+1)
		data = binary.AppendVarint(data, int64(len(newData)))
		return append(append(append(data, newData...), oldData...), newAndOld), nil
	case newData != nil:
		return append(append(make([]byte, 0, len(newData)+1), newData...), onlyNew), nil
	case oldData != nil:
		return append(append(make([]byte, 0, len(oldData)+1), oldData...), onlyOld), nil
	default:
		return nil, errEmptyChange
	}
}

func (c changeSerde[V]) Deserialize(data []byte) (change Change[V], err error) {
	if len(data) == 0 {
		return change, errEmptyChange
	}
	flag, rest := data[len(data)-1], data[:len(data)-1]
	if flag >= onlyOldLatest {
		if len(rest) == 0 {
			return change, errors.New("change is cut short")
		}
		flag, rest = flag-onlyOldLatest, rest[:len(rest)-1]
	}
	newData, oldData := rest, rest
	switch flag {
	case onlyOld:
		change.HasOld = true
	case onlyNew:
		change.HasNew = true
	case newAndOld:
		length, n := binary.Varint(rest)
		if n <= 0 || length < 0 || length > int64(len(rest)-n) {
			return change, errors.New("change is cut short")
		}
		change.HasOld, change.HasNew = true, true
		newData, oldData = rest[n:n+int(length):n+int(length)], rest[n+int(length):]
	default:
		return change, fmt.Errorf("change has the unknown flag %d", data[len(data)-1])
	}
	if change.HasNew {
		if change.New, err = c.value.Deserialize(newData); err != nil {
			return change, fmt.Errorf("new value: %w", err)
		}
	}
	if change.HasOld {
		if change.Old, err = c.value.Deserialize(oldData); err != nil {
			return change, fmt.Errorf("old value: %w", err)
		}
	}
	return change, nil
}
