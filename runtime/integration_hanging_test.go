package runtime_test

import (
	"testing"
	"time"

	"eostop/runtime"
	"eostop/runtime/journal"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// transactionalID returns the transactional id that a request of a producer names.
func transactionalID(r request) string {
	switch r := r.Request.(type) {
	case *kmsg.EndTxnRequest:
		return r.TransactionalID
	case *kmsg.TxnOffsetCommitRequest:
		return r.TransactionalID
	case *kmsg.InitProducerIDRequest:
		if r.TransactionalID != nil {
			return *r.TransactionalID
		}
	case *kmsg.ProduceRequest:
		if r.TransactionID != nil {
			return *r.TransactionID
		}
	}
	return ""
}

// TestOneTaskThatHangsHoldsUpNoOther: under exactly_once each task has a producer of its own. What is asked in the name of one of them gets no answer
// for longer than the session and the group would wait. The thread stays in the group, its other tasks go on, and this one goes on
// as soon as there are answers again.
func TestOneTaskThatHangsHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]struct {
		key   kmsg.Key
		start bool
		limit time.Duration // within which the others have committed
	}{
		"initialisation at the start": {kmsg.InitProducerID, true, soon},
		"commit":                      {kmsg.EndTxn, false, 12 * time.Second},
		"offsets":                     {kmsg.TxnOffsetCommit, false, 12 * time.Second},
		"send":                        {kmsg.Produce, false, 12 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, version := range []string{"3.7", "4.0"} {
				inBubble(t, mode{runtime.ExactlyOnce, version}, func(c *cluster) {
					const partitions = 4
					c.create(partitions, "in", "out")
					i := c.prepare("i1", sumProgram(t, nil), nil)
					i.assemble()
					hang := func() *disturbance {
						return i.wire.disturb(&disturbance{key: r.key, do: swallow, n: -1, of: func(r request) bool { return transactionalID(r) == "app-0_0" }})
					}
					var d *disturbance
					if r.start {
						d = hang()
						i.begin()
					} else {
						i.begin()
						c.feed("in", partitions, 0, 5)
						c.awaitCommitted(soon, "in")
						d = hang()
					}
					sent := int64(5)
					for began := time.Now(); time.Since(began) < 40*time.Second; sent += 5 {
						c.feed("in", partitions, sent, 5)
						c.await(r.limit, "the other tasks have committed", func() bool {
							_, ends := c.ends("in", uncommitted)
							offsets := c.committedOffsets("in")
							for p := int32(1); p < partitions; p++ {
								if offsets[p] < ends[p] {
									return false
								}
							}
							return true
						})
						time.Sleep(time.Second)
					}
					if d.hits.Load() == 0 {
						c.Fatal("nothing has hung")
					}
					if n := i.total(); i.Status().Threads[0].Generation < 1 || c.membersOfGroup() != 1 {
						c.Errorf("%+v: the member is not in its group", n)
					}
					for _, e := range c.events(journal.KindGroup) {
						if e.To == "lost" {
							c.Errorf("%+v, want the thread to stay in its group", e)
						}
					}
					i.wire.withdraw(d)
					c.awaitCommitted(late, "in")
					c.awaitRunning(late, partitions, i)
					c.wantSums("in", "out")
					i.close()
					i.wantDeaths(0, 0)
				})
			}
		})
	}
}
