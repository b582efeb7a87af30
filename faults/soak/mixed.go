package soak

import (
	"fmt"
	"strings"
	"time"

	"eostop/faults"
)

// What a mixed schedule answers requests with: for each API the error codes that a broker may answer it with, and that a producer
// or a member has to survive.
var mixedErrors = []struct{ api, codes string }{
	{"Produce", fencing + " NOT_LEADER_FOR_PARTITION REQUEST_TIMED_OUT NOT_ENOUGH_REPLICAS CONCURRENT_TRANSACTIONS UNKNOWN_SERVER_ERROR"},
	{"AddPartitionsToTxn", fencing + " CONCURRENT_TRANSACTIONS " + coordination},
	{"AddOffsetsToTxn", fencing + " CONCURRENT_TRANSACTIONS " + coordination},
	{"TxnOffsetCommit", fencing + " ILLEGAL_GENERATION UNKNOWN_MEMBER_ID " + coordination},
	{"EndTxn", fencing + " CONCURRENT_TRANSACTIONS UNKNOWN_SERVER_ERROR " + coordination},
	{"InitProducerID", fencing + " CONCURRENT_TRANSACTIONS " + coordination},
	{"JoinGroup", "UNKNOWN_MEMBER_ID " + coordination},
	{"SyncGroup", "UNKNOWN_MEMBER_ID ILLEGAL_GENERATION REBALANCE_IN_PROGRESS " + coordination},
	{"Heartbeat", "UNKNOWN_MEMBER_ID ILLEGAL_GENERATION REBALANCE_IN_PROGRESS " + coordination},
	{"OffsetFetch", "UNSTABLE_OFFSET_COMMIT " + coordination},
	{"Fetch", "NOT_LEADER_FOR_PARTITION UNKNOWN_SERVER_ERROR"},
	{"FindCoordinator", "COORDINATOR_NOT_AVAILABLE"},
	{"ListOffsets", "NOT_LEADER_FOR_PARTITION"},
}

const (
	fencing = "PRODUCER_FENCED INVALID_PRODUCER_EPOCH INVALID_PRODUCER_ID_MAPPING UNKNOWN_PRODUCER_ID OUT_OF_ORDER_SEQUENCE_NUMBER " +
		"INVALID_TXN_STATE TRANSACTION_ABORTABLE"
	coordination = "COORDINATOR_LOAD_IN_PROGRESS COORDINATOR_NOT_AVAILABLE NOT_COORDINATOR"
)

// mixedPause is how far apart two faults of a mixed schedule are at most, in session time-outs.
const mixedPause = 1.2

// mixed does everything that can be survived, in any combination. Cuts and other faults overlap as chance will have it.
func (p *planner) mixed() {
	for _, instance := range p.Instances {
		for at := p.upTo(4 * p.SessionTimeout); at < p.end(); at += p.upTo(8 * p.SessionTimeout) {
			length := p.upTo(p.stormLength())
			p.cut(instance, at, length, p.direction())
			at += length
		}
	}
	pause := time.Duration(mixedPause * float64(p.SessionTimeout))
	for at := p.upTo(pause); at < p.end(); at += p.upTo(pause) {
		draws := 10
		if p.Nodes > 0 {
			draws = 13
		}
		switch n := p.rng.IntN(draws); {
		case n < 3:
			p.mixedError(at)
		case n < 5:
			p.mixedAnswer(at)
		case n < 8:
			p.mixedLink(at)
		case n < 10:
			p.fault(FaultStall, p.someone(), 1+p.rng.IntN(p.Threads), "", at, p.upTo(p.SessionTimeout*3/2))
		default:
			p.mixedBroker(at)
		}
	}
}

func (p *planner) fault(kind, instance string, thread int, keys string, start, length time.Duration) {
	p.script.Faults = append(p.script.Faults, FaultSpec{Kind: kind, Instance: instance, Thread: thread, Keys: keys, Start: start, Length: length})
}

// someone is an instance.
func (p *planner) someone() string { return p.Instances[p.rng.IntN(len(p.Instances))] }

// victim is an instance, or all of them.
func (p *planner) victim() string {
	if p.rng.IntN(4) == 0 {
		return ""
	}
	return p.someone()
}

func (p *planner) one(list string) string {
	words := strings.Fields(list)
	return words[p.rng.IntN(len(words))]
}

