package soak

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// outputs are the flags that say what a run leaves behind. Who repeats a run does not want to lose what the first one left.
var outputs = []string{"report", "junit", "session", "log-file", "log-level", "pprof", "metrics", "plain", "headless", "shrink"}

// Repeat returns the command line that runs the same once more: what the environment and the flags said, without what concerns
// output only, and with other flags in the place of those of the same name. An empty text among the others leaves a flag out.
func (l *Loaded) Repeat(command string, flags *Flags, others ...FlagValue) string {
	var words []string
	for _, s := range settings(&l.Config) {
		if l.origins[s.key] == "env "+s.environment() && !ofOutput(s.key) {
			word := shellWord(s.text())
			if s.secret() {
				word = `"$` + s.environment() + `"`
			}
			words = append(words, s.environment()+"="+word)
		}
	}
	words = append(words, "eostop", command)
	if flags.ConfigFile != "" {
		words = append(words, "--config", shellWord(flags.ConfigFile))
	}
	replaced := func(name string) bool {
		return slices.Contains(outputs, name) || slices.ContainsFunc(others, func(o FlagValue) bool { return o.Name == name })
	}
	given := slices.DeleteFunc(slices.Clone(flags.Values), func(f FlagValue) bool { return replaced(f.Name) })
	for _, f := range append(given, others...) {
		for _, text := range f.Texts {
			words = append(words, f.words(text)...)
		}
	}
	return strings.Join(words, " ")
}

// ofOutput says whether a key is that of a flag for output.
func ofOutput(key string) bool {
	return slices.ContainsFunc(flagSpecs(), func(f flagSpec) bool { return f.key == key && slices.Contains(outputs, f.name) })
}

// words are those of one value of a flag.
func (f FlagValue) words(text string) []string {
	for _, spec := range flagSpecs() {
		if spec.name != f.Name || spec.arg != "" {
			continue
		}
		if text == spec.value {
			return []string{"--" + f.Name}
		}
		return []string{fmt.Sprintf("--%s=false", f.Name)}
	}
	if text == "" {
		return nil
	}
	if f.Name == hoursFlag { // whose value is a duration by now
		if d, err := parseDuration(text); err == nil {
			text = strconv.FormatFloat(d.Hours(), 'f', -1, 64)
		}
	}
	return []string{"--" + f.Name, shellWord(text)}
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// shellWord quotes a text for a shell, where that is needed.
func shellWord(text string) string {
	if plainWord.MatchString(text) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
