package journal

import (
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	// streamInterval is how often lines are written; so much is lost at most when the process is killed.
	streamInterval = time.Second
	// streamBacklog bounds the memory that a disk which does not take the lines can cost, besides what was
	// there when the stream began.
	streamBacklog = 64 << 20
)

// file is what a stream needs of an os.File.
type file interface {
	io.WriteCloser
	Truncate(size int64) error
}

// stream writes lines to a file from its own goroutine.
type stream struct {
	stop chan struct{}
	done chan struct{}

	mu      sync.Mutex // held for appends and copies only
	pending [][]byte
	backlog int // bytes of pending and of what is being written
	limit   int // of backlog
	ending  bool
	err     error // why the stream ended early
}

func newStream(f file, lines [][]byte) *stream {
	s := &stream{stop: make(chan struct{}), done: make(chan struct{}), pending: lines}
	for _, line := range lines {
		s.backlog += len(line)
	}
	s.limit = s.backlog + streamBacklog
	go s.run(f)
	return s
}

func (s *stream) add(line []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil || s.ending {
		return
	}
	if s.backlog+len(line) > s.limit {
		s.fail(fmt.Errorf("the file does not take the lines: %d KiB wait", s.backlog>>10))
		return
	}
	s.pending = append(s.pending, line)
	s.backlog += len(line)
}

// fail ends the stream early. The mutex is held.
func (s *stream) fail(err error) {
	if s.err == nil {
		s.err = fmt.Errorf("stream session log: %w", err)
		s.pending = nil
	}
}

func (s *stream) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *stream) close() error {
	s.mu.Lock()
	if !s.ending {
		s.ending = true
		close(s.stop)
	}
	s.mu.Unlock()
	<-s.done
	return s.failed()
}

func (s *stream) run(f file) {
	defer close(s.done)
	tick := time.NewTicker(streamInterval)
	defer tick.Stop()
	w := lineWriter{f: f}
	for more := true; more; {
		select {
		case <-tick.C:
		case <-s.stop:
			more = false
		}
		if !s.write(&w) {
			break
		}
	}
	if err := f.Close(); err != nil {
		s.mu.Lock()
		s.fail(err)
		s.mu.Unlock()
	}
}

// write writes what is pending and reports whether the stream goes on.
func (s *stream) write(w *lineWriter) bool {
	s.mu.Lock()
	lines := s.pending
	s.pending = nil
	s.mu.Unlock()

	err := w.write(lines)

	s.mu.Lock()
	defer s.mu.Unlock()
	for _, line := range lines {
		s.backlog -= len(line)
	}
	if err != nil {
		s.fail(err)
	}
	return s.err == nil
}

// lineWriter writes lines in large pieces and, where that fails, leaves whole lines in the file.
type lineWriter struct {
	f       file
	buf     []byte
	written int64 // length of the file, whole lines
}

func (w *lineWriter) write(lines [][]byte) error {
	const piece = 64 << 10
	for i, line := range lines {
		w.buf = append(w.buf, line...)
		if len(w.buf) < piece && i < len(lines)-1 {
			continue
		}
		n, err := w.f.Write(w.buf)
		if err != nil {
			for n > 0 && w.buf[n-1] != '\n' {
				n--
			}
			// A pipe cannot be cut, and then a torn last line is what there is.
			_ = w.f.Truncate(w.written + int64(n))
			return err
		}
		w.written += int64(n)
		w.buf = w.buf[:0]
	}
	return nil
}
