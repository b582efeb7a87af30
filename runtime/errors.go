package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"slices"
	"syscall"

	"eostop/runtime/metrics"
	"eostop/runtime/state"
	"eostop/runtime/topology"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// ErrorClass says what an error means for a stream thread. It is decided by the root cause, whatever wrapped it.
type ErrorClass uint8

// The classes, from harmless to deadly.
const (
	// Retriable errors leave everything as it is; the operation is tried again.
	Retriable ErrorClass = iota
	// Migrated means that somebody else owns the transaction or the tasks: the transaction is abandoned, the producer
	// re-created, positions are read back from the broker.
	Migrated
	// Corrupted means that the outcome of a transaction or the content of a store is not known: the same, and what is
	// missing is restored from the changelog.
	Corrupted
	// Fatal ends the thread through the uncaught-exception handler.
	Fatal
)

func (c ErrorClass) String() string {
	return [...]string{"retriable", "migrated", "corrupted", "fatal"}[c]
}

// ErrOffsetsRefused says that the group coordinator refused the offsets of a transaction: the thread's member id or
// generation is no longer valid, or a rebalance came between (KIP-447). The transaction was aborted.
var ErrOffsetsRefused = errors.New("offsets refused by the group coordinator (illegal generation or unknown member id); transaction aborted")

// ErrUnknownOutcome wraps an error after which nobody on the client's side knows whether the transaction was committed
// (KAFKA-9274).
var ErrUnknownOutcome = errors.New("outcome of the transaction is unknown")

// errNoGeneration guards against a hole of real brokers, which accept a commit with generation -1 while the group is empty.
var errNoGeneration = errors.New("not a member of the group: refusing to commit without a generation")

// errNoProducer says that the producer was given up and is not opened again yet.
var errNoProducer = errors.New("there is no producer at the moment")

// errInitialisedAnew ends a transaction of which the client has lost a part, see streamsProducer.flush.
var errInitialisedAnew = errors.New("the client has initialised its producer anew within the transaction, which has aborted a part of it")

// errNoOffsets guards the fencing by member and generation, which travel with the offsets.
var errNoOffsets = errors.New("a transaction without offsets cannot be fenced: refusing to commit it")

// PanicError is a panic of user code or of the runtime itself, turned into the error of the thread it happened in.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// InputLostError says that records of an input were deleted before they were processed. It is fatal: going on would be a
// silent hole.
type InputLostError struct {
	Topic     string
	Partition int32
	Offset    int64 // the first offset that was needed
	Err       error
}

func (e *InputLostError) Error() string {
	return fmt.Sprintf("input %s-%d: offset %d was deleted before it was processed; reset the group's offsets to go on behind the gap: %v",
		e.Topic, e.Partition, e.Offset, e.Err)
}

func (e *InputLostError) Unwrap() error { return e.Err }

// cause is one row of the classification: the error, its class, and the short name shown to people.
type cause struct {
	err   error
	class ErrorClass
	name  string
}

// fences are the errors by which a broker says that a producer may not go on.
var fences = []error{
	kerr.ProducerFenced, kerr.InvalidProducerEpoch, kerr.InvalidProducerIDMapping, kerr.UnknownProducerID,
	kerr.OutOfOrderSequenceNumber, kerr.InvalidTxnState,
}

// isFence reports whether the broker refused the producer itself.
func isFence(err error) bool {
	return slices.ContainsFunc(fences, func(fence error) bool { return errors.Is(err, fence) })
}

