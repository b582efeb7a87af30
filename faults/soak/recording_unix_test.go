//go:build unix

package soak

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestPipedRecording plays a log that cannot be read twice, as when another program unpacks it.
func TestPipedRecording(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	text := longLog(t, 100)
	written := make(chan error, 1)
	go func() { written <- os.WriteFile(pipe, text, 0o600) }()
	r, err := OpenRecording(pipe)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
	if s, err := r.Snapshot(99); err != nil || r.Len() != 100 || s.Seq != 99 {
		t.Errorf("%d pictures, the last %+v, %v", r.Len(), s, err)
	}
	r.Close()
	if _, err := os.Stat(r.file.Name()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the copy: %v", err)
	}
}
