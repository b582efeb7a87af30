package soak

import (
	"errors"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"eostop/runtime/journal"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

var errDisk = errors.New("input/output error")

// sickDisk fails a share of the writes below one instance's folder while it is switched on.
type sickDisk struct {
	sick   atomic.Bool
	failed atomic.Int64
	rng    *rand.Rand
	draws  chan struct{} // guards rng
}

func (d *sickDisk) String() string { return "sick disk" }

// MaybeError implements errorfs.Injector.
func (d *sickDisk) MaybeError(op errorfs.Op) error {
	if !d.sick.Load() || op.Kind.ReadOrWrite() != errorfs.OpIsWrite || !strings.Contains(op.Path, "/i1/") {
		return nil
	}
	d.draws <- struct{}{}
	fails := d.rng.IntN(5) == 0
	<-d.draws
	if !fails {
		return nil
	}
	d.failed.Add(1)
	return errDisk
}

// scenarioOfASickDisk: a fifth of all writes to one instance's disk fail for ten seconds. Stores break, are abandoned and
// rebuilt; nothing is lost, the reason is told, and the process lives on.
func scenarioOfASickDisk(t *testing.T) {
	everySeed(t, func(t *testing.T, rng *rand.Rand) {
		cfg := small(time.Minute)
		cfg.Load.Rate, cfg.Load.Keys = 200, 2000
		cfg.Load.Seed = 1 + rng.Int64N(1<<30)
		cfg.Runtime.StoreMemtable = 64 << 10 // so that there are writes to fail
		disk := &sickDisk{rng: rng, draws: make(chan struct{}, 1)}
		var told int
		r := playOn(t, cfg, Deps{FS: errorfs.Wrap(vfs.NewMem(), disk)}, func(g *stage) {
			g.until(10 * time.Second)
			disk.sick.Store(true)
			g.until(20 * time.Second)
			disk.sick.Store(false)
			g.until(40 * time.Second)
			for _, e := range g.s.journal.Tail(journalEvents) {
				if e.Kind == journal.KindStore && e.To == "REBUILT" && strings.Contains(e.Cause, errDisk.Error()) {
					told++
				}
			}
		})
		t.Logf("%d writes failed, %d stores rebuilt, %d with the reason", disk.failed.Load(), r.State.Rebuilt, told)
		if disk.failed.Load() == 0 || r.State.Rebuilt == 0 || told == 0 {
			t.Error("no store broke, or nobody was told why")
		}
	})
}
