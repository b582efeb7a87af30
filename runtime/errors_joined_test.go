package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"eostop/runtime/state"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestClassifyJoined: of several errors the gravest decides, wherever it stands and whatever wraps the whole or one of them. Kafka Streams
// lets a fatal one beat a migration, and that a corruption; here both of these mean the same but for what is counted.
func TestClassifyJoined(t *testing.T) {
	never := errors.New("never seen")
	fatal, corrupted := error(kerr.GroupAuthorizationFailed), error(kerr.OffsetOutOfRange)
	migrated, retriable := error(kerr.ProducerFenced), state.ErrInUse
	in := func(err error) error { return &transactionError{"send", err} }
	tests := []struct {
		name  string
		errs  []error
		class ErrorClass
		cause string
	}{
		{"fatal, migrated", []error{fatal, migrated}, Fatal, "authorisation"},
		{"fatal, corrupted, retriable", []error{fatal, corrupted, retriable}, Fatal, "authorisation"},
		{"corrupted, migrated", []error{corrupted, migrated}, Corrupted, "offset out of range"},
		{"corrupted, retriable", []error{corrupted, retriable}, Corrupted, "offset out of range"},
		{"migrated, retriable", []error{migrated, retriable}, Migrated, "fenced"},
		{"unknown outcome, fatal", []error{ErrUnknownOutcome, fatal}, Fatal, "authorisation"},
		{"in a transaction, retriable, migrated", []error{in(kerr.NotLeaderForPartition), migrated}, Corrupted, kerr.NotLeaderForPartition.Message},
		{"a step that is repeated, fatal", []error{&retryError{"open", migrated}, fatal}, Fatal, "authorisation"},
		{"a step that is repeated, migrated", []error{&retryError{"open", corrupted}, migrated}, Migrated, "fenced"},
		{"user code, fenced", []error{&PanicError{Value: "boom"}, migrated}, Fatal, "panic"},
		{"never seen, retriable", []error{never, retriable}, Retriable, "store in use by another thread"},
		{"never seen in a transaction, retriable", []error{in(never), retriable}, Corrupted, "unexpected"},
		{"never seen, never seen", []error{never, errors.New("nor this")}, Fatal, "unexpected"},
	}
	for _, test := range tests {
		reverse := slices.Clone(test.errs)
		slices.Reverse(reverse)
		for _, errs := range [][]error{test.errs, reverse} {
			nested := errors.Join(errs[0], errors.Join(errs[1:]...))
			for _, err := range []error{
				errors.Join(errs...), nested, fmt.Errorf("round: %w", errors.Join(errs...)), &opaqueError{&opaqueError{nested}},
				errors.Join(nil, fmt.Errorf("a: %w", errs[0]), errors.Join(errs...)),
			} {
				if class, cause := Classify(err); class != test.class || cause != test.cause {
					t.Errorf("%s: %v: got %v %q, want %v %q", test.name, err, class, cause, test.class, test.cause)
				}
			}
		}
	}
	// What wraps the whole goes for each.
	if class, _ := Classify(in(errors.Join(retriable, kerr.NotCoordinator))); class != Corrupted {
		t.Errorf("retriable errors in a transaction are %v, want corrupted", class)
	}
	// Several %w speak of one error: the first one says what it is.
	if class, cause := Classify(fmt.Errorf("%w: %w", state.ErrBroken, context.DeadlineExceeded)); class != Corrupted || cause != "broken store" {
		t.Errorf("got %v %q, want what the format says first", class, cause)
	}
}

// TestLinksShowOneErrorOnly: a path leads to one of the joined errors and does not show the others.
func TestLinksShowOneErrorOnly(t *testing.T) {
	err := fmt.Errorf("round: %w", errors.Join(&kgo.ErrDataLoss{Topic: "t"}, &retryError{"open", kerr.ProducerFenced}))
	paths := pathsOf(err)
	if len(paths) != 2 {
		t.Fatalf("%d paths, want 2", len(paths))
	}
	_, loss0 := errors.AsType[*kgo.ErrDataLoss](paths[0])
	_, loss1 := errors.AsType[*kgo.ErrDataLoss](paths[1])
	_, retry0 := errors.AsType[*retryError](paths[0])
	_, retry1 := errors.AsType[*retryError](paths[1])
	if !loss0 || loss1 || retry0 || !retry1 || errors.Is(paths[0], kerr.ProducerFenced) || !errors.Is(paths[1], kerr.ProducerFenced) {
		t.Errorf("the paths show %v %v and %v %v", loss0, retry0, loss1, retry1)
	}
	for _, path := range paths {
		if path.Error() != err.Error() {
			t.Errorf("got %q, want the text of the whole", path)
		}
	}
	if single := fmt.Errorf("a: %w", kerr.ProducerFenced); pathsOf(single)[0] != single { //nolint:errorlint // the very same
		t.Error("an error in which nothing is joined was taken apart")
	}
}

// TestJoinedErrorsNameTheirSlots: two producers were fenced, or something failed that is nobody's in particular.
func TestJoinedErrorsNameTheirSlots(t *testing.T) {
	thread := newTestThread(t, twoStepTopology(t, 0, nil), func(c *Config) { c.Guarantee = ExactlyOnce })
	var slots []*producerSlot
	for p := range int32(3) {
		task := &streamTask{id: TaskID{0, p}, thread: thread}
		task.slot = thread.newTaskSlot(task)
		thread.tasks[task.id] = task
		slots = append(slots, task.slot)
	}
	one, two := &slotError{slots[0], kerr.ProducerFenced}, &slotError{slots[1], kerr.OffsetOutOfRange}
	for _, test := range []struct {
		err  error
		want int
	}{
		{one, 1},
		{errors.Join(one, two), 2},
		{fmt.Errorf("poll: %w", errors.Join(one, two)), 2},
		{errors.Join(one, one), 1},
		{errors.Join(one, kerr.ProducerFenced), 3},
		{kerr.ProducerFenced, 3},
	} {
		if got := thread.failedSlots(test.err); len(got) != test.want {
			t.Errorf("%v: %d slots, want %d", test.err, len(got), test.want)
		}
	}
}
