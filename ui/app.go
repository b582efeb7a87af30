package ui

import (
	"fmt"
	"runtime/debug"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"eostop/faults/soak"
	"eostop/runtime/journal"
)

// mode decides who gets a key first, so that typing can never trigger a command.
type mode int

const (
	modeNormal mode = iota
	modeFilter
	modePrompt
)

// Messages to the model. They come only from the input and from commands that the model started.
type (
	tickMsg    struct{}
	stoppedMsg struct{}
	// doneMsg is the outcome of a command that took its time outside the model.
	doneMsg struct {
		text     string
		err      error
		instance string // no longer pending
	}
	// crashMsg is a panic in one of the model's commands.
	crashMsg struct{ err *PanicError }
)

// PanicError is a panic of the dashboard. The terminal has been restored when Run returns it.
type PanicError struct {
	Value any
	Stack []byte
}

// Error is one line; Stack has the rest.
func (e *PanicError) Error() string { return fmt.Sprintf("the dashboard panicked: %v", e.Value) }

// app is the only bubbletea model. Everything in it belongs to bubbletea's event loop.
type app struct {
	session Session
	player  *player // of a recording; nil for a session that goes on
	options Options
	glyphs  *glyphSet
	styles  *styles
	closing chan struct{} // closed when Run returns, so that commands end

	w, h    int
	blurred bool

	live   *soak.Snapshot
	hist   *history
	log    *eventLog
	frozen *view // what is shown while the view is frozen

	panels   [panelCount]panel
	focus    panelID
	slot     panelID
	zoom     bool
	mode     mode
	typed    string
	prompt   *prompt // what is asked for in modePrompt
	overlay  *overlay
	chosen   string          // instance of the row that was selected last
	pending  map[string]bool // instances with a cut or a heal on its way
	toast    toast
	quits    int
	crash    *PanicError
	left     bool // the user left before the session had stopped
	over     bool // the program is about to end
	frame    string
	dirty    bool
	exported bool // an export is on its way
}

func newApp(s Session, o Options) *app {
	m := &app{
		session: s, options: o, closing: make(chan struct{}), live: &soak.Snapshot{}, hist: newHistory(), log: &eventLog{},
		slot: panelThreads, pending: map[string]bool{}, dirty: true,
		panels: [panelCount]panel{newThreads(), newProducers(), newStores(), newTasks(), throughput{}, newCuts(), &events{level: journal.Info}},
	}
	m.player, _ = s.(*player)
	m.glyphs, m.styles = o.look()
	return m
}

// Init takes the first snapshot and starts the clock.
func (m *app) Init() tea.Cmd {
	_, cmd := m.Update(tickMsg{})
	return cmd
}

// View returns the last frame. Drawing is part of Update, where a panic can end the program in good order.
func (m *app) View() string { return m.frame }

// Update never waits: what may take its time runs as a command. A jump in a recording reads up to ten minutes of it first, which takes
// half a second.
func (m *app) Update(msg tea.Msg) (model tea.Model, cmd tea.Cmd) {
	defer func() {
		if r := recover(); r != nil {
			m.crash = &PanicError{r, debug.Stack()}
			model, cmd = m, m.end()
		}
	}()
	cmd = m.handle(msg)
	if m.dirty && !m.over {
		m.frame, m.dirty = m.render(), false
	}
	return m, cmd
}

func (m *app) handle(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case tickMsg:
		m.poll()
		return m.tick()
	case tea.WindowSizeMsg:
		m.w, m.h, m.dirty = msg.Width, msg.Height, true
	case tea.KeyMsg:
		m.dirty = true
		return m.key(msg)
	case tea.FocusMsg:
		m.blurred = false
		m.poll()
	case tea.BlurMsg:
		m.blurred = true
	case tea.ResumeMsg:
		m.poll()
	case doneMsg:
		m.done(msg)
	case crashMsg:
		m.crash = msg.err
		return m.end()
	case stoppedMsg:
		return m.end()
	}
	return nil
}

// end leaves the dashboard with an empty screen: tmux for one shows what was on the alternate screen after it has been
// left, if it was resized meanwhile.
func (m *app) end() tea.Cmd {
	m.over, m.frame = true, ""
	return tea.Quit
}

// poll takes a snapshot. It costs microseconds, so it needs no command.
func (m *app) poll() {
	if m.player != nil {
		m.play()
	} else if s := m.session.Snapshot(); s != nil && s != m.live {
		m.take(s)
	}
	if m.toast.text != "" && !time.Now().Before(m.toast.until) {
		m.toast, m.dirty = toast{}, true
	}
}

// take makes a snapshot the present one.
func (m *app) take(s *soak.Snapshot) {
	m.live, m.dirty = s, true
	m.hist.add(s)
	m.log.add(s.Events)
}

// play takes over what has come up in a recording.
func (m *app) play() {
	pictures, back, err := m.player.play(time.Now())
	if back {
		m.hist, m.log = newHistory(), &eventLog{}
	}
	for _, s := range pictures {
		m.take(s)
	}
	if err != nil {
		m.complain(err.Error())
	}
	m.dirty = m.dirty || !m.player.paused // the footer says where it is
}

// tick asks for the next message of the clock. As it is asked for only when the last one has been handled, a slow
// terminal lowers the rate and nothing queues up.
func (m *app) tick() tea.Cmd {
	wait := time.Second / time.Duration(m.options.FPS)
	if m.blurred {
		wait = time.Second
	}
	return func() tea.Msg {
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-t.C:
			return tickMsg{}
		case <-m.closing:
			return nil
		}
	}
}

// view is what is shown now: the live picture, or the one at which it was frozen.
func (m *app) view() *view {
	v := m.frozen
	if v == nil {
		v = &view{snap: m.live, hist: m.hist, log: m.log}
	}
	v.width, v.styles, v.glyphs = m.w, m.styles, m.glyphs
	return v
}

func (m *app) layout() screen {
	rows := 0
	for i := range m.live.Instances {
		rows += 1 + len(m.live.Instances[i].Threads)
	}
	return layout(layoutArgs{w: m.w, h: m.h, focus: m.focus, slot: m.slot, zoom: m.zoom, threadRows: max(rows, 4)})
}

// guarded runs f as a command, outside the event loop. A panic in it ends the dashboard, not the terminal's usability.
func guarded(f func() tea.Msg) tea.Cmd {
	return func() (msg tea.Msg) {
		defer func() {
			if r := recover(); r != nil {
				msg = crashMsg{&PanicError{r, debug.Stack()}}
			}
		}()
		return f()
	}
}

func (m *app) done(msg doneMsg) {
	delete(m.pending, msg.instance)
	if msg.instance == "" {
		m.exported = false
	}
	if msg.err != nil {
		m.complain(msg.err.Error())
	} else if msg.text != "" {
		m.say(msg.text)
	}
	m.poll() // What has been done is shown at once, not at the next tick.
}
