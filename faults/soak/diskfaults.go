package soak

import (
	"context"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// diskFaults lets the disk under the state directories of instances fail or be slow. It is there only if the script says so.
type diskFaults struct {
	ctx    context.Context // ends waits
	mu     sync.Mutex      // for changes
	active atomic.Pointer[[]*diskFault]
}

// diskFault is a fault that goes on.
type diskFault struct {
	instance string        // empty is every one
	full     bool          // what needs space fails
	delay    time.Duration // of each sync
	hit      func()
}

// wrap puts the faults over a file system; nil is the disk.
func (d *diskFaults) wrap(below vfs.FS) vfs.FS {
	if below == nil {
		below = vfs.Default
	}
	return errorfs.Wrap(below, d)
}

// String implements errorfs.Injector.
func (d *diskFaults) String() string { return "faults of the disk" }

// start begins a fault.
func (d *diskFaults) start(f *diskFault) (end func()) {
	change := func(fn func([]*diskFault) []*diskFault) {
		d.mu.Lock()
		defer d.mu.Unlock()
		var all []*diskFault
		if now := d.active.Load(); now != nil {
			all = slices.Clone(*now)
		}
		all = fn(all)
		d.active.Store(&all)
	}
	change(func(all []*diskFault) []*diskFault { return append(all, f) })
	return func() {
		change(func(all []*diskFault) []*diskFault {
			return slices.DeleteFunc(all, func(other *diskFault) bool { return other == f })
		})
	}
}

// MaybeError implements errorfs.Injector: it is asked before each operation.
func (d *diskFaults) MaybeError(op errorfs.Op) error {
	active := d.active.Load()
	if active == nil {
		return nil
	}
	for _, f := range *active {
		if f.instance != "" && !strings.Contains(op.Path+"/", "/"+f.instance+"/") {
			continue
		}
		switch op.Kind {
		case errorfs.OpFileWrite, errorfs.OpFileWriteAt, errorfs.OpCreate, errorfs.OpMkdirAll, errorfs.OpFilePreallocate:
			if f.full {
				f.hit()
				return &fs.PathError{Op: "write", Path: op.Path, Err: syscall.ENOSPC}
			}
		case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo, errorfs.OpFileFlush:
			if f.delay > 0 {
				f.hit()
				d.wait(f.delay)
			}
		default:
		}
	}
	return nil
}

func (d *diskFaults) wait(delay time.Duration) {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-d.ctx.Done():
	}
}
