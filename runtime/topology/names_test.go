package topology

import (
	"slices"
	"strings"
	"testing"
)

func text(b *StreamsBuilder, topic string, consumed ...Consumed) *KStream[string, string] {
	return Stream(b, topic, String{}, String{}, consumed...)
}

func rows(b *StreamsBuilder, topic string, options ...TableOption) *KTable[string, string] {
	return Table(b, topic, String{}, String{}, options...)
}

func same(key, value string) (string, string) { return key, value }

// TestNamesAreKafkas holds the names of nodes, stores and topics, and how they hang together, to the expectations of Kafka
// Streams' own TopologyTest. The descriptions are one line for each node here.
func TestNamesAreKafkas(t *testing.T) {
	tests := []struct {
		name  string // of Kafka's test
		build func(b *StreamsBuilder)
		want  string
	}{
		{"kGroupedStreamZeroArgCount", func(b *StreamsBuilder) {
			text(b, "input-topic").GroupByKey(String{}, String{}).Count()
		}, `
0 Source: KSTREAM-SOURCE-0000000000 (topics: [input-topic]) --> KSTREAM-AGGREGATE-0000000002
0 Processor: KSTREAM-AGGREGATE-0000000002 (stores: [KSTREAM-AGGREGATE-STATE-STORE-0000000001]) --> none`},
		{"kGroupedStreamNamedMaterializedCount", func(b *StreamsBuilder) {
			text(b, "input-topic").GroupByKey(String{}, String{}).Count(Materialized{Name: "count-store"})
		}, `
0 Source: KSTREAM-SOURCE-0000000000 (topics: [input-topic]) --> KSTREAM-AGGREGATE-0000000001
0 Processor: KSTREAM-AGGREGATE-0000000001 (stores: [count-store]) --> none`},
		{"kGroupedStreamAnonymousMaterializedCount", func(b *StreamsBuilder) {
			text(b, "input-topic").GroupByKey(String{}, String{}).Count(Materialized{})
		}, `
0 Source: KSTREAM-SOURCE-0000000000 (topics: [input-topic]) --> KSTREAM-AGGREGATE-0000000003
0 Processor: KSTREAM-AGGREGATE-0000000003 (stores: [KSTREAM-AGGREGATE-STATE-STORE-0000000002]) --> none`},
		{"tableZeroArgCount", func(b *StreamsBuilder) {
			GroupTableBy(rows(b, "input-topic"), same, String{}, String{}).Count()
		}, `
0 Source: KSTREAM-SOURCE-0000000001 (topics: [input-topic]) --> KTABLE-SOURCE-0000000002
0 Processor: KTABLE-SOURCE-0000000002 (stores: [input-topic-STATE-STORE-0000000000]) --> KTABLE-SELECT-0000000003
0 Processor: KTABLE-SELECT-0000000003 (stores: []) --> KSTREAM-SINK-0000000005
0 Sink: KSTREAM-SINK-0000000005 (topic: KTABLE-AGGREGATE-STATE-STORE-0000000004-repartition)
1 Source: KSTREAM-SOURCE-0000000006 (topics: [KTABLE-AGGREGATE-STATE-STORE-0000000004-repartition]) --> KTABLE-AGGREGATE-0000000007
1 Processor: KTABLE-AGGREGATE-0000000007 (stores: [KTABLE-AGGREGATE-STATE-STORE-0000000004]) --> none`},
		{"tableNamedMaterializedCount", func(b *StreamsBuilder) {
			GroupTableBy(rows(b, "input-topic"), same, String{}, String{}).Count(Materialized{Name: "count-store"})
		}, `
0 Source: KSTREAM-SOURCE-0000000001 (topics: [input-topic]) --> KTABLE-SOURCE-0000000002
0 Processor: KTABLE-SOURCE-0000000002 (stores: [input-topic-STATE-STORE-0000000000]) --> KTABLE-SELECT-0000000003
0 Processor: KTABLE-SELECT-0000000003 (stores: []) --> KSTREAM-SINK-0000000004
0 Sink: KSTREAM-SINK-0000000004 (topic: count-store-repartition)
1 Source: KSTREAM-SOURCE-0000000005 (topics: [count-store-repartition]) --> KTABLE-AGGREGATE-0000000006
1 Processor: KTABLE-AGGREGATE-0000000006 (stores: [count-store]) --> none`},
		{"tableAnonymousMaterializedCount", func(b *StreamsBuilder) {
			GroupTableBy(rows(b, "input-topic"), same, String{}, String{}).Count(Materialized{})
		}, `
0 Source: KSTREAM-SOURCE-0000000001 (topics: [input-topic]) --> KTABLE-SOURCE-0000000002
0 Processor: KTABLE-SOURCE-0000000002 (stores: [input-topic-STATE-STORE-0000000000]) --> KTABLE-SELECT-0000000003
0 Processor: KTABLE-SELECT-0000000003 (stores: []) --> KSTREAM-SINK-0000000005
0 Sink: KSTREAM-SINK-0000000005 (topic: KTABLE-AGGREGATE-STATE-STORE-0000000004-repartition)
1 Source: KSTREAM-SOURCE-0000000006 (topics: [KTABLE-AGGREGATE-STATE-STORE-0000000004-repartition]) --> KTABLE-AGGREGATE-0000000007
1 Processor: KTABLE-AGGREGATE-0000000007 (stores: [KTABLE-AGGREGATE-STATE-STORE-0000000004]) --> none`},
		{"kTableNonMaterializedMapValues", func(b *StreamsBuilder) {
			MapTableValues[string](rows(b, "input-topic"), func(_, v string) string { return v }, nil)
		}, `
0 Source: KSTREAM-SOURCE-0000000001 (topics: [input-topic]) --> KTABLE-SOURCE-0000000002
0 Processor: KTABLE-SOURCE-0000000002 (stores: []) --> KTABLE-MAPVALUES-0000000003
0 Processor: KTABLE-MAPVALUES-0000000003 (stores: []) --> none`},
		{"kTableAnonymousMaterializedMapValues", func(b *StreamsBuilder) {
			MapTableValues[string](rows(b, "input-topic"), func(_, v string) string { return v }, nil, Materialized{})
		}, `
0 Source: KSTREAM-SOURCE-0000000001 (topics: [input-topic]) --> KTABLE-SOURCE-0000000002
0 Processor: KTABLE-SOURCE-0000000002 (stores: []) --> KTABLE-MAPVALUES-0000000004
0 Processor: KTABLE-MAPVALUES-0000000004 (stores: []) --> none`},
		{"kTableNamedMaterializedMapValues", func(b *StreamsBuilder) {
			MapTableValues[string](rows(b, "input-topic"), func(_, v string) string { return v }, String{},
				Materialized{Name: "store-name"})
		}, `
0 Source: KSTREAM-SOURCE-0000000001 (topics: [input-topic]) --> KTABLE-SOURCE-0000000002
0 Processor: KTABLE-SOURCE-0000000002 (stores: []) --> KTABLE-MAPVALUES-0000000003
0 Processor: KTABLE-MAPVALUES-0000000003 (stores: [store-name]) --> none`},
		{"kTableNonMaterializedFilter", func(b *StreamsBuilder) {
			rows(b, "input-topic").Filter(func(_, _ string) bool { return false })
		}, `
0 Source: KSTREAM-SOURCE-0000000001 (topics: [input-topic]) --> KTABLE-SOURCE-0000000002
0 Processor: KTABLE-SOURCE-0000000002 (stores: []) --> KTABLE-FILTER-0000000003
0 Processor: KTABLE-FILTER-0000000003 (stores: []) --> none`},
		{"kTableAnonymousMaterializedFilter", func(b *StreamsBuilder) {
			rows(b, "input-topic").Filter(func(_, _ string) bool { return false }, Materialized{})
		}, `
0 Source: KSTREAM-SOURCE-0000000001 (topics: [input-topic]) --> KTABLE-SOURCE-0000000002
0 Processor: KTABLE-SOURCE-0000000002 (stores: []) --> KTABLE-FILTER-0000000004
0 Processor: KTABLE-FILTER-0000000004 (stores: []) --> none`},
		{"kTableNamedMaterializedFilter", func(b *StreamsBuilder) {
			rows(b, "input-topic").Filter(func(_, _ string) bool { return false }, Materialized{Name: "store-name"})
		}, `
0 Source: KSTREAM-SOURCE-0000000001 (topics: [input-topic]) --> KTABLE-SOURCE-0000000002
0 Processor: KTABLE-SOURCE-0000000002 (stores: []) --> KTABLE-FILTER-0000000003
0 Processor: KTABLE-FILTER-0000000003 (stores: [store-name]) --> none`},
		{"topologyWithStaticTopicNameExtractor", func(b *StreamsBuilder) {
			text(b, "from-topic-name").To("to-topic-name", String{}, String{})
		}, `
0 Source: KSTREAM-SOURCE-0000000000 (topics: [from-topic-name]) --> KSTREAM-SINK-0000000001
0 Sink: KSTREAM-SINK-0000000001 (topic: to-topic-name)`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := NewStreamsBuilder()
			test.build(b)
			program, err := b.Build()
			if err != nil {
				t.Fatal(err)
			}
			if got := outline(program.Describe()); got != strings.TrimSpace(test.want) {
				t.Errorf("got\n%s\nwant%s", got, test.want)
			}
		})
	}
}

