package soak

import (
	"fmt"
	"math"
	"runtime/debug"
	"slices"
	"time"

	"eostop/faults/verify"
)

// Version is the version of the program, as reports state it.
const Version = "0.1.0"

// Revision returns the commit that the program was built from, shortened; empty if that is not known.
func Revision() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value[:min(12, len(s.Value))]
			}
		}
	}
	return ""
}

// reportSchema is the version of the report's shape.
const reportSchema = 1

// Exit codes of the program.
const (
	ExitClean     = 0 // the verdict is clean; without a verifier: ran and stopped cleanly
	ExitViolation = 1 // a violation, or a thread died of an error that it should have survived
	ExitUsage     = 2 // wrong command line or configuration
	ExitUnknown   = 3 // the verdict could not be decided
	ExitNotRun    = 4 // could not run: no broker, no disk
)

// Report is the result of a session. Durations are milliseconds. What was not measured is absent, never 0.
type Report struct {
	Schema  int    `json:"schema"`
	Version string `json:"version"`
	// Verdict is absent when the run had no verifier.
	Verdict verify.Verdict `json:"verdict,omitempty"`
	Reasons []string       `json:"reasons"`

	// Found is when a failed run was first known to have failed; absent in others.
	Found *ReportFound `json:"found,omitempty"`

	ApplicationID string       `json:"application_id"`
	Guarantee     string       `json:"guarantee"`
	Profile       string       `json:"profile"`
	Broker        ReportBroker `json:"broker"`
	Seed          int64        `json:"seed"`
	// Schedule is the name or the file of a schedule; absent when only listed cuts and faults were done, if any.
	Schedule string `json:"schedule,omitempty"`
	// RealMS is how long a simulation took; absent when the run itself was in real time.
	RealMS *int64 `json:"real_ms,omitempty"`
	// DurationMS counts from the first moment when all threads were RUNNING; absent when that never came.
	DurationMS *int64 `json:"duration_ms,omitempty"`

	Records      ReportRecords      `json:"records"`
	Throughput   ReportThroughput   `json:"throughput"`
	LatencyMS    *ReportLatency     `json:"latency_ms,omitempty"`
	Threads      ReportThreads      `json:"threads"`
	Transactions ReportTransactions `json:"transactions"`
	State        ReportState        `json:"state"`
	Cuts         []ReportCut        `json:"cuts"`
	Recovery     *ReportRecovery    `json:"recovery,omitempty"` // absent without cuts
	Faults       []ReportFault      `json:"faults"`
	Witnesses    []ReportWitness    `json:"witnesses"`

	// began is the first moment when all threads were RUNNING; zero when that never came.
	began time.Time
	// undecided says that nobody judged the records and that all reasons are things that could not be decided.
	undecided bool
}

// ReportBroker says what the application ran on.
type ReportBroker struct {
	Kind    string `json:"kind"` // embedded or kafka
	Version string `json:"version,omitempty"`
}

// ReportRecords counts records. In is absent when neither a load ran nor a verifier. Out and what follows is what the
// verifier saw; absent without it.
type ReportRecords struct {
	In         *int64 `json:"in,omitempty"`
	Processed  int64  `json:"processed"`
	Out        *int64 `json:"out,omitempty"`
	Duplicated *int64 `json:"duplicated,omitempty"`
	Lost       *int64 `json:"lost,omitempty"`
	OutOfOrder *int64 `json:"out_of_order,omitempty"`
}

// ReportThroughput is in input records processed a second. The average is over the load period, without the drain.
type ReportThroughput struct {
	AvgPerS *float64 `json:"avg_per_s,omitempty"`
	MaxPerS *float64 `json:"max_per_s,omitempty"`
}

// ReportLatency is the time from a record's creation to the sight of its committed output, in milliseconds.
type ReportLatency struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// ReportThreads counts stream threads. A thread that was replaced is among the died ones too.
type ReportThreads struct {
	Total    int          `json:"total"`
	Alive    int          `json:"alive"`
	Died     []ThreadDied `json:"died"`
	Replaced int          `json:"replaced"`
}

