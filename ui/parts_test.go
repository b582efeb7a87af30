package ui

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"eostop/faults/soak"
	"eostop/faults/verify"
	"eostop/runtime"
	"eostop/runtime/journal"
)

func TestUnits(t *testing.T) {
	tests := []struct{ got, want string }{
		{count(0), "0"},
		{count(-1), "-1"},
		{count(999), "999"},
		{count(1000), "1,000"},
		{count(-123456), "-123,456"},
		{count(uint64(1234567)), "1,234,567"},
		{short(0), "0"},
		{short(999), "999"},
		{short(999.6), "1.00k"},
		{short(12345), "12.3k"},
		{short(999499), "999k"},
		{short(999600), "1.00M"},
		{short(-4.56e9), "-4.56G"},
		{short(7e15), "7000T"},
		{fitCount(1234567, 9), "1,234,567"},
		{fitCount(1234567, 8), "1.23M"},
		{byteSize(0), "0 B"},
		{byteSize(1023), "1023 B"},
		{byteSize(1024), "1.00 KiB"},
		{byteSize(10 << 20), "10.0 MiB"},
		{byteSize(1 << 60), "1048576 TiB"},
		{span(0), "0 s"},
		{span(250 * time.Microsecond), "250 us"},
		{span(48 * time.Millisecond), "48 ms"},
		{span(999600 * time.Microsecond), "1 s"},
		{span(11800 * time.Millisecond), "11.8 s"},
		{span(20 * time.Second), "20 s"},
		{span(59960 * time.Millisecond), "1m 00s"},
		{span(252 * time.Second), "4m 12s"},
		{span(11050 * time.Second), "3h 04m"},
		{span(-2 * time.Second), "-2 s"},
		{tick(6250 * time.Millisecond), "6.2 s"},
		{tick(59990 * time.Millisecond), "59.9 s"},
		{tick(-time.Second), "0 s"},
		{tick(61 * time.Second), "1m 01s"},
		{clock(3*time.Hour + 4*time.Minute + 5*time.Second), "03:04:05"},
		{plural(1, "row"), "1 row"},
		{plural(2000, "row"), "2,000 rows"},
		{elideLeft("KSTREAM-AGGREGATE-STATE-STORE-0000000007", 12, "~"), "~-0000000007"},
		{shortID("app-4f3c2a1b-77aa-4c01-9d2e-0123456789ab-3", "app", 60, "~"), "app-4f3c2a1b-77aa-4c01-9d2e-0123456789ab-3"},
		{shortID("app-4f3c2a1b-77aa-4c01-9d2e-0123456789ab-3", "app", 40, "~"), "~4f3c2a1b-77aa-4c01-9d2e-0123456789ab-3"},
		{shortID("app-4f3c2a1b-77aa-4c01-9d2e-0123456789ab-3", "app", 12, "~"), "4f3c2a1b~-3"},
		{shortID("app-4f3c2a1b-77aa-4c01-9d2e-0123456789ab-3", "app", 6, "~"), "~9ab-3"},
		{shortID("app-0_1", "app", 6, "~"), "~0_1"},
		{threadName("i2", "i2-StreamThread-11", 17), "i2-11"},
		{threadName("i2", "i2-StreamThread-1", 17), "i2-StreamThread-1"},
		{threadName("", "verdict", 3), "verdict"},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}

func TestCleanText(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                      "plain",
		"\x1b[31mred\x1b[0m":         "red",
		"\x1b]0;title\x07x":          "x",
		"a\nb\tc":                    "a b c",
		"\u009b2Jx\x00\x08":          "x",
		"\u202eevil":                 "evil",
		"\u4f60\u597d":               "\u4f60\u597d",
		"\x1b[?1049l\x1b[2J\x1b[Hhi": "hi",
	} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestLook(t *testing.T) {
	tests := []struct {
		name          string
		env           []string
		change        func(*Options)
		ascii         bool
		colour, style bool
	}{
		{name: "usual", env: []string{"TERM=xterm-256color", "LANG=de_DE.UTF-8"}, colour: true, style: true},
		{name: "no locale", env: []string{"TERM=xterm"}, colour: true, style: true},
		{name: "no colour", env: []string{"TERM=xterm", "NO_COLOR=1"}, style: true},
		{name: "empty NO_COLOR", env: []string{"TERM=xterm", "NO_COLOR="}, colour: true, style: true},
		{name: "dumb", env: []string{"TERM=dumb"}, ascii: true},
		{name: "console", env: []string{"TERM=linux"}, ascii: true, colour: true, style: true},
		{name: "latin", env: []string{"TERM=xterm", "LANG=de_DE.ISO-8859-1"}, ascii: true, colour: true, style: true},
		{name: "LC_ALL wins", env: []string{"TERM=xterm", "LANG=de_DE.ISO-8859-1", "LC_ALL=C.UTF-8"}, colour: true, style: true},
		{name: "asked for", env: []string{"TERM=xterm"}, change: func(o *Options) { o.ASCII = true }, ascii: true, colour: true, style: true},
		{name: "mono", env: []string{"TERM=xterm"}, change: func(o *Options) { o.Theme = "mono" }, style: true},
		{name: "colorblind", env: []string{"TERM=xterm"}, change: func(o *Options) { o.Theme = "colorblind" }, colour: true, style: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := Default()
			o.Environ = tt.env
			if tt.change != nil {
				tt.change(&o)
			}
			m := sceneModel(o, 200, 60)
			press(m, "j")
			screen := m.render()
			if got := printable(strings.Join(strings.Fields(trimRight(screen)), "")); got != tt.ascii {
				t.Errorf("ASCII only: %v, want %v", got, tt.ascii)
			}
			if got := strings.Contains(screen, "\x1b[3"); got != tt.colour {
				t.Errorf("colours: %v, want %v", got, tt.colour)
			}
			if bold, reverse := strings.Contains(screen, "\x1b[1"), strings.Contains(screen, "\x1b[7m"); bold != tt.style || reverse != tt.style {
				t.Errorf("bold %v and reverse %v, want %v", bold, reverse, tt.style)
			}
		})
	}
}

