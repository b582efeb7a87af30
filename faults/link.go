package faults

import (
	"cmp"
	"context"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Dialer opens a connection. It is the type of kgo.Dialer's argument.
type Dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// Link is the network path of one instance. All methods are safe from any goroutine. Where a method takes a node it
// means the connections to one broker: its address as it is dialed, HOST:PORT, or the name that the function given to
// NameNodes has for it.
type Link struct {
	name  string
	pumps sync.WaitGroup // goroutines of connections

	// mu is taken before a connection's mutex, never while one is held.
	mu       sync.Mutex
	cut      cuts
	since    time.Time     // of the cut
	changed  chan struct{} // closed and replaced by each cut, heal and close; dials wait for it
	closed   bool
	conns    map[*conn]struct{} // those whose lower connection is open
	number   uint64             // of connections so far
	impaired []*impaired        // in the order in which they began
	rules    *Rules
	nodeOf   atomic.Pointer[func(addr string) string]

	dials, dialFailures, resets, lateIn, lateOut, abandoned atomic.Uint64
}

// LinkState says whether and since when a link is cut.
type LinkState struct {
	Cut       bool
	Direction Direction // what is cut; meaningless unless Cut
	Since     time.Time // when the first direction was cut; zero unless Cut
}

// LinkStats counts since the link was made.
type LinkStats struct {
	Open         int    // connections that the broker sees as open, also those that the client closed during a cut
	Dials        uint64 // attempts
	DialFailures uint64
	Resets       uint64 // connections that Reset ended
	LateIn       uint64 // bytes from the broker that a cut held up and that were read since
	LateOut      uint64 // bytes to the broker that a cut held up and that were delivered since
	Abandoned    uint64 // bytes to the broker that were given up, because of a reset or of a cut that lasted too long
}

// NewLink returns a link that passes everything. The name is for those who list links.
func NewLink(name string) *Link {
	return &Link{name: name, changed: make(chan struct{}), conns: make(map[*conn]struct{})}
}

// Name returns the name given to NewLink.
func (l *Link) Name() string { return l.name }

// Wrap returns a dialer whose connections are those of dial and run over the link. Its errors are dial's own,
// or *net.OpError for "dial": a context that ended during a cut (Timeout reports whether by its deadline), or
// net.ErrClosed once the link is closed. There is no time-out of its own, so the context must have one.
func (l *Link) Wrap(dial Dialer) Dialer {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		l.dials.Add(1)
		c, err := l.dial(ctx, dial, network, addr)
		if err != nil {
			l.dialFailures.Add(1)
			return nil, err
		}
		return c, nil
	}
}

func (l *Link) dial(ctx context.Context, dial Dialer, network, addr string) (net.Conn, error) {
	fail := func(err error) error {
		return &net.OpError{Op: "dial", Net: network, Addr: address{network, addr}, Err: err}
	}
	if err := l.passable(ctx, addr); err != nil {
		return nil, fail(err)
	}
	inner, err := dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	for {
		// A cut that came meanwhile holds up the last packet of the handshake.
		if c := l.admit(inner, addr); c != nil {
			return c, nil
		}
		if err := l.passable(ctx, addr); err != nil {
			closeHard(inner)
			return nil, fail(err)
		}
	}
}

