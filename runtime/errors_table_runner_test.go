package runtime_test

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"eostop/runtime"
	"eostop/runtime/journal"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// reaction is what becomes of a thread that meets an error.
type reaction string

const (
	// migrated: the transaction is given up, the producer opened anew, and everything begins at what is committed.
	migrated reaction = "migrated"
	// corrupted: the same, and the outcome of the transaction or the content of a store was in doubt.
	corrupted reaction = "corrupted"
	// retried: the step is repeated; nothing else happens.
	retried reaction = "retried"
	// dies: the thread ends, and the uncaught-exception handler has it replaced.
	dies reaction = "dies"
	// swallowed: the error changes nothing.
	swallowed reaction = "swallowed"
	// reset: the consumer takes another position, by its own policy.
	reset reaction = "reset"
)

// moment is when an error is met.
type moment uint8

const (
	// running: while records are processed and committed.
	running moment = iota
	// starting: from the beginning of the instance on.
	starting
	// joining: in a rebalance that leaves the tasks of the thread where they are for now.
	joining
	// revoking: when tasks that have a transaction open are taken away.
	revoking
	// closing: when the instance closes with a transaction open.
	closing
	// losing: when the group has expelled the thread (onPartitionsLost).
	losing
)

// row is a line of the table: an error at a place, and what becomes of it. The names are those of Kafka Streams' exceptions; the place is
// CB (callback of a send), SEND (the send itself), OFF (offsets into the transaction), COMMIT, ABORT, INIT (of transactions), POLL (the
// main consumer and its group), CMT (offsets without a transaction), COMM (committed offsets), RST (restore), or what the program itself does.
type row struct {
	name string

	key  kmsg.Key // of the request that fails
	of   func(request) bool
	do   deed
	err  *kerr.Error
	n    int           // how often; 0 = once, -1 = for as long as lasts
	last time.Duration // how long the disturbance stays, once it was met
	also []disturbance // what else has to happen
	when moment

	guarantees []runtime.Guarantee // empty = those with transactions
	version    string              // empty = both

	head reaction // Kafka's trunk; empty where it has no such case
	post reaction // Kafka 2.4.0, with the fix of KAFKA-9231
	want reaction
	why  string // where want is not what trunk does
	slow bool   // it takes so long that meanwhile the thread may be expelled, or another transaction of it become too old

	asked    bool // the production handler decides
	response runtime.HandlerResponse
	cause    string // that the journal or the thread's death names
}

// runRows runs each row under each guarantee and protocol that it is for.
func runRows(t *testing.T, rows []row) {
	t.Helper()
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			if deviates := r.head != "" && r.want != r.head; deviates != (r.why != "") {
				t.Errorf("trunk: %s, here: %s, reason: %q", r.head, r.want, r.why)
			}
			guarantees := r.guarantees
			if len(guarantees) == 0 {
				guarantees = []runtime.Guarantee{runtime.ExactlyOnceV2, runtime.ExactlyOnce}
			}
			inModes(t, guarantees, func(t *testing.T, m mode) {
				if r.version != "" && r.version != m.version {
					return
				}
				inBubble(t, m, func(c *cluster) { r.run(c) })
			})
		})
	}
}

// scene is a row while it is played.
type scene struct {
	*cluster
	row      *row
	i        *member
	asked    asked
	sent     int64
	hits     *disturbance // of the row itself
	armed    []*disturbance
	before   runtime.Counters
	partners []*member
}

func (r *row) run(c *cluster) {
	s := &scene{cluster: c, row: r}
	s.asked.response = r.response
	c.create(2, "in", "out")
	program := sumProgram(c.T, nil)
	if !c.exactlyOnce() {
		program = copyProgram(c.T, "in", "out")
	}
	// A restore has something to restore.
	s.i = c.start("i1", program, func(cfg *runtime.Config) {
		if r.when == revoking || r.when == closing {
			slowCommits(cfg)
		}
		cfg.TaskTimeout = 2 * time.Minute
		cfg.ProductionHandler = func(f runtime.FailedSend) runtime.HandlerResponse {
			s.asked.handle(f)
			if r.response != runtime.Fail {
				return r.response
			}
			return runtime.DefaultProductionHandler(f)
		}
	})
	c.awaitRunning(soon, 2, s.i)
	s.feed()
	c.awaitCommitted(late, "in")
	s.play()
	s.feed()
	c.awaitCommitted(late, "in")
	c.awaitRunning(late, 2, append(s.partners, s.i)...)
	s.feed()
	c.awaitCommitted(late, "in")
	s.judge()
	for _, i := range append(s.partners, s.i) {
		i.close()
	}
}

func (s *scene) feed() {
	s.Helper()
	s.cluster.feed("in", 2, s.sent, 5)
	s.sent += 5
}

// arm begins the row's disturbances.
func (s *scene) arm() {
	r := s.row
	s.before = s.i.total()
	s.hits = s.i.wire.disturb(&disturbance{key: r.key, of: r.of, do: r.do, err: r.err, n: r.n})
	s.armed = append(s.armed, s.hits)
	for n := range r.also {
		d := &r.also[n]
		s.armed = append(s.armed, s.i.wire.disturb(&disturbance{key: d.key, of: d.of, do: d.do, err: d.err, n: d.n}))
	}
}

