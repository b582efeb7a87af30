package verify

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestAnyDamage damages many records of a run in ways that nobody has thought of. The verifier must come through, and find something
// where outputs were damaged that a program owes one by one.
func TestAnyDamage(t *testing.T) {
	for _, v := range variants() {
		for _, bare := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, bare %v", v, bare), func(t *testing.T) {
				for range plays(40) {
					seed := newSeed()
					t.Logf("seed %d", seed)
					rng := rand.New(rand.NewPCG(seed, 3))
					r := v.build(seed, 1+rng.IntN(4), 300, 1+rng.IntN(30), bare)
					d := damager{r, rng, v.roles()}
					inputsToo := rng.IntN(2) == 0
					changed := false
					for range 1 + rng.IntN(30) {
						if inputsToo && rng.IntN(3) == 0 {
							d.damage(r.inputs)
						} else {
							changed = d.damage(r.outputs[d.roles[rng.IntN(len(d.roles))]]) || changed
						}
					}
					tr, s := r.feed(feeding{seed: seed, outputBias: rng.Float64(), closing: rng.IntN(3) == 0})
					if tr.held != 0 {
						t.Errorf("%d records are held at the end", tr.held)
					}
					if changed && !inputsToo && !bare && s.Verdict == Clean && !v.mode.Cached && !v.mode.AtLeastOnce {
						t.Errorf("nothing is found: %+v", s)
					}
					if t.Failed() {
						return
					}
				}
			})
		}
	}
}

// TestStrangeRepetition has an output come once more, under a key that no input has. That may be at any distance from the first.
func TestStrangeRepetition(t *testing.T) {
	for _, v := range variants() {
		if v.model == ModelPassthrough {
			continue // its model keeps no keys
		}
		for _, role := range v.roles() {
			t.Run(v.String()+"/"+role, func(t *testing.T) {
				for range plays(5) {
					seed := newSeed()
					r := v.build(seed, 3, 400, 20, false)
					first := r.pick(role, int(seed%200))
					if first.index < 0 {
						continue
					}
					again := *r.at(first)
					again.key = []byte("another")
					log := r.outputs[role][first.partition]
					at := first.index + 1 + int(seed%7)*(len(log)-first.index-1)/6
					r.outputs[role][first.partition] = slices.Insert(log, at, again)
					want := finding{kinds: []string{KindUnexpected}, output: spot{role, first.partition, at}.output()}
					if _, s := r.feed(feeding{seed: seed, outputBias: 0.5}); s.Verdict != Violation || !want.in(s.Witnesses) {
						t.Fatalf("seed %d: want %+v, verdict %s with %+v", seed, want, s.Verdict, s.Witnesses)
					}
				}
			})
		}
	}
}

// damager damages records at random.
type damager struct {
	*reference
	rng   *rand.Rand
	roles []string
}

// damage changes one record of a log; it returns false if there is nothing to change, or nothing was changed by chance.
func (d *damager) damage(logs [][]message) bool {
	p := d.rng.IntN(len(logs))
	log := logs[p]
	if len(log) == 0 {
		return false
	}
	at := d.rng.IntN(len(log))
	before := log[at]
	switch d.rng.IntN(6) {
	case 0:
		log[at].key = d.key()
		return !bytes.Equal(log[at].key, before.key)
	case 1:
		log[at].value = d.value(before.value)
		return !bytes.Equal(log[at].value, before.value)
	case 2:
		log[at].header = d.header()
		return !bytes.Equal(log[at].header, before.header)
	case 3:
		logs[p] = slices.Delete(log, at, at+1)
	case 4:
		logs[p] = slices.Insert(log, d.rng.IntN(len(log)+1), before)
	default:
		to := d.rng.IntN(len(logs))
		logs[p] = slices.Delete(log, at, at+1)
		before.header = d.header()
		logs[to] = append(logs[to], before)
	}
	return true
}

// any returns some record of the run.
func (d *damager) any() message {
	logs := d.inputs
	if d.rng.IntN(2) == 0 {
		logs = d.outputs[d.roles[d.rng.IntN(len(d.roles))]]
	}
	log := logs[d.rng.IntN(len(logs))]
	if len(log) == 0 {
		return message{}
	}
	return log[d.rng.IntN(len(log))]
}

func (d *damager) key() []byte {
	switch d.rng.IntN(4) {
	case 0:
		return nil
	case 1:
		return []byte("another")
	default:
		return d.any().key
	}
}

func (d *damager) value(old []byte) []byte {
	switch d.rng.IntN(4) {
	case 0:
		return nil
	case 1:
		return old[:d.rng.IntN(len(old)+1)]
	case 2:
		return append(slices.Clone(old), byte(d.rng.IntN(256)))
	default:
		return d.any().value
	}
}

func (d *damager) header() []byte {
	switch d.rng.IntN(4) {
	case 0:
		return nil
	case 1:
		return Provenance{Run: uint64(d.rng.IntN(9)), Partition: d.rng.Int32N(9), Sequence: d.rng.Int64N(400)}.Encode()
	default:
		return d.any().header
	}
}

// TestLeftDamage damages what an application has left: the judgement of it comes to an end, too.
func TestLeftDamage(t *testing.T) {
	for _, v := range variants() {
		for _, bare := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, bare %v", v, bare), func(t *testing.T) {
				inBubble(t, 1, func(c *cluster) {
					r := v.build(c.rng.Uint64(), 3, 100, 20, bare)
					d := damager{r, c.rng, v.roles()}
					changed := false
					for range 1 + c.rng.IntN(15) {
						changed = d.damage(r.outputs[d.roles[c.rng.IntN(len(d.roles))]]) || changed
					}
					cfg := c.configOf(v)
					c.leave(&cfg, r)
					status := c.judgeLeft(left(&cfg, true))
					if changed && status.Verdict == Clean && !bare && !v.mode.Cached && !v.mode.AtLeastOnce {
						c.t.Errorf("nothing is found: %+v", status)
					}
					c.judgeLeft(left(&cfg, false))
				})
			})
		}
	}
}
