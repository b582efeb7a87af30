package soak

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"eostop/faults/verify"
	"eostop/runtime"
	"eostop/runtime/journal"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// scenario is a run of the small configuration in which all that is done is said by cuts and faults.
type scenario struct {
	length  time.Duration // of the load; 0 = 45 s
	version string        // of the broker, see speak; empty = any
	cuts    []string
	faults  []string
	set     func(cfg *Config)
	script  func(g *stage)
	check   func(t *testing.T, cfg *Config, r *Report)
	deaths  int
}

func (s scenario) run(t *testing.T) {
	t.Helper()
	t.Parallel()
	if s.length == 0 {
		s.length = 45 * time.Second
	}
	cfg := small(s.length)
	if s.set != nil {
		s.set(&cfg)
	}
	if s.version != "" {
		speak(t, &cfg, s.version)
	}
	cfg.Faults.Cuts, cfg.Faults.Faults = cuts(t, s.cuts...), plan(t, s.faults...)
	skipEmbedded(t, &cfg)
	r := play(t, cfg, s.script)
	wantDeaths(t, r, s.deaths)
	wantHits(t, r)
	if s.check != nil {
		s.check(t, &cfg, r)
	}
}

// wantHits checks that what was planned has happened.
func wantHits(t *testing.T, r *Report) {
	t.Helper()
	for _, f := range r.Faults {
		if f.Hits != nil && *f.Hits == 0 {
			t.Errorf("fault %s hit nothing", f.Spec)
		}
	}
}

// scenarioSet is what is tested under one name; a name is given to each of several.
type scenarioSet map[string]scenario

func (set scenarioSet) run(t *testing.T) {
	for name, s := range set {
		t.Run(name, s.run)
	}
}

// tests runs each of some tests that have names of their own.
func tests(list map[string]func(*testing.T)) func(*testing.T) {
	return func(t *testing.T) {
		for name, test := range list {
			t.Run(name, test)
		}
	}
}

// withVersion is a scenario on a broker that speaks like a version.
func (s scenario) withVersion(version string) scenario {
	s.version = version
	return s
}

// bothProtocols is a scenario with the old and with the new protocol of transactions (KIP-890): one of them, drawn anew each time, or
// with EOSTOP_TEST_ALL=1 both. A real broker has its own.
func bothProtocols(s scenario) func(*testing.T) {
	if os.Getenv(testScenarios) != "" {
		return s.run
	}
	set := scenarioSet{"3.7": s.withVersion("3.7"), "4.0": s.withVersion("4.0")}
	if os.Getenv(testAll) == "" {
		delete(set, []string{"3.7", "4.0"}[rand.IntN(2)])
	}
	return set.run
}

// said checks that the journal has an event of a kind whose text, cause or error says something.
func (g *stage) said(kind journal.Kind, text string) {
	g.Helper()
	for _, e := range g.s.journal.Tail(journalEvents) {
		if e.Kind == kind && (strings.Contains(e.Text, text) || strings.Contains(e.Cause, text) || strings.Contains(e.Error, text)) {
			return
		}
	}
	g.Errorf("no event of kind %s says %q", kind, text)
}

// TestScenarios plays each known way in which exactly-once applications were brought down, one name for each.
func TestScenarios(t *testing.T) {
	t.Parallel()
	for name, test := range scenarios() {
		t.Run(name, test)
	}
}

func scenarios() map[string]func(*testing.T) {
	all := map[string]func(*testing.T){}
	for _, part := range []map[string]func(*testing.T){scenariosOfLinks(), scenariosOfRequests(), scenariosOfThreads(), scenariosOfBrokers()} {
		for name, test := range part {
			if all[name] != nil {
				panic("two scenarios are called " + name)
			}
			all[name] = test
		}
	}
	return all
}

