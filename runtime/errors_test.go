package runtime

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

	"eostop/runtime/state"
	"eostop/runtime/topology"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// opaqueError is a wrapper that nobody has thought of: an error type of somebody else's.
type opaqueError struct{ err error }

func (e *opaqueError) Error() string { return "opaque: " + e.err.Error() }
func (e *opaqueError) Unwrap() error { return e.err }

// wrappers are the ways in which a root cause reaches the classifier.
var wrappers = []struct {
	name string
	wrap func(error) error
}{
	{"bare", func(err error) error { return err }},
	{"%w", func(err error) error { return fmt.Errorf("task 0_3: input-3 offset 17: %w", err) }},
	{"twice", func(err error) error { return fmt.Errorf("a: %w", fmt.Errorf("b: %w", err)) }},
	{"joined first", func(err error) error { return errors.Join(err, errors.New("close of a processor failed")) }},
	{"joined last", func(err error) error { return errors.Join(errors.New("close of a processor failed"), err) }},
	{"two %w", func(err error) error { return fmt.Errorf("%w: %w", errors.New("what the step says"), err) }},
	{"store flush", func(err error) error {
		return fmt.Errorf("task 0_3: store counts: flush: %w", &transactionError{"send to app-counts-changelog-3", err})
	}},
	{"opaque type", func(err error) error { return &opaqueError{fmt.Errorf("process at node X: %w", err)} }},
	{"group session", func(err error) error { return &kgo.ErrGroupSession{Err: err} }},
	{"too many", func(err error) error { return fmt.Errorf("%w: 21 in a row, last: %w", errTooManyMigrations, err) }},
}

// causeRows has one row for each cause that the design names, and for those of ours.
var causeRows = []struct {
	err   error
	class ErrorClass
	name  string
}{
	{kerr.ProducerFenced, Migrated, "fenced"},
	{kerr.InvalidProducerEpoch, Migrated, "invalid producer epoch"},
	{kerr.InvalidProducerIDMapping, Migrated, "invalid producer id mapping"},
	{kerr.UnknownProducerID, Migrated, "unknown producer id"},
	{kerr.OutOfOrderSequenceNumber, Migrated, "out of order sequence"},
	{kerr.InvalidTxnState, Migrated, "invalid transaction state"},
	{kerr.IllegalGeneration, Migrated, "illegal generation"},
	{kerr.UnknownMemberID, Migrated, "unknown member id"},
	{kerr.TransactionAbortable, Migrated, "transaction abortable"},
	{kerr.RebalanceInProgress, Migrated, "rebalance in progress"},
	{ErrOffsetsRefused, Migrated, "offsets refused"},
	{errNoGeneration, Migrated, "no generation"},
	{errNoOffsets, Migrated, "no offsets"},
	{errInitialisedAnew, Migrated, "initialised anew"},
	{errNoProducer, Migrated, "no producer"},

	{ErrUnknownOutcome, Corrupted, "unknown outcome"},
	{context.DeadlineExceeded, Corrupted, "timed out"},
	{os.ErrDeadlineExceeded, Corrupted, "timed out"},
	{kgo.ErrRecordTimeout, Corrupted, "send timed out"},
	{kgo.ErrRecordRetries, Corrupted, "send timed out"},
	{kerr.OffsetOutOfRange, Corrupted, "offset out of range"},
	{state.ErrBroken, Corrupted, "broken store"},
	{&kgo.ErrDataLoss{Topic: "app-counts-changelog"}, Corrupted, "data loss"},

	{kerr.FencedInstanceID, Fatal, "fenced instance id"},
	{kerr.TopicAuthorizationFailed, Fatal, "authorisation"},
	{kerr.GroupAuthorizationFailed, Fatal, "authorisation"},
	{kerr.ClusterAuthorizationFailed, Fatal, "authorisation"},
	{kerr.TransactionalIDAuthorizationFailed, Fatal, "authorisation"},
	{kerr.SaslAuthenticationFailed, Fatal, "authentication"},
	{kerr.UnsupportedSaslMechanism, Fatal, "authentication"},
	{kerr.IllegalSaslState, Fatal, "authentication"},
	{kerr.SecurityDisabled, Fatal, "authentication"},
	{kerr.MessageTooLarge, Fatal, "record too large"},
	{kerr.InvalidTopicException, Fatal, "invalid topic"},
	{kerr.InvalidTransactionTimeout, Fatal, "transaction time-out too large for the broker"},
	{&topology.DeserializationError{Topic: "input", Err: errors.New("short")}, Fatal, "deserialisation"},
	{&topology.ProcessingError{Node: "X", Err: errors.New("division by zero")}, Fatal, "processing"},
	{&PanicError{Value: "boom"}, Fatal, "panic"},
	{&AssignmentError{Reason: "source topic input does not exist"}, Fatal, "assignment"},
	{&InputLostError{Topic: "input", Err: kerr.OffsetOutOfRange}, Fatal, "input lost"},
}

