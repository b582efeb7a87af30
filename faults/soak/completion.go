package soak

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"eostop/runtime"

	"github.com/spf13/pflag"
)

// Shells are those that Completion knows.
func Shells() []string { return []string{"bash", "fish", "zsh"} }

// Completion returns the script that teaches a shell the commands with their flags. What a command does stands in usage.
func Completion(shell string, commands []string, usage map[string]string) (string, error) {
	write := map[string]func(*strings.Builder, []completed){"bash": completeBash, "fish": completeFish, "zsh": completeZsh}[shell]
	if write == nil {
		return "", Usagef("completion for %q is not known; valid: %s", shell, strings.Join(Shells(), ", "))
	}
	var known []completed
	for _, name := range commands {
		known = append(known, completed{name, usage[name], completedFlags(name)})
	}
	var b strings.Builder
	write(&b, known)
	return b.String(), nil
}

// completed is what can be written for a command.
type completed struct {
	name, usage string
	flags       []completedFlag
}

// completedFlag is one flag: a switch, or one with a value, which is one of some words, a file, or anything.
type completedFlag struct {
	name, usage string
	value       bool
	words       []string
	file        bool
}

// completedWords are the values of flags that have only some.
func completedWords() map[string][]string {
	var kinds []string
	for _, k := range faultKinds() {
		kinds = append(kinds, k.Name)
	}
	return map[string][]string{
		"topology": TopologyNames(), "guarantee": names(runtime.Guarantees()), "profile": ProfileNames(),
		"schedule": ScheduleNames(), "fault": append(kinds, "help"), "log-level": logLevels, "theme": themes,
	}
}

func completedFlags(command string) []completedFlag {
	set := flagSet(command)
	if set == nil {
		return nil
	}
	words := completedWords()
	var flags []completedFlag
	set.VisitAll(func(f *pflag.Flag) {
		_, usage := pflag.UnquoteUsage(f)
		c := completedFlag{name: f.Name, usage: usage, value: f.NoOptDefVal == "", words: words[f.Name]}
		c.file = slices.Contains([]string{"config", "input", "state-dir", "report", "junit", "session", "log-file", "schedule"}, f.Name)
		flags = append(flags, c)
	})
	return flags
}

// allFlags returns the flags of all commands that have a value, each once.
func allFlags(commands []completed) []completedFlag {
	byName := map[string]completedFlag{}
	for _, c := range commands {
		for _, f := range c.flags {
			if f.value {
				byName[f.name] = f
			}
		}
	}
	var flags []completedFlag
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		flags = append(flags, byName[name])
	}
	return flags
}

func (c *completed) dashed() string {
	var words []string
	for _, f := range c.flags {
		words = append(words, "--"+f.name)
	}
	return strings.Join(words, " ")
}

func completeBash(b *strings.Builder, commands []completed) {
	var all []string
	for _, c := range commands {
		all = append(all, c.name)
	}
	fmt.Fprintf(b, `# eostop in bash: source <(eostop completion bash)
_eostop() {
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command=run
    case ${COMP_WORDS[1]} in
        %s) if [ "$COMP_CWORD" -gt 1 ]; then command=${COMP_WORDS[1]}; fi ;;
    esac
    COMPREPLY=()
    case $before in
`, strings.Join(all, " | "))
	for _, f := range allFlags(commands) {
		choices := ""
		if len(f.words) > 0 {
			choices = fmt.Sprintf(`-W "%s" `, strings.Join(f.words, " "))
		}
		if f.file {
			choices += "-f "
		}
		fmt.Fprintf(b, "        --%s) ", f.name)
		if choices != "" {
			fmt.Fprintf(b, `mapfile -t COMPREPLY < <(compgen %s-- "$current"); `, choices)
		}
		b.WriteString("return ;;\n")
	}
	fmt.Fprintf(b, "    esac\n    if [ \"$COMP_CWORD\" = 1 ] && [[ $current != -* ]]; then\n"+
		"        mapfile -t COMPREPLY < <(compgen -W \"%s\" -- \"$current\")\n        return\n    fi\n    case $command in\n", strings.Join(all, " "))
	for _, c := range commands {
		if words := c.dashed(); words != "" {
			fmt.Fprintf(b, "        %s) mapfile -t COMPREPLY < <(compgen -W \"%s\" -- \"$current\") ;;\n", c.name, words)
		}
	}
	fmt.Fprintf(b, "        completion) mapfile -t COMPREPLY < <(compgen -W \"%s\" -- \"$current\") ;;\n", strings.Join(Shells(), " "))
	b.WriteString("    esac\n    # Reports and session logs.\n    if [[ $command = @(diff|replay) && $current != -* ]]; then mapfile -t COMPREPLY < <(compgen -f -- \"$current\"); fi\n" +
		"}\ncomplete -o filenames -F _eostop eostop\n")
}

