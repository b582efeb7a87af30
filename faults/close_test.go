package faults_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"eostop/faults"
)

func TestCloseDuringCutDeliversAfterHeal(t *testing.T) {
	for _, direction := range []faults.Direction{faults.Both, faults.Out} {
		t.Run(direction.String(), func(t *testing.T) {
			bubble(t, func(x *fixture) {
				x.broker.listen()
				reading := x.readOne()
				x.blocked(reading)
				x.link.Cut(direction)
				x.write([]byte("zombie"))
				if err := x.client.Close(); err != nil {
					t.Error(err)
				}
				x.took(0)
				x.fails(x.returned(reading).err, net.ErrClosed)
				_, err := x.client.Write([]byte("x"))
				x.fails(err, net.ErrClosed)
				_, err = x.client.Read(make([]byte, 1))
				x.fails(err, net.ErrClosed)
				x.fails(x.client.SetWriteDeadline(time.Time{}), net.ErrClosed)

				x.at(orphanTimeout - time.Second)
				x.expect("", nil)
				if open := x.link.Stats().Open; open != 1 {
					t.Errorf("%d connections are open, want the orphan", open)
				}
				x.link.Heal()
				x.expect("zombie", errEOF)
				if s := x.link.Stats(); s.Open != 0 || s.LateOut != 6 || s.Abandoned != 0 {
					t.Errorf("stats %+v", s)
				}
			})
		})
	}
}

func TestCloseDuringCutWithNothingToDeliver(t *testing.T) {
	bubble(t, func(x *fixture) {
		x.broker.listen()
		x.link.Cut(faults.Both)
		_ = x.client.Close()
		x.at(time.Minute)
		x.expect("", nil)
		x.link.Heal()
		x.expect("", errEOF)
	})
}

func TestCloseDuringInCutIsSeenAtOnce(t *testing.T) {
	bubble(t, func(x *fixture) {
		x.broker.listen()
		reading := x.readOne()
		x.blocked(reading)
		x.link.Cut(faults.In)
		x.write([]byte("last"))
		_ = x.client.Close()
		x.expect("last", errEOF)
		x.fails(x.returned(reading).err, net.ErrClosed)
	})
}

func TestCloseWhileTheQueueDrains(t *testing.T) {
	bubble(t, func(x *fixture) {
		x.link.Cut(faults.Both)
		x.write(text(sendBuffer))
		x.link.Heal()
		synctest.Wait() // the pump hangs in its first piece: the broker does not read yet
		x.write(nil)    // nothing to wait for
		_ = x.client.Close()
		x.broker.listen()
		x.expect(string(text(sendBuffer)), errEOF)
	})
}

func TestOrphanIsGivenUp(t *testing.T) {
	t.Run("during the cut, and the broker learns of it by the heal", func(t *testing.T) {
		bubble(t, func(x *fixture) {
			x.broker.listen()
			x.link.Cut(faults.Both)
			x.write([]byte("never"))
			_ = x.client.Close()
			x.at(orphanTimeout + time.Second)
			x.expect("", nil)
			x.at(time.Hour)
			x.link.Heal()
			x.expect("", errEOF)
			if s := x.link.Stats(); s.Abandoned != 5 || s.LateOut != 0 || s.Open != 0 {
				t.Errorf("stats %+v", s)
			}
		})
	})
	t.Run("by a broker that does not take it after the heal", func(t *testing.T) {
		bubble(t, func(x *fixture) {
			x.link.Cut(faults.Both)
			x.write([]byte("never"))
			_ = x.client.Close()
			x.at(time.Second)
			x.link.Heal()
			x.at(orphanTimeout)
			if s := x.link.Stats(); s.Abandoned != 5 || s.Open != 0 {
				t.Errorf("stats %+v", s)
			}
		})
	})
	t.Run("during a second cut that meets a broker that does not take it", func(t *testing.T) {
		bubble(t, func(x *fixture) {
			x.link.Cut(faults.Both)
			x.write([]byte("never"))
			_ = x.client.Close()
			x.at(time.Second)
			x.link.Heal()
			x.at(2 * time.Second)
			x.link.Cut(faults.Both)
			x.at(orphanTimeout)
			if open := x.link.Stats().Open; open != 1 {
				t.Errorf("%d connections are open, want the orphan", open)
			}
			x.link.Heal()
			synctest.Wait()
			if s := x.link.Stats(); s.Abandoned != 5 || s.Open != 0 {
				t.Errorf("stats %+v", s)
			}
		})
	})
}

