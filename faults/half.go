package faults

import "time"

const (
	// buffer is how many bytes a connection holds per direction during a cut, as a socket's send buffer does.
	buffer = 256 << 10
	// flight bounds what a single call hands down, and so what can be on its way when a cut comes.
	flight = 256 << 10
	// orphanTimeout is how long the bytes of a closed connection wait for a heal: about what Linux takes for
	// the retransmissions of a socket that has no owner (tcp_orphan_retries).
	orphanTimeout = 100 * time.Second
)

// half is one direction of a connection. Its fields are guarded by the mutex of the connection.
type half struct {
	cut      bool
	shape    shape     // what delays and narrows it; empty if nothing does
	deadline time.Time // the application's
	busy     bool      // an application's call is at work; others of the same direction wait
	direct   bool      // an application's call is inside the lower connection
	pumping  bool      // the pump is at work: calls take the way over the queue
	err      error     // ends the direction once the queue is empty and its time has come
	errDue   time.Time

	queue []piece
	size  int       // bytes in queue
	late  int       // of these, the first late bytes came during a cut
	last  time.Time // when the last of them is due: nothing that follows may arrive before it
	extra int       // bytes that may be under way besides a full buffer, see shape.underWay
	grant int       // bytes that the narrow link lets pass from the time below on
	from  time.Time

	wake chan struct{} // closed when anything above changed; nil if nobody waits
}

// piece is a part of the stream that arrives at once.
type piece struct {
	b   []byte
	due time.Time // it does not arrive before; zero is at once
}

// signal wakes those who wait for a change.
func (h *half) signal() {
	if h.wake != nil {
		close(h.wake)
		h.wake = nil
	}
}

func (h *half) set(cut bool, shape shape) {
	if cut && !h.cut {
		h.late = h.size
	}
	h.cut, h.shape = cut, shape
	h.extra, h.grant = shape.underWay(), 0
	h.signal()
}

func (h *half) room() int { return max(0, buffer+h.extra-h.size) }

// push appends b, which must not be empty and must not change any more. It arrives hold later than it would.
func (h *half) push(b []byte, hold time.Duration) {
	h.queue = append(h.queue, piece{b, h.arrival(hold)})
	h.size += len(b)
	if h.cut {
		h.late = h.size
	}
}

// arrival returns when what is sent now arrives.
func (h *half) arrival(hold time.Duration) time.Time {
	if hold += h.shape.lag(); hold > 0 {
		if due := time.Now().Add(hold); due.After(h.last) {
			h.last = due
		}
	}
	return h.last
}

// next returns how many bytes of the first piece may pass now, and if none, when to ask again. The queue is not
// empty.
func (h *half) next() (n int, at time.Time) {
	first := h.queue[0]
	quantum, limited := h.shape.quantum()
	if first.due.IsZero() && !limited {
		return len(first.b), time.Time{}
	}
	now := time.Now()
	switch {
	case now.Before(first.due):
		return 0, first.due
	case !limited:
		return len(first.b), time.Time{}
	}
	if h.grant == 0 {
		h.grant = min(len(first.b), quantum)
		h.from = h.shape.reserve(now, h.grant)
	}
	if now.Before(h.from) {
		return 0, h.from
	}
	return min(len(first.b), h.grant), time.Time{}
}

// pop takes n bytes off the first piece and returns how many of them were late.
func (h *half) pop(n int) (late int) {
	if h.queue[0].b = h.queue[0].b[n:]; len(h.queue[0].b) == 0 {
		h.queue[0] = piece{}
		if h.queue = h.queue[1:]; len(h.queue) == 0 {
			h.queue = nil
		}
	}
	late = min(n, h.late)
	h.late -= late
	h.size -= n
	h.grant -= min(n, h.grant)
	return late
}

// clear drops the queue and returns how many bytes that were.
func (h *half) clear() (dropped int) {
	dropped = h.size
	h.queue, h.size, h.late, h.grant = nil, 0, 0, 0
	return dropped
}

// fail ends the direction behind what is in the queue.
func (h *half) fail(err error) {
	if h.err == nil {
		h.err, h.errDue = err, h.arrival(0)
	}
}

// expired reports whether the deadline has passed.
func (h *half) expired() bool {
	return !h.deadline.IsZero() && !time.Now().Before(h.deadline)
}

// sooner returns the earlier of two times, where zero is never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}
