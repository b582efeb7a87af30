package metrics

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func TestSamples(t *testing.T) {
	type at struct {
		second float64
		v      float64
	}
	tests := []struct {
		name          string
		records       []at
		now           float64
		count         int64
		sum, min, max float64
		rate          float64 // of the sum
	}{
		{name: "nothing", now: 100},
		{name: "the first record looks like one in 30 s", records: []at{{0, 3}}, now: 0, count: 1, sum: 3, min: 3, max: 3, rate: 0.1},
		{name: "a part of a window is filled up with a whole one", records: []at{{0, 10}, {9, 10}}, now: 10, count: 2, sum: 20, min: 10, max: 10, rate: 0.5},
		{name: "a window and a half is itself", records: []at{{0, 10}, {29, 10}, {30, 25}}, now: 45, count: 3, sum: 45, min: 10, max: 25, rate: 1},
		{name: "negative values", records: []at{{0, -5}, {1, -2}}, now: 30, count: 2, sum: -7, min: -5, max: -2, rate: -7.0 / 30},
		{name: "a sample ends 60 s after its last record", records: []at{{0, 1}, {20, 2}}, now: 79.9, count: 2, sum: 3, min: 1, max: 2, rate: 3 / 79.9},
		{name: "and is gone then", records: []at{{0, 1}, {20, 2}}, now: 80},
		{name: "an old one does not hide a new one", records: []at{{0, 100}, {100, 2}}, now: 110, count: 1, sum: 2, min: 2, max: 2, rate: 0.05},
		{name: "three samples", records: []at{{0, 1}, {29, 1}, {30, 2}, {60, 4}}, now: 88, count: 4, sum: 8, min: 1, max: 4, rate: 8.0 / 88},
		{name: "never four", records: []at{{0, 1}, {29, 1}, {30, 2}, {45, 2}, {60, 4}, {88, 8}, {90, 16}}, now: 90, count: 5, sum: 32, min: 2, max: 16, rate: 32.0 / 60},
	}
	seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var s samples
			for _, r := range tt.records {
				s.record(seconds(r.second), r.v)
			}
			got := s.read(seconds(tt.now))
			if got.count != tt.count || got.sum != tt.sum || got.min != tt.min || got.max != tt.max {
				t.Errorf("count %d, sum %v, from %v to %v; want %d, %v, from %v to %v", got.count, got.sum, got.min, got.max, tt.count, tt.sum, tt.min, tt.max)
			}
			if rate := got.rate(seconds(tt.now), got.sum); math.Abs(rate-tt.rate) > 1e-9 {
				t.Errorf("rate %v, want %v", rate, tt.rate)
			}
		})
	}
}

// TestSamplesAgainstAllRecords compares with a model that keeps every record.
func TestSamplesAgainstAllRecords(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		var (
			s       samples
			now     time.Duration
			windows [][]float64
			starts  []time.Duration
			lasts   []time.Duration
		)
		for range 100 {
			now += time.Duration(random.ExpFloat64() * float64(time.Duration(1+random.IntN(20))*time.Second))
			if random.IntN(3) > 0 {
				v := random.NormFloat64()
				s.record(now, v)
				if last := len(starts) - 1; last < 0 || now-starts[last] >= 30*time.Second {
					windows, starts, lasts = append(windows, nil), append(starts, now), append(lasts, now)
				}
				last := len(starts) - 1
				windows[last], lasts[last] = append(windows[last], v), now
			}
			count, sum, low, high := int64(0), 0.0, math.Inf(1), math.Inf(-1)
			start := now
			for i := max(0, len(windows)-3); i < len(windows); i++ {
				if now-lasts[i] >= time.Minute {
					continue
				}
				start = min(start, starts[i])
				for _, v := range windows[i] {
					count++
					sum += v
					low, high = min(low, v), max(high, v)
				}
			}
			got := s.read(now)
			if got.count != count || (count > 0 && (math.Abs(got.sum-sum) > 1e-9 || got.min != low || got.max != high || got.start != start)) {
				t.Fatalf("seed %d: at %v %+v, want count %d, sum %v, from %v to %v, start %v", seed, now, got, count, sum, low, high, start)
			}
			if e := got.elapsed(now); e < 30*time.Second || e > 2*time.Minute {
				t.Fatalf("seed %d: a rate over %v", seed, e)
			}
		}
	}
}
