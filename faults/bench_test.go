package faults_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"eostop/faults"
)

// BenchmarkRoundTrip compares a request and its response over a link with the same over the bare connection, as
// a Kafka client makes them: a deadline and one write, a deadline and two reads.
func BenchmarkRoundTrip(b *testing.B) {
	for _, transport := range []string{"pipe", "tcp"} {
		for _, size := range []int{100, 16 << 10} {
			for _, linked := range []bool{false, true} {
				b.Run(fmt.Sprintf("%s/size=%d/link=%v", transport, size, linked), func(b *testing.B) {
					client := benchmarkConn(b, transport, linked)
					request := make([]byte, 4+size)
					binary.BigEndian.PutUint32(request, uint32(size))
					response := make([]byte, 4+size)
					b.SetBytes(int64(len(request)))
					b.ReportAllocs()
					for b.Loop() {
						_ = client.SetWriteDeadline(time.Now().Add(time.Minute))
						if _, err := client.Write(request); err != nil {
							b.Fatal(err)
						}
						_ = client.SetReadDeadline(time.Now().Add(time.Minute))
						if _, err := io.ReadFull(client, response[:4]); err != nil {
							b.Fatal(err)
						}
						if _, err := io.ReadFull(client, response[4:]); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		}
	}
}

// BenchmarkStream compares the throughput of one direction.
func BenchmarkStream(b *testing.B) {
	for _, transport := range []string{"pipe", "tcp"} {
		for _, linked := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/link=%v", transport, linked), func(b *testing.B) {
				client := benchmarkConn(b, transport, linked)
				go func() { _, _ = io.Copy(io.Discard, client) }()
				message := make([]byte, 32<<10)
				b.SetBytes(int64(len(message)))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := client.Write(message); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// benchmarkConn returns a connection to a server that echoes.
func benchmarkConn(b *testing.B, transport string, linked bool) net.Conn {
	b.Helper()
	echo := func(c net.Conn) {
		defer c.Close()
		// Without the shortcuts of io.Copy: both transports work alike then.
		buf := make([]byte, 64<<10)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			if _, err := c.Write(buf[:n]); err != nil {
				return
			}
		}
	}
	var dial faults.Dialer
	if transport == "pipe" {
		dial = func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			go echo(server)
			return client, nil
		}
	} else {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = listener.Close() })
		go func() {
			for {
				c, err := listener.Accept()
				if err != nil {
					return
				}
				go echo(c)
			}
		}()
		dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, listener.Addr().String())
		}
	}
	if linked {
		link := faults.NewLink("i1")
		b.Cleanup(link.Close)
		dial = link.Wrap(dial)
	}
	client, err := dial(b.Context(), "tcp", "broker:9092")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = client.Close() })
	return client
}