func TestOptionsValidate(t *testing.T) {
	if err := Default().Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	err := Options{Theme: "neon", FPS: 99}.Validate()
	if err == nil || !strings.Contains(err.Error(), "ui.theme: ") || !strings.Contains(err.Error(), "ui.fps: ") {
		t.Errorf("got %v, want both problems", err)
	}
	if err := Run(t.Context(), still{}, Options{}); err == nil {
		t.Error("Run took invalid options")
	}
}

func TestHistory(t *testing.T) {
	h := newHistory()
	begin := time.Date(2026, 11, 3, 14, 0, 0, 0, time.UTC)
	at := func(ms int, processed int64, counter uint64) {
		s := &soak.Snapshot{Seq: uint64(ms) + 1, At: begin.Add(time.Duration(ms) * time.Millisecond), Processed: processed}
		s.Instances = []soak.Instance{{InstanceStatus: runtime.InstanceStatus{Name: "i1", Threads: []runtime.ThreadStatus{{Name: "a", Counters: runtime.Counters{Processed: counter}}}}}}
		h.add(s)
	}
	for ms := 0; ms <= 10000; ms += 130 {
		at(ms, int64(2*ms), uint64(3*ms))
	}
	if n := len(h.samples); n != 9 {
		t.Errorf("%d samples in 10 s, want 9: the tenth second is not complete", n)
	}
	for i, s := range h.samples {
		if math.Abs(s.rate-2000) > 1 || !s.at.Equal(begin.Add(time.Duration(i+1)*time.Second)) {
			t.Errorf("sample %d: %.1f/s at %s, want 2000/s at the whole second", i, s.rate, s.at)
		}
	}
	if r := h.rate("a"); math.Abs(r-3000) > 1 {
		t.Errorf("rate %.1f, want 3000", r)
	}
	at(12600, 25200, 10) // The thread was replaced, and a tick came late.
	if n := len(h.samples); n != 12 {
		t.Errorf("%d samples after a late tick, want 12", n)
	}
	if r := h.rate("a"); r != 0 {
		t.Errorf("rate %.1f right after a restart, want 0", r)
	}
	at(12600, 99999, 10) // The same moment again changes nothing.
	if len(h.samples) != 12 || h.last.Processed != 25200 {
		t.Error("a snapshot of the same time counted")
	}
	at(int(2*time.Hour/time.Millisecond), 30000, 20) // The process slept.
	if len(h.samples) != 0 {
		t.Errorf("%d samples after a sleep, want none", len(h.samples))
	}
	for s := range 2000 {
		at(int(2*time.Hour/time.Millisecond)+1000*(s+1), int64(30000+s), 20)
	}
	if len(h.samples) > 2*samplesKept || len(h.newest(10000)) != samplesKept {
		t.Errorf("%d samples kept, %d shown at most", len(h.samples), len(h.newest(10000)))
	}
}

