package ui

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	tea "github.com/charmbracelet/bubbletea"

	"eostop/runtime/journal"
)

// TestKeymap checks that no key is said twice and that every action is in the help.
func TestKeymap(t *testing.T) {
	seen := map[string]action{}
	groups := map[string]bool{}
	for _, g := range keyGroups {
		groups[g.id] = true
	}
	for _, b := range keymap {
		for _, k := range b.keys {
			if other, twice := seen[k]; twice {
				t.Errorf("key %q does %d and %d", k, other, b.action)
			}
			seen[k] = b.action
		}
		if !groups[b.group] || b.help == "" || b.label == "" {
			t.Errorf("binding %q is not in the help", b.label)
		}
	}
	if got := len(Keys()); got != len(keymap) {
		t.Errorf("Keys has %d entries, want %d", got, len(keymap))
	}
	if act, nth := actionOf(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune("p"), Paste: true}); act != actNone || nth != 0 {
		t.Error("pasted text acts like a key")
	}
}

// TestTypingFiresNothing checks that keys which are commands elsewhere are text while a filter is typed, and that
// an overlay keeps them to itself.
func TestTypingFiresNothing(t *testing.T) {
	m := sceneModel(plainOptions(), 120, 40)
	press(m, "3/")
	if cmds := press(m, "peqHvz 7?s"); len(cmds) > 0 {
		t.Fatalf("typing gave %d commands", len(cmds))
	}
	f := m.panels[panelStores].filterable()
	if f.text != "peqHvz 7?s" || m.focus != panelStores || m.zoom || m.frozen != nil || m.overlay != nil || m.quits != 0 {
		t.Errorf("filter %q, focus %d, zoom %v, overlay %v: typing did something else", f.text, m.focus, m.zoom, m.overlay)
	}
	m.Update(tea.KeyMsg{Type: tea.KeyBackspace})
	if f.text != "peqHvz 7?" {
		t.Errorf("backspace left %q", f.text)
	}
	press(m, "\x1b")
	if f.text != "" || m.mode != modeNormal {
		t.Errorf("escape left %q in mode %d", f.text, m.mode)
	}
	press(m, "?")
	if cmds := press(m, "peH s7"); len(cmds) > 0 || m.focus != panelStores || m.overlay == nil {
		t.Error("a key went through an overlay")
	}
	press(m, "q")
	if m.overlay != nil || m.quits != 0 {
		t.Error("q did not just close the overlay")
	}
	m.Update(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune("4jjj/no")})
	if m.focus != panelTasks || m.mode != modeFilter || m.typed != "no" {
		t.Errorf("keys that came together: focus %d, typed %q", m.focus, m.typed)
	}
	if cmd := m.key(tea.KeyMsg{Type: tea.KeyCtrlC}); cmd == nil || m.quits != 1 {
		t.Error("ctrl-c did not quit")
	}
}

func TestFilterAndSort(t *testing.T) {
	m := sceneModel(plainOptions(), 200, 60)
	v := m.view()
	stores, ok := m.panels[panelStores].(*table[storeRow])
	if !ok {
		t.Fatal("panel 3 is not the stores")
	}
	press(m, "3/RESTORING\r")
	if rows := stores.list(v); len(rows) != 3 || rows[0].store.State != "RESTORING" {
		t.Errorf("%d stores pass the filter, want the 3 that restore", len(rows))
	}
	press(m, "/")
	press(m, "\x1b")
	if n := len(stores.list(v)); n != 63 {
		t.Errorf("%d stores without a filter, want 63", n)
	}
	tasks, ok := m.panels[panelTasks].(*table[taskRow])
	if !ok {
		t.Fatal("panel 4 is not the tasks")
	}
	press(m, "4")
	selected := tasks.selected
	for tasks.sort < 0 || tasks.columns[tasks.sort].title != "LAG" {
		press(m, "s")
	}
	press(m, "S")
	rows := tasks.list(v)
	if !slices.IsSortedFunc(rows, func(a, b taskRow) int { return compare(b.task.Lag, a.task.Lag) }) {
		t.Error("the tasks are not in falling order of their lag")
	}
	if tasks.selected != selected || tasks.id(&rows[tasks.index]) != selected {
		t.Error("sorting moved the cursor to another row")
	}
}

// TestThreadsStayBelowTheirInstance checks that sorting does not tear instances apart.
func TestThreadsStayBelowTheirInstance(t *testing.T) {
	m := sceneModel(plainOptions(), 120, 40)
	threads, ok := m.panels[panelThreads].(*table[threadRow])
	if !ok {
		t.Fatal("panel 1 is not the threads")
	}
	for range len(threads.columns) {
		press(m, "sS")
		for i, row := range threads.list(m.view()) {
			if (i%4 == 0) != (row.thread == nil) || row.at != i/4 {
				t.Fatalf("sorted by %s: row %d is %s", threads.columns[max(0, threads.sort)].title, i, row.name())
			}
		}
	}
}

