package ui

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"eostop/faults/soak"
)

// errRecording is said to whoever wants to do something to a session that is over.
var errRecording = errors.New("this is a recording: nothing can be done to it")

// Replay shows a recorded session in the dashboard until the user leaves or ctx is cancelled. It returns what Run returns.
func Replay(ctx context.Context, r *soak.Recording, o Options) error {
	return Run(ctx, newPlayer(r), o)
}

// speeds are how much faster than it was a recording can be played.
var speeds = []float64{0.25, 0.5, 1, 2, 4, 8, 16, 32, 64}

// player moves through a recording as time passes. It belongs to the model, which asks it in its event loop.
type player struct {
	recording *soak.Recording
	at        time.Duration // from the first picture
	shown     int           // index of the last picture that was shown; -1 before the first
	clock     time.Time     // when at was right
	speed     int           // index into speeds
	paused    bool
}

func newPlayer(r *soak.Recording) *player {
	return &player{recording: r, shown: -1, speed: slices.Index(speeds, 1)}
}

// play moves on to now and returns the pictures that are new since it was asked last. Where it went back it says so, and the pictures
// are all that led there.
func (p *player) play(now time.Time) (pictures []*soak.Snapshot, back bool) {
	if !p.paused && !p.clock.IsZero() {
		p.at += time.Duration(float64(now.Sub(p.clock)) * speeds[p.speed])
	}
	p.clock = now
	p.at = clamp(p.at, 0, p.recording.Length())
	if p.at == p.recording.Length() {
		p.paused = true
	}
	all := p.recording.Snapshots
	next, exact := slices.BinarySearchFunc(all, all[0].At.Add(p.at), func(s *soak.Snapshot, at time.Time) int { return s.At.Compare(at) })
	if !exact {
		next--
	}
	from := p.shown + 1
	if back = next < p.shown; back {
		from = 0
	}
	p.shown = next
	return all[from : next+1], back
}

// seek goes to another moment.
func (p *player) seek(to time.Duration) { p.at = clamp(to, 0, p.recording.Length()) }

// step goes to a picture before or behind the present one, and stays there.
func (p *player) step(n int) {
	all := p.recording.Snapshots
	p.paused = true
	p.seek(all[clamp(p.shown+n, 0, len(all)-1)].At.Sub(all[0].At))
}

// act is what the keys do that only a recording has; false for others.
func (p *player) act(a action) bool {
	switch a {
	case actFreeze:
		if p.paused = !p.paused; !p.paused && p.at == p.recording.Length() {
			p.at = 0
		}
	case actBack:
		p.seek(p.at - 10*time.Second)
	case actForward:
		p.seek(p.at + 10*time.Second)
	case actFarBack:
		p.seek(p.at - time.Minute)
	case actFarForward:
		p.seek(p.at + time.Minute)
	case actStepBack:
		p.step(-1)
	case actStep:
		p.step(1)
	case actSlower:
		p.speed = max(0, p.speed-1)
	case actFaster:
		p.speed = min(len(speeds)-1, p.speed+1)
	case actFinding:
		if at, found := p.recording.FirstFinding(); found {
			p.paused = true
			p.seek(at)
		}
	default:
		return false
	}
	return true
}

// draw shows where it is.
func (p *player) draw(v *view, c *sheet) {
	state := "x" + strconv.FormatFloat(speeds[p.speed], 'g', -1, 64)
	if p.paused {
		state = "paused"
	}
	c.text(" REPLAY ", v.styles.warnBadge)
	c.text(" "+clock(p.at)+" of "+clock(p.recording.Length())+" "+state+" ", v.styles.bold)
	hint := first(c.width-c.col-14, "space plays, [ ] 10 s, { } a minute, , . a step, < > speed, ! the first finding, q leaves", "space plays, [ ] 10 s, ! finding, q leaves", "q leaves")
	if room := c.width - c.col - width(hint) - 3; room >= 8 {
		done := 0
		if n := p.recording.Length(); n > 0 {
			done = int(float64(room) * float64(p.at) / float64(n))
		}
		c.fill("=", done, v.styles.ok)
		c.fill("-", room-done, v.styles.dim)
	}
	c.text(" "+hint, v.styles.dim)
}

// Snapshot, Done and the rest make it a Session.
func (p *player) Snapshot() *soak.Snapshot { return p.recording.Snapshots[max(0, p.shown)] }

// Done is never closed: a recording stays on the screen at its end.
func (p *player) Done() <-chan struct{} { return nil }

func (p *player) Partition(string, string) error              { return errRecording }
func (p *player) Heal(string) error                           { return errRecording }
func (p *player) Cut(string, string) error                    { return errRecording }
func (p *player) Inject(string) error                         { return errRecording }
func (p *player) FaultChoices(string, int) []soak.FaultChoice { return nil }
func (p *player) AddThread(string) (string, error)            { return "", errRecording }
func (p *player) RemoveThread(string) (string, error)         { return "", errRecording }
func (p *player) Export() (string, error)                     { return "", errRecording }
func (p *player) Stop(bool)                                   {}
