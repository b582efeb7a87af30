package ui

import (
	"math"
	"slices"
	"time"

	"eostop/faults/soak"
)

// samplesKept is ten minutes at one sample a second, more than the widest chart has columns.
const samplesKept = 600

// smoothing is the time constant of the rates that are computed here. Threads count records in bursts of one commit.
const smoothing = 1500 * time.Millisecond

// sample is one second of the time axis.
type sample struct {
	at   time.Time     // end of the second
	rate float64       // records processed in it
	p99  time.Duration // latency at its end
}

// history is what the ui remembers between snapshots. It belongs to the model.
type history struct {
	samples []sample
	next    time.Time // end of the second that is being filled
	filled  float64   // Processed at the last sample
	last    *soak.Snapshot

	threads map[string]*meter
	out     meter
}

// meter turns a counter into a smoothed rate.
type meter struct {
	count   uint64
	at      time.Time
	rate    float64
	started bool
	seen    uint64 // Seq of the last snapshot that had it
}

func (m *meter) observe(count uint64, at time.Time) {
	dt := at.Sub(m.at).Seconds()
	switch {
	case !m.started || count < m.count: // The counter starts anew with a new thread.
		m.rate = 0
	case dt <= 0:
		return
	default:
		now := float64(count-m.count) / dt
		if m.rate == 0 {
			m.rate = now
			break
		}
		m.rate += (now - m.rate) * (1 - math.Exp(-dt/smoothing.Seconds()))
		if m.rate < 0.5 {
			m.rate = 0
		}
	}
	m.count, m.at, m.started = count, at, true
}

func newHistory() *history { return &history{threads: map[string]*meter{}} }

// add takes a snapshot into account. Snapshots come in the order of their time.
func (h *history) add(s *soak.Snapshot) {
	if h.last != nil && !s.At.After(h.last.At) {
		return
	}
	h.addSamples(s)
	h.out.observe(uint64(max(0, s.Verify.Out)), s.At)
	for i := range s.Instances {
		for j := range s.Instances[i].Threads {
			t := &s.Instances[i].Threads[j]
			m := h.threads[t.Name]
			if m == nil {
				m = &meter{}
				h.threads[t.Name] = m
			}
			m.observe(t.Processed, s.At)
			m.seen = s.Seq
		}
	}
	for name, m := range h.threads {
		if m.seen != s.Seq {
			delete(h.threads, name) // Replaced threads have new names; a long run must not collect the old ones.
		}
	}
	h.last = s
}

// addSamples cuts the time since the last snapshot at whole seconds and interpolates between the two.
func (h *history) addSamples(s *soak.Snapshot) {
	if h.last == nil {
		h.next, h.filled = s.At.Add(time.Second), float64(s.Processed)
		return
	}
	if s.At.Sub(h.next) > samplesKept*time.Second { // The process slept: the axis starts anew.
		h.samples, h.next, h.filled = h.samples[:0], s.At.Add(time.Second), float64(s.Processed)
		return
	}
	from, to := h.last, s
	for !h.next.After(to.At) {
		part := h.next.Sub(from.At).Seconds() / to.At.Sub(from.At).Seconds()
		at := float64(from.Processed) + part*float64(to.Processed-from.Processed)
		h.samples = append(h.samples, sample{at: h.next, rate: max(0, at-h.filled), p99: s.Verify.Latency.P99})
		h.filled, h.next = at, h.next.Add(time.Second)
	}
	if n := len(h.samples) - samplesKept; n > samplesKept {
		h.samples = append(h.samples[:0], h.samples[n:]...)
	}
}

// newest returns at most n samples, oldest first.
func (h *history) newest(n int) []sample {
	return h.samples[max(0, len(h.samples)-min(n, samplesKept)):]
}

// rate is the smoothed number of records a second that a thread processes.
func (h *history) rate(thread string) float64 {
	if m := h.threads[thread]; m != nil {
		return m.rate
	}
	return 0
}

// clone keeps a frozen view from moving.
func (h *history) clone() *history {
	c := &history{samples: slices.Clone(h.newest(samplesKept)), next: h.next, filled: h.filled, last: h.last, out: h.out, threads: make(map[string]*meter, len(h.threads))}
	for name, m := range h.threads {
		copied := *m
		c.threads[name] = &copied
	}
	return c
}
