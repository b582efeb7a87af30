package verify

import (
	"math/rand/v2"
	"testing"
)

// TestSequences compares both ways to remember inputs with a plain map.
func TestSequences(t *testing.T) {
	seed := newSeed()
	rng := rand.New(rand.NewPCG(seed, 0))
	var (
		set   sequences
		where spans
		plain = make(map[int64]int64) // sequence to offset
		at    int64
	)
	for seq := range int64(3 * chunkBits) {
		if seq >= chunkBits && rng.IntN(10) == 0 { // the first chunk is full
			continue
		}
		if rng.IntN(50) == 0 {
			at++ // a marker
		}
		plain[seq] = at
		where.add(seq, at)
		at++
	}
	for seq := range plain {
		if !set.add(seq) || set.add(seq) {
			t.Fatalf("seed %d: sequence %d was in, or is not", seed, seq)
		}
	}
	for seq := range int64(4 * chunkBits) {
		want, ok := plain[seq]
		if offset, found := where.offsetOf(seq); set.has(seq) != ok || found != ok || offset != want {
			t.Fatalf("seed %d: sequence %d: %v, at %d, %v; want %v at %d", seed, seq, set.has(seq), offset, found, ok, want)
		}
	}
	if n := int64(len(plain)); set.count != n || where.count() != n || set.chunks[0] != nil {
		t.Errorf("seed %d: %d and %d of %d", seed, set.count, where.count(), n)
	}
}
