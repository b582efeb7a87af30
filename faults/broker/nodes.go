package broker

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// ErrOneNode is returned by what needs another node.
var ErrOneNode = errors.New("the cluster has one node only")

// Nodes returns the ids of the nodes that run, in order.
func (b *Broker) Nodes() ([]int32, error) {
	var nodes []int32
	err := b.use(func(*kfake.Cluster) error {
		nodes = b.running()
		return nil
	})
	return nodes, err
}

// running returns the ids of the nodes that run. The token is held.
func (b *Broker) running() []int32 {
	var nodes []int32
	for node := range b.addrs {
		if !slices.Contains(b.stopped, int32(node)) {
			nodes = append(nodes, int32(node))
		}
	}
	return nodes
}

// MoveLeader makes another node the leader of a partition. It picks the node of a number, counted over those that run and are not
// its leader.
func (b *Broker) MoveLeader(topic string, partition int32, pick int) error {
	err := b.use(func(c *kfake.Cluster) error {
		leader := c.LeaderFor(topic, partition)
		others := slices.DeleteFunc(b.running(), func(node int32) bool { return node == leader })
		if len(others) == 0 {
			return ErrOneNode
		}
		b.conns.slow()
		return c.MoveTopicPartition(topic, partition, others[pick%len(others)])
	})
	if err != nil {
		return fmt.Errorf("move leader of %s-%d: %w", topic, partition, err)
	}
	return nil
}

// MoveCoordinators makes other nodes the coordinators of groups and transactional ids. With one node nothing changes.
func (b *Broker) MoveCoordinators() error {
	return b.use(func(c *kfake.Cluster) error {
		b.conns.slow()
		c.RehashCoordinators()
		return nil
	})
}

// StopNode takes a node down: its connections end, nobody can connect to it, and others lead its partitions. The last one
// that runs cannot be stopped.
func (b *Broker) StopNode(node int32) error {
	err := b.use(func(c *kfake.Cluster) error {
		switch running := b.running(); {
		case !slices.Contains(running, node):
			return fmt.Errorf("there is none that runs; valid: %v", running)
		case len(running) == 1:
			return ErrOneNode
		}
		b.conns.slow()
		if err := c.RemoveNode(node); err != nil {
			return err
		}
		// kfake leaves connections alive that answer NOT_COORDINATOR for good.
		b.conns.drop(b.addrs[node])
		b.stopped = append(b.stopped, node)
		return nil
	})
	if err != nil {
		return fmt.Errorf("stop node %d: %w", node, err)
	}
	return nil
}

// StartNode starts a node that was stopped, at its address.
func (b *Broker) StartNode(node int32) error {
	err := b.use(func(c *kfake.Cluster) error {
		at := slices.Index(b.stopped, node)
		if at < 0 {
			return errors.New("it was not stopped")
		}
		_, text, err := net.SplitHostPort(b.addrs[node])
		if err != nil {
			return err
		}
		port, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		if _, _, err := c.AddNode(node, port); err != nil {
			return err
		}
		b.stopped = slices.Delete(b.stopped, at, at+1)
		return nil
	})
	if err != nil {
		return fmt.Errorf("start node %d: %w", node, err)
	}
	return nil
}

// connBook knows the connections that nodes have accepted.
type connBook struct {
	latency atomic.Int64 // of each read, in nanoseconds

	mu    sync.Mutex // short
	conns map[string]map[net.Conn]struct{}
}

// latency is how long a request takes from the moment when leaders move.
const latency = 100 * time.Microsecond

// slow gives connections a latency. A client that fetches from a former leader asks again at once for as long as its metadata
// is not renewed. Without a latency it would do so without any time passing in a testing/synctest bubble, for ever.
func (b *connBook) slow() { b.latency.Store(int64(latency)) }

// listen has the connections of a listener written down by its port.
func (b *connBook) listen(ln net.Listener, err error) (net.Listener, error) {
	if err != nil {
		return nil, err
	}
	return &bookedListener{ln, b}, nil
}

type bookedListener struct {
	net.Listener
	book *connBook
}

func (l *bookedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.book.add(port(l.Addr().String()), c), nil
}

func (b *connBook) add(port string, c net.Conn) net.Conn {
	booked := &bookedConn{Conn: c, book: b, port: port}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conns == nil {
		b.conns = map[string]map[net.Conn]struct{}{}
	}
	if b.conns[port] == nil {
		b.conns[port] = map[net.Conn]struct{}{}
	}
	b.conns[port][booked] = struct{}{}
	return booked
}

// drop ends the connections to an address.
func (b *connBook) drop(addr string) {
	b.mu.Lock()
	var conns []net.Conn
	for c := range b.conns[port(addr)] {
		conns = append(conns, c)
	}
	b.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
	}
}

// bookedConn takes itself out of the book when it is closed.
type bookedConn struct {
	net.Conn
	book *connBook
	port string
}

// Read reads, after the latency.
func (c *bookedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if latency := c.book.latency.Load(); latency > 0 && err == nil {
		timer := time.NewTimer(time.Duration(latency))
		<-timer.C
	}
	return n, err
}

// Close closes the connection.
func (c *bookedConn) Close() error {
	c.book.mu.Lock()
	delete(c.book.conns[c.port], c)
	c.book.mu.Unlock()
	return c.Conn.Close()
}

// port returns the port of an address; all nodes have the same host.
func port(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}
