package runtime

import (
	"context"
	"math"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// baseOptions are those of every client of an instance.
func (i *Instance) baseOptions(clientID string, monitor *connectionMonitor) []kgo.Opt {
	opts := []kgo.Opt{
		kgo.SeedBrokers(i.env.Brokers...),
		kgo.ClientID(clientID),
		kgo.Dialer(i.dial),
		kgo.RequestTimeoutOverhead(i.cfg.RequestTimeout),
		// The default of 5 s would be paid for every retriable error, for example of a first produce that meets the markers of the
		// last transaction.
		kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.DisableClientMetrics(),
		kgo.WithLogger(clientLog{i.log.With("client", clientID)}),
	}
	if len(i.env.SASL) > 0 {
		opts = append(opts, kgo.SASL(i.env.SASL...))
	}
	if monitor != nil {
		opts = append(opts, kgo.WithHooks(monitor))
	}
	return opts
}

// dial bounds each dial: a black hole answers nothing.
func (i *Instance) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, i.cfg.DialTimeout)
	defer cancel()
	if i.env.Dial != nil {
		return i.env.Dial(ctx, network, addr)
	}
	var d net.Dialer
	return d.DialContext(ctx, network, addr)
}

// clientOptions are those of a thread's client; the role completes its client id as in Kafka Streams.
func (i *Instance) clientOptions(t *StreamThread, role string) []kgo.Opt {
	return i.baseOptions(t.name+"-"+role, &t.monitor)
}

// Roles of a thread's clients, which end their client ids.
const (
	restoreConsumer = "restore-consumer"
	inputConsumer   = "input-consumer"
	groupConsumer   = "consumer"
	producerClient  = "producer"
)

// fetchOptions are those of a consumer of inputs or changelogs. It is given each partition with an offset and
// never chooses one itself; control records move the position past the end of transactions.
func (i *Instance) fetchOptions(t *StreamThread, role string) []kgo.Opt {
	opts := i.clientOptions(t, role)
	uncommitted := role == restoreConsumer && i.cfg.Policy.ReadUncommittedRestore
	if i.cfg.Guarantee.Transactional() && !uncommitted {
		opts = append(opts, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	return append(opts,
		kgo.KeepControlRecords(),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchMaxWait(i.cfg.FetchMaxWait),
		kgo.FetchMaxBytes(8<<20), // bounds what a thread holds in memory
	)
}

// producerOptions are those of a producer. Requests that end a transaction or send its offsets are never
// repeated by the client: an old one that arrives late could decide the next transaction (KAFKA-17754). An unanswered one
// leaves the outcome unknown, and the producer is re-initialised.
func (i *Instance) producerOptions(t *StreamThread, transactionalID string) []kgo.Opt {
	opts := append(i.clientOptions(t, producerClient),
		kgo.RecordPartitioner(partitioner{}),
		kgo.ProducerLinger(0),
		kgo.MaxBufferedRecords(50_000),
		kgo.ProduceRequestTimeout(5*time.Second),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
	)
	if !i.cfg.Guarantee.Transactional() {
		return opts
	}
	if i.cfg.Policy.Patience > 0 {
		opts = append(opts, kgo.RequestRetries(math.MaxInt32))
	}
	if i.cfg.Guarantee == ExactlyOnceV2 {
		opts = append(opts, kgo.MinVersions(minVersions()))
	}
	return append(opts,
		kgo.TransactionalID(transactionalID),
		kgo.TransactionTimeout(i.cfg.TransactionTimeout),
		kgo.ConsumerGroup(i.cfg.ApplicationID),
		kgo.RetryTimeoutFn(func(key int16) time.Duration {
			if i.cfg.Policy.Patience > 0 {
				return i.cfg.Policy.Patience
			}
			switch kmsg.Key(key) {
			case kmsg.EndTxn, kmsg.TxnOffsetCommit:
				return time.Nanosecond
			default:
				return i.cfg.RequestTimeout
			}
		}),
	)
}

// partitioner takes a record's partition where it is set (changelogs), and else hashes the key as the Java client does.
type partitioner struct{}

// ForTopic implements kgo.Partitioner.
func (partitioner) ForTopic(topic string) kgo.TopicPartitioner {
	return topicPartitioner{kgo.StickyKeyPartitioner(nil).ForTopic(topic)}
}

type topicPartitioner struct{ byKey kgo.TopicPartitioner }

// RequiresConsistency implements kgo.TopicPartitioner: a key's partition must not depend on which ones are writable now.
func (p topicPartitioner) RequiresConsistency(*kgo.Record) bool { return true }

// Partition implements kgo.TopicPartitioner.
func (p topicPartitioner) Partition(r *kgo.Record, n int) int {
	if r.Partition >= 0 {
		return int(r.Partition)
	}
	return p.byKey.Partition(r, n)
}
