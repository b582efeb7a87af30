package journal

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// Schema is the version of the session log's format, which the package documentation describes.
const Schema = 1

// Log is the session log: JSON lines, the newest of them in memory. All methods are safe from any goroutine;
// Event and Snapshot never wait for a file.
type Log struct {
	created time.Time
	session json.RawMessage // of the header; nil if it could not be encoded
	failure string          // why it could not

	mu      sync.Mutex // held for appends and copies only
	budget  int
	lines   [][]byte // each with its line break; immutable, so that the stream and exports can share them
	head    int      // index of the oldest line that is still kept
	size    int      // bytes of the kept lines
	dropped uint64   // lines that were given up for the budget
	stream  *stream  // nil until Stream
}

// NewLog returns a log whose header line holds header, which is encoded as JSON now. The log keeps the newest
// lines, at most budget bytes of them; older lines are dropped and counted. The header is always kept and not
// counted.
func NewLog(header any, budget int) *Log {
	l := &Log{created: time.Now(), budget: budget}
	session, err := encode(header)
	if err != nil {
		l.failure = err.Error()
	} else {
		l.session = bytes.TrimSuffix(session, []byte("\n"))
	}
	return l
}

// Event appends an event line. A Journal does that for each event once the log is attached to it.
func (l *Log) Event(e Event) {
	line, err := encode(e.line("event"))
	if err != nil {
		// Only a level out of range or a year beyond 9999 can be the cause: the rest of the event is still
		// worth having.
		e.Level, e.At = Error, l.created
		e.Error += " [" + err.Error() + "]"
		if line, err = encode(e.line("event")); err != nil {
			return
		}
	}
	l.append(line)
}

// snapshotLine is the JSON form of a snapshot.
type snapshotLine struct {
	Type     string          `json:"type"`
	At       time.Time       `json:"at"`
	Error    string          `json:"error,omitempty"`
	Snapshot json.RawMessage `json:"snapshot,omitempty"`
}

// Snapshot appends a snapshot line. v is encoded as JSON before Snapshot returns, in the caller's goroutine.
func (l *Log) Snapshot(v any) {
	s := snapshotLine{Type: "snapshot", At: time.Now()}
	var err error
	if s.Snapshot, err = encode(v); err != nil {
		s.Error = err.Error()
	}
	if line, err := encode(s); err == nil {
		l.append(line)
	}
}

// headerLine is the JSON form of the header.
type headerLine struct {
	Type    string          `json:"type"`
	Schema  int             `json:"schema"`
	At      time.Time       `json:"at"`
	Dropped uint64          `json:"dropped"`
	Error   string          `json:"error,omitempty"`
	Session json.RawMessage `json:"session,omitempty"`
}

func (l *Log) header(dropped uint64) ([]byte, error) {
	return encode(headerLine{Type: "header", Schema: Schema, At: l.created, Dropped: dropped, Error: l.failure, Session: l.session})
}

func (l *Log) append(line []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stream != nil {
		l.stream.add(line)
	}
	l.lines = append(l.lines, line)
	l.size += len(line)
	for l.size > l.budget {
		l.size -= len(l.lines[l.head])
		l.lines[l.head] = nil
		l.head++
		l.dropped++
	}
	// Moving the rest down when half of the slice is dead costs less than one move per line.
	if l.head > len(l.lines)/2 {
		l.lines = slices.Delete(l.lines, 0, l.head)
		l.head = 0
	}
}

// Stream writes the log to the file at path from now on: the header, the lines in memory and every further
// line. An existing file is replaced. The file has mode 0600 and is written by its own goroutine, once a second
// and on Close, which must be called to end it. A file that cannot be opened is an error at once; a later one
// ends the stream, is returned by StreamErr and Close, and leaves whole lines in the file where the file system
// can do that. A log can be streamed once.
func (l *Log) Stream(path string) error {
	l.mu.Lock()
	started := l.stream != nil
	l.mu.Unlock()
	if started {
		return errors.New("stream session log: it is already streamed")
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("stream session log: %w", err)
	}
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		// A file that was there before keeps its mode otherwise.
		if err := f.Chmod(0o600); err != nil {
			return errors.Join(fmt.Errorf("stream session log: %w", err), f.Close())
		}
	}
	return l.streamTo(f)
}

// streamTo takes over f.
func (l *Log) streamTo(f file) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stream != nil {
		return errors.Join(errors.New("stream session log: it is already streamed"), f.Close())
	}
	header, err := l.header(l.dropped)
	if err != nil {
		return errors.Join(fmt.Errorf("stream session log: encode header: %w", err), f.Close())
	}
	l.stream = newStream(f, append([][]byte{header}, l.lines[l.head:]...))
	return nil
}

// StreamErr returns the error that ended the stream, or nil.
func (l *Log) StreamErr() error {
	l.mu.Lock()
	s := l.stream
	l.mu.Unlock()
	if s == nil {
		return nil
	}
	return s.failed()
}

// Close writes what is left to the stream, waits for that, and ends it. It returns the error that the stream
// met, if any; without a stream it does nothing. The lines in memory can still be exported. Close may be called
// more than once.
func (l *Log) Close() error {
	l.mu.Lock()
	s := l.stream
	l.mu.Unlock()
	if s == nil {
		return nil
	}
	return s.close()
}

// Export writes the header and the lines in memory to the file at path, with mode 0600. It returns how many
// lines the file has, header included, and how many were dropped before it for the memory budget, which the
// header tells too. The file appears whole or not at all; an existing one is replaced.
func (l *Log) Export(path string) (lines int, dropped uint64, err error) {
	l.mu.Lock()
	kept := slices.Clone(l.lines[l.head:])
	dropped = l.dropped
	l.mu.Unlock()

	header, err := l.header(dropped)
	if err != nil {
		return 0, 0, fmt.Errorf("export session log: encode header: %w", err)
	}
	// CreateTemp gives mode 0600.
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return 0, 0, fmt.Errorf("export session log: %w", err)
	}
	kept = slices.Insert(kept, 0, header)
	w := bufio.NewWriterSize(f, 64<<10)
	for _, line := range kept {
		// The writer remembers its first error for Flush.
		_, _ = w.Write(line)
	}
	err = errors.Join(w.Flush(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("export session log: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return len(kept), dropped, nil
}

// encode returns v as one line of JSON with its line break.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // arrows in texts stay legible
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.Clone(b.Bytes()), nil // without the slack of the buffer
}
