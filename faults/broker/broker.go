package broker

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ErrClosed is returned by calls on a closed broker.
var ErrClosed = errors.New("embedded broker is closed")

// cleanerBackoff puts off the run of kfake's cleaner, which compacts and expires, for longer than any process lives.
// Only a client that alters the configuration of a topic can start its ticker at all.
const cleanerBackoff = 100 * 365 * 24 * time.Hour

// Broker is a running cluster. Its methods may be called from any goroutine.
type Broker struct {
	version string
	addrs   []string
	network network
	cluster *kfake.Cluster
	conns   connBook
	epochs  epochs
	beats   beats

	// lateness says how much later than it should the next producer's transactions are aborted; nil for not at all.
	lateness atomic.Pointer[func() time.Duration]

	// turn holds a token while somebody uses the cluster or closes it. It is a channel and not a mutex because an
	// administrative call waits for the goroutine that serves the requests.
	turn   chan struct{}
	closed bool // owned by the holder of the token
	// stopped are the nodes that do not run. They belong to the holder of the token.
	stopped []int32

	ctx        context.Context // ends when the broker is closed
	cancel     context.CancelFunc
	background sync.WaitGroup
}

// Start starts a cluster without any topic. It returns an error if the configuration is not valid or an address
// cannot be listened on, for example because it is in use. The caller must call [Broker.Close].
func Start(cfg Config) (*Broker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("embedded broker: %w", err)
	}
	versions, err := parseVersion(cfg.KafkaVersion)
	if err != nil {
		return nil, fmt.Errorf("embedded broker: %w", err)
	}
	b := &Broker{version: cfg.KafkaVersion, turn: make(chan struct{}, 1)}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	var ports []int
	if cfg.Listen == "" {
		b.network = new(pipeNetwork)
		for i := range cfg.Nodes {
			ports = append(ports, firstPort+i)
		}
	} else {
		var host string
		if host, ports, err = parseListen(cfg.Listen, cfg.Nodes); err != nil {
			return nil, fmt.Errorf("embedded broker: listen: %w", err)
		}
		b.network = &tcpNetwork{host: host}
	}
	b.cluster, err = kfake.NewCluster(
		kfake.Ports(ports...),
		kfake.ListenFn(func(network, addr string) (net.Listener, error) {
			return b.conns.listen(b.network.listen(network, addr))
		}),
		kfake.MaxVersions(versions),
		kfake.ClusterID(newClusterID()),
		kfake.GroupMinSessionTimeout(cfg.MinSessionTimeout),
		kfake.GroupMaxSessionTimeout(cfg.MaxSessionTimeout),
		kfake.BrokerConfigs(map[string]string{
			"log.segment.bytes":      strconv.Itoa(cfg.SegmentBytes),
			"log.cleaner.backoff.ms": strconv.FormatInt(cleanerBackoff.Milliseconds(), 10),
		}),
	)
	if err != nil {
		return nil, fmt.Errorf("embedded broker: %w", err)
	}
	b.cluster.ControlKey(int16(kmsg.CreateTopics), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if create, ok := req.(*kmsg.CreateTopicsRequest); ok {
			restrictTopics(create)
		}
		return nil, nil, false
	})
	b.cluster.ControlKey(int16(kmsg.InitProducerID), func(req kmsg.Request) (kmsg.Response, error, bool) {
		b.postpone(req)
		return nil, nil, false
	})
	b.addrs = b.cluster.ListenAddrs()
	b.keepWaiting()
	b.refuseOldEpochs()
	if cfg.Settle > 0 {
		if err := b.settle(cfg.Settle); err != nil {
			b.Close()
			return nil, fmt.Errorf("embedded broker: %w", err)
		}
	}
	return b, nil
}

// newClusterID returns a random id in Kafka's form. State that an application kept from another cluster must not be
// taken for this one's, which starts empty.
func newClusterID() string {
	var id [16]byte
	// Read never fails.
	_, _ = rand.Read(id[:])
	return base64.RawURLEncoding.EncodeToString(id[:])
}

// Addrs returns the addresses of the nodes, HOST:PORT, as seeds for a client.
func (b *Broker) Addrs() []string { return slices.Clone(b.addrs) }

// Version returns the Kafka release that the broker behaves like, as configured.
func (b *Broker) Version() string { return b.version }

