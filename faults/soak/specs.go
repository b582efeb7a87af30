package soak

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"eostop/faults"
)

// maxSpecTime bounds the times in specs, so that sums of them cannot overflow.
const maxSpecTime = 10000 * time.Hour

// CutSpec plans one cut: the links of an instance pass nothing for a time.
type CutSpec struct {
	Instance  string
	Start     time.Duration // from the first moment when all threads are RUNNING
	Length    time.Duration
	Direction faults.Direction
}

// ParseCut reads INSTANCE@START+LENGTH[:both|in|out], e.g. i2@10s+15s or i1@30s+5m:in.
func ParseCut(text string) (CutSpec, error) {
	const form = "write INSTANCE@START+LENGTH[:both|in|out], like i2@10s+15s or i1@30s+5m:in"
	cut := CutSpec{Direction: faults.Both}
	rest := text
	if at := strings.LastIndexByte(rest, ':'); at >= 0 {
		var err error
		if cut.Direction, err = faults.ParseDirection(rest[at+1:]); err != nil {
			return CutSpec{}, fmt.Errorf("cut %q: %q is not a direction; valid: both, in, out", text, rest[at+1:])
		}
		rest = rest[:at]
	}
	instance, times, ok := strings.Cut(rest, "@")
	start, length, plus := strings.Cut(times, "+")
	if !ok || !plus || instance == "" {
		return CutSpec{}, fmt.Errorf("cut %q: %s", text, form)
	}
	if !namePattern.MatchString(instance) {
		return CutSpec{}, fmt.Errorf("cut %q: %q is not the name of an instance; %s", text, instance, form)
	}
	cut.Instance = instance
	var errStart, errLength error
	cut.Start, errStart = parseSpecTime("START", start, 0)
	cut.Length, errLength = parseSpecTime("LENGTH", length, 1)
	if err := errors.Join(errStart, errLength); err != nil {
		return CutSpec{}, fmt.Errorf("cut %q: %s", text, oneLine(err))
	}
	return cut, nil
}

func (c CutSpec) String() string {
	s := fmt.Sprintf("%s@%s+%s", c.Instance, formatDuration(c.Start), formatDuration(c.Length))
	if c.Direction != faults.Both {
		s += ":" + c.Direction.String()
	}
	return s
}

// overlaps reports whether two cuts are of one instance at the same time.
func (c CutSpec) overlaps(other CutSpec) bool {
	return other.Instance == c.Instance && other.Start+other.Length > c.Start && c.Start+c.Length > other.Start
}

// MarshalText returns what ParseCut reads.
func (c CutSpec) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads what ParseCut reads.
func (c *CutSpec) UnmarshalText(text []byte) error {
	cut, err := ParseCut(string(text))
	if err == nil {
		*c = cut
	}
	return err
}

// parseSpecTime reads a time of a spec that must be at least low.
func parseSpecTime(name, text string, low time.Duration) (time.Duration, error) {
	d, err := parseDuration(text)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%s: %w", name, err)
	case d < low:
		return 0, fmt.Errorf("%s: %s is too short; valid: %s", name, text, map[bool]string{true: "0s and more", false: "more than 0s"}[low == 0])
	case d > maxSpecTime:
		return 0, fmt.Errorf("%s: %s is too long; valid: up to %s", name, text, formatDuration(maxSpecTime))
	}
	return d, nil
}

// oneLine joins the problems of an error with semicolons.
func oneLine(err error) string {
	var parts []string
	for _, e := range Problems(err) {
		parts = append(parts, e.Error())
	}
	return strings.Join(parts, "; ")
}
