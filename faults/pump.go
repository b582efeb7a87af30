package faults

import (
	"bytes"
	"io"
	"syscall"
	"time"
)

// chunk is how much a pump moves at a time.
const chunk = 64 << 10

// settle starts the pumps that the state of the connection asks for. It is called after every change that may
// ask for one; the mutex is held.
//
// The pump of the out direction runs where there is something to deliver, the end of the stream included, and
// no cut. It ends when nothing is left or a cut comes.
//
// The pump of the in direction runs during a cut or an impairment, in the place of the broker's network: without
// it a broker over an unbuffered transport would hang in its write, and the loss of the connection would go unseen.
// It ends when the buffer is full, or with the first bytes after the heal. After the application's Close it
// discards, because the broker must be able to answer what is delivered late. On a half-open connection it
// discards as well.
func (c *conn) settle() {
	if c.dead {
		return
	}
	if out := &c.out; !out.pumping && !out.direct && !out.cut && !c.hung && (out.size > 0 || c.closed) {
		out.pumping = true
		_ = c.inner.SetWriteDeadline(time.Time{})
		c.link.pumps.Go(c.pumpOut)
	}
	if in := &c.in; !in.pumping && !in.direct && c.reading() {
		in.pumping = true
		_ = c.inner.SetReadDeadline(time.Time{})
		c.link.pumps.Go(c.pumpIn)
	}
}

// reading reports whether there is work for the pump of the in direction.
func (c *conn) reading() bool {
	return !c.dead && c.in.err == nil && (c.closed || (c.slowIn() && c.in.room() > 0))
}

func (c *conn) pumpOut() {
	h := &c.out
	c.mu.Lock()
	for !c.dead && !h.cut && !c.hung && h.size > 0 {
		n, at := h.next()
		if n == 0 {
			c.wait(h, at)
			continue
		}
		b := h.queue[0].b[:min(n, chunk)]
		c.mu.Unlock()
		n, err := c.inner.Write(b)
		c.mu.Lock()
		if h.size == 0 {
			break // given up meanwhile
		}
		c.link.lateOut.Add(uint64(h.pop(n)))
		if err != nil {
			h.fail(err)
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
	if !c.closed || h.cut || c.hung || h.size > 0 {
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
	b := make([]byte, chunk)
	c.mu.Lock()
	for c.reading() {
		room := len(b)
		if !c.closed {
			room = min(room, h.room())
		}
		c.mu.Unlock()
		n, err := c.inner.Read(b[:room])
		c.mu.Lock()
		if n > 0 {
			c.arrive(b[:n])
			c.settle()
		}
		if err != nil {
			h.fail(err)
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

// flush writes what may go at once, so that no pump is needed for it. The mutex is held, but not during a write. What
// cannot be written before the application's deadline is left to the pump.
func (c *conn) flush() error {
	h := &c.out
	defer c.settle()
	for !c.dead && !c.closed && !h.pumping && !h.cut && !c.hung && len(h.shape) == 0 && h.size > 0 {
		n, _ := h.next()
		if n == 0 {
			return nil
		}
		b := h.queue[0].b[:min(n, flight)]
		h.direct = true
		c.mu.Unlock()
		n, err := c.inner.Write(b)
		c.mu.Lock()
		h.direct = false
		switch {
		case h.size == 0: // given up meanwhile
			return c.end()
		case c.dead || c.closed:
			h.pop(n)
			return c.end()
		}
		c.link.lateOut.Add(uint64(h.pop(n)))
		switch {
		case isTimeout(err):
			return nil
		case err != nil:
			h.fail(err)
			c.link.abandoned.Add(uint64(h.clear()))
			return err
		}
	}
	return nil
}

// rouse makes the read that is inside the lower connection look at the queue.
func (c *conn) rouse() {
	if c.in.direct && !c.roused {
		c.roused = true
		_ = c.inner.SetReadDeadline(past())
	}
}

// accept takes what the application sends to the queue. The mutex is held, but not while hits of rules are
// reported.
func (c *conn) accept(b []byte) {
	switch {
	case c.tap == nil || c.hung:
		c.out.push(bytes.Clone(b), 0)
	case !c.tap.active():
		c.tap.passed(Out, b)
		c.out.push(bytes.Clone(b), 0)
	default:
		c.tapping = true
		c.tap.request(b)
		if c.act() {
			c.rouse() // what the application waits for does not come from the broker
		}
	}
}

// arrive takes what came from the broker to the queue. The mutex is held, but not while hits of rules are reported.
func (c *conn) arrive(b []byte) {
	switch {
	case c.closed || c.dead || c.hung:
	case !c.tapping:
		if c.tap != nil {
			c.tap.passed(In, b)
		}
		c.in.push(bytes.Clone(b), 0)
	default:
		c.tap.response(b)
		c.act()
	}
}

// act reports what the tap has decided, and then carries it out. It returns whether there is something to read. The
// mutex is held, but not while reporting.
func (c *conn) act() bool {
	if hits := c.tap.takeHits(); len(hits) > 0 {
		c.mu.Unlock()
		for _, hit := range hits {
			c.tap.rules.report(hit)
		}
		c.mu.Lock()
	}
	out, in, hangup := c.tap.take()
	c.tapping = c.tap.active()
	if c.closed || c.dead || c.hung {
		return false
	}
	for _, s := range out {
		c.out.push(s.b, s.hold)
	}
	for _, s := range in {
		c.in.push(s.b, s.hold)
	}
	if hangup {
		c.hangUp()
	}
	c.in.signal()
	c.out.signal()
	return len(in) > 0 || hangup
}

// hangUp ends the connection as a broker does: the application reads what came before, and then the end.
func (c *conn) hangUp() {
	c.in.fail(io.EOF)
	c.out.fail(syscall.EPIPE)
	c.link.abandoned.Add(uint64(c.out.clear()))
	c.link.pumps.Go(func() { _ = c.inner.Close() })
}
