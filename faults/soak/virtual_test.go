package soak

import (
	"cmp"
	"context"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"eostop/faults"
	_ "eostop/faults/synctestrace"
	"eostop/faults/verify"
	"eostop/runtime"
	"eostop/runtime/journal"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// small is a configuration whose virtual minutes cost little: three instances of one thread, and a light load.
func small(length time.Duration) Config {
	cfg := Default()
	if brokers := os.Getenv(testScenarios); brokers != "" {
		cfg.Cluster.Brokers, cfg.Application.ID = strings.Split(brokers, ","), fmt.Sprintf("scenario-%d", time.Now().UnixNano())
	}
	cfg.Runtime.Threads, cfg.Cluster.Partitions = 1, 3
	cfg.Runtime.CommitInterval = 250 * time.Millisecond
	cfg.Load.Rate, cfg.Load.Duration, cfg.Load.Keys, cfg.Load.Seed = 40, length, 40, 1
	cfg.Session.Memory = 1 << 20
	return cfg
}

// cuts reads cuts as they are written on the command line.
func cuts(t *testing.T, specs ...string) []CutSpec {
	t.Helper()
	list := make([]CutSpec, len(specs))
	for i, spec := range specs {
		var err error
		if list[i], err = ParseCut(spec); err != nil {
			t.Fatal(err)
		}
	}
	return list
}

// stage is a session in virtual time, as the script of a test sees it. The script runs in the test's goroutine, where
// time.Sleep costs nothing.
type stage struct {
	*testing.T
	s   *Session
	own cutTracker // of the cuts that the script makes behind the session's back
}

// play runs a session from start to report. The script, if there is one, begins when the session has started, long before
// its threads run. Violated promises of every scenario are reported here; what is special to one, the caller checks.
func play(t *testing.T, cfg Config, script func(*stage)) *Report {
	t.Helper()
	return playOn(t, cfg, Deps{FS: vfs.NewMem()}, script)
}

// playOn is play with a file system of the test's.
func playOn(t *testing.T, cfg Config, deps Deps, script func(*stage)) *Report {
	t.Helper()
	return playJudged(t, cfg, deps, script, checkSurvival)
}

// playJudged is playOn for a run that is not to survive; judge is called in its place.
func playJudged(t *testing.T, cfg Config, deps Deps, script func(*stage), judge func(*testing.T, *Config, *Report)) *Report {
	t.Helper()
	if len(cfg.Cluster.Brokers) > 0 {
		defer tidy(t, &cfg)
		return playSession(t, cfg, deps, script, judge)
	}
	sampleUnderRace(t)
	var report *Report
	synctest.Test(t, func(t *testing.T) {
		report = playSession(t, cfg, deps, script, judge)
		// What connections still owe to a healed network runs out before the bubble may end.
		time.Sleep(3 * time.Minute)
	})
	return report
}

// playSession plays in the time that is.
func playSession(t *testing.T, cfg Config, deps Deps, script func(*stage), judge func(*testing.T, *Config, *Report)) *Report {
	t.Helper()
	if os.Getenv("EOSTOP_TEST_LOG") != "" {
		deps.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	s, err := New(cfg, nil, deps)
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.Cluster.Brokers) > 0 {
		s.rules = cmp.Or(s.rules, faults.NewRules(s.onHit)) // for cutAtAnswer
	}
	if err := s.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	watchdog := time.AfterFunc(cfg.Load.Duration+10*time.Minute, func() {
		t.Error("the session does not end")
		s.Stop(true)
	})
	if script != nil {
		script(&stage{T: t, s: s})
	}
	report, err := s.Wait()
	watchdog.Stop()
	if err != nil {
		t.Errorf("session: %v", err)
	}
	judge(t, &cfg, report)
	if t.Failed() {
		t.Logf("the journal:\n%s", story(s))
		t.Logf("the threads before the end:\n%s", picture(s.Snapshot()))
	}
	return report
}

// sampleUnderRace skips three of four rows of a table under the race detector, which takes many times as long and finds in some rows what
// it finds in all. Random tests have fewer seeds instead.
func sampleUnderRace(t *testing.T) {
	t.Helper()
	if row := strings.Contains(t.Name(), "/") && !strings.Contains(t.Name(), "seed"); raced && row && crc32.ChecksumIEEE([]byte(t.Name()))%4 != 0 {
		t.Skip("the race detector has seen others like it")
	}
}

// story is the session's journal without what only repeats itself.
func story(s *Session) string {
	var b strings.Builder
	var began time.Time
	for _, e := range s.journal.Tail(journalEvents) {
		if began.IsZero() {
			began = e.At
		}
		if e.Kind == journal.KindTaskState || e.Kind == journal.KindRestore {
			continue
		}
		fmt.Fprintf(&b, "%9.3f %-22s %s", e.At.Sub(began).Seconds(), cmp.Or(e.Thread, e.Instance), e.Text)
		if e.Error != "" {
			fmt.Fprintf(&b, " | %s", e.Error)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// picture says what each thread had to do when it was looked at last.
func picture(snap *Snapshot) string {
	var b strings.Builder
	for _, i := range snap.Instances {
		for _, th := range i.Threads {
			fmt.Fprintf(&b, "%s %s generation %d, connected %v, last commit %s:", th.Name, th.State, th.Generation, th.Connected, th.LastCommit.Format(time.TimeOnly))
			for _, task := range th.Tasks {
				fmt.Fprintf(&b, " %s(%d)", task.ID, task.Processed)
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// checkSurvival checks what holds at the end of every scenario: everything was processed exactly once, every thread lives,
// nothing was wiped, and no transaction hangs. Deaths are for the caller to judge, by the count of replaced threads.
func checkSurvival(t *testing.T, cfg *Config, r *Report) {
	t.Helper()
	if r.Verdict != verify.Clean {
		t.Errorf("verdict %q: %v", r.Verdict, r.Reasons)
		for _, w := range r.Witnesses {
			t.Logf("witness %+v", w)
		}
	}
	if r.Records.In == nil {
		t.Error("the records in are not known")
	} else if in := *r.Records.In; in == 0 && cfg.Load.Input == "" || in != r.Records.Processed {
		t.Errorf("%d records in, %d processed", in, r.Records.Processed)
	}
	none := map[string]*int64{
		"lost": r.Records.Lost, "duplicated": r.Records.Duplicated, "out of order": r.Records.OutOfOrder,
		"digest mismatch": r.State.DigestMismatch, "transactions open at the end": r.Transactions.OpenAtEnd,
	}
	if cfg.Runtime.Guarantee == string(runtime.AtLeastOnce) {
		delete(none, "duplicated") // are what is promised
		delete(none, "out of order")
	}
	for name, n := range none {
		if n == nil || *n != 0 {
			t.Errorf("%s: %s, want 0", name, number(n))
		}
	}
	// Without transactions a former owner's last writes may have missed the store, so only those with one owner are compared.
	some := cfg.Runtime.Guarantee == string(runtime.AtLeastOnce)
	stateless := cfg.Application.Topology == topologyPassthrough
	if n := r.State.DigestChecked; n == nil || *n == 0 && !stateless && !some || r.State.Stores == nil || *n != *r.State.Stores && !some {
		t.Errorf("%s of %s stores compared with their changelog and the model", number(n), number(r.State.Stores))
	}
	if r.State.Wiped != 0 && cfg.Runtime.StateMode == string(runtime.StateTransactional) {
		t.Errorf("%d stores wiped, want none", r.State.Wiped)
	}
	if want := cfg.Runtime.Instances * cfg.Runtime.Threads; r.Threads.Total != want || r.Threads.Alive != want {
		t.Errorf("%d of %d threads alive, want %d", r.Threads.Alive, r.Threads.Total, want)
	}
	checkCuts(t, cfg, r)
	checkFaults(t, cfg, r)
}

// checkFaults checks how soon everybody recovered from the faults that have done anything.
func checkFaults(t *testing.T, cfg *Config, r *Report) {
	t.Helper()
	limit := (cfg.Runtime.SessionTimeout + 5*time.Second).Milliseconds()
	for _, f := range r.Faults {
		if f.EndedMS == nil || *f.EndedMS+limit > *r.DurationMS || f.Kind == FaultPanic {
			continue
		}
		if f.RecoveredMS == nil {
			t.Errorf("fault %s: not recovered", f.Spec)
			continue
		}
		held := heldUp(r, ReportCut{StartMS: f.EndedMS, LengthMS: new(int64(0)), RecoveredMS: f.RecoveredMS})
		for _, c := range r.Cuts { // of anybody: all have to work
			if *c.StartMS <= *f.EndedMS+*f.RecoveredMS {
				held = max(held, *c.StartMS+*c.LengthMS-*f.EndedMS)
			}
		}
		if *f.RecoveredMS > held+limit {
			t.Errorf("fault %s: recovered %d ms after its end, of which a later disturbance explains %d; want at most %d", f.Spec, *f.RecoveredMS, held, limit)
		}
	}
}

// checkCuts checks how soon instances recovered. A cut that another one of the same instance follows at once may not have
// been measured; the last one of each instance must be.
func checkCuts(t *testing.T, cfg *Config, r *Report) {
	t.Helper()
	limit := (cfg.Runtime.SessionTimeout + 5*time.Second).Milliseconds()
	for i, c := range r.Cuts {
		again := slices.ContainsFunc(r.Cuts[i+1:], func(next ReportCut) bool { return next.Instance == c.Instance })
		if c.RecoveredMS == nil && again {
			continue
		}
		held, most := heldUp(r, c), limit
		if held > 0 {
			// A member that others hear but that hears nobody is not silent: the group waits for it as long as a rebalance may take.
			most = max(limit, (cfg.Runtime.RebalanceTimeout + 5*time.Second).Milliseconds())
		}
		if c.RecoveredMS == nil || *c.RecoveredMS > held+most {
			t.Errorf("%s: recovered after %s ms, of which a later disturbance explains %d; want at most %d", cutName(c), number(c.RecoveredMS), held, most)
		}
	}
}

// heldUp returns for how many milliseconds after the heal of a cut somebody else could begin to hold the group up: a rebalance
// waits for each member that falls silent in it until its session runs out, and for one that stalls until it goes on. So a
// recovery that meets a later cut or a stall counts from that.
func heldUp(r *Report, c ReportCut) int64 {
	if c.RecoveredMS == nil {
		return 0
	}
	held, healed := int64(0), *c.StartMS+*c.LengthMS
	recovered := healed + *c.RecoveredMS
	for _, other := range r.Cuts {
		if other.Instance != c.Instance && *other.StartMS <= recovered && *other.StartMS+*other.LengthMS >= healed {
			held = max(held, *other.StartMS-healed)
		}
	}
	for _, f := range r.Faults {
		if f.EndedMS != nil && *f.StartMS <= recovered {
			held = max(held, *f.EndedMS-healed)
		}
	}
	return held
}

func cutName(c ReportCut) string {
	return fmt.Sprintf("cut of %s (%s) at %s ms for %s ms", c.Instance, c.Direction, number(c.StartMS), number(c.LengthMS))
}

func number(n *int64) string {
	if n == nil {
		return "unmeasured"
	}
	return fmt.Sprint(*n)
}

// wantTakeover checks that the others had everything of a cut instance within the session time-out and 3 s.
func wantTakeover(t *testing.T, cfg *Config, c ReportCut) {
	t.Helper()
	if limit := (cfg.Runtime.SessionTimeout + 3*time.Second).Milliseconds(); !c.Expelled || c.TakeoverMS == nil || *c.TakeoverMS > limit {
		t.Errorf("%s: expelled %v, taken over after %s ms, want at most %d", cutName(c), c.Expelled, number(c.TakeoverMS), limit)
	}
}

// wantNoneExpelled checks that a cut passed without the group noticing.
func wantNoneExpelled(t *testing.T, all []ReportCut) {
	t.Helper()
	for _, c := range all {
		if c.Expelled || c.TakeoverMS != nil {
			t.Errorf("%s: expelled, want it to stay a member", cutName(c))
		}
	}
}

// wantDeaths checks how many threads died and were replaced.
func wantDeaths(t *testing.T, r *Report, n int) {
	t.Helper()
	if len(r.Threads.Died) != n || r.Threads.Replaced != n {
		t.Errorf("%d threads died and %d were replaced, want %d: %+v", len(r.Threads.Died), r.Threads.Replaced, n, r.Threads.Died)
	}
}

// wantCalm checks that not a single transaction failed.
func wantCalm(t *testing.T, r *Report) {
	t.Helper()
	if x := r.Transactions; x.Aborted != 0 || x.Fenced != 0 || x.UnknownOutcome != 0 {
		t.Errorf("%d transactions aborted, %d fenced, %d of unknown outcome, want none", x.Aborted, x.Fenced, x.UnknownOutcome)
	}
}

// until waits until all threads have been RUNNING for a time.
func (g *stage) until(elapsed time.Duration) {
	for g.s.Snapshot().Elapsed < elapsed && g.s.Snapshot().Phase != PhaseStopped {
		time.Sleep(observeEvery)
	}
}

// member returns an instance with its link.
func (g *stage) member(name string) *member { return g.s.member(name) }

// newest returns the group's generation as the threads know it.
func (g *stage) newest() int32 {
	newest := int32(-1)
	for _, i := range g.s.statuses() {
		for _, t := range i.Threads {
			newest = max(newest, t.Generation)
		}
	}
	return newest
}

// keepsGeneration checks that no rebalance happens between two moments.
func (g *stage) keepsGeneration(from, to time.Duration) {
	g.Helper()
	g.until(from)
	before := g.newest()
	g.until(to)
	if after := g.newest(); before < 0 || after != before {
		g.Errorf("the group went from generation %d to %d, want no rebalance", before, after)
	}
}

// follow observes a cut that the script itself has made, heals it after its length, and checks that the instance recovers
// in time. Unlike the session's own cuts it may begin in the middle of a request.
func (g *stage) follow(instance string, d faults.Direction, length time.Duration) {
	g.Helper()
	link, start := g.member(instance).link, time.Now()
	g.own.begin(instance, d.String(), start, g.s.statuses())
	cut := g.own.cuts[len(g.own.cuts)-1]
	limit := g.s.cfg.Runtime.SessionTimeout + 5*time.Second
	for cut.Recovered < 0 && (cut.Healed.IsZero() || time.Since(cut.Healed) <= limit) {
		time.Sleep(observeEvery)
		if cut.Healed.IsZero() && time.Since(start) >= length {
			link.Heal()
			g.own.heal(instance, time.Now(), -1)
		}
		g.own.observe(time.Now(), g.s.statuses(), nil, 0)
	}
	if cut.Recovered < 0 {
		g.Errorf("cut of %s (%s) for %v: not recovered %v after the heal", instance, d, length, limit)
	}
}

// cutAt cuts an instance off in the middle of the n-th request of a kind from now on that the predicate recognises: the broker has
// it, and has not answered. The script goes on once that has happened; it has to follow the cut. It reports false if the request
// does not come.
func (g *stage) cutAt(instance string, d faults.Direction, key kmsg.Key, nth int64, of func(kmsg.Request) bool) bool {
	g.Helper()
	if g.s.cluster.embedded == nil {
		return g.cutAtAnswer(instance, d, key, nth)
	}
	link, seen, reached := g.member(instance).link, int64(0), make(chan struct{})
	err := g.s.cluster.embedded.Observe(key.Int16(), func(req kmsg.Request) {
		if !of(req) {
			return
		}
		if seen++; seen == nth {
			link.Cut(d)
			close(reached)
		}
	})
	if err != nil {
		g.Error(err)
	}
	select {
	case <-reached:
		return true
	case <-time.After(time.Minute):
		g.Errorf("less than %d requests %s came in a minute", nth, key.Name())
		return false
	}
}

// watchGenerations checks every commit of offsets that reaches the broker from now on.
func (g *stage) watchGenerations() {
	without := func(member string, generation int32) {
		if generation < 0 || member == "" {
			g.Errorf("offsets are committed as member %q of generation %d", member, generation)
		}
	}
	for key, look := range map[kmsg.Key]func(kmsg.Request){
		kmsg.TxnOffsetCommit: func(req kmsg.Request) {
			r := req.(*kmsg.TxnOffsetCommitRequest)
			without(r.MemberID, r.Generation)
		},
		kmsg.OffsetCommit: func(req kmsg.Request) {
			r := req.(*kmsg.OffsetCommitRequest)
			without(r.MemberID, r.Generation)
		},
	} {
		if err := g.s.cluster.embedded.Observe(key.Int16(), look); err != nil {
			g.Error(err)
		}
	}
}

// plan reads faults as they are written on the command line.
func plan(t *testing.T, specs ...string) []FaultSpec {
	t.Helper()
	list := make([]FaultSpec, len(specs))
	for i, spec := range specs {
		var err error
		if list[i], err = ParseFault(spec); err != nil {
			t.Fatal(err)
		}
	}
	return list
}
