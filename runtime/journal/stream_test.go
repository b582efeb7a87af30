package journal

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// disk is a file that fills up or hangs.
type disk struct {
	mu     sync.Mutex
	data   []byte
	free   int           // bytes that it still takes
	hang   chan struct{} // writes wait for it, if not nil
	closed bool
}

func (d *disk) Write(b []byte) (int, error) {
	if d.hang != nil {
		<-d.hang
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	n := min(d.free, len(b))
	d.free -= n
	d.data = append(d.data, b[:n]...)
	if n < len(b) {
		return n, syscall.ENOSPC
	}
	return n, nil
}

func (d *disk) Truncate(size int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.data = d.data[:size]
	return nil
}

func (d *disk) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	return errors.New("close")
}

func TestDiskFull(t *testing.T) {
	for _, free := range []int{0, 10, 1000, 150_000} {
		synctest.Test(t, func(t *testing.T) {
			l := NewLog("session", 1<<30)
			d := &disk{free: free}
			if err := l.streamTo(d); err != nil {
				t.Fatal(err)
			}
			for range 2000 {
				l.Event(Event{Kind: KindLog, Text: "text"})
			}
			time.Sleep(2 * time.Second)
			if err := l.StreamErr(); !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("StreamErr = %v", err)
			}
			if !d.closed {
				t.Error("the file is still open")
			}
			if n := len(d.data); n > free || n > 0 && d.data[n-1] != '\n' {
				t.Errorf("%d of %d bytes are in the file, which ends in %q", n, free, d.data[max(0, n-10):])
			}
			if free == 150_000 && bytes.Count(d.data, []byte("\n")) < 100 {
				t.Errorf("%d bytes were saved of %d", len(d.data), free)
			}
			l.Event(Event{Kind: KindLog})
			if err := l.Close(); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "stream session log") {
				t.Errorf("Close = %v", err)
			}
			if l.stream.pending != nil {
				t.Error("lines are kept for a stream that has ended")
			}
		})
	}
}

// Emit must not wait for a disk that hangs, and the memory for what it does not take is bounded.
func TestDiskHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLog("session", 1<<20)
		j := New(16)
		j.Attach(l)
		d := &disk{free: 1 << 30, hang: make(chan struct{})}
		if err := l.streamTo(d); err != nil {
			t.Fatal(err)
		}
		j.Emit(Event{Kind: KindLog})
		l.stream.limit = 100 << 10
		time.Sleep(2 * time.Second)
		before := time.Now()
		big := strings.Repeat("x", 1<<10)
		for range 200 {
			j.Emit(Event{Kind: KindLog, Text: big})
		}
		if d := time.Since(before); d != 0 {
			t.Errorf("Emit waited for %v", d)
		}
		if err := l.StreamErr(); err == nil || !strings.Contains(err.Error(), "KiB wait") {
			t.Errorf("StreamErr = %v", err)
		}
		close(d.hang)
		if err := l.Close(); err == nil || !strings.Contains(err.Error(), "KiB wait") {
			t.Errorf("Close = %v", err)
		}
	})
}

func TestCloseErrorOfTheFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLog("session", 1<<20)
		d := &disk{free: 1 << 20}
		if err := l.streamTo(d); err != nil {
			t.Fatal(err)
		}
		if err := l.streamTo(&disk{}); err == nil {
			t.Error("it was streamed twice")
		}
		if err := l.Close(); err == nil || !strings.Contains(err.Error(), "close") {
			t.Errorf("Close = %v", err)
		}
		if !bytes.HasPrefix(d.data, []byte(`{"type":"header","schema":1,`)) {
			t.Errorf("the file holds %q", d.data)
		}
	})
}
