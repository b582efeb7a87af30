package runtime_test

import (
	"testing"
	"time"

	"eostop/runtime"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	keepsAbortable   = "an abortable transaction is aborted, and everything begins at what is committed (KIP-890)"
	keepsSequence    = "whatever refuses the producer is cured by another one"
	keepsServer      = "nothing says that it will last; if it does, the migrations in a row end the thread"
	keepsInit        = "the fence is against the producer before, or against nobody: the next try tells"
	neverRepeated    = "a request that ends a transaction or sends its offsets is never repeated: a late one could decide the next transaction (KAFKA-17754)"
	keepsIdempotence = "nothing but the producer's own sequence is concerned, and the client takes a new one"
	timeoutIsNoFail  = "the producer is opened for as long as the task time-out allows"
)

// TestErrorsInSendCallbacks: a produce request fails.
func TestErrorsInSendCallbacks(t *testing.T) {
	t.Parallel()
	cb := func(r row) row {
		r.key = kmsg.Produce
		return r
	}
	runRows(t, []row{
		cb(row{name: "ProducerFenced @ CB", err: kerr.ProducerFenced, head: migrated, post: migrated, want: migrated, cause: "fenced"}),
		cb(row{name: "InvalidProducerEpoch @ CB", err: kerr.InvalidProducerEpoch, head: migrated, post: migrated, want: migrated, cause: "invalid producer epoch"}),
		cb(row{name: "InvalidPidMapping @ CB", err: kerr.InvalidProducerIDMapping, head: migrated, post: dies, want: migrated, cause: "invalid producer id mapping"}),
		cb(row{name: "UnknownProducerId @ CB", err: kerr.UnknownProducerID, head: migrated, post: migrated, want: migrated, cause: "unknown producer id"}),
		cb(row{name: "OutOfOrderSequence @ CB", err: kerr.OutOfOrderSequenceNumber, head: migrated, post: dies, want: migrated, cause: "out of order sequence"}),
		cb(row{name: "InvalidTxnState @ CB", err: kerr.InvalidTxnState, want: migrated, cause: "invalid transaction state"}),
		cb(row{name: "TransactionAbortable @ CB", err: kerr.TransactionAbortable, head: dies, want: migrated, why: keepsAbortable, cause: "transaction abortable"}),
		cb(row{name: "Timeout @ CB", do: swallow, n: -1, last: 12 * time.Second, head: corrupted, post: dies, want: corrupted, slow: true, cause: "timed out"}),
		cb(row{name: "NotEnoughReplicas @ CB", err: kerr.NotEnoughReplicas, n: 3, head: retried, want: retried}),
		cb(row{name: "NotEnoughReplicas @ CB for longer than a transaction may last", err: kerr.NotEnoughReplicas, n: -1, last: 12 * time.Second, asked: true, head: corrupted, want: corrupted, slow: true, cause: "timed out"}),
		cb(row{name: "NotLeaderOrFollower @ CB", err: kerr.NotLeaderForPartition, n: 3, head: retried, want: retried}),
		cb(row{name: "UnknownTopicOrPartition @ CB", err: kerr.UnknownTopicOrPartition, n: -1, last: 12 * time.Second, asked: true, head: corrupted, want: corrupted, cause: "UNKNOWN_TOPIC_OR_PARTITION"}),
		cb(row{name: "UnknownServer @ CB", err: kerr.UnknownServerError, head: dies, want: corrupted, why: keepsServer, cause: "unknown server error"}),
		cb(row{name: "TopicAuthorization @ CB", err: kerr.TopicAuthorizationFailed, head: dies, want: dies, cause: "authorisation"}),
		cb(row{name: "ClusterAuthorization @ CB", err: kerr.ClusterAuthorizationFailed, head: dies, want: dies, cause: "authorisation"}),
		cb(row{name: "TransactionalIdAuthorization @ CB", err: kerr.TransactionalIDAuthorizationFailed, head: dies, want: dies, cause: "authorisation"}),
		cb(row{name: "SecurityDisabled @ CB", err: kerr.SecurityDisabled, head: dies, want: dies, cause: "authentication"}),
		cb(row{name: "InvalidTopic @ CB", err: kerr.InvalidTopicException, head: dies, want: dies, cause: "invalid topic"}),
		cb(row{name: "RecordTooLarge @ CB", err: kerr.MessageTooLarge, asked: true, head: dies, want: dies, cause: "record too large"}),
		cb(row{name: "RecordTooLarge @ CB, CONTINUE", err: kerr.MessageTooLarge, asked: true, response: runtime.Continue, head: swallowed, want: swallowed}),
		cb(row{name: "RecordTooLarge @ CB, RETRY", err: kerr.MessageTooLarge, asked: true, response: runtime.Retry, head: dies, want: dies, cause: "record too large"}),
		cb(row{name: "InvalidRecord @ CB", err: kerr.InvalidRecord, asked: true, head: dies, want: dies, cause: "INVALID_RECORD"}),
		cb(row{name: "TopicAuthorization @ CB, CONTINUE", err: kerr.TopicAuthorizationFailed, response: runtime.Continue, head: dies, want: dies, cause: "authorisation"}),
	})
}

