package runtime_test

import (
	"errors"
	"sync"
	"testing"

	"eostop/runtime"
	"eostop/runtime/topology"

	"github.com/twmb/franz-go/pkg/kgo"
)

// handler is one of the handlers of a program.
type handler = func(topology.Failure) topology.Response

// poison is a way in which a record can be too much for a program, with the handler that is asked, and the cause of death where it fails.
type poison struct {
	name   string
	kind   topology.FailureKind
	handle func(*runtime.Config, handler)
	cause  string
}

func poisons() []poison {
	return []poison{
		{"deserialization", topology.DeserializationFailure, func(cfg *runtime.Config, h handler) { cfg.DeserializationHandler = h }, "deserialisation"},
		{"processing", topology.ProcessingFailure, func(cfg *runtime.Config, h handler) { cfg.ProcessingHandler = h }, "processing"},
		{"serialization", topology.ValueSerializationFailure, func(cfg *runtime.Config, h handler) { cfg.SerializationHandler = h }, "processing"},
	}
}

// poisonProgram copies in to out and fails with the value 666 in the given way.
func poisonProgram(t *testing.T, kind topology.FailureKind) *topology.Topology {
	t.Helper()
	fails := func(v int64) error {
		if v == 666 {
			return errInjected
		}
		return nil
	}
	var f valueSerde
	step := func(string, string, int64) error { return nil }
	switch kind {
	case topology.DeserializationFailure:
		f.deserialize = fails
	case topology.ValueSerializationFailure:
		f.serialize = fails
	default:
		step = func(_, _ string, v int64) error { return fails(v) }
	}
	b := topology.NewBuilder()
	topology.AddSource(b, "source", topology.String{}, f, "in")
	topology.AddProcessor(b, "map", topology.Stateless(func(ctx *topology.Context[string, int64], r topology.Record[string, int64]) error {
		if err := step(ctx.TaskID(), r.Key, r.Value); err != nil {
			return err
		}
		return ctx.Forward(r)
	}), "source")
	topology.AddSink(b, "sink", "out", topology.String{}, f, "map")
	return built(t, b)
}

// valueSerde is a serde of numbers that refuses some.
type valueSerde struct {
	topology.Int64
	serialize, deserialize func(int64) error
}

func (s valueSerde) Serialize(v int64) ([]byte, error) {
	if s.serialize != nil {
		if err := s.serialize(v); err != nil {
			return nil, err
		}
	}
	return s.Int64.Serialize(v)
}

func (s valueSerde) Deserialize(b []byte) (int64, error) {
	v, err := s.Int64.Deserialize(b)
	if err == nil && s.deserialize != nil {
		err = s.deserialize(v)
	}
	return v, err
}

// TestHandlersOfTheProgram: a handler may leave a record out. Its offset is committed all the same, also where it is the last one
// (DeserializationExceptionHandler, ProcessingExceptionHandler, and the serialization half of ProductionExceptionHandler).
func TestHandlersOfTheProgram(t *testing.T) {
	t.Parallel()
	for _, poison := range poisons() {
		for answer, response := range map[string]topology.Response{"continue": topology.Continue, "fail": topology.Fail} {
			t.Run(poison.name+", "+answer, func(t *testing.T) {
				t.Parallel()
				everyMode(t, func(t *testing.T, m mode) {
					inBubble(t, m, func(c *cluster) {
						var mu sync.Mutex
						var failures []topology.Failure
						c.create(2, "in", "out")
						i := c.start("i1", poisonProgram(t, poison.kind), func(cfg *runtime.Config) {
							cfg.UncaughtHandler = shutdownClient
							poison.handle(cfg, func(f topology.Failure) topology.Response {
								mu.Lock()
								defer mu.Unlock()
								failures = append(failures, f)
								return response
							})
						})
						c.feed("in", 2, 0, 5)
						c.awaitCommitted(soon, "in")
						c.produce("in", 1, pair{keyOf(1), 666})
						want := map[string][]int64{keyOf(0): upTo(5), keyOf(1): upTo(5)}
						if response == topology.Continue {
							c.awaitCommitted(soon, "in")
							c.feed("in", 2, 5, 5)
							c.awaitCommitted(soon, "in")
							want = map[string][]int64{keyOf(0): upTo(10), keyOf(1): upTo(10)}
							i.close()
							i.wantDeaths(0, 0)
							i.wantCalm()
							if n := i.total().Dropped; n != 1 {
								c.Errorf("%d records dropped, want 1", n)
							}
						} else {
							c.await(late, "the client is shut down", func() bool { return i.Status().State == string(runtime.InstanceError) })
							if deaths, _ := i.Deaths(); len(deaths) != 1 || deaths[0].Cause != poison.cause || deaths[0].Unexpected {
								c.Errorf("%+v, want one death by %s", deaths, poison.cause)
							}
							if at := c.committedOffsets("in")[1]; at != 5 {
								c.Errorf("committed %d, want the offset of the record that failed", at)
							}
						}
						c.wantValues("out", want)
						mu.Lock()
						defer mu.Unlock()
						if len(failures) != 1 {
							c.Fatalf("asked %d times, want once", len(failures))
						}
						f := failures[0]
						if f.Kind != poison.kind || f.Topic != "in" || f.Partition != 1 || f.Offset != 5 || string(f.Key) != keyOf(1) || number(f.Value) != 666 || !errors.Is(f.Err, errInjected) {
							c.Errorf("asked about %+v", f)
						}
					})
				})
			})
		}
	}
}

// TestRecordsWithoutPayload: nulls, empty values and headers go through as they came.
func TestRecordsWithoutPayload(t *testing.T) {
	t.Parallel()
	everyMode(t, func(t *testing.T, m mode) {
		inBubble(t, m, func(c *cluster) {
			c.create(1, "in", "out")
			b := topology.NewStreamsBuilder()
			raw := topology.Bytes{}
			topology.Stream(b, "in", raw, raw).To("out", raw, raw)
			i := c.start("i1", built(t, b), nil)
			sent := []*kgo.Record{
				{Topic: "in", Key: nil, Value: []byte("no key")},
				{Topic: "in", Key: []byte("no value"), Value: nil},
				{Topic: "in", Key: []byte{}, Value: []byte{}},
				{Topic: "in", Key: nil, Value: nil, Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("1")}, {Key: "h", Value: nil}}},
			}
			if err := c.client.ProduceSync(c.Context(), sent...).FirstErr(); err != nil {
				c.Fatal(err)
			}
			c.awaitCommitted(soon, "in")
			got := c.read("out", committed)
			if len(got) != len(sent) {
				c.Fatalf("%d records, want %d", len(got), len(sent))
			}
			for n, r := range got {
				w := sent[n]
				if (r.Key == nil) != (w.Key == nil) || string(r.Key) != string(w.Key) || (r.Value == nil) != (w.Value == nil) || string(r.Value) != string(w.Value) {
					c.Errorf("record %d: %q=%q, want %q=%q", n, r.Key, r.Value, w.Key, w.Value)
				}
				if len(r.Headers) != len(w.Headers) {
					c.Errorf("record %d: headers %v, want %v", n, r.Headers, w.Headers)
				}
				if r.Timestamp.UnixMilli() != w.Timestamp.UnixMilli() {
					c.Errorf("record %d: time %v, want %v", n, r.Timestamp, w.Timestamp)
				}
			}
			i.close()
			i.wantDeaths(0, 0)
			i.wantCalm()
		})
	})
}
