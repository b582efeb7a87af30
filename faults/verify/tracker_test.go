package verify

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// spot is the place of one output record in a reference's logs.
type spot struct {
	role      string
	partition int
	index     int
}

// pick returns a record of a role, counted from the end of the longest partition.
func (r *reference) pick(role string, fromEnd int) spot {
	longest := 0
	for p, log := range r.outputs[role] {
		if len(log) > len(r.outputs[role][longest]) {
			longest = p
		}
	}
	return spot{role, longest, len(r.outputs[role][longest]) - 1 - fromEnd}
}

func (r *reference) at(s spot) *message { return &r.outputs[s.role][s.partition][s.index] }

func (s spot) output() string { return fmt.Sprintf("app-%s-%d@%d", s.role, s.partition, s.index) }

// inputOf names the input of an output, by the way the reference makes it.
func (r *reference) inputOf(s spot) string {
	p, err := Decode(r.at(s).header)
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf("app-input-%d@%d", p.Partition, p.Sequence)
}

// feeding says how a reference's logs reach a tracker.
type feeding struct {
	seed       uint64
	outputBias float64 // probability that the next records are outputs, if there are any
	run        uint64
	closing    bool // the tracker is told of the checkpoints
}

// feed hands all logs to a tracker in an order that the seed decides, each partition in its own order, and ends.
func (r *reference) feed(f feeding) (*tracker, *Status) {
	rng := rand.New(rand.NewPCG(f.seed, 1))
	model := r.newModel()
	j := &judge{atLeastOnce: r.mode.AtLeastOnce}
	streams := model.Streams()
	topics := make([]string, 0, len(streams))
	for _, s := range streams {
		topics = append(topics, "app-"+s.Role)
	}
	t := newTracker(model, j, "app-input", topics, make([]int64, r.partitions), f.run)
	in := make([]int, r.partitions)
	out := make([][]int, len(topics))
	for s := range out {
		out[s] = make([]int, r.partitions)
	}
	var inputs, outputs [][2]int
	for p := range r.inputs {
		inputs = append(inputs, [2]int{0, p})
		for s := range out {
			outputs = append(outputs, [2]int{s, p})
		}
	}
	now := testStart
	checkpoints := r.checkpoints
	for len(inputs)+len(outputs) > 0 {
		now = now.Add(time.Millisecond)
		if len(inputs) == 0 || len(outputs) > 0 && rng.Float64() < f.outputBias {
			i := rng.IntN(len(outputs))
			s, p := outputs[i][0], outputs[i][1]
			log := r.outputs[streams[s].Role][p]
			for range 1 + rng.IntN(20) {
				if out[s][p] < len(log) {
					t.output(outputOf(s, p, out[s][p], &log[out[s][p]], now))
					out[s][p]++
				}
			}
			if out[s][p] == len(log) {
				outputs = slices.Delete(outputs, i, i+1)
			}
		} else {
			i := rng.IntN(len(inputs))
			p := inputs[i][1]
			for range 1 + rng.IntN(20) {
				if in[p] < len(r.inputs[p]) {
					t.input(inputOf(p, in[p], &r.inputs[p][in[p]]))
					in[p]++
				}
			}
			if in[p] == len(r.inputs[p]) {
				inputs = slices.Delete(inputs, i, i+1)
			}
		}
		t.release()
		for f.closing && len(checkpoints) > 0 && checkpoints[0].reached(t, in, out) {
			t.close(positions(checkpoints[0].inputs), now)
			checkpoints = checkpoints[1:]
		}
	}
	t.expireAll(now)
	t.end(positions(lengths(r.inputs)), now)
	return t, j.status()
}

// reached tells whether everything up to a checkpoint was fed, and all of it judged.
func (c *checkpoint) reached(t *tracker, in []int, out [][]int) bool {
	for p, n := range c.inputs {
		if in[p] < n {
			return false
		}
	}
	for s := range out {
		for p, end := range c.ends[t.streams[s].Role] {
			if out[s][p] < end || !t.judgedBelow(s, int32(p), int64(end)) {
				return false
			}
		}
	}
	return true
}

func positions(numbers []int) []int64 {
	all := make([]int64, len(numbers))
	for p, n := range numbers {
		all[p] = int64(n)
	}
	return all
}

func inputOf(p, offset int, m *message) *inputRecord {
	r := &inputRecord{partition: int32(p), offset: int64(offset), key: m.key, value: m.value}
	var err error
	r.provenance, err = Decode(m.header)
	r.hasHeader = err == nil
	return r
}

func outputOf(s, p, offset int, m *message, now time.Time) *outputRecord {
	o := &outputRecord{
		stream: s, partition: int32(p), offset: int64(offset), key: m.key, value: m.value, created: m.created, seen: now,
		producerID: -1,
	}
	var err error
	o.provenance, err = Decode(m.header)
	o.hasHeader = err == nil
	return o
}

// built returns a reference that has processed some inputs.
func built(seed uint64, records, keys int) *reference {
	r := newReference(rand.New(rand.NewPCG(seed, 0)), 3)
	r.generate(7, records, keys)
	r.run()
	return r
}

