package soak

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"eostop/faults/verify"
	"eostop/runtime/topology"
)

// Names of the built-in programs.
const (
	topologySoak        = "soak"
	topologyPassthrough = "passthrough"
	topologyWordcount   = "wordcount"
)

// builtin is a program that --topology can name.
type builtin struct {
	name   string
	about  string
	model  string // of the verifier
	build  func(applicationID string) (*topology.Topology, error)
	topics func(applicationID string) ProgramTopics
	rate   float64 // records a second, if nobody says
	byKey  bool    // records without a key make no sense to it
	// source makes up the load where it does not come from a file.
	source func(LoadConfig) recordSource
	// talking builds the program so that it says how it gets on; nil = it is a silent one. Its inputs are no text.
	talking func(say func(line string)) (*topology.Topology, error)
}

// builtins lists the built-in programs, the default first.
func builtins() []builtin {
	return append([]builtin{
		{
			name: topologySoak, about: "counts, sums and maxima by key, and maxima by group and over all, in four sub-topologies",
			model: verify.ModelSoak, build: Program, topics: Topics, rate: 20_000, byKey: true, source: newAmounts,
		},
		{
			name: topologyPassthrough, about: "writes its input to its output, without state",
			model: verify.ModelPassthrough, build: passthrough, topics: passthroughTopics, rate: 20_000, source: newAmounts,
		},
		{
			name: topologyWordcount, about: "counts the words of lines",
			model: verify.ModelWordcount, build: wordcount, topics: wordcountTopics, rate: 2000, source: newLines,
		},
	}, eosTests()...)
}

// TopologyNames lists the built-in programs, the default first.
func TopologyNames() []string {
	var names []string
	for _, b := range builtins() {
		names = append(names, b.name)
	}
	return names
}

// program builds the program for a configuration.
func (b *builtin) program(cfg *Config, say func(line string)) (*topology.Topology, error) {
	if b.talking != nil && say != nil {
		return b.talking(say)
	}
	return b.build(cfg.Application.ID)
}

// findBuiltin returns the program of that name.
func findBuiltin(name string) (builtin, bool) {
	all := builtins()
	i := slices.IndexFunc(all, func(b builtin) bool { return b.name == name })
	if i < 0 {
		return builtin{}, false
	}
	return all[i], true
}

// ProgramTopics are the full names of a program's topics.
type ProgramTopics struct {
	Input        string
	Outputs      map[string]string // by role
	Changelogs   map[string]string // by store
	Repartitions []string          // upstream first
	Through      []string          // outputs that the program reads again, behind the repartitions
}

// hops are the topics by which records go on from one sub-topology to the next, upstream first.
func (t *ProgramTopics) hops() []string { return slices.Concat(t.Repartitions, t.Through) }

// programTopics names the topics of a program after its application, its roles, stores and repartitions.
func programTopics(applicationID string, roles, stores, repartitions []string) ProgramTopics {
	t := ProgramTopics{
		Input: applicationID + "-input", Outputs: make(map[string]string), Changelogs: make(map[string]string),
	}
	for _, role := range roles {
		t.Outputs[role] = applicationID + "-" + role
	}
	for _, store := range stores {
		t.Changelogs[store] = applicationID + "-" + store + "-changelog"
	}
	for _, name := range repartitions {
		t.Repartitions = append(t.Repartitions, applicationID+"-"+name+"-repartition")
	}
	return t
}

// RoleOutput is the role of the one output of the passthrough program.
const RoleOutput = "output"

func passthroughTopics(applicationID string) ProgramTopics {
	return programTopics(applicationID, []string{RoleOutput}, nil, nil)
}

// passthrough builds the program that writes its input to its output. Records with a key go where the key belongs, so that
// the order of each input partition is kept; those without may go to any partition.
func passthrough(applicationID string) (*topology.Topology, error) {
	b, raw := topology.NewStreamsBuilder(), topology.Bytes{}
	topics := passthroughTopics(applicationID)
	topology.Stream(b, topics.Input, raw, raw).To(topics.Outputs[RoleOutput], raw, raw)
	program, err := b.Build()
	if err != nil {
		return nil, fmt.Errorf("build passthrough program: %w", err)
	}
	return program, nil
}

// RoleCounts is the role of the one output of the wordcount program: the count of each word at each of its places.
const RoleCounts = "counts"

// storeWords holds the counts of the wordcount program.
const storeWords = "KSTREAM-AGGREGATE-STATE-STORE-0000000003"

func wordcountTopics(applicationID string) ProgramTopics {
	return programTopics(applicationID, []string{RoleCounts}, []string{storeWords}, []string{storeWords})
}

// wordcount builds the program that counts the words of lines, Kafka Streams' own first example. Lines are the values of
// the input; the output has the word as its key and the count, 8 bytes big endian, as its value.
func wordcount(applicationID string) (*topology.Topology, error) {
	b := topology.NewStreamsBuilder()
	topics := wordcountTopics(applicationID)
	words := topology.FlatMapValues(topology.Stream(b, topics.Input, topology.Bytes{}, topology.Bytes{}), wordsOf)
	byWord := topology.GroupBy(words, func(_ []byte, word string) string { return word }, topology.String{}, topology.String{})
	byWord.Count().ToStream().To(topics.Outputs[RoleCounts], topology.String{}, topology.Int64{})
	program, err := b.Build()
	if err != nil {
		return nil, fmt.Errorf("build wordcount program: %w", err)
	}
	return program, nil
}

// wordsOf returns the words of a line, in lower case and in their order: runs of letters, marks and digits as Unicode knows
// them. Bytes that are no UTF-8 separate words.
func wordsOf(line []byte) []string {
	return strings.FieldsFunc(strings.ToLower(string(line)), separates)
}

func separates(r rune) bool {
	return !unicode.IsLetter(r) && !unicode.IsMark(r) && !unicode.IsDigit(r)
}
