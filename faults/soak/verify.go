package soak

import (
	"cmp"
	"context"
	"encoding/xml"
	"fmt"
	"slices"
	"strings"
	"time"

	"eostop/faults/verify"
	"eostop/runtime"
	"eostop/runtime/topology"
)

// VerifyReport is the judgement of what an application has left in its topics. What was not measured is absent.
type VerifyReport struct {
	Schema        int            `json:"schema"`
	Version       string         `json:"version"`
	Verdict       verify.Verdict `json:"verdict"`
	Reasons       []string       `json:"reasons"`
	ApplicationID string         `json:"application_id"`
	Topology      string         `json:"topology,omitempty"` // absent = without a model
	Guarantee     string         `json:"guarantee"`
	Broker        ReportBroker   `json:"broker"`
	ClusterID     string         `json:"cluster_id"`
	// DurationMS is how long the reading took.
	DurationMS int64          `json:"duration_ms"`
	Topics     VerifiedTopics `json:"topics"`
	Records    struct {
		In         int64  `json:"in"`
		Processed  *int64 `json:"processed,omitempty"`
		Out        int64  `json:"out"`
		Duplicated *int64 `json:"duplicated,omitempty"`
		Lost       *int64 `json:"lost,omitempty"`
		OutOfOrder *int64 `json:"out_of_order,omitempty"`
	} `json:"records"`
	State struct {
		Stores         *int64 `json:"stores,omitempty"`
		DigestChecked  *int64 `json:"digest_checked,omitempty"`
		DigestMismatch *int64 `json:"digest_mismatch,omitempty"`
	} `json:"state"`
	// Rules say what was looked for, and what could not be. Notes limit that further.
	Rules     []verify.Rule   `json:"rules"`
	Notes     []string        `json:"notes"`
	Witnesses []ReportWitness `json:"witnesses"`
}

// VerifyCluster judges what the application of the configuration has left on its cluster: by the model of its topology, or by the
// rules that need none. It changes nothing there. Progress is told how many offsets have been read of how many.
func VerifyCluster(ctx context.Context, cfg *Config, byModel bool, progress func(read, total int64)) (*VerifyReport, error) {
	if len(cfg.Cluster.Brokers) == 0 {
		return nil, Usagef("cluster.brokers: is missing; name the cluster with --brokers (the embedded broker leaves nothing)")
	}
	program, _ := findBuiltin(cfg.Application.Topology)
	c, err := openCluster(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer c.close()
	began := time.Now()
	var (
		topics *VerifiedTopics
		notes  []string
	)
	if byModel {
		topics, err = c.topicsOf(ctx, &program, cfg.Application.ID)
	} else {
		topics, notes, err = c.discover(ctx, cfg.Application.ID)
	}
	if err != nil {
		return nil, err
	}
	status, err := verify.Stored(ctx, c.storedConfig(cfg, &program, byModel, topics, progress))
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, Runf("interrupted before anything was read")
	case err != nil:
		return nil, Runf("look at the topics of %s: %w; it needs DESCRIBE and READ on them, and DESCRIBE on the group", cfg.Application.ID, err)
	}
	r := &VerifyReport{
		Schema: reportSchema, Version: Version, ApplicationID: cfg.Application.ID, Guarantee: cfg.Runtime.Guarantee,
		Broker: ReportBroker{Kind: "kafka", Version: c.version}, ClusterID: c.id, DurationMS: time.Since(began).Milliseconds(),
		Topics: *topics, Notes: orEmpty(slices.Concat(notes, status.Notes)),
	}
	if byModel {
		r.Topology = program.name
	}
	r.judged(status)
	return r, nil
}

