package runtime

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestLeaderFencesWhatExpelledMembersLeft: several ids of a member, and none of those that are there.
func TestLeaderFencesWhatExpelledMembersLeft(t *testing.T) {
	l := newLeader(t, nil)
	perTask := sub("2", func(s *subscription) {
		s.Guarantee, s.Tasks, s.TransactionalIDs = ExactlyOnce, stateful(0, 1), []string{"app-1_0", "app-1_1"}
	})
	told := l.rebalance(leading(nil), joined("old", 5, perTask), joined("third", 5, sub("3", nil)))
	if ids := l.initialised(); len(ids) != 0 {
		t.Errorf("%v were fenced though nobody is missing", ids)
	}
	var want []string // its own, and those that it gets
	for _, id := range told["old"].Tasks {
		want = append(want, taskTransactionalID("app", id))
	}
	for _, id := range append([]string{"app-1-1", "app-3-1"}, want...) {
		if !slices.Contains(told["leader"].TransactionalIDs, id) {
			t.Errorf("the next leader does not hear of %s: %v", id, told["leader"].TransactionalIDs)
		}
	}
	if len(want) == 0 {
		t.Fatal("the member with a producer for each task was given none")
	}

	for _, id := range []string{"app-1_0", "app-1_1", "app-3-1"} {
		l.leaveOpen(id)
	}
	l.initialised()
	told = l.rebalance(leading(nil), joined("third", 6, sub("3", nil)))
	for _, id := range []string{"app-1_0", "app-1_1"} {
		if ids := told["leader"].Fenced; !slices.Contains(ids, id) {
			t.Errorf("fenced are %v, want %s among them", ids, id)
		}
	}
	if ids := l.initialised(); !slices.Contains(ids, "app-1_0") || !slices.Contains(ids, "app-1_1") || slices.Contains(ids, "app-3-1") || slices.Contains(ids, "app-1-1") {
		t.Errorf("initialised were %v, want those of the member that is gone", ids)
	}
	l.rebalance(leading(nil), joined("third", 7, sub("3", nil)))
	if ids := l.initialised(); len(ids) != 0 {
		t.Errorf("%v were fenced a second time", ids)
	}
}

// TestLeaderLeavesCleanLeaversAlone: a member that leaves initialises its id for the last time, so nothing is to come from it. It is not
// said to have been fenced when it comes back. One that is gone without that may have something on its way, though nothing is open.
// Where the broker cannot tell, everybody that is gone is fenced.
func TestLeaderLeavesCleanLeaversAlone(t *testing.T) {
	for _, tells := range []bool{true, false} {
		l := newLeader(t, nil)
		l.cluster.ControlKey(kmsg.DescribeTransactions.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
			l.cluster.KeepControl()
			if !tells {
				return nil, errors.New("a broker before 3.0"), true
			}
			resp := req.ResponseKind().(*kmsg.DescribeTransactionsResponse)
			for _, id := range req.(*kmsg.DescribeTransactionsRequest).TransactionalIDs {
				state := kmsg.NewDescribeTransactionsResponseTransactionState()
				state.TransactionalID, state.State = id, map[string]string{"app-2-1": "Empty", "app-4-1": "CompleteCommit"}[id]
				if state.State == "" {
					state.ErrorCode = kerr.TransactionalIDNotFound.Code
				}
				resp.TransactionStates = append(resp.TransactionStates, state)
			}
			return resp, nil, true
		})
		l.rebalance(leading(nil), joined("left", 5, sub("2", nil)), joined("never", 5, sub("3", nil)), joined("expelled", 5, sub("4", nil)))
		l.initialised()
		a := l.rebalance(leading(nil))["leader"]
		fenced := []string{"app-2-1", "app-3-1", "app-4-1"}
		if tells {
			fenced = []string{"app-4-1"}
		}
		if ids := l.initialised(); !slices.Equal(ids, fenced) || !slices.Equal(a.Fenced, fenced) {
			t.Errorf("the broker tells: %v: %v were fenced and %v are said to be, want %v", tells, ids, a.Fenced, fenced)
		}
		if !slices.Equal(a.TransactionalIDs, []string{"app-1-1"}) {
			t.Errorf("the next leader hears of %v, want its own alone", a.TransactionalIDs)
		}
	}
}