func TestSelectionNamesTheInstance(t *testing.T) {
	tests := []struct{ keys, want string }{
		{"", "i1"},
		{"jjjjj", "i2"},
		{"G", "i3"},
		{"jjjj5", "i2"}, // Throughput has no rows: what was selected before counts.
		{"7", "i1"},     // Following events does not select.
		{"7k", "i3"},
		{"6", "i2"},
		{"2G", "i3"},
		{"4G5", "i3"},
	}
	for _, tt := range tests {
		t.Run(tt.keys, func(t *testing.T) {
			m := sceneModel(plainOptions(), 120, 40)
			press(m, tt.keys)
			if got := m.target(m.view()); got != tt.want {
				t.Errorf("p would take %s, want %s", got, tt.want)
			}
		})
	}
}

func TestFreeze(t *testing.T) {
	m := sceneModel(plainOptions(), 120, 40)
	press(m, " ")
	before := strings.Split(m.render(), "\n")
	later := sceneAt(sceneEnd + 8e9)
	later.Events = append(later.Events, journal.Event{Seq: 900, At: later.At, Level: journal.Error, Text: "something new"})
	m.session = still{later}
	m.poll()
	after := strings.Split(m.render(), "\n")
	if !slices.Equal(before[:39], after[:39]) {
		t.Error("the frozen view moved")
	}
	if !strings.Contains(after[39], "FROZEN 8.0 s") {
		t.Errorf("the banner says %q", after[39])
	}
	press(m, " ")
	if screen := m.render(); strings.Contains(screen, "FROZEN") || !strings.Contains(screen, "something new") {
		t.Error("the view did not go on")
	}
}

func TestEventsStayWhereTheyAreRead(t *testing.T) {
	m := sceneModel(plainOptions(), 80, 24)
	feed := func(from, to uint64) {
		s := *sceneAt(sceneEnd)
		s.Events = nil
		for seq := from; seq <= to; seq++ {
			s.Events = append(s.Events, journal.Event{Seq: seq, At: s.At, Level: journal.Info, Instance: "i1", Text: fmt.Sprint("line ", seq)})
		}
		m.session = still{&s}
		m.poll()
	}
	feed(100, 199)
	last := func() string { lines := strings.Split(m.render(), "\n"); return strings.Join(lines[19:], "\n") }
	if !strings.Contains(last(), "line 199") {
		t.Fatalf("the newest event is not shown:\n%s", last())
	}
	press(m, "7kkk")
	before := strings.Split(last(), "\n")[1:4]
	feed(200, 331)
	got := last()
	if !slices.Equal(before, strings.Split(got, "\n")[1:4]) {
		t.Errorf("the lines moved while they were read:\n%s", got)
	}
	if !strings.Contains(got, "paused, 132 new") {
		t.Errorf("the title does not say what is new:\n%s", got)
	}
	feed(1000, 1010) // 668 were overwritten before a snapshot showed them.
	if got := last(); !strings.Contains(got, "dropped") || !slices.Equal(before, strings.Split(got, "\n")[1:4]) {
		t.Errorf("after a gap:\n%s", got)
	}
	if want := uint64(3 + 100 - 57 + 668); m.log.dropped > want+100 || m.log.dropped < 668 {
		t.Errorf("%d dropped", m.log.dropped)
	}
	press(m, "G")
	if got := last(); !strings.Contains(got, "line 1010") || strings.Contains(got, "paused") {
		t.Errorf("G does not follow:\n%s", got)
	}
	press(m, "LL/line 10\r")
	if got := last(); strings.Contains(got, "line 1010") || !strings.Contains(got, "ERROR and above") {
		t.Errorf("the level does not hide:\n%s", got)
	}
	press(m, "LL")
	if got := last(); !strings.Contains(got, "line 1010") || strings.Contains(got, "line 331") {
		t.Errorf("the filter does not hide:\n%s", got)
	}
}

func TestToastsAreCountedAndEnd(t *testing.T) {
	m := sceneModel(plainOptions(), 80, 24)
	press(m, "5sss")
	if screen := m.render(); !strings.Contains(screen, "there is nothing to sort in this panel (x3)") {
		t.Errorf("no counted message:\n%s", screen)
	}
	press(m, "\x1b")
	if m.toast.text != "" {
		t.Error("escape did not take the message away")
	}
}