// causes is searched from the top; the first that is found in the chain of an error decides.
var causes = []cause{
	{ErrUnknownOutcome, Corrupted, "unknown outcome"},
	{state.ErrInUse, Retriable, "store in use by another thread"},
	{kerr.ProducerFenced, Migrated, "fenced"},
	{kerr.InvalidProducerEpoch, Migrated, "invalid producer epoch"},
	{kerr.InvalidProducerIDMapping, Migrated, "invalid producer id mapping"},
	{kerr.UnknownProducerID, Migrated, "unknown producer id"},
	{kerr.OutOfOrderSequenceNumber, Migrated, "out of order sequence"},
	{kerr.InvalidTxnState, Migrated, "invalid transaction state"},
	{kerr.TransactionAbortable, Migrated, "transaction abortable"},
	{kerr.IllegalGeneration, Migrated, "illegal generation"},
	{kerr.UnknownMemberID, Migrated, "unknown member id"},
	{kerr.RebalanceInProgress, Migrated, "rebalance in progress"},
	{ErrOffsetsRefused, Migrated, "offsets refused"},
	{errNoGeneration, Migrated, "no generation"},
	{errNoOffsets, Migrated, "no offsets"},
	{errNoProducer, Migrated, "no producer"},
	{errInitialisedAnew, Migrated, "initialised anew"},
	{kerr.OffsetOutOfRange, Corrupted, "offset out of range"},
	{state.ErrBroken, Corrupted, "broken store"},
	{kerr.UnknownServerError, Retriable, "unknown server error"},
	{kerr.FencedInstanceID, Fatal, "fenced instance id"},
	{kerr.TopicAuthorizationFailed, Fatal, "authorisation"},
	{kerr.GroupAuthorizationFailed, Fatal, "authorisation"},
	{kerr.ClusterAuthorizationFailed, Fatal, "authorisation"},
	{kerr.TransactionalIDAuthorizationFailed, Fatal, "authorisation"},
	{kerr.SaslAuthenticationFailed, Fatal, "authentication"},
	{kerr.UnsupportedSaslMechanism, Fatal, "authentication"},
	{kerr.IllegalSaslState, Fatal, "authentication"},
	{kerr.SecurityDisabled, Fatal, "authentication"},
	{kerr.InvalidTransactionTimeout, Fatal, "transaction time-out too large for the broker"},
	{kerr.InvalidSessionTimeout, Fatal, "session time-out out of the broker's range"},
	{kerr.MessageTooLarge, Fatal, "record too large"},
	{kerr.RecordListTooLarge, Fatal, "record too large"},
	{kerr.InvalidTopicException, Fatal, "invalid topic"},
	{errBrokerTooOld, Fatal, "broker too old"},
	{kgo.ErrRecordTimeout, Corrupted, "send timed out"},
	{kgo.ErrRecordRetries, Corrupted, "send timed out"},
	{kgo.ErrClientClosed, Migrated, "client closed"},
	{context.DeadlineExceeded, Corrupted, "timed out"},
	{os.ErrDeadlineExceeded, Corrupted, "timed out"},
	{context.Canceled, Retriable, "cancelled"},
}

// refusals are the causes by which brokers do not let an application work at all, until somebody changes settings or permissions.
var refusals = []error{
	kerr.TopicAuthorizationFailed, kerr.SaslAuthenticationFailed, kerr.InvalidTransactionTimeout, kerr.InvalidSessionTimeout,
}

// Refused reports whether a thread that died of the cause was not let in by the brokers: another one will not be either.
func Refused(name string) bool {
	return slices.ContainsFunc(causes, func(c cause) bool { return c.name == name && slices.Contains(refusals, c.err) })
}

// expectedCauses are the causes that metrics count from the start, so that the first of a kind is an increase.
func expectedCauses() metrics.Causes {
	var all metrics.Causes
	for i := range causes {
		switch c := &causes[i]; c.class {
		case Migrated:
			all.Migrations = append(all.Migrations, c.name)
			if isFence(c.err) {
				all.Fences = append(all.Fences, c.name)
			}
		case Corrupted:
			all.Corruptions = append(all.Corruptions, c.name)
		case Fatal:
			all.Deaths = append(all.Deaths, c.name)
		default:
		}
	}
	return all
}

// Classify decides what an error means by its root cause. It is the only place that does so (design: one classifier). Where several
// errors were joined the gravest decides; one that nobody has thought of counts only if there is no other, for it is most often what
// came up on the way down.
func Classify(err error) (ErrorClass, string) {
	v := classify(err)
	return v.class, v.name
}

