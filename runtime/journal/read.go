package journal

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Header is the first line of a session log.
type Header struct {
	At      time.Time       // when the log began
	Dropped uint64          // lines behind the header that were given up for memory
	Session json.RawMessage // what was passed to NewLog; nil if it could not be encoded
}

// Reader takes in what a session log holds, in its order.
type Reader struct {
	Event    func(Event) error
	Snapshot func(at time.Time, snapshot json.RawMessage, line Place) error // not of those that could not be encoded
}

// Place is where a line of a session log is.
type Place struct {
	Line   int // counted from 1
	Offset int64
	Size   int // in bytes
}

// anyLine is what is looked at to tell lines apart.
type anyLine struct {
	Type string `json:"type"`
}

// Read reads a session log. Lines of types that it does not know are left out, and so is a last line without an end, for whoever
// wrote it may have been killed. Its errors name the line.
func Read(log io.Reader, to Reader) (Header, error) {
	var header Header
	in := bufio.NewReaderSize(log, 1<<16)
	var at Place
	for number := 1; ; number++ {
		line, err := in.ReadBytes('\n')
		switch {
		case errors.Is(err, io.EOF) && number > 1:
			return header, nil
		case errors.Is(err, io.EOF):
			return header, errors.New("line 1: it is not the header of a session log")
		case err != nil:
			return header, fmt.Errorf("line %d: %w", number, err)
		}
		at.Line, at.Size = number, len(line)
		if number == 1 {
			header, err = readHeader(line)
		} else {
			err = to.line(line, at)
		}
		at.Offset += int64(at.Size)
		if err != nil {
			return header, fmt.Errorf("line %d: %w", number, err)
		}
	}
}

func readHeader(line []byte) (Header, error) {
	var h headerLine
	switch err := json.Unmarshal(line, &h); {
	case err != nil || h.Type != "header":
		return Header{}, errors.New("it is not the header of a session log")
	case h.Schema != Schema:
		return Header{}, fmt.Errorf("it has schema %d; valid: %d", h.Schema, Schema)
	}
	return Header{h.At, h.Dropped, h.Session}, nil
}

// ReadSnapshot reads the snapshot of one line once more.
func ReadSnapshot(log io.ReaderAt, at Place) (json.RawMessage, error) {
	line := make([]byte, at.Size)
	if _, err := log.ReadAt(line, at.Offset); err != nil {
		return nil, err
	}
	var s snapshotLine
	err := json.Unmarshal(line, &s)
	return s.Snapshot, err
}

func (r Reader) line(line []byte, at Place) error {
	line = bytes.TrimSpace(line)
	var kind anyLine
	if err := json.Unmarshal(line, &kind); err != nil {
		return err
	}
	switch kind.Type {
	case "event":
		var e Event
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("event: %w", err)
		}
		return r.Event(e)
	case "snapshot":
		var s snapshotLine
		if err := json.Unmarshal(line, &s); err != nil {
			return fmt.Errorf("snapshot: %w", err)
		}
		if s.Snapshot == nil {
			return nil
		}
		return r.Snapshot(s.At, s.Snapshot, at)
	}
	return nil
}
