package soak

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes. Its text has a unit where that loses nothing: 10MiB, 64KiB, 1000.
type Size int64

// sizeUnits go from large to small, binary ones first, so that the first that divides a size is the best to print.
var sizeUnits = []struct {
	suffix string
	bytes  int64
}{
	{"GiB", 1 << 30},
	{"MiB", 1 << 20},
	{"KiB", 1 << 10},
	{"GB", 1e9},
	{"MB", 1e6},
	{"KB", 1e3},
	{"B", 1},
}

// ParseSize reads sizes like 10MiB, 64KiB, 1GB or 4096.
func ParseSize(text string) (Size, error) {
	number, unit := text, int64(1)
	for _, u := range sizeUnits {
		if n, ok := strings.CutSuffix(text, u.suffix); ok {
			number, unit = n, u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/unit {
		return 0, fmt.Errorf("%q is not a size; write it like 10MiB, 64KiB or 4096", text)
	}
	return Size(n * unit), nil
}

func (s Size) String() string {
	for _, u := range sizeUnits[:3] {
		if s != 0 && int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// MarshalText returns what ParseSize reads.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what ParseSize reads.
func (s *Size) UnmarshalText(text []byte) error {
	size, err := ParseSize(string(text))
	if err == nil {
		*s = size
	}
	return err
}

// Lag is a number of records, or Unlimited.
type Lag int64

// Unlimited is a lag that nothing exceeds; its text is "unlimited".
const Unlimited Lag = -1

const unlimitedText = "unlimited"

func (l Lag) String() string {
	if l == Unlimited {
		return unlimitedText
	}
	return strconv.FormatInt(int64(l), 10)
}

// MarshalText returns what UnmarshalText reads.
func (l Lag) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads a number of records, or unlimited.
func (l *Lag) UnmarshalText(text []byte) error {
	if string(text) == unlimitedText {
		*l = Unlimited
		return nil
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil || n < 0 {
		return fmt.Errorf("%q is not a lag; write a number of records, or %s", text, unlimitedText)
	}
	*l = Lag(n)
	return nil
}

// parseDuration wants a unit: a bare number would leave open whether it means seconds or milliseconds.
func parseDuration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration; write it with a unit, like 100ms, 10s or 5m", text)
	}
	return d, nil
}

// formatDuration prints a duration without the zero parts that time.Duration prints: 5m, not 5m0s.
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
