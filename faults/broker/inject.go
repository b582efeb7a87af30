package broker

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Injected is something that the broker does for a time.
type Injected struct {
	handles []*kfake.FaultHandle
	stop    func() // nil if the handles are all
}

// Hits returns how many requests it has changed the answer of.
func (i *Injected) Hits() int {
	n := 0
	for _, h := range i.handles {
		n += h.Hits()
	}
	return n
}

// End ends it. It may be called more than once, also after the broker was closed.
func (i *Injected) End() {
	for _, h := range i.handles {
		h.Remove()
	}
	if i.stop != nil {
		i.stop()
	}
}

// Injection is an error that the broker answers with instead of doing what it is asked for. Unlike a rule on a link it meets
// every client, also the load and the verifier.
type Injection struct {
	APIs []kmsg.Key // empty is all
	Code int16
	// Topic and TransactionalID say whom it meets; nil is everybody. Requests without one are not met then.
	Topic, TransactionalID func(string) bool
	Count                  int     // 0 is without limit
	Probability            float64 // 0 is always
	Seed                   uint64
}

// Inject begins to answer with errors.
func (b *Broker) Inject(i Injection) (*Injected, error) {
	code := kerr.TypedErrorForCode(i.Code)
	if code == nil || code.Code != i.Code {
		return nil, fmt.Errorf("inject: there is no error code %d", i.Code)
	}
	count := i.Count
	if count == 0 {
		count = -1
	}
	rng := rand.New(rand.NewPCG(i.Seed, 0))
	chosen := once(func(req kmsg.Request) bool {
		switch {
		case i.TransactionalID != nil && !slices.ContainsFunc(transactionalIDs(req), i.TransactionalID):
			return false
		case i.Topic != nil && !slices.ContainsFunc(topicsOf(req), i.Topic):
			return false
		}
		return i.Probability == 0 || rng.Float64() < i.Probability
	})
	return b.fault(kfake.Fault{Keys: i.APIs, Err: code, Count: count, When: chosen})
}

// once asks once for each request, however many partitions it has.
func once(fn func(kmsg.Request) bool) func(kmsg.Request) bool {
	var last kmsg.Request
	var answer bool
	return func(req kmsg.Request) bool {
		if req != last {
			last, answer = req, fn(req)
		}
		return answer
	}
}

func (b *Broker) fault(faults ...kfake.Fault) (*Injected, error) {
	injected := new(Injected)
	err := b.use(func(c *kfake.Cluster) error {
		b.conns.slow()
		for _, f := range faults {
			injected.handles = append(injected.handles, c.Fault(f))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("inject: %w", err)
	}
	return injected, nil
}

// ForgetProducers has the broker forget what it knows of the producers with transactional ids: the next records that each
// of them sends are answered with UNKNOWN_PRODUCER_ID, once.
func (b *Broker) ForgetProducers() (*Injected, error) {
	told := map[string]bool{}
	return b.fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.UnknownProducerID, Count: -1, When: once(func(req kmsg.Request) bool {
		for _, id := range transactionalIDs(req) {
			if !told[id] {
				told[id] = true
				return true
			}
		}
		return false
	})})
}

// coordinated are the requests that coordinators serve.
var coordinated = []kmsg.Key{
	kmsg.AddPartitionsToTxn, kmsg.AddOffsetsToTxn, kmsg.TxnOffsetCommit, kmsg.EndTxn, kmsg.InitProducerID,
	kmsg.JoinGroup, kmsg.SyncGroup, kmsg.Heartbeat, kmsg.LeaveGroup, kmsg.OffsetFetch, kmsg.OffsetCommit,
}

// LoadCoordinators has coordinators answer that they are loading, as they do after a move or a start.
func (b *Broker) LoadCoordinators() (*Injected, error) {
	return b.fault(kfake.Fault{
		Keys: coordinated, Err: kerr.CoordinatorLoadInProgress, Count: -1,
		When: func(req kmsg.Request) bool {
			init, ok := req.(*kmsg.InitProducerIDRequest)
			return !ok || init.TransactionalID != nil // others need no coordinator
		},
	})
}

// SlowMarkers has markers of transactions reach their partitions late, as they do on a real broker, and never on kfake: until then,
// up to so long after EndTxn, the next transaction of the same id meets CONCURRENT_TRANSACTIONS, and who asks for stable offsets
// UNSTABLE_OFFSET_COMMIT. A producer that is initialised over an open transaction is asked to come again as well.
func (b *Broker) SlowMarkers(delay time.Duration, seed uint64) (*Injected, error) {
	m := &markers{delay: delay, rng: rand.New(rand.NewPCG(seed, 0)), until: map[string]time.Time{}, open: map[string]bool{}}
	concurrent := kfake.Fault{
		Keys: []kmsg.Key{kmsg.AddPartitionsToTxn, kmsg.AddOffsetsToTxn, kmsg.Produce, kmsg.TxnOffsetCommit, kmsg.EndTxn, kmsg.InitProducerID},
		Err:  kerr.ConcurrentTransactions, Count: -1, When: once(m.concurrent),
	}
	unstable := kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetFetch}, Err: kerr.UnstableOffsetCommit, Count: -1, When: once(m.unstable)}
	return b.fault(concurrent, unstable)
}

// markers belongs to the broker's goroutine.
type markers struct {
	delay time.Duration
	rng   *rand.Rand
	until map[string]time.Time // by transactional id: when the markers of its last transaction are written
	open  map[string]bool      // transactions
}

// begin lets the markers of a transaction be on their way.
func (m *markers) begin(id string) {
	m.until[id] = time.Now().Add(m.delay/10 + time.Duration(m.rng.Int64N(int64(m.delay)*9/10+1)))
	m.open[id] = false
}

