package soak

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	environmentPrefix = "EOSTOP_"
	originDefault     = "default"
	configFile        = "a configuration file"
)

// Sources are the places a configuration comes from, weakest first: the embedded file, a file, the environment, flags.
type Sources struct {
	Embedded []byte        // the text of config.yaml; used when there is no other file
	Adjust   func(*Config) // what a command has other defaults for; nil = nothing
	File     string        // the file the user named; empty looks in the user's configuration folder
	Env      []string      // as os.Environ returns it
	Flags    []FlagValue
}

// Loaded is a configuration together with where each of its values came from.
type Loaded struct {
	Config  Config
	File    string            // path of the file that was read; empty when it was the embedded one
	origins map[string]string // key to "default", "file PATH", "env NAME" or "flag --x"
}

// ReadConfig reads the configuration. It reports everything that cannot be read, as UsageError; whether the values make
// sense together is what Loaded.Validate says.
func ReadConfig(from Sources) (*Loaded, error) {
	l := &Loaded{Config: Default(), origins: map[string]string{}}
	for _, s := range settings(&l.Config) {
		l.origins[s.key] = originDefault
	}
	env := environment(from.Env)
	var errs []error
	for _, step := range []func() error{
		func() error { return l.readFile(from, env) },
		func() error { return l.readEnvironment(env) },
		func() error { return l.readFlags(from.Flags) },
	} {
		errs = append(errs, step())
	}
	if err := errors.Join(errs...); err != nil {
		return nil, &UsageError{Err: err}
	}
	l.suitProgram()
	return l, nil
}

// suitProgram replaces defaults that do not suit the program that was chosen.
func (l *Loaded) suitProgram() {
	program, ok := findBuiltin(l.Config.Application.Topology)
	if program.talking != nil {
		l.suitEosTest(program.name)
	}
	// A simulation has a default of its own, which suits every program.
	if ok && l.origins["load.rate"] == originDefault && l.Config.Load.Rate == Default().Load.Rate && l.Config.Load.Rate != program.rate {
		l.Config.Load.Rate = program.rate
		l.origins["load.rate"] = originDefault + " of " + program.name
	}
}

// Origin says where the value of a key came from: default, file PATH, env NAME or flag --x.
func (l *Loaded) Origin(key string) string { return l.origins[key] }

// Chosen says whether somebody has set a key.
func (l *Loaded) Chosen(key string) bool { return !strings.HasPrefix(l.origins[key], originDefault) }

// Validate is Config.Validate with the origin of each bad value; its error is a UsageError.
func (l *Loaded) Validate() error {
	err := l.Config.Validate()
	if err == nil {
		return nil
	}
	for _, problem := range Problems(err) {
		if keyed, ok := errors.AsType[*KeyError](problem); ok {
			key, _, _ := strings.Cut(keyed.Key, "[")
			keyed.Origin = l.origins[key]
		}
	}
	return &UsageError{Err: err}
}

// environment turns the list into a map; of a name that occurs twice the last one counts.
func environment(list []string) map[string]string {
	env := make(map[string]string, len(list))
	for _, entry := range list {
		if name, value, ok := strings.Cut(entry, "="); ok {
			env[name] = value
		}
	}
	return env
}

// readFile reads the user's file, the one in the configuration folder, or else the embedded one.
func (l *Loaded) readFile(from Sources, env map[string]string) error {
	path := from.File
	if path == "" {
		path = userFile(env)
	}
	var text []byte
	err := fs.ErrNotExist
	if path != "" {
		text, err = os.ReadFile(path)
	}
	switch {
	case err == nil:
	case errors.Is(err, fs.ErrNotExist) && from.File == "":
		_, err := readYAML("embedded config.yaml", from.Embedded, &l.Config, configFile)
		from.adjust(&l.Config)
		return err
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("flag --config: there is no file %s; name an existing one or leave the flag out", path)
	default:
		return fmt.Errorf("cannot read the configuration %s: %w; make it readable or name another with --config", path, bareCause(err))
	}
	l.File = path
	from.adjust(&l.Config)
	keys, err := readYAML(path, text, &l.Config, configFile)
	for key := range keys {
		l.origins[key] = "file " + path
	}
	return err
}

