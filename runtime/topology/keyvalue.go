package topology

import (
	"fmt"
	"iter"
)

// KeyValue is a key with its value.
type KeyValue[K, V any] struct {
	Key   K
	Value V
}

// TimestampedKeyValue is a key with its value and the timestamp it was put with, in milliseconds.
type TimestampedKeyValue[K, V any] struct {
	Key       K
	Value     V
	Timestamp int64
}

// KeyValueStore is a processor's view of a plain store. All processors of a task that are connected to the store share
// it. Errors of the host end the work on the record even if a processor does not pass them on. In the changelog an update
// has the timestamp of the record that was at work.
type KeyValueStore[K, V any] struct{ keyValueView[K, V] }

// Get returns the value of a key. It may share memory with the store and must not be changed in place.
func (s *KeyValueStore[K, V]) Get(key K) (value V, ok bool, err error) {
	raw, err := s.rawKey(key)
	if err != nil {
		return value, false, err
	}
	value, _, ok, err = s.get(raw)
	return value, ok, err
}

// Put sets the value of a key. A value whose bytes are nil deletes it.
func (s *KeyValueStore[K, V]) Put(key K, value V) error {
	raw, err := s.rawKey(key)
	if err != nil {
		return err
	}
	return s.put(raw, value, s.below.graph.timestamp)
}

// PutIfAbsent sets the value of a key that has none, and returns what it had otherwise.
func (s *KeyValueStore[K, V]) PutIfAbsent(key K, value V) (had V, present bool, err error) {
	had, _, present, err = s.putIfAbsent(key, value, s.below.graph.timestamp)
	return had, present, err
}

// Delete removes a key.
func (s *KeyValueStore[K, V]) Delete(key K) error { return s.remove(key, s.below.graph.timestamp) }

// All returns every entry, in the order of the serialised keys. The store may be used, and changed, while the entries are
// worked off; entries that are changed meanwhile come as they were or as they are. After an error there are no more.
func (s *KeyValueStore[K, V]) All() iter.Seq2[KeyValue[K, V], error] {
	return s.plain(s.all())
}

// Range is All for the keys from one to another, both included.
func (s *KeyValueStore[K, V]) Range(from, to K) iter.Seq2[KeyValue[K, V], error] {
	return s.plain(s.between(from, to))
}

func (s *KeyValueStore[K, V]) plain(entries iter.Seq2[TimestampedKeyValue[K, V], error]) iter.Seq2[KeyValue[K, V], error] {
	return func(yield func(KeyValue[K, V], error) bool) {
		for entry, err := range entries {
			if !yield(KeyValue[K, V]{Key: entry.Key, Value: entry.Value}, err) {
				return
			}
		}
	}
}

// TimestampedKeyValueStore is a processor's view of a store whose values have timestamps, in milliseconds. It is a
// [KeyValueStore] otherwise.
type TimestampedKeyValueStore[K, V any] struct{ keyValueView[K, V] }

// Get returns the value of a key and the timestamp it was put with. The value may share memory with the store and must
// not be changed in place.
func (s *TimestampedKeyValueStore[K, V]) Get(key K) (value V, timestamp int64, ok bool, err error) {
	raw, err := s.rawKey(key)
	if err != nil {
		return value, 0, false, err
	}
	return s.get(raw)
}

// Put sets the value of a key. A value whose bytes are nil deletes it.
func (s *TimestampedKeyValueStore[K, V]) Put(key K, value V, timestamp int64) error {
	raw, err := s.rawKey(key)
	if err != nil {
		return err
	}
	return s.put(raw, value, timestamp)
}

// PutIfAbsent sets the value of a key that has none, and returns what it had otherwise, with its timestamp.
func (s *TimestampedKeyValueStore[K, V]) PutIfAbsent(
	key K, value V, timestamp int64,
) (had V, hadTimestamp int64, present bool, err error) {
	return s.putIfAbsent(key, value, timestamp)
}

// Delete removes a key. The timestamp is that of the changelog record.
func (s *TimestampedKeyValueStore[K, V]) Delete(key K, timestamp int64) error {
	return s.remove(key, timestamp)
}

// All returns every entry, see [KeyValueStore.All].
func (s *TimestampedKeyValueStore[K, V]) All() iter.Seq2[TimestampedKeyValue[K, V], error] {
	return s.all()
}

