package runtime_test

import (
	"testing"
	"time"

	"eostop/runtime"
	"eostop/runtime/journal"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestARestoreWaitsForAnOpenTransaction: somebody who was expelled has a transaction open in a changelog, and behind it are records that are
// committed. A restore to the last stable offset would miss them (KAFKA-10167).
func TestARestoreWaitsForAnOpenTransaction(t *testing.T) {
	t.Parallel()
	exactlyOnceModes(t, func(t *testing.T, m mode) {
		inBubble(t, m, func(c *cluster) {
			c.create(1, "in", "out")
			i := c.start("i1", sumProgram(t, nil), nil)
			c.feed("in", 1, 0, 10)
			c.awaitCommitted(soon, "in")

			zombie := c.newClient(kgo.TransactionalID("zombie"), kgo.TransactionTimeout(5*time.Minute), kgo.RecordPartitioner(kgo.ManualPartitioner()))
			if err := zombie.BeginTransaction(); err != nil {
				c.Fatal(err)
			}
			written := record(applicationID+"-"+sumStore+"-changelog", 0, pair{keyOf(0), 666})
			if err := zombie.ProduceSync(c.Context(), written).FirstErr(); err != nil {
				c.Fatal(err)
			}

			c.feed("in", 1, 10, 10)
			c.awaitCommitted(soon, "in")
			i.close()
			i.disk = vfsEmpty()
			i.restart(nil)
			c.feed("in", 1, 20, 5)
			c.await(soon, "the task is being restored", func() bool { return i.total().RestoredRecords == 10 })
			time.Sleep(2 * time.Minute)
			if n := i.total(); n.Processed > 0 || n.RestoredRecords != 10 {
				c.Errorf("%d records restored and %d processed, want it to wait behind the ten before the open transaction", n.RestoredRecords, n.Processed)
			}
			if err := zombie.EndTransaction(c.Context(), kgo.TryAbort); err != nil {
				c.Fatal(err)
			}
			c.awaitCommitted(soon, "in")
			if n := i.total().RestoredRecords; n != 20 {
				c.Errorf("%d records restored, want 20", n)
			}
			c.wantSums("in", "out")
			i.close()
			i.wantDeaths(0, 0)
			i.wantCalm()
		})
	})
}

// TestATakeoverEndsWhatADeadMemberLeftOpen: a process is killed in the middle of a commit, when its offsets are in the transaction already. Whoever
// takes its tasks over waits for that transaction. Under exactly_once the new owner's producer ends it; under exactly_once_v2 the group's leader
// does, or the broker's time-out.
func TestATakeoverEndsWhatADeadMemberLeftOpen(t *testing.T) {
	t.Parallel()
	for name, fencing := range map[string]bool{"the leader fences": true, "the leader does not fence": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			exactlyOnceModes(t, func(t *testing.T, m mode) {
				inBubble(t, m, func(c *cluster) {
					change := func(cfg *runtime.Config) {
						slowCommits(cfg)
						cfg.ActiveFencing, cfg.TransactionTimeout = fencing, 40*time.Second
					}
					c.create(2, "in", "out")
					one, two := c.start("i1", sumProgram(t, nil), change), c.start("i2", sumProgram(t, nil), change)
					c.awaitRunning(late, 2, one, two)
					leaveOpen(c)
					d := one.wire.disturb(&disturbance{key: kmsg.EndTxn, of: commits, do: swallow})
					c.await(late, "a commit is on its way", func() bool { return d.hits.Load() > 0 })
					one.crash()
					crashed := time.Now()
					c.awaitRunning(2*late, 2, two)
					c.feed("in", 2, 15, 5)
					c.awaitCommitted(2*late, "in")
					took := time.Since(crashed) - two.cfg.SessionTimeout
					waits := m.guarantee == runtime.ExactlyOnceV2 && !fencing
					if limit := 3*time.Second + two.cfg.CommitInterval; (took > limit) != waits {
						c.Errorf("the other one had committed %v after the session time-out, want it within %v: %v", took, limit, !waits)
					}
					c.wantSums("in", "out")
					two.close()
					two.wantDeaths(0, 0)
					two.wantCalm()
				})
			})
		})
	}
}

// TestATransactionThatHangsIsNamed: offsets that belong to a transaction which nobody ends keep a task waiting. It waits for as long as it takes, and
// says for what.
func TestATransactionThatHangsIsNamed(t *testing.T) {
	t.Parallel()
	exactlyOnceModes(t, func(t *testing.T, m mode) {
		inBubble(t, m, func(c *cluster) {
			c.create(2, "in", "out")
			i := c.start("i1", copyProgram(t, "in", "out"), nil)
			c.feed("in", 2, 0, 5)
			c.awaitCommitted(soon, "in")
			i.close()

			session, err := kgo.NewGroupTransactSession(
				kgo.SeedBrokers(c.broker.Addrs()...), kgo.Dialer(c.broker.Dial), kgo.DisableClientMetrics(),
				kgo.TransactionalID("zombie"), kgo.TransactionTimeout(10*time.Minute), kgo.ConsumerGroup(applicationID),
			)
			if err != nil {
				c.Fatal(err)
			}
			c.clients = append(c.clients, session.Client())
			c.holdOffsets(session)

			i.restart(nil)
			c.feed("in", 2, 5, 5)
			time.Sleep(2 * time.Minute)
			if n := i.total().Processed; n > 0 {
				c.Errorf("%d records processed, want it to wait for the offsets", n)
			}
			hanging := map[string]int{}
			for _, e := range c.events(journal.KindTransaction) {
				if e.To == "HANGING" {
					hanging[e.Task]++
				}
			}
			// The embedded broker holds all offsets of a group back where Kafka holds those of the partition.
			if hanging["0_0"] != 1 || hanging["0_1"] > 1 {
				c.Errorf("%v: how often tasks are said to hang, want each once, and 0_0 among them", hanging)
			}
			session.Close() // its transaction times out
			c.awaitCommitted(12*time.Minute, "in")
			c.wantCopied("in", "out")
			i.close()
			i.wantDeaths(0, 0)
			i.wantCalm()
		})
	})
}

// holdOffsets puts the offset of partition 0 of the input into a transaction, and leaves that open.
func (c *cluster) holdOffsets(session *kgo.GroupTransactSession) {
	c.Helper()
	if err := session.Begin(); err != nil {
		c.Fatal(err)
	}
	id, epoch, err := session.Client().ProducerID(c.Context())
	if err != nil {
		c.Fatal(err)
	}
	if c.version == "3.7" {
		add := kmsg.NewPtrAddOffsetsToTxnRequest()
		add.TransactionalID, add.ProducerID, add.ProducerEpoch, add.Group = "zombie", id, epoch, applicationID
		if _, err := add.RequestWith(c.Context(), session.Client()); err != nil {
			c.Fatal(err)
		}
	}
	hold := kmsg.NewPtrTxnOffsetCommitRequest()
	hold.TransactionalID, hold.Group, hold.ProducerID, hold.ProducerEpoch = "zombie", applicationID, id, epoch
	topic := kmsg.NewTxnOffsetCommitRequestTopic()
	topic.Topic, topic.TopicID = "in", c.topicID("in")
	partition := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	partition.Partition, partition.Offset = 0, 5
	topic.Partitions = append(topic.Partitions, partition)
	hold.Topics = append(hold.Topics, topic)
	response, err := hold.RequestWith(c.Context(), session.Client())
	if err != nil {
		c.Fatal(err)
	}
	if code := response.Topics[0].Partitions[0].ErrorCode; code != 0 {
		c.Fatalf("hold offsets: error %d", code)
	}
}
