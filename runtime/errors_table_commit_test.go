package runtime_test

import (
	"cmp"
	"testing"
	"time"

	"eostop/runtime"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// commits takes the requests that commit a transaction, and not those that abort one.
func commits(r request) bool { return r.Request.(*kmsg.EndTxnRequest).Commit }

// aborts takes the others.
func aborts(r request) bool { return !commits(r) }

// TestErrorsInOffsets: the offsets cannot be added to the transaction.
func TestErrorsInOffsets(t *testing.T) {
	t.Parallel()
	off := func(r row) row {
		r.key = kmsg.TxnOffsetCommit
		return r
	}
	runRows(t, []row{
		off(row{name: "ProducerFenced @ OFF", err: kerr.ProducerFenced, head: migrated, post: migrated, want: migrated, cause: "fenced"}),
		off(row{name: "InvalidProducerEpoch @ OFF", err: kerr.InvalidProducerEpoch, head: migrated, post: migrated, want: migrated, cause: "invalid producer epoch"}),
		off(row{name: "InvalidPidMapping @ OFF", err: kerr.InvalidProducerIDMapping, head: migrated, want: migrated, cause: "invalid producer id mapping"}),
		off(row{name: "UnknownProducerId @ OFF", err: kerr.UnknownProducerID, head: dies, post: migrated, want: migrated, why: keepsSequence, cause: "unknown producer id"}),
		off(row{name: "OutOfOrderSequence @ OFF", err: kerr.OutOfOrderSequenceNumber, head: dies, post: dies, want: migrated, why: keepsSequence, cause: "out of order sequence"}),
		off(row{name: "InvalidTxnState @ OFF", err: kerr.InvalidTxnState, head: dies, post: dies, want: migrated, why: keepsSequence, cause: "invalid transaction state"}),
		off(row{name: "TransactionAbortable @ OFF", err: kerr.TransactionAbortable, head: dies, want: migrated, why: keepsAbortable, cause: "offsets refused"}),
		off(row{name: "CommitFailed (IllegalGeneration) @ OFF", err: kerr.IllegalGeneration, head: migrated, post: migrated, want: migrated, cause: "offsets refused"}),
		off(row{name: "CommitFailed (UnknownMember) @ OFF", err: kerr.UnknownMemberID, head: migrated, post: migrated, want: migrated, cause: "offsets refused"}),
		off(row{name: "RebalanceInProgress @ OFF", err: kerr.RebalanceInProgress, head: migrated, want: migrated, cause: "offsets refused"}),
		off(row{name: "FencedInstanceId @ OFF", err: kerr.FencedInstanceID, head: dies, want: dies, cause: "fenced instance id"}),
		off(row{name: "GroupAuthorization @ OFF", err: kerr.GroupAuthorizationFailed, head: dies, post: dies, want: dies, cause: "authorisation"}),
		off(row{name: "TopicAuthorization @ OFF", err: kerr.TopicAuthorizationFailed, head: dies, post: dies, want: dies, cause: "authorisation"}),
		off(row{name: "TransactionalIdAuthorization @ OFF", err: kerr.TransactionalIDAuthorizationFailed, head: dies, post: dies, want: dies, cause: "authorisation"}),
		off(row{name: "OffsetMetadataTooLarge @ OFF", err: kerr.OffsetMetadataTooLarge, head: dies, post: dies, want: corrupted, why: keepsServer, cause: "OFFSET_METADATA_TOO_LARGE"}),
		off(row{name: "UnknownServer @ OFF", err: kerr.UnknownServerError, head: dies, post: dies, want: migrated, why: keepsServer, cause: "offsets refused"}),
		off(row{name: "Timeout @ OFF", do: swallow, head: corrupted, post: dies, want: corrupted, slow: true, cause: "unknown outcome"}),
		off(row{name: "Timeout @ OFF, applied", do: lose, head: corrupted, post: dies, want: corrupted, slow: true, cause: "unknown outcome"}),
		off(row{name: "NotCoordinator @ OFF", err: kerr.NotCoordinator, head: retried, post: retried, want: migrated, why: neverRepeated, cause: "offsets refused"}),
		off(row{name: "CoordinatorLoadInProgress @ OFF", err: kerr.CoordinatorLoadInProgress, head: retried, post: retried, want: migrated, why: neverRepeated, cause: "offsets refused"}),
		off(row{name: "ConcurrentTransactions @ OFF", err: kerr.ConcurrentTransactions, head: retried, post: retried, want: migrated, why: neverRepeated, cause: "offsets refused"}),
		off(row{name: "ProducerFenced @ OFF, applied", do: lie, err: kerr.ProducerFenced, want: migrated, cause: "fenced"}),
		off(row{name: "CommitFailed (IllegalGeneration) @ OFF, applied", do: lie, err: kerr.IllegalGeneration, want: migrated, cause: "offsets refused"}),
	})
}

// TestErrorsInAddingOffsets: the group cannot be added to the transaction. From 4.0 on there is no such request.
func TestErrorsInAddingOffsets(t *testing.T) {
	t.Parallel()
	off := func(r row) row {
		r.key, r.version = kmsg.AddOffsetsToTxn, "3.7"
		return r
	}
	runRows(t, []row{
		off(row{name: "ProducerFenced @ OFF", err: kerr.ProducerFenced, head: migrated, post: migrated, want: migrated, cause: "fenced"}),
		off(row{name: "InvalidProducerEpoch @ OFF", err: kerr.InvalidProducerEpoch, head: migrated, post: migrated, want: migrated, cause: "invalid producer epoch"}),
		off(row{name: "InvalidPidMapping @ OFF", err: kerr.InvalidProducerIDMapping, head: migrated, want: migrated, cause: "invalid producer id mapping"}),
		off(row{name: "UnknownProducerId @ OFF", err: kerr.UnknownProducerID, head: dies, post: migrated, want: migrated, why: keepsSequence, cause: "unknown producer id"}),
		off(row{name: "OutOfOrderSequence @ OFF", err: kerr.OutOfOrderSequenceNumber, head: dies, post: dies, want: migrated, why: keepsSequence, cause: "out of order sequence"}),
		off(row{name: "InvalidTxnState @ OFF", err: kerr.InvalidTxnState, head: dies, post: dies, want: migrated, why: keepsSequence, cause: "invalid transaction state"}),
		off(row{name: "GroupAuthorization @ OFF", err: kerr.GroupAuthorizationFailed, head: dies, post: dies, want: dies, cause: "authorisation"}),
		off(row{name: "TransactionalIdAuthorization @ OFF", err: kerr.TransactionalIDAuthorizationFailed, head: dies, post: dies, want: dies, cause: "authorisation"}),
		off(row{name: "ConcurrentTransactions @ OFF", err: kerr.ConcurrentTransactions, n: 3, head: retried, post: retried, want: retried}),
		off(row{name: "NotCoordinator @ OFF", err: kerr.NotCoordinator, n: 3, head: retried, post: retried, want: retried}),
		off(row{name: "Timeout @ OFF", do: swallow, n: -1, last: 12 * time.Second, head: corrupted, post: dies, want: corrupted, slow: true, cause: "unknown outcome"}),
		off(row{name: "Timeout @ OFF, applied", do: lose, n: -1, last: 12 * time.Second, head: corrupted, post: dies, want: corrupted, slow: true, cause: "unknown outcome"}),
	})
}

// TestErrorsInCommit: the transaction cannot be ended. What the broker has done, or not, before it answered must not matter.
func TestErrorsInCommit(t *testing.T) {
	t.Parallel()
	var rows []row
	for _, r := range []row{
		{name: "ProducerFenced @ COMMIT", err: kerr.ProducerFenced, head: migrated, post: migrated, want: migrated, cause: "fenced"},
		{name: "InvalidProducerEpoch @ COMMIT", err: kerr.InvalidProducerEpoch, head: migrated, post: migrated, want: migrated, cause: "invalid producer epoch"},
		{name: "InvalidPidMapping @ COMMIT", err: kerr.InvalidProducerIDMapping, head: migrated, want: migrated, cause: "invalid producer id mapping"},
		{name: "UnknownProducerId @ COMMIT", err: kerr.UnknownProducerID, head: dies, post: migrated, want: migrated, why: keepsSequence, cause: "unknown producer id"},
		{name: "OutOfOrderSequence @ COMMIT", err: kerr.OutOfOrderSequenceNumber, head: dies, post: dies, want: migrated, why: keepsSequence, cause: "out of order sequence"},
		{name: "InvalidTxnState @ COMMIT", err: kerr.InvalidTxnState, head: dies, post: dies, want: migrated, why: "it is what a transaction that timed out gives (KAFKA-20785)", cause: "invalid transaction state"},
		{name: "TransactionAbortable @ COMMIT", err: kerr.TransactionAbortable, head: dies, want: migrated, why: keepsAbortable, cause: "offsets refused"},
		{name: "UnknownServer @ COMMIT", err: kerr.UnknownServerError, head: dies, post: dies, want: migrated, why: keepsServer, cause: "offsets refused"},
		{name: "RequestTimedOut @ COMMIT", err: kerr.RequestTimedOut, head: corrupted, post: dies, want: corrupted, cause: "unknown outcome"},
		{name: "NotCoordinator @ COMMIT", err: kerr.NotCoordinator, head: retried, post: retried, want: corrupted, why: neverRepeated, cause: "unknown outcome"},
		{name: "CoordinatorLoadInProgress @ COMMIT", err: kerr.CoordinatorLoadInProgress, head: retried, post: retried, want: corrupted, why: neverRepeated, cause: "unknown outcome"},
		{name: "TransactionalIdAuthorization @ COMMIT", err: kerr.TransactionalIDAuthorizationFailed, head: dies, post: dies, want: dies, cause: "authorisation"},
	} {
		r.key, r.of = kmsg.EndTxn, commits
		rows = append(rows, r)
		r.name, r.do = r.name+", applied", lie
		rows = append(rows, r)
	}
	rows = append(rows,
		row{name: "Timeout @ COMMIT", key: kmsg.EndTxn, of: commits, do: swallow, head: corrupted, post: dies, want: corrupted, slow: true, cause: "unknown outcome"},
		row{name: "Timeout @ COMMIT, applied", key: kmsg.EndTxn, of: commits, do: lose, head: corrupted, post: dies, want: corrupted, slow: true, cause: "unknown outcome"},
		row{name: "ConcurrentTransactions @ COMMIT", key: kmsg.EndTxn, of: commits, err: kerr.ConcurrentTransactions, n: 3, head: retried, post: retried, want: retried},
	)
	runRows(t, rows)
}

// TestErrorsInAbort: the client aborts a transaction whose offsets were refused. That it cannot changes nothing, for the producer is
// given up in any case.
func TestErrorsInAbort(t *testing.T) {
	t.Parallel()
	abort := func(r row) row {
		r.key, r.of = kmsg.EndTxn, aborts
		r.also = []disturbance{{key: kmsg.TxnOffsetCommit, err: kerr.IllegalGeneration}}
		r.want, r.cause = migrated, cmp.Or(r.cause, "offsets refused") // by what happened before; trunk swallows the error of the abort
		return r
	}
	unanswered := func(r row) row {
		r = abort(r)
		r.want, r.slow, r.cause = corrupted, true, "unknown outcome"
		return r
	}
	runRows(t, []row{
		abort(row{name: "ProducerFenced @ ABORT", err: kerr.ProducerFenced, cause: "fenced"}),
		abort(row{name: "InvalidProducerEpoch @ ABORT", err: kerr.InvalidProducerEpoch, cause: "invalid producer epoch"}),
		abort(row{name: "InvalidPidMapping @ ABORT", err: kerr.InvalidProducerIDMapping, cause: "invalid producer id mapping"}),
		abort(row{name: "UnknownProducerId @ ABORT", err: kerr.UnknownProducerID, cause: "unknown producer id"}),
		abort(row{name: "OutOfOrderSequence @ ABORT", err: kerr.OutOfOrderSequenceNumber, cause: "out of order sequence"}),
		abort(row{name: "TransactionAbortable @ ABORT", err: kerr.TransactionAbortable}),
		abort(row{name: "InvalidTxnState @ ABORT", err: kerr.InvalidTxnState, cause: "invalid transaction state"}),
		abort(row{name: "UnknownServer @ ABORT", err: kerr.UnknownServerError}),
		abort(row{name: "TransactionalIdAuthorization @ ABORT", err: kerr.TransactionalIDAuthorizationFailed}),
		// Nothing tells whether it was the abort or the offsets before it that got no answer.
		unanswered(row{name: "Timeout @ ABORT", do: swallow}),
		unanswered(row{name: "Timeout @ ABORT, applied", do: lose}),
	})
}

// TestErrorsInRevocation: the commit before tasks are given away fails, in a callback of the group. Kafka Streams wraps what is thrown there, and
// up to 2.4 died of that.
func TestErrorsInRevocation(t *testing.T) {
	t.Parallel()
	revoked := func(r row) row {
		r.when = revoking
		return r
	}
	runRows(t, []row{
		revoked(row{name: "ProducerFenced @ OFF in revocation", key: kmsg.TxnOffsetCommit, err: kerr.ProducerFenced, head: migrated, post: migrated, want: migrated, cause: "fenced"}),
		revoked(row{name: "CommitFailed @ OFF in revocation", key: kmsg.TxnOffsetCommit, err: kerr.IllegalGeneration, head: migrated, post: migrated, want: migrated, cause: "offsets refused"}),
		revoked(row{name: "ProducerFenced @ COMMIT in revocation", key: kmsg.EndTxn, of: commits, err: kerr.ProducerFenced, head: migrated, post: migrated, want: migrated, cause: "fenced"}),
		revoked(row{name: "InvalidTxnState @ COMMIT in revocation", key: kmsg.EndTxn, of: commits, err: kerr.InvalidTxnState, head: dies, post: dies, want: migrated, why: keepsSequence, cause: "invalid transaction state"}),
		revoked(row{name: "RequestTimedOut @ COMMIT in revocation", key: kmsg.EndTxn, of: commits, err: kerr.RequestTimedOut, head: corrupted, post: dies, want: corrupted, cause: "unknown outcome"}),
		revoked(row{name: "RequestTimedOut @ COMMIT in revocation, applied", key: kmsg.EndTxn, of: commits, do: lie, err: kerr.RequestTimedOut, head: corrupted, post: dies, want: corrupted, cause: "unknown outcome"}),
		revoked(row{name: "Timeout @ COMMIT in revocation", key: kmsg.EndTxn, of: commits, do: swallow, head: corrupted, post: dies, want: corrupted, slow: true, cause: "unknown outcome"}),
		revoked(row{name: "Timeout @ COMMIT in revocation, applied", key: kmsg.EndTxn, of: commits, do: lose, head: corrupted, post: dies, want: corrupted, slow: true, cause: "unknown outcome"}),
		revoked(row{name: "TransactionalIdAuthorization @ COMMIT in revocation", key: kmsg.EndTxn, of: commits, err: kerr.TransactionalIDAuthorizationFailed, head: dies, post: dies, want: dies, cause: "authorisation"}),
	})
}

// TestErrorsInClose: the last commit fails. The close is not clean then, and that is all: what was not committed is processed again by
// whoever has the task next.
func TestErrorsInClose(t *testing.T) {
	t.Parallel()
	closed := func(r row) row {
		r.when, r.want = closing, swallowed
		return r
	}
	runRows(t, []row{
		closed(row{name: "ProducerFenced @ OFF in close", key: kmsg.TxnOffsetCommit, err: kerr.ProducerFenced, head: swallowed}),
		closed(row{name: "CommitFailed @ OFF in close", key: kmsg.TxnOffsetCommit, err: kerr.IllegalGeneration, head: swallowed}),
		closed(row{name: "ProducerFenced @ COMMIT in close", key: kmsg.EndTxn, of: commits, err: kerr.ProducerFenced, head: swallowed}),
		closed(row{name: "InvalidTxnState @ COMMIT in close", key: kmsg.EndTxn, of: commits, err: kerr.InvalidTxnState, head: swallowed}),
		closed(row{name: "UnknownProducerId @ COMMIT in close", key: kmsg.EndTxn, of: commits, err: kerr.UnknownProducerID, head: swallowed}),
		closed(row{name: "TransactionalIdAuthorization @ COMMIT in close", key: kmsg.EndTxn, of: commits, err: kerr.TransactionalIDAuthorizationFailed, head: swallowed}),
		closed(row{name: "Timeout @ COMMIT in close", key: kmsg.EndTxn, of: commits, do: swallow, head: swallowed}),
		closed(row{name: "Timeout @ COMMIT in close, applied", key: kmsg.EndTxn, of: commits, do: lose, head: swallowed}),
		closed(row{name: "IllegalGeneration @ CMT in close", key: kmsg.OffsetCommit, err: kerr.IllegalGeneration, head: swallowed, guarantees: []runtime.Guarantee{runtime.AtLeastOnce}}),
		closed(row{name: "Timeout @ CMT in close", key: kmsg.OffsetCommit, do: swallow, head: swallowed, guarantees: []runtime.Guarantee{runtime.AtLeastOnce}}),
		closed(row{name: "UnknownMember @ LeaveGroup", key: kmsg.LeaveGroup, err: kerr.UnknownMemberID, head: swallowed}),
		closed(row{name: "Timeout @ LeaveGroup", key: kmsg.LeaveGroup, do: swallow, head: swallowed}),
	})
}
