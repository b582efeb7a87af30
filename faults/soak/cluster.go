package soak

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"eostop/faults"
	"eostop/faults/broker"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
)

const (
	reachTimeout = 8 * time.Second // for brokers that take connections but do not answer
	dialTimeout  = 5 * time.Second // for a connection
	// Opening a cluster and all checks of it take no longer together, so that who waits learns within 15 s.
	admitTimeout = 14 * time.Second
)

// cluster is where the application runs: the embedded broker or a real one.
type cluster struct {
	settings  *ClusterSettings
	embedded  *broker.Broker // nil on a real cluster
	brokers   []string
	sasl      []sasl.Mechanism
	wire      faults.Dialer // opens a connection, with TLS where that is wanted
	id        string
	nodes     int
	version   string
	client    *kgo.Client
	admin     *kadm.Client
	byAddress map[string]string // node ids by the addresses that the cluster hands out
}

// openCluster starts the embedded broker, or connects to the one that is configured. An error says what to do.
func openCluster(ctx context.Context, cfg *Config) (*cluster, error) {
	c := &cluster{settings: &cfg.Cluster, brokers: cfg.Cluster.Brokers}
	if len(c.brokers) == 0 {
		settings := broker.Default()
		settings.Nodes = cfg.Cluster.Embedded.Nodes
		settings.KafkaVersion = cfg.Cluster.Embedded.Version
		settings.Listen = cfg.Cluster.Embedded.Listen
		settings.SegmentBytes = int(cfg.Cluster.Embedded.SegmentBytes)
		settings.Settle = cfg.Cluster.Embedded.Settle
		embedded, err := broker.Start(settings)
		if err != nil {
			return nil, &RunError{err}
		}
		c.embedded, c.brokers, c.wire = embedded, embedded.Addrs(), embedded.Dial
	} else if err := c.secure(ctx); err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(append(c.options(), kgo.ClientID("eostop-admin"), kgo.RequestTimeoutOverhead(5*time.Second))...)
	if err != nil {
		c.close()
		return nil, &UsageError{fmt.Errorf("cluster.brokers: %w", err)}
	}
	c.client, c.admin = client, kadm.NewClient(client)
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
		if refusal := c.settings.refusal(err); refusal != nil {
			return refusal
		}
		return Runf("no broker answers at %s: %w; start it, or name others with --brokers", strings.Join(c.brokers, ","), err)
	}
	c.id, c.nodes = meta.Cluster, len(meta.Brokers)
	c.byAddress = map[string]string{}
	for _, b := range meta.Brokers {
		c.byAddress[net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))] = strconv.Itoa(int(b.NodeID))
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
func (c *cluster) node(addr string) string { return c.byAddress[addr] }

// options are those of a client that is under no instance's link.
func (c *cluster) options() []kgo.Opt {
	opts := []kgo.Opt{kgo.SeedBrokers(c.brokers...), kgo.Dialer(c.dial), kgo.DisableClientMetrics(), kgo.MetadataMinAge(100 * time.Millisecond)}
	return append(opts, saslOptions(c.sasl)...)
}

// dial opens a connection below all links.
func (c *cluster) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return c.wire(ctx, network, addr)
}

// secure prepares connections to a real cluster and tries whether one can be opened: clients would try again and again where
// no retry helps.
func (c *cluster) secure(ctx context.Context) (err error) {
	if c.sasl, err = c.settings.SASL.mechanisms(); err != nil {
		return err
	}
	var tcp net.Dialer
	if c.wire, err = c.settings.transport(tcp.DialContext); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	tries := make(chan error, len(c.brokers))
	for _, addr := range c.brokers {
		go func() {
			conn, err := c.dial(ctx, "tcp", addr)
			if err == nil {
				_ = conn.Close() // It was opened only to see whether that works.
			}
			tries <- err
		}()
	}
	var errs []error
	for range c.brokers {
		err := <-tries
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	for _, err := range errs {
		if refusal := c.settings.refusal(err); refusal != nil {
			return refusal
		}
	}
	return Runf("no broker answers at %s: %w; start it, or name others with --brokers", strings.Join(c.brokers, ","), errs[0])
}

func (c *cluster) close() {
	if c.admin != nil {
		c.admin.Close()
	}
	if c.embedded != nil {
		c.embedded.Close()
	}
}
