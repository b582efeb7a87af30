package runtime_test

import (
	"testing"

	"eostop/runtime/topology"
)

// built finishes a program.
func built(t *testing.T, b interface {
	Build() (*topology.Topology, error)
},
) *topology.Topology {
	t.Helper()
	top, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return top
}

// copyProgram copies topics: in to out, or in to a topic between and that to out.
func copyProgram(t *testing.T, topics ...string) *topology.Topology {
	t.Helper()
	b := topology.NewStreamsBuilder()
	for i := 1; i < len(topics); i++ {
		topology.Stream(b, topics[i-1], topology.String{}, topology.Int64{}).To(topics[i], topology.String{}, topology.Int64{})
	}
	return built(t, b)
}

// step is called with each record that a program processes. An error is the program's own.
type step func(task, key string, value int64) error

// mapProgram copies in to out and calls a function for each record on the way.
func mapProgram(t *testing.T, at step) *topology.Topology {
	t.Helper()
	b := topology.NewBuilder()
	topology.AddSource(b, "source", topology.String{}, topology.Int64{}, "in")
	topology.AddProcessor(b, "map", topology.Stateless(func(ctx *topology.Context[string, int64], r topology.Record[string, int64]) error {
		if err := at(ctx.TaskID(), r.Key, r.Value); err != nil {
			return err
		}
		return ctx.Forward(r)
	}), "source")
	topology.AddSink(b, "sink", "out", topology.String{}, topology.Int64{}, "map")
	return built(t, b)
}

// sumStore is the store of sumProgram.
const sumStore = "sums"

// sumProgram adds the values of each key up in a store, and writes each sum from in to out. The function, if there is one, is called when the sum is
// in the store and not yet on its way.
func sumProgram(t *testing.T, at step) *topology.Topology {
	t.Helper()
	b := topology.NewBuilder()
	topology.AddSource(b, "source", topology.String{}, topology.Int64{}, "in")
	topology.AddProcessor(b, "sum", func() topology.Processor[string, int64, string, int64] { return &summer{at: at} }, "source")
	topology.AddStateStore(b, topology.StoreSpec{Name: sumStore, Logged: true}, topology.String{}, topology.Int64{}, "sum")
	topology.AddSink(b, "sink", "out", topology.String{}, topology.Int64{}, "sum")
	return built(t, b)
}

type summer struct {
	at    step
	ctx   *topology.Context[string, int64]
	store *topology.KeyValueStore[string, int64]
}

func (s *summer) Init(ctx *topology.Context[string, int64]) (err error) {
	s.ctx = ctx
	s.store, err = topology.OpenStore[string, int64](ctx, sumStore)
	return err
}

func (s *summer) Process(r topology.Record[string, int64]) error {
	sum, _, err := s.store.Get(r.Key)
	if err != nil {
		return err
	}
	sum += r.Value
	if err := s.store.Put(r.Key, sum); err != nil {
		return err
	}
	if s.at != nil {
		if err := s.at(s.ctx.TaskID(), r.Key, r.Value); err != nil {
			return err
		}
	}
	return s.ctx.Forward(topology.WithValue(r, sum))
}

func (s *summer) Close() error { return nil }
