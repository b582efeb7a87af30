package ui

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/hinshun/vt10x"

	"eostop/faults/soak"
	_ "eostop/faults/synctestrace"
)

// fakeSession lives on the clock of the test: its scene moves with time, and it remembers what it was asked to do.
type fakeSession struct {
	mu     sync.Mutex
	start  time.Time
	calls  []string
	cut    map[string]bool
	polls  int
	phase  string
	done   chan struct{}
	once   sync.Once
	fail   error
	broken bool // Partition panics
}

func newFakeSession() *fakeSession {
	return &fakeSession{start: time.Now(), cut: map[string]bool{}, phase: soak.PhaseRunning, done: make(chan struct{})}
}

func (f *fakeSession) Snapshot() *soak.Snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.polls++
	s := sceneAt(time.Since(f.start))
	s.Phase = f.phase
	for i := range s.Instances {
		s.Instances[i].Cut = f.cut[s.Instances[i].Name]
		s.Instances[i].CutDirection, s.Instances[i].CutSince = "both", s.At
	}
	return s
}

func (f *fakeSession) call(format string, args ...any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
	return f.fail
}

func (f *fakeSession) Partition(instance, direction string) error {
	if f.broken {
		panic("a command broke")
	}
	if err := f.call("cut %s %s", instance, direction); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cut[instance] = true
	return nil
}

func (f *fakeSession) Heal(instance string) error {
	f.mu.Lock()
	delete(f.cut, instance)
	f.mu.Unlock()
	return f.call("heal %s", instance)
}

func (f *fakeSession) Cut(instance, text string) error {
	return f.call("cut %s for %s", instance, text)
}

func (f *fakeSession) Inject(text string) error { return f.call("inject %s", text) }

func (f *fakeSession) FaultChoices(instance string, thread int) []soak.FaultChoice {
	return still{}.FaultChoices(instance, thread)
}

func (f *fakeSession) AddThread(instance string) (string, error) {
	return instance + "-StreamThread-4", f.call("add %s", instance)
}

func (f *fakeSession) RemoveThread(instance string) (string, error) {
	return instance + "-StreamThread-3", f.call("remove %s", instance)
}

func (f *fakeSession) Export() (string, error) { return "run-7.jsonl", f.call("export") }

func (f *fakeSession) Stop(now bool) {
	if f.call("stop %v", now) != nil {
		return
	}
	f.mu.Lock()
	f.phase = soak.PhaseDraining
	f.mu.Unlock()
	if now {
		f.once.Do(func() { close(f.done) })
	}
}

func (f *fakeSession) Done() <-chan struct{} { return f.done }

func (f *fakeSession) called() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

func (f *fakeSession) polled() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.polls
}

// screenBuffer keeps what was written to the terminal, and shows it as a terminal would.
type screenBuffer struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (b *screenBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.Write(p)
}

func (b *screenBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.String()
}

func (b *screenBuffer) screen(t *testing.T, w, h int) string {
	t.Helper()
	term := vt10x.New(vt10x.WithSize(w, h))
	if _, err := term.Write([]byte(b.String())); err != nil {
		t.Fatal(err)
	}
	return term.String()
}

// program is a dashboard in a bubble.
type program struct {
	t    *testing.T
	s    *fakeSession
	out  *screenBuffer
	send func(tea.Msg)
	err  chan error
	stop context.CancelFunc
}

func start(t *testing.T, change func(*app)) *program {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	p := &program{t: t, s: newFakeSession(), out: &screenBuffer{}, err: make(chan error, 1), stop: cancel}
	m := newApp(p.s, plainOptions())
	if change != nil {
		change(m)
	}
	// The program is reached through its own hook, so that run stays as it is.
	ready := make(chan *tea.Program, 1)
	hook := func(prog *tea.Program) { ready <- prog }
	go func() {
		defer close(p.err)
		p.err <- run(ctx, m, tea.WithInput(nil), tea.WithOutput(p.out), hook)
	}()
	prog := <-ready
	synctest.Wait() // The options are applied before the program is whole.
	p.send = prog.Send
	p.send(tea.WindowSizeMsg{Width: 120, Height: 40})
	p.wait(150 * time.Millisecond)
	return p
}

