package state

import (
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// compactions lets a store run one compaction at a time, as Pebble does by default. Pebble's own scheduler also looks ten times a
// second whether it may run more; with sixty idle stores that is six hundred wake-ups a second for nothing.
//
// Its mutex is taken below the store's, so the store is not called with it.
type compactions struct {
	db pebble.DBForCompaction

	mu      sync.Mutex
	running bool // a compaction runs, or it is being decided whether another one does
	refused bool // somebody has asked meanwhile
	asking  bool // the store is being called
	asked   *sync.Cond
	ended   bool
}

func newCompactions() *compactions {
	c := &compactions{}
	c.asked = sync.NewCond(&c.mu)
	return c
}

// Register implements pebble.CompactionScheduler.
func (c *compactions) Register(_ int, db pebble.DBForCompaction) { c.db = db }

// Unregister implements pebble.CompactionScheduler. The store is not called any more when it returns.
func (c *compactions) Unregister() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	for c.asking {
		c.asked.Wait()
	}
}

// TrySchedule implements pebble.CompactionScheduler.
func (c *compactions) TrySchedule() (bool, pebble.CompactionGrantHandle) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended || c.running {
		c.refused = true
		return false, nil
	}
	c.running = true
	return true, c
}

// UpdateGetAllowedWithoutPermission implements pebble.CompactionScheduler: it is one, always.
func (c *compactions) UpdateGetAllowedWithoutPermission() {}

// Started implements pebble.CompactionGrantHandle.
func (c *compactions) Started() {}

// MeasureCPU implements pebble.CompactionGrantHandle.
func (c *compactions) MeasureCPU(pebble.CompactionGoroutineKind) {}

// CumulativeStats implements pebble.CompactionGrantHandle.
func (c *compactions) CumulativeStats(pebble.CompactionGrantHandleStats) {}

// Done implements pebble.CompactionGrantHandle: it lets the next compaction run, if one waits. Who is refused waits to be called
// and does not ask again; so it is asked once more after everybody who was.
func (c *compactions) Done() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.ended {
		c.refused, c.asking = false, true
		c.mu.Unlock()
		waits, _ := c.db.GetWaitingCompaction()
		runs := waits && c.db.Schedule(c)
		c.mu.Lock()
		c.asking = false
		c.asked.Broadcast()
		if runs {
			return // and it ends with a call of its own
		}
		if !c.refused {
			break
		}
	}
	c.running = false
}
