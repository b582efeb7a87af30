package soak

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"eostop/faults/verify"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// scenarioOfStaleOffsets has those who take a task over read an offset that was committed long before (KAFKA-17507). What lies
// between is in their stores already and is processed once more: no runtime can tell, and the verifier must.
func scenarioOfStaleOffsets(t *testing.T) {
	t.Parallel()
	cfg := small(50 * time.Second)
	cfg.Faults.Cuts = cuts(t, "i2@12s+20s")
	r := playJudged(t, cfg, Deps{FS: vfs.NewMem()}, func(g *stage) {
		g.until(8 * time.Second)
		topic := g.s.cfg.Application.ID + "-input"
		partition := g.inputOf("i2")
		offsets, err := g.s.cluster.admin.FetchOffsets(g.s.ctx, g.s.cfg.Application.ID)
		if err != nil {
			g.Fatal(err)
		}
		old, ok := offsets.Lookup(topic, partition)
		if !ok || old.At <= 0 {
			g.Fatalf("nothing is committed for partition %d", partition)
		}
		g.until(14 * time.Second)
		g.commitAs("stale", topic, partition, old.At)
	}, func(t *testing.T, _ *Config, r *Report) {
		t.Helper()
		wantDeaths(t, r, 0)
	})
	if r.Verdict != verify.Violation || r.Records.Duplicated == nil || *r.Records.Duplicated == 0 {
		t.Errorf("verdict %q, %v; want duplicates", r.Verdict, r.Reasons)
	}
}

// inputOf returns a partition of the input that an instance owns.
func (g *stage) inputOf(instance string) int32 {
	g.Helper()
	for _, thread := range g.member(instance).instance.Status().Threads {
		for _, task := range thread.Tasks {
			if number, ok := strings.CutPrefix(task.ID, "0_"); ok {
				var partition int32
				if _, err := fmt.Sscan(number, &partition); err != nil {
					g.Fatal(err)
				}
				return partition
			}
		}
	}
	g.Fatalf("%s owns no partition of the input", instance)
	return -1
}

// commitAs commits an offset of the application's group in a transaction of somebody who is no member.
func (g *stage) commitAs(id, topic string, partition int32, offset int64) {
	g.Helper()
	client, err := kgo.NewClient(g.s.cluster.options()...)
	if err != nil {
		g.Fatal(err)
	}
	defer client.Close()
	group := g.s.cfg.Application.ID

	init := kmsg.NewPtrInitProducerIDRequest()
	init.TransactionalID, init.TransactionTimeoutMillis, init.ProducerID, init.ProducerEpoch = &id, 10000, -1, -1
	producer, err := init.RequestWith(g.s.ctx, client)
	if err != nil || producer.ErrorCode != 0 {
		g.Fatalf("initialise: %v, %v", err, kerr.ErrorForCode(producer.ErrorCode))
	}
	add := kmsg.NewPtrAddOffsetsToTxnRequest()
	add.TransactionalID, add.ProducerID, add.ProducerEpoch, add.Group = id, producer.ProducerID, producer.ProducerEpoch, group
	commit := kmsg.NewPtrTxnOffsetCommitRequest()
	commit.TransactionalID, commit.ProducerID, commit.ProducerEpoch, commit.Group, commit.Generation = id, producer.ProducerID, producer.ProducerEpoch, group, -1
	committed, of := kmsg.NewTxnOffsetCommitRequestTopic(), kmsg.NewTxnOffsetCommitRequestTopicPartition()
	of.Partition, of.Offset, of.LeaderEpoch = partition, offset, -1
	committed.Topic, committed.Partitions = topic, append(committed.Partitions, of)
	commit.Topics = append(commit.Topics, committed)
	end := kmsg.NewPtrEndTxnRequest()
	end.TransactionalID, end.ProducerID, end.ProducerEpoch, end.Commit = id, producer.ProducerID, producer.ProducerEpoch, true

	added, err := add.RequestWith(g.s.ctx, client)
	if err != nil || added.ErrorCode != 0 {
		g.Fatalf("add offsets: %v", err)
	}
	answer, err := commit.RequestWith(g.s.ctx, client)
	if err != nil || len(answer.Topics) != 1 || slices.ContainsFunc(answer.Topics[0].Partitions, func(p kmsg.TxnOffsetCommitResponseTopicPartition) bool { return p.ErrorCode != 0 }) {
		g.Fatalf("commit offsets: %+v, %v", answer, err)
	}
	ended, err := end.RequestWith(g.s.ctx, client)
	if err != nil || ended.ErrorCode != 0 {
		g.Fatalf("end: %v", err)
	}
}
