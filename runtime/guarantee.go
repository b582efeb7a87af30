package runtime

import "strings"

// Guarantee is a processing guarantee, with the names of Kafka Streams' processing.guarantee.
type Guarantee string

// The guarantees.
const (
	// ExactlyOnceV2 has one transactional producer per thread, fenced by the group's member id and generation (KIP-447).
	ExactlyOnceV2 Guarantee = "exactly_once_v2"
	// ExactlyOnce has one transactional producer per task, fenced by the producer of the task's next owner (KIP-129).
	ExactlyOnce Guarantee = "exactly_once"
	// AtLeastOnce has one producer per thread without transactions, and commits offsets as a group member.
	AtLeastOnce Guarantee = "at_least_once"
)

// Guarantees lists what Config.Guarantee can be.
func Guarantees() []Guarantee { return []Guarantee{ExactlyOnceV2, ExactlyOnce, AtLeastOnce} }

// Transactional reports whether records and offsets are committed together.
func (g Guarantee) Transactional() bool { return g != AtLeastOnce }

// taskTransactionalID names the producer of a task (exactly_once): the same wherever the task is, so that its new owner fences
// the one before.
func taskTransactionalID(applicationID string, id TaskID) string {
	return applicationID + "-" + id.String()
}

func isTaskTransactionalID(applicationID, id string) bool {
	rest, ok := strings.CutPrefix(id, applicationID+"-")
	if !ok {
		return false
	}
	_, err := ParseTaskID(rest)
	return err == nil
}

// transactionalIDs lists the ids under which a thread with these active tasks may have open transactions: its own, or one for
// each task, or none.
func transactionalIDs(guarantee Guarantee, applicationID, thread string, active []TaskID) []string {
	switch guarantee {
	case ExactlyOnceV2:
		return []string{thread}
	case ExactlyOnce:
		ids := make([]string, 0, len(active))
		for _, id := range active {
			ids = append(ids, taskTransactionalID(applicationID, id))
		}
		return ids
	default:
		return nil
	}
}

// StateMode says how a task's stores are kept in step with what is committed.
type StateMode string

// The state modes.
const (
	// StateTransactional keeps uncommitted changes in memory: what is on disk is a committed prefix of the changelog.
	StateTransactional StateMode = "transactional"
	// StateWipe writes through, as Kafka Streams does: after an unclean close the store is thrown away under exactly-once.
	StateWipe StateMode = "wipe"
)

// StateModes lists what Config.StateMode can be.
func StateModes() []StateMode { return []StateMode{StateTransactional, StateWipe} }
