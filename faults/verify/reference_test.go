package verify

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
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

// reference is a soak program written apart from the model: four sub-topologies of tasks that take records from the
// logs before them in an order that the seed decides. Its state survives everything, so what it writes is exactly-once,
// unless it is told to process records again.
type reference struct {
	partitions int
	rng        *rand.Rand
	repeat     float64 // probability that a task of the second sub-topology processes its last records again

	inputs     [][]message            // by partition
	outputs    map[string][][]message // by role, then partition
	changelogs map[string][][]message // by store, then partition
	stores     map[string][]table
	hops       [4][][]message // what each sub-topology reads
	taken      [4][]int
}

func newReference(rng *rand.Rand, partitions int) *reference {
	r := &reference{
		partitions: partitions, rng: rng, inputs: make([][]message, partitions),
		outputs: make(map[string][][]message), changelogs: make(map[string][][]message), stores: make(map[string][]table),
	}
	m := newSoak(testHash)
	for _, s := range m.Streams() {
		r.outputs[s.Role] = make([][]message, partitions)
	}
	for _, s := range m.Stores() {
		r.changelogs[s], r.stores[s] = make([][]message, partitions), newTables(partitions)
	}
	for i := range r.hops {
		r.hops[i], r.taken[i] = make([][]message, partitions), make([]int, partitions)
	}
	return r
}

// generate appends inputs of some keys to the input topic.
func (r *reference) generate(run uint64, records, keys int) {
	perKey := make([]int64, keys)
	sequence := make([]int64, r.partitions)
	for i := range records {
		k := r.rng.IntN(keys)
		name := fmt.Appendf(nil, "key-%06d", k)
		p := testHash(name) % uint32(r.partitions)
		value := make([]byte, 20)
		amount := uint64(r.rng.IntN(10000))
		if r.rng.IntN(8) == 0 {
			amount += uint64(perKey[k]) * 10000
		}
		binary.BigEndian.PutUint64(value, amount)
		if r.rng.IntN(50) == 0 {
			value = value[:r.rng.IntN(8)]
		}
		origin := Provenance{Run: run, Partition: int32(p), Sequence: sequence[p], KeySequence: perKey[k]}
		perKey[k]++
		sequence[p]++
		r.input(int32(p), message{key: name, value: value, header: origin.Encode(), created: testStart.Add(time.Duration(i) * time.Millisecond)})
	}
}

func (r *reference) input(p int32, m message) {
	r.inputs[p] = append(r.inputs[p], m)
	r.hops[0][p] = append(r.hops[0][p], m)
}

// run processes everything.
func (r *reference) run() {
	for {
		var ready [][2]int
		for sub := range r.hops {
			for p := range r.hops[sub] {
				if r.taken[sub][p] < len(r.hops[sub][p]) {
					ready = append(ready, [2]int{sub, p})
				}
			}
		}
		if len(ready) == 0 {
			return
		}
		task := ready[r.rng.IntN(len(ready))]
		for range 1 + r.rng.IntN(8) {
			r.step(task[0], task[1])
		}
	}
}

func (r *reference) step(sub, p int) {
	n := r.taken[sub][p]
	if n == len(r.hops[sub][p]) {
		return
	}
	r.taken[sub][p]++
	m := r.hops[sub][p][n]
	switch sub {
	case 0:
		if len(m.value) >= 8 {
			reversed := slices.Clone(m.key)
			slices.Reverse(reversed)
			r.send(1, m, reversed, m.value[:8])
		}
	case 1:
		r.aggregateKey(p, m)
		if r.rng.Float64() < r.repeat {
			r.taken[sub][p] = max(0, n-r.rng.IntN(4))
		}
	case 2:
		r.aggregateGroup(p, m)
	case 3:
		events, peak := r.pair(storeTotal, p, totalKey)
		peak = max(peak, number(m.value))
		r.put(storeTotal, p, m, events+1, peak)
		r.write("total", m, events+1, peak)
	}
}

func (r *reference) aggregateKey(p int, m message) {
	amount := number(m.value)
	count, _ := r.pair(storeCount, p, string(m.key))
	r.put(storeCount, p, m, count+1)
	if (count+1)%10 == 0 {
		r.write("count", m, count+1)
	}
	sum, _ := r.pair(storeSum, p, string(m.key))
	r.put(storeSum, p, m, sum+amount)
	if (sum+amount)%10 == 0 {
		r.write("sum", m, sum+amount)
	}
	old := int64(-1)
	if v, ok := r.stores[storeMax][p][string(m.key)]; ok {
		old = number(v)
	}
	peak := max(old, amount)
	r.put(storeMax, p, m, peak, peak-old)
	r.write("max", m, peak, peak-old)
	if peak > old {
		group := fmt.Appendf(nil, "group-%02d", int(testHash(m.key)&0x7fffffff)%16)
		r.send(2, m, group, pack(peak, peak-old))
	}
}

func (r *reference) aggregateGroup(p int, m message) {
	group := string(m.key)
	count, _ := r.pair(storeGroupCount, p, group)
	r.put(storeGroupCount, p, m, count+1)
	if (count+1)%10 == 0 {
		r.write("group-count", m, count+1)
	}
	sum, _ := r.pair(storeGroupSum, p, group)
	sum += number(m.value[8:])
	r.put(storeGroupSum, p, m, sum)
	if sum%10 == 0 {
		r.write("group-sum", m, sum)
	}
	peak, _ := r.pair(storeGroupMax, p, group)
	peak = max(peak, number(m.value))
	r.put(storeGroupMax, p, m, peak)
	r.write("group-max", m, peak)
	r.send(3, m, []byte(totalKey), pack(peak))
}

// pair reads a store's value of one or two numbers; zeros if there is none.
func (r *reference) pair(store string, p int, key string) (a, b int64) {
	v := r.stores[store][p][key]
	if len(v) >= 8 {
		a = number(v)
	}
	if len(v) >= 16 {
		b = number(v[8:])
	}
	return a, b
}

func (r *reference) put(store string, p int, m message, numbers ...int64) {
	value := pack(numbers...)
	r.stores[store][p].put(m.key, value)
	r.changelogs[store][p] = append(r.changelogs[store][p], message{key: m.key, value: value, created: m.created})
}

func (r *reference) write(role string, m message, numbers ...int64) {
	p := int(testHash(m.key)&0x7fffffff) % r.partitions
	m.value = pack(numbers...)
	r.outputs[role][p] = append(r.outputs[role][p], m)
}

func (r *reference) send(sub int, m message, key, value []byte) {
	p := int(testHash(key)&0x7fffffff) % r.partitions
	m.key, m.value = key, value
	r.hops[sub][p] = append(r.hops[sub][p], m)
}

// digests returns what the owners of the stores would say.
func (r *reference) digests() []StoreDigest {
	var all []StoreDigest
	for store, tables := range r.stores {
		for p, t := range tables {
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
