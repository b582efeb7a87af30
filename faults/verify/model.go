package verify

import (
	"fmt"
	"strings"
)

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
	// Skips is true where a cache swallows outputs: one of a later input of the same unit stands for those before it.
	Skips bool
	// Shared is true where Skips is and one key of the stream gathers several units: outputs of other units may stand
	// for an output, too. What is missing there shows in the numbers, see Model.Short.
	Shared bool
	// Pooled is true where an output without provenance does not tell which unit it belongs to, see Model.CheckAnonymous.
	Pooled bool
	// Depth is 0 if outputs wait for inputs only, else more than that of all streams whose outputs they may wait for.
	Depth int
}

// Mode says how a program runs.
type Mode struct {
	Cached      bool // a record cache swallows intermediate results of the stores
	AtLeastOnce bool // inputs may be processed again
}

// Facts is what a model remembers of an effect until its outputs have been seen. What they mean is the model's affair.
type Facts [6]int64

// noUnit is the Unit of an input without effects.
const noUnit = -1

// ofKey stands for the partition to which a key belongs, see Model.State.
const ofKey = -1

// Effect is what an input owes to one unit. A unit is what keeps order: the outputs of a unit on one stream come in the
// order of its inputs, which are all in the same partition. Units are numbered from 0 by the model.
type Effect struct {
	Unit int32
	// Free is true where the outputs of the unit spread over partitions, so that they are not seen in order. The first of
	// the facts is a fingerprint of the output then, see Model.Fingerprint.
	Free  bool
	Due   Bits // streams on which outputs are owed
	Open  Bits // streams where this depends on what others will show
	Facts Facts
}

// Finding is a model's judgement of an output. An empty Wrong means that the program may have written it.
type Finding struct {
	Wrong string
	Kind  string // of what is wrong; empty = the tracker's choice between KindWrongValue and KindUnexpected
	// Due and Settled are open streams of the effect that became due, and that turned out not to be.
	Due, Settled Bits
	More         bool // the effect has further outputs on the stream
}

// Missing is what Model.Finals tells.
type Missing struct {
	Stream int
	Detail string
}

// Model says what a program must have written for the inputs that it was given. It is pure, and used by one goroutine.
// All methods name a stream by its index in Streams. Key and value slices belong to the caller; an effect is only valid
// during the call.
type Model interface {
	// Streams lists the kinds of outputs; at most 16.
	Streams() []Stream
	// Stores lists the stores whose content State knows.
	Stores() []string
	// Partitions tells how many partitions the input has, and the outputs, by stream. It is called once, at first.
	Partitions(input int, outputs []int)
	// Relax ends the judgement of whatever depends on inputs before: some are not known, or are processed again.
	Relax()
	// Anonymous tells, before the first input, that neither inputs nor outputs carry a provenance.
	Anonymous()
	// Apply takes the next input in the order of its partition and appends its effects, at most one for each unit, to
	// those given.
	Apply(partition int32, name, value []byte, effects []Effect) []Effect
	// Splits tells whether an input may have several effects.
	Splits() bool
	// Unit returns the unit of the effect that an output belongs to, by its key and the partition of its input. It returns
	// false if there can be none. Where inputs have one effect each only that is asked, about inputs that were seen already.
	Unit(stream int, partition int32, name []byte) (unit int32, ok bool)
	// Ready tells whether an output can be judged yet, or depends on what is still to be seen.
	Ready(stream int, e *Effect, name, value []byte) bool
	// Check judges an output of an effect on a stream: the first one, and further ones as long as it answers with More.
	Check(stream int, e *Effect, name, value []byte) Finding
	// Stands tells that no output of the effect will come on a stream any more, since later ones stand for it. It
	// returns the open streams that are settled by that.
	Stands(stream int, e *Effect) (settled Bits)
	// Missed tells that an owed output did not come. It returns the open streams that will now never be decided, and
	// whether the program is to blame: false if the model had reason to doubt that the output was owed.
	Missed(stream int, e *Effect) (settled Bits, blame bool)
	// Short tells what is missing on a Shared stream, although all outputs were seen into which the effect went; empty
	// if nothing is.
	Short(stream int, e *Effect) string
	// Late judges an output of an input whose outputs had all been seen: it tells whether that is a repetition.
	// If not, wrong says what is wrong with it, or is empty.
	Late(stream int, name, value []byte) (repeated bool, wrong string)
	// Repeated takes note of an output that repeats an effect, where inputs may be processed again.
	Repeated(stream int, name, value []byte)
	// Finals tells, once all inputs have had their effect and all outputs were seen, what is missing although no single
	// effect shows it.
	Finals() []Missing
	// State calls fn with every entry that a store must hold, in any order, and with the partition that it is in; ofKey is
	// the one to which its key belongs. The slices belong to the model.
	State(store string, fn func(partition int32, key, value []byte))

	// Candidates returns the units that are not Free and that an output without provenance may belong to.
	Candidates(stream int, name []byte) []int32
	// Matches tells whether an output may be that of an effect that owes one.
	Matches(stream int, e *Effect, name, value []byte) bool
	// Fingerprint returns what tells outputs of Free effects apart that carry no provenance.
	Fingerprint(stream int, name, value []byte) int64
	// Covered tells whether what was shown last on a stream that Skips is just what an effect has brought about: without
	// provenance it may have been its output.
	Covered(stream int, e *Effect) bool
	// CheckAnonymous judges an output without provenance on a Pooled stream. It returns false if that depends on what is
	// still to be seen, unless forced.
	CheckAnonymous(stream int, name, value []byte, forced bool) (wrong string, ready bool)
}

// Names of models.
const (
	ModelSoak           = "soak"
	ModelPassthrough    = "passthrough"
	ModelWordcount      = "wordcount"
	ModelEosTest        = "eostest"
	ModelEosTestComplex = "eostest-complex"
)

// Models lists the names of all models.
func Models() []string {
	return []string{ModelSoak, ModelPassthrough, ModelWordcount, ModelEosTest, ModelEosTestComplex}
}

// newModel builds a model by its name. The hash is Kafka's murmur2.
func newModel(name string, mode Mode, hash func([]byte) uint32) (Model, error) {
	var m Model
	switch name {
	case ModelSoak:
		m = newSoak(mode, hash)
	case ModelPassthrough:
		m = newPassthrough(hash)
	case ModelWordcount:
		m = newWordcount(mode)
	case ModelEosTest, ModelEosTestComplex:
		m = newEosTest(mode, name == ModelEosTestComplex)
	default:
		return nil, fmt.Errorf("model: %q is not known; there are %s", name, strings.Join(Models(), ", "))
	}
	if mode.AtLeastOnce {
		m.Relax()
	}
	return m, nil
}

// partitionOf is where Kafka's default partitioner puts a key. It does not negate, it drops the sign bit.
func partitionOf(hash func([]byte) uint32, key []byte, partitions int) int {
	return int(hash(key)&0x7fffffff) % partitions
}
