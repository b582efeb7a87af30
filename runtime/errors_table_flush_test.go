package runtime_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"eostop/runtime"
	"eostop/runtime/journal"
	"eostop/runtime/topology"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// cachedProgram copies in to echo at once, and writes the sums of each key to out when the cache of its table is flushed.
func cachedProgram(t *testing.T) *topology.Topology {
	t.Helper()
	b := topology.NewStreamsBuilder()
	in := topology.Stream(b, "in", topology.String{}, topology.Int64{})
	in.To("echo", topology.String{}, topology.Int64{})
	sum := topology.Aggregate(in.GroupByKey(topology.String{}, topology.Int64{}),
		func() int64 { return 0 }, func(_ string, value, sum int64) int64 { return sum + value }, topology.Int64{},
		topology.Materialized{Name: sumStore})
	sum.ToStream().To("out", topology.String{}, topology.Int64{})
	return built(t, b)
}

// wantCached checks both outputs of a cachedProgram: of the sums only the last one of a key is sure to be there, and each only once.
func wantCached(c *cluster) {
	c.Helper()
	c.wantCopied("in", "echo")
	sums := c.values("out", committed)
	for key, values := range c.values("in", committed) {
		total, running := int64(0), []int64{}
		for _, v := range values {
			total += v
			running = append(running, total)
		}
		got := sums[key]
		if len(got) == 0 || got[len(got)-1] != total || !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
			c.Errorf("key %s: sums %v, want some of %v, each once, in order and up to %d", key, got, running, total)
		}
	}
}

// TestErrorsInStoreFlushes: a send has failed, and the first to notice is the flush of a store's cache, which sends what it forwards. That
// is the first cause of KAFKA-9231: in a commit, in a revocation and in a close the error came out of the store as its own.
func TestErrorsInStoreFlushes(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name       string
		err        *kerr.Error
		head, post reaction
		want       reaction
		cause      string
		why        string
	}{
		{"ProcessorState (ProducerFenced)", kerr.ProducerFenced, migrated, migrated, migrated, "fenced", ""},
		{"ProcessorState (InvalidProducerEpoch)", kerr.InvalidProducerEpoch, migrated, migrated, migrated, "invalid producer epoch", ""},
		{"ProcessorState (UnknownProducerId)", kerr.UnknownProducerID, migrated, migrated, migrated, "unknown producer id", ""},
		{"ProcessorState (InvalidPidMapping)", kerr.InvalidProducerIDMapping, migrated, dies, migrated, "invalid producer id mapping", ""},
		{"ProcessorState (OutOfOrderSequence)", kerr.OutOfOrderSequenceNumber, migrated, dies, migrated, "out of order sequence", ""},
		{"ProcessorState (InvalidTxnState)", kerr.InvalidTxnState, "", "", migrated, "invalid transaction state", ""},
		{"ProcessorState (TransactionAbortable)", kerr.TransactionAbortable, dies, "", migrated, "transaction abortable", keepsAbortable},
		{"ProcessorState (UnknownServer)", kerr.UnknownServerError, dies, "", corrupted, "unknown server error", keepsServer},
		{"ProcessorState (TopicAuthorization)", kerr.TopicAuthorizationFailed, dies, dies, dies, "authorisation", ""},
	}
	moments := map[string]moment{"commit": running, "revocation": revoking, "close": closing, "loss": losing}
	for _, r := range rows {
		for at, when := range moments {
			t.Run(fmt.Sprintf("%s @ flush in %s", r.name, at), func(t *testing.T) {
				t.Parallel()
				if deviates := r.head != "" && r.want != r.head; deviates != (r.why != "") {
					t.Errorf("trunk: %s, here: %s, reason: %q", r.head, r.want, r.why)
				}
				exactlyOnceModes(t, func(t *testing.T, m mode) {
					inBubble(t, m, func(c *cluster) {
						i := failedSend(c, r.err)
						switch when {
						case revoking:
							other := c.start("i2", i.top, nil)
							c.awaitRunning(late, 2, i, other)
						case closing:
							i.close()
							i.wantDeaths(0, 0)
							i.restart(nil)
						case losing:
							i.wire.disturb(&disturbance{key: kmsg.Heartbeat, do: refuse, err: kerr.UnknownMemberID})
							c.await(soon, "the group has taken the tasks away", func() bool { return i.total().Migrated > 0 })
						default:
							c.awaitCommitted(late, "in") // by the commit that flushes
						}
						c.feed("in", 2, 15, 5)
						c.awaitCommitted(late, "in")
						wantCached(c)
						switch when {
						case closing: // it is in the log, and has no consequences
						case losing: // nothing is flushed any more
							i.wantDeaths(0, 0)
							if n := i.total(); n.Migrated != 1 || n.Corrupted != 0 {
								c.Errorf("%+v, want the loss to be all that has happened", n)
							}
						default:
							wantFromFlush(c, i, r.want, r.cause)
						}
					})
				})
			})
		}
	}
}

// failedSend brings an application to the point where a record of the open transaction could not be sent, and nobody has noticed. The caches
// hold what is to be flushed.
func failedSend(c *cluster, err *kerr.Error) *member {
	c.Helper()
	c.create(2, "in", "echo", "out")
	i := c.start("i1", cachedProgram(c.T), slowCommits)
	c.awaitRunning(soon, 2, i)
	c.feed("in", 2, 0, 10)
	c.awaitCommitted(late, "in")
	echo := c.topicID("echo")
	d := i.wire.disturb(&disturbance{key: kmsg.Produce, do: refuse, err: err, of: func(r request) bool {
		return slices.ContainsFunc(r.Request.(*kmsg.ProduceRequest).Topics, func(t kmsg.ProduceRequestTopic) bool {
			return t.Topic == "echo" || t.TopicID == echo
		})
	}})
	c.produce("in", 0, pair{keyOf(0), 10}) // one only: the next send would notice
	c.await(2*time.Second, "a send has failed", func() bool { return d.hits.Load() > 0 })
	return i
}

// wantFromFlush checks what became of the thread, and that the error came out of a flush.
func wantFromFlush(c *cluster, i *member, want reaction, cause string) {
	c.Helper()
	kind := map[reaction]journal.Kind{migrated: journal.KindMigrated, corrupted: journal.KindCorrupted, dies: journal.KindError}[want]
	events := c.events(kind)
	if len(events) == 0 || events[0].Cause != cause || !strings.Contains(events[0].Error, "store "+sumStore) {
		c.Errorf("events %+v, want one of %s by store %s", events, cause, sumStore)
	}
	n := 0
	if want == dies {
		n = 1
	}
	i.wantDeaths(n, n)
	if wiped := i.total().Wiped; wiped != 0 && i.cfg.StateMode == runtime.StateTransactional {
		c.Errorf("%d stores wiped", wiped)
	}
}
