package soak

import (
	"slices"
	"time"
)

// RecoveryStep is one of the steps in which a group gets over a cut.
type RecoveryStep struct {
	Name      string // detected, expelled, taken over, rejoined, restored, recovered or caught up
	AfterHeal bool   // its time counts from the heal, else from the start of the cut
	took      func(*Cut) time.Duration
}

// RecoverySteps lists the steps in the order in which they come.
func RecoverySteps() []RecoveryStep {
	return []RecoveryStep{
		{"detected", false, func(c *Cut) time.Duration { return between(c.Start, c.Detected) }},
		{"expelled", false, func(c *Cut) time.Duration { return between(c.Start, c.Away) }},
		{"taken over", false, func(c *Cut) time.Duration { return c.Takeover }},
		{"rejoined", true, func(c *Cut) time.Duration { return between(c.Healed, c.Rejoined) }},
		{"restored", true, func(c *Cut) time.Duration { return between(c.Healed, c.Restored) }},
		{"recovered", true, func(c *Cut) time.Duration { return c.Recovered }},
		{"caught up", true, func(c *Cut) time.Duration { return between(c.Healed, c.CaughtUp) }},
	}
}

// Took returns how long the step took after a cut; below 0 if it did not come.
func (s RecoveryStep) Took(c *Cut) time.Duration { return s.took(c) }

// Times returns how long the step took after each cut after which it came, in ascending order.
func (s RecoveryStep) Times(cuts []Cut) []time.Duration {
	var times []time.Duration
	for i := range cuts {
		if d := s.took(&cuts[i]); d >= 0 {
			times = append(times, d)
		}
	}
	slices.Sort(times)
	return times
}

// between is the time between two moments; below 0 if one of them has not come.
func between(from, to time.Time) time.Duration {
	if from.IsZero() || to.IsZero() {
		return -1
	}
	return to.Sub(from)
}

// ReportRecovery says how the group got over the cuts of a run. A step that no cut came to is absent.
type ReportRecovery struct {
	Detected  *ReportSpread `json:"detected_ms,omitempty"`
	Expelled  *ReportSpread `json:"expelled_ms,omitempty"`
	Takeover  *ReportSpread `json:"takeover_ms,omitempty"`
	Rejoined  *ReportSpread `json:"rejoined_ms,omitempty"`
	Restored  *ReportSpread `json:"restored_ms,omitempty"`
	Recovered *ReportSpread `json:"recovered_ms,omitempty"`
	CaughtUp  *ReportSpread `json:"caught_up_ms,omitempty"`

	RestoredRecords     int64 `json:"restored_records"`
	AbortedTransactions int64 `json:"aborted_transactions"`
	ReplayedRecords     int64 `json:"replayed_records"`
}

// ReportSpread is how long a step took after the cuts of a run, in milliseconds.
type ReportSpread struct {
	Count int   `json:"count"` // of the cuts after which it came
	P50   int64 `json:"p50"`
	P90   int64 `json:"p90"`
	Max   int64 `json:"max"`
}

func recoveryOf(cuts []Cut) *ReportRecovery {
	if len(cuts) == 0 {
		return nil
	}
	r := &ReportRecovery{}
	spreads := []**ReportSpread{&r.Detected, &r.Expelled, &r.Takeover, &r.Rejoined, &r.Restored, &r.Recovered, &r.CaughtUp}
	for i, step := range RecoverySteps() {
		if times := step.Times(cuts); len(times) > 0 {
			*spreads[i] = &ReportSpread{
				Count: len(times), P50: Percentile(times, 50).Milliseconds(), P90: Percentile(times, 90).Milliseconds(), Max: times[len(times)-1].Milliseconds(),
			}
		}
	}
	for i := range cuts {
		r.RestoredRecords += cuts[i].RestoredRecords
		r.AbortedTransactions += cuts[i].AbortedTransactions
		r.ReplayedRecords += cuts[i].ReplayedRecords
	}
	return r
}

// Percentile returns the smallest of some values in ascending order that so many of a hundred do not exceed. There must be one.
func Percentile[T any](sorted []T, percent int) T {
	return sorted[(len(sorted)*percent+99)/100-1]
}
