package runtime

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// HandlerResponse is what a handler decides about a failed record.
type HandlerResponse uint8

// The responses.
const (
	// Fail ends the thread with the error.
	Fail HandlerResponse = iota
	// Continue drops the record and goes on; the record counts as dropped.
	Continue
	// Retry gives the transaction up and processes its records again. It is for send errors that may pass; for others it
	// means Fail.
	Retry
)

// FailedSend describes a record that could not be written, for the production exception handler (KIP-210).
type FailedSend struct {
	Topic     string
	Partition int32
	Key       []byte
	Value     []byte
	Err       error
	// The input record that was at work when it was sent. SourceTopic is empty in a punctuator and in a commit, which writes what
	// record caches hold.
	SourceTopic     string
	SourcePartition int32
	SourceOffset    int64
}

// ProductionHandler decides about a record that the brokers refused. It is called in the producer's goroutine and must
// not block. It is not asked about fences and about errors that no record is to blame for (authorisation and the like).
type ProductionHandler func(FailedSend) HandlerResponse

// DefaultProductionHandler fails, but for errors that may pass, which it retries (KIP-1065).
func DefaultProductionHandler(f FailedSend) HandlerResponse {
	if class, _, _ := classifyCause(f.Err); class == Retriable || class == Corrupted {
		return Retry
	}
	return Fail
}

// UncaughtResponse is what the uncaught-exception handler decides about a thread that is about to die (KIP-671).
type UncaughtResponse uint8

// The responses.
const (
	// ReplaceThread starts a new thread in its place.
	ReplaceThread UncaughtResponse = iota
	// ShutdownClient ends the instance in state ERROR.
	ShutdownClient
	// ShutdownApplication ends all instances of the application: the group passes the word on.
	ShutdownApplication
	// keepDead asks nobody.
	keepDead
)

// UncaughtHandler is called in the dying thread's goroutine with the error it dies of.
type UncaughtHandler func(thread string, err error) UncaughtResponse

// DefaultUncaughtHandler replaces the thread. A broker that is too old would only kill its successor, too: then the client ends.
func DefaultUncaughtHandler(_ string, err error) UncaughtResponse {
	if errors.Is(err, errBrokerTooOld) {
		return ShutdownClient
	}
	return ReplaceThread
}

// recordFailure is a send error that a single record is to blame for: those are the handler's business.
func recordFailure(err error) bool {
	for _, e := range []error{
		kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidRecord, kerr.InvalidTimestamp, kerr.CorruptMessage,
		kgo.ErrRecordTimeout, kgo.ErrRecordRetries, kerr.UnknownTopicOrPartition, kerr.NotEnoughReplicas,
		kerr.NotEnoughReplicasAfterAppend, kerr.RequestTimedOut, context.DeadlineExceeded,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	var answer *kerr.Error
	return errors.As(err, &answer) && answer.Retriable
}

// ProductionError says that a record could not be written and that the production handler did not let it go.
type ProductionError struct{ FailedSend }

// Error names the input record, too, where there is one.
func (e *ProductionError) Error() string {
	if e.SourceTopic == "" {
		return fmt.Sprintf("write to %s-%d: %v", e.Topic, e.Partition, e.Err)
	}
	return fmt.Sprintf("write to %s-%d for %s-%d offset %d: %v", e.Topic, e.Partition, e.SourceTopic, e.SourcePartition, e.SourceOffset, e.Err)
}

func (e *ProductionError) Unwrap() error { return e.Err }

// judgeSend asks the production handler about a record that could not be written. It returns nil when the record is to be
// dropped. The producer's client calls it in its own goroutine.
func (t *StreamThread) judgeSend(r *kgo.Record, err error) error {
	if isFence(err) || !recordFailure(err) {
		return err
	}
	handler := t.instance.cfg.ProductionHandler
	if handler == nil {
		handler = DefaultProductionHandler
	}
	response := Fail
	failed := FailedSend{Topic: r.Topic, Partition: r.Partition, Key: r.Key, Value: r.Value, Err: err}
	if from, ok := r.Context.(*origin); ok {
		failed.SourceTopic, failed.SourcePartition, failed.SourceOffset = from.topic, from.partition, from.offset
	}
	panicked := t.guard(func() error {
		response = handler(failed)
		return nil
	})
	switch class, _, _ := classifyCause(err); {
	case panicked != nil:
		return panicked
	case response == Continue:
		t.counters.dropped.Add(1)
		return nil
	case response == Retry && class != Fatal:
		return err
	default:
		return &ProductionError{failed}
	}
}
