package metrics

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestThread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{ClientID: "i1", ApplicationID: "app", Version: "1", Level: Info})
		began := time.Now()
		thread := r.Thread("i1-StreamThread-1")
		s := scrape(t, r)
		s.is("kafka_streams_stream_thread_metrics_thread_start_time", float64(began.UnixMilli()), "client_id", "i1", "thread_id", "i1-StreamThread-1")
		s.is(threadPrefix+"state", 1, "state", "CREATED")
		s.is(threadPrefix+"thread_state", 0)
		s.is(threadPrefix+"commit_total", 0)
		s.is(threadPrefix+"commit_rate", 0)
		for _, name := range []string{"commit_latency_avg", "commit_latency_max", "poll_records_avg", "commit_ratio"} {
			s.absent(threadPrefix + name) // not measured yet
		}

		thread.SetState("RUNNING")
		for n := range 10 { // Ten rounds of a second: 100 ms poll, 800 ms work on 40 records, 50 ms commit, and one punctuation.
			time.Sleep(100 * time.Millisecond)
			thread.Polled(50*(n%2), 100*time.Millisecond)
			time.Sleep(800 * time.Millisecond)
			thread.Processed(40, 800*time.Millisecond)
			time.Sleep(time.Duration(40+2*n) * time.Millisecond)
			thread.Committed(time.Duration(40+2*n) * time.Millisecond)
			time.Sleep(time.Duration(60-2*n) * time.Millisecond)
		}
		thread.Punctuated(time.Second / 10)
		s = scrape(t, r)
		s.is(threadPrefix+"state", 1, "state", "RUNNING")
		s.absent(threadPrefix+"state", "state", "CREATED")
		s.is(threadPrefix+"thread_state", 4)
		s.is(threadPrefix+"poll_total", 10)
		s.is(threadPrefix+"poll_records_avg", 25)
		s.is(threadPrefix+"poll_records_max", 50)
		s.is(threadPrefix+"poll_ratio", 0.1)
		s.is(threadPrefix+"process_latency_avg", 20)
		s.is(threadPrefix+"process_total", 400)
		s.is(threadPrefix+"process_rate", 400/39.1)
		s.is(threadPrefix+"process_records_avg", 40)
		s.is(threadPrefix+"process_ratio", 0.8)
		s.is(threadPrefix+"commit_total", 10)
		s.is(threadPrefix+"commit_latency_avg", 49)
		s.is(threadPrefix+"commit_latency_max", 58)
		s.is(threadPrefix+"commit_ratio", 0.049)
		s.is(threadPrefix+"punctuate_ratio", 0.01)
		s.is(threadPrefix+"blocked_time_ns_total", 1e9)

		// Nothing happens any more: the past fades, totals stay.
		time.Sleep(5 * time.Minute)
		s = scrape(t, r)
		s.is(threadPrefix+"process_total", 400)
		s.is(threadPrefix+"process_rate", 0)
		s.is(threadPrefix+"process_ratio", 0)
		s.absent(threadPrefix + "commit_latency_avg")
		s.absent(threadPrefix + "process_records_max")
	})
}

func TestShareOverWindows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		share := newShare(newClock())
		read := func(want float64) {
			t.Helper()
			if got, ok := share.read(share.clock.now()); !ok || got < want-1e-9 || got > want+1e-9 {
				t.Errorf("%v, %v, want %v", got, ok, want)
			}
		}
		if _, ok := share.read(share.clock.now()); ok {
			t.Error("a share of no time")
		}
		time.Sleep(10 * time.Second)
		share.Add(5 * time.Second)
		read(0.5)
		time.Sleep(30 * time.Second) // 40 s: the window before counts
		read(5.0 / 40)
		share.Add(25 * time.Second)
		read(30.0 / 40)
		time.Sleep(20 * time.Second) // 60 s: the first window is over
		read(25.0 / 30)
		time.Sleep(15 * time.Second)
		share.Add(10 * time.Second)
		read(35.0 / 45)
		time.Sleep(90 * time.Second)
		read(0)
		share.Add(10 * time.Minute) // began long ago
		read(1)
	})
}

func TestTaskShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{})
		thread := r.Thread("t1")
		one, two := thread.Task("0_1"), thread.Task("0_2")
		ratio := taskPrefix + "active_process_ratio"
		scrape(t, r).absent(ratio)
		time.Sleep(10 * time.Second)
		one.Processed(30, 3*time.Second)
		two.Processed(10, time.Second)
		thread.Processed(40, 4*time.Second)
		s := scrape(t, r)
		s.is(ratio, 0.75, "task_id", "0_1")
		s.is(ratio, 0.25, "task_id", "0_2")
		s.absent(taskPrefix + "process_total") // from Debug on
	})
}

func TestUpdater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{})
		updater := r.Thread("i1-StreamThread-1").Updater("i1-StateUpdater-1")
		updater.ActiveRestoring.Set(2)
		time.Sleep(20 * time.Second)
		updater.Idle.Add(15 * time.Second)
		updater.ActiveRestore.Add(5 * time.Second)
		updater.Restored(3000)
		updater.Restored(600)
		s := scrape(t, r)
		const prefix = "kafka_streams_stream_state_updater_metrics_"
		s.is(prefix+"active_restoring_tasks", 2, "thread_id", "i1-StateUpdater-1")
		s.is(prefix+"idle_ratio", 0.75)
		s.is(prefix+"active_restore_ratio", 0.25)
		s.is(prefix+"standby_update_ratio", 0)
		s.is(prefix+"restore_records_rate", 120)
		s.is(prefix+"restore_call_rate", 2.0/30)
		updater.Close()
		scrape(t, r).absent(prefix + "idle_ratio")
	})
}

func TestClient(t *testing.T) {
	r := New(Config{ClientID: "i1", ApplicationID: "app", Level: Debug})
	client := r.Client()
	const prefix = "kafka_streams_stream_metrics_"
	s := scrape(t, r)
	s.is(prefix+"version", 1, "version", "unknown")
	s.is(prefix+"application_id", 1, "application_id", "app")
	s.is(prefix+"recording_level", 1)
	s.absent(prefix + "failed_stream_threads") // nothing has begun
	s.absent(prefix + "alive_stream_threads")
	s.absent(prefix + "client_state")
	for i, state := range []string{"CREATED", "REBALANCING", "RUNNING", "PENDING_SHUTDOWN", "NOT_RUNNING", "PENDING_ERROR", "ERROR"} {
		client.SetState(state)
		s := scrape(t, r)
		s.is(prefix+"client_state", float64(i))
		s.is(prefix+"state", 1, "state", state)
	}
	one, two := r.Thread("t1"), r.Thread("t2")
	one.SetState("RUNNING")
	s = scrape(t, r)
	s.is(prefix+"alive_stream_threads", 2)
	s.is(prefix+"failed_stream_threads", 0)
	two.SetState("DEAD")
	client.ThreadDied("t2", "panic")
	client.ThreadDied("t2", "")
	client.ThreadReplaced(1200 * time.Millisecond)
	client.ThreadReplaced(100 * time.Millisecond)
	client.ThreadReplaced(5 * time.Minute)
	s = scrape(t, r)
	s.is(prefix+"alive_stream_threads", 1)
	s.is(prefix+"failed_stream_threads", 2)
	s.is("eostop_thread_deaths_total", 1, "thread_id", "t2", "cause", "panic")
	s.is("eostop_thread_deaths_total", 1, "thread_id", "t2", "cause", "unknown")
	s.is("eostop_thread_replacement_seconds", 301.3)
	histogram := s.find("eostop_thread_replacement_seconds")[0].Histogram
	if histogram.GetSampleCount() != 3 || histogram.GetBucket()[0].GetCumulativeCount() != 1 || histogram.GetBucket()[4].GetCumulativeCount() != 2 {
		t.Errorf("%v", histogram)
	}
	two.Close()
	scrape(t, r).is(prefix+"alive_stream_threads", 1)
}

