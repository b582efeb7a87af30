package soak

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
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

// Kinds of faults.
const (
	FaultPanic = "panic" // user code of one thread panics once
	FaultStall = "stall" // one thread does nothing for a time, and does not notice
)

// FaultSpec plans one fault.
type FaultSpec struct {
	Kind     string        // one of the Fault constants
	Instance string        // name of the instance that it hits
	Thread   int           // number of the thread, from 1
	Start    time.Duration // from the first moment when all threads are RUNNING
	Length   time.Duration // 0 for a fault without a length
}

// faultKind describes a kind of fault for the parser and for people.
type faultKind struct {
	name      string
	does      string
	length    bool // the spec needs +LENGTH; without it there must be none
	available bool
	example   string
}

func faultKinds() []faultKind {
	return []faultKind{
		{FaultPanic, "user code of the thread panics once; the thread is replaced", false, true, "panic,instance=i3,thread=2@15s"},
		{FaultStall, "the thread stands still for LENGTH and then goes on as if nothing had been", true, true, "stall,instance=i1,thread=1@10s+25s"},
		{"error", "a broker's response carries an error code", false, false, ""},
		{"drop-response", "a request is applied, its response is lost", false, false, ""},
		{"delay-response", "a request is applied, its response comes late", false, false, ""},
		{"delay", "the link is slow to answer", true, false, ""},
		{"throttle", "the link is narrow", true, false, ""},
		{"reset", "connections are reset", false, false, ""},
		{"half-open", "connections are gone on one side only", true, false, ""},
		{"leader-move", "partitions change their leader", false, false, ""},
		{"node-restart", "a broker restarts", false, false, ""},
		{"store-open-fails", "a state store cannot be opened once", false, false, ""},
		{"disk-full", "writes to the state directory fail", true, false, ""},
		{"slow-fsync", "the disk is slow to sync", true, false, ""},
		{"kill", "a thread is killed", false, false, ""},
		{"clock-jump", "the clock of an instance jumps", false, false, ""},
	}
}

func availableFaults() string {
	var names []string
	for _, k := range faultKinds() {
		if k.available {
			names = append(names, k.name)
		}
	}
	return strings.Join(names, ", ")
}

// ParseFault reads KIND[,key=value..]@START[+LENGTH], e.g. panic,instance=i3,thread=2@15s.
func ParseFault(text string) (FaultSpec, error) {
	spec, err := parseFault(text)
	if err != nil {
		return FaultSpec{}, fmt.Errorf("fault %q: %s", text, oneLine(err))
	}
	return spec, nil
}

func parseFault(text string) (FaultSpec, error) {
	const form = "write KIND,key=value..@START[+LENGTH], like panic,instance=i3,thread=2@15s; --fault help lists kinds and keys"
	head, times, timed := strings.Cut(text, "@")
	words := strings.Split(head, ",")
	at := slices.IndexFunc(faultKinds(), func(k faultKind) bool { return k.name == words[0] })
	if at < 0 {
		return FaultSpec{}, fmt.Errorf("%q is not a kind of fault; valid: %s", words[0], availableFaults())
	}
	kind := faultKinds()[at]
	if !kind.available {
		return FaultSpec{}, fmt.Errorf("%s is not available yet; valid: %s", kind.name, availableFaults())
	}
	if !timed {
		return FaultSpec{}, errors.New(form)
	}
	spec := FaultSpec{Kind: kind.name}
	errs := spec.keys(words[1:])

	start, length, plus := strings.Cut(times, "+")
	var err error
	spec.Start, err = parseSpecTime("START", start, 0)
	errs = append(errs, err)
	switch {
	case plus && kind.length:
		spec.Length, err = parseSpecTime("LENGTH", length, 1)
		errs = append(errs, err)
	case plus:
		errs = append(errs, fmt.Errorf("%s has no LENGTH; like %s", kind.name, kind.example))
	case kind.length:
		errs = append(errs, fmt.Errorf("%s needs a LENGTH; like %s", kind.name, kind.example))
	}
	return spec, errors.Join(errs...)
}

// keys reads the key=value words of a spec; each available kind has the same keys, and needs both.
func (f *FaultSpec) keys(words []string) []error {
	const valid = "valid keys: instance, thread"
	var errs []error
	seen := map[string]bool{}
	for _, word := range words {
		key, value, ok := strings.Cut(word, "=")
		if !ok {
			errs = append(errs, fmt.Errorf("%q is not key=value; %s", word, valid))
			continue
		}
		if seen[key] {
			errs = append(errs, fmt.Errorf("%s is given twice", key))
			continue
		}
		seen[key] = true
		switch key {
		case "instance":
			f.Instance = value
			if !namePattern.MatchString(value) {
				errs = append(errs, fmt.Errorf("instance=%s is not the name of an instance; like instance=i2", value))
			}
		case "thread":
			n, err := strconv.Atoi(value)
			if err != nil || n < 1 {
				errs = append(errs, fmt.Errorf("thread=%s is not the number of a thread; valid: 1 and more", value))
			}
			f.Thread = n
		default:
			errs = append(errs, fmt.Errorf("%s has no key %q; %s", f.Kind, key, valid))
		}
	}
	for _, key := range []string{"instance", "thread"} {
		if !seen[key] {
			errs = append(errs, fmt.Errorf("%s needs %s=..; %s", f.Kind, key, valid))
		}
	}
	return errs
}

func (f FaultSpec) String() string {
	s := fmt.Sprintf("%s,instance=%s,thread=%d@%s", f.Kind, f.Instance, f.Thread, formatDuration(f.Start))
	if f.Length > 0 {
		s += "+" + formatDuration(f.Length)
	}
	return s
}

// MarshalText returns what ParseFault reads.
func (f FaultSpec) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads what ParseFault reads.
func (f *FaultSpec) UnmarshalText(text []byte) error {
	spec, err := ParseFault(string(text))
	if err == nil {
		*f = spec
	}
	return err
}

// FaultHelp describes the kinds of faults and their keys, for `--fault help`.
func FaultHelp() string {
	var b strings.Builder
	b.WriteString("--fault KIND,key=value..@START[+LENGTH]\n\n" +
		"START counts from the first moment when all threads are RUNNING. The flag may be repeated.\n\n" +
		"Keys\n" +
		"  instance=NAME   the instance that is hit, like i2\n" +
		"  thread=N        the number of its thread, from 1\n\n" +
		"Kinds\n")
	for _, k := range faultKinds() {
		if k.available {
			fmt.Fprintf(&b, "  %-17s %s\n  %-17s needs instance and thread; like %s\n", k.name, k.does, "", k.example)
		}
	}
	b.WriteString("\nNot available yet\n")
	for _, k := range faultKinds() {
		if !k.available {
			fmt.Fprintf(&b, "  %-17s %s\n", k.name, k.does)
		}
	}
	return b.String()
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
