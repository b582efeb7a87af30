package metrics

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestLevels(t *testing.T) {
	for _, level := range []Level{Info, Debug, Trace} {
		if got, err := ParseLevel(level.String()); got != level || err != nil {
			t.Errorf("%v, %v", got, err)
		}
	}
	if _, err := ParseLevel("INFO"); err == nil {
		t.Error("no error")
	}
	for level, want := range map[Level]struct{ put, e2e bool }{Info: {}, Debug: {put: true}, Trace: {put: true, e2e: true}} {
		store := New(Config{Level: level}).Thread("t").Task("0_0").Store(KeyValueStore, "rocksdb", "s")
		if (store.Put != nil) != want.put || (store.E2ELatency != nil) != want.e2e || store.Iterators == nil {
			t.Errorf("%v: %+v", level, store)
		}
		if begun := store.Put.Begin(); begun.IsZero() == want.put {
			t.Errorf("%v: begun at %v", level, begun)
		}
	}
}

func TestWhatKindsOfStoresHave(t *testing.T) {
	task := New(Config{Level: Debug}).Thread("t").Task("0_0")
	kv, window := task.Store(KeyValueStore, "rocksdb", "kv"), task.Store(WindowStore, "rocksdb-window", "w")
	session, suppression := task.Store(SessionStore, "rocksdb-session", "s"), task.Store(SuppressionBuffer, "in-memory-suppression", "b")
	for name, ok := range map[string]bool{
		"key-value":   kv.Put != nil && kv.Range != nil && kv.PrefixScan != nil && kv.Fetch == nil && kv.Remove == nil,
		"window":      window.Put != nil && window.Fetch != nil && window.Get == nil && window.Iterators != nil,
		"session":     session.Remove != nil && session.Fetch != nil && session.Delete == nil,
		"suppression": suppression.Put == nil && suppression.Iterators == nil && suppression.SuppressionSize != nil && kv.SuppressionSize == nil,
	} {
		if !ok {
			t.Errorf("%s stores have the wrong operations", name)
		}
	}
}

func TestRegisteringTwiceReplaces(t *testing.T) {
	r := New(Config{ClientID: "i1", Level: Debug})
	old := r.Thread("t1")
	old.Task("0_1").Dropped.Mark(5)
	old.TaskCreated()
	renewed := r.Thread("t1")
	s := scrape(t, r)
	s.is(threadPrefix+"task_created_total", 0, "thread_id", "t1")
	s.absent(taskPrefix + "dropped_records_total")
	s.is("kafka_streams_stream_metrics_alive_stream_threads", 1)

	// The one that was replaced goes away late: that must not hurt the new one.
	old.Close()
	renewed.TaskCreated()
	s = scrape(t, r)
	s.is(threadPrefix+"task_created_total", 1, "thread_id", "t1")
	s.is("kafka_streams_stream_metrics_alive_stream_threads", 1)

	task := renewed.Task("0_1")
	first := task.Store(KeyValueStore, "rocksdb", "counts")
	second := task.Store(KeyValueStore, "rocksdb", "counts")
	first.Put.Record(time.Second)
	first.Close()
	first.Close()
	second.Put.Record(time.Microsecond)
	scrape(t, r).is(storePrefix+"put_latency_max", 1000, "rocksdb_state_id", "counts", "task_id", "0_1", "thread_id", "t1")

	// The same for what is registered one by one below a handle.
	second.Engine().Update(EngineStats{Entries: 1})
	second.Engine().Update(EngineStats{Entries: 2})
	node := task.Node("source")
	node.Process().Mark(3)
	node.Process().Mark(4)
	s = scrape(t, r)
	s.is(storePrefix+"estimate_num_keys", 2)
	s.is("kafka_streams_stream_processor_node_metrics_process_total", 4)
}

