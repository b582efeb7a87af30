package soak

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"eostop/runtime"
	"eostop/runtime/topology"
)

// Results of a single check.
const (
	CheckOK      = "ok"
	CheckWarning = "warning" // a run is possible, but something will be missed, or is at risk
	CheckFailed  = "failed"  // a run is not possible
	CheckUnknown = "unknown" // we are not allowed to know
)

// Finding is what one check found, and what to do about it.
type Finding struct {
	Check  string `json:"check"`
	Result string `json:"result"`
	Found  string `json:"found"`
	Advice string `json:"advice,omitempty"`
	// Topics are all that the finding is about; their number and the first one are part of Check.
	Topics []string `json:"topics,omitempty"`

	usage bool // It is the configuration that has to change, not the cluster.
}

// CheckReport says whether a cluster is fit for a run.
type CheckReport struct {
	Schema        int       `json:"schema"`
	Version       string    `json:"version"`
	ApplicationID string    `json:"application_id"`
	Topology      string    `json:"topology"`
	Guarantee     string    `json:"guarantee"`
	Brokers       []string  `json:"brokers"`
	ClusterID     string    `json:"cluster_id"`
	Fit           bool      `json:"fit"`
	Findings      []Finding `json:"findings"`
}

// probeTimeout bounds what one part of the cluster has to answer, so that a slow one leaves time for the others (within admitTimeout).
const probeTimeout = 2500 * time.Millisecond

// CheckCluster finds out whether the cluster of the configuration is fit for a run with it, and changes nothing there, but
// that a transactional id of its own becomes known to the coordinator. Its error says why nothing could be found out at all.
func CheckCluster(ctx context.Context, cfg *Config) (*CheckReport, error) {
	if err := cfg.Validate(); err != nil {
		return nil, &UsageError{err}
	}
	if len(cfg.Cluster.Brokers) == 0 {
		return nil, Usagef("cluster.brokers: is missing; name the cluster with --brokers (the embedded broker is always fit)")
	}
	program, topics, err := cfg.program()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, admitTimeout)
	defer cancel()
	c, err := openCluster(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer c.close()
	findings, err := c.inspect(ctx, cfg, program, topics)
	if err != nil {
		return nil, err
	}
	report := &CheckReport{
		Schema: 1, Version: Version, ApplicationID: cfg.Application.ID, Topology: cfg.Application.Topology, Guarantee: cfg.Runtime.Guarantee,
		Brokers: cfg.Cluster.Brokers, ClusterID: c.id, Fit: true, Findings: findings,
	}
	for i := range findings {
		report.Fit = report.Fit && findings[i].Result != CheckFailed
	}
	return report, nil
}

// program builds the program that the configuration names.
func (c *Config) program() (*topology.Topology, ProgramTopics, error) {
	named, _ := findBuiltin(c.Application.Topology)
	program, err := named.build(c.Application.ID)
	if err != nil {
		return nil, ProgramTopics{}, fmt.Errorf("program %s: %w", c.Application.Topology, err)
	}
	return program, named.topics(c.Application.ID), nil
}

// inspection collects findings.
type inspection struct {
	*cluster
	cfg      *Config
	findings []Finding
}

func (i *inspection) add(check, result, found, advice string) {
	i.findings = append(i.findings, Finding{Check: check, Result: result, Found: found, Advice: advice})
}

// inspect makes all checks of a real cluster, in the order in which people would ask. The context bounds them together.
func (c *cluster) inspect(ctx context.Context, cfg *Config, program *topology.Topology, topics ProgramTopics) ([]Finding, error) {
	i := &inspection{cluster: c, cfg: cfg}
	i.secrecy()
	i.versions(ctx)
	settings := i.brokerSettings(ctx)
	i.transactions(ctx, settings)
	i.group(ctx, settings)
	i.replicas(settings)
	internal := runtime.DefaultConfig()
	internal.ApplicationID = cfg.Application.ID
	_, internal.TopicConfigs = c.replication()
	outside := c.outsideTopics(topics)
	inside, err := c.insideTopics(program, &internal, outside)
	if err != nil {
		return nil, err
	}
	i.topics(ctx, append(outside, inside...))
	return i.findings, nil
}

// refuse makes the error that a run ends with before it has begun: what failed first, for the rest mostly has the same reason.
func refuse(findings []Finding) error {
	failed := slices.DeleteFunc(slices.Clone(findings), func(f Finding) bool { return f.Result != CheckFailed })
	if len(failed) == 0 {
		return nil
	}
	f := failed[0]
	text := f.Check + ": " + f.Found
	if f.Advice != "" {
		text += "; " + f.Advice
	}
	if n := len(failed) - 1; n > 0 {
		text += fmt.Sprintf(" (and %d more; eostop check lists them)", n)
	}
	if f.usage {
		return Usagef("%s", text)
	}
	return Runf("%s", text)
}

// Text returns the report as a table for people.
func (r *CheckReport) Text() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	counts := map[string]int{}
	fmt.Fprintln(w, "CHECK\tRESULT\tFOUND")
	for _, f := range r.Findings {
		counts[f.Result]++
		fmt.Fprintf(w, "%s\t%s\t%s\n", f.Check, f.Result, f.Found)
		if f.Advice != "" {
			fmt.Fprintf(w, "\t\t-> %s\n", f.Advice)
		}
	}
	if err := w.Flush(); err != nil { // A strings.Builder takes everything.
		return err.Error()
	}
	verdict := "fit"
	if !r.Fit {
		verdict = "not fit"
	}
	fmt.Fprintf(&b, "\ncluster %s is %s for %s (%s, %s): %d ok, %d warnings, %d failed, %d unknown\n", r.ClusterID, verdict, r.ApplicationID,
		r.Topology, r.Guarantee, counts[CheckOK], counts[CheckWarning], counts[CheckFailed], counts[CheckUnknown])
	return b.String()
}

// WriteCheck writes the report as JSON.
func WriteCheck(path string, r *CheckReport) error {
	return writeJSON(path, "session.report", r)
}
