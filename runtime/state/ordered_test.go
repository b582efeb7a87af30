package state

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestOrderedAgainstModel compares the index with a map: content, both directions, any bounds.
func TestOrderedAgainstModel(t *testing.T) {
	for _, keys := range []int{1, 30, 5000} {
		t.Run(fmt.Sprint(keys), func(t *testing.T) {
			rng := randomly(t)
			var o ordered[int]
			model := map[string]int{}
			key := func() string { return fmt.Sprintf("%04d", rng.IntN(keys)) }
			for step := range 20_000 {
				growing := step/5000%2 == 0 // so that chunks are split, and joined again
				switch k := key(); {
				case rng.IntN(10) < 2 == growing:
					o.remove(k)
					delete(model, k)
				default:
					if _, ok := model[k]; !ok {
						o.insert(k, step)
						model[k] = step
					}
				}
				if step%500 == 0 {
					compareOrdered(t, &o, model, randomBounds(rng, key))
				}
			}
			compareOrdered(t, &o, model, bounds{})
			for k := range model {
				o.remove(k)
			}
			if o.count != 0 || len(o.chunks) != 0 {
				t.Fatalf("%d items in %d chunks are left", o.count, len(o.chunks))
			}
		})
	}
}

func randomBounds(rng *rand.Rand, key func() string) bounds {
	var b bounds
	if rng.IntN(3) > 0 {
		b.lower = []byte(key())
	}
	if rng.IntN(3) > 0 {
		b.upper = []byte(key())
	}
	return b
}

func compareOrdered(t *testing.T, o *ordered[int], model map[string]int, b bounds) {
	t.Helper()
	var want []string
	for _, k := range slices.Sorted(maps.Keys(model)) {
		if b.contain(k) {
			want = append(want, k)
		}
	}
	var up, down []string
	o.ascend(b, func(k string, item int) bool {
		if item != model[k] {
			t.Fatalf("%q has item %d, want %d", k, item, model[k])
		}
		up = append(up, k)
		return true
	})
	o.descend(b, func(k string, _ int) bool {
		down = append(down, k)
		return true
	})
	slices.Reverse(down)
	if !slices.Equal(up, want) || !slices.Equal(down, want) {
		t.Fatalf("between %q and %q: %d up, %d down, want %d", b.lower, b.upper, len(up), len(down), len(want))
	}
	if o.count != len(model) {
		t.Fatalf("count %d, want %d", o.count, len(model))
	}
}

// A walk survives what its callback does to the index, and passes every key that stays exactly once.
func TestOrderedChangesDuringWalk(t *testing.T) {
	for _, down := range []bool{false, true} {
		t.Run(fmt.Sprint("down=", down), func(t *testing.T) {
			rng := randomly(t)
			var o ordered[bool]
			const n = 3000
			for i := range n {
				o.insert(fmt.Sprintf("%05d", i), true)
			}
			walk := o.ascend
			if down {
				walk = o.descend
			}
			seen := map[string]int{}
			last := ""
			walk(bounds{}, func(key string, stays bool) bool {
				if last != "" && (key <= last) != down {
					t.Fatalf("%q after %q", key, last)
				}
				last = key
				if stays {
					seen[key]++
				}
				for range rng.IntN(4) {
					k := fmt.Sprintf("%05d-%d", rng.IntN(n), rng.IntN(10))
					if _, _, found := o.locate(k); found {
						o.remove(k)
					} else {
						o.insert(k, false)
					}
				}
				if rng.IntN(3) == 0 {
					o.remove(key)
				}
				return true
			})
			for i := range n {
				if k := fmt.Sprintf("%05d", i); seen[k] != 1 {
					t.Fatalf("%q was passed %d times", k, seen[k])
				}
			}
		})
	}
}
