package verify

import (
	"context"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// maxAhead is how many effects of inputs may be kept while outputs are still to be read.
const maxAhead = 1 << 16

// judgeByModel applies all rules.
func (s *reading) judgeByModel(ctx context.Context, opts []kgo.Opt) error {
	for _, topic := range s.changelogs {
		s.folded[topic] = newChangelogs(len(s.scene.starts[topic]))
		for _, c := range s.folded[topic] {
			c.offsets = make(map[string]int64)
		}
	}
	if err := s.pass(ctx, opts, s.internal(), func(topic string, partition int32, records []logRecord) {
		s.judgeEpochs(topic, partition, records)
		if all, ok := s.folded[topic]; ok {
			for _, rec := range records {
				all[partition].take(rec.Record)
			}
		}
	}, nil); err != nil {
		return err
	}
	v := s.v
	r, err := newReader(opts, s.cfg.FetchWait, v.gone)
	if err != nil {
		return err
	}
	defer r.close()
	v.reader = r
	if err := s.begin(ctx, r, v.topics); err != nil {
		return err
	}
	v.begin(s.scene.starts)
	r.aborted = func(rec *kgo.Record) {
		if rec.Offset < s.scene.ends[rec.Topic][rec.Partition] {
			v.takeAborted(rec)
		}
	}
	if err := s.readTo(ctx, r, s.stepModel); err != nil {
		return err
	}
	v.tracker.expireAll(time.Now())
	s.conclude(ctx)
	if s.cfg.AtLeastOnce {
		return nil
	}
	s.latest = v.latest
	return s.judgeFurthest(ctx, func(o origin, seq int64) (string, int32, int64, bool) {
		offset, ok := v.offsetOf(o, seq)
		return s.cfg.Input, o.partition, offset, ok
	})
}

// stepModel reads once and judges what came.
func (s *reading) stepModel(ctx context.Context) {
	v := s.v
	v.reader.poll(ctx, pollWait, v.config.Input, func(topic string, partition int32, records []logRecord) {
		if records = s.within(topic, partition, records); len(records) == 0 {
			return
		}
		if topic == v.config.Input {
			v.takeInputs(partition, records)
			return
		}
		v.takeOutputs(v.streams[topic], partition, records)
	})
	if v.tracker.held > 0 {
		v.tracker.release()
		v.expire(time.Now().Add(time.Hour), s.scene.ends) // the ends fit each other: see scene
	}
	s.throttle()
}

// throttle keeps what has to be remembered small: outputs whose inputs have not been read yet, and inputs whose outputs have not.
func (s *reading) throttle() {
	v, flowing := s.v, false
	for stream, topic := range v.topics[1:] {
		for p := range int32(len(v.reader.partitions[topic])) {
			stop := s.reached(v.reader, topic, p) || v.tracker.full(stream, p)
			v.reader.pause(topic, p, stop)
			flowing = flowing || !stop
		}
	}
	ahead := int64(0)
	for _, b := range v.tracker.backlogs {
		ahead += b.len()
	}
	for p := range int32(len(v.reader.partitions[v.config.Input])) {
		v.reader.pause(v.config.Input, p, s.reached(v.reader, v.config.Input, p) || flowing && ahead > maxAhead)
	}
}

// conclude judges what is missing, and the changelogs, as far as the application has come to rest.
func (s *reading) conclude(ctx context.Context) {
	v, now := s.v, time.Now()
	streams := few(s.outputs)
	s.applied(KindDuplicate, "by the model and provenance, where there is one: %s", streams)
	for _, kind := range []string{KindOutOfOrder, KindWrongValue, KindUnexpected, KindAbortedRead, KindTorn, KindMerged} {
		s.applied(kind, "the same")
	}
	s.applied(KindZombieWrite, "outputs, repartition topics and changelogs")
	if s.scene.members == 0 {
		s.scene.waits = s.remaining(s.repartitions)
		s.scene.settled = s.scene.waits == ""
	}
	rest := s.remaining(s.inputs)
	switch {
	case len(s.scene.open) > 0:
		why := "a transaction is open, and what lies behind it was not read"
		s.notApplied(KindLost, "%s; applied only where a later output of the same key proves it", why)
		s.notApplied(KindStateMismatch, "%s", why)
		return
	case !s.scene.settled:
		s.notApplied(KindLost, "%s; applied only where a later output of the same key proves it", s.scene.waits)
		s.notApplied(KindStateMismatch, "%s", s.scene.waits)
		return
	case rest != "":
		v.tracker.close(s.marks(), now)
		s.applied(KindLost, "inputs below the committed offsets; %s", rest)
		s.notApplied(KindStateMismatch, "%s", rest)
		return
	}
	ends := make([]int64, len(s.scene.ends[s.cfg.Input]))
	for p := range ends {
		ends[p] = s.scene.ends[s.cfg.Input][int32(p)]
	}
	v.tracker.end(ends, now)
	s.applied(KindLost, "all inputs")
	switch {
	case len(s.changelogs) == 0:
		s.notApplied(KindStateMismatch, "the program has no stores")
	case s.doubtful:
		s.notApplied(KindStateMismatch, "changelogs could not be read")
	case s.cfg.AtLeastOnce:
		s.notApplied(KindStateMismatch, "under at_least_once the model does not know what changelogs hold")
	case v.amnesia:
		s.notApplied(KindStateMismatch, "the model does not know what inputs were before")
	case s.moved(ctx):
		s.notApplied(KindStateMismatch, "the application has gone on meanwhile")
	default:
		v.judgeStores(s.folded, nil)
		s.applied(KindStateMismatch, "changelogs with the model: %s", few(s.changelogs))
	}
}

// moved tells whether somebody has written to the input since the scene, or whether that cannot be said.
func (s *reading) moved(ctx context.Context) bool {
	ends, err := listOnce(ctx, s.inputs, s.admin.admin.ListEndOffsets)
	if err != nil {
		return true
	}
	return slices.ContainsFunc(s.inputs, func(topic string) bool {
		for p, end := range ends[topic] {
			if end != s.scene.ends[topic][p] {
				return true
			}
		}
		return false
	})
}
