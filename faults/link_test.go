package faults_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"eostop/faults"
)

func TestDirection(t *testing.T) {
	for _, d := range []faults.Direction{faults.Both, faults.In, faults.Out} {
		if got, err := faults.ParseDirection(d.String()); got != d || err != nil {
			t.Errorf("ParseDirection(%q) = %v, %v", d.String(), got, err)
		}
	}
	if _, err := faults.ParseDirection("sideways"); err == nil {
		t.Error("sideways is a direction")
	}
	if s := faults.Direction(9).String(); s != "direction(9)" {
		t.Errorf("an unknown direction is %q", s)
	}
}

func TestState(t *testing.T) {
	bubble(t, func(x *fixture) {
		expect := func(want faults.LinkState) {
			t.Helper()
			if got := x.link.State(); got != want {
				t.Errorf("state %+v, want %+v", got, want)
			}
		}
		expect(faults.LinkState{})
		x.link.Heal()
		expect(faults.LinkState{})
		x.at(time.Second)
		x.link.Cut(faults.In)
		first := x.start.Add(time.Second)
		expect(faults.LinkState{Cut: true, Direction: faults.In, Since: first})
		x.at(2 * time.Second)
		x.link.Cut(faults.In)
		expect(faults.LinkState{Cut: true, Direction: faults.In, Since: first})
		x.link.Cut(faults.Out)
		expect(faults.LinkState{Cut: true, Direction: faults.Both, Since: first})
		x.link.Heal()
		expect(faults.LinkState{})
		x.link.Cut(faults.Out)
		expect(faults.LinkState{Cut: true, Direction: faults.Out, Since: x.start.Add(2 * time.Second)})
		if x.link.Name() != "i1" {
			t.Errorf("the name is %q", x.link.Name())
		}
	})
}

func TestDialDuringCut(t *testing.T) {
	for _, direction := range []faults.Direction{faults.Both, faults.In, faults.Out} {
		t.Run(direction.String(), func(t *testing.T) {
			bubble(t, func(x *fixture) {
				dial := func(timeout time.Duration) <-chan result {
					return run(func() (int, error) {
						ctx, cancel := context.WithTimeout(x.Context(), timeout)
						defer cancel()
						c, err := x.dial(ctx, "tcp", "broker:9092")
						if err == nil {
							_ = c.Close()
						}
						return 0, err
					})
				}
				x.link.Cut(direction)
				short, long := dial(2*time.Second), dial(time.Hour)
				x.at(2 * time.Second)
				err := x.returned(short).err
				var op *net.OpError
				if !errors.As(err, &op) || op.Op != "dial" || !op.Timeout() || op.Addr.String() != "broker:9092" {
					t.Errorf("error %v, want a dial time-out", err)
				}
				x.at(time.Minute)
				x.blocked(long)
				x.link.Heal()
				if err := x.returned(long).err; err != nil {
					t.Error(err)
				}
				if s := x.link.Stats(); s.Dials != 3 || s.DialFailures != 1 {
					t.Errorf("stats %+v", s)
				}
			})
		})
	}
}

// A handshake that is under way when the cut comes is not over before the heal.
func TestCutDuringDial(t *testing.T) {
	for name, heal := range map[string]bool{"healed": true, "not healed": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				link := faults.NewLink("i1")
				defer link.Close()
				client, server := net.Pipe()
				defer server.Close()
				dial := link.Wrap(func(context.Context, string, string) (net.Conn, error) {
					time.Sleep(time.Second)
					return client, nil
				})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				done := make(chan error, 1)
				go func() {
					_, err := dial(ctx, "tcp", "broker:9092")
					done <- err
				}()
				synctest.Wait()
				link.Cut(faults.Out)
				time.Sleep(time.Minute)
				select {
				case err := <-done:
					t.Fatalf("the dial returned %v", err)
				default:
				}
				if heal {
					link.Heal()
					if err := <-done; err != nil {
						t.Error(err)
					}
					return
				}
				cancel()
				if err := <-done; !errors.Is(err, context.Canceled) {
					t.Errorf("error %v, want the cancellation", err)
				}
				if _, err := server.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
					t.Errorf("the lower connection was not closed: %v", err)
				}
			})
		})
	}
}

func TestDialErrorIsPassedOn(t *testing.T) {
	refused := errors.New("refused")
	link := faults.NewLink("i1")
	defer link.Close()
	dial := link.Wrap(func(context.Context, string, string) (net.Conn, error) { return nil, refused })
	if _, err := dial(t.Context(), "tcp", "broker:9092"); !errors.Is(err, refused) {
		t.Errorf("error %v, want %v", err, refused)
	}
	if s := link.Stats(); s.Dials != 1 || s.DialFailures != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestAddresses(t *testing.T) {
	bubble(t, func(x *fixture) {
		if x.client.LocalAddr() == nil || x.client.RemoteAddr() == nil {
			t.Error("an address is missing")
		}
	})
}
