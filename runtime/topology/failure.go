package topology

// FailureKind says at which of the three places, each of which has a handler of its own, something failed.
type FailureKind uint8

// Kinds of failures.
const (
	// DeserializationFailure: a source could not read a record (DeserializationExceptionHandler).
	DeserializationFailure FailureKind = iota + 1
	// ProcessingFailure: a processor or a punctuator returned an error (ProcessingExceptionHandler, KIP-1033).
	ProcessingFailure
	// KeySerializationFailure: a sink could not write a key (ProductionExceptionHandler's handleSerializationException).
	KeySerializationFailure
	// ValueSerializationFailure: a sink could not write a value.
	ValueSerializationFailure
)

// String is the kind in words.
func (k FailureKind) String() string {
	switch k {
	case DeserializationFailure:
		return "deserialization"
	case ProcessingFailure:
		return "processing"
	case KeySerializationFailure:
		return "key serialization"
	case ValueSerializationFailure:
		return "value serialization"
	default:
		return "unknown"
	}
}

// Failure is what a handler is asked about. Errors of the host (a store, the producer) are never among them.
type Failure struct {
	Kind FailureKind
	Node string // that failed
	Sink string // topic that was to be written, for serialization; else empty

	// The source record that was at work. In a punctuator there is none: the topic is empty then. Topics are logical.
	Topic     string
	Partition int32
	Offset    int64
	// Key and Value are the bytes of the source record. Both are nil in a punctuator, and for an update that has been in
	// a record cache, which does not keep them.
	Key, Value []byte

	Timestamp int64 // of the record as the node got it, in milliseconds
	Headers   []Header
	Err       error
}

// Response is a handler's answer.
type Response uint8

// Responses.
const (
	// Fail ends the work on the record with the error. It is Kafka Streams' default for all handlers.
	Fail Response = iota
	// Continue leaves the record out at the node that failed: the work goes on where that node was called, so its
	// siblings still get the record, and what the node has put and sent already stays. The record counts as dropped.
	Continue
)

// Dropped counts the records that were left out, by reason.
type Dropped struct {
	Nulls           uint64 // stateful operators got a null key or value
	Timestamps      uint64 // the timestamp extractor gave a negative one
	Deserialization uint64 // the handler said Continue
	Processing      uint64
	Serialization   uint64
}

// Total is the sum over the reasons.
func (d Dropped) Total() uint64 {
	return d.Nulls + d.Timestamps + d.Deserialization + d.Processing + d.Serialization
}

// settle decides about an error that came up at a node: what was decided before stands, and the rest is up to the
// handler. nil says that the work goes on without the record.
func (g *Graph) settle(kind FailureKind, node, sink string, err error) error {
	if g.failure != nil {
		return g.failure
	}
	failure := Failure{
		Kind: kind, Node: node, Sink: sink,
		Timestamp: g.timestamp, Headers: g.headers, Err: err,
	}
	if g.onRecord {
		failure.Topic, failure.Partition, failure.Offset = g.input.Topic, g.input.Partition, g.input.Offset
		failure.Key, failure.Value = g.input.Key, g.input.Value
	}
	if g.host.Failed(failure) != Continue {
		return g.fail(g.wrapFailure(failure))
	}
	switch kind {
	case DeserializationFailure:
		g.dropped.Deserialization++
	case ProcessingFailure:
		g.dropped.Processing++
	default:
		g.dropped.Serialization++
	}
	return nil
}

func (g *Graph) wrapFailure(f Failure) error {
	if f.Kind == DeserializationFailure {
		return f.Err
	}
	return &ProcessingError{Node: f.Node, Err: f.Err}
}

// fail keeps the first error of a piece of work, for a processor may swallow it, and returns it.
func (g *Graph) fail(err error) error {
	if g.failure == nil {
		g.failure = err
	}
	return g.failure
}

// FlushError names the store whose record cache could not be flushed. Its text is that of the error.
type FlushError struct {
	Store string
	Err   error
}

func (e *FlushError) Error() string { return e.Err.Error() }
func (e *FlushError) Unwrap() error { return e.Err }

// failHost is fail for an error of the host.
func (g *Graph) failHost(during, what string, err error) error {
	return g.fail(&hostError{during + " " + what, err})
}
