//go:build unix

package processes

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// What the programs of Kafka's own tests of exactly-once are called, and how they are fed here. One partition gets nothing.
const (
	eosGroup      = "EosTest"
	eosPartitions = 5
	eosEmpty      = 3
	eosKeys       = 500
	eosRate       = 500
	eosClosed     = "EOS-TEST-CLIENT-CLOSED"
)

// TestEosTestProcesses runs Kafka's own programs of exactly-once tests as three processes, to which something is done while a load
// runs, and judges every record that they have left.
//
//	EOSTOP_TEST_BROKERS=HOST:PORT go test -run TestEosTestProcesses ./faults/soak/processes
func TestEosTestProcesses(t *testing.T) {
	broker := os.Getenv(testBrokers)
	if broker == "" {
		t.Skipf("%s is not set: it names a broker", testBrokers)
	}
	for _, program := range []string{"eostest", "eostest-complex"} {
		for _, done := range []struct {
			what string
			to   func(*eosTest)
		}{
			{"stops", (*eosTest).cleanStops},
			{"kills", (*eosTest).kills},
			{"pauses", (*eosTest).pauses},
		} {
			t.Run(program+"/"+done.what, func(t *testing.T) {
				e := newEosTest(t, broker, program)
				for _, name := range []string{"a", "b", "c"} {
					e.start(name)
				}
				stop := e.load()
				e.await(time.Minute, "all are running", func() bool { return e.all(isRunning) })
				done.to(e)
				stop()
				e.await(time.Minute, "all input is processed", e.processed)
				for _, p := range e.processes {
					e.stop(p)
				}
				e.judge()
			})
		}
	}
}

// eosTest is one application of three processes.
type eosTest struct {
	*testing.T
	broker, program, dir string
	random               *rand.Rand
	client               *kgo.Client
	admin                *kadm.Client
	processes            []*eosProcess
	sent                 [eosPartitions][]eosRecord // by partition; belongs to the load while it runs
}

// eosRecord is a key and a number.
type eosRecord struct {
	key   string
	value int64
}

// eosProcess is one process, that may have been started again in the place of another one.
type eosProcess struct {
	name string
	cmd  *exec.Cmd
	read chan struct{} // closed at the end of what it says
	mu   sync.Mutex
	said []string
}

// newEosTest makes the topics anew, for the programs share the names of all.
func newEosTest(t *testing.T, broker, program string) *eosTest {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("EOSTOP_TEST_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("EOSTOP_TEST_SEED: %v", err)
		}
	}
	t.Logf("EOSTOP_TEST_SEED=%d", seed)
	client, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.MetadataMinAge(100*time.Millisecond), kgo.UnknownTopicRetries(-1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	e := &eosTest{
		T: t, broker: broker, program: program, dir: t.TempDir(), random: rand.New(rand.NewPCG(seed, 0)),
		client: client, admin: kadm.NewClient(client),
	}
	e.clean()
	topics := append([]string{"data"}, e.outputs()...)
	if _, err := e.admin.CreateTopics(t.Context(), eosPartitions, -1, nil, topics...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.clean)
	return e
}

// clean removes topics and group of whoever was there before.
func (e *eosTest) clean() {
	ctx := context.WithoutCancel(e.Context()) // also when the test has ended
	topics, err := e.admin.ListTopics(ctx)
	if err != nil {
		e.Fatal(err)
	}
	var ours []string
	for _, topic := range topics.Names() {
		if strings.HasPrefix(topic, eosGroup+"-") || slices.Contains([]string{"data", "echo", "min", "sum", "repartition", "max", "cnt"}, topic) {
			ours = append(ours, topic)
		}
	}
	if len(ours) > 0 {
		if _, err := e.admin.DeleteTopics(ctx, ours...); err != nil {
			e.Fatal(err)
		}
	}
	_, _ = e.admin.DeleteGroup(ctx, eosGroup) // there may be none
}

// start starts a process on its own state directory.
func (e *eosTest) start(name string) {
	e.Helper()
	cmd := process(e.T, "run", "--headless", "--plain", "--topology", e.program, "--no-load", "--no-verify", "--brokers", e.broker, "--name", name,
		"--state-dir", filepath.Join(e.dir, name), "--log-file", filepath.Join(e.dir, name+".log"))
	cmd.Stderr = e.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		e.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		e.Fatal(err)
	}
	p := &eosProcess{name: name, cmd: cmd, read: make(chan struct{})}
	go func() {
		defer close(p.read)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			p.mu.Lock()
			p.said = append(p.said, lines.Text())
			p.mu.Unlock()
		}
	}()
	e.processes = append(slices.DeleteFunc(e.processes, func(q *eosProcess) bool { return q.name == name }), p)
}

// stop ends a process as its user would, and looks at what it has said.
func (e *eosTest) stop(p *eosProcess) {
	e.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		e.Fatal(err)
	}
	<-p.read
	if err := p.cmd.Wait(); err != nil {
		e.Errorf("process %s: %v", p.name, err)
	}
	states := p.states()
	first := []string{"StateChange: CREATED -> REBALANCING", "StateChange: REBALANCING -> RUNNING"}
	last := "StateChange: PENDING_SHUTDOWN -> NOT_RUNNING"
	if len(states) < 4 || !slices.Equal(states[:2], first) || states[len(states)-1] != last || !strings.HasSuffix(states[len(states)-2], "-> PENDING_SHUTDOWN") {
		e.Errorf("process %s said %q", p.name, states)
	}
	if !slices.Contains(p.said, eosClosed) {
		e.Errorf("process %s does not say %s", p.name, eosClosed)
	}
}

