package ui

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"eostop/faults/soak"
)

// album is a recording in memory. One of its pictures may be unreadable.
type album struct {
	pictures []*soak.Snapshot
	torn     *soak.Snapshot
}

var errTorn = errors.New("torn")

// recorded is the scene as a recording: 2 minutes and a half, a picture each half second.
func recorded() *album { return &album{pictures: scene()} }

func (a *album) Len() int           { return len(a.pictures) }
func (a *album) At(i int) time.Time { return a.pictures[i].At }

func (a *album) Snapshot(i int) (*soak.Snapshot, error) {
	if a.pictures[i] == a.torn {
		return nil, errTorn
	}
	return a.pictures[i], nil
}

func (a *album) FirstFinding() (int, bool) {
	i := slices.IndexFunc(a.pictures, func(s *soak.Snapshot) bool { return s.Found != nil })
	return i, i >= 0
}

// playerOf returns a player before its first picture.
func playerOf(t *testing.T, a *album) *player {
	t.Helper()
	p, err := newPlayer(a)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPlayer(t *testing.T) {
	start := time.Unix(1000, 0)
	a := recorded()
	p, all := playerOf(t, a), a.pictures
	pictures := func(at time.Duration) ([]*soak.Snapshot, bool) {
		got, back, err := p.play(start.Add(at))
		if err != nil {
			t.Error(err)
		}
		return got, back
	}
	if got, back := pictures(0); len(got) != 1 || got[0] != all[0] || back {
		t.Fatalf("%d pictures at first, back %v", len(got), back)
	}
	if got, _ := pictures(1200 * time.Millisecond); !slices.Equal(got, all[1:3]) {
		t.Errorf("%d pictures after 1.2 s", len(got))
	}
	if got, _ := pictures(1250 * time.Millisecond); len(got) != 0 || p.Snapshot() != all[2] {
		t.Errorf("%d pictures after nothing", len(got))
	}
	p.act(actFaster)
	p.act(actFaster)
	if got, _ := pictures(2250 * time.Millisecond); len(got) != 8 {
		t.Errorf("%d pictures in a second at x4", len(got))
	}
	p.act(actBack)
	if got, back := pictures(2250 * time.Millisecond); !back || !slices.Equal(got, all[:1]) {
		t.Errorf("back to the beginning: %d pictures, back %v", len(got), back)
	}
	p.act(actFarForward)
	p.act(actStep)
	if got, back := pictures(2250 * time.Millisecond); back || len(got) == 0 || !p.paused {
		t.Errorf("%d pictures, back %v, paused %v", len(got), back, p.paused)
	}
	at := p.at
	if pictures(time.Hour); p.at != at {
		t.Error("it plays while it is paused")
	}
	p.act(actFreeze)
	if pictures(2 * time.Hour); p.at != p.length() || !p.paused || p.Snapshot() != all[len(all)-1] {
		t.Errorf("the end: %v, paused %v", p.at, p.paused)
	}
	p.act(actFreeze) // from the beginning again
	if _, back := pictures(2 * time.Hour); !back || p.at != 0 {
		t.Errorf("again from %v", p.at)
	}
	for _, a := range []action{actSlower, actSlower, actSlower, actSlower, actSlower, actStepBack, actFinding, actFarBack, actForward} {
		if !p.act(a) {
			t.Errorf("%v is not known", a)
		}
	}
	if p.act(actPartition) || speeds[p.speed] != 0.25 {
		t.Errorf("speed %v", speeds[p.speed])
	}
	for _, err := range []error{p.Heal("i1"), p.Partition("i1", "both"), p.Cut("i1", "5s"), p.Inject("x")} {
		if !errors.Is(err, errRecording) {
			t.Errorf("%v", err)
		}
	}
}

// TestPlayerFindsTheFirstSign jumps to the picture in which the run has failed.
func TestPlayerFindsTheFirstSign(t *testing.T) {
	r := recorded()
	r.pictures = slices.Clone(r.pictures)
	for i := 100; i < len(r.pictures); i++ {
		s := *r.pictures[i]
		s.Found = &soak.ReportFound{By: "lost"}
		r.pictures[i] = &s
	}
	p := playerOf(t, r)
	_, _, early := p.play(time.Unix(0, 0))
	p.act(actFinding)
	if _, _, err := p.play(time.Unix(5, 0)); early != nil || err != nil || p.Snapshot() != r.pictures[100] || !p.paused {
		t.Errorf("at %v: %v", p.at, err)
	}
}

// TestUnreadablePicture: the player stops in front of it and says why, and all others can be seen still.
func TestUnreadablePicture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := recorded()
		r.torn = r.pictures[20]
		m := newApp(playerOf(t, r), plainOptions())
		m.w, m.h = 120, 40
		shows := func(picture int) {
			t.Helper()
			m.poll()
			if p := m.player; p.Snapshot() != r.pictures[picture] || m.live != r.pictures[picture] || p.shown != picture || p.since(picture) > p.at {
				t.Errorf("it shows picture %d at %v, want %d", p.shown, p.at, picture)
			}
		}
		shows(0)
		time.Sleep(9900 * time.Millisecond)
		shows(19)
		time.Sleep(100 * time.Millisecond)
		shows(19)
		if screen := m.render(); !m.player.paused || !strings.Contains(screen, errTorn.Error()) {
			t.Errorf("paused %v:\n%s", m.player.paused, screen)
		}
		press(m, ".")
		shows(19)
		press(m, "]")
		shows(39)
		if last := m.hist.last; last != r.pictures[39] {
			t.Errorf("the history ends at %v", last.At)
		}
		press(m, ",")
		shows(38)
		press(m, "[")
		shows(18)
		r.torn = r.pictures[0]
		if _, err := newPlayer(r); !errors.Is(err, errTorn) {
			t.Errorf("%v", err)
		}
	})
}

// TestReplayShowsTheSameAsTheSession: going back and on again shows at each moment what was shown when it came up first.
func TestReplayShowsTheSameAsTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newApp(playerOf(t, recorded()), plainOptions())
		m.w, m.h = 120, 40
		look := func() string {
			m.poll()
			lines := strings.Split(m.render(), "\n")
			return strings.Join(lines[:39], "\n")
		}
		look()
		time.Sleep(30 * time.Second)
		before := look()
		press(m, ",")
		press(m, ".")
		if after := look(); after != before {
			t.Errorf("a step back and on:\n%s\nwas:\n%s", after, before)
		}
		press(m, " ")
		time.Sleep(40 * time.Second)
		look()
		press(m, "[[[[  ")
		if footer := lastLine(m.render()); !strings.Contains(footer, "REPLAY  00:00:30 of 00:02:30 paused") && !strings.Contains(footer, "x1") {
			t.Errorf("the footer says %q", footer)
		}
		for _, key := range "pPFxADHe" {
			if cmds := press(m, string(key)); len(cmds) > 0 || !strings.Contains(m.render(), "nothing can be done to it") {
				t.Errorf("%c does something to a recording", key)
			}
			m.toast = toast{}
		}
		if cmds := press(m, "q"); len(cmds) != 1 || !m.over {
			t.Error("q does not leave")
		}
	})
}

func lastLine(screen string) string { return screen[strings.LastIndexByte(screen, '\n')+1:] }

// TestOnlyRecordingsAreMovedThrough: the keys say so in a session that goes on.
func TestOnlyRecordingsAreMovedThrough(t *testing.T) {
	m := sceneModel(plainOptions(), 120, 40)
	press(m, "]")
	if !strings.Contains(m.render(), "eostop replay FILE") {
		t.Error("] is silent")
	}
}
