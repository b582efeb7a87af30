package soak

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
	"time"

	"eostop/faults"
)

// Names of schedules.
const (
	ScheduleSoak     = "soak"      // each hour one instance is cut off for up to five minutes, each in turn
	ScheduleSoak2019 = "soak-2019" // the same, with what brokers and disks of 2019 did by themselves
	ScheduleStorm    = "storm"     // cuts of all instances, stalls of threads and wrong answers all the time
	ScheduleTimeouts = "timeouts"  // cuts, stalls and late answers that are longer than the transaction time-out
	ScheduleFlap     = "flap"      // each instance in turn loses its link fifty times in a row
	ScheduleMixed    = "mixed"     // cuts, slow links, lost and wrong answers, stalls, and what brokers do, all the time
	ScheduleScripted = "scripted"  // nothing but what is listed
)

// ScheduleNames returns the names that a schedule may have.
func ScheduleNames() []string {
	return []string{ScheduleSoak, ScheduleSoak2019, ScheduleStorm, ScheduleTimeouts, ScheduleFlap, ScheduleMixed, ScheduleScripted}
}

// openEnd is how long a schedule is planned ahead for a run without an end.
const openEnd = 7 * 24 * time.Hour

// Frame is all that a named schedule depends on.
type Frame struct {
	Seed           int64
	Length         time.Duration // of the load; 0 = without an end, and the schedule ends after a week
	Instances      []string
	Threads        int // of each instance
	SessionTimeout time.Duration
	Nodes          int // of the embedded broker; 0 on a real cluster, whose brokers are left alone
	// TransactionTimeout is after what time the broker aborts a transaction.
	TransactionTimeout time.Duration
}

func (c *Config) frame(seed int64) Frame {
	nodes := c.Cluster.Embedded.Nodes
	if len(c.Cluster.Brokers) > 0 {
		nodes = 0
	}
	return Frame{
		Seed: seed, Length: c.Load.Duration, Instances: c.InstanceNames(), Threads: c.Runtime.Threads,
		SessionTimeout: c.Runtime.SessionTimeout, Nodes: nodes, TransactionTimeout: c.Runtime.TransactionTimeout,
	}
}

// Schedule returns the script of a named schedule: the same one for the same frame, whenever and wherever it is called.
func Schedule(name string, f Frame) (Script, error) {
	if f.Length <= 0 {
		f.Length = openEnd
	}
	if name == ScheduleSoak2019 {
		script, err := Schedule(ScheduleSoak, f)
		script.Faults = append(script.Faults, surroundings(f)...)
		script.sort()
		return script, err
	}
	// The name takes part, so that schedules of one seed have nothing in common with each other and with the load.
	h := fnv.New64a()
	_, _ = h.Write([]byte(name)) // never fails
	p := &planner{Frame: f, rng: rand.New(rand.NewPCG(uint64(f.Seed), h.Sum64()))}
	switch name {
	case ScheduleSoak:
		p.soak()
	case ScheduleStorm:
		p.storm()
	case ScheduleTimeouts:
		p.timeouts()
	case ScheduleFlap:
		p.flap()
	case ScheduleMixed:
		p.mixed()
	case ScheduleScripted:
	default:
		return Script{}, fmt.Errorf("there is no schedule %q; valid: %s", name, strings.Join(ScheduleNames(), ", "))
	}
	p.script.sort()
	return p.script, nil
}

// planner makes up one schedule.
type planner struct {
	Frame
	rng       *rand.Rand
	script    Script
	restarted time.Duration // when the last restart of a node is over
}

// upTo draws a time above 0 and up to a limit, in milliseconds, so that scripts can be read.
func (p *planner) upTo(limit time.Duration) time.Duration {
	return time.Duration(1+p.rng.Int64N(max(1, limit.Milliseconds()))) * time.Millisecond
}

// end is when the last cut or fault may begin, so that the run outlives what follows from it.
func (p *planner) end() time.Duration {
	return p.Length - min(p.Length/4, 4*p.SessionTimeout)
}

func (p *planner) cut(instance string, start, length time.Duration, d faults.Direction) {
	p.script.Cuts = append(p.script.Cuts, CutSpec{Instance: instance, Start: start, Length: length, Direction: d})
}

