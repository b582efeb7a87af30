package soak

import (
	"context"
	"net"
	"time"

	"eostop/faults"
)

// answerTime is what an answer takes at least where requests are answered with errors. Some errors make a client ask again at once,
// until a time-out of its own. Where an answer takes no time at all that would go on for ever in a testing/synctest bubble, and
// where it takes hardly any it would keep a processor busy.
const answerTime = 100 * time.Microsecond

// withLatency gives the connections of a dialer that time while something is done to requests.
func withLatency(dial faults.Dialer, disturbed func() bool) faults.Dialer {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &slowConn{c, disturbed}, nil
	}
}

type slowConn struct {
	net.Conn
	disturbed func() bool
}

// Read reads, and then waits.
func (c *slowConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err == nil && c.disturbed() {
		timer := time.NewTimer(answerTime)
		<-timer.C
	}
	return n, err
}
