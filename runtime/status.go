package runtime

import (
	"cmp"
	"time"
)

// InstanceStatus is an immutable picture of one instance. It is assembled from what the owners of the parts
// published last; nothing in it changes after it was returned.
type InstanceStatus struct {
	Name      string `json:"name"`
	ProcessID string `json:"process_id"`
	// State is one of Kafka Streams' instance states, in upper case.
	State string    `json:"state"`
	Since time.Time `json:"since"`
	// Connected is false when every thread is cut off from its brokers.
	Connected         bool           `json:"connected"`
	DisconnectedSince time.Time      `json:"disconnected_since,omitzero"`
	Paused            bool           `json:"paused,omitempty"`
	Threads           []ThreadStatus `json:"threads"`
	// Removed is what threads have counted that were removed.
	Removed Counters `json:"removed,omitzero"`
}

// Totals sums the counters of all threads, also of those that were removed.
func (s *InstanceStatus) Totals() Counters {
	sum := s.Removed
	for i := range s.Threads {
		sum.Add(&s.Threads[i].Counters)
	}
	return sum
}

// ThreadStatus is an immutable picture of one stream thread. Its counters go on where a thread is replaced.
type ThreadStatus struct {
	Name     string `json:"name"`
	Instance string `json:"instance"`
	Index    int    `json:"index"`
	// State is one of Kafka Streams' thread states, in upper case.
	State string    `json:"state"`
	Since time.Time `json:"since"`

	// Connected is false when no byte has come from any broker for two seconds while a request is outstanding,
	// or every dial fails. The formal State does not change by it.
	Connected         bool      `json:"connected"`
	DisconnectedSince time.Time `json:"disconnected_since,omitzero"`
	// The deadlines that run while the thread is cut off; zero where no such count-down runs.
	SessionDeadline     time.Time `json:"session_deadline,omitzero"`
	TransactionDeadline time.Time `json:"transaction_deadline,omitzero"`
	RebalanceDeadline   time.Time `json:"rebalance_deadline,omitzero"`

	MemberID    string `json:"member_id"`
	Generation  int32  `json:"generation"`
	Leader      bool   `json:"leader"`
	Rebalancing bool   `json:"rebalancing"`
	// RebalancingSince is when the present or the last rebalance began.
	RebalancingSince time.Time `json:"rebalancing_since,omitzero"`

	Tasks    []TaskStatus  `json:"tasks"`
	Standbys []TaskStatus  `json:"standbys,omitempty"`
	Stores   []StoreStatus `json:"stores"`
	// Producers has one entry, under exactly_once one for each task.
	Producers []ProducerStatus `json:"producers"`

	Counters

	LastCommit time.Time `json:"last_commit,omitzero"`
	LastCause  string    `json:"last_cause,omitempty"`
	LastError  string    `json:"last_error,omitempty"`
}

// TransactionSince returns when the oldest open transaction of the thread began; the zero time when none is open.
func (s *ThreadStatus) TransactionSince() time.Time {
	var oldest time.Time
	for i := range s.Producers {
		if since := s.Producers[i].TransactionSince; !since.IsZero() && (oldest.IsZero() || since.Before(oldest)) {
			oldest = since
		}
	}
	return oldest
}

// TaskStatus is an immutable picture of one task, active or standby.
type TaskStatus struct {
	ID string `json:"id"`
	// State is one of Kafka Streams' task states, in upper case.
	State      string    `json:"state"`
	Since      time.Time `json:"since"`
	Partitions []string  `json:"partitions"` // "topic-partition"
	// Lag is the number of records between the task's position and the end of its inputs; -1 while unknown.
	Lag       int64 `json:"lag"`
	Processed int64 `json:"processed"`
	// FirstCommit and LastCommit are the times of the commits since the task came to this thread.
	FirstCommit      time.Time `json:"first_commit,omitzero"`
	LastCommit       time.Time `json:"last_commit,omitzero"`
	RestoreRemaining int64     `json:"restore_remaining"` // changelog records still to restore
}

// StoreStatus is an immutable picture of one state store of one task.
type StoreStatus struct {
	Name     string `json:"name"`
	Task     string `json:"task"`
	Thread   string `json:"thread"`
	Instance string `json:"instance"`
	State    string `json:"state"` // OPEN, RESTORING or STANDBY
	Entries  int64  `json:"entries"`
	Bytes    int64  `json:"bytes"`
	Position int64  `json:"position"` // next changelog offset of the committed state
	Lag      int64  `json:"lag"`      // changelog records not yet restored
	Standby  bool   `json:"standby,omitempty"`
	// Registered is true while the store is in its task's registry: opened, and not yet closed.
	Registered bool `json:"registered"`
}

// ProducerStatus is an immutable picture of a producer.
type ProducerStatus struct {
	Thread          string `json:"thread"`
	TransactionalID string `json:"transactional_id,omitempty"` // empty under at_least_once
	ProducerID      int64  `json:"producer_id"`
	Epoch           int16  `json:"epoch"`
	// Phase is NONE, INITIALIZING, READY, IN_TRANSACTION, COMMITTING or DISCARDED.
	Phase            string        `json:"phase"`
	PhaseSince       time.Time     `json:"phase_since,omitzero"`
	TransactionSince time.Time     `json:"transaction_since,omitzero"` // zero outside a transaction
	Commits          uint64        `json:"commits"`
	Aborts           uint64        `json:"aborts"`
	Fences           uint64        `json:"fences"`
	Epochs           []EpochChange `json:"epochs,omitempty"` // newest last, at most sixteen
}

// EpochChange says when and why a producer got a new id or epoch.
type EpochChange struct {
	At         time.Time `json:"at"`
	ProducerID int64     `json:"producer_id"`
	Epoch      int16     `json:"epoch"`
	Cause      string    `json:"cause"`
}

// name is how logs call the producer.
func (s *ProducerStatus) name() string { return cmp.Or(s.TransactionalID, s.Thread+"-producer") }