// scenariosOfLinks is what is done to the network of an instance.
func scenariosOfLinks() map[string]func(*testing.T) {
	slow := func(spec string) scenario {
		return scenario{length: 60 * time.Second, faults: []string{spec}}
	}
	return map[string]func(*testing.T){
		"cut-5m":          scenarioOfHourlyCuts,
		"cut-5m-tolerant": scenarioOfPatience,
		"cut-short":       scenarioOfShortCuts,
		"cut-in":          scenario{cuts: []string{"i2@5s+20s:in"}, check: wantTakeovers}.run,
		"cut-out":         scenario{cuts: []string{"i2@5s+20s:out"}, check: wantTakeovers}.run,
		"cut-in-commit":   scenarioOfCutsInCommits,
		"cut-in-join":     scenarioOfCutsInJoins,
		"cut-in-restore":  scenarioOfCutsInRestores,
		"cut-two":         scenario{length: 60 * time.Second, cuts: []string{"i1@5s+20s", "i2@10s+20s"}}.run,
		"cut-all":         scenario{length: 60 * time.Second, cuts: []string{"i1@5s+20s", "i2@5s+20s", "i3@5s+20s"}}.run,
		"flap":            scenarioOfFlaps,
		"reset-storm": tests(map[string]func(*testing.T){
			"all of an instance at once":  scenarioOfResets,
			"one after another at random": scenario{length: 60 * time.Second, faults: []string{"reset,rate=3@5s+30s"}}.run,
		}),
		"slow-link": scenarioSet{
			"500 ms":          slow("delay,delay=250ms@5s+30s"),
			"3 s":             slow("delay,instance=i2,delay=1500ms@5s+30s"),
			"64 kB a second":  slow("throttle,instance=i2,rate=64kB@5s+30s"),
			"jitter of 400ms": slow("jitter,jitter=400ms@5s+30s"),
		}.run,
		"late-delivery": scenarioOfLateRequests,
		"half-open":     scenario{length: 60 * time.Second, faults: []string{"half-open,instance=i2@5s+20s"}}.run,
	}
}

func wantTakeovers(t *testing.T, cfg *Config, r *Report) {
	t.Helper()
	for _, c := range r.Cuts {
		wantTakeover(t, cfg, c)
	}
}

// scenarioOfHourlyCuts is how KAFKA-9231 was found, for as many hours as there are instances.
func scenarioOfHourlyCuts(t *testing.T) {
	t.Parallel()
	cfg := Default()
	SimulationDefaults(&cfg)
	cfg.Session.SnapshotInterval = 0
	cfg.Runtime.Threads, cfg.Cluster.Partitions = 1, 3
	cfg.Load.Duration, cfg.Load.Seed = 3*time.Hour, 9231
	cfg.Faults.Cuts = cuts(t, "i1@20m+5m", "i2@1h20m+5m", "i3@2h20m+5m")
	r := play(t, cfg, nil)
	wantDeaths(t, r, 0)
	if len(r.Cuts) != 3 {
		t.Errorf("%d cuts, want 3", len(r.Cuts))
	}
	// Threads look and commit less often there.
	limit := (cfg.Runtime.SessionTimeout + cfg.Runtime.HeartbeatInterval + cfg.Runtime.CommitInterval).Milliseconds()
	for _, c := range r.Cuts {
		if !c.Expelled || c.TakeoverMS == nil || *c.TakeoverMS > limit {
			t.Errorf("%s: expelled %v, taken over after %s ms, want at most %d", cutName(c), c.Expelled, number(c.TakeoverMS), limit)
		}
	}
}

// scenarioOfPatience has all time-outs above the length of the cut, as the soak of KAFKA-9231 had.
func scenarioOfPatience(t *testing.T) {
	scenario{
		length: 8 * time.Minute,
		cuts:   []string{"i2@10s+5m"},
		set: func(cfg *Config) {
			r := &cfg.Runtime
			r.SessionTimeout, r.RebalanceTimeout, r.TransactionTimeout = 6*time.Minute, 6*time.Minute, 6*time.Minute
			cfg.Load.Rate = 10
		},
		check: func(t *testing.T, _ *Config, r *Report) { wantNoneExpelled(t, r.Cuts) },
	}.run(t)
}

