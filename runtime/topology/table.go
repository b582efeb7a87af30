package topology

// Change is an update of a table's row: what nodes of tables forward. Old is only there if a node downstream needs it.
type Change[V any] struct {
	New, Old V
	HasNew   bool // false when the row is deleted, so that New means nothing
	HasOld   bool // false when there was no row, so that Old means nothing
}

// KTable is a table that is kept up to date by a stream of changes.
type KTable[K, V any] struct {
	builder *StreamsBuilder
	node    string
	step    *step
	key     Serde[K]
	value   Serde[V] // nil = not known
	rows    *lineage
}

// lineage is what the builder knows of a table's rows while the program is being written.
type lineage struct {
	parent   *lineage // of a table without a store of its own that is made of another one
	source   bool     // made of a stream, so that it can be stored if somebody needs it
	stored   bool
	deletes  bool // rows may be deleted although the values have no null
	sendsOld bool // old values are passed on
}

// sendOld makes the table pass old values on, and says whether it will. Old values come out of a store; force also
// makes a store where there is none.
func (l *lineage) sendOld(force bool) bool {
	switch {
	case l.sendsOld || l.stored:
	case l.source:
		if !force {
			return false
		}
		l.stored = true
	case !l.parent.sendOld(force):
		return false
	}
	l.sendsOld = true
	return true
}

// tableOperator is the one operator of tables that reads a topic.
const tableOperator = "table"

// Table reads a topic as a table: each record is the new row of its key, a null value deletes it. Records without a key
// are left out, see [Graph.Dropped]. The rows are kept in a store if it is [Materialized] with a name, or if something
// downstream needs it. [Consumed] is an option here, too. A topic can be read once in a program.
func Table[K, V any](
	b *StreamsBuilder, topic string, key Serde[K], value Serde[V], options ...TableOption,
) *KTable[K, V] {
	names, m, _ := b.materialized(tableOperator, options)
	consumed := b.consumed(topic, gathered(options).consumed)
	store := b.storeOf(m, topic+"-")
	if consumed.Name != "" {
		names = append(names, consumed.Name)
	}
	source := b.named("KSTREAM-SOURCE-", suffixed(names, "-source"))
	name := b.named("KTABLE-SOURCE-", names)
	rows := &lineage{source: true, stored: m.Name != "", deletes: true}
	at := b.add(func(b *Builder) {
		addSource[K, optional[V]](b, source, key, optionalOf(value), true, []string{topic})
		b.SetTimestampExtractor(source, consumed.Timestamps)
		addTableSource(b, name, source, m.spec(store), rows, key, value, func(v optional[V]) optional[V] { return v })
	})
	return &KTable[K, V]{builder: b, node: name, step: at, key: key, value: value, rows: rows}
}

// ToTable makes a table of the stream, as [Table] does of a topic. Where the key was selected without a repartition, it
// repartitions the stream.
func (s *KStream[K, V]) ToTable(key Serde[K], value Serde[V], options ...TableOption) *KTable[K, V] {
	b := s.builder
	names, m, _ := b.materialized("toTable", options)
	name := b.named("KSTREAM-TOTABLE-", names)
	store := b.storeOf(m, "KSTREAM-TOTABLE-")
	stream := s
	if s.rekeyed {
		stream = s.through(Repartitioned[K, V]{Name: name, Key: key, Value: value}, b.repartitionNames(name))
	}
	null := nullTest[V]()
	rows := &lineage{source: true, stored: m.Name != ""}
	at := b.add(func(b *Builder) {
		addTableSource(b, name, stream.node, m.spec(store), rows, key, value, func(v V) optional[V] {
			return optional[V]{v, null == nil || !null(v)}
		})
	}, stream.step)
	return &KTable[K, V]{builder: b, node: name, step: at, key: key, value: value, rows: rows}
}

// addTableSource adds the processor that makes changes of records.
func addTableSource[K, In, V any](
	b *Builder, name, parent string, spec StoreSpec, rows *lineage, key Serde[K], value Serde[V], row func(In) optional[V],
) {
	store := rowsOf[K, V]{sendsOld: rows.sendsOld}
	if rows.stored {
		store.name = spec.Name
	}
	AddProcessor(b, name, func() Processor[K, In, K, Change[V]] {
		return &tableSource[K, In, V]{rows: store, keyNull: nullTest[K](), row: row}
	}, parent)
	if rows.stored {
		AddStateStore(b, spec, key, value, name)
	}
}

// tableSource is the processor of tables that are made of a stream.
type tableSource[K, In, V any] struct {
	ctx     *Context[K, Change[V]]
	rows    rowsOf[K, V]
	keyNull func(K) bool
	row     func(In) optional[V]
}

