package journal_test

import (
	"bufio"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"eostop/runtime/journal"
)

// logLine holds what the tests look at.
type logLine struct {
	Type     string          `json:"type"`
	Schema   int             `json:"schema"`
	At       time.Time       `json:"at"`
	Dropped  uint64          `json:"dropped"`
	Session  map[string]any  `json:"session"`
	Seq      uint64          `json:"seq"`
	Kind     string          `json:"kind"`
	Level    string          `json:"level"`
	Text     string          `json:"text"`
	Error    string          `json:"error"`
	Snapshot json.RawMessage `json:"snapshot"`
}

func readLog(t *testing.T, path string) []logLine {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode(); mode != 0o600 {
		t.Errorf("the mode is %v, want 0600", mode)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var lines []logLine
	scanner := bufio.NewScanner(f)
	for scanner.Scan() {
		var l logLine
		if err := json.Unmarshal(scanner.Bytes(), &l); err != nil {
			t.Fatalf("line %d: %v: %s", len(lines)+1, err, scanner.Bytes())
		}
		lines = append(lines, l)
	}
	if err := scanner.Err(); err != nil {
		t.Fatal(err)
	}
	if len(lines) == 0 || lines[0].Type != "header" || lines[0].Schema != journal.Schema {
		t.Fatalf("no header: %+v", lines)
	}
	return lines
}

func TestExport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		started := time.Now()
		l := journal.NewLog(map[string]any{"seed": 7}, 1<<20)
		j := journal.New(1) // the log does not depend on the ring
		j.Emit(journal.Event{Text: "before it was attached"})
		j.Attach(l)
		time.Sleep(time.Second)
		j.Emit(journal.Event{Kind: journal.KindThreadState, Level: journal.Info, Text: "A -> B"})
		l.Snapshot(struct {
			Rate int `json:"rate"`
		}{20_000})
		j.Emit(journal.Event{Kind: journal.KindError, Level: journal.Error, Error: "gone"})
		j.Attach(nil)
		j.Emit(journal.Event{Text: "after it was detached"})

		path := filepath.Join(t.TempDir(), "s.jsonl")
		if err := os.WriteFile(path, []byte("something older"), 0o644); err != nil {
			t.Fatal(err)
		}
		n, dropped, err := l.Export(path)
		if n != 4 || dropped != 0 || err != nil {
			t.Fatalf("Export = %d, %d, %v", n, dropped, err)
		}
		lines := readLog(t, path)
		if len(lines) != 4 {
			t.Fatalf("%d lines, want 4", len(lines))
		}
		if h := lines[0]; !h.At.Equal(started) || h.Dropped != 0 || h.Session["seed"] != 7.0 {
			t.Errorf("header %+v", h)
		}
		if e := lines[1]; e.Type != "event" || e.Seq != 2 || e.Kind != "thread_state" || e.Level != "info" || e.Text != "A -> B" ||
			!e.At.Equal(started.Add(time.Second)) {
			t.Errorf("event %+v", e)
		}
		if s := lines[2]; s.Type != "snapshot" || string(s.Snapshot) != `{"rate":20000}` || !s.At.Equal(started.Add(time.Second)) {
			t.Errorf("snapshot %+v", s)
		}
		if e := lines[3]; e.Seq != 3 || e.Error != "gone" {
			t.Errorf("event %+v", e)
		}
		entries, err := os.ReadDir(filepath.Dir(path))
		if err != nil || len(entries) != 1 {
			t.Errorf("the folder holds %v, %v", entries, err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestExportError(t *testing.T) {
	l := journal.NewLog(nil, 1<<20)
	for _, path := range []string{filepath.Join(t.TempDir(), "missing", "s.jsonl"), t.TempDir()} {
		if _, _, err := l.Export(path); err == nil || !strings.Contains(err.Error(), "export session log") {
			t.Errorf("%s: error %v", path, err)
		}
		left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*"))
		if err != nil || len(left) != 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	}
}

func TestBudget(t *testing.T) {
	const budget = 10_000
	l := journal.NewLog(nil, budget)
	const events = 1000
	for i := range events {
		l.Event(journal.Event{Seq: uint64(i + 1), Kind: journal.KindLog, Text: strings.Repeat("x", i%50)})
	}
	path := filepath.Join(t.TempDir(), "s.jsonl")
	n, dropped, err := l.Export(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := readLog(t, path)
	if lines[0].Dropped != dropped || len(lines) != n || int(dropped)+n-1 != events {
		t.Errorf("%d lines, %d dropped, the header says %d; want %d in all", n, dropped, lines[0].Dropped, events)
	}
	for i, e := range lines[1:] {
		if e.Seq != dropped+uint64(i)+1 {
			t.Fatalf("event %d in line %d: the oldest must go first", e.Seq, i+2)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if size := info.Size(); size > budget+500 || size < budget-500 {
		t.Errorf("%d bytes for a budget of %d", size, budget)
	}

	// A line that alone is more than the budget leaves nothing.
	l.Snapshot(strings.Repeat("x", budget))
	n, dropped, err = l.Export(path)
	if n != 1 || dropped != events+1 || err != nil {
		t.Errorf("Export = %d, %d, %v", n, dropped, err)
	}
	l.Event(journal.Event{Seq: events + 1})
	if n, _, err = l.Export(path); n != 2 || err != nil {
		t.Errorf("Export = %d, %v", n, err)
	}
}

func TestWhatCannotBeEncoded(t *testing.T) {
	l := journal.NewLog(math.NaN(), 1<<20)
	l.Snapshot(map[string]any{"rate": math.Inf(1)})
	l.Event(journal.Event{Seq: 5, Level: 77, Error: "original", Text: "kept"})
	path := filepath.Join(t.TempDir(), "s.jsonl")
	if n, _, err := l.Export(path); n != 3 || err != nil {
		t.Fatalf("Export = %d, %v", n, err)
	}
	lines := readLog(t, path)
	if h := lines[0]; !strings.Contains(h.Error, "NaN") || h.Session != nil {
		t.Errorf("header %+v", h)
	}
	if s := lines[1]; s.Type != "snapshot" || !strings.Contains(s.Error, "Inf") || s.Snapshot != nil {
		t.Errorf("snapshot %+v", s)
	}
	if e := lines[2]; e.Seq != 5 || e.Level != "error" || !strings.Contains(e.Error, "original [") || e.Text != "kept" {
		t.Errorf("event %+v", e)
	}
}

func TestStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "s.jsonl")
		if err := os.WriteFile(path, []byte("something older and longer than the header"), 0o644); err != nil {
			t.Fatal(err)
		}
		l := journal.NewLog(nil, 300) // memory for a few lines only
		j := journal.New(4)
		j.Attach(l)
		for range 10 {
			j.Emit(journal.Event{Text: "before"})
		}
		if err := l.Stream(path); err != nil {
			t.Fatal(err)
		}
		if err := l.Stream(path); err == nil {
			t.Error("it was streamed twice")
		}
		for range 100 {
			j.Emit(journal.Event{Text: "while"})
		}
		time.Sleep(1500 * time.Millisecond)
		lines := readLog(t, path)
		dropped := lines[0].Dropped
		if dropped == 0 || len(lines) != 1+110-int(dropped) {
			t.Errorf("%d lines after a second, %d dropped before", len(lines), dropped)
		}
		j.Emit(journal.Event{Text: "last"})
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		j.Emit(journal.Event{Text: "after Close"})
		lines = readLog(t, path)
		for i, e := range lines[1:] {
			if e.Seq != dropped+uint64(i)+1 {
				t.Fatalf("event %d in line %d", e.Seq, i+2)
			}
		}
		if last := lines[len(lines)-1]; last.Seq != 111 || last.Text != "last" {
			t.Errorf("the last line is %+v", last)
		}
		if err := l.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
		if err := l.StreamErr(); err != nil {
			t.Error(err)
		}
	})
}

func TestStreamCannotBeOpened(t *testing.T) {
	l := journal.NewLog(nil, 1<<20)
	if err := l.StreamErr(); err != nil {
		t.Error(err)
	}
	if err := l.Stream(filepath.Join(t.TempDir(), "missing", "s.jsonl")); err == nil || !strings.Contains(err.Error(), "stream session log") {
		t.Errorf("error %v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

func TestConcurrentUse(t *testing.T) {
	l := journal.NewLog(nil, 20_000)
	j := journal.New(64)
	j.Attach(l)
	path := filepath.Join(t.TempDir(), "s.jsonl")
	if err := l.Stream(path); err != nil {
		t.Fatal(err)
	}
	const writers, each = 4, 500
	var group sync.WaitGroup
	for range writers {
		group.Go(func() {
			for range each {
				j.Emit(journal.Event{Text: "x"})
			}
		})
	}
	group.Go(func() {
		for range 50 {
			l.Snapshot("x")
		}
	})
	group.Go(func() {
		for range 5 {
			if _, _, err := l.Export(path + ".export"); err != nil {
				t.Error(err)
			}
		}
	})
	group.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var last uint64
	for _, line := range readLog(t, path)[1:] {
		if line.Type != "event" {
			continue
		}
		if last++; line.Seq != last {
			t.Fatalf("event %d came, want %d", line.Seq, last)
		}
	}
	if last != writers*each {
		t.Errorf("%d events, want %d", last, writers*each)
	}
}