// scenariosOfRequests is what brokers answer, and when.
func scenariosOfRequests() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"fence-each-api": scenarioOfFences,
		"unknown-producer-id": scenario{
			faults: []string{"error,instance=i1,api=Produce,txn=*,code=UNKNOWN_PRODUCER_ID,nth=3@5s"},
			script: func(g *stage) { g.until(20 * time.Second); g.said(journal.KindMigrated, "unknown producer id") },
		}.run,
		"forgotten-in-a-purged-log": tests(map[string]func(*testing.T){
			"unknown producer id":    bothProtocols(scenarioOfAForgottenProducer("UNKNOWN_PRODUCER_ID")),
			"invalid producer epoch": bothProtocols(scenarioOfAForgottenProducer("INVALID_PRODUCER_EPOCH")),
			"out of order":           bothProtocols(scenarioOfAForgottenProducer("OUT_OF_ORDER_SEQUENCE_NUMBER")),
		}),
		"lose-endtxn-response": tests(map[string]func(*testing.T){
			"applied":                 bothProtocols(scenario{faults: []string{"drop-response,instance=i1,api=EndTxn,end=commit@5s"}}),
			"applied and closed":      bothProtocols(scenario{faults: []string{"drop-response,instance=i1,api=EndTxn,end=commit,close=true@5s"}}),
			"applied, many":           bothProtocols(scenario{faults: []string{"drop-response,api=EndTxn,end=commit,close=true,probability=0.2@5s+20s"}}),
			"not applied":             bothProtocols(scenario{faults: []string{"close,instance=i1,api=EndTxn@5s"}}),
			"not applied, many":       bothProtocols(scenario{faults: []string{"close,api=EndTxn,probability=0.2@5s+20s"}}),
			"applied, another answer": bothProtocols(scenario{faults: []string{"rewrite,instance=i1,api=EndTxn,end=commit,code=UNKNOWN_SERVER_ERROR@5s"}}),
		}),
		"late-endtxn": tests(map[string]func(*testing.T){
			"seconds":                  bothProtocols(scenario{faults: []string{"hold,instance=i1,api=EndTxn,delay=5s@5s"}}),
			"after the transaction":    bothProtocols(scenario{faults: []string{"hold,instance=i1,api=EndTxn,delay=15s@5s"}}),
			"after the client gave up": bothProtocols(scenario{length: 60 * time.Second, faults: []string{"hold,instance=i1,api=EndTxn,delay=30s,count=3@5s"}}),
		}),
		"late-produce": tests(map[string]func(*testing.T){
			"after the time-out":     bothProtocols(scenario{length: 60 * time.Second, faults: []string{"hold,instance=i1,api=Produce,txn=*,delay=14s@5s"}}),
			"after everybody's turn": bothProtocols(scenario{length: 75 * time.Second, faults: []string{"hold,instance=i1,api=Produce,txn=*,delay=35s@5s"}}),
		}),
		"endtxn-after-timeout": scenario{
			length: 60 * time.Second, faults: []string{"hold,instance=i1,api=EndTxn,delay=9500ms,nth=2@5s"},
			set: func(cfg *Config) {
				cfg.Runtime.TransactionTimeout, cfg.Runtime.CommitInterval = 9*time.Second, time.Second
			},
		}.withVersion("4.0").run,
		"expelled-open-txn": bothProtocols(scenario{
			length: 60 * time.Second, cuts: []string{"i2@6500ms+25s"},
			set: func(cfg *Config) {
				cfg.Runtime.TransactionTimeout, cfg.Runtime.CommitInterval = time.Minute, 2*time.Second
			},
			check: wantTakeovers,
		}),
		"no-generation":      scenarioOfGenerations,
		"stale-offset-fetch": scenarioOfStaleOffsets,
		"concurrent-txn": tests(map[string]func(*testing.T){
			"Produce":            scenario{length: 60 * time.Second, faults: []string{"error,instance=i1,api=Produce,txn=*,code=CONCURRENT_TRANSACTIONS@5s+20s"}}.run,
			"AddPartitionsToTxn": scenario{length: 60 * time.Second, faults: []string{"error,instance=i1,api=AddPartitionsToTxn,code=CONCURRENT_TRANSACTIONS@5s+20s"}}.withVersion("3.7").run,
			"InitProducerID":     scenario{length: 60 * time.Second, cuts: []string{"i1@5s+12s"}, faults: []string{"error,api=InitProducerID,code=CONCURRENT_TRANSACTIONS@15s+15s"}}.run,
			"EndTxn":             scenario{length: 60 * time.Second, faults: []string{"error,instance=i1,api=EndTxn,code=CONCURRENT_TRANSACTIONS@5s+20s"}}.run,
		}),
		"unstable-offsets": scenario{length: 60 * time.Second, cuts: []string{"i1@5s+12s"}, faults: []string{"error,api=OffsetFetch,code=UNSTABLE_OFFSET_COMMIT@5s+20s"}}.run,
		"coordinators": tests(map[string]func(*testing.T){
			"loading": scenario{length: 60 * time.Second, faults: []string{
				"error,api=Produce+AddPartitionsToTxn+AddOffsetsToTxn+TxnOffsetCommit+EndTxn+InitProducerID+Heartbeat+JoinGroup+SyncGroup+OffsetFetch,code=COORDINATOR_LOAD_IN_PROGRESS@5s+10s",
			}}.run,
			"not available": scenario{length: 60 * time.Second, faults: []string{"error,api=FindCoordinator+EndTxn+TxnOffsetCommit,code=COORDINATOR_NOT_AVAILABLE@5s+10s"}}.run,
			"moved":         scenario{length: 60 * time.Second, faults: []string{"error,api=EndTxn+TxnOffsetCommit+AddOffsetsToTxn+Heartbeat,code=NOT_COORDINATOR,probability=0.3@5s+20s"}}.run,
		}),
		"leaders": scenario{length: 60 * time.Second, faults: []string{"error,api=Produce+Fetch,code=NOT_LEADER_FOR_PARTITION,probability=0.3@5s+20s"}}.run,
	}
}

