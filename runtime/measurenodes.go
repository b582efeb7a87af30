package runtime

import (
	"time"

	"eostop/runtime/metrics"
	"eostop/runtime/topology"

	"github.com/twmb/franz-go/pkg/kgo"
)

// taskNodes measures the ends of a task's graph: what its sources take in, and what arrives at nodes without children. Its times are
// those of the batch that is being processed, as in Kafka Streams, which reads the clock once for several records, too.
type taskNodes struct {
	sources map[string]sourceMetrics // by logical topic
	ends    map[string]endMetrics    // by node
	now     int64                    // milliseconds since 1970
}

type sourceMetrics struct {
	consumed *metrics.Topic
	process  *metrics.Meter
	latency  *metrics.Value
}

type endMetrics struct {
	produced *metrics.Topic // of a sink
	latency  *metrics.Value
}

// measureNodes registers the sources of the task's graph; the other ends follow as records arrive at them. It returns nil where nobody
// measures.
func (t *streamTask) measureNodes() *taskNodes {
	if t.thread.instance.env.Metrics == nil {
		return nil
	}
	n := &taskNodes{sources: map[string]sourceMetrics{}, ends: map[string]endMetrics{}}
	nodes := map[string]sourceMetrics{} // a source may read several topics
	for _, in := range t.inputs {
		name := t.graph.Source(in.logical)
		source, ok := nodes[name]
		if !ok {
			node := t.metrics.Node(name)
			source.process, source.latency = node.Process(), node.E2ELatency()
			nodes[name] = source
		}
		source.consumed = t.metrics.Consumed(name, in.topic)
		n.sources[in.logical] = source
	}
	return n
}

// begin notes the time of a batch.
func (n *taskNodes) begin() {
	if n != nil {
		n.now = time.Now().UnixMilli()
	}
}

// took notes a record that a source has taken in.
func (n *taskNodes) took(logical string, r *kgo.Record, timestamp int64) {
	if n == nil {
		return
	}
	source := n.sources[logical]
	size := len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		size += len(h.Key) + len(h.Value)
	}
	source.consumed.Add(1, size)
	source.process.Mark(1)
	source.latency.Record(float64(n.now - timestamp))
}

var _ topology.Watcher = (*streamTask)(nil)

// Arrived implements topology.Watcher.
func (t *streamTask) Arrived(node string, timestamp int64, topic string, size int) {
	n := t.nodes
	if n == nil {
		return
	}
	end, ok := n.ends[node]
	if !ok {
		end.latency = t.metrics.Node(node).E2ELatency()
		if topic != "" {
			end.produced = t.metrics.Produced(node, t.thread.instance.program.topic(topic))
		}
		n.ends[node] = end
	}
	end.latency.Record(float64(n.now - timestamp))
	if topic != "" {
		end.produced.Add(1, size)
	}
}

// measureLags brings the lags of the inputs that are fetched up to date.
func (t *StreamThread) measureLags() {
	for _, fetched := range t.inputs {
		in := fetched.input
		if in.metrics == nil {
			in.metrics = t.consumed.Partition(in.topic, in.partition)
		}
		if in.highWatermark >= 0 {
			in.metrics.Lag.Set(float64(in.lag()))
		}
	}
}
