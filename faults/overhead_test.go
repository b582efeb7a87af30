package faults_test

import (
	"context"
	"net"
	"testing"
	"time"

	"eostop/faults"
)

// instant is a connection whose calls cost nothing, so that what is measured is the link.
type instant struct{ net.Conn }

func (instant) Read(b []byte) (int, error)       { return len(b), nil }
func (instant) Write(b []byte) (int, error)      { return len(b), nil }
func (instant) SetReadDeadline(time.Time) error  { return nil }
func (instant) SetWriteDeadline(time.Time) error { return nil }
func (instant) Close() error                     { return nil }

// BenchmarkOverhead measures what one call costs more than the call of the lower connection.
func BenchmarkOverhead(b *testing.B) {
	link := faults.NewLink("i1")
	b.Cleanup(link.Close)
	dial := link.Wrap(func(context.Context, string, string) (net.Conn, error) { return instant{}, nil })
	c, err := dial(b.Context(), "tcp", "broker:9092")
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 100)
	deadline := time.Now().Add(time.Hour)
	b.Run("Write", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = c.Write(buf)
		}
	})
	b.Run("Read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = c.Read(buf)
		}
	})
	b.Run("SetReadDeadline", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = c.SetReadDeadline(deadline)
		}
	})
}
