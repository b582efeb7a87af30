package runtime

import "sync/atomic"

// Counters are what a thread has counted since it began. They go on where a thread is replaced.
type Counters struct {
	Processed       uint64 `json:"processed"`        // records taken from source topics
	ProcessedInputs uint64 `json:"processed_inputs"` // records from outside the application, in committed transactions
	Dropped         uint64 `json:"dropped,omitempty"`
	Committed       uint64 `json:"committed"` // transactions
	Aborted         uint64 `json:"aborted"`   // transactions given up, whatever the cause
	Fenced          uint64 `json:"fenced"`
	UnknownOutcome  uint64 `json:"unknown_outcome"`
	Migrated        uint64 `json:"migrated"`
	Corrupted       uint64 `json:"corrupted"`
	// Replayed are records whose processing was given up with an open transaction: somebody processes them again, unless a
	// transaction of unknown outcome turns out to be committed.
	Replayed        uint64 `json:"replayed_records,omitempty"`
	RestoredRecords uint64 `json:"restored_records"`
	Wiped           uint64 `json:"wiped"`   // stores thrown away after an unclean close
	Rebuilt         uint64 `json:"rebuilt"` // stores that had to start over from the changelog's start
}

// Add adds other counts.
func (c *Counters) Add(other *Counters) {
	c.Processed += other.Processed
	c.ProcessedInputs += other.ProcessedInputs
	c.Dropped += other.Dropped
	c.Committed += other.Committed
	c.Aborted += other.Aborted
	c.Fenced += other.Fenced
	c.UnknownOutcome += other.UnknownOutcome
	c.Migrated += other.Migrated
	c.Corrupted += other.Corrupted
	c.Replayed += other.Replayed
	c.RestoredRecords += other.RestoredRecords
	c.Wiped += other.Wiped
	c.Rebuilt += other.Rebuilt
}

// counters are written by the goroutines of one thread and read by anyone.
type counters struct {
	processed, processedInputs, dropped, committed, aborted, fenced, unknown, migrated, corrupted, replayed, restored, wiped, rebuilt atomic.Uint64
}

func (c *counters) load() Counters {
	return Counters{
		Processed: c.processed.Load(), ProcessedInputs: c.processedInputs.Load(), Dropped: c.dropped.Load(),
		Committed: c.committed.Load(), Aborted: c.aborted.Load(), Fenced: c.fenced.Load(), UnknownOutcome: c.unknown.Load(),
		Migrated: c.migrated.Load(), Corrupted: c.corrupted.Load(),
		Replayed: c.replayed.Load(), RestoredRecords: c.restored.Load(), Wiped: c.wiped.Load(), Rebuilt: c.rebuilt.Load(),
	}
}

// inherit takes over what a replaced thread has counted, so that totals never shrink.
func (c *counters) inherit(from Counters) {
	c.processed.Add(from.Processed)
	c.processedInputs.Add(from.ProcessedInputs)
	c.dropped.Add(from.Dropped)
	c.committed.Add(from.Committed)
	c.aborted.Add(from.Aborted)
	c.fenced.Add(from.Fenced)
	c.unknown.Add(from.UnknownOutcome)
	c.migrated.Add(from.Migrated)
	c.corrupted.Add(from.Corrupted)
	c.replayed.Add(from.Replayed)
	c.restored.Add(from.RestoredRecords)
	c.wiped.Add(from.Wiped)
	c.rebuilt.Add(from.Rebuilt)
}
