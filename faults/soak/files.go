package soak

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
)

// CheckFiles finds out whether reports and session log can be written where the configuration wants them. It is for the time
// before a run, which may take hours. It leaves no file behind.
func (c *Config) CheckFiles() error {
	return errors.Join(
		checkWritable("session.report", c.Session.Report),
		checkWritable("session.junit", c.Session.JUnit),
		checkWritable("session.file", c.Session.File),
	)
}

func checkWritable(key, path string) error {
	if path == "" {
		return nil
	}
	probe := func() (*os.File, error) { return os.OpenFile(path, os.O_WRONLY, 0) }
	info, err := os.Stat(path)
	switch {
	case err == nil && !info.Mode().IsRegular() && !info.IsDir():
		return nil // Opening a pipe would wait for its reader.
	case err != nil:
		probe = func() (*os.File, error) { return os.CreateTemp(filepath.Dir(path), ".eostop-*") }
	}
	file, err := probe()
	if err != nil {
		return Runf("%s: cannot write %s: %w; name a file in a folder that exists and is writable", key, path, bareCause(err))
	}
	if info == nil {
		err = os.Remove(file.Name())
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return Runf("%s: cannot write %s: %w", key, path, err)
	}
	return nil
}

func writeFile(path, what string, text []byte) error {
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return Runf("%s: cannot write %s: %w", what, path, bareCause(err))
	}
	return nil
}

// writeJSON writes a report as a JSON file. What it is is said where that goes wrong.
func writeJSON(path, what string, report any) error {
	text, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return writeFile(path, what, append(text, '\n'))
}

// OpenLog opens the log that the configuration names, for appending; without one what is logged is dropped. The function it
// returns closes the log.
func (c *Config) OpenLog() (*slog.Logger, func(), error) {
	if c.Session.LogFile == "" {
		return slog.New(slog.DiscardHandler), func() {}, nil
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Session.LogLevel)); err != nil {
		return nil, nil, Usagef("session.log_level: %w", err)
	}
	file, err := os.OpenFile(c.Session.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, Runf("session.log_file: cannot write %s: %w; name a file in a folder that exists and is writable",
			c.Session.LogFile, bareCause(err))
	}
	closeFile := func() {
		if err := file.Close(); err != nil {
			return // The log is a help for people; no result depends on its last line.
		}
	}
	return slog.New(slog.NewTextHandler(file, &slog.HandlerOptions{Level: level})), closeFile, nil
}
