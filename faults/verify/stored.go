package verify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// StoredConfig says what to judge of what an application has left in its topics. Without a Model the application is known by its
// topics alone; Input, Outputs, Hops and Changelogs are only used with one.
type StoredConfig struct {
	Config

	Inputs, Outputs, Repartitions, Changelogs []string // topics, without a model

	// Progress is told now and then how many offsets have been read of how many; nil = nobody wants to know.
	Progress func(read, total int64)
}

// Rule says to what a rule was applied, or why it was not.
type Rule struct {
	Name    string `json:"rule"` // the kind of its witnesses
	Applied bool   `json:"applied"`
	Detail  string `json:"detail"`
}

// StoredStatus is the judgement of what an application has left.
type StoredStatus struct {
	Status
	// Counted says that Processed and Lost are known: there was a model.
	Counted bool
	Rules   []Rule
	// Notes are what limits the judgement without making it unknown.
	Notes []string
	Read  int64 // offsets
}

const (
	// stallAfter is how long a read may bring nothing before it is given up.
	stallAfter = 30 * time.Second
	// followFor is how long an application that runs is waited for to pass on what it has taken.
	followFor = 15 * time.Second
	// progressEvery is the pause between two calls of Progress.
	progressEvery = 250 * time.Millisecond
)

// reading is one call of Stored.
type reading struct {
	cfg   *StoredConfig
	v     *Verifier // nil without a model
	judge *judge
	admin *reader // asks; it reads nothing
	scene scene

	inputs, outputs, repartitions, changelogs []string

	lastData offsets // of committed records, by partition, -1 = none
	folded   map[string][]*changelog
	latest   reached
	rules    []Rule
	notes    []string
	doubtful bool // something could not be read

	done, total int64 // offsets, of all passes
	base        int64 // of done, before the pass
	told        time.Time
}

// Stored reads the topics of an application from their log starts to their ends as of the call, and judges them. It ends by itself. Where the
// application runs, what it has not taken yet is not missed. The error says that the topics could not be looked at; one that
// ends the reading makes the verdict unknown.
func Stored(ctx context.Context, c StoredConfig) (*StoredStatus, error) {
	s := &reading{
		cfg: &c, judge: &judge{atLeastOnce: c.AtLeastOnce}, lastData: make(offsets), folded: make(map[string][]*changelog), latest: make(reached),
		inputs: c.Inputs, outputs: c.Outputs, repartitions: c.Repartitions, changelogs: c.Changelogs,
	}
	opts := append(slices.Clone(c.Options), kgo.SeedBrokers(c.Seeds...))
	if c.Dial != nil {
		opts = append(opts, kgo.Dialer(c.Dial))
	}
	if c.Model != "" {
		live := c.Config
		v, err := New(live)
		if err != nil {
			return nil, err
		}
		s.v, s.judge, opts = v, v.judge, v.clientOptions()
		s.judge.waiting = ""
		s.inputs, s.outputs, s.repartitions = []string{c.Input}, v.topics[1:], c.Hops
		s.changelogs = slices.Sorted(maps.Values(c.Config.Changelogs))
	}
	admin, err := newReader(opts, 0, nil)
	if err != nil {
		return nil, err
	}
	defer admin.close()
	s.admin = admin
	if err := s.look(ctx); err != nil {
		return nil, err
	}
	if s.v != nil {
		err = s.judgeByModel(ctx, opts)
	} else {
		err = s.judgeByLogs(ctx, opts)
	}
	switch {
	case ctx.Err() != nil:
		s.judge.doubt("interrupted after %d of %d offsets", s.done, s.total)
	case err != nil:
		s.judge.doubt("%v", err)
	}
	s.judge.final = true
	return &StoredStatus{Status: *s.judge.status(), Counted: s.v != nil, Rules: s.rules, Notes: s.notes, Read: s.done}, nil
}

func (s *reading) applied(rule, format string, args ...any) {
	s.rules = append(s.rules, Rule{rule, true, fmt.Sprintf(format, args...)})
}

func (s *reading) notApplied(rule, format string, args ...any) {
	s.rules = append(s.rules, Rule{rule, false, fmt.Sprintf(format, args...)})
}

func (s *reading) note(format string, args ...any) {
	s.notes = append(s.notes, fmt.Sprintf(format, args...))
}

