package verify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	pollWait     = 100 * time.Millisecond
	refreshEvery = 250 * time.Millisecond // of Status
)

// Config says what to verify. Topics need not exist yet.
type Config struct {
	Seeds   []string                                                          // brokers, "host:port"
	Dial    func(ctx context.Context, network, addr string) (net.Conn, error) // nil = TCP
	Options []kgo.Opt                                                         // further client options, such as TLS, SASL, a logger

	Input      string            // topic
	Outputs    map[string]string // role of the model's stream to topic; all of the model's, none twice
	Changelogs map[string]string // store to topic; compared with the model by Finish
	Model      string            // name of the program's model
	// Group is the program's consumer group, and Hops are its repartition topics, upstream first. With them the
	// verifier knows while the program runs which inputs have had all their effects, also where a cache swallows
	// outputs; without, only at the end.
	Group string
	Hops  []string

	// TransactionalIDs returns the transactional ids that a member of the group announces in the user data of its subscription: all those
	// under which it commits as a member, and none that is another member's without its having joined anew. nil = they announce
	// none. With it and Group what expelled members commit is found.
	TransactionalIDs func(userData []byte) []string

	// Run is the load generator's run that the counters and the latency are about; 0 = all. Inputs of other runs
	// on the same topic still take part in the model.
	Run uint64
	// Cached says that a record cache swallows intermediate results.
	Cached bool
	// AtLeastOnce says that the program may process inputs again: duplicates are counted, and are no violation.
	AtLeastOnce bool
	// TransactionTimeout is that of the program's producers; 0 = a minute. A transaction that is open for longer, and than the
	// coordinator takes to notice, hangs: while it does the verdict is unknown.
	TransactionTimeout time.Duration
	// From names offsets, by topic and partition, from which on to read instead of the log start. The program must
	// have had no state there: the model begins with the first input that is read.
	From map[string]map[int32]int64
	// FetchWait is how long a fetch waits for records to come together; 0 = 50 ms. What is seen, and the latency, are later by it.
	FetchWait time.Duration
	// Hash is Kafka's murmur2, which spreads keys over partitions and groups.
	Hash func([]byte) uint32
}

// Default returns a Config without brokers, topics and hash, for the soak program.
func Default() Config { return Config{Model: ModelSoak} }

// Validate reports everything that is wrong with the Config.
func (c *Config) Validate() error {
	var errs []error
	if len(c.Seeds) == 0 {
		errs = append(errs, errors.New("seeds: no broker"))
	}
	if c.Input == "" {
		errs = append(errs, errors.New("input: no topic"))
	}
	if c.Hash == nil {
		errs = append(errs, errors.New("hash: missing"))
	}
	model, err := newModel(c.Model, c.mode(), c.Hash)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	used := map[string]bool{c.Input: true}
	for _, s := range model.Streams() {
		topic := c.Outputs[s.Role]
		if topic == "" || used[topic] {
			errs = append(errs, fmt.Errorf("outputs: role %q needs a topic of its own, has %q", s.Role, topic))
		}
		used[topic] = true
	}
	for store, topic := range c.Changelogs {
		if topic == "" || !slices.Contains(model.Stores(), store) {
			errs = append(errs, fmt.Errorf("changelogs: store %q with topic %q is not one of the model's", store, topic))
		}
	}
	return errors.Join(errs...)
}

func (c *Config) mode() Mode { return Mode{Cached: c.Cached, AtLeastOnce: c.AtLeastOnce} }

// Verifier is created by New. Run is its life; Status, Passed and Finish may be called from any goroutine.
type Verifier struct {
	config    Config
	published atomic.Pointer[published]
	commands  chan *command
	stopped   chan struct{} // closed when Run has returned

	// All below belongs to the goroutine of Run.
	model   Model
	judge   *judge
	tracker *tracker
	reader  *reader
	topics  []string // input, then outputs by stream
	streams map[string]int
	amnesia bool // the model does not know what was before
	probe   *probe
	barrier *barrier

	nextBarrier time.Time
	watch       watch
	looks       looks
	expelled    expelled
	latest      reached // read and committed
}

