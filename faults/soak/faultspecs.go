package soak

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"eostop/faults"
)

// FaultSpec plans one fault.
type FaultSpec struct {
	Kind     string        // see FaultHelp
	Instance string        // name of the instance that it hits; empty = every one
	Thread   int           // number of the thread that it hits, from 1; 0 = every one
	Keys     string        // all other keys, as key=value joined by commas, in the order of the help
	Start    time.Duration // from the first moment when all threads are RUNNING
	Length   time.Duration // 0 for a fault without a length
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
	head, times := text, ""
	at := strings.LastIndexByte(text, '@')
	if at >= 0 {
		head, times = text[:at], text[at+1:]
	}
	words := strings.Split(head, ",")
	kind, ok := findFaultKind(words[0])
	switch {
	case !ok:
		return FaultSpec{}, fmt.Errorf("%q is not a kind of fault; valid: %s", words[0], faultKindNames())
	case at < 0:
		return FaultSpec{}, fmt.Errorf("write KIND[,key=value..]@START[+LENGTH], like %s; --fault help lists kinds and keys", kind.Example)
	}
	spec := FaultSpec{Kind: kind.Name}
	errs := spec.read(kind, words[1:])
	start, length, plus := strings.Cut(times, "+")
	var err error
	spec.Start, err = parseSpecTime("START", start, 0)
	errs = append(errs, err)
	if plus {
		spec.Length, err = parseSpecTime("LENGTH", length, 1)
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return FaultSpec{}, err
	}
	return spec, spec.check()
}

// read takes the key=value words of a spec.
func (f *FaultSpec) read(kind faultKind, words []string) []error {
	var errs []error
	keys := map[string]string{}
	for _, word := range words {
		key, value, ok := strings.Cut(word, "=")
		_, twice := keys[key]
		switch {
		case !ok:
			errs = append(errs, fmt.Errorf("%q is not key=value; valid keys: %s", word, kind.keys()))
			continue
		case twice:
			errs = append(errs, fmt.Errorf("%s is given twice", key))
		case !slices.Contains(kind.Needs, key) && !slices.Contains(kind.Takes, key):
			errs = append(errs, fmt.Errorf("%s has no key %q; valid keys: %s", kind.Name, key, kind.keys()))
		}
		keys[key] = value
	}
	if value, ok := keys[keyInstance]; ok {
		f.Instance = value
		if !namePattern.MatchString(value) {
			errs = append(errs, fmt.Errorf("instance=%s is not the name of an instance; like instance=i2", value))
		}
	}
	if value, ok := keys[keyThread]; ok {
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 {
			errs = append(errs, fmt.Errorf("thread=%s is not the number of a thread; valid: 1 and more", value))
		}
		f.Thread = n
	}
	f.Keys = joinKeys(keys)
	return errs
}

func (k *faultKind) keys() string {
	return strings.Join(slices.Concat(k.Needs, k.Takes), ", ")
}

// joinKeys writes keys as FaultSpec holds them.
func joinKeys(keys map[string]string) string {
	var words []string
	for _, key := range faultKeys() {
		if value, ok := keys[key.Name]; ok && key.Name != keyInstance && key.Name != keyThread {
			words = append(words, key.Name+"="+value)
		}
	}
	return strings.Join(words, ",")
}

// values returns all keys with their values.
func (f *FaultSpec) values() map[string]string {
	keys := map[string]string{}
	if f.Instance != "" {
		keys[keyInstance] = f.Instance
	}
	if f.Thread > 0 {
		keys[keyThread] = strconv.Itoa(f.Thread)
	}
	if f.Keys != "" {
		for word := range strings.SplitSeq(f.Keys, ",") {
			key, value, _ := strings.Cut(word, "=")
			keys[key] = value
		}
	}
	return keys
}

// check reports what is wrong with a fault, whoever is there to be hit.
func (f *FaultSpec) check() error {
	kind, ok := findFaultKind(f.Kind)
	if !ok {
		return fmt.Errorf("%q is not a kind of fault; valid: %s", f.Kind, faultKindNames())
	}
	if kind.place == onWire {
		_, err := f.wire()
		return err
	}
	var errs []error
	if kind.place == onBroker || kind.place == onDisk {
		if _, err := f.rule(); err != nil {
			errs = append(errs, err)
		}
	}
	if kind.place == onStore {
		_, err := newStoreFault(*f, 0)
		errs = append(errs, err)
	}
	if kind.place == onClock {
		_, err := clockJump(*f)
		errs = append(errs, err)
	}
	keys := f.values()
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if !slices.Contains(kind.Needs, key) && !slices.Contains(kind.Takes, key) {
			errs = append(errs, fmt.Errorf("%s has no key %q; valid keys: %s", kind.Name, key, kind.keys()))
		}
	}
	for _, key := range kind.Needs {
		if _, ok := keys[key]; !ok {
			errs = append(errs, fmt.Errorf("%s needs %s=..; valid keys: %s", kind.Name, key, kind.keys()))
		}
	}
	switch {
	case f.Length > 0 && kind.instant:
		errs = append(errs, fmt.Errorf("%s has no LENGTH; like %s", kind.Name, kind.Example))
	case f.Length <= 0 && kind.Lasts:
		errs = append(errs, fmt.Errorf("%s needs a LENGTH; like %s", kind.Name, kind.Example))
	}
	return errors.Join(errs...)
}

// wire returns the fault as package faults does it.
func (f *FaultSpec) wire() (faults.Fault, error) {
	return faults.ParseFault(f.Kind, f.values(), f.Length)
}

// whole reports whether the fault is a cut of all that an instance has to the brokers, which is counted among the cuts.
func (f *FaultSpec) whole() bool {
	_, node := f.values()["node"]
	return f.Kind == faults.KindCut && !node
}

func (f FaultSpec) String() string {
	var b strings.Builder
	b.WriteString(f.Kind)
	if f.Instance != "" {
		b.WriteString("," + keyInstance + "=" + f.Instance)
	}
	if f.Thread > 0 {
		b.WriteString("," + keyThread + "=" + strconv.Itoa(f.Thread))
	}
	if f.Keys != "" {
		b.WriteString("," + f.Keys)
	}
	b.WriteString("@" + formatDuration(f.Start))
	if f.Length > 0 {
		b.WriteString("+" + formatDuration(f.Length))
	}
	return b.String()
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
