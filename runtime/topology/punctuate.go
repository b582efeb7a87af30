package topology

import (
	"container/heap"
	"fmt"
	"time"
)

// PunctuationType says which clock a punctuator follows.
type PunctuationType uint8

// The two clocks.
const (
	StreamTime    PunctuationType = iota + 1 // moves with the timestamps of the records
	WallClockTime                            // moves by itself
)

// Cancellation ends a schedule.
type Cancellation struct{ cancelled bool }

// Cancel ends the schedule, also from within its own punctuator. It is for the goroutine of the task alone.
func (c *Cancellation) Cancel() { c.cancelled = true }

// punctuation is a schedule at its next time.
type punctuation struct {
	node      string
	at        int64 // milliseconds
	interval  int64
	sequence  int // orders schedules that are due at the same time
	punctuate func(timestamp int64) error
	cancel    *Cancellation
}

// punctuations is a heap of schedules, the next one first.
type punctuations []*punctuation

func (p punctuations) Len() int { return len(p) }

func (p punctuations) Less(i, j int) bool {
	return p[i].at < p[j].at || p[i].at == p[j].at && p[i].sequence < p[j].sequence
}

func (p punctuations) Swap(i, j int) { p[i], p[j] = p[j], p[i] }

// Push is for package heap.
func (p *punctuations) Push(x any) { *p = append(*p, x.(*punctuation)) }

// Pop is for package heap.
func (p *punctuations) Pop() any {
	last := (*p)[len(*p)-1]
	(*p)[len(*p)-1] = nil
	*p = (*p)[:len(*p)-1]
	return last
}

// next returns the schedule that is next, without those that were cancelled; nil if there is none.
func (p *punctuations) next() *punctuation {
	for len(*p) > 0 {
		if !(*p)[0].cancel.cancelled {
			return (*p)[0]
		}
		heap.Pop(p)
	}
	return nil
}

func (g *Graph) schedule(
	node string, interval time.Duration, kind PunctuationType, punctuate func(timestamp int64) error,
) *Cancellation {
	s := &punctuation{node: node, interval: interval.Milliseconds(), punctuate: punctuate, cancel: &Cancellation{}}
	queue := &g.streamTime
	switch {
	case s.interval < 1:
		_ = g.fail(&ProcessingError{Node: node, Err: fmt.Errorf("schedule every %s: the interval must be at least 1 ms", interval)})
		return s.cancel
	case kind == WallClockTime:
		queue = &g.wallClock
		s.at = g.host.WallClock().UnixMilli() + s.interval
	case kind != StreamTime:
		_ = g.fail(&ProcessingError{Node: node, Err: fmt.Errorf("schedule: there is no punctuation type %d", kind)})
		return s.cancel
	}
	g.scheduled++
	s.sequence = g.scheduled
	heap.Push(queue, s)
	return s.cancel
}

// PunctuateStreamTime calls the punctuators that are due at a stream time in milliseconds, each of them once, and
// returns how many there were. Nothing is due before the first record, at -1. Errors are as those of Process.
func (g *Graph) PunctuateStreamTime(streamTime int64) (int, error) {
	if streamTime < 0 {
		return 0, nil
	}
	return g.punctuate(&g.streamTime, streamTime)
}

// PunctuateWallClock is PunctuateStreamTime for the other clock. [Graph.NextWallClock] says when it is due.
func (g *Graph) PunctuateWallClock(now time.Time) (int, error) {
	return g.punctuate(&g.wallClock, now.UnixMilli())
}

// NextWallClock is when the next punctuator of the wall clock is due; false if there is none.
func (g *Graph) NextWallClock() (time.Time, bool) {
	if g.closed {
		return time.Time{}, false
	}
	s := g.wallClock.next()
	if s == nil {
		return time.Time{}, false
	}
	return time.UnixMilli(s.at), true
}

func (g *Graph) punctuate(queue *punctuations, now int64) (n int, err error) {
	if g.closed {
		return 0, fmt.Errorf("punctuate: %w", errClosed)
	}
	for s := queue.next(); s != nil && s.at <= now; s = queue.next() {
		heap.Pop(queue)
		g.begin()
		g.timestamp, g.headers = now, nil
		if err := s.punctuate(now); err != nil || g.failure != nil {
			if err := g.settle(ProcessingFailure, s.node, "", err); err != nil {
				return n, err
			}
		}
		n++
		// It stays on the grid of its interval, however late it was called.
		s.at += (now-s.at)/s.interval*s.interval + s.interval
		heap.Push(queue, s) // one that has cancelled itself is dropped when its turn comes
	}
	return n, nil
}
