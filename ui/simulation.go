package ui

import (
	"context"
	"io"
	"strconv"
	"strings"
	"time"

	"eostop/faults/soak"
)

// Simulation tells how a session on virtual time gets on: how far it is, how much faster than real time it runs, and how long it
// will take. It runs outside of the bubble, until the session is done or ctx is cancelled. The lines are like those of [Progress].
func Simulation(ctx context.Context, w io.Writer, tty bool, s Source) error {
	p := pace{now: time.Now}
	return tell(ctx, w, tty, s, func(snap *soak.Snapshot) string { return p.text(snap, tty) })
}

// pace compares virtual time with real time.
type pace struct {
	now     func() time.Time
	began   time.Time // of the session's clock, in real time
	elapsed time.Duration
}

// text is a line about a simulation; what matters is first, because a terminal cuts it off at the right edge.
func (p *pace) text(s *soak.Snapshot, short bool) string {
	if p.began.IsZero() {
		p.began, p.elapsed = p.now(), s.Elapsed
	}
	text := clock(s.Elapsed)
	if s.Duration > 0 {
		text += " of " + clock(s.Duration)
		if short {
			text = progressBar(s.Elapsed.Seconds()/s.Duration.Seconds(), 20) + " " + text
		}
	}
	switch {
	case s.Phase != soak.PhaseRunning:
		text += "  " + s.Phase
	case s.Elapsed > p.elapsed:
		speed := (s.Elapsed - p.elapsed).Seconds() / max(1e-3, p.now().Sub(p.began).Seconds())
		if left := s.Duration - s.Elapsed; s.Duration > 0 {
			text += "  " + span(time.Duration(float64(left)/speed).Round(time.Second)) + " left"
		}
		text += "  " + strconv.Itoa(int(speed)) + "x"
	default:
	}
	text += verdictText(s) + threadsText(s) + "  " + plural(len(s.Cuts), "cut")
	if s.Waiting != "" {
		text += "  waiting: " + s.Waiting
	}
	return strings.TrimSpace(text)
}