// outline puts the nodes of a description on a line each, with the number of the sub-topology and without the parents.
func outline(description string) string {
	var lines []string
	sub := ""
	for line := range strings.Lines(description) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "Sub-topology: "):
			sub = strings.TrimPrefix(line, "Sub-topology: ")
		case strings.HasPrefix(line, "-->"):
			lines[len(lines)-1] += " " + line
		case line != "" && line != "Topologies:" && !strings.HasPrefix(line, "<--"):
			lines = append(lines, sub+" "+line)
		}
	}
	return strings.Join(lines, "\n")
}

// TestNamedNodesAreKafkas does the same with what StreamsBuilderTest says of names that are given: they take numbers all
// the same, except for Process.
func TestNamedNodesAreKafkas(t *testing.T) {
	tests := []struct {
		name   string
		build  func(b *StreamsBuilder)
		nodes  []string
		stores []string
	}{
		{"aggregate operation given table", func(b *StreamsBuilder) {
			GroupTableBy(rows(b, "stream-topic"), same, String{}, String{}, "group-operation").Count(Named("stream-operation"))
		}, []string{
			"KSTREAM-SOURCE-0000000001", "KTABLE-SOURCE-0000000002", "group-operation", "stream-operation-sink",
			"stream-operation-source", "stream-operation",
		}, []string{"stream-topic-STATE-STORE-0000000000", "KTABLE-AGGREGATE-STATE-STORE-0000000004"}},
		{"to stream with mapper", func(b *StreamsBuilder) {
			SelectKey(MapValues(ToNullableStream(rows(b, "stream-topic"), "to-stream"),
				func(v *string) string { return *v }), func(k, _ string) string { return k })
		}, []string{
			"KSTREAM-SOURCE-0000000001", "KTABLE-SOURCE-0000000002", "to-stream", "KSTREAM-MAPVALUES-0000000004",
			"KSTREAM-KEY-SELECT-0000000005",
		}, nil},
		{"merge operation", func(b *StreamsBuilder) {
			text(b, "topic-1").Merge(text(b, "topic-2"), "merge-processor")
		}, []string{"KSTREAM-SOURCE-0000000000", "KSTREAM-SOURCE-0000000001", "merge-processor"}, nil},
		{"process operation", func(b *StreamsBuilder) {
			s := text(b, "stream-topic")
			Process(s, pass(), nil, "test-processor")
			Process(s, pass(), nil)
		}, []string{"KSTREAM-SOURCE-0000000000", "test-processor", "KSTREAM-PROCESSOR-0000000001"}, nil},
		{"stateless operators", func(b *StreamsBuilder) {
			s := text(b, "input", Consumed{Name: "source"}).Filter(func(_, _ string) bool { return true }, "filter-stream")
			s = SelectKey(Map(s, same, "map"), func(k, _ string) string { return k }, "selectKey").
				Peek(func(_, _ string) {}, "peek")
			FlatMapValues(s, func(string) []string { return nil }, "flatMap").To("output", String{}, String{}, "sink")
			s.ForEach(func(_, _ string) {})
		}, []string{
			"source", "filter-stream", "map", "selectKey", "peek", "flatMap", "sink", "KSTREAM-FOREACH-0000000007",
		}, nil},
		{"stream reduce", func(b *StreamsBuilder) {
			GroupBy(text(b, "input", Consumed{Name: "source"}), func(k, _ string) string { return k }, String{}, String{}, "groupBy").
				Reduce(func(l, _ string) string { return l }, Named("reduce"), Materialized{Name: "store"}).
				ToStream("toStream").To("output", String{}, String{}, "sink")
		}, []string{
			"source", "groupBy", "groupBy-repartition-filter", "groupBy-repartition-sink", "groupBy-repartition-source",
			"reduce", "toStream", "sink",
		}, []string{"store"}},
		{"table source", func(b *StreamsBuilder) {
			MapTableValues(rows(b, "input", Consumed{Name: "source-table"}), func(_, v string) string { return v }, String{},
				Named("map-values"), Materialized{Name: "map-values-store"})
		}, []string{"source-table-source", "source-table", "map-values"}, []string{"map-values-store"}},
		{"multiple table operators", func(b *StreamsBuilder) {
			keep := func(_, _ string) bool { return true }
			t := text(b, "input", Consumed{Name: "source"}).ToTable(String{}, String{}, Named("to-table"))
			t = MapTableValues(t, func(_, v string) string { return v }, String{}, Named("map-values"))
			t.Filter(keep, Named("filter")).FilterNot(keep, Materialized{Name: "filtered"})
		}, []string{"source", "to-table", "map-values", "filter", "KTABLE-FILTER-0000000005"}, []string{"filtered"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := NewStreamsBuilder()
			test.build(b)
			program, err := b.Build()
			if err != nil {
				t.Fatal(err)
			}
			var nodes, stores []string
			for id, sub := range program.SubTopologies() {
				for _, n := range program.nodes[id] {
					nodes = append(nodes, n.name)
				}
				for _, s := range sub.Stores {
					stores = append(stores, s.Name)
				}
			}
			checkLines(t, "nodes", nodes, test.nodes)
			checkLines(t, "stores", stores, test.stores)
		})
	}
}

