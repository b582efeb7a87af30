package verify

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

// testHash stands for murmur2, of which these tests need nothing but that both sides use the same.
func testHash(b []byte) uint32 {
	h := fnv.New32a()
	h.Write(b)
	return h.Sum32()
}

// testStart is the timestamp of the first input.
var testStart = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// message is one record of any topic of the reference program.
type message struct {
	key, value []byte
	header     []byte // encoded provenance; nil = none
	created    time.Time
}

// program is a program written apart from its model: sub-topologies of tasks, with stores.
type program struct {
	stores [][]string // by sub-topology, in the order in which caches are flushed
	// step processes a record.
	step func(r *reference, sub, p int, m message)
	// roles names the streams that show all that a store comes to hold.
	roles map[string]string
	// forward passes a change of a store on. The message is that of the last put, with the key of the entry.
	forward map[string]func(r *reference, p int, m message, value, old []byte)
	// generate makes up the n-th input; a nil key goes to any partition.
	generate func(r *reference, n, keys int) (key, value []byte)
}

func programOf(model string) program {
	switch model {
	case ModelPassthrough:
		return referencePassthrough()
	case ModelWordcount:
		return referenceWordcount()
	case ModelEosTest, ModelEosTestComplex:
		return referenceEosTest(model == ModelEosTestComplex)
	default:
		return referenceSoak()
	}
}

// reference runs a program in tasks that take records from the logs before them, commit and flush their caches in an
// order that the seed decides. Its state survives everything, so what it writes is exactly-once, unless it is told to
// process records again.
type reference struct {
	program
	model      string
	mode       Mode
	partitions int
	rng        *rand.Rand
	repeat     float64 // probability that a task goes back to somewhere behind its last commit
	stale      float64 // probability that a record to the next sub-topology is followed by one from before once more
	evict      float64 // probability that a put empties the cache of its store
	bare       bool    // inputs carry no provenance
	wild       bool    // amounts may be anything
	strewn     bool    // inputs are where another partitioner puts them

	inputs     [][]message            // by partition
	outputs    map[string][][]message // by role, then partition
	changelogs map[string][][]message // by store, then partition
	stores     map[string][]table
	caches     map[string][]*dirty
	hops       [][][]message // what each sub-topology reads
	taken      [][]int
	committed  [][]int
	perKey     map[string]int64 // inputs generated
	sequence   []int64

	walk        walk
	checkpoints []checkpoint
}

// dirty is the cache of a store of a task.
type dirty struct {
	keys    []string // in the order in which they became dirty
	entries map[string]message
}

// checkpoint says that all that inputs below have brought about lies below the ends of the outputs.
type checkpoint struct {
	inputs []int
	ends   map[string][]int // by role
}

// walk is a checkpoint on its way through the sub-topologies.
type walk struct {
	inputs []int
	sub    int
	want   []int // of that sub-topology's inputs
}

func newReference(rng *rand.Rand, partitions int) *reference {
	return newProgram(ModelSoak, Mode{}, rng, partitions)
}

func newProgram(model string, mode Mode, rng *rand.Rand, partitions int) *reference {
	r := &reference{
		program: programOf(model), model: model, mode: mode, evict: 0.02,
		partitions: partitions, rng: rng, inputs: make([][]message, partitions),
		outputs: make(map[string][][]message), changelogs: make(map[string][][]message), stores: make(map[string][]table),
		caches: make(map[string][]*dirty), perKey: make(map[string]int64), sequence: make([]int64, partitions),
	}
	m := r.newModel()
	for _, s := range m.Streams() {
		r.outputs[s.Role] = make([][]message, partitions)
	}
	for _, s := range m.Stores() {
		r.changelogs[s], r.stores[s] = make([][]message, partitions), newTables(partitions)
		for range partitions {
			r.caches[s] = append(r.caches[s], &dirty{entries: make(map[string]message)})
		}
	}
	for range r.program.stores {
		r.hops = append(r.hops, make([][]message, partitions))
		r.taken, r.committed = append(r.taken, make([]int, partitions)), append(r.committed, make([]int, partitions))
	}
	return r
}

func (r *reference) newModel() Model {
	m, err := newModel(r.model, r.mode, testHash)
	if err != nil {
		panic(err)
	}
	outputs := make([]int, len(m.Streams()))
	for s := range outputs {
		outputs[s] = r.partitions
	}
	m.Partitions(r.partitions, outputs)
	return m
}

// generate appends inputs of some keys to the input topic.
func (r *reference) generate(run uint64, records, keys int) {
	clear(r.perKey)
	clear(r.sequence)
	for i := range records {
		key, value := r.program.generate(r, i, keys)
		p := r.partitionFor(key)
		if r.strewn {
			p = (p + 1) % r.partitions
		}
		origin := Provenance{Run: run, Partition: int32(p), Sequence: r.sequence[p], KeySequence: r.perKey[string(key)]}
		r.perKey[string(key)]++
		r.sequence[p]++
		m := message{key: key, value: value, header: origin.Encode(), created: testStart.Add(time.Duration(i) * time.Millisecond)}
		if r.bare {
			m.header = nil
		}
		r.input(int32(p), m)
	}
}

func (r *reference) input(p int32, m message) {
	r.inputs[p] = append(r.inputs[p], m)
	r.hops[0][p] = append(r.hops[0][p], m)
}

func (r *reference) partitionFor(key []byte) int {
	if key == nil {
		return r.rng.IntN(r.partitions)
	}
	return partitionOf(testHash, key, r.partitions)
}

