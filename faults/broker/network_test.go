package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func TestDialRefused(t *testing.T) {
	tcp := Default()
	tcp.Listen = "127.0.0.1:0"
	for name, cfg := range map[string]Config{"virtual": Default(), "tcp": tcp} {
		t.Run(name, func(t *testing.T) {
			b := start(t, cfg)
			addr := b.Addrs()[0]
			conn, err := b.Dial(t.Context(), "tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
			b.Close()
			_, err = b.Dial(t.Context(), "tcp", addr)
			var op *net.OpError
			if !errors.As(err, &op) || op.Op != "dial" || op.Timeout() || !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("dial of a closed broker: %#v, want ECONNREFUSED in a *net.OpError", err)
			}
			ended, cancel := context.WithDeadline(t.Context(), time.Now())
			defer cancel()
			if _, err = b.Dial(ended, "tcp", addr); !errors.As(err, &op) || !op.Timeout() {
				t.Errorf("dial with an expired context: %#v, want a time-out in a *net.OpError", err)
			}
		})
	}
}

// TestRefusedDialIsRetried lets nobody listen at first: the client must keep its record.
func TestRefusedDialIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		settle(t)
		b := start(t, Default())
		if err := b.CreateTopic("t", 1, nil); err != nil {
			t.Fatal(err)
		}
		closed := start(t, Default())
		closed.Close()
		up := time.Now().Add(30 * time.Second)
		dials := 0
		cl := client(t, b, kgo.Dialer(func(ctx context.Context, network, addr string) (net.Conn, error) {
			if time.Now().Before(up) {
				dials++
				return closed.Dial(ctx, network, addr)
			}
			return b.Dial(ctx, network, addr)
		}))
		produce(t, cl, "t", "patient")
		if dials < 2 || time.Now().Before(up) {
			t.Errorf("%d dials were refused, produced at %s", dials, time.Now())
		}
	})
}

func TestPortInUse(t *testing.T) {
	cfg := Default()
	cfg.Listen = "127.0.0.1:0"
	first := start(t, cfg)
	cfg.Listen = first.Addrs()[0]
	_, err := Start(cfg)
	want := cfg.Listen + " is already in use: stop the program that listens there or choose another address"
	if err == nil || !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("start on a port in use: %v, want %q", err, want)
	}
	// A node that cannot listen takes those before it down again.
	_, port, err := net.SplitHostPort(first.Addrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	several := cfg
	several.Listen, several.Nodes = fmt.Sprintf("127.0.0.1:%d", n-1), 2
	if _, err := Start(several); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("start of a second node on a port in use: %v", err)
	}
	// The port is free again when the broker is closed.
	first.Close()
	again := start(t, cfg)
	if err := again.CreateTopic("t", 3, nil); err != nil {
		t.Fatal(err)
	}
	produce(t, client(t, again), "t", "over TCP")
	wantRead(t, again, kgo.ReadCommitted(), "over TCP")
}