func TestEventText(t *testing.T) {
	tests := []struct {
		event        journal.Event
		source, text string
	}{
		{journal.Event{Thread: "i1-StreamThread-1", Text: "stream-thread [i1-StreamThread-1] State transition from A to B"}, "i1-StreamThread-1", "State transition from A to B"},
		{journal.Event{Instance: "i1", Text: "closing", Cause: "fenced"}, "i1", "closing (fenced)"},
		{journal.Event{Instance: "i1", Text: "was fenced", Cause: "fenced", Error: "E"}, "i1", "was fenced: E"},
		{journal.Event{Kind: journal.KindThreadState, From: "A", To: "B"}, "thread_state", "thread state A -> B"},
		{journal.Event{Kind: journal.KindRestore, Task: "1_0", Store: "s", To: "COMPLETED", Count: 1200, Duration: 2 * time.Second}, "restore", "restore 1_0 s completed 1,200 in 2 s"},
		{journal.Event{Kind: journal.KindProducer, TransactionalID: "t", ProducerID: 7, Epoch: 2}, "producer", "producer t id 7 epoch 2"},
	}
	for _, tt := range tests {
		if s, x := eventSource(tt.event), eventText(tt.event); s != tt.source || x != tt.text {
			t.Errorf("got %q %q, want %q %q", s, x, tt.source, tt.text)
		}
	}
}

func TestEventLogForgets(t *testing.T) {
	l := &eventLog{}
	for i := range uint64(3) {
		events := make([]journal.Event, 3000)
		for k := range events {
			events[k].Seq = i*3000 + uint64(k) + 1
		}
		l.add(events)
		l.add(events) // Snapshots overlap.
	}
	if n := len(l.lines); n > eventsKept*5/4 || n < eventsKept {
		t.Errorf("%d lines kept", n)
	}
	if l.dropped != 0 || l.last != 9000 || len(l.since(8991)) != 10 {
		t.Errorf("dropped %d, last %d, %d since", l.dropped, l.last, len(l.since(8991)))
	}
}

func TestEpochCauses(t *testing.T) {
	epochs := []runtime.EpochChange{{Cause: "initialized"}, {Cause: "fenced"}, {Cause: "commit"}, {Cause: "commit"}}
	if c, ok := lastChange(epochs); !ok || c.Cause != "fenced" {
		t.Errorf("last change %+v, want the fencing", c)
	}
	if c, ok := lastChange(epochs[2:]); !ok || c.Cause != "commit" {
		t.Errorf("last change %+v, want a commit", c)
	}
	if _, ok := lastChange(nil); ok {
		t.Error("a change where there is none")
	}
	for cause, want := range map[string]bool{"commit": false, "start": false, "initialized": false, "fenced": true, "commit failed": true, "unknown outcome of a commit": true, "expelled": true} {
		if alarming(cause) != want {
			t.Errorf("alarming(%q) is not %v", cause, want)
		}
	}
}