func TestClassifyByRootCause(t *testing.T) {
	for _, row := range causeRows {
		for _, w := range wrappers {
			if class, name := Classify(w.wrap(row.err)); class != row.class || name != row.name {
				t.Errorf("%s: %v: got %v %q, want %v %q", w.name, row.err, class, name, row.class, row.name)
			}
		}
	}
}

// TestClassifyRetriable: errors that leave everything as it is. Inside a transaction they are not, see below.
func TestClassifyRetriable(t *testing.T) {
	for _, err := range []error{
		state.ErrInUse, context.Canceled, kerr.NotLeaderForPartition, kerr.CoordinatorLoadInProgress, kerr.NotCoordinator,
		kerr.UnstableOffsetCommit, kerr.RequestTimedOut, kerr.UnknownTopicOrPartition,
		&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, &net.OpError{Op: "read", Err: syscall.ECONNRESET}, &net.DNSError{Err: "no such host"},
	} {
		for _, wrapped := range []error{err, fmt.Errorf("fetch input-3: %w", err), errors.Join(errors.New("x"), err), &opaqueError{err}} {
			if class, name := Classify(wrapped); class != Retriable || name == "" {
				t.Errorf("%v: got %v %q, want retriable with a name", wrapped, class, name)
			}
		}
	}
}

// TestClassifyConnectionEnds: how a connection ends must not matter. A broker that closes it gives EOF, where a reset gives a
// net.Error.
func TestClassifyConnectionEnds(t *testing.T) {
	for _, err := range []error{io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, io.ErrClosedPipe} {
		if class, name := Classify(fmt.Errorf("heartbeat: %w", err)); class != Retriable {
			t.Errorf("%v: got %v %q, want retriable", err, class, name)
		}
	}
}

// TestClassifyDiskErrorsAreNotNetwork: syscall.Errno has the methods of net.Error, so that a full disk is easily taken for a
// network that will come back.
func TestClassifyDiskErrorsAreNotNetwork(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EMFILE, syscall.EACCES, syscall.EIO} {
		err := fmt.Errorf("open store counts: %w", &fs.PathError{Op: "open", Path: "/state/0_3", Err: errno})
		if class, name := Classify(err); class == Retriable || name == "network" {
			t.Errorf("%v: got %v %q, want neither retriable nor network", err, class, name)
		}
	}
}

func TestClassifyUnknown(t *testing.T) {
	tests := []struct {
		err   error
		class ErrorClass
		name  string
	}{
		{nil, Retriable, ""},
		{errors.New("never seen"), Fatal, "unexpected"},
		{fmt.Errorf("wrapped: %w", errors.New("never seen")), Fatal, "unexpected"},
		{kerr.PolicyViolation, Fatal, "POLICY_VIOLATION"},
		{&IllegalTransitionError{Who: "task", From: "A", To: "B"}, Fatal, "illegal state transition"},
		{state.ErrClosed, Fatal, "unexpected"},
	}
	for _, test := range tests {
		if class, name := Classify(test.err); class != test.class || name != test.name {
			t.Errorf("%v: got %v %q, want %v %q", test.err, class, name, test.class, test.name)
		}
	}
}

