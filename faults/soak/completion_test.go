package soak

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// completion is the script of a shell for a few commands.
func completion(t *testing.T, shell string) string {
	t.Helper()
	text, err := Completion(shell, []string{"run", "simulate", "diff", "matrix", "version"}, map[string]string{"run": "it's: the dashboard", "version": "the version"})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestCompletionInBash asks the shell itself what it would offer.
func TestCompletionInBash(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("there is no bash")
	}
	dir := t.TempDir()
	script := filepath.Join(dir, "eostop.bash")
	if err := os.WriteFile(script, []byte(completion(t, "bash")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "before.json"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"eostop s":                              "simulate",
		"eostop ":                               "run simulate diff matrix version",
		"eostop --gua":                          "--guarantee",
		"eostop run --guarantee exactly":        "exactly_once_v2 exactly_once",
		"eostop --rate 5 --theme c":             "colorblind",
		"eostop simulate --ho":                  "--hours",
		"eostop run --ho":                       "",
		"eostop simulate --brok":                "",
		"eostop matrix --q":                     "--quick",
		"eostop run --rate ":                    "",
		"eostop run --profile kafka-4":          "kafka-4.3",
		"eostop run --fault store":              "store-open-fails",
		"eostop run --schedule st":              "storm",
		"eostop diff be":                        "before.json",
		"eostop run --report be":                "before.json",
		"eostop diff before.json --tol":         "--tolerance",
		"eostop run --log-level w --topology e": "eostest eostest-complex",
	} {
		words := strings.Split(line, " ")
		ask := `source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _eostop; echo "${COMPREPLY[*]}"`
		cmd := exec.CommandContext(t.Context(), bash, append([]string{"-c", ask, "bash", script}, words...)...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%q: %v, offers %q, want %q", line, err, got, want)
		}
	}
}

// TestCompletionScripts checks what there is for every shell, and each shell's own check where it is installed.
func TestCompletionScripts(t *testing.T) {
	for _, shell := range Shells() {
		text := completion(t, shell)
		for _, want := range []string{"eostop", "guarantee", "exactly_once_v2", "kafka-2.4.0-rc", "tolerance", "quick", "hours", "leader-move"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q", shell, want)
			}
		}
		if path, err := exec.LookPath(shell); err == nil {
			cmd := exec.CommandContext(t.Context(), path, "-n")
			cmd.Stdin = strings.NewReader(text)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", shell, err, out)
			}
		}
	}
	if _, err := Completion("csh", nil, nil); err == nil || !strings.Contains(err.Error(), "valid: bash, fish, zsh") {
		t.Errorf("%v", err)
	}
	if got := Shells(); !slices.IsSorted(got) {
		t.Errorf("%v", got)
	}
}
