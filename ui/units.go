package ui

import (
	"strconv"
	"strings"
	"time"
)

// none stands for a value that is not known or does not apply.
const none = "-"

// count writes n with thousands separators.
func count[N int | int16 | int32 | int64 | uint64](n N) string {
	s := strconv.FormatInt(int64(n), 10)
	digits := len(s)
	if n < 0 {
		digits--
	}
	if digits <= 3 {
		return s
	}
	b := make([]byte, 0, len(s)+len(s)/3)
	for i := range len(s) {
		b = append(b, s[i])
		if rest := len(s) - 1 - i; rest > 0 && rest%3 == 0 && s[i] != '-' {
			b = append(b, ',')
		}
	}
	return string(b)
}

// short writes n in at most five characters: 950, 12.3k, 4.56M.
func short(n float64) string {
	if n < 0 {
		return "-" + short(-n)
	}
	for i, unit := range []string{"T", "G", "M", "k"} {
		base := []float64{1e12, 1e9, 1e6, 1e3}[i]
		if n >= 0.9995*base { // Below that it rounds to the smaller unit.
			return digits3(n/base) + unit
		}
	}
	return strconv.FormatFloat(n, 'f', 0, 64)
}

// digits3 writes n with three significant digits.
func digits3(n float64) string {
	switch {
	case n < 9.995:
		return strconv.FormatFloat(n, 'f', 2, 64)
	case n < 99.95:
		return strconv.FormatFloat(n, 'f', 1, 64)
	}
	return strconv.FormatFloat(n, 'f', 0, 64)
}

// fitCount is count where it fits into width cells, and short where it does not.
func fitCount(n int64, width int) string {
	if s := count(n); len(s) <= width {
		return s
	}
	return short(float64(n))
}

// byteSize writes a size in binary units.
func byteSize(n int64) string {
	f := float64(n)
	for i, unit := range []string{"B", "KiB", "MiB", "GiB", "TiB"} {
		if f < 1023.5 || i == 4 {
			if i == 0 {
				return strconv.FormatInt(n, 10) + " B"
			}
			return digits3(f) + " " + unit
		}
		f /= 1024
	}
	return none
}

// span writes a duration for people: 48 ms, 6.2 s, 42 s, 4m 12s, 3h 04m.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + span(-d)
	case d == 0:
		return "0 s"
	case d < time.Millisecond:
		return strconv.FormatInt(d.Microseconds(), 10) + " us"
	case d < 999500*time.Microsecond:
		return strconv.FormatInt(d.Round(time.Millisecond).Milliseconds(), 10) + " ms"
	case d < 59950*time.Millisecond:
		return strings.TrimSuffix(strconv.FormatFloat(d.Seconds(), 'f', 1, 64), ".0") + " s"
	}
	s := int64(d.Round(time.Second).Seconds())
	if s < 3600 {
		return strconv.FormatInt(s/60, 10) + "m " + two(s%60) + "s"
	}
	return strconv.FormatInt(s/3600, 10) + "h " + two(s%3600/60) + "m"
}

// tick is span for things that count: tenths of a second up to a minute, so that the number visibly moves.
func tick(d time.Duration) string {
	d = max(0, d)
	if d >= time.Second && d < time.Minute {
		return strconv.FormatFloat(d.Truncate(100*time.Millisecond).Seconds(), 'f', 1, 64) + " s"
	}
	return span(d)
}

// age is the time since at, and none for the zero time.
func age(now, at time.Time) string {
	if at.IsZero() {
		return none
	}
	return tick(now.Sub(at))
}

// clock writes a duration as hours, minutes and seconds.
func clock(d time.Duration) string {
	s := int64(max(0, d).Truncate(time.Second).Seconds())
	return two(s/3600) + ":" + two(s%3600/60) + ":" + two(s%60)
}

func two(n int64) string {
	if n < 10 {
		return "0" + strconv.FormatInt(n, 10)
	}
	return strconv.FormatInt(n, 10)
}

func perSecond(rate float64) string { return count(int64(rate+0.5)) + "/s" }

func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return count(n) + " " + one + "s"
}

// elideLeft keeps the end of s, where names like KSTREAM-AGGREGATE-STATE-STORE-0000000007 differ.
func elideLeft(s string, width int, ellipsis string) string {
	if len(s) <= width || !printable(s) {
		return s
	}
	if width <= 1 {
		return ellipsis
	}
	return ellipsis + s[len(s)-width+1:]
}

// shortID fits a transactional id, <application.id>-<process id>-<n>, by leaving out what all of them share first.
func shortID(id, application string, width int, ellipsis string) string {
	id = clean(id)
	if len(id) <= width {
		return id
	}
	rest := strings.TrimPrefix(id, application+"-")
	if len(rest)+1 <= width {
		return ellipsis + rest
	}
	// A process id is a UUID: its first group and the thread's number are enough to tell producers apart.
	if first, tail, ok := strings.Cut(rest, "-"); ok {
		if i := strings.LastIndexByte(tail, '-'); i >= 0 {
			if s := first + ellipsis + tail[i:]; len(first)+1+len(tail)-i <= width {
				return s
			}
		}
	}
	return elideLeft(rest, width, ellipsis)
}
