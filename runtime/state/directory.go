package state

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"sync"
	"time"

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
	// ApplicationID is the application that the stores belong to. It is remembered in the directory; "" skips the check.
	ApplicationID string
	// FS holds the directory; nil is the disk.
	FS vfs.FS
	// Recording says how much the stores measure of themselves.
	Recording RecordingLevel
	// RegisterBeforeOpen registers the recorder of a store before the store is opened, as Kafka Streams 2.4.0-rc did at recording level debug, and
	// fails with a *RecorderExistsError where an opening that failed has left one behind (KAFKA-9231, cause 2). It exists to show that bug.
	RegisterBeforeOpen bool
	// OpenStoreHook is called when a store is about to be opened, also after a wipe; its error is what the opening fails with. Nil does nothing.
	OpenStoreHook func(task, store string) error
	// Warn is told what was noticed and needs no action, such as an invalid line in a checkpoint. Nil drops it.
	Warn func(text string)
}

// Validate reports every problem of the configuration.
func (c DirectoryConfig) Validate() error {
	var errs []error
	if c.Path == "" {
		errs = append(errs, errors.New("path: state directory is not set"))
	}
	if c.Recording != RecordingInfo && c.Recording != RecordingDebug {
		errs = append(errs, fmt.Errorf("recording_level: %d: must be info or debug", c.Recording))
	}
	return errors.Join(errs...)
}

// Directory is the state directory of one instance, locked against every other. It may be used from any goroutine.
type Directory struct {
	path      string
	fs        vfs.FS
	config    DirectoryConfig
	processID string
	recorders Recorders

	mu       sync.Mutex // guards what follows; never held during I/O
	lock     io.Closer  // nil once closed
	open     map[storeKey]bool
	floor    map[storeKey]int     // the lowest generation that may still be used
	owners   map[string]string    // of locked tasks
	removing map[string]bool      // tasks whose folder is being removed
	used     map[string]time.Time // when a task was last locked, unlocked, or one of its stores opened or closed

	removals sync.WaitGroup // of folders by abandoned databases
}

type storeKey struct{ task, name string }

// OpenDirectory creates the directory if need be, locks it, and reads or makes its identity. The error is a *LockedError if somebody
// else has it open, a *ClusterMismatchError if it belongs to another cluster, and an *ApplicationMismatchError if it belongs to another
// application.
func OpenDirectory(config DirectoryConfig) (*Directory, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	d := &Directory{
		path: config.Path, fs: config.FS, config: config,
		open: map[storeKey]bool{}, floor: map[storeKey]int{},
		owners: map[string]string{}, removing: map[string]bool{}, used: map[string]time.Time{},
	}
	d.recorders.by = map[storeKey]*recorder{}
	d.recorders.beforeOpen = config.RegisterBeforeOpen && config.Recording == RecordingDebug
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
	if err := d.identify(); err != nil {
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

// Recorders returns the registry of the stores that are open.
func (d *Directory) Recorders() *Recorders { return &d.recorders }

// Close unlocks the directory. Its stores have to be closed before; while one is open, Close fails and the directory stays locked.
func (d *Directory) Close() error {
	d.mu.Lock()
	if n := len(d.open); n > 0 && d.lock != nil {
		d.mu.Unlock()
		return fmt.Errorf("close state directory %s: %d stores are still open", d.path, n)
	}
	lock := d.lock
	d.lock = nil
	clear(d.owners)
	d.mu.Unlock()
	if lock == nil {
		return nil
	}
	d.removals.Wait() // what comes later finds the directory closed
	if err := lock.Close(); err != nil {
		return fmt.Errorf("unlock state directory %s: %w", d.path, err)
	}
	return nil
}

// Open opens a store of a task, such as "0_3", on disk or, if the options say so, in memory. It is OpenStore or OpenMemoryStore.
func (d *Directory) Open(task, name string, o StoreOptions) (KeyValue, error) {
	if o.InMemory {
		return openAs(d.OpenMemoryStore(task, name, o))
	}
	return openAs(d.OpenStore(task, name, o))
}

// openAs keeps a nil pointer from becoming an interface that is not nil.
func openAs[S KeyValue](s S, err error) (KeyValue, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

// OpenStore opens a store of a task, such as "0_3", on disk, or creates it empty. It fails with ErrInUse while the store is open elsewhere in the
// process. An error that wraps ErrBroken means that the store on disk is damaged: it is not used again, and the next OpenStore
// begins with an empty one. A store that was written eagerly is empty to one that is transactional, and the other way round.
func (d *Directory) OpenStore(task, name string, o StoreOptions) (*Store, error) {
	if o.InMemory {
		return nil, fmt.Errorf("open store %s of task %s: it is to be in memory, so it has to be opened as such", name, task)
	}
	s := &Store{handle: handle{directory: d, task: task, name: name}, options: o.withDefaults()}
	s.buffer = newBuffer(s.options.CleanBytes)
	s.recorder = &recorder{scope: scopeDisk, sample: s.properties}
	err := d.openStore(&s.handle, o, func() error {
		if o.Cache == nil {
			s.ownCache = NewCache(privateCacheBytes)
		}
		err := s.open()
		if err != nil {
			s.letGo()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// OpenMemoryStore opens a store in memory, which is empty. Nothing of it is on disk. It fails with ErrInUse while the store is open
// elsewhere in the process. Of the options only Eager counts.
func (d *Directory) OpenMemoryStore(task, name string, o StoreOptions) (*MemoryStore, error) {
	s := &MemoryStore{handle: handle{directory: d, task: task, name: name}, eager: o.Eager}
	s.recorder = &recorder{scope: scopeMemory}
	err := d.openStore(&s.handle, o, func() error {
		if err := d.announce(s.recorder); err != nil {
			d.closed(task, name)
			return err
		}
		s.reset()
		d.recorders.register(s.recorder)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// openStore reserves a store for one owner and opens it.
func (d *Directory) openStore(h *handle, o StoreOptions, open func() error) error {
	err := errors.Join(validNames(h.task, h.name), o.Validate())
	if err == nil {
		err = d.acquire(h.task, h.name)
	}
	if err == nil {
		h.measures.timed = d.config.Recording == RecordingDebug
		h.recorder.key, h.recorder.stats, h.recorder.measures = storeKey{h.task, h.name}, h.Stats, &h.measures
		err = open()
	}
	if err != nil {
		return fmt.Errorf("open store %s of task %s: %w", h.name, h.task, err)
	}
	return nil
}

// announce is what comes first when a store is opened.
func (d *Directory) announce(rec *recorder) error {
	if err := d.recorders.announce(rec); err != nil {
		return err
	}
	if d.config.OpenStoreHook == nil {
		return nil
	}
	return d.config.OpenStoreHook(rec.key.task, rec.key.name)
}

func validNames(task, name string) error {
	errs := []error{validTask(task)}
	if !storeName.MatchString(name) || name == "." || name == ".." || name == checkpointFile {
		errs = append(errs, fmt.Errorf("store: %q: must be 1 to 200 of the characters a-z, A-Z, 0-9, '.', '_' and '-', and neither a folder's own name nor %s", name, checkpointFile))
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
	case d.open[key] || d.removing[task]:
		return ErrInUse
	default:
		d.open[key] = true
		d.used[task] = time.Now()
		return nil
	}
}

func (d *Directory) closed(task, name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.open, storeKey{task, name})
	d.used[task] = time.Now()
}
