package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"eostop/faults/verify"
	"eostop/runtime/topology"
)

// writeInput puts an input file into a fresh folder.
func writeInput(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "input.txt")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLinesOfAFile(t *testing.T) {
	long := strings.Repeat("x", maxLineBytes)
	tests := map[string]struct {
		text string
		want []string
	}{
		"empty":                {"", nil},
		"one line":             {"a\n", []string{"a"}},
		"no end":               {"a\nb", []string{"a", "b"}},
		"empty lines":          {"\n\na\n\n", []string{"", "", "a", ""}},
		"CRLF":                 {"a\r\nb\r\n\r\n", []string{"a", "b", ""}},
		"CR within":            {"a\rb\r\r\n", []string{"a\rb\r"}},
		"no UTF-8":             {"\xff\xfe\n\x00\n", []string{"\xff\xfe", "\x00"}},
		"longest":              {long + "\n" + long + "\r\nb", []string{long, long, "b"}},
		"longest, no end":      {long, []string{long}},
		"longer than a buffer": {strings.Repeat("y", 64<<10) + "\nb\n", []string{strings.Repeat("y", 64<<10), "b"}},
		"fills a buffer":       {strings.Repeat("y", 64<<10-1) + "\nb\n", []string{strings.Repeat("y", 64<<10-1), "b"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := writeInput(t, tt.text)
			if err := checkInput(path); err != nil {
				t.Error(err)
			}
			cfg := DefaultLoadConfig()
			cfg.Topology, cfg.Input, cfg.Partitions, cfg.Run = topologyPassthrough, path, 2, 9
			source, err := newRecordSource(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer source.close()
			p := &pendingRecord{}
			for i, want := range tt.want {
				if err := source.fill(p, time.Now()); err != nil {
					t.Fatalf("line %d: %v", i+1, err)
				}
				r := &p.record
				if string(r.Value) != want || r.Value == nil || r.Key != nil {
					t.Errorf("line %d: key %q, value %.40q, want %.40q", i+1, r.Key, r.Value, want)
				}
				origin, err := verify.Decode(r.Headers[0].Value)
				wanted := verify.Provenance{Run: 9, Partition: int32(i % 2), Sequence: int64(i / 2), KeySequence: int64(i)}
				if err != nil || origin != wanted || r.Partition != wanted.Partition {
					t.Errorf("line %d: %+v, %v, want %+v", i+1, origin, err, wanted)
				}
			}
			if err := source.fill(p, time.Now()); !errors.Is(err, io.EOF) {
				t.Errorf("behind the last line: %v", err)
			}
		})
	}
}

// TestLinesWithKeys gives the lines keys in turn for the program that works by key.
func TestLinesWithKeys(t *testing.T) {
	cfg := DefaultLoadConfig()
	cfg.Input, cfg.Keys, cfg.Partitions = writeInput(t, strings.Repeat("x\n", 10)), 3, 4
	source, err := newRecordSource(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer source.close()
	p, sequence := &pendingRecord{}, make(map[int32]int64)
	for i := range int64(10) {
		if err := source.fill(p, time.Now()); err != nil {
			t.Fatal(err)
		}
		key := fmt.Sprintf("key-%06d", i%3)
		partition := topology.PartitionFor([]byte(key), 4)
		origin, err := verify.Decode(p.record.Headers[0].Value)
		want := verify.Provenance{Partition: partition, Sequence: sequence[partition], KeySequence: i / 3}
		if err != nil || string(p.record.Key) != key || p.record.Partition != partition || origin != want {
			t.Errorf("line %d: key %s, partition %d, %+v, %v; want %s, %+v", i+1, p.record.Key, p.record.Partition, origin, err, key, want)
		}
		sequence[partition]++
	}
}

// TestLinesAgainstSplit compares with a split of the whole text, for lines around the size of the reader's buffer.
func TestLinesAgainstSplit(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 300 {
		var text strings.Builder
		for range rng.IntN(6) {
			text.WriteString(strings.Repeat("z", rng.IntN(3)*(64<<10)+rng.IntN(5)))
			text.WriteString([]string{"\n", "\r\n", "\r", ""}[rng.IntN(4)])
		}
		var want []string
		if text.Len() > 0 {
			want = strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n")
		}
		lines := newLineReader("x", strings.NewReader(text.String()))
		long := false
		for i, w := range want {
			got, err := lines.next()
			w = strings.TrimSuffix(w, "\r")
			if long = len(w) > maxLineBytes; long {
				if err == nil {
					t.Fatalf("seed %d: line %d of %d has %d bytes", seed, i+1, len(want), len(got))
				}
				break
			}
			if err != nil || string(got) != w {
				t.Fatalf("seed %d: line %d of %d has %d bytes, %v; want %d", seed, i+1, len(want), len(got), err, len(w))
			}
		}
		if long {
			continue
		}
		if _, err := lines.next(); !errors.Is(err, io.EOF) {
			t.Fatalf("seed %d: %v behind the last line", seed, err)
		}
	}
}

func TestInputsThatCannotBeRead(t *testing.T) {
	long := writeInput(t, "a\n"+strings.Repeat("x", maxLineBytes+1)+"\nb\n")
	huge := writeInput(t, "a\nb\n"+strings.Repeat("x", 20*maxLineBytes))
	secret := writeInput(t, "a\n")
	if err := os.Chmod(secret, 0); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct{ path, want string }{
		"missing":  {"/nonexistent.txt", "load.input: there is no file /nonexistent.txt; name an existing one or leave it out"},
		"folder":   {t.TempDir(), "is a folder; name a text file"},
		"too long": {long, long + ": line 2 is longer than 512KiB, which is too much for a record"},
		"huge":     {huge, huge + ": line 3 is longer than 512KiB"},
		"secret":   {secret, secret + ": permission denied"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if name == "secret" && os.Getuid() == 0 {
				t.Skip("nothing is secret to root")
			}
			err := checkInput(tt.path)
			if _, ok := errors.AsType[*UsageError](err); !ok || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v, want a usage error with %q", err, tt.want)
			}
			cfg := Default()
			cfg.Load.Input = tt.path
			if _, err := New(cfg, nil, Deps{}); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("New: %v", err)
			}
		})
	}
}

