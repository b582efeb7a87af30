package state

import "sync"

// visit runs a call that only looks at the database, from a goroutine that does not own it. It does nothing once the database is broken or about to
// be closed.
func (e *engine) visit(call func()) {
	if !e.visitors.enter() {
		return
	}
	defer e.visitors.exit()
	_ = e.fuse.guard("metrics", func() error {
		call()
		return nil
	})
}

// visitors counts who is inside, so that the database is not closed under them.
type visitors struct {
	mu      sync.Mutex
	inside  int
	leaving chan struct{} // nil until the database is to be closed; then closed once nobody is inside
}

func (v *visitors) enter() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.leaving != nil {
		return false
	}
	v.inside++
	return true
}

func (v *visitors) exit() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.inside--
	if v.inside == 0 && v.leaving != nil {
		close(v.leaving)
	}
}

// leave lets nobody in any more. The channel is closed when the last visitor is out.
func (v *visitors) leave() <-chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.leaving == nil {
		v.leaving = make(chan struct{})
		if v.inside == 0 {
			close(v.leaving)
		}
	}
	return v.leaving
}
