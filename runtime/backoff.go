package runtime

import (
	"fmt"
	"time"
)

// backoff paces the repetitions of a step that has failed. Its zero value has not failed yet.
type backoff struct {
	at    time.Time // of the next try; zero = now
	n     int       // failures in a row
	since time.Time // of the first of them that counts towards the task time-out
}

// waiting reports whether the next try is still to come.
func (b *backoff) waiting(now time.Time) bool { return now.Before(b.at) }

// reset notes a success.
func (b *backoff) reset() { *b = backoff{} }

// pause postpones the next try without a failure.
func (b *backoff) pause(d time.Duration) { b.at = time.Now().Add(d) }

const (
	retryStep  = 50 * time.Millisecond // by which the pause grows with each failure
	retryLimit = time.Second
)

// TaskTimeoutError says that a step failed again and again for longer than the task time-out (KIP-572).
type TaskTimeoutError struct {
	Timeout time.Duration
	Err     error // the last failure
}

func (e *TaskTimeoutError) Error() string {
	return fmt.Sprintf("no progress for %v (task time-out), last: %v", e.Timeout, e.Err)
}

func (e *TaskTimeoutError) Unwrap() error { return e.Err }

// tryAgain notes a failure that a repetition may cure. It returns an error once that has gone on for the task time-out. Time
// in which no broker can be reached does not count: a partition may last as long as it likes. It may be called from any
// goroutine of the thread.
func (t *StreamThread) tryAgain(b *backoff, err error) error {
	now := time.Now()
	b.n++
	b.at = now.Add(min(retryLimit, time.Duration(b.n)*retryStep))
	if !t.monitor.disconnectedSince(now).IsZero() || b.since.IsZero() {
		b.since = now
	}
	if limit := t.instance.cfg.TaskTimeout; now.Sub(b.since) > limit {
		return &TaskTimeoutError{Timeout: limit, Err: err}
	}
	return nil
}
