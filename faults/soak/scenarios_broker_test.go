package soak

import (
	"errors"
	"strings"
	"testing"
	"time"

	"eostop/faults/verify"
	"eostop/runtime"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// nodes sets the number of the embedded broker's nodes.
func nodes(n int) func(*Config) {
	return func(cfg *Config) { cfg.Cluster.Embedded.Nodes = n }
}

// scenariosOfBrokers is what brokers do, and what only real ones do.
func scenariosOfBrokers() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"leader-move": tests(map[string]func(*testing.T){
			"all":          bothProtocols(scenario{length: 50 * time.Second, set: nodes(3), faults: []string{"leader-move@5s", "leader-move@12s", "leader-move@19s"}}),
			"coordinators": bothProtocols(scenario{length: 50 * time.Second, set: nodes(3), faults: []string{"coordinator-move@5s", "coordinator-move@12s", "coordinator-load@19s+4s"}}),
			"both, often": bothProtocols(scenario{length: 50 * time.Second, set: nodes(3), faults: []string{
				"leader-move@5s", "coordinator-move@5s", "leader-move@7s", "coordinator-move@8s", "leader-move,topic=*-changelog@9s", "coordinator-move@10s",
			}}),
			"during a takeover": scenario{length: 60 * time.Second, set: nodes(3), cuts: []string{"i2@5s+20s"}, faults: []string{"leader-move@15s", "coordinator-move@15500ms"}}.run,
		}),
		"broker-restart": tests(map[string]func(*testing.T){
			"one by one": bothProtocols(scenario{length: 80 * time.Second, set: nodes(3), faults: []string{
				"broker-restart,node=0@5s+8s", "broker-restart,node=1@20s+8s", "broker-restart,node=2@35s+8s",
			}}),
			"two at once":     scenario{length: 60 * time.Second, set: nodes(3), faults: []string{"broker-restart,node=0@5s+20s", "broker-restart,node=2@8s+20s"}}.run,
			"in a short time": scenario{length: 60 * time.Second, set: nodes(2), faults: []string{"broker-restart,node=0@5s+200ms", "broker-restart,node=1@6s+200ms"}}.run,
		}),
		"cut-node": scenario{length: 60 * time.Second, set: nodes(3), faults: []string{"cut,instance=i1,node=1@5s+20s"}}.run,
		"async-markers": tests(map[string]func(*testing.T){
			"500 ms": bothProtocols(scenario{faults: []string{"slow-markers,delay=500ms@2s+40s"}, check: func(t *testing.T, _ *Config, r *Report) {
				t.Helper()
				if r.Transactions.UnknownOutcome > 0 {
					t.Errorf("%d transactions of unknown outcome", r.Transactions.UnknownOutcome)
				}
			}}),
			"with cuts": bothProtocols(scenario{length: 60 * time.Second, cuts: []string{"i2@5s+15s"}, faults: []string{"slow-markers,delay=2s@2s+50s", "slow-aborts,delay=10s@0s+50s"}}),
		}),
		"new-cluster": scenario{
			length: 30 * time.Second, set: func(cfg *Config) { cfg.Cluster.Embedded.Settle = 8 * time.Second },
			script: func(g *stage) {
				time.Sleep(3 * time.Second)
				if snap := g.s.Snapshot(); snap.Phase != PhaseStarting || !strings.Contains(snap.Waiting, "group coordinator: COORDINATOR_NOT_AVAILABLE") {
					g.Errorf("phase %s, waiting for %q", snap.Phase, snap.Waiting)
				}
			},
		}.run,
		"lose-producer-state": bothProtocols(scenario{faults: []string{"forget-producers@5s+20s", "forget-producers@12s+10s"}}),
		"data-loss": tests(map[string]func(*testing.T){
			"nothing to restore": scenario{length: 60 * time.Second, faults: []string{"truncate,topic=*-changelog@10s"}, set: rewriting}.run,
		}),
		"lost-markers": tests(map[string]func(*testing.T){"for good": scenarioOfLostMarkers, "for a time": scenario{
			length: 60 * time.Second, faults: []string{"hanging-txn,topic=*-by-key-repartition@5s+20s"},
			check: func(t *testing.T, _ *Config, r *Report) {
				t.Helper()
				if *r.Faults[0].Hits != 3 {
					t.Errorf("it hung on %d partitions, want 3", *r.Faults[0].Hits)
				}
			},
		}.run}),
		"broker-errors": scenario{
			length: 60 * time.Second, faults: []string{
				"broker-error,api=Produce,code=NOT_LEADER_FOR_PARTITION,probability=0.2@5s+20s",
				"broker-error,api=Fetch,code=UNKNOWN_SERVER_ERROR,probability=0.1@5s+20s",
				"broker-error,api=EndTxn,txn=eostop-*,code=INVALID_TXN_STATE,count=3@10s+20s",
			},
		}.run,
		"epoch-wrap": scenario{length: 40 * time.Second, script: func(g *stage) { g.wrapEpochs() }}.withVersion("3.7").run,
	}
}