// storedConfig says what the verifier shall read.
func (c *cluster) storedConfig(cfg *Config, program *builtin, byModel bool, topics *VerifiedTopics, progress func(read, total int64)) verify.StoredConfig {
	s := verify.StoredConfig{
		Config: verify.Config{
			Seeds: c.brokers, Dial: c.dial, Options: saslOptions(c.sasl), Group: cfg.Application.ID,
			AtLeastOnce: !runtime.Guarantee(cfg.Runtime.Guarantee).Transactional(), Cached: cfg.recordCache() > 0,
			FetchWait: cfg.Verify.Interval, Hash: func(key []byte) uint32 { return uint32(topology.Murmur2(key)) },
		},
		Inputs: topics.Inputs, Outputs: topics.Outputs, Repartitions: topics.Repartitions, Changelogs: topics.Changelogs, Progress: progress,
	}
	if byModel {
		names := program.topics(cfg.Application.ID)
		s.Model, s.Input, s.Config.Outputs, s.Config.Changelogs, s.Hops = program.model, names.Input, names.Outputs, names.Changelogs, names.hops()
	}
	return s
}

// judged takes over what the verifier has found.
func (r *VerifyReport) judged(s *verify.StoredStatus) {
	r.Verdict, r.Reasons, r.Rules, r.Witnesses = s.Verdict, orEmpty(s.Reasons), orEmpty(s.Rules), reportWitnesses(s.Witnesses)
	applied := func(kind string, n int64) *int64 {
		if !slices.ContainsFunc(s.Rules, func(rule verify.Rule) bool { return rule.Applied && rule.Name == kind }) {
			return nil
		}
		return new(n)
	}
	r.Records.In, r.Records.Out = s.In, s.Out
	if s.Counted {
		r.Records.Processed, r.Records.Lost = new(s.Processed), new(s.Lost)
	}
	r.Records.Duplicated, r.Records.OutOfOrder = applied(verify.KindDuplicate, s.Duplicated), applied(verify.KindOutOfOrder, s.OutOfOrder)
	r.State.Stores, r.State.DigestChecked = applied(verify.KindStateMismatch, s.Stores), applied(verify.KindStateMismatch, s.DigestChecked)
	r.State.DigestMismatch = applied(verify.KindStateMismatch, s.DigestMismatch)
}

// ExitCode is the exit code that the report stands for.
func (r *VerifyReport) ExitCode() int { return ExitCode(&Report{Verdict: r.Verdict}) }

// WriteVerify writes the report as JSON.
func WriteVerify(path string, r *VerifyReport) error {
	return writeJSON(path, "session.report", r)
}

// WriteVerifyJUnit writes the report as JUnit XML: the verdict, and each rule. A rule that could not be applied is skipped.
func WriteVerifyJUnit(path string, r *VerifyReport) error {
	whole := &Report{Verdict: r.Verdict, Reasons: r.Reasons, Witnesses: r.Witnesses}
	suite := junitSuite{
		Name: "eostop verify " + r.ApplicationID, Time: junitTime(r.DurationMS),
		Properties: []junitProperty{
			{"version", r.Version},
			{"topology", cmp.Or(r.Topology, "none")},
			{"guarantee", r.Guarantee},
			{"broker", strings.TrimSpace(r.Broker.Kind + " " + r.Broker.Version)},
			{"cluster", r.ClusterID},
		},
		Cases: []junitCase{verdictCase(whole)},
	}
	for _, rule := range r.Rules {
		c := junitCase{Name: "rule " + rule.Name}
		own := slices.DeleteFunc(slices.Clone(r.Witnesses), func(w ReportWitness) bool { return w.Kind != rule.Name })
		switch {
		case len(own) > 0:
			c.Failure = &junitMessage{Message: fmt.Sprintf("%d witnesses", len(own)), Text: own[0].line()}
		case !rule.Applied:
			c.Skipped = &junitMessage{Message: rule.Detail}
		}
		suite.Cases = append(suite.Cases, c)
	}
	suite.count("eostop.verify." + r.ApplicationID)
	text, err := xml.MarshalIndent(junitSuites{Suites: []junitSuite{suite}}, "", "  ")
	if err != nil {
		return fmt.Errorf("junit report: %w", err)
	}
	return writeFile(path, "junit report", []byte(xml.Header+string(text)+"\n"))
}