func TestSummaryOfManyCuts(t *testing.T) {
	s := sceneAt(sceneEnd)
	s.Cuts = nil
	for i := range mostCuts + 1 {
		c := soak.Cut{Instance: "i1", Direction: "both", Takeover: -1, Recovered: -1}
		if i < 3 {
			c.Expelled, c.Takeover, c.Recovered = true, time.Duration(11+i)*time.Second, time.Duration(i)*time.Second
		}
		s.Cuts = append(s.Cuts, c)
	}
	var b strings.Builder
	if err := Summary(&b, s, nil); err != nil {
		t.Fatal(err)
	}
	want := "\ncuts          25, 3 expelled\n" +
		"recovery      taken over p50 12 s, p90 13 s, max 13 s after the cut\n" +
		"              recovered  p50 1 s, p90 2 s, max 2 s after the heal\n"
	if !strings.Contains(b.String(), want) {
		t.Errorf("%q is not in\n%s", want, b.String())
	}
}

func TestSummaryOfASimulation(t *testing.T) {
	var b strings.Builder
	if err := SummaryOfSimulation(&b, 24*time.Hour, 200*time.Second); err != nil || b.String() != "simulated     24h 00m in 3m 20s, 432 times as fast\n" {
		t.Errorf("got %q, %v", b.String(), err)
	}
	if err := SummaryOfSimulation(failing{}, time.Hour, time.Second); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v", err)
	}
}