func TestCauses(t *testing.T) {
	r := New(Config{ClientID: "i1"})
	thread := r.Thread("t1")
	thread.Fenced("fenced")
	thread.Fenced("fenced")
	thread.Fenced("invalid producer epoch")
	thread.TransactionAborted()
	thread.TransactionAborted()
	thread.TransactionUnknown()
	thread.Restored(500)
	s := scrape(t, r)
	s.is("eostop_fenced_producers_total", 2, "client_id", "i1", "thread_id", "t1", "cause", "fenced")
	s.is("eostop_fenced_producers_total", 1, "cause", "invalid producer epoch")
	s.is("eostop_transactions_total", 0, "outcome", "committed")
	s.is("eostop_transactions_total", 2, "outcome", "aborted")
	s.is("eostop_transactions_total", 1, "outcome", "unknown")
	s.is("eostop_restored_records_total", 500)
	s.is("eostop_state_wipes_total", 0)

	// The first one of a cause that was expected is an increase, also in threads that come later.
	r.Expect(Causes{Migrations: []string{"fenced"}, Corruptions: []string{"timed out"}, Fences: []string{"fenced", "\xff"}, Deaths: []string{"panic"}})
	r.Thread("t2").Migrated("fenced")
	r.Thread("t1").Migrated("offsets refused")
	s = scrape(t, r)
	s.is("eostop_migrations_total", 1, "thread_id", "t2", "cause", "fenced")
	s.is("eostop_corruptions_total", 0, "thread_id", "t2", "cause", "timed out")
	s.is("eostop_fenced_producers_total", 0, "thread_id", "t2", "cause", "\uFFFD")
	s.is("eostop_thread_deaths_total", 0, "thread_id", "t2", "cause", "panic")
	s.is("eostop_migrations_total", 1, "thread_id", "t1", "cause", "offsets refused")
	s.absent("eostop_migrations_total", "thread_id", "t1", "cause", "fenced") // registered before

	// Texts that are no names must not fill the memory of whoever scrapes.
	for n := range 1000 {
		thread.Corrupted(fmt.Sprint("error ", n))
	}
	s = scrape(t, r)
	if n := len(s.find("eostop_corruptions_total", "thread_id", "t1")); n != maxCauses+1 {
		t.Errorf("%d causes", n)
	}
	s.is("eostop_corruptions_total", 1000-maxCauses, "thread_id", "t1", "cause", "other")
}

func TestIterators(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{Level: Debug})
		iterators := r.Thread("t1").Task("0_1").Store(KeyValueStore, "rocksdb", "s").Iterators
		open, oldest := storePrefix+"num_open_iterators", storePrefix+"oldest_iterator_open_since_ms"
		s := scrape(t, r)
		s.is(open, 0)
		s.absent(oldest)
		time.Sleep(time.Second)
		began := time.Now()
		first := iterators.Open()
		time.Sleep(time.Second)
		second := iterators.Open()
		s = scrape(t, r)
		s.is(open, 2)
		s.is(oldest, float64(began.UnixMilli()))
		first.Close()
		third := iterators.Open() // takes the place of the first
		s = scrape(t, r)
		s.is(open, 2)
		s.is(oldest, float64(began.Add(time.Second).UnixMilli()))
		time.Sleep(time.Second)
		second.Close()
		third.Close()
		s = scrape(t, r)
		s.is(open, 0)
		s.absent(oldest)
		s.is(storePrefix+"iterator_duration_avg", 1e9)
		s.is(storePrefix+"iterator_duration_max", 1e9)
		if len(iterators.opened) != 2 {
			t.Errorf("%d places for at most two iterators", len(iterators.opened))
		}
	})
}

func TestEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{Level: Debug})
		store := r.Thread("t1").Task("0_1").Store(KeyValueStore, "rocksdb", "s")
		engine := store.Engine()
		is := func(name string, want float64) {
			t.Helper()
			scrape(t, r).is(storePrefix+name, want, "rocksdb_state_id", "s")
		}
		scrape(t, r).absent(storePrefix + "estimate_num_keys")
		engine.Update(EngineStats{Entries: 5, Memtables: 3, MemtableBytes: 10, PinnedMemtableBytes: 5, LiveTableBytes: 100, ObsoleteTableBytes: 1, BytesWritten: 1000})
		is("estimate_num_keys", 5)
		is("num_immutable_mem_table", 2)
		is("mem_table_flush_pending", 1)
		is("size_all_mem_tables", 15)
		is("total_sst_files_size", 101)
		is("live_sst_files_size", 100)
		is("compaction_pending", 0)
		is("bytes_written_total", 1000)
		scrape(t, r).absent(storePrefix + "compaction_time_avg")
		scrape(t, r).absent(storePrefix + "block_cache_data_hit_ratio")
		time.Sleep(30 * time.Second)
		engine.Update(EngineStats{
			BytesWritten: 7000, Compactions: 4, CompactionTime: 2 * time.Second, CompactionRead: 600, WriteStalls: 2, WriteStallTime: time.Second,
			BlockCacheHits: 90, BlockCacheMisses: 10, OpenFiles: 3, PendingCompactionBytes: 1,
		})
		is("bytes_written_total", 7000)
		is("bytes_written_rate", 7000/30.0)
		is("bytes_read_compaction_rate", 600/30.0)
		is("compaction_time_avg", 500)
		is("write_stall_duration_avg", 500)
		is("write_stall_duration_total", 1000)
		is("block_cache_data_hit_ratio", 0.9)
		is("number_open_files", 3)
		is("compaction_pending", 1)
		// The database was opened anew: its statistics begin again, totals go on.
		engine.Update(EngineStats{BytesWritten: 500, BlockCacheHits: 1, BlockCacheMisses: 3})
		is("bytes_written_total", 7500)
		is("block_cache_data_hit_ratio", 0.25)
	})
}

func TestKafkaClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{ClientID: "i1"})
		thread := r.Thread("t1")
		producer, consumer := thread.Producer("i1-producer"), thread.Consumer("i1-consumer")
		producer.TxnCommit(3 * time.Millisecond)
		producer.TxnAbort(2 * time.Millisecond)
		partition := consumer.Partition("in", 4)
		partition.Lag.Set(12)
		scrape(t, r).absent("kafka_consumer_consumer_metrics_last_poll_seconds_ago")
		consumer.Polled()
		time.Sleep(7 * time.Second)
		consumer.Rebalanced(2 * time.Second)
		consumer.RebalanceFailed()
		s := scrape(t, r)
		s.is("kafka_producer_producer_metrics_txn_commit_time_ns_total", 3e6, "client_id", "i1-producer", "thread_id", "t1")
		s.is("kafka_producer_producer_metrics_txn_abort_time_ns_total", 2e6)
		s.is(threadPrefix+"blocked_time_ns_total", 5e6)
		s.is("kafka_consumer_consumer_metrics_last_poll_seconds_ago", 7)
		s.is("kafka_consumer_consumer_coordinator_metrics_rebalance_total", 1)
		s.is("kafka_consumer_consumer_coordinator_metrics_failed_rebalance_total", 1)
		s.is("kafka_consumer_consumer_coordinator_metrics_rebalance_latency_avg", 2000)
		s.is("kafka_consumer_consumer_coordinator_metrics_rebalance_latency_total", 2000)
		s.is("kafka_consumer_consumer_fetch_manager_metrics_records_lag", 12, "topic", "in", "partition", "4")
		partition.Close()
		producer.Close()
		s = scrape(t, r)
		s.absent("kafka_consumer_consumer_fetch_manager_metrics_records_lag")
		s.absent("kafka_producer_producer_metrics_txn_commit_time_ns_total")
		consumer.Close()
		scrape(t, r).absent("kafka_consumer_consumer_metrics_last_poll_seconds_ago")
	})
}

func BenchmarkTimer(b *testing.B) {
	for _, level := range []Level{Debug, Info} {
		b.Run(level.String(), func(b *testing.B) {
			put := New(Config{Level: level}).Thread("t").Task("0_0").Store(KeyValueStore, "rocksdb", "s").Put
			for b.Loop() {
				put.End(put.Begin())
			}
		})
	}
}
