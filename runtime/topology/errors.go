package topology

import "fmt"

// DeserializationError says that a record of a source topic could not be read: its key, its value or its timestamp.
// Nothing has been processed of it.
type DeserializationError struct {
	Topic     string // logical name
	Partition int32
	Offset    int64
	Node      string // the source node
	Part      string // "key", "value" or "timestamp"
	Err       error  // what the serde or the timestamp extractor said
}

// Error names the record, the part and the cause.
func (e *DeserializationError) Error() string {
	return fmt.Sprintf("read %s of record %s-%d@%d: %v", e.Part, e.Topic, e.Partition, e.Offset, e.Err)
}

// Unwrap returns what the serde said.
func (e *DeserializationError) Unwrap() error { return e.Err }

// ProcessingError says that the program itself failed at a node: a processor or a punctuator returned an error, or a
// serde of a store or sink refused a value. Errors of the host are never wrapped in it, even where a processor passed
// them on.
type ProcessingError struct {
	Node string
	Err  error
}

// Error names the node and the cause.
func (e *ProcessingError) Error() string {
	return fmt.Sprintf("process at node %s: %v", e.Node, e.Err)
}

// Unwrap returns what the processor said.
func (e *ProcessingError) Unwrap() error { return e.Err }

// hostError carries an error of the host through processors, so that it is not taken for a failure of the program.
type hostError struct {
	during string
	err    error
}

func (e *hostError) Error() string { return e.during + ": " + e.err.Error() }

func (e *hostError) Unwrap() error { return e.err }