// TestMissingTail cuts the end off a stream.
func TestMissingTail(t *testing.T) {
	for _, role := range []string{"count", "sum", "max", "group-count", "group-sum", "group-max", "total"} {
		seed := newSeed()
		r := built(seed, 2500, 20)
		s := r.pick(role, 1)
		cut := len(r.outputs[role][s.partition]) / 2
		r.outputs[role][s.partition] = r.outputs[role][s.partition][:cut]
		if _, status := r.feed(feeding{seed: seed, outputBias: 0.5}); status.Verdict != Violation || status.Lost == 0 {
			t.Errorf("%s, seed %d: %+v", role, seed, status)
		}
	}
}

// TestRuns feeds two runs of the load generator after one another.
func TestRuns(t *testing.T) {
	seed := newSeed()
	r := newReference(rand.New(rand.NewPCG(seed, 0)), 3)
	r.generate(7, 500, 10)
	r.generate(3, 700, 15)
	r.run()
	if _, s := r.feed(feeding{seed: seed, outputBias: 0.5}); s.Verdict != Clean || s.In != 1200 || s.Processed != 1200 {
		t.Errorf("seed %d: %+v", seed, s)
	}
	if _, s := r.feed(feeding{seed: seed, outputBias: 0.5, run: 3}); s.Verdict != Clean || s.In != 700 || s.Processed != 700 {
		t.Errorf("seed %d, counting one: %+v", seed, s)
	}
}

// TestUnusableProvenance feeds inputs that cannot be told apart by their header: no clean verdict.
func TestUnusableProvenance(t *testing.T) {
	tests := map[string]struct {
		header []byte
		reason string
	}{
		"none":            {nil, "inputs without provenance, the first at app-input-1@"},
		"garbage":         {[]byte("garbage"), "inputs without provenance"},
		"repeated":        {Provenance{Run: 7, Partition: 1, Sequence: 3}.Encode(), "does not continue the sequence"},
		"other partition": {Provenance{Run: 7, Partition: 0, Sequence: 5000}.Encode(), "does not continue the sequence"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			seed := newSeed()
			r := newReference(rand.New(rand.NewPCG(seed, 0)), 3)
			r.generate(7, 500, 10)
			m := message{key: []byte("key-x"), value: pack(70000), header: tt.header, created: testStart}
			for range 20 {
				r.input(1, m)
			}
			r.run()
			_, s := r.feed(feeding{seed: seed, outputBias: 0.5})
			if s.Verdict == Clean || !strings.Contains(strings.Join(s.Reasons, "\n"), tt.reason) {
				t.Errorf("seed %d: %+v", seed, s)
			}
			// An output of a repeated input cannot be told from a repeated output before the input was seen.
			if s.Verdict != Unknown && name != "repeated" {
				t.Errorf("seed %d: false alarm %+v", seed, s.Witnesses)
			}
		})
	}
}

// TestMemoryFollowsLag feeds many records with little lag, then a long lag that is worked off.
func TestMemoryFollowsLag(t *testing.T) {
	r := built(1, 30_000, 50)
	tr, s := r.feed(feeding{seed: 1, outputBias: 0.9})
	if s.Verdict != Clean {
		t.Fatalf("%+v", s)
	}
	for p, b := range tr.backlogs {
		if len(b.ring) > 2*minRing {
			t.Errorf("partition %d keeps room for %d entries", p, len(b.ring))
		}
	}
}

// TestPassed checks that nothing is given up before its effect was seen.
func TestPassed(t *testing.T) {
	r := newReference(rand.New(rand.NewPCG(1, 0)), 1)
	short := message{key: []byte("a"), value: []byte("short"), created: testStart}
	full := message{key: []byte("b"), value: pack(5), created: testStart}
	for i, m := range []message{short, full, short, full} {
		m.header = Provenance{Run: 1, Sequence: int64(i)}.Encode()
		r.input(0, m)
	}
	r.run()
	j := &judge{}
	tr := newTracker(newSoak(Mode{}, testHash), j, "in", make([]string, 7), []int64{0}, 0)
	passed := func(want int64) {
		t.Helper()
		if got := tr.passed()[0]; got != want {
			t.Errorf("passed %d, want %d", got, want)
		}
	}
	for i := range r.inputs[0] {
		tr.input(inputOf(0, i, &r.inputs[0][i]))
	}
	passed(0)
	for s, stream := range newSoak(Mode{}, testHash).Streams() {
		if log := r.outputs[stream.Role][0]; len(log) > 0 && stream.Role != "max" {
			tr.output(outputOf(s, 0, 0, &log[0], testStart))
		}
	}
	passed(0)
	tr.output(outputOf(soakMax, 0, 0, &r.outputs["max"][0][0], testStart))
	passed(2)
	tr.output(outputOf(soakMax, 0, 1, &r.outputs["max"][0][1], testStart))
	passed(4)
	if j.processed != 4 || j.pending != 0 {
		t.Errorf("processed %d, pending %d", j.processed, j.pending)
	}
}
