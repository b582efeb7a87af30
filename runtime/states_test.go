package runtime

import (
	"errors"
	"slices"
	"testing"
	"time"
)

// matrix writes out every cell of a transition table: + allowed, - refused silently, ! illegal. Rows and columns are in the
// order of states.
type matrix[S ~string] struct {
	states []S
	rows   []string
}

func (m matrix[S]) check(t *testing.T, table transitions[S]) {
	t.Helper()
	if len(m.rows) != len(m.states) || len(table.to) != len(m.states) {
		t.Fatalf("%d rows and %d entries for %d states", len(m.rows), len(table.to), len(m.states))
	}
	for i, from := range m.states {
		for j, to := range m.states {
			var changes []S
			machine := newStateMachine("who", from, table, func(from, to S) { changes = append(changes, from, to) })
			ok, err := machine.to(to)
			now, _ := machine.get()
			switch cell := m.rows[i][j]; cell {
			case '+':
				if !ok || err != nil || now != to || !slices.Equal(changes, []S{from, to}) {
					t.Errorf("%s to %s: got %v, %v, now %s, heard %v; want it allowed", from, to, ok, err, now, changes)
				}
			case '-':
				if ok || err != nil || now != from || changes != nil {
					t.Errorf("%s to %s: got %v, %v, now %s, heard %v; want a silent refusal", from, to, ok, err, now, changes)
				}
			case '!':
				want := "who: Unexpected state transition from " + string(from) + " to " + string(to)
				var illegal *IllegalTransitionError
				if ok || !errors.As(err, &illegal) || err.Error() != want || now != from || changes != nil {
					t.Errorf("%s to %s: got %v, %v, now %s, heard %v; want the error %q", from, to, ok, err, now, changes, want)
				}
			default:
				t.Fatalf("cell %q", cell)
			}
		}
	}
}

func TestInstanceTransitions(t *testing.T) {
	matrix[InstanceState]{
		states: []InstanceState{
			InstanceCreated, InstanceRebalancing, InstanceRunning, InstancePendingShutdown, InstanceNotRunning, InstancePendingError, InstanceError,
		},
		rows: []string{
			"!+!+!!!", // CREATED
			"!-++!+!", // REBALANCING
			"!+++!+!", // RUNNING
			"----+--", // PENDING_SHUTDOWN
			"!!!--!!", // NOT_RUNNING
			"------+", // PENDING_ERROR
			"!!!!!--", // ERROR
		},
	}.check(t, instanceTransitions)
}

func TestThreadTransitions(t *testing.T) {
	matrix[ThreadState]{
		states: []ThreadState{
			ThreadCreated, ThreadStarting, ThreadPartitionsRevoked, ThreadPartitionsAssigned, ThreadRunning, ThreadPendingShutdown, ThreadDead,
		},
		rows: []string{
			"!+!!!+!", // CREATED
			"!!++!+!", // STARTING
			"!!++!+!", // PARTITIONS_REVOKED
			"!!++++!", // PARTITIONS_ASSIGNED
			"!!++++!", // RUNNING
			"------+", // PENDING_SHUTDOWN
			"-------", // DEAD
		},
	}.check(t, threadTransitions)
}

func TestTaskTransitions(t *testing.T) {
	matrix[TaskState]{
		states: []TaskState{TaskCreated, TaskRestoring, TaskRunning, TaskSuspended, TaskClosed},
		rows: []string{
			"!+!+!", // CREATED
			"!!++!", // RESTORING
			"!!!+!", // RUNNING
			"!+!!+", // SUSPENDED
			"+!!!!", // CLOSED
		},
	}.check(t, taskTransitions)
}

func TestStateMachineRemembersSince(t *testing.T) {
	before := time.Now()
	m := newStateMachine("thread", ThreadCreated, threadTransitions, nil)
	_, created := m.get()
	if created.Before(before) {
		t.Errorf("since %v, want not before %v", created, before)
	}
	if _, err := m.to(ThreadRunning); err == nil {
		t.Error("CREATED to RUNNING: no error")
	}
	if _, since := m.get(); !since.Equal(created) {
		t.Error("a refused transition has changed since when the state holds")
	}
	if _, err := m.to(ThreadStarting); err != nil {
		t.Fatal(err)
	}
	if _, since := m.get(); since.Before(created) {
		t.Errorf("since %v, want not before %v", since, created)
	}
}

// TestListenerMayAskTheMachine holds the rule that listeners run outside the lock.
func TestListenerMayAskTheMachine(t *testing.T) {
	var m *stateMachine[ThreadState]
	var seen ThreadState
	m = newStateMachine("thread", ThreadCreated, threadTransitions, func(_, _ ThreadState) { seen, _ = m.get() })
	if _, err := m.to(ThreadStarting); err != nil || seen != ThreadStarting {
		t.Errorf("the listener has seen %q, error %v", seen, err)
	}
}
