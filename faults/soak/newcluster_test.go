package soak

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"eostop/faults"

	"github.com/twmb/franz-go/pkg/kerr"
)

// TestOnANewCluster is what needs three brokers on which nothing has ever run, and whose coordinators keep what they write to themselves:
// so one that stands still holds up the others' markers, and not their transactions.
//
//	EOSTOP_TEST_CLUSTER=1 go test -run TestOnANewCluster -timeout 10m ./faults/soak
func TestOnANewCluster(t *testing.T) {
	c := newReplicated(t, "transaction.state.log.replication.factor=1", "transaction.state.log.min.isr=1", "offsets.topic.replication.factor=1",
		"transaction.state.log.num.partitions=50", "offsets.topic.num.partitions=50") // as brokers have by default
	t.Run("new-cluster", c.rowOfTheFirstApplication)
	t.Run("async-markers", c.rowOfSlowMarkers)
}

// rowOfTheFirstApplication starts when no coordinator has ever been asked for, and the one of its group stands still as soon as it is
// there: it waits, and says for what.
func (c *replicated) rowOfTheFirstApplication(t *testing.T) {
	cfg := onBrokers(t, c.brokers, 5*time.Second)
	defer tidy(t, &cfg)
	began, reasons := time.Now(), map[string]bool{}
	r := performScript(t, cfg, func(g *stage) {
		t.Logf("it was let in after %.1f s", time.Since(began).Seconds())
		on := c.of(t, &cfg)
		id := on.coordinator()
		on.node("pause", id)
		heal := time.AfterFunc(4*time.Second, func() { on.node("cont", id) })
		for g.s.Snapshot().Phase == PhaseStarting {
			if _, reason, told := strings.Cut(g.s.Snapshot().Waiting, "; "); told {
				reasons[reason] = true
			}
			time.Sleep(observeEvery)
		}
		t.Logf("all threads were RUNNING after %.1f s", time.Since(began).Seconds())
		if heal.Stop() {
			t.Error("they did not wait for the coordinator")
			on.node("cont", id)
		}
	})
	said := strings.Join(slices.Sorted(maps.Keys(reasons)), "\n")
	if t.Log(said); !strings.Contains(said, "group coordinator: ") {
		t.Error("nothing says what it waits for")
	}
	wantDeaths(t, r, 0)
	t.Log(told(r))
}

// rowOfSlowMarkers lets a broker that coordinates no transaction of the application's stand still again and again for half a second.
func (c *replicated) rowOfSlowMarkers(t *testing.T) {
	cfg := onBrokers(t, c.brokers, 25*time.Second)
	cfg.Cluster.ReplicationFactor = 1
	cfg.Faults.Faults = plan(t, "delay-response,api=Produce,delay=1ms,count=1@0s") // so that links look at what passes
	defer tidy(t, &cfg)
	concurrent, disordered := 0, 0
	r := performScript(t, cfg, func(g *stage) {
		watch := func(codes ...int16) string {
			id, err := g.s.rules.Add(faults.Rule{APIs: []string{"Produce", "AddPartitionsToTxn"}, Answered: codes, Action: faults.DelayResponse, Delay: time.Microsecond})
			if err != nil {
				t.Fatal(err)
			}
			return id
		}
		first, second := watch(kerr.ConcurrentTransactions.Code), watch(kerr.OutOfOrderSequenceNumber.Code)
		g.until(3 * time.Second)
		on := c.of(t, &cfg)
		for id := range int32(3) {
			for range 5 {
				on.node("pause", id+1)
				time.Sleep(500 * time.Millisecond)
				on.node("cont", id+1)
				time.Sleep(700 * time.Millisecond)
			}
		}
		concurrent, disordered = g.s.rules.Hits(first), g.s.rules.Hits(second)
	})
	t.Logf("CONCURRENT_TRANSACTIONS was answered %d times, OUT_OF_ORDER_SEQUENCE_NUMBER %d times", concurrent, disordered)
	if concurrent == 0 {
		t.Error("no transaction met the markers of the one before")
	}
	wantDeaths(t, r, 0)
	wantCalm(t, r)
	t.Log(told(r))
}