// published is what other goroutines see; it does not change.
type published struct {
	status *Status
	passed map[string]map[int32]int64
}

// New builds a Verifier; it reaches no broker before Run.
func New(c Config) (*Verifier, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("verify config: %w", err)
	}
	model, err := newModel(c.Model, c.mode(), c.Hash)
	if err != nil {
		return nil, fmt.Errorf("verify config: %w", err)
	}
	v := &Verifier{
		config: c, model: model, judge: &judge{atLeastOnce: c.AtLeastOnce, waiting: "the verifier to start"},
		topics: []string{c.Input}, streams: make(map[string]int), latest: make(reached),
		commands: make(chan *command), stopped: make(chan struct{}),
	}
	for i, s := range model.Streams() {
		v.topics = append(v.topics, c.Outputs[s.Role])
		v.streams[c.Outputs[s.Role]] = i
	}
	v.publish()
	return v, nil
}

// Status returns the newest picture, at most a quarter of a second old while Run reads.
func (v *Verifier) Status() Status { return *v.published.Load().status }

// Passed returns by topic and partition the offset below which the verifier needs no record any more: of the input,
// where the effects of all records were seen; of outputs, where it has read to. Nothing is in it before the topics exist.
func (v *Verifier) Passed() map[string]map[int32]int64 {
	passed := make(map[string]map[int32]int64)
	for topic, partitions := range v.published.Load().passed {
		passed[topic] = maps.Clone(partitions)
	}
	return passed
}

// Run reads and judges until ctx ends, or until Finish is done. It may be called once. It waits for topics that do not
// exist yet and for brokers that do not answer; an error means that the client's options cannot work.
func (v *Verifier) Run(ctx context.Context) error {
	defer close(v.stopped)
	r, err := newReader(v.clientOptions(), v.config.FetchWait, v.gone)
	if err != nil {
		return err
	}
	defer r.close()
	ctx, cancel := context.WithCancel(ctx) // what runs beside ends, too
	defer cancel()
	v.reader = r
	starts, err := r.start(ctx, v.topics, v.config.From, func(err error) {
		v.judge.waiting = err.Error()
		v.publish()
	})
	if err != nil {
		return nil // only the end of ctx ends the waiting
	}
	v.begin(starts)
	refresh := time.NewTicker(refreshEvery)
	defer refresh.Stop()
	for ctx.Err() == nil {
		v.step(ctx)
		select {
		case <-refresh.C:
			v.publish()
		case cmd := <-v.commands:
			v.finish(ctx, cmd)
			return nil
		default:
		}
	}
	return nil
}

// clientOptions returns what all clients of the verifier share.
func (v *Verifier) clientOptions() []kgo.Opt {
	opts := append(slices.Clone(v.config.Options), kgo.SeedBrokers(v.config.Seeds...))
	if v.config.Dial != nil {
		opts = append(opts, kgo.Dialer(v.config.Dial))
	}
	return opts
}

// begin sets the tracker up once the log starts are known.
func (v *Verifier) begin(starts offsets) {
	inputs := make([]int64, len(v.reader.partitions[v.config.Input]))
	for p := range inputs {
		inputs[p] = v.reader.partitions[v.config.Input][p].next
	}
	outputs := make([]int, len(v.topics)-1)
	for s, topic := range v.topics[1:] {
		outputs[s] = len(v.reader.partitions[topic])
	}
	v.model.Partitions(len(inputs), outputs)
	v.tracker = newTracker(v.model, v.judge, v.config.Input, v.topics[1:], inputs, v.config.Run)
	v.reader.aborted = v.takeAborted
	v.judge.waiting = ""
	for _, topic := range v.topics {
		for p, at := range starts[topic] {
			if _, chosen := v.config.From[topic][p]; at > 0 && !chosen {
				v.judge.doubt("what was on %s-%d before offset %d is gone", topic, p, at)
				v.forget()
			}
		}
	}
	v.publish()
}

// forget goes on without knowledge of what was before: values are not judged, and outputs only if their run is known
// to have begun since.
func (v *Verifier) forget() {
	v.amnesia = true
	if v.tracker == nil {
		return
	}
	v.tracker.relax()
	if v.tracker.onlyRun = v.config.Run != 0; !v.tracker.onlyRun {
		v.tracker.blindfold()
	}
}

