package ui

import (
	"fmt"
	"slices"

	tea "github.com/charmbracelet/bubbletea"

	"eostop/faults/soak"
)

// key hands a key to whoever has it: the filter, the overlay, or the keymap. Keys that come in one read of the
// terminal, as held keys do over a slow line, are one message; they count one by one.
func (m *app) key(msg tea.KeyMsg) tea.Cmd {
	if msg.Type == tea.KeyRunes && len(msg.Runes) > 1 && !msg.Paste && !msg.Alt {
		var cmds []tea.Cmd
		for _, r := range msg.Runes {
			if cmd := m.key(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune{r}}); cmd != nil {
				cmds = append(cmds, cmd)
			}
		}
		return tea.Sequence(cmds...) // Stop must not overtake what came before it.
	}
	act, nth := actionOf(msg)
	if msg.String() == "ctrl+c" {
		return m.quit()
	}
	switch {
	case act == actRedraw:
		return tea.ClearScreen
	case act == actSuspend:
		return tea.Suspend
	case m.mode == modeFilter:
		m.typeFilter(msg)
		return nil
	case m.mode == modePrompt:
		return m.typePrompt(msg)
	case m.overlay != nil:
		m.overlayKey(act)
		return nil
	}
	return m.do(act, nth)
}

// doing is what is done to the session.
var doing = []action{actPartition, actHealAll, actCutFor, actInject, actKill, actAddThread, actRemoveThread, actExport}

func (m *app) do(act action, nth int) tea.Cmd {
	v := m.view()
	if m.player != nil {
		if m.player.act(act) {
			m.poll()
			return nil
		}
		if slices.Contains(doing, act) {
			m.say(errRecording.Error())
			return nil
		}
	}
	switch act {
	case actNone:
	case actBack, actForward, actFarBack, actFarForward, actStepBack, actStep, actSlower, actFaster, actFinding:
		m.say("only a recording can be moved through: eostop replay FILE")
	case actQuit:
		return m.quit()
	case actHelp:
		m.show(v, func(*view) *page { return explainKeys() })
	case actVerdict:
		m.show(v, explainVerdict)
	case actExplain:
		m.panels[m.focus].act(v, actExplain) // The events panel stands still for it.
		m.show(v, m.panels[m.focus].explain)
	case actPartition:
		return m.toggleCut(v)
	case actHealAll:
		return m.healAll()
	case actCutFor:
		m.cutFor(v)
	case actInject:
		m.inject(v)
	case actKill:
		return m.kill(v)
	case actAddThread, actRemoveThread:
		return m.resize(v, act == actAddThread)
	case actExport:
		return m.export()
	case actFreeze:
		m.freeze()
	case actFilter:
		if f := m.panels[m.focus].filterable(); f != nil {
			m.mode, m.typed = modeFilter, f.text
		} else {
			m.say("there is nothing to filter in this panel")
		}
	case actNextPanel:
		m.setFocus((m.focus + 1) % panelCount)
	case actPreviousPanel:
		m.setFocus((m.focus + panelCount - 1) % panelCount)
	case actPanel:
		m.setFocus(panelID(nth))
	case actZoom:
		m.zoom = !m.zoom
	case actClose:
		m.close()
	default:
		m.panelKey(v, act)
	}
	return nil
}

// panelKey moves and sorts. The events panel also takes its own keys while another has the focus.
func (m *app) panelKey(v *view, act action) {
	target := m.focus
	if act == actFollow || act == actLevel {
		target = panelEvents
	}
	p := m.panels[target]
	if !p.act(v, act) {
		if act == actSort || act == actReverse {
			m.say("there is nothing to sort in this panel")
		}
		return
	}
	if in := p.instance(v); in != "" {
		m.chosen = in
	}
}

func (m *app) setFocus(id panelID) {
	m.focus = id
	if id != panelThroughput && id != panelEvents {
		m.slot = id
	}
	if in := m.panels[id].instance(m.view()); in != "" {
		m.chosen = in
	}
}

// close undoes what covers or hides something, one thing at a time.
func (m *app) close() {
	f := m.panels[m.focus].filterable()
	switch {
	case m.toast.text != "":
		m.toast = toast{}
	case f != nil && f.text != "":
		f.set("")
	case m.frozen != nil:
		m.frozen = nil
	case m.zoom:
		m.zoom = false
	}
}

