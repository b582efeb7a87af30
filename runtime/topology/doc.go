// Package topology says what a stream program is: a graph of sources, processors, sinks and state stores, and how it
// falls apart into sub-topologies that run as independent tasks.
//
// A program is written in one of two ways. [StreamsBuilder] with [Stream], [MapValues], [Aggregate] and their relatives
// is the streams DSL; it gives nodes and stores the names and numbers Kafka Streams gives them, so that the topics of a
// Java application can be read. [Builder] with [AddSource], [AddProcessor], [AddSink] and [AddStateStore] is the
// Processor API beneath it. Either way Build checks the whole program, types of neighbouring nodes included, and
// returns an immutable [Topology].
//
// Go's methods cannot have type parameters of their own. Operators that keep a stream's types are therefore methods
// (stream.Filter), and operators that change a type are functions that take the stream first (MapValues(stream, fn)).
//
// The package runs nothing by itself. A runtime implements [Host] once for each task, calls [Topology.Instantiate] and
// pushes records into [Graph.Process]; everything happens on the calling goroutine, depth first, and ends before
// Process returns. It asks [Graph.Timestamp] before, calls [Graph.PunctuateStreamTime] and [Graph.PunctuateWallClock]
// between records, and begins a commit with [Graph.Flush]. After an error the graph is thrown away together with what its
// caches hold. Package topologytest has a host that needs no broker.
//
// Byte slices and headers are never changed once they were handed over, in either direction: the graph passes the
// slices it got on to stores and sinks where a serde allows that, and a host may keep what it is given.
//
// # Stores
//
// A store is a stack: a typed view ([KeyValueStore], [TimestampedKeyValueStore]), a layer that knows the record cache, and
// the host's [BytesStore], which writes the changelog. Tables keep their rows in timestamped stores. With a [RecordCache] an
// update goes no further than the cache; when it is flushed or evicted it is written, logged and passed downstream, in the
// record context in which it was put. Without one all that happens at once.
//
// # Files
//
// Operators live in one file for each family: stateless.go, repartition.go, grouped.go, table.go (what tables are made of),
// table_operators.go, grouped_table.go. Windows and joins belong beside them, and their kinds of stores beside keyvalue.go:
// a view over layer, added by a function like [AddStateStore]. What runs is graph.go (records, flushes), nodes.go,
// processor.go (what processors see), store.go and scan.go, punctuate.go, timestamps.go, failure.go (handlers).
package topology