// states lists the changes of its state that a process has told.
func (p *eosProcess) states() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var states []string
	for _, line := range p.said {
		if strings.HasPrefix(line, "StateChange: ") {
			states = append(states, line)
		}
	}
	return states
}

func isRunning(p *eosProcess) bool {
	states := p.states()
	return len(states) > 0 && strings.HasSuffix(states[len(states)-1], "-> RUNNING")
}

func (e *eosTest) all(is func(*eosProcess) bool) bool {
	return !slices.ContainsFunc(e.processes, func(p *eosProcess) bool { return !is(p) })
}

// await fails the test if something has not come about in time.
func (e *eosTest) await(limit time.Duration, what string, come func() bool) {
	e.Helper()
	for began := time.Now(); !come(); time.Sleep(100 * time.Millisecond) {
		if time.Since(began) > limit {
			for _, p := range e.processes {
				e.Logf("process %s: %q", p.name, p.states())
			}
			e.Fatalf("not after %s: %s", limit, what)
		}
	}
}

// wait lets the load run for a random time.
func (e *eosTest) wait(least, most time.Duration) {
	time.Sleep(least + time.Duration(e.random.Int64N(int64(most-least))))
}

// shuffled returns processes in random order.
func (e *eosTest) shuffled() []*eosProcess {
	shuffled := slices.Clone(e.processes)
	e.random.Shuffle(len(shuffled), func(i, k int) { shuffled[i], shuffled[k] = shuffled[k], shuffled[i] })
	return shuffled
}

// cleanStops stops each process and starts it again, and then two at once.
func (e *eosTest) cleanStops() {
	for _, p := range e.shuffled() {
		e.stop(p)
		e.wait(0, 3*time.Second)
		e.start(p.name)
		e.await(30*time.Second, "all are running", func() bool { return e.all(isRunning) })
		e.wait(time.Second, 2*time.Second)
	}
	two := e.shuffled()[:2]
	for _, p := range two {
		e.stop(p)
	}
	e.wait(time.Second, 2*time.Second)
	for _, p := range two {
		e.start(p.name)
	}
	e.await(30*time.Second, "all are running", func() bool { return e.all(isRunning) })
}

// kills ends each process twice without its knowing, one or two at once, and starts it again on what it has left.
func (e *eosTest) kills() {
	for range 2 {
		for killed := e.shuffled(); len(killed) > 0; {
			n := min(1+e.random.IntN(2), len(killed))
			for _, p := range killed[:n] {
				if err := p.cmd.Process.Kill(); err != nil {
					e.Fatal(err)
				}
				<-p.read
				_ = p.cmd.Wait() // killed
			}
			e.wait(0, 3*time.Second)
			for _, p := range killed[:n] {
				e.start(p.name)
			}
			killed = killed[n:]
			e.wait(time.Second, 5*time.Second)
		}
	}
	e.await(time.Minute, "all are running", func() bool { return e.all(isRunning) })
}

// pauses stops the world of two processes for longer than all time-outs. For a part of that time both stand still.
func (e *eosTest) pauses() {
	const length = 25 * time.Second
	var paused sync.WaitGroup
	for _, p := range e.shuffled()[:2] {
		paused.Go(func() {
			if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
				e.Error(err)
			}
			time.Sleep(length)
			if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
				e.Error(err)
			}
		})
		e.wait(5*time.Second, 15*time.Second)
	}
	paused.Wait()
	e.wait(10*time.Second, 12*time.Second)
	e.await(30*time.Second, "all are running", func() bool { return e.all(isRunning) })
}

// load writes numbers until the returned function is called, which returns when all have been acknowledged.
func (e *eosTest) load() (stop func()) {
	ctx, cancel := context.WithCancel(e.Context())
	random := rand.New(rand.NewPCG(e.random.Uint64(), 0))
	var keys []string
	for n := 0; len(keys) < eosKeys; n++ {
		if key := "key-" + strconv.Itoa(n); eosHome(key) != eosEmpty {
			keys = append(keys, key)
		}
	}
	ended := make(chan error, 1)
	go func() {
		tick := time.NewTicker(time.Second / eosRate)
		defer tick.Stop()
		var failed error
		var mu sync.Mutex
		for ctx.Err() == nil {
			<-tick.C
			r := eosRecord{keys[random.IntN(len(keys))], int64(int32(random.Uint32()))}
			p := eosHome(r.key)
			e.sent[p] = append(e.sent[p], r)
			e.client.Produce(context.WithoutCancel(ctx), &kgo.Record{Topic: "data", Key: []byte(r.key), Value: binary.BigEndian.AppendUint32(nil, uint32(r.value))},
				func(got *kgo.Record, err error) {
					if err == nil && int(got.Partition) != p {
						err = fmt.Errorf("%s is in partition %d, want %d", got.Key, got.Partition, p)
					}
					mu.Lock()
					defer mu.Unlock()
					failed = errors.Join(failed, err)
				})
		}
		err := e.client.Flush(context.WithoutCancel(ctx))
		mu.Lock()
		defer mu.Unlock()
		ended <- errors.Join(failed, err)
	}()
	return func() {
		e.Helper()
		cancel()
		if err := <-ended; err != nil {
			e.Fatal(err)
		}
	}
}

// eosHome is the partition of a key.
func eosHome(key string) int {
	return kgo.StickyKeyPartitioner(nil).ForTopic("").Partition(&kgo.Record{Key: []byte(key)}, eosPartitions)
}
