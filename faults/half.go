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
	deadline time.Time // the application's
	busy     bool      // an application's call is at work; others of the same direction wait
	direct   bool      // an application's call is inside the lower connection
	pumping  bool      // the pump is at work: calls take the way over the queue
	err      error     // ends the direction once the queue is empty

	queue [][]byte
	size  int // bytes in queue
	late  int // of these, the first late bytes came during a cut

	wake chan struct{} // closed when anything above changed; nil if nobody waits
}

// signal wakes those who wait for a change.
func (h *half) signal() {
	if h.wake != nil {
		close(h.wake)
		h.wake = nil
	}
}

func (h *half) setCut(cut bool) {
	h.cut = cut
	if cut {
		h.late = h.size
	}
	h.signal()
}

func (h *half) room() int { return buffer - h.size }

// push appends b, which must not change any more.
func (h *half) push(b []byte) {
	h.queue = append(h.queue, b)
	h.size += len(b)
	if h.cut {
		h.late = h.size
	}
}

// pop takes n bytes off the first piece and returns how many of them were late.
func (h *half) pop(n int) (late int) {
	if h.queue[0] = h.queue[0][n:]; len(h.queue[0]) == 0 {
		h.queue[0] = nil
		if h.queue = h.queue[1:]; len(h.queue) == 0 {
			h.queue = nil
		}
	}
	late = min(n, h.late)
	h.late -= late
	h.size -= n
	return late
}

// clear drops the queue and returns how many bytes that were.
func (h *half) clear() (dropped int) {
	dropped = h.size
	h.queue, h.size, h.late = nil, 0, 0
	return dropped
}

// expired reports whether the deadline has passed.
func (h *half) expired() bool {
	return !h.deadline.IsZero() && !time.Now().Before(h.deadline)
}
