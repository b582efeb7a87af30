package soak

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"eostop/runtime/state"
)

func cleanPlan(t *testing.T, cfg *Config) *CleanPlan {
	t.Helper()
	p, err := PlanClean(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func TestCleanRemovesWhatARunHasLeft(t *testing.T) {
	t.Parallel()
	cfg := reachable(t)
	admin := administrator(t, &cfg)
	// Of an application whose name begins alike, and topics that are of nobody we know.
	for _, topic := range []string{"safe-2-input", "other", "safe-archive"} {
		if _, err := admin.CreateTopic(t.Context(), 1, 1, nil, topic); err != nil {
			t.Fatal(err)
		}
	}
	s, err := New(cfg, nil, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for s.Snapshot().Phase == PhaseStarting {
		select {
		case <-s.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
	if _, err := PlanClean(t.Context(), &cfg); err == nil || !strings.Contains(err.Error(), "the application runs") {
		t.Errorf("plan while the application runs: %v", err)
	}
	if _, err := s.Wait(); err != nil {
		t.Fatal(err)
	}
	// A folder of another cluster, and one of somebody else.
	foreign := filepath.Join(cfg.Runtime.StateDir, "notes")
	if err := os.Mkdir(foreign, 0o700); err != nil {
		t.Fatal(err)
	}
	p := cleanPlan(t, &cfg)
	if len(p.Topics) != 18 || !p.Group || len(p.Folders) != cfg.Runtime.Instances || !slices.Equal(p.LeftAlone, []string{"safe-2-input", "safe-archive"}) {
		t.Errorf("plan:\n%s", p.Text())
	}
	if err := p.Run(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	if p := cleanPlan(t, &cfg); !p.Empty() || !strings.Contains(p.Text(), "there is nothing of application safe") {
		t.Errorf("left:\n%s", p.Text())
	}
	topics, err := admin.ListTopics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := topics.Names(); !slices.Equal(got, []string{"other", "safe-2-input", "safe-archive"}) {
		t.Errorf("topics left: %v", got)
	}
	if _, err := os.Stat(foreign); err != nil {
		t.Errorf("a folder of somebody else: %v", err)
	}
}

// TestStateOfAnotherApplication: two applications with one --state-dir. The second neither runs on the state of the first nor removes it.
func TestStateOfAnotherApplication(t *testing.T) {
	t.Parallel()
	cfg := reachable(t)
	if err := try(t, cfg); err != nil {
		t.Fatal(err)
	}
	other := cfg
	other.Application.ID = "other"
	err := try(t, other)
	if _, ok := errors.AsType[*UsageError](err); !ok || !strings.Contains(err.Error(), `belongs to application "safe", not to "other"`) {
		t.Errorf("run of another application: %v", err)
	}
	// One that does not say whose it is may be anybody's.
	unsaid := filepath.Join(cfg.Runtime.StateDir, "i9")
	c, err := openCluster(t.Context(), &cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	directory, err := state.OpenDirectory(state.DirectoryConfig{Path: unsaid, ClusterID: c.id})
	if err != nil {
		t.Fatal(err)
	}
	if err := directory.Close(); err != nil {
		t.Fatal(err)
	}
	if p := cleanPlan(t, &other); len(p.Folders) > 0 {
		t.Errorf("plan of another application:\n%s", p.Text())
	}
	p := cleanPlan(t, &cfg)
	if len(p.Folders) != cfg.Runtime.Instances || slices.Contains(p.Folders, unsaid) {
		t.Errorf("plan:\n%s", p.Text())
	}
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := entriesOf(cfg.Runtime.StateDir); len(left) != 1 || left[0].Name() != "i9" {
		t.Errorf("left: %v", left)
	}
}
