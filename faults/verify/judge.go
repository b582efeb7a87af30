package verify

import (
	"cmp"
	"fmt"
	"slices"
)

// Kinds of witnesses.
const (
	KindDuplicate     = "duplicate"
	KindLost          = "lost"
	KindOutOfOrder    = "out_of_order"
	KindWrongValue    = "wrong_value"
	KindUnexpected    = "unexpected"
	KindStateMismatch = "state_mismatch"
	KindAbortedRead   = "aborted_read"
	KindTorn          = "torn"
	KindMerged        = "merged"
	KindZombieWrite   = "zombie_write"
	KindHanging       = "hanging"
	// KindOffset is a committed offset that the log does not have.
	KindOffset = "offset_out_of_range"
)

// maxWitnesses bounds Status.Witnesses; the counters go on.
const maxWitnesses = 100

// judge keeps what was found and turns it into a Status.
type judge struct {
	atLeastOnce bool // duplicates are no violation

	in, processed, pending, out       int64
	duplicated, lost, outOfOrder      int64
	wrong, unexpected                 int64
	abortedRead, torn, zombies        int64
	stores, digestChecked, digestDiff int64
	hung, offsets                     int64
	merged, uncovered                 int64

	latency   histogram
	hanging   []Witness // transactions, as of now
	witnesses []Witness
	doubts    []string // why the verdict cannot be clean
	waiting   string   // what the verifier waits for, empty = nothing
	final     bool
}

// add counts a finding and keeps it as a witness while there is room. It returns the witness's index, -1 without one.
func (j *judge) add(w Witness) int {
	switch w.Kind {
	case KindDuplicate:
		j.duplicated++
		if j.atLeastOnce {
			return -1
		}
	case KindLost:
		j.lost++
	case KindOutOfOrder:
		j.outOfOrder++
	case KindWrongValue:
		j.wrong++
	case KindUnexpected:
		j.unexpected++
	case KindStateMismatch:
		j.digestDiff++
	case KindAbortedRead:
		j.abortedRead++
	case KindTorn:
		j.lost++
		j.torn++
	case KindMerged:
		j.merged++
	case KindZombieWrite:
		j.zombies++
	case KindHanging:
		j.hung++
	case KindOffset:
		j.offsets++
	}
	return j.keep(w)
}

// uncover counts a transaction with effects of inputs that its offsets do not cover.
func (j *judge) uncover(w Witness) {
	j.uncovered++
	j.keep(w)
}

func (j *judge) keep(w Witness) int {
	if len(j.witnesses) == maxWitnesses {
		return -1
	}
	j.witnesses = append(j.witnesses, w)
	return len(j.witnesses) - 1
}

// found turns a lost output into one out of order, because it came after all, or into the witness of a merged transaction. The index is
// that of add.
func (j *judge) found(witness int, as Witness) {
	j.lost--
	if as.Kind == KindMerged {
		j.merged++
	} else {
		j.outOfOrder++
	}
	if witness < 0 {
		return
	}
	// Statuses that were handed out share the slice.
	j.witnesses = slices.Clone(j.witnesses)
	w := &j.witnesses[witness]
	if w.Kind == KindTorn {
		j.torn--
	}
	as.Input = cmp.Or(as.Input, w.Input)
	*w = as
}

// doubt notes why the verdict cannot be clean; the same reason counts once.
func (j *judge) doubt(format string, args ...any) {
	if s := fmt.Sprintf(format, args...); !slices.Contains(j.doubts, s) && len(j.doubts) < maxWitnesses {
		j.doubts = append(j.doubts, s)
	}
}

// status assembles an immutable picture.
func (j *judge) status() *Status {
	s := &Status{
		Verdict: Clean, Final: j.final, Waiting: j.waiting,
		In: j.in, Processed: j.processed, Out: j.out, Lag: j.pending,
		Duplicated: j.duplicated, Lost: j.lost, OutOfOrder: j.outOfOrder, Wrong: j.wrong, Unexpected: j.unexpected,
		Stores: j.stores, DigestChecked: j.digestChecked, DigestMismatch: j.digestDiff,
		Latency: j.latency.latency(),
		// Nothing writes to the elements in the shared part again.
		Witnesses: slices.Clip(j.witnesses),
	}
	violation := func(n int64, format string) {
		if n > 0 {
			s.Verdict = Violation
			s.Reasons = append(s.Reasons, fmt.Sprintf(format, n))
		}
	}
	violation(j.lost, "%d owed outputs are missing")
	if !j.atLeastOnce {
		violation(j.duplicated, "%d outputs repeat the effect of an input")
	}
	violation(j.digestDiff, "%d store partitions differ from their changelog or from the model")
	violation(j.wrong, "%d outputs differ from the model")
	violation(j.outOfOrder, "%d outputs are out of order within their key")
	violation(j.unexpected, "%d outputs have no input that owes them")
	violation(j.abortedRead, "%d outputs were made of inputs that were aborted")
	violation(j.torn, "%d of the missing outputs were aborted, though the group has gone on")
	violation(j.merged, "%d outputs joined a later transaction of their producer")
	violation(j.uncovered, "%d transactions hold outputs of inputs that the group has not committed")
	violation(j.zombies, "%d outputs were committed by producers that had been fenced or expelled")
	violation(j.hung, "%d transactions hang")
	violation(j.offsets, "%d committed offsets are not in their logs")
	if s.Verdict == Clean && len(j.doubts)+len(j.hanging) > 0 {
		s.Verdict = Unknown
	}
	for _, w := range j.hanging {
		s.Witnesses, s.Reasons = append(s.Witnesses, w), append(s.Reasons, w.Detail)
	}
	s.Reasons = append(s.Reasons, j.doubts...)
	return s
}
