package faults_test

import (
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"eostop/faults"
)

func TestUncutPasses(t *testing.T) {
	bubble(t, func(x *fixture) {
		x.broker.listen()
		x.write([]byte("request"))
		x.expect("request", nil)
		go func() { _, _ = x.broker.conn.Write([]byte("response")) }()
		x.read("response")
		x.took(0)
		if got, want := x.link.Stats(), (faults.LinkStats{Open: 1, Dials: 1}); got != want {
			t.Errorf("stats %+v, want %+v", got, want)
		}
		if err := x.client.Close(); err != nil {
			t.Error(err)
		}
		if err := x.client.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
		if open := x.link.Stats().Open; open != 0 {
			t.Errorf("%d connections are open after Close", open)
		}
	})
}

func TestWriteDuringCutArrivesAfterHeal(t *testing.T) {
	for _, direction := range []faults.Direction{faults.Both, faults.Out} {
		t.Run(direction.String(), func(t *testing.T) {
			bubble(t, func(x *fixture) {
				x.broker.listen()
				x.write([]byte("1"))
				x.at(time.Second)
				x.link.Cut(direction)
				reused := []byte("2")
				x.write(reused)
				reused[0] = '3'
				x.write(reused)
				reused[0] = 'x'
				x.took(time.Second) // it succeeded at once
				x.at(time.Minute)
				x.expect("1", nil)
				x.link.Heal()
				x.expect("123", nil)
				x.write([]byte("4"))
				x.expect("1234", nil)
				x.took(time.Minute)
				if late := x.link.Stats().LateOut; late != 2 {
					t.Errorf("%d bytes were late, want 2", late)
				}
			})
		})
	}
}

func TestWritePassesInCut(t *testing.T) {
	bubble(t, func(x *fixture) {
		x.broker.listen()
		x.link.Cut(faults.In)
		x.write([]byte("request"))
		x.expect("request", nil)
	})
}

func TestFullSendBuffer(t *testing.T) {
	full := text(sendBuffer)
	t.Run("blocks until the deadline", func(t *testing.T) {
		bubble(t, func(x *fixture) {
			x.broker.listen()
			x.link.Cut(faults.Both)
			_ = x.client.SetWriteDeadline(x.start.Add(10 * time.Second))
			n, err := x.client.Write(text(sendBuffer + 1000))
			if n != sendBuffer {
				t.Errorf("%d bytes were written, want %d", n, sendBuffer)
			}
			x.fails(err, os.ErrDeadlineExceeded)
			x.took(10 * time.Second)
			n, err = x.client.Write([]byte("x"))
			if n != 0 {
				t.Errorf("%d bytes were written after the deadline", n)
			}
			x.fails(err, os.ErrDeadlineExceeded)
			x.link.Heal()
			x.expect(string(full), nil)
		})
	})
	t.Run("blocks without a deadline until the heal", func(t *testing.T) {
		bubble(t, func(x *fixture) {
			x.broker.listen()
			x.link.Cut(faults.Both)
			big := text(3*sendBuffer + 17)
			done := run(func() (int, error) { return x.client.Write(big) })
			x.at(time.Hour)
			x.blocked(done)
			x.link.Heal()
			if r := x.returned(done); r.n != len(big) || r.err != nil {
				t.Errorf("Write = %d, %v", r.n, r.err)
			}
			x.expect(string(big), nil)
		})
	})
	t.Run("a deadline that is set later ends a blocked write", func(t *testing.T) {
		bubble(t, func(x *fixture) {
			x.link.Cut(faults.Both)
			_ = x.client.SetWriteDeadline(x.start.Add(time.Hour))
			done := run(func() (int, error) { return x.client.Write(text(sendBuffer + 1)) })
			x.at(time.Second)
			x.blocked(done)
			_ = x.client.SetDeadline(x.start.Add(2 * time.Second))
			x.at(2 * time.Second)
			x.fails(x.returned(done).err, os.ErrDeadlineExceeded)
		})
	})
	t.Run("a second writer waits behind the first and has the same deadline", func(t *testing.T) {
		bubble(t, func(x *fixture) {
			x.link.Cut(faults.Both)
			_ = x.client.SetWriteDeadline(x.start.Add(time.Second))
			first := run(func() (int, error) { return x.client.Write(text(sendBuffer + 1)) })
			x.blocked(first)
			second := run(func() (int, error) { return x.client.Write([]byte("x")) })
			x.blocked(second)
			x.at(time.Second)
			x.fails(x.returned(first).err, os.ErrDeadlineExceeded)
			x.fails(x.returned(second).err, os.ErrDeadlineExceeded)
		})
	})
	t.Run("Close ends a blocked write and delivers what was written", func(t *testing.T) {
		bubble(t, func(x *fixture) {
			x.broker.listen()
			x.link.Cut(faults.Both)
			first := run(func() (int, error) { return x.client.Write(text(sendBuffer + 1)) })
			x.blocked(first)
			second := run(func() (int, error) { return x.client.Write([]byte("x")) })
			x.blocked(second)
			_ = x.client.Close()
			r := x.returned(first)
			x.fails(r.err, net.ErrClosed)
			if r.n != sendBuffer {
				t.Errorf("%d bytes were written, want %d", r.n, sendBuffer)
			}
			x.fails(x.returned(second).err, net.ErrClosed)
			x.at(time.Second)
			x.link.Heal()
			x.expect(string(full), errEOF)
		})
	})
	t.Run("Reset ends a blocked write", func(t *testing.T) {
		bubble(t, func(x *fixture) {
			x.link.Cut(faults.Both)
			done := run(func() (int, error) { return x.client.Write(text(sendBuffer + 1)) })
			x.blocked(done)
			x.link.Reset()
			x.fails(x.returned(done).err, syscall.ECONNRESET)
		})
	})
}