func (t *tableSource[K, In, V]) Init(ctx *Context[K, Change[V]]) error {
	t.ctx = ctx
	return t.rows.open(ctx)
}

func (t *tableSource[K, In, V]) Process(record Record[K, In]) error {
	if t.keyNull != nil && t.keyNull(record.Key) {
		t.ctx.graph.dropped.Nulls++
		return nil
	}
	row := t.row(record.Value)
	change := Change[V]{New: row.value, HasNew: row.ok}
	if t.rows.store == nil {
		return t.ctx.Forward(WithValue(record, change))
	}
	raw, err := t.rows.store.rawKey(record.Key)
	if err != nil {
		return err
	}
	if t.rows.sendsOld && t.rows.store.below.cache == nil {
		if change.Old, _, change.HasOld, err = t.rows.store.get(raw); err != nil {
			return err
		}
	}
	return t.rows.update(record.Key, raw, record.Timestamp, record.Timestamp, change)
}

func (t *tableSource[K, In, V]) Close() error { return nil }

// rowsOf is the store of a table as the processor sees it that keeps the rows.
type rowsOf[K, V any] struct {
	name     string // empty = the rows are not kept
	sendsOld bool
	ctx      *Context[K, Change[V]]
	store    *TimestampedKeyValueStore[K, V] // nil = the rows are not kept
	null     func(V) bool                    // nil = the values have no null
}

// open opens the store. What comes out of its cache goes to the processor's children.
func (r *rowsOf[K, V]) open(ctx *Context[K, Change[V]]) (err error) {
	r.ctx, r.null = ctx, nullTest[V]()
	if r.name == "" {
		return nil
	}
	if r.store, err = OpenTimestampedStore[K, V](ctx, r.name); err != nil {
		return err
	}
	r.store.below.pass, r.store.below.needsOld = r.flushed, r.sendsOld
	return nil
}

// update puts a row and passes the change on, or leaves that to the cache. The timestamp is the row's; a tombstone in the
// changelog carries the time of the record, not of the value it removes.
func (r *rowsOf[K, V]) update(key K, raw []byte, timestamp, recordTimestamp int64, change Change[V]) error {
	written := timestamp
	var data []byte
	if change.HasNew && (r.null == nil || !r.null(change.New)) {
		var err error
		if data, err = r.store.encode(change.New); err != nil {
			return err
		}
	}
	if data == nil {
		change.HasNew, written = false, recordTimestamp
	}
	below := r.store.below
	if err := below.put(raw, data, written); err != nil || below.cache != nil {
		return err
	}
	if !r.sendsOld {
		var none V
		change.Old, change.HasOld = none, false
	}
	return r.ctx.Forward(Record[K, Change[V]]{Key: key, Value: change, Timestamp: timestamp, Headers: r.ctx.graph.headers})
}

// flushed passes on a row that comes out of the cache.
func (r *rowsOf[K, V]) flushed(rawKey, data []byte, timestamp int64, old []byte, hasOld bool) error {
	if len(r.ctx.children) == 0 {
		return nil
	}
	g := r.ctx.graph
	record := Record[K, Change[V]]{Timestamp: timestamp, Headers: g.headers}
	var err error
	if record.Key, err = r.store.decodeKey(rawKey); err != nil {
		return g.fail(&ProcessingError{Node: r.ctx.node, Err: err})
	}
	if data != nil {
		record.Value.HasNew = true
		if record.Value.New, err = r.store.decode(data); err != nil {
			return g.fail(&ProcessingError{Node: r.ctx.node, Err: err})
		}
	}
	if hasOld {
		record.Value.HasOld = true
		if record.Value.Old, err = r.store.decode(old); err != nil {
			return g.fail(&ProcessingError{Node: r.ctx.node, Err: err})
		}
	}
	return r.ctx.Forward(record)
}

// optional is a value, or none where its type has no null.
type optional[V any] struct {
	value V
	ok    bool
}

// optionalOf reads null as none, without asking the serde.
func optionalOf[V any](serde Serde[V]) Serde[optional[V]] {
	if serde == nil {
		return nil
	}
	return optionalSerde[V]{serde}
}

type optionalSerde[V any] struct{ serde Serde[V] }

func (o optionalSerde[V]) Serialize(v optional[V]) ([]byte, error) {
	if !v.ok {
		return nil, nil
	}
	return o.serde.Serialize(v.value)
}

func (o optionalSerde[V]) Deserialize(data []byte) (optional[V], error) {
	if data == nil {
		return optional[V]{}, nil
	}
	v, err := o.serde.Deserialize(data)
	return optional[V]{v, err == nil}, err
}
