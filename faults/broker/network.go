package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// network is what the nodes listen on and what clients dial.
type network interface {
	listen(network, addr string) (net.Listener, error)
	dial(ctx context.Context, network, addr string) (net.Conn, error)
}

// tcpNetwork is the network of the operating system.
type tcpNetwork struct {
	host   string // what the nodes listen on; kfake itself only knows 127.0.0.1
	dialer net.Dialer
}

func (n *tcpNetwork) listen(network, addr string) (net.Listener, error) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	addr = net.JoinHostPort(n.host, port)
	// There is no context to hand on: kfake's constructor has none, and binding a port does not wait.
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), network, addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s is already in use: stop the program that listens there or choose another address: %w", addr, err)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", addr, err)
	}
	return listener, nil
}

func (n *tcpNetwork) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return n.dialer.DialContext(ctx, network, addr)
}

// pipeNetwork connects clients and nodes by pipes inside the process. All that waits on it waits in a way that
// testing/synctest can see.
type pipeNetwork struct {
	pipes kfake.VirtualNetwork
}

func (n *pipeNetwork) listen(network, addr string) (net.Listener, error) {
	return n.pipes.Listen(network, addr)
}

// refusal is how long it takes to be refused.
const refusal = time.Millisecond

// dial fails like a dial of the operating system does. kfake's own errors have a type that a client does not know: it
// would give up its records instead of trying again.
func (n *pipeNetwork) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := n.pipes.DialContext(ctx, network, addr)
	if err == nil {
		return conn, nil
	}
	// A client that is refused may dial again at once, until something else has changed. That must not stop the clock.
	refused := time.NewTimer(refusal)
	defer refused.Stop()
	select {
	case <-refused.C:
	case <-ctx.Done():
	}
	failure := &net.OpError{Op: "dial", Net: network, Addr: pipeAddr(addr), Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	if ctx.Err() != nil {
		failure.Err = ctx.Err()
	}
	return nil, failure
}

// pipeAddr is an address of a pipeNetwork, HOST:PORT.
type pipeAddr string

// Network returns the name of the network.
func (pipeAddr) Network() string { return "pipe" }

// String returns the address.
func (a pipeAddr) String() string { return string(a) }
