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
	r, err := ReadRecording(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(r.Snapshots); n < 20 || r.Length() < 20*time.Second || r.Dropped != 0 {
		t.Errorf("%d pictures of %v, %d lines dropped", n, r.Length(), r.Dropped)
	}
	if _, found := r.FirstFinding(); found {
		t.Error("the run was clean")
	}
	compared := 0
	for i, s := range r.Snapshots {
		if i > 0 && (!s.At.After(r.Snapshots[i-1].At) || len(s.Events) < len(r.Snapshots[i-1].Events)) {
			t.Errorf("picture %d is not behind the one before", i)
		}
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
	end := r.Snapshots[len(r.Snapshots)-1]
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
			r, err := ReadRecording(path)
			if tt.want == "" {
				if err != nil || len(r.Snapshots) == 0 {
					t.Errorf("%v", err)
				}
				return
			}
			if _, usage := errors.AsType[*UsageError](err); !usage || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("%v, want %s", err, tt.want)
			}
		})
	}
}
