package soak

import (
	"fmt"
	"hash/crc32"
	"strings"
	"testing"
	"time"

	"eostop/faults/verify"
	"eostop/runtime/journal"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// purgesWhatIsCommitted checks until the load ends that nothing was deleted from a repartition topic which the group had not committed
// (KAFKA-17635), and that something was.
func (g *stage) purgesWhatIsCommitted() {
	purged := int64(0)
	for g.until(time.Second); g.s.Snapshot().Elapsed < g.s.cfg.Load.Duration; time.Sleep(20 * time.Millisecond) {
		// Starts come first: what is committed between the two requests can only hide a mistake, not make one up.
		starts, err := g.s.cluster.admin.ListStartOffsets(g.Context(), g.s.topics.Repartitions...)
		if err == nil {
			err = starts.Error()
		}
		if err != nil {
			g.Fatal(err)
		}
		// A transaction may have ended and its offsets not be there yet: the brokers say so if they are asked for stable ones.
		committed, err := g.s.cluster.admin.FetchOffsets(kadm.RequireStable(g.Context()), g.s.cfg.Application.ID)
		if err != nil {
			g.Fatal(err)
		}
		starts.Each(func(start kadm.ListedOffset) {
			purged = max(purged, start.Offset)
			if at, _ := committed.Lookup(start.Topic, start.Partition); at.Err == nil && start.Offset > max(at.At, 0) {
				g.Errorf("%s-%d begins at %d, and %d is committed", start.Topic, start.Partition, start.Offset, at.At)
			}
		})
	}
	if purged == 0 {
		g.Error("nothing was purged")
	}
}

// hanging is a transaction that no coordinator knows of.
type hanging struct {
	topic     string
	partition int32
	id        int64
	epoch     int16
}

// loseMarkers leaves a transaction open on a partition as one is left whose markers were lost: its coordinator has it as ended, or as one
// that has never been there. A record in an old version of the request, for which the broker does not ask the coordinator, does that; that
// it asks is switched off for a moment.
func (g *stage) loseMarkers(topic string, partition int32) hanging {
	g.Helper()
	verified := func(value string) {
		g.Helper()
		set := kadm.AlterConfig{Op: kadm.SetConfig, Name: "transaction.partition.verification.enable", Value: &value}
		answers, err := g.s.cluster.admin.AlterBrokerConfigs(g.s.ctx, []kadm.AlterConfig{set})
		if err == nil {
			_, err = answers.On("", func(r *kadm.AlterConfigsResponse) error { return r.Err })
		}
		if err != nil {
			g.Fatal(err)
		}
	}
	client, err := kgo.NewClient(append(g.s.cluster.options(), kgo.MaxVersions(kversion.V3_7_0()))...)
	if err != nil {
		g.Fatal(err)
	}
	defer client.Close()
	id := g.s.cfg.Application.ID + "-lost"
	init := kmsg.NewPtrInitProducerIDRequest()
	init.TransactionalID, init.TransactionTimeoutMillis = &id, 1000
	producer, err := init.RequestWith(g.s.ctx, client)
	if err == nil {
		err = kerr.ErrorForCode(producer.ErrorCode)
	}
	if err != nil {
		g.Fatal(err)
	}
	h := hanging{topic, partition, producer.ProducerID, producer.ProducerEpoch}
	req := kmsg.NewPtrProduceRequest()
	req.TransactionID, req.Acks, req.TimeoutMillis = &id, -1, 10_000
	in, at := kmsg.NewProduceRequestTopic(), kmsg.NewProduceRequestTopicPartition()
	at.Partition, at.Records = partition, h.batch()
	in.Topic, in.Partitions = topic, append(in.Partitions, at)
	req.Topics = append(req.Topics, in)
	verified("false")
	defer verified("true")
	// The broker's part that appends learns of the change a moment after the one that answered.
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		written, err := req.RequestWith(g.s.ctx, client)
		if err == nil {
			err = kerr.ErrorForCode(written.Topics[0].Partitions[0].ErrorCode)
		}
		if err == nil {
			return h
		}
		if time.Now().After(deadline) {
			g.Fatalf("write to %s-%d: %v", topic, partition, err)
		}
	}
}

// batch is a batch of one record in a transaction of the producer's.
func (h *hanging) batch() []byte {
	record := kmsg.Record{Value: []byte("never committed")}
	record.Length = int32(len(record.AppendTo(nil))) - 1 // of all behind the length, which is one byte as long as it is 0 or this
	batch := kmsg.NewRecordBatch()
	batch.Magic, batch.PartitionLeaderEpoch, batch.Attributes = 2, -1, 0x10 // transactional
	batch.FirstTimestamp = time.Now().UnixMilli()
	batch.MaxTimestamp, batch.ProducerID, batch.ProducerEpoch, batch.NumRecords = batch.FirstTimestamp, h.id, h.epoch, 1
	batch.Records = record.AppendTo(nil)
	raw := batch.AppendTo(nil)
	const behindLength, behindCRC = 12, 21
	batch.Length = int32(len(raw)) - behindLength
	batch.CRC = int32(crc32.Checksum(raw[behindCRC:], crc32.MakeTable(crc32.Castagnoli)))
	return batch.AppendTo(nil)
}