// scenarioOfAForgottenProducer refuses records of producers that have nothing left in the log, for it was purged. The client takes that for
// the broker's having forgotten them, initialises the producer anew by itself, and goes on: what its transaction held before is aborted then.
func scenarioOfAForgottenProducer(code string) scenario {
	var faults []string
	for at := range 8 {
		faults = append(faults, fmt.Sprintf("rewrite,api=Produce,txn=*,topic=*-repartition,code=%s,count=3,probability=0.5@%ds+1s", code, 4+3*at))
	}
	return scenario{
		faults: faults,
		set: func(cfg *Config) {
			cfg.Runtime.RepartitionPurgeInterval, cfg.Runtime.CommitInterval = 50*time.Millisecond, 500*time.Millisecond
		},
	}
}

// fencingCodes are the errors that end a transaction, and often its producer.
func fencingCodes() []string {
	return []string{
		"PRODUCER_FENCED", "INVALID_PRODUCER_EPOCH", "INVALID_PRODUCER_ID_MAPPING", "UNKNOWN_PRODUCER_ID", "OUT_OF_ORDER_SEQUENCE_NUMBER",
		"INVALID_TXN_STATE", "TRANSACTION_ABORTABLE",
	}
}

// scenarioOfFences answers each request with each of these, in ordinary work, and when a producer is opened again.
func scenarioOfFences(t *testing.T) {
	for _, api := range []string{"Produce", "AddPartitionsToTxn", "AddOffsetsToTxn", "TxnOffsetCommit", "EndTxn", "InitProducerID"} {
		for _, code := range fencingCodes() {
			s := scenario{
				length: 14 * time.Second,
				faults: []string{fmt.Sprintf("error,instance=i1,api=%s,txn=*,code=%s,nth=2@3s", api, code)},
				set: func(cfg *Config) {
					cfg.Runtime.Instances, cfg.Cluster.Partitions = 2, 2
					cfg.Load.Rate, cfg.Load.Keys = 20, 20
				},
				script: func(g *stage) {
					g.until(8 * time.Second)
					g.said(journal.KindFault, code)
					if x := g.s.Snapshot().Transactions; api != "InitProducerID" && x.Aborted == 0 {
						g.Error("no transaction was aborted")
					}
				},
			}
			if api == "InitProducerID" {
				// A producer is opened again only after another error.
				s.faults = []string{
					fmt.Sprintf("error,instance=i1,api=InitProducerID,code=%s@3s", code), "error,instance=i1,api=EndTxn,code=PRODUCER_FENCED@3s",
				}
			}
			if api == "AddPartitionsToTxn" || api == "AddOffsetsToTxn" {
				t.Run(api+" "+code, s.withVersion("3.7").run)
				continue // they are part of other requests in the new protocol
			}
			t.Run(api+" "+code, bothProtocols(s))
		}
	}
}

