package state

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
)

// BenchmarkUpdate is what an aggregate does: read a count, write it back plus one. Commit is the number of updates between two
// commits, clean the budget for clean entries.
func BenchmarkUpdate(b *testing.B) {
	for _, c := range []struct {
		keys, commit int
		clean        int64
	}{
		{10_000, 2000, 0},
		{10_000, 20_000, 0},
		{200_000, 2000, 0},
		{200_000, 2000, 64 << 20},
		{1_000_000, 2000, 0},
	} {
		b.Run(fmt.Sprintf("keys=%d/commit=%d/clean=%dMiB", c.keys, c.commit, StoreOptions{CleanBytes: c.clean}.withDefaults().CleanBytes>>20), func(b *testing.B) {
			cache := NewCache(64 << 20)
			defer cache.Close()
			s := openBench(b, StoreOptions{Cache: cache, CleanBytes: c.clean})
			fill(b, s, c.keys)
			rng := rand.New(rand.NewPCG(1, 2))
			var key [16]byte
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				benchKey(key[:], rng.IntN(c.keys))
				value, ts, _, err := s.Get(key[:])
				if err != nil {
					b.Fatal(err)
				}
				var next [8]byte
				binary.BigEndian.PutUint64(next[:], binary.BigEndian.Uint64(value)+1)
				if err := s.Put(key[:], next[:], ts+1); err != nil {
					b.Fatal(err)
				}
				if n++; n%c.commit == 0 {
					if err := s.Commit(int64(n)); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// BenchmarkRecordCache is what a cached aggregate does: read a count, write it back plus one, and flush after 2,000 updates.
func BenchmarkRecordCache(b *testing.B) {
	for _, keys := range []int{1000, 100_000} {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
			c := NewThreadCache(10<<20, FirstDirty).Open("0_0", "store")
			c.OnFlush(func(_, _ []byte, _ int64, _ any) error { return nil })
			rng := rand.New(rand.NewPCG(1, 2))
			var key [16]byte
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				benchKey(key[:], rng.IntN(keys))
				var next [8]byte
				if value, _, ok := c.Get(key[:]); ok {
					binary.BigEndian.PutUint64(next[:], binary.BigEndian.Uint64(value)+1)
				}
				if err := c.Put(key[:], next[:], 1, nil); err != nil {
					b.Fatal(err)
				}
				if n++; n%2000 == 0 {
					if err := c.Flush(); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// BenchmarkRestore applies a changelog of distinct keys, and one in which keys repeat, in batches of 1,000 records.
func BenchmarkRestore(b *testing.B) {
	for _, keys := range []int{10_000, 10_000_000} {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
			cache := NewCache(64 << 20)
			defer cache.Close()
			s := openBench(b, StoreOptions{Cache: cache})
			rng := rand.New(rand.NewPCG(1, 2))
			batch := make([]Entry, 1000)
			for i := range batch {
				batch[i].Key, batch[i].Value = make([]byte, 16), make([]byte, 8)
			}
			n := int64(0)
			for b.Loop() {
				i := int(n % 1000)
				benchKey(batch[i].Key, rng.IntN(keys))
				if n++; n%1000 == 0 {
					if err := s.Restore(batch, n); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// BenchmarkDigest walks over 100,000 entries.
func BenchmarkDigest(b *testing.B) {
	cache := NewCache(64 << 20)
	defer cache.Close()
	s := openBench(b, StoreOptions{Cache: cache})
	fill(b, s, 100_000)
	for b.Loop() {
		if _, _, err := s.Digest(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen opens and closes one store on disk.
func BenchmarkOpen(b *testing.B) {
	cache := NewCache(64 << 20)
	defer cache.Close()
	d, err := OpenDirectory(DirectoryConfig{Path: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s, err := d.OpenStore("0_0", "store", StoreOptions{Cache: cache})
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
	if err := d.Close(); err != nil {
		b.Fatal(err)
	}
}

func openBench(b *testing.B, o StoreOptions) *Store {
	b.Helper()
	d, err := OpenDirectory(DirectoryConfig{Path: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	s, err := d.OpenStore("0_0", "store", o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
		if err := d.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

func fill(b *testing.B, s *Store, keys int) {
	b.Helper()
	var key [16]byte
	for i := range keys {
		benchKey(key[:], i)
		if err := s.Put(key[:], make([]byte, 8), 1); err != nil {
			b.Fatal(err)
		}
		if i%2000 == 1999 || i == keys-1 {
			if err := s.Commit(int64(i)); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func benchKey(key []byte, id int) {
	binary.BigEndian.PutUint64(key, uint64(id)*0x9E3779B97F4A7C15)
	binary.BigEndian.PutUint64(key[8:], uint64(id))
}
