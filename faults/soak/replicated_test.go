package soak

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// testCluster names the environment variable that asks for tests on three brokers of their own, to which something is done.
const testCluster = "EOSTOP_TEST_CLUSTER"

// replicated is a cluster of three brokers, each a process: three replicas, of which two must be in sync.
type replicated struct {
	*testing.T
	dir     string
	brokers []string
	admin   *kadm.Client
	app     string // whose coordinators are meant
}

// newReplicated starts the brokers, with some of their settings (kafka.sh start --set).
func newReplicated(t *testing.T, settings ...string) *replicated {
	t.Helper()
	if os.Getenv(testCluster) == "" {
		t.Skipf("%s is not set: with it three brokers are started, killed, paused and restarted", testCluster)
	}
	for _, tool := range []string{"java", "mvn"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("there is no %s, so no real Kafka can be started", tool)
		}
	}
	c := &replicated{T: t, dir: filepath.Join(t.TempDir(), "kafka")}
	t.Cleanup(func() { c.launcher("stop", "--wipe") })
	args := []string{"--brokers", "3", "--wait", "180"}
	// Timed-out transactions are looked for each second.
	for _, setting := range append(settings, "transaction.abort.timed.out.transaction.cleanup.interval.ms=1000") {
		args = append(args, "--set", setting)
	}
	c.launcher("start", args...)
	c.brokers = strings.Split(c.launcher("bootstrap"), ",")
	client, err := kgo.NewClient(kgo.SeedBrokers(c.brokers...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	c.admin = kadm.NewClient(client)
	return c
}

// of returns the cluster as a test sees it that runs an application there.
func (c *replicated) of(t *testing.T, cfg *Config) *replicated {
	own := *c
	own.T, own.app = t, cfg.Application.ID
	return &own
}

// launcher calls kafka.sh for the cluster and returns what it prints.
func (c *replicated) launcher(command string, args ...string) string {
	c.Helper()
	began := time.Now()
	// A context of the test would end what it calls before its end.
	cmd := exec.Command(filepath.Join("..", "..", ".ci", "kafka", "kafka.sh"), append([]string{command, "--dir", c.dir}, args...)...)
	cmd.Stderr = c.Output()
	out, err := cmd.Output()
	if err != nil {
		c.Fatalf("kafka.sh %s %s: %v", command, strings.Join(args, " "), err)
	}
	c.Logf("kafka.sh %s %s: %.1f s", command, strings.Join(args, " "), time.Since(began).Seconds())
	return strings.TrimSpace(string(out))
}

// node does something to the process of one broker.
func (c *replicated) node(what string, id int32) {
	c.Helper()
	c.launcher("node", what, strconv.Itoa(int(id)))
}

// coordinator is the broker that coordinates the application's group.
func (c *replicated) coordinator() int32 {
	c.Helper()
	return c.one(c.admin.FindGroupCoordinators(c.Context(), c.app))
}

// transactionCoordinator is the broker that coordinates the transactions of a thread of the first instance.
func (c *replicated) transactionCoordinator(g *stage) int32 {
	c.Helper()
	id := g.s.members[0].instance.Status().Threads[0].Producers[0].TransactionalID
	return c.one(c.admin.FindTxnCoordinators(c.Context(), id))
}

func (c *replicated) one(found kadm.FindCoordinatorResponses) int32 {
	c.Helper()
	if err := found.Error(); err != nil {
		c.Fatal(err)
	}
	for _, r := range found {
		return r.NodeID
	}
	panic("nothing was asked for")
}

// moveLeaders makes the next replica of each partition of some topics, in the order of ids, its leader: so coordinators move, too.
func (c *replicated) moveLeaders(topics ...string) {
	c.Helper()
	details, err := c.admin.ListTopicsWithInternal(c.Context(), topics...)
	if err != nil {
		c.Fatal(err)
	}
	var assign kadm.AlterPartitionAssignmentsReq
	set := kadm.TopicsSet{}
	details.EachPartition(func(p kadm.PartitionDetail) {
		assign.Assign(p.Topic, p.Partition, []int32{p.Leader%3 + 1, (p.Leader+1)%3 + 1, p.Leader})
		set.Add(p.Topic, p.Partition)
	})
	assigned, err := c.admin.AlterPartitionAssignments(c.Context(), assign)
	if err == nil {
		err = assigned.Error()
	}
	if err != nil {
		c.Fatal(err)
	}
	elected, err := c.admin.ElectLeaders(c.Context(), kadm.ElectPreferredReplica, set)
	if err != nil {
		c.Fatal(err)
	}
	for _, partitions := range elected {
		for _, r := range partitions {
			if r.Err != nil && !errors.Is(r.Err, kerr.ElectionNotNeeded) {
				c.Fatalf("%s-%d: %v", r.Topic, r.Partition, r.Err)
			}
		}
	}
	c.Logf("the leaders of %d topics have moved", len(details))
}

// awaitReplicas waits until every replica is in sync.
func (c *replicated) awaitReplicas() {
	c.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(500 * time.Millisecond) {
		behind := 0
		details, err := c.admin.ListTopicsWithInternal(c.Context())
		details.EachPartition(func(p kadm.PartitionDetail) {
			if len(p.ISR) < len(p.Replicas) {
				behind++
			}
		})
		if err == nil && behind == 0 {
			return
		}
		if time.Now().After(deadline) {
			c.Fatalf("%d partitions lack a replica in sync: %v", behind, err)
		}
	}
}

// TestOnThreeBrokers lets brokers fail while an application runs on them.
//
//	EOSTOP_TEST_CLUSTER=1 go test -run TestOnThreeBrokers -timeout 15m ./faults/soak
func TestOnThreeBrokers(t *testing.T) {
	c := newReplicated(t)
	for _, tt := range []struct {
		name   string
		cuts   []string
		script func(*replicated, *stage)
	}{
		{"killed", nil, func(c *replicated, _ *stage) {
			id := c.coordinator()
			c.node("kill", id)
			time.Sleep(15 * time.Second)
			c.node("start", id)
		}},
		// For longer than the controller waits for it: it comes back as a leader that is none any more.
		{"paused", nil, func(c *replicated, g *stage) {
			id := c.transactionCoordinator(g)
			c.node("pause", id)
			time.Sleep(25 * time.Second)
			c.node("cont", id)
		}},
		{"restarted", nil, func(c *replicated, _ *stage) {
			for id := range int32(3) {
				c.node("stop", id+1)
				time.Sleep(2 * time.Second)
				c.node("start", id+1)
				c.awaitReplicas()
			}
		}},
		{"moved", nil, func(c *replicated, _ *stage) {
			for range 3 {
				c.moveLeaders("__consumer_offsets", "__transaction_state")
				time.Sleep(3 * time.Second)
				c.moveLeaders()
				time.Sleep(3 * time.Second)
			}
		}},
		{"killed-in-a-takeover", []string{"i2@5s+25s"}, func(c *replicated, g *stage) {
			g.until(15 * time.Second)
			id := c.coordinator()
			c.node("kill", id)
			g.until(35 * time.Second)
			c.node("start", id)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := onBrokers(t, c.brokers, 0)
			cfg.Faults.Cuts = cuts(t, tt.cuts...)
			c := c.of(t, &cfg)
			r := performScript(t, cfg, func(g *stage) {
				g.until(5 * time.Second)
				tt.script(c, g)
				c.awaitReplicas()
				g.until(g.s.Snapshot().Elapsed + 5*time.Second)
				g.s.Stop(false)
			})
			wantDeaths(t, r, 0)
			if r.Threads.Alive != r.Threads.Total {
				t.Errorf("%d of %d threads are alive", r.Threads.Alive, r.Threads.Total)
			}
			t.Log(told(r))
			tidy(t, &cfg)
		})
	}
}

// told sums up how a run went.
func told(r *Report) string {
	x := r.Transactions
	s := fmt.Sprintf("%s after %s ms: %d transactions committed, %d aborted, %d fenced, %d of unknown outcome", r.Verdict, number(r.DurationMS),
		x.Committed, x.Aborted, x.Fenced, x.UnknownOutcome)
	if r.LatencyMS != nil {
		s += fmt.Sprintf("; latency up to %.0f ms", r.LatencyMS.Max)
	}
	return s
}
