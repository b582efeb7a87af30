package soak

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"eostop/faults/verify"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// verified judges what an application has left, and checks the verdict.
func verified(t *testing.T, cfg *Config, byModel bool, want verify.Verdict) *VerifyReport {
	t.Helper()
	r, err := VerifyCluster(t.Context(), cfg, byModel, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.Verdict != want || (want == verify.Clean) != (len(r.Witnesses) == 0) {
		t.Errorf("model %v: verdict %s, want %s: %v\nwitnesses %+v\nrules %+v\nnotes %q", byModel, r.Verdict, want, r.Reasons, r.Witnesses, r.Rules, r.Notes)
	}
	return r
}

// writeAgain writes the first record of a topic once more, in a transaction of somebody else, after a change. It returns the place.
func writeAgain(t *testing.T, cfg *Config, topic string, change func(*kgo.Record)) string {
	t.Helper()
	reader, err := kgo.NewClient(kgo.SeedBrokers(cfg.Cluster.Brokers...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	fetches := reader.PollFetches(t.Context())
	if err := fetches.Err(); err != nil {
		t.Fatal(err)
	}
	record := fetches.Records()[0]
	writer, err := kgo.NewClient(kgo.SeedBrokers(cfg.Cluster.Brokers...), kgo.TransactionalID(cfg.Application.ID+"-somebody"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	if err := writer.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	twin := &kgo.Record{Topic: topic, Partition: record.Partition, Key: record.Key, Value: record.Value, Headers: record.Headers, Timestamp: record.Timestamp}
	change(twin)
	if err := writer.ProduceSync(t.Context(), twin).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := writer.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	return placeOf(twin)
}

func placeOf(r *kgo.Record) string {
	return r.Topic + "-" + number(new(int64(r.Partition))) + "@" + number(&r.Offset)
}

// wantDuplicate checks that a witness names a record that was written twice.
func wantDuplicate(t *testing.T, r *VerifyReport, input, again string) {
	t.Helper()
	if !slices.ContainsFunc(r.Witnesses, func(w ReportWitness) bool {
		return w.Kind == verify.KindDuplicate && strings.HasPrefix(w.Input, input+"-") && slices.Equal(w.Outputs, []string{again})
	}) {
		t.Errorf("no witness of a duplicate of %s by %s: %+v", input, again, r.Witnesses)
	}
}

// What a run has left is clean, by the model and without, and while it runs; a record that is written twice is found.
func TestVerifyCluster(t *testing.T) {
	t.Parallel()
	for _, name := range TopologyNames() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := reachable(t)
			cfg.Application.Topology, cfg.Load.Duration = name, 4*time.Second
			s, err := New(cfg, nil, Deps{})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			for s.Snapshot().Processed == 0 {
				select {
				case <-s.Done():
					t.Fatal("nothing was processed")
				case <-time.After(50 * time.Millisecond):
				}
			}
			for _, byModel := range []bool{true, false} {
				verified(t, &cfg, byModel, verify.Clean) // while it runs
			}
			ran, err := s.Wait()
			if err != nil {
				t.Fatal(err)
			}
			for _, byModel := range []bool{true, false} {
				r := verified(t, &cfg, byModel, verify.Clean)
				if !byModel && strings.HasPrefix(name, topologyEosTest) {
					continue // once the application is gone nothing tells which topics were its outputs
				}
				if r.Records.In != *ran.Records.In || r.Records.Out != *ran.Records.Out && byModel {
					t.Errorf("records %+v, the run had %d in, %d out", r.Records, *ran.Records.In, *ran.Records.Out)
				}
				if byModel && *r.Records.Processed != ran.Records.Processed {
					t.Errorf("%d processed, the run has %d", *r.Records.Processed, ran.Records.Processed)
				}
				if len(r.Topics.Inputs) != 1 || len(r.Topics.all()) != len(allTopics(&cfg)) {
					t.Errorf("topics %+v", r.Topics)
				}
			}
			if strings.HasPrefix(name, topologyEosTest) {
				again := writeAgain(t, &cfg, "sum", func(*kgo.Record) {})
				wantDuplicate(t, verified(t, &cfg, true, verify.Violation), "data", again)
			}
			if name != topologyPassthrough {
				return
			}
			again := writeAgain(t, &cfg, "safe-output", func(*kgo.Record) {})
			dir := t.TempDir()
			for _, byModel := range []bool{true, false} {
				r := verified(t, &cfg, byModel, verify.Violation)
				wantDuplicate(t, r, "safe-input", again)
				if r.ExitCode() != ExitViolation {
					t.Errorf("exit code %d", r.ExitCode())
				}
				report, junit := filepath.Join(dir, "r.json"), filepath.Join(dir, "r.xml")
				if err := errors.Join(WriteVerify(report, r), WriteVerifyJUnit(junit, r)); err != nil {
					t.Fatal(err)
				}
				var read VerifyReport
				text, err := os.ReadFile(report)
				if err == nil {
					err = json.Unmarshal(text, &read)
				}
				if err != nil || len(read.Witnesses) != len(r.Witnesses) || read.Schema != reportSchema {
					t.Errorf("%v: %s", err, text)
				}
				if text, err := os.ReadFile(junit); err != nil || !strings.Contains(string(text), `<failure message="1 witnesses">duplicate safe-input-`) {
					t.Errorf("%v: %s", err, text)
				}
			}
		})
	}
}

// allTopics lists the topics of the configured program.
func allTopics(cfg *Config) []string {
	program, _ := findBuiltin(cfg.Application.Topology)
	topics := program.topics(cfg.Application.ID)
	all := append(sortedKeys(topics.Outputs), sortedKeys(topics.Changelogs)...)
	return append(append(all, topics.Repartitions...), topics.Input)
}

// Outputs whose names say nothing are found by the transactional ids that have written them, and other applications left alone.
func TestDiscover(t *testing.T) {
	t.Parallel()
	cfg := reachable(t)
	admin := administrator(t, &cfg)
	for _, topic := range []string{"orders", "bills", "noise", "safe-2-store-changelog", "safe-store-changelog", "safe-by-key-repartition"} {
		if _, err := admin.CreateTopic(t.Context(), 1, 1, nil, topic); err != nil {
			t.Fatal(err)
		}
	}
	producer := func(opts ...kgo.Opt) *kgo.Client {
		client, err := kgo.NewClient(append(opts, kgo.SeedBrokers(cfg.Cluster.Brokers...))...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		return client
	}
	if err := producer().ProduceSync(t.Context(), &kgo.Record{Topic: "orders", Value: []byte("1")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	var open []*kgo.Client // the broker inside the process only tells of these
	for id, topic := range map[string]string{"safe-thread-1": "bills", "another": "noise"} {
		client := producer(kgo.TransactionalID(id))
		if err := errors.Join(client.BeginTransaction(), client.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte("1")}).FirstErr()); err != nil {
			t.Fatal(err)
		}
		open = append(open, client)
	}
	for _, group := range []string{"safe", "safe-2"} {
		commitOne(t, &cfg, group, "orders")
	}
	c, err := openCluster(t.Context(), &cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	topics, notes, err := c.discover(t.Context(), "safe")
	if err != nil || len(notes) > 0 {
		t.Fatal(err, notes)
	}
	if !slices.Equal(topics.Inputs, []string{"orders"}) || !slices.Equal(topics.Outputs, []string{"bills"}) ||
		!slices.Equal(topics.Repartitions, []string{"safe-by-key-repartition"}) || !slices.Equal(topics.Changelogs, []string{"safe-store-changelog"}) {
		t.Errorf("%+v", topics)
	}
	for _, client := range open {
		if err := client.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
			t.Fatal(err)
		}
	}
	r := verified(t, &cfg, false, verify.Clean)
	for _, rule := range r.Rules {
		if rule.Name == verify.KindDuplicate && (rule.Applied || !strings.Contains(rule.Detail, "do not carry the header")) {
			t.Errorf("%+v", rule)
		}
	}
}

// commitOne commits the first record of a topic for a group.
func commitOne(t *testing.T, cfg *Config, group, topic string) {
	t.Helper()
	offsets := kadm.Offsets{}
	offsets.AddOffset(topic, 0, 1, -1)
	if err := administrator(t, cfg).CommitAllOffsets(t.Context(), group, offsets); err != nil {
		t.Fatal(err)
	}
}

// What cannot be verified is said in a line, with the right exit code.
func TestVerifyRefuses(t *testing.T) {
	t.Parallel()
	cfg := reachable(t)
	for _, tt := range []struct {
		set     func(*Config)
		byModel bool
		want    string
		usage   bool
	}{
		{func(*Config) {}, false, "knows no group safe with committed offsets, no topic safe-.. and no transactional id", true},
		{func(*Config) {}, true, "has no topic safe-input, which topology soak of application safe writes or reads (and 17 more)", true},
		{func(c *Config) { c.Cluster.Brokers = nil }, false, "cluster.brokers: is missing", true},
		{func(c *Config) { c.Cluster.Brokers = []string{"127.0.0.1:1"} }, false, "no broker answers at 127.0.0.1:1", false},
	} {
		other := cfg
		tt.set(&other)
		_, err := VerifyCluster(t.Context(), &other, tt.byModel, nil)
		_, usage := errors.AsType[*UsageError](err)
		if err == nil || !strings.Contains(err.Error(), tt.want) || usage != tt.usage {
			t.Errorf("%v, want %s", err, tt.want)
		}
	}
}

// On a real broker: what a run with a cut has left is clean, and what is done to it then is found.
func TestOnKafkaVerify(t *testing.T) {
	t.Parallel()
	cfg := onKafka(t, 20*time.Second)
	cfg.Faults.Cuts = cuts(t, "i2@4s+9s")
	ran := perform(t, cfg)
	for _, byModel := range []bool{true, false} {
		r := verified(t, &cfg, byModel, verify.Clean)
		if r.Records.In != *ran.Records.In || len(r.Topics.all()) != len(allTopics(&cfg)) {
			t.Errorf("records %+v, the run had %d in; topics %+v", r.Records, *ran.Records.In, r.Topics)
		}
	}
	admin := administrator(t, &cfg)
	elsewhere := "of-" + cfg.Application.ID
	if _, err := admin.CreateTopic(t.Context(), 1, 1, nil, elsewhere); err != nil {
		t.Fatal(err)
	}
	leaveOpen(t, &cfg, elsewhere)
	// The coordinator ends what was left open, and remembers who it was.
	if r := verified(t, &cfg, false, verify.Clean); !slices.Contains(r.Topics.Outputs, elsewhere) || len(r.Notes) > 0 {
		t.Errorf("outputs %v without %s, notes %q", r.Topics.Outputs, elsewhere, r.Notes)
	}
	input, output := cfg.Application.ID+"-input", cfg.Application.ID+"-max"
	again := writeAgain(t, &cfg, output, func(*kgo.Record) {})
	for _, byModel := range []bool{true, false} {
		wantDuplicate(t, verified(t, &cfg, byModel, verify.Violation), input, again)
	}
	changelog := cfg.Application.ID + "-" + storeCount + "-changelog"
	altered := writeAgain(t, &cfg, changelog, func(r *kgo.Record) {
		r.Value = slices.Clone(r.Value)
		r.Value[len(r.Value)-1]++
	})
	r := verified(t, &cfg, true, verify.Violation)
	if !slices.ContainsFunc(r.Witnesses, func(w ReportWitness) bool {
		return w.Kind == verify.KindStateMismatch && slices.Equal(w.Outputs, []string{altered})
	}) {
		t.Errorf("no witness of %s: %+v", altered, r.Witnesses)
	}
	if _, err := admin.DeleteTopic(t.Context(), elsewhere); err != nil {
		t.Error(err)
	}
	tidy(t, &cfg)
}

// leaveOpen leaves a transaction of the application open on a topic.
func leaveOpen(t *testing.T, cfg *Config, topic string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(cfg.Cluster.Brokers...), kgo.TransactionalID(cfg.Application.ID+"-open"), kgo.TransactionTimeout(5*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := errors.Join(client.BeginTransaction(), client.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte("1")}).FirstErr()); err != nil {
		t.Fatal(err)
	}
}
