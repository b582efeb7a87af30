package soak

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"eostop/faults/verify"
	"eostop/runtime/topology"
)

const (
	amountRange = 10_000 // amounts are below it, but for the jumps
	jumpEvery   = 8      // one record in so many makes its key jump to a new maximum

	// Words are drawn by Zipf's law, as in texts, but flatter, so that no partition has most of them.
	wordSkew   = 1.1
	wordOffset = 8
	minWord    = 3 // letters
)

// recordSource yields the records of a load. The sequence depends on the configuration alone.
type recordSource interface {
	// fill makes p the next record, without its topic. It returns io.EOF if there is none.
	fill(p *pendingRecord, now time.Time) error
	close()
}

// newRecordSource returns the source that a configuration asks for. Ctx ends the waiting for an input that comes slowly.
func newRecordSource(ctx context.Context, cfg LoadConfig) (recordSource, error) {
	if cfg.Input != "" {
		return openFileSource(ctx, cfg)
	}
	program, ok := findBuiltin(cfg.Topology)
	if !ok {
		return nil, fmt.Errorf("there is no load for topology %q", cfg.Topology)
	}
	return program.source(cfg), nil
}

// numbering gives records their provenance.
type numbering struct {
	run      uint64
	sequence []int64 // next one of each partition
}

func newNumbering(cfg LoadConfig) numbering {
	return numbering{run: cfg.Run, sequence: make([]int64, cfg.Partitions)}
}

func (n *numbering) next(partition int32, keySequence int64) verify.Provenance {
	origin := verify.Provenance{Run: n.run, Partition: partition, Sequence: n.sequence[partition], KeySequence: keySequence}
	n.sequence[partition]++
	return origin
}

// spread gives records without a key to all partitions in turn, as Kafka's producers did before they stuck to one for a
// while: so the same lines are in the same partitions in every run.
func (n *numbering) spread(record int64) verify.Provenance {
	return n.next(int32(record%int64(len(n.sequence))), record)
}

// keyed gives records keys, and to each key the partition where it belongs.
type keyed struct {
	numbering
	keys        []byte  // all keys one after another
	ends        []int32 // of each key in them
	partitions  []int32 // of each key
	keySequence []int64 // next one of each key
}

// newKeyed makes the keys; name appends the one of a number.
func newKeyed(cfg LoadConfig, name func(b []byte, i int) []byte) keyed {
	k := keyed{
		numbering: newNumbering(cfg), ends: make([]int32, cfg.Keys), partitions: make([]int32, cfg.Keys), keySequence: make([]int64, cfg.Keys),
	}
	for i := range cfg.Keys {
		k.keys = name(k.keys, i)
		k.ends[i] = int32(len(k.keys))
	}
	for i := range cfg.Keys {
		k.partitions[i] = topology.PartitionFor(k.key(i), cfg.Partitions)
	}
	return k
}

// paddedKeys names keys so that all have the same length, at least that of key-000000.
func paddedKeys(cfg LoadConfig) func(b []byte, i int) []byte {
	digits := max(6, len(strconv.Itoa(cfg.Keys-1)))
	return func(b []byte, i int) []byte { return fmt.Appendf(b, "key-%0*d", digits, i) }
}

// key returns the bytes of a key, which nobody may change.
func (k *keyed) key(i int) []byte {
	begin := int32(0)
	if i > 0 {
		begin = k.ends[i-1]
	}
	return k.keys[begin:k.ends[i]:k.ends[i]]
}

// ofKey returns the provenance of a key's next record.
func (k *keyed) ofKey(i int) verify.Provenance {
	origin := k.next(k.partitions[i], k.keySequence[i])
	k.keySequence[i]++
	return origin
}

// amounts makes up keys with amounts, for the soak program.
type amounts struct {
	keyed
	rng        *rand.Rand
	valueBytes int
}

func newAmounts(cfg LoadConfig) recordSource {
	return &amounts{keyed: newKeyed(cfg, paddedKeys(cfg)), rng: rand.New(rand.NewPCG(uint64(cfg.Seed), 0)), valueBytes: cfg.ValueBytes}
}

func (s *amounts) fill(p *pendingRecord, now time.Time) error {
	if p.value == nil {
		p.value = make([]byte, s.valueBytes)
		for i := range p.value {
			p.value[i] = 'a' + byte(i%26)
		}
	}
	key := s.rng.IntN(len(s.keySequence))
	origin := s.ofKey(key)
	jump := s.rng.IntN(jumpEvery) == 0
	amount := s.rng.Int64N(amountRange)
	if jump {
		amount += origin.KeySequence * amountRange
	}
	binary.BigEndian.PutUint64(p.value, uint64(amount))
	p.set(origin, s.key(key), now)
	return nil
}

func (s *amounts) close() {}

// lines makes up lines of words without keys, for the wordcount program.
type lines struct {
	numbering
	rng     *rand.Rand
	words   *rand.Zipf
	letters int // of a word
	longest int // line
	written int64
}

func newLines(cfg LoadConfig) recordSource {
	s := &lines{numbering: newNumbering(cfg), rng: rand.New(rand.NewPCG(uint64(cfg.Seed), 0)), letters: minWord, longest: cfg.ValueBytes}
	for n := 26 * 26 * 26; n < cfg.Keys; n *= 26 {
		s.letters++
	}
	s.words = rand.NewZipf(s.rng, wordSkew, wordOffset, uint64(cfg.Keys-1))
	return s
}

func (s *lines) fill(p *pendingRecord, now time.Time) error {
	length := s.letters + 1 + s.rng.IntN(s.longest-s.letters)
	line := p.value[:0]
	for {
		line = s.word(line)
		if len(line) == s.letters {
			line[0] -= 'a' - 'A'
		}
		if len(line)+2+s.letters+1 > length {
			break
		}
		if s.rng.IntN(6) == 0 {
			line = append(line, ',')
		}
		line = append(line, ' ')
	}
	line = append(line, '.')
	p.value = line
	p.set(s.spread(s.written), nil, now)
	s.written++
	return nil
}

// word appends a word.
func (s *lines) word(line []byte) []byte {
	n, begin := s.words.Uint64(), len(line)
	for range s.letters {
		line = append(line, 'a'+byte(n%26))
		n /= 26
	}
	// The letters of the rarest digit first make neighbours differ at the end, as words do.
	for i, k := begin, len(line)-1; i < k; i, k = i+1, k-1 {
		line[i], line[k] = line[k], line[i]
	}
	return line
}

func (s *lines) close() {}
