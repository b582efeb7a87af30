package runtime

import (
	"encoding/json"
	"fmt"
	"runtime/debug"
	"slices"
)

// userDataVersion is the version of what members tell the leader and the leader tells members. Version 1 knew no standbys. What
// is only added to a version is skipped by those that do not know it; the leader answers in the lowest version among the members,
// and plans nothing that this version cannot say.
const userDataVersion = 2

// Offset sums that are none, as in Kafka Streams' SubscriptionInfo.
const (
	latestOffset  = -2 // the task is active and running here: nothing is behind
	unknownOffset = -3 // there are stores, but nobody has looked how far they reach
)

// subscription is what a member tells the group's leader when it joins.
type subscription struct {
	Version         int      `json:"v"`
	ProcessID       string   `json:"process"` // members of one process share its stores
	Thread          string   `json:"thread"`
	TransactionalID string   `json:"txn"`             // version 1 has only one; since version 2 TransactionalIDs counts
	Tasks           []TaskID `json:"tasks,omitempty"` // active tasks, owned at the time of the join
	// Stored are the tasks with state on the member's disk. In version 2 the value is the sum of the changelog positions
	// of the task's stores, or latestOffset or unknownOffset; in version 1 it is 1.
	Stored map[string]int64 `json:"stored,omitempty"`
	Nonce  uint32           `json:"nonce,omitempty"`

	// Since version 2.

	Standby []TaskID `json:"standby,omitempty"` // standby tasks at the time of the join
	// Promised and PromisedStandby are those of the last assignment: the member has not got them, and is to get them still.
	Promised        []TaskID  `json:"promised,omitempty"`
	PromisedStandby []TaskID  `json:"promised_standby,omitempty"`
	Guarantee       Guarantee `json:"guarantee,omitempty"`
	// TransactionalIDs are the ids that the member may have an open transaction under: see transactionalIDs.
	TransactionalIDs []string `json:"txns,omitempty"`
	// Known are the ids of all members as of the last assignment that this member got: a new leader has no last assignment of its own,
	// and must know whom to fence.
	Known []string `json:"known,omitempty"`
	// PerTask says that the last assignment that this member got was one with members of guarantee exactly_once: a new leader
	// has no last assignment of its own.
	PerTask bool `json:"per_task,omitempty"`
	// Shutdown asks for the end of all members (KIP-671, SHUTDOWN_APPLICATION).
	Shutdown bool `json:"shutdown,omitempty"`
	// Client is the version of the program.
	Client string `json:"client,omitempty"`
}

// assignment is what the leader tells a member.
type assignment struct {
	Version int      `json:"v"`
	Tasks   []TaskID `json:"tasks,omitempty"` // active tasks
	// Leader is the thread that has decided.
	Leader string `json:"leader,omitempty"`
	// Partitions are the partition counts of all source topics, so that members build the same tasks as the leader.
	Partitions map[string]int32 `json:"partitions,omitempty"`
	// TransactionalIDs are those of all members, so that any next leader knows which ids an expelled member used.
	TransactionalIDs []string `json:"txns,omitempty"`
	// Fenced are ids of expelled members that were fenced on the group's behalf and have not been seen since.
	Fenced []string `json:"fenced,omitempty"`
	// Error says why there is nothing to assign; every member fails with it.
	Error string `json:"error,omitempty"`

	// Since version 2.

	Standby []TaskID `json:"standby,omitempty"` // standby tasks, warm-ups among them
	Warmups []TaskID `json:"warmups,omitempty"` // those of Standby that are to become active here once they have caught up
	// Promised and PromisedStandby are tasks that the member is to get in the next rebalance: others have them open still.
	Promised        []TaskID `json:"promised,omitempty"`
	PromisedStandby []TaskID `json:"promised_standby,omitempty"`
	// Awaited: somebody waits for a task that this member has to let go of. It joins once more when that is done.
	Awaited bool `json:"awaited,omitempty"`
	// Probing is when this member has to ask for a rebalance, in milliseconds since 1970, because warm-ups may have caught up by
	// then. 0 = never. One member of the group is told.
	Probing int64 `json:"probing,omitempty"`
	// PerTask: members of guarantee exactly_once are or were there. Whoever takes an active task over initialises its
	// transactional id (taskTransactionalID) before it restores, also when it does not use it itself: that fences a former
	// owner, whose offsets are not fenced by member and generation.
	PerTask bool `json:"per_task,omitempty"`
	// ExactlyOnce: members of guarantee exactly_once are there. PerTask stays for one assignment longer.
	ExactlyOnce bool `json:"exactly_once,omitempty"`
	// Shutdown: a member has asked for the end of all. There is nothing else in the assignment.
	Shutdown bool `json:"shutdown,omitempty"`
}

// awaits reports whether others wait for a task that a member with these claims gives up by the assignment: then it joins
// once more as soon as it has closed it.
func (a *assignment) awaits(c claims) bool {
	lost := func(claimed, given []TaskID) bool {
		return slices.ContainsFunc(claimed, func(id TaskID) bool { return !slices.Contains(given, id) })
	}
	if a.Awaited || lost(c.active, a.Tasks) {
		return true
	}
	// Version 1 cannot tell that somebody waits for a standby of the same process.
	return a.Version < 2 && lost(c.standby, slices.Concat(a.Tasks, a.Standby))
}

// ids returns the transactional ids that a subscription announces, whatever its version.
func (s *subscription) ids() []string {
	if s.Version < 2 && s.TransactionalID != "" {
		return []string{s.TransactionalID}
	}
	return s.TransactionalIDs
}

// AnnouncedIDs returns the transactional ids that a member of the group has announced in the user data of its subscription: those under which
// its thread commits, whatever its tasks are. Those of guarantee exactly_once go with the tasks, and are not among them. Nothing comes
// of what cannot be read.
func AnnouncedIDs(userData []byte) []string {
	s, err := decodeSubscription(userData)
	if err != nil || s.Version > 1 && s.Guarantee != ExactlyOnceV2 {
		return nil
	}
	return s.ids()
}

// clientVersion is the version that the program was built as.
func clientVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	return info.Main.Version
}

func encodeUserData(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("user data: " + err.Error()) // our own types always marshal
	}
	return b
}

func decodeSubscription(b []byte) (subscription, error) {
	var s subscription
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("subscription: %w", err)
	}
	if s.Version < 1 {
		return s, fmt.Errorf("subscription: version %d, must be at least 1", s.Version)
	}
	return s, nil
}

func decodeAssignment(b []byte) (*assignment, error) {
	a := new(assignment)
	if len(b) == 0 {
		return a, nil
	}
	if err := json.Unmarshal(b, a); err != nil {
		return nil, fmt.Errorf("assignment: %w", err)
	}
	if a.Version < 1 {
		return nil, fmt.Errorf("assignment: version %d, must be at least 1", a.Version)
	}
	return a, nil
}
