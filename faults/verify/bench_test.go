package verify

import (
	"math/rand/v2"
	"testing"
	"time"
)

// BenchmarkTracker judges what 200,000 inputs of 10,000 keys bring about; ns/input includes their outputs. At 20,000
// inputs a second, 1,000 ns/input are 2 % of a core.
func BenchmarkTracker(b *testing.B) {
	r := newReference(rand.New(rand.NewPCG(1, 0)), 9)
	r.generate(7, 200_000, 10_000)
	r.run()
	model := newSoak(Mode{}, testHash)
	inputs := make([][]*inputRecord, r.partitions)
	for p, log := range r.inputs {
		for i := range log {
			inputs[p] = append(inputs[p], inputOf(p, i, &log[i]))
		}
	}
	var outputs [][]*outputRecord
	for s, stream := range model.Streams() {
		for p, log := range r.outputs[stream.Role] {
			var all []*outputRecord
			for i := range log {
				all = append(all, outputOf(s, p, i, &log[i], testStart.Add(time.Hour)))
			}
			outputs = append(outputs, all)
		}
	}
	const rounds = 100 // as many as polls in ten seconds or so
	b.ReportAllocs()
	for b.Loop() {
		j := &judge{}
		t := newTracker(newSoak(Mode{}, testHash), j, "in", make([]string, 7), make([]int64, r.partitions), 0)
		for round := range rounds {
			for _, log := range inputs {
				for _, in := range log[len(log)*round/rounds : len(log)*(round+1)/rounds] {
					t.input(in)
				}
			}
			for _, log := range outputs {
				for _, out := range log[len(log)*round/rounds : len(log)*(round+1)/rounds] {
					t.output(out)
				}
			}
			t.release()
		}
		t.end(make([]int64, r.partitions), testStart)
		if s := j.status(); s.Verdict != Clean {
			b.Fatalf("%+v", s)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/200_000, "ns/input")
}