// verdict is what an error means.
type verdict struct {
	class   ErrorClass
	name    string
	known   bool // the root cause is one that somebody has thought of
	certain bool // it is, or what wraps it decides whatever it is
}

func (v verdict) graver(other verdict) bool {
	if v.certain != other.certain {
		return v.certain
	}
	return v.class > other.class
}

func classify(err error) (gravest verdict) {
	if err == nil {
		return verdict{class: Retriable}
	}
	for i, path := range pathsOf(err) {
		if v := classifyPath(path); i == 0 || v.graver(gravest) {
			gravest = v
		}
	}
	return gravest
}

// classifyPath classifies an error that has one root cause.
func classifyPath(err error) verdict {
	class, name, known := classifyCause(err)
	var transaction *transactionError
	if errors.As(err, &transaction) && (class == Retriable || !known) {
		// A transaction in which anything failed is given up; nothing in it is tried again.
		return verdict{Corrupted, name, known, true}
	}
	var again *retryError
	if errors.As(err, &again) && (class != Fatal || !known) {
		return verdict{Retriable, name, known, true}
	}
	return verdict{class, name, known, known}
}

// classifyCause looks the root cause up; known is false for errors that nobody has thought of.
func classifyCause(err error) (class ErrorClass, name string, known bool) {
	var (
		production  *ProductionError
		timeout     *TaskTimeoutError
		requested   *shutdownRequestedError
		input       *InputLostError
		panicked    *PanicError
		processing  *topology.ProcessingError
		deserialise *topology.DeserializationError
		illegal     *IllegalTransitionError
		assigned    *AssignmentError
		dataLoss    *kgo.ErrDataLoss
		recorder    *state.RecorderExistsError
	)
	switch {
	case errors.As(err, &recorder):
		return Fatal, "metrics recorder added twice", false
	case errors.As(err, &requested):
		return Fatal, "shutdown requested", true
	case errors.As(err, &timeout):
		return Fatal, "task time-out", true
	case errors.As(err, &production):
		_, name, _ := classifyCause(production.Err)
		return Fatal, name, true
	case errors.As(err, &input):
		return Fatal, "input lost", true
	case errors.As(err, &assigned):
		return Fatal, "assignment", true
	case errors.As(err, &panicked):
		return Fatal, "panic", true
	case errors.As(err, &deserialise):
		return Fatal, "deserialisation", true
	case errors.As(err, &processing):
		return Fatal, "processing", true
	}
	for i := range causes {
		if errors.Is(err, causes[i].err) {
			return causes[i].class, causes[i].name, true
		}
	}
	var (
		network net.Error
		kafka   *kerr.Error
		session *kgo.ErrGroupSession
	)
	switch {
	case errors.As(err, &illegal):
		return Fatal, "illegal state transition", true
	case errors.As(err, &dataLoss):
		return Corrupted, "data loss", true
	case errors.As(err, &kafka) && kafka.Retriable:
		return Retriable, kafka.Message, true
	case errors.As(err, &kafka):
		return Fatal, kafka.Message, false
	case errors.As(err, &session):
		return Retriable, "group session", true
	case isDisk(err):
		return Fatal, "disk", true
	case errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe):
		return Retriable, "network", true
	default:
		return Fatal, "unexpected", false
	}
}

// isDisk tells the disk's errors from the network's. The error numbers of the system have the methods of net.Error, but those of
// a connection come in a net.OpError, while those of the disk come in different wrappers or in none.
func isDisk(err error) bool {
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return false
	}
	_, path := errors.AsType[*fs.PathError](err)
	_, number := errors.AsType[syscall.Errno](err)
	return path || number
}

// retryError marks an error of a step that has no effect when it fails: the step is tried again a little later, unless the
// cause is one that no retry cures.
type retryError struct {
	step string
	err  error
}

func (e *retryError) Error() string { return e.step + ": " + e.err.Error() }
func (e *retryError) Unwrap() error { return e.err }