// scenarioOfLostMarkers leaves a transaction open for good: what waits for it is told, and nothing is taken for lost.
func scenarioOfLostMarkers(t *testing.T) {
	t.Parallel()
	cfg := small(40 * time.Second)
	cfg.Faults.Faults = plan(t, "hanging-txn,topic=*-by-key-repartition@5s")
	told := false
	playJudged(t, cfg, Deps{FS: vfs.NewMem()}, func(g *stage) {
		g.until(90 * time.Second)
		for _, e := range g.s.journal.Tail(journalEvents) {
			told = told || e.Cause == "hanging transaction"
		}
	}, func(t *testing.T, _ *Config, r *Report) {
		t.Helper()
		reasons := strings.Join(r.Reasons, "; ")
		if r.Verdict != verify.Unknown || !strings.Contains(reasons, "by-key-repartition-1 cannot be read past offset") ||
			!strings.Contains(reasons, "producer id") || !strings.Contains(reasons, "abort it with") {
			t.Errorf("verdict %q: %s; want unknown, and whose transaction it is", r.Verdict, reasons)
		}
		wantDeaths(t, r, 0)
	})
	if !told {
		t.Error("the journal does not say what is waited for")
	}
}

func rewriting(cfg *Config) { cfg.Runtime.ChangelogRewriteInterval = 5 * time.Second }

// nearlyLast is an epoch of which there are a few more: a producer id has epochs up to 32766.
const nearlyLast = 32760

// wrapEpochs uses up the epochs of i1's producer id (KAFKA-18660).
func (g *stage) wrapEpochs() {
	g.until(5 * time.Second)
	client, err := kgo.NewClient(g.s.cluster.options()...)
	if err != nil {
		g.Fatal(err)
	}
	defer client.Close()
	id := g.producer("i1").TransactionalID
	g.lastEpochs(client, id, useUpEpochs(g.T, client, id))
}

// producer is the producer of an instance's first thread.
func (g *stage) producer(instance string) runtime.ProducerStatus {
	return g.member(instance).instance.Status().Threads[0].Producers[0]
}

// useUpEpochs initialises a producer until the epochs of its producer id, which is returned, are nearly used up.
func useUpEpochs(t *testing.T, client *kgo.Client, id string) int64 {
	t.Helper()
	for {
		if producer := initialise(t, client, id); producer.ProducerEpoch >= nearlyLast {
			return producer.ProducerID
		}
	}
}

// initialise initialises a producer once, unless it is busy.
func initialise(t *testing.T, client *kgo.Client, id string) *kmsg.InitProducerIDResponse {
	t.Helper()
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID, req.TransactionTimeoutMillis = &id, 60000
	resp, err := req.RequestWith(t.Context(), client)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil && !errors.Is(err, kerr.ConcurrentTransactions) {
		t.Fatalf("initialise %s: %v", id, err)
	}
	return resp
}

// lastEpochs lets every new producer of i1's thread take one of the last epochs of an id, until there is none left.
func (g *stage) lastEpochs(client *kgo.Client, id string, producerID int64) {
	for range 12 {
		g.until(g.s.Snapshot().Elapsed + 2*time.Second)
		initialise(g.T, client, id)
	}
	g.until(g.s.Snapshot().Elapsed + 3*time.Second)
	if after := g.producer("i1"); after.ProducerID == producerID {
		g.Errorf("the producer id is still %d, at epoch %d", producerID, after.Epoch)
	}
}