// TestWhatIsOver: the states are those that Kafka's coordinator gives transactional ids.
func TestWhatIsOver(t *testing.T) {
	for _, c := range []struct {
		d            kadm.DescribedTransaction
		thread, task bool
	}{
		{kadm.DescribedTransaction{State: "Ongoing"}, false, false},
		{kadm.DescribedTransaction{State: "PrepareCommit"}, false, false},
		{kadm.DescribedTransaction{State: "PrepareAbort"}, false, false},
		{kadm.DescribedTransaction{State: "PrepareEpochFence"}, false, false},
		{kadm.DescribedTransaction{State: "CompleteCommit"}, false, true},
		{kadm.DescribedTransaction{State: "CompleteAbort"}, false, true},
		{kadm.DescribedTransaction{State: "Empty"}, true, true},
		{kadm.DescribedTransaction{State: "Dead"}, true, true},
		{kadm.DescribedTransaction{Err: kerr.TransactionalIDNotFound}, true, true},
		{kadm.DescribedTransaction{Err: kerr.CoordinatorLoadInProgress}, false, false},
	} {
		if thread, task := over(c.d, false), over(c.d, true); thread != c.thread || task != c.task {
			t.Errorf("%+v: %v of a thread, %v of a task, want %v, %v", c.d, thread, task, c.thread, c.task)
		}
	}
	for id, want := range map[string]bool{"app-1_0": true, "app-1-1": false, "other-1_0": false, "app-9f4_2-1": false} {
		if got := isTaskTransactionalID("app", id); got != want {
			t.Errorf("%s is of a task: %v", id, got)
		}
	}
}

// TestANewLeaderKnowsWhomToFence: the former leader is gone, and with it the member that it had led. The others have heard who there was.
func TestANewLeaderKnowsWhomToFence(t *testing.T) {
	l := newLeader(t, nil)
	l.leaveOpen("app-9-1")
	l.initialised()
	told := l.rebalance(leading(nil), joined("old", 5, sub("2", func(s *subscription) { s.Known = []string{"app-1-1", "app-2-1", "app-9-1"} })))
	if ids := l.initialised(); !slices.Equal(ids, []string{"app-9-1"}) || !slices.Equal(told["old"].Fenced, ids) {
		t.Errorf("%v were fenced and %v are said to be, want app-9-1", ids, told["old"].Fenced)
	}
}

// TestWhoComesBackLearnsOnceThatItWasFenced: also one whose own last assignment is from before it was expelled.
func TestWhoComesBackLearnsOnceThatItWasFenced(t *testing.T) {
	l := newLeader(t, nil)
	knows := func(s *subscription) { s.Known = []string{"app-1-1", "app-2-1"} }
	l.rebalance(leading(nil), joined("gone", 5, sub("2", nil)))
	l.leaveOpen("app-2-1")
	l.rebalance(leading(knows))
	for rebalance, want := range [][]string{{"app-2-1"}, nil} {
		if a := l.rebalance(leading(knows), joined("back", 7, sub("2", knows)))["back"]; !slices.Equal(a.Fenced, want) {
			t.Errorf("rebalance %d after its return: %v are said to be fenced, want %v", rebalance, a.Fenced, want)
		}
	}
}