// scenariosOfThreads is what is done to threads, and what the members of the group do.
func scenariosOfThreads() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"stall":           scenarioOfStalls,
		"thread-replace":  scenario{length: 25 * time.Second, faults: []string{"panic,instance=i1,thread=1@5s"}, deaths: 1}.run,
		"rebalance-churn": scenarioOfChurn,
		"disk-full": tests(map[string]func(*testing.T){
			"some writes fail": scenarioOfASickDisk,
			"all writes fail":  scenarioOfAFullDisk,
		}),
		"slow-disk": scenario{length: 60 * time.Second, faults: []string{"slow-disk,instance=i1,delay=2s@5s+30s"}, set: func(cfg *Config) { cfg.Runtime.StateFlushInterval = time.Second }}.run,
		"recycle":   scenarioOfRecycledTasks,
		"auth-fail": tests(map[string]func(*testing.T){"of one": scenarioOfARefusal("i1"), "of all": scenarioOfARefusal("")}),
		"clock-jump": tests(map[string]func(*testing.T){
			"forward": bothProtocols(scenarioOfClocks("1h")),
			"back":    bothProtocols(scenarioOfClocks("-1h")),
		}),
		"txn-timeout":      bothProtocols(scenarioOfATimedOutTransaction()),
		"fence-in-flush":   tests(map[string]func(*testing.T){"suspend": fenceInFlush("i2@8s+12s").run, "commit": fenceInFlush("i2@25s+2s").run}),
		"revoke-in-flush":  scenarioOfARevocationInAFlush().run,
		"long-restore":     scenarioOfALongRestore().run,
		"close-in-restore": scenarioOfACloseInARestore,
	}
}

// scenarioOfARefusal takes permissions away from one instance, or from all of them. Those that have lost them end with the reason, and
// do not ask again and again. Who never had any is refused before anything starts, see TestRefusals.
func scenarioOfARefusal(instance string) func(*testing.T) {
	return func(t *testing.T) {
		t.Parallel()
		cfg := small(40 * time.Second)
		who := ""
		if instance != "" {
			who = ",instance=" + instance
		}
		cfg.Faults.Faults = plan(t, "error,api=Produce,txn=*"+who+",code=TOPIC_AUTHORIZATION_FAILED@5s+25s")
		playJudged(t, cfg, Deps{FS: vfs.NewMem()}, nil, func(t *testing.T, _ *Config, r *Report) {
			t.Helper()
			instances := 1
			if instance == "" {
				instances = cfg.Runtime.Instances
			}
			if len(r.Threads.Died) != instances || r.Threads.Replaced > 0 {
				t.Errorf("%d died, %d replaced", len(r.Threads.Died), r.Threads.Replaced)
			}
			for _, d := range r.Threads.Died {
				if d.Cause != "authorisation" || !strings.Contains(d.Error, "TOPIC_AUTHORIZATION_FAILED") {
					t.Errorf("%s died of %s: %s", d.Thread, d.Cause, d.Error)
				}
			}
			if asked := *r.Faults[0].Hits; asked > int64(10*instances) {
				t.Errorf("they asked %d times", asked)
			}
			reasons := strings.Join(r.Reasons, "; ")
			if instance == "" && (r.Verdict != verify.Unknown || !strings.Contains(reasons, "the brokers do not let the application run: authorisation")) ||
				instance != "" && r.Verdict != verify.Clean {
				t.Errorf("verdict %s: %s", r.Verdict, reasons)
			}
		})
	}
}

// scenarioOfClocks lets the wall clocks of instances jump while tasks are taken over and warmed up: first one for a time, then all
// of them for good.
func scenarioOfClocks(by string) scenario {
	return scenario{
		length: 2 * time.Minute, cuts: []string{"i2@12s+15s", "i1@60s+15s"},
		faults: []string{"clock-jump,instance=i1,by=" + by + "@5s+50s", "clock-jump,by=" + by + "@58s"},
		set: func(cfg *Config) {
			cfg.Runtime.StandbyReplicas, cfg.Runtime.AcceptableRecoveryLag, cfg.Runtime.ProbingRebalanceInterval = 1, 10, 5*time.Second
		},
	}
}