// TestClassifyInTransaction: a transaction in which anything failed is given up. Only what is known to be fatal stays fatal.
func TestClassifyInTransaction(t *testing.T) {
	tests := []struct {
		err   error
		class ErrorClass
	}{
		{kerr.NotLeaderForPartition, Corrupted},
		{kerr.ConcurrentTransactions, Corrupted},
		{kerr.PolicyViolation, Corrupted},
		{context.Canceled, Corrupted},
		{context.DeadlineExceeded, Corrupted},
		{io.EOF, Corrupted},
		{&net.OpError{Op: "read", Err: syscall.ECONNRESET}, Corrupted},
		{errors.New("never seen"), Corrupted},
		{kgo.ErrClientClosed, Migrated},
		{kerr.ProducerFenced, Migrated},
		{fmt.Errorf("%w: %w", ErrUnknownOutcome, kerr.NotCoordinator), Corrupted},
		{fmt.Errorf("%w: %w", ErrUnknownOutcome, errors.New("never seen")), Corrupted},
		{kerr.TransactionalIDAuthorizationFailed, Fatal},
		{kerr.MessageTooLarge, Fatal},
	}
	for _, test := range tests {
		for _, w := range wrappers {
			if class, _ := Classify(w.wrap(&transactionError{"commit transaction", test.err})); class != test.class {
				t.Errorf("%s: %v: got %v, want %v", w.name, test.err, class, test.class)
			}
		}
	}
}

// TestClassifyRetryStep: a step without an effect is tried again whatever happened, unless no retry cures the cause.
func TestClassifyRetryStep(t *testing.T) {
	tests := []struct {
		err   error
		class ErrorClass
	}{
		{context.DeadlineExceeded, Retriable},
		{kerr.ProducerFenced, Retriable},
		{kerr.ConcurrentTransactions, Retriable},
		{io.EOF, Retriable},
		{errors.New("never seen"), Retriable},
		{kgo.ErrClientClosed, Retriable},
		{kerr.TransactionalIDAuthorizationFailed, Fatal},
		{kerr.SaslAuthenticationFailed, Fatal},
		{kerr.InvalidTransactionTimeout, Fatal},
	}
	for _, test := range tests {
		for _, err := range []error{&retryError{"open producer", test.err}, fmt.Errorf("prepare: %w", &retryError{"open producer", test.err})} {
			if class, _ := Classify(err); class != test.class {
				t.Errorf("%v: got %v, want %v", err, class, test.class)
			}
		}
	}
}

func TestIsFence(t *testing.T) {
	fencing := []error{
		kerr.ProducerFenced, kerr.InvalidProducerEpoch, kerr.InvalidProducerIDMapping, kerr.UnknownProducerID,
		kerr.OutOfOrderSequenceNumber, kerr.InvalidTxnState,
	}
	for _, err := range fencing {
		for _, w := range wrappers {
			if !isFence(w.wrap(err)) {
				t.Errorf("%s: %v is no fence", w.name, err)
			}
		}
	}
	for _, err := range []error{
		nil, kerr.IllegalGeneration, kerr.UnknownMemberID, kerr.TransactionAbortable, kerr.RebalanceInProgress, kerr.FencedInstanceID,
		ErrOffsetsRefused, ErrUnknownOutcome, context.DeadlineExceeded, state.ErrBroken,
	} {
		if isFence(err) {
			t.Errorf("%v is a fence", err)
		}
	}
}

func TestErrorClassNames(t *testing.T) {
	for class, want := range map[ErrorClass]string{Retriable: "retriable", Migrated: "migrated", Corrupted: "corrupted", Fatal: "fatal"} {
		if got := class.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestErrorTexts(t *testing.T) {
	inner := kerr.OffsetOutOfRange
	lost := &InputLostError{Topic: "input", Partition: 3, Offset: 17, Err: inner}
	if !errors.Is(lost, inner) {
		t.Error("InputLostError hides its cause")
	}
	tests := []struct{ err, want string }{
		{lost.Error(), "input input-3: offset 17 was deleted before it was processed; reset the group's offsets to go on behind the gap: " + inner.Error()},
		{(&PanicError{Value: "boom"}).Error(), "panic: boom"},
		{(&transactionError{"flush producer", io.EOF}).Error(), "flush producer: EOF"},
		{(&retryError{"open producer", io.EOF}).Error(), "open producer: EOF"},
		{(&AssignmentError{Reason: "no topic"}).Error(), "assignment: no topic"},
	}
	for _, test := range tests {
		if test.err != test.want {
			t.Errorf("got %q, want %q", test.err, test.want)
		}
	}
}
