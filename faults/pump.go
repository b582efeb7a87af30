package faults

import (
	"bytes"
	"time"
)

// piece is how much a pump moves at a time.
const piece = 64 << 10

// settle starts the pumps that the state of the connection asks for. It is called after every change that may
// ask for one; the mutex is held.
//
// The pump of the out direction runs where there is something to deliver, the end of the stream included, and
// no cut. It ends when nothing is left or a cut comes.
//
// The pump of the in direction runs during a cut, in the place of the broker's network: without it a broker
// over an unbuffered transport would hang in its write, and the loss of the connection would go unseen. It ends
// when the buffer is full, or with the first bytes after the heal. After the application's Close it discards,
// because the broker must be able to answer what is delivered late.
func (c *conn) settle() {
	if c.dead {
		return
	}
	if out := &c.out; !out.pumping && !out.direct && !out.cut && (out.size > 0 || c.closed) {
		out.pumping = true
		_ = c.inner.SetWriteDeadline(time.Time{})
		c.link.pumps.Go(c.pumpOut)
	}
	if in := &c.in; !in.pumping && !in.direct && in.err == nil && (in.cut && in.room() > 0 || c.closed) {
		in.pumping = true
		_ = c.inner.SetReadDeadline(time.Time{})
		c.link.pumps.Go(c.pumpIn)
	}
}

func (c *conn) pumpOut() {
	h := &c.out
	c.mu.Lock()
	for !c.dead && !h.cut && h.size > 0 {
		b := h.queue[0]
		b = b[:min(len(b), piece)]
		c.mu.Unlock()
		n, err := c.inner.Write(b)
		c.mu.Lock()
		if h.size == 0 {
			break // given up meanwhile
		}
		c.link.lateOut.Add(uint64(h.pop(n)))
		if err != nil {
			h.err = err
			c.link.abandoned.Add(uint64(h.clear()))
		}
		h.signal()
	}
	h.pumping = false
	h.signal()
	if c.dead {
		c.mu.Unlock()
		return
	}
	if !c.closed || h.cut || h.size > 0 {
		_ = c.inner.SetWriteDeadline(h.deadline)
		c.mu.Unlock()
		return
	}
	c.dead = true
	c.orphan.Stop()
	abandoned := c.abandoned
	c.mu.Unlock()
	c.link.forget(c)
	if abandoned {
		closeHard(c.inner)
		return
	}
	_ = c.inner.Close() // nobody is left to be told
}

func (c *conn) pumpIn() {
	h := &c.in
	b := make([]byte, piece)
	c.mu.Lock()
	for !c.dead && h.err == nil && (c.closed || h.cut && h.room() > 0) {
		room := len(b)
		if !c.closed {
			room = min(room, h.room())
		}
		c.mu.Unlock()
		n, err := c.inner.Read(b[:room])
		c.mu.Lock()
		if n > 0 && !c.closed && !c.dead {
			h.push(bytes.Clone(b[:n]))
		}
		if err != nil {
			h.err = err
		}
		h.signal()
	}
	h.pumping = false
	h.signal()
	if !c.dead {
		_ = c.inner.SetReadDeadline(h.deadline)
	}
	c.mu.Unlock()
}
