package metrics

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Counter counts what only grows.
type Counter struct{ n atomic.Uint64 }

// Add adds n, which must not be negative.
func (c *Counter) Add(n int) {
	if c != nil && n > 0 {
		c.n.Add(uint64(n))
	}
}

// Elapsed sums up time that was spent. It is absent until there was any, be it no time at all.
type Elapsed struct {
	n    atomic.Int64
	seen atomic.Bool
}

// Add adds time that was spent.
func (e *Elapsed) Add(took time.Duration) {
	if e != nil {
		e.n.Add(int64(max(0, took)))
		e.seen.Store(true)
	}
}

// Gauge is a number that is set. It is absent until it was set.
type Gauge struct{ bits atomic.Uint64 }

// Set sets the number; NaN makes it absent.
func (g *Gauge) Set(v float64) {
	if g != nil {
		g.bits.Store(math.Float64bits(v))
	}
}

func (g *Gauge) read(time.Duration) (float64, bool) {
	v := math.Float64frombits(g.bits.Load())
	return v, !math.IsNaN(v)
}

// text is a word that is set. It is absent until it was set.
type text struct{ value atomic.Pointer[string] }

func (t *text) set(value string) {
	if t != nil {
		t.value.Store(&valid(value)[0])
	}
}

func (t *text) get() string {
	if value := t.value.Load(); value != nil {
		return *value
	}
	return ""
}

// sensor is the common part of what is sampled.
type sensor struct {
	clock *clock

	mu      sync.Mutex // guards the rest; held for a few instructions
	samples samples
	count   uint64
	sum     float64
}

func (s *sensor) record(v float64) {
	now := s.clock.now()
	s.mu.Lock()
	s.samples.record(now, v)
	s.count++
	s.sum += v
	s.mu.Unlock()
}

// read returns what was recorded lately, and since the beginning.
func (s *sensor) read(now time.Duration) (recent sample, count uint64, sum float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.samples.read(now), s.count, s.sum
}

// Meter measures how often something happens: its rate a second and its total.
type Meter struct{ sensor }

// Mark notes that it happened n times.
func (m *Meter) Mark(n int) {
	if m != nil {
		m.record(float64(n))
	}
}

// Value measures numbers: their average and maximum, for some also the minimum.
type Value struct{ sensor }

// Record notes one number.
func (v *Value) Record(n float64) {
	if v != nil {
		v.record(n)
	}
}

// Timer measures how long something takes: the average and the maximum, for most also how often it happens.
type Timer struct {
	sensor
	unit time.Duration
}

// Record notes how long it took.
func (t *Timer) Record(took time.Duration) {
	if t != nil {
		t.record(float64(took) / float64(t.unit))
	}
}

// Begin returns the present time, to be handed to End; the zero time without looking at the clock if nothing is recorded.
func (t *Timer) Begin() time.Time {
	if t == nil {
		return time.Time{}
	}
	return time.Now()
}

// End notes how long it took since Begin.
func (t *Timer) End(begun time.Time) {
	if t != nil {
		t.Record(time.Since(begun))
	}
}

// Share measures the share of its time that a goroutine spends on something, over the present window of 30 s and the one before.
type Share struct {
	clock   *clock
	created time.Duration

	mu                sync.Mutex // guards the rest; held for a few instructions
	window            int64      // number of the present one
	current, previous time.Duration
}

func newShare(c *clock) *Share { return &Share{clock: c, created: c.now()} }

// Add notes time that was spent on it.
func (s *Share) Add(took time.Duration) {
	if s == nil {
		return
	}
	now := s.clock.now()
	s.mu.Lock()
	s.roll(now)
	s.current += took
	s.mu.Unlock()
}

// roll moves on to the window of the present time.
func (s *Share) roll(now time.Duration) {
	window := int64((now - s.created) / sampleWindow)
	switch {
	case window <= s.window:
		return
	case window == s.window+1:
		s.current, s.previous = 0, s.current
	default:
		s.current, s.previous = 0, 0
	}
	s.window = window
}

// read returns the share, from 0 to 1. What ended in these windows may have begun before.
func (s *Share) read(now time.Duration) (float64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.roll(now)
	since := s.created + time.Duration(max(0, s.window-1))*sampleWindow
	if now <= since {
		return 0, false
	}
	return min(1, float64(s.current+s.previous)/float64(now-since)), true
}

// counter adds <name>-total, at the level Info.
func (b builder) counter(name, what string) *Counter {
	if !b.on(Info) {
		return nil
	}
	c := &Counter{}
	b.add(b.family(name+"-total", prometheus.CounterValue, Info, "Number of "+what+"."), func(time.Duration) (float64, bool) {
		return float64(c.n.Load()), true
	})
	return c
}

// elapsed adds <name>-ns-total, at the level Info.
func (b builder) elapsed(name, what string) *Elapsed {
	if !b.on(Info) {
		return nil
	}
	e := &Elapsed{}
	b.add(b.family(name+"-ns-total", prometheus.CounterValue, Info, "Time spent "+what+", in nanoseconds."), func(time.Duration) (float64, bool) {
		return float64(e.n.Load()), e.seen.Load()
	})
	return e
}

