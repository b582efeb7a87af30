package soak

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"eostop/runtime/state"

	"github.com/twmb/franz-go/pkg/kadm"
)

func cleanPlan(t *testing.T, cfg *Config, chosen bool) *CleanPlan {
	t.Helper()
	p, err := PlanClean(t.Context(), cfg, chosen)
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
	if _, err := PlanClean(t.Context(), &cfg, false); err == nil || !strings.Contains(err.Error(), "the application runs") {
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
	p := cleanPlan(t, &cfg, false)
	if len(p.Topics) != 18 || !p.Group || len(p.Folders) != cfg.Runtime.Instances || !slices.Equal(p.LeftAlone, []Left{
		{"safe-2-input", "may be of application safe-2"}, {"safe-archive", "of no built-in program"},
	}) {
		t.Errorf("plan:\n%s", p.Text())
	}
	if err := p.Run(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	if p := cleanPlan(t, &cfg, false); !p.Empty() || !strings.Contains(p.Text(), "there is nothing of application safe") {
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
	if p := cleanPlan(t, &other, false); len(p.Folders) > 0 {
		t.Errorf("plan of another application:\n%s", p.Text())
	}
	p := cleanPlan(t, &cfg, false)
	if len(p.Folders) != cfg.Runtime.Instances || slices.Contains(p.Folders, unsaid) || !strings.Contains(p.Text(), "left   "+unsaid+": state of this cluster") {
		t.Errorf("plan:\n%s", p.Text())
	}
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := entriesOf(cfg.Runtime.StateDir); len(left) != 1 || left[0].Name() != "i9" {
		t.Errorf("left: %v", left)
	}
}

// TestCleanLeavesWhatMayBeSomebodyElses: topics that were there before, those that another application may have, those of another
// program, and those that carry no application's name.
func TestCleanLeavesWhatMayBeSomebodyElses(t *testing.T) {
	t.Parallel()
	cfg := reachable(t)
	admin := administrator(t, &cfg)
	partitions, inSync, retention := int32(cfg.Cluster.Partitions), "1", "60000"
	created := map[string]*string{"min.insync.replicas": &inSync}
	create := func(partitions int32, configs map[string]*string, topics ...string) {
		for _, topic := range topics {
			if _, err := admin.CreateTopic(t.Context(), partitions, 1, configs, topic); err != nil {
				t.Fatal(err)
			}
		}
	}
	words, internal := "safe-"+storeWords+"-changelog", "safe-"+storeCount+"-changelog"
	create(partitions, created, "safe-count", "safe-group-max")
	create(partitions, nil, "safe-sum")
	create(partitions+1, created, "safe-input")
	create(partitions, map[string]*string{"min.insync.replicas": &inSync, "retention.ms": &retention}, "safe-max")
	create(1, nil, "data", "cnt", words, internal)
	plan := func(chosen bool, topology string, removed []string, left map[string]string) {
		t.Helper()
		cfg := cfg
		cfg.Application.Topology = topology
		p := cleanPlan(t, &cfg, chosen)
		slices.Sort(removed)
		if !slices.Equal(p.Topics, removed) || len(p.LeftAlone) != len(left) {
			t.Errorf("plan of topology %s, chosen %t:\n%s", topology, chosen, p.Text())
		}
		for _, l := range p.LeftAlone {
			if want := left[l.Name]; want == "" || !strings.Contains(l.Why, want) {
				t.Errorf("%s is left because it is %q, want %q", l.Name, l.Why, want)
			}
		}
	}
	left := map[string]string{
		"safe-sum": "set up with defaults, not min.insync.replicas=1", "safe-input": "partitions, not ",
		"safe-max": "set up with min.insync.replicas=1,retention.ms=60000",
	}
	with := func(more ...string) map[string]string {
		all := maps.Clone(left)
		for i := 0; i < len(more); i += 2 {
			all[more[i]] = more[i+1]
		}
		return all
	}
	none := "does not carry the application's name"
	other := "not of topology " + topologyWordcount
	plan(true, topologySoak, []string{"safe-count", "safe-group-max", internal}, with(words, "not of topology soak"))
	plan(true, topologyWordcount, []string{words}, map[string]string{
		"safe-sum": other, "safe-max": other, "safe-count": other, "safe-group-max": other, internal: other, "safe-input": "partitions, not ",
	})
	// All stores of the simple client of Kafka's tests are there, but not those of the complex one.
	plan(false, topologySoak, []string{"safe-count", "safe-group-max", internal, words}, with("data", none))
	complexOnes := cfg
	complexOnes.Application.Topology = topologyEosTestComplex
	if text := cleanPlan(t, &complexOnes, true).Text(); !strings.Contains(text, "left   cnt: "+none) || !strings.Contains(text, "left   data: "+none) {
		t.Errorf("plan of %s:\n%s", topologyEosTestComplex, text)
	}

	// An application safe-group has a topic safe-group-max, too.
	create(1, nil, "group-input")
	commitOffset(t, &cfg, "safe-group", "group-input")
	plan(true, topologySoak, []string{"safe-count", internal}, with(words, "not of topology soak", "safe-group-max", "may be of application safe-group"))
}

// commitOffset leaves a group with a committed offset behind.
func commitOffset(t *testing.T, cfg *Config, group, topic string) {
	t.Helper()
	offsets := kadm.Offsets{}
	offsets.AddOffset(topic, 0, 0, -1)
	if err := administrator(t, cfg).CommitAllOffsets(t.Context(), group, offsets); err != nil {
		t.Fatal(err)
	}
}
