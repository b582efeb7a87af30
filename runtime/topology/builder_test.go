package topology

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// pass supplies processors that forward every record as it is.
func pass() Supplier[string, string, string, string] {
	return Stateless(func(ctx *Context[string, string], record Record[string, string]) error {
		return ctx.Forward(record)
	})
}

func source(b *Builder, name string, topics ...string) {
	AddSource(b, name, String{}, String{}, topics...)
}

func sink(b *Builder, name, topic string, parents ...string) {
	AddSink(b, name, topic, String{}, String{}, parents...)
}

func store(b *Builder, name string, processors ...string) {
	AddStateStore(b, StoreSpec{Name: name, Logged: true, Timestamped: true}, String{}, String{}, processors...)
}

func TestBuildRefuses(t *testing.T) {
	tests := []struct {
		name string
		add  func(b *Builder)
		want []string // each is a part of the message
	}{
		{"nothing to read", func(*Builder) {}, []string{"there is no source"}},
		{"duplicate node", func(b *Builder) {
			source(b, "s", "in")
			source(b, "s", "in2")
		}, []string{"node s is added twice"}},
		{"unknown parent", func(b *Builder) {
			source(b, "s", "in")
			AddProcessor(b, "p", pass(), "x")
		}, []string{"node p: parent x is not there"}},
		{"parent named twice", func(b *Builder) {
			source(b, "s", "in")
			AddProcessor(b, "p", pass(), "s", "s")
		}, []string{"node p: parent s is named twice"}},
		{"no parent", func(b *Builder) {
			source(b, "s", "in")
			AddProcessor(b, "p", pass())
		}, []string{"node p has no parent"}},
		{"sink as a parent", func(b *Builder) {
			source(b, "s", "in")
			sink(b, "k", "out", "s")
			AddProcessor(b, "p", pass(), "k")
		}, []string{"node p: parent k is a sink"}},
		{"its own parent", func(b *Builder) {
			source(b, "s", "in")
			AddProcessor(b, "p", pass(), "s", "p")
		}, []string{"nodes form a cycle: p -> p"}},
		{"cycle", func(b *Builder) {
			source(b, "s", "in")
			AddProcessor(b, "p", pass(), "s", "r")
			AddProcessor(b, "q", pass(), "p")
			AddProcessor(b, "r", pass(), "q")
		}, []string{"nodes form a cycle: p -> q -> r -> p"}},
		{"types differ", func(b *Builder) {
			source(b, "s", "in")
			AddSink(b, "k", "out", String{}, Int64{}, "s")
		}, []string{"node k takes topology.Record[string,int64], but its parent s forwards topology.Record[string,string]"}},
		{"topic read twice", func(b *Builder) {
			source(b, "s", "in")
			source(b, "s2", "in")
		}, []string{"source s2: topic in is already read by source s"}},
		{"source without a topic", func(b *Builder) { source(b, "s") }, []string{"source s reads no topic"}},
		{"bad names", func(b *Builder) {
			source(b, "a b", "in/1")
			sink(b, "..", "", "a b")
			store(b, "a?b", "p")
		}, []string{`node "a b"`, `topic of source a b "in/1"`, `node ".."`, `topic of sink .. ""`, `store "a?b"`}},
		{"unused store", func(b *Builder) {
			source(b, "s", "in")
			store(b, "st")
		}, []string{"store st is not used by any processor"}},
		{"duplicate store", func(b *Builder) {
			source(b, "s", "in")
			AddProcessor(b, "p", pass(), "s")
			store(b, "st", "p")
			store(b, "st", "p")
		}, []string{"store st is added twice"}},
		{"store of an unknown processor", func(b *Builder) {
			source(b, "s", "in")
			store(b, "st", "p")
		}, []string{"store st: processor p is not there"}},
		{"store of a source", func(b *Builder) {
			source(b, "s", "in")
			store(b, "st", "s")
		}, []string{"store st: node s is a source or a sink"}},
		{"unknown store", func(b *Builder) {
			source(b, "s", "in")
			AddProcessor(b, "p", pass(), "s")
			b.ConnectStore("p", "st")
		}, []string{"processor p: store st is not added yet"}},
		{"repartition topics", func(b *Builder) {
			source(b, "s", "in", "c", "d")
			sink(b, "k", "b", "s")
			sink(b, "k2", "c", "s")
			b.AddRepartitionTopic(RepartitionTopic{Name: "in"})
			b.AddRepartitionTopic(RepartitionTopic{Name: "b"})
			b.AddRepartitionTopic(RepartitionTopic{Name: "c", Partitions: -1})
			b.AddRepartitionTopic(RepartitionTopic{Name: "c"})
		}, []string{
			"repartition topic in is not written", "repartition topic b is not read", "repartition topic c: -1 partitions",
			"repartition topic c is added twice",
		}},
		{"nil", func(b *Builder) {
			AddSource[string, string](b, "s", nil, String{}, "in")
			AddProcessor[string, string, string, string](b, "p", nil, "s")
			AddSink[string, string](b, "k", "out", String{}, nil, "p")
			AddStateStore[string, string](b, StoreSpec{Name: "st"}, nil, nil, "p")
		}, []string{
			"source s: a serde is nil", "processor p: the supplier is nil", "sink k: a serde is nil", "store st: a serde is nil",
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := NewBuilder()
			test.add(b)
			_, err := b.Build()
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error does not say %q:\n%v", want, err)
				}
			}
		})
	}
}

