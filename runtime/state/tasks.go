package state

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// StoredTasks returns the ids of the tasks that have at least one store on disk, open or not, in the order of sub-topology and partition.
func (d *Directory) StoredTasks() []string {
	tasks, err := d.taskFolders()
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(tasks, func(task string) bool {
		stores, err := d.fs.List(d.file(task, storeFolder))
		return err != nil || !slices.ContainsFunc(stores, storePath.MatchString)
	})
}

// taskFolders returns the folders that have the name of a task, in the order of sub-topology and partition.
func (d *Directory) taskFolders() ([]string, error) {
	names, err := d.fs.List(d.path)
	if err != nil {
		return nil, fmt.Errorf("list state directory: %w", err)
	}
	tasks := slices.DeleteFunc(names, func(name string) bool {
		if !taskName.MatchString(name) {
			return true
		}
		info, err := d.fs.Stat(d.file(name))
		return err != nil || !info.IsDir()
	})
	slices.SortFunc(tasks, compareTasks)
	return tasks, nil
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

func validTask(task string) error {
	if !taskName.MatchString(task) {
		return fmt.Errorf("task: %q: must be a sub-topology and a partition, such as 0_3", task)
	}
	return nil
}

// TaskEmpty tells whether a task has nothing on disk that needs a checkpoint to be trusted: no folder, or one without stores. It has to be asked before the stores
// are opened, which makes folders for them. Under exactly-once with eager stores, a task that is not empty and has no checkpoint was not
// closed cleanly: its stores may hold writes of an aborted transaction, and it has to be wiped.
func (d *Directory) TaskEmpty(task string) (bool, error) {
	if err := validTask(task); err != nil {
		return false, err
	}
	for _, folder := range []string{d.file(task), d.file(task, storeFolder)} {
		names, err := d.fs.List(folder)
		if errors.Is(err, os.ErrNotExist) {
			return true, nil
		}
		if err != nil {
			return false, fmt.Errorf("list folder of task %s: %w", task, err)
		}
		// Kafka Streams up to 2.8 left a lock file in each task's folder.
		if slices.ContainsFunc(names, func(name string) bool {
			return name != storeFolder && name != lockFile && name != checkpointFile && name != checkpointFile+temporary
		}) {
			return false, nil
		}
	}
	return true, nil
}

// LockTask gives a task's folder to an owner, such as the name of a thread, and tells whether the owner has it now. An owner may lock what it has
// already. The locks are kept in memory: the directory as a whole belongs to this process.
func (d *Directory) LockTask(task, owner string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	holder, locked := d.owners[task]
	switch {
	case locked:
		return holder == owner
	case d.lock == nil || d.removing[task] || validTask(task) != nil:
		return false
	default:
		d.owners[task] = owner
		d.used[task] = time.Now()
		return true
	}
}

// UnlockTask ends the lock of an owner. Whoever does not own it changes nothing.
func (d *Directory) UnlockTask(task, owner string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if holder, locked := d.owners[task]; locked && holder == owner {
		delete(d.owners, task)
		d.used[task] = time.Now()
	}
}

// LockedBy returns the owner of a task's lock.
func (d *Directory) LockedBy(task string) (owner string, locked bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	owner, locked = d.owners[task]
	return owner, locked
}

// WipeTask removes the folder of a task with its stores and its checkpoint. It fails with ErrInUse while one of the stores is open, in memory or on
// disk. The lock of the task stays with its owner.
func (d *Directory) WipeTask(task string) error {
	err := validTask(task)
	if err == nil {
		err = d.claim(task, false)
	}
	if err == nil {
		defer d.disclaim(task)
		err = d.removeTask(task)
	}
	if err != nil {
		return fmt.Errorf("wipe task %s: %w", task, err)
	}
	return nil
}

// CleanObsolete removes the folders of tasks that nobody has locked, that have no open store and that have not been used for a time, and returns
// their ids. Now is the time to judge by. What fails is left for the next time. Nothing but the folders of tasks is touched.
func (d *Directory) CleanObsolete(olderThan time.Duration, now time.Time) ([]string, error) {
	return d.clean(true, func(task string) (bool, error) {
		used, err := d.lastUse(task)
		return err == nil && now.Sub(used) > olderThan, err
	})
}

// Clean removes the folders of all tasks, locked or not. It is for an application that is not running, and fails if a store is open. The
// identity of the directory stays.
func (d *Directory) Clean() error {
	d.mu.Lock()
	n := len(d.open)
	d.mu.Unlock()
	if n > 0 {
		return fmt.Errorf("clean state directory %s: %d stores are still open", d.path, n)
	}
	_, err := d.clean(false, func(string) (bool, error) { return true, nil })
	return err
}

// clean removes the folders of the tasks that qualify while nobody can open their stores.
func (d *Directory) clean(unlocked bool, qualifies func(task string) (bool, error)) (removed []string, err error) {
	tasks, err := d.taskFolders()
	if err != nil {
		return nil, fmt.Errorf("clean state directory %s: %w", d.path, err)
	}
	var errs []error
	for _, task := range tasks {
		if err := d.claim(task, unlocked); err != nil {
			if !unlocked || !errors.Is(err, ErrInUse) {
				errs = append(errs, fmt.Errorf("task %s: %w", task, err))
			}
			continue
		}
		ok, err := qualifies(task)
		if ok {
			err = d.removeTask(task)
		}
		d.disclaim(task)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("task %s: %w", task, err))
		case ok:
			removed = append(removed, task)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return removed, fmt.Errorf("clean state directory %s: %w", d.path, err)
	}
	return removed, nil
}

// claim keeps everybody else from a task's folder, which is about to be removed.
func (d *Directory) claim(task string, unlocked bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lock == nil {
		return fmt.Errorf("state directory %s: %w", d.path, ErrClosed)
	}
	_, locked := d.owners[task]
	if d.removing[task] || unlocked && locked {
		return ErrInUse
	}
	for key := range d.open {
		if key.task == task {
			return fmt.Errorf("store %s: %w", key.name, ErrInUse)
		}
	}
	d.removing[task] = true
	return nil
}

func (d *Directory) disclaim(task string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.removing, task)
}

// removeTask deletes a task's folder. The checkpoint goes first, and for good: a crash in between must not leave it with a part of the stores it
// speaks of.
func (d *Directory) removeTask(task string) error {
	if err := d.DeleteCheckpoint(task); err != nil {
		return err
	}
	if err := d.fs.RemoveAll(d.file(task)); err != nil {
		return fmt.Errorf("remove folder: %w", err)
	}
	return d.syncFolder(d.path)
}

// lastUse returns when something below a task's folder was modified, or this process used the task.
func (d *Directory) lastUse(task string) (time.Time, error) {
	d.mu.Lock()
	used := d.used[task]
	d.mu.Unlock()
	var visit func(path string) error
	visit = func(path string) error {
		info, err := d.fs.Stat(path)
		if err != nil {
			return fmt.Errorf("look at %s: %w", path, err)
		}
		if info.ModTime().After(used) {
			used = info.ModTime()
		}
		if !info.IsDir() {
			return nil
		}
		names, err := d.fs.List(path)
		if err != nil {
			return fmt.Errorf("list folder: %w", err)
		}
		for _, name := range names {
			if err := visit(d.fs.PathJoin(path, name)); err != nil {
				return err
			}
		}
		return nil
	}
	err := visit(d.file(task))
	return used, err
}
