package faults_test

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"eostop/faults"
)

func TestJitter(t *testing.T) {
	arrivals := func(seed uint64) (times []time.Duration) {
		bubble(t, func(x *fixture) {
			x.impair(faults.Impairment{Direction: faults.Out, Delay: 100 * time.Millisecond, Jitter: time.Second, Seed: seed})
			done := make(chan string)
			go func() {
				var got strings.Builder
				for range 50 {
					b := make([]byte, 1)
					if _, err := io.ReadFull(x.broker.conn, b); err != nil {
						break
					}
					got.Write(b)
					times = append(times, time.Since(x.start))
				}
				done <- got.String()
			}()
			want := string(text(50))
			for i := range want {
				x.write([]byte(want[i : i+1]))
				x.at(time.Duration(i+1) * 10 * time.Millisecond)
			}
			if got := <-done; got != want {
				t.Errorf("%q arrived, want %q", got, want)
			}
		})
		return times
	}
	one, other := arrivals(7), arrivals(8)
	spread := time.Duration(0)
	for i, at := range one {
		lag := at - time.Duration(i)*10*time.Millisecond
		if lag < 100*time.Millisecond || lag > 1100*time.Millisecond {
			t.Errorf("byte %d was under way for %v", i, lag)
		}
		spread = max(spread, lag-100*time.Millisecond)
	}
	if spread < 500*time.Millisecond {
		t.Errorf("the jitter was at most %v", spread)
	}
	same := true
	for i := range one {
		same = same && one[i] == other[i]
	}
	if same {
		t.Error("two seeds jitter alike")
	}
	for i, at := range arrivals(7) {
		if one[i] != at {
			t.Fatal("the same seed does not repeat")
		}
	}
}

func TestThrottle(t *testing.T) {
	t.Run("out, and a full buffer blocks", func(t *testing.T) {
		bubble(t, func(x *fixture) {
			x.broker.listen()
			x.impair(faults.Impairment{Direction: faults.Out, Rate: 64 << 10})
			big := text(sendBuffer + 64<<10)
			x.write(big)
			// All but a full buffer has passed.
			if d := time.Since(x.start); d < 900*time.Millisecond || d > 1100*time.Millisecond {
				t.Errorf("a write took %v, want about 1s", d)
			}
			x.at(4900 * time.Millisecond)
			x.broker.mu.Lock()
			got := x.broker.got.Len()
			x.broker.mu.Unlock()
			if want := 49 * 64 * 1024 / 10; got < want-2000 || got > want+2000 {
				t.Errorf("%d bytes passed in 4.9s, want about %d", got, want)
			}
			x.at(5100 * time.Millisecond)
			x.expect(string(big), nil)
		})
	})
	t.Run("in, and the broker blocks", func(t *testing.T) {
		bubble(t, func(x *fixture) {
			x.impair(faults.Impairment{Direction: faults.In, Rate: 100_000})
			big := text(3 * sendBuffer)
			sent := x.send(big)
			x.blocked(sent)
			x.read(string(big))
			d := time.Since(x.start).Seconds()
			if want := float64(len(big)) / 100_000; d < want-0.1 || d > want+0.1 {
				t.Errorf("%d bytes took %.2fs, want about %.2fs", len(big), d, want)
			}
			x.returned(sent)
		})
	})
	t.Run("is shared by the connections", func(t *testing.T) {
		bubble(t, func(x *fixture) {
			x.impair(faults.Impairment{Direction: faults.Out, Rate: 100_000})
			client, server := x.connect("broker:9093")
			for _, c := range []net.Conn{x.client, client} {
				if _, err := c.Write(text(100_000)); err != nil {
					t.Fatal(err)
				}
			}
			for _, s := range []net.Conn{x.broker.conn, server} {
				go func() { _, _ = io.Copy(io.Discard, s) }()
			}
			x.at(1900 * time.Millisecond)
			for _, c := range []net.Conn{x.client, client} {
				_ = c.Close()
			}
			x.at(1950 * time.Millisecond)
			if open := x.link.Stats().Open; open == 0 {
				t.Error("200 kB passed in less than 2s")
			}
			x.at(2100 * time.Millisecond)
			if open := x.link.Stats().Open; open != 0 {
				t.Errorf("%d connections have something left after 2.1s", open)
			}
		})
	})
	t.Run("changes while a write waits", func(t *testing.T) {
		bubble(t, func(x *fixture) {
			x.broker.listen()
			end := x.impair(faults.Impairment{Direction: faults.Out, Rate: 1})
			big := text(2 * sendBuffer)
			done := run(func() (int, error) { return x.client.Write(big) })
			x.at(time.Minute)
			x.blocked(done)
			end()
			x.returned(done)
			x.expect(string(big), nil)
			x.took(time.Minute)
		})
	})
}
