package soak

import (
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"eostop/runtime/topology"
	"eostop/runtime/topology/topologytest"
)

// TestProgramDescriptions compares with the numbering of Kafka Streams, which names stores and changelogs.
func TestProgramDescriptions(t *testing.T) {
	for _, name := range []string{topologyPassthrough, topologyWordcount} {
		t.Run(name, func(t *testing.T) {
			golden, err := os.ReadFile("testdata/describe-" + name + ".txt")
			if err != nil {
				t.Fatal(err)
			}
			program := buildBuiltin(t, name)
			if got, want := sortChildren(program.Describe()), sortChildren(string(golden)); got != want {
				t.Errorf("description differs; got:\n%s", got)
			}
		})
	}
}

func buildBuiltin(tb testing.TB, name string) *topology.Topology {
	tb.Helper()
	b, ok := findBuiltin(name)
	if !ok {
		tb.Fatalf("there is no %s", name)
	}
	program, err := b.build("app")
	if err != nil {
		tb.Fatal(err)
	}
	return program
}

// TestBuiltinTopics makes sure that the names that are handed out are those of the programs.
func TestBuiltinTopics(t *testing.T) {
	for _, b := range builtins() {
		t.Run(b.name, func(t *testing.T) {
			program, topics := buildBuiltin(t, b.name), b.topics("app")
			outputs := slices.Collect(maps.Values(topics.Outputs))
			var repartitions []string
			stores := 0
			for _, r := range program.InternalRepartitionTopics() {
				repartitions = append(repartitions, "app-"+r.Name)
			}
			for _, sub := range program.SubTopologies() {
				for _, sink := range sub.Sinks {
					if i := slices.Index(outputs, sink); i >= 0 {
						outputs = slices.Delete(outputs, i, i+1)
					} else if !slices.Contains(repartitions, "app-"+sink) {
						t.Errorf("sink %s is not among the topics", sink)
					}
				}
				for _, s := range sub.Stores {
					stores++
					if got, want := topics.Changelogs[s.Name], "app-"+s.Name+"-changelog"; got != want {
						t.Errorf("changelog of %s is %q, want %q", s.Name, got, want)
					}
				}
			}
			if len(outputs) > 0 || stores != len(topics.Changelogs) || !slices.Equal(repartitions, topics.Repartitions) {
				t.Errorf("outputs that nobody writes %v, %d stores, repartitions %v; topics %+v", outputs, stores, repartitions, topics)
			}
			if want := map[bool]string{false: "app-input", true: "data"}[b.talking != nil]; topics.Input != want {
				t.Errorf("input %s, want %s", topics.Input, want)
			}
			sources := slices.Concat(topics.hops(), []string{topics.Input})
			for _, sub := range program.SubTopologies() {
				for _, source := range sub.Sources {
					if !slices.Contains(sources, source) && !slices.Contains(sources, "app-"+source) {
						t.Errorf("source %s is not among %v", source, sources)
					}
				}
			}
		})
	}
}

func TestBuiltinsRefuseABadApplicationID(t *testing.T) {
	for _, b := range builtins() {
		if b.talking != nil {
			continue // no topic of it has the application's name
		}
		if _, err := b.build("no spaces"); err == nil || !strings.Contains(err.Error(), b.name) {
			t.Errorf("%s: %v", b.name, err)
		}
	}
}

func TestWordcountCounts(t *testing.T) {
	driver, err := topologytest.New(buildBuiltin(t, topologyWordcount), 3)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := driver.Close(); err != nil {
			t.Error(err)
		}
	}()
	header := topology.Header{Key: "eostop", Value: []byte("x")}
	for i, line := range [][]byte{[]byte("Hello, hello world!"), nil, {}, []byte("\xff w\u00f6rld World\r")} {
		if err := driver.Pipe("app-input", nil, line, int64(i), header); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, r := range driver.Records("app-counts") {
		got = append(got, fmt.Sprintf("%s %d", r.Key, binary.BigEndian.Uint64(r.Value)))
		if len(r.Headers) != 1 || r.Headers[0].Key != "eostop" {
			t.Errorf("%s: headers %v", r.Key, r.Headers)
		}
	}
	if want := []string{"hello 1", "hello 2", "world 1", "w\u00f6rld 1", "world 2"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPassthroughChangesNothing(t *testing.T) {
	driver, err := topologytest.New(buildBuiltin(t, topologyPassthrough), 3)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := driver.Close(); err != nil {
			t.Error(err)
		}
	}()
	type pair struct{ key, value []byte }
	pairs := []pair{{nil, nil}, {[]byte{}, []byte{}}, {[]byte("a"), nil}, {nil, []byte("b")}, {[]byte("a"), []byte("\xff")}}
	for i, p := range pairs {
		if err := driver.Pipe("app-input", p.key, p.value, int64(i), topology.Header{Key: "h"}); err != nil {
			t.Fatal(err)
		}
	}
	for i, r := range driver.Records("app-output") {
		p := pairs[i]
		if string(r.Key) != string(p.key) || (r.Key == nil) != (p.key == nil) || string(r.Value) != string(p.value) || (r.Value == nil) != (p.value == nil) ||
			r.Timestamp != int64(i) || len(r.Headers) != 1 {
			t.Errorf("record %d is %+v", i, r)
		}
	}
}

func TestWordsOf(t *testing.T) {
	for line, want := range map[string]string{
		"": "", " . ,\t": "", "Hello, hello world!": "hello|hello|world", "it's a_b-c 3.14": "it|s|a|b|c|3|14",
		"Stra\u00dfe \u00c4RGER": "stra\u00dfe|\u00e4rger", "e\u0301a \u65e5\u672c\u8a9e": "e\u0301a|\u65e5\u672c\u8a9e",
		"a\xffb\xc3": "a|b", "\ufffd x": "x", "\u0130": "i", "\r\nend\r": "end",
	} {
		if got := strings.Join(wordsOf([]byte(line)), "|"); got != want {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
}