// finish leaves no goroutine behind, whether the program has ended or not.
func (p *program) finish() {
	p.stop()
	for open := true; open; {
		_, open = <-p.err
	}
}

func (p *program) wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (p *program) keys(keys ...string) {
	for _, k := range keys {
		msg := tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(k)}
		if special, ok := map[string]tea.KeyType{
			"ctrl+c": tea.KeyCtrlC, "enter": tea.KeyEnter, "esc": tea.KeyEsc, "backspace": tea.KeyBackspace, "tab": tea.KeyTab, "up": tea.KeyUp,
		}[k]; ok {
			msg = tea.KeyMsg{Type: special}
		}
		p.send(msg)
	}
	p.wait(100 * time.Millisecond)
}

func (p *program) shows(texts ...string) {
	p.t.Helper()
	screen := p.out.screen(p.t, 120, 40)
	for _, text := range texts {
		if !strings.Contains(screen, text) {
			p.t.Fatalf("%q is not on the screen:\n%s", text, screen)
		}
	}
}

// restored fails unless the terminal is as it was: no alternate screen, a cursor, no bracketed paste, no focus reports.
func (p *program) restored() {
	p.t.Helper()
	out := p.out.String()
	for _, mode := range []struct{ on, off string }{{"\x1b[?1049h", "\x1b[?1049l"}, {"\x1b[?25l", "\x1b[?25h"}, {"\x1b[?2004h", "\x1b[?2004l"}, {"\x1b[?1004h", "\x1b[?1004l"}} {
		if on, off := strings.LastIndex(out, mode.on), strings.LastIndex(out, mode.off); on < 0 || off < on {
			p.t.Errorf("%q was not taken back with %q", mode.on, mode.off)
		}
	}
}

func TestProgramSteersTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, nil)
		defer p.finish()
		p.shows("CLEAN", "i1", "StreamThread-3", "p cut i1")
		p.wait(3 * time.Second)
		if n := p.s.polled(); n < 28 || n > 36 {
			t.Errorf("%d snapshots in 3 s, want about 31", n)
		}
		p.keys("p")
		p.shows("i1 is cut off from the brokers; p heals it", "CUT both")
		p.wait(6 * time.Second)
		p.shows("p heal i1") // The message has gone.
		p.keys("j", "j", "j", "j", "p")
		p.keys("H")
		p.keys("e")
		p.shows("session log written to run-7.jsonl")
		p.keys("q")
		p.shows("stopping the load")
		p.wait(6 * time.Second)
		p.shows("DRAINING", "the application works off what is left")
		p.keys("q")
		if err := <-p.err; err != nil {
			t.Errorf("Run: %v", err)
		}
		calls := p.s.called()
		slices.Sort(calls[2:4]) // The two heals run side by side.
		want := []string{"cut i1 both", "cut i2 both", "heal i1", "heal i2", "export", "stop false", "stop true"}
		if !slices.Equal(calls, want) {
			t.Errorf("calls %q, want %q", calls, want)
		}
		p.restored()
	})
}

