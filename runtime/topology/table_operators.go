package topology

import "fmt"

// Operators of tables. A table that is made of another one has rows of its own only where it is [Materialized] with a
// name; a Materialized without one just takes a number, as in Kafka Streams.

// Filter keeps the rows for which keep returns true. A row that was kept and is not any more is deleted.
func (t *KTable[K, V]) Filter(keep func(key K, value V) bool, options ...TableOption) *KTable[K, V] {
	return t.filter(keep, options)
}

// FilterNot keeps the rows for which leave returns false. Otherwise as Filter.
func (t *KTable[K, V]) FilterNot(leave func(key K, value V) bool, options ...TableOption) *KTable[K, V] {
	return t.filter(func(key K, value V) bool { return !leave(key, value) }, options)
}

func (t *KTable[K, V]) filter(keep func(key K, value V) bool, options []TableOption) *KTable[K, V] {
	// Where the rows are kept anyway, the old ones save passing on deletions of what was never there.
	rows := &lineage{parent: t.rows, deletes: true, sendsOld: t.rows.sendOld(false)}
	return derive(t, "KTABLE-FILTER-", rows, t.value, options, func(key K, value V) optional[V] {
		return optional[V]{value, keep(key, value)}
	}, true)
}

// MapTableValues makes each row of one of another table. A null deletes the row. The serde of the new values is needed if
// the table is [Materialized] with a name; otherwise it may be nil.
func MapTableValues[V2, K, V any](
	t *KTable[K, V], value func(key K, value V) V2, serde Serde[V2], options ...TableOption,
) *KTable[K, V2] {
	null := nullTest[V2]()
	rows := &lineage{parent: t.rows, deletes: t.rows.deletes || nullTest[V]() != nil}
	return derive(t, "KTABLE-MAPVALUES-", rows, serde, options, func(key K, old V) optional[V2] {
		mapped := value(key, old)
		return optional[V2]{mapped, null == nil || !null(mapped)}
	}, false)
}

// derive adds the node of a table that is made of another one, row by row.
func derive[V2, K, V any](
	t *KTable[K, V], prefix string, rows *lineage, serde Serde[V2], options []TableOption,
	row func(key K, value V) optional[V2], filters bool,
) *KTable[K, V2] {
	b := t.builder
	names, m, explicit := b.materialized(prefix, options)
	if explicit && m.Name == "" {
		b.storeName(prefix)
	}
	name := b.named(prefix, names)
	rows.stored = m.Name != ""
	at := b.add(func(b *Builder) {
		store := rowsOf[K, V2]{name: m.Name, sendsOld: rows.sendsOld}
		AddProcessor(b, name, func() Processor[K, Change[V], K, Change[V2]] {
			return &deriver[K, V, V2]{rows: store, row: row, filters: filters}
		}, t.node)
		if rows.stored {
			b.need(t.key != nil && serde != nil, "table %s: a serde is not known, but its rows are to be kept", name)
			AddStateStore(b, m.spec(m.Name), t.key, serde, name)
		}
	}, t.step)
	return &KTable[K, V2]{builder: b, node: name, step: at, key: t.key, value: serde, rows: rows}
}

// deriver is the processor of tables that are made of another one.
type deriver[K, V, V2 any] struct {
	ctx     *Context[K, Change[V2]]
	rows    rowsOf[K, V2]
	row     func(key K, value V) optional[V2]
	filters bool
}

func (d *deriver[K, V, V2]) Init(ctx *Context[K, Change[V2]]) error {
	d.ctx = ctx
	return d.rows.open(ctx)
}

func (d *deriver[K, V, V2]) Process(record Record[K, Change[V]]) error {
	var change Change[V2]
	if record.Value.HasNew {
		row := d.row(record.Key, record.Value.New)
		change.New, change.HasNew = row.value, row.ok
	}
	var raw []byte
	if d.rows.store != nil {
		var err error
		if raw, err = d.rows.store.rawKey(record.Key); err != nil {
			return err
		}
	}
	if d.rows.sendsOld {
		if err := d.old(record, raw, &change); err != nil {
			return err
		}
		if d.filters && !change.HasNew && !change.HasOld {
			return nil
		}
	}
	if d.rows.store == nil {
		return d.ctx.Forward(WithValue(record, change))
	}
	return d.rows.update(record.Key, raw, record.Timestamp, record.Timestamp, change)
}

// old finds the row before: in the store, or by making it once more.
func (d *deriver[K, V, V2]) old(record Record[K, Change[V]], raw []byte, change *Change[V2]) (err error) {
	if d.rows.store != nil {
		change.Old, _, change.HasOld, err = d.rows.store.get(raw)
		return err
	}
	if record.Value.HasOld {
		row := d.row(record.Key, record.Value.Old)
		change.Old, change.HasOld = row.value, row.ok
	}
	return nil
}

func (d *deriver[K, V, V2]) Close() error { return nil }

// ToStream returns the stream of the table's new values, one record for each change; a deletion is a null. It is a mistake
// where rows can be deleted and the values have no null, see [ToNullableStream].
func (t *KTable[K, V]) ToStream(name ...Named) *KStream[K, V] {
	null := nullTest[V]()
	return toStream(t, name, func(b *Builder, node string) {
		b.need(null != nil || !t.rows.deletes,
			"node %s: rows of the table can be deleted, but its values have no null for that; see ToNullableStream", node)
	}, func(change Change[V]) (V, error) {
		var value V
		switch {
		case change.HasNew:
			return change.New, nil
		case null == nil:
			return value, fmt.Errorf("a row was deleted: %w", ErrNull)
		default:
			return value, nil
		}
	})
}

// ToNullableStream is ToStream with pointers to the values: nil is a deletion. [Nullable] is the serde of such values.
func ToNullableStream[K, V any](t *KTable[K, V], name ...Named) *KStream[K, *V] {
	return toStream(t, name, nil, func(change Change[V]) (*V, error) {
		if !change.HasNew {
			return nil, nil //nolint:nilnil // nil is Kafka's null
		}
		return &change.New, nil
	})
}

func toStream[V2, K, V any](
	t *KTable[K, V], given []Named, check func(b *Builder, node string), value func(Change[V]) (V2, error),
) *KStream[K, V2] {
	name := t.builder.named("KTABLE-TOSTREAM-", given)
	at := t.builder.add(func(b *Builder) {
		if check != nil {
			check(b, name)
		}
		AddProcessor(b, name, Stateless(func(ctx *Context[K, V2], record Record[K, Change[V]]) error {
			v, err := value(record.Value)
			if err != nil {
				return err
			}
			return ctx.Forward(WithValue(record, v))
		}), t.node)
	}, t.step)
	return &KStream[K, V2]{builder: t.builder, node: name, step: at}
}
