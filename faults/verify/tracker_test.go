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
	seed        uint64
	outputBias  float64 // probability that the next records are outputs, if there are any
	atLeastOnce bool
	run         uint64
}

// feed hands all logs to a tracker in an order that the seed decides, each partition in its own order, and ends.
func (r *reference) feed(f feeding) (*tracker, *Status) {
	rng := rand.New(rand.NewPCG(f.seed, 1))
	model := newSoak(testHash)
	j := &judge{atLeastOnce: f.atLeastOnce}
	topics := make([]string, 0, 7)
	for _, s := range model.Streams() {
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
	for len(inputs)+len(outputs) > 0 {
		now = now.Add(time.Millisecond)
		if len(inputs) == 0 || len(outputs) > 0 && rng.Float64() < f.outputBias {
			i := rng.IntN(len(outputs))
			s, p := outputs[i][0], outputs[i][1]
			log := r.outputs[model.Streams()[s].Role][p]
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
	}
	t.expire(now.Add(time.Hour), true)
	ends := make([]int64, r.partitions)
	for p := range ends {
		ends[p] = int64(len(r.inputs[p]))
	}
	t.end(ends, now)
	return t, j.status()
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

// TestNoFalseAlarm feeds correct runs in many orders.
func TestNoFalseAlarm(t *testing.T) {
	runs := 1000
	if testing.Short() {
		runs = 100
	}
	for range runs {
		seed := rand.Uint64()
		rng := rand.New(rand.NewPCG(seed, 2))
		r := newReference(rand.New(rand.NewPCG(seed, 0)), 1+rng.IntN(6))
		r.generate(7, rng.IntN(800), 1+rng.IntN(60))
		r.run()
		tr, s := r.feed(feeding{seed: seed, outputBias: rng.Float64()})
		if s.Verdict != Clean || s.Lag != 0 || s.In != s.Processed || tr.held != 0 {
			t.Fatalf("seed %d: %d held, %+v", seed, tr.held, s)
		}
		for p, b := range tr.backlogs {
			if b.len() != 0 {
				t.Fatalf("seed %d: %d entries are left on partition %d", seed, b.len(), p)
			}
		}
		if len(tr.missing) != 0 {
			t.Fatalf("seed %d: %d remembered", seed, len(tr.missing))
		}
	}
}

// TestMutations damages one record of a correct run and expects that it is found, with the records that prove it.
func TestMutations(t *testing.T) {
	type finding struct{ kind, input, output string }
	drop := func(r *reference, s spot) finding {
		want := finding{KindLost, r.inputOf(s), ""}
		log := &r.outputs[s.role][s.partition]
		*log = slices.Delete(*log, s.index, s.index+1)
		return want
	}
	double := func(r *reference, s spot) finding {
		log := &r.outputs[s.role][s.partition]
		*log = append(*log, *r.at(s))
		dup := s
		dup.index = len(*log) - 1
		return finding{KindDuplicate, "", dup.output()}
	}
	alter := func(r *reference, s spot) finding {
		m := r.at(s)
		m.value = slices.Clone(m.value)
		m.value[7] += 10 // such that a filter's rule still holds
		return finding{KindWrongValue, r.inputOf(s), s.output()}
	}
	rekey := func(r *reference, s spot) finding {
		r.at(s).key = []byte("another")
		return finding{KindWrongValue, r.inputOf(s), s.output()}
	}
	swap := func(r *reference, s spot) finding {
		// The two must be of one input key, which is that of the outputs except in the streams of groups.
		log := r.outputs[s.role][s.partition]
		for i := s.index; i > 0; i-- {
			for k := i - 1; k >= 0; k-- {
				a, _ := Decode(log[i].header)
				b, _ := Decode(log[k].header)
				if a.Partition == b.Partition && string(r.inputs[a.Partition][a.Sequence].key) == string(r.inputs[b.Partition][b.Sequence].key) {
					want := finding{KindOutOfOrder, r.inputOf(spot{s.role, s.partition, k}), spot{s.role, s.partition, i}.output()}
					log[i], log[k] = log[k], log[i]
					return want
				}
			}
		}
		return finding{} // no two by chance
	}
	forge := func(r *reference, s spot) finding {
		m := *r.at(s)
		m.header = Provenance{Run: 99, Partition: 1, Sequence: 3}.Encode()
		log := &r.outputs[s.role][s.partition]
		*log = append(*log, m)
		return finding{KindUnexpected, "", spot{s.role, s.partition, len(*log) - 1}.output()}
	}
	strip := func(r *reference, s spot) finding {
		r.at(s).header = nil
		return finding{KindUnexpected, "", s.output()}
	}
	mutations := []struct {
		name string
		do   func(*reference, spot) finding
	}{
		{"drop", drop}, {"double", double}, {"alter", alter}, {"rekey", rekey}, {"swap", swap}, {"forge", forge}, {"strip", strip},
	}
	for _, role := range []string{"count", "sum", "max", "group-count", "group-sum", "group-max", "total"} {
		for _, mutation := range mutations {
			for _, fromEnd := range []int{0, 3} {
				t.Run(fmt.Sprintf("%s/%s/%d", role, mutation.name, fromEnd), func(t *testing.T) {
					for range 3 {
						seed := rand.Uint64()
						r := built(seed, 2500, 20)
						want := mutation.do(r, r.pick(role, fromEnd))
						if want.kind == "" {
							continue
						}
						_, s := r.feed(feeding{seed: seed, outputBias: 0.7})
						if s.Verdict != Violation {
							t.Fatalf("seed %d: verdict %s", seed, s.Verdict)
						}
						if !slices.ContainsFunc(s.Witnesses, func(w Witness) bool {
							return w.Kind == want.kind && (want.input == "" || w.Input == want.input) &&
								(want.output == "" || slices.Contains(w.Outputs, want.output))
						}) {
							t.Fatalf("seed %d: want %+v, have %+v", seed, want, s.Witnesses)
						}
						// One fault may show at a few places, but must not drag a tail of others behind it.
						if len(s.Witnesses) > 6 {
							t.Fatalf("seed %d: %d witnesses: %+v", seed, len(s.Witnesses), s.Witnesses)
						}
					}
				})
			}
		}
	}
}

// TestMissingTail cuts the end off a stream.
func TestMissingTail(t *testing.T) {
	for _, role := range []string{"count", "sum", "max", "group-count", "group-sum", "group-max", "total"} {
		seed := rand.Uint64()
		r := built(seed, 2500, 20)
		s := r.pick(role, 1)
		cut := len(r.outputs[role][s.partition]) / 2
		r.outputs[role][s.partition] = r.outputs[role][s.partition][:cut]
		if _, status := r.feed(feeding{seed: seed, outputBias: 0.5}); status.Verdict != Violation || status.Lost == 0 {
			t.Errorf("%s, seed %d: %+v", role, seed, status)
		}
	}
}

// TestAtLeastOnce processes records again: only what is missing is a violation.
func TestAtLeastOnce(t *testing.T) {
	for range 100 {
		seed := rand.Uint64()
		r := newReference(rand.New(rand.NewPCG(seed, 0)), 4)
		r.repeat = 0.05
		r.generate(7, 1000, 20)
		r.run()
		_, s := r.feed(feeding{seed: seed, outputBias: 0.5, atLeastOnce: true})
		if s.Verdict != Clean || s.Duplicated == 0 || s.In != s.Processed {
			t.Fatalf("seed %d: %+v", seed, s)
		}
		if _, s := r.feed(feeding{seed: seed, outputBias: 0.5}); s.Verdict != Violation || s.Duplicated == 0 {
			t.Fatalf("seed %d, exactly once: %+v", seed, s)
		}
		// Every record of one input on the stream that must hold one for each.
		origin := string(r.at(r.pick("max", 5)).header)
		for p, log := range r.outputs["max"] {
			r.outputs["max"][p] = slices.DeleteFunc(log, func(m message) bool { return string(m.header) == origin })
		}
		if _, s := r.feed(feeding{seed: seed, outputBias: 0.5, atLeastOnce: true}); s.Verdict != Violation || s.Lost != 1 {
			t.Fatalf("seed %d, one lost: %+v", seed, s)
		}
	}
}

// TestRuns feeds two runs of the load generator after one another.
func TestRuns(t *testing.T) {
	seed := rand.Uint64()
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
			seed := rand.Uint64()
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
	tr := newTracker(newSoak(testHash), j, "in", make([]string, 7), []int64{0}, 0)
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
	for s, stream := range newSoak(testHash).Streams() {
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
