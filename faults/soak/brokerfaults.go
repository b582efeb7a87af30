package soak

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"eostop/faults"
	"eostop/faults/broker"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// hangingTimeout is how long a transaction that shall hang may take before the broker aborts it: as long as can be.
const hangingTimeout = 15 * time.Minute

// done is what has become of a broker's fault.
type done struct {
	injected *broker.Injected // nil for what is done at once
	end      func()           // nil if there is nothing to end
	hits     int              // for what is done at once: partitions, nodes
}

// faultBroker starts a fault of the embedded broker. Its calls wait for the broker's goroutine, so they are made beside the
// session's.
func (e *experiment) faultBroker(live *liveFault) {
	seed := uint64(e.s.seed) + uint64(len(e.live))
	if text, ok := live.values()["seed"]; ok {
		seed, _ = strconv.ParseUint(text, 10, 64) // it has been checked
	}
	e.aside(func(ctx context.Context) func() {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		d, err := e.s.brokerFault(ctx, live.FaultSpec, seed)
		return func() { e.brokerFaultBegan(live, d, err) }
	})
}

func (e *experiment) brokerFaultBegan(live *liveFault, d done, err error) {
	live.end = d.end
	switch {
	case err != nil:
		e.failed(live, err)
	case d.injected != nil:
		if live.Kind == FaultSlowAborts { // which answers nothing
			live.end = d.injected.End
			break
		}
		live.counted, live.poll, live.end = true, d.injected.Hits, d.injected.End
		if rule, err := live.rule(); err == nil {
			live.most = int64(rule.Count)
		}
	default:
		live.counted = true
		e.s.hits.set(live.id, hits{int64(d.hits), time.Now()})
		if live.lasting = live.end != nil; !live.lasting {
			live.most = int64(d.hits)
			if d.hits == 0 {
				e.close(live)
			}
		}
	}
	if live.over && live.end != nil { // the run is over
		live.end()
		live.end = nil
	}
}

// rule reads the keys that other faults share with those of links.
func (f *FaultSpec) rule() (*faults.Rule, error) {
	keys := f.values()
	kind := faults.KindError
	switch f.Kind {
	case FaultBrokerError:
	case FaultSlowMarkers, FaultSlowAborts, FaultSlowDisk:
		kind, keys["api"] = faults.KindHold, "any"
	default:
		keys["api"], keys["code"] = "any", "UNKNOWN_SERVER_ERROR"
	}
	fault, err := faults.ParseFault(kind, keys, f.Length)
	return fault.Rule, err
}

// brokerFault does a fault to the embedded broker.
func (s *Session) brokerFault(ctx context.Context, f FaultSpec, seed uint64) (done, error) {
	b := s.cluster.embedded
	if b == nil {
		return done{}, errors.New("there is no embedded broker")
	}
	rule, err := f.rule()
	if err != nil {
		return done{}, err
	}
	injected := func(i *broker.Injected, err error) (done, error) { return done{injected: i}, err }
	switch f.Kind {
	case FaultLeaderMove:
		return s.moveLeaders(ctx, rule, seed)
	case FaultCoordinatorMove:
		return done{hits: 1}, b.MoveCoordinators()
	case FaultBrokerRestart:
		node, _ := strconv.Atoi(rule.Node) // it has been checked
		if err := b.StopNode(int32(node)); err != nil {
			return done{}, err
		}
		return done{hits: 1, end: func() {
			if err := b.StartNode(int32(node)); err != nil && !errors.Is(err, broker.ErrClosed) {
				s.log.Error("fault", "fault", f.String(), "error", err)
			}
		}}, nil
	case FaultBrokerError:
		return injected(b.Inject(injection(rule, seed)))
	case FaultCoordinatorLoad:
		return injected(b.LoadCoordinators())
	case FaultSlowMarkers:
		return injected(b.SlowMarkers(rule.Delay, seed))
	case FaultSlowAborts:
		return injected(b.SlowAborts(rule.Delay, seed))
	case FaultForgetProducers:
		return injected(b.ForgetProducers())
	case FaultTruncate:
		return s.truncate(ctx, rule)
	case FaultHangingTxn:
		return s.hang(ctx, rule, seed)
	default:
		return done{}, fmt.Errorf("%s is no fault of the broker", f.Kind)
	}
}

