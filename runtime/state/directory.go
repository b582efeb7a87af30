package state

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	lockFile    = ".lock"
	storeFolder = "pebble"
	directories = 0o750
	secretFiles = 0o600
)

// Names that can become folders. They are Kafka's: task ids, and legal topic characters for stores. A folder's generation follows the
// store's name after a tilde, which no name has.
var (
	taskName  = regexp.MustCompile(`^(\d{1,9})_(\d{1,9})$`)
	storeName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,200}$`)
	storePath = regexp.MustCompile(`^([a-zA-Z0-9._-]{1,200})(?:~(\d{1,9}))?$`)
)

// DirectoryConfig says where the state of one instance is.
type DirectoryConfig struct {
	// Path of the directory. It is created, with its parents, if it does not exist.
	Path string
	// ClusterID is the cluster that the stores belong to. It is remembered in the directory; "" skips the check.
	ClusterID string
	// FS holds the directory; nil is the disk.
	FS vfs.FS
}

// Validate reports every problem of the configuration.
func (c DirectoryConfig) Validate() error {
	if c.Path == "" {
		return errors.New("path: state directory is not set")
	}
	return nil
}

// Directory is the state directory of one instance, locked against every other. It may be used from any goroutine.
type Directory struct {
	path      string
	fs        vfs.FS
	processID string

	mu    sync.Mutex // guards what follows; never held during I/O
	lock  io.Closer  // nil once closed
	open  map[storeKey]bool
	floor map[storeKey]int // the lowest generation that may still be used
}

type storeKey struct{ task, name string }

// OpenDirectory creates the directory if need be, locks it, and reads or makes its identity. The error is a *LockedError if somebody
// else has it open, and a *ClusterMismatchError if it belongs to another cluster.
func OpenDirectory(config DirectoryConfig) (*Directory, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	d := &Directory{path: config.Path, fs: config.FS, open: map[storeKey]bool{}, floor: map[storeKey]int{}}
	if d.fs == nil {
		d.fs = vfs.Default
	}
	if err := d.prepare(); err != nil {
		return nil, fmt.Errorf("state directory %s: %w", d.path, err)
	}
	lock, err := d.fs.Lock(d.file(lockFile))
	if err != nil {
		return nil, &LockedError{Path: d.path, Err: err}
	}
	if err := d.identify(config.ClusterID); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	d.lock = lock
	return d, nil
}

// prepare makes sure that the directory is there and can be written to, so that a failed lock means that somebody else has it.
func (d *Directory) prepare() error {
	if err := d.makeFolder(d.path); err != nil {
		return err
	}
	if d.onDisk() {
		// A lock belongs to a path and a process, so an instance that comes by another path to the same directory would not be noticed.
		path, err := filepath.Abs(d.path)
		if err == nil {
			path, err = filepath.EvalSymlinks(path)
		}
		if err != nil {
			return fmt.Errorf("resolve path: %w", err)
		}
		d.path = path
	}
	probe, err := d.fs.Create(d.file(".writable"), vfs.WriteCategoryUnspecified)
	if err == nil {
		err = errors.Join(probe.Close(), d.fs.Remove(d.file(".writable")))
	}
	if err != nil {
		return fmt.Errorf("not writable: %w", err)
	}
	return nil
}

func (d *Directory) onDisk() bool { return vfs.Root(d.fs) == vfs.Default }

func (d *Directory) file(elem ...string) string {
	return d.fs.PathJoin(append([]string{d.path}, elem...)...)
}

// Path returns the directory's path.
func (d *Directory) Path() string { return d.path }

// ProcessID returns the UUID that the directory carries for its life: the instance's identity across restarts.
func (d *Directory) ProcessID() string { return d.processID }

// Close unlocks the directory. Its stores have to be closed before; while one is open, Close fails and the directory stays locked.
func (d *Directory) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lock == nil {
		return nil
	}
	if n := len(d.open); n > 0 {
		return fmt.Errorf("close state directory %s: %d stores are still open", d.path, n)
	}
	lock := d.lock
	d.lock = nil
	if err := lock.Close(); err != nil {
		return fmt.Errorf("unlock state directory %s: %w", d.path, err)
	}
	return nil
}

// StoredTasks returns the ids of the tasks that have at least one store on disk, open or not, in the order of sub-topology and partition.
func (d *Directory) StoredTasks() []string {
	names, err := d.fs.List(d.path)
	if err != nil {
		return nil
	}
	var tasks []string
	for _, name := range names {
		if !taskName.MatchString(name) {
			continue
		}
		stores, err := d.fs.List(d.file(name, storeFolder))
		if err == nil && slices.ContainsFunc(stores, storePath.MatchString) {
			tasks = append(tasks, name)
		}
	}
	slices.SortFunc(tasks, compareTasks)
	return tasks
}

func compareTasks(a, b string) int {
	a1, a2, _ := strings.Cut(a, "_")
	b1, b2, _ := strings.Cut(b, "_")
	return cmp.Or(number(a1)-number(b1), number(a2)-number(b2))
}

func number(s string) int {
	n, _ := strconv.Atoi(s) // the pattern of the name lets nothing but digits through
	return n
}

// OpenStore opens a store of a task, such as "0_3", or creates it empty. It fails with ErrInUse while the store is open elsewhere in the
// process. An error that wraps ErrBroken means that the store on disk is damaged: it is not used again, and the next OpenStore
// begins with an empty one.
func (d *Directory) OpenStore(task, name string, o StoreOptions) (*Store, error) {
	s, err := d.openStore(task, name, o)
	if err != nil {
		return nil, fmt.Errorf("open store %s of task %s: %w", name, task, err)
	}
	return s, nil
}

func (d *Directory) openStore(task, name string, o StoreOptions) (*Store, error) {
	if err := errors.Join(validNames(task, name), o.Validate()); err != nil {
		return nil, err
	}
	if err := d.acquire(task, name); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	s := &Store{directory: d, task: task, name: name, options: o, buffer: newBuffer(o.CleanBytes)}
	if o.Cache == nil {
		s.ownCache = NewCache(privateCacheBytes)
	}
	e, m, err := d.openFolder(task, name, s.cache(), o.MemtableBytes)
	if err != nil {
		s.release()
		return nil, err
	}
	s.engine.Store(e)
	s.setMeta(m)
	return s, nil
}

func validNames(task, name string) error {
	var errs []error
	if !taskName.MatchString(task) {
		errs = append(errs, fmt.Errorf("task: %q: must be a sub-topology and a partition, such as 0_3", task))
	}
	if !storeName.MatchString(name) || name == "." || name == ".." {
		errs = append(errs, fmt.Errorf("store: %q: must be 1 to 200 of the characters a-z, A-Z, 0-9, '.', '_' and '-', and not a folder's own name", name))
	}
	return errors.Join(errs...)
}

// acquire reserves a store for one owner.
func (d *Directory) acquire(task, name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch key := (storeKey{task, name}); {
	case d.lock == nil:
		return fmt.Errorf("state directory %s: %w", d.path, ErrClosed)
	case d.open[key]:
		return ErrInUse
	default:
		d.open[key] = true
		return nil
	}
}

func (d *Directory) closed(task, name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.open, storeKey{task, name})
}

// openFolder opens the newest folder of a store, or a fresh one if that was retired.
func (d *Directory) openFolder(task, name string, cache *Cache, memtable int) (*engine, meta, error) {
	parent := d.file(task, storeFolder)
	if err := d.makeFolder(parent); err != nil {
		return nil, emptyMeta, err
	}
	generation, err := d.newest(parent, task, name)
	if err != nil {
		return nil, emptyMeta, err
	}
	dir := d.fs.PathJoin(parent, folderName(name, generation))
	if err := d.makeFolder(dir); err != nil {
		return nil, emptyMeta, err
	}
	e, m, err := openEngine(d.fs, dir, cache, memtable)
	if err == nil {
		return e, m, nil
	}
	if environmental(err) {
		return nil, emptyMeta, err
	}
	d.retireFolder(task, name)
	if errors.Is(err, ErrBroken) {
		return nil, emptyMeta, err
	}
	return nil, emptyMeta, fmt.Errorf("%w: %w", ErrBroken, err)
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

func folderName(name string, generation int) string {
	if generation == 0 {
		return name
	}
	return name + "~" + strconv.Itoa(generation)
}
