package verify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// StoreDigest is what the owner of a store says about its committed content. Sum is SHA-256 over the entries in the
// order of their keys, each as length of the key (4 bytes, big-endian), key, length of the value (the same), value.
type StoreDigest struct {
	Store     string // as in Config.Changelogs
	Task      string // e.g. "1_0"; only named in witnesses
	Partition int32  // of the changelog
	Position  int64  // changelog offset that the content corresponds to; only named in witnesses
	Sum       [sha256.Size]byte
	Entries   int64
	// Remote says that the store is in a process that cannot be asked: it is not compared, and everything else is empty.
	Remote bool
}

// table is the content of one partition of a store.
type table map[string][]byte

// put applies one changelog record; a nil value deletes.
func (t table) put(key, value []byte) {
	switch old, ok := t[string(key)]; {
	case value == nil:
		delete(t, string(key))
	case ok && len(old) == len(value):
		copy(old, value)
	default:
		t[string(key)] = slices.Clone(value)
	}
}

// digest returns the sum that StoreDigest describes.
func (t table) digest() [sha256.Size]byte {
	h := sha256.New()
	var b []byte
	for _, key := range slices.Sorted(maps.Keys(t)) {
		value := t[key]
		b = binary.BigEndian.AppendUint32(b[:0], uint32(len(key)))
		b = append(b, key...)
		b = binary.BigEndian.AppendUint32(b, uint32(len(value)))
		h.Write(append(b, value...))
	}
	var sum [sha256.Size]byte
	h.Sum(sum[:0])
	return sum
}

// difference says in words how two tables differ at the first key, in key order. Empty = they are equal.
func (t table) difference(want table) string {
	_, words := t.differs(want)
	return words
}

// differs returns the first key at which two tables differ, and how.
func (t table) differs(want table) (key, words string) {
	keys := slices.Collect(maps.Keys(t))
	keys = slices.AppendSeq(keys, maps.Keys(want))
	slices.Sort(keys)
	for _, key := range slices.Compact(keys) {
		got, has := t[key]
		wanted, wants := want[key]
		switch {
		case !has:
			return key, fmt.Sprintf("key %q is missing, want %x", key, wanted)
		case !wants:
			return key, fmt.Sprintf("key %q is %x, want none", key, got)
		case !bytes.Equal(got, wanted):
			return key, fmt.Sprintf("key %q is %x, want %x", key, got, wanted)
		}
	}
	return "", ""
}

// split returns what the model says every partition of a store holds.
func split(m Model, store string, partitions int, hash func([]byte) uint32) []table {
	tables := newTables(partitions)
	m.State(store, func(partition int32, key, value []byte) {
		if partition == ofKey {
			partition = int32(partitionOf(hash, key, partitions))
		}
		// A store with fewer partitions than tasks is wrong, wherever their entries are looked for.
		tables[int(partition)%partitions].put(key, value)
	})
	return tables
}

// changelog is a changelog partition, folded.
type changelog struct {
	table
	writer int64 // the last record's producer id
	handed bool  // more than one producer has written to it
	// offsets are those of the last record of each key; nil = nobody wants to know.
	offsets map[string]int64
}

func (c *changelog) take(rec *kgo.Record) {
	c.handed = c.handed || c.writer != noProducer && c.writer != rec.ProducerID
	c.writer = rec.ProducerID
	c.put(rec.Key, rec.Value)
	if c.offsets != nil {
		c.offsets[string(rec.Key)] = rec.Offset
	}
}

// noProducer is the writer of a changelog without records.
const noProducer = -2

func newChangelogs(n int) []*changelog {
	all := make([]*changelog, n)
	for i := range all {
		all[i] = &changelog{table: make(table), writer: noProducer}
	}
	return all
}

func newTables(n int) []table {
	tables := make([]table, n)
	for i := range tables {
		tables[i] = make(table)
	}
	return tables
}

// comparison is one partition of one store, seen from up to three sides.
type comparison struct {
	store, topic string
	partition    int32
	changelog    table
	offsets      map[string]int64 // of the changelog's last record of each key; nil = not known
	model        table            // nil = not known
	owner        *StoreDigest     // nil = not known
}

