package faults_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"eostop/faults"
	_ "eostop/faults/synctestrace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sendBuffer and orphanTimeout are what the package documentation promises.
const (
	sendBuffer    = 256 << 10
	orphanTimeout = 100 * time.Second
)

// fixture is a link with one connection over a pipe. It lives in a synctest bubble.
type fixture struct {
	*testing.T
	link   *faults.Link
	dial   faults.Dialer
	client net.Conn
	broker *broker
	start  time.Time
}

// bubble runs f in a bubble with a fresh link and connection. A goroutine of the link that survives its Close
// fails the test.
func bubble(t *testing.T, f func(*fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		x := &fixture{T: t, link: faults.NewLink("i1"), start: time.Now()}
		defer x.link.Close()
		accepted := make(chan net.Conn, 1)
		x.dial = x.link.Wrap(func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			accepted <- server
			return client, nil
		})
		client, err := x.dial(t.Context(), "tcp", "broker:9092")
		if err != nil {
			t.Fatal(err)
		}
		x.client = client
		x.broker = &broker{conn: <-accepted}
		defer x.broker.conn.Close()
		f(x)
	})
}

// at lets virtual time pass until d after the start of the test.
func (x *fixture) at(d time.Duration) {
	x.Helper()
	d -= time.Since(x.start)
	if d < 0 {
		x.Fatal("the test is late")
	}
	time.Sleep(d)
	synctest.Wait()
}

func (x *fixture) write(b []byte) {
	x.Helper()
	if n, err := x.client.Write(b); n != len(b) || err != nil {
		x.Fatalf("Write of %d bytes = %d, %v", len(b), n, err)
	}
}

func (x *fixture) read(want string) {
	x.Helper()
	b := make([]byte, len(want))
	if _, err := io.ReadFull(x.client, b); err != nil || string(b) != want {
		x.Fatalf("read %q, %v; want %q", b, err, want)
	}
}

// fails checks that err is a net error that wraps want.
func (x *fixture) fails(err, want error) {
	x.Helper()
	var op *net.OpError
	if !errors.As(err, &op) || !errors.Is(err, want) {
		x.Fatalf("error %v, want a net.OpError of %v", err, want)
	}
	if op.Timeout() != errors.Is(want, os.ErrDeadlineExceeded) {
		x.Fatalf("error %v: Timeout is %v", err, op.Timeout())
	}
}

// took checks the virtual time since the start of the test.
func (x *fixture) took(want time.Duration) {
	x.Helper()
	if d := time.Since(x.start); d != want {
		x.Fatalf("it is %v after the start, want %v", d, want)
	}
}

// result is the outcome of a call that ran in its own goroutine.
type result struct {
	n   int
	err error
	at  time.Time
}

// run starts a call that may block.
func run(call func() (int, error)) <-chan result {
	done := make(chan result, 1)
	go func() {
		n, err := call()
		done <- result{n, err, time.Now()}
	}()
	return done
}

// blocked checks that the call has not returned.
func (x *fixture) blocked(done <-chan result) {
	x.Helper()
	synctest.Wait()
	select {
	case r := <-done:
		x.Fatalf("the call returned %d, %v", r.n, r.err)
	default:
	}
}

// returned checks that the call has returned.
func (x *fixture) returned(done <-chan result) result {
	x.Helper()
	synctest.Wait()
	select {
	case r := <-done:
		return r
	default:
		x.Fatal("the call hangs")
		return result{}
	}
}

// broker is the other end of the connection.
type broker struct {
	conn net.Conn

	mu    sync.Mutex
	got   bytes.Buffer
	ended error // why the broker's reads ended
}

// listen reads all that arrives, in its own goroutine.
func (b *broker) listen() {
	go func() {
		buf := make([]byte, 32<<10)
		for {
			n, err := b.conn.Read(buf)
			b.mu.Lock()
			b.got.Write(buf[:n])
			b.ended = err
			b.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
}

// expect checks what the broker has got so far, and whether it saw the end of the stream.
func (x *fixture) expect(want string, end error) {
	x.Helper()
	synctest.Wait()
	x.broker.mu.Lock()
	defer x.broker.mu.Unlock()
	if got := x.broker.got.String(); got != want {
		x.Fatalf("the broker has got %d bytes %.40q, want %d bytes %.40q", len(got), got, len(want), want)
	}
	if !errors.Is(x.broker.ended, end) {
		x.Fatalf("the broker saw the end as %v, want %v", x.broker.ended, end)
	}
}

// text is n bytes of which no two neighbouring kilobytes are alike.
func text(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('a' + (i+i/1000)%26)
	}
	return b
}