// The broker answers what is delivered late, and must not hang because nobody reads the answer.
func TestBrokerAnswersAnOrphan(t *testing.T) {
	for name, test := range map[string]struct {
		direction faults.Direction
		before    string
	}{
		"quiet broker":            {faults.Both, ""},
		"broker that was sending": {faults.Both, strings.Repeat("response", 100_000)},
		"one way":                 {faults.Out, ""},
		"one way, sending":        {faults.Out, strings.Repeat("response", 100_000)},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(x *fixture) {
				x.link.Cut(test.direction)
				x.write([]byte("zombie"))
				x.write([]byte("second"))
				sent := x.send([]byte(test.before))
				synctest.Wait()
				_ = x.client.Close()
				synctest.Wait()
				x.at(time.Minute)
				x.link.Heal()
				x.returned(sent)
				for _, want := range []string{"zombie", "second"} {
					got := make([]byte, len(want))
					if _, err := io.ReadFull(x.broker.conn, got); err != nil || string(got) != want {
						t.Fatalf("the broker read %q, %v; want %q", got, err, want)
					}
					if want == "zombie" {
						if r := x.returned(x.send([]byte("refused"))); r.err != nil {
							t.Errorf("the broker's answer: %v", r.err)
						}
					}
				}
				x.broker.listen()
				x.expect("", errEOF)
			})
		})
	}
}

func TestResetOfAnOrphan(t *testing.T) {
	bubble(t, func(x *fixture) {
		x.broker.listen()
		x.link.Cut(faults.Both)
		x.write([]byte("never"))
		_ = x.client.Close()
		x.link.Reset()
		x.expect("", errEOF)
		if s := x.link.Stats(); s.Resets != 1 || s.Abandoned != 5 || s.Open != 0 {
			t.Errorf("stats %+v", s)
		}
	})
}

// stuck is a connection whose Write returns when it is told to, whatever happens to its deadline.
type stuck struct {
	net.Conn
	release chan struct{}
}

func (s stuck) Write([]byte) (int, error) {
	<-s.release
	return 0, os.ErrDeadlineExceeded
}

func stuckConn(t *testing.T, link *faults.Link) (client, server net.Conn, release chan struct{}) {
	t.Helper()
	release = make(chan struct{})
	dial := link.Wrap(func(context.Context, string, string) (net.Conn, error) {
		var lower net.Conn
		lower, server = net.Pipe()
		return stuck{lower, release}, nil
	})
	client, err := dial(t.Context(), "tcp", "broker:9092")
	if err != nil {
		t.Fatal(err)
	}
	return client, server, release
}

// The end of the stream waits for a write that is still inside the lower connection at the heal.
func TestHealBeforeAnInterruptedWriteReturned(t *testing.T) {
	bubble(t, func(x *fixture) {
		client, server, release := stuckConn(t, x.link)
		defer server.Close()
		done := run(func() (int, error) { return client.Write([]byte("stuck")) })
		x.blocked(done)
		x.link.Cut(faults.Both)
		_ = client.Close()
		x.link.Heal()
		ended := run(func() (int, error) { return server.Read(make([]byte, 1)) })
		x.at(time.Second)
		x.blocked(ended)
		close(release)
		x.fails(x.returned(done).err, net.ErrClosed)
		if r := x.returned(ended); !errors.Is(r.err, io.EOF) {
			t.Errorf("the broker saw %v, want the end", r.err)
		}
	})
}

func TestLinkCloseWaitsForItsGoroutines(t *testing.T) {
	bubble(t, func(x *fixture) {
		client, server, release := stuckConn(t, x.link)
		defer server.Close()
		x.link.Cut(faults.Both)
		if _, err := client.Write([]byte("late")); err != nil {
			t.Fatal(err)
		}
		x.link.Heal()
		synctest.Wait() // the pump is inside the write
		closed := run(func() (int, error) {
			x.link.Close()
			return 0, nil
		})
		x.at(time.Second)
		x.blocked(closed)
		close(release)
		x.returned(closed)
	})
}

func TestLinkClose(t *testing.T) {
	bubble(t, func(x *fixture) {
		second, err := x.dial(t.Context(), "tcp", "broker:9092")
		if err != nil {
			t.Fatal(err)
		}
		x.broker.listen()
		x.link.Cut(faults.Both)
		x.write([]byte("never"))
		_ = x.client.Close() // an orphan, with its pump
		blocked := run(func() (int, error) { return second.Read(make([]byte, 1)) })
		dialling := run(func() (int, error) {
			_, err := x.dial(x.Context(), "tcp", "broker:9092")
			return 0, err
		})
		x.blocked(blocked)
		x.blocked(dialling)

		x.link.Close()
		x.expect("", errEOF)
		x.fails(x.returned(blocked).err, syscall.ECONNRESET)
		x.fails(x.returned(dialling).err, net.ErrClosed)
		x.link.Heal()
		if _, err := x.dial(t.Context(), "tcp", "broker:9092"); !errors.Is(err, net.ErrClosed) {
			t.Errorf("dial after Close: %v", err)
		}
		if s := x.link.Stats(); s.Open != 0 || s.Resets != 0 || s.DialFailures != 2 {
			t.Errorf("stats %+v", s)
		}
		x.link.Close()
	})
}
