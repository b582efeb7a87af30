package runtime

import (
	"errors"
	"testing"
	"time"

	"eostop/runtime/state"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

func recordsAt(offset int64, timestamps ...int64) []*kgo.Record {
	var records []*kgo.Record
	for i, ms := range timestamps {
		records = append(records, &kgo.Record{Offset: offset + int64(i), Timestamp: time.UnixMilli(ms)})
	}
	return records
}

func TestInputLag(t *testing.T) {
	tests := []struct{ highWatermark, position, want int64 }{
		{100, 40, 60},
		{100, 100, 0},
		{100, 101, 0}, // the position may pass what was last seen of the end
	}
	for _, test := range tests {
		in := inputPartition{highWatermark: test.highWatermark, position: test.position}
		if got := in.lag(); got != test.want {
			t.Errorf("%+v: got %d", test, got)
		}
	}
}

func TestNextTakesTheSmallestTimestamp(t *testing.T) {
	thread := newTestThread(t, twoStepTopology(t, 0, nil), nil)
	thread.partitions = map[string]int32{"in": 3, "side": 3}
	task := newTask(thread, TaskID{0, 2}, &stateManager{thread: thread, id: TaskID{0, 2}}, thread.partitions)
	if err := task.instantiate(); err != nil {
		t.Fatal(err)
	}
	a, b := task.inputs[0], task.inputs[1]
	if got := task.next(); got != nil {
		t.Errorf("got %v from empty queues", got)
	}
	task.add(a, recordsAt(0, 10, 30, 5)) // within a partition the offset decides
	task.add(b, recordsAt(0, 20, 30))
	want := []*inputPartition{a, b, a, a, b}
	for i, wanted := range want {
		if passed, err := task.prepare(); err != nil || passed != 0 {
			t.Fatal(passed, err)
		}
		in := task.next()
		if in != wanted {
			t.Fatalf("record %d: got %v, want one of %s", i, in, wanted.logical)
		}
		in.pop()
	}
	if got := task.next(); got != nil {
		t.Errorf("got %v, want nothing left", got)
	}
}

// TestAddSkipsWhatIsProcessed: a fetch may begin before the position.
func TestAddSkipsWhatIsProcessed(t *testing.T) {
	in := &inputPartition{position: 12}
	task := &streamTask{inputs: []*inputPartition{in}}
	task.add(in, recordsAt(10, 1, 2, 3, 4))
	if len(in.queue) != 2 || in.queue[0].Offset != 12 {
		t.Errorf("got %d records from %d on, want 12 and 13", len(in.queue), in.queue[0].Offset)
	}
}

func TestTaskOffsets(t *testing.T) {
	thread := newTestThread(t, twoStepTopology(t, 0, nil), nil)
	task := newTask(thread, TaskID{0, 1}, &stateManager{thread: thread, id: TaskID{0, 1}}, map[string]int32{"in": 1, "side": 2})
	if len(task.inputs) != 1 || task.inputs[0].topic != "side" || !task.inputs[0].external {
		t.Fatalf("inputs %+v, want partition 1 of side only", task.inputs)
	}
	task.inputs[0].position, task.inputs[0].epoch, task.inputs[0].partitionTime = 17, 3, 42
	got := map[topicPartition]offsetAndMetadata{}
	task.offsets(got)
	want := offsetAndMetadata{offset: 17, epoch: 3, metadata: encodeOffsetMetadata(42)}
	if len(got) != 1 || got[topicPartition{"side", 1}] != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestOffsetTopics(t *testing.T) {
	topics := offsetTopics(map[topicPartition]offsetAndMetadata{
		{"in", 0}: {1, 7, "a"}, {"in", 1}: {2, 8, "b"}, {"side", 0}: {3, 9, "c"},
	})
	got := map[topicPartition]offsetAndMetadata{}
	for _, topic := range topics {
		for _, p := range topic.Partitions {
			got[topicPartition{topic.Topic, p.Partition}] = offsetAndMetadata{p.Offset, p.LeaderEpoch, *p.Metadata}
		}
	}
	if len(topics) != 2 || len(got) != 3 || got[topicPartition{"in", 1}] != (offsetAndMetadata{2, 8, "b"}) || got[topicPartition{"side", 0}] != (offsetAndMetadata{3, 9, "c"}) {
		t.Errorf("got %+v in %d topics", got, len(topics))
	}
}

func TestGroupIdentity(t *testing.T) {
	for who, want := range map[groupIdentity]bool{
		{}: false, {member: "m", generation: -1}: false, {generation: 3}: false, {member: "m"}: true, {member: "m", generation: 3}: true,
	} {
		if who.valid() != want {
			t.Errorf("%+v: valid is %v", who, !want)
		}
	}
}

// TestCommitRefusesWithoutFence: what would not be fenced by member and generation never reaches the broker.
func TestCommitRefusesWithoutFence(t *testing.T) {
	p := &streamsProducer{guarantee: ExactlyOnceV2, policy: new(Policy)}
	some := map[topicPartition]offsetAndMetadata{{"in", 0}: {}}
	if err := p.commit(t.Context(), groupIdentity{member: "m", generation: -1}, some); !errors.Is(err, errNoGeneration) {
		t.Errorf("got %v, want a refusal", err)
	}
	if err := p.commit(t.Context(), groupIdentity{member: "m", generation: 3}, nil); !errors.Is(err, errNoOffsets) {
		t.Errorf("got %v, want a refusal", err)
	}
}

func TestRewritePassBookkeeping(t *testing.T) {
	var r rewritePass
	r.committed()
	if r.running || r.finished || r.trim != 0 || r.previous != 0 {
		t.Errorf("a commit without a pass left %+v", r)
	}

	r.running, r.begin = true, 100
	r.committed() // in the middle of the pass
	if !r.running || r.trim != 0 || r.previous != 0 {
		t.Errorf("a commit in the middle of a pass left %+v", r)
	}
	r.finished = true
	r.committed()
	if r.running || r.finished || r.trim != 0 || r.previous != 100 {
		t.Errorf("after the first pass: %+v, want nothing to trim", r)
	}
	r.committed()
	if r.trim != 0 || r.previous != 100 {
		t.Errorf("a further commit left %+v", r)
	}

	r.running, r.begin = true, 500
	r.committed()
	if r.trim != 0 {
		t.Errorf("before the second pass is finished: trim %d", r.trim)
	}
	r.finished = true
	r.committed()
	if r.trim != 100 || r.previous != 500 {
		t.Errorf("after the second pass: %+v, want to trim to the begin of the first", r)
	}
}

// TestAbortForgetsRewrite: what a pass has sent in an aborted transaction is not in the changelog, so the pass must not count.
func TestAbortForgetsRewrite(t *testing.T) {
	thread := newTestThread(t, twoStepTopology(t, 0, nil), nil)
	s := newTestTask(t, thread).manager.stores[0]
	s.rewrite = rewritePass{running: true, begin: 100, previous: 50, finished: true, trim: 50}
	s.acks = newAcknowledgements(new(streamsProducer))
	s.abort()
	if s.rewrite.running || s.rewrite.finished || s.rewrite.trim != 0 || s.rewrite.previous != 0 || s.acks != nil {
		t.Errorf("left %+v", s.rewrite)
	}
}

// TestRewritePassWithoutRecordsEnds: the last look of a pass may find nothing, for the rest was deleted meanwhile. The pass is over all
// the same with the next commit.
func TestRewritePassWithoutRecordsEnds(t *testing.T) {
	thread := newTestThread(t, twoStepTopology(t, 0, nil), nil)
	s := openTestTask(t, thread).manager.stores[0]
	if err := errors.Join(s.store.Put([]byte("k"), []byte("v"), 1), s.store.Commit(100)); err != nil {
		t.Fatal(err)
	}
	s.rewrite.running, s.rewrite.after, s.rewrite.begin = true, []byte("k"), 90
	now := time.Now()
	if err := s.rewriteSome(now, time.Minute); err != nil {
		t.Fatal(err)
	}
	if !s.rewrite.finished || !s.task.commitNeeded {
		t.Fatalf("got %+v, want a finished pass and a commit", s.rewrite)
	}
	if err := s.task.committed(now); err != nil {
		t.Fatal(err)
	}
	if s.rewrite.finished || s.rewrite.running || s.rewrite.previous != 90 {
		t.Errorf("after the commit: %+v, want no pass running", s.rewrite)
	}
}

func TestRewriteWaitsForItsTime(t *testing.T) {
	thread := newTestThread(t, twoStepTopology(t, 0, nil), nil)
	task := newTestTask(t, thread)
	now := time.Now()
	for _, s := range task.manager.stores {
		for _, at := range []time.Time{now, now.Add(59 * time.Second)} {
			if err := s.rewriteSome(at, time.Minute); err != nil {
				t.Fatal(err)
			}
			if s.rewrite.running || s.rewrite.finished || task.commitNeeded {
				t.Errorf("store %s: %+v, want no pass yet", s.spec.Name, s.rewrite)
			}
		}
	}
	if !task.manager.stores[1].rewrite.due.IsZero() {
		t.Error("a store without a changelog has a rewrite pass")
	}
}

func TestAcknowledgementsBelongToOneProducer(t *testing.T) {
	thread := newTestThread(t, twoStepTopology(t, 0, nil), nil)
	s := newTestTask(t, thread).manager.stores[0]
	old := newAcknowledgements(new(streamsProducer))
	s.acks = old
	old.promise(&kgo.Record{Offset: 41}, nil)
	if err := s.commit(); err != nil || s.store.Position() != 42 {
		t.Fatalf("position %d, %v, want 42", s.store.Position(), err)
	}
	if err := s.commit(); err != nil || s.store.Position() != 42 {
		t.Errorf("position %d, %v, want 42 where nothing was written since", s.store.Position(), err)
	}

	s.abort()
	s.acks = newAcknowledgements(new(streamsProducer))
	old.promise(&kgo.Record{Offset: 99}, nil) // a late answer to the abandoned producer
	if err := s.commit(); err != nil || s.store.Position() != 42 {
		t.Errorf("position %d, %v, want 42: the answer was for an abandoned transaction", s.store.Position(), err)
	}
	old.promise(&kgo.Record{Offset: 100}, kerr.ProducerFenced)
	if err := s.acks.producer.failed(); err != nil {
		t.Errorf("the new producer has heard of %v", err)
	}
	if err := old.producer.failed(); !errors.Is(err, kerr.ProducerFenced) {
		t.Errorf("the old producer has heard of %v", err)
	}
}

func TestProducerKeepsTheFirstSendError(t *testing.T) {
	p := new(streamsProducer)
	if p.failed() != nil || p.inTransactionNow() || (*streamsProducer)(nil).inTransactionNow() {
		t.Error("a new producer is not clean")
	}
	r := &kgo.Record{Topic: "out", Partition: 4}
	p.sent(r, nil)
	p.sent(r, kerr.InvalidProducerEpoch)
	p.sent(r, kerr.MessageTooLarge)
	err := p.failed()
	if class, name := Classify(err); class != Migrated || name != "invalid producer epoch" || err.Error() != "send to out-4: "+kerr.InvalidProducerEpoch.Error() {
		t.Errorf("got %v: %v %q", err, class, name)
	}
}

// TestStoreGetStaysValid holds taskStore to topology.BytesStore: a value stays valid, and unchanged, after the call. A processor
// may have forwarded it, and the record waits in the producer while the store goes on.
func TestStoreGetStaysValid(t *testing.T) {
	thread := newTestThread(t, twoStepTopology(t, 0, nil), nil)
	s := newTestTask(t, thread).manager.stores[1] // has no changelog, so needs no producer
	key := []byte("k")
	if err := s.Put(key, []byte("first"), 1); err != nil {
		t.Fatal(err)
	}
	value, _, ok, err := s.Get(key)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if err := s.Put(key, []byte("later"), 2); err != nil {
		t.Fatal(err)
	}
	if string(value) != "first" {
		t.Errorf("the value has become %q", value)
	}
}

// TestUnloggedStoreCommits: a store without a changelog takes part in transactions like any other.
func TestUnloggedStoreCommits(t *testing.T) {
	thread := newTestThread(t, twoStepTopology(t, 0, nil), nil)
	task := openTestTask(t, thread)
	s := task.manager.stores[1]
	if err := s.Put([]byte("k"), []byte("v"), 1); err != nil {
		t.Fatal(err)
	}
	if err := task.committed(time.Now()); err != nil {
		t.Fatal(err)
	}
	if n := s.store.Dirty(); n != 0 {
		t.Errorf("%d entries are still in the buffer after the commit", n)
	}
	s.abort() // of the next transaction
	if _, _, ok, err := s.Get([]byte("k")); !ok || err != nil {
		t.Errorf("what was committed is gone: %v, %v", ok, err)
	}
}

// TestReviveDropsUncommitted: a task that starts over has nothing left of the open transaction.
func TestReviveDropsUncommitted(t *testing.T) {
	thread := newTestThread(t, twoStepTopology(t, 0, nil), nil)
	task := openTestTask(t, thread)
	s, in := task.manager.stores[0], task.inputs[0]
	if err := s.store.Put([]byte("k"), []byte("v"), 1); err != nil {
		t.Fatal(err)
	}
	task.add(in, recordsAt(0, 77))
	in.position, in.epoch, task.commitNeeded, task.uncommittedIn, task.streamTime = 5, 2, true, 9, 77
	if err := thread.abandonSlot(thread.slot, kerr.ProducerFenced, "fenced"); err != nil {
		t.Fatal(err)
	}
	if !task.is(TaskCreated) || task.graph != nil || s.store.Dirty() != 0 {
		t.Errorf("graph %v, %d dirty entries", task.graph, s.store.Dirty())
	}
	if len(in.queue) != 0 || in.position != -1 || in.epoch != -1 || task.commitNeeded || task.uncommittedIn != 0 {
		t.Errorf("left %+v, %v, %d", in, task.commitNeeded, task.uncommittedIn)
	}
	if task.streamTime != -1 {
		t.Errorf("stream time %d comes from the abandoned transaction", task.streamTime)
	}
}

// TestCloseSurvivesPanickingProcessor: a user's Close that panics must not leave stores open, or nobody in this process could
// open them again.
func TestCloseSurvivesPanickingProcessor(t *testing.T) {
	thread := newTestThread(t, twoStepTopology(t, 0, func() error { panic("boom") }), nil)
	task := openTestTask(t, thread)
	if err := thread.guard(func() error { return thread.closeTasks(false) }); err != nil {
		t.Errorf("closing: %v", err)
	}
	again, err := thread.instance.directory.OpenStore(task.id.String(), "counts", state.StoreOptions{Cache: thread.instance.cache})
	if err != nil {
		t.Fatalf("the store was left open: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}
