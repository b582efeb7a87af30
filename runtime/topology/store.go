package topology

import (
	"fmt"
	"slices"
)

// BytesStore is a timestamped key-value store as the host has it, one for each task and store name.
type BytesStore interface {
	// Get returns the value of a key and its timestamp. The value stays valid, and unchanged, after the call.
	Get(key []byte) (value []byte, timestamp int64, ok bool, err error)
	// Put sets the value of a key; a nil value deletes it. The host also writes the changelog. It may keep both slices.
	Put(key, value []byte, timestamp int64) error
}

// StoreSpec says what a host has to provide for a store.
type StoreSpec struct {
	Name   string
	Logged bool // whether it has a changelog
}

// StoreContext is implemented by every [Context].
type StoreContext interface {
	storeAccess() (graph *Graph, node string, stores []string)
}

// OpenStore returns the store of that name for a processor that is connected to it. It is meant for a processor's Init.
// It fails where the processor is not connected to the store, or where the store holds other types.
func OpenStore[K, V any](ctx StoreContext, name string) (*KeyValueStore[K, V], error) {
	graph, node, connected := ctx.storeAccess()
	if !slices.Contains(connected, name) {
		return nil, fmt.Errorf("open store %s: processor %s is not connected to it", name, node)
	}
	store, ok := graph.stores[name].(*KeyValueStore[K, V])
	if !ok {
		return nil, fmt.Errorf("open store %s at processor %s: the store is a %T, not a %T",
			name, node, graph.stores[name], store)
	}
	return store, nil
}

// KeyValueStore is a processor's view of a store. All processors of a task that are connected to the store share it.
// Its errors end the work on the record even if a processor does not pass them on.
type KeyValueStore[K, V any] struct {
	graph *Graph
	name  string
	key   Serde[K]
	value Serde[V]
	bytes BytesStore
}

// Name is the name of the store.
func (s *KeyValueStore[K, V]) Name() string { return s.name }

// Get returns the value of a key and the timestamp it was put with, in milliseconds. The value may share memory with
// the store and must not be changed in place.
func (s *KeyValueStore[K, V]) Get(key K) (value V, timestamp int64, ok bool, err error) {
	raw, err := s.rawKey(key)
	if err != nil {
		return value, 0, false, err
	}
	return s.get(raw)
}

// Put sets the value of a key. A value whose bytes are nil deletes it.
func (s *KeyValueStore[K, V]) Put(key K, value V, timestamp int64) error {
	raw, err := s.rawKey(key)
	if err != nil {
		return err
	}
	return s.put(raw, value, timestamp)
}

// Delete removes a key. The timestamp is that of the changelog record.
func (s *KeyValueStore[K, V]) Delete(key K, timestamp int64) error {
	raw, err := s.rawKey(key)
	if err != nil {
		return err
	}
	return s.putRaw(raw, nil, timestamp)
}

func (s *KeyValueStore[K, V]) rawKey(key K) ([]byte, error) {
	raw, err := s.key.Serialize(key)
	if err != nil {
		return nil, fmt.Errorf("serialize key for store %s: %w", s.name, err)
	}
	if raw == nil {
		return nil, fmt.Errorf("key for store %s: %w", s.name, ErrNull)
	}
	return raw, nil
}

func (s *KeyValueStore[K, V]) get(raw []byte) (value V, timestamp int64, ok bool, err error) {
	data, timestamp, ok, err := s.bytes.Get(raw)
	if err != nil {
		return value, 0, false, s.graph.fail(&hostError{"get from store " + s.name, err})
	}
	if !ok {
		return value, 0, false, nil
	}
	if value, err = s.value.Deserialize(data); err != nil {
		return value, 0, false, fmt.Errorf("deserialize value of store %s: %w", s.name, err)
	}
	return value, timestamp, true, nil
}

func (s *KeyValueStore[K, V]) put(raw []byte, value V, timestamp int64) error {
	data, err := s.value.Serialize(value)
	if err != nil {
		return fmt.Errorf("serialize value for store %s: %w", s.name, err)
	}
	return s.putRaw(raw, data, timestamp)
}

func (s *KeyValueStore[K, V]) putRaw(raw, data []byte, timestamp int64) error {
	if err := s.bytes.Put(raw, data, timestamp); err != nil {
		return s.graph.fail(&hostError{"put into store " + s.name, err})
	}
	return nil
}
