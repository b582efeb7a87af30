package topology

import "testing"

// TestMurmur2 holds the vectors of the Java client's own test.
func TestMurmur2(t *testing.T) {
	tests := map[string]int32{
		"21":                         -973932308,
		"foobar":                     -790332482,
		"a-little-bit-long-string":   -985981536,
		"a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	}
	for key, want := range tests {
		if got := Murmur2([]byte(key)); got != want {
			t.Errorf("Murmur2(%q) = %d, want %d", key, got, want)
		}
	}
}

func TestPartitionFor(t *testing.T) {
	tests := []struct {
		key        string
		partitions int32
		want       int32
	}{
		{"abc", 9, 479470107 % 9},
		// The sign bit is dropped: -973932308 becomes 1173551340.
		{"21", 1000, 340},
		{"foobar", 1, 0},
	}
	for _, test := range tests {
		if got := PartitionFor([]byte(test.key), test.partitions); got != test.want {
			t.Errorf("PartitionFor(%q, %d) = %d, want %d", test.key, test.partitions, got, test.want)
		}
	}
}
