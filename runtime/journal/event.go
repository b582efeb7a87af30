package journal

import (
	"encoding/json"
	"fmt"
	"time"
)

// Kind says what an event is about, and so which of its fields are filled. Every event has Seq, At, Kind, Level and
// Text. Producer fields are TransactionalID, ProducerID and Epoch.
type Kind string

// The kinds of events, each with the fields it fills.
const (
	// KindClientState is a transition of an instance: Instance, From, To.
	KindClientState Kind = "client_state"
	// KindThreadState is a transition of a stream thread: Instance, Thread, From, To; Cause and Error where a
	// thread ends because of an error.
	KindThreadState Kind = "thread_state"
	// KindTaskState is a transition of a task: Instance, Thread, Task, From, To.
	KindTaskState Kind = "task_state"
	// KindGroup is a step of a member in its consumer group: Instance, Thread, To (what happened, for example
	// "balanced", "assigned", "revoked", "lost", "left"), Cause, Count (tasks concerned), Duration (how long it took).
	KindGroup Kind = "group"
	// KindProducer is a change of a producer's phase, id or epoch: Instance, Thread, the producer fields, From and To
	// (phases), Cause (why the id or epoch changed), Error.
	KindProducer Kind = "producer"
	// KindTransaction is the end of a transaction: Instance, Thread, the producer fields, To ("COMMITTED", "ABORTED",
	// "UNKNOWN"), Cause and Error where it did not commit, Count (records sent in it), Duration (since it began).
	KindTransaction Kind = "transaction"
	// KindMigrated says that tasks moved on to another owner: Instance, Thread, Task (empty = all of the thread), the
	// producer fields where one was fenced, Cause, Error.
	KindMigrated Kind = "migrated"
	// KindCorrupted says that a task's state is in doubt and is restored: Instance, Thread, Task, Store (empty
	// = all of the task), Cause, Error.
	KindCorrupted Kind = "corrupted"
	// KindRestore is a step of a store's restore: Instance, Thread, Task, Store, To ("STARTED", "COMPLETED"),
	// Count (records: still to restore at the start, restored at the end), Duration (at the end), Error.
	KindRestore Kind = "restore"
	// KindStore is something that happened to a store besides restore: Instance, Thread, Task, Store, To ("OPEN",
	// "CLOSED", "WIPED", "REBUILT"), Cause, Error, Count (entries, where known).
	KindStore Kind = "store"
	// KindFault is a fault that was done to the runtime or ended: Instance and Thread where it concerns one, Cause
	// (the kind of fault, for example "cut", "heal", "stall"), To (its direction, where it has one), Duration
	// (its planned length, or how long it lasted where it ended; 0 = not known).
	KindFault Kind = "fault"
	// KindVerdict is a change of the verifier's judgement: From, To, Cause (the first reason), Count (witnesses).
	KindVerdict Kind = "verdict"
	// KindError is an error that no other kind describes: Instance, Thread, Task, Store where known, Cause, Error.
	KindError Kind = "error"
	// KindLog is a plain log line, for example of a client library: Instance and Thread where known, Error.
	KindLog Kind = "log"
)

// Level is the severity of an event. Levels can be compared: Warn > Info.
type Level uint8

// The levels, in rising severity. The zero value is Debug.
const (
	Debug Level = iota
	Info
	Warn
	Error
)

// String returns the level as Kafka's log lines show it: DEBUG, INFO, WARN or ERROR.
func (l Level) String() string {
	switch l {
	case Debug:
		return "DEBUG"
	case Info:
		return "INFO"
	case Warn:
		return "WARN"
	default:
		return "ERROR"
	}
}

// MarshalText encodes the level in lower case.
func (l Level) MarshalText() ([]byte, error) {
	switch l {
	case Debug:
		return []byte("debug"), nil
	case Info:
		return []byte("info"), nil
	case Warn:
		return []byte("warn"), nil
	case Error:
		return []byte("error"), nil
	default:
		return nil, fmt.Errorf("level %d is none of debug, info, warn, error", uint8(l))
	}
}

