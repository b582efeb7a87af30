package soak

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"eostop/runtime/state"

	"github.com/twmb/franz-go/pkg/kerr"
)

// cleanTimeout bounds each step of a clean-up.
const cleanTimeout = 30 * time.Second

// CleanPlan is what an application has left on a cluster and on this machine. Nothing is removed before Run.
type CleanPlan struct {
	ApplicationID string
	Topics        []string // that are removed
	Group         bool     // whether there is a group
	Folders       []string // state directories of instances
	LeftAlone     []Left   // what is near to the application, but not known to be its own

	cluster *cluster
	root    string // of the folders
}

// Left is what is not removed, a topic or a folder, and why.
type Left struct{ Name, Why string }

// PlanClean finds out what there is. Chosen says that only topics of the configuration's program are meant; otherwise those of all built-in ones
// are. It refuses to plan while the group has members: they would create everything anew. The caller closes the plan.
func PlanClean(ctx context.Context, cfg *Config, chosen bool) (*CleanPlan, error) {
	if len(cfg.Cluster.Brokers) == 0 {
		return nil, Usagef("cluster.brokers: is missing; name the cluster with --brokers (the embedded broker leaves nothing)")
	}
	c, err := openCluster(ctx, cfg)
	if err != nil {
		return nil, err
	}
	p := &CleanPlan{ApplicationID: cfg.Application.ID, cluster: c}
	programs := builtins()
	if chosen {
		program, _ := findBuiltin(cfg.Application.Topology)
		programs = []builtin{program}
	}
	if err := p.find(ctx, cfg, programs); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// Close ends the plan's connection to the cluster.
func (p *CleanPlan) Close() { p.cluster.close() }

// Empty says whether there is nothing to remove.
func (p *CleanPlan) Empty() bool { return len(p.Topics) == 0 && !p.Group && len(p.Folders) == 0 }

func (p *CleanPlan) find(ctx context.Context, cfg *Config, programs []builtin) error {
	ctx, cancel := context.WithTimeout(ctx, cleanTimeout)
	defer cancel()
	groups, err := p.cluster.admin.DescribeGroups(ctx, p.ApplicationID)
	if err != nil {
		return Runf("look up group %s: %w", p.ApplicationID, err)
	}
	switch group := groups[p.ApplicationID]; {
	case group.Err != nil && !errors.Is(group.Err, kerr.GroupIDNotFound):
		return Runf("look up group %s: %w", p.ApplicationID, group.Err)
	case len(group.Members) > 0:
		return Runf("group %s has %d members: the application runs, or was killed and its session has not timed out yet; stop it first",
			p.ApplicationID, len(group.Members))
	default:
		p.Group = group.Err == nil && group.State != "Dead" && group.State != ""
	}
	if err := p.findTopics(ctx, cfg, programs); err != nil {
		return err
	}
	return p.findFolders(cfg)
}

// findFolders looks for state directories of the application on this cluster. Those that do not say whose they are it leaves alone.
func (p *CleanPlan) findFolders(cfg *Config) (err error) {
	if p.root, err = stateHome(cfg); err != nil {
		return err
	}
	entries, err := os.ReadDir(p.root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return Runf("state directory %s: %w", p.root, bareCause(err))
	}
	for _, entry := range entries {
		folder := filepath.Join(p.root, entry.Name())
		cluster, application := state.OwnerOf(folder)
		switch {
		case !entry.IsDir() || cluster != p.cluster.id:
		case application == p.ApplicationID:
			p.Folders = append(p.Folders, folder)
		case application == "":
			p.LeftAlone = append(p.LeftAlone, Left{folder, "state of this cluster that does not say of which application"})
		}
	}
	return nil
}

// Text lists what will be removed, one thing a line.
func (p *CleanPlan) Text() string {
	var b strings.Builder
	for _, topic := range p.Topics {
		fmt.Fprintf(&b, "topic  %s\n", topic)
	}
	if p.Group {
		fmt.Fprintf(&b, "group  %s\n", p.ApplicationID)
	}
	for _, folder := range p.Folders {
		fmt.Fprintf(&b, "state  %s\n", folder)
	}
	for _, left := range p.LeftAlone {
		fmt.Fprintf(&b, "left   %s: %s\n", left.Name, left.Why)
	}
	if p.Empty() {
		fmt.Fprintf(&b, "there is nothing of application %s on cluster %s and in %s\n", p.ApplicationID, p.cluster.id, p.root)
	}
	return b.String()
}

// Run removes what is planned. It goes on after a failure, and its error tells all of them.
func (p *CleanPlan) Run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, cleanTimeout)
	defer cancel()
	var errs []error
	// The group first: it knows when somebody has come back meanwhile.
	if p.Group {
		r, err := p.cluster.admin.DeleteGroup(ctx, p.ApplicationID)
		if err == nil {
			err = r.Err
		}
		switch {
		case errors.Is(err, kerr.NonEmptyGroup):
			return Runf("group %s: %w; the application has been started again, nothing was removed", p.ApplicationID, err)
		case err != nil && !errors.Is(err, kerr.GroupIDNotFound):
			errs = append(errs, Runf("remove group %s: %w", p.ApplicationID, err))
		}
	}
	for _, topic := range p.Topics {
		r, err := p.cluster.admin.DeleteTopic(ctx, topic)
		if err == nil {
			err = r.Err
		}
		if err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) {
			errs = append(errs, Runf("remove topic %s: %w", topic, err))
		}
	}
	for _, folder := range p.Folders {
		errs = append(errs, removeState(folder, p.cluster.id, p.ApplicationID))
	}
	if len(p.Folders) > 0 {
		// Only if nothing else is in it.
		if err := os.Remove(p.root); err != nil && !errors.Is(err, fs.ErrNotExist) && len(entriesOf(p.root)) == 0 {
			errs = append(errs, Runf("remove %s: %w", p.root, bareCause(err)))
		}
	}
	return errors.Join(errs...)
}

func entriesOf(folder string) []os.DirEntry {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil
	}
	return entries
}

// removeState removes a state directory that nobody has open.
func removeState(folder, clusterID, applicationID string) error {
	directory, err := state.OpenDirectory(state.DirectoryConfig{Path: folder, ClusterID: clusterID, ApplicationID: applicationID})
	if err != nil {
		return Runf("remove %s: %w", folder, err)
	}
	if err := errors.Join(directory.Close(), os.RemoveAll(folder)); err != nil {
		return Runf("remove %s: %w", folder, err)
	}
	return nil
}
