package topology

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// RepartitionTopic is a topic that the application uses between two of its sub-topologies.
type RepartitionTopic struct {
	Name       string // logical, such as "by-key-repartition"; the runtime puts the application id before it
	Partitions int32  // 0 = as many as the greatest number of tasks of the sub-topologies that write to it
}

// SubTopology is a part of the program that runs as a task of its own for each partition. Its slices keep the order in
// which nodes and stores were added. Topic names are logical: those of repartition topics come without application id.
type SubTopology struct {
	ID           int
	Sources      []string    // topics read
	Sinks        []string    // topics written, repartition topics included, each once
	Repartitions []string    // those of Sources that are repartition topics
	Stores       []StoreSpec // in topological order of their processors: what one cache flushes, later ones take
	Stateful     bool        // whether a store of it has a changelog, so that a task has something to restore
}

// Topology is a checked program. It is immutable and safe for concurrent use.
type Topology struct {
	subs         []SubTopology
	nodes        [][]*nodeDef // by sub-topology
	stores       [][]*storeDef
	repartitions []RepartitionTopic
}

// newTopology cuts a valid program into sub-topologies.
func newTopology(b *Builder) *Topology {
	internal := make(map[string]bool, len(b.repartitions))
	for _, r := range b.repartitions {
		internal[r.Name] = true
	}
	group := groupNodes(b)
	t := &Topology{repartitions: slices.Clone(b.repartitions)}
	for _, n := range b.nodes {
		id := group[n.name]
		if id == len(t.subs) {
			t.subs = append(t.subs, SubTopology{ID: id})
			t.nodes = append(t.nodes, nil)
			t.stores = append(t.stores, nil)
		}
		t.nodes[id] = append(t.nodes[id], n)
		sub := &t.subs[id]
		for _, topic := range n.topics {
			sub.Sources = append(sub.Sources, topic)
			if internal[topic] {
				sub.Repartitions = append(sub.Repartitions, topic)
			}
		}
		if n.kind == sinkKind && !slices.Contains(sub.Sinks, n.topic) {
			sub.Sinks = append(sub.Sinks, n.topic)
		}
	}
	for _, s := range inTopologicalOrder(b) {
		id := group[s.processors[0]]
		t.subs[id].Stores = append(t.subs[id].Stores, s.spec)
		t.subs[id].Stateful = t.subs[id].Stateful || s.spec.Logged
		t.stores[id] = append(t.stores[id], s)
	}
	for _, s := range b.stores {
		for _, n := range t.nodes[group[s.processors[0]]] {
			if slices.Contains(s.processors, n.name) {
				n.stores = append(n.stores, s.spec.Name)
			}
		}
	}
	return t
}

// inTopologicalOrder returns the stores in the order of their first processors, where each node comes behind its parents
// and otherwise in the order of adding.
func inTopologicalOrder(b *Builder) []*storeDef {
	rank := make(map[string]int, len(b.nodes))
	for len(rank) < len(b.nodes) {
		for _, n := range b.nodes {
			_, ranked := rank[n.name]
			if !ranked && !slices.ContainsFunc(n.parents, func(p string) bool { _, ok := rank[p]; return !ok }) {
				rank[n.name] = len(rank)
			}
		}
	}
	first := func(s *storeDef) int {
		r := len(rank)
		for _, processor := range s.processors {
			r = min(r, rank[processor])
		}
		return r
	}
	stores := slices.Clone(b.stores)
	slices.SortStableFunc(stores, func(x, y *storeDef) int { return cmp.Compare(first(x), first(y)) })
	return stores
}

// groupNodes returns the number of each node's sub-topology. Nodes belong together when one is the parent of the other
// or when they share a store; a topic between them does not join them. Sub-topologies are numbered in the order of
// their first node.
func groupNodes(b *Builder) map[string]int {
	root := make(map[string]string, len(b.nodes))
	for _, n := range b.nodes {
		root[n.name] = n.name
	}
	find := func(name string) string {
		for root[name] != name {
			root[name] = root[root[name]]
			name = root[name]
		}
		return name
	}
	for _, n := range b.nodes {
		for _, parent := range n.parents {
			root[find(n.name)] = find(parent)
		}
	}
	for _, s := range b.stores {
		for _, processor := range s.processors[1:] {
			root[find(processor)] = find(s.processors[0])
		}
	}
	number := make(map[string]int)
	group := make(map[string]int, len(b.nodes))
	for _, n := range b.nodes {
		r := find(n.name)
		if _, ok := number[r]; !ok {
			number[r] = len(number)
		}
		group[n.name] = number[r]
	}
	return group
}

// SubTopologies returns the sub-topologies, sorted by ID, which count from 0 without holes. The caller must not change
// their slices.
func (t *Topology) SubTopologies() []SubTopology { return slices.Clone(t.subs) }

// HasPersistentStore tells whether a store of the program is to be kept on disk.
func (t *Topology) HasPersistentStore() bool {
	return slices.ContainsFunc(t.subs, func(sub SubTopology) bool {
		return slices.ContainsFunc(sub.Stores, func(s StoreSpec) bool { return !s.InMemory })
	})
}

// InternalRepartitionTopics returns the topics that the runtime has to create before the program can run, in the order
// in which they were added.
func (t *Topology) InternalRepartitionTopics() []RepartitionTopic {
	return slices.Clone(t.repartitions)
}

// Instantiate makes the graph of one task of a sub-topology: it asks the host for every store, makes fresh processors
// and initialises them. If one of them fails the others are closed again; an error of a processor is a
// *ProcessingError, one of the host stays findable by errors.Is and errors.As.
func (t *Topology) Instantiate(sub int, host Host) (*Graph, error) {
	if sub < 0 || sub >= len(t.subs) {
		return nil, fmt.Errorf("instantiate: there is no sub-topology %d", sub)
	}
	g := &Graph{
		host:    host,
		now:     host.WallClock,
		sources: make(map[string]entry, len(t.subs[sub].Sources)),
		stores:  make(map[string]StateStore, len(t.stores[sub])),
	}
	g.watcher, _ = host.(Watcher)
	for _, s := range t.stores[sub] {
		below, err := newLayer(g, s)
		if err != nil {
			return nil, err
		}
		g.stores[s.spec.Name] = s.open(below)
	}
	built := make(map[string]node, len(t.nodes[sub]))
	for _, def := range t.nodes[sub] {
		n := def.build(g)
		built[def.name] = n
		if source, ok := n.(entry); ok {
			for _, topic := range def.topics {
				g.sources[topic] = source
			}
		}
	}
	for _, def := range t.nodes[sub] {
		for _, parent := range def.parents {
			built[parent].attach(built[def.name])
		}
	}
	for _, def := range t.nodes[sub] {
		n := built[def.name]
		if err := n.init(); err != nil || g.failure != nil {
			if g.failure != nil {
				err = g.failure
			} else {
				err = &ProcessingError{Node: def.name, Err: fmt.Errorf("init: %w", err)}
			}
			return nil, errors.Join(err, g.Close())
		}
		g.nodes = append(g.nodes, n)
	}
	return g, nil
}
