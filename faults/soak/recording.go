package soak

import (
	"encoding/json"
	"io"
	"os"
	"time"

	"eostop/runtime/journal"
)

// picturesKept bounds how many pictures of a recording are kept decoded, of about 50 kB each: those that were read last.
const picturesKept = 2500

// Recording is a session log that can be read at any of its times. Its pictures stay in the file, for one of a day holds gigabytes of
// them. It belongs to one goroutine.
type Recording struct {
	path     string
	file     *os.File
	copied   bool            // the file is a copy, for the log comes out of a pipe
	pictures []placed        // in the order of their time, at least one
	events   []journal.Event // of all the log
	found    int             // index of the first picture which shows that the run has failed; negative = none does
	kept     map[int]*Snapshot
	order    []int // of kept, oldest first
}

// placed is a snapshot in the log.
type placed struct {
	at     time.Time
	line   journal.Place
	events int // that were known then
}

// outline is what is read of every snapshot.
type outline struct {
	At    time.Time `json:"at"`
	Found *struct{} `json:"found"`
}

// OpenRecording opens a session log, as --session or an export writes it. Its error is a UsageError that names file and line.
func OpenRecording(path string) (*Recording, error) {
	r := &Recording{path: path, found: -1, kept: make(map[int]*Snapshot)}
	if err := r.open(); err != nil {
		return nil, Usagef("session log: %w", err)
	}
	if err := r.index(); err != nil {
		r.Close()
		return nil, Usagef("session log %s: %w", path, err)
	}
	if len(r.pictures) == 0 {
		r.Close()
		return nil, Usagef("session log %s holds no pictures to show; record with session.snapshot_interval above 0s", path)
	}
	return r, nil
}

// open opens the log, or a copy of one that cannot be read twice.
func (r *Recording) open() error {
	log, err := os.Open(r.path)
	if err != nil {
		return err
	}
	r.file = log
	if info, err := log.Stat(); err != nil || info.Mode().IsRegular() || info.IsDir() {
		return err
	}
	defer log.Close()
	if r.file, err = os.CreateTemp("", "eostop-replay-*.jsonl"); err != nil {
		return err
	}
	r.copied = true
	if _, err = io.Copy(r.file, log); err == nil {
		_, err = r.file.Seek(0, io.SeekStart)
	}
	if err != nil {
		r.Close()
	}
	return err
}

// index finds the pictures. Its errors name the line.
func (r *Recording) index() error {
	_, err := journal.Read(r.file, journal.Reader{
		Event: func(e journal.Event) error {
			r.events = append(r.events, e)
			return nil
		},
		Snapshot: func(_ time.Time, text json.RawMessage, line journal.Place) error {
			var o outline
			if err := json.Unmarshal(text, &o); err != nil {
				return err
			}
			n := len(r.pictures)
			if n > 0 && !o.At.After(r.pictures[n-1].at) {
				return nil // the last picture is written once more at the end
			}
			if o.Found != nil && r.found < 0 {
				r.found = n
			}
			r.pictures = append(r.pictures, placed{o.At, line, len(r.events)})
			return nil
		},
	})
	return err
}

// Close closes the log.
func (r *Recording) Close() {
	_ = r.file.Close() // nothing was written that is needed
	if r.copied {
		_ = os.Remove(r.file.Name())
	}
}

// Len is the number of pictures, at least 1.
func (r *Recording) Len() int { return len(r.pictures) }

// At is the time of a picture.
func (r *Recording) At(i int) time.Time { return r.pictures[i].at }

// FirstFinding is the first picture which shows that the run has failed; false if none does.
func (r *Recording) FirstFinding() (int, bool) { return r.found, r.found >= 0 }

// Snapshot reads a picture. Its events are those that were known then.
func (r *Recording) Snapshot(i int) (*Snapshot, error) {
	if s := r.kept[i]; s != nil {
		return s, nil
	}
	p := &r.pictures[i]
	s := new(Snapshot)
	text, err := journal.ReadSnapshot(r.file, p.line)
	if err == nil {
		err = json.Unmarshal(text, s)
	}
	if err != nil {
		return nil, Usagef("session log %s: line %d: snapshot: %w", r.path, p.line.Line, err)
	}
	s.Events = r.events[max(0, p.events-journalEvents):p.events:p.events]
	if len(r.order) == picturesKept {
		delete(r.kept, r.order[0])
		r.order = r.order[1:]
	}
	r.kept[i], r.order = s, append(r.order, i)
	return s, nil
}
