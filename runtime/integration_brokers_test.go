package runtime_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"eostop/runtime"
	"eostop/runtime/journal"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestABrokerThatIsTooOld: before Kafka 2.5 nothing would fence an expelled member of exactly_once_v2. The start fails with words that help, and
// nothing is processed. The other guarantees work there; under exactly_once the client waits half a second after each commit, with a mutex
// held, which virtual time cannot pass.
func TestABrokerThatIsTooOld(t *testing.T) {
	t.Parallel()
	for _, guarantee := range []runtime.Guarantee{runtime.ExactlyOnceV2, runtime.AtLeastOnce} {
		t.Run(string(guarantee), func(t *testing.T) {
			t.Parallel()
			inBubble(t, mode{guarantee, "2.4"}, func(c *cluster) {
				c.create(2, "in", "out")
				i := c.start("i1", copyProgram(t, "in", "out"), func(cfg *runtime.Config) { cfg.StreamThreads = 2 })
				c.feed("in", 2, 0, 10)
				if guarantee != runtime.ExactlyOnceV2 {
					c.awaitCommitted(late, "in")
					i.close()
					i.wantDeaths(0, 0)
					i.wantCalm()
					return
				}
				c.await(soon, "the client gives up", func() bool { return i.Status().State == string(runtime.InstanceError) })
				deaths, replaced := i.Deaths()
				if len(deaths) == 0 || replaced != 0 || deaths[0].Cause != "broker too old" || deaths[0].Unexpected {
					c.Fatalf("%+v, %d replaced; want it to have died of the broker", deaths, replaced)
				}
				for _, say := range []string{string(guarantee), "2.5", "broker 0", string(runtime.ExactlyOnce)} {
					if !strings.Contains(deaths[0].Error, say) {
						c.Errorf("%q does not mention %q", deaths[0].Error, say)
					}
				}
				if n := i.total(); n.Processed != 0 || len(c.read("out", uncommitted)) != 0 {
					c.Errorf("%+v, want nothing to have been processed", n)
				}
				i.close()
			})
		})
	}
}

// TestACleanLeaverIsNotFenced: an instance is closed and comes back. The others have nothing to abort for it, and nobody says that it was
// expelled. One that was killed in the middle of its work is fenced.
func TestACleanLeaverIsNotFenced(t *testing.T) {
	t.Parallel()
	exactlyOnceModes(t, func(t *testing.T, m mode) {
		inBubble(t, m, func(c *cluster) {
			c.create(4, "in", "out")
			program := sumProgram(t, nil)
			change := func(cfg *runtime.Config) {
				slowCommits(cfg)
				cfg.TransactionTimeout = 40 * time.Second // longer than the session's
			}
			initialised := c.initialised()
			one, two := c.start("i1", program, change), c.start("i2", program, change)
			c.awaitRunning(late, 4, one, two)
			sent := int64(0)
			work := func() {
				c.feed("in", 4, sent, 5)
				sent += 5
				c.awaitCommitted(late, "in")
			}
			fenced := func() (n int) {
				for _, e := range append(c.events(journal.KindTransaction), c.events(journal.KindProducer)...) {
					if strings.Contains(e.Cause, "fenced by the group") {
						n++
					}
				}
				return n
			}
			for range 3 {
				work()
				before := initialised()
				two.close()
				// With a producer for each thread it says that nothing is to come; the id of a task is its next owner's business.
				if n := initialised() - before; m.guarantee == runtime.ExactlyOnceV2 && n != len(two.Status().Threads) {
					c.Errorf("%d ids were initialised as the instance closed, want that of each thread", n)
				}
				work()
				two.restart(nil)
				c.awaitRunning(late, 4, one, two)
				work()
			}
			if n := fenced(); n != 0 {
				c.Errorf("%d events speak of fencing, want none", n)
			}
			one.wantCalm()
			two.wantCalm()

			c.feed("in", 4, sent, 5)
			sent += 5
			c.awaitRecords(soon, "out", uncommitted, int(4*sent))
			two.crash()
			c.awaitCommitted(late, "in")
			if n := fenced(); n == 0 {
				c.Error("nobody has aborted what the one that was killed left open")
			}
			c.wantSums("in", "out")
			one.close()
			one.wantDeaths(0, 0)
		})
	})
}

// initialised returns a function that counts the transactional ids that were initialised so far.
func (c *cluster) initialised() func() int {
	c.Helper()
	var n atomic.Int64
	if err := c.broker.Observe(kmsg.InitProducerID.Int16(), func(kmsg.Request) { n.Add(1) }); err != nil {
		c.Fatal(err)
	}
	return func() int { return int(n.Load()) }
}