func (s Sources) adjust(c *Config) {
	if s.Adjust != nil {
		s.Adjust(c)
	}
}

// userFile is config.yaml in the user's configuration folder by the XDG rules; empty when there is no such folder.
func userFile(env map[string]string) string {
	folder := env["XDG_CONFIG_HOME"]
	if !filepath.IsAbs(folder) { // The XDG rules ignore relative ones.
		home := env["HOME"]
		if home == "" {
			return ""
		}
		folder = filepath.Join(home, ".config")
	}
	return filepath.Join(folder, "eostop", "config.yaml")
}

// readEnvironment reads EOSTOP_SECTION_KEY. An empty variable counts as one that is not set.
func (l *Loaded) readEnvironment(env map[string]string) error {
	var errs []error
	var known []string
	for _, s := range settings(&l.Config) {
		name := s.environment()
		known = append(known, name)
		text := env[name]
		if text == "" {
			continue
		}
		texts := []string{text}
		if s.list() {
			texts = s.split(text)
		}
		if err := s.set(texts...); err != nil {
			errs = append(errs, fmt.Errorf("environment %s: %w", name, err))
			continue
		}
		l.origins[s.key] = "env " + name
	}
	for _, name := range unknownVariables(env, known) {
		hint := "; eostop config lists the keys"
		if near := nearest(name, known); near != "" {
			hint = "; did you mean " + near + "?"
		}
		errs = append(errs, fmt.Errorf("environment %s: there is no such key%s", name, hint))
	}
	return errors.Join(errs...)
}

// unknownVariables finds names that look like EOSTOP_SECTION_KEY and are none. Other names with our prefix are left alone:
// they may belong to scripts around us.
func unknownVariables(env map[string]string, known []string) []string {
	var unknown []string
	for name := range env {
		rest, ok := strings.CutPrefix(name, environmentPrefix)
		section, _, inSection := strings.Cut(rest, "_")
		isSection := slices.ContainsFunc(known, func(k string) bool {
			return strings.HasPrefix(k, environmentPrefix+section+"_")
		})
		if ok && inSection && isSection && !slices.Contains(known, name) {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	return unknown
}

// readFlags reads what was given on the command line. A repeated flag replaces a list as a whole.
func (l *Loaded) readFlags(values []FlagValue) error {
	byKey := map[string]setting{}
	for _, s := range settings(&l.Config) {
		byKey[s.key] = s
	}
	var errs []error
	for _, value := range values {
		s := byKey[value.Key]
		texts := value.Texts
		if s.list() {
			texts = nil
			for _, text := range value.Texts {
				texts = append(texts, s.split(text)...)
			}
		}
		if err := s.set(texts...); err != nil {
			errs = append(errs, fmt.Errorf("flag --%s: %w", value.Name, err))
			continue
		}
		l.origins[s.key] = "flag --" + value.Name
	}
	return errors.Join(errs...)
}

// bareCause drops the operation and the path of a file error, which the message around it names already.
func bareCause(err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err
	}
	return err
}

// Text returns the configuration as YAML, each value with a comment that says where it came from. It can be used as a
// configuration file.
func (l *Loaded) Text() string {
	var b strings.Builder
	var open []string // sections that the line before was in
	for _, s := range settings(&l.Config) {
		path := strings.Split(s.key, ".")
		sections := path[:len(path)-1]
		for i, name := range sections {
			if i < len(open) && open[i] == name {
				continue
			}
			open = nil
			fmt.Fprintf(&b, "%s%s:\n", strings.Repeat("  ", i), name)
		}
		open = sections
		line := fmt.Sprintf("%s%s: %s", strings.Repeat("  ", len(sections)), path[len(path)-1], s.yaml())
		origin := l.origins[s.key]
		if s.secret() && s.value.Len() > 0 {
			origin += ", not shown"
		}
		fmt.Fprintf(&b, "%-44s # %s\n", line, origin)
	}
	return b.String()
}
