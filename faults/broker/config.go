package broker

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// Limits of a configuration that are not obvious from its fields.
const (
	maxNodes        = 100
	minSegmentBytes = 4 << 10
	maxSegmentBytes = 64 << 20
	// firstPort is the port of the first node on the virtual network, where any port is free.
	firstPort = 9092
)

// Config says what kind of cluster to run.
type Config struct {
	// Nodes is the number of brokers of the cluster. Partitions and coordinators are spread over them.
	Nodes int
	// KafkaVersion is the release to behave like, for example "3.7". From "4.0" on producers use the new transaction
	// protocol, where each transaction has an epoch of its own; before, epochs stay constant.
	KafkaVersion string
	// Listen is the TCP address of the first node, for example "127.0.0.1:9092"; further nodes take the ports after
	// it. Port 0 lets the system choose. Empty means a network inside the process without any port, which only
	// [Broker.Dial] reaches.
	Listen string
	// SegmentBytes is the size at which a partition's log starts a new segment. Trimming frees whole segments, so it
	// bounds the memory that a trimmed partition still holds.
	SegmentBytes int
	// MinSessionTimeout and MaxSessionTimeout are the limits of the session time-out that a group member may ask for.
	MinSessionTimeout time.Duration
	MaxSessionTimeout time.Duration
	// Settle is how long after the start coordinators load, and how long after the creation of a topic its partitions have
	// no leader, as it is on a new cluster of several machines. 0 is not at all.
	Settle time.Duration
}

// Default returns the configuration of a single node on the network inside the process. The limits of the session
// time-out are those of a Kafka as it is installed.
func Default() Config {
	return Config{
		Nodes:             1,
		KafkaVersion:      "3.7",
		SegmentBytes:      256 << 10,
		MinSessionTimeout: 6 * time.Second,
		MaxSessionTimeout: 30 * time.Minute,
	}
}

// Validate returns every problem of the configuration, joined, each with its field first.
func (c Config) Validate() error {
	var errs []error
	problem := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Nodes < 1 || c.Nodes > maxNodes {
		problem("nodes: must be 1 to %d, not %d", maxNodes, c.Nodes)
	}
	if _, err := parseVersion(c.KafkaVersion); err != nil {
		problem("kafka_version: %w", err)
	}
	if c.Listen != "" {
		if _, _, err := parseListen(c.Listen, c.Nodes); err != nil {
			problem("listen: %w", err)
		}
	}
	if c.SegmentBytes < minSegmentBytes || c.SegmentBytes > maxSegmentBytes {
		problem("segment_bytes: must be %d to %d, not %d", minSegmentBytes, maxSegmentBytes, c.SegmentBytes)
	}
	if c.MinSessionTimeout < time.Millisecond {
		problem("min_session_timeout: must be at least 1ms, not %s", c.MinSessionTimeout)
	}
	if c.MaxSessionTimeout < c.MinSessionTimeout {
		problem("max_session_timeout: must not be below min_session_timeout (%s), but is %s", c.MinSessionTimeout, c.MaxSessionTimeout)
	}
	if c.Settle < 0 {
		problem("settle: must not be negative, but is %s", c.Settle)
	}
	return errors.Join(errs...)
}

// parseVersion returns the request versions of a Kafka release. Releases before 2.4 are refused: nothing here was
// ever run against them.
func parseVersion(release string) (*kversion.Versions, error) {
	versions := kversion.FromString(release)
	if versions == nil {
		return nil, fmt.Errorf("unknown Kafka release %q, expected one like 3.7 or 4.0", release)
	}
	// OffsetDelete came with 2.4.
	if !versions.HasKey(int16(kmsg.OffsetDelete)) {
		return nil, fmt.Errorf("release %s is too old, the embedded broker behaves like 2.4 or newer", release)
	}
	return versions, nil
}

// parseListen splits a TCP address into its host and one port for each node; all ports are 0 if the system chooses.
func parseListen(listen string, nodes int) (host string, ports []int, err error) {
	host, text, err := net.SplitHostPort(listen)
	if err != nil {
		return "", nil, fmt.Errorf("expected HOST:PORT: %w", err)
	}
	// The broker hands its address out to clients, so it must be one that they can dial.
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		return "", nil, fmt.Errorf("%q names no host that clients could be told to connect to, expected one like 127.0.0.1:9092", listen)
	}
	port, err := strconv.Atoi(text)
	if err != nil || port < 0 || port > 65535 {
		return "", nil, fmt.Errorf("port %q is not a number from 0 to 65535", text)
	}
	if port+nodes-1 > 65535 {
		return "", nil, fmt.Errorf("port %d leaves no room for %d nodes", port, nodes)
	}
	for i := range nodes {
		if port == 0 {
			ports = append(ports, 0)
			continue
		}
		ports = append(ports, port+i)
	}
	return host, ports, nil
}
