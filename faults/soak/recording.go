package soak

import (
	"encoding/json"
	"os"
	"time"

	"eostop/runtime/journal"
)

// Recording is a session log that was read back.
type Recording struct {
	// Snapshots are in the order of their time, at least one. The events of each are those that were known then.
	Snapshots []*Snapshot
	// Dropped is how many lines of the beginning were given up before the log was written.
	Dropped uint64
}

// ReadRecording reads a session log, as --session or an export writes it. Its error is a UsageError that names file and line.
func ReadRecording(path string) (*Recording, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, Usagef("session log: %w", err)
	}
	defer file.Close()
	r := &Recording{}
	var events []journal.Event
	header, err := journal.Read(file, journal.Reader{
		Event: func(e journal.Event) error {
			events = append(events, e)
			return nil
		},
		Snapshot: func(_ time.Time, text json.RawMessage) error {
			snap := new(Snapshot)
			if err := json.Unmarshal(text, snap); err != nil {
				return err
			}
			if n := len(r.Snapshots); n > 0 && !snap.At.After(r.Snapshots[n-1].At) {
				return nil // the last picture is written once more at the end
			}
			// What is appended later does not touch these.
			snap.Events = events[max(0, len(events)-journalEvents):len(events):len(events)]
			r.Snapshots = append(r.Snapshots, snap)
			return nil
		},
	})
	if err != nil {
		return nil, Usagef("session log %s: %w", path, err)
	}
	if len(r.Snapshots) == 0 {
		return nil, Usagef("session log %s holds no pictures to show; record with session.snapshot_interval above 0s", path)
	}
	r.Dropped = header.Dropped
	return r, nil
}

// Length is the time from the first picture to the last.
func (r *Recording) Length() time.Duration {
	return r.Snapshots[len(r.Snapshots)-1].At.Sub(r.Snapshots[0].At)
}

// FirstFinding is when the recording first shows that the run has failed, counted from its first picture; false if it never does.
func (r *Recording) FirstFinding() (time.Duration, bool) {
	for _, s := range r.Snapshots {
		if s.Found != nil {
			return s.At.Sub(r.Snapshots[0].At), true
		}
	}
	return 0, false
}
