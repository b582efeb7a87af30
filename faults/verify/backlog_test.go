package verify

import (
	"math/rand/v2"
	"testing"
)

func TestProvenance(t *testing.T) {
	want := Provenance{Run: 1 << 63, Partition: 8, Sequence: 1 << 40, KeySequence: 12}
	got, err := Decode(want.Encode())
	if err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	for name, b := range map[string][]byte{
		"empty": nil, "short": want.Encode()[1:], "long": append(want.Encode(), 0),
		"negative": Provenance{Partition: -1}.Encode(),
	} {
		if got, err := Decode(b); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestBacklogFind compares find with a list, over gaps, two runs, growth and shrinking.
func TestBacklogFind(t *testing.T) {
	seed := newSeed()
	rng := rand.New(rand.NewPCG(seed, 0))
	type id struct {
		run uint64
		seq int64
	}
	b := newBacklog(0, 0)
	numbers := make(map[id]int64)
	var order []id
	run, seq := uint64(5), int64(0)
	check := func(x id) {
		t.Helper()
		n, where := b.find(x.run, x.seq)
		number, exists := numbers[x]
		last := order[len(order)-1]
		var want place
		switch {
		case exists && number >= b.head:
			want = placeKnown
		case x.run == last.run && x.seq > last.seq || x.run != 5 && x.run != run:
			want = placeAhead
		case b.head == b.tail || x.run == order[b.head].run && x.seq < order[b.head].seq || x.run == 5 && order[b.head].run != 5:
			want = placeBehind
		default:
			want = placeAbsent
		}
		if where != want || where == placeKnown && n != number {
			t.Fatalf("seed %d: %+v is %d at %d, want %d at %d; entries %d to %d", seed, x, where, n, want, number, b.head, b.tail)
		}
	}
	for i := range 20_000 {
		if i == 12_000 {
			run, seq = 2, 0
		}
		if seq += 1 + int64(rng.IntN(50)/49*rng.IntN(5)); !b.follows(run, seq, seq) {
			t.Fatal("does not follow")
		}
		x := id{run, seq}
		numbers[x] = b.push(entry{seq: seq, run: int32(len(b.runs) - 1), width: 1})
		order = append(order, x)
		for b.len() > 0 && rng.IntN(4000) < int(b.len()) {
			b.pop()
		}
		check(order[rng.IntN(len(order))])
		check(id{order[rng.IntN(len(order))].run, int64(rng.IntN(14_000))})
		check(id{run + 20, seq})
	}
	if b.follows(5, 1<<30, 1<<30) || b.follows(2, seq, seq) {
		t.Error("an old run or sequence was taken for a new one")
	}
	for b.len() > 0 {
		b.pop()
	}
	if len(b.ring) != minRing {
		t.Errorf("%d entries of room are left", len(b.ring))
	}
}
