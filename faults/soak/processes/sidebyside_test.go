//go:build unix

package processes

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"eostop/faults/soak"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// How the comparison is made.
const (
	sideRate    = 1000
	sideStops   = 5
	sideStopped = 25 * time.Second // longer than session and transaction time-outs
	sideReturn  = 60 * time.Second // until a process that was stopped is given up
)

// TestSideBySide stops one of three processes of the same program for longer than its time-outs, on this runtime and on Kafka
// Streams, with the same broker, load and time-outs. It prints a table and holds only this runtime to what it promises.
//
//	EOSTOP_SIDE_BY_SIDE=HOST:PORT go test -run TestSideBySide -timeout 30m -v ./faults/soak/processes
func TestSideBySide(t *testing.T) {
	broker := os.Getenv(sideBySide)
	if broker == "" {
		t.Skipf("%s is not set: it names a broker", sideBySide)
	}
	var table strings.Builder
	table.WriteString("| runtime | stop | threads died | takeover | back after |\n|---|---|---|---|---|\n")
	for _, side := range []func(*contest, string) *exec.Cmd{(*contest).ours, (*contest).kafkaStreams} {
		c := newContest(t, broker, side)
		for stop := range sideStops {
			died, takeover, back := c.stop(c.processes[stop%len(c.processes)])
			fmt.Fprintf(&table, "| %s | %d | %d | %s | %s |\n", c.name, stop+1, died, seconds(takeover), seconds(back))
			if c.name == "eostop" && (died > 0 || takeover == 0 || back == 0) {
				t.Errorf("stop %d: %d threads died, takeover %s, back after %s", stop+1, died, seconds(takeover), seconds(back))
			}
		}
		c.end()
	}
	t.Log("\n" + table.String())
}

