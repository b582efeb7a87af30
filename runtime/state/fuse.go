package state

import (
	"fmt"
	goruntime "runtime"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// fuse remembers the first failure of a database. It is touched from the owner's goroutine and from Pebble's.
type fuse struct {
	once     sync.Once
	cause    atomic.Pointer[error]
	blown    chan struct{} // closed with the first failure
	serving  atomic.Bool   // set once the database is open
	released chan struct{} // closed when the owner has given the database up

	background atomic.Int64 // failures of flushes and compactions
}

func newFuse() *fuse {
	return &fuse{blown: make(chan struct{}), released: make(chan struct{})}
}

// blow marks the database as broken. Only the first cause is kept: the others follow from it.
func (f *fuse) blow(cause error) {
	f.once.Do(func() {
		f.cause.Store(&cause)
		close(f.blown)
	})
}

// err returns nil, or the failure wrapped together with ErrBroken.
func (f *fuse) err() error {
	if cause := f.cause.Load(); cause != nil {
		return fmt.Errorf("%w: %w", ErrBroken, *cause)
	}
	return nil
}

// guard runs a call into Pebble. What Pebble panics with becomes the failure of the database.
func (f *fuse) guard(what string, call func() error) (err error) {
	if err := f.err(); err != nil {
		return err
	}
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(fatal); !ok { // a Fatalf has left its own cause already
				f.blow(fmt.Errorf("%s: panic: %v", what, r))
			}
			err = f.err()
		}
	}()
	if err := call(); err != nil {
		f.blow(fmt.Errorf("%s: %w", what, err))
	}
	return f.err()
}

// fatalError is what Pebble calls fatal: its message, and the error in it if there is one.
type fatalError struct {
	text string
	err  error
}

func (e fatalError) Error() string { return e.text }

func (e fatalError) Unwrap() error { return e.err }

// fatal is what Fatalf panics with when a call of ours is on the stack.
type fatal struct{}

// Infof implements pebble.Logger. Pebble's running commentary is of no use here.
func (f *fuse) Infof(string, ...any) {}

// Errorf implements pebble.Logger. Errors that matter arrive as events or return values as well.
func (f *fuse) Errorf(string, ...any) {}

// Fatalf implements pebble.Logger. It must not end the process, and it must not let Pebble run on over a violated invariant; the
// package documentation says what it does instead.
func (f *fuse) Fatalf(format string, args ...any) {
	cause := fatalError{text: "pebble: " + fmt.Sprintf(format, args...)}
	for _, arg := range args {
		if err, ok := arg.(error); ok {
			cause.err = err
		}
	}
	f.blow(cause)
	if cause.err != nil {
		return
	}
	if calledByUs() {
		panic(fatal{})
	}
	goruntime.Goexit()
}

// calledByUs tells whether the current goroutine is inside guard. Pebble's own goroutines never are.
func calledByUs() bool {
	pcs := make([]uintptr, 512)
	frames := goruntime.CallersFrames(pcs[:goruntime.Callers(2, pcs)])
	for {
		frame, more := frames.Next()
		if strings.HasSuffix(frame.Function, "/state.(*fuse).guard") {
			return true
		}
		if !more {
			return false
		}
	}
}

// listen returns the events that mean a failure. Pebble calls them with its own locks held, so they do nothing but set flags.
func (f *fuse) listen(compacted chan<- struct{}) *pebble.EventListener {
	return &pebble.EventListener{
		BackgroundError: func(err error) {
			f.background.Add(1)
			f.blow(fmt.Errorf("pebble: background error: %w", err))
		},
		DataCorruption: func(info pebble.DataCorruptionInfo) { f.blow(fmt.Errorf("pebble: %s", info)) },
		CompactionEnd: func(pebble.CompactionInfo) {
			select {
			case compacted <- struct{}{}:
			default:
			}
		},
	}
}