// Dial connects to a node. It has the shape that kgo.Dialer wants; on the network inside the process there is no
// other way in. Errors are *net.OpError, and where nobody listens the cause is ECONNREFUSED, so clients try again.
func (b *Broker) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return b.network.dial(ctx, network, addr)
}

// Close stops the cluster and drops all connections. Everything in it is lost. Further calls do nothing.
func (b *Broker) Close() {
	b.cancel()
	b.turn <- struct{}{}
	if !b.closed {
		b.closed = true
		b.cluster.Close()
	}
	<-b.turn
	b.background.Wait() // not with the token, which it may wait for
	b.beats.close()
}

// use calls fn with the cluster, unless the broker is closed. Calls come one after another, as they do in kfake, where
// they queue behind the requests of the clients.
func (b *Broker) use(fn func(*kfake.Cluster) error) error {
	b.turn <- struct{}{}
	defer func() { <-b.turn }()
	if b.closed {
		return ErrClosed
	}
	return fn(b.cluster)
}

// CreateTopic creates a topic. Settings that ask for compaction, retention or a segment size are left out, see the
// package documentation. It is an error if the topic exists.
func (b *Broker) CreateTopic(topic string, partitions int32, configs map[string]string) error {
	if partitions < 1 {
		return fmt.Errorf("create topic %s: needs at least one partition, not %d", topic, partitions)
	}
	kept := maps.Clone(configs)
	maps.DeleteFunc(kept, func(name, _ string) bool { return restricted(name) })
	err := b.use(func(c *kfake.Cluster) error { return c.CreateTopic(topic, partitions, kept) })
	if err != nil {
		return fmt.Errorf("create topic %s: %w", topic, err)
	}
	return nil
}

// restricted says whether a topic's setting is one that the embedded broker decides alone.
func restricted(config string) bool {
	switch config {
	case "cleanup.policy", "retention.ms", "retention.bytes", "segment.bytes":
		return true
	default:
		return false
	}
}

// restrictTopics takes the restricted settings out of a client's request before it is served.
func restrictTopics(req *kmsg.CreateTopicsRequest) {
	for i := range req.Topics {
		topic := &req.Topics[i]
		topic.Configs = slices.DeleteFunc(topic.Configs, func(c kmsg.CreateTopicsRequestTopicConfig) bool { return restricted(c.Name) })
	}
}

// Trim deletes the records of a partition before offset and frees their segments. An offset before the start of the
// log is no error and changes nothing; one beyond its end is. The last segment stays in memory until it is full and
// all of it is trimmed.
func (b *Broker) Trim(topic string, partition int32, offset int64) error {
	err := b.use(func(c *kfake.Cluster) error {
		// kfake takes a negative offset for the end of the log.
		if offset < 0 {
			return kerr.OffsetOutOfRange
		}
		err := c.DeleteRecords(topic, partition, offset)
		if errors.Is(err, kerr.OffsetOutOfRange) {
			if info := c.PartitionInfo(topic, partition); info != nil && offset < info.LogStartOffset {
				return nil
			}
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("trim %s-%d to offset %d: %w", topic, partition, offset, err)
	}
	return nil
}

// TopicStats says how much a topic holds.
type TopicStats struct {
	Topic      string
	Partitions int
	// Records is the number of offsets between the starts and the ends of the logs, control records included.
	Records int64
	// Bytes is the size of the batches that are not trimmed. Each partition needs up to two or three segments more, for
	// a log that grows by doubling and is freed in whole segments.
	Bytes int64
}

// Stats returns the sizes of the named topics; those that do not exist are left out. The calls queue behind the
// requests of the clients on the broker's one goroutine, so a few times a second is often enough.
func (b *Broker) Stats(topics ...string) ([]TopicStats, error) {
	stats := make([]TopicStats, 0, len(topics))
	err := b.use(func(c *kfake.Cluster) error {
		for _, topic := range topics {
			infos := c.PartitionInfos(topic)
			if len(infos) == 0 {
				continue
			}
			s := TopicStats{Topic: topic, Partitions: len(infos)}
			for _, info := range infos {
				s.Records += info.HighWatermark - info.LogStartOffset
				s.Bytes += info.NumBytes
			}
			stats = append(stats, s)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("topic sizes: %w", err)
	}
	return stats, nil
}
