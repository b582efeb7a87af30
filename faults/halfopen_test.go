package faults_test

import (
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"eostop/faults"
)

func TestHalfOpen(t *testing.T) {
	t.Run("writes vanish, reads hang, a reset ends it", func(t *testing.T) {
		bubble(t, func(x *fixture) {
			x.broker.listen()
			reading := x.readOne()
			x.blocked(reading)
			end := x.impair(faults.Impairment{HalfOpen: true})
			x.write([]byte("vanishes"))
			x.returned(x.send([]byte("unheard")))
			x.at(time.Minute)
			x.blocked(reading)
			x.expect("", nil) // and the broker sees no end
			second, server := x.connect("broker:9092")
			go func() { _, _ = server.Write([]byte("fine")) }()
			if _, err := io.ReadFull(second, make([]byte, 4)); err != nil {
				t.Errorf("a later connection: %v", err)
			}
			end()
			x.fails(x.returned(reading).err, syscall.ECONNRESET)
			x.expect("", errEOF)
			if s := x.link.Stats(); s.Resets != 1 || s.Abandoned != 8 || s.Open != 1 {
				t.Errorf("stats %+v", s)
			}
			go func() { _, _ = server.Write([]byte("fine")) }()
			if _, err := io.ReadFull(second, make([]byte, 4)); err != nil {
				t.Errorf("a later connection: %v", err)
			}
		})
	})
	t.Run("keeps deadlines, and a full buffer blocks", func(t *testing.T) {
		bubble(t, func(x *fixture) {
			x.broker.listen()
			x.impair(faults.Impairment{HalfOpen: true})
			_ = x.client.SetDeadline(x.start.Add(5 * time.Second))
			_, err := x.client.Read(make([]byte, 1))
			x.fails(err, os.ErrDeadlineExceeded)
			x.took(5 * time.Second)
			_ = x.client.SetDeadline(x.start.Add(10 * time.Second))
			n, err := x.client.Write(text(sendBuffer + 1))
			x.fails(err, os.ErrDeadlineExceeded)
			if n != sendBuffer {
				t.Errorf("%d bytes were taken", n)
			}
			x.took(10 * time.Second)
			x.expect("", nil)
		})
	})
	t.Run("the client's Close vanishes too", func(t *testing.T) {
		bubble(t, func(x *fixture) {
			x.broker.listen()
			reading := x.readOne()
			x.blocked(reading)
			end := x.impair(faults.Impairment{HalfOpen: true})
			x.write([]byte("vanishes"))
			_ = x.client.Close()
			x.took(0)
			x.fails(x.returned(reading).err, net.ErrClosed)
			x.returned(x.send(text(3 * sendBuffer))) // nobody lets the broker wait
			x.at(10 * time.Minute)
			x.expect("", nil)
			end()
			x.expect("", errEOF)
		})
	})
	t.Run("the broker's Close is not seen", func(t *testing.T) {
		bubble(t, func(x *fixture) {
			end := x.impair(faults.Impairment{HalfOpen: true})
			_ = x.broker.conn.Close()
			reading := x.readOne()
			x.at(time.Minute)
			x.blocked(reading)
			x.write([]byte("vanishes"))
			end()
			x.fails(x.returned(reading).err, syscall.ECONNRESET)
		})
	})
	t.Run("across a cut", func(t *testing.T) {
		bubble(t, func(x *fixture) {
			x.broker.listen()
			x.link.Cut(faults.Both)
			x.write([]byte("queued"))
			end := x.impair(faults.Impairment{HalfOpen: true})
			x.link.Heal()
			x.at(time.Minute)
			x.expect("", nil)
			end()
			x.expect("", errEOF)
		})
	})
	t.Run("with a write inside the lower connection", func(t *testing.T) {
		bubble(t, func(x *fixture) {
			done := run(func() (int, error) { return x.client.Write([]byte("flying")) })
			x.blocked(done)
			x.impair(faults.Impairment{HalfOpen: true})
			_ = x.client.Close()
			x.fails(x.returned(done).err, net.ErrClosed)
		})
	})
	t.Run("of an orphan", func(t *testing.T) {
		bubble(t, func(x *fixture) {
			x.broker.listen()
			x.link.Cut(faults.Both)
			x.write([]byte("queued"))
			_ = x.client.Close()
			x.impair(faults.Impairment{HalfOpen: true})
			x.link.Heal()
			x.at(orphanTimeout + time.Minute)
			x.expect("", nil)
			x.link.Reset()
			x.expect("", errEOF)
		})
	})
}
