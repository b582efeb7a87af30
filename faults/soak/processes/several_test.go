package processes

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"eostop/faults/soak"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestSeveralProcesses runs one application as three processes, of which one writes the load and verifies all. It is cut off, and the
// others take over meanwhile: by what the group's coordinator tells, they share the partitions with it, and then have all of them and
// get on with the input.
//
//	EOSTOP_TEST_BROKERS=HOST:PORT go test -run TestSeveralProcesses ./faults/soak/processes
func TestSeveralProcesses(t *testing.T) {
	broker := os.Getenv(testBrokers)
	if broker == "" {
		t.Skipf("%s is not set: it names a broker", testBrokers)
	}
	dir, app := t.TempDir(), fmt.Sprintf("processes-%d", time.Now().UnixNano())
	args := func(name string, more ...string) []string {
		return append([]string{
			"run", "--headless", "--plain", "--brokers", broker, "--application-id", app,
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
	seen := watchProcesses(t, broker, app)
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
	s := seen()
	if !s.shared {
		t.Error("at no moment did the three processes share the partitions")
	}
	if !s.takenOver || s.last <= s.first {
		t.Errorf("while the first process was expelled: the others had all partitions: %t; they committed offsets from %d up to %d", s.takenOver, s.first, s.last)
	}
}

// processesSeen is what the coordinator of their group has told of the processes.
type processesSeen struct {
	shared      bool  // each of the three had partitions
	takenOver   bool  // after that, only the last two had any
	first, last int64 // sums of the offsets of the input that were committed meanwhile
}

// watchProcesses looks at a group until the returned function is called, which tells what was seen.
func watchProcesses(t *testing.T, broker, app string) func() processesSeen {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(broker))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	admin, ended := kadm.NewClient(client), make(chan struct{})
	var seen processesSeen
	go func() {
		defer close(ended)
		defer client.Close()
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			seen.look(ctx, admin, app)
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	}()
	stop := func() processesSeen {
		cancel()
		<-ended
		return seen
	}
	t.Cleanup(func() { stop() })
	return stop
}

// look takes in who has partitions at this moment, and what is committed. The processes are told apart by the first letters of their
// members' client ids.
func (s *processesSeen) look(ctx context.Context, admin *kadm.Client, app string) {
	groups, err := admin.DescribeGroups(ctx, app)
	if err != nil || groups[app].State != "Stable" {
		return
	}
	owned := map[string]int{}
	all := 0
	for _, m := range groups[app].Members {
		assigned, ok := m.Assigned.AsConsumer()
		if !ok {
			continue
		}
		for _, topic := range assigned.Topics {
			if topic.Topic == app+"-input" {
				owned[m.ClientID[:1]] += len(topic.Partitions)
				all += len(topic.Partitions)
			}
		}
	}
	owners := slices.Sorted(maps.Keys(owned))
	if all != soakPartitions {
		return
	}
	if slices.Equal(owners, []string{"a", "b", "c"}) {
		s.shared = true
	}
	if !s.shared || !slices.Equal(owners, []string{"b", "c"}) {
		return
	}
	offsets, err := admin.FetchOffsets(ctx, app)
	if err != nil {
		return
	}
	var sum int64
	for _, o := range offsets.Offsets()[app+"-input"] {
		sum += o.At
	}
	if !s.takenOver {
		s.takenOver, s.first = true, sum
	}
	s.last = sum
}
