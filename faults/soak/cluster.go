package soak

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"eostop/faults/broker"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// reachTimeout is how long a session waits for brokers that do not answer.
const reachTimeout = 10 * time.Second

// cluster is where the application runs: the embedded broker or a real one.
type cluster struct {
	embedded *broker.Broker // nil on a real cluster
	brokers  []string
	id       string
	version  string
	admin    *kadm.Client
	nodes    map[string]string // node ids by the addresses that the cluster hands out
}

// openCluster starts the embedded broker, or connects to the one that is configured. An error says what to do.
func openCluster(ctx context.Context, cfg *Config) (*cluster, error) {
	c := &cluster{brokers: cfg.Cluster.Brokers}
	if len(c.brokers) == 0 {
		settings := broker.Default()
		settings.Nodes = cfg.Cluster.Embedded.Nodes
		settings.KafkaVersion = cfg.Cluster.Embedded.Version
		settings.Listen = cfg.Cluster.Embedded.Listen
		settings.SegmentBytes = int(cfg.Cluster.Embedded.SegmentBytes)
		embedded, err := broker.Start(settings)
		if err != nil {
			return nil, &RunError{err}
		}
		c.embedded, c.brokers = embedded, embedded.Addrs()
	}
	client, err := kgo.NewClient(append(c.options(), kgo.ClientID("eostop-admin"), kgo.RequestTimeoutOverhead(5*time.Second))...)
	if err != nil {
		c.close()
		return nil, &UsageError{fmt.Errorf("cluster.brokers: %w", err)}
	}
	c.admin = kadm.NewClient(client)
	if err := c.greet(ctx); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// greet learns who the cluster is.
func (c *cluster) greet(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	meta, err := c.admin.BrokerMetadata(ctx)
	if err != nil {
		return Runf("no broker answers at %s: %w; start it, or name others with --brokers", strings.Join(c.brokers, ","), err)
	}
	c.id = meta.Cluster
	c.nodes = map[string]string{}
	for _, b := range meta.Brokers {
		c.nodes[net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))] = strconv.Itoa(int(b.NodeID))
	}
	if c.embedded != nil {
		c.version = c.embedded.Version()
		return nil
	}
	versions, err := c.admin.ApiVersions(ctx)
	if err != nil {
		return Runf("brokers at %s do not say what they can do: %w", strings.Join(c.brokers, ","), err)
	}
	versions.Each(func(v kadm.BrokerApiVersions) { c.version = v.VersionGuess() })
	return nil
}

// node returns the id of the broker behind an address; empty if it is not known.
func (c *cluster) node(addr string) string { return c.nodes[addr] }

// options are those of a client that is under no instance's link.
func (c *cluster) options() []kgo.Opt {
	return []kgo.Opt{kgo.SeedBrokers(c.brokers...), kgo.Dialer(c.dial), kgo.DisableClientMetrics(), kgo.MetadataMinAge(100 * time.Millisecond)}
}

// dial opens a connection below all links.
func (c *cluster) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if c.embedded != nil {
		return c.embedded.Dial(ctx, network, addr)
	}
	var d net.Dialer
	return d.DialContext(ctx, network, addr)
}

// createTopics creates the topics that are the world outside of the application, its input and outputs, unless they exist.
func (c *cluster) createTopics(ctx context.Context, cfg *Config, topics ProgramTopics) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	names := []string{topics.Input}
	for _, name := range topics.Outputs {
		names = append(names, name)
	}
	partitions := int32(cfg.Cluster.Partitions)
	responses, err := c.admin.CreateTopics(ctx, partitions, int16(cfg.Cluster.ReplicationFactor), nil, names...)
	if err != nil {
		return Runf("create topics: %w", err)
	}
	for _, r := range responses.Sorted() {
		if r.Err != nil && !errors.Is(r.Err, kerr.TopicAlreadyExists) {
			return Runf("create topic %s: %w %s", r.Topic, r.Err, r.ErrMessage)
		}
	}
	details, err := c.admin.ListTopics(ctx, topics.Input)
	if err != nil {
		return Runf("look up topic %s: %w", topics.Input, err)
	}
	if n := len(details[topics.Input].Partitions); n != int(partitions) && n > 0 {
		return Usagef("cluster.partitions: %d, but topic %s has %d already; set it to %d or choose another application.id", partitions, topics.Input, n, n)
	}
	return nil
}

func (c *cluster) close() {
	if c.admin != nil {
		c.admin.Close()
	}
	if c.embedded != nil {
		c.embedded.Close()
	}
}
