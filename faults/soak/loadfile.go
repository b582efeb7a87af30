package soak

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// maxLineBytes is the length of the longest line that an input file may have. A broker takes records of a megabyte, unless it
// is configured otherwise.
const maxLineBytes = maxLoadValueBytes

// fileSource yields the lines of a file as records without keys, as kafka-console-producer does; for a program that works by
// key, with keys in turn. A line ends with LF or CRLF, of which nothing is part of the record; the last one may end with
// the file. The bytes are taken as they are.
type fileSource struct {
	keyed
	byKey  bool
	lines  *lineReader
	file   *os.File
	cancel func() bool
}

// openFileSource opens the input of a load. Reading from what is no file may take long; ctx ends it.
func openFileSource(ctx context.Context, cfg LoadConfig) (recordSource, error) {
	file, err := os.Open(cfg.Input)
	if err != nil {
		return nil, fmt.Errorf("input %s: %w", cfg.Input, bareCause(err))
	}
	s := &fileSource{lines: newLineReader(cfg.Input, file), file: file}
	program, _ := findBuiltin(cfg.Topology)
	if s.byKey = program.byKey; s.byKey {
		s.keyed = newKeyed(cfg, paddedKeys(cfg))
	} else {
		s.numbering = newNumbering(cfg)
	}
	// Its error does not matter, and close has none that matters either: nothing was written.
	s.cancel = context.AfterFunc(ctx, func() { _ = file.Close() })
	return s, nil
}

func (s *fileSource) fill(p *pendingRecord, now time.Time) error {
	line, err := s.lines.next()
	if err != nil {
		return err
	}
	p.value = append(p.value[:0], line...)
	if p.value == nil {
		p.value = []byte{} // an empty line is an empty value, not null
	}
	n := s.lines.number - 1
	if !s.byKey {
		p.set(s.spread(n), nil, now)
		return nil
	}
	key := int(n % int64(len(s.keySequence)))
	p.set(s.ofKey(key), s.key(key), now)
	return nil
}

func (s *fileSource) close() {
	if s.cancel() {
		_ = s.file.Close()
	}
}

// lineReader reads lines of a bounded length.
type lineReader struct {
	name   string
	number int64 // of the line that was read last, from 1
	in     *bufio.Reader
	long   []byte // a line that does not fit into the reader's buffer
}

func newLineReader(name string, in io.Reader) *lineReader {
	return &lineReader{name: name, in: bufio.NewReaderSize(in, 64<<10)}
}

// next returns the next line without its end, or io.EOF. The slice is valid until the next call.
func (r *lineReader) next() ([]byte, error) {
	line, err := r.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		r.long = r.long[:0]
		for errors.Is(err, bufio.ErrBufferFull) && len(r.long) <= maxLineBytes {
			r.long = append(r.long, line...)
			line, err = r.in.ReadSlice('\n')
		}
		r.long = append(r.long, line...)
		line = r.long
	}
	switch {
	case errors.Is(err, io.EOF) && len(line) > 0, err == nil, errors.Is(err, bufio.ErrBufferFull):
	case errors.Is(err, io.EOF):
		return nil, io.EOF
	default:
		return nil, fmt.Errorf("input %s: %w", r.name, bareCause(err))
	}
	r.number++
	line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
	if len(line) > maxLineBytes {
		return nil, fmt.Errorf("input %s: line %d is longer than %s, which is too much for a record", r.name, r.number, Size(maxLineBytes))
	}
	return line, nil
}

// checkInput says what is wrong with an input file before anything is started. What is no file, like a pipe, is taken as it comes.
func checkInput(path string) error {
	if path == "" {
		return nil
	}
	problem := func(format string, args ...any) error {
		return &UsageError{&KeyError{Key: "load.input", Problem: fmt.Sprintf(format, args...)}}
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return problem("there is no file %s; name an existing one or leave it out", path)
	case err != nil:
		return problem("%s: %v", path, bareCause(err))
	case info.IsDir():
		return problem("%s is a folder; name a text file", path)
	case !info.Mode().IsRegular():
		return nil
	}
	file, err := os.Open(path)
	if err != nil {
		return problem("%s: %v", path, bareCause(err))
	}
	defer func() { _ = file.Close() }() // nothing was written
	lines := newLineReader(path, file)
	for {
		switch _, err := lines.next(); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return problem("%v", err)
		}
	}
}
