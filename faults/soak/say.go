package soak

import (
	"eostop/runtime/journal"
)

// eosTestClosed is what a client of Kafka's tests of exactly-once says last.
const eosTestClosed = "EOS-TEST-CLIENT-CLOSED"

// teller says what a talking program's client says of itself, in the order in which it happens. It belongs to the session's goroutine.
type teller struct {
	say  func(line string) // nil = nobody listens
	told uint64            // number of the last event that was looked at
}

// tell says which states the instances have taken since the last call.
func (t *teller) tell(j *journal.Journal) {
	if t.say == nil {
		return
	}
	events, _ := j.Since(t.told)
	for _, e := range events {
		t.told = e.Seq
		if e.Kind == journal.KindClientState {
			t.say("StateChange: " + e.From + " -> " + e.To)
		}
	}
}

// close says that all instances have closed.
func (t *teller) close(j *journal.Journal) {
	if t.say == nil {
		return
	}
	t.tell(j)
	t.say(eosTestClosed)
}
