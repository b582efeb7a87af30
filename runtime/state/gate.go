package state

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// errSealed is what a database gets that still tries to write after it was marked as broken.
var errSealed = errors.New("state store is broken: nothing more is written")

// gate is the file system of one database. Once the database's fuse has blown, nothing it does reaches the disk any more: so a database that
// was given up cannot harm its successor, which may live in the same folder. Reads go on, they do no harm.
//
// Of what fails in its books, the manifests and their markers, an open database is not told: it would go on with figures of which it has changed only a
// part, and may panic over them in a goroutine of its own, which ends the process. The fuse blows instead, and the database, which nobody
// will believe any more, sees the write succeed. While it is being opened, its errors are worth hearing.
type gate struct {
	vfs.FS
	fuse *fuse
}

// books tells whether a file is one of the database's books.
func (g gate) books(name string) bool {
	base := g.PathBase(name)
	return strings.HasPrefix(base, "MANIFEST-") || strings.HasPrefix(base, "marker.")
}

// conceal makes a call that concerns the books. Once the database is open, a failure blows its fuse, and a blown fuse keeps the call from being made.
func (g gate) conceal(what string, call func() error) error {
	if !g.fuse.serving.Load() {
		return call()
	}
	if g.sealed() == nil {
		if err := call(); err != nil {
			g.fuse.blow(fmt.Errorf("%s: %w", what, err))
		}
	}
	return nil
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
	if strings.HasPrefix(g.PathBase(name), "marker.manifest.") {
		// The marker and the manifest that it names are made durable together. A crash before that may leave the marker alone.
		if err := g.syncParent(name); err != nil {
			return nil, err
		}
	}
	if g.books(name) {
		return g.createBook(name, category)
	}
	if err := g.sealed(); err != nil {
		if g.fuse.serving.Load() {
			<-g.fuse.released
		}
		return nil, err
	}
	f, err := g.FS.Create(name, category)
	return g.wrap(f, err)
}

func (g gate) syncParent(name string) error {
	return g.conceal("sync folder", func() error {
		f, err := g.FS.OpenDir(g.PathDir(name))
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
}

func (g gate) createBook(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	b := book{gate: g, name: g.PathBase(name)}
	err := g.conceal("create "+b.name, func() (err error) {
		b.File, err = g.FS.Create(name, category)
		return err
	})
	if err != nil {
		return nil, err
	}
	if b.File == nil {
		b.File = vfs.NewMemFile(nil) // nothing is written to it
	}
	return b, nil
}

// OpenDir opens a folder, of which Pebble syncs the entries. That belongs to its books as well.
func (g gate) OpenDir(name string) (vfs.File, error) {
	f, err := g.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return folder{f, g}, nil
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

// book is a manifest or a marker.
type book struct {
	vfs.File
	gate gate
	name string
}

func (b book) Write(p []byte) (n int, err error) {
	n = len(p)
	err = b.gate.conceal("write "+b.name, func() (err error) {
		n, err = b.File.Write(p)
		return err
	})
	if err == nil {
		n = len(p)
	}
	return n, err
}

func (b book) Sync() error { return b.gate.conceal("sync "+b.name, b.File.Sync) }

func (b book) SyncData() error { return b.gate.conceal("sync "+b.name, b.File.SyncData) }

// folder is an open folder.
type folder struct {
	vfs.File
	gate gate
}

func (f folder) Sync() error { return f.gate.conceal("sync folder", f.File.Sync) }
