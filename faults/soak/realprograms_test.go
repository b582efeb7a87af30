package soak

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"eostop/runtime"
	"eostop/runtime/topology"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// hosted is a program of a test's own with its topics on a real broker, without a session around it.
type hosted struct {
	*testing.T
	cfg       Config
	client    *kgo.Client // who produces says where to
	admin     *kadm.Client
	instances []*runtime.Instance
}

func newHosted(t *testing.T) *hosted {
	t.Helper()
	h := &hosted{T: t, cfg: onKafka(t, time.Second)}
	client, err := kgo.NewClient(kgo.SeedBrokers(h.cfg.Cluster.Brokers...), kgo.MetadataMinAge(100*time.Millisecond),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchMaxBytes(4<<20))
	if err != nil {
		t.Fatal(err)
	}
	h.client, h.admin = client, kadm.NewClient(client)
	return h
}

// topic is the full name of a topic of the program's.
func (h *hosted) topic(name string) string { return h.cfg.Application.ID + "-" + name }

// create creates a topic and waits until its partitions can be written to.
func (h *hosted) create(name string, partitions int32, configs map[string]*string) {
	h.Helper()
	if _, err := h.admin.CreateTopic(h.Context(), partitions, 1, configs, h.topic(name)); err != nil {
		h.Fatalf("create %s: %v", name, err)
	}
	c := &cluster{admin: h.admin, nodes: 1}
	if err := c.awaitTopics(h.Context(), []string{h.topic(name)}); err != nil {
		h.Fatal(err)
	}
}

// produce writes records to partition 0 of a topic.
func (h *hosted) produce(name string, records ...*kgo.Record) {
	h.Helper()
	for _, r := range records {
		r.Topic = h.topic(name)
	}
	if err := h.client.ProduceSync(h.Context(), records...).FirstErr(); err != nil {
		h.Fatalf("produce to %s: %v", name, err)
	}
}

// start starts an instance of one thread, which ends with its first error.
func (h *hosted) start(program *topology.Topology, change func(*runtime.Config)) *runtime.Instance {
	h.Helper()
	cfg := runtime.DefaultConfig()
	cfg.ApplicationID, cfg.ClientID, cfg.StateDir, cfg.StreamThreads = h.cfg.Application.ID, "i1", h.TempDir(), 1
	cfg.UncaughtHandler = func(string, error) runtime.UncaughtResponse { return runtime.ShutdownClient }
	if change != nil {
		change(&cfg)
	}
	i, err := runtime.New(cfg, program, runtime.Env{Brokers: h.cfg.Cluster.Brokers})
	if err != nil {
		h.Fatal(err)
	}
	if err := i.Start(h.Context()); err != nil {
		h.Fatal(err)
	}
	h.instances = append(h.instances, i)
	return i
}

// end closes what runs, and removes what it has left.
func (h *hosted) end() {
	h.Helper()
	for _, i := range h.instances {
		if err := i.Close(h.Context()); err != nil {
			h.Errorf("close: %v", err)
		}
	}
	h.client.Close()
	tidy(h.T, &h.cfg)
}

// await waits until something holds.
func (h *hosted) await(what string, holds func() bool) {
	h.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			h.Fatalf("not within 30 s: %s", what)
		}
	}
}

// committed is what the group has committed for partition 0 of a topic; -1 if nothing.
func (h *hosted) committed(name string) int64 {
	h.Helper()
	offsets, err := h.admin.FetchOffsets(h.Context(), h.cfg.Application.ID)
	if err != nil {
		h.Fatal(err)
	}
	if o, ok := offsets.Lookup(h.topic(name), 0); ok {
		return o.At
	}
	return -1
}

// wantDeath waits until the instance has ended with an error that says all of some words.
func (h *hosted) wantDeath(i *runtime.Instance, words ...string) {
	h.Helper()
	h.await("the client is shut down", func() bool { return i.Status().State == string(runtime.InstanceError) })
	deaths, _ := i.Deaths()
	if len(deaths) != 1 || deaths[0].Unexpected {
		h.Fatalf("%+v, want one death of a known cause", deaths)
	}
	h.Logf("%s: %s", deaths[0].Cause, deaths[0].Error)
	for _, word := range words {
		if !strings.Contains(deaths[0].Error, word) {
			h.Errorf("%q does not say %q", deaths[0].Error, word)
		}
	}
}

// built builds a program.
func (h *hosted) built(b interface {
	Build() (*topology.Topology, error)
},
) *topology.Topology {
	h.Helper()
	program, err := b.Build()
	if err != nil {
		h.Fatal(err)
	}
	return program
}

// good is a record that any program takes.
func good() *kgo.Record { return &kgo.Record{Key: []byte("k"), Value: make([]byte, 8)} }

// poison is a record that is too much for a program that copies numbers, and how it is told to go on all the same.
type poison struct {
	record *kgo.Record
	says   string
	goOn   func(*runtime.Config)
	skip   bool // by the timestamp extractor
	bytes  bool // the program takes anything
}

func poisons() map[string]poison {
	drop := func(topology.Failure) topology.Response { return topology.Continue }
	unreadable := func(cfg *runtime.Config) { cfg.DeserializationHandler = drop }
	return map[string]poison{
		"not deserialisable": {record: &kgo.Record{Key: []byte("k"), Value: []byte("abc")}, says: "int64 of 3 bytes", goOn: unreadable},
		"null key":           {record: &kgo.Record{Value: make([]byte, 8)}, says: "read key", goOn: unreadable},
		"null value":         {record: &kgo.Record{Key: []byte("k")}, says: "read value", goOn: unreadable},
		"negative timestamp": {
			record: &kgo.Record{Key: []byte("k"), Value: make([]byte, 8), Timestamp: time.UnixMilli(-1)}, says: "timestamp -1 is not valid", skip: true,
			goOn: func(*runtime.Config) {},
		},
		"2 MiB": {record: &kgo.Record{Key: []byte("k"), Value: make([]byte, 2<<20)}, says: "MESSAGE_TOO_LARGE", bytes: true, goOn: func(cfg *runtime.Config) {
			cfg.ProductionHandler = func(runtime.FailedSend) runtime.HandlerResponse { return runtime.Continue }
		}},
	}
}

