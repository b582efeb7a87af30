package topology

import (
	"fmt"
	"time"
)

// Processor is one step of a program. Each task has its own; a processor is used by one goroutine at a time and may
// keep state of its own, but only what it puts into a store survives.
type Processor[KIn, VIn, KOut, VOut any] interface {
	// Init is called once, before the first record. The context stays valid until Close.
	Init(ctx *Context[KOut, VOut]) error
	// Process handles one record and forwards what comes out of it through the context. An error goes to the host's
	// handler; unless that says Continue it ends the task's work on the record and reaches the caller of [Graph.Process]
	// as a *ProcessingError.
	Process(record Record[KIn, VIn]) error
	// Close is called once, also when Process has failed. The context must not be used any more.
	Close() error
}

// Supplier makes a fresh processor for each task. It must not return the same processor twice.
type Supplier[KIn, VIn, KOut, VOut any] func() Processor[KIn, VIn, KOut, VOut]

// Stateless returns a supplier of processors that are just a function.
func Stateless[KIn, VIn, KOut, VOut any](
	process func(ctx *Context[KOut, VOut], record Record[KIn, VIn]) error,
) Supplier[KIn, VIn, KOut, VOut] {
	return func() Processor[KIn, VIn, KOut, VOut] {
		return &stateless[KIn, VIn, KOut, VOut]{process: process}
	}
}

type stateless[KIn, VIn, KOut, VOut any] struct {
	ctx     *Context[KOut, VOut]
	process func(*Context[KOut, VOut], Record[KIn, VIn]) error
}

func (s *stateless[KIn, VIn, KOut, VOut]) Init(ctx *Context[KOut, VOut]) error {
	s.ctx = ctx
	return nil
}

func (s *stateless[KIn, VIn, KOut, VOut]) Process(record Record[KIn, VIn]) error {
	return s.process(s.ctx, record)
}

func (s *stateless[KIn, VIn, KOut, VOut]) Close() error { return nil }

// Context is what a processor knows of the task it runs in, and its way to its children. It is for the goroutine of the
// task alone, in Init, Process, Close and punctuators.
type Context[K, V any] struct {
	graph    *Graph
	node     string
	stores   []string // those the processor is connected to
	children []child[K, V]
}

// child is a node that takes the records of its parent.
type child[K, V any] struct {
	name string
	node receiver[K, V]
}

// TaskID is the name of the task, such as "1_0".
func (c *Context[K, V]) TaskID() string { return c.graph.host.TaskID() }

// Node is the name of the processor's node.
func (c *Context[K, V]) Node() string { return c.node }

// StreamTime is the greatest timestamp the task has seen, in milliseconds; -1 before the first record.
func (c *Context[K, V]) StreamTime() int64 { return c.graph.host.StreamTime() }

// WallClock is the present time of the task, which tests may set.
func (c *Context[K, V]) WallClock() time.Time { return c.graph.host.WallClock() }

// Timestamp is that of the record at work, in milliseconds; in a punctuator the time it was called for.
func (c *Context[K, V]) Timestamp() int64 { return c.graph.timestamp }

// Headers are those of the record at work, which must not be changed in place; none in a punctuator.
func (c *Context[K, V]) Headers() []Header { return c.graph.headers }

// RecordMetadata says which source record the record at work follows from, also if it has been in a record cache in
// between. It is false in a punctuator, where there is none.
func (c *Context[K, V]) RecordMetadata() (Metadata, bool) {
	g := c.graph
	if !g.onRecord {
		return Metadata{}, false
	}
	return Metadata{Topic: g.input.Topic, Partition: g.input.Partition, Offset: g.input.Offset}, true
}

// Commit asks for a commit as soon as the record at work is through, without waiting for the commit interval.
func (c *Context[K, V]) Commit() { c.graph.host.RequestCommit() }

// Forward passes a record to every child, in the order in which they were added, and returns when they are through
// with it. An error ends the work on the record even if the processor does not pass it on: what happened downstream
// cannot be taken back.
func (c *Context[K, V]) Forward(record Record[K, V]) error {
	for i := range c.children {
		if err := c.children[i].node.receive(record); err != nil {
			return err
		}
	}
	return nil
}

// ForwardTo passes a record to the one child of that name; as Forward otherwise.
func (c *Context[K, V]) ForwardTo(name string, record Record[K, V]) error {
	for i := range c.children {
		if c.children[i].name == name {
			return c.children[i].node.receive(record)
		}
	}
	return fmt.Errorf("forward: %s is not a child of %s", name, c.node)
}

// Schedule has a function called again and again: in stream time whenever the task's records have passed a multiple of
// the interval, counted from 0, the first time with the next record; in wall-clock time every interval from now on.
// Intervals that were missed make one call. The function gets the time at which it is called, in milliseconds; it may
// forward and use stores as Process does, and its error is treated as one of Process. An interval below a millisecond is
// an error of the processor. Schedules end with the processor, so that a task that starts over schedules them again.
func (c *Context[K, V]) Schedule(
	interval time.Duration, kind PunctuationType, punctuate func(timestamp int64) error,
) *Cancellation {
	return c.graph.schedule(c.node, interval, kind, punctuate)
}

func (c *Context[K, V]) storeAccess() (graph *Graph, node string, stores []string) {
	return c.graph, c.node, c.stores
}