func completeFish(b *strings.Builder, commands []completed) {
	b.WriteString("# eostop in fish: eostop completion fish | source\ncomplete -c eostop -f\n")
	for _, c := range commands {
		fmt.Fprintf(b, "complete -c eostop -n __fish_use_subcommand -a %s -d %s\n", c.name, quoteFish(c.usage))
	}
	for _, c := range commands {
		when := fmt.Sprintf("-n '__fish_seen_subcommand_from %s'", c.name)
		if c.name == "run" { // which need not be said
			when = "-n '__fish_use_subcommand; or __fish_seen_subcommand_from run'"
		}
		for _, f := range c.flags {
			fmt.Fprintf(b, "complete -c eostop %s -l %s -d %s", when, f.name, quoteFish(f.usage))
			switch {
			case !f.value:
			case f.file:
				b.WriteString(" -r -F")
			default:
				b.WriteString(" -x")
			}
			if len(f.words) > 0 {
				fmt.Fprintf(b, " -a %s", quoteFish(strings.Join(f.words, " ")))
			}
			b.WriteString("\n")
		}
	}
	fmt.Fprintf(b, "complete -c eostop -n '__fish_seen_subcommand_from completion' -a '%s'\n", strings.Join(Shells(), " "))
	b.WriteString("complete -c eostop -n '__fish_seen_subcommand_from diff replay' -F\n")
}

func quoteFish(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
}

func completeZsh(b *strings.Builder, commands []completed) {
	b.WriteString("#compdef eostop\n# eostop in zsh: eostop completion zsh > \"${fpath[1]}/_eostop\"\n_eostop() {\n    local command=run\n    local -a commands=(\n")
	for _, c := range commands {
		fmt.Fprintf(b, "        %s\n", quoteZsh(c.name+":"+strings.ReplaceAll(c.usage, ":", `\:`)))
	}
	b.WriteString("    )\n    if (( CURRENT == 2 )) && [[ $words[2] != -* ]]; then\n        _describe command commands\n        return\n    fi\n" +
		"    if [[ $words[2] != -* ]]; then\n        command=$words[2]\n        shift words\n        (( CURRENT-- ))\n    fi\n    case $command in\n")
	for _, c := range commands {
		if len(c.flags) == 0 {
			continue
		}
		fmt.Fprintf(b, "        %s) _arguments", c.name)
		for _, f := range c.flags {
			spec := "--" + f.name + "[" + strings.NewReplacer("[", "(", "]", ")", ":", ";").Replace(f.usage) + "]"
			switch {
			case !f.value:
			case len(f.words) > 0:
				spec += ":" + f.name + ":(" + strings.Join(f.words, " ") + ")"
			case f.file:
				spec += ":" + f.name + ":_files"
			default:
				spec += ":" + f.name + ":"
			}
			if f.name == "cut" || f.name == "fault" { // which may be repeated
				spec = "*" + spec
			}
			fmt.Fprintf(b, " \\\n            %s", quoteZsh(spec))
		}
		if c.name == "diff" || c.name == "replay" {
			b.WriteString(" \\\n            '*:file:_files'")
		}
		b.WriteString(" ;;\n")
	}
	fmt.Fprintf(b, "        completion) _values shell %s ;;\n    esac\n}\nif [ \"$funcstack[1]\" = _eostop ]; then _eostop \"$@\"; else compdef _eostop eostop; fi\n", strings.Join(Shells(), " "))
}

func quoteZsh(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