// ThreadDied says which thread died, and of what.
type ThreadDied struct {
	Thread string    `json:"thread"`
	At     time.Time `json:"at"`
	Cause  string    `json:"cause"`
	Error  string    `json:"error,omitempty"`
	// Log is what the thread logged from the error until it was DEAD.
	Log []string `json:"log,omitempty"`
	// Survivable says that the profile fixed survives this error, so that the death is a fault of the application's
	// runtime and not of its code.
	Survivable bool `json:"-"`
}

// ReportTransactions counts transactions of all threads.
type ReportTransactions struct {
	Committed      uint64 `json:"committed"`
	Aborted        uint64 `json:"aborted"`
	Fenced         uint64 `json:"fenced"`
	UnknownOutcome uint64 `json:"unknown_outcome"`
	OpenAtEnd      *int64 `json:"open_at_end,omitempty"`
}

// ReportState says what became of the state stores. The first three are known once the verifier has compared the stores,
// and absent until then.
type ReportState struct {
	Stores          *int64 `json:"stores,omitempty"`
	DigestChecked   *int64 `json:"digest_checked,omitempty"`
	DigestMismatch  *int64 `json:"digest_mismatch,omitempty"`
	RestoredRecords uint64 `json:"restored_records"`
	Wiped           uint64 `json:"wiped"`   // thrown away after an unclean close
	Rebuilt         uint64 `json:"rebuilt"` // had to start over from the changelog's start
}

// ReportCut is one cut and what the group did about it.
type ReportCut struct {
	Instance  string `json:"instance"`
	Direction string `json:"direction"`
	StartMS   *int64 `json:"start_ms,omitempty"`  // from the first moment when all threads were RUNNING
	LengthMS  *int64 `json:"length_ms,omitempty"` // absent when the cut lasted at the end
	Expelled  bool   `json:"expelled"`
	// From the start of the cut: until a thread of the instance shows DISCONNECTED, until the group has given the first of its
	// tasks away, until every one of them has committed elsewhere.
	DetectedMS *int64 `json:"detected_ms,omitempty"`
	ExpelledMS *int64 `json:"expelled_ms,omitempty"`
	TakeoverMS *int64 `json:"takeover_ms,omitempty"`
	// From the heal: until all threads of the instance are in the group's present generation, until all their tasks have restored
	// their stores and run, until each thread that owns tasks has committed, and until the application has processed every
	// record that had come in when the cut was healed.
	RejoinedMS  *int64 `json:"rejoined_ms,omitempty"`
	RestoredMS  *int64 `json:"restored_ms,omitempty"`
	RecoveredMS *int64 `json:"recovered_ms,omitempty"`
	CaughtUpMS  *int64 `json:"caught_up_ms,omitempty"`
	// What all instances have done from the start of the cut until it was recovered from. Replayed records, also those of
	// topics in between, were processed in transactions that were given up.
	RestoredRecords     int64 `json:"restored_records"`
	AbortedTransactions int64 `json:"aborted_transactions"`
	ReplayedRecords     int64 `json:"replayed_records"`
}

// ReportFault is a fault that was injected.
type ReportFault struct {
	Kind     string `json:"kind"`
	Spec     string `json:"spec"` // as it is written
	Instance string `json:"instance,omitempty"`
	Thread   string `json:"thread,omitempty"`
	StartMS  *int64 `json:"start_ms,omitempty"`
	LengthMS *int64 `json:"length_ms,omitempty"` // absent for a fault without a length
	// Hits is how often it did something to a request or a thread; 0 means that it did not happen. Absent for faults that do
	// not wait for anything, like a slow link.
	Hits *int64 `json:"hits,omitempty"`
	// EndedMS is when the last that it did was over; absent if it never did anything.
	EndedMS *int64 `json:"ended_ms,omitempty"`
	// RecoveredMS is from there until all threads of all instances worked.
	RecoveredMS *int64 `json:"recovered_ms,omitempty"`
}

// ReportWitness is the record or the records that prove a violation.
type ReportWitness struct {
	Kind        string    `json:"kind"`
	Input       string    `json:"input,omitempty"` // topic-partition@offset
	Outputs     []string  `json:"outputs"`         // topic-partition@offset
	Transaction string    `json:"transaction,omitempty"`
	Thread      string    `json:"thread,omitempty"`
	Detail      string    `json:"detail,omitempty"`
	At          time.Time `json:"at,omitzero"`
}

