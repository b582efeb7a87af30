package runtime

import (
	"errors"
	"reflect"
)

// pathsOf takes a joined error apart: each path leads from the whole to one of the errors that were joined, through everything that
// wraps it. An error in which nothing is joined is its own only path; where a format has several %w, they speak of one error.
func pathsOf(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok && reflect.TypeOf(err) == joinedType {
		var paths []error
		for _, one := range joined.Unwrap() {
			paths = append(paths, pathsOf(one)...)
		}
		return paths
	}
	below := errors.Unwrap(err)
	if below == nil {
		return []error{err}
	}
	paths := pathsOf(below)
	if len(paths) == 1 {
		return []error{err}
	}
	for i, path := range paths {
		paths[i] = &link{err, path}
	}
	return paths
}

// joinedType is the type of what errors.Join returns.
var joinedType = reflect.TypeOf(errors.Join(errors.New("")))

// link is an error on the path to one of several joined ones. It stands for its node alone, without what else that wraps.
type link struct {
	node  error
	below error
}

func (l *link) Error() string { return l.node.Error() }
func (l *link) Unwrap() error { return l.below }

// Is implements what errors.Is looks for.
func (l *link) Is(target error) bool {
	if reflect.TypeOf(target).Comparable() && l.node == target {
		return true
	}
	is, ok := l.node.(interface{ Is(error) bool })
	return ok && is.Is(target)
}

// As implements what errors.As looks for.
func (l *link) As(target any) bool {
	into := reflect.ValueOf(target).Elem()
	if reflect.TypeOf(l.node).AssignableTo(into.Type()) {
		into.Set(reflect.ValueOf(l.node))
		return true
	}
	as, ok := l.node.(interface{ As(any) bool })
	return ok && as.As(target)
}