// passable waits until nothing is cut, and then as long as the handshake is under way.
func (l *Link) passable(ctx context.Context, addr string) error {
	var handshake *time.Timer
	var arrived <-chan time.Time
	for {
		l.mu.Lock()
		state, closed, changed := l.state(addr), l.closed, l.changed
		l.mu.Unlock()
		if closed {
			return net.ErrClosed
		}
		if !state.cut.any() && handshake == nil {
			lag := state.out.lag() + state.in.lag()
			if lag == 0 {
				return nil
			}
			handshake = time.NewTimer(lag)
			defer handshake.Stop()
			arrived = handshake.C
		}
		select {
		case <-changed:
		case <-arrived:
			if !state.cut.any() {
				return nil
			}
			arrived = nil // lost in the cut, and repeated after the heal
			handshake = nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// admit returns nil if the way to the address is cut, or the link is closed.
func (l *Link) admit(inner net.Conn, addr string) *conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	state := l.state(addr)
	if state.cut.any() || l.closed {
		return nil
	}
	l.number++
	c := &conn{link: l, inner: inner, number: l.number, addr: addr}
	c.in.set(false, state.in)
	c.out.set(false, state.out)
	if l.rules != nil {
		c.tap = newTap(l.rules, l, addr)
	}
	l.conns[c] = struct{}{}
	return c
}

// forget takes a connection off the link once its lower connection is closed.
func (l *Link) forget(c *conn) {
	l.mu.Lock()
	delete(l.conns, c)
	l.mu.Unlock()
}

// Cut lets nothing pass in direction d, in addition to what is cut already.
func (l *Link) Cut(d Direction) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.cut.any() {
		l.since = time.Now()
	}
	l.set(l.cut.and(d))
}

// Heal ends the cut of both directions. What the cut held up is delivered. Impairments have ends of their own.
func (l *Link) Heal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.since = time.Time{}
	l.set(cuts{})
}

// set tells dials and connections of a changed cut. The mutex is held.
func (l *Link) set(cut cuts) {
	if cut == l.cut {
		return
	}
	l.cut = cut
	l.apply()
}

// apply tells dials and connections of what has changed. The mutex is held.
func (l *Link) apply() {
	l.broadcast()
	for c := range l.conns {
		c.set(l.state(c.addr))
	}
}

func (l *Link) broadcast() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// Reset ends every connection at both ends: calls on it fail with ECONNRESET, and nothing buffered is
// delivered. Dials and the cut are not touched.
func (l *Link) Reset() { l.ResetNode("") }

// ResetNode is Reset for the connections to one node; empty is all.
func (l *Link) ResetNode(node string) { l.reset(l.to(node)) }

func (l *Link) reset(conns []*conn) {
	for _, c := range conns {
		if c.kill(syscall.ECONNRESET) {
			l.resets.Add(1)
		}
	}
}

// Close resets every connection, fails the dials that hang in a cut, ends the impairments, and waits for the link's
// goroutines to end. Later dials fail. The resets are not counted as such. Close may be called more than once, but
// not from a function that is told of the hits of rules.
func (l *Link) Close() {
	l.mu.Lock()
	l.closed = true
	for _, i := range l.impaired {
		i.finish()
	}
	l.impaired = nil
	l.broadcast()
	l.mu.Unlock()
	for _, c := range l.to("") {
		c.kill(syscall.ECONNRESET)
	}
	l.pumps.Wait()
}

// to returns the connections to a node, or all if it is empty, in the order of their dials.
func (l *Link) to(node string) []*conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.toLocked(node)
}

func (l *Link) toLocked(node string) []*conn {
	conns := make([]*conn, 0, len(l.conns))
	for c := range l.conns {
		if l.matches(node, c.addr) {
			conns = append(conns, c)
		}
	}
	slices.SortFunc(conns, func(a, b *conn) int { return cmp.Compare(a.number, b.number) })
	return conns
}

// State returns whether the link is cut.
func (l *Link) State() LinkState {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.cut.any() {
		return LinkState{}
	}
	return LinkState{Cut: true, Direction: l.cut.direction(), Since: l.since}
}

// Stats returns the counters.
func (l *Link) Stats() LinkStats {
	l.mu.Lock()
	open := len(l.conns)
	l.mu.Unlock()
	return LinkStats{
		Open: open, Dials: l.dials.Load(), DialFailures: l.dialFailures.Load(), Resets: l.resets.Load(),
		LateIn: l.lateIn.Load(), LateOut: l.lateOut.Load(), Abandoned: l.abandoned.Load(),
	}
}

// address is the address of a connection that never came to be.
type address struct{ network, addr string }

func (a address) Network() string { return a.network }
func (a address) String() string  { return a.addr }

// closeHard closes a connection so that its other end sees a reset where the transport knows that.
func closeHard(inner net.Conn) {
	if t, ok := inner.(interface{ NetConn() net.Conn }); ok {
		// Below TLS, whose own close would wait to write a farewell.
		inner = t.NetConn()
	}
	if t, ok := inner.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = inner.Close()
}
