package ui

import (
	"fmt"

	tea "github.com/charmbracelet/bubbletea"
)

// here returns the instance that something is to be done to. It says so when there is none in this process.
func (m *app) here(v *view) (name string, ok bool) {
	name = m.target(v)
	switch in := m.liveInstance(name); {
	case in == nil && name != "":
		m.complain(clean(name) + " runs in another process: do it there")
		return "", false
	case in == nil:
		m.complain("no instance is selected")
		return "", false
	case m.pending[name]:
		m.say("what was asked of " + name + " last is still on its way")
		return "", false
	}
	m.chosen = name
	return name, true
}

// byHand asks the session for something that concerns an instance, and says how it went.
func (m *app) byHand(instance, what string, do func() (said string, err error)) tea.Cmd {
	m.pending[instance] = true
	return guarded(func() tea.Msg {
		said, err := do()
		if err != nil {
			return doneMsg{err: fmt.Errorf("%s: %w", what, err), instance: instance}
		}
		return doneMsg{text: said, instance: instance}
	})
}

// cutFor asks for how long, and in which direction.
func (m *app) cutFor(v *view) {
	name, ok := m.here(v)
	if !ok {
		return
	}
	session := m.session
	m.ask(&prompt{
		label: "cut " + name + " off for", text: "20s", hint: "like 20s or 5m:in; in, out or both: until p heals it",
		do: func(text string) tea.Cmd {
			return m.byHand(name, "cut "+name, func() (string, error) {
				return name + " is cut off from the brokers: " + text, session.Cut(name, text)
			})
		},
	})
}

// inject asks for a fault.
func (m *app) inject(v *view) {
	name, ok := m.here(v)
	if !ok {
		return
	}
	session := m.session
	m.ask(&prompt{
		label: "fault", hint: "up and down: others, enter: do it", choices: session.FaultChoices(name, m.threadIndex(v, name)),
		do: func(text string) tea.Cmd {
			return m.byHand(name, "inject", func() (string, error) { return "injected: " + text, session.Inject(text) })
		},
	})
}

// selectedThread is the row of the first panel if it is a thread of this process, else nil.
func (m *app) selectedThread(v *view) *threadRow {
	t, _ := m.panels[panelThreads].(*table[threadRow])
	if row := t.row(v); row != nil && row.thread != nil && row.host == "" {
		return row
	}
	return nil
}

// threadIndex is the number of the selected thread if it is the instance's, or else 1.
func (m *app) threadIndex(v *view, instance string) int {
	if row := m.selectedThread(v); row != nil && row.instance.Name == instance {
		return row.thread.Index
	}
	return 1
}

// kill lets the selected thread fail.
func (m *app) kill(v *view) tea.Cmd {
	row := m.selectedThread(v)
	if row == nil {
		m.complain("select a thread of this process in the first panel, and x kills it")
		return nil
	}
	name, index, instance, session := row.thread.Name, row.thread.Index, row.instance.Name, m.session
	return m.byHand(instance, "kill "+name, func() (string, error) {
		return name + " fails in its next round", session.Inject(fmt.Sprintf("panic,instance=%s,thread=%d", instance, index))
	})
}

// resize starts another thread of an instance, or ends the last one.
func (m *app) resize(v *view, more bool) tea.Cmd {
	name, ok := m.here(v)
	if !ok {
		return nil
	}
	session := m.session
	if more {
		return m.byHand(name, "add a thread to "+name, func() (string, error) {
			thread, err := session.AddThread(name)
			return thread + " is started", err
		})
	}
	return m.byHand(name, "remove a thread of "+name, func() (string, error) {
		thread, err := session.RemoveThread(name)
		return thread + " has committed, closed its tasks and left", err
	})
}
