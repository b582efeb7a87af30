package topology

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

func problem(format string, args ...any) error { return fmt.Errorf("topology: "+format, args...) }

// checkName holds names of nodes, stores and topics to what Kafka allows of a topic, since the names of internal topics
// are made of them.
func checkName(what, name string) error {
	const legal = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
	if len(name) < 1 || len(name) > 249 || strings.Trim(name, legal) != "" || name == "." || name == ".." {
		return problem("%s %q: a name is 1 to 249 of the characters a-z A-Z 0-9 . _ -", what, name)
	}
	return nil
}

// Build checks the program and returns it. The error joins everything that is wrong with it: names that are taken or
// not legal, unknown parents, cycles, neighbours whose types differ, topics that two sources read, stores that nobody
// uses, repartition topics without a reader or a writer. The builder must not be used any more.
func (b *Builder) Build() (*Topology, error) {
	problems := slices.Clone(b.problems)
	problems = append(problems, b.checkNodes()...)
	problems = append(problems, b.checkStores()...)
	problems = append(problems, b.checkRepartitions()...)
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return newTopology(b), nil
}

func (b *Builder) checkNodes() []error {
	var problems []error
	byName := make(map[string]*nodeDef, len(b.nodes))
	for _, n := range b.nodes {
		if err := checkName("node", n.name); err != nil {
			problems = append(problems, err)
		}
		if byName[n.name] != nil {
			problems = append(problems, problem("node %s is added twice", n.name))
		}
		byName[n.name] = n
	}
	readers := make(map[string]string)
	sources := 0
	for _, n := range b.nodes {
		if n.kind == sourceKind {
			sources++
			problems = append(problems, checkTopics(n, readers)...)
			continue
		}
		if n.kind == sinkKind {
			if err := checkName("topic of sink "+n.name, n.topic); err != nil {
				problems = append(problems, err)
			}
		}
		problems = append(problems, checkParents(n, byName)...)
	}
	if sources == 0 {
		problems = append(problems, problem("there is no source, so there is nothing to process"))
	}
	if cycle := findCycle(b.nodes, byName); cycle != nil {
		problems = append(problems, problem("nodes form a cycle: %s", strings.Join(cycle, " -> ")))
	}
	return problems
}

func checkTopics(n *nodeDef, readers map[string]string) []error {
	var problems []error
	if len(n.topics) == 0 {
		problems = append(problems, problem("source %s reads no topic", n.name))
	}
	for _, topic := range n.topics {
		if err := checkName("topic of source "+n.name, topic); err != nil {
			problems = append(problems, err)
		}
		if other, ok := readers[topic]; ok {
			problems = append(problems, problem("source %s: topic %s is already read by source %s", n.name, topic, other))
		}
		readers[topic] = n.name
	}
	return problems
}

func checkParents(n *nodeDef, byName map[string]*nodeDef) []error {
	var problems []error
	if len(n.parents) == 0 {
		problems = append(problems, problem("node %s has no parent", n.name))
	}
	for i, name := range n.parents {
		parent := byName[name]
		switch {
		case parent == nil:
			problems = append(problems, problem("node %s: parent %s is not there", n.name, name))
		case slices.Contains(n.parents[:i], name):
			problems = append(problems, problem("node %s: parent %s is named twice", n.name, name))
		case parent.kind == sinkKind:
			problems = append(problems, problem("node %s: parent %s is a sink, which forwards nothing", n.name, name))
		case parent.gives != n.takes:
			problems = append(problems, problem("node %s takes %v, but its parent %s forwards %v",
				n.name, n.takes, name, parent.gives))
		}
	}
	return problems
}

// findCycle returns the names around a cycle, the first one again at the end, or nil.
func findCycle(nodes []*nodeDef, byName map[string]*nodeDef) []string {
	done := make(map[string]bool, len(nodes))
	var path []string
	var visit func(n *nodeDef) []string
	visit = func(n *nodeDef) []string {
		if i := slices.Index(path, n.name); i >= 0 {
			// The path goes from child to parent; records go the other way.
			cycle := append(slices.Clone(path[i:]), n.name)
			slices.Reverse(cycle)
			return cycle
		}
		if done[n.name] {
			return nil
		}
		done[n.name] = true
		path = append(path, n.name)
		for _, parent := range n.parents {
			if def := byName[parent]; def != nil {
				if cycle := visit(def); cycle != nil {
					return cycle
				}
			}
		}
		path = path[:len(path)-1]
		return nil
	}
	for _, n := range nodes {
		if cycle := visit(n); cycle != nil {
			return cycle
		}
	}
	return nil
}

func (b *Builder) checkStores() []error {
	var problems []error
	kinds := make(map[string]nodeKind, len(b.nodes))
	for _, n := range b.nodes {
		kinds[n.name] = n.kind
	}
	seen := make(map[string]bool, len(b.stores))
	for _, s := range b.stores {
		name := s.spec.Name
		if err := checkName("store", name); err != nil {
			problems = append(problems, err)
		}
		if seen[name] {
			problems = append(problems, problem("store %s is added twice", name))
		}
		seen[name] = true
		if !s.spec.Logged && len(s.spec.Config) > 0 {
			problems = append(problems, problem("store %s: it has no changelog that could be configured", name))
		}
		if len(s.processors) == 0 {
			problems = append(problems, problem("store %s is not used by any processor", name))
		}
		for _, processor := range s.processors {
			if kind, ok := kinds[processor]; !ok {
				problems = append(problems, problem("store %s: processor %s is not there", name, processor))
			} else if kind != processorKind {
				problems = append(problems, problem("store %s: node %s is a source or a sink, which has no store", name, processor))
			}
		}
	}
	return problems
}

func (b *Builder) checkRepartitions() []error {
	var problems []error
	read, written := make(map[string]bool), make(map[string]bool)
	for _, n := range b.nodes {
		for _, topic := range n.topics {
			read[topic] = true
		}
		if n.kind == sinkKind {
			written[n.topic] = true
		}
	}
	seen := make(map[string]bool, len(b.repartitions))
	for _, r := range b.repartitions {
		switch {
		case seen[r.Name]:
			problems = append(problems, problem("repartition topic %s is added twice", r.Name))
		case r.Partitions < 0:
			problems = append(problems, problem("repartition topic %s: %d partitions", r.Name, r.Partitions))
		case !read[r.Name]:
			problems = append(problems, problem("repartition topic %s is not read by any source", r.Name))
		case !written[r.Name]:
			problems = append(problems, problem("repartition topic %s is not written by any sink", r.Name))
		}
		seen[r.Name] = true
	}
	return problems
}