// seconds renders how long something took; 0 = it did not happen.
func seconds(d time.Duration) string {
	if d == 0 {
		return "never"
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// contest is one application of three processes, seen from outside: through its group and its committed offsets.
type contest struct {
	*testing.T
	name, app, broker, dir string
	start                  func(*contest, string) *exec.Cmd
	processes              []*contestant
	admin                  *kadm.Client
	stopLoad               context.CancelFunc
	load                   chan error
}

// contestant is a process that is started again when it has ended.
type contestant struct {
	name  string
	cmd   *exec.Cmd
	ended chan struct{}
	mu    sync.Mutex
	died  int // threads that died of an error
}

func newContest(t *testing.T, broker string, start func(*contest, string) *exec.Cmd) *contest {
	client, err := kgo.NewClient(kgo.SeedBrokers(broker))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	c := &contest{T: t, broker: broker, dir: t.TempDir(), start: start, admin: kadm.NewClient(client), load: make(chan error, 1)}
	start(c, "") // tells its name
	c.app = fmt.Sprintf("side-%s-%d", c.name, time.Now().Unix())
	createSoakTopics(t, c.admin, c.app)
	for _, name := range []string{"a", "b", "c"} {
		p := &contestant{name: name}
		c.processes = append(c.processes, p)
		c.launch(p)
	}
	ctx, cancel := context.WithCancel(t.Context())
	c.stopLoad = cancel
	cfg := soak.DefaultLoadConfig()
	cfg.Rate, cfg.Partitions = sideRate, soakPartitions
	generator, err := soak.NewGenerator(cfg, c.app+"-input", kgo.SeedBrokers(broker))
	if err != nil {
		t.Fatal(err)
	}
	go func() { c.load <- generator.Run(ctx) }()
	c.await(2*time.Minute, "all processes have tasks", func() bool { return len(c.owners()) == len(c.processes) })
	return c
}

// ours is a process of this program.
func (c *contest) ours(name string) *exec.Cmd {
	c.name = "eostop"
	return process(c.T, "run", "--headless", "--plain", "--brokers", c.broker, "--application-id", c.app, "--name", name,
		"--instances", "1", "--no-load", "--no-verify", "--state-dir", filepath.Join(c.dir, name), "--log-file", "/dev/stderr", "--log-level", "warn")
}

// kafkaStreams is a process of the same program on Kafka Streams.
func (c *contest) kafkaStreams(name string) *exec.Cmd {
	c.name = "kafka-streams"
	return kafkaStreams(c.T, c.broker, c.app, name, filepath.Join(c.dir, name))
}

// launch starts a process and counts the threads that it says have died.
func (c *contest) launch(p *contestant) {
	c.Helper()
	cmd := c.start(c, p.name)
	reader, writer := io.Pipe()
	cmd.Stdout, cmd.Stderr = writer, writer
	if err := cmd.Start(); err != nil {
		c.Fatal(err)
	}
	p.cmd, p.ended = cmd, make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended is told by what it said
		_ = writer.Close()
	}()
	go func(ended chan struct{}) {
		defer close(ended)
		for lines := bufio.NewScanner(reader); lines.Scan(); {
			if line := lines.Text(); strings.Contains(line, "ThreadDied") || strings.Contains(line, "Encountered an exception that ends the thread") {
				p.mu.Lock()
				p.died++
				p.mu.Unlock()
			}
		}
		_, _ = io.Copy(io.Discard, reader)
	}(p.ended)
}

// owners returns the processes that have partitions, with what they have, by the group's coordinator.
func (c *contest) owners() map[string]kadm.TopicsSet {
	owners := map[string]kadm.TopicsSet{}
	groups, err := c.admin.DescribeGroups(c.Context(), c.app)
	if err != nil || groups[c.app].State != "Stable" {
		return owners
	}
	for _, m := range groups[c.app].Members {
		assigned, ok := m.Assigned.AsConsumer()
		if !ok || len(assigned.Topics) == 0 {
			continue
		}
		name := m.ClientID[:1]
		owned := owners[name]
		for _, topic := range assigned.Topics {
			owned.Add(topic.Topic, topic.Partitions...)
		}
		owners[name] = owned
	}
	return owners
}

// busy keeps of what a process has the partitions that always have something to do.
func (c *contest) busy(owned kadm.TopicsSet) []string {
	var busy []string
	owned.Each(func(topic string, partition int32) {
		if topic == c.app+"-input" || topic == c.app+"-by-key-repartition" {
			busy = append(busy, fmt.Sprintf("%s-%d", topic, partition))
		}
	})
	return busy
}

func (c *contest) committed() map[string]int64 {
	at := map[string]int64{}
	offsets, err := c.admin.FetchOffsets(c.Context(), c.app)
	if err != nil {
		return at
	}
	offsets.Each(func(o kadm.OffsetResponse) { at[fmt.Sprintf("%s-%d", o.Topic, o.Partition)] = o.At })
	return at
}

// stop stops a process for a time. It returns how many threads died of it, how long it took from the stop until each busy
// partition of the process was committed again, and from its continuation until it had committed itself. 0 = that never came.
func (c *contest) stop(p *contestant) (died int, takeover, back time.Duration) {
	c.Helper()
	c.await(2*time.Minute, "all processes have tasks", func() bool { return len(c.owners()) == len(c.processes) })
	time.Sleep(5 * time.Second)
	before, waiting := c.deaths(), c.busy(c.owners()[p.name])
	began := time.Now()
	c.signal(p, syscall.SIGSTOP)
	time.Sleep(500 * time.Millisecond) // what was under way arrives
	base := c.committed()
	for time.Since(began) < sideStopped {
		now := c.committed()
		waiting = slices.DeleteFunc(waiting, func(partition string) bool { return now[partition] > base[partition] })
		if len(waiting) == 0 && takeover == 0 {
			takeover = time.Since(began)
		}
		time.Sleep(200 * time.Millisecond)
	}
	began = time.Now()
	c.signal(p, syscall.SIGCONT)
	var mine []string
	for time.Since(began) < sideReturn && back == 0 {
		select {
		case <-p.ended: // somebody has to start it again
			died = c.deaths() - before
			c.launch(p)
			return died, takeover, 0
		default:
		}
		owned := c.busy(c.owners()[p.name])
		now := c.committed()
		if len(owned) > 0 && !slices.Equal(owned, mine) {
			mine, base = owned, now
		}
		if len(owned) > 0 && !slices.ContainsFunc(owned, func(partition string) bool { return now[partition] <= base[partition] }) {
			back = time.Since(began)
		}
		time.Sleep(200 * time.Millisecond)
	}
	time.Sleep(5 * time.Second)
	return c.deaths() - before, takeover, back
}

func (c *contest) deaths() int {
	n := 0
	for _, p := range c.processes {
		p.mu.Lock()
		n += p.died
		p.mu.Unlock()
	}
	return n
}

func (c *contest) signal(p *contestant, s syscall.Signal) {
	c.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		c.Fatal(err)
	}
}

func (c *contest) await(atMost time.Duration, what string, holds func() bool) {
	c.Helper()
	for began := time.Now(); !holds(); time.Sleep(200 * time.Millisecond) {
		if time.Since(began) > atMost {
			c.Fatalf("%s: not within %v: %s", c.name, atMost, what)
		}
	}
}

// end stops the load and all processes.
func (c *contest) end() {
	c.Helper()
	c.stopLoad()
	if err := <-c.load; err != nil {
		c.Errorf("load: %v", err)
	}
	for _, p := range c.processes {
		c.signal(p, syscall.SIGTERM)
	}
	for _, p := range c.processes {
		select {
		case <-p.ended:
		case <-time.After(time.Minute):
			c.Errorf("%s does not end", p.name)
			_ = p.cmd.Process.Kill()
		}
	}
}
