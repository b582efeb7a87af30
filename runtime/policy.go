package runtime

import (
	"errors"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Place is where in a thread's work an error was met. Versions of Kafka Streams differ in which error ends a thread at which
// place.
type Place string

// The places.
const (
	PlaceSend       Place = "send"    // an answer to a record that was sent, seen at the next send, flush or commit
	PlaceBegin      Place = "begin"   // begin of a transaction
	PlaceFlush      Place = "flush"   // flush of the producer
	PlaceStoreFlush Place = "store"   // flush of a store's record cache, whatever failed within it
	PlaceCommit     Place = "commit"  // offsets sent, transaction ended
	PlaceInit       Place = "init"    // initialisation of a producer
	PlaceSuspend    Place = "suspend" // any of these while tasks are revoked
	PlaceElsewhere  Place = "elsewhere"
)

// Policy says where the handling of errors differs on purpose from what is right: it makes the known bugs of Kafka Streams and
// of others happen again. Its zero value is right.
type Policy struct {
	// Deadly lists errors that end a thread although it could live on.
	Deadly []DeadlyError
	// KeepDead lets a dead thread be dead: nobody is asked, and the instance goes to ERROR when the last one has died (Kafka
	// Streams before KIP-671).
	KeepDead bool
	// SuspendClean suspends all tasks of a thread clean, with a flush of their caches, when one of its producers was
	// fenced, before it rejoins; and flushes them even where a task is closed dirty (KAFKA-9231, first cause; KAFKA-8972).
	// It concerns producers of single tasks only.
	SuspendClean bool
	// Patience is for how long a producer goes on trying to send, to flush and to end a transaction, and repeats requests
	// whose answer it has not got (delivery.timeout.ms, max.block.ms and retries of a client that is set up to outlive long
	// cuts). 0 = the time-out of a transaction, and a transaction's end is never asked for twice.
	Patience time.Duration
	// StopAtFence ends a round of commits at the first task that cannot: the others keep what their caches hold. It concerns
	// producers of single tasks only.
	StopAtFence bool
	// FlushTakes is how long the flush of a task's record caches takes at least, once it has sent something. A large cache sends
	// for longer than a broker needs for its first answer, which the flush then meets; a small one, or any on virtual time, does
	// not. It concerns producers of single tasks only.
	FlushTakes time.Duration
	// RegisterBeforeOpen registers the metrics of a store before it is open (KAFKA-9231, second cause).
	RegisterBeforeOpen bool

	// NoReinit goes on with a producer after its transaction has failed.
	NoReinit bool
	// ReadUncommittedRestore restores also what was never committed.
	ReadUncommittedRestore bool
	// RestartOnFence keeps what the stores hold when a transaction was aborted.
	RestartOnFence bool
	// SharedTransactionalID gives all threads of all instances the same transactional id.
	SharedTransactionalID bool
	// CommitAfterFailedSend commits a transaction in which a record was lost.
	CommitAfterFailedSend bool
	// ForgetGeneration commits offsets without member id and generation.
	ForgetGeneration bool
	// GroupIDOnly commits the offsets of exactly_once under the group's name alone, as Kafka Streams does: only the transactional
	// id fences.
	GroupIDOnly bool
}

// DeadlyError ends a thread that meets one of the errors at one of the places.
type DeadlyError struct {
	At     []Place // nil = anywhere
	Errors []error // nil = any that would be survived
}

// deadly reports whether the policy lets a thread die of an error.
func (p *Policy) deadly(err error) bool {
	if len(p.Deadly) == 0 {
		return false
	}
	at := placesOf(err)
	return slices.ContainsFunc(p.Deadly, func(d DeadlyError) bool {
		here := d.At == nil || slices.ContainsFunc(d.At, func(place Place) bool { return slices.Contains(at, place) })
		return here && (d.Errors == nil || slices.ContainsFunc(d.Errors, func(target error) bool { return errors.Is(err, target) }))
	})
}

// patience returns for how long a producer with that transaction time-out goes on trying.
func (p *Policy) patience(transactionTimeout time.Duration) time.Duration {
	return max(p.Patience, transactionTimeout)
}

// placedError says where an error was met. Its text is that of the error.
type placedError struct {
	place Place
	err   error
}

func (e *placedError) Error() string { return e.err.Error() }
func (e *placedError) Unwrap() error { return e.err }

// at names the place of an error; nil stays nil.
func at(place Place, err error) error {
	if err == nil {
		return nil
	}
	return &placedError{place, err}
}

// placesOf returns the places that an error names on its way up, innermost first.
func placesOf(err error) []Place {
	var places []Place
	for err != nil {
		if placed, ok := err.(*placedError); ok { //nolint:errorlint // every link of the chain is looked at
			places = append(places, placed.place)
		}
		switch e := err.(type) { //nolint:errorlint // every link of the chain is looked at
		case interface{ Unwrap() error }:
			err = e.Unwrap()
		case interface{ Unwrap() []error }:
			for _, inner := range e.Unwrap() {
				places = append(places, placesOf(inner)...)
			}
			err = nil
		default:
			err = nil
		}
	}
	slices.Reverse(places)
	if len(places) == 0 {
		places = []Place{PlaceElsewhere}
	}
	return places
}

// Kafka43 is the policy of Kafka Streams 4.3, whose threads die of a transaction that timed out (KAFKA-20785), and by default the
// whole client with them.
func Kafka43() Policy {
	return Policy{Patience: time.Minute, Deadly: []DeadlyError{ // max.block.ms
		{At: []Place{PlaceCommit, PlaceBegin}, Errors: []error{kerr.InvalidTxnState, kerr.UnknownProducerID, kerr.OutOfOrderSequenceNumber}},
		{At: []Place{PlaceSend, PlaceFlush}, Errors: []error{kerr.InvalidTxnState}},
		{Errors: []error{kerr.TransactionAbortable}},
	}}
}

// Kafka24RC is the policy of the release candidates 0 to 2 of Kafka Streams 2.4.0, with all three bugs of KAFKA-9231.
func Kafka24RC() Policy {
	p := Kafka23()
	p.SuspendClean, p.RegisterBeforeOpen = true, true
	return p
}

// Kafka23 is the policy of Kafka Streams 2.3.
func Kafka23() Policy {
	return Policy{
		KeepDead: true, GroupIDOnly: true, Patience: 10 * time.Minute, StopAtFence: true, FlushTakes: 5 * time.Millisecond,
		Deadly: []DeadlyError{
			{At: []Place{PlaceStoreFlush}},
			{At: []Place{PlaceSend, PlaceFlush}, Errors: []error{kerr.UnknownProducerID, kerr.OutOfOrderSequenceNumber, kerr.InvalidProducerIDMapping, kerr.TransactionAbortable}},
			{At: []Place{PlaceCommit, PlaceInit}, Errors: []error{ErrUnknownOutcome, kerr.InvalidTxnState}},
		},
	}
}
