package faults

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// past returns a deadline that interrupts a call of the lower connection.
func past() time.Time { return time.Unix(1, 0) }

// conn is a connection over a link. A call goes directly to the lower connection unless its direction is cut or
// impaired, is looked at by rules, has a queue or a pump at work.
//
// Only one goroutine at a time reads from the lower connection, a Read (in.direct) or a pump (in.pumping); the
// same holds for writes. Whoever finds either set waits. That keeps bytes in order across cuts and heals.
type conn struct {
	link   *Link
	inner  net.Conn
	number uint64 // of the connections of the link, in the order of their dials
	addr   string // that was dialed

	mu        sync.Mutex // never held while a call of the lower connection may block
	in, out   half
	tap       *tap        // looks at frames; nil on a link without rules
	tapping   bool        // what arrives goes through the tap
	roused    bool        // the read inside the lower connection is being interrupted, see rouse
	hung      bool        // half-open: nothing passes any more
	closed    bool        // by the application
	dead      bool        // inner is closed, or about to be by who set this
	err       error       // why it is dead, if not by the application's Close
	orphan    *time.Timer // gives up the queue of a closed connection
	abandoned bool        // the queue was given up, so the end is a reset
}

// slowIn reports whether what arrives takes the way over the queue.
func (c *conn) slowIn() bool { return c.in.cut || c.hung || len(c.in.shape) > 0 }

// slowOut reports whether what is sent takes the way over the queue.
func (c *conn) slowOut() bool {
	return c.out.cut || c.hung || len(c.out.shape) > 0 || (c.tap != nil && c.tap.active())
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := &c.in
	for {
		switch {
		case c.closed || c.dead:
			return 0, c.opError("read", c.end())
		case h.size == 0 && h.err == nil && !h.direct && !h.pumping && !c.slowIn():
			if n, ok, err := c.readDirect(b); ok {
				return n, err
			}
		case h.expired():
			return 0, c.opError("read", os.ErrDeadlineExceeded)
		case h.cut || c.hung:
			c.wait(h, h.deadline)
		case h.size > 0:
			n, at := h.next()
			if n == 0 {
				c.wait(h, sooner(at, h.deadline))
				continue
			}
			n = copy(b, h.queue[0].b[:n])
			c.link.lateIn.Add(uint64(h.pop(n)))
			c.settle() // there is room again
			return n, nil
		case h.err != nil && h.errDue.After(time.Now()):
			c.wait(h, sooner(h.errDue, h.deadline))
		case h.err != nil:
			return 0, h.err
		default:
			c.wait(h, h.deadline)
		}
	}
}

// readDirect reads from the lower connection. It reports false if the result took the way over the queue, or if the
// read was interrupted for the sake of the tap. The mutex is held, but not during the read.
func (c *conn) readDirect(b []byte) (n int, ok bool, err error) {
	h := &c.in
	h.direct = true
	c.mu.Unlock()
	n, err = c.inner.Read(b)
	c.mu.Lock()
	if c.roused {
		c.roused = false
		if !c.closed && !c.dead {
			_ = c.inner.SetReadDeadline(h.deadline)
		}
	}
	defer func() {
		h.direct = false
		h.signal()
		c.settle()
	}()
	switch {
	case c.dead || c.closed:
		// The call was interrupted; what it read has no reader any more.
		return 0, true, c.opError("read", c.end())
	case n == 0 && isTimeout(err):
		return 0, h.expired(), err
	case !c.slowIn() && !c.tapping:
		if c.tap != nil {
			c.tap.passed(In, b[:n])
		}
		return n, true, err
	}
	if n > 0 {
		c.arrive(b[:n])
	}
	if err != nil && !isTimeout(err) {
		h.fail(err)
	}
	return 0, false, nil
}

// Write implements net.Conn.
func (c *conn) Write(b []byte) (n int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := &c.out
	for h.busy {
		switch {
		case c.closed || c.dead:
			return 0, c.opError("write", c.end())
		case h.expired():
			return 0, c.opError("write", os.ErrDeadlineExceeded)
		default:
			c.wait(h, h.deadline)
		}
	}
	h.busy = true
	defer func() {
		h.busy = false
		h.signal()
	}()
	for {
		switch {
		case c.closed || c.dead:
			return n, c.opError("write", c.end())
		case h.err != nil:
			return n, c.opError("write", h.err)
		case !h.pumping && !c.slowOut(): // and so the queue is empty, see settle
			m, err := c.writeDirect(b[n:min(len(b), n+flight)])
			n += m
			if err != nil {
				return n, err
			}
		case h.expired():
			return n, c.opError("write", os.ErrDeadlineExceeded)
		case h.room() > 0 && n < len(b):
			m := min(h.room(), len(b)-n)
			c.accept(b[n : n+m])
			n += m
			if err := c.flush(); err != nil {
				return n, c.opError("write", err)
			}
		case n < len(b):
			c.wait(h, h.deadline)
		}
		if n == len(b) {
			return n, nil
		}
	}
}