// run processes everything and commits it.
func (r *reference) run() {
	for {
		var ready [][2]int
		for sub := range r.hops {
			for p := range r.hops[sub] {
				if r.committed[sub][p] < len(r.hops[sub][p]) {
					ready = append(ready, [2]int{sub, p})
				}
			}
		}
		r.follow()
		if len(ready) == 0 {
			return
		}
		task := ready[r.rng.IntN(len(ready))]
		sub, p := task[0], task[1]
		for range 1 + r.rng.IntN(8) {
			if n := r.taken[sub][p]; n < len(r.hops[sub][p]) {
				r.taken[sub][p]++
				r.step(r, sub, p, r.hops[sub][p][n])
			}
		}
		switch {
		case r.rng.Float64() < r.repeat:
			r.crash(sub, p)
		case r.rng.IntN(4) == 0 || r.taken[sub][p] == len(r.hops[sub][p]):
			r.commit(sub, p)
		}
	}
}

// commit flushes the caches of a task and notes its position.
func (r *reference) commit(sub, p int) {
	for _, store := range r.program.stores[sub] {
		r.flush(store, p)
	}
	r.committed[sub][p] = r.taken[sub][p]
}

// crash loses what a task has in its caches, not what it has written.
func (r *reference) crash(sub, p int) {
	for _, store := range r.program.stores[sub] {
		r.caches[store][p] = &dirty{entries: make(map[string]message)}
	}
	r.taken[sub][p] = r.committed[sub][p]
}

// follow looks how far what was read at some time has come.
func (r *reference) follow() {
	w := &r.walk
	if w.want == nil {
		w.sub, w.inputs = 0, make([]int, r.partitions)
		for p := range w.inputs {
			w.inputs[p] = r.taken[0][p] + r.rng.IntN(len(r.inputs[p])-r.taken[0][p]+1)/8
		}
		w.want = w.inputs
	}
	for {
		for p, want := range w.want {
			if r.committed[w.sub][p] < want {
				return
			}
		}
		if w.sub++; w.sub == len(r.hops) {
			break
		}
		w.want = lengths(r.hops[w.sub])
	}
	c := checkpoint{inputs: w.inputs, ends: make(map[string][]int)}
	for role, logs := range r.outputs {
		c.ends[role] = lengths(logs)
	}
	r.checkpoints = append(r.checkpoints, c)
	w.want = nil
}

func lengths(logs [][]message) []int {
	all := make([]int, len(logs))
	for p := range logs {
		all[p] = len(logs[p])
	}
	return all
}

// get returns an entry of a store, through its cache; nil if there is none.
func (r *reference) get(store string, p int, key []byte) []byte {
	if m, ok := r.caches[store][p].entries[string(key)]; ok {
		return m.value
	}
	return r.stores[store][p][string(key)]
}

// pair reads a store's value of one or two numbers; zeros if there is none.
func (r *reference) pair(store string, p int, key []byte) (a, b int64) {
	v := r.get(store, p, key)
	if len(v) >= 8 {
		a = number(v)
	}
	if len(v) >= 16 {
		b = number(v[8:])
	}
	return a, b
}

// put changes an entry, named by the message's key.
func (r *reference) put(store string, p int, m message, numbers ...int64) {
	r.putValue(store, p, m, pack(numbers...))
}

func (r *reference) putValue(store string, p int, m message, value []byte) {
	m.value = value
	if !r.mode.Cached || store == storeMax { // the one store that is not cached
		r.write(store, p, m)
		return
	}
	c := r.caches[store][p]
	if _, ok := c.entries[string(m.key)]; !ok {
		c.keys = append(c.keys, string(m.key))
	}
	c.entries[string(m.key)] = m
	if r.rng.Float64() < r.evict {
		r.flush(store, p)
	}
}

func (r *reference) flush(store string, p int) {
	c := r.caches[store][p]
	r.caches[store][p] = &dirty{entries: make(map[string]message)}
	for _, key := range c.keys {
		r.write(store, p, c.entries[key])
	}
}

// write takes an entry to the store and passes it on.
func (r *reference) write(store string, p int, m message) {
	old := slices.Clone(r.stores[store][p][string(m.key)])
	r.stores[store][p].put(m.key, m.value)
	r.changelogs[store][p] = append(r.changelogs[store][p], message{key: m.key, value: m.value, created: m.created})
	r.forward[store](r, p, m, m.value, old)
}

// to writes a record to an output.
func (r *reference) to(role string, m message, numbers ...int64) {
	m.value = pack(numbers...)
	r.emit(role, m)
}

func (r *reference) emit(role string, m message) {
	p := r.partitionFor(m.key)
	r.outputs[role][p] = append(r.outputs[role][p], m)
}

// send writes a record to what the next sub-topology reads.
func (r *reference) send(sub int, m message, key, value []byte) {
	p := r.partitionFor(key)
	m.key, m.value = key, value
	r.hops[sub][p] = append(r.hops[sub][p], m)
	if r.rng.Float64() < r.stale {
		r.hops[sub][p] = append(r.hops[sub][p], r.hops[sub][p][r.rng.IntN(len(r.hops[sub][p]))])
	}
}

// digests returns what the owners of the stores would say.
func (r *reference) digests() []StoreDigest {
	var all []StoreDigest
	for _, store := range slices.Sorted(maps.Keys(r.stores)) {
		for p, t := range r.stores[store] {
			all = append(all, StoreDigest{
				Store: store, Task: fmt.Sprintf("1_%d", p), Partition: int32(p), Sum: t.digest(), Entries: int64(len(t)),
				Position: int64(len(r.changelogs[store][p])),
			})
		}
	}
	return all
}

func pack(numbers ...int64) []byte {
	var b []byte
	for _, n := range numbers {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	return b
}