// TestErrorsInSendCallbacksWithoutTransactions: under at_least_once the producer is idempotent, and cures what concerns its own sequence.
func TestErrorsInSendCallbacksWithoutTransactions(t *testing.T) {
	t.Parallel()
	cb := func(r row) row {
		r.key, r.guarantees = kmsg.Produce, []runtime.Guarantee{runtime.AtLeastOnce}
		return r
	}
	runRows(t, []row{
		cb(row{name: "UnknownProducerId @ CB", err: kerr.UnknownProducerID, head: migrated, post: migrated, want: retried, why: keepsIdempotence}),
		cb(row{name: "OutOfOrderSequence @ CB", err: kerr.OutOfOrderSequenceNumber, head: migrated, post: dies, want: retried, why: keepsIdempotence}),
		cb(row{name: "InvalidProducerEpoch @ CB", err: kerr.InvalidProducerEpoch, head: migrated, post: migrated, want: retried, why: keepsIdempotence}),
		cb(row{name: "NotEnoughReplicas @ CB", err: kerr.NotEnoughReplicas, n: 3, head: retried, post: retried, want: retried}),
		cb(row{name: "Timeout @ CB", do: swallow, n: -1, last: 12 * time.Second, head: corrupted, post: dies, want: corrupted, cause: "timed out"}),
		cb(row{name: "Timeout @ CB, applied", do: lose, n: -1, last: 12 * time.Second, head: corrupted, post: dies, want: corrupted, cause: "timed out"}),
		cb(row{name: "UnknownServer @ CB", err: kerr.UnknownServerError, head: dies, post: dies, want: corrupted, why: keepsServer, cause: "unknown server error"}),
		cb(row{name: "TopicAuthorization @ CB", err: kerr.TopicAuthorizationFailed, head: dies, post: dies, want: dies, cause: "authorisation"}),
		cb(row{name: "RecordTooLarge @ CB", err: kerr.MessageTooLarge, asked: true, head: dies, post: dies, want: dies, cause: "record too large"}),
		cb(row{name: "RecordTooLarge @ CB, CONTINUE", err: kerr.MessageTooLarge, asked: true, response: runtime.Continue, head: swallowed, want: swallowed}),
	})
}

// TestErrorsInMetadata: the partitions of an output cannot be learned (partitionsFor in Kafka Streams).
func TestErrorsInMetadata(t *testing.T) {
	t.Parallel()
	metadata := func(r row) row {
		r.key, r.when = kmsg.Metadata, starting
		r.of = func(r request) bool {
			return ofThread("producer")(r) && len(r.Request.(*kmsg.MetadataRequest).Topics) > 0
		}
		return r
	}
	runRows(t, []row{
		metadata(row{name: "UnknownTopicOrPartition @ partitionsFor", err: kerr.UnknownTopicOrPartition, n: 2, head: retried, want: retried}),
		metadata(row{name: "TopicAuthorization @ partitionsFor", err: kerr.TopicAuthorizationFailed, n: -1, last: time.Second, head: dies, post: dies, want: dies, cause: "authorisation"}),
		metadata(row{name: "Timeout @ partitionsFor", do: swallow, asked: true, n: -1, last: 12 * time.Second, head: corrupted, post: dies, want: corrupted, slow: true, cause: "timed out"}),
	})
}