func injection(rule *faults.Rule, seed uint64) broker.Injection {
	i := broker.Injection{APIs: rule.Keys(), Code: rule.Code, Count: rule.Count, Probability: rule.Probability, Seed: seed}
	if rule.Topic != "" {
		i.Topic = rule.MatchesTopic
	}
	if rule.TransactionalID != "" {
		i.TransactionalID = rule.MatchesTransactionalID
	}
	return i
}

// partitions calls fn with every partition of the topics that a rule is for.
func (s *Session) partitions(ctx context.Context, rule *faults.Rule, fn func(topic string, partition int32) error) (n int, err error) {
	details, err := s.cluster.admin.ListTopics(ctx)
	if err != nil {
		return 0, fmt.Errorf("list topics: %w", err)
	}
	for _, d := range details.Sorted() {
		if !rule.MatchesTopic(d.Topic) {
			continue
		}
		for _, p := range d.Partitions.Sorted() {
			if err := fn(p.Topic, p.Partition); err != nil {
				return n, err
			}
			n++
		}
	}
	return n, nil
}

func (s *Session) moveLeaders(ctx context.Context, rule *faults.Rule, seed uint64) (done, error) {
	rng := rand.New(rand.NewPCG(seed, 0))
	n, err := s.partitions(ctx, rule, func(topic string, partition int32) error {
		return s.cluster.embedded.MoveLeader(topic, partition, rng.IntN(1<<16))
	})
	return done{hits: n}, err
}

// truncate deletes all that topics hold.
func (s *Session) truncate(ctx context.Context, rule *faults.Rule) (done, error) {
	var ends kadm.ListedOffsets
	n, err := s.partitions(ctx, rule, func(topic string, partition int32) (err error) {
		if _, ok := ends.Lookup(topic, partition); !ok {
			if ends, err = s.cluster.admin.ListEndOffsets(ctx, topic); err != nil {
				return fmt.Errorf("list ends of %s: %w", topic, err)
			}
		}
		end, _ := ends.Lookup(topic, partition)
		return s.cluster.embedded.Trim(topic, partition, end.Offset)
	})
	return done{hits: n}, err
}

// hang opens a transaction that belongs to nobody on the partitions of topics.
func (s *Session) hang(ctx context.Context, rule *faults.Rule, seed uint64) (done, error) {
	client, err := kgo.NewClient(append(s.cluster.options(),
		kgo.ClientID("eostop-hanging"), kgo.TransactionalID(fmt.Sprintf("eostop.hanging-%d", seed)), kgo.TransactionTimeout(hangingTimeout),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))...)
	if err != nil {
		return done{}, fmt.Errorf("hanging transaction: %w", err)
	}
	if err := client.BeginTransaction(); err != nil {
		client.Close()
		return done{}, fmt.Errorf("hanging transaction: %w", err)
	}
	var records []*kgo.Record
	n, err := s.partitions(ctx, rule, func(topic string, partition int32) error {
		records = append(records, &kgo.Record{Topic: topic, Partition: partition, Value: []byte("never committed")})
		return nil
	})
	if err == nil {
		err = client.ProduceSync(ctx, slices.Clone(records)...).FirstErr()
	}
	if err != nil {
		client.Close()
		return done{}, fmt.Errorf("hanging transaction: %w", err)
	}
	return done{hits: n, end: func() {
		// Nobody waits for it: the broker may be gone.
		s.background.Go(func() {
			ctx, cancel := context.WithTimeout(s.ctx, 10*time.Second)
			defer cancel()
			if err := client.EndTransaction(ctx, kgo.TryAbort); err != nil {
				s.log.Warn("hanging transaction", "error", err)
			}
			client.Close()
		})
	}}, nil
}
