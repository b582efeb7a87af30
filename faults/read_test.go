package faults_test

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"eostop/faults"
)

var (
	errEOF        = io.EOF
	errClosedPipe = io.ErrClosedPipe
)

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// readOne starts a read of a few bytes.
func (x *fixture) readOne() <-chan result {
	return run(func() (int, error) { return x.client.Read(make([]byte, 8)) })
}

// send starts the broker's write, which hangs as long as nobody takes the bytes.
func (x *fixture) send(b []byte) <-chan result {
	return run(func() (int, error) { return x.broker.conn.Write(b) })
}

func TestReadDuringCut(t *testing.T) {
	for _, direction := range []faults.Direction{faults.Both, faults.In} {
		t.Run(direction.String(), func(t *testing.T) {
			bubble(t, func(x *fixture) {
				x.link.Cut(direction)
				if r := x.returned(x.send([]byte("response"))); r.err != nil {
					t.Fatalf("the broker's write failed: %v", r.err)
				}
				_ = x.client.SetReadDeadline(x.start.Add(5 * time.Second))
				_, err := x.client.Read(make([]byte, 8))
				x.fails(err, os.ErrDeadlineExceeded)
				x.took(5 * time.Second)
				_ = x.client.SetReadDeadline(time.Time{})
				done := x.readOne()
				x.at(time.Hour)
				x.blocked(done)
				x.link.Heal()
				if r := x.returned(done); r.n != 8 || r.err != nil {
					t.Errorf("Read = %d, %v", r.n, r.err)
				}
				if late := x.link.Stats().LateIn; late != 8 {
					t.Errorf("%d bytes were late, want 8", late)
				}
				x.send([]byte("next"))
				x.read("next")
			})
		})
	}
}

func TestReadPassesOutCut(t *testing.T) {
	bubble(t, func(x *fixture) {
		x.link.Cut(faults.Out)
		x.write([]byte("request"))
		x.send([]byte("response"))
		x.read("response")
		if late := x.link.Stats().LateIn; late != 0 {
			t.Errorf("%d bytes were late", late)
		}
	})
}

// A read that was inside the lower connection when the cut came gets bytes that the cut must withhold.
func TestReadBlockedWhenTheCutCame(t *testing.T) {
	bubble(t, func(x *fixture) {
		done := x.readOne()
		x.blocked(done)
		x.at(time.Second)
		x.link.Cut(faults.Both)
		x.returned(x.send([]byte("12345678")))
		x.returned(x.send([]byte("9")))
		x.blocked(done)
		x.at(time.Minute)
		x.blocked(done)
		x.link.Heal()
		if r := x.returned(done); r.n != 8 || r.err != nil {
			t.Errorf("Read = %d, %v", r.n, r.err)
		}
		x.read("9")
		x.send([]byte("fresh"))
		x.read("fresh")
	})
}

func TestReadBlockedWhenTheCutCameKeepsItsDeadline(t *testing.T) {
	for _, sent := range []string{"", "withheld"} {
		bubble(t, func(x *fixture) {
			_ = x.client.SetReadDeadline(x.start.Add(10 * time.Second))
			reused := make([]byte, 8)
			done := run(func() (int, error) { return x.client.Read(reused) })
			x.at(time.Second)
			x.link.Cut(faults.Both)
			if sent != "" {
				x.returned(x.send([]byte(sent)))
			}
			x.at(10 * time.Second)
			if r := x.returned(done); r.n != 0 || !isTimeout(r.err) {
				t.Errorf("Read = %d, %v", r.n, r.err)
			}
			clear(reused)
			// What the broker sends after that is taken all the same.
			if r := x.returned(x.send([]byte(" more"))); r.err != nil {
				t.Error(r.err)
			}
			x.link.Heal()
			_ = x.client.SetReadDeadline(time.Time{})
			x.read(sent + " more")
		})
	}
}

func TestConcurrentReads(t *testing.T) {
	bubble(t, func(x *fixture) {
		first, second := x.readOne(), x.readOne()
		x.blocked(first)
		x.blocked(second)
		x.link.Cut(faults.Both)
		x.returned(x.send([]byte("12345678")))
		x.returned(x.send([]byte("abcdefgh")))
		x.blocked(first)
		x.blocked(second)
		x.link.Heal()
		if a, b := x.returned(first), x.returned(second); a.n != 8 || b.n != 8 {
			t.Errorf("the reads returned %+v and %+v", a, b)
		}
	})
}

func TestReceiveBuffer(t *testing.T) {
	bubble(t, func(x *fixture) {
		x.link.Cut(faults.In)
		big := text(2*sendBuffer + 17)
		sent := x.send(big)
		x.at(time.Minute)
		x.blocked(sent) // the broker's network holds 256 KiB as well
		x.link.Heal()
		got := make([]byte, len(big))
		if _, err := io.ReadFull(x.client, got); err != nil {
			t.Fatal(err)
		}
		if string(got) != string(big) {
			t.Error("the bytes differ")
		}
		x.returned(sent)
		if late := x.link.Stats().LateIn; late != sendBuffer {
			t.Errorf("%d bytes were late, want %d", late, sendBuffer)
		}
	})
}

