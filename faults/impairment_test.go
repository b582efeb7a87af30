package faults_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"eostop/faults"
)

// impair puts an impairment in force.
func (x *fixture) impair(i faults.Impairment) (end func()) {
	x.Helper()
	end, err := x.link.Impair(i)
	if err != nil {
		x.Fatal(err)
	}
	return end
}

// connect dials addr over the link.
func (x *fixture) connect(addr string) (client, server net.Conn) {
	x.Helper()
	accepted := make(chan net.Conn, 1)
	dial := x.link.Wrap(func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		accepted <- server
		return client, nil
	})
	client, err := dial(x.Context(), "tcp", addr)
	if err != nil {
		x.Fatal(err)
	}
	server = <-accepted
	x.Cleanup(func() { _ = server.Close() })
	return client, server
}

func TestDelay(t *testing.T) {
	t.Run("out", func(t *testing.T) {
		bubble(t, func(x *fixture) {
			x.broker.listen()
			x.impair(faults.Impairment{Direction: faults.Out, Delay: 500 * time.Millisecond})
			x.write([]byte("1"))
			x.took(0) // it succeeded at once
			x.at(100 * time.Millisecond)
			x.write([]byte("2"))
			x.at(499 * time.Millisecond)
			x.expect("", nil)
			x.at(500 * time.Millisecond)
			x.expect("1", nil)
			x.at(599 * time.Millisecond)
			x.expect("1", nil)
			x.at(600 * time.Millisecond)
			x.expect("12", nil)
			x.send([]byte("back"))
			x.read("back")
			x.took(600 * time.Millisecond)
		})
	})
	t.Run("in, with the end of the stream behind", func(t *testing.T) {
		bubble(t, func(x *fixture) {
			x.impair(faults.Impairment{Direction: faults.In, Delay: 3 * time.Second})
			x.returned(x.send([]byte("late")))
			_ = x.broker.conn.Close()
			_ = x.client.SetReadDeadline(x.start.Add(time.Second))
			_, err := x.client.Read(make([]byte, 4))
			x.fails(err, os.ErrDeadlineExceeded)
			x.took(time.Second)
			_ = x.client.SetReadDeadline(time.Time{})
			x.read("late")
			x.took(3 * time.Second)
			if _, err := x.client.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("error %v, want the end", err)
			}
			x.took(3 * time.Second)
		})
	})
	t.Run("in, with a read that waits already", func(t *testing.T) {
		bubble(t, func(x *fixture) {
			done := x.readOne()
			x.blocked(done)
			x.impair(faults.Impairment{Delay: time.Second})
			x.returned(x.send([]byte("12345678")))
			x.at(999 * time.Millisecond)
			x.blocked(done)
			x.at(time.Second)
			if r := x.returned(done); r.n != 8 {
				t.Errorf("Read = %d, %v", r.n, r.err)
			}
		})
	})
	t.Run("both, and a dial takes a round trip", func(t *testing.T) {
		bubble(t, func(x *fixture) {
			x.impair(faults.Impairment{Delay: 250 * time.Millisecond})
			_, server := x.connect("broker:9092")
			x.took(500 * time.Millisecond)
			_ = server.Close()
			ctx, cancel := context.WithTimeout(x.Context(), 100*time.Millisecond)
			defer cancel()
			_, err := x.dial(ctx, "tcp", "broker:9092")
			if op := (*net.OpError)(nil); !errors.As(err, &op) || !op.Timeout() {
				t.Errorf("error %v, want a time-out", err)
			}
		})
	})
	t.Run("keeps what is under way when it ends, and order", func(t *testing.T) {
		bubble(t, func(x *fixture) {
			x.broker.listen()
			end := x.impair(faults.Impairment{Direction: faults.Out, Delay: time.Second})
			x.write([]byte("slow"))
			x.at(100 * time.Millisecond)
			end()
			end()
			x.write([]byte("fast"))
			x.at(999 * time.Millisecond)
			x.expect("", nil)
			x.at(time.Second)
			x.expect("slowfast", nil)
			x.write([]byte("!"))
			x.expect("slowfast!", nil)
			x.took(time.Second)
		})
	})
	t.Run("adds up", func(t *testing.T) {
		bubble(t, func(x *fixture) {
			x.broker.listen()
			x.impair(faults.Impairment{Direction: faults.Out, Delay: time.Second})
			end := x.impair(faults.Impairment{Delay: 2 * time.Second})
			x.write([]byte("1"))
			x.at(2999 * time.Millisecond)
			x.expect("", nil)
			x.at(3 * time.Second)
			x.expect("1", nil)
			end()
			x.write([]byte("2"))
			x.at(4 * time.Second)
			x.expect("12", nil)
			if n := len(x.link.Impairments()); n != 1 {
				t.Errorf("%d impairments are in force, want 1", n)
			}
		})
	})
	t.Run("is held up by a cut", func(t *testing.T) {
		bubble(t, func(x *fixture) {
			x.broker.listen()
			x.impair(faults.Impairment{Direction: faults.Out, Delay: time.Second})
			x.write([]byte("1"))
			x.at(500 * time.Millisecond)
			x.link.Cut(faults.Both)
			x.at(time.Minute)
			x.expect("", nil)
			x.link.Heal()
			x.expect("1", nil)
			x.write([]byte("2"))
			x.at(time.Minute + time.Second)
			x.expect("12", nil)
			if late := x.link.Stats().LateOut; late != 1 {
				t.Errorf("%d bytes were late, want 1", late)
			}
		})
	})
	t.Run("delivers after Close", func(t *testing.T) {
		bubble(t, func(x *fixture) {
			x.broker.listen()
			x.impair(faults.Impairment{Delay: 3 * time.Second})
			x.write([]byte("last"))
			_ = x.client.Close()
			x.at(2 * time.Second)
			x.expect("", nil)
			x.at(3 * time.Second)
			x.expect("last", errEOF)
		})
	})
	t.Run("lets more than a send buffer be under way", func(t *testing.T) {
		bubble(t, func(x *fixture) {
			x.broker.listen()
			x.impair(faults.Impairment{Direction: faults.Out, Delay: time.Second})
			big := text(8 * sendBuffer)
			x.write(big)
			x.took(0)
			x.at(time.Second)
			x.expect(string(big), nil)
		})
	})
	t.Run("is reset", func(t *testing.T) {
		bubble(t, func(x *fixture) {
			x.broker.listen()
			x.impair(faults.Impairment{Delay: time.Second})
			x.write([]byte("never"))
			done := x.readOne()
			x.blocked(done)
			x.link.Reset()
			x.fails(x.returned(done).err, syscall.ECONNRESET)
			x.at(time.Minute)
			x.expect("", errEOF)
		})
	})
}

