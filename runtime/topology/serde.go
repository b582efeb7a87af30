package topology

import (
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
)

// ErrNull is returned by serdes for a null of Kafka where their type has none. [Nullable] makes room for it.
var ErrNull = errors.New("null where a value is needed")

// Serde turns values into the bytes of a record, and back. Bytes that are nil are Kafka's null; empty bytes are not.
// A serde is shared by all tasks of a program and must be safe for concurrent use.
type Serde[T any] interface {
	// Serialize returns the bytes of value. The caller does not change them, and value must not change afterwards
	// either if the bytes share its memory.
	Serialize(value T) ([]byte, error)
	// Deserialize returns the value of data. It must not change data; the value may share its memory.
	Deserialize(data []byte) (T, error)
}

// Bytes is the serde that leaves bytes alone. Its null is nil.
type Bytes struct{}

// Serialize returns value itself.
func (Bytes) Serialize(value []byte) ([]byte, error) { return value, nil }

// Deserialize returns data itself.
func (Bytes) Deserialize(data []byte) ([]byte, error) { return data, nil }

// String is the serde of strings, byte for byte. It has no null.
type String struct{}

// Serialize returns the bytes of value.
func (String) Serialize(value string) ([]byte, error) { return []byte(value), nil }

// Deserialize returns data as a string, or ErrNull.
func (String) Deserialize(data []byte) (string, error) {
	if data == nil {
		return "", ErrNull
	}
	return string(data), nil
}

// Int64 is the serde of 8 bytes, big endian: Java's Long. It has no null.
type Int64 struct{}

// Serialize returns the 8 bytes of value.
func (Int64) Serialize(value int64) ([]byte, error) {
	return binary.BigEndian.AppendUint64(make([]byte, 0, 8), uint64(value)), nil
}

// Deserialize returns the value of exactly 8 bytes.
func (Int64) Deserialize(data []byte) (int64, error) {
	if data == nil {
		return 0, ErrNull
	}
	if len(data) != 8 {
		return 0, fmt.Errorf("int64 of %d bytes, want 8", len(data))
	}
	return int64(binary.BigEndian.Uint64(data)), nil
}

// Int32 is the serde of 4 bytes, big endian: Java's Integer. It has no null.
type Int32 struct{}

// Serialize returns the 4 bytes of value.
func (Int32) Serialize(value int32) ([]byte, error) {
	return binary.BigEndian.AppendUint32(make([]byte, 0, 4), uint32(value)), nil
}

// Deserialize returns the value of exactly 4 bytes.
func (Int32) Deserialize(data []byte) (int32, error) {
	if data == nil {
		return 0, ErrNull
	}
	if len(data) != 4 {
		return 0, fmt.Errorf("int32 of %d bytes, want 4", len(data))
	}
	return int32(binary.BigEndian.Uint32(data)), nil
}

// Nullable gives a serde's type a null: the nil pointer.
func Nullable[T any](serde Serde[T]) Serde[*T] { return nullable[T]{serde} }

type nullable[T any] struct{ serde Serde[T] }

func (n nullable[T]) Serialize(value *T) ([]byte, error) {
	if value == nil {
		return nil, nil
	}
	return n.serde.Serialize(*value)
}

func (n nullable[T]) Deserialize(data []byte) (*T, error) {
	if data == nil {
		return nil, nil
	}
	value, err := n.serde.Deserialize(data)
	if err != nil {
		return nil, err
	}
	return &value, nil
}

// nullTest returns the test for a null of type T, or nil where T has none. It is made once for each node, so that the
// common types cost nothing for each record.
func nullTest[T any]() func(T) bool {
	var bytesAreNull any = func(b []byte) bool { return b == nil }
	if test, ok := bytesAreNull.(func(T) bool); ok {
		return test
	}
	switch reflect.TypeFor[T]().Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return func(value T) bool { return reflect.ValueOf(value).IsNil() }
	case reflect.Interface:
		return func(value T) bool { return any(value) == nil }
	default:
		return nil
	}
}
