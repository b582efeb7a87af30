package runtime_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"syscall"
	"testing"

	"eostop/runtime"
	"eostop/runtime/state"
	"eostop/runtime/topology"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// thrown is how Kafka Streams and the client wrap what has happened: the class that a caller sees says nothing about the cause.
type thrown struct {
	what string
	err  error
}

func (e *thrown) Error() string { return e.what + ": " + e.err.Error() }
func (e *thrown) Unwrap() error { return e.err }

// TestErrorsByTheirCause: the rows of the table that no broker can bring about, because the client notices them first or because they
// are a matter of what wraps what.
//
// Rows of the tables that have no counterpart here, and why:
//   - Serialization and IllegalState @ CB: a record is serialised before the client gets it (see "serializer of a sink"), and a client
//     that is closed has no task any more.
//   - ClassCastException: the compiler checks types; what Build can find only then is refused (TestBuildRefuses of package topology),
//     as TopologyException is.
//   - Timeout in punctuate: a punctuator sends as a processor does, and is told as late.
//   - NoOffsetForPartition: an input without a committed offset begins at its log start.
//   - "closing a non-reassigned suspended task fails": no task stays suspended beyond a rebalance. What fails in a close is in
//     TestErrorsInClose.
//   - "task data record for closed task": what is fetched for a partition that no task has is dropped.
func TestErrorsByTheirCause(t *testing.T) {
	t.Parallel()
	wrap := func(what string, err error) error { return &thrown{what, err} }
	callback := "User rebalance callback throws an error"
	inError := "Cannot execute transactional method because we are in an error state"
	flush := "ProcessorStateException: failed to flush state store " + sumStore
	rows := []struct {
		name       string
		err        error
		head, post reaction
		want       reaction
		cause      string
		why        string
	}{
		{"ProducerFenced @ BEGIN", wrap("begin transaction", kerr.ProducerFenced), migrated, migrated, migrated, "fenced", ""},
		{"InvalidProducerEpoch @ BEGIN", wrap("begin transaction", kerr.InvalidProducerEpoch), migrated, migrated, migrated, "invalid producer epoch", ""},
		{"InvalidPidMapping @ BEGIN", wrap("begin transaction", kerr.InvalidProducerIDMapping), migrated, "", migrated, "invalid producer id mapping", ""},
		{"UnknownProducerId @ BEGIN", wrap("begin transaction", kerr.UnknownProducerID), dies, migrated, migrated, "unknown producer id", keepsSequence},
		{"OutOfOrderSequence @ BEGIN", wrap("begin transaction", kerr.OutOfOrderSequenceNumber), dies, dies, migrated, "out of order sequence", keepsSequence},

		{"KafkaException (in an error state, ProducerFenced) @ OFF", wrap(inError, kerr.ProducerFenced), migrated, dies, migrated, "fenced", ""},
		{"KafkaException (in an error state, InvalidProducerEpoch) @ COMMIT", wrap(inError, kerr.InvalidProducerEpoch), migrated, dies, migrated, "invalid producer epoch", ""},
		{"KafkaException (in an error state, UnknownProducerId) @ COMMIT", wrap(inError, kerr.UnknownProducerID), dies, dies, migrated, "unknown producer id", keepsSequence},

		{"ProcessorState (ProducerFenced) @ flush in commit", wrap(flush, wrap("send", kerr.ProducerFenced)), migrated, migrated, migrated, "fenced", ""},
		{"ProcessorState (UnknownProducerId) @ flush in commit", wrap(flush, wrap("send", kerr.UnknownProducerID)), migrated, migrated, migrated, "unknown producer id", ""},
		{"ProcessorState (ProducerFenced) @ flush in a zombie's close", wrap("closeZombieTask", wrap(flush, kerr.ProducerFenced)), migrated, swallowed, migrated, "fenced", ""},
		{"ProcessorState (IO) @ flush", wrap(flush, fmt.Errorf("%w: disk on fire", state.ErrBroken)), dies, swallowed, corrupted, "broken store", "a store that is broken is made anew"},

		{"TaskMigrated @ callback of a join", wrap(callback, kerr.ProducerFenced), dies, dies, migrated, "fenced", "the cause decides, whatever wraps it"},
		{"TaskMigrated @ callback of a leave", wrap(callback, kerr.InvalidProducerEpoch), dies, dies, migrated, "invalid producer epoch", "the cause decides, whatever wraps it"},
		{"CommitFailed @ callback", wrap(callback, runtime.ErrOffsetsRefused), migrated, migrated, migrated, "offsets refused", ""},
		{"GroupAuthorization @ callback", wrap(callback, kerr.GroupAuthorizationFailed), dies, dies, dies, "authorisation", ""},

		{"Timeout @ CB (delivery timeout)", wrap("send", kgo.ErrRecordTimeout), corrupted, dies, corrupted, "send timed out", ""},
		{"Timeout @ CB (retries exhausted)", wrap("send", kgo.ErrRecordRetries), corrupted, dies, corrupted, "send timed out", ""},
		{"Timeout @ COMMIT", fmt.Errorf("%w: %w", runtime.ErrUnknownOutcome, context.DeadlineExceeded), corrupted, dies, corrupted, "unknown outcome", ""},
		{"Disconnect @ COMMIT", fmt.Errorf("%w: %w", runtime.ErrUnknownOutcome, io.EOF), corrupted, dies, corrupted, "unknown outcome", ""},
		{"Fence after an unknown outcome @ COMMIT", fmt.Errorf("%w: %w", runtime.ErrUnknownOutcome, kerr.ProducerFenced), corrupted, "", corrupted, "unknown outcome", ""},

		{"OffsetOutOfRange on a changelog", wrap("fetch app-sums-changelog-0", kerr.OffsetOutOfRange), corrupted, corrupted, corrupted, "offset out of range", ""},
		{"LogTruncation on a changelog", &kgo.ErrDataLoss{Topic: "app-sums-changelog"}, corrupted, corrupted, corrupted, "data loss", ""},
		{"LockException", wrap("open store", state.ErrInUse), retried, retried, retried, "store in use by another thread", ""},
		{"UnstableOffsetCommit @ COMM", wrap("offset fetch", kerr.UnstableOffsetCommit), retried, "", retried, "UNSTABLE_OFFSET_COMMIT", ""},
		{"Disconnect @ POLL", wrap("fetch", &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}), retried, retried, retried, "network", ""},

		{"FencedInstanceId @ POLL", &kgo.ErrGroupSession{Err: kerr.FencedInstanceID}, dies, dies, dies, "fenced instance id", ""},
		{"Authentication", wrap("unable to dial", kerr.SaslAuthenticationFailed), dies, dies, dies, "authentication", ""},
		{"SecurityDisabled", kerr.SecurityDisabled, dies, dies, dies, "authentication", ""},
		{"Serialization", &topology.ProcessingError{Node: "sink", Err: errors.New("short")}, dies, dies, dies, "processing", ""},
		{"Deserialization", &topology.DeserializationError{Topic: "in", Node: "source", Part: "value", Err: errors.New("short")}, dies, dies, dies, "deserialisation", ""},
		{"TaskAssignment", &runtime.AssignmentError{Reason: "internal topic app-x has 2 partitions, needs 3"}, dies, dies, dies, "assignment", ""},
		{"MissingSourceTopic", &runtime.AssignmentError{Reason: "source topic in does not exist"}, dies, "", dies, "assignment", ""},
		{"Input deleted before it was processed", &runtime.InputLostError{Topic: "in", Err: kerr.OffsetOutOfRange}, reset, reset, dies, "input lost", "to go on behind the gap would be a silent hole"},
		{"Production handler fails", &runtime.ProductionError{FailedSend: runtime.FailedSend{Topic: "out", Err: kerr.MessageTooLarge}}, dies, dies, dies, "record too large", ""},
		{"Task time-out", &runtime.TaskTimeoutError{Err: kerr.CoordinatorNotAvailable}, dies, "", dies, "task time-out", ""},
		{"RuntimeException", &runtime.PanicError{Value: "boom"}, dies, dies, dies, "panic", ""},

		{"Disk full @ write", wrap(flush, &fs.PathError{Op: "write", Path: "000007.sst", Err: syscall.ENOSPC}), dies, dies, dies, "disk", ""},
		{"Disk full @ rename", wrap(flush, &os.LinkError{Op: "rename", Old: "a", New: "b", Err: syscall.ENOSPC}), dies, dies, dies, "disk", ""},
		{"Disk full @ allocation", wrap(flush, fmt.Errorf("fallocate: %w", syscall.ENOSPC)), dies, dies, dies, "disk", ""},
		{"Too many open files @ open", wrap(flush, os.NewSyscallError("fcntl", syscall.EMFILE)), dies, dies, dies, "disk", ""},
		{"Too many open files @ dial", wrap("fetch", &net.OpError{Op: "dial", Err: os.NewSyscallError("socket", syscall.EMFILE)}), retried, retried, retried, "network", ""},
	}
	classes := map[reaction]runtime.ErrorClass{retried: runtime.Retriable, migrated: runtime.Migrated, corrupted: runtime.Corrupted, dies: runtime.Fatal}
	for _, r := range rows {
		if deviates := r.want != r.head; deviates != (r.why != "") {
			t.Errorf("%s: trunk: %s, here: %s, reason: %q", r.name, r.head, r.want, r.why)
		}
		for _, err := range []error{r.err, fmt.Errorf("stream-thread [i1-StreamThread-1] task 0_0: %w", r.err), wrap("StreamsException", r.err)} {
			if class, cause := runtime.Classify(err); class != classes[r.want] || cause != r.cause {
				t.Errorf("%s: %v: %s (%s), want it %s (%s)", r.name, err, class, cause, r.want, r.cause)
			}
		}
	}
}
