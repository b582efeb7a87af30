package runtime_test

import (
	"strings"
	"testing"
	"time"

	"eostop/runtime"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	rejoins   = "the commit may have come too late, and that is all"
	asksAgain = "a position is only ever one that the broker has told: it is asked again"
	retries   = "the step has no effect when it fails, and is repeated for as long as the task time-out allows"
	gaveUp    = "what the commit has done is not known; everything begins at what the broker says"
)

// everyGuarantee is for rows that do not depend on transactions.
func everyGuarantee() []runtime.Guarantee { return runtime.Guarantees() }

// ofThread takes the requests of one role of the first thread's clients.
func ofThread(role string) func(request) bool {
	return func(r request) bool { return r.clientID == "i1-StreamThread-1-"+role }
}

// TestErrorsInHeartbeats: the group refuses a member.
func TestErrorsInHeartbeats(t *testing.T) {
	t.Parallel()
	beat := func(r row) row {
		r.key, r.of, r.guarantees = kmsg.Heartbeat, ofThread("consumer"), everyGuarantee()
		return r
	}
	runRows(t, []row{
		beat(row{name: "IllegalGeneration @ heartbeat", err: kerr.IllegalGeneration, head: migrated, post: migrated, want: migrated, cause: "partitions lost"}),
		beat(row{name: "UnknownMember @ heartbeat", err: kerr.UnknownMemberID, head: migrated, post: migrated, want: migrated, cause: "partitions lost"}),
		beat(row{name: "RebalanceInProgress @ heartbeat", err: kerr.RebalanceInProgress, head: retried, post: retried, want: retried}),
		beat(row{name: "NotCoordinator @ heartbeat", err: kerr.NotCoordinator, n: 3, head: retried, post: retried, want: retried}),
		beat(row{name: "CoordinatorNotAvailable @ heartbeat", err: kerr.CoordinatorNotAvailable, n: 3, head: retried, post: retried, want: retried}),
		beat(row{name: "Timeout @ heartbeat", do: swallow, last: 15 * time.Second, head: migrated, post: migrated, want: migrated, cause: "partitions lost"}),
		beat(row{name: "FencedInstanceId @ heartbeat", err: kerr.FencedInstanceID, head: dies, post: dies, want: dies, cause: "fenced instance id"}),
		beat(row{name: "GroupAuthorization @ heartbeat", err: kerr.GroupAuthorizationFailed, head: dies, post: dies, want: dies, cause: "authorisation"}),
	})
}

// TestErrorsInJoins: a member cannot rejoin, or is not told its assignment.
func TestErrorsInJoins(t *testing.T) {
	t.Parallel()
	join := func(r row) row {
		r.key, r.of, r.when, r.guarantees = kmsg.JoinGroup, ofThread("consumer"), joining, everyGuarantee()
		return r
	}
	sync := func(r row) row {
		r = join(r)
		r.key = kmsg.SyncGroup
		return r
	}
	runRows(t, []row{
		join(row{name: "UnknownMember @ join", err: kerr.UnknownMemberID, head: migrated, post: migrated, want: migrated, cause: "missed a generation"}),
		join(row{name: "CoordinatorLoadInProgress @ join", err: kerr.CoordinatorLoadInProgress, n: 3, head: retried, post: retried, want: retried}),
		join(row{name: "NotCoordinator @ join", err: kerr.NotCoordinator, n: 3, head: retried, post: retried, want: retried}),
		join(row{name: "Timeout @ join", do: swallow, head: migrated, post: migrated, want: migrated, cause: "partitions lost"}),
		join(row{name: "GroupAuthorization @ join", err: kerr.GroupAuthorizationFailed, head: dies, post: dies, want: dies, cause: "authorisation"}),
		join(row{name: "FencedInstanceId @ join", err: kerr.FencedInstanceID, head: dies, post: dies, want: dies, cause: "fenced instance id"}),
		sync(row{name: "UnknownMember @ sync", err: kerr.UnknownMemberID, head: migrated, post: migrated, want: migrated, cause: "partitions lost"}),
		sync(row{name: "IllegalGeneration @ sync", err: kerr.IllegalGeneration, head: migrated, post: migrated, want: migrated, cause: "partitions lost"}),
		sync(row{name: "RebalanceInProgress @ sync", err: kerr.RebalanceInProgress, head: retried, post: retried, want: retried}),
		sync(row{name: "NotCoordinator @ sync", err: kerr.NotCoordinator, n: 3, head: retried, post: retried, want: retried}),
		sync(row{name: "Timeout @ sync", do: swallow, head: migrated, post: migrated, want: migrated, cause: "partitions lost"}),
		sync(row{name: "GroupAuthorization @ sync", err: kerr.GroupAuthorizationFailed, head: dies, post: dies, want: dies, cause: "authorisation"}),
	})
}