// A broker over a pipe takes nothing until it reads, so a write may be inside the lower connection when the cut
// comes.
func TestWriteInFlight(t *testing.T) {
	t.Run("arrives, and what follows is cut", func(t *testing.T) {
		bubble(t, func(x *fixture) {
			done := run(func() (int, error) { return x.client.Write([]byte("flying")) })
			x.blocked(done)
			x.link.Cut(faults.Both)
			next := run(func() (int, error) { return x.client.Write([]byte(" queued")) })
			x.blocked(next) // writes keep their order
			x.broker.listen()
			x.expect("flying", nil)
			x.returned(done)
			x.returned(next)
			x.link.Heal()
			x.expect("flying queued", nil)
		})
	})
	t.Run("no more than the window of a large one", func(t *testing.T) {
		bubble(t, func(x *fixture) {
			big := text(3 * sendBuffer)
			done := run(func() (int, error) { return x.client.Write(big) })
			x.blocked(done)
			x.link.Cut(faults.Both)
			x.broker.listen()
			x.blocked(done)
			x.expect(string(big[:sendBuffer]), nil) // the window arrived, the rest fills the buffer
			x.link.Heal()
			x.expect(string(big), nil)
			x.returned(done)
		})
	})
	t.Run("keeps its deadline", func(t *testing.T) {
		bubble(t, func(x *fixture) {
			_ = x.client.SetWriteDeadline(x.start.Add(time.Second))
			done := run(func() (int, error) { return x.client.Write([]byte("flying")) })
			x.blocked(done)
			x.link.Cut(faults.Both)
			x.at(time.Second)
			if r := x.returned(done); !isTimeout(r.err) {
				t.Errorf("Write = %d, %v", r.n, r.err)
			}
		})
	})
	t.Run("is ended by Close, whose end of the stream waits for the heal", func(t *testing.T) {
		bubble(t, func(x *fixture) {
			done := run(func() (int, error) { return x.client.Write([]byte("flying")) })
			x.blocked(done)
			x.link.Cut(faults.Both)
			_ = x.client.Close()
			x.fails(x.returned(done).err, net.ErrClosed)
			x.broker.listen()
			x.at(time.Minute)
			x.expect("", nil)
			x.link.Heal()
			x.expect("", errEOF)
		})
	})
}

func TestWriteToBrokerThatWentAwayDuringCut(t *testing.T) {
	bubble(t, func(x *fixture) {
		x.link.Cut(faults.Both)
		x.write([]byte("request"))
		_ = x.broker.conn.Close()
		x.at(time.Second)
		x.write([]byte("another")) // nobody can know yet
		x.link.Heal()
		x.at(2 * time.Second)
		_, err := x.client.Write([]byte("third"))
		x.fails(err, errClosedPipe)
		if n := x.link.Stats().Abandoned; n != uint64(len("request")+len("another")) {
			t.Errorf("%d bytes were abandoned", n)
		}
		if _, err := x.client.Read(make([]byte, 1)); err == nil {
			t.Error("a read succeeded")
		}
	})
}

// The pump works without a deadline, but the application's must be in force again when it is done.
func TestWriteDeadlineOutlivesCut(t *testing.T) {
	bubble(t, func(x *fixture) {
		x.link.Cut(faults.Both)
		x.write([]byte("late"))
		_ = x.client.SetWriteDeadline(x.start.Add(10 * time.Second))
		x.link.Heal()
		buf := make([]byte, 4)
		if _, err := x.broker.conn.Read(buf); err != nil {
			t.Fatal(err)
		}
		x.at(time.Second)
		// Nobody reads: the write hangs in the lower connection.
		_, err := x.client.Write([]byte("x"))
		if !isTimeout(err) {
			t.Errorf("error %v, want a time-out", err)
		}
		x.took(10 * time.Second)
	})
}
