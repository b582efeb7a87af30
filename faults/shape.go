package faults

import (
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// window is how many bytes may be under way on a slow connection besides those in its send buffer: the largest window
	// that Linux gives a connection by default.
	window = 4 << 20
	// grain bounds how many bytes a narrow link lets pass at a time.
	grain = 16 << 10
	// tick is how long a narrow link takes for that many bytes at most, where its rate is low.
	tick = 20 * time.Millisecond
)

// shaper makes one direction of a link slow or narrow. The connections under it share its rate.
type shaper struct {
	delay, jitter time.Duration
	rate          int64 // bytes per second; 0 is no limit

	mu   sync.Mutex // short, nothing waits with it
	rnd  *rand.Rand
	next time.Time // when what was granted so far has passed
}

func newShaper(i Impairment, direction Direction) *shaper {
	return &shaper{delay: i.Delay, jitter: i.Jitter, rate: i.Rate, rnd: rand.New(rand.NewPCG(i.Seed, uint64(direction)))}
}

// lag returns how long the next bytes are under way.
func (s *shaper) lag() time.Duration {
	if s.jitter == 0 {
		return s.delay
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.delay + time.Duration(s.rnd.Int64N(int64(s.jitter)+1))
}

// quantum is how many bytes may pass at a time, so that a connection does not hold the link for long.
func (s *shaper) quantum() int {
	return int(min(grain, max(1, s.rate*int64(tick)/int64(time.Second))))
}

// reserve takes n tokens from the bucket, whose size is the quantum, and returns when they are there.
func (s *shaper) reserve(now time.Time, n int) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if full := now.Add(-s.cost(s.quantum())); s.next.Before(full) {
		s.next = full
	}
	s.next = s.next.Add(s.cost(n))
	return s.next
}

// cost is how long n bytes take, at most grain.
func (s *shaper) cost(n int) time.Duration {
	return time.Duration(int64(n) * int64(time.Second) / s.rate)
}

// shape is what all shapers of a direction do together.
type shape []*shaper

// lag returns how long the next bytes are under way.
func (s shape) lag() (lag time.Duration) {
	for _, one := range s {
		lag += one.lag()
	}
	return lag
}

// quantum returns how many bytes may pass at a time, and whether anything limits them.
func (s shape) quantum() (n int, limited bool) {
	n = grain
	for _, one := range s {
		if one.rate > 0 {
			n, limited = min(n, one.quantum()), true
		}
	}
	return n, limited
}

// reserve returns when n more bytes have passed the narrowest of them.
func (s shape) reserve(now time.Time, n int) time.Time {
	at := now
	for _, one := range s {
		if one.rate == 0 {
			continue
		}
		if granted := one.reserve(now, n); granted.After(at) {
			at = granted
		}
	}
	return at
}

// underWay returns how many bytes may be under way besides those in the send buffer.
func (s shape) underWay() int {
	var delay time.Duration
	bytes := float64(window)
	for _, one := range s {
		delay += one.delay + one.jitter
	}
	for _, one := range s {
		if one.rate > 0 {
			bytes = min(bytes, float64(one.rate)*delay.Seconds())
		}
	}
	if delay == 0 {
		return 0
	}
	return int(bytes)
}