// show opens an overlay if there is anything to show.
func (m *app) show(v *view, build func(v *view) *page) {
	o := &overlay{build: build}
	if o.refresh(v); o.page != nil {
		m.overlay = o
	}
}

func (m *app) overlayKey(act action) {
	page := max(1, m.overlay.height-1)
	switch act {
	case actUp:
		m.overlay.scroll(-1)
	case actDown:
		m.overlay.scroll(1)
	case actPageUp:
		m.overlay.scroll(-page)
	case actPageDown:
		m.overlay.scroll(page)
	case actTop:
		m.overlay.scroll(-m.overlay.total)
	case actBottom:
		m.overlay.scroll(m.overlay.total)
	case actClose, actExplain, actQuit, actHelp, actVerdict:
		m.overlay = nil
	default: // The other keys wait until the overlay is gone.
	}
}

func (m *app) typeFilter(msg tea.KeyMsg) {
	f := m.panels[m.focus].filterable()
	switch msg.Type {
	case tea.KeyEnter:
		m.mode = modeNormal
	case tea.KeyEsc:
		m.mode, m.typed = modeNormal, ""
	default:
		m.typed = edited(m.typed, msg)
	}
	f.set(m.typed)
}

// freeze keeps copies of what is shown, or lets it go on.
func (m *app) freeze() {
	if m.frozen != nil {
		m.frozen = nil
		return
	}
	m.frozen = &view{snap: m.live, hist: m.hist.clone(), log: m.log.clone()}
}

// target is the instance that p would cut or heal: that of the selected row, or of the one that was selected last
// where the focused panel has none.
func (m *app) target(v *view) string {
	if in := m.panels[m.focus].instance(v); in != "" {
		return in
	}
	if m.chosen != "" {
		return m.chosen
	}
	return m.panels[panelThreads].instance(v)
}

// liveInstance looks an instance up in the newest snapshot, frozen view or not: what is done is done to the present.
func (m *app) liveInstance(name string) *soak.Instance {
	for i := range m.live.Instances {
		if m.live.Instances[i].Name == name {
			return &m.live.Instances[i]
		}
	}
	return nil
}

func (m *app) toggleCut(v *view) tea.Cmd {
	name, ok := m.here(v)
	if !ok {
		return nil
	}
	session := m.session
	if m.liveInstance(name).Cut {
		return m.byHand(name, "heal "+name, func() (string, error) { return name + " is healed", session.Heal(name) })
	}
	return m.byHand(name, "cut "+name, func() (string, error) {
		return name + " is cut off from the brokers; p heals it", session.Partition(name, "both")
	})
}

func (m *app) healAll() tea.Cmd {
	var cmds []tea.Cmd
	for i := range m.live.Instances {
		name := m.live.Instances[i].Name
		if !m.live.Instances[i].Cut || m.pending[name] {
			continue
		}
		session := m.session
		cmds = append(cmds, m.byHand(name, "heal "+name, func() (string, error) { return name + " is healed", session.Heal(name) }))
	}
	if len(cmds) == 0 {
		m.say("no instance is cut off")
		return nil
	}
	return tea.Batch(cmds...)
}

func (m *app) export() tea.Cmd {
	if m.exported {
		m.say("the session log is being written")
		return nil
	}
	m.exported = true
	session := m.session
	return guarded(func() tea.Msg {
		path, err := session.Export()
		if err != nil {
			return doneMsg{err: fmt.Errorf("export the session log: %w", err)}
		}
		return doneMsg{text: "session log written to " + path}
	})
}

// quit asks the session to stop: the first time in good order, the second time at once. Whoever cannot wait even for
// that leaves with the third.
func (m *app) quit() tea.Cmd {
	if m.player != nil {
		return m.end()
	}
	m.quits++
	session, now := m.session, m.quits > 1
	switch m.quits {
	case 1:
		m.say("stopping the load; what is left is worked off, then this closes. q again stops now")
	case 2:
		m.say("stopping now")
	default:
		m.left = true
		return m.end()
	}
	return guarded(func() tea.Msg {
		session.Stop(now)
		return nil
	})
}