func TestNodeImpairment(t *testing.T) {
	bubble(t, func(x *fixture) {
		x.link.NameNodes(func(addr string) string {
			return map[string]string{"broker:9092": "1", "broker:9093": "2"}[addr]
		})
		client, server := x.connect("broker:9093")
		exchange := func(c, s net.Conn) bool {
			_ = s.SetReadDeadline(time.Now().Add(time.Second))
			done := run(func() (int, error) { return s.Read(make([]byte, 1)) })
			if _, err := c.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			return (<-done).err == nil
		}
		for _, node := range []string{"2", "broker:9093"} {
			end := x.impair(faults.Impairment{Node: node, Cut: true})
			if !exchange(x.client, x.broker.conn) {
				t.Errorf("a cut of node %s cuts another", node)
			}
			if exchange(client, server) {
				t.Errorf("node %s is not cut", node)
			}
			ctx, cancel := context.WithTimeout(x.Context(), time.Second)
			if _, err := x.dial(ctx, "tcp", "broker:9093"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("dial to the node: %v", err)
			}
			cancel()
			if x.link.State().Cut {
				t.Error("the link is cut")
			}
			x.link.Heal() // not its business
			if exchange(client, server) {
				t.Errorf("node %s is not cut after Heal", node)
			}
			end()
			for range 2 {
				_ = server.SetReadDeadline(time.Now().Add(time.Second))
				if _, err := server.Read(make([]byte, 1)); err != nil {
					t.Errorf("what was written during the cut: %v", err)
				}
			}
		}
		x.link.ResetNode("2")
		if _, err := client.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("error %v, want a reset", err)
		}
		if !exchange(x.client, x.broker.conn) {
			t.Error("a reset of node 2 resets node 1")
		}
	})
}