// mixedError answers a few requests with an error, in place of the broker or against what it has answered.
func (p *planner) mixedError(at time.Duration) {
	e := mixedErrors[p.rng.IntN(len(mixedErrors))]
	kind := faults.KindError
	if p.rng.IntN(4) == 0 {
		kind = faults.KindRewrite
	}
	keys := fmt.Sprintf("api=%s,code=%s,count=%d,probability=%.1f", e.api, p.one(e.codes), 1+p.rng.IntN(4), float64(3+p.rng.IntN(7))/10)
	p.fault(kind, p.victim(), 0, keys, at, p.upTo(p.SessionTimeout))
}

// mixedAnswer loses or delays requests and answers.
func (p *planner) mixedAnswer(at time.Duration) {
	api := mixedErrors[p.rng.IntN(len(mixedErrors))].api
	often := 1 + p.rng.IntN(3)
	late := p.upTo(p.SessionTimeout * 3 / 2)
	switch p.rng.IntN(5) {
	case 0:
		p.fault(faults.KindDropResponse, p.victim(), 0, fmt.Sprintf("api=%s,count=%d", api, often), at, p.upTo(p.SessionTimeout))
	case 1:
		p.fault(faults.KindDropResponse, p.victim(), 0, fmt.Sprintf("api=%s,count=%d,close=true", api, often), at, p.upTo(p.SessionTimeout))
	case 2:
		p.fault(faults.KindClose, p.victim(), 0, fmt.Sprintf("api=%s,count=%d", api, often), at, p.upTo(p.SessionTimeout))
	case 3:
		p.fault(faults.KindDelayResponse, p.victim(), 0, fmt.Sprintf("api=%s,count=%d,delay=%s", api, often, formatDuration(late)), at, p.upTo(p.SessionTimeout))
	default:
		p.fault(faults.KindHold, p.victim(), 0, fmt.Sprintf("api=%s,count=%d,delay=%s", api, often, formatDuration(late)), at, p.upTo(p.SessionTimeout))
	}
}

// mixedLink makes links slow, narrow or unreliable.
func (p *planner) mixedLink(at time.Duration) {
	length := p.upTo(2 * p.SessionTimeout)
	switch p.rng.IntN(6) {
	case 0:
		p.fault(faults.KindDelay, p.victim(), 0, "delay="+formatDuration(p.upTo(p.SessionTimeout/10)), at, length)
	case 1:
		p.fault(faults.KindJitter, p.victim(), 0, "jitter="+formatDuration(p.upTo(p.SessionTimeout/20)), at, length)
	case 2:
		p.fault(faults.KindThrottle, p.someone(), 0, fmt.Sprintf("rate=%dKiB", 16<<p.rng.IntN(4)), at, length)
	case 3:
		p.fault(faults.KindReset, p.victim(), 0, "", at, 0)
	case 4:
		p.fault(faults.KindReset, p.victim(), 0, fmt.Sprintf("rate=%.1f", float64(1+p.rng.IntN(30))/10), at, length)
	default:
		p.fault(faults.KindHalfOpen, p.someone(), 0, "", at, length)
	}
}

// mixedBroker does what brokers do.
func (p *planner) mixedBroker(at time.Duration) {
	length := p.upTo(p.SessionTimeout)
	several := 0
	if p.Nodes > 1 {
		several = 3
	}
	switch p.rng.IntN(4 + several) {
	case 0:
		p.fault(FaultSlowMarkers, "", 0, "delay="+formatDuration(p.upTo(p.SessionTimeout/20)), at, 3*length)
	case 1:
		p.fault(FaultSlowAborts, "", 0, "delay="+formatDuration(p.SessionTimeout), at, 3*length)
	case 2:
		p.fault(FaultCoordinatorLoad, "", 0, "", at, length/2)
	case 3:
		p.fault(FaultForgetProducers, "", 0, "", at, length)
	case 4:
		p.fault(FaultLeaderMove, "", 0, "", at, 0)
	case 5:
		p.fault(FaultCoordinatorMove, "", 0, "", at, 0)
	default:
		node := fmt.Sprintf("node=%d", p.rng.IntN(p.Nodes))
		if at < p.restarted { // what is down cannot go down, and the last node that runs must not
			p.fault(FaultLeaderMove, "", 0, "", at, 0)
			return
		}
		p.fault(FaultBrokerRestart, "", 0, node, at, length)
		p.restarted = at + length + time.Second // it comes up a little late
	}
}