// scenarioOfATimedOutTransaction stalls a thread for longer than its transaction may take, but not as long as its session.
func scenarioOfATimedOutTransaction() scenario {
	return scenario{
		length: 60 * time.Second, faults: []string{"stall,instance=i1,thread=1@5s+14s"},
		set: func(cfg *Config) {
			cfg.Runtime.SessionTimeout, cfg.Runtime.RebalanceTimeout = 30*time.Second, 30*time.Second
			cfg.Runtime.CommitInterval = time.Second // so that a transaction is open
		},
		script: func(g *stage) { g.until(50 * time.Second); g.said(journal.KindProducer, "timed out") },
	}
}

// fenceInFlush fences a producer while what is cached is written: at a commit, and while tasks are given away.
func fenceInFlush(cut string) scenario {
	return scenario{
		length: 60 * time.Second, cuts: []string{cut},
		faults: []string{"error,instance=i1,api=Produce,txn=*,code=PRODUCER_FENCED,count=2@17s", "error,instance=i3,api=Produce,txn=*,code=INVALID_PRODUCER_EPOCH,nth=4@20500ms"},
		set:    cached,
	}
}

// cached keeps updates back until a commit, which then writes many at once.
func cached(cfg *Config) {
	cfg.Runtime.RecordCache, cfg.Runtime.CommitInterval = 10<<20, time.Second
}

// scenarioOfAFullDisk lets every write of an instance fail, until there is space again. Threads that die of it are replaced.
func scenarioOfAFullDisk(t *testing.T) {
	t.Parallel()
	cfg := small(70 * time.Second)
	cfg.Runtime.StateFlushInterval = time.Second // so that there are writes to fail
	cfg.Faults.Faults = plan(t, "disk-full,instance=i1@5s+12s")
	r := play(t, cfg, nil)
	wantHits(t, r)
	t.Logf("%d threads died, %d stores rebuilt", len(r.Threads.Died), r.State.Rebuilt)
	for _, d := range r.Threads.Died {
		if d.Survivable {
			t.Errorf("%s died of %s: %s", d.Thread, d.Cause, d.Error)
		}
	}
	if r.Threads.Replaced != len(r.Threads.Died) {
		t.Errorf("%d threads died, %d were replaced", len(r.Threads.Died), r.Threads.Replaced)
	}
}

// scenarioOfARevocationInAFlush gives tasks away while every send fails (KAFKA-16876, KAFKA-18943).
func scenarioOfARevocationInAFlush() scenario {
	return scenario{
		length: 60 * time.Second, cuts: []string{"i2@5s+12s"},
		// i2 comes back at 17 s and takes its tasks from the others, whose sends fail just then.
		faults: []string{"error,api=Produce,txn=*,code=OUT_OF_ORDER_SEQUENCE_NUMBER,probability=0.5@16s+4s"},
		set:    cached,
	}
}

// scenarioOfALongRestore lets a restore take longer than a transaction may (KAFKA-13295).
func scenarioOfALongRestore() scenario {
	return scenario{
		length: 100 * time.Second, cuts: []string{"i2@20s+60s"},
		faults: []string{"throttle,instance=i1,rate=6kB,direction=in@29s+25s"},
		set: func(cfg *Config) {
			cfg.Runtime.TransactionTimeout, cfg.Runtime.Instances, cfg.Cluster.Partitions = 8*time.Second, 2, 2
			cfg.Runtime.ChangelogRewriteInterval = 0
		},
	}
}

// churn is how often members join and leave.
const churn = 30

// scenarioOfChurn adds and removes threads every five seconds.
func scenarioOfChurn(t *testing.T) {
	scenario{
		length: 4 * time.Minute,
		set:    func(cfg *Config) { cfg.Cluster.Partitions = 6 },
		script: func(g *stage) {
			g.until(5 * time.Second)
			for n := range churn {
				m := g.s.members[n/2%len(g.s.members)]
				if n%2 == 0 {
					if _, err := m.instance.AddThread(); err != nil {
						g.Error(err)
					}
				} else if _, err := m.instance.RemoveThread(g.s.ctx); err != nil {
					g.Error(err)
				}
				time.Sleep(5 * time.Second)
			}
		},
	}.run(t)
}