// processors is the program of testdata/describe-processors.txt, written with Kafka Streams' Processor API.
func processors() *Builder {
	b := NewBuilder()
	source(b, "src-a", "zz", "a2", "m")
	source(b, "src-b", "b")
	AddProcessor(b, "p1", pass(), "src-a", "src-b")
	AddProcessor(b, "p2", pass(), "src-a")
	AddProcessor(b, "p3", pass(), "p1", "p2")
	source(b, "src-c", "c")
	AddProcessor(b, "p4", pass(), "src-c")
	source(b, "src-d", "d")
	AddProcessor(b, "p5", pass(), "src-d")
	store(b, "store-z", "p4")
	b.ConnectStore("p5", "store-z")
	store(b, "store-a", "p5")
	sink(b, "sink", "out", "p3", "p4")
	source(b, "src-0", "zero")
	sink(b, "s0", "o0", "src-0")
	sink(b, "s1", "o1", "src-0")
	AddProcessor(b, "s2", pass(), "src-0")
	return b
}

// automatic is the program of testdata/describe-automatic-repartition.txt.
func automatic() *StreamsBuilder {
	b := NewStreamsBuilder()
	s := SelectKey(Stream(b, "in", String{}, String{}), func(_, value string) string { return value })
	g := s.GroupByKey(String{}, String{})
	g.Count().ToStream().To("c", String{}, Int64{})
	Aggregate(g, func() int64 { return 0 }, func(_, _ string, n int64) int64 { return n + 1 }, Int64{}).
		ToStream().To("d", String{}, Int64{})
	MapValues(s.Repartition("", String{}, String{}), func(v string) string { return v }).To("e", String{}, String{})
	return b
}

// TestDescribe compares with what Kafka Streams 4.3 prints for the same programs.
func TestDescribe(t *testing.T) {
	tests := []struct {
		file  string
		build func() (*Topology, error)
	}{
		{"describe-processors.txt", processors().Build},
		{"describe-automatic-repartition.txt", automatic().Build},
	}
	for _, test := range tests {
		t.Run(test.file, func(t *testing.T) {
			want, err := os.ReadFile("testdata/" + test.file)
			if err != nil {
				t.Fatal(err)
			}
			program, err := test.build()
			if err != nil {
				t.Fatal(err)
			}
			if got := program.Describe(); got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestSubTopologies(t *testing.T) {
	program, err := processors().Build()
	if err != nil {
		t.Fatal(err)
	}
	want := []SubTopology{
		{
			ID: 0, Sources: []string{"zz", "a2", "m", "b", "c", "d"}, Sinks: []string{"out"},
			Stores: []StoreSpec{
				{Name: "store-z", Logged: true, Timestamped: true}, {Name: "store-a", Logged: true, Timestamped: true},
			},
			Stateful: true,
		},
		{ID: 1, Sources: []string{"zero"}, Sinks: []string{"o0", "o1"}},
	}
	if got := program.SubTopologies(); fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("\n got %+v\nwant %+v", got, want)
	}
	if got := program.InternalRepartitionTopics(); len(got) != 0 {
		t.Errorf("repartition topics %v", got)
	}
}

func TestRepartitionTopics(t *testing.T) {
	b := NewStreamsBuilder()
	Stream(b, "in", String{}, Bytes{}).
		Repartition("one", String{}, Bytes{}).
		RepartitionWith(Repartitioned[string, []byte]{Name: "two", Partitions: 5, Key: String{}, Value: Bytes{}}).
		To("out", String{}, Bytes{})
	program, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	want := []RepartitionTopic{{"one-repartition", 0}, {"two-repartition", 5}}
	if got := program.InternalRepartitionTopics(); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	sub := program.SubTopologies()[1]
	if want := []string{"one-repartition"}; !slices.Equal(sub.Repartitions, want) || !slices.Equal(sub.Sources, want) {
		t.Errorf("sub-topology 1 reads %v, of these internal %v, want %v", sub.Sources, sub.Repartitions, want)
	}
	if want := []string{"two-repartition"}; !slices.Equal(sub.Sinks, want) {
		t.Errorf("sub-topology 1 writes %v, want %v", sub.Sinks, want)
	}
}

// TestGroupingIsConnectedness compares, for random graphs, the grouping with a flood fill.
func TestGroupingIsConnectedness(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 300 {
		b, near := randomGraph(rng)
		want := make(map[string]int)
		groups := 0
		for _, n := range b.nodes {
			if _, ok := want[n.name]; ok {
				continue
			}
			for todo := []string{n.name}; len(todo) > 0; todo = todo[1:] {
				if _, ok := want[todo[0]]; !ok {
					want[todo[0]] = groups
					todo = append(todo, near[todo[0]]...)
				}
			}
			groups++
		}
		program, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		if got := groupNodes(b); !maps.Equal(got, want) {
			t.Fatalf("groups %v, want %v\n%s", got, want, program.Describe())
		}
		if got := len(program.SubTopologies()); got != groups {
			t.Fatalf("%d sub-topologies, want %d", got, groups)
		}
	}
}

// randomGraph returns a valid graph and the neighbours of each of its nodes.
func randomGraph(rng *rand.Rand) (*Builder, map[string][]string) {
	b := NewBuilder()
	near := make(map[string][]string)
	join := func(x, y string) {
		near[x] = append(near[x], y)
		near[y] = append(near[y], x)
	}
	var processors, parents []string
	for i := range 1 + rng.IntN(20) {
		name := fmt.Sprintf("n%d", i)
		if i == 0 || rng.IntN(3) == 0 {
			source(b, name, "t"+name)
		} else {
			parent := parents[rng.IntN(len(parents))]
			AddProcessor(b, name, pass(), parent)
			processors = append(processors, name)
			join(name, parent)
		}
		parents = append(parents, name)
	}
	for i := 0; i < rng.IntN(4) && len(processors) > 0; i++ {
		x, y := processors[rng.IntN(len(processors))], processors[rng.IntN(len(processors))]
		store(b, fmt.Sprintf("store%d", i), x, y)
		join(x, y)
	}
	return b, near
}
