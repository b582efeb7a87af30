package journal

import (
	"sync"
	"time"
)

// Journal is a ring of the newest events. All methods are safe from any goroutine.
type Journal struct {
	mu   sync.Mutex // held for copies and for the encoding of one line, never while anything waits
	ring []Event
	last uint64 // Seq of the newest event
	log  *Log
}

// New returns a journal that holds the newest capacity events. It panics if capacity is not positive.
func New(capacity int) *Journal {
	if capacity <= 0 {
		panic("journal: the capacity must be positive")
	}
	return &Journal{ring: make([]Event, capacity)}
}

// Attach logs every event that is emitted from now on to l as well, in the order of Seq. A nil l ends that.
func (j *Journal) Attach(l *Log) {
	j.mu.Lock()
	j.log = l
	j.mu.Unlock()
}

// Emit records the event and sets its Seq and At. It never blocks and never does I/O: the oldest event is overwritten
// where the ring is full. The order of Seq is the order of At.
func (j *Journal) Emit(e Event) {
	j.mu.Lock()
	j.last++
	e.Seq, e.At = j.last, time.Now()
	j.ring[j.last%uint64(len(j.ring))] = e
	if j.log != nil {
		// Under the mutex, or events of two goroutines could change places in the log.
		j.log.Event(e)
	}
	j.mu.Unlock()
}

// Tail returns copies of the newest n events, or of as many as there are, oldest first.
func (j *Journal) Tail(n int) []Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	n = max(n, 0)
	var after uint64
	if uint64(n) < j.last {
		after = j.last - uint64(n)
	}
	events, _ := j.since(after)
	return events
}

// Since returns copies of the events after seq that are still in the ring, oldest first, and how many after seq were
// overwritten before they could be read. Since(0) returns all there is.
func (j *Journal) Since(seq uint64) (events []Event, dropped uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.since(seq)
}

func (j *Journal) since(seq uint64) (events []Event, dropped uint64) {
	if seq >= j.last {
		return nil, 0
	}
	if held := uint64(len(j.ring)); j.last-seq > held {
		dropped = j.last - seq - held
		seq = j.last - held
	}
	events = make([]Event, 0, j.last-seq)
	for s := seq + 1; s <= j.last; s++ {
		events = append(events, j.ring[s%uint64(len(j.ring))])
	}
	return events, dropped
}
