package soak

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheckFiles(t *testing.T) {
	folder := t.TempDir()
	existing := filepath.Join(folder, "r.json")
	if err := os.WriteFile(existing, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ path, want string }{
		{"", ""},
		{existing, ""},
		{filepath.Join(folder, "new.json"), ""},
		{os.DevNull, ""},
		{folder, "session.report: cannot write " + folder + ": is a directory; name a file"},
		{filepath.Join(folder, "none", "r.json"), "r.json: no such file or directory; name a file"},
		{filepath.Join(existing, "r.json"), "not a directory"},
	}
	for _, tt := range tests {
		c := Default()
		c.Session.Report = tt.path
		err := c.CheckFiles()
		if tt.want == "" {
			if err != nil {
				t.Errorf("%s: %v", tt.path, err)
			}
			continue
		}
		var run *RunError
		if !errors.As(err, &run) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.path, err, tt.want)
		}
	}
	text, err := os.ReadFile(existing)
	if err != nil || string(text) != "old" {
		t.Errorf("the old report was touched: %q, %v", text, err)
	}
	if entries, err := os.ReadDir(folder); err != nil || len(entries) != 1 {
		t.Errorf("files were left behind: %v, %v", entries, err)
	}
}

func TestOpenLog(t *testing.T) {
	c := Default()
	c.Session.LogFile = filepath.Join(t.TempDir(), "eostop.log")
	c.Session.LogLevel = "warn"
	for range 2 { // Appends.
		log, closeLog, err := c.OpenLog()
		if err != nil {
			t.Fatal(err)
		}
		log.Info("too quiet")
		log.Warn("loud", "thread", "i1")
		closeLog()
	}
	text, err := os.ReadFile(c.Session.LogFile)
	if err != nil || strings.Count(string(text), "\n") != 2 || !strings.Contains(string(text), "level=WARN msg=loud thread=i1") {
		t.Errorf("%q, %v", text, err)
	}
	if info, err := os.Stat(c.Session.LogFile); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	c.Session.LogFile = filepath.Join(c.Session.LogFile, "x")
	_, _, err = c.OpenLog()
	var run *RunError
	if !errors.As(err, &run) || !strings.Contains(err.Error(), "eostop.log/x: not a directory; name a file") {
		t.Error(err)
	}
	c.Session.LogFile = ""
	log, closeLog, err := c.OpenLog()
	if err != nil {
		t.Fatal(err)
	}
	log.Error("dropped")
	closeLog()
}
