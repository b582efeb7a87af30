package state

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

// Recorders is the registry of the stores whose figures can be read, by task and name. A store is in it while it is open. It may be used from any
// goroutine, and never waits for a store, except in Sample.
type Recorders struct {
	beforeOpen bool // see DirectoryConfig.RegisterBeforeOpen

	mu sync.Mutex
	by map[storeKey]*recorder
}

// StoreMetrics are the figures of one store at one moment.
type StoreMetrics struct {
	Task, Store string
	// Scope is what Kafka Streams puts before -state-id in its tags: "rocksdb" for stores on disk, "in-memory" for the others.
	Scope      string
	Stats      StoreStats
	Operations []OperationMetrics // one per Operation, in their order
	// Properties are the figures of the database as of the last Sample, nil before the first and for a store in memory.
	Properties []Property
}

// RecorderExistsError is the assertion of KAFKA-9231, cause 2: a recorder was registered by an opening that failed, and nobody removed it.
type RecorderExistsError struct{ Task, Store string }

func (e *RecorderExistsError) Error() string {
	return fmt.Sprintf("RocksDB metrics recorder for store %q of task %s has already been added. This is a bug in Kafka Streams.", e.Store, e.Task)
}

const (
	scopeDisk   = "rocksdb"
	scopeMemory = "in-memory"
)

// recorder knows where a store's figures are.
type recorder struct {
	key      storeKey
	scope    string
	stats    func() StoreStats
	measures *measures
	sample   func() []Property // nil if there is no database

	sampling atomic.Bool
	sampled  atomic.Pointer[[]Property]
}

// Snapshot returns the figures of all registered stores, in the order of their tasks and names.
func (r *Recorders) Snapshot() []StoreMetrics {
	recorders := r.list()
	all := make([]StoreMetrics, len(recorders))
	for i, rec := range recorders {
		all[i] = StoreMetrics{
			Task: rec.key.task, Store: rec.key.name, Scope: rec.scope,
			Stats: rec.stats(), Operations: rec.measures.snapshot(),
		}
		if p := rec.sampled.Load(); p != nil {
			all[i].Properties = *p
		}
	}
	return all
}

// Sample asks each database for its figures. It may have to wait for a disk that hangs, so it belongs into a goroutine of its own, like Kafka
// Streams' RocksDBMetricsRecordingTrigger. A store that another Sample still waits for is left out.
func (r *Recorders) Sample() {
	for _, rec := range r.list() {
		if rec.sample == nil || !rec.sampling.CompareAndSwap(false, true) {
			continue
		}
		if p := rec.sample(); p != nil {
			rec.sampled.Store(&p)
		}
		rec.sampling.Store(false)
	}
}

func (r *Recorders) list() []*recorder {
	r.mu.Lock()
	all := make([]*recorder, 0, len(r.by))
	for _, rec := range r.by {
		all = append(all, rec)
	}
	r.mu.Unlock()
	slices.SortFunc(all, func(a, b *recorder) int {
		return cmp.Or(compareTasks(a.key.task, b.key.task), cmp.Compare(a.key.name, b.key.name))
	})
	return all
}

// announce registers the recorder of a store on disk that is about to be opened, where the policy asks for that. If the store is not opened then, nothing
// takes the recorder out again.
func (r *Recorders) announce(rec *recorder) error {
	if !r.beforeOpen || rec.scope != scopeDisk {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.by[rec.key] != nil {
		return &RecorderExistsError{Task: rec.key.task, Store: rec.key.name}
	}
	r.by[rec.key] = rec
	return nil
}

// register enters a store that is open, in the place of whatever was there.
func (r *Recorders) register(rec *recorder) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.by[rec.key] = rec
}

// remove takes a store out. It leaves a successor alone.
func (r *Recorders) remove(rec *recorder) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.by[rec.key] == rec {
		delete(r.by, rec.key)
	}
}
