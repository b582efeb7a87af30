package state

import (
	"errors"
	"io"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// errSealed is what a database gets that still tries to write after it was marked as broken.
var errSealed = errors.New("state store is broken: nothing more is written")

// gate is the file system of one database. Once the database's fuse has blown, nothing it does reaches the disk any more: so a database that
// was given up cannot harm its successor, which may live in the same folder. Reads go on, they do no harm.
type gate struct {
	vfs.FS
	fuse *fuse
}

func (g gate) sealed() error {
	if g.fuse.cause.Load() != nil {
		return errSealed
	}
	return nil
}

// Create is where a flush or compaction begins to write. Pebble repeats a failed one at once and for ever, so that a full disk would keep a
// processor busy; the repetition waits here, with no lock of Pebble's held, until the owner has noticed.
func (g gate) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := g.sealed(); err != nil {
		if g.fuse.serving.Load() {
			<-g.fuse.released
		}
		return nil, err
	}
	f, err := g.FS.Create(name, category)
	return g.wrap(f, err)
}

func (g gate) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	if err := g.sealed(); err != nil {
		return nil, err
	}
	f, err := g.FS.OpenReadWrite(name, category, opts...)
	return g.wrap(f, err)
}

func (g gate) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := g.sealed(); err != nil {
		return nil, err
	}
	f, err := g.FS.ReuseForWrite(oldname, newname, category)
	return g.wrap(f, err)
}

func (g gate) Link(oldname, newname string) error {
	if err := g.sealed(); err != nil {
		return err
	}
	return g.FS.Link(oldname, newname)
}

func (g gate) Remove(name string) error {
	if err := g.sealed(); err != nil {
		return err
	}
	return g.FS.Remove(name)
}

func (g gate) RemoveAll(name string) error {
	if err := g.sealed(); err != nil {
		return err
	}
	return g.FS.RemoveAll(name)
}

func (g gate) Rename(oldname, newname string) error {
	if err := g.sealed(); err != nil {
		return err
	}
	return g.FS.Rename(oldname, newname)
}

func (g gate) MkdirAll(dir string, perm os.FileMode) error {
	if err := g.sealed(); err != nil {
		return err
	}
	return g.FS.MkdirAll(dir, perm)
}

// Lock does nothing: the directory is locked as a whole and knows its open stores, and Pebble would hold its own lock for as long as a
// broken database takes to close.
func (g gate) Lock(string) (io.Closer, error) { return io.NopCloser(nil), nil }

// Unwrap implements vfs.FS.
func (g gate) Unwrap() vfs.FS { return g.FS }

func (g gate) wrap(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return gatedFile{File: f, gate: g}, nil
}

// gatedFile is a file that was opened for writing.
type gatedFile struct {
	vfs.File
	gate gate
}

func (f gatedFile) Write(p []byte) (int, error) {
	if err := f.gate.sealed(); err != nil {
		return 0, err
	}
	return f.File.Write(p)
}

func (f gatedFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.gate.sealed(); err != nil {
		return 0, err
	}
	return f.File.WriteAt(p, off)
}

func (f gatedFile) Preallocate(offset, length int64) error {
	if err := f.gate.sealed(); err != nil {
		return err
	}
	return f.File.Preallocate(offset, length)
}

func (f gatedFile) Sync() error {
	if err := f.gate.sealed(); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f gatedFile) SyncData() error {
	if err := f.gate.sealed(); err != nil {
		return err
	}
	return f.File.SyncData()
}

func (f gatedFile) SyncTo(length int64) (bool, error) {
	if err := f.gate.sealed(); err != nil {
		return false, err
	}
	return f.File.SyncTo(length)
}