// met waits until everything that was armed has been met, for as long as it is to last.
func (s *scene) met() {
	s.Helper()
	for n, d := range s.armed {
		s.await(late, fmt.Sprintf("disturbance %d is met", n), func() bool { return d.hits.Load() > 0 })
	}
	time.Sleep(s.row.last)
	for _, d := range s.armed {
		s.i.wire.withdraw(d)
	}
}

// play has the error happen.
func (s *scene) play() {
	s.Helper()
	switch s.row.when {
	case running:
		s.arm()
		s.feed()
		s.met()
	case starting:
		s.i.close()
		s.i.disk = vfsEmpty() // so that there is something to restore
		s.i.prepareRestart(nil)
		s.arm()
		s.i.begin()
		s.feed()
		s.met()
	case joining:
		s.arm()
		s.i.add("i1-StreamThread-2")
		s.met()
	case revoking:
		s.open()
		s.arm()
		s.partners = append(s.partners, s.start("i2", s.i.top, nil))
		s.met()
	case closing:
		s.open()
		s.arm()
		s.i.close()
		s.met()
		s.check()
		s.i.restart(nil)
		s.before = s.i.total()
	case losing:
		s.Fatal("only flushes of stores have rows for that, see failedSend")
	}
}

// open leaves a transaction open.
func (s *scene) open() {
	s.Helper()
	s.feed()
	s.awaitCommitted(late, "in")
	s.feed()
	s.awaitRecords(2*time.Second, "out", uncommitted, int(2*s.sent))
}

// judge checks everything at the end.
func (s *scene) judge() {
	if s.exactlyOnce() && s.row.response != runtime.Continue {
		s.wantSums("in", "out")
	} else if s.row.response != runtime.Continue {
		s.wantCopied("in", "out")
	}
	if s.row.when != closing { // that was checked at its time
		s.check()
	}
	for _, th := range s.i.Status().Threads {
		if th.State != string(runtime.ThreadRunning) {
			s.Errorf("%s is %s", th.Name, th.State)
		}
	}
}

// check compares what became of the thread with what the row says.
func (s *scene) check() {
	r, now := s.row, s.i.total()
	deaths, replaced := s.i.Deaths()
	var got []reaction
	if now.Migrated > s.before.Migrated {
		got = append(got, migrated)
	}
	if now.Corrupted > s.before.Corrupted {
		got = append(got, corrupted)
	}
	if len(deaths) > 0 {
		got = append(got, dies)
	}
	want := []reaction{r.want}
	if r.want == retried || r.want == swallowed {
		want = nil
	}
	if (r.slow && s.guarantee != runtime.ExactlyOnceV2) || (r.want == dies && s.lost()) {
		got = slices.DeleteFunc(got, func(g reaction) bool { return g == migrated && g != r.want })
	}
	if !slices.Equal(got, want) {
		s.Errorf("%v, want %v: %+v after %+v, deaths %+v", got, want, now, s.before, deaths)
	}
	if aborted := now.Aborted - s.before.Aborted; r.want == retried && aborted > 0 {
		s.Errorf("%d transactions aborted, want none", aborted)
	}
	if replaced != len(deaths) {
		s.Errorf("%d threads died and %d were replaced", len(deaths), replaced)
	}
	s.asked.mu.Lock()
	defer s.asked.mu.Unlock()
	if (len(s.asked.sends) > 0) != r.asked {
		s.Errorf("the production handler was asked %d times, want it to be: %v", len(s.asked.sends), r.asked)
	}
	if now.Wiped != s.before.Wiped {
		s.Errorf("%d stores wiped", now.Wiped)
	}
	s.checkCause(deaths)
}

// lost reports whether the group has taken the thread's tasks away.
func (s *scene) lost() bool {
	return slices.ContainsFunc(s.events(journal.KindGroup), func(e journal.Event) bool { return e.To == "lost" })
}

// checkCause checks that whoever reads the journal can tell why it happened.
func (s *scene) checkCause(deaths []runtime.ThreadDeath) {
	s.Helper()
	var causes []string
	switch s.row.want {
	case dies:
		for _, d := range deaths {
			causes = append(causes, d.Cause)
			if d.Unexpected {
				s.Errorf("%+v: the classifier does not know the error", d)
			}
		}
	case migrated, corrupted:
		kind := journal.KindMigrated
		if s.row.want == corrupted {
			kind = journal.KindCorrupted
		}
		for _, e := range append(s.events(kind), s.events(journal.KindGroup)...) {
			if e.Kind == kind || e.To == "lost" {
				causes = append(causes, cmp.Or(e.Cause, "?"))
			}
		}
	default:
		return
	}
	if !slices.Contains(causes, s.row.cause) {
		s.Errorf("the journal names %q, want %q", causes, s.row.cause)
	}
}
