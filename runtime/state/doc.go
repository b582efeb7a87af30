// Package state keeps the state stores of stream tasks on disk, so that what is on disk is always a committed prefix of the
// store's changelog.
//
// # Stores
//
// A store is a timestamped key-value store, a [KeyValue]. There are two kinds:
//
//   - A [Store] is on disk. Writes go to a transaction buffer in memory. When the Kafka transaction that they belong to has
//     committed, [Store.Commit] applies the buffer together with the changelog position in one Pebble batch; when it was aborted,
//     [Store.Abort] drops the buffer. Pebble runs without a write-ahead log: a crash loses the newest batches as a whole, never a
//     part of one, and the position tells from where the changelog has to be read again. So after an abort, a fence or a crash
//     nothing is thrown away.
//   - A [MemoryStore] is transactional as well, and empty each time it is opened.
//
// In front of Pebble each store keeps a bounded number of unchanged entries, which makes updates of keys that are in use about as fast as a map.
//
// One goroutine owns a store. Only its position, its figures and its failure may be asked for by others.
//
// # Eager stores
//
// With [StoreOptions].Eager a store is what Kafka Streams has: a write is there at once, and no commit or abort changes that. What the
// disk holds after a crash may be any part of an aborted transaction. So positions are kept in a checkpoint file, in Kafka Streams' format, and the stores
// of a task can be trusted if it is there:
//
//	start        ask TaskEmpty; open the stores; ReadCheckpoint. Without a checkpoint, a task that was not empty is wiped with WipeTask.
//	restored     DeleteCheckpoint, before the first record is processed (KAFKA-20685)
//	clean end    after the last commit: Flush each store, WriteCheckpoint, Close
//	unclean end  close or abandon the stores; WipeTask
//
// A checkpoint never outlives a store that it speaks of: whatever makes a store start in a fresh folder deletes it first. That a flushed
// store comes up as it was flushed is checked when it is opened, see eager.go. The two modes never use what the other one wrote.
//
// # Record caches
//
// A [ThreadCache] holds what the tasks of one stream thread have written and not passed on yet. Each store has its [RecordCache] in it, which
// deduplicates updates before they reach the store, the changelog and the operators downstream.
//
// # Figures
//
// [Directory.Recorders] has the figures of the stores that are open: operations, and Pebble's figures under the names of Kafka Streams'
// RocksDB metrics.
//
// # Files
//
//	<path>/.lock                              held while the directory is open
//	<path>/kafka-streams-process-metadata     {"processId":"<uuid>"}, as Kafka Streams writes it
//	<path>/cluster-id                         the cluster that the stores belong to
//	<path>/<task>/.checkpoint                 offsets of the changelogs of eager stores, as Kafka Streams writes it
//	<path>/<task>/pebble/<store>/             one Pebble database per store
//	<path>/<task>/pebble/<store>~<n>/         the same after the n-th fresh start; the highest n counts
//	<path>/<task>/pebble/<store>/SEALED       the number of the last flush of an eager store
//
// Inside a database keys have a prefix of one byte: 0x00 for metadata (one record: position, number of entries, bytes) and
// 0x01 for data. A value is an 8-byte big-endian timestamp in milliseconds followed by the raw value.
//
// # Broken stores
//
// Pebble reports what it cannot handle by Logger.Fatalf, by events and by panics. All three only mark the store as broken:
// from then on every call returns an error that wraps [ErrBroken]. Where Pebble calls Fatalf with an error, it returns
// that error to its caller afterwards, so Fatalf returns too; all other calls report a violated invariant, after which Pebble must
// not go on: Fatalf then ends the goroutine if it is one of Pebble's own (a panic there would end the process), and
// panics, to be recovered by this package, if a call of ours is on its stack. Only a panic that Pebble itself raises in one of its own
// goroutines still ends the process: nothing can recover it. Those that come of a manifest that could not be written are avoided:
// Pebble does not hear of such failures (see gate.go).
//
// A broken store writes nothing more: its file system refuses every change (see gate.go), which also keeps its folder as it was for
// whoever looks into it. Its flush and compaction goroutines, which would retry without a pause, wait until the store is given
// up. [Store.Close] and [Store.Abandon] of a broken store never wait for Pebble: its database is closed in a goroutine of its own, which is
// leaked, with the database's memory, if Pebble hangs. The next [Directory.OpenStore] or [Store.Wipe] starts in a fresh folder.
//
// # Virtual time
//
// With [github.com/cockroachdb/pebble/v2/vfs.NewMem] as file system everything works inside a testing/synctest bubble, if the [Cache]
// is created inside it as well.
package state