// Outcome is what a session knows at its end beyond its last snapshot.
type Outcome struct {
	// Verified says that a verifier ran; without it the report has no verdict.
	Verified bool
	// Loaded says that a load ran, so that the snapshot's input records are those that it was acknowledged.
	Loaded bool
	// LoadPeriod is how long the load ran, and LoadProcessed the input records that were processed in it. 0 = no load.
	LoadPeriod    time.Duration
	LoadProcessed int64
	// Violations and Undecided are the session's own reasons against a clean verdict, beside the verifier's: for example
	// input that was still unprocessed at the drain deadline, or brokers that were out of reach.
	Violations []string
	Undecided  []string
	Died       []ThreadDied
	Faults     []ReportFault
	Schedule   string // name or file
	Found      *ReportFound
	// OpenAtEnd counts transactions that were open after the instances had stopped; nil = not measured.
	OpenAtEnd *int64
}

// NewReport makes the report of a session from its final snapshot.
func NewReport(s *Snapshot, o Outcome) *Report {
	r := &Report{
		Schema:        reportSchema,
		Version:       Version,
		ApplicationID: s.ApplicationID,
		Guarantee:     s.Guarantee,
		Profile:       s.Profile,
		Broker:        ReportBroker{Kind: s.BrokerKind, Version: s.BrokerVersion},
		Seed:          s.Seed,
		Found:         o.Found,
		Schedule:      o.Schedule,
		DurationMS:    positiveMS(s.Elapsed),
		Records:       ReportRecords{Processed: s.Processed},
		Threads:       ReportThreads{Total: s.ThreadsTotal, Alive: s.ThreadsAlive, Died: orEmpty(o.Died), Replaced: s.ThreadsReplaced},
		Transactions: ReportTransactions{
			Committed: s.Transactions.Committed, Aborted: s.Transactions.Aborted, Fenced: s.Transactions.Fenced,
			UnknownOutcome: s.Transactions.UnknownOutcome, OpenAtEnd: o.OpenAtEnd,
		},
		Cuts:      []ReportCut{},
		Faults:    orEmpty(o.Faults),
		Witnesses: []ReportWitness{},
	}
	if s.Elapsed > 0 {
		r.began = s.At.Add(-s.Elapsed)
	}
	if o.LoadPeriod > 0 {
		r.Throughput.AvgPerS = new(tenth(float64(o.LoadProcessed) / o.LoadPeriod.Seconds()))
	}
	if s.MaxRate > 0 {
		r.Throughput.MaxPerS = new(tenth(s.MaxRate))
	}
	r.State.counters(s)
	if o.Loaded {
		r.Records.In = new(s.In)
	}
	if o.Verified {
		r.verified(&s.Verify)
	}
	for _, cut := range s.Cuts {
		r.Cuts = append(r.Cuts, reportCut(s, cut))
	}
	r.Recovery = recoveryOf(s.Cuts)
	r.judge(s, o)
	return r
}

// verified takes over what the verifier saw. Processed is then the verifier's number: threads count a record again when its
// transaction was aborted.
func (r *Report) verified(v *verify.Status) {
	if r.Records.In == nil { // no load
		r.Records.In = new(v.In)
	}
	r.Records.Processed = v.Processed
	r.Records.Out, r.Records.Duplicated = new(v.Out), new(v.Duplicated)
	r.Records.Lost, r.Records.OutOfOrder = new(v.Lost), new(v.OutOfOrder)
	if v.Latency.Max > 0 {
		r.LatencyMS = &ReportLatency{P50: ms(v.Latency.P50), P99: ms(v.Latency.P99), Max: ms(v.Latency.Max)}
	}
	if v.Final {
		r.State.Stores, r.State.DigestChecked, r.State.DigestMismatch = new(v.Stores), new(v.DigestChecked), new(v.DigestMismatch)
	}
	r.Witnesses = reportWitnesses(v.Witnesses)
}