func TestResetsAtRandom(t *testing.T) {
	times := func(seed uint64) (list []time.Duration) {
		bubble(t, func(x *fixture) {
			end := x.impair(faults.Impairment{Resets: 0.5, Seed: seed})
			for time.Since(x.start) < 10*time.Minute {
				done := run(func() (int, error) { return x.client.Read(make([]byte, 1)) })
				r := <-done
				x.fails(r.err, syscall.ECONNRESET)
				list = append(list, r.at.Sub(x.start))
				x.client, _ = x.connect("broker:9092")
			}
			end()
			done := x.readOne()
			x.at(20 * time.Minute)
			x.blocked(done)
			x.link.Reset()
			x.returned(done)
		})
		return list
	}
	one := times(3)
	if len(one) < 200 || len(one) > 400 { // 300 are expected, with a deviation of 17
		t.Errorf("%d resets in 10 minutes, want about 300", len(one))
	}
	two := times(3)
	for i := range min(len(one), len(two)) {
		if one[i] != two[i] {
			t.Fatal("the same seed does not repeat")
		}
	}
	if other := times(4); len(other) > 0 && other[0] == one[0] {
		t.Error("two seeds reset alike")
	}
}

func TestImpairmentIsValidated(t *testing.T) {
	link := faults.NewLink("i1")
	defer link.Close()
	for want, i := range map[string]faults.Impairment{
		"nothing is asked for": {},
		"delay: must be":       {Delay: -1},
		"jitter: must be":      {Jitter: 25 * time.Hour},
		"rate: must be":        {Rate: -1},
		"resets: must be":      {Resets: -1},
		"direction:":           {Direction: 7, Cut: true},
	} {
		if _, err := link.Impair(i); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v, want one of %q", i, err, want)
		}
	}
}

// A link that is closed with impairments in force must not leave anything behind.
func TestLinkCloseEndsImpairments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := faults.NewLink("i1")
		for _, i := range []faults.Impairment{{Resets: 0.001}, {Delay: time.Hour}, {HalfOpen: true}, {Cut: true}} {
			end, err := link.Impair(i)
			if err != nil {
				t.Fatal(err)
			}
			defer end()
		}
		link.Close()
		if list := link.Impairments(); len(list) != 0 {
			t.Errorf("impairments are left: %+v", list)
		}
		end, err := link.Impair(faults.Impairment{Resets: 1})
		if err != nil {
			t.Fatal(err)
		}
		end()
	})
}

// randomImpairment is one that loses nothing.
func randomImpairment(rnd *rand.Rand) faults.Impairment {
	i := faults.Impairment{Direction: faults.Direction(rnd.IntN(3)), Seed: rnd.Uint64()}
	switch rnd.IntN(4) {
	case 0:
		i.Delay = time.Duration(rnd.Int64N(int64(3 * time.Second)))
	case 1:
		i.Jitter = time.Duration(1 + rnd.Int64N(int64(time.Second)))
	case 2:
		i.Rate = 10_000 + rnd.Int64N(1_000_000)
	default:
		i.Cut = true
	}
	return i
}