func TestEndOfStreamWaitsForTheHeal(t *testing.T) {
	for name, reading := range map[string]bool{"idle": false, "reading": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(x *fixture) {
				var first <-chan result
				if reading {
					first = x.readOne()
					x.blocked(first)
				}
				x.link.Cut(faults.In)
				x.returned(x.send([]byte("farewell")))
				_ = x.broker.conn.Close()
				x.at(time.Minute)
				if !reading {
					first = x.readOne()
				}
				x.blocked(first)
				x.link.Heal()
				if r := x.returned(first); r.n != 8 || r.err != nil {
					t.Errorf("Read = %d, %v", r.n, r.err)
				}
				for range 2 {
					if r := x.returned(x.readOne()); !errors.Is(r.err, io.EOF) {
						t.Errorf("Read = %d, %v, want the end", r.n, r.err)
					}
				}
			})
		})
	}
}

func TestReadDeadlines(t *testing.T) {
	t.Run("in the past, with bytes at hand", func(t *testing.T) {
		bubble(t, func(x *fixture) {
			x.link.Cut(faults.Both)
			x.returned(x.send([]byte("late")))
			x.link.Heal()
			_ = x.client.SetReadDeadline(time.Unix(1, 0))
			_, err := x.client.Read(make([]byte, 4))
			x.fails(err, os.ErrDeadlineExceeded)
			_ = x.client.SetReadDeadline(time.Time{})
			x.read("late")
		})
	})
	t.Run("moved while a read waits", func(t *testing.T) {
		bubble(t, func(x *fixture) {
			x.link.Cut(faults.Both)
			_ = x.client.SetReadDeadline(x.start.Add(time.Second))
			done := x.readOne()
			x.blocked(done)
			_ = x.client.SetReadDeadline(x.start.Add(time.Minute))
			x.at(59 * time.Second)
			x.blocked(done)
			x.at(time.Minute)
			x.fails(x.returned(done).err, os.ErrDeadlineExceeded)
		})
	})
	t.Run("set during a cut, in force after the heal", func(t *testing.T) {
		bubble(t, func(x *fixture) {
			x.link.Cut(faults.Both)
			_ = x.client.SetReadDeadline(x.start.Add(time.Minute))
			x.link.Heal()
			_, err := x.client.Read(make([]byte, 4)) // waits for the pump, which waits for bytes
			x.fails(err, os.ErrDeadlineExceeded)
			x.took(time.Minute)
			_ = x.client.SetReadDeadline(time.Time{})
			x.send([]byte("over"))
			x.read("over") // and with these the pump ended
			_ = x.client.SetReadDeadline(x.start.Add(2 * time.Minute))
			if _, err := x.client.Read(make([]byte, 4)); !isTimeout(err) {
				t.Errorf("error %v, want a time-out", err)
			}
			x.took(2 * time.Minute)
		})
	})
	t.Run("each direction has its own", func(t *testing.T) {
		bubble(t, func(x *fixture) {
			x.link.Cut(faults.Both)
			_ = x.client.SetReadDeadline(time.Unix(1, 0))
			x.write([]byte("fine"))
			_ = x.client.SetDeadline(time.Unix(1, 0))
			_, err := x.client.Write([]byte("late"))
			x.fails(err, os.ErrDeadlineExceeded)
		})
	})
}

func TestReset(t *testing.T) {
	for name, cut := range map[string]bool{"uncut": false, "cut": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(x *fixture) {
				x.broker.listen()
				done := x.readOne()
				x.blocked(done)
				if cut {
					x.link.Cut(faults.Both)
					x.write([]byte("never"))
				}
				x.link.Reset()
				x.fails(x.returned(done).err, syscall.ECONNRESET)
				x.expect("", errEOF) // a pipe knows no reset
				_, err := x.client.Write([]byte("x"))
				x.fails(err, syscall.ECONNRESET)
				x.fails(x.client.SetReadDeadline(time.Time{}), syscall.ECONNRESET)
				x.link.Heal()
				x.expect("", errEOF)
				if s := x.link.Stats(); s.Resets != 1 || s.Open != 0 || cut != (s.Abandoned == 5) {
					t.Errorf("stats %+v", s)
				}
				_ = x.client.Close()
				_, err = x.client.Read(make([]byte, 1))
				x.fails(err, net.ErrClosed)
				x.link.Reset()
				if s := x.link.Stats(); s.Resets != 1 {
					t.Errorf("%d resets, want 1", s.Resets)
				}
			})
		})
	}
}
