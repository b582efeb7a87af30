package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"eostop/faults/soak"
)

// TestSeveralProcesses runs one application as three processes, of which one writes the load and verifies all. It is cut off, and the
// others take over meanwhile.
//
//	EOSTOP_TEST_BROKERS=HOST:PORT go test -run TestSeveralProcesses .
func TestSeveralProcesses(t *testing.T) {
	broker := os.Getenv(testBrokers)
	if broker == "" {
		t.Skipf("%s is not set: it names a broker", testBrokers)
	}
	dir := t.TempDir()
	args := func(name string, more ...string) []string {
		return append([]string{
			"run", "--headless", "--plain", "--brokers", broker, "--application-id", fmt.Sprintf("processes-%d", time.Now().Unix()),
			"--name", name, "--instances", "1", "--state-dir", filepath.Join(dir, name),
		}, more...)
	}
	for _, name := range []string{"b", "c"} {
		cmd := process(t, args(name, "--no-load", "--no-verify")...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			_ = cmd.Process.Signal(syscall.SIGTERM)
			if err := cmd.Wait(); err != nil {
				t.Errorf("process %s: %v", name, err)
			}
		}()
	}
	file := filepath.Join(dir, "report.json")
	out, err := process(t, args("a", "--rate", "1000", "--duration", "30s", "--cut", "a1@8s+14s", "--report", file)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	report, err := soak.ReadReport(file)
	if err != nil {
		t.Fatal(err)
	}
	if report.Verdict != "clean" || report.Records.Processed < 25_000 {
		t.Errorf("%s %v, %d records processed", report.Verdict, report.Reasons, report.Records.Processed)
	}
}
