// Package state keeps the state stores of stream tasks on disk, so that what is on disk is always a committed prefix of the
// store's changelog.
//
// # Stores
//
// A [Store] is a timestamped key-value store. Writes go to a transaction buffer in memory. When the Kafka transaction that
// they belong to has committed, [Store.Commit] applies the buffer together with the changelog position in one Pebble batch;
// when it was aborted, [Store.Abort] drops the buffer. Pebble runs without a write-ahead log: a crash loses the newest
// batches as a whole, never a part of one, and the position tells from where the changelog has to be read again. So after an
// abort, a fence or a crash nothing is thrown away.
//
// In front of Pebble each store keeps a bounded number of unchanged entries, which makes updates of keys that are in use about as fast as a map.
//
// One goroutine owns a store. Only [Store.Stats], [Store.Position] and [Store.Err] may be called from others.
//
// # Files
//
//	<path>/.lock                              held while the directory is open
//	<path>/kafka-streams-process-metadata     {"processId":"<uuid>"}, as Kafka Streams writes it
//	<path>/cluster-id                         the cluster that the stores belong to
//	<path>/<task>/pebble/<store>/             one Pebble database per store
//	<path>/<task>/pebble/<store>~<n>/         the same after the n-th fresh start; the highest n counts
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
// goroutines still ends the process: nothing can recover it.
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
