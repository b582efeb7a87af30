package soak

import (
	"fmt"
	"sync/atomic"
	"time"

	"eostop/faults"
)

// FaultClockJump sets the wall clock of instances forward or back.
const FaultClockJump = "clock-jump"

// keyBy says how far.
const keyBy = "by"

// wallClock is the wall clock of one instance.
type wallClock struct{ ahead atomic.Int64 } // of the machine's, nanoseconds

// now reads the clock. What it returns is no measure of how long something takes: it jumps.
func (c *wallClock) now() time.Time { return time.Now().Round(0).Add(time.Duration(c.ahead.Load())) }

// jump moves the clock until the returned function is called.
func (c *wallClock) jump(by time.Duration) (end func()) {
	c.ahead.Add(int64(by))
	return func() { c.ahead.Add(-int64(by)) }
}

// clockJump reads how far a fault sets clocks forward, or back if it is negative.
func clockJump(f FaultSpec) (time.Duration, error) {
	text, ok := f.values()[keyBy]
	if !ok {
		return 0, nil // which is missing, as the kind says
	}
	by, err := time.ParseDuration(text)
	if err != nil || by == 0 {
		return 0, fmt.Errorf("%s=%s is not how far a clock jumps; like %s=1h, or %s=-1h to set it back", keyBy, text, keyBy, keyBy)
	}
	return by, nil
}

// faultClock starts a fault of clocks.
func (e *experiment) faultClock(live *liveFault) {
	by, err := clockJump(live.FaultSpec)
	if err != nil {
		e.failed(live, err)
		return
	}
	var ends []func()
	for _, m := range e.s.members {
		if live.Instance == "" || live.Instance == m.name {
			ends = append(ends, m.clock.jump(by))
		}
	}
	if live.Length == 0 { // it has happened, and stays
		live.ended, live.over = time.Now(), true
		return
	}
	live.end = func() {
		for _, end := range ends {
			end()
		}
	}
}

// clockFaultKind describes the fault for the parser and for people.
func clockFaultKind() faultKind {
	return faultKind{FaultKind: faults.FaultKind{
		Name: FaultClockJump, Needs: []string{keyBy}, Takes: []string{keyInstance},
		Does:    "the wall clock of the instance is set forward, or back, and after LENGTH right again",
		Example: "clock-jump,instance=i1,by=-1h@10s+30s",
	}, place: onClock}
}
