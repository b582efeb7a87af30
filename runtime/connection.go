package runtime

import (
	"net"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// silence is how long no byte may come from any broker, while a request is outstanding, before a thread shows DISCONNECTED.
const silence = 2 * time.Second

// connectionMonitor watches the requests of a thread's clients. The clients call it from their own goroutines.
type connectionMonitor struct {
	outstanding  atomic.Int64 // requests written and not answered
	waitingSince atomic.Int64 // Unix nanoseconds of the write that made outstanding positive
	lastRead     atomic.Int64 // Unix nanoseconds
	dialFailures atomic.Int64 // in a row
	failingSince atomic.Int64
	lost         atomic.Int64 // Unix nanoseconds since when the thread is cut off, as last seen; 0 = it is not
	heartbeat    atomic.Int64 // Unix nanoseconds of the last answered heartbeat or sync
}

var (
	_ kgo.HookBrokerConnect = (*connectionMonitor)(nil)
	_ kgo.HookBrokerWrite   = (*connectionMonitor)(nil)
	_ kgo.HookBrokerE2E     = (*connectionMonitor)(nil)
)

// OnBrokerConnect counts failed dials in a row.
func (m *connectionMonitor) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	if err == nil { // the broker has answered: the client asks for its versions first
		m.dialFailures.Store(0)
		m.lost.Store(0)
		return
	}
	if m.dialFailures.Load() == 0 {
		m.failingSince.Store(time.Now().UnixNano()) // before the count, which makes it count
	}
	m.dialFailures.Add(1)
}

// OnBrokerWrite notes that an answer is owed.
func (m *connectionMonitor) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, err error) {
	if err == nil && !waitsForOthers(key) && m.outstanding.Add(1) == 1 {
		m.waitingSince.Store(time.Now().UnixNano())
	}
}

// waitsForOthers reports whether the broker answers such a request only when other members of the group have moved, so that
// its silence says nothing.
func waitsForOthers(key int16) bool {
	return key == kmsg.JoinGroup.Int16() || key == kmsg.SyncGroup.Int16()
}

// OnBrokerE2E notes an answer, or that none will come.
func (m *connectionMonitor) OnBrokerE2E(_ kgo.BrokerMetadata, key int16, e2e kgo.BrokerE2E) {
	if e2e.WriteErr != nil {
		return
	}
	if !waitsForOthers(key) {
		m.outstanding.Add(-1)
	}
	if e2e.ReadErr != nil {
		return
	}
	now := time.Now().UnixNano()
	m.lastRead.Store(now)
	m.dialFailures.Store(0)
	m.lost.Store(0)
	if key == kmsg.Heartbeat.Int16() || key == kmsg.SyncGroup.Int16() {
		m.heartbeat.Store(now)
	}
}

// disconnectedSince returns since when no broker has been heard of, or the zero time while the thread is connected.
func (m *connectionMonitor) disconnectedSince(now time.Time) time.Time {
	// Only an answer ends it: between a request that was given up and the next dial nothing is outstanding.
	if lost := m.lost.Load(); lost > 0 {
		return time.Unix(0, lost)
	}
	since := m.silentSince(now)
	if !since.IsZero() {
		m.lost.Store(since.UnixNano())
	}
	return since
}

// silentSince looks for silence while an answer is owed, and for dials that fail.
func (m *connectionMonitor) silentSince(now time.Time) time.Time {
	last := m.lastRead.Load()
	if m.outstanding.Load() > 0 {
		since := max(last, m.waitingSince.Load())
		if since > 0 && now.UnixNano()-since >= int64(silence) {
			return time.Unix(0, since)
		}
	}
	if m.dialFailures.Load() > 0 {
		since := m.failingSince.Load()
		since = max(since, last)
		if since > 0 && now.UnixNano()-since >= int64(silence) {
			return time.Unix(0, since)
		}
	}
	return time.Time{}
}

// lastHeartbeat returns when the group coordinator answered last; zero if never.
func (m *connectionMonitor) lastHeartbeat() time.Time {
	if at := m.heartbeat.Load(); at > 0 {
		return time.Unix(0, at)
	}
	return time.Time{}
}
