package state

import (
	"errors"
	"fmt"
)

var (
	// ErrBroken is wrapped by every error that comes from a damaged store or from Pebble giving up. The store has to be given up
	// with Close, Abandon or Wipe and restored from its changelog. It is wrapped by a *CheckpointError as well: then the task has to be wiped.
	ErrBroken = errors.New("state store is broken")
	// ErrClosed is wrapped by the error of every call to a store or directory that was closed before.
	ErrClosed = errors.New("closed")
	// ErrInUse is wrapped by the error of OpenStore when the store is already open in this process: its former owner has to close it first.
	ErrInUse = errors.New("state store is in use")
)

// LockedError says that a state directory is held by somebody else.
type LockedError struct {
	Path string // the state directory
	Err  error  // what the file system said
}

func (e *LockedError) Error() string {
	return fmt.Sprintf("state directory %s is in use by another process or by another instance of this one (%v): stop it, or give each instance a state directory of its own",
		e.Path, e.Err)
}

// Unwrap returns the file system's error.
func (e *LockedError) Unwrap() error { return e.Err }

// ClusterMismatchError says that a state directory was filled from another cluster: its stores would be taken for state that they are not.
type ClusterMismatchError struct {
	Path   string // the state directory
	Stored string // id of the cluster that the directory belongs to
	Actual string // id of the cluster that the brokers report
}

func (e *ClusterMismatchError) Error() string {
	return fmt.Sprintf("state directory %s belongs to cluster %q, but the brokers are cluster %q: choose another state directory, or remove this one if that cluster is gone",
		e.Path, e.Stored, e.Actual)
}

// ApplicationMismatchError says that a state directory was filled by another application: its stores would be taken for state that they are not.
type ApplicationMismatchError struct {
	Path   string // the state directory
	Stored string // id of the application that the directory belongs to
	Actual string // id of the application that was to use it
}

func (e *ApplicationMismatchError) Error() string {
	return fmt.Sprintf("state directory %s belongs to application %q, not to %q: choose another state directory",
		e.Path, e.Stored, e.Actual)
}

// CheckpointError says that a checkpoint file cannot be understood. It wraps ErrBroken: the stores of the task cannot be trusted then.
type CheckpointError struct {
	Path    string
	Problem string
}

func (e *CheckpointError) Error() string {
	return fmt.Sprintf("checkpoint file %s is damaged: %s", e.Path, e.Problem)
}

// Unwrap returns ErrBroken.
func (e *CheckpointError) Unwrap() error { return ErrBroken }
