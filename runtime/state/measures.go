package state

import (
	"sync/atomic"
	"time"
)

// RecordingLevel says how much stores measure of themselves, as Kafka Streams' metrics.recording.level does.
type RecordingLevel int

const (
	// RecordingInfo counts operations.
	RecordingInfo RecordingLevel = iota
	// RecordingDebug also measures how long each of them takes, which costs two looks at the clock.
	RecordingDebug
)

// Operation is a kind of call to a store.
type Operation int

// The operations that are measured. All is a range without bounds.
const (
	OperationPut Operation = iota
	OperationGet
	OperationDelete
	OperationAll
	OperationRange
	OperationFlush
	OperationRestore
	operations = iota
)

// String returns the operation's part of Kafka Streams' metric names, such as put in put-rate and put-latency-avg.
func (o Operation) String() string {
	return [operations]string{"put", "get", "delete", "all", "range", "flush", "restore"}[o]
}

func rangeOperation(b bounds) Operation {
	if b.all() {
		return OperationAll
	}
	return OperationRange
}

// OperationMetrics is how often an operation succeeded since the store was opened and, at RecordingDebug, how long that took.
type OperationMetrics struct {
	Operation Operation
	Count     int64
	Total     time.Duration // of all calls together; 0 at RecordingInfo
	Max       time.Duration // of the last 30 to 60 seconds
}

// measures are the operations of one store. The owner writes them, anybody may read them.
type measures struct {
	timed bool
	of    [operations]measure
}

type measure struct {
	count, total atomic.Int64
	max          peak
}

// start returns when an operation begins, if that matters.
func (m *measures) start() time.Time {
	if !m.timed {
		return time.Time{}
	}
	return time.Now()
}

func (m *measures) done(o Operation, start time.Time) {
	x := &m.of[o]
	x.count.Add(1)
	if m.timed {
		now := time.Now()
		took := now.Sub(start)
		x.total.Add(int64(took))
		x.max.add(took, now)
	}
}

func (m *measures) snapshot() []OperationMetrics {
	now := time.Now()
	all := make([]OperationMetrics, operations)
	for o := range all {
		x := &m.of[o]
		all[o] = OperationMetrics{Operation(o), x.count.Load(), time.Duration(x.total.Load()), x.max.at(now)}
	}
	return all
}

// peakWindow is half of the time for which a maximum is remembered, as Kafka's sensors do with two samples of 30 s.
const peakWindow = 30 * time.Second

// peak is a maximum that is forgotten after a while. One goroutine adds to it.
type peak struct{ last atomic.Pointer[peakSample] }

type peakSample struct {
	since             time.Time
	current, previous time.Duration
}

func (p *peak) add(d time.Duration, now time.Time) {
	old := p.last.Load()
	switch {
	case old == nil || now.Sub(old.since) >= 2*peakWindow:
		p.last.Store(&peakSample{since: now, current: d})
	case now.Sub(old.since) >= peakWindow:
		p.last.Store(&peakSample{since: now, current: d, previous: old.current})
	case d > old.current:
		p.last.Store(&peakSample{since: old.since, current: d, previous: old.previous})
	}
}

func (p *peak) at(now time.Time) time.Duration {
	s := p.last.Load()
	switch {
	case s == nil || now.Sub(s.since) >= 2*peakWindow:
		return 0
	case now.Sub(s.since) >= peakWindow:
		return s.current
	default:
		return max(s.current, s.previous)
	}
}