// program copies the input to the output.
func (p *poison) program(h *hosted, goOn bool) *topology.Topology {
	b := topology.NewStreamsBuilder()
	var as topology.Consumed
	if goOn && p.skip {
		as.Timestamps = topology.LogAndSkip
	}
	if raw := (topology.Bytes{}); p.bytes {
		topology.Stream(b, h.topic("input"), raw, raw, as).To(h.topic("output"), raw, raw)
	} else {
		topology.Stream(b, h.topic("input"), topology.String{}, topology.Int64{}, as).To(h.topic("output"), topology.String{}, topology.Int64{})
	}
	return h.built(b)
}

// rowOfPoison: by default the thread dies of an error that says which record it was; a handler lets the application go on without it.
func rowOfPoison(t *testing.T) {
	t.Parallel()
	for name, p := range poisons() {
		for _, goOn := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, go on %v", name, goOn), func(t *testing.T) {
				t.Parallel()
				h := newHosted(t)
				defer h.end()
				h.create("input", 1, map[string]*string{"max.message.bytes": new("4194304")})
				h.create("output", 1, nil)
				record := *p.record
				h.produce("input", good(), good(), good())
				h.produce("input", &record)
				h.produce("input", good(), good())
				if !goOn {
					i := h.start(p.program(h, false), nil)
					h.wantDeath(i, h.topic("input")+"-0", "offset 3", p.says)
					if at := h.committed("input"); at > 3 {
						t.Errorf("committed %d, behind the record that failed", at)
					}
					return
				}
				i := h.start(p.program(h, true), p.goOn)
				h.await("all is committed", func() bool { return h.committed("input") == 6 })
				if n := len(h.read("output")); n != 5 {
					t.Errorf("%d records came out, want all but one", n)
				}
				status := i.Status()
				if n := status.Threads[0].Dropped; n != 1 && !p.skip {
					t.Errorf("%d records dropped, want 1", n)
				}
				if deaths, _ := i.Deaths(); len(deaths) != 0 {
					t.Errorf("%+v", deaths)
				}
			})
		}
	}
}

// read returns what partition 0 of a topic holds, of committed transactions.
func (h *hosted) read(name string) []*kgo.Record {
	h.Helper()
	ends, err := h.admin.ListCommittedOffsets(h.Context(), h.topic(name))
	if err != nil {
		h.Fatal(err)
	}
	end, _ := ends.Lookup(h.topic(name), 0)
	if end.Offset == 0 {
		return nil
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(h.cfg.Cluster.Brokers...), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{h.topic(name): {0: kgo.NewOffset().At(0)}}))
	if err != nil {
		h.Fatal(err)
	}
	defer client.Close()
	var records []*kgo.Record
	for at := int64(0); at < end.Offset; {
		fetches := client.PollFetches(h.Context())
		if err := fetches.Err(); err != nil {
			h.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if at = r.Offset + 1; !r.Attrs.IsControl() {
				records = append(records, r)
			}
		})
	}
	return records
}

// rowOfMissingTopics: topics that are not there, or that do not fit together, end the application with an error that says which.
func rowOfMissingTopics(t *testing.T) {
	t.Parallel()
	rows := map[string]func(*hosted){
		"one of two sources": func(h *hosted) {
			b := topology.NewBuilder()
			h.create("left", 2, nil)
			h.create("output", 2, nil)
			topology.AddSource(b, "source", topology.String{}, topology.Int64{}, h.topic("left"), h.topic("right"))
			topology.AddSink(b, "sink", h.topic("output"), topology.String{}, topology.Int64{}, "source")
			h.wantDeath(h.start(h.built(b), nil), "source topic "+h.topic("right")+" does not exist")
		},
		// A repartition topic was left over from when the input had fewer partitions: what meets in a task would not.
		"another number of partitions": func(h *hosted) {
			b := topology.NewStreamsBuilder()
			h.create("input", 4, nil)
			h.create("output", 4, nil)
			h.create("mid-repartition", 2, nil)
			topology.Stream(b, h.topic("input"), topology.String{}, topology.Int64{}).Repartition("mid", topology.String{}, topology.Int64{}).
				To(h.topic("output"), topology.String{}, topology.Int64{})
			h.wantDeath(h.start(h.built(b), nil), "internal topic "+h.topic("mid-repartition")+" has 2 partitions, needs 4")
		},
		"another number than the run wants": func(h *hosted) {
			h.create("input", 2, nil)
			s, err := New(h.cfg, nil, Deps{})
			if err != nil {
				h.Fatal(err)
			}
			if err = s.Start(h.Context()); err == nil {
				s.Stop(true)
				h.Fatal("it starts")
			}
			if !strings.Contains(err.Error(), h.topic("input")+": has 2 partitions, not 6") {
				h.Errorf("%v", err)
			}
		},
	}
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHosted(t)
			defer h.end()
			rows[name](h)
		})
	}
}

// TestOnKafkaPrograms is what concerns programs and their topics.
func TestOnKafkaPrograms(t *testing.T) {
	t.Parallel()
	t.Run("poison", rowOfPoison)
	t.Run("missing-topic", rowOfMissingTopics)
}
