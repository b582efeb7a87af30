package runtime

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"eostop/runtime/topology"
)

func TestProgramNames(t *testing.T) {
	p := newProgram(twoStepTopology(t, 0, nil), "app")
	if got := p.externalTopics(); !slices.Equal(got, []string{"in", "side"}) {
		t.Errorf("external topics %v", got)
	}
	for logical, want := range map[string]string{"in": "in", "mid": "app-mid", "elsewhere": "elsewhere"} {
		if got := p.topic(logical); got != want {
			t.Errorf("%s: got %s, want %s", logical, got, want)
		}
	}
	if p.internal("in") || !p.internal("mid") {
		t.Error("only mid is internal")
	}
	if got := changelogTopic("app", "KSTREAM-AGGREGATE-STATE-STORE-0000000007"); got != "app-KSTREAM-AGGREGATE-STATE-STORE-0000000007-changelog" {
		t.Errorf("changelog %s", got)
	}
}

func TestProgramTasks(t *testing.T) {
	p := newProgram(twoStepTopology(t, 0, nil), "app")
	got := p.tasks(map[string]int32{"in": 1, "side": 2, "app-mid": 3})
	want := []assignorTask{{TaskID{0, 0}, false}, {TaskID{0, 1}, false}, {TaskID{1, 0}, true}, {TaskID{1, 1}, true}, {TaskID{1, 2}, true}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := p.tasks(nil); len(got) != 0 {
		t.Errorf("got %v without topics", got)
	}
}

func TestRepartitionPartitions(t *testing.T) {
	tests := []struct {
		name     string
		wanted   int32
		external map[string]int32
		want     map[string]int32
	}{
		{"derived from the largest source", 0, map[string]int32{"in": 2, "side": 5}, map[string]int32{"in": 2, "side": 5, "app-mid": 5}},
		{"wanted", 7, map[string]int32{"in": 2, "side": 5}, map[string]int32{"in": 2, "side": 5, "app-mid": 7}},
		{"other topics do not matter", 0, map[string]int32{"in": 1, "side": 1, "app-mid": 9, "x": 4}, map[string]int32{"in": 1, "side": 1, "app-mid": 1}},
	}
	for _, test := range tests {
		got, err := newProgram(twoStepTopology(t, test.wanted, nil), "app").repartitionPartitions(test.external)
		if err != nil || !maps.Equal(got, test.want) {
			t.Errorf("%s: got %v, %v, want %v", test.name, got, err, test.want)
		}
	}
}

// TestRepartitionPartitionsChain: a count travels through several repartition topics.
func TestRepartitionPartitionsChain(t *testing.T) {
	b := topology.NewBuilder()
	raw := topology.Bytes{}
	// The last hop is added first, so that one pass over the sub-topologies is not enough.
	topology.AddSource(b, "s3", raw, raw, "c")
	topology.AddSink(b, "k3", "out", raw, raw, "s3")
	topology.AddSource(b, "s2", raw, raw, "b")
	topology.AddSink(b, "k2", "c", raw, raw, "s2")
	topology.AddSource(b, "s1", raw, raw, "in")
	topology.AddSink(b, "k1", "b", raw, raw, "s1")
	b.AddRepartitionTopic(topology.RepartitionTopic{Name: "b"})
	b.AddRepartitionTopic(topology.RepartitionTopic{Name: "c"})
	top, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	got, err := newProgram(top, "app").repartitionPartitions(map[string]int32{"in": 4})
	if want := map[string]int32{"in": 4, "app-b": 4, "app-c": 4}; err != nil || !maps.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}

// TestRepartitionLoopHasNoCount: topics that only feed each other have no number of partitions to derive.
func TestRepartitionLoopHasNoCount(t *testing.T) {
	b := topology.NewBuilder()
	raw := topology.Bytes{}
	topology.AddSource(b, "s0", raw, raw, "in")
	topology.AddSink(b, "k0", "out", raw, raw, "s0")
	topology.AddSource(b, "s1", raw, raw, "loop")
	topology.AddSink(b, "k1", "loop", raw, raw, "s1")
	b.AddRepartitionTopic(topology.RepartitionTopic{Name: "loop"})
	top, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	_, err = newProgram(top, "app").repartitionPartitions(map[string]int32{"in": 4})
	var unusable *topicError
	if !asTopicError(err, &unusable) || !strings.Contains(err.Error(), "app-loop") {
		t.Errorf("got %v, want a topic error that names the topic", err)
	}
}

func TestMissingSourceTopic(t *testing.T) {
	p := newProgram(twoStepTopology(t, 0, nil), "app")
	tests := []struct {
		external map[string]int32
		want     string
	}{
		{nil, "source topics in, side do not exist; create them first"},
		{map[string]int32{"in": 3}, "source topic side does not exist; create it first"},
		{map[string]int32{"in": 3, "side": 0}, "source topic side does not exist; create it first"},
	}
	for _, test := range tests {
		// No admin is needed: the error comes before anything is asked.
		_, err := p.ensureTopics(t.Context(), nil, new(validConfig()), test.external)
		var unusable *topicError
		if !asTopicError(err, &unusable) || err.Error() != test.want {
			t.Errorf("%v: got %v, want a topic error: %s", test.external, err, test.want)
		}
	}
	if asTopicError(errors.New("x"), new(*topicError)) {
		t.Error("any error is a topic error")
	}
}

// TestCopartition: topics that meet in one task by key have the same number of partitions; repartition topics follow the others.
func TestCopartition(t *testing.T) {
	tests := []struct {
		name     string
		wanted   int32
		groups   [][]string
		external map[string]int32
		want     map[string]int32
		err      string
	}{
		{"equal", 0, [][]string{{"in", "side"}}, map[string]int32{"in": 4, "side": 4}, map[string]int32{"in": 4, "side": 4, "app-mid": 4}, ""},
		{
			"different", 0,
			[][]string{{"side", "in"}},
			map[string]int32{"in": 3, "side": 5},
			nil,
			"Invalid topology: Topics not co-partitioned: [in (3 partitions), side (5 partitions)]",
		},
		{
			"a repartition topic follows", 0,
			[][]string{{"mid", "in"}},
			map[string]int32{"in": 3, "side": 5},
			map[string]int32{"in": 3, "side": 5, "app-mid": 3},
			"",
		},
		{
			"a wanted number is no other", 7,
			[][]string{{"mid", "in"}},
			map[string]int32{"in": 3, "side": 5},
			nil,
			"Invalid topology: Topics not co-partitioned: [app-mid (7 partitions), in (3 partitions)]",
		},
		{
			"through a repartition topic in two groups", 0,
			[][]string{{"mid", "side"}, {"in", "mid"}},
			map[string]int32{"in": 3, "side": 5},
			nil,
			"Invalid topology: Topics not co-partitioned: [app-mid (5 partitions), in (3 partitions)]",
		},
		{"alone", 0, [][]string{{"mid"}}, map[string]int32{"in": 3, "side": 5}, map[string]int32{"in": 3, "side": 5, "app-mid": 5}, ""},
	}
	for _, test := range tests {
		p := newProgram(twoStepTopology(t, test.wanted, nil), "app")
		p.copartitioned = test.groups
		got, err := p.repartitionPartitions(test.external)
		var unusable *topicError
		if test.err != "" {
			if !asTopicError(err, &unusable) || err.Error() != test.err {
				t.Errorf("%s: got %v, %v, want %q", test.name, got, err, test.err)
			}
			continue
		}
		if err != nil || !maps.Equal(got, test.want) {
			t.Errorf("%s: got %v, %v, want %v", test.name, got, err, test.want)
		}
	}
}

// TestCopartitionOfDerivedTopics: two repartition topics that meet get the larger number of both, and so do those behind them.
func TestCopartitionOfDerivedTopics(t *testing.T) {
	b := topology.NewBuilder()
	raw := topology.Bytes{}
	topology.AddSource(b, "s1", raw, raw, "small")
	topology.AddSink(b, "k1", "left", raw, raw, "s1")
	topology.AddSource(b, "s2", raw, raw, "large")
	topology.AddSink(b, "k2", "right", raw, raw, "s2")
	topology.AddSource(b, "s3", raw, raw, "left")
	topology.AddSink(b, "k3", "next", raw, raw, "s3")
	topology.AddSource(b, "s4", raw, raw, "right")
	topology.AddSink(b, "k4", "out", raw, raw, "s4")
	topology.AddSource(b, "s5", raw, raw, "next")
	topology.AddSink(b, "k5", "out2", raw, raw, "s5")
	for _, name := range []string{"left", "right", "next"} {
		b.AddRepartitionTopic(topology.RepartitionTopic{Name: name})
	}
	top, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	p := newProgram(top, "app")
	p.copartitioned = [][]string{{"left", "right"}}
	got, err := p.repartitionPartitions(map[string]int32{"small": 2, "large": 6})
	want := map[string]int32{"small": 2, "large": 6, "app-left": 6, "app-right": 6, "app-next": 6}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}
