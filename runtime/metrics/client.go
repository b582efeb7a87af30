package metrics

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// clientStates and threadStates are the states in the order of Kafka Streams, where metrics give their numbers (KIP-1091).
var (
	clientStates = []string{"CREATED", "REBALANCING", "RUNNING", "PENDING_SHUTDOWN", "NOT_RUNNING", "PENDING_ERROR", "ERROR"}
	threadStates = []string{"CREATED", "STARTING", "PARTITIONS_REVOKED", "PARTITIONS_ASSIGNED", "RUNNING", "PENDING_SHUTDOWN", threadDead}
)

const threadDead = "DEAD"

// Client measures an instance.
type Client struct {
	registry    *Registry
	state       *text
	topology    *text
	died        Counter
	replacement *histogram
}

// newClient adds what the instance has to the root of the registry. It lives as long.
func newClient(r *Registry) *Client {
	b := builder{r.root, clientGroup}
	c := &Client{registry: r}
	b.text("version", "Version of the program").set(cmp.Or(r.cfg.Version, "unknown"))
	b.text("commit-id", "Commit of the program's source").set(cmp.Or(r.cfg.CommitID, "unknown"))
	b.text("application-id", "Application id, which is the consumer group").set(r.cfg.ApplicationID)
	c.topology = b.text("topology-description", "Description of the topology")
	c.state = b.text("state", "State of the instance")
	b.ordinal("client-state", "State of the instance as a number", c.state, clientStates)
	b.gauge(Info, "recording-level", "Recording level of the metrics as a number: 0 info, 1 debug, 2 trace").Set(float64(r.cfg.Level))
	b.add(b.family("alive-stream-threads", prometheus.GaugeValue, Info, "Number of stream threads that are not dead."),
		func(time.Duration) (float64, bool) { return r.alive() })
	b.add(b.family("failed-stream-threads", prometheus.GaugeValue, Info, "Number of stream threads that have died of an error since the instance started."),
		func(time.Duration) (float64, bool) {
			_, known := r.alive()
			return float64(c.died.n.Load()), known
		})

	b.group = clientOwn
	c.replacement = b.histogram("thread-replacement-seconds", "Time from the death of a stream thread until the one that replaced it ran.")
	r.addIncidents(builder{r.root, threadOwn})
	return c
}

// SetState tells the state of the instance, by Kafka Streams' name in upper case.
func (c *Client) SetState(state string) { c.state.set(state) }

// SetTopology tells the description of the topology, as Describe prints it.
func (c *Client) SetTopology(description string) { c.topology.set(description) }

// ThreadDied counts a thread that ended because of an error.
func (c *Client) ThreadDied(thread, cause string) {
	if c.registry == nil {
		return
	}
	c.died.Add(1)
	c.registry.incident(thread).deaths.add(cause)
}

// ThreadReplaced notes how long after a thread's death the one that replaced it ran.
func (c *Client) ThreadReplaced(after time.Duration) { c.replacement.record(after) }

// ordinal adds a metric that is a state's place among the states; -1 for one that Kafka Streams does not know.
func (b builder) ordinal(name, what string, state *text, states []string) {
	for i, s := range states {
		what += fmt.Sprintf("%s %d %s", map[bool]string{true: ":", false: ","}[i == 0], i, s)
	}
	b.add(b.family(name, prometheus.GaugeValue, Info, what+"."), func(time.Duration) (float64, bool) {
		current := state.get()
		return float64(slices.Index(states, current)), current != ""
	})
}

// alive counts the registered threads that are not dead; known is false as long as there was none at all.
func (r *Registry) alive() (alive float64, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range r.threads {
		if t.state.get() != threadDead {
			alive++
		}
	}
	return alive, len(r.incidents) > 0
}