// findings returns what differs, in words.
func (c *comparison) findings() []string {
	var found []string
	if c.model != nil {
		if d := c.changelog.difference(c.model); d != "" {
			found = append(found, fmt.Sprintf("changelog differs from the model: %s", d))
		}
	}
	if c.owner == nil {
		return found
	}
	if sum := c.changelog.digest(); sum != c.owner.Sum {
		found = append(found, fmt.Sprintf(
			"store of task %s at position %d (%d entries) differs from its changelog (%d entries)",
			c.owner.Task, c.owner.Position, c.owner.Entries, len(c.changelog)))
	}
	if c.model != nil && c.model.digest() != c.owner.Sum {
		found = append(found, fmt.Sprintf("store of task %s differs from the model", c.owner.Task))
	}
	return found
}

// outputs names the changelog's last record of the first key at which it differs from the model, where that is known.
func (c *comparison) outputs() []string {
	if c.model == nil || c.offsets == nil {
		return nil
	}
	key, words := c.changelog.differs(c.model)
	if offset, ok := c.offsets[key]; ok && words != "" {
		return []string{placeName(c.topic, c.partition, offset)}
	}
	return nil
}

// compare judges every partition of every store.
func compare(j *judge, all []comparison, at time.Time) {
	for i := range all {
		c := &all[i]
		j.stores++
		if c.model == nil && c.owner == nil {
			continue
		}
		j.digestChecked++
		if found := c.findings(); len(found) > 0 {
			j.add(Witness{
				Kind: KindStateMismatch, At: at, Outputs: c.outputs(),
				Detail: fmt.Sprintf("%s partition %d (changelog %s-%d): %s", c.store, c.partition, c.topic, c.partition, strings.Join(found, "; ")),
			})
		}
	}
}

// foldChangelogs reads changelogs, given as store to topic, from their log starts to their ends as of the call. The
// second result names the partitions that could not be read to the end, and why.
//
// The owner of a store may delete the beginning of its changelog meanwhile, once what follows is complete without it. Then
// all is read again from where the logs begin now.
func foldChangelogs(ctx context.Context, base []kgo.Opt, changelogs map[string]string) (map[string][]*changelog, []string, error) {
	for attempt := 1; ; attempt++ {
		trimmed := false
		folded, doubts, err := foldOnce(ctx, base, changelogs, func() { trimmed = true })
		if err != nil || !trimmed || attempt == foldAttempts {
			return folded, doubts, err
		}
	}
}

// foldAttempts bounds how often changelogs are read again because their beginning was deleted.
const foldAttempts = 5

// foldOnce reads the changelogs once, and calls trimmed if some of what it wanted to read is gone.
func foldOnce(ctx context.Context, base []kgo.Opt, changelogs map[string]string, trimmed func()) (map[string][]*changelog, []string, error) {
	var doubts []string
	r, err := newReader(base, 0, func(topic string, partition int32, next int64) {
		trimmed()
		doubts = append(doubts, fmt.Sprintf("offset %d of changelog %s-%d was deleted before it could be read", next, topic, partition))
	})
	if err != nil {
		return nil, nil, err
	}
	defer r.close()
	var last error
	note := func(err error) { last = err }
	topics := slices.Sorted(maps.Values(changelogs))
	if _, err := r.start(ctx, topics, nil, note); err != nil {
		return nil, nil, fmt.Errorf("changelogs: %w", firstOf(last, err))
	}
	ends, err := r.list(ctx, topics, r.admin.ListEndOffsets, note)
	if err != nil {
		return nil, nil, fmt.Errorf("changelogs: %w", firstOf(last, err))
	}
	folded := make(map[string][]*changelog)
	for _, topic := range topics {
		folded[topic] = newChangelogs(len(r.partitions[topic]))
	}
	for len(r.behind(ends)) > 0 && !r.failed() && ctx.Err() == nil {
		r.poll(ctx, pollWait, "", func(topic string, partition int32, records []logRecord) {
			for _, rec := range records {
				if rec.Offset < ends[topic][partition] {
					folded[topic][partition].take(rec.Record)
				}
			}
		})
	}
	return folded, append(doubts, r.explain(ctx, ends)...), nil
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
