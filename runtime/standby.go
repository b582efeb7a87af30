package runtime

import "eostop/runtime/metrics"

// standbyTask keeps a copy of a task's stores up to date on another process than the active task's, so that a takeover has
// little to restore. Its stores belong to the state updater; the rest to the thread's goroutine.
type standbyTask struct {
	id      TaskID
	thread  *StreamThread
	state   *stateMachine[TaskState]
	manager *stateManager
	metrics *metrics.Task
}

// newStandby builds a standby task over stores that are open. It runs at once: it has nothing to wait for.
func newStandby(thread *StreamThread, id TaskID, manager *stateManager) (*standbyTask, error) {
	s := &standbyTask{id: id, thread: thread, manager: manager, state: newTaskState(thread, id)}
	for _, next := range []TaskState{TaskRestoring, TaskRunning} {
		if _, err := s.state.to(next); err != nil {
			return nil, err
		}
	}
	s.metrics = manager.measured()
	return s, nil
}

// end takes the task out of the state updater and returns its stores, which are open still.
func (s *standbyTask) end() (*stateManager, error) {
	s.thread.updater.remove(s.id)
	s.metrics.Close()
	for _, next := range []TaskState{TaskSuspended, TaskClosed} {
		if _, err := s.state.to(next); err != nil {
			return nil, err
		}
	}
	return s.manager, nil
}

// close ends the task and closes its stores. What they hold is committed, so it is always clean.
func (s *standbyTask) close() error {
	_, err := s.end()
	s.manager.close(true)
	s.thread.logClosed(s.id, true)
	return err
}

func (s *standbyTask) status() TaskStatus {
	current, since := s.state.get()
	return TaskStatus{ID: s.id.String(), State: string(current), Since: since, Lag: -1, RestoreRemaining: s.manager.lag()}
}
