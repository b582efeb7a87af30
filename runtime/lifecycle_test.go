package runtime

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"eostop/runtime/state"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kerr"
)

// TestStartOnlyOnce: a second set of threads would fence the first one by its transactional ids.
func TestStartOnlyOnce(t *testing.T) {
	for _, from := range []InstanceState{
		InstanceRebalancing, InstanceRunning, InstancePendingShutdown, InstanceNotRunning, InstancePendingError, InstanceError,
	} {
		inst := newTestInstance(t, twoStepTopology(t, 0, nil), func(c *Config) { c.StreamThreads = 1 })
		inst.state = newStateMachine("Stream-client i1", from, instanceTransitions, nil)
		err := inst.Start(t.Context())
		if err == nil {
			t.Errorf("%s: started again", from)
		}
		if inst.cancel != nil { // what was started by mistake must end with the test
			inst.cancel()
			inst.wg.Wait()
			inst.admin.client.Close()
		}
	}
}

// TestCloseAfterFailedStart: an address that no client accepts makes Start fail; Close still has to unlock the state directory.
func TestCloseAfterFailedStart(t *testing.T) {
	mem := vfs.NewMem()
	inst, err := New(validConfig(), twoStepTopology(t, 0, nil), Env{Brokers: []string{"host:port"}, FS: mem})
	if err != nil {
		t.Fatal(err)
	}
	if err := inst.Start(t.Context()); err == nil {
		t.Fatal("started with an address that is none")
	}
	func() {
		defer func() {
			if r := recover(); r != nil {
				t.Errorf("Close panicked: %v", r)
				inst.cache.Close()
				if err := inst.directory.Close(); err != nil {
					t.Error(err)
				}
			}
		}()
		if err := inst.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	directory, err := state.OpenDirectory(state.DirectoryConfig{Path: "/state", FS: mem})
	if err != nil {
		t.Fatal(err)
	}
	if err := directory.Close(); err != nil {
		t.Error(err)
	}
}

// TestFailedRestartOfRestoreStartsNothing: when a changelog reader has lost its place and the brokers cannot be asked for the bounds, the
// task must not be taken for restored.
func TestFailedRestartOfRestoreStartsNothing(t *testing.T) {
	thread := newTestThread(t, twoStepTopology(t, 0, nil), nil)
	task := newTestTask(t, thread)
	if err := task.to(TaskRestoring); err != nil {
		t.Fatal(err)
	}
	u := thread.updater
	u.addActive(task, false)
	u.do(func() {
		s, unit := task.manager.stores[0], u.tasks[task.id]
		r := &restoration{started: time.Now(), index: map[string]int{}}
		r.next.Store(10)
		r.end.Store(1000)
		s.restore.Store(r)
		u.byChangelog[s.changelog], unit.begun, unit.wait = s, true, backoff{}
		u.fetchFailed(s.changelog, kerr.OffsetOutOfRange)
		if unit.begun {
			t.Error("the reader goes on from where it cannot")
		}
	})
	u.do(func() { u.complete(t.Context()) })
	for _, f := range u.drain() {
		if f.err == nil {
			t.Error("990 changelog records are missing, and the task is about to run")
		}
	}
	u.remove(task.id)
}

// TestCrashOfTheStateUpdater: what ends its goroutine is the error of all its tasks, and deadly for the thread (the row "state updater
// thread itself crashes").
func TestCrashOfTheStateUpdater(t *testing.T) {
	thread := newTestThread(t, twoStepTopology(t, 0, nil), nil)
	task := newTestTask(t, thread)
	if err := task.to(TaskRestoring); err != nil {
		t.Fatal(err)
	}
	thread.updater.addActive(task, false)
	thread.updater.do(func() { panic("boom") })
	<-thread.updater.done
	err := thread.takeRestored()
	if class, cause := Classify(err); class != Fatal || cause != "panic" {
		t.Errorf("%v: got %v %q, want it to be fatal and to name the panic", err, class, cause)
	}
	thread.updater.remove(task.id) // nobody is there to answer, and nobody waits
}

// TestInUseStoreBlocksItsTaskOnly: another thread of the process may still hold a store, for long if it is stalled. The other
// tasks of this thread must not wait for it.
func TestInUseStoreBlocksItsTaskOnly(t *testing.T) {
	thread := newTestThread(t, twoStepTopology(t, 0, nil), nil)
	thread.partitions = map[string]int32{"app-mid": 3}
	held, err := thread.instance.directory.OpenStore("1_0", "counts", state.StoreOptions{Cache: thread.instance.cache})
	if err != nil {
		t.Fatal(err)
	}
	thread.wanted = []TaskID{{1, 0}, {1, 1}}
	inUse, err := thread.openTasks()
	if err != nil {
		t.Fatal(err)
	}
	if class, _ := Classify(inUse); class != Retriable {
		t.Errorf("got %v, want to try again", inUse)
	}
	if thread.tasks[TaskID{1, 1}] == nil {
		t.Error("task 1_1 waits for the store of task 1_0")
	}
	if err := errors.Join(held.Close(), thread.closeTasks(false)); err != nil {
		t.Error(err)
	}
}

// TestPurgeOfChangelogsAlone: switching the purge of repartition topics off must leave the one of changelogs on.
func TestPurgeOfChangelogsAlone(t *testing.T) {
	thread := newTestThread(t, twoStepTopology(t, 0, nil), func(c *Config) {
		c.CompactChangelogs, c.ChangelogRewriteInterval, c.RepartitionPurgeInterval = false, time.Minute, 0
	})
	thread.maybePurge(thread.ctx)
	if thread.purge.due.IsZero() {
		t.Error("changelogs are never looked at")
	}
}

func TestPurgeable(t *testing.T) {
	thread := newTestThread(t, twoStepTopology(t, 0, nil), nil)
	task := newTestTask(t, thread)
	in, s := task.inputs[0], task.manager.stores[0]
	in.position, s.rewrite.trim = 40, 7
	if got := thread.purgeable(); len(got) != 0 {
		t.Errorf("a task that does not run: %v", got)
	}
	for _, next := range []TaskState{TaskRestoring, TaskRunning} {
		if err := task.to(next); err != nil {
			t.Fatal(err)
		}
	}
	task.commitNeeded = true
	if got := thread.purgeable(); len(got) != 0 {
		t.Errorf("a position that is not committed: %v", got)
	}
	task.commitNeeded = false
	got := thread.purgeable()
	if len(got) != 2 || got[in.topicPartition] != 40 || got[s.changelog] != 7 {
		t.Errorf("got %v, want the input below 40 and the changelog below 7", got)
	}
	if got := thread.purgeable(); len(got) != 1 {
		t.Errorf("got %v, want each trim once", got)
	}
	in.external = true
	if got := thread.purgeable(); len(got) != 0 {
		t.Errorf("got %v; topics of others are not ours to delete from", got)
	}
}

// TestMigrationsInARow: the twentieth migration without a commit between is fatal.
func TestMigrationsInARow(t *testing.T) {
	thread := newTestThread(t, twoStepTopology(t, 0, nil), nil)
	thread.ctx = context.Background()
	for n := 1; n < thread.instance.cfg.MaxMigrations; n++ {
		if err := thread.handle(kerr.ProducerFenced); err != nil {
			t.Fatalf("migration %d: %v", n, err)
		}
	}
	err := thread.handle(kerr.ProducerFenced)
	if !errors.Is(err, errTooManyMigrations) || !errors.Is(err, kerr.ProducerFenced) {
		t.Errorf("migration %d: got %v, want it to be fatal and to name the cause", thread.instance.cfg.MaxMigrations, err)
	}
}

func TestHandleByClass(t *testing.T) {
	thread := newTestThread(t, twoStepTopology(t, 0, nil), nil)
	if err := thread.handle(errors.New("anything")); err != nil {
		t.Errorf("a thread that is told to stop has died of %v", err)
	}
	thread.ctx = context.Background()
	if err := thread.handle(nil); err != nil {
		t.Error(err)
	}
	if err := thread.handle(state.ErrInUse); err != nil || thread.retry.n != 1 || !thread.retry.at.After(time.Now().Add(-time.Second)) {
		t.Errorf("retriable: %v, %d retries", err, thread.retry.n)
	}
	if err := thread.handle(&transactionError{"commit transaction", ErrUnknownOutcome}); err != nil {
		t.Errorf("unknown outcome: %v", err)
	}
	if err := thread.handle(&transactionError{"send to out-0", kerr.InvalidProducerEpoch}); err != nil {
		t.Errorf("fenced: %v", err)
	}
	status := thread.Status()
	if status.UnknownOutcome != 1 || status.Corrupted != 1 || status.Migrated != 1 || status.Fenced != 1 || status.Aborted != 0 {
		t.Errorf("counted %+v", status)
	}
	boom := errors.New("boom")
	if err := thread.handle(boom); !errors.Is(err, boom) {
		t.Errorf("got %v, want the fatal error", err)
	}
}

// TestLostMemberClaimsNothing: what a member had when it was expelled may be somebody else's by now.
func TestLostMemberClaimsNothing(t *testing.T) {
	thread := newTestThread(t, twoStepTopology(t, 0, nil), nil)
	thread.member.claim([]TaskID{{0, 1}}, []TaskID{{0, 2}})
	thread.identity = groupIdentity{member: "m", generation: 3}
	if err := thread.setState(ThreadStarting); err != nil {
		t.Fatal(err)
	}
	if err := thread.onLost("test", "expelled"); err != nil {
		t.Fatal(err)
	}
	if got := thread.member.claimed(); len(got.active)+len(got.standby) != 0 || thread.identity.valid() {
		t.Errorf("the member claims %v as %+v", got, thread.identity)
	}
}

// TestNoReplacementWhileClosing: a thread that dies while the instance closes must not leave a successor that nobody stops.
func TestNoReplacementWhileClosing(t *testing.T) {
	inst := newTestInstance(t, twoStepTopology(t, 0, nil), nil)
	inst.state = newStateMachine("Stream-client i1", InstancePendingShutdown, instanceTransitions, nil)
	dead := newThread(t.Context(), inst, 1)
	inst.threads = []*StreamThread{dead}
	inst.onThreadDeath(dead, errors.New("boom"))
	deaths, replaced := inst.Deaths()
	if len(deaths) != 1 || deaths[0].Replaced || replaced != 0 || inst.threads[0] != dead {
		t.Errorf("got %+v, %d replaced", deaths, replaced)
	}
}

// TestAThreadKeepsItsPlaceUntilItsDeathIsDecided: the handler of a death, or somebody else meanwhile, adds and removes threads.
func TestAThreadKeepsItsPlaceUntilItsDeathIsDecided(t *testing.T) {
	var inst *Instance
	inst = newTestInstance(t, twoStepTopology(t, 0, nil), func(cfg *Config) {
		cfg.UncaughtHandler = func(string, error) UncaughtResponse {
			inst.mu.Lock()
			defer inst.mu.Unlock()
			inst.forgetDead()
			return ShutdownApplication
		}
	})
	inst.state = newStateMachine("Stream-client i1", InstanceRunning, instanceTransitions, nil)
	dead := newThread(t.Context(), inst, 1)
	dead.state = newStateMachine("stream-thread", ThreadDead, threadTransitions, nil)
	failed := time.Now().Add(-time.Minute)
	dead.failedAt.Store(&failed)
	inst.threads = []*StreamThread{dead, newThread(t.Context(), inst, 2)}
	inst.onThreadDeath(dead, errors.New("boom"))
	if len(inst.threads) != 2 || inst.threads[0] != dead {
		t.Error("the thread was forgotten before it was decided what follows")
	}
	if deaths, _ := inst.Deaths(); len(deaths) != 1 || !deaths[0].At.Equal(failed) {
		t.Errorf("%+v, want a death when the error came", deaths)
	}
	inst.forgetDead()
	if len(inst.threads) != 1 {
		t.Error("the thread is not forgotten")
	}
}

// TestADamagedStoreStartsOver: a store whose files cannot be read is made anew as its task is opened, which is counted and said.
func TestADamagedStoreStartsOver(t *testing.T) {
	thread := newTestThread(t, twoStepTopology(t, 0, nil), nil)
	id := TaskID{1, 0}
	m, err := openStores(thread, id)
	if err != nil {
		t.Fatal(err)
	}
	stores := len(m.stores)
	m.close(true)
	disk := thread.instance.env.FS
	var damage func(folder string)
	damage = func(folder string) {
		names, err := disk.List(folder)
		if err != nil {
			return // a file
		}
		for _, name := range names {
			path := disk.PathJoin(folder, name)
			if !strings.HasPrefix(name, "MANIFEST-") {
				damage(path)
				continue
			}
			f, err := disk.Create(path, vfs.WriteCategoryUnspecified)
			if err == nil {
				_, err = f.Write([]byte("no manifest"))
				err = errors.Join(err, f.Close())
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	damage(thread.instance.cfg.StateDir)
	for range stores { // each of them ends an attempt
		if _, err := openStores(thread, id); !errors.Is(err, state.ErrBroken) {
			t.Fatalf("%v, want %v", err, state.ErrBroken)
		}
	}
	if m, err = openStores(thread, id); err != nil {
		t.Fatal(err)
	}
	defer m.close(true)
	if n := thread.counters.rebuilt.Load(); stores == 0 || n != uint64(stores) {
		t.Errorf("%d of %d stores are said to be rebuilt", n, stores)
	}
}
