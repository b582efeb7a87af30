// Package metrics measures a streams application under Kafka's names, and exports what it measured to Prometheus.
//
// A [Registry] belongs to one instance. It hands out typed handles, one for each thing that is measured: [Client], [Thread],
// [Updater], [Task], [Node], [Topic], [Store], [RecordCache], and [Producer] and [Consumer] for the Kafka clients of a
// thread. A handle is registered by the method that returns it and goes away with its Close, or with the Close of what it
// belongs to:
//
//	registry := metrics.New(metrics.Config{ClientID: "i1", ApplicationID: "app", Level: metrics.Info})
//	thread := registry.Thread("i1-StreamThread-1")
//	defer thread.Close() // and all of its tasks with it
//	task := thread.Task("0_1")
//	thread.Polled(n, took)
//	store := task.Store(metrics.KeyValueStore, "rocksdb", "KSTREAM-AGGREGATE-STATE-STORE-0000000007")
//	begun := store.Put.Begin()
//	store.Put.End(begun)
//
// Registering what is registered replaces it, and closing what was replaced or closed already does nothing, so a late Close
// of an old store cannot take the metrics of a new one away. (In Kafka Streams 2.4 both were assertions, and a thread died of
// them: KAFKA-9231.)
//
// # Sensors
//
// As in Kafka, averages, extremes and rates are over two samples of 30 s, see [Timer] and [Meter]; totals are since the handle
// was registered. A sensor above the registry's [Level] is nil, and recording to nil costs one branch. So does everything of
// a nil [*Registry], which measures nothing: callers need no conditions of their own.
//
// Recording allocates nothing and waits for nobody: totals and gauges are atomics, samples are behind a mutex that is held
// for a few instructions. Every sensor may be written and read by any goroutine. Time is that of [time.Now], so everything
// works in a testing/synctest bubble if the registry was made in it.
//
// # Names
//
// The names in Prometheus follow from Kafka's as those of the JMX exporter do, by replacing what is not a letter, a digit or
// an underscore: commit-latency-avg of the group stream-thread-metrics in the domain kafka.streams is
// kafka_streams_stream_thread_metrics_commit_latency_avg. Tags are labels by the same rule: thread_id, task_id,
// rocksdb_state_id. Unlike in JMX every metric has client_id, the instance. Three things have no counterpart in JMX's numbers:
//
//   - A metric whose value is a text carries it in a label of its own name, and is 1: state="RUNNING".
//   - What was not measured is absent; Kafka reports NaN.
//   - Names that end in -total are counters, but for those that go down in Kafka, too, like restore-remaining-records-total.
//
// Units are Kafka's: milliseconds, but nanoseconds for stores and wherever the name says so.
//
// What Kafka does not count begins with eostop_: migrations, corruptions, fenced producers and thread deaths by cause,
// transactions by outcome, wiped and rebuilt stores, restored records, and the time until a dead thread was replaced. These
// belong to the instance: they stay when a thread goes away, and go on when one of the same name comes.
package metrics