// writeDirect writes to the lower connection. The mutex is held, but not during the write.
func (c *conn) writeDirect(b []byte) (int, error) {
	h := &c.out
	h.direct = true
	if c.tap != nil {
		c.tap.passed(Out, b) // before the broker can answer it
	}
	c.mu.Unlock()
	n, err := c.inner.Write(b)
	c.mu.Lock()
	h.direct = false
	if n < len(b) && c.tap != nil {
		c.tap.lost()
	}
	if err != nil && (c.dead || c.closed) {
		err = c.opError("write", c.end())
	}
	c.settle() // the connection may have been closed meanwhile, and its end waits for this call
	return n, err
}

// Close implements net.Conn. It never blocks for long: what cannot be delivered now is delivered after the heal.
func (c *conn) Close() error {
	c.mu.Lock()
	if c.closed || c.dead {
		c.closed = true
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	c.in.clear()
	c.in.signal()
	c.out.signal()
	switch {
	case c.hung:
		// The end of the stream vanishes like everything else. The broker keeps its end until the link heals.
		c.link.abandoned.Add(uint64(c.out.clear()))
	case !c.out.cut && !c.out.pumping:
		c.dead = true
		c.mu.Unlock()
		c.link.forget(c)
		return c.inner.Close()
	}
	// Calls that are inside the lower connection must return now as if it were closed. Errors of a deadline say that
	// it is closed below, and then nothing is inside.
	if c.out.direct {
		_ = c.inner.SetWriteDeadline(past())
	}
	if c.in.direct {
		_ = c.inner.SetReadDeadline(past())
	}
	if !c.hung {
		c.orphan = time.AfterFunc(orphanTimeout+max(0, time.Until(c.out.last)), c.abandon)
	}
	c.settle()
	c.mu.Unlock()
	return nil
}

// abandon gives up what a closed connection could not deliver in time. The broker learns of it no sooner than
// by the heal.
func (c *conn) abandon() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return
	}
	c.link.abandoned.Add(uint64(c.out.clear()))
	c.abandoned = true
	c.out.signal()
	if c.out.pumping {
		// It hangs because the broker does not take what is delivered to it.
		_ = c.inner.SetWriteDeadline(past())
	}
}

// kill ends the connection at both ends and reports whether it was there.
func (c *conn) kill(err error) bool {
	c.mu.Lock()
	if c.dead {
		c.mu.Unlock()
		return false
	}
	c.dead = true
	c.err = err
	c.in.clear()
	c.link.abandoned.Add(uint64(c.out.clear()))
	c.in.signal()
	c.out.signal()
	if c.orphan != nil {
		c.orphan.Stop()
	}
	c.mu.Unlock()
	c.link.forget(c)
	closeHard(c.inner)
	return true
}

// set is called by the link for each change of what it does to the connection.
func (c *conn) set(s state) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.in.set(s.cut.in, s.in)
	c.out.set(s.cut.out, s.out)
	c.settle()
}

// hang makes the connection half-open. Only a reset ends that.
func (c *conn) hang() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hung = true
	c.in.clear()
	c.in.signal()
	c.out.signal()
	c.settle()
}

// end returns why the connection is over.
func (c *conn) end() error {
	if c.closed || c.err == nil {
		return net.ErrClosed
	}
	return c.err
}

// wait waits for a change of h, or a time unless it is zero. The mutex is held, but not while waiting.
func (c *conn) wait(h *half, until time.Time) {
	if h.wake == nil {
		h.wake = make(chan struct{})
	}
	wake := h.wake
	c.mu.Unlock()
	defer c.mu.Lock()
	if until.IsZero() {
		<-wake
		return
	}
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-wake:
	case <-timer.C:
	}
}

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if forward, err := c.setDeadline(&c.in, t); !forward {
		return err
	}
	return c.inner.SetReadDeadline(t)
}

// SetWriteDeadline implements net.Conn.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if forward, err := c.setDeadline(&c.out, t); !forward {
		return err
	}
	return c.inner.SetWriteDeadline(t)
}

// setDeadline reports whether the lower connection must know the deadline now. A pump works without one, and
// sets the application's when it ends; so does a read that is interrupted.
func (c *conn) setDeadline(h *half, t time.Time) (forward bool, err error) {
	if c.closed || c.dead {
		return false, c.opError("set", c.end())
	}
	h.deadline = t
	h.signal()
	return !h.pumping && (h != &c.in || !c.roused), nil
}

// LocalAddr implements net.Conn.
func (c *conn) LocalAddr() net.Addr { return c.inner.LocalAddr() }

// RemoteAddr implements net.Conn.
func (c *conn) RemoteAddr() net.Addr { return c.inner.RemoteAddr() }

// opError gives an error the form that clients of package net look for.
func (c *conn) opError(op string, err error) error {
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		return err
	}
	if errno := syscall.Errno(0); errors.As(err, &errno) {
		err = os.NewSyscallError(op, errno) // without it clients take the error for one of their own
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.inner.LocalAddr(), Addr: c.inner.RemoteAddr(), Err: err}
}

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
