package ui

import (
	"io"
	"os"
)

// synchronized brackets whatever is large enough to be a frame, so that terminals show it as a whole. bubbletea writes
// a frame with one Write. The embedded file keeps it a terminal for those who ask for its size.
type synchronized struct {
	*os.File
	buf []byte
}

// frameSize is the smallest write that is taken for a frame.
const frameSize = 64

func terminal(f *os.File, synchronize bool) io.Writer {
	if !synchronize {
		return f
	}
	return &synchronized{File: f}
}

// Write is called with bubbletea's renderer locked.
func (s *synchronized) Write(p []byte) (int, error) {
	if len(p) < frameSize {
		return s.File.Write(p)
	}
	s.buf = append(append(append(s.buf[:0], "\x1b[?2026h"...), p...), "\x1b[?2026l"...)
	if _, err := s.File.Write(s.buf); err != nil {
		return 0, err
	}
	return len(p), nil
}

// WriteString would otherwise be the file's own.
func (s *synchronized) WriteString(text string) (int, error) { return s.Write([]byte(text)) }
