package metrics

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Level is how much is recorded. A sensor is recorded if its own level is at most that of its registry.
type Level uint8

// The levels, from coarse to fine. The zero value is Info, as in Kafka (metrics.recording.level).
const (
	Info  Level = iota
	Debug       // also what is measured for each record, each task, and each call of a store
	Trace       // also the end-to-end latency at each store
)

func (l Level) String() string { return [...]string{"info", "debug", "trace"}[min(l, Trace)] }

// ParseLevel reads the name of a level: info, debug or trace.
func ParseLevel(name string) (Level, error) {
	for l := Info; l <= Trace; l++ {
		if name == l.String() {
			return l, nil
		}
	}
	return Info, fmt.Errorf("%q is not a recording level; valid: info, debug, trace", name)
}

// Config names an instance to those who read its metrics.
type Config struct {
	ClientID      string // the instance; its metrics have it as the label client_id
	ApplicationID string
	Version       string // of the program
	CommitID      string // of the program's source; empty = unknown
	Level         Level
}

// Registry holds the metrics of one instance. It is a [prometheus.Collector]; those of several instances can be registered
// beside one another. Its methods may be called by any goroutine. A nil Registry measures nothing.
type Registry struct {
	cfg    Config
	clock  *clock
	root   *set
	client *Client

	mu        sync.Mutex // guards the rest and the tree below root; held for map accesses only
	families  map[familyKey]*family
	threads   map[string]*Thread    // those that are registered
	incidents map[string]*incidents // by thread; never removed
	expected  Causes
}

// familyKey tells families apart. The tags differ between stores of different scopes.
type familyKey struct{ group, tags, name string }

// New makes a registry. Time is counted from here.
func New(cfg Config) *Registry {
	r := &Registry{
		cfg: cfg, clock: newClock(), families: map[familyKey]*family{}, threads: map[string]*Thread{}, incidents: map[string]*incidents{},
	}
	r.root = &set{registry: r, labels: valid(cfg.ClientID)}
	r.client = newClient(r)
	return r
}

// Client returns the handle of the instance itself, which lives as long as the registry.
func (r *Registry) Client() *Client {
	if r == nil {
		return &Client{}
	}
	return r.client
}

// Describe sends nothing: the labels of stores depend on what stores there will be. That makes the registry an unchecked
// collector, and lets those of several instances stand beside one another.
func (r *Registry) Describe(chan<- *prometheus.Desc) {}

// Collect sends every metric that has a value.
func (r *Registry) Collect(ch chan<- prometheus.Metric) {
	if r == nil {
		return
	}
	now := r.clock.now()
	for _, s := range r.sets() {
		e := emitter{ch: ch, labels: s.labels}
		for _, one := range s.series {
			one.collect(&e, now)
		}
	}
}

// sets returns copies of all registered sets, so that they can be read without the lock.
func (r *Registry) sets() []set {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []set
	var walk func(s *set)
	walk = func(s *set) {
		all = append(all, set{labels: s.labels, series: s.series})
		for _, child := range s.children {
			walk(child)
		}
	}
	walk(r.root)
	return all
}

// Families describes every metric that this package knows, by name. Stores are described for the scope "rocksdb".
func Families() []Family {
	r := New(Config{Level: Trace})
	registerOneOfEach(r)
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]Family, 0, len(r.families))
	for f := range maps.Values(r.families) {
		all = append(all, f.Family)
	}
	slices.SortFunc(all, func(a, b Family) int { return cmp.Compare(a.Name, b.Name) })
	return slices.CompactFunc(all, func(a, b Family) bool { return a.Name == b.Name })
}

// registerOneOfEach registers one of each kind of thing.
func registerOneOfEach(r *Registry) {
	thread := r.Thread("")
	thread.Updater("")
	thread.Producer("")
	thread.Consumer("").Partition("", 0)
	task := thread.Task("")
	task.Consumed("", "")
	task.Produced("", "")
	node := task.Node("")
	node.Process()
	node.E2ELatency()
	node.Suppression()
	node.IdempotentSkips()
	node.FinalEmits()
	task.RecordCache("")
	for kind := range storeKinds {
		task.Store(StoreKind(kind), "rocksdb", fmt.Sprint(kind)).Engine()
	}
}

// set is the metrics of one thing. Sets form a tree, which the registry's lock guards: what a set belongs to is above it.
type set struct {
	registry *Registry
	parent   *set
	key      string
	labels   []string // values
	series   []series // what is in it does not change; it is replaced as a whole
	children map[string]*set
}

// series is a metric of a set, or several whose families and labels belong together.
type series struct {
	family  *family // the first one
	collect func(e *emitter, now time.Duration)
}

// child registers a set below this one, in the place of one with the same key. The key begins with the kind of thing.
// Below a set that was removed it is as good as not registered.
func (s *set) child(key string, labels []string) *set {
	if s == nil {
		return nil
	}
	c := &set{registry: s.registry, parent: s, key: key, labels: labels}
	s.registry.mu.Lock()
	defer s.registry.mu.Unlock()
	if s.children == nil {
		s.children = map[string]*set{}
	}
	s.children[key] = c
	return c
}

// remove takes the set and all below it away, unless it was removed or replaced before.
func (s *set) remove() {
	if s == nil {
		return
	}
	s.registry.mu.Lock()
	defer s.registry.mu.Unlock()
	if s.parent.children[s.key] == s {
		delete(s.parent.children, s.key)
	}
}

// builder adds metrics of one group to a set.
type builder struct {
	set   *set // nil: nothing is recorded
	group group
}

// on reports whether metrics of a level are recorded.
func (b builder) on(level Level) bool { return b.set != nil && level <= b.set.registry.cfg.Level }

func (b builder) clock() *clock { return b.set.registry.clock }

// family returns the description of a metric of the group.
func (b builder) family(name string, kind prometheus.ValueType, level Level, help string, extra ...string) *family {
	r := b.set.registry
	key := familyKey{b.group.domain + b.group.name, strings.Join(b.group.tags, ","), name}
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.families[key]
	if f == nil {
		f = newFamily(b.group, name, kind, level, help, extra...)
		r.families[key] = f
	}
	return f
}

// add adds a metric with a value.
func (b builder) add(f *family, read func(now time.Duration) (v float64, ok bool)) {
	b.addSeries(f, func(e *emitter, now time.Duration) {
		if v, ok := read(now); ok {
			e.send(f, v)
		}
	})
}

// addSeries adds metrics that collect sends, in the place of those with the same family.
func (b builder) addSeries(f *family, collect func(e *emitter, now time.Duration)) {
	r := b.set.registry
	r.mu.Lock()
	defer r.mu.Unlock()
	all := slices.Clone(b.set.series) // Somebody may be reading the old ones.
	if at := slices.IndexFunc(all, func(s series) bool { return s.family == f }); at >= 0 {
		all[at].collect = collect
	} else {
		all = append(all, series{f, collect})
	}
	b.set.series = all
}

// emitter sends the metrics of one set.
type emitter struct {
	ch     chan<- prometheus.Metric
	labels []string
}

// send sends a value; extra are the values of the labels behind those of the set.
func (e *emitter) send(f *family, v float64, extra ...string) {
	e.ch <- prometheus.MustNewConstMetric(f.desc, f.kind, v, slices.Concat(e.labels, extra)...)
}

// valid makes values of labels that Prometheus accepts.
func valid(values ...string) []string {
	for i, v := range values {
		values[i] = strings.ToValidUTF8(v, "\uFFFD")
	}
	return values
}
