package topology

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Describe returns the text that Kafka Streams' Topology.describe() gives for the program, with the application's topic
// names as they were given and internal topics without the application id. Where a node has several children, or a
// source several topics, Kafka lists them in an order that follows from its hash maps; here children with the most nodes
// behind them come first, and topics stay in the order given.
func (t *Topology) Describe() string {
	var text strings.Builder
	text.WriteString("Topologies:\n ")
	for id, nodes := range t.nodes {
		fmt.Fprintf(&text, "  Sub-topology: %d\n", id)
		describeNodes(&text, nodes)
		text.WriteString("\n")
	}
	return text.String()
}

func describeNodes(text *strings.Builder, nodes []*nodeDef) {
	byName := make(map[string]*nodeDef, len(nodes))
	children := make(map[string][]string, len(nodes))
	for _, n := range nodes {
		byName[n.name] = n
		for _, parent := range n.parents {
			children[parent] = append(children[parent], n.name)
		}
	}
	// A node's size is the number of ways down from it, its own place counted: what Kafka sorts by.
	sizes := make(map[string]int, len(nodes))
	var size func(name string) int
	size = func(name string) int {
		if sizes[name] == 0 {
			sum := 1
			for _, child := range children[name] {
				sum += size(child)
			}
			sizes[name] = sum
		}
		return sizes[name]
	}
	inOrder := func(names []string) []string {
		return slices.SortedFunc(slices.Values(names), func(a, b string) int {
			return cmp.Or(cmp.Compare(size(b), size(a)), strings.Compare(a, b))
		})
	}
	list := func(names []string) string {
		if len(names) == 0 {
			return "none"
		}
		return strings.Join(inOrder(names), ", ")
	}
	all := make([]string, len(nodes))
	for i, n := range nodes {
		all[i] = n.name
	}
	for _, name := range inOrder(all) {
		n := byName[name]
		switch n.kind {
		case sourceKind:
			fmt.Fprintf(text, "    Source: %s (topics: [%s])\n      --> %s\n",
				name, strings.Join(n.topics, ", "), list(children[name]))
		case processorKind:
			fmt.Fprintf(text, "    Processor: %s (stores: [%s])\n      --> %s\n      <-- %s\n",
				name, strings.Join(slices.Sorted(slices.Values(n.stores)), ", "), list(children[name]), list(n.parents))
		case sinkKind:
			fmt.Fprintf(text, "    Sink: %s (topic: %s)\n      <-- %s\n", name, n.topic, list(n.parents))
		}
	}
}
