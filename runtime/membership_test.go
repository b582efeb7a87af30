package runtime

import (
	"slices"
	"strings"
	"testing"
	"time"

	"eostop/runtime/journal"
)

func TestClaims(t *testing.T) {
	m := newTestThread(t, twoStepTopology(t, 0, nil), nil).member
	if c := m.claimed(); len(c.active)+len(c.standby) != 0 {
		t.Errorf("claims %+v before anything was assigned", c)
	}
	m.claim([]TaskID{{0, 1}}, []TaskID{{1, 2}})
	if c := m.claimed(); !slices.Equal(c.active, []TaskID{{0, 1}}) || !slices.Equal(c.standby, []TaskID{{1, 2}}) {
		t.Errorf("claims %+v", c)
	}
	m.claim(nil, nil)
	if c := m.claimed(); len(c.active)+len(c.standby) != 0 {
		t.Errorf("claims %+v after everything was lost", c)
	}
}

// TestSubscriptionFollowsTheGuarantee: the leader must know under which ids a member may leave a transaction open.
func TestSubscriptionFollowsTheGuarantee(t *testing.T) {
	m := newTestThread(t, twoStepTopology(t, 0, nil), nil).member
	m.claim([]TaskID{{0, 1}, {1, 2}}, []TaskID{{1, 0}})
	own := "app-" + m.thread.instance.directory.ProcessID() + "-1"
	tests := []struct {
		guarantee Guarantee
		txn       string
		ids       []string
	}{
		{ExactlyOnceV2, own, []string{own}},
		{ExactlyOnce, "", []string{"app-0_1", "app-1_2"}},
		{AtLeastOnce, "", nil},
	}
	for _, test := range tests {
		m.thread.instance.cfg.Guarantee = test.guarantee
		s := m.subscription()
		if s.Guarantee != test.guarantee || s.TransactionalID != test.txn || !slices.Equal(s.TransactionalIDs, test.ids) {
			t.Errorf("%s: got %q, %q, %v", test.guarantee, s.Guarantee, s.TransactionalID, s.TransactionalIDs)
		}
	}
}

// TestSubscriptionRemembersTheAssignment: what a member was promised, and that there were members with a producer for each task.
func TestSubscriptionRemembersTheAssignment(t *testing.T) {
	m := newTestThread(t, twoStepTopology(t, 0, nil), nil).member
	if s := m.subscription(); s.PerTask || len(s.Promised) != 0 {
		t.Errorf("got %+v before any assignment", s)
	}
	m.receive(&assignment{Version: 2, ExactlyOnce: true, Promised: []TaskID{{0, 1}}, PromisedStandby: []TaskID{{1, 1}}})
	if s := m.subscription(); !s.PerTask || !slices.Equal(s.Promised, []TaskID{{0, 1}}) || !slices.Equal(s.PromisedStandby, []TaskID{{1, 1}}) {
		t.Errorf("got %+v", s)
	}
	m.receive(&assignment{Version: 2, PerTask: true}) // there were, and are no more
	if s := m.subscription(); s.PerTask || len(s.Promised)+len(s.PromisedStandby) != 0 {
		t.Errorf("got %+v", s)
	}
}

// TestProbing: the followup rebalance is asked for once, at its time, and each assignment says anew when that is.
func TestProbing(t *testing.T) {
	thread := newTestThread(t, twoStepTopology(t, 0, nil), nil)
	thread.instance.env.Journal = journal.New(10)
	m := thread.member
	now := time.UnixMilli(1_700_000_000_000)
	if m.probing.Load() != 0 || m.maybeProbe(now) {
		t.Error("probing without an assignment")
	}
	m.receive(&assignment{Version: 2, Probing: now.UnixMilli()})
	if m.probing.Load() != now.UnixMilli() {
		t.Errorf("next at %v, want %v", m.probing.Load(), now)
	}
	if m.maybeProbe(now.Add(-time.Millisecond)) {
		t.Error("too early")
	}
	if !m.maybeProbe(now.Add(-thread.instance.cfg.ProbingInterval - time.Millisecond)) {
		t.Error("the clock was set back: put off for longer than the interval")
	}
	m.receive(&assignment{Version: 2, Probing: now.UnixMilli()})
	thread.instance.env.Journal = journal.New(10)
	nonce := m.nonce.Load()
	if !m.maybeProbe(now) || m.maybeProbe(now) {
		t.Error("want it once")
	}
	if m.nonce.Load() == nonce {
		t.Error("no rebalance was asked for")
	}
	events := thread.instance.env.Journal.Tail(10)
	if len(events) != 1 || events[0].Text != "Triggering the followup rebalance scheduled for 2023-11-14T22:13:20Z." || events[0].Kind != journal.KindGroup {
		t.Errorf("got %+v", events)
	}
	m.receive(&assignment{Version: 2, Probing: now.UnixMilli()})
	m.receive(&assignment{Version: 2})
	if m.probing.Load() != 0 || m.maybeProbe(now) {
		t.Error("a newer assignment does not ask for it")
	}
}

func TestRequestShutdown(t *testing.T) {
	m := newTestThread(t, twoStepTopology(t, 0, nil), nil).member
	if m.subscription().Shutdown {
		t.Error("the end was asked for by nobody")
	}
	nonce := m.nonce.Load()
	m.requestShutdown()
	if s := m.subscription(); !s.Shutdown || s.Nonce == nonce {
		t.Errorf("got %+v", s)
	}
	if !strings.Contains(string(encodeUserData(m.subscription())), `"shutdown":true`) {
		t.Error("the leader is not told")
	}
}