// TestSharedRepartition groups by a name, so that two aggregations share the topic: the second one takes numbers for nodes
// that it does not add.
func TestSharedRepartition(t *testing.T) {
	b := NewStreamsBuilder()
	g := GroupBy(text(b, "in"), func(k, _ string) string { return k }, String{}, String{}, "by")
	g.Count()
	g.Reduce(func(l, _ string) string { return l })
	tg := GroupTableBy(rows(b, "table"), same, String{}, String{}, "rows")
	tg.Count()
	tg.Reduce(func(l, _ string) string { return l }, func(l, _ string) string { return l })
	program, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	// 2, 3: store and node; 4 to 6: repartition; 7, 8: store and node; 9 to 11: the repartition once more.
	want := `
0 Source: KSTREAM-SOURCE-0000000000 (topics: [in]) --> by
0 Processor: by (stores: []) --> by-repartition-filter
0 Processor: by-repartition-filter (stores: []) --> by-repartition-sink
0 Sink: by-repartition-sink (topic: by-repartition)
1 Source: by-repartition-source (topics: [by-repartition]) --> KSTREAM-AGGREGATE-0000000003, KSTREAM-REDUCE-0000000008
1 Processor: KSTREAM-AGGREGATE-0000000003 (stores: [KSTREAM-AGGREGATE-STATE-STORE-0000000002]) --> none
1 Processor: KSTREAM-REDUCE-0000000008 (stores: [KSTREAM-REDUCE-STATE-STORE-0000000007]) --> none
2 Source: KSTREAM-SOURCE-0000000013 (topics: [table]) --> KTABLE-SOURCE-0000000014
2 Processor: KTABLE-SOURCE-0000000014 (stores: [table-STATE-STORE-0000000012]) --> rows
2 Processor: rows (stores: []) --> KSTREAM-SINK-0000000017
2 Sink: KSTREAM-SINK-0000000017 (topic: rows-repartition)
3 Source: KSTREAM-SOURCE-0000000018 (topics: [rows-repartition]) --> KTABLE-AGGREGATE-0000000019, KTABLE-REDUCE-0000000023
3 Processor: KTABLE-AGGREGATE-0000000019 (stores: [KTABLE-AGGREGATE-STATE-STORE-0000000016]) --> none
3 Processor: KTABLE-REDUCE-0000000023 (stores: [KTABLE-AGGREGATE-STATE-STORE-0000000020]) --> none`
	if got := outline(program.Describe()); got != strings.TrimSpace(want) {
		t.Errorf("got\n%s\nwant%s", got, want)
	}
	var topics []string
	for _, r := range program.InternalRepartitionTopics() {
		topics = append(topics, r.Name)
	}
	checkLines(t, "repartition topics", topics, []string{"by-repartition", "rows-repartition"})
}

