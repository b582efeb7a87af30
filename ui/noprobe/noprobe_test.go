//go:build unix

package noprobe_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/creack/pty"

	"eostop/ui/noprobe"
)

// child is the environment variable that makes the test binary the program under test.
const child = "EOSTOP_NOPROBE_CHILD"

// TestSilent runs a program that imports bubbletea on a terminal that answers no queries: it must not ask any.
func TestSilent(t *testing.T) {
	if os.Getenv(child) != "" {
		var _ tea.Model
		noprobe.Restore()
		noprobe.Restore()
		ci, had := os.LookupEnv("CI")
		if _, err := io.WriteString(os.Stdout, "CI="+ci+" "+map[bool]string{true: "set", false: "unset"}[had]+"."); err != nil {
			t.Fatal(err)
		}
		return
	}
	for name, tt := range map[string]struct {
		env  []string
		want string
	}{
		"without CI": {nil, "CI= unset."},
		"with CI":    {[]string{"CI=yes"}, "CI=yes set."},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run=^TestSilent$")
			cmd.Env = append([]string{"TERM=xterm-256color", child + "=1", "PATH=" + os.Getenv("PATH")}, tt.env...)
			begin := time.Now()
			terminal, err := pty.Start(cmd)
			if err != nil {
				t.Fatal(err)
			}
			defer terminal.Close()
			out, err := io.ReadAll(terminal)
			var path *fs.PathError
			if err != nil && (!errors.As(err, &path) || !errors.Is(path.Err, syscall.EIO)) { // Linux's word for a closed terminal.
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("%v: %q", err, out)
			}
			if took := time.Since(begin); took > 4*time.Second {
				t.Errorf("it took %s: something waits for the terminal's answer", took)
			}
			if got := string(out); strings.Contains(got, "\x1b") || !strings.HasPrefix(got, tt.want) {
				t.Errorf("got %q, want %q and no escape", got, tt.want)
			}
		})
	}
}