// TestLoadOfAFile paces the lines, ends with the file, and leaves what the file says in the topic.
func TestLoadOfAFile(t *testing.T) {
	var text strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&text, "line %d\r\n", i)
	}
	text.WriteString("the last one")
	path := writeInput(t, text.String())
	for _, limit := range []int64{0, 300} {
		synctest.Test(t, func(t *testing.T) {
			settle(t)
			cfg := DefaultLoadConfig()
			cfg.Topology, cfg.Input, cfg.Rate, cfg.Records = topologyPassthrough, path, 100, limit
			b := loadBroker(t, cfg)
			l := newLoad(t, cfg, b, b.Dial)
			begin := time.Now()
			if err := l.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			want, length := int64(1001), 10*time.Second
			if limit > 0 {
				want, length = limit, 3*time.Second
			}
			if took := time.Since(begin); took < length || took > length+100*time.Millisecond {
				t.Errorf("took %s, want %s", took, length)
			}
			if s := l.Stats(); s.Sent != want || s.Acked != want {
				t.Errorf("stats %+v, want %d", s, want)
			}
			for partition, records := range readLoad(t, b, want) {
				for i, r := range records {
					n := int64(i)*int64(cfg.Partitions) + int64(partition)
					line := fmt.Sprintf("line %d", n)
					if n == 1000 {
						line = "the last one"
					}
					if string(r.Value) != line || r.Key != nil {
						t.Fatalf("record %d of partition %d is %q", i, partition, r.Value)
					}
				}
			}
			if n := l.bytes.Load(); n != 0 {
				t.Errorf("%d bytes are pending", n)
			}
		})
	}
}

