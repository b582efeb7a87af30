package topology

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Input is a record of a source topic.
type Input struct {
	Topic      string // logical: without the application id for internal topics
	Partition  int32
	Offset     int64
	Key, Value []byte // nil is Kafka's null
	Timestamp  int64  // milliseconds
	Headers    []Header
}

// Metadata says where a record comes from.
type Metadata struct {
	Topic     string // logical
	Partition int32
	Offset    int64
}

// Graph is the program of one task: fresh processors, connected to each other and to the task's stores. It is owned by
// one goroutine.
type Graph struct {
	host       Host
	watcher    Watcher          // the host, if it is one
	now        func() time.Time // the host's
	sources    map[string]entry // by topic
	nodes      []node
	stores     map[string]StateStore
	cached     []*layer // stores with a record cache, in the order of flushing
	streamTime punctuations
	wallClock  punctuations
	scheduled  int // schedules so far

	// The record context: what is known of the record at the node that is at work.
	timestamp int64
	headers   []Header
	input     Input     // the source record; its timestamp and headers are not kept up to date
	onRecord  bool      // false in punctuators, where input means nothing
	captured  *captured // the context as caches keep it; nil until the first cached put

	failure error // the first error of the work under way
	dropped Dropped
	closed  bool
}

var errClosed = errors.New("the graph is closed")

// node is a node of a graph, whatever its types.
type node interface {
	name() string
	// attach adds a child. Build has made sure that the child takes what the node forwards.
	attach(child node)
	init() error
	close() error
}

// receiver is a node that takes records.
type receiver[K, V any] interface {
	receive(record Record[K, V]) error
}

// entry is a node that takes serialised records.
type entry interface {
	name() string
	read(in *Input) error
	extractor() TimestampExtractor // nil = the default
}

// Process takes one record of a source topic through the graph, depth first, and returns when all that follows from it
// has been handed to the host or to its record caches. The record's timestamp is the one that [Graph.Timestamp] gave.
//
// The error is a *DeserializationError, a *ProcessingError, or carries an error of the host for errors.Is and
// errors.As. After an error what the record has already put and sent stays with the host, whose business it is to
// abandon it. A panic of a processor is not recovered: who calls Process decides what it means.
func (g *Graph) Process(in Input) error {
	if g.closed {
		return fmt.Errorf("process: %w", errClosed)
	}
	source, ok := g.sources[in.Topic]
	if !ok {
		return fmt.Errorf("process: no source reads topic %s", in.Topic)
	}
	if in.Timestamp < 0 {
		_, err := FailOnInvalidTimestamp(in, -1, g.now)
		return timestampError(in, source.name(), err)
	}
	g.begin()
	g.input, g.onRecord = in, true
	// The capacity is cut so that a processor that appends a header gets a copy and cannot touch its siblings' view.
	g.timestamp, g.headers = in.Timestamp, slices.Clip(in.Headers)
	err := source.read(&g.input)
	if g.failure != nil {
		return g.failure
	}
	return err
}

// Source returns the name of the node that reads a topic, "" if none does.
func (g *Graph) Source(topic string) string {
	source, ok := g.sources[topic]
	if !ok {
		return ""
	}
	return source.name()
}

// Flush passes on what the record caches hold: to the stores beneath, their changelogs, and downstream, which may send
// records and fill further caches. Stores are flushed in topological order, and again until nothing is left. A commit
// begins with it. Errors are as those of Process.
func (g *Graph) Flush() error {
	if len(g.cached) == 0 {
		return nil
	}
	if g.closed {
		return fmt.Errorf("flush: %w", errClosed)
	}
	g.begin()
	// Upstream caches fill downstream ones, which come later, so one pass is enough, unless a processor writes into a
	// store that it shares with one upstream. What stayed in a cache would be lost with the task, although committed.
	for range len(g.cached) + 2 {
		clean := true
		for _, s := range g.cached {
			if !s.dirty {
				continue
			}
			clean, s.dirty = false, false
			if err := s.cache.Flush(); err != nil {
				return &FlushError{s.spec.Name, g.failHost("flush the cache of store", s.spec.Name, err)}
			}
		}
		if clean {
			return g.failure
		}
	}
	for _, s := range g.cached {
		if s.dirty {
			return &ProcessingError{Node: s.node, Err: fmt.Errorf(
				"flush the cache of store %s: it never gets empty, for a processor downstream writes into the store again", s.spec.Name)}
		}
	}
	return g.failure
}

// Dropped is how many records have been left out, and why.
func (g *Graph) Dropped() Dropped { return g.dropped }

// Close closes the processors, each of them whatever the others say, and returns all their errors, each as a
// *ProcessingError. Caches are not flushed. Stores belong to the host and stay as they are. Closing twice does nothing.
func (g *Graph) Close() error {
	if g.closed {
		return nil
	}
	g.closed = true
	g.begin()
	var errs []error
	for _, n := range g.nodes {
		if err := n.close(); err != nil {
			errs = append(errs, &ProcessingError{Node: n.name(), Err: fmt.Errorf("close: %w", err)})
		}
	}
	return errors.Join(errs...)
}

// begin starts a piece of work that is not on a record.
func (g *Graph) begin() {
	g.failure, g.captured, g.onRecord = nil, nil, false
}

// captured is a record context as a cache keeps it with an update. It is shared by all updates that follow from a record
// with the same timestamp and headers.
type captured struct {
	timestamp int64
	headers   []Header
	metadata  Metadata
	onRecord  bool
}

// capture returns the present record context.
func (g *Graph) capture() *captured {
	if c := g.captured; c != nil && c.timestamp == g.timestamp && sameHeaders(c.headers, g.headers) {
		return c
	}
	g.captured = &captured{timestamp: g.timestamp, headers: g.headers, onRecord: g.onRecord}
	if g.onRecord {
		g.captured.metadata = Metadata{Topic: g.input.Topic, Partition: g.input.Partition, Offset: g.input.Offset}
	}
	return g.captured
}

// sameHeaders tells whether two slices are the same, not only equal.
func sameHeaders(a, b []Header) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// replay does a piece of work in a record context that was captured.
func (g *Graph) replay(c *captured, work func() error) error {
	timestamp, headers, input, onRecord, present := g.timestamp, g.headers, g.input, g.onRecord, g.captured
	g.timestamp, g.headers, g.onRecord, g.captured = c.timestamp, c.headers, c.onRecord, c
	g.input = Input{Topic: c.metadata.Topic, Partition: c.metadata.Partition, Offset: c.metadata.Offset}
	err := work()
	g.timestamp, g.headers, g.input, g.onRecord, g.captured = timestamp, headers, input, onRecord, present
	return err
}
