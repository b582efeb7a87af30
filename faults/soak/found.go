package soak

import (
	"slices"
	"time"

	"eostop/faults/verify"
	"eostop/runtime"
)

// ReportFound says when a run was first known to have failed, and by what.
type ReportFound struct {
	AtMS    int64  `json:"at_ms"`   // from the first moment when all threads were RUNNING
	Records int64  `json:"records"` // that had come in by then
	By      string `json:"by"`      // the kind of the first witness, "thread died", or "unprocessed"
}

// ByDeath and ByDrain are what a failed run was found by, where it was no witness.
const (
	ByDeath = "thread died" // of an error that it should have survived
	ByDrain = "unprocessed" // what was still there when the drain deadline passed
)

// noteFound notes the first sign that the run has failed.
func (e *experiment) noteFound(now time.Time, snap *Snapshot) {
	if e.outcome.Found != nil || e.began.IsZero() {
		return
	}
	var by string
	switch {
	case snap.ThreadsDied > 0 && slices.ContainsFunc(e.s.members, func(m *member) bool {
		deaths, _ := m.instance.Deaths()
		return slices.ContainsFunc(deaths, func(d runtime.ThreadDeath) bool { return survivable(&d) })
	}):
		by = ByDeath
	case snap.Verify.Verdict == verify.Violation && len(snap.Verify.Witnesses) > 0:
		by = slices.MinFunc(snap.Verify.Witnesses, func(a, b verify.Witness) int { return a.At.Compare(b.At) }).Kind
	case len(e.outcome.Violations) > 0:
		by = ByDrain
	default:
		return
	}
	e.outcome.Found = &ReportFound{AtMS: now.Sub(e.began).Milliseconds(), Records: snap.In, By: by}
}
