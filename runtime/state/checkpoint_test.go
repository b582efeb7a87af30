package state

import (
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

var (
	counts = TopicPartition{"app-counts-changelog", 1}
	sums   = TopicPartition{"app-sums-changelog", 1}
)

func wantCheckpoint(t *testing.T, d *Directory, want map[TopicPartition]int64) {
	t.Helper()
	got, err := d.ReadCheckpoint("0_1")
	must(t, err)
	if got == nil || !maps.Equal(got, want) {
		t.Fatalf("checkpoint %v, want %v", got, want)
	}
}

// Kafka: OffsetCheckpointTest.shouldWriteOffsets..., shouldDeleteExistingCheckpointWhenNoOffsets, shouldReadAndWriteSentinelOffset.
func TestCheckpoint(t *testing.T) {
	path := t.TempDir()
	d := openDisk(t, path, "")
	file := filepath.Join(path, "0_1", ".checkpoint")
	wantCheckpoint(t, d, nil)
	must(t, d.DeleteCheckpoint("0_1"))
	must(t, d.WriteCheckpoint("0_1", nil))
	if _, err := os.Stat(filepath.Join(path, "0_1")); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("an empty checkpoint made a folder: %v", err)
	}

	offsets := map[TopicPartition]int64{sums: OffsetUnknown, counts: 1 << 40, {"app-counts-changelog", 0}: 0}
	must(t, d.WriteCheckpoint("0_1", offsets))
	data, err := os.ReadFile(file)
	must(t, err)
	if want := "0\n3\napp-counts-changelog 0 0\napp-counts-changelog 1 1099511627776\napp-sums-changelog 1 -4\n"; string(data) != want {
		t.Fatalf("file %q, want %q", data, want)
	}
	wantCheckpoint(t, d, offsets)
	must(t, d.WriteCheckpoint("0_1", map[TopicPartition]int64{counts: 5}))
	wantCheckpoint(t, d, map[TopicPartition]int64{counts: 5})

	// Kafka: shouldThrowOnInvalidOffsetInWrite. What was there stays.
	for _, bad := range []map[TopicPartition]int64{
		{counts: -1},
		{counts: -5},
		{counts: 5, sums: -2},
		{{"", 0}: 1},
		{{"two words", 0}: 1},
		{{"line\nbreak", 0}: 1},
		{{"t", -1}: 1},
	} {
		if err := d.WriteCheckpoint("0_1", bad); err == nil || !strings.Contains(err.Error(), "0_1") {
			t.Errorf("WriteCheckpoint(%v): %v", bad, err)
		}
	}
	wantCheckpoint(t, d, map[TopicPartition]int64{counts: 5})
	for _, task := range []string{"", "..", "0_1/..", "x"} {
		_, read := d.ReadCheckpoint(task)
		for _, err := range []error{read, d.WriteCheckpoint(task, offsets), d.DeleteCheckpoint(task)} {
			if err == nil {
				t.Errorf("task %q was taken", task)
			}
		}
	}
	must(t, d.WriteCheckpoint("0_1", map[TopicPartition]int64{}))
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("the empty checkpoint is still there: %v", err)
	}
	must(t, d.Close())
}

func TestCheckpointPositions(t *testing.T) {
	for position, offset := range map[int64]int64{-1: OffsetUnknown, 1: 0, 100: 99} {
		if got := CheckpointOffset(position); got != offset {
			t.Errorf("CheckpointOffset(%d) = %d, want %d", position, got, offset)
		}
		if got := CheckpointPosition(offset); got != position {
			t.Errorf("CheckpointPosition(%d) = %d, want %d", offset, got, position)
		}
	}
	if got := CheckpointOffset(0); got != OffsetUnknown { // nothing was applied
		t.Errorf("CheckpointOffset(0) = %d", got)
	}
}

