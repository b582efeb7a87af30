//go:build unix

package ui

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/hinshun/vt10x"

	"eostop/faults/soak"
)

// childMode is the environment variable that makes the test binary a dashboard.
const childMode = "EOSTOP_UI_CHILD"

// crashing is a session that breaks after some frames.
type crashing struct{ *fakeSession }

func (c crashing) Snapshot() *soak.Snapshot {
	s := c.fakeSession.Snapshot()
	if c.polled() > 5 {
		panic("the session broke")
	}
	return s
}

// TestDashboardChild is the program in the terminal of the other tests.
func TestDashboardChild(t *testing.T) {
	mode := os.Getenv(childMode)
	if mode == "" {
		t.Skip("it is run by the tests below")
	}
	ctx, stop := signal.NotifyContext(t.Context(), syscall.SIGTERM)
	defer stop()
	fake := newFakeSession()
	var s Session = fake
	if mode == "panic" {
		s = crashing{fake}
	}
	err := Run(ctx, s, Default())
	if _, werr := fmt.Fprintf(os.Stdout, "ended: %v.\n", err); werr != nil {
		t.Fatal(werr)
	}
}

// child is a dashboard in a terminal of its own.
type child struct {
	t     *testing.T
	cmd   *exec.Cmd
	tty   *os.File
	raw   strings.Builder
	term  vt10x.Terminal
	bytes chan []byte
}

func dashboard(t *testing.T, mode string, w, h int, env ...string) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestDashboardChild$")
	cmd.Env = append([]string{"TERM=xterm-256color", "LANG=C.UTF-8", childMode + "=" + mode}, env...)
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Cols: uint16(w), Rows: uint16(h)})
	if err != nil {
		t.Fatal(err)
	}
	c := &child{t: t, cmd: cmd, tty: tty, term: vt10x.New(vt10x.WithSize(w, h)), bytes: make(chan []byte, 64)}
	go func() {
		defer close(c.bytes)
		for {
			b := make([]byte, 1<<16)
			n, err := tty.Read(b)
			if err != nil {
				return // The terminal is closed when its last program ends.
			}
			c.bytes <- b[:n]
		}
	}()
	return c
}

// until reads what the program writes until ok is true, or to the end.
func (c *child) until(what string, ok func() bool) {
	c.t.Helper()
	late := time.After(20 * time.Second)
	for !ok() {
		select {
		case b, open := <-c.bytes:
			if !open {
				if !ok() {
					c.t.Fatalf("it ended before %s; it wrote %q", what, c.raw.String())
				}
				return
			}
			c.raw.Write(b)
			if _, err := c.term.Write(b); err != nil {
				c.t.Fatal(err)
			}
		case <-late:
			c.t.Fatalf("no %s on the screen:\n%s", what, c.term.String())
		}
	}
}

func (c *child) shows(text string) {
	c.t.Helper()
	c.until(fmt.Sprintf("%q", text), func() bool { return strings.Contains(c.term.String(), text) })
}

func (c *child) types(keys string) {
	c.t.Helper()
	if _, err := c.tty.WriteString(keys); err != nil {
		c.t.Fatal(err)
	}
}

// ends waits for the program and checks that the terminal is as it was before.
func (c *child) ends(how string) {
	c.t.Helper()
	c.until("its end", func() bool { return strings.Contains(c.raw.String(), "ended: ") })
	for range c.bytes {
		continue
	}
	if err := c.cmd.Wait(); err != nil {
		c.t.Error(err)
	}
	c.tty.Close()
	out := c.raw.String()
	if !strings.Contains(out, "ended: "+how) {
		c.t.Errorf("it did not end with %q: %q", how, out[strings.LastIndex(out, "ended: "):])
	}
	end := strings.LastIndex(out, "ended: ")
	for _, mode := range []string{"1049", "25", "2004", "1004"} {
		on, off := "\x1b[?"+mode+"h", "\x1b[?"+mode+"l"
		if mode == "25" { // The cursor's mode is on when all is well.
			on, off = off, on
		}
		if i, j := strings.LastIndex(out, on), strings.LastIndex(out, off); i < 0 || j < i || j > end {
			c.t.Errorf("mode %s was not taken back", mode)
		}
	}
	if strings.Contains(out, "\x1b]11;?") || strings.Contains(out, "\x1b[6n") {
		c.t.Error("it queried the terminal")
	}
}

func TestTerminalIsRestored(t *testing.T) {
	t.Run("after q", func(t *testing.T) {
		c := dashboard(t, "run", 80, 24)
		c.shows("p cut i1")
		c.types("p")
		c.shows("CUT both")
		c.types("q")
		c.shows("DRAINING")
		c.types("q")
		c.ends("<nil>.")
		if frames, closed := strings.Count(c.raw.String(), "\x1b[?2026h"), strings.Count(c.raw.String(), "\x1b[?2026l"); frames == 0 || frames != closed {
			t.Errorf("%d frames begun, %d ended", frames, closed)
		}
	})
	t.Run("after SIGTERM", func(t *testing.T) {
		c := dashboard(t, "run", 80, 24)
		c.shows("p cut i1")
		if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		c.ends("<nil>.")
	})
	t.Run("after a panic", func(t *testing.T) {
		c := dashboard(t, "panic", 80, 24)
		c.ends("the dashboard panicked: the session broke.")
	})
}

func TestTerminalResize(t *testing.T) {
	c := dashboard(t, "run", 80, 24)
	c.shows("p cut i1")
	for _, size := range [][2]int{{200, 60}, {40, 10}, {120, 40}} {
		c.term.Resize(size[0], size[1])
		if err := pty.Setsize(c.tty, &pty.Winsize{Cols: uint16(size[0]), Rows: uint16(size[1])}); err != nil {
			t.Fatal(err)
		}
		want := map[int]string{200: "topology soak", 40: "dup 0", 120: "4 tasks  6 cuts"}[size[0]]
		c.shows(want)
	}
	if err := pty.Setsize(c.tty, &pty.Winsize{Cols: 30, Rows: 8}); err != nil {
		t.Fatal(err)
	}
	c.term.Resize(30, 8)
	c.shows("40x10, has 30x8")
	c.types("qq")
	c.ends("<nil>.")
}

func TestNoColorTerminal(t *testing.T) {
	c := dashboard(t, "run", 80, 24, "NO_COLOR=1")
	c.shows("p cut i1")
	c.types("qq")
	c.ends("<nil>.")
	if out := c.raw.String(); strings.Contains(out, "\x1b[3") || !strings.Contains(out, "\x1b[7m") {
		t.Error("there are colours, or no reverse")
	}
}
