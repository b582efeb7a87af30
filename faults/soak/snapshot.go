package soak

import (
	"time"

	"eostop/faults/verify"
	"eostop/runtime"
	"eostop/runtime/journal"
)

// Phases of a session, in order.
const (
	PhaseStarting  = "starting"  // not every thread has been RUNNING yet
	PhaseRunning   = "running"   // the load runs
	PhaseDraining  = "draining"  // the load has stopped, the application works off what is left
	PhaseVerifying = "verifying" // the verifier compares stores, changelogs and model
	PhaseStopping  = "stopping"  // instances close
	PhaseStopped   = "stopped"
)

// Snapshot is an immutable picture of a session, taken on demand. It holds no pointer into anything that changes.
type Snapshot struct {
	Seq     uint64        `json:"seq"`
	At      time.Time     `json:"at"`
	Elapsed time.Duration `json:"elapsed_ns"` // since all threads were RUNNING for the first time; 0 before
	Phase   string        `json:"phase"`
	Waiting string        `json:"waiting,omitempty"` // what the session waits for, in words; empty when it does not wait

	ApplicationID string `json:"application_id"`
	Topology      string `json:"topology"`
	Guarantee     string `json:"guarantee"`
	Profile       string `json:"profile"`
	BrokerKind    string `json:"broker_kind"` // embedded or kafka
	BrokerVersion string `json:"broker_version"`
	Seed          int64  `json:"seed"`

	// Time-outs that the count-downs on the screen refer to.
	SessionTimeout     time.Duration `json:"session_timeout_ns"`
	TransactionTimeout time.Duration `json:"transaction_timeout_ns"`

	Verify verify.Status `json:"verify"`

	TargetRate    float64       `json:"target_rate"`    // records a second asked of the load generator
	InRate        float64       `json:"in_rate"`        // acknowledged to the generator, a second
	ProcessedRate float64       `json:"processed_rate"` // input records processed, a second
	In            int64         `json:"in"`
	Processed     int64         `json:"processed"`
	MaxRate       float64       `json:"max_rate"`
	Lag           int64         `json:"lag"`         // input records not yet processed
	Duration      time.Duration `json:"duration_ns"` // planned length of the load; 0 = until stopped

	ThreadsTotal    int `json:"threads_total"`
	ThreadsAlive    int `json:"threads_alive"`
	ThreadsRunning  int `json:"threads_running"`
	ThreadsDied     int `json:"threads_died"`
	ThreadsReplaced int `json:"threads_replaced"`

	Transactions Transactions `json:"transactions"`

	Found *ReportFound `json:"found,omitempty"` // the first sign that the run has failed; nil while there is none

	Instances []Instance      `json:"instances"`
	Elsewhere []Elsewhere     `json:"elsewhere,omitempty"` // members of the group in other processes
	Cuts      []Cut           `json:"cuts"`                // in order of their start
	NextCut   *PlannedCut     `json:"next_cut,omitempty"`  // nil when none is planned
	Events    []journal.Event `json:"-"`                   // the newest ones, oldest first
}

// Transactions counts transactions of all threads since the session began.
type Transactions struct {
	Committed      uint64 `json:"committed"`
	Aborted        uint64 `json:"aborted"`
	Fenced         uint64 `json:"fenced"`
	UnknownOutcome uint64 `json:"unknown_outcome"`
}

// Instance is an instance together with the state of its link to the brokers.
type Instance struct {
	runtime.InstanceStatus
	Cut          bool      `json:"cut"`           // the link passes nothing in at least one direction
	CutDirection string    `json:"cut_direction"` // both, in or out
	CutSince     time.Time `json:"cut_since,omitzero"`
}

// Cut is the history of one cut and of what the group did about it.
type Cut struct {
	Instance  string    `json:"instance"`
	Direction string    `json:"direction"`
	Start     time.Time `json:"start"`
	Healed    time.Time `json:"healed,omitzero"` // zero while the cut lasts
	Expelled  bool      `json:"expelled"`
	// Takeover and Recovered are absent (negative) until they have happened.
	Takeover            time.Duration `json:"takeover_ns"`  // from Start until every task has committed on another instance
	Recovered           time.Duration `json:"recovered_ns"` // from Healed until all threads run in the group again and have committed
	RestoredRecords     int64         `json:"restored_records"`
	AbortedTransactions int64         `json:"aborted_transactions"`
	ReplayedRecords     int64         `json:"replayed_records"` // processed in transactions that were given up

	// The moments between; zero until they have come.
	Detected time.Time `json:"detected,omitzero"`  // a thread of the instance shows DISCONNECTED
	Away     time.Time `json:"away,omitzero"`      // the first of its tasks is another instance's
	Rejoined time.Time `json:"rejoined,omitzero"`  // healed, and all its threads are in the group's present generation
	Restored time.Time `json:"restored,omitzero"`  // and all their tasks are RUNNING
	CaughtUp time.Time `json:"caught_up,omitzero"` // every record that had come in when it was healed is processed
}

// PlannedCut is a cut that the schedule will make.
type PlannedCut struct {
	Instance  string        `json:"instance"`
	Direction string        `json:"direction"`
	In        time.Duration `json:"in_ns"` // from now
	Length    time.Duration `json:"length_ns"`
}