func (m *markers) concurrent(req kmsg.Request) bool {
	met := false
	for _, id := range transactionalIDs(req) {
		waits := time.Now().Before(m.until[id])
		switch req.(type) {
		case *kmsg.EndTxnRequest:
			if met = met || waits; !waits {
				m.begin(id)
			}
		case *kmsg.InitProducerIDRequest:
			if m.open[id] && !waits {
				m.begin(id) // of the abort
				waits = true
			}
			met = met || waits
		default:
			met = met || waits
			m.open[id] = m.open[id] || !waits
		}
	}
	return met
}

func (m *markers) unstable(req kmsg.Request) bool {
	fetch, ok := req.(*kmsg.OffsetFetchRequest)
	if !ok || !fetch.RequireStable {
		return false
	}
	for id, until := range m.until {
		if time.Now().Before(until) {
			return true
		}
		delete(m.until, id)
	}
	return false
}

// SlowAborts has transactions that time out aborted late, by up to so long: a real coordinator looks for them every ten seconds.
// It concerns the producers that are initialised while it lasts.
func (b *Broker) SlowAborts(scan time.Duration, seed uint64) (*Injected, error) {
	rng := rand.New(rand.NewPCG(seed, 0))
	b.lateness.Store(new(func() time.Duration { return time.Duration(rng.Int64N(int64(scan) + 1)) }))
	return &Injected{stop: func() { b.lateness.Store(nil) }}, nil
}

// postpone lets a producer's transactions take longer before the broker aborts them. It runs on the broker's goroutine.
func (b *Broker) postpone(req kmsg.Request) {
	if late := b.lateness.Load(); late != nil {
		if init, ok := req.(*kmsg.InitProducerIDRequest); ok && init.TransactionalID != nil {
			const limit = 15 * time.Minute // transaction.max.timeout.ms
			timeout := min(limit, time.Duration(init.TransactionTimeoutMillis)*time.Millisecond+(*late)())
			init.TransactionTimeoutMillis = int32(timeout.Milliseconds())
		}
	}
}

// settle has a cluster that has just begun behave like one: for a time coordinators are not there, then they load, and the partitions
// of a topic have no leader at first.
func (b *Broker) settle(d time.Duration) error {
	until := time.Now().Add(d)
	before := func(fn func(kmsg.Request) bool) func(kmsg.Request) bool {
		return func(req kmsg.Request) bool { return time.Now().Before(until) && fn(req) }
	}
	absent := time.Now().Add(d / 2)
	_, err := b.fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.FindCoordinator}, Err: kerr.CoordinatorNotAvailable, Count: -1,
		When: func(kmsg.Request) bool { return time.Now().Before(absent) },
	})
	if err != nil {
		return err
	}
	_, err = b.fault(kfake.Fault{
		Keys: coordinated, Err: kerr.CoordinatorLoadInProgress, Count: -1,
		When: before(func(req kmsg.Request) bool {
			init, ok := req.(*kmsg.InitProducerIDRequest)
			return !ok || init.TransactionalID != nil
		}),
	})
	if err != nil {
		return err
	}
	created := map[string]time.Time{}
	b.cluster.ControlKey(int16(kmsg.CreateTopics), func(req kmsg.Request) (kmsg.Response, error, bool) {
		for _, topic := range topicsOf(req) {
			if _, known := created[topic]; !known {
				created[topic] = time.Now()
			}
		}
		return nil, nil, false
	})
	_, err = b.fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Produce, kmsg.ListOffsets}, Err: kerr.NotLeaderForPartition, Count: -1,
		When: once(func(req kmsg.Request) bool {
			return slices.ContainsFunc(topicsOf(req), func(topic string) bool {
				at, known := created[topic]
				return known && time.Since(at) < d
			})
		}),
	})
	return err
}

// transactionalIDs returns those that a request names.
func transactionalIDs(req kmsg.Request) []string {
	var id *string
	switch r := req.(type) {
	case *kmsg.ProduceRequest:
		id = r.TransactionID
	case *kmsg.AddPartitionsToTxnRequest:
		if len(r.Transactions) > 0 {
			ids := make([]string, len(r.Transactions))
			for i := range r.Transactions {
				ids[i] = r.Transactions[i].TransactionalID
			}
			return ids
		}
		id = &r.TransactionalID
	case *kmsg.AddOffsetsToTxnRequest:
		id = &r.TransactionalID
	case *kmsg.TxnOffsetCommitRequest:
		id = &r.TransactionalID
	case *kmsg.EndTxnRequest:
		id = &r.TransactionalID
	case *kmsg.InitProducerIDRequest:
		id = r.TransactionalID
	default:
	}
	if id == nil || *id == "" {
		return nil
	}
	return []string{*id}
}

// topicsOf returns the names of the topics of the requests that carry them in every version that is used.
func topicsOf(req kmsg.Request) []string {
	var topics []string
	switch r := req.(type) {
	case *kmsg.ProduceRequest:
		for i := range r.Topics {
			topics = append(topics, r.Topics[i].Topic)
		}
	case *kmsg.ListOffsetsRequest:
		for i := range r.Topics {
			topics = append(topics, r.Topics[i].Topic)
		}
	case *kmsg.CreateTopicsRequest:
		for i := range r.Topics {
			topics = append(topics, r.Topics[i].Topic)
		}
	case *kmsg.AddPartitionsToTxnRequest:
		for i := range r.Topics {
			topics = append(topics, r.Topics[i].Topic)
		}
	case *kmsg.TxnOffsetCommitRequest:
		for i := range r.Topics {
			topics = append(topics, r.Topics[i].Topic)
		}
	default:
	}
	return topics
}