// gauge adds a metric that is called as it is, even where the name ends in -total.
func (b builder) gauge(level Level, name, what string) *Gauge {
	if !b.on(level) {
		return nil
	}
	g := &Gauge{}
	g.Set(math.NaN())
	b.add(b.family(name, prometheus.GaugeValue, level, what+"."), g.read)
	return g
}

// text adds a metric that carries its value in a label, at the level Info.
func (b builder) text(name, what string) *text {
	if !b.on(Info) {
		return nil
	}
	t := &text{}
	f := b.family(name, prometheus.GaugeValue, Info, what+", as a label; the value is 1.", name)
	b.addSeries(f, func(e *emitter, _ time.Duration) {
		if value := t.value.Load(); value != nil {
			e.send(f, 1, *value)
		}
	})
	return t
}

// measure adds a metric of something that is sampled. Without a recent record it is absent.
func (b builder) measure(s *sensor, level Level, name, help string, of func(*sample) float64) {
	b.add(b.family(name, prometheus.GaugeValue, level, help), func(now time.Duration) (float64, bool) {
		recent, _, _ := s.read(now)
		if recent.count == 0 {
			return 0, false
		}
		return of(&recent), true
	})
}

// averages adds <name>-avg and <name>-max, with the minimum between them where it is wanted.
func (b builder) averages(s *sensor, level Level, name, what string, minimum bool) {
	b.measure(s, level, name+"-avg", "Average "+what+".", func(r *sample) float64 { return r.sum / float64(r.count) })
	if minimum {
		b.measure(s, level, name+"-min", "Minimum "+what+".", func(r *sample) float64 { return r.min })
	}
	b.measure(s, level, name+"-max", "Maximum "+what+".", func(r *sample) float64 { return r.max })
}

// rate adds <name>-rate: of what was recorded, or of how often it was.
func (b builder) rate(s *sensor, level Level, name, what string, ofSum bool) {
	b.add(b.family(name+"-rate", prometheus.GaugeValue, level, "Number of "+what+" a second."), func(now time.Duration) (float64, bool) {
		recent, _, _ := s.read(now)
		if ofSum {
			return recent.rate(now, recent.sum), true
		}
		return recent.rate(now, float64(recent.count)), true
	})
}

// total adds <name>-total: of what was recorded, or of how often it was.
func (b builder) total(s *sensor, level Level, name, what string, ofSum bool) {
	b.add(b.family(name+"-total", prometheus.CounterValue, level, "Number of "+what+"."), func(now time.Duration) (float64, bool) {
		_, count, sum := s.read(now)
		if ofSum {
			return sum, true
		}
		return float64(count), true
	})
}

// meter adds <name>-rate and <name>-total.
func (b builder) meter(level Level, name, what string) *Meter {
	if !b.on(level) {
		return nil
	}
	m := &Meter{sensor{clock: b.clock()}}
	b.rate(&m.sensor, level, name, what, true)
	b.total(&m.sensor, level, name, what, true)
	return m
}

// frequency adds <name>-rate alone.
func (b builder) frequency(level Level, name, what string) *Meter {
	if !b.on(level) {
		return nil
	}
	m := &Meter{sensor{clock: b.clock()}}
	b.rate(&m.sensor, level, name, what, true)
	return m
}

// value adds <name>-avg and <name>-max.
func (b builder) value(level Level, name, what string) *Value {
	if !b.on(level) {
		return nil
	}
	v := &Value{sensor{clock: b.clock()}}
	b.averages(&v.sensor, level, name, what, false)
	return v
}

// rangeOf adds <name>-avg, <name>-min and <name>-max.
func (b builder) rangeOf(level Level, name, what string) *Value {
	if !b.on(level) {
		return nil
	}
	v := &Value{sensor{clock: b.clock()}}
	b.averages(&v.sensor, level, name, what, true)
	return v
}

// units are how units of time are called.
var units = map[time.Duration]string{time.Millisecond: "in milliseconds", time.Nanosecond: "in nanoseconds"}

// timer adds <name>-avg and <name>-max, with the name as it is.
func (b builder) timer(level Level, unit time.Duration, name, what string) *Timer {
	if !b.on(level) {
		return nil
	}
	t := &Timer{sensor: sensor{clock: b.clock()}, unit: unit}
	b.averages(&t.sensor, level, name, what+", "+units[unit], false)
	return t
}

// latency adds <name>-latency-avg, <name>-latency-max and <name>-rate.
func (b builder) latency(level Level, unit time.Duration, name, what string) *Timer {
	t := b.timer(level, unit, name+"-latency", "latency of "+what)
	if t != nil {
		b.rate(&t.sensor, level, name, what, false)
	}
	return t
}

// calls adds <name>-latency-avg, <name>-latency-max, <name>-rate and <name>-total, in milliseconds.
func (b builder) calls(level Level, name, what string) *Timer {
	t := b.latency(level, time.Millisecond, name, what)
	if t != nil {
		b.total(&t.sensor, level, name, what, false)
	}
	return t
}

// share adds a metric of a share of time, at the level Info.
func (b builder) share(name, what string) *Share {
	if !b.on(Info) {
		return nil
	}
	s := newShare(b.clock())
	b.add(b.family(name, prometheus.GaugeValue, Info, "Fraction of its time that the thread spent "+what+"."), s.read)
	return s
}
