package faults

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Impairment is something that a link does to its connections for a time, besides its own cut. Those that are in
// force at once add up: delays are added, the narrowest rate counts, cuts are united. Each zero field does nothing.
type Impairment struct {
	// Node limits it to the connections to one broker, see [Link]. Empty is every broker.
	Node string
	// Direction is what Cut, Delay, Jitter and Rate apply to.
	Direction Direction

	// Cut lets nothing pass, as [Link.Cut] does.
	Cut bool
	// Delay is how long bytes are under way. With [Both] a round trip takes twice as long. What is under way when it
	// ends keeps it.
	Delay time.Duration
	// Jitter is how much longer than Delay they may be under way, at random. They stay in order.
	Jitter time.Duration
	// Rate is how many bytes a second pass, over all connections and for each direction; 0 is no limit. What does not
	// pass waits in the send buffer, and once that is full a write blocks.
	Rate int64

	// Resets is how many connections are reset at random in a second, on average.
	Resets float64
	// HalfOpen makes the connections that are open now half-open: what is written vanishes, reads hang, and the broker
	// sees them as open. Only a reset ends that; those that are left are reset when the impairment ends. Connections
	// that are dialed later work.
	HalfOpen bool

	// Seed is the seed of what is random.
	Seed uint64
}

// Bounds of an impairment, far from anything that could overflow.
const (
	maxDelay  = 24 * time.Hour
	maxRate   = 1 << 40
	maxResets = 1e6
)

// Validate returns every problem, joined, each with the name of its key first.
func (i Impairment) Validate() error {
	var errs []error
	problem := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if i.Direction > Out {
		problem("direction: %v is none of both, in, out", i.Direction)
	}
	if i.Delay < 0 || i.Delay > maxDelay {
		problem("delay: must be 0s to %v, not %v", maxDelay, i.Delay)
	}
	if i.Jitter < 0 || i.Jitter > maxDelay {
		problem("jitter: must be 0s to %v, not %v", maxDelay, i.Jitter)
	}
	if i.Rate < 0 || i.Rate > maxRate {
		problem("rate: must be 0 to %d bytes per second, not %d", int64(maxRate), i.Rate)
	}
	if math.IsNaN(i.Resets) || i.Resets < 0 || i.Resets > maxResets {
		problem("resets: must be 0 to %v per second, not %v", maxResets, i.Resets)
	}
	if !i.Cut && i.Delay == 0 && i.Jitter == 0 && i.Rate == 0 && i.Resets == 0 && !i.HalfOpen {
		problem("impairment: nothing is asked for")
	}
	return errors.Join(errs...)
}

// impaired is an impairment in force.
type impaired struct {
	Impairment
	in, out *shaper // nil if the impairment leaves the direction alone
	cut     cuts
	hung    []*conn       // that it made half-open
	done    chan struct{} // closed at its end
	once    sync.Once
}

func (i *impaired) finish() { i.once.Do(func() { close(i.done) }) }

// Impair puts an impairment in force until the returned function is called, which may be done more than once, or the
// link is closed.
func (l *Link) Impair(i Impairment) (end func(), err error) {
	if err := i.Validate(); err != nil {
		return nil, fmt.Errorf("impair link %s: %w", l.name, err)
	}
	now := &impaired{Impairment: i, done: make(chan struct{})}
	if i.Cut {
		now.cut = now.cut.and(i.Direction)
	}
	if i.Delay > 0 || i.Jitter > 0 || i.Rate > 0 {
		if i.Direction != Out {
			now.in = newShaper(i, In)
		}
		if i.Direction != In {
			now.out = newShaper(i, Out)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return func() {}, nil
	}
	l.impaired = append(l.impaired, now)
	if i.HalfOpen {
		now.hung = l.toLocked(i.Node)
		for _, c := range now.hung {
			c.hang()
		}
	}
	if i.Resets > 0 {
		l.pumps.Go(func() { l.resetAtRandom(now) })
	}
	l.apply()
	return func() { l.recover(now) }, nil
}

// recover ends an impairment.
func (l *Link) recover(i *impaired) {
	i.finish()
	l.mu.Lock()
	if at := slices.Index(l.impaired, i); at >= 0 {
		l.impaired = slices.Delete(l.impaired, at, at+1)
		l.apply()
	}
	hung := i.hung
	i.hung = nil
	l.mu.Unlock()
	l.reset(hung)
}

// Impairments returns what is in force, in the order in which it began.
func (l *Link) Impairments() []Impairment {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]Impairment, len(l.impaired))
	for n, i := range l.impaired {
		list[n] = i.Impairment
	}
	return list
}

// resetAtRandom runs until the impairment ends.
func (l *Link) resetAtRandom(i *impaired) {
	rnd := rand.New(rand.NewPCG(i.Seed, uint64(Out)+1))
	for {
		pause := min(rnd.ExpFloat64()/i.Resets, maxDelay.Seconds())
		timer := time.NewTimer(time.Duration(pause * float64(time.Second)))
		select {
		case <-timer.C:
		case <-i.done:
			timer.Stop()
			return
		}
		if conns := l.to(i.Node); len(conns) > 0 {
			at := rnd.IntN(len(conns))
			l.reset(conns[at : at+1])
		}
	}
}

// NameNodes sets the function that knows the name of the broker behind an address that was dialed, usually its node
// id; empty is unknown. It is called often and must not wait. It is asked again for each use of a name, so it may
// learn.
func (l *Link) NameNodes(nodeOf func(addr string) string) {
	l.nodeOf.Store(&nodeOf)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.apply()
}

// node returns the name of a broker.
func (l *Link) node(addr string) string {
	nodeOf := l.nodeOf.Load()
	if nodeOf == nil || *nodeOf == nil {
		return ""
	}
	return (*nodeOf)(addr)
}

// matches reports whether a node is the broker behind an address.
func (l *Link) matches(node, addr string) bool {
	return node == "" || node == addr || node == l.node(addr)
}

// state is what a link does to a connection.
type state struct {
	cut     cuts
	in, out shape
}

// state returns what is done to the connections to an address. The mutex is held.
func (l *Link) state(addr string) state {
	s := state{cut: l.cut}
	for _, i := range l.impaired {
		if !l.matches(i.Node, addr) {
			continue
		}
		s.cut = cuts{in: s.cut.in || i.cut.in, out: s.cut.out || i.cut.out}
		if i.in != nil {
			s.in = append(s.in, i.in)
		}
		if i.out != nil {
			s.out = append(s.out, i.out)
		}
	}
	return s
}