// TestErrorsInSends: a partition cannot be added to the transaction. Kafka's producer reports that by send itself. From 4.0 on there is no
// such request.
func TestErrorsInSends(t *testing.T) {
	t.Parallel()
	send := func(r row) row {
		r.key, r.version = kmsg.AddPartitionsToTxn, "3.7"
		return r
	}
	runRows(t, []row{
		send(row{name: "ProducerFenced @ SEND", err: kerr.ProducerFenced, head: migrated, post: migrated, want: migrated, cause: "fenced"}),
		send(row{name: "InvalidProducerEpoch @ SEND", err: kerr.InvalidProducerEpoch, head: migrated, post: migrated, want: migrated, cause: "invalid producer epoch"}),
		send(row{name: "InvalidPidMapping @ SEND", err: kerr.InvalidProducerIDMapping, head: migrated, post: dies, want: migrated, cause: "invalid producer id mapping"}),
		send(row{name: "UnknownProducerId @ SEND", err: kerr.UnknownProducerID, head: migrated, post: dies, want: migrated, cause: "unknown producer id"}),
		send(row{name: "OutOfOrderSequence @ SEND", err: kerr.OutOfOrderSequenceNumber, head: dies, post: dies, want: migrated, why: keepsSequence, cause: "out of order sequence"}),
		send(row{name: "InvalidTxnState @ SEND", err: kerr.InvalidTxnState, want: migrated, cause: "invalid transaction state"}),
		send(row{name: "TransactionAbortable @ SEND", err: kerr.TransactionAbortable, head: dies, want: migrated, why: keepsAbortable, cause: "invalid transaction state"}), // of the records that the client sends all the same
		send(row{name: "Timeout @ SEND", do: swallow, n: -1, last: 12 * time.Second, head: corrupted, post: dies, want: corrupted, slow: true, cause: "timed out"}),
		send(row{name: "ConcurrentTransactions @ SEND", err: kerr.ConcurrentTransactions, n: 5, head: retried, post: retried, want: retried}),
		send(row{name: "NotCoordinator @ SEND", err: kerr.NotCoordinator, n: 3, head: retried, post: retried, want: retried}),
		send(row{name: "CoordinatorLoadInProgress @ SEND", err: kerr.CoordinatorLoadInProgress, n: 3, head: retried, post: retried, want: retried}),
		send(row{name: "TopicAuthorization @ SEND", err: kerr.TopicAuthorizationFailed, head: dies, post: dies, want: dies, cause: "authorisation"}),
		send(row{name: "TransactionalIdAuthorization @ SEND", err: kerr.TransactionalIDAuthorizationFailed, head: dies, post: dies, want: dies, cause: "authorisation"}),
	})
}

// TestErrorsInInit: the producer's id cannot be initialised, when a thread starts and when it starts over.
func TestErrorsInInit(t *testing.T) {
	t.Parallel()
	var rows []row
	for _, r := range []row{
		{name: "ProducerFenced @ INIT", err: kerr.ProducerFenced, n: 3, head: dies, post: dies, want: retried, why: keepsInit},
		{name: "InvalidProducerEpoch @ INIT", err: kerr.InvalidProducerEpoch, n: 3, head: dies, post: dies, want: retried, why: keepsInit},
		{name: "InvalidPidMapping @ INIT", err: kerr.InvalidProducerIDMapping, n: 3, head: dies, post: dies, want: retried, why: keepsInit},
		{name: "UnknownServer @ INIT", err: kerr.UnknownServerError, n: 3, head: dies, post: dies, want: retried, why: timeoutIsNoFail},
		{name: "Timeout @ INIT", do: swallow, n: -1, last: 25 * time.Second, head: dies, post: dies, want: retried, why: timeoutIsNoFail},
		{name: "ConcurrentTransactions @ INIT", err: kerr.ConcurrentTransactions, n: 5, head: retried, post: retried, want: retried},
		{name: "CoordinatorLoadInProgress @ INIT", err: kerr.CoordinatorLoadInProgress, n: 5, head: retried, post: retried, want: retried},
		{name: "NotCoordinator @ INIT", err: kerr.NotCoordinator, n: 5, head: retried, post: retried, want: retried},
		{name: "TransactionalIdAuthorization @ INIT", err: kerr.TransactionalIDAuthorizationFailed, head: dies, post: dies, want: dies, cause: "authorisation"},
		{name: "InvalidTransactionTimeout @ INIT", err: kerr.InvalidTransactionTimeout, head: dies, post: dies, want: dies, cause: "transaction time-out too large for the broker"},
	} {
		r.key, r.when = kmsg.InitProducerID, starting
		rows = append(rows, r)
		// The same when the producer before was fenced. A thread that dies does so after it has migrated.
		if r.want == retried {
			r.name, r.when = r.name+" after a fence", running
			r.also = []disturbance{{key: kmsg.Produce, err: kerr.ProducerFenced}}
			r.want, r.cause, r.head, r.post, r.why = migrated, "fenced", "", "", ""
			rows = append(rows, r)
		}
	}
	runRows(t, rows)
}
