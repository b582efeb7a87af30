package verify

import "fmt"

// Bits is a set of streams, by their index in Model.Streams.
type Bits uint16

// Bit returns the set that holds one stream.
func Bit(stream int) Bits { return 1 << stream }

// Has tells whether the set holds a stream.
func (b Bits) Has(stream int) bool { return b&Bit(stream) != 0 }

// Stream is one kind of output of a program: the records of one topic.
type Stream struct {
	// Role names it, and its topic in Config.Outputs.
	Role string
	// Always is true where every input that is not filtered at the beginning owes an output, also when it is
	// processed again. Under at_least_once only such streams are judged.
	Always bool
	// Latency is true for the one stream at which the end-to-end latency is measured.
	Latency bool
}

// Facts is what a model remembers of an input until its outputs have been seen. What they mean is the model's affair.
type Facts [6]int64

// Model says what a program must have written for the inputs that it was given. It is pure, and used by one goroutine.
// Keys are numbered from 0 in the order of their first sight. Key and value slices belong to the caller.
type Model interface {
	// Streams lists the kinds of outputs; at most 16. All methods name a stream by its index in this list.
	Streams() []Stream
	// Stores lists the stores whose content State knows.
	Stores() []string
	// Apply takes the next input in the order of its partition and fills facts. It returns the streams on which the
	// program owes one output for this input, and those where this depends on an order that only the outputs of
	// another stream will show.
	Apply(key int, name, value []byte, facts *Facts) (due, open Bits)
	// Check judges the first output of an input on a stream. An output that the program owes and one that it does
	// not owe are judged alike: wrong is empty if the program may have written it. The sets due and settled tell
	// which of the input's open streams became due and which turned out not to be.
	Check(stream, key int, facts *Facts, name, value []byte) (wrong string, due, settled Bits)
	// Missed tells that an owed output did not come. It returns the open streams that will now never be decided, and
	// whether the program is to blame: false if the model had reason to doubt that the output was owed.
	Missed(stream, key int, facts *Facts) (settled Bits, blame bool)
	// Late judges an output of an input whose outputs had all been seen: it tells whether that is a repetition.
	// If not, wrong says what is wrong with it, or is empty.
	Late(stream int, name, value []byte) (repeated bool, wrong string)
	// State calls fn with every entry that a store must hold, in any order. The slices belong to the model.
	State(store string, fn func(key, value []byte))
}

// ModelSoak names the model of the soak program.
const ModelSoak = "soak"

// newModel builds a model by its name. The hash is Kafka's murmur2.
func newModel(name string, hash func([]byte) uint32) (Model, error) {
	switch name {
	case ModelSoak:
		return newSoak(hash), nil
	default:
		return nil, fmt.Errorf("model: %q is not known, there is %q", name, ModelSoak)
	}
}
