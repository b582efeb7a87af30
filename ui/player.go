package ui

import (
	"context"
	"errors"
	"slices"
	"sort"
	"strconv"
	"time"

	"eostop/faults/soak"
)

// errRecording is said to whoever wants to do something to a session that is over.
var errRecording = errors.New("this is a recording: nothing can be done to it")

// recording is a session that is over, in pictures.
type recording interface {
	Len() int // at least 1
	At(picture int) time.Time
	Snapshot(picture int) (*soak.Snapshot, error)
	FirstFinding() (picture int, ok bool)
}

// Replay shows a recorded session in the dashboard until the user leaves or ctx is cancelled. It returns what Run returns, or why the
// first picture cannot be read.
func Replay(ctx context.Context, r *soak.Recording, o Options) error {
	p, err := newPlayer(r)
	if err != nil {
		return err
	}
	return Run(ctx, p, o)
}

// speeds are how much faster than it was a recording can be played.
var speeds = []float64{0.25, 0.5, 1, 2, 4, 8, 16, 32, 64}

// picturesOfHistory is how many pictures at most charts and rates are made of.
const picturesOfHistory = 2 * samplesKept

// player moves through a recording as time passes. It belongs to the model, which asks it in its event loop.
type player struct {
	recording recording
	picture   *soak.Snapshot // the last that was shown, before that the first
	at        time.Duration  // from the first picture
	shown     int            // index of the last picture that was shown; -1 before the first
	clock     time.Time      // when at was right
	speed     int            // index into speeds
	paused    bool
}

func newPlayer(r recording) (*player, error) {
	first, err := r.Snapshot(0)
	return &player{recording: r, picture: first, shown: -1, speed: slices.Index(speeds, 1)}, err
}

// length is the time from the first picture to the last.
func (p *player) length() time.Duration { return p.since(p.recording.Len() - 1) }

// since is the time from the first picture to another one.
func (p *player) since(picture int) time.Duration {
	return p.recording.At(picture).Sub(p.recording.At(0))
}

// play moves on to now and returns the pictures that are new since it was asked last, as far as they are remembered. Where it went back
// it says so, and the pictures are those that led there. It does not go to a picture that cannot be read, and stops.
func (p *player) play(now time.Time) (pictures []*soak.Snapshot, back bool, err error) {
	if !p.paused && !p.clock.IsZero() {
		p.at += time.Duration(float64(now.Sub(p.clock)) * speeds[p.speed])
	}
	p.clock = now
	p.seek(p.at)
	if p.at == p.length() {
		p.paused = true
	}
	to := p.first(p.at+1) - 1
	if to == p.shown {
		return nil, false, nil
	}
	picture, err := p.recording.Snapshot(to)
	if err != nil {
		p.paused = true
		p.seek(p.since(max(0, p.shown)))
		return nil, false, err
	}
	from := p.shown + 1
	if back = to < p.shown; back {
		from = 0
	}
	from = max(from, p.first(p.since(to)-samplesKept*time.Second), to+1-picturesOfHistory)
	for i := from; i < to; i++ {
		if s, err := p.recording.Snapshot(i); err == nil { // a gap in the history is no reason not to show what there is
			pictures = append(pictures, s)
		}
	}
	p.shown, p.picture = to, picture
	return append(pictures, picture), back, nil
}

// first is the index of the first picture at a time or after it.
func (p *player) first(at time.Duration) int {
	return sort.Search(p.recording.Len(), func(i int) bool { return p.since(i) >= at })
}

// seek goes to another moment.
func (p *player) seek(to time.Duration) { p.at = clamp(to, 0, p.length()) }

// step goes to a picture before or behind the present one, and stays there.
func (p *player) step(n int) {
	p.paused = true
	p.seek(p.since(clamp(p.shown+n, 0, p.recording.Len()-1)))
}

// act is what the keys do that only a recording has; false for others.
func (p *player) act(a action) bool {
	switch a {
	case actFreeze:
		if p.paused = !p.paused; !p.paused && p.at == p.length() {
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
		if picture, found := p.recording.FirstFinding(); found {
			p.paused = true
			p.seek(p.since(picture))
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
	c.text(" "+clock(p.at)+" of "+clock(p.length())+" "+state+" ", v.styles.bold)
	hint := first(c.width-c.col-14, "space plays, [ ] 10 s, { } a minute, , . a step, < > speed, ! the first finding, q leaves", "space plays, [ ] 10 s, ! finding, q leaves", "q leaves")
	if room := c.width - c.col - width(hint) - 3; room >= 8 {
		done := 0
		if n := p.length(); n > 0 {
			done = int(float64(room) * float64(p.at) / float64(n))
		}
		c.fill("=", done, v.styles.ok)
		c.fill("-", room-done, v.styles.dim)
	}
	c.text(" "+hint, v.styles.dim)
}

// Snapshot, Done and the rest make it a Session.
func (p *player) Snapshot() *soak.Snapshot { return p.picture }

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
