package ui

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/charmbracelet/x/term"

	"eostop/faults/soak"
)

const (
	progressTTY   = 250 * time.Millisecond
	progressPlain = 5 * time.Second
)

// Progress tells how a session without a dashboard gets on, until it is done or ctx is cancelled: one line that is
// rewritten where w is a terminal, a plain line each five seconds where it is not.
func Progress(ctx context.Context, w io.Writer, tty bool, s Source) error {
	return tell(ctx, w, tty, s, func(snap *soak.Snapshot) string {
		if tty {
			return progressBarText(snap)
		}
		return progressText(snap)
	})
}

// tell writes what line says of a session now and then.
func tell(ctx context.Context, w io.Writer, tty bool, s Source, line func(*soak.Snapshot) string) error {
	every := progressPlain
	if tty {
		every = progressTTY
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
		case <-s.Done():
		case <-ticker.C:
			if err := progressLine(w, tty, s.Snapshot(), line); err != nil {
				return err
			}
			continue
		}
		if err := progressLine(w, tty, s.Snapshot(), line); err != nil || !tty {
			return err
		}
		if _, err := io.WriteString(w, "\n"); err != nil {
			return fmt.Errorf("write progress: %w", err)
		}
		return nil
	}
}

func progressLine(w io.Writer, tty bool, s *soak.Snapshot, line func(*soak.Snapshot) string) error {
	if s == nil {
		return nil
	}
	return writeProgress(w, tty, line(s))
}

// writeProgress writes a line, over the one before where w is a terminal.
func writeProgress(w io.Writer, tty bool, line string) error {
	text := clean(line) + "\n"
	if tty {
		c := newSheet(terminalWidth(w)-1, 1, &asciiGlyphs) // The last column would wrap on some terminals.
		c.text(strings.TrimSuffix(text, "\n"), sgr{})
		text = "\r" + string(c.line) + "\x1b[K"
	}
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("write progress: %w", err)
	}
	return nil
}

// progressText is a whole line.
func progressText(s *soak.Snapshot) string {
	text := clock(s.Elapsed)
	if s.Duration > 0 {
		text += " of " + clock(s.Duration)
	}
	text += "  " + s.Phase + "  " + perSecond(s.ProcessedRate) + "  lag " + count(s.Lag) + threadsText(s) + verdictText(s) + troubleText(s)
	if next := nextCut(s); next != "" {
		text += "  next cut " + next
	}
	return text
}

// progressBarText is the line of a terminal: short, and what matters first, because it is cut off at the right edge.
func progressBarText(s *soak.Snapshot) string {
	text := clock(s.Elapsed)
	if s.Duration > 0 {
		text = progressBar(s.Elapsed.Seconds()/s.Duration.Seconds(), 8) + " " + text
	}
	if s.Phase != soak.PhaseRunning {
		text += "  " + s.Phase
	}
	text += "  " + short(s.ProcessedRate) + "/s  lag " + short(float64(s.Lag)) + threadsText(s)
	if next := s.NextCut; next != nil {
		text += "  next cut " + next.Instance + " in " + span(next.In.Truncate(time.Second))
	}
	return text + verdictText(s) + troubleText(s)
}

func threadsText(s *soak.Snapshot) string {
	return "  threads " + strconv.Itoa(s.ThreadsAlive) + "/" + strconv.Itoa(s.ThreadsTotal)
}

func verdictText(s *soak.Snapshot) string {
	if s.Verify.Verdict == "" {
		return ""
	}
	return "  " + string(s.Verify.Verdict)
}

// troubleText is what is cut off and what is waited for.
func troubleText(s *soak.Snapshot) string {
	var b strings.Builder
	for i := range s.Instances {
		if in := &s.Instances[i]; in.Cut {
			b.WriteString("  " + in.Name + " cut " + span(s.At.Sub(in.CutSince).Truncate(time.Second)))
		}
	}
	if s.Waiting != "" {
		b.WriteString("  waiting: " + s.Waiting)
	}
	return b.String()
}

func terminalWidth(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if columns, _, err := term.GetSize(f.Fd()); err == nil && columns > 1 {
			return columns
		}
	}
	return 80
}
