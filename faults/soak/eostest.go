package soak

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"time"

	"eostop/faults/verify"
	"eostop/runtime/topology"
)

// Names of the programs of Kafka's own system tests of exactly-once (EosTestClient). They share topics, application and
// output with those, so that a test that drives the Java client can drive these.
const (
	topologyEosTest        = "eostest"
	topologyEosTestComplex = "eostest-complex"

	eosTestApplication = "EosTest"
	eosTestPartitions  = 5
	eosTestKeys        = 20_000
	eosTestRange       = 10_000 // numbers of the load are below it
	// eosTestEvery is how many records of a task and topic there are from one line of output to the next.
	eosTestEvery = 100
)

// eosTests lists the programs.
func eosTests() []builtin {
	one := func(name, model, about string, further bool) builtin {
		return builtin{
			name: name, about: about, model: model, rate: 5000, source: newEosNumbers,
			topics: func(applicationID string) ProgramTopics { return eosTestTopics(applicationID, further) },
			build: func(string) (*topology.Topology, error) {
				return eosTest(further, func(string) {})
			},
			talking: func(say func(line string)) (*topology.Topology, error) { return eosTest(further, say) },
		}
	}
	return []builtin{
		one(topologyEosTest, verify.ModelEosTest, "the client of Kafka's own tests of exactly-once: echo, minimum and sum of topic data", false),
		one(topologyEosTestComplex, verify.ModelEosTestComplex, "the same, with maximum and number behind a topic of its own", true),
	}
}

// suitEosTest sets what those tests do not say. Without a load it is one client of theirs.
func (l *Loaded) suitEosTest(name string) {
	c := &l.Config
	suit := func(key string, set func()) {
		if l.origins[key] == originDefault {
			set()
			l.origins[key] = originDefault + " of " + name
		}
	}
	suit("application.id", func() { c.Application.ID = eosTestApplication })
	suit("cluster.partitions", func() { c.Cluster.Partitions = eosTestPartitions })
	if !c.Load.Enabled {
		suit("runtime.instances", func() { c.Runtime.Instances = 1 })
	}
	suit("runtime.record_cache", func() { c.Runtime.RecordCache = 0 })
	if c.Load.Keys == Default().Load.Keys { // a simulation has a default of its own
		suit("load.keys", func() { c.Load.Keys = eosTestKeys })
	}
}

// Topics of the programs. They carry no application's name.
const (
	eosTestData        = "data"
	eosTestRepartition = "repartition"
)

func eosTestTopics(applicationID string, further bool) ProgramTopics {
	t := programTopics(applicationID, nil, nil, nil)
	t.Input = eosTestData
	roles := []string{"echo", "min", "sum"}
	if further {
		roles = append(roles, eosTestRepartition, "max", "cnt")
		t.Through = []string{eosTestRepartition}
	}
	for _, role := range roles {
		t.Outputs[role] = role
	}
	for _, store := range eosTestStores(further) {
		t.Changelogs[store] = applicationID + "-" + store + "-changelog"
	}
	return t
}

// eosTestStores are the stores by Kafka Streams' own numbering.
func eosTestStores(further bool) []string {
	numbers := []int{3, 7}
	if further {
		numbers = append(numbers, 14, 18)
	}
	var stores []string
	for _, n := range numbers {
		stores = append(stores, fmt.Sprintf("KSTREAM-AGGREGATE-STATE-STORE-%010d", n))
	}
	return stores
}

// eosTest builds the program: numbers are echoed, and of each key the minimum and the sum are kept. The further one passes
// them through a topic of the user's and keeps the maximum and the number, too. Keys are strings, values 4 bytes, sums and numbers of
// records 8 bytes, big endian. What it says of its progress goes to say.
func eosTest(further bool, say func(line string)) (*topology.Topology, error) {
	b := topology.NewStreamsBuilder()
	text, number, long := topology.String{}, topology.Int32{}, topology.Int64{}
	data := topology.Stream(b, eosTestData, text, number)
	data.To("echo", text, number)
	counting(data, eosTestData, say)
	byKey := data.GroupByKey(text, number)
	topology.Aggregate(byKey, func() int32 { return math.MaxInt32 },
		func(_ string, value, least int32) int32 { return min(value, least) }, number).ToStream().To("min", text, number)
	topology.Aggregate(byKey, func() int64 { return 0 },
		func(_ string, value int32, sum int64) int64 { return sum + int64(value) }, long).ToStream().To("sum", text, long)
	if further {
		data.To(eosTestRepartition, text, number)
		again := topology.Stream(b, eosTestRepartition, text, number)
		counting(again, eosTestRepartition, say)
		byKey := again.GroupByKey(text, number)
		topology.Aggregate(byKey, func() int32 { return math.MinInt32 },
			func(_ string, value, most int32) int32 { return max(value, most) }, number).ToStream().To("max", text, number)
		byKey.Count().ToStream().To("cnt", text, long)
	}
	program, err := b.Build()
	if err != nil {
		return nil, fmt.Errorf("build %s program: %w", topologyEosTest, err)
	}
	return program, nil
}

// counting says how many records of the topic each task has processed.
func counting(stream *topology.KStream[string, int32], topic string, say func(line string)) {
	topology.Process(stream, func() topology.Processor[string, int32, string, int32] {
		return &recordCounter{topic: topic, say: say}
	}, nil)
}

// recordCounter is the processor of a task. It forwards nothing.
type recordCounter struct {
	topic string
	say   func(line string)
	n     int64
}

func (c *recordCounter) Init(*topology.Context[string, int32]) error { return nil }

func (c *recordCounter) Process(topology.Record[string, int32]) error {
	if c.n++; c.n%eosTestEvery == 0 {
		c.say(fmt.Sprintf("processed %d records from topic=%s", c.n, c.topic))
	}
	return nil
}

func (c *recordCounter) Close() error { return nil }

// eosNumbers makes up keys with numbers as the driver of those tests does: keys are numbers, too, and both are drawn uniformly.
type eosNumbers struct {
	keyed
	rng *rand.Rand
}

func newEosNumbers(cfg LoadConfig) recordSource {
	decimal := func(b []byte, i int) []byte { return strconv.AppendInt(b, int64(i), 10) }
	return &eosNumbers{keyed: newKeyed(cfg, decimal), rng: rand.New(rand.NewPCG(uint64(cfg.Seed), 0))}
}

func (s *eosNumbers) fill(p *pendingRecord, now time.Time) error {
	key := s.rng.IntN(len(s.keySequence))
	p.value = binary.BigEndian.AppendUint32(p.value[:0], uint32(s.rng.Int32N(eosTestRange)))
	p.set(s.ofKey(key), s.key(key), now)
	return nil
}

func (s *eosNumbers) close() {}
