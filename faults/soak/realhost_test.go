package soak

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestOnKafkaStateDirectory: scenarios of a host whose state outlives the application, as only a broker outside of it allows. A second
// application on the same state directory is refused (stolen-dir), and stores whose files were damaged while it was stopped are found,
// and made anew from their changelogs (corrupt-store).
func TestOnKafkaStateDirectory(t *testing.T) {
	cfg := onKafka(t, 6*time.Second)
	defer tidy(t, &cfg)
	first := performScript(t, cfg, func(*stage) {
		second, err := New(cfg, nil, Deps{})
		if err != nil {
			t.Fatal(err)
		}
		if err = second.Start(t.Context()); err == nil {
			second.Stop(true)
			t.Error("two applications work in one state directory")
		} else if !strings.Contains(err.Error(), cfg.Runtime.StateDir) {
			t.Errorf("%v does not name the state directory", err)
		}
	})
	if first.State.Rebuilt != 0 {
		t.Fatalf("%+v before anything was damaged", first.State)
	}
	damaged := 0
	err := filepath.WalkDir(filepath.Join(cfg.Runtime.StateDir, "i1"), func(path string, _ fs.DirEntry, walk error) error {
		if walk != nil || filepath.Ext(path) != ".sst" {
			return walk
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for i := range content {
			content[i] ^= 0x5a
		}
		damaged++
		return os.WriteFile(path, content, 0o600)
	})
	if err != nil || damaged == 0 {
		t.Fatalf("%d files were damaged: %v", damaged, err)
	}
	if r := perform(t, cfg); r.State.Rebuilt == 0 || r.Threads.Alive != r.Threads.Total {
		t.Errorf("%d files were damaged, and %+v, threads %+v", damaged, r.State, r.Threads)
	}
}