// scenarioOfRecycledTasks turns active tasks into standby tasks and back (KAFKA-14172).
func scenarioOfRecycledTasks(t *testing.T) {
	scenario{
		length: 2 * time.Minute, cuts: []string{"i1@10s+20s", "i2@45s+20s", "i1@75s+15s"},
		set: func(cfg *Config) {
			cached(cfg)
			cfg.Runtime.StandbyReplicas = 1
		},
	}.run(t)
}

// scenarioOfACloseInARestore removes a thread while it restores, and lets it own the same tasks again (KAFKA-16017).
func scenarioOfACloseInARestore(t *testing.T) {
	scenario{
		length: 90 * time.Second, cuts: []string{"i2@10s+14s"},
		faults: []string{"throttle,instance=i1,rate=8kB,direction=in@18s+15s"},
		set: func(cfg *Config) {
			cfg.Runtime.Instances, cfg.Cluster.Partitions, cfg.Runtime.Threads = 2, 4, 2
			cfg.Runtime.ChangelogRewriteInterval = 0
		},
		script: func(g *stage) {
			g.until(22 * time.Second)
			if _, err := g.member("i1").instance.RemoveThread(g.s.ctx); err != nil {
				g.Error(err)
			}
			if _, err := g.member("i1").instance.AddThread(); err != nil {
				g.Error(err)
			}
		},
	}.run(t)
}

// scenarioOfGenerations looks at every commit of offsets while everybody is expelled: none may be without a generation.
func scenarioOfGenerations(t *testing.T) {
	if os.Getenv(testScenarios) != "" {
		t.Skip("only the embedded broker tells what it is asked")
	}
	for _, guarantee := range []runtime.Guarantee{runtime.ExactlyOnceV2, runtime.AtLeastOnce} {
		t.Run(string(guarantee), scenario{
			length: 80 * time.Second, cuts: []string{"i1@5s+25s", "i2@5s+25s", "i3@5s+25s", "i1@45s+12s:in", "i2@45s+12s:out"},
			set:    func(cfg *Config) { cfg.Runtime.Guarantee = string(guarantee) },
			script: func(g *stage) { g.watchGenerations() },
		}.run)
	}
}

// TestEveryScenarioIsPlayed: each known scenario is played here, or by tests of the package that it concerns alone.
func TestEveryScenarioIsPlayed(t *testing.T) {
	here := strings.Fields(`cut-5m cut-5m-tolerant cut-short cut-in cut-out cut-in-commit cut-in-join cut-in-restore cut-two cut-all flap reset-storm
		slow-link late-delivery fence-each-api fence-in-flush unknown-producer-id lose-endtxn-response late-endtxn late-produce txn-timeout
		endtxn-after-timeout expelled-open-txn no-generation stall concurrent-txn unstable-offsets rebalance-churn revoke-in-flush recycle
		close-in-restore disk-full slow-disk long-restore thread-replace leader-move broker-restart async-markers new-cluster data-loss
		lost-markers epoch-wrap stale-offset-fetch auth-fail`)
	all := scenarios()
	for _, name := range here {
		if all[name] == nil {
			t.Errorf("there is no scenario %s", name)
		}
	}
	for name, test := range map[string][2]string{
		"corrupt-store": {"../../runtime/state/broken_test.go", "TestDamagedFiles"},
		"stolen-dir":    {"../../runtime/state/directory_test.go", "TestLockedByProcess"},
		"purge":         {"../../runtime/lifecycle_test.go", "TestPurgeable"},
		"poison":        {"../../runtime/integration_handlers_test.go", "TestHandlersOfTheProgram"},
		"missing-topic": {"../../runtime/integration_lifecycle_test.go", "TestOneOfTwoInputsDoesNotExist"},
		"kill-9":        {"../../runtime/integration_shutdown_test.go", "TestACrashRestoresOnlyTheTail"},
	} {
		text, err := os.ReadFile(test[0])
		if err != nil || !strings.Contains(string(text), "func "+test[1]+"(") {
			t.Errorf("scenario %s: %s has no test %s (%v)", name, test[0], test[1], err)
		}
		if all[name] != nil {
			t.Errorf("scenario %s is played twice", name)
		}
	}
}