func TestClosingTakesAwayAllBelow(t *testing.T) {
	r := New(Config{ClientID: "i1", Level: Trace})
	registerOneOfEach(r)
	thread := r.Thread("t1")
	thread.Migrated("fenced")
	task := thread.Task("0_1")
	task.Consumed("source", "in").Add(1, 100)
	task.Produced("sink", "out").Add(1, 100)
	task.Node("source").E2ELatency().Record(3)
	task.RecordCache("counts").HitRatio.Record(0.5)
	store := task.Store(KeyValueStore, "rocksdb", "counts")
	store.Engine().Update(EngineStats{Entries: 7})
	thread.Updater("u1").ActiveRestoring.Set(1)
	thread.Producer("p1").TxnCommit(time.Second)
	thread.Consumer("c1").Partition("in", 1).Lag.Set(9)

	below := func(s scraped, label, value, prefix string) int { return named(s.with(label, value), prefix) }
	s := scrape(t, r)
	if below(s, "task_id", "0_1", "kafka_") < 50 || below(s, "thread_id", "t1", "kafka_") < 80 || below(s, "thread_id", "u1", "kafka_") == 0 {
		t.Errorf("%d of the task, %d of the thread", below(s, "task_id", "0_1", "kafka_"), below(s, "thread_id", "t1", "kafka_"))
	}
	task.Close()
	s = scrape(t, r)
	if n := below(s, "task_id", "0_1", "kafka_"); n != 0 {
		t.Errorf("%d metrics of a closed task", n)
	}
	store.Put.Record(1) // late
	store.Close()
	task.Close()
	task.Node("late").Process() // below what is gone
	thread.Close()
	thread.Close()
	s = scrape(t, r)
	for _, label := range []string{"t1", "u1"} {
		if n := below(s, "thread_id", label, "kafka_"); n != 0 {
			t.Errorf("%d metrics of the closed thread %s: %v", n, label, s.with("thread_id", label))
		}
	}
	// What happened to it is not forgotten.
	s.is("eostop_migrations_total", 1, "thread_id", "t1", "cause", "fenced")
	r.Thread("t1").Migrated("fenced")
	scrape(t, r).is("eostop_migrations_total", 2, "thread_id", "t1", "cause", "fenced")
}

func TestWithoutARegistryNothingIsMeasured(*testing.T) {
	var r *Registry
	exercise(r, "i1")
	r.Expect(Causes{})
	r.Collect(nil) // Would block.
}

// exercise uses everything once, so that every metric has a value.
func exercise(r *Registry, instance string) {
	client := r.Client()
	client.SetState("RUNNING")
	client.SetTopology("Topologies:\n")
	client.ThreadDied(instance+"-t1", "panic")
	client.ThreadReplaced(time.Second)
	thread := r.Thread(instance + "-t1")
	thread.SetState("RUNNING")
	updater := thread.Updater(instance + "-u1")
	for _, gauge := range []*Gauge{updater.ActiveRestoring, updater.ActivePaused, updater.StandbyPaused, updater.StandbyUpdating} {
		gauge.Set(1)
	}
	for _, share := range []*Share{updater.Idle, updater.ActiveRestore, updater.StandbyUpdate, updater.Checkpoint} {
		share.Add(time.Millisecond)
	}
	updater.Restored(10)
	producer := thread.Producer("p1")
	for _, note := range []func(time.Duration){
		producer.TxnInit, producer.TxnBegin, producer.TxnSendOffsets, producer.TxnCommit, producer.TxnAbort, producer.Flush,
	} {
		note(time.Millisecond)
	}
	consumer := thread.Consumer("c1")
	consumer.Polled()
	consumer.Rebalanced(time.Second)
	consumer.RebalanceFailed()
	consumer.Partition("in", 3).Lag.Set(1)
	consumer.Partition("in", 4).Close()
	task := thread.Task("0_1")
	record(thread, task)
	task.Consumed("source", "in").Add(1, 1)
	task.Produced("sink", "out").Add(1, 1)
	node := task.Node("source")
	node.E2ELatency().Record(1)
	node.Process().Mark(1)
	node.Suppression().Mark(1)
	node.IdempotentSkips().Mark(1)
	emits := node.FinalEmits()
	emits.Records.Mark(1)
	emits.Calls.Record(1)
	task.RecordCache("s").HitRatio.Record(1)
	for kind, name := range []string{"kv", "window", "session", "suppression"} {
		store := task.Store(StoreKind(kind), "rocksdb", name)
		recordStore(store, store.Engine())
		store.Iterators.Open()
	}
}

