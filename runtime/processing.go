package runtime

import (
	"errors"
	"fmt"
	"time"

	"eostop/runtime/metrics"
	"eostop/runtime/topology"

	"github.com/twmb/franz-go/pkg/kgo"
)

// inputPartition is one source partition of a task: a queue of fetched records and the position behind the last processed one.
type inputPartition struct {
	topicPartition
	logical  string // the topic's name in the topology
	external bool   // somebody else has created it
	again    bool   // the program itself writes to it what it has processed before

	queue         []*kgo.Record
	position      int64 // next offset to process; what a commit writes
	epoch         int32 // leader epoch of the record before position
	highWatermark int64
	stable        int64 // end of what can be read, as last seen: behind it transactions are open
	partitionTime int64 // highest record timestamp, ms; -1 unknown
	paused        bool  // not fetched until the queue is shorter
	metrics       *metrics.Partition

	head   topology.Input // the first of the queue, with the timestamp that it is processed with
	headed bool           // head is set
}

// pop takes the first record off the queue.
func (in *inputPartition) pop() *kgo.Record {
	r := in.queue[0]
	in.queue[0] = nil
	in.queue = in.queue[1:]
	in.headed = false
	in.position, in.epoch = r.Offset+1, r.LeaderEpoch
	return r
}

// reset forgets what was fetched.
func (in *inputPartition) reset() {
	in.queue, in.headed, in.position, in.epoch = nil, false, -1, -1
}

// resume lets the partition be fetched again. The client remembers a pause beyond the partition's removal.
func (in *inputPartition) resume(t *StreamThread) {
	if in.paused {
		t.consumer.ResumeFetchPartitions(map[string][]int32{in.topic: {in.partition}})
		in.paused = false
	}
}

// lag returns the records between the position and the end of the partition as last seen; 0 before the first fetch.
func (in *inputPartition) lag() int64 { return max(0, in.highWatermark-in.position) }

// add queues fetched records. Control records have no payload, but the position must pass them.
func (t *streamTask) add(in *inputPartition, records []*kgo.Record) {
	for _, r := range records {
		if r.Offset >= in.position {
			in.queue = append(in.queue, r)
		}
	}
}

// prepare looks at the first record of each queue, whose timestamp decides what comes next. Records that have no payload, or
// that their timestamp extractor leaves out, are passed; it returns how many.
func (t *streamTask) prepare() (int, error) {
	passed := 0
	for _, in := range t.inputs {
		for len(in.queue) > 0 && !in.headed {
			r := in.queue[0]
			keep := false
			if !r.Attrs.IsControl() {
				in.head = topology.Input{
					Topic: in.logical, Partition: in.partition, Offset: r.Offset,
					Key: r.Key, Value: r.Value, Timestamp: r.Timestamp.UnixMilli(), Headers: headersOf(r),
				}
				timestamp, ok, err := t.graph.Timestamp(in.head, in.partitionTime)
				if err != nil {
					return passed, t.failedAt(in, r, err)
				}
				in.head.Timestamp, keep = timestamp, ok
				if !ok {
					t.thread.log().Warn("record skipped: its timestamp is not valid", "task", t.id.String(), "topic", in.topic,
						"partition", in.partition, "offset", r.Offset, "timestamp", timestamp)
					t.count(in)
				}
			}
			if keep {
				in.headed = true
				continue
			}
			in.pop()
			t.commitNeeded = true
			passed++
		}
	}
	return passed, nil
}

// headersOf converts a record's headers; keys and values are shared.
func headersOf(r *kgo.Record) []topology.Header {
	if len(r.Headers) == 0 {
		return nil
	}
	headers := make([]topology.Header, len(r.Headers))
	for i, h := range r.Headers {
		headers[i] = topology.Header(h)
	}
	return headers
}

// failedAt names the record that an error came up with. The record has left the queue or blocks it: whatever the cause,
// the transaction cannot be gone on with.
func (t *streamTask) failedAt(in *inputPartition, r *kgo.Record, err error) error {
	if sent := (*sendFailure)(nil); errors.As(err, &sent) {
		return &transactionError{fmt.Sprintf("task %s", t.id), err} // of a record before
	}
	return &transactionError{fmt.Sprintf("task %s: %s offset %d", t.id, in.topicPartition, r.Offset), err}
}

// next chooses the queue whose head has the smallest timestamp, so that inputs are worked off in the order of time; nil if
// none has records, or if it is worth waiting for the records of another one.
func (t *streamTask) next() *inputPartition {
	var chosen *inputPartition
	lacking := false
	for _, in := range t.inputs {
		switch {
		case len(in.queue) == 0:
			lacking = true
		case chosen == nil || in.head.Timestamp < chosen.head.Timestamp:
			chosen = in
		}
	}
	if chosen == nil || !lacking {
		t.idleSince = time.Time{}
		return chosen
	}
	if !t.goAhead(time.Now()) {
		return nil
	}
	return chosen
}

// goAhead decides whether to process although an input has nothing (KIP-695): not while more of it is known to be there; else after
// the task has been idle for max.task.idle.
func (t *streamTask) goAhead(now time.Time) bool {
	limit := t.thread.instance.cfg.MaxTaskIdle
	if limit < 0 {
		return true
	}
	for _, in := range t.inputs {
		if len(in.queue) == 0 && in.stable > in.position {
			return false
		}
	}
	if t.idleSince.IsZero() {
		t.idleSince = now
	}
	if now.Sub(t.idleSince) < limit {
		return false
	}
	t.metrics.EnforcedProcessing.Mark(1)
	return true
}

// process works off up to limit queued records and returns how many it took.
func (t *streamTask) process(limit int) (int, error) {
	n := 0
	t.nodes.begin()
	for n < limit {
		passed, err := t.prepare()
		n += passed
		if err != nil {
			return n, err
		}
		in := t.next()
		if in == nil {
			return n, nil
		}
		head := in.head
		r := in.pop()
		t.commitNeeded = true
		n++
		in.partitionTime = max(in.partitionTime, head.Timestamp)
		t.streamTime = max(t.streamTime, head.Timestamp)
		t.late(head.Timestamp)
		t.nodes.took(in.logical, r, head.Timestamp)
		t.working, t.workingOffset, t.origin = in, r.Offset, nil
		err = t.graph.Process(head)
		t.working = nil
		if err != nil {
			return n, t.failedAt(in, r, err)
		}
		t.count(in)
	}
	return n, nil
}

// count counts a record of an input as done with.
func (t *streamTask) count(in *inputPartition) {
	t.processed++
	t.uncommitted++
	if in.external && !in.again {
		t.uncommittedIn++
	}
}

// punctuate calls the punctuators that are due.
func (t *streamTask) punctuate() error {
	defer func(begin time.Time) {
		if t.punctuated > 0 {
			took := time.Since(begin)
			t.thread.metrics.Punctuated(took)
			t.metrics.Punctuate.Record(took)
		}
	}(time.Now())
	t.punctuated = 0
	byStream, err := t.graph.PunctuateStreamTime(t.streamTime)
	if err == nil {
		var byClock int
		byClock, err = t.graph.PunctuateWallClock(t.WallClock())
		byStream += byClock
	}
	t.punctuated = byStream
	t.commitNeeded = t.commitNeeded || byStream > 0
	if err != nil {
		return &transactionError{fmt.Sprintf("task %s: punctuate", t.id), err}
	}
	return nil
}
