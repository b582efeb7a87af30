package metrics

import (
	"maps"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// incidents are what happened to a thread that Kafka does not count. They belong to the instance, and so survive the thread: that
// a thread is gone must not make its last migration unseen.
type incidents struct {
	migrations, corruptions, fences, deaths causes
	committed, aborted, unknown             Counter
	wiped, rebuilt, restored                Counter
}

// Causes are names of causes that can occur.
type Causes struct{ Migrations, Corruptions, Fences, Deaths []string }

// Expect makes the metrics of threads that are registered from now on begin with a 0 for each of these causes. What appears with
// its first occurrence instead is a 1 from the beginning, which Prometheus does not take for an increase.
func (r *Registry) Expect(c Causes) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expected = c
}

// incident returns the incidents of a thread of that name, past or present.
func (r *Registry) incident(thread string) *incidents {
	thread = valid(thread)[0]
	r.mu.Lock()
	defer r.mu.Unlock()
	i := r.incidents[thread]
	if i == nil {
		i = &incidents{}
		i.migrations.expect(r.expected.Migrations)
		i.corruptions.expect(r.expected.Corruptions)
		i.fences.expect(r.expected.Fences)
		i.deaths.expect(r.expected.Deaths)
		r.incidents[thread] = i
	}
	return i
}

// addIncidents adds the incidents of all threads.
func (r *Registry) addIncidents(b builder) {
	byCause := func(name, what string) *family {
		return b.family(name, prometheus.CounterValue, Info, "Number of "+what+".", "cause")
	}
	counter := func(name, what string, extra ...string) *family {
		return b.family(name, prometheus.CounterValue, Info, "Number of "+what+".", extra...)
	}
	var (
		migrations  = byCause("migrations-total", "times that a thread gave up its transaction because somebody else owns it or its tasks")
		corruptions = byCause("corruptions-total", "times that a thread or a task started over because a transaction's outcome or a store was in doubt")
		fences      = byCause("fenced-producers-total", "producers that a broker refused")
		deaths      = byCause("thread-deaths-total", "stream threads that ended because of an error")

		transactions = counter("transactions-total", "transactions that were committed, given up (aborted), or ended without an answer (unknown)", "outcome")
		wiped        = counter("state-wipes-total", "state stores that were thrown away after an unclean close")
		rebuilt      = counter("stores-rebuilt-total", "state stores that started over from the beginning of their changelog")
		restored     = counter("restored-records-total", "changelog records that were restored")
	)
	b.addSeries(migrations, func(e *emitter, _ time.Duration) {
		for thread, i := range r.copyIncidents() {
			i.migrations.send(e, migrations, thread)
			i.corruptions.send(e, corruptions, thread)
			i.fences.send(e, fences, thread)
			i.deaths.send(e, deaths, thread)
			for _, of := range []struct {
				outcome string
				n       *Counter
			}{{"committed", &i.committed}, {"aborted", &i.aborted}, {"unknown", &i.unknown}} {
				e.send(transactions, float64(of.n.n.Load()), thread, of.outcome)
			}
			e.send(wiped, float64(i.wiped.n.Load()), thread)
			e.send(rebuilt, float64(i.rebuilt.n.Load()), thread)
			e.send(restored, float64(i.restored.n.Load()), thread)
		}
	})
}

func (r *Registry) copyIncidents() map[string]*incidents {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.incidents)
}

// maxCauses bounds the number of causes that are told apart: causes are meant to be a short list of names.
const maxCauses = 64

// Names of causes that have none of their own.
const (
	causeNone = "unknown"
	causeRest = "other"
)

// causes counts by cause.
type causes struct {
	mu     sync.Mutex // held for a map access
	counts map[string]uint64
}

func (c *causes) expect(names []string) {
	c.counts = map[string]uint64{}
	for _, name := range names {
		c.counts[valid(name)[0]] = 0
	}
}

func (c *causes) add(cause string) {
	if cause == "" {
		cause = causeNone
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.counts[cause]; !known {
		cause = valid(cause)[0]
		if _, known := c.counts[cause]; !known && len(c.counts) >= maxCauses {
			cause = causeRest
		}
	}
	c.counts[cause]++
}

func (c *causes) send(e *emitter, f *family, thread string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for cause, n := range c.counts {
		e.send(f, float64(n), thread, cause)
	}
}

// bounds are those of the buckets of a histogram of seconds: a replacement takes from almost nothing to the time-outs of the
// group and of transactions.
var bounds = []float64{0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30, 60}

// histogram counts durations by size.
type histogram struct {
	mu      sync.Mutex // guards the rest; held for a few instructions
	buckets [10]uint64 // by bounds; not cumulative
	count   uint64
	sum     float64
}

func (b builder) histogram(name, help string) *histogram {
	h := &histogram{}
	f := b.family(name, prometheus.UntypedValue, Info, help)
	b.addSeries(f, func(e *emitter, _ time.Duration) {
		h.mu.Lock()
		buckets, count, sum := h.buckets, h.count, h.sum
		h.mu.Unlock()
		cumulative, n := map[float64]uint64{}, uint64(0)
		for i, bound := range bounds {
			n += buckets[i]
			cumulative[bound] = n
		}
		e.ch <- prometheus.MustNewConstHistogram(f.desc, count, sum, cumulative, e.labels...)
	})
	return h
}

func (h *histogram) record(d time.Duration) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.count++
	h.sum += d.Seconds()
	for i, bound := range bounds {
		if d.Seconds() <= bound {
			h.buckets[i]++
			return
		}
	}
}
