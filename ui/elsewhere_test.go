package ui

import (
	"fmt"
	"strings"
	"testing"

	"eostop/faults/soak"
	"eostop/runtime"
)

// withOthers is the scene with an instance of another process, whose name is that of one here and holds a control sequence.
func withOthers(t *testing.T, w, h int) *app {
	t.Helper()
	m := sceneModel(plainOptions(), w, h)
	s := *sceneAt(sceneEnd)
	s.Seq++
	other := soak.Elsewhere{Host: "/10.0.0.2"}
	other.Name, other.State, other.Connected = "i1", soak.StateElsewhere, true
	for k := range 2 {
		other.Threads = append(other.Threads, runtime.ThreadStatus{
			Name: fmt.Sprintf("i1-StreamThread-%d\x1b[2J", k+1), Instance: "i1", State: soak.StateElsewhere, Connected: true, Generation: -1,
			MemberID: fmt.Sprintf("i1-StreamThread-%d-consumer-77aa", k+1), Tasks: []runtime.TaskStatus{{ID: fmt.Sprintf("0_%d", 7+k), State: "RUNNING"}},
		})
	}
	s.Elsewhere = []soak.Elsewhere{other}
	m.session = still{&s}
	m.poll()
	m.setFocus(panelThreads)
	m.zoom = true
	return m
}

// TestMembersElsewhere: other processes of the application are shown as members of the group, with what the coordinator tells.
func TestMembersElsewhere(t *testing.T) {
	for _, size := range [][2]int{{80, 24}, {120, 40}} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			golden(t, fmt.Sprintf("elsewhere-%dx%d", size[0], size[1]), withOthers(t, size[0], size[1]).render())
		})
	}
	m := withOthers(t, 120, 40)
	press(m, "G\r")
	if page := trimRight(m.render()); !strings.Contains(page, "i1-StreamThread-2-consumer-77aa") || strings.Contains(page, "\x1b[2J") {
		t.Errorf("the page of a thread elsewhere:\n%s", page)
	}
}

// TestMembersElsewhereCannotBeCut: the instance here of the same name is left alone.
func TestMembersElsewhereCannotBeCut(t *testing.T) {
	m := withOthers(t, 120, 40)
	if cmds := press(m, "Gp"); len(cmds) > 0 {
		t.Errorf("%d commands", len(cmds))
	}
	if page := trimRight(m.render()); !strings.Contains(page, "runs in another process") {
		t.Errorf("no word about it:\n%s", page)
	}
}
