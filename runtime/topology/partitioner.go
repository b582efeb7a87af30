package topology

// Murmur2 is the hash of Kafka's default partitioner, bit for bit as in the Java client.
func Murmur2(key []byte) int32 {
	const (
		seed = 0x9747b28c
		m    = 0x5bd1e995
		r    = 24
	)
	h := seed ^ uint32(len(key))
	for ; len(key) >= 4; key = key[4:] {
		k := uint32(key[0]) | uint32(key[1])<<8 | uint32(key[2])<<16 | uint32(key[3])<<24
		k *= m
		k ^= k >> r
		k *= m
		h *= m
		h ^= k
	}
	switch len(key) {
	case 3:
		h ^= uint32(key[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(key[1]) << 8
		fallthrough
	case 1:
		h ^= uint32(key[0])
		h *= m
	}
	h ^= h >> 13
	h *= m
	h ^= h >> 15
	return int32(h)
}

// PartitionFor returns the partition, of partitions many, that Kafka's default partitioner chooses for a serialised key.
// The key must not be null and partitions must be positive.
func PartitionFor(key []byte, partitions int32) int32 {
	// Kafka drops the sign bit, it does not negate.
	return (Murmur2(key) & 0x7fffffff) % partitions
}
