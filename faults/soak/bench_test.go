package soak

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestBench takes every measure once, of hardly anything.
func TestBench(t *testing.T) {
	t.Parallel()
	if raced {
		t.Skip("what it runs is run by others")
	}
	flags, err := ParseBench([]string{"--records", "2000", "--rate", "500", "--duration", "1s"})
	if err != nil {
		t.Fatal(err)
	}
	flags.rounds = 1
	told := 0
	measures, err := RunBench(t.Context(), flags, func(Measure) { told++ })
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for i, m := range measures {
		first := !slices.ContainsFunc(measures[:i], func(other Measure) bool { return other.What == m.What })
		if m.Value <= 0 || m.Ratio <= 0 || first && m.Ratio != 1 || m.Unit == "" || m.Of == "" {
			t.Errorf("%+v", m)
		}
		kinds[m.What]++
	}
	if told != len(measures) || kinds["throughput"] != 4 || kinds["latency p50"] != 3 || kinds["latency p99"] != 3 || kinds["restore"] != 1 || kinds["start-up"] != 1 {
		t.Errorf("%d told, %v", told, kinds)
	}
	var table bytes.Buffer
	if err := WriteBench(&table, measures); err != nil || strings.Count(table.String(), "\n") != len(measures)+1 {
		t.Errorf("%v:\n%s", err, &table)
	}
	path := filepath.Join(t.TempDir(), "bench.json")
	if err := WriteBenchReport(path, measures); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var read struct{ Measures []Measure }
	if err := json.Unmarshal(text, &read); err != nil || !slices.Equal(read.Measures, measures) {
		t.Errorf("%v: %+v", err, read)
	}
}

// TestBenchIsStopped: an interrupt ends it with its error.
func TestBenchIsStopped(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	flags, err := ParseBench(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := RunBench(ctx, flags, func(Measure) {}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}
