package soak

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Script is all that is going to be done to the instances of a run, in any order. As YAML it has the keys cuts and faults, lists of
// what --cut and --fault take.
type Script struct {
	Cuts   []CutSpec   `yaml:"cuts"`
	Faults []FaultSpec `yaml:"faults"`
}

// Script returns the cuts and faults of the configuration, those of its schedule included. A named one depends on the seed, and gives
// way to cuts that are listed. The error names the keys or the places in the file that are wrong.
func (c *Config) Script(seed int64) (Script, error) {
	script := Script{Cuts: slices.Clone(c.Faults.Cuts), Faults: slices.Clone(c.Faults.Faults)}
	var more Script
	var err error
	switch name := c.Faults.Schedule; {
	case name == "":
	case isScriptFile(name):
		if more, err = ReadScript(name); err == nil {
			v := &validator{config: c}
			v.script(name+": ", append(slices.Clone(script.Cuts), more.Cuts...), more.Faults)
			err = keyErrors(v.errs, "faults.schedule")
		}
	default:
		more, err = Schedule(name, c.frame(seed))
		if p, ok := findProfile(c.Faults.Profile); ok && p.of2019 && name != ScheduleScripted && name != ScheduleSoak2019 {
			more.Faults = append(more.Faults, surroundings(c.frame(seed))...)
		}
		more.Cuts = slices.DeleteFunc(more.Cuts, func(planned CutSpec) bool {
			return slices.ContainsFunc(script.Cuts, func(listed CutSpec) bool { return listed.overlaps(planned) })
		})
	}
	if err != nil {
		return Script{}, err
	}
	script.Cuts = append(script.Cuts, more.Cuts...)
	script.Faults = append(script.Faults, more.Faults...)
	script.sort()
	return script, nil
}

// keyErrors joins problems found behind a key.
func keyErrors(problems []error, key string) error {
	if len(problems) == 0 {
		return nil
	}
	texts := make([]string, len(problems))
	for i, p := range problems {
		texts[i] = p.Error()
	}
	return &KeyError{Key: key, Problem: strings.Join(texts, "; ")}
}

// isScriptFile says whether a schedule is the name of a file.
func isScriptFile(schedule string) bool {
	extension := strings.ToLower(filepath.Ext(schedule))
	return extension == ".yaml" || extension == ".yml"
}

// ReadScript reads a script from a YAML file.
func ReadScript(path string) (Script, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Script{}, fmt.Errorf("faults.schedule: cannot read %s: %w; name a readable file, or one of %s", path, bareCause(err), strings.Join(ScheduleNames(), ", "))
	}
	var script Script
	if _, err := readYAML(path, text, &script, "a schedule"); err != nil {
		return Script{}, err
	}
	script.sort()
	return script, nil
}

// YAML returns the script as ReadScript reads it, below a comment.
func (s Script) YAML(comment string) string {
	var b strings.Builder
	for line := range strings.Lines(comment) {
		b.WriteString("# " + strings.TrimRight(line, "\n") + "\n")
	}
	list := func(key string, specs []string) {
		if len(specs) == 0 {
			fmt.Fprintf(&b, "%s: []\n", key)
			return
		}
		fmt.Fprintf(&b, "%s:\n", key)
		for _, spec := range specs {
			fmt.Fprintf(&b, "  - %s\n", quoteYAML(spec))
		}
	}
	list("cuts", texts(s.Cuts))
	list("faults", texts(s.Faults))
	return b.String()
}

func texts[T fmt.Stringer](list []T) []string {
	all := make([]string, len(list))
	for i, e := range list {
		all[i] = e.String()
	}
	return all
}

// rules reports whether anything is to be done to requests.
func (s Script) rules() bool {
	return slices.ContainsFunc(s.Faults, func(f FaultSpec) bool {
		wire, err := f.wire()
		return err == nil && wire.Rule != nil
	})
}

// on reports whether anything is to be done in a place.
func (s Script) on(where place) bool {
	return slices.ContainsFunc(s.Faults, func(f FaultSpec) bool {
		kind, ok := findFaultKind(f.Kind)
		return ok && kind.place == where
	})
}

// Len is the number of cuts and faults.
func (s Script) Len() int { return len(s.Cuts) + len(s.Faults) }

// sort brings cuts and faults into the order of their start.
func (s *Script) sort() {
	slices.SortStableFunc(s.Cuts, func(a, b CutSpec) int { return cmp.Compare(a.Start, b.Start) })
	slices.SortStableFunc(s.Faults, func(a, b FaultSpec) int { return cmp.Compare(a.Start, b.Start) })
}

// last returns when the last cut or fault is over.
func (s Script) last() time.Duration {
	last := time.Duration(0)
	s.each(func(start, length time.Duration) { last = max(last, start+length) })
	return last
}

func (s Script) each(fn func(start, length time.Duration)) {
	for _, c := range s.Cuts {
		fn(c.Start, c.Length)
	}
	for _, f := range s.Faults {
		fn(f.Start, f.Length)
	}
}