// record notes everything that happens in a thread while it runs.
func record(thread *Thread, task *Task) {
	thread.Polled(100, 3*time.Millisecond)
	thread.Processed(100, 5*time.Millisecond)
	thread.Processed(0, 0)
	thread.Punctuated(time.Millisecond)
	thread.Committed(7 * time.Millisecond)
	thread.TaskCreated()
	thread.TaskClosed()
	thread.Blocked(time.Millisecond)
	thread.TasksAssigned(time.Millisecond)
	thread.TasksRevoked(time.Millisecond)
	thread.TasksLost(time.Millisecond)
	thread.Migrated("fenced")
	thread.Corrupted("timed out")
	thread.Fenced("fenced")
	thread.TransactionCommitted()
	thread.TransactionAborted()
	thread.TransactionUnknown()
	thread.StoreWiped()
	thread.StoreRebuilt()
	thread.Restored(20)
	task.Processed(10, time.Millisecond)
	task.Dropped.Mark(1)
	task.RestoreRemaining.Set(5)
	task.BufferCount.Set(5)
	task.CacheBytes.Set(5)
	task.RecordLateness.Record(5)
	task.EnforcedProcessing.Mark(1)
	task.Punctuate.Record(time.Millisecond)
	task.Commit.End(task.Commit.Begin())
	task.Restored.Mark(5)
	task.Updated.Mark(5)
}

func recordStore(s *Store, engine *Engine) {
	for _, timer := range []*Timer{s.Put, s.PutIfAbsent, s.PutAll, s.Get, s.Delete, s.Remove, s.All, s.Range, s.PrefixScan, s.Fetch, s.Flush, s.Restore} {
		timer.End(timer.Begin())
	}
	s.E2ELatency.Record(1)
	s.SuppressionCount.Record(1)
	s.SuppressionSize.Record(1)
	s.Iterators.Open().Close()
	engine.Update(EngineStats{BytesWritten: 1000, Compactions: 1, CompactionTime: time.Second, WriteStalls: 1, BlockCacheHits: 1})
}

func TestRecordingAllocatesNothing(t *testing.T) {
	for _, r := range []*Registry{New(Config{Level: Trace}), New(Config{Level: Info}), nil} {
		thread := r.Thread("t1")
		task := thread.Task("0_1")
		node := task.Node("source")
		e2e, processed, emits := node.E2ELatency(), node.Process(), node.FinalEmits()
		store := task.Store(KeyValueStore, "rocksdb", "s")
		engine, topic, updater := store.Engine(), task.Consumed("source", "in"), thread.Updater("u")
		producer, consumer, cache := thread.Producer("p"), thread.Consumer("c"), task.RecordCache("s")
		partition, client := consumer.Partition("in", 1), r.Client()
		all := func() {
			record(thread, task)
			recordStore(store, engine)
			e2e.Record(1)
			processed.Mark(1)
			emits.Records.Mark(1)
			emits.Calls.Record(1)
			topic.Add(1, 100)
			updater.Idle.Add(1)
			updater.Restored(1)
			producer.TxnInit(1)
			producer.TxnBegin(1)
			producer.TxnSendOffsets(1)
			producer.TxnCommit(1)
			producer.TxnAbort(1)
			producer.Flush(1)
			consumer.Polled()
			consumer.Rebalanced(1)
			partition.Lag.Set(1)
			cache.HitRatio.Record(1)
			client.ThreadReplaced(1)
			client.ThreadDied("t1", "panic")
		}
		all() // The first time of a cause makes a place for it.
		if n := testing.AllocsPerRun(100, all); n != 0 {
			t.Errorf("%v allocations, want none", n)
		}
	}
}