// TestSharedRepartitionComesLater shows why steps have priorities: Kafka Streams writes a shared repartition where it was
// used last, so that a sub-topology in between gets the smaller number.
func TestSharedRepartitionComesLater(t *testing.T) {
	b := NewStreamsBuilder()
	s := text(b, "in")
	g := GroupBy(s, func(k, _ string) string { return k }, String{}, String{}, "by")
	g.Count()
	s.Repartition("other", String{}, String{}).To("out", String{}, String{})
	g.Count()
	program, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	var sources []string
	for _, sub := range program.SubTopologies() {
		sources = append(sources, sub.Sources...)
	}
	checkLines(t, "sources", sources, []string{"in", "other-repartition", "by-repartition"})
}

func TestOptionsThatContradict(t *testing.T) {
	tests := []struct {
		name  string
		build func(b *StreamsBuilder)
		want  string
	}{
		{
			"two names", func(b *StreamsBuilder) { text(b, "in").Peek(func(_, _ string) {}, "a", "b") },
			"node KSTREAM-PEEK-0000000001: it has more than one name",
		},
		{"two stores", func(b *StreamsBuilder) {
			text(b, "in").GroupByKey(String{}, String{}).Count(Materialized{Name: "a"}, Materialized{Name: "b"})
		}, "count: it is materialized more than once"},
		{"a count of a topic", func(b *StreamsBuilder) {
			text(b, "in").GroupByKey(String{}, String{}).Count(Consumed{})
		}, "count: it consumes no topic"},
		{
			"a topic read in two ways", func(b *StreamsBuilder) { rows(b, "in", Consumed{}, Consumed{}) },
			"topic in: it is consumed in more than one way",
		},
		{"a table without a serde", func(b *StreamsBuilder) {
			MapTableValues[string](rows(b, "in"), func(_, v string) string { return v }, nil, Materialized{Name: "kept"})
		}, "a serde is not known, but its rows are to be kept"},
		{"a changelog that is not there", func(b *StreamsBuilder) {
			text(b, "in").GroupByKey(String{}, String{}).
				Count(Materialized{Name: "a", Unlogged: true, Config: map[string]string{"segment.ms": "1000"}})
		}, "store a: it has no changelog that could be configured"},
		{
			"a store that is not there", func(b *StreamsBuilder) { Process(text(b, "in"), pass(), []string{"st"}) },
			"processor KSTREAM-PROCESSOR-0000000001: store st is not added yet",
		},
		{"deletions without a null", func(b *StreamsBuilder) {
			text(b, "in").GroupByKey(String{}, String{}).Count().Filter(func(string, int64) bool { return true }).ToStream()
		}, "its values have no null for that; see ToNullableStream"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := NewStreamsBuilder()
			test.build(b)
			_, err := b.Build()
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestMaterializedSpec(t *testing.T) {
	b := NewStreamsBuilder()
	g := text(b, "in").GroupByKey(String{}, String{})
	config := map[string]string{"segment.ms": "1000"}
	g.Count(Materialized{Name: "b", Uncached: true, InMemory: true, Config: config})
	g.Count(Materialized{Name: "a", Unlogged: true})
	g.Count()
	text(b, "other").Peek(func(_, _ string) {})
	program, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	config["segment.ms"] = "changed"
	subs := program.SubTopologies()
	want := []StoreSpec{
		{Name: "b", Logged: true, InMemory: true, Timestamped: true, Config: map[string]string{"segment.ms": "1000"}},
		{Name: "a", Cached: true, Timestamped: true},
		{Name: "KSTREAM-AGGREGATE-STATE-STORE-0000000003", Logged: true, Cached: true, Timestamped: true},
	}
	equal := func(a, b StoreSpec) bool {
		config := a.Config["segment.ms"] == b.Config["segment.ms"]
		a.Config, b.Config = nil, nil
		return config && a.Name == b.Name && a.Logged == b.Logged && a.Cached == b.Cached &&
			a.InMemory == b.InMemory && a.Timestamped == b.Timestamped
	}
	if !slices.EqualFunc(subs[0].Stores, want, equal) {
		t.Errorf("stores %+v, want %+v", subs[0].Stores, want)
	}
	if !subs[0].Stateful || subs[1].Stateful {
		t.Errorf("stateful: %v and %v, want only the first", subs[0].Stateful, subs[1].Stateful)
	}
	if !program.HasPersistentStore() {
		t.Error("no persistent store")
	}
}

func TestOnlyInMemory(t *testing.T) {
	b := NewStreamsBuilder()
	text(b, "in").GroupByKey(String{}, String{}).Count(Materialized{Name: "a", InMemory: true, Unlogged: true})
	program, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	if program.HasPersistentStore() || program.SubTopologies()[0].Stateful {
		t.Errorf("persistent %v, stateful %v", program.HasPersistentStore(), program.SubTopologies()[0].Stateful)
	}
}