// few names some topics, and counts the rest.
func few(topics []string) string {
	const most = 3
	if len(topics) <= most {
		return strings.Join(topics, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(topics[:most], ", "), len(topics)-most)
}

// internal lists topics that only the application reads. One that it writes as an output and reads again is judged as an output.
func (s *reading) internal() []string {
	return slices.DeleteFunc(slices.Concat(s.repartitions, s.changelogs), func(topic string) bool { return slices.Contains(s.outputs, topic) })
}

// pass reads topics from their log starts to where the scene ends, and hands out what is committed there, and what was aborted.
func (s *reading) pass(ctx context.Context, opts []kgo.Opt, topics []string, take func(topic string, partition int32, records []logRecord), aborted func(*kgo.Record)) error {
	if len(topics) == 0 {
		return nil
	}
	r, err := newReader(opts, s.cfg.FetchWait, s.gone)
	if err != nil {
		return err
	}
	defer r.close()
	r.aborted = func(rec *kgo.Record) {
		if aborted != nil && rec.Offset < s.scene.ends[rec.Topic][rec.Partition] {
			aborted(rec)
		}
	}
	if err := s.begin(ctx, r, topics); err != nil {
		return err
	}
	return s.readTo(ctx, r, func(ctx context.Context) {
		r.poll(ctx, pollWait, "", func(topic string, partition int32, records []logRecord) {
			if records = s.within(topic, partition, records); len(records) > 0 {
				take(topic, partition, records)
			}
		})
		for topic, partitions := range r.partitions {
			for p := range partitions {
				r.pause(topic, int32(p), s.reached(r, topic, int32(p)))
			}
		}
	})
}

// begin has a reader consume topics from where the scene begins.
func (s *reading) begin(ctx context.Context, r *reader, topics []string) error {
	var last error
	ctx, cancel := context.WithTimeout(ctx, stallAfter)
	defer cancel()
	if _, err := r.start(ctx, topics, nil, func(err error) { last = err }); err != nil {
		return firstOf(last, err)
	}
	return nil
}

// within returns the records that lie before the scene's end, and notes the last one.
func (s *reading) within(topic string, partition int32, records []logRecord) []logRecord {
	end := s.scene.ends[topic][partition]
	for len(records) > 0 && records[len(records)-1].Offset >= end {
		records = records[:len(records)-1]
	}
	if len(records) > 0 {
		s.lastData[topic][partition] = records[len(records)-1].Offset
	}
	return records
}

// reached tells whether a partition is read to the scene's end, or cannot be read any further.
func (s *reading) reached(r *reader, topic string, partition int32) bool {
	return r.partitions[topic][partition].failed || r.reached(topic, partition, s.scene.ends[topic][partition])
}

// gone is told that records were deleted before they could be read. Those of repartition topics have been processed then.
func (s *reading) gone(topic string, partition int32, next int64) {
	if slices.Contains(s.repartitions, topic) {
		s.note("%s-%d was deleted from offset %d on before it could be read", topic, partition, next)
		return
	}
	s.doubtful = true
	s.judge.doubt("offset %d of %s-%d was deleted before it could be read", next, topic, partition)
}

// readTo repeats a step until a reader has read its topics, and fails when nothing comes any more.
func (s *reading) readTo(ctx context.Context, r *reader, step func(context.Context)) error {
	last, moved := int64(-1), time.Now()
	for ctx.Err() == nil {
		read, all := int64(0), true
		var late string
		for topic, partitions := range r.partitions {
			for n, p := range partitions {
				read += min(p.ahead, s.scene.ends[topic][int32(n)]) - s.scene.starts[topic][int32(n)]
				if !s.reached(r, topic, int32(n)) {
					all, late = false, fmt.Sprintf("%s-%d was read up to offset %d of %d only", topic, n, p.next, s.scene.ends[topic][int32(n)])
				}
			}
		}
		s.done = s.base + max(0, read)
		if now := time.Now(); s.cfg.Progress != nil && (all || now.Sub(s.told) >= progressEvery) {
			s.told = now
			s.cfg.Progress(s.done, s.total)
		}
		switch {
		case all:
			s.base = s.done
			return nil
		case read != last:
			last, moved = read, time.Now()
		case time.Since(moved) > stallAfter:
			s.doubtful = true
			return errors.New(late)
		}
		step(ctx)
	}
	return fmt.Errorf("read: %w", ctx.Err())
}

// judgeEpochs reports records that were committed under an epoch that had been fenced, or with a transaction of a later one.
func (s *reading) judgeEpochs(topic string, partition int32, records []logRecord) {
	for _, rec := range records {
		if !rec.stale && !rec.foreign || s.cfg.AtLeastOnce {
			continue
		}
		w := Witness{
			Kind: KindZombieWrite, Outputs: []string{placeName(topic, partition, rec.Offset)}, Transaction: writerName(rec.Record), At: time.Now(),
			Detail: "its producer was known under a later epoch before",
		}
		if rec.foreign {
			w.Kind, w.Detail = KindMerged, foreignDetail(rec.ProducerEpoch)
		}
		s.judge.add(w)
	}
}

func placeName(topic string, partition int32, offset int64) string {
	return fmt.Sprintf("%s-%d@%d", topic, partition, offset)
}

func writerOf(producerID int64, epoch int16) string {
	if producerID < 0 {
		return ""
	}
	return fmt.Sprintf("producer id %d, epoch %d", producerID, epoch)
}

func writerName(rec *kgo.Record) string {
	return writerOf(rec.ProducerID, rec.ProducerEpoch)
}

// committedOffsets asks for what the group has committed, stable ones if they come to be.
func (s *reading) committedOffsets(ctx context.Context) (offsets, error) {
	var all kadm.OffsetResponses
	var err error
	for _, stable := range []bool{true, false} { // what hangs never becomes stable
		asked, cancel := context.WithTimeout(ctx, listTimeout)
		if stable {
			asked = kadm.RequireStable(asked)
		}
		all, err = s.admin.admin.FetchOffsets(asked, s.cfg.Group)
		cancel()
		if err = firstOf(err, all.Error()); err == nil || errors.Is(err, kerr.GroupIDNotFound) {
			break
		}
	}
	if errors.Is(err, kerr.GroupIDNotFound) {
		return make(offsets), nil
	}
	if err != nil {
		return nil, fmt.Errorf("committed offsets of group %s: %w", s.cfg.Group, err)
	}
	return offsetsOf(all), nil
}

// offsetsOf returns the offsets that a group has committed, and that are known.
func offsetsOf(all kadm.OffsetResponses) offsets {
	got := make(offsets)
	all.Each(func(o kadm.OffsetResponse) {
		if o.At < 0 || o.Err != nil {
			return
		}
		if got[o.Topic] == nil {
			got[o.Topic] = make(map[int32]int64)
		}
		got[o.Topic][o.Partition] = o.At
	})
	return got
}
