package faults_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"eostop/faults"
)

// listen returns the dial function and the accepted connections of a TCP server on the loopback interface.
func listen(t *testing.T) (faults.Dialer, <-chan net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	accepted := make(chan net.Conn, 16)
	go func() {
		defer close(accepted)
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, listener.Addr().String())
	}, accepted
}

// overTLS wraps both ends of a server.
func overTLS(t *testing.T, dial faults.Dialer, accepted <-chan net.Conn) (faults.Dialer, <-chan net.Conn) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"broker"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	secure := make(chan net.Conn, 16)
	go func() {
		defer close(secure)
		for c := range accepted {
			s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
			if s.Handshake() == nil {
				secure <- s
			}
		}
	}()
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		s := tls.Client(c, &tls.Config{ServerName: "broker", RootCAs: roots})
		return s, s.HandshakeContext(ctx)
	}, secure
}

// TestTransports checks on real sockets what the other tests check on virtual time.
func TestTransports(t *testing.T) {
	for _, transport := range []string{"tcp", "tls"} {
		t.Run(transport, func(t *testing.T) {
			link := faults.NewLink("i1")
			defer link.Close()
			base, accepted := listen(t)
			if transport == "tls" {
				base, accepted = overTLS(t, base, accepted)
			}
			dial := link.Wrap(base)
			connect := func() (client, server net.Conn) {
				t.Helper()
				client, err := dial(t.Context(), "tcp", "broker:9092")
				if err != nil {
					t.Fatal(err)
				}
				server = <-accepted
				t.Cleanup(func() { _ = server.Close() })
				return client, server
			}
			expect := func(c net.Conn, want string) {
				t.Helper()
				got := make([]byte, len(want))
				if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
					t.Fatalf("read %q, %v; want %q", got, err, want)
				}
			}
			write := func(c net.Conn, b string) {
				t.Helper()
				if _, err := c.Write([]byte(b)); err != nil {
					t.Fatal(err)
				}
			}

			client, server := connect()
			write(client, "1")
			expect(server, "1")
			link.Cut(faults.Both)
			write(client, "2")
			write(server, "a")
			_ = client.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			if n, err := client.Read(make([]byte, 1)); n != 0 || !isTimeout(err) {
				t.Errorf("Read during the cut = %d, %v", n, err)
			}
			_ = server.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			if n, err := server.Read(make([]byte, 1)); n != 0 || !isTimeout(err) {
				t.Errorf("the broker's Read during the cut = %d, %v", n, err)
			}
			_, _ = client.SetReadDeadline(time.Time{}), server.SetReadDeadline(time.Time{})
			link.Heal()
			expect(server, "2")
			expect(client, "a")
			write(client, "3")
			expect(server, "3")
			write(server, "b")
			expect(client, "b")

			// Late delivery after Close.
			link.Cut(faults.Out)
			write(client, "zombie")
			if err := client.Close(); err != nil {
				t.Error(err)
			}
			link.Heal()
			expect(server, "zombie")
			if _, err := server.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("the broker saw %v, want the end", err)
			}

			client, server = connect()
			link.Reset()
			if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("Read after a reset: %v", err)
			}
			if _, err := server.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the broker saw %v, want a reset", err)
			}
			if open := link.Stats().Open; open != 0 {
				t.Errorf("%d connections are open", open)
			}
		})
	}
}

// TestConcurrency lets clients and faults run into each other on real time, for the race detector. That nothing
// hangs or leaks is the assertion, besides that a response is what was asked for.
func TestConcurrency(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	tcp, accepted := listen(t)
	serve := func(c net.Conn) {
		defer c.Close()
		_, _ = io.Copy(c, struct{ io.Reader }{c})
	}
	go func() {
		for c := range accepted {
			go serve(c)
		}
	}()
	pipe := func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go serve(server)
		return client, nil
	}
	for name, base := range map[string]faults.Dialer{"pipe": pipe, "tcp": tcp} {
		t.Run(name, func(t *testing.T) {
			link := faults.NewLink("i1")
			dial := link.Wrap(base)
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			var clients sync.WaitGroup
			for i := range 8 {
				rnd := mathrand.New(mathrand.NewPCG(seed, uint64(i)))
				clients.Go(func() {
					for ctx.Err() == nil {
						client(ctx, t, dial, rnd)
					}
				})
			}
			for i := range 2 {
				rnd := mathrand.New(mathrand.NewPCG(seed, uint64(100+i)))
				clients.Go(func() {
					for ctx.Err() == nil {
						switch n := rnd.IntN(20); {
						case n < 8:
							link.Cut(faults.Direction(rnd.IntN(3)))
						case n < 19:
							link.Heal()
						default:
							link.Reset()
						}
						_, _ = link.State(), link.Stats()
						time.Sleep(time.Duration(rnd.IntN(1000)) * time.Microsecond)
					}
				})
			}
			time.Sleep(200 * time.Millisecond)
			link.Close()
			clients.Wait()
			if open := link.Stats().Open; open != 0 {
				t.Errorf("%d connections are open", open)
			}
		})
	}
}

// client makes some requests over a connection of its own, and closes it in the midst of one.
func client(ctx context.Context, t *testing.T, dial faults.Dialer, rnd *mathrand.Rand) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
	defer cancel()
	c, err := dial(ctx, "tcp", "broker:9092")
	if err != nil {
		return
	}
	defer c.Close()
	for range rnd.IntN(20) {
		request := text(1 + rnd.IntN(100_000))
		written := make(chan bool, 1)
		_ = c.SetDeadline(time.Now().Add(time.Duration(rnd.IntN(20)) * time.Millisecond))
		go func() {
			_, err := c.Write(request)
			written <- err == nil
		}()
		response := make([]byte, len(request))
		n, err := io.ReadFull(c, response)
		if string(response[:n]) != string(request[:n]) {
			t.Error("the response is not what was asked for")
		}
		if err != nil {
			if rnd.IntN(2) == 0 {
				_ = c.Close()
			}
			<-written
			return
		}
		if !<-written {
			return
		}
	}
}
