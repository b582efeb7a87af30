package runtime

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// InstanceState is a state of an instance, with the names and transitions of KafkaStreams.State (Kafka trunk).
type InstanceState string

// The states of an instance.
const (
	InstanceCreated         InstanceState = "CREATED"
	InstanceRebalancing     InstanceState = "REBALANCING"
	InstanceRunning         InstanceState = "RUNNING"
	InstancePendingShutdown InstanceState = "PENDING_SHUTDOWN"
	InstanceNotRunning      InstanceState = "NOT_RUNNING"
	InstancePendingError    InstanceState = "PENDING_ERROR"
	InstanceError           InstanceState = "ERROR"
)

// ThreadState is a state of a stream thread, with the names and transitions of StreamThread.State (Kafka trunk).
type ThreadState string

// The states of a stream thread.
const (
	ThreadCreated            ThreadState = "CREATED"
	ThreadStarting           ThreadState = "STARTING"
	ThreadPartitionsRevoked  ThreadState = "PARTITIONS_REVOKED"
	ThreadPartitionsAssigned ThreadState = "PARTITIONS_ASSIGNED"
	ThreadRunning            ThreadState = "RUNNING"
	ThreadPendingShutdown    ThreadState = "PENDING_SHUTDOWN"
	ThreadDead               ThreadState = "DEAD"
)

// TaskState is a state of a task, with the names and transitions of Task.State (Kafka trunk).
type TaskState string

// The states of a task.
const (
	TaskCreated   TaskState = "CREATED"
	TaskRestoring TaskState = "RESTORING"
	TaskRunning   TaskState = "RUNNING"
	TaskSuspended TaskState = "SUSPENDED"
	TaskClosed    TaskState = "CLOSED"
)

// transitions lists where each state may go, and which requests are refused without an error.
type transitions[S ~string] struct {
	to      map[S][]S
	refused func(from, to S) bool
}

var instanceTransitions = transitions[InstanceState]{
	to: map[InstanceState][]InstanceState{
		InstanceCreated:         {InstanceRebalancing, InstancePendingShutdown},
		InstanceRebalancing:     {InstanceRunning, InstancePendingShutdown, InstancePendingError},
		InstanceRunning:         {InstanceRebalancing, InstanceRunning, InstancePendingShutdown, InstancePendingError},
		InstancePendingShutdown: {InstanceNotRunning},
		InstanceNotRunning:      {},
		InstancePendingError:    {InstanceError},
		InstanceError:           {},
	},
	refused: func(from, to InstanceState) bool {
		switch from {
		case InstancePendingShutdown:
			return to != InstanceNotRunning
		case InstanceNotRunning:
			return to == InstancePendingShutdown || to == InstanceNotRunning
		case InstanceRebalancing:
			return to == InstanceRebalancing
		case InstancePendingError:
			return to != InstanceError
		case InstanceError:
			return to == InstanceError || to == InstancePendingError
		default:
			return false
		}
	},
}

var threadTransitions = transitions[ThreadState]{
	to: map[ThreadState][]ThreadState{
		ThreadCreated:            {ThreadStarting, ThreadPendingShutdown},
		ThreadStarting:           {ThreadPartitionsRevoked, ThreadPartitionsAssigned, ThreadPendingShutdown},
		ThreadPartitionsRevoked:  {ThreadPartitionsRevoked, ThreadPartitionsAssigned, ThreadPendingShutdown},
		ThreadPartitionsAssigned: {ThreadPartitionsRevoked, ThreadPartitionsAssigned, ThreadRunning, ThreadPendingShutdown},
		ThreadRunning:            {ThreadPartitionsRevoked, ThreadPartitionsAssigned, ThreadRunning, ThreadPendingShutdown},
		ThreadPendingShutdown:    {ThreadDead},
		ThreadDead:               {},
	},
	refused: func(from, to ThreadState) bool {
		return from == ThreadDead || (from == ThreadPendingShutdown && to != ThreadDead)
	},
}

var taskTransitions = transitions[TaskState]{
	to: map[TaskState][]TaskState{
		TaskCreated:   {TaskRestoring, TaskSuspended},
		TaskRestoring: {TaskRunning, TaskSuspended},
		TaskRunning:   {TaskSuspended},
		TaskSuspended: {TaskRestoring, TaskClosed},
		TaskClosed:    {TaskCreated},
	},
	refused: func(TaskState, TaskState) bool { return false },
}

// IllegalTransitionError reports a transition that the tables do not allow.
type IllegalTransitionError struct {
	Who      string
	From, To string
}

func (e *IllegalTransitionError) Error() string {
	return fmt.Sprintf("%s: Unexpected state transition from %s to %s", e.Who, e.From, e.To)
}

// stateMachine holds one state. The lock guards the fields only; listeners run outside it.
type stateMachine[S ~string] struct {
	who      string
	table    transitions[S]
	onChange func(from, to S)

	mu    sync.Mutex
	state S
	since time.Time
}

func newStateMachine[S ~string](who string, initial S, table transitions[S], onChange func(from, to S)) *stateMachine[S] {
	return &stateMachine[S]{who: who, table: table, onChange: onChange, state: initial, since: time.Now()}
}

// get returns the state and since when it holds.
func (m *stateMachine[S]) get() (S, time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state, m.since
}

// to changes the state. It returns false without an error when the table refuses the request silently.
func (m *stateMachine[S]) to(next S) (bool, error) {
	m.mu.Lock()
	from := m.state
	if m.table.refused(from, next) {
		m.mu.Unlock()
		return false, nil
	}
	if !slices.Contains(m.table.to[from], next) {
		m.mu.Unlock()
		return false, &IllegalTransitionError{Who: m.who, From: string(from), To: string(next)}
	}
	m.state, m.since = next, time.Now()
	m.mu.Unlock()
	if m.onChange != nil {
		m.onChange(from, next)
	}
	return true, nil
}
