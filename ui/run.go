package ui

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/lipgloss"

	"eostop/faults/soak"
	"eostop/ui/noprobe"
)

// Source is what a session lets others see of it. Both methods may be called from any goroutine.
type Source interface {
	// Snapshot returns an immutable picture of the session, or nil as long as there is none. It does not wait.
	Snapshot() *soak.Snapshot
	// Done is closed when the session has stopped, whoever stopped it.
	Done() <-chan struct{}
}

// Session is what the dashboard shows and steers. All methods may be called from any goroutine; those besides Snapshot
// and Done may take their time.
type Session interface {
	Source
	// Partition cuts an instance off from the brokers; direction is both, in or out.
	Partition(instance, direction string) error
	// Heal ends the cut of an instance.
	Heal(instance string) error
	// Cut is Partition for a time: LENGTH[:both|in|out], or a direction alone.
	Cut(instance, text string) error
	// FaultChoices lists faults that can be done to an instance or a thread of it, and Inject does one, perhaps changed.
	FaultChoices(instance string, thread int) []soak.FaultChoice
	Inject(text string) error
	// AddThread and RemoveThread change the number of an instance's stream threads, and return the thread's name.
	AddThread(instance string) (string, error)
	RemoveThread(instance string) (string, error)
	// Export writes the session log as far as it goes and returns the file's path.
	Export() (path string, err error)
	// Stop ends the load and lets the application drain, or ends everything at once.
	Stop(now bool)
}

// ErrLeft says that the user left before the session had stopped.
var ErrLeft = errors.New("left before the session had stopped")

// Run shows the dashboard until the session is done, the user leaves, or ctx is cancelled, which is no error: nil is
// returned. It returns ErrLeft, a *PanicError or what is wrong with the terminal otherwise. In any case the terminal is
// as it was when Run returns. Signals are the caller's: cancel ctx for SIGTERM.
//
// Nothing else may write to the terminal meanwhile.
func Run(ctx context.Context, s Session, o Options) error {
	if err := o.Validate(); err != nil {
		return err
	}
	noprobe.Restore()
	lipgloss.SetHasDarkBackground(true) // So that nothing asks the terminal later on.
	out := o.Output
	if out == nil {
		out = os.Stdout
	}
	opts := []tea.ProgramOption{tea.WithOutput(terminal(out, o.Synchronized))}
	if o.Input != nil {
		opts = append(opts, tea.WithInput(o.Input))
	}
	return run(ctx, newApp(s, o), opts...)
}

// patience is how long the event loop may take to end in good order.
const patience = 3 * time.Second

// run is Run with an output that need not be a terminal.
func run(ctx context.Context, m *app, opts ...tea.ProgramOption) error {
	p := tea.NewProgram(m, append([]tea.ProgramOption{
		tea.WithAltScreen(), tea.WithReportFocus(), tea.WithFPS(30),
		tea.WithoutSignalHandler(), // Signals belong to main.
	}, opts...)...)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-m.session.Done():
		case <-ctx.Done():
		case <-m.closing:
			return
		}
		kill := time.AfterFunc(patience, p.Kill) // In case the event loop hangs.
		defer kill.Stop()
		p.Send(stoppedMsg{})
		<-m.closing
	}()
	_, err := p.Run()
	close(m.closing)
	<-watched
	switch {
	case m.crash != nil:
		return m.crash
	case err != nil:
		return fmt.Errorf("terminal: %w", err)
	case m.left:
		return ErrLeft
	}
	return nil
}