// UnmarshalText is the inverse of MarshalText.
func (l *Level) UnmarshalText(text []byte) error {
	switch string(text) {
	case "debug":
		*l = Debug
	case "info":
		*l = Info
	case "warn":
		*l = Warn
	case "error":
		*l = Error
	default:
		return fmt.Errorf("level %q is none of debug, info, warn, error", text)
	}
	return nil
}

// Event is one thing that happened. It is a value without pointers: copies never change. Which fields are
// filled depends on Kind, see there. Cause, Error and Text may quote what a broker or a user's code said, so
// they may hold anything, also control sequences; [Event.Line] and [Clean] make them safe to show.
type Event struct {
	Seq   uint64    // position in the journal, from 1; set by Emit
	At    time.Time // set by Emit
	Kind  Kind
	Level Level

	Instance string // "i1"
	Thread   string // "i1-StreamThread-2"
	Task     string // "1_0"
	Store    string // "KSTREAM-AGGREGATE-STATE-STORE-0000000007"

	From string // state before, upper case
	To   string // state after, upper case, or what happened

	TransactionalID string
	ProducerID      int64
	Epoch           int16

	Cause    string // short and classified, for example "fenced", "expelled", "timed out"
	Error    string // full text of the error
	Count    int64
	Duration time.Duration

	// Text is the message in Kafka Streams' words, without time and level. It need not name its thread or instance:
	// Line does, unless Text begins with "stream-thread [" or "stream-client [".
	Text string
}

// eventLine is the JSON form of an event. Type is empty outside the session log.
type eventLine struct {
	Type            string    `json:"type,omitempty"`
	Seq             uint64    `json:"seq"`
	At              time.Time `json:"at"`
	Kind            Kind      `json:"kind"`
	Level           Level     `json:"level"`
	Instance        string    `json:"instance,omitempty"`
	Thread          string    `json:"thread,omitempty"`
	Task            string    `json:"task,omitempty"`
	Store           string    `json:"store,omitempty"`
	From            string    `json:"from,omitempty"`
	To              string    `json:"to,omitempty"`
	TransactionalID string    `json:"transactional_id,omitempty"`
	ProducerID      int64     `json:"producer_id,omitempty"`
	Epoch           int16     `json:"epoch,omitempty"`
	Cause           string    `json:"cause,omitempty"`
	Error           string    `json:"error,omitempty"`
	Count           int64     `json:"count,omitempty"`
	DurationMS      float64   `json:"duration_ms,omitempty"`
	Text            string    `json:"text,omitempty"`
}

func (e *Event) line(typ string) eventLine {
	return eventLine{
		Type: typ, Seq: e.Seq, At: e.At, Kind: e.Kind, Level: e.Level,
		Instance: e.Instance, Thread: e.Thread, Task: e.Task, Store: e.Store, From: e.From, To: e.To,
		TransactionalID: e.TransactionalID, ProducerID: e.ProducerID, Epoch: e.Epoch,
		Cause: e.Cause, Error: e.Error, Count: e.Count,
		DurationMS: float64(e.Duration) / float64(time.Millisecond), Text: e.Text,
	}
}

// MarshalJSON encodes the event as the package documentation describes, without "type".
func (e Event) MarshalJSON() ([]byte, error) { return json.Marshal(e.line("")) }

// UnmarshalJSON is the inverse of MarshalJSON. It also takes an event line of a session log.
func (e *Event) UnmarshalJSON(data []byte) error {
	var l eventLine
	if err := json.Unmarshal(data, &l); err != nil {
		return fmt.Errorf("decode event: %w", err)
	}
	*e = Event{
		Seq: l.Seq, At: l.At, Kind: l.Kind, Level: l.Level,
		Instance: l.Instance, Thread: l.Thread, Task: l.Task, Store: l.Store, From: l.From, To: l.To,
		TransactionalID: l.TransactionalID, ProducerID: l.ProducerID, Epoch: l.Epoch,
		Cause: l.Cause, Error: l.Error, Count: l.Count,
		Duration: milliseconds(l.DurationMS), Text: l.Text,
	}
	return nil
}

// milliseconds rounds, for a float64 seldom holds a fraction of a millisecond exactly.
func milliseconds(ms float64) time.Duration {
	ns := ms * float64(time.Millisecond)
	if ns < 0 {
		return time.Duration(ns - 0.5)
	}
	return time.Duration(ns + 0.5)
}
