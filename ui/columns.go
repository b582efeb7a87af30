package ui

import (
	"cmp"
	"strings"
	"time"

	"eostop/faults/soak"
	"eostop/runtime"
)

// compare orders numbers, texts and times' nanoseconds.
func compare[T cmp.Ordered](a, b T) int { return cmp.Compare(a, b) }

// by makes an order out of a key.
func by[T any, K cmp.Ordered](key func(t *T) K) func(v *view, a, b *T) int {
	return func(_ *view, a, b *T) int { return cmp.Compare(key(a), key(b)) }
}

// byTime orders by age: the zero time, which stands for never, comes last.
func byTime[T any](key func(t *T) time.Time) func(v *view, a, b *T) int {
	return func(_ *view, a, b *T) int {
		switch x, y := key(a), key(b); {
		case x.IsZero() && y.IsZero():
			return 0
		case x.IsZero():
			return 1
		case y.IsZero():
			return -1
		default:
			return y.Compare(x)
		}
	}
}

// now is the time that ages and count-downs refer to: that of the snapshot, so that a frozen view stands still.
func (v *view) now() time.Time { return v.snap.At }

// lastCut is the newest cut of an instance, nil when it never had one.
func (v *view) lastCut(instance string) *soak.Cut {
	for i := len(v.snap.Cuts) - 1; i >= 0; i-- {
		if v.snap.Cuts[i].Instance == instance {
			return &v.snap.Cuts[i]
		}
	}
	return nil
}

// eachThread calls f for all threads of all instances.
func (v *view) eachThread(f func(t *runtime.ThreadStatus)) {
	for i := range v.snap.Instances {
		for j := range v.snap.Instances[i].Threads {
			f(&v.snap.Instances[i].Threads[j])
		}
	}
}

// threadName is the full name where it fits, and instance-number where it does not.
func threadName(instance, name string, width int) string {
	if len(name) <= width {
		return name
	}
	if _, number, ok := strings.Cut(name, "-StreamThread-"); ok {
		return instance + "-" + number
	}
	return name
}

// stateStyle is the colour of a formal state of an instance, thread, task or store.
func (v *view) stateStyle(state string) sgr {
	switch state {
	case "RUNNING", "OPEN":
		return v.styles.ok
	case "DEAD", "ERROR", "PENDING_ERROR":
		return v.styles.bad
	case "CLOSED", "NOT_RUNNING":
		return v.styles.dim
	}
	return v.styles.warn
}

// unless draws zero faintly and anything else in a style, for counters that are zero when all is well.
func (v *view) unless(n int64, width int, st sgr) (string, sgr) {
	if n == 0 {
		return "0", v.styles.dim
	}
	return fitCount(n, width), st
}

// first returns the first of several wordings that fits, or else the last.
func first(room int, wordings ...string) string {
	for _, s := range wordings {
		if width(s) <= room {
			return s
		}
	}
	return wordings[len(wordings)-1]
}