func TestSimulationProgress(t *testing.T) {
	wall := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	p := pace{now: func() time.Time { return wall }}
	s := &soak.Snapshot{Phase: soak.PhaseStarting, Duration: 24 * time.Hour, ThreadsTotal: 9, ThreadsAlive: 9, Waiting: "8 of 9 threads are RUNNING"}
	if got, want := p.text(s, false), "00:00:00 of 24:00:00  starting  threads 9/9  0 cuts  waiting: 8 of 9 threads are RUNNING"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	s = &soak.Snapshot{Phase: soak.PhaseRunning, Duration: 24 * time.Hour, Elapsed: 6 * time.Hour, ThreadsTotal: 9, ThreadsAlive: 9, Cuts: make([]soak.Cut, 6), Verify: verify.Status{Verdict: verify.Clean}}
	wall = wall.Add(time.Minute)
	if got, want := p.text(s, true), "[=====>              ] 25% 06:00:00 of 24:00:00  3m 00s left  360x  clean  threads 9/9  6 cuts"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	s.Duration = 0
	if got, want := p.text(s, true), "06:00:00  360x  clean  threads 9/9  6 cuts"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	s.Phase = soak.PhaseDraining
	if got, want := p.text(s, true), "06:00:00  draining  clean  threads 9/9  6 cuts"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSummary(t *testing.T) {
	var b bytes.Buffer
	s := sceneAt(sceneEnd)
	s.Verify.Verdict, s.Verify.Reasons, s.Verify.DigestChecked = verify.Violation, []string{"1 record lost \x1b[2J"}, 54
	if err := Summary(&b, s, []string{"a.jsonl", "b.jsonl"}); err != nil {
		t.Fatal(err)
	}
	golden(t, "summary", b.String())
	if strings.Contains(b.String(), "\x1b") {
		t.Error("control characters in the summary")
	}
	b.Reset()
	unverified := sceneAt(sceneEnd)
	unverified.Verify = verify.Status{}
	if err := Summary(&b, unverified, nil); err != nil {
		t.Fatal(err)
	}
	if want := "verdict       not verified\nrecords       3,000,000 in, 2,914,350 processed\ntime "; !strings.HasPrefix(b.String(), want) {
		t.Errorf("got %q, want %q first", b.String(), want)
	}
	b.Reset()
	if err := Summary(&b, nil, nil); err != nil || b.Len() > 0 {
		t.Errorf("no session gave %q, %v", b.String(), err)
	}
	if err := Summary(failing{}, s, nil); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v, want the writer's error", err)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestHeaderOfAnUnverifiedRun(t *testing.T) {
	for _, size := range [][2]int{{40, 10}, {80, 24}, {200, 60}} {
		m := newApp(still{}, plainOptions())
		s := sceneAt(sceneEnd)
		s.Verify = verify.Status{}
		m.session = still{s}
		m.poll()
		m.w, m.h = size[0], size[1]
		header := strings.Join(strings.SplitAfter(trimRight(m.render()), "\n")[:3], "")
		if !strings.Contains(header, "NOT VERIFIED") {
			t.Errorf("%v: it does not say that nobody verifies:\n%s", size, header)
		}
		for _, unknown := range []string{"dup", "lost", "out "} {
			if strings.Contains(header, unknown) {
				t.Errorf("%v: a count that nobody made, %q:\n%s", size, unknown, header)
			}
		}
	}
}

func TestProgress(t *testing.T) {
	t.Run("plain", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var b screenBuffer
			s := newFakeSession()
			s.cut["i2"] = true
			time.AfterFunc(12*time.Second, func() { close(s.done) })
			if err := Progress(t.Context(), &b, false, s); err != nil {
				t.Fatal(err)
			}
			golden(t, "progress-plain", b.String())
			if strings.ContainsAny(b.String(), "\x1b\r") {
				t.Errorf("control characters in plain progress: %q", b.String())
			}
		})
	})
	t.Run("terminal", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var b screenBuffer
			ctx, cancel := context.WithTimeout(t.Context(), 62*time.Second)
			defer cancel()
			if err := Progress(ctx, &b, true, newFakeSession()); err != nil {
				t.Fatal(err)
			}
			last := b.String()[strings.LastIndex(b.String(), "\r"):]
			if want := "\r[>       ] 10% 00:01:02  13.4k/s  lag 17.8k  threads 9/9  next cut i1 in 47 s"; !strings.HasPrefix(last, want) {
				t.Errorf("got %q, want %q first", last, want)
			}
			if !strings.HasSuffix(last, "\x1b[K\n") || len(last) > 79+len("\r\x1b[K\n") {
				t.Errorf("the line is not one line of a terminal: %q", last)
			}
		})
	})
	t.Run("80 columns", func(t *testing.T) {
		tests := []struct {
			name   string
			change func(*soak.Snapshot)
			want   string
		}{
			{"running", func(*soak.Snapshot) {}, "[==>     ] 25% 00:02:30  13.4k/s  lag 85.7k  threads 9/9  next cut i1 in 47 s  "},
			{"late", func(s *soak.Snapshot) {
				s.Elapsed, s.Lag, s.NextCut.In = s.Duration, 12_345_678, 59*time.Second
				s.ProcessedRate = 123_456
			}, "[========] 100% 00:10:00  123k/s  lag 12.3M  threads 9/9  next cut i1 in 59 s  "},
			{"no cut planned", func(s *soak.Snapshot) {
				s.NextCut, s.Phase = nil, soak.PhaseDraining
			}, "[==>     ] 25% 00:02:30  draining  13.4k/s  lag 85.7k  threads 9/9  clean  i2 "},
			{"not verified", func(s *soak.Snapshot) {
				s.NextCut, s.Verify = nil, verify.Status{}
			}, "[==>     ] 25% 00:02:30  13.4k/s  lag 85.7k  threads 9/9  i2 cut 12 s"},
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				var b bytes.Buffer
				s := sceneAt(sceneEnd)
				tt.change(s)
				if err := progressLine(&b, true, s, progressBarText); err != nil {
					t.Fatal(err)
				}
				line := strings.TrimSuffix(strings.TrimPrefix(b.String(), "\r"), "\x1b[K")
				if len(line) > 79 || !strings.HasPrefix(line, strings.TrimRight(tt.want, " ")) {
					t.Errorf("got %q, want %q first", line, tt.want)
				}
			})
		}
	})
	t.Run("broken pipe", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			if err := Progress(t.Context(), failing{}, false, newFakeSession()); !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("got %v, want the writer's error", err)
			}
		})
	})
}

func TestSynchronizedWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := terminal(f, true)
	frame := strings.Repeat("x", frameSize)
	for _, s := range []string{"short", frame} {
		if n, err := io.WriteString(w, s); err != nil || n != len(s) {
			t.Errorf("wrote %d, %v", n, err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "short\x1b[?2026h"+frame+"\x1b[?2026l" {
		t.Errorf("got %q, %v", got, err)
	}
	if terminal(f, false) != io.Writer(f) {
		t.Error("the writer is wrapped although it was not asked for")
	}
}

func BenchmarkView(b *testing.B) {
	for _, size := range [][2]int{{80, 24}, {120, 40}, {200, 60}} {
		b.Run(count(int64(size[0]))+"x"+count(int64(size[1])), func(b *testing.B) {
			o := Default()
			o.Environ = []string{"TERM=xterm-256color"}
			m := sceneModel(o, size[0], size[1])
			b.ReportAllocs()
			for b.Loop() {
				m.live = &[]soak.Snapshot{*m.live}[0] // A new snapshot, so that nothing is cached.
				m.render()
			}
		})
	}
}

func TestTaskList(t *testing.T) {
	m := sceneModel(plainOptions(), 120, 40)
	v := m.view()
	thread := runtime.ThreadStatus{}
	for _, id := range []string{"0_8", "1_5", "1_8", "2_8", "3_5", "3_8"} {
		thread.Tasks = append(thread.Tasks, runtime.TaskStatus{ID: id, State: "RUNNING"})
	}
	list := func(room int) string {
		text, _ := threadTasks(v, &threadRow{thread: &thread}, room)
		return strings.ReplaceAll(text, v.glyphs.restore, "*")
	}
	for room, want := range map[int]string{23: "0_8 1_5 1_8 2_8 3_5 3_8", 22: "0_8 1_5 1_8 2_8 3_5 +1", 21: "0_8 1_5 1_8 2_8 +2", 10: "0_8 1_5 +4", 6: "0_8 +5", 2: "+6"} {
		if got := list(room); got != want {
			t.Errorf("in %d cells: %q, want %q", room, got, want)
		}
	}
	thread.Tasks[4].State = "RESTORING"
	for room, want := range map[int]string{24: "0_8 1_5 1_8 2_8 3_5* 3_8", 22: "0_8 1_5 1_8 2_8 +2*", 7: "0_8 +5*"} {
		if got := list(room); got != want {
			t.Errorf("in %d cells: %q, want %q", room, got, want)
		}
	}
}

// TestMatrixSaysWhatAThreadDiedOf: where the thread's own last words lack the error, it is told before them.
func TestMatrixSaysWhatAThreadDiedOf(t *testing.T) {
	const text = "send offsets: INVALID_TXN_STATE"
	for _, said := range [][]string{{"State transition from RUNNING to PENDING_SHUTDOWN"}, {"Encountered: " + text, "State transition from RUNNING to PENDING_SHUTDOWN"}} {
		m := &soak.Matrix{Cells: []*soak.CellResult{{
			Cell: soak.Cell{Profile: "kafka-4.3", Repeat: "eostop simulate"}, Seeds: []int64{7},
			First: map[soak.Cause]soak.ThreadDied{soak.CauseInvalidState: {Thread: "i1-StreamThread-1", Error: text, Log: said}},
		}}}
		var b strings.Builder
		if err := MatrixText(&b, m); err != nil {
			t.Fatal(err)
		}
		if strings.Count(b.String(), text) != 1 || strings.Index(b.String(), text) > strings.Index(b.String(), said[len(said)-1]) {
			t.Errorf("the error is not told once, before the end:\n%s", b.String())
		}
	}
}
