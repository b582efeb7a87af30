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
// will believe any more, sees the write succeed.
type gate struct {
	vfs.FS
	fuse *fuse
}

// books tells whether a file is one of the database's books while it is open. When it is being opened, its errors are worth hearing.
func (g gate) books(name string) bool {
	base := g.PathBase(name)
	return g.fuse.serving.Load() && (strings.HasPrefix(base, "MANIFEST-") || strings.HasPrefix(base, "marker."))
}

// conceal blows the fuse on a failure.
func (g gate) conceal(what string, err error) {
	if err != nil {
		g.fuse.blow(fmt.Errorf("%s: %w", what, err))
	}
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
		return g.createBook(name, category), nil
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
	f, err := g.OpenDir(g.PathDir(name))
	if err != nil {
		if g.fuse.serving.Load() {
			g.conceal("open folder", err)
			return nil
		}
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (g gate) createBook(name string, category vfs.DiskWriteCategory) vfs.File {
	var f vfs.File
	if g.sealed() == nil {
		var err error
		f, err = g.FS.Create(name, category)
		g.conceal("create "+g.PathBase(name), err)
	}
	if f == nil {
		f = vfs.NewMemFile(nil) // nothing is written to it
	}
	return book{f, g, g.PathBase(name)}
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

// book is a manifest or marker of an open database.
type book struct {
	vfs.File
	gate gate
	name string
}

func (b book) attempt(what string, call func() error) {
	if b.gate.sealed() == nil {
		b.gate.conceal(what+" "+b.name, call())
	}
}

func (b book) Write(p []byte) (int, error) {
	b.attempt("write", func() error {
		_, err := b.File.Write(p)
		return err
	})
	return len(p), nil
}

func (b book) Sync() error {
	b.attempt("sync", b.File.Sync)
	return nil
}

func (b book) SyncData() error {
	b.attempt("sync", b.File.SyncData)
	return nil
}

func (b book) Close() error {
	b.gate.conceal("close "+b.name, b.File.Close())
	return nil
}

// folder is an open folder.
type folder struct {
	vfs.File
	gate gate
}

func (f folder) Sync() error {
	if !f.gate.fuse.serving.Load() {
		return f.File.Sync()
	}
	if f.gate.sealed() == nil {
		f.gate.conceal("sync folder", f.File.Sync())
	}
	return nil
}
