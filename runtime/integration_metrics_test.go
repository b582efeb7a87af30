package runtime_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"eostop/runtime"
	"eostop/runtime/metrics"
	"eostop/runtime/state"

	"github.com/prometheus/client_golang/prometheus"
)

// measured returns the names of what an instance measures now, without the prefix that most share, with the number of their series; as
// "consumed", how many records its tasks have consumed.
func (m *member) measured() map[string]int {
	m.c.Helper()
	registry := prometheus.NewRegistry()
	if err := registry.Register(m.registry); err != nil {
		m.c.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		m.c.Fatal(err)
	}
	series := map[string]int{}
	for _, f := range families {
		if f.GetName() == "kafka_streams_stream_topic_metrics_records_consumed_total" {
			series["consumed"] = 0
			for _, metric := range f.GetMetric() {
				series["consumed"] += int(metric.GetCounter().GetValue())
			}
		}
		series[strings.TrimPrefix(f.GetName(), "kafka_streams_stream_")] = len(f.GetMetric())
	}
	return series
}

// named returns the names that begin with a prefix, without it.
func named(series map[string]int, prefix string) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(series)) {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			names = append(names, rest)
		}
	}
	return names
}

// TestMetricsByRecordingLevel: the sensors of threads, tasks, stores, record caches and clients are there under Kafka's names from their level
// on, of active and standby tasks, and go away with what they belong to.
func TestMetricsByRecordingLevel(t *testing.T) {
	t.Parallel()
	for _, level := range []metrics.Level{metrics.Info, metrics.Debug} {
		t.Run(level.String(), func(t *testing.T) {
			t.Parallel()
			everyMode(t, func(t *testing.T, m mode) {
				inBubble(t, m, func(c *cluster) {
					c.create(2, "in", "echo", "out")
					program := cachedProgram(t)
					change := func(cfg *runtime.Config) {
						withStandby(cfg)
						if level == metrics.Debug {
							cfg.RecordingLevel = state.RecordingDebug
						}
					}
					both := []*member{c.prepare("i1", program, change), c.prepare("i2", program, change)}
					for _, i := range both {
						i.registry = metrics.New(metrics.Config{ClientID: i.name, ApplicationID: applicationID, Level: level})
						i.launch()
					}
					c.awaitRunning(late, 2, both...)
					c.awaitStandbys(2, both...)
					c.feed("in", 2, 0, 20)
					c.awaitCommitted(late, "in")
					time.Sleep(2 * time.Second)
					got := both[0].measured()
					if consumed := got["consumed"] + both[1].measured()["consumed"]; consumed != 40 {
						c.Errorf("%d records are said to be consumed, want 40", consumed)
					}
					for name, n := range wantedMetrics(level, c.exactlyOnce()) {
						if got[name] < n {
							c.Errorf("%d series of %s, want %d", got[name], name, n)
						}
					}
					if level == metrics.Info {
						for _, debug := range []string{"task_metrics_process_rate", "processor_node_metrics_process_rate", "state_metrics_put_rate", "record_cache_metrics_hit_ratio_avg", "task_metrics_record_lateness_avg"} {
							if got[debug] > 0 {
								c.Errorf("%s is recorded at info", debug)
							}
						}
					}
					both[1].close()
					c.awaitRunning(late, 2, both[0])
					c.await(soon, "no standby is measured any more", func() bool {
						return both[0].measured()["task_metrics_restore_remaining_records_total"] == 2
					})
					both[0].close()
					for _, group := range []string{
						"thread_metrics_", "task_metrics_", "state_metrics_", "state_updater_metrics_", "record_cache_metrics_",
						"topic_metrics_", "processor_node_metrics_", "kafka_consumer_",
					} {
						if left := named(both[0].measured(), group); len(left) > 0 {
							c.Errorf("%s%v is measured after the end", group, left)
						}
					}
				})
			})
		})
	}
}

// wantedMetrics returns how many series there must be of what an instance with one thread, one active and one standby task measures. Shares of
// the time that processing takes are not among them: in virtual time it takes none.
func wantedMetrics(level metrics.Level, transactional bool) map[string]int {
	wanted := map[string]int{}
	add := func(n int, prefix, names string) {
		for name := range strings.FieldsSeq(names) {
			wanted[prefix+name] = n
		}
	}
	add(1, "metrics_", "version commit_id application_id state alive_stream_threads failed_stream_threads")
	add(1, "thread_metrics_", `commit_latency_avg commit_latency_max commit_rate commit_total commit_ratio
		poll_latency_avg poll_latency_max poll_rate poll_total poll_ratio poll_records_avg poll_records_max
		process_latency_avg process_latency_max process_rate process_total process_ratio process_records_avg process_records_max
		punctuate_rate punctuate_total punctuate_ratio task_created_rate task_created_total task_closed_rate task_closed_total
		blocked_time_ns_total thread_start_time tasks_assigned_latency_avg`)
	add(1, "state_updater_metrics_", `active_restoring_tasks standby_updating_tasks active_paused_tasks standby_paused_tasks
		idle_ratio active_restore_ratio standby_update_ratio restore_records_rate restore_call_rate`)
	add(2, "task_metrics_", "dropped_records_rate dropped_records_total restore_remaining_records_total")
	add(1, "kafka_producer_producer_metrics_", "flush_time_ns_total txn_init_time_ns_total")
	if transactional {
		add(1, "kafka_producer_producer_metrics_", "txn_commit_time_ns_total")
	}
	add(1, "topic_metrics_", "records_consumed_total bytes_consumed_total records_produced_total bytes_produced_total")
	add(2, "processor_node_metrics_", "record_e2e_latency_avg record_e2e_latency_min record_e2e_latency_max") // of a source and of a sink
	add(1, "kafka_consumer_consumer_metrics_", "last_poll_seconds_ago")
	add(1, "kafka_consumer_consumer_coordinator_metrics_", "rebalance_latency_avg rebalance_latency_max rebalance_latency_total rebalance_total failed_rebalance_total")
	add(1, "kafka_consumer_consumer_fetch_manager_metrics_", "records_lag")
	if level >= metrics.Debug {
		add(1, "processor_node_metrics_", "process_rate process_total")
		add(1, "task_metrics_", `process_latency_avg process_latency_max record_lateness_avg record_lateness_max
			active_buffer_count cache_size_bytes_total commit_latency_avg commit_latency_max`)
		add(2, "task_metrics_", `process_rate process_total enforced_processing_rate enforced_processing_total
			punctuate_rate punctuate_total restore_rate restore_total update_rate update_total commit_rate commit_total`)
		add(1, "state_metrics_", "put_latency_avg put_latency_max get_latency_avg get_latency_max flush_latency_avg flush_latency_max restore_latency_avg restore_latency_max")
		add(2, "state_metrics_", "put_rate get_rate delete_rate range_rate flush_rate restore_rate")
		add(1, "record_cache_metrics_", "hit_ratio_avg hit_ratio_min hit_ratio_max")
	}
	return wanted
}