// TestLoadOfLongLines keeps few of them in memory at a time.
func TestLoadOfLongLines(t *testing.T) {
	path := writeInput(t, strings.Repeat(strings.Repeat("x", maxLineBytes)+"\n", 300))
	synctest.Test(t, func(t *testing.T) {
		settle(t)
		cfg := DefaultLoadConfig()
		cfg.Input, cfg.Rate = path, 1000
		b := loadBroker(t, cfg)
		l := newLoad(t, cfg, b, b.Dial)
		done := make(chan error, 1)
		go func() { done <- l.Run(t.Context()) }()
		for len(done) == 0 {
			if n := l.bytes.Load(); n > loadPendingBytes+maxLineBytes {
				t.Errorf("%d bytes are pending", n)
			}
			time.Sleep(cfg.Interval)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if s := l.Stats(); s.Acked != 300 {
			t.Errorf("stats %+v", s)
		}
	})
}

// TestLoadOfAFileThatChanges finds a line too long although the file was checked before.
func TestLoadOfAFileThatChanges(t *testing.T) {
	path := writeInput(t, "a\nb\n"+strings.Repeat("x", maxLineBytes+1))
	synctest.Test(t, func(t *testing.T) {
		settle(t)
		cfg := DefaultLoadConfig()
		cfg.Input = path
		b := loadBroker(t, cfg)
		if err := newLoad(t, cfg, b, b.Dial).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "line 3 is longer than 512KiB") {
			t.Errorf("run: %v", err)
		}
		cfg.Input = path + ".gone"
		if err := newLoad(t, cfg, b, b.Dial).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "no such file") {
			t.Errorf("run: %v", err)
		}
	})
}

// TestLoadOfAPipe ends while nobody writes to it.
func TestLoadOfAPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skipf("no pipes here: %v", err)
	}
	writer, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	if _, err := writer.WriteString("a\nb\n"); err != nil {
		t.Fatal(err)
	}
	if err := checkInput(path); err != nil {
		t.Fatal(err)
	}
	cfg := DefaultLoadConfig()
	cfg.Input = path
	b := loadBroker(t, cfg)
	l := newLoad(t, cfg, b, b.Dial)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	for deadline := time.Now().Add(30 * time.Second); l.Stats().Acked < 2; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("stats %+v", l.Stats())
		}
	}
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("it does not end")
	}
}

// TestLoadOfWords looks at what the load of wordcount is made of.
func TestLoadOfWords(t *testing.T) {
	for _, keys := range []int{1, 50, 20_000} {
		for _, longest := range []int{8, 100} {
			cfg := DefaultLoadConfig()
			cfg.Topology, cfg.Keys, cfg.ValueBytes, cfg.Seed = topologyWordcount, keys, longest, 3
			contents := func() (lines []string, words map[string]int) {
				source, err := newRecordSource(t.Context(), cfg)
				if err != nil {
					t.Fatal(err)
				}
				defer source.close()
				words = make(map[string]int)
				p := &pendingRecord{}
				for i := range 5000 {
					if err := source.fill(p, time.Now()); err != nil {
						t.Fatal(err)
					}
					if p.record.Key != nil || len(p.value) > longest || p.record.Partition != int32(i%9) {
						t.Fatalf("key %q, line %q, partition %d", p.record.Key, p.value, p.record.Partition)
					}
					lines = append(lines, string(p.value))
					for _, w := range wordsOf(p.value) {
						words[w]++
					}
				}
				return lines, words
			}
			lines, words := contents()
			if again, _ := contents(); strings.Join(lines, "\n") != strings.Join(again, "\n") {
				t.Errorf("%d words: the same seed gave other lines", keys)
			}
			if len(words) > keys || len(words) < min(keys, 50)/2 {
				t.Errorf("%d words, want up to %d", len(words), keys)
			}
		}
	}
}