// TestAFenceThatFailsIsTriedAgain: nobody is told that a member was fenced who was not, and the next rebalance tries once more.
func TestAFenceThatFailsIsTriedAgain(t *testing.T) {
	l := newLeader(t, nil)
	l.rebalance(leading(nil), joined("gone", 5, sub("2", nil)))
	l.leaveOpen("app-2-1")
	refused := true
	l.cluster.ControlKey(kmsg.InitProducerID.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
		l.cluster.KeepControl()
		if !refused {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.InitProducerIDResponse)
		resp.ErrorCode = kerr.TransactionalIDAuthorizationFailed.Code
		return resp, nil, true
	})
	a := l.rebalance(leading(nil))["leader"]
	if len(a.Fenced) != 0 || !slices.Contains(a.TransactionalIDs, "app-2-1") {
		t.Errorf("after a failure %v are said to be fenced, and the next leader hears of %v", a.Fenced, a.TransactionalIDs)
	}
	refused = false
	if a = l.rebalance(leading(nil))["leader"]; !slices.Equal(a.Fenced, []string{"app-2-1"}) || slices.Contains(a.TransactionalIDs, "app-2-1") {
		t.Errorf("then %v are said to be fenced, and the next leader hears of %v", a.Fenced, a.TransactionalIDs)
	}
}

// TestFencedIsBounded: members that never come back must not make each assignment longer for good.
func TestFencedIsBounded(t *testing.T) {
	l := newLeader(t, nil)
	known := make([]string, 2*fencedLimit)
	for i := range known {
		known[i] = fmt.Sprintf("app-p%03d-1", i)
	}
	for range 2 {
		l.cluster.ControlKey(kmsg.DescribeTransactions.Int16(), func(kmsg.Request) (kmsg.Response, error, bool) {
			return nil, errors.New("a broker before 3.0"), true
		})
		a := l.rebalance(leading(func(s *subscription) { s.Known = known }))["leader"]
		if len(a.Fenced) != fencedLimit {
			t.Errorf("%d ids are said to be fenced, want %d", len(a.Fenced), fencedLimit)
		}
	}
}

// TestGivenIDsAreNotThoseOfTheExpelled: a task of an expelled member has a new owner, who initialises its id.
func TestGivenIDsAreNotThoseOfTheExpelled(t *testing.T) {
	l := newLeader(t, nil)
	one := func(process string, tasks []TaskID) subscription {
		return sub(process, func(s *subscription) {
			s.Guarantee, s.Tasks, s.TransactionalIDs = ExactlyOnce, tasks, transactionalIDs(ExactlyOnce, "app", "", tasks)
		})
	}
	l.rebalance(joined("leader", 5, one("1", nil)), joined("other", 5, one("2", stateful(0, 1, 2))))
	told := l.rebalance(joined("leader", 6, one("1", nil)))
	if a := told["leader"]; len(a.Tasks) != 6 || len(a.Fenced) != 0 || len(a.TransactionalIDs) != 6 {
		t.Errorf("got %+v, want all tasks with their ids, and nothing fenced", a)
	}
}

// TestPerTask: whoever takes a task over initialises its id as long as there may be a former owner that used it, which is one
// assignment longer than there are such members.
func TestPerTask(t *testing.T) {
	l := newLeader(t, nil)
	perTask := joined("old", 5, sub("2", func(s *subscription) { s.Guarantee, s.TransactionalIDs = ExactlyOnce, nil }))
	check := func(when string, a assignment, present, want bool) {
		t.Helper()
		if a.ExactlyOnce != present || a.PerTask != want {
			t.Errorf("%s: got %+v, want %v, %v", when, a, present, want)
		}
	}
	check("never", l.rebalance(leading(nil))["leader"], false, false)
	check("there", l.rebalance(leading(nil), perTask)["leader"], true, true)
	check("gone", l.rebalance(leading(nil))["leader"], false, true)
	check("long gone", l.rebalance(leading(nil))["leader"], false, false)
	remembers := joined("other", 5, sub("3", func(s *subscription) { s.PerTask = true }))
	check("the leader is new, another member knows", l.rebalance(leading(nil), remembers)["leader"], false, true)
}