// TestErrorsInFetches: an input cannot be read.
func TestErrorsInFetches(t *testing.T) {
	t.Parallel()
	fetch := func(r row) row {
		r.key, r.of, r.guarantees = kmsg.Fetch, ofThread("input-consumer"), everyGuarantee()
		return r
	}
	runRows(t, []row{
		fetch(row{name: "OffsetOutOfRange @ POLL", err: kerr.OffsetOutOfRange, head: reset, post: reset, want: corrupted, why: asksAgain, cause: "offset out of range"}),
		fetch(row{name: "NotLeaderOrFollower @ POLL", err: kerr.NotLeaderForPartition, n: 3, head: retried, post: retried, want: retried}),
		fetch(row{name: "UnknownTopicOrPartition @ POLL", err: kerr.UnknownTopicOrPartition, n: 3, head: retried, post: retried, want: retried}),
		fetch(row{name: "UnknownLeaderEpoch @ POLL", err: kerr.UnknownLeaderEpoch, n: 3, head: retried, post: retried, want: retried}),
		fetch(row{name: "UnknownServer @ POLL", err: kerr.UnknownServerError, n: 3, head: retried, post: retried, want: retried}),
		fetch(row{name: "Timeout @ POLL", do: swallow, head: retried, post: retried, want: retried}),
		fetch(row{name: "TopicAuthorization @ POLL", err: kerr.TopicAuthorizationFailed, head: dies, post: dies, want: dies, cause: "authorisation"}),
	})
}

// TestErrorsInOffsetCommits: a group's offsets cannot be committed outside a transaction.
func TestErrorsInOffsetCommits(t *testing.T) {
	t.Parallel()
	cmt := func(r row) row {
		r.key, r.guarantees = kmsg.OffsetCommit, []runtime.Guarantee{runtime.AtLeastOnce}
		return r
	}
	runRows(t, []row{
		cmt(row{name: "CommitFailed (IllegalGeneration) @ CMT", err: kerr.IllegalGeneration, head: migrated, post: migrated, want: migrated, cause: "illegal generation"}),
		cmt(row{name: "CommitFailed (UnknownMember) @ CMT", err: kerr.UnknownMemberID, head: migrated, post: migrated, want: migrated, cause: "unknown member id"}),
		cmt(row{name: "RebalanceInProgress @ CMT", err: kerr.RebalanceInProgress, head: dies, want: migrated, why: rejoins, cause: "rebalance in progress"}),
		cmt(row{name: "FencedInstanceId @ CMT", err: kerr.FencedInstanceID, head: dies, want: dies, cause: "fenced instance id"}),
		cmt(row{name: "GroupAuthorization @ CMT", err: kerr.GroupAuthorizationFailed, head: dies, post: dies, want: dies, cause: "authorisation"}),
		cmt(row{name: "TopicAuthorization @ CMT", err: kerr.TopicAuthorizationFailed, head: dies, post: dies, want: dies, cause: "authorisation"}),
		cmt(row{name: "OffsetMetadataTooLarge @ CMT", err: kerr.OffsetMetadataTooLarge, head: dies, post: dies, want: corrupted, why: keepsServer, cause: "OFFSET_METADATA_TOO_LARGE"}),
		cmt(row{name: "UnknownServer @ CMT", err: kerr.UnknownServerError, head: dies, post: dies, want: corrupted, why: keepsServer, cause: "unknown server error"}),
		cmt(row{name: "Timeout @ CMT", do: swallow, n: -1, last: 12 * time.Second, head: retried, post: dies, want: corrupted, why: gaveUp, slow: true, cause: "timed out"}),
		cmt(row{name: "Timeout @ CMT, applied", do: lose, n: -1, last: 12 * time.Second, head: retried, post: dies, want: corrupted, why: gaveUp, slow: true, cause: "timed out"}),
		cmt(row{name: "NotCoordinator @ CMT", err: kerr.NotCoordinator, n: 3, head: retried, post: retried, want: retried}),
		cmt(row{name: "CoordinatorLoadInProgress @ CMT", err: kerr.CoordinatorLoadInProgress, n: 3, head: retried, post: retried, want: retried}),
	})
}

