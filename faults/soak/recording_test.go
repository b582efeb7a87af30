package soak

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestRecording reads back what a session has written, as a whole and cut off anywhere.
func TestRecording(t *testing.T) {
	path := filepath.Join(t.TempDir(), "session.jsonl")
	cfg := small(20 * time.Second)
	cfg.Session.File, cfg.Session.SnapshotInterval = path, time.Second
	cfg.Faults.Cuts = cuts(t, "i2@3s+12s")
	shown := map[uint64]*Snapshot{}
	play(t, cfg, func(g *stage) {
		for range 200 {
			time.Sleep(observeEvery)
			snap := g.s.Snapshot()
			shown[snap.Seq] = snap
		}
	})
	r, err := OpenRecording(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if length := r.At(r.Len() - 1).Sub(r.At(0)); r.Len() < 20 || length < 20*time.Second {
		t.Errorf("%d pictures of %v", r.Len(), length)
	}
	if _, found := r.FirstFinding(); found {
		t.Error("the run was clean")
	}
	compared := 0
	end := &Snapshot{}
	for i := range r.Len() {
		s, err := r.Snapshot(i)
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 && (!s.At.After(end.At) || len(s.Events) < len(end.Events)) || !s.At.Equal(r.At(i)) {
			t.Errorf("picture %d is not behind the one before", i)
		}
		end = s
		for _, e := range s.Events {
			if e.At.After(s.At.Add(time.Second)) {
				t.Errorf("picture %d knows an event of %v at %v", i, e.At, s.At)
			}
		}
		if shown[s.Seq] != nil {
			compared++
			got, _ := json.Marshal(s)
			if want, _ := json.Marshal(shown[s.Seq]); !bytes.Equal(got, want) {
				t.Errorf("picture %d\n%s, was\n%s", i, got, want)
			}
		}
	}
	if compared == 0 {
		t.Error("no picture could be compared with what was shown")
	}
	if end.Phase != PhaseStopped || end.Verify.Verdict != "clean" || len(end.Cuts) != 1 || len(end.Instances) != 3 || end.Processed == 0 {
		t.Errorf("the end: %+v", end)
	}

	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(text, []byte("\n"))
	for name, tt := range map[string]struct {
		text []byte
		want string // empty: it can be read
	}{
		"killed while it wrote": {text[:len(text)*2/3], ""},
		"empty":                 {nil, "line 1: it is not the header of a session log"},
		"a report":              {[]byte("{\"schema\":1}\n"), "line 1: it is not the header"},
		"another schema":        {bytes.Replace(text, []byte(`"schema":1`), []byte(`"schema":9`), 1), "line 1: it has schema 9; valid: 1"},
		"header alone":          {lines[0], "holds no pictures"},
		"damaged":               {append(bytes.Clone(lines[0]), "{\"type\":\"event\",\"seq\":\"x\"}\n"...), "line 2: event:"},
		"of another version":    {append(bytes.Clone(text), "{\"type\":\"colour\"}\n"...), ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.jsonl")
			if err := os.WriteFile(path, tt.text, 0o600); err != nil {
				t.Fatal(err)
			}
			r, err := OpenRecording(path)
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				defer r.Close()
				if s, err := r.Snapshot(r.Len() - 1); err != nil || s.ApplicationID == "" {
					t.Errorf("the last picture %+v, %v", s, err)
				}
				return
			}
			if _, usage := errors.AsType[*UsageError](err); !usage || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("%v, want %s", err, tt.want)
			}
		})
	}
}

// longLog is a log of pictures, a second apart. The run has failed from the 71st on.
func longLog(t *testing.T, pictures int) []byte {
	t.Helper()
	text := []byte(`{"type":"header","schema":1,"at":"2000-01-01T00:00:00Z"}` + "\n")
	at := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range pictures {
		snap := Snapshot{Seq: uint64(i), At: at.Add(time.Duration(i) * time.Second)}
		if i >= 70 {
			snap.Found = &ReportFound{By: "lost"}
		}
		line, err := json.Marshal(map[string]any{"type": "snapshot", "at": snap.At, "snapshot": snap})
		if err != nil {
			t.Fatal(err)
		}
		text = append(append(text, line...), '\n')
	}
	return text
}

// TestLongRecording has more pictures than are kept in memory.
func TestLongRecording(t *testing.T) {
	const pictures = picturesKept + 200
	path := filepath.Join(t.TempDir(), "long.jsonl")
	if err := os.WriteFile(path, longLog(t, pictures), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := OpenRecording(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if first, found := r.FirstFinding(); r.Len() != pictures || !found || first != 70 {
		t.Errorf("%d pictures, the first that shows a finding is %d", r.Len(), first)
	}
	for range 2 {
		for i := range pictures {
			if s, err := r.Snapshot(i); err != nil || s.Seq != uint64(i) {
				t.Fatalf("picture %d: %+v, %v", i, s, err)
			}
		}
	}
	if len(r.kept) != picturesKept || len(r.order) != picturesKept {
		t.Errorf("%d pictures are kept, want %d", len(r.kept), picturesKept)
	}
	if err := os.Truncate(path, 100); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Snapshot(0); err == nil || !strings.Contains(err.Error(), path+": line 2: snapshot: ") {
		t.Errorf("%v", err)
	}
}