// gone is told by the reader that records were deleted before they could be read.
func (v *Verifier) gone(topic string, partition int32, next int64) {
	v.judge.doubt("offset %d of %s-%d was deleted before it could be read", next, topic, partition)
	v.amnesia = true
	v.tracker.relax()
	v.tracker.blindfold()
}

// step reads once and judges what came.
func (v *Verifier) step(ctx context.Context) {
	v.reader.poll(ctx, max(pollWait, v.config.FetchWait), v.config.Input, func(topic string, partition int32, records []logRecord) {
		if topic == v.config.Input {
			v.takeInputs(partition, records)
			return
		}
		v.takeOutputs(v.streams[topic], partition, records)
	})
	if v.tracker.held > 0 {
		v.tracker.release()
		v.runProbe(ctx)
		v.throttle()
	}
	v.runBarrier(ctx)
	v.runWatch(ctx)
	v.runLook(ctx)
}

func (v *Verifier) takeInputs(partition int32, records []logRecord) {
	in := inputRecord{partition: partition}
	for _, rec := range records {
		in.offset, in.key, in.value = rec.Offset, rec.Key, rec.Value
		in.provenance, in.hasHeader = provenanceOf(rec.Record)
		v.tracker.input(&in)
	}
}

func (v *Verifier) takeOutputs(stream int, partition int32, records []logRecord) {
	out := outputRecord{stream: stream, partition: partition, seen: time.Now()}
	for _, rec := range records {
		out.offset, out.key, out.value, out.created = rec.Offset, rec.Key, rec.Value, rec.Timestamp
		out.producerID, out.epoch, out.stale, out.foreign, out.tail = rec.ProducerID, rec.ProducerEpoch, rec.stale, rec.foreign, rec.tail
		if out.provenance, out.hasHeader = provenanceOf(rec.Record); out.hasHeader {
			v.latest.note(&rec, out.provenance)
		}
		v.tracker.output(&out)
		if len(v.expelled.producers) > 0 && v.expelled.note(&rec, func() string { return v.tracker.nameOfInput(&out) }) {
			v.looks.next = out.seen // before its member joins again
		}
	}
}

// takeAborted notes what was aborted: nothing may be made of it, and what it stood for must still come.
func (v *Verifier) takeAborted(rec *kgo.Record) {
	origin, ok := provenanceOf(rec)
	switch {
	case !ok:
	case rec.Topic == v.config.Input:
		v.tracker.abortedInput(origin, rec.Partition, rec.Offset)
	default:
		v.tracker.abortedOutput(&outputRecord{
			stream: v.streams[rec.Topic], partition: rec.Partition, offset: rec.Offset, key: rec.Key, provenance: origin,
		})
	}
}

// provenanceOf returns the record's provenance; false if it carries none that can be read.
func provenanceOf(rec *kgo.Record) (Provenance, bool) {
	for i := range rec.Headers {
		if rec.Headers[i].Key == HeaderKey {
			p, err := Decode(rec.Headers[i].Value)
			return p, err == nil
		}
	}
	return Provenance{}, false
}

// throttle stops reading output partitions that hold too much, until their inputs have come.
func (v *Verifier) throttle() {
	for stream, topic := range v.topics[1:] {
		for p := range v.reader.partitions[topic] {
			v.reader.pause(topic, int32(p), v.tracker.full(stream, int32(p)))
		}
	}
}

// publish hands the current picture to other goroutines.
func (v *Verifier) publish() {
	next := &published{status: v.judge.status()}
	if v.tracker != nil {
		next.status.Held = int64(v.tracker.held)
		next.passed = make(map[string]map[int32]int64, len(v.topics))
		for _, topic := range v.topics[1:] {
			next.passed[topic] = make(map[int32]int64)
			for p, part := range v.reader.partitions[topic] {
				next.passed[topic][int32(p)] = part.next
			}
		}
		next.passed[v.config.Input] = make(map[int32]int64)
		for p, at := range v.tracker.passed() {
			next.passed[v.config.Input][int32(p)] = at
		}
	}
	v.published.Store(next)
}
