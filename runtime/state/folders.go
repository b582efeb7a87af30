package state

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// openFolder opens the newest folder of a store, or a fresh one if that was retired or is of the other mode.
func (d *Directory) openFolder(task, name string, cache *Cache, o StoreOptions) (*engine, meta, error) {
	dir, err := d.storeDir(task, name)
	if err != nil {
		return nil, emptyMeta, err
	}
	e, m, err := openEngine(d.fs, dir, cache, o)
	switch {
	case err == nil && m.stored && m.eager != o.Eager:
		d.retireFolder(task, name)
		if err := e.discard(); err != nil {
			e.abandon(nil)
		}
		return d.openFolder(task, name, cache, o)
	case err == nil:
		return e, m, nil
	case environmental(err):
		return nil, emptyMeta, err
	}
	d.retireFolder(task, name)
	if errors.Is(err, ErrBroken) {
		return nil, emptyMeta, err
	}
	return nil, emptyMeta, fmt.Errorf("%w: %w", ErrBroken, err)
}

// storeDir returns the folder of a store, which is there then. One that has to be made is empty, so what a checkpoint says of the store is not true
// of it: the checkpoint goes first. Otherwise a crash at the wrong moment would leave an empty store that is believed to be complete.
func (d *Directory) storeDir(task, name string) (string, error) {
	parent := d.file(task, storeFolder)
	if err := d.makeFolder(parent); err != nil {
		return "", err
	}
	generation, err := d.newest(parent, task, name)
	if err != nil {
		return "", err
	}
	dir := d.fs.PathJoin(parent, folderName(name, generation))
	if _, err := d.fs.Stat(dir); err == nil {
		return dir, nil
	}
	if err := d.DeleteCheckpoint(task); err != nil {
		return "", err
	}
	return dir, d.makeFolder(dir)
}

// makeFolder creates a folder and its parents, and makes each new entry durable: otherwise a crash could lose a folder with all that was
// flushed into it.
func (d *Directory) makeFolder(dir string) error {
	if _, err := d.fs.Stat(dir); err == nil {
		return nil
	}
	parent := d.fs.PathDir(dir)
	if parent != dir {
		if err := d.makeFolder(parent); err != nil {
			return err
		}
	}
	if err := d.fs.MkdirAll(dir, directories); err != nil {
		return fmt.Errorf("create folder: %w", err)
	}
	return d.syncFolder(parent)
}

func (d *Directory) syncFolder(dir string) error {
	f, err := d.fs.OpenDir(dir)
	if err != nil {
		return fmt.Errorf("sync folder %s: %w", dir, err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("sync folder %s: %w", dir, err)
	}
	return nil
}

// environmental tells errors that another folder would not cure.
func environmental(err error) bool {
	for _, target := range []error{os.ErrPermission, syscall.EMFILE, syscall.ENFILE} {
		if errors.Is(err, target) {
			return true
		}
	}
	return vfs.IsNoSpaceError(err)
}

// newest returns the generation to use and removes what older ones left behind.
func (d *Directory) newest(parent, task, name string) (int, error) {
	names, err := d.fs.List(parent)
	if err != nil {
		return 0, fmt.Errorf("list folder: %w", err)
	}
	d.mu.Lock()
	newest := d.floor[storeKey{task, name}]
	d.mu.Unlock()
	found := map[int]string{}
	for _, n := range names {
		if m := storePath.FindStringSubmatch(n); m != nil && m[1] == name {
			generation := number(m[2])
			found[generation] = n
			newest = max(newest, generation)
		}
	}
	for generation, n := range found {
		if generation < newest {
			d.remove(d.fs.PathJoin(parent, n))
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.floor[storeKey{task, name}] = newest
	return newest, nil
}

// retireFolder makes the next opening of a store use a fresh folder. Until that exists the retired one stays the newest on disk, which is
// right: after a crash in between it is tried once more, and found to be either sound or damaged.
func (d *Directory) retireFolder(task, name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.floor[storeKey{task, name}]++
}

// remove deletes a folder that is not used any more. What cannot be deleted now is tried again when the store is opened.
func (d *Directory) remove(dir string) { _ = d.fs.RemoveAll(dir) }

// removeAbandoned is remove for a database that was abandoned, however late it comes to it: once the directory is closed, the folder may belong to
// whoever opened it next.
func (d *Directory) removeAbandoned(dir string) {
	d.mu.Lock()
	open := d.lock != nil
	if open {
		d.removals.Add(1)
	}
	d.mu.Unlock()
	if open {
		defer d.removals.Done()
		d.remove(dir)
	}
}

func folderName(name string, generation int) string {
	if generation == 0 {
		return name
	}
	return name + "~" + strconv.Itoa(generation)
}