// told waits until the journal says what hangs.
func (g *stage) told(h *hanging) {
	g.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		for _, e := range g.s.journal.Tail(journalEvents) {
			if e.Kind == journal.KindError && e.Cause == "hanging transaction" {
				g.Log(e.Text)
				h.namedIn(g.T, e.Text)
				return
			}
		}
		if time.Now().After(deadline) {
			g.Error("the journal does not say what is waited for")
			return
		}
	}
}

// namedIn checks that a text says which transaction it is, for how long it has been open, and what to do about it.
func (h *hanging) namedIn(t *testing.T, text string) {
	t.Helper()
	for _, part := range []string{
		fmt.Sprintf("%s-%d cannot be read past offset", h.topic, h.partition), fmt.Sprintf("producer id %d (epoch %d)", h.id, h.epoch),
		"has had a transaction open there for ", fmt.Sprintf("abort it with kafka-transactions.sh abort --topic %s --partition %d --start-offset ", h.topic, h.partition),
	} {
		if !strings.Contains(text, part) {
			t.Errorf("%q does not say %q", text, part)
		}
	}
}

// markersAreWrittenByHand lets a transaction hang, waits until that is told, and ends it as kafka-transactions.sh does: then all goes on.
func (g *stage) markersAreWrittenByHand() {
	g.until(3 * time.Second)
	h := g.loseMarkers(g.s.topics.Repartitions[0], 1)
	g.told(&h)
	set := kadm.TopicsSet{}
	set.Add(h.topic, h.partition)
	answers, err := g.s.cluster.admin.WriteTxnMarkers(g.Context(), kadm.TxnMarkers{ProducerID: h.id, ProducerEpoch: h.epoch, Topics: set})
	if err != nil {
		g.Fatal(err)
	}
	answers.EachPartition(func(p kadm.TxnMarkersPartitionResponse) {
		if p.Err != nil {
			g.Errorf("abort on %s-%d: %v", p.Topic, p.Partition, p.Err)
		}
	})
}

// rowOfLostMarkers leaves a transaction open for good: what waits for it is told, and nothing is taken for lost. Or somebody looks.
func rowOfLostMarkers(t *testing.T) {
	t.Parallel()
	t.Run("for a time", func(t *testing.T) {
		t.Parallel()
		cfg := onKafka(t, 6*time.Second)
		r := performScript(t, cfg, (*stage).markersAreWrittenByHand)
		wantDeaths(t, r, 0)
		tidy(t, &cfg)
	})
	t.Run("for good", func(t *testing.T) {
		t.Parallel()
		cfg := onKafka(t, 6*time.Second)
		defer tidy(t, &cfg)
		var h hanging
		r := playSession(t, cfg, Deps{}, func(g *stage) {
			g.until(3 * time.Second)
			h = g.loseMarkers(g.s.topics.Repartitions[0], 1)
			g.told(&h)
		}, func(t *testing.T, _ *Config, r *Report) { t.Helper(); wantDeaths(t, r, 0) })
		if r.Verdict != verify.Unknown {
			t.Errorf("verdict %q: %v; want unknown", r.Verdict, r.Reasons)
		}
		h.namedIn(t, strings.Join(r.Reasons, "; "))
	})
}

// rowOfEpochs uses up nearly all epochs of a thread's producer while nothing runs, and then the last ones while it works (KAFKA-18660).
func rowOfEpochs(t *testing.T) {
	t.Parallel()
	cfg := onKafka(t, 3*time.Second)
	defer tidy(t, &cfg)
	var id string
	performScript(t, cfg, func(g *stage) { g.until(time.Second); id = g.producer("i1").TransactionalID })
	client, err := kgo.NewClient(kgo.SeedBrokers(cfg.Cluster.Brokers...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	began := time.Now()
	producerID := useUpEpochs(t, client, id)
	t.Logf("the epochs were used up in %.1f s", time.Since(began).Seconds())
	cfg.Load.Duration = 35 * time.Second
	r := performScript(t, cfg, func(g *stage) { g.until(time.Second); g.lastEpochs(client, id, producerID) })
	wantDeaths(t, r, 0)
	t.Log(told(r))
}

// TestOnKafkaTransactions is what becomes of transactions and of those who write them.
func TestOnKafkaTransactions(t *testing.T) {
	onDemand(t)
	t.Parallel()
	t.Run("lost-markers", rowOfLostMarkers)
	t.Run("epoch-wrap", rowOfEpochs)
}
