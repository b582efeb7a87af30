package ui

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
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
			if err := progressLine(w, tty, s.Snapshot()); err != nil {
				return err
			}
			continue
		}
		if err := progressLine(w, tty, s.Snapshot()); err != nil || !tty {
			return err
		}
		if _, err := io.WriteString(w, "\n"); err != nil {
			return fmt.Errorf("write progress: %w", err)
		}
		return nil
	}
}

func progressLine(w io.Writer, tty bool, s *soak.Snapshot) error {
	if s == nil {
		return nil
	}
	text := clean(progressText(s, tty))
	if tty {
		c := newSheet(terminalWidth(w)-1, 1, &asciiGlyphs) // The last column would wrap on some terminals.
		c.text(text, sgr{})
		text = "\r" + string(c.line) + "\x1b[K"
	} else {
		text += "\n"
	}
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("write progress: %w", err)
	}
	return nil
}

// progressText is the same for both forms but for the bar.
func progressText(s *soak.Snapshot, bar bool) string {
	text := clock(s.Elapsed)
	if bar && s.Duration > 0 {
		text = progressBar(s.Elapsed.Seconds()/s.Duration.Seconds(), 20) + " " + text
	}
	if s.Duration > 0 {
		text += " of " + clock(s.Duration)
	}
	text += "  " + s.Phase + "  " + perSecond(s.ProcessedRate) + "  lag " + count(s.Lag) +
		"  threads " + strconv.Itoa(s.ThreadsAlive) + "/" + strconv.Itoa(s.ThreadsTotal)
	if s.Verify.Verdict != "" {
		text += "  " + string(s.Verify.Verdict)
	}
	for i := range s.Instances {
		if in := &s.Instances[i]; in.Cut {
			text += "  " + in.Name + " cut " + span(s.At.Sub(in.CutSince).Truncate(time.Second))
		}
	}
	if s.Waiting != "" {
		text += "  waiting: " + s.Waiting
	}
	if next := nextCut(s); next != "" {
		text += "  next cut " + next
	}
	return text
}

func terminalWidth(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if columns, _, err := term.GetSize(f.Fd()); err == nil && columns > 1 {
			return columns
		}
	}
	return 80
}
