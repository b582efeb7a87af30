package runtime

import (
	"context"
	"testing"
)

// TestTaskThatCannotStartBeginsAnew: processors may write when they are initialised. A restored task whose processors meet a failed
// transaction then must come back to CREATED, under exactly_once after its next assignment: nobody else has it any more.
func TestTaskThatCannotStartBeginsAnew(t *testing.T) {
	for _, guarantee := range []Guarantee{ExactlyOnceV2, ExactlyOnce} {
		t.Run(string(guarantee), func(t *testing.T) {
			thread := newTestThread(t, writingTopology(t), func(c *Config) { c.Guarantee = guarantee })
			thread.ctx = context.Background()
			ids := []TaskID{{0, 0}, {0, 1}}
			for _, id := range ids {
				manager, err := openStores(thread, id)
				if err != nil {
					t.Fatal(err)
				}
				task := newTask(thread, id, manager, map[string]int32{"in": 2})
				t.Cleanup(func() { manager.close(false) })
				thread.tasks[id] = task
				if err := task.to(TaskRestoring); err != nil {
					t.Fatal(err)
				}
				in := task.inputs[0].topicPartition
				thread.updater.finished = append(thread.updater.finished, updated{
					manager: manager, offsets: map[topicPartition]committedOffset{in: {offset: 7}}, bounds: map[topicPartition]logBounds{in: {0, 9}},
				})
			}
			// There is no producer: it was given up while the tasks were being restored.
			if err := thread.takeRestored(); err != nil {
				t.Fatalf("the thread dies of it: %v", err)
			}
			if guarantee == ExactlyOnce {
				if len(thread.tasks) != 0 || !thread.unconfirmed || len(thread.inputs) != 0 {
					t.Errorf("%d tasks are left, %d inputs are read, unconfirmed is %v", len(thread.tasks), len(thread.inputs), thread.unconfirmed)
				}
				return
			}
			for _, id := range ids {
				if task := thread.tasks[id]; !task.is(TaskCreated) || task.graph != nil || task.manager.stores[0].store.Dirty() != 0 {
					state, _ := task.state.get()
					t.Errorf("task %s is %s, with %d dirty entries", id, state, task.manager.stores[0].store.Dirty())
				}
			}
			if len(thread.inputs) != 0 || thread.migrationsInRow != 1 {
				t.Errorf("%d inputs are read, %d migrations were counted", len(thread.inputs), thread.migrationsInRow)
			}
		})
	}
}