// Range is All for the keys from one to another, both included.
func (s *TimestampedKeyValueStore[K, V]) Range(from, to K) iter.Seq2[TimestampedKeyValue[K, V], error] {
	return s.between(from, to)
}

// keyValueView puts serdes before a layer.
type keyValueView[K, V any] struct {
	below *layer
	key   Serde[K]
	value Serde[V]
}

// Name is the name of the store.
func (s *keyValueView[K, V]) Name() string { return s.below.spec.Name }

func (s *keyValueView[K, V]) layer() *layer { return s.below }

func (s *keyValueView[K, V]) rawKey(key K) ([]byte, error) {
	raw, err := s.key.Serialize(key)
	if err != nil {
		return nil, fmt.Errorf("serialize key for store %s: %w", s.Name(), err)
	}
	if raw == nil {
		return nil, fmt.Errorf("key for store %s: %w", s.Name(), ErrNull)
	}
	return raw, nil
}

func (s *keyValueView[K, V]) get(raw []byte) (value V, timestamp int64, ok bool, err error) {
	data, timestamp, ok, err := s.below.get(raw)
	if err != nil || !ok {
		return value, 0, false, err
	}
	if value, err = s.decode(data); err != nil {
		return value, 0, false, err
	}
	return value, timestamp, true, nil
}

func (s *keyValueView[K, V]) put(raw []byte, value V, timestamp int64) error {
	data, err := s.encode(value)
	if err != nil {
		return err
	}
	return s.below.put(raw, data, timestamp)
}

func (s *keyValueView[K, V]) putIfAbsent(
	key K, value V, timestamp int64,
) (had V, hadTimestamp int64, present bool, err error) {
	raw, err := s.rawKey(key)
	if err != nil {
		return had, 0, false, err
	}
	had, hadTimestamp, present, err = s.get(raw)
	if err != nil || present {
		return had, hadTimestamp, present, err
	}
	return had, 0, false, s.put(raw, value, timestamp)
}

func (s *keyValueView[K, V]) remove(key K, timestamp int64) error {
	raw, err := s.rawKey(key)
	if err != nil {
		return err
	}
	return s.below.put(raw, nil, timestamp)
}

func (s *keyValueView[K, V]) encode(value V) ([]byte, error) {
	data, err := s.value.Serialize(value)
	if err != nil {
		return nil, fmt.Errorf("serialize value for store %s: %w", s.Name(), err)
	}
	return data, nil
}

func (s *keyValueView[K, V]) decode(data []byte) (V, error) {
	value, err := s.value.Deserialize(data)
	if err != nil {
		return value, fmt.Errorf("deserialize value of store %s: %w", s.Name(), err)
	}
	return value, nil
}

func (s *keyValueView[K, V]) decodeKey(data []byte) (K, error) {
	key, err := s.key.Deserialize(data)
	if err != nil {
		return key, fmt.Errorf("deserialize key of store %s: %w", s.Name(), err)
	}
	return key, nil
}

func (s *keyValueView[K, V]) all() iter.Seq2[TimestampedKeyValue[K, V], error] {
	return s.entries(nil, nil)
}

func (s *keyValueView[K, V]) between(from, to K) iter.Seq2[TimestampedKeyValue[K, V], error] {
	return func(yield func(TimestampedKeyValue[K, V], error) bool) {
		first, err := s.rawKey(from)
		if err == nil {
			var last []byte
			if last, err = s.rawKey(to); err == nil {
				s.entries(first, last)(yield)
				return
			}
		}
		yield(TimestampedKeyValue[K, V]{}, err)
	}
}

func (s *keyValueView[K, V]) entries(from, to []byte) iter.Seq2[TimestampedKeyValue[K, V], error] {
	return func(yield func(TimestampedKeyValue[K, V], error) bool) {
		for row, err := range s.below.scan(from, to) {
			entry := TimestampedKeyValue[K, V]{Timestamp: row.timestamp}
			if err == nil {
				if entry.Key, err = s.decodeKey(row.key); err == nil {
					entry.Value, err = s.decode(row.value)
				}
			}
			if !yield(entry, err) || err != nil {
				return
			}
		}
	}
}
