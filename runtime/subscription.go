package runtime

import (
	"encoding/json"
	"fmt"
)

// userDataVersion is the version of what members tell the leader and the leader tells members.
const userDataVersion = 1

// subscription is what a member tells the group's leader when it joins.
type subscription struct {
	Version         int              `json:"v"`
	ProcessID       string           `json:"process"` // members of one process share its stores
	Thread          string           `json:"thread"`
	TransactionalID string           `json:"txn"`
	Tasks           []TaskID         `json:"tasks,omitempty"`  // owned at the time of the join
	Stored          map[string]int64 `json:"stored,omitempty"` // task -> 1 for each task with state on the member's disk
	Nonce           uint32           `json:"nonce,omitempty"`
}

// assignment is what the leader tells a member.
type assignment struct {
	Version int      `json:"v"`
	Tasks   []TaskID `json:"tasks,omitempty"`
	// Standbys are the tasks whose stores the member keeps up to date.
	Standbys []TaskID `json:"standbys,omitempty"`
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