func TestSeveralInstances(t *testing.T) {
	one, two := New(Config{ClientID: "i1", Level: Trace}), New(Config{ClientID: "i2", Level: Trace})
	exercise(one, "i1")
	exercise(two, "i2")
	s := scrape(t, one, two)
	s.is("eostop_thread_deaths_total", 1, "client_id", "i1", "thread_id", "i1-t1", "cause", "panic")
	s.is("eostop_thread_deaths_total", 1, "client_id", "i2", "thread_id", "i2-t1", "cause", "panic")
}

func TestTheSameInstanceTwiceIsAnError(t *testing.T) {
	one, two := New(Config{ClientID: "i1"}), New(Config{ClientID: "i1"})
	all := prometheus.NewPedanticRegistry()
	err := errors.Join(all.Register(one), all.Register(two))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := all.Gather(); err == nil {
		t.Error("no error")
	}
}

func TestNamesThatAreNotUTF8(t *testing.T) {
	r := New(Config{ClientID: "i\xff", ApplicationID: "\xff", Level: Trace})
	thread := r.Thread("t\xff")
	thread.SetState("\xff")
	thread.Migrated("\xff")
	thread.Task("0\xff").Consumed("\xff", "\xff").Add(1, 1)
	thread.Consumer("\xff").Partition("\xff", 1).Lag.Set(1)
	thread.Task("0").Store(KeyValueStore, "\xff", "\xff").Iterators.Open()
	r.Client().ThreadDied("t\xff", "\xff")
	r.Client().SetTopology("a\nb\"\\\xff")
	s := scrape(t, r)
	s.is("eostop_migrations_total", 1, "thread_id", "t\uFFFD", "cause", "\uFFFD")
	s.is("kafka_streams_stream_metrics_topology_description", 1, "topology_description", "a\nb\"\\\uFFFD")
}

// TestReadersAndWriters lets threads come, work and go while others read. The race detector looks on.
func TestReadersAndWriters(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := New(Config{ClientID: "i1", Level: Trace})
	var writers, readers sync.WaitGroup
	stop := make(chan struct{})
	for n := range 3 {
		writers.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(n)))
			name := string(rune('a' + n))
			for range 30 {
				thread := r.Thread(name)
				for range random.IntN(3) {
					task := thread.Task(string(rune('0' + random.IntN(4))))
					store := task.Store(KeyValueStore, "rocksdb", "s")
					record(thread, task)
					recordStore(store, store.Engine())
					task.Node("n").Process().Mark(1)
					iterator := store.Iterators.Open()
					if random.IntN(2) == 0 {
						task.Close()
					}
					iterator.Close()
				}
				thread.SetState([]string{"RUNNING", "DEAD"}[random.IntN(2)])
				if random.IntN(2) == 0 {
					thread.Close()
				}
				r.Client().ThreadDied(name, []string{"panic", "disk"}[random.IntN(2)])
			}
		})
	}
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					all := prometheus.NewPedanticRegistry()
					all.MustRegister(r)
					if _, err := all.Gather(); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
	total := 0.0
	for _, m := range scrape(t, r).find("eostop_thread_deaths_total") {
		total += value(m)
	}
	if total != 90 {
		t.Errorf("%v deaths, want 90 (seed %d)", total, seed)
	}
}

func TestRestoringIsNotACounter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{ClientID: "i1"})
		task := r.Thread("t1").Task("0_1")
		scrape(t, r).absent(taskPrefix + "restore_remaining_records_total")
		for _, left := range []float64{1000, 10, 0} {
			task.RestoreRemaining.Set(left)
			s := scrape(t, r)
			s.is(taskPrefix+"restore_remaining_records_total", left)
			if s.find(taskPrefix + "restore_remaining_records_total")[0].Gauge == nil {
				t.Error("a number that goes down is a counter")
			}
		}
	})
}
