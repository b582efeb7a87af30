package verify

import "time"

// Verdict is the verifier's judgement of a run.
type Verdict string

// The three verdicts. Unknown means that it could not be decided, for example because the cluster went away.
const (
	Clean     Verdict = "clean"
	Violation Verdict = "violation"
	Unknown   Verdict = "unknown"
)

// Status is an immutable picture of what the verifier knows. Counters are records.
type Status struct {
	Verdict Verdict  `json:"verdict,omitempty"`
	Final   bool     `json:"final"`             // Finish has judged; until then the verdict is what is known so far
	Reasons []string `json:"reasons,omitempty"` // why the verdict is not clean, most important first
	Waiting string   `json:"waiting,omitempty"` // what the verifier waits for before it can read; empty when it reads

	In         int64 `json:"in"`         // input records seen
	Processed  int64 `json:"processed"`  // input records whose committed effect was seen exactly once
	Out        int64 `json:"out"`        // committed output records seen
	Duplicated int64 `json:"duplicated"` // output records that repeat an input's effect
	Lost       int64 `json:"lost"`       // effects that are missing although later ones of the same key were committed
	OutOfOrder int64 `json:"out_of_order"`
	Wrong      int64 `json:"wrong"`      // output records whose key or value differs from the model's
	Unexpected int64 `json:"unexpected"` // output records that no input owes
	Lag        int64 `json:"lag"`        // input records whose effect has not been seen yet
	Held       int64 `json:"held"`       // output records that wait for their input to be seen

	// Known once Finish has compared the stores. They count partitions of stores.
	Stores         int64 `json:"stores"`
	DigestChecked  int64 `json:"digest_checked"`
	DigestMismatch int64 `json:"digest_mismatch"`

	Latency Latency `json:"latency"` // from a record's timestamp to the sight of its committed output

	Witnesses []Witness `json:"witnesses,omitempty"` // at most a hundred
}

// Latency holds percentiles of the end-to-end latency.
type Latency struct {
	P50 time.Duration `json:"p50_ns"`
	P99 time.Duration `json:"p99_ns"`
	Max time.Duration `json:"max_ns"`
}

// Witness is the record or the pair of records that proves a violation.
type Witness struct {
	Kind        string    `json:"kind"`                  // one of the Kind constants
	Input       string    `json:"input,omitempty"`       // topic-partition@offset, or topic-partition and sequence if it was forgotten
	Outputs     []string  `json:"outputs,omitempty"`     // topic-partition@offset
	Transaction string    `json:"transaction,omitempty"` // producer id and epoch that wrote the output
	Thread      string    `json:"thread,omitempty"`
	Detail      string    `json:"detail,omitempty"`
	At          time.Time `json:"at"`
}