// Kafka: OffsetCheckpointTest, the cases of reading.
func TestParseCheckpoint(t *testing.T) {
	one := map[TopicPartition]int64{{"t", 0}: 5}
	for text, want := range map[string]map[TopicPartition]int64{
		"0\n0\n":                {},
		"0\n0":                  {},
		"0\n1\nt 0 5\n":         one,
		"0\n1\nt 0 5":           one,
		"0\r\n1\r\nt 0 5\r\n":   one,
		"0\n1\nt \t  0\v5 \n":   one,
		"0\n1\n t 0 5\n":        one,
		"0\n2\nt 0 5\nt 1 -4\n": {{"t", 0}: 5, {"t", 1}: OffsetUnknown},
		"0\n2\nt 0 5\nu 0 -1\n": one, // shouldSkipInvalidOffsetsDuringRead
		"0\n1\nt 0 -5\n":        {},
		"0\n1\nt 2147483647 9223372036854775807\n": {{"t", 1<<31 - 1}: 1<<63 - 1},
	} {
		if got, _, err := parseCheckpoint(text); err != nil || !maps.Equal(got, want) {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
	for text, problem := range map[string]string{
		"":                                "ends prematurely",
		"0\n":                             "ends prematurely",
		"0":                               "ends prematurely",
		"x\n0\n":                          `version "x"`,
		" 0\n0\n":                         `version " 0"`,
		"1\n0\n":                          "unknown version 1",
		"-1\n0\n":                         "unknown version -1",
		"99999999999\n0\n":                "version",
		"0\nx\n":                          "number of entries",
		"0\n\n":                           "number of entries",
		"0\n1\n":                          "expected 1 entries but found 0",
		"0\n0\nt 0 5\n":                   "expected 0 entries but found 1",
		"0\n2\nt 0 5\n":                   "expected 2 entries but found 1",
		"0\n2\nt 0 5\nt 0 6\n":            "expected 2 entries but found 1",
		"0\n-1\n":                         "expected -1 entries",
		"0\n1\nt 0\n":                     "malformed line \"t 0\"",
		"0\n1\nt 0 5 6\n":                 "malformed line",
		"0\n1\n\nt 0 5\n":                 "malformed line \"\"",
		"0\n1\nt 0 5\n\n":                 "malformed line \"\"",
		"0\n1\nt x 5\n":                   "malformed line",
		"0\n1\nt 0 x\n":                   "malformed line",
		"0\n1\nt -1 5\n":                  "malformed line",
		"0\n1\nt 2147483648 5\n":          "malformed line",
		"0\n1\nt 0 9223372036854775808\n": "malformed line",
	} {
		if got, _, err := parseCheckpoint(text); err == nil || !strings.Contains(err.Error(), problem) {
			t.Errorf("%q: %v, %v, want an error with %q", text, got, err, problem)
		}
	}
}

func TestDamagedCheckpoint(t *testing.T) {
	mem := vfs.NewMem()
	f := newFixture(t, mem)
	must(t, f.dir.WriteCheckpoint("0_1", map[TopicPartition]int64{counts: 1}))
	overwrite(t, mem, "app/i1/0_1/.checkpoint", "0\n2\nt 0 5\n")
	_, err := f.dir.ReadCheckpoint("0_1")
	damaged, ok := errors.AsType[*CheckpointError](err)
	if !ok || !errors.Is(err, ErrBroken) || !strings.Contains(err.Error(), damaged.Path) || !strings.Contains(err.Error(), "expected 2") {
		t.Fatalf("damaged checkpoint: %v", err)
	}
	var warnings []string
	f.config.Warn = func(text string) { warnings = append(warnings, text) }
	must(t, f.dir.Close())
	f.openDirectory()
	overwrite(t, mem, "app/i1/0_1/.checkpoint", "0\n2\nt 0 5\nu 0 -7\n")
	wantCheckpoint(t, f.dir, map[TopicPartition]int64{{"t", 0}: 5})
	if len(warnings) != 1 || !strings.Contains(warnings[0], `"u 0 -7"`) || !strings.Contains(warnings[0], "0_1") {
		t.Fatalf("warnings %q", warnings)
	}
	must(t, f.dir.Close())
}

func overwrite(t *testing.T, fs vfs.FS, path, content string) {
	t.Helper()
	w, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	must(t, err)
	_, err = w.Write([]byte(content))
	must(t, err)
	must(t, w.Close())
}

// Whatever fails while a checkpoint is written or deleted, what is there afterwards is the old one, the new one, or what the call promised.
func TestCheckpointDiskFailures(t *testing.T) {
	before, after := map[TopicPartition]int64{counts: 1}, map[TopicPartition]int64{counts: 2}
	for _, kind := range []errorfs.OpKind{
		errorfs.OpCreate, errorfs.OpFileWrite, errorfs.OpFileSync, errorfs.OpRename, errorfs.OpOpenDir, errorfs.OpRemove,
	} {
		faulty := &faultyFS{match: failing("0_1", errDisk, kind)}
		f := newFixture(t, errorfs.Wrap(vfs.NewMem(), faulty))
		must(t, f.dir.WriteCheckpoint("0_1", before))
		faulty.on.Store(true)
		if err := f.dir.WriteCheckpoint("0_1", after); kind != errorfs.OpRemove && !errors.Is(err, errDisk) {
			t.Errorf("writing with failure %v: %v", kind, err)
		}
		faulty.on.Store(false)
		got, err := f.dir.ReadCheckpoint("0_1")
		if err != nil || !maps.Equal(got, before) && !maps.Equal(got, after) {
			t.Errorf("after failure %v: %v, %v", kind, got, err)
		}
		faulty.on.Store(true)
		err = f.dir.DeleteCheckpoint("0_1")
		if slices.Contains([]errorfs.OpKind{errorfs.OpRemove, errorfs.OpOpenDir, errorfs.OpFileSync}, kind) != (err != nil) {
			t.Errorf("deleting with failure %v: %v", kind, err)
		}
		faulty.on.Store(false)
		must(t, f.dir.DeleteCheckpoint("0_1"))
		wantCheckpoint(t, f.dir, nil)
		must(t, f.dir.Close())
	}
}

// A crash leaves the old checkpoint or the new one, and none that was deleted.
func TestCheckpointCrash(t *testing.T) {
	rng := randomly(t)
	for range 200 {
		mem := vfs.NewCrashableMem()
		f := newFixture(t, mem)
		var latest map[TopicPartition]int64
		for i := range rng.IntN(5) {
			if rng.IntN(3) == 0 {
				must(t, f.dir.DeleteCheckpoint("0_1"))
				latest = nil
			} else {
				latest = map[TopicPartition]int64{counts: int64(i)}
				must(t, f.dir.WriteCheckpoint("0_1", latest))
			}
		}
		clone := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
		must(t, f.dir.Close())
		f.fs = clone
		f.openDirectory()
		wantCheckpoint(t, f.dir, latest)
		must(t, f.dir.Close())
	}
}

// A deletion that failed half-way, after the file was gone from the folder but not from the disk, is made good by the next one.
func TestCheckpointDeletionIsDurable(t *testing.T) {
	mem := vfs.NewCrashableMem()
	faulty := &faultyFS{match: failing("0_1", errDisk, errorfs.OpFileSync)}
	f := newFixture(t, errorfs.Wrap(mem, faulty))
	must(t, f.dir.WriteCheckpoint("0_1", map[TopicPartition]int64{counts: 1}))
	faulty.on.Store(true)
	if err := f.dir.DeleteCheckpoint("0_1"); !errors.Is(err, errDisk) {
		t.Fatalf("DeleteCheckpoint: %v", err)
	}
	faulty.on.Store(false)
	must(t, f.dir.DeleteCheckpoint("0_1"))
	clone := mem.CrashClone(vfs.CrashCloneCfg{RNG: rand.New(rand.NewPCG(1, 0))})
	must(t, f.dir.Close())
	f.fs = clone
	f.openDirectory()
	wantCheckpoint(t, f.dir, nil)
	must(t, f.dir.Close())
}

// FuzzCheckpoint reads anything without a panic, and what it could read it writes and reads again.
func FuzzCheckpoint(f *testing.F) {
	for _, text := range []string{
		"", "0\n0\n", "0\n1\nt 0 5\n", "0\n2\nt 0 5\nt 1 -4\n", "0\n2\na  1 2\nb 0 -1\n", "1\n0\n", "0\n1\n\n", "0\r\n1\r\nt 0 5", "0\n1\n\u00a0 0 5\n",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		offsets, invalid, err := parseCheckpoint(text)
		if err != nil {
			return
		}
		for p, offset := range offsets {
			if p.Topic == "" || p.Partition < 0 || !validOffset(offset) {
				t.Fatalf("%q: %v at %d", text, p, offset)
			}
		}
		if lines := strings.Count(text, "\n"); len(offsets)+len(invalid) > max(lines, 1) {
			t.Fatalf("%q: %d entries in %d lines", text, len(offsets), lines)
		}
		data, err := formatCheckpoint(offsets)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		again, invalid, err := parseCheckpoint(string(data))
		if err != nil || len(invalid) > 0 || !maps.Equal(again, offsets) {
			t.Fatalf("%q: %v, then %q: %v, %v", text, offsets, data, again, err)
		}
	})
}
