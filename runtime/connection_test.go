package runtime

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// wire plays the hooks of a client against a monitor.
type wire struct{ *connectionMonitor }

func (w wire) dial(err error) { w.OnBrokerConnect(kgo.BrokerMetadata{}, 0, nil, err) }

func (w wire) write(err error) {
	w.OnBrokerWrite(kgo.BrokerMetadata{}, kmsg.Fetch.Int16(), 10, 0, 0, err)
	if err != nil {
		w.OnBrokerE2E(kgo.BrokerMetadata{}, kmsg.Fetch.Int16(), kgo.BrokerE2E{WriteErr: err})
	}
}

func (w wire) answer(key kmsg.Key, err error) {
	w.OnBrokerE2E(kgo.BrokerMetadata{}, key.Int16(), kgo.BrokerE2E{ReadErr: err})
}

func (w wire) request() {
	w.write(nil)
	w.answer(kmsg.Fetch, nil)
}

func (w wire) connected(t *testing.T, when string) {
	t.Helper()
	if since := w.disconnectedSince(time.Now()); !since.IsZero() {
		t.Errorf("%s: disconnected since %v, want connected", when, since)
	}
}

func (w wire) disconnected(t *testing.T, when string, since time.Time) {
	t.Helper()
	if got := w.disconnectedSince(time.Now()); !got.Equal(since) {
		t.Errorf("%s: disconnected since %v, want since %v", when, got, since)
	}
}

func TestMonitorSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wire{new(connectionMonitor)}
		w.connected(t, "new")
		w.dial(nil)
		w.request()
		time.Sleep(time.Hour)
		w.connected(t, "idle for an hour")

		w.write(nil)
		asked := time.Now()
		w.connected(t, "just asked")
		time.Sleep(silence - time.Nanosecond)
		w.connected(t, "shortly before the limit")
		time.Sleep(time.Nanosecond)
		w.disconnected(t, "at the limit", asked)
		w.write(nil)
		time.Sleep(time.Minute)
		w.disconnected(t, "a minute later, after another request", asked)

		w.answer(kmsg.Fetch, nil)
		w.connected(t, "one answer")
		heard := time.Now()
		time.Sleep(silence)
		w.disconnected(t, "the other answer is still owed", heard)
		w.answer(kmsg.Fetch, nil)
		w.connected(t, "both answers")
		time.Sleep(time.Hour)
		w.connected(t, "idle again")
	})
}

// TestMonitorBusy: with requests always outstanding, what counts is the last byte that came.
func TestMonitorBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wire{new(connectionMonitor)}
		w.write(nil)
		for range 10 {
			w.write(nil)
			time.Sleep(silence * 3 / 4)
			w.connected(t, "busy")
			w.answer(kmsg.Produce, nil)
		}
		heard := time.Now()
		time.Sleep(silence)
		w.disconnected(t, "silent", heard)
	})
}

// TestMonitorNeverHeard: a request that was never answered by anybody.
func TestMonitorNeverHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wire{new(connectionMonitor)}
		w.dial(nil)
		w.write(nil)
		asked := time.Now()
		time.Sleep(silence)
		w.disconnected(t, "silent", asked)
		w.answer(kmsg.Fetch, errors.New("reset"))
		w.disconnected(t, "the connection has ended, nothing is owed, but nobody has been heard of", asked)
		w.request()
		w.connected(t, "answered")
	})
}

// TestMonitorFailedRequests: what could not be written or read is not waited for, and is no sign of life.
func TestMonitorFailedRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wire{new(connectionMonitor)}
		w.write(errors.New("broken pipe"))
		w.write(nil)
		w.answer(kmsg.Fetch, errors.New("reset"))
		if n := w.outstanding.Load(); n != 0 {
			t.Errorf("%d requests are outstanding, want none", n)
		}
		if at := w.lastRead.Load(); at != 0 {
			t.Error("a failed read counts as a sign of life")
		}
		time.Sleep(time.Minute)
		w.connected(t, "nothing is owed")
	})
}

func TestMonitorDials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wire{new(connectionMonitor)}
		refused := errors.New("connection refused")
		w.dial(refused)
		first := time.Now()
		w.connected(t, "one failure")
		time.Sleep(silence / 2)
		w.dial(refused)
		w.connected(t, "two failures")
		time.Sleep(silence / 2)
		w.disconnected(t, "failing for long enough", first)
		w.dial(nil)
		w.connected(t, "connected")

		w.dial(refused)
		second := time.Now()
		time.Sleep(silence)
		w.disconnected(t, "failing again", second)
		w.request()
		w.connected(t, "another broker answers")
	})
}

// TestMonitorDialAfterIdle: a thread that had nothing to ask for a while has not been disconnected for that while.
func TestMonitorDialAfterIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wire{new(connectionMonitor)}
		w.request()
		time.Sleep(time.Minute)
		w.dial(errors.New("connection refused"))
		failed := time.Now()
		w.connected(t, "the first dial after a minute without requests has failed")
		time.Sleep(silence)
		w.disconnected(t, "failing for long enough", failed)
	})
}

func TestMonitorHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wire{new(connectionMonitor)}
		if at := w.lastHeartbeat(); !at.IsZero() {
			t.Errorf("heartbeat at %v, want none", at)
		}
		w.write(nil)
		w.answer(kmsg.SyncGroup, nil)
		synced := time.Now()
		time.Sleep(time.Second)
		w.request()
		w.write(nil)
		w.answer(kmsg.Heartbeat, errors.New("reset"))
		if at := w.lastHeartbeat(); !at.Equal(synced) {
			t.Errorf("heartbeat at %v, want %v", at, synced)
		}
		w.write(nil)
		w.answer(kmsg.Heartbeat, nil)
		if at := w.lastHeartbeat(); !at.Equal(time.Now()) {
			t.Errorf("heartbeat at %v, want now", at)
		}
	})
}
