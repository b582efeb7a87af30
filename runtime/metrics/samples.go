package metrics

import "time"

// Kafka's metrics.sample.window.ms and metrics.num.samples.
const (
	sampleWindow = 30 * time.Second
	sampleCount  = 2
)

// clock counts time from the registry's beginning.
type clock struct{ epoch time.Time }

func newClock() *clock { return &clock{epoch: time.Now()} }

func (c *clock) now() time.Duration { return time.Since(c.epoch) }

// millis returns a time as Kafka writes times: in milliseconds since 1970.
func (c *clock) millis(at time.Duration) float64 { return float64(c.epoch.Add(at).UnixMilli()) }

// sample is what was recorded in one window. Without a record it is not used.
type sample struct {
	start, last   time.Duration // of the first and the last record
	count         int64
	sum, min, max float64
}

// samples is Kafka's SampledStat: what was recorded in the last windows. A window begins with the first record after the end of
// the one before. One sample more than the number of windows is kept, for the oldest may reach into the time that is
// looked at.
type samples struct {
	ring    [sampleCount + 1]sample
	current int
}

func (s *samples) record(now time.Duration, v float64) {
	c := &s.ring[s.current]
	if c.count > 0 && now-c.start >= sampleWindow {
		s.current = (s.current + 1) % len(s.ring)
		c = &s.ring[s.current]
		*c = sample{}
	}
	if c.count == 0 {
		*c = sample{start: now, min: v, max: v}
	}
	c.last = now
	c.count++
	c.sum += v
	c.min, c.max = min(c.min, v), max(c.max, v)
}

// read combines the samples that are not too old; its start is that of the oldest.
func (s *samples) read(now time.Duration) sample {
	var all sample
	for i := range s.ring {
		c := &s.ring[i]
		if c.count == 0 || now-c.last >= sampleCount*sampleWindow {
			continue
		}
		if all.count == 0 {
			all = *c
			continue
		}
		all.start, all.last = min(all.start, c.start), max(all.last, c.last)
		all.count += c.count
		all.sum += c.sum
		all.min, all.max = min(all.min, c.min), max(all.max, c.max)
	}
	return all
}

// elapsed is the time that a rate is over, as in Kafka's Rate: since the oldest sample, but a window at least is added where
// less than one is known, so that the first records do not look like a flood.
func (s *sample) elapsed(now time.Duration) time.Duration {
	if s.count == 0 {
		return sampleWindow
	}
	elapsed := now - s.start
	if full := elapsed / sampleWindow; full < sampleCount-1 {
		elapsed += (sampleCount - 1 - full) * sampleWindow
	}
	return elapsed
}

// rate returns a sum or a count a second.
func (s *sample) rate(now time.Duration, n float64) float64 { return n / s.elapsed(now).Seconds() }
