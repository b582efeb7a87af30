package runtime

import (
	"context"
	"sync"
	"time"
)

// waker ends the present wait of its owner from any goroutine. A wake that comes while the owner does not wait ends the next
// wait at once, so that none is lost.
type waker struct {
	mu      sync.Mutex
	cancel  context.CancelFunc
	pending bool
}

// begin starts a wait of at most the given time; 0 has no end.
func (w *waker) begin(ctx context.Context, atMost time.Duration) context.Context {
	var cancel context.CancelFunc
	if atMost > 0 {
		ctx, cancel = context.WithTimeout(ctx, atMost)
	} else {
		ctx, cancel = context.WithCancel(ctx)
	}
	w.mu.Lock()
	w.cancel = cancel
	woken := w.pending
	w.pending = false
	w.mu.Unlock()
	if woken {
		cancel()
	}
	return ctx
}

// end ends the wait.
func (w *waker) end() {
	w.mu.Lock()
	cancel := w.cancel
	w.cancel = nil
	w.mu.Unlock()
	cancel()
}

func (w *waker) wake() {
	w.mu.Lock()
	cancel := w.cancel
	w.pending = cancel == nil
	w.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}
