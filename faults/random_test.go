package faults_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"eostop/faults"
)

// TestRandom sends numbered bytes both ways over several connections while the link is cut, impaired, healed and, in
// every third run, reset at random. Whatever was accepted by a Write must arrive in order, and completely
// unless a reset came.
func TestRandom(t *testing.T) {
	for i := range 24 {
		seed := time.Now().UnixNano() + int64(i)
		resets := i%3 == 2
		synctest.Test(t, func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Logf("seed %d, resets %v", seed, resets)
				}
			}()
			randomRun(t, rand.New(rand.NewPCG(uint64(seed), 0)), resets)
		})
		if t.Failed() {
			return
		}
	}
}

// flow is one direction of one connection.
type flow struct {
	name     string
	from, to net.Conn
	sent     bytes.Buffer // accepted by Write; owned by the sender until it ended
	got      bytes.Buffer
}

func randomRun(t *testing.T, rnd *rand.Rand, resets bool) {
	t.Helper()
	link := faults.NewLink("i1")
	defer link.Close()
	var server net.Conn
	dial := link.Wrap(func(context.Context, string, string) (net.Conn, error) {
		var client net.Conn
		client, server = net.Pipe()
		return client, nil
	})
	var senders, receivers sync.WaitGroup
	var flows []*flow
	for range 4 {
		client, err := dial(t.Context(), "tcp", "broker:9092")
		if err != nil {
			t.Fatal(err)
		}
		out, in := &flow{name: "out", from: client, to: server}, &flow{name: "in", from: server, to: client}
		flows = append(flows, out, in)
		seed := rnd.Uint64()
		receivers.Go(func() { out.receive() })
		receivers.Go(func() { in.receive() })
		// The broker's end of the stream closes both, so the client's flow must be over first.
		senders.Go(func() {
			in.send(rand.New(rand.NewPCG(seed, 1)))
		})
		senders.Go(func() {
			out.send(rand.New(rand.NewPCG(seed, 2)))
		})
	}
	var ends []func()
	for range 60 {
		time.Sleep(time.Duration(rnd.Int64N(int64(3 * time.Second))))
		if rnd.IntN(3) == 0 {
			if len(ends) > 0 && rnd.IntN(2) == 0 {
				ends[0]()
				ends = ends[1:]
			} else {
				end, err := link.Impair(randomImpairment(rnd))
				if err != nil {
					t.Fatal(err)
				}
				ends = append(ends, end)
			}
		}
		switch n := rnd.IntN(10); {
		case n < 5:
			link.Cut(faults.Direction(rnd.IntN(3)))
		case n < 9 || !resets:
			link.Heal()
		default:
			link.Reset()
		}
	}
	link.Heal()
	for _, end := range ends {
		end()
	}
	senders.Wait()
	time.Sleep(time.Minute)
	synctest.Wait()
	for _, f := range flows {
		if f.name == "out" {
			_ = f.from.Close() // the client's end
		}
	}
	receivers.Wait()
	for i, f := range flows {
		sent, got := f.sent.Bytes(), f.got.Bytes()
		if !bytes.HasPrefix(sent, got) {
			t.Errorf("connection %d %s: %d bytes arrived that are no prefix of %d sent", i/2, f.name, len(got), len(sent))
		}
		if !resets && len(got) != len(sent) {
			t.Errorf("connection %d %s: %d bytes of %d arrived", i/2, f.name, len(got), len(sent))
		}
		_ = f.to.Close()
		_ = f.from.Close()
	}
}

// send writes pieces of random size with a random pace and sometimes a deadline.
func (f *flow) send(rnd *rand.Rand) {
	next := byte(0)
	for range 150 {
		time.Sleep(time.Duration(rnd.Int64N(int64(time.Second))))
		b := make([]byte, rnd.IntN(1<<(3+rnd.IntN(14))))
		for i := range b {
			b[i] = next + byte(i)*7 + byte(i>>8)
		}
		deadline := time.Time{}
		if rnd.IntN(3) == 0 {
			deadline = time.Now().Add(time.Duration(rnd.Int64N(int64(time.Second))))
		}
		_ = f.from.SetWriteDeadline(deadline)
		n, err := f.from.Write(b)
		f.sent.Write(b[:n])
		if err != nil && !isTimeout(err) {
			return
		}
		next += byte(n) + 1
	}
}

// receive reads with random deadlines until the end of the stream.
func (f *flow) receive() {
	rnd := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 3))
	for {
		b := make([]byte, 1+rnd.IntN(1<<(1+rnd.IntN(16))))
		if rnd.IntN(4) == 0 {
			_ = f.to.SetReadDeadline(time.Now().Add(time.Duration(rnd.Int64N(int64(time.Second)))))
		}
		n, err := f.to.Read(b)
		f.got.Write(b[:n])
		if isTimeout(err) {
			_ = f.to.SetReadDeadline(time.Time{})
			continue
		}
		if err != nil {
			return
		}
	}
}
