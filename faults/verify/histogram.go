package verify

import (
	"math/bits"
	"time"
)

const (
	histogramSub     = 16 // buckets per power of two: a percentile is off by at most a sixteenth
	histogramBuckets = 32 * histogramSub
)

// histogram counts durations in buckets whose width grows with the value, from a microsecond to over an hour.
// The zero value is ready; its size is fixed at 4 KiB.
type histogram struct {
	counts [histogramBuckets]int64
	total  int64
	max    time.Duration
}

// bucket returns the index for a number of microseconds. Below histogramSub each value has a bucket of its own.
func bucket(us uint64) int {
	if us < histogramSub {
		return int(us)
	}
	exp := bits.Len64(us) - 5 // 0 for 16..31, whose sixteen values are sixteen buckets
	i := (exp+1)*histogramSub + int(us>>exp) - histogramSub
	return min(i, histogramBuckets-1)
}

// bucketTop returns the largest number of microseconds that falls into a bucket.
func bucketTop(i int) uint64 {
	if i < histogramSub {
		return uint64(i)
	}
	exp := i/histogramSub - 1
	return (uint64(i%histogramSub)+histogramSub+1)<<exp - 1
}

// add counts one duration; a negative one, which clocks that differ can bring about, counts as zero.
func (h *histogram) add(d time.Duration) {
	d = max(d, 0)
	h.counts[bucket(uint64(d/time.Microsecond))]++
	h.total++
	h.max = max(h.max, d)
}

// quantile returns a duration that at least the share q of all counted ones does not exceed; 0 if there is none.
func (h *histogram) quantile(q float64) time.Duration {
	if h.total == 0 {
		return 0
	}
	rank := int64(q*float64(h.total-1)) + 1
	for i, n := range h.counts {
		if rank -= n; rank <= 0 {
			return min(time.Duration(bucketTop(i))*time.Microsecond, h.max)
		}
	}
	return h.max
}

// latency returns the percentiles that a Status shows.
func (h *histogram) latency() Latency {
	return Latency{P50: h.quantile(0.5), P99: h.quantile(0.99), Max: h.max}
}
