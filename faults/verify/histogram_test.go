package verify

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestHistogramBuckets(t *testing.T) {
	for us := range uint64(1 << 20) {
		i := bucket(us)
		if top := bucketTop(i); top < us || i > 0 && bucketTop(i-1) >= us || float64(top) > float64(us)*(1+1.0/histogramSub) {
			t.Fatalf("%d us: bucket %d ends at %d, the one before at %d", us, i, top, bucketTop(max(i-1, 0)))
		}
	}
	if got := bucket(1 << 62); got != histogramBuckets-1 {
		t.Errorf("bucket of a huge value: %d", got)
	}
}

func TestHistogramQuantiles(t *testing.T) {
	seed := newSeed()
	rng := rand.New(rand.NewPCG(seed, 0))
	var h histogram
	if h.latency() != (Latency{}) {
		t.Errorf("empty: %+v", h.latency())
	}
	h.add(-time.Second)
	all := []time.Duration{0}
	for range 10_000 {
		d := time.Duration(rng.ExpFloat64() * float64(50*time.Millisecond))
		all = append(all, d)
		h.add(d)
	}
	slices.Sort(all)
	for _, q := range []float64{0, 0.01, 0.5, 0.9, 0.99, 1} {
		exact := all[int(q*float64(len(all)-1))]
		if got := h.quantile(q); got < exact-time.Microsecond || float64(got) > float64(exact)*1.07+1000 {
			t.Errorf("seed %d: quantile %v is %v, want %v", seed, q, got, exact)
		}
	}
	if got := h.latency().Max; got != all[len(all)-1] {
		t.Errorf("max %v", got)
	}
}