// reportWitnesses are the verifier's witnesses as reports state them.
func reportWitnesses(found []verify.Witness) []ReportWitness {
	all := []ReportWitness{}
	for _, w := range found {
		all = append(all, ReportWitness{
			Kind: w.Kind, Input: w.Input, Outputs: orEmpty(w.Outputs), Transaction: w.Transaction, Thread: w.Thread, Detail: w.Detail, At: w.At,
		})
	}
	return all
}

// judge decides the verdict: a violation outweighs an unknown, an unknown outweighs clean.
func (r *Report) judge(s *Snapshot, o Outcome) {
	r.Reasons = orEmpty(slices.Concat(o.Violations, s.Verify.Reasons, o.Undecided))
	for _, d := range o.Died {
		if d.Survivable {
			r.Reasons = append(r.Reasons, fmt.Sprintf("thread %s died of %q, which it should have survived", d.Thread, d.Cause))
		}
	}
	if !o.Verified {
		r.undecided = len(o.Undecided) > 0 && len(o.Undecided) == len(r.Reasons)
		return
	}
	switch {
	case len(o.Violations) > 0 || s.Verify.Verdict == verify.Violation:
		r.Verdict = verify.Violation
	case len(o.Undecided) > 0 || s.Verify.Verdict != verify.Clean:
		r.Verdict = verify.Unknown
	default:
		r.Verdict = verify.Clean
	}
}

func (st *ReportState) counters(s *Snapshot) {
	for i := range s.Instances {
		counted := s.Instances[i].Totals()
		st.RestoredRecords += counted.RestoredRecords
		st.Wiped += counted.Wiped
		st.Rebuilt += counted.Rebuilt
	}
}

func reportCut(s *Snapshot, cut Cut) ReportCut {
	c := ReportCut{
		Instance: cut.Instance, Direction: cut.Direction, Expelled: cut.Expelled,
		RestoredRecords: cut.RestoredRecords, AbortedTransactions: cut.AbortedTransactions, ReplayedRecords: cut.ReplayedRecords,
		DetectedMS: sinceMS(between(cut.Start, cut.Detected)), ExpelledMS: sinceMS(between(cut.Start, cut.Away)),
		RejoinedMS: sinceMS(between(cut.Healed, cut.Rejoined)), RestoredMS: sinceMS(between(cut.Healed, cut.Restored)), CaughtUpMS: sinceMS(between(cut.Healed, cut.CaughtUp)),
	}
	if s.Elapsed > 0 {
		began := s.At.Add(-s.Elapsed)
		c.StartMS = new(cut.Start.Sub(began).Milliseconds())
	}
	if !cut.Healed.IsZero() {
		c.LengthMS = new(cut.Healed.Sub(cut.Start).Milliseconds())
		c.RecoveredMS = sinceMS(cut.Recovered)
	}
	if cut.Expelled {
		c.TakeoverMS = sinceMS(cut.Takeover)
	}
	return c
}

// ExitCode is the exit code that a report stands for.
func ExitCode(r *Report) int {
	survivable := slices.ContainsFunc(r.Threads.Died, func(d ThreadDied) bool { return d.Survivable })
	switch {
	case r.Verdict == verify.Violation, survivable:
		return ExitViolation
	case r.Verdict == verify.Unknown, r.undecided:
		return ExitUnknown
	case r.Verdict == "" && len(r.Reasons) > 0: // Nobody judged the records, but it did not stop cleanly.
		return ExitViolation
	}
	return ExitClean
}

// WriteReport writes the report as one JSON object.
func WriteReport(path string, r *Report) error {
	return writeJSON(path, "report", r)
}

// sinceMS is a duration in milliseconds; a negative one has not been measured.
func sinceMS(d time.Duration) *int64 {
	if d < 0 {
		return nil
	}
	return new(d.Milliseconds())
}

// positiveMS is a duration in milliseconds; 0 has not been measured.
func positiveMS(d time.Duration) *int64 {
	if d <= 0 {
		return nil
	}
	return new(d.Milliseconds())
}

func ms(d time.Duration) float64 { return tenth(float64(d) / float64(time.Millisecond)) }

// tenth rounds to one decimal: more would be noise in a report.
func tenth(x float64) float64 { return math.Round(x*10) / 10 }

// orEmpty keeps lists present in JSON.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
