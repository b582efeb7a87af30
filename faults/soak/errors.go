package soak

import (
	"errors"
	"fmt"
)

// UsageError is a problem of the command line or of the configuration: nothing was started, and the same call fails
// again until the user changes it (exit code 2).
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap returns the problem itself.
func (e *UsageError) Unwrap() error { return e.Err }

// RunError says that the experiment could not run, for example because there is no broker or no disk (exit code 4). It
// says nothing about the application that was to be judged.
type RunError struct{ Err error }

func (e *RunError) Error() string { return e.Err.Error() }

// Unwrap returns the problem itself.
func (e *RunError) Unwrap() error { return e.Err }

// Usagef makes a UsageError; its verbs are those of fmt.Errorf.
func Usagef(format string, args ...any) error {
	return &UsageError{Err: fmt.Errorf(format, args...)}
}

// Runf makes a RunError; its verbs are those of fmt.Errorf.
func Runf(format string, args ...any) error {
	return &RunError{Err: fmt.Errorf(format, args...)}
}

// PanicError is a mistake of this program that was noticed as a panic. Nothing is known of the application that was to be judged.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// KeyError is a problem of one configuration key.
type KeyError struct {
	Key     string // path of the key, e.g. "runtime.threads"; an element of a list has its index, e.g. "faults.cuts[0]"
	Problem string // what is wrong, and what is valid
	Origin  string // where the value came from, e.g. "flag --threads"; empty when that is not known
}

func (e *KeyError) Error() string {
	if e.Origin == "" || e.Origin == originDefault {
		return e.Key + ": " + e.Problem
	}
	return fmt.Sprintf("%s: %s (from %s)", e.Key, e.Problem, e.Origin)
}

// Problems returns the single problems of an error made by errors.Join, in their order; of any other error, itself.
func Problems(err error) []error {
	if err == nil {
		return nil
	}
	// Only a wrapper that adds no text may be looked through, or what it says would be lost.
	if usage, ok := errors.AsType[*UsageError](err); ok && usage.Error() == err.Error() {
		err = usage.Err
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, Problems(e)...)
	}
	return all
}