// TestProgramDoesThingsByHand: what needs more than a key is typed, chosen from a list, or left with escape.
func TestProgramDoesThingsByHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, nil)
		defer p.finish()
		p.keys("x")
		p.shows("select a thread")
		p.keys("j", "j", "P")
		p.shows("cut i1 off for: 20s_")
		p.keys("backspace", "backspace", "backspace", "5", "m", ":", "i", "n", "q")
		p.shows("cut i1 off for: 5m:inq_")
		p.keys("backspace", "enter")
		p.shows("i1 is cut off from the brokers: 5m:in")
		p.keys("P", "esc")
		p.keys("F")
		p.shows("what can be done, 1 of ", "panic,instance=i1,thread=2")
		p.keys("tab", "tab", "up")
		p.shows("what can be done, 2 of ", "the thread stands still")
		p.keys("0", "s", "enter")
		p.shows("injected: stall,instance=i1,thread=2 for 25s0s")
		p.keys("x")
		p.shows("i1-StreamThread-2 fails in its next round")
		p.keys("A")
		p.shows("i1-StreamThread-4 is started")
		p.keys("D")
		p.shows("i1-StreamThread-3 has committed")
		p.s.mu.Lock()
		p.s.fail = errors.New("there is no such \x1b[2Jthing")
		p.s.mu.Unlock()
		p.keys("F", "enter")
		p.shows("inject: there is no such thing")
		want := []string{
			"cut i1 for 5m:in", "inject stall,instance=i1,thread=2 for 25s0s", "inject panic,instance=i1,thread=2", "add i1", "remove i1",
			"inject panic,instance=i1,thread=2",
		}
		if calls := p.s.called(); !slices.Equal(calls, want) {
			t.Errorf("calls %q, want %q", calls, want)
		}
		p.s.mu.Lock()
		p.s.fail = nil
		p.s.mu.Unlock()
		p.keys("q", "q")
		if err := <-p.err; err != nil {
			t.Errorf("Run: %v", err)
		}
		p.restored()
	})
}

func TestProgramShowsErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, nil)
		defer p.finish()
		p.s.fail = errors.New("no space left on \x1b[2Jdevice")
		p.keys("e", "e")
		p.shows("export the session log: no space left on device")
		p.keys("q", "q")
		p.keys("q") // The session does not stop: the third time leaves.
		if err := <-p.err; !errors.Is(err, ErrLeft) {
			t.Errorf("Run: %v, want ErrLeft", err)
		}
		p.restored()
	})
}

func TestProgramEnds(t *testing.T) {
	t.Run("when the session is done", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := start(t, nil)
			defer p.finish()
			close(p.s.done)
			if err := <-p.err; err != nil {
				t.Errorf("Run: %v", err)
			}
			p.restored()
		})
	})
	t.Run("when the context is cancelled", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := start(t, nil)
			p.stop()
			if err := <-p.err; err != nil {
				t.Errorf("Run: %v", err)
			}
			p.restored()
		})
	})
	for name, change := range map[string]func(*app){
		"when a panel panics": func(m *app) { m.panels[panelTasks] = panicPanel{m.panels[panelTasks]} },
		"when a command panics": func(m *app) {
			s, ok := m.session.(*fakeSession)
			s.broken = ok
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := start(t, change)
				defer p.finish()
				p.keys("p", "4")
				var crash *PanicError
				if err := <-p.err; !errors.As(err, &crash) || len(crash.Stack) == 0 || !strings.Contains(err.Error(), "broke") {
					t.Errorf("Run: %v, want a PanicError with its stack", err)
				}
				p.restored()
			})
		})
	}
}

// panicPanel cannot be drawn.
type panicPanel struct{ panel }

func (panicPanel) draw(*view, *sheet, int, bool) { panic("a panel broke") }

func TestProgramSlowsDownInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, nil)
		defer p.finish()
		p.send(tea.BlurMsg{})
		p.wait(time.Second)
		before := p.s.polled()
		p.wait(10 * time.Second)
		if n := p.s.polled() - before; n < 9 || n > 11 {
			t.Errorf("%d snapshots in 10 s without focus, want 10", n)
		}
		p.send(tea.FocusMsg{})
		p.wait(2 * time.Second)
		before = p.s.polled()
		p.wait(time.Second)
		if n := p.s.polled() - before; n < 9 || n > 11 {
			t.Errorf("%d snapshots in a second with focus, want 10", n)
		}
		p.stop()
		if err := <-p.err; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestProgramWithoutASnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, func(m *app) { m.session = still{} })
		p.shows("no instance has started yet", "nothing has happened yet")
		p.keys("p")
		p.shows("no instance is selected")
		p.stop()
		if err := <-p.err; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}
