package metrics

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
)

func TestPrometheusNames(t *testing.T) {
	for want, parts := range map[string][]string{
		"kafka_streams_stream_thread_metrics_commit_latency_avg":  {"kafka.streams", "stream-thread-metrics", "commit-latency-avg"},
		"kafka_producer_producer_metrics_txn_abort_time_ns_total": {"kafka.producer", "producer-metrics", "txn-abort-time-ns-total"},
		"eostop_migrations_total":                                 {"eostop", "", "migrations-total"},
		"rocksdb_state_id":                                        {"rocksdb-state-id"},
		"a___b":                                                   {"a\u00e9\u4e16/b"},
	} {
		if got := prometheusName(parts...); got != want {
			t.Errorf("%v is %s, want %s", parts, got, want)
		}
	}
}

// kafkaNames reads the list of Kafka's names: group and name, with the level.
func kafkaNames(t *testing.T) map[[2]string]string {
	t.Helper()
	text, err := os.ReadFile("testdata/kafka-names.txt")
	if err != nil {
		t.Fatal(err)
	}
	names := map[[2]string]string{}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) < 3 || words[0] == "#" {
			continue
		}
		for _, word := range words[2:] {
			endings := strings.Split(word, "/")
			names[[2]string{words[0], endings[0]}] = words[1]
			stem := endings[0][:strings.LastIndexByte(endings[0], '-')+1]
			for _, ending := range endings[1:] {
				names[[2]string{words[0], stem + ending}] = words[1]
			}
		}
	}
	return names
}

// TestFamiliesAreKafkas compares with Kafka's list, both ways.
func TestFamiliesAreKafkas(t *testing.T) {
	tags := map[string][]string{
		"stream-metrics": nil, "stream-thread-metrics": {"thread_id"}, "stream-state-updater-metrics": {"thread_id"},
		"stream-task-metrics":           {"thread_id", "task_id"},
		"stream-topic-metrics":          {"thread_id", "task_id", "processor_node_id", "topic_name"},
		"stream-processor-node-metrics": {"thread_id", "task_id", "processor_node_id"},
		"stream-state-metrics":          {"thread_id", "task_id", "rocksdb_state_id"},
		"stream-record-cache-metrics":   {"thread_id", "task_id", "record_cache_id"},
		"producer-metrics":              {"thread_id"}, "consumer-metrics": {"thread_id"}, "consumer-coordinator-metrics": {"thread_id"},
		"consumer-fetch-manager-metrics": {"thread_id", "topic", "partition"},
	}
	domains := map[string]string{"stream": "kafka_streams_", "produc": "kafka_producer_", "consum": "kafka_consumer_"}
	names := kafkaNames(t)
	if len(names) < 180 {
		t.Errorf("only %d names", len(names))
	}
	for _, f := range Families() {
		if !model.LegacyValidation.IsValidMetricName(f.Name) || !strings.HasSuffix(f.Help, ".") || f.Labels[0] != "client_id" {
			t.Errorf("%+v", f)
		}
		if f.Group == "" {
			if !strings.HasPrefix(f.Name, "eostop_") {
				t.Errorf("%s has no group", f.Name)
			}
			continue
		}
		key := [2]string{f.Group, f.Metric}
		if level, ok := names[key]; !ok || level != f.Level.String() {
			t.Errorf("%v at level %v, want %q", key, f.Level, level)
		}
		delete(names, key)
		if want := domains[f.Group[:6]] + strings.ReplaceAll(f.Group+"_"+f.Metric, "-", "_"); f.Name != want {
			t.Errorf("%v is %s, want %s", key, f.Name, want)
		}
		if got := f.Labels[1 : 1+len(tags[f.Group])]; !slices.Equal(got, tags[f.Group]) {
			t.Errorf("%v has labels %v, want %v", key, f.Labels, tags[f.Group])
		}
		// What Kafka calls a total and goes down is none.
		down := f.Metric == "restore-remaining-records-total" || f.Metric == "cache-size-bytes-total"
		if counts := strings.HasSuffix(f.Metric, "-total") && !down; counts != (f.Type == "counter") {
			t.Errorf("%v is a %s", key, f.Type)
		}
	}
	for key := range names {
		t.Errorf("%v is missing", key)
	}
}

// TestFamiliesAreWhatIsExported uses everything and looks whether something is described otherwise, or not exported.
func TestFamiliesAreWhatIsExported(t *testing.T) {
	r := New(Config{ClientID: "i1", ApplicationID: "app", Level: Trace})
	exercise(r, "i1")
	exported := scrape(t, r).families
	for _, f := range Families() {
		got := exported[f.Name]
		switch {
		case got == nil:
			t.Errorf("%s is not exported", f.Name)
		case !strings.EqualFold(got.GetType().String(), f.Type) || got.GetHelp() != f.Help:
			t.Errorf("%s is %s, %q; want %s, %q", f.Name, got.GetType(), got.GetHelp(), f.Type, f.Help)
		}
		delete(exported, f.Name)
	}
	for name := range exported {
		t.Errorf("%s is not described", name)
	}
}
