package topology

// Header is one header of a record. Keys may repeat, as in Kafka.
type Header struct {
	Key   string
	Value []byte
}

// Record is one record on its way through the graph. It is passed by value; Key, Value and Headers may be shared with
// other records, so none of them may be changed in place. Appending to Headers is safe: it copies.
type Record[K, V any] struct {
	Key       K
	Value     V
	Timestamp int64 // milliseconds since the epoch
	Headers   []Header
}

// WithKey returns the record with another key, which may be of another type. Timestamp and headers stay.
func WithKey[K2, K, V any](record Record[K, V], key K2) Record[K2, V] {
	return Record[K2, V]{Key: key, Value: record.Value, Timestamp: record.Timestamp, Headers: record.Headers}
}

// WithValue returns the record with another value, which may be of another type. Timestamp and headers stay.
func WithValue[V2, K, V any](record Record[K, V], value V2) Record[K, V2] {
	return Record[K, V2]{Key: record.Key, Value: value, Timestamp: record.Timestamp, Headers: record.Headers}
}
