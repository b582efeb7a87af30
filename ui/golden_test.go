package ui

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"eostop/faults/soak"
)

var update = flag.Bool("update", false, "write the golden files anew")

// still is a session that stands still.
type still struct{ snap *soak.Snapshot }

func (s still) Snapshot() *soak.Snapshot       { return s.snap }
func (s still) Done() <-chan struct{}          { return nil }
func (s still) Partition(string, string) error { return nil }
func (s still) Heal(string) error              { return nil }
func (s still) Cut(string, string) error       { return nil }
func (s still) Inject(string) error            { return nil }

func (s still) AddThread(string) (string, error)    { return "", nil }
func (s still) RemoveThread(string) (string, error) { return "", nil }

func (s still) FaultChoices(instance string, thread int) []soak.FaultChoice {
	cfg := soak.Default()
	return cfg.FaultChoices(instance, thread)
}

func (s still) Export() (string, error) { return "session.jsonl", nil }
func (s still) Stop(bool)               {}

// plainOptions are Unicode glyphs without colours.
func plainOptions() Options {
	o := Default()
	o.Theme = "mono"
	o.Environ = []string{"TERM=xterm-256color", "LANG=C.UTF-8"}
	return o
}

var scene = sync.OnceValue(func() (snaps []*soak.Snapshot) {
	for at := time.Duration(0); at <= sceneEnd; at += 500 * time.Millisecond {
		snaps = append(snaps, sceneAt(at))
	}
	return snaps
})

// sceneModel is a model that has watched the scene to its end.
func sceneModel(o Options, w, h int) *app {
	m := newApp(still{}, o)
	for _, s := range scene() {
		m.session = still{s}
		m.poll()
	}
	m.w, m.h = w, h
	return m
}

// press types keys; \r is enter and \x1b is escape.
func press(m *app, keys string) []tea.Cmd {
	var cmds []tea.Cmd
	for _, r := range keys {
		msg := tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune{r}}
		switch r {
		case '\r':
			msg = tea.KeyMsg{Type: tea.KeyEnter}
		case '\x1b':
			msg = tea.KeyMsg{Type: tea.KeyEsc}
		case ' ':
			msg.Type = tea.KeySpace
		}
		if _, cmd := m.Update(msg); cmd != nil {
			cmds = append(cmds, cmd)
		}
	}
	return cmds
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	got = trimRight(got)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; run go test -update", err)
	}
	if got != string(want) {
		t.Errorf("%s differs; run go test -update and look at the difference. got:\n%s", path, got)
	}
}

// trimRight drops control sequences and what editors drop.
func trimRight(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		b.WriteString(strings.TrimRight(ansi.Strip(line), " \n"))
		b.WriteByte('\n')
	}
	return b.String()
}

func TestViewGolden(t *testing.T) {
	for _, size := range [][2]int{{40, 10}, {40, 24}, {80, 24}, {100, 40}, {120, 40}, {80, 50}, {200, 24}, {200, 60}} {
		t.Run(fmt.Sprintf("%dx%d", size[0], size[1]), func(t *testing.T) {
			golden(t, fmt.Sprintf("view-%dx%d", size[0], size[1]), sceneModel(plainOptions(), size[0], size[1]).render())
		})
	}
	t.Run("ascii", func(t *testing.T) {
		o := plainOptions()
		o.ASCII = true
		golden(t, "view-80x24-ascii", sceneModel(o, 80, 24).render())
	})
	for name, keys := range map[string]string{"help": "?", "explain-thread": "jjjjj\r", "explain-producer": "2G\r", "verdict": "v", "frozen": " ", "filter": "3/!open", "cut-for": "P", "faults": "F"} {
		t.Run(name, func(t *testing.T) {
			m := sceneModel(plainOptions(), 80, 24)
			press(m, keys)
			golden(t, "keys-"+name, m.render())
		})
	}
	for id := range panelCount {
		t.Run("zoom "+panelNames[id], func(t *testing.T) {
			m := sceneModel(plainOptions(), 120, 40)
			m.setFocus(id)
			m.zoom = true
			golden(t, "zoom-"+panelNames[id], m.render())
		})
	}
}