// TestErrorsInCommittedOffsets: a task cannot learn where it is to go on.
func TestErrorsInCommittedOffsets(t *testing.T) {
	t.Parallel()
	comm := func(r row) row {
		r.key, r.when, r.guarantees = kmsg.OffsetFetch, starting, everyGuarantee()
		return r
	}
	runRows(t, []row{
		comm(row{name: "UnstableOffsetCommit @ COMM", err: kerr.UnstableOffsetCommit, n: 20, head: retried, want: retried}),
		comm(row{name: "Timeout @ COMM", do: swallow, n: -1, last: 25 * time.Second, head: retried, post: retried, want: retried}),
		comm(row{name: "NotCoordinator @ COMM", err: kerr.NotCoordinator, n: 5, head: retried, post: retried, want: retried}),
		comm(row{name: "CoordinatorLoadInProgress @ COMM", err: kerr.CoordinatorLoadInProgress, n: 5, head: retried, post: retried, want: retried}),
		comm(row{name: "UnknownServer @ COMM", err: kerr.UnknownServerError, n: 3, head: dies, post: dies, want: retried, why: retries}),
		comm(row{name: "GroupAuthorization @ COMM", err: kerr.GroupAuthorizationFailed, head: dies, post: dies, want: dies, cause: "authorisation"}),
		comm(row{name: "TopicAuthorization @ COMM", err: kerr.TopicAuthorizationFailed, head: dies, post: dies, want: dies, cause: "authorisation"}),
	})
}

// TestErrorsInRestore: the changelogs cannot be read, or not from where a store has to go on.
func TestErrorsInRestore(t *testing.T) {
	t.Parallel()
	ends := func(r row) row {
		r.key, r.when = kmsg.ListOffsets, starting
		r.of = func(r request) bool { return strings.HasSuffix(r.clientID, "-admin") }
		return r
	}
	restore := func(r row) row {
		r.key, r.when, r.of = kmsg.Fetch, starting, ofThread("restore-consumer")
		return r
	}
	runRows(t, []row{
		ends(row{name: "Timeout @ RST (ends of changelogs)", do: swallow, n: -1, last: 25 * time.Second, head: retried, post: retried, want: retried}),
		ends(row{name: "NotLeaderOrFollower @ RST (ends of changelogs)", err: kerr.NotLeaderForPartition, n: 5, head: retried, post: retried, want: retried}),
		ends(row{name: "UnknownServer @ RST (ends of changelogs)", err: kerr.UnknownServerError, n: 5, head: dies, post: dies, want: retried, why: retries}),
		// A command to the updater interrupts the request, and then its answer does not count; so it is refused several times.
		ends(row{name: "TopicAuthorization @ RST (ends of changelogs)", err: kerr.TopicAuthorizationFailed, n: 4, head: dies, post: dies, want: dies, cause: "authorisation"}),
		restore(row{name: "OffsetOutOfRange @ RST", err: kerr.OffsetOutOfRange, head: corrupted, post: corrupted, want: corrupted, cause: "offset out of range"}),
		restore(row{name: "Timeout @ RST", do: swallow, head: retried, post: retried, want: retried}),
		restore(row{name: "NotLeaderOrFollower @ RST", err: kerr.NotLeaderForPartition, n: 3, head: retried, post: retried, want: retried}),
		restore(row{name: "UnknownTopicOrPartition @ RST", err: kerr.UnknownTopicOrPartition, n: 3, head: retried, post: retried, want: retried}),
		restore(row{name: "TopicAuthorization @ RST", err: kerr.TopicAuthorizationFailed, head: dies, post: dies, want: dies, cause: "authorisation"}),
	})
}
