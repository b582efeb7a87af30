package topology

import (
	"fmt"
	"slices"
)

// StoreSpec says what a host has to provide for a store.
type StoreSpec struct {
	Name        string
	Logged      bool              // whether it has a changelog
	Cached      bool              // whether its updates go through the record cache, see [Host]
	InMemory    bool              // whether it is to be kept in memory only, and restored from its changelog each time
	Timestamped bool              // whether its values have timestamps, which the processors give and get
	Config      map[string]string // of the changelog topic, over what the runtime sets; must not be changed
}

// BytesStore is a key-value store as the host has it, one for each task and store name. Every value has a timestamp in
// it, whether or not the processors see it.
type BytesStore interface {
	// Get returns the value of a key and its timestamp. The value stays valid, and unchanged, after the call.
	Get(key []byte) (value []byte, timestamp int64, ok bool, err error)
	// Put sets the value of a key; a nil value deletes it. The host also writes the changelog, where the timestamp
	// becomes that of the record. It may keep both slices.
	Put(key, value []byte, timestamp int64) error
	// Scan passes up to limit entries behind the key after, in key order; nil begins with the first key. Next is the last
	// key that was passed, and done is true if there are no more. Fn does not call the store, and what it gets is
	// valid during the call only. If it returns an error, the scan ends with that error as it is.
	Scan(after []byte, limit int, fn func(key, value []byte, timestamp int64) error) (next []byte, done bool, err error)
}

// StateStore is what stores of all kinds have in common, whatever their types. Kinds of stores are added in this
// package: a view with the operations of its kind, over a layer of bytes that knows cache and changelog.
type StateStore interface {
	// Name is the name of the store.
	Name() string
	layer() *layer
}

// StoreContext is implemented by every [Context].
type StoreContext interface {
	storeAccess() (graph *Graph, node string, stores []string)
}

// OpenStore returns the plain key-value store of that name for a processor that is connected to it. It is meant for a
// processor's Init. It fails where the processor is not connected to the store, or where the store is of another kind or
// holds other types.
func OpenStore[K, V any](ctx StoreContext, name string) (*KeyValueStore[K, V], error) {
	return openStore[*KeyValueStore[K, V]](ctx, name)
}

// OpenTimestampedStore is OpenStore for a timestamped key-value store, which those of tables are.
func OpenTimestampedStore[K, V any](ctx StoreContext, name string) (*TimestampedKeyValueStore[K, V], error) {
	return openStore[*TimestampedKeyValueStore[K, V]](ctx, name)
}

func openStore[S StateStore](ctx StoreContext, name string) (store S, err error) {
	graph, node, connected := ctx.storeAccess()
	if !slices.Contains(connected, name) {
		return store, fmt.Errorf("open store %s: processor %s is not connected to it", name, node)
	}
	opened, ok := graph.stores[name].(S)
	if !ok {
		return store, fmt.Errorf("open store %s at processor %s: the store is a %T, not a %T",
			name, node, graph.stores[name], store)
	}
	return opened, nil
}

// layer is a store beneath its serdes: the host's store, and a record cache before it where there is one. It is shared by
// all processors of a task that are connected to the store.
type layer struct {
	graph *Graph
	node  string // one of the processors that are connected to it
	spec  StoreSpec
	bytes BytesStore
	cache RecordCache // nil = none
	dirty bool        // the cache may hold updates that were not flushed

	// pass passes an update on to the children of the table whose rows these are. nil = nobody wants to know. The old
	// value is looked up if it is needed.
	pass     func(key, value []byte, timestamp int64, old []byte, hasOld bool) error
	needsOld bool
}

func newLayer(g *Graph, def *storeDef) (*layer, error) {
	l := &layer{graph: g, node: def.processors[0], spec: def.spec}
	var err error
	if l.bytes, err = g.host.Store(def.spec.Name); err != nil {
		return nil, &hostError{"open store " + def.spec.Name, err}
	}
	if !def.spec.Cached {
		return l, nil
	}
	if l.cache = g.host.Cache(def.spec.Name); l.cache != nil {
		l.cache.OnFlush(func(key, value []byte, timestamp int64, context any) error {
			return g.replay(context.(*captured), func() error { return l.flushed(key, value, timestamp) })
		})
		g.cached = append(g.cached, l)
	}
	return l, nil
}

func (l *layer) get(key []byte) (value []byte, timestamp int64, ok bool, err error) {
	if l.cache != nil {
		if value, timestamp, ok = l.cache.Get(key); ok {
			return value, timestamp, value != nil, nil
		}
	}
	value, timestamp, ok, err = l.bytes.Get(key)
	if err != nil {
		return nil, 0, false, l.graph.failHost("get from store", l.spec.Name, err)
	}
	if ok && l.cache != nil {
		l.cache.Fill(key, value, timestamp)
	}
	return value, timestamp, ok, nil
}

func (l *layer) put(key, value []byte, timestamp int64) error {
	if l.cache == nil {
		return l.write(key, value, timestamp)
	}
	l.dirty = true
	if err := l.cache.Put(key, value, timestamp, l.graph.capture()); err != nil {
		return l.graph.failHost("put into the cache of store", l.spec.Name, err)
	}
	return nil
}

// write writes to the host's store and so to the changelog.
func (l *layer) write(key, value []byte, timestamp int64) error {
	if err := l.bytes.Put(key, value, timestamp); err != nil {
		return l.graph.failHost("put into store", l.spec.Name, err)
	}
	return nil
}

// flushed takes an update out of the cache: it is written, logged and passed on.
func (l *layer) flushed(key, value []byte, timestamp int64) error {
	if l.pass == nil {
		return l.write(key, value, timestamp)
	}
	var old []byte
	var hasOld bool
	if value == nil || l.needsOld {
		var err error
		if old, _, hasOld, err = l.bytes.Get(key); err != nil {
			return l.graph.failHost("get from store", l.spec.Name, err)
		}
		if value == nil && !hasOld {
			return nil // put and deleted again since the last flush
		}
	}
	if err := l.write(key, value, timestamp); err != nil {
		return err
	}
	return l.pass(key, value, timestamp, old, hasOld && l.needsOld)
}