func (p *planner) direction() faults.Direction {
	return []faults.Direction{faults.Both, faults.In, faults.Out}[p.rng.IntN(3)]
}

// soak is how KAFKA-9231 was found: about once an hour an instance is cut off for up to five minutes. Half of the cuts last
// them. A shorter run has one cut, of at most a quarter of it.
func (p *planner) soak() {
	hour := min(time.Hour, p.Length)
	longest := min(5*time.Minute, hour/4)
	for n := range int(p.Length / hour) {
		length := longest
		if p.rng.IntN(2) == 0 {
			length = p.upTo(longest)
		}
		// Not before the threads have settled down, and early enough to see the recovery within the hour.
		start := time.Duration(n)*hour + hour/8 + p.upTo(hour*3/4-length)
		p.cut(p.Instances[n%len(p.Instances)], start, length, faults.Both)
	}
}

// storm cuts each instance off again and again, lets threads stand still, and answers requests with errors. Half of the cuts and
// stalls are shorter than the session time-out, else almost every one would expel somebody. What happens to one instance overlaps
// with what happens to the others as chance will have it: so an answer is wrong also while somebody is expelled, or a record is lost
// while everything else of its transaction goes well.
func (p *planner) storm() {
	for _, instance := range p.Instances {
		for at := p.upTo(p.SessionTimeout * 3 / 2); at < p.end(); at += p.upTo(3 * p.SessionTimeout) {
			length := p.upTo(p.stormLength())
			p.cut(instance, at, length, p.direction())
			at += length
		}
	}
	for at := p.upTo(2 * p.SessionTimeout); at < p.end(); at += p.upTo(2 * p.SessionTimeout) {
		p.fault(FaultStall, p.someone(), 1+p.rng.IntN(p.Threads), "", at, p.upTo(p.stormLength()))
	}
	for at := p.upTo(p.SessionTimeout); at < p.end(); at += p.upTo(p.SessionTimeout) {
		p.mixedError(at)
	}
}

// stormLength is how long something lasts at most: long enough to be expelled, or too short for it.
func (p *planner) stormLength() time.Duration {
	if p.rng.IntN(2) == 0 {
		return p.SessionTimeout / 2
	}
	return p.SessionTimeout * 5 / 2
}

// timeouts lets the transaction of each instance in turn time out: it is cut off, one of its threads stands still, or the answer to
// its offsets comes late, which is what a stall between the offsets and the end of a transaction comes to. The client waits for that
// answer, so it is a little shorter than the time-out; the transaction is older.
func (p *planner) timeouts() {
	at := p.upTo(p.SessionTimeout / 2)
	for n := 0; at < p.end(); n++ {
		instance := p.Instances[n%len(p.Instances)]
		length := p.TransactionTimeout*3/2 + p.upTo(p.TransactionTimeout)
		switch (n / len(p.Instances)) % 3 {
		case 0:
			p.cut(instance, at, length, faults.Both)
		case 1:
			p.script.Faults = append(p.script.Faults, FaultSpec{Kind: FaultStall, Instance: instance, Thread: 1 + p.rng.IntN(p.Threads), Start: at, Length: length})
		default:
			p.script.Faults = append(p.script.Faults, FaultSpec{
				Kind: faults.KindDelayResponse, Instance: instance, Keys: joinKeys(map[string]string{"api": "TxnOffsetCommit", "delay": formatDuration(p.TransactionTimeout * 9 / 10)}), Start: at,
			})
		}
		at += length + 2*p.SessionTimeout + p.upTo(p.SessionTimeout)
	}
}

// flaps is how often a link is lost in a row.
const flaps = 50

// flap loses the link of an instance fifty times in a row, for up to three seconds and too short for the group to expel it.
// Then there is time to settle, and it is the next one's turn.
func (p *planner) flap() {
	longest := min(3*time.Second, p.SessionTimeout/3)
	at := p.SessionTimeout / 2
	for n := 0; at < p.end(); n++ {
		for i := 0; i < flaps && at < p.end(); i++ {
			length := p.upTo(longest)
			p.cut(p.Instances[n%len(p.Instances)], at, length, faults.Both)
			at += length + p.upTo(longest)
		}
		at += 3 * p.SessionTimeout
	}
}
