package state

import (
	"testing"

	"github.com/cockroachdb/pebble/v2"
)

// backlog is a store that has some compactions to run.
type backlog struct {
	waiting  int
	granted  int
	schedule func() // is called while the store is asked
}

func (b *backlog) GetAllowedWithoutPermission() int { return 1 }

func (b *backlog) GetWaitingCompaction() (bool, pebble.WaitingCompaction) {
	if b.schedule != nil {
		b.schedule()
	}
	return b.waiting > 0, pebble.WaitingCompaction{}
}

func (b *backlog) Schedule(pebble.CompactionGrantHandle) bool {
	b.waiting--
	b.granted++
	return true
}

func TestOneCompactionAtATime(t *testing.T) {
	c, b := newCompactions(), &backlog{}
	c.Register(1, b)
	ok, handle := c.TrySchedule()
	if !ok {
		t.Fatal("the first compaction was refused")
	}
	if again, _ := c.TrySchedule(); again {
		t.Fatal("a second compaction was allowed beside the first")
	}
	b.waiting = 2
	handle.Done()
	if b.granted != 1 {
		t.Fatalf("%d compactions were let run after the first, want 1", b.granted)
	}
	if again, _ := c.TrySchedule(); again {
		t.Error("a compaction was allowed beside the one that had waited")
	}
	handle.Done()
	handle.Done()
	if b.granted != 2 {
		t.Errorf("%d compactions were let run, want 2", b.granted)
	}
	if again, _ := c.TrySchedule(); !again {
		t.Error("a compaction was refused although none runs")
	}
}

// TestACompactionThatIsRefusedWhileTheStoreIsAskedIsNotForgotten: the store does not ask again once it was refused.
func TestACompactionThatIsRefusedWhileTheStoreIsAskedIsNotForgotten(t *testing.T) {
	c, b := newCompactions(), &backlog{}
	c.Register(1, b)
	_, handle := c.TrySchedule()
	asked := 0
	b.schedule = func() {
		if asked++; asked == 2 {
			b.waiting = 1 // what was refused below
			return
		}
		if ok, _ := c.TrySchedule(); ok {
			t.Error("allowed while it is being decided")
		}
	}
	handle.Done()
	if asked != 2 || b.granted != 1 {
		t.Errorf("asked %d times, granted %d, want 2 and 1", asked, b.granted)
	}
}

func TestNoCompactionAfterTheEnd(t *testing.T) {
	c, b := newCompactions(), &backlog{}
	c.Register(1, b)
	_, handle := c.TrySchedule()
	b.waiting = 1
	c.Unregister()
	handle.Done()
	if ok, _ := c.TrySchedule(); ok || b.granted != 0 {
		t.Errorf("allowed %v, granted %d after the end", ok, b.granted)
	}
}
