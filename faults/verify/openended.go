package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

const (
	// maxOpenWait is how long transactions are waited for that are open when the reading begins.
	maxOpenWait = 30 * time.Second
	// openPoll is the pause between two looks at them.
	openPoll = 500 * time.Millisecond
	// orphanAfter is how long a coordinator may say that it knows nothing of a transaction until that is believed: it may be about
	// to write its markers.
	orphanAfter = scanEvery
)

// openTransaction is a transaction that is open at the end of some logs.
type openTransaction struct {
	producerID int64 // -1 = not known
	epoch      int16
	places     []logPlace // its first offsets

	id      string // transactional; empty = not known
	state   string // at its coordinator; empty = it knows no such transaction
	asked   bool   // whether the coordinators have answered at all
	timeout time.Duration
	age     time.Duration
}

// hangs tells why nobody will end the transaction; empty if somebody will, or may.
func (o *openTransaction) hangs(watched time.Duration) string {
	switch {
	case !o.asked:
		return ""
	case o.state == "Ongoing" && o.age > o.timeout+scanEvery+openPoll:
		return fmt.Sprintf("open for %v, though its time-out is %v", o.age.Round(time.Second), o.timeout)
	case o.state == "" && watched > orphanAfter:
		return fmt.Sprintf("open for %v, and no coordinator knows of it", o.age.Round(time.Second))
	}
	return ""
}

// name says whose it is.
func (o *openTransaction) name() string {
	switch {
	case o.producerID < 0:
		return "an unknown producer"
	case o.id == "":
		return fmt.Sprintf("producer id %d, epoch %d", o.producerID, o.epoch)
	}
	return fmt.Sprintf("%s (producer id %d, epoch %d)", o.id, o.producerID, o.epoch)
}

func (o *openTransaction) where() []string {
	all := make([]string, len(o.places))
	for i, p := range o.places {
		all[i] = placeName(p.topic, p.partition, p.offset)
	}
	return all
}

// awaitOpen waits until what is open in the logs is decided, as far as that is to be expected, and judges what is not. Logs with
// something open are read up to there only.
func (s *reading) awaitOpen(ctx context.Context, topics []string) error {
	began := time.Now()
	wait := time.NewTimer(0)
	defer wait.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-wait.C:
		}
		stable, err := listOnce(ctx, topics, s.admin.admin.ListCommittedOffsets)
		if err != nil {
			return err
		}
		late := make(kadm.TopicsSet)
		for topic, partitions := range s.scene.ends {
			for p, end := range partitions {
				if stable[topic][p] < end {
					late.Add(topic, p)
				}
			}
		}
		watched := time.Since(began)
		s.scene.open = nil
		if len(late) > 0 {
			s.scene.open = s.describeOpen(ctx, late, stable)
		}
		waits := slices.ContainsFunc(s.scene.open, func(o *openTransaction) bool { return o.hangs(watched) == "" })
		if waits && watched < maxOpenWait {
			wait.Reset(openPoll)
			continue
		}
		for topic, partitions := range late {
			for p := range partitions {
				s.scene.ends[topic][p] = max(stable[topic][p], s.scene.starts[topic][p])
			}
		}
		s.judgeOpen(watched)
		return nil
	}
}

// describeOpen says which transactions keep partitions from being stable. Where nobody says, each partition has one of its own.
func (s *reading) describeOpen(ctx context.Context, late kadm.TopicsSet, stable offsets) []*openTransaction {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	// What cannot be described stays unknown; that is judged as such.
	described, _ := s.admin.admin.DescribeProducers(ctx, late)
	var all []*openTransaction
	byProducer := make(map[int64]*openTransaction)
	now := time.Now()
	for _, list := range late.Sorted() {
		for _, p := range list.Partitions {
			place := logPlace{list.Topic, p, stable[list.Topic][p]}
			found := false
			for _, a := range described[list.Topic].Partitions[p].ActiveProducers.Sorted() {
				if a.CurrentTxnStartOffset < 0 || a.CurrentTxnStartOffset >= s.scene.ends[list.Topic][p] {
					continue
				}
				found = true
				o := byProducer[a.ProducerID]
				if o == nil {
					o = &openTransaction{producerID: a.ProducerID, epoch: a.ProducerEpoch}
					byProducer[a.ProducerID], all = o, append(all, o)
				}
				o.age = max(o.age, now.Sub(time.UnixMilli(a.LastTimestamp)))
				o.places = append(o.places, logPlace{list.Topic, p, a.CurrentTxnStartOffset})
			}
			if !found {
				all = append(all, &openTransaction{producerID: -1, places: []logPlace{place}})
			}
		}
	}
	s.askCoordinators(ctx, byProducer, now)
	return all
}

// askCoordinators adds what coordinators know of transactions.
func (s *reading) askCoordinators(ctx context.Context, byProducer map[int64]*openTransaction, now time.Time) {
	if len(byProducer) == 0 {
		return
	}
	ids := make([]int64, 0, len(byProducer))
	for id := range byProducer {
		ids = append(ids, id)
	}
	listed, err := s.admin.admin.ListTransactions(ctx, ids, nil)
	if err != nil {
		return
	}
	names := listed.TransactionalIDs()
	if len(names) == 0 { // an empty question would be one about all
		for _, o := range byProducer {
			o.asked = true
		}
		return
	}
	described, err := s.admin.admin.DescribeTransactions(ctx, names...)
	if err != nil {
		return
	}
	for _, o := range byProducer {
		o.asked = true
	}
	for _, d := range described {
		o := byProducer[d.ProducerID]
		if o == nil || d.Err != nil {
			continue
		}
		o.id = d.TxnID
		if d.State == "Empty" || d.State == "Dead" || strings.HasPrefix(d.State, "Complete") {
			continue
		}
		o.state, o.timeout = d.State, time.Duration(d.TimeoutMillis)*time.Millisecond
		if d.StartTimestamp > 0 {
			o.age = now.Sub(time.UnixMilli(d.StartTimestamp))
		}
	}
}

// judgeOpen judges what is open still.
func (s *reading) judgeOpen(watched time.Duration) {
	for _, o := range s.scene.open {
		where := o.where()
		first := o.places[0]
		switch why := o.hangs(watched); {
		case why != "":
			s.judge.add(Witness{
				Kind: KindHanging, Outputs: where, Transaction: o.name(), At: time.Now(),
				Detail: fmt.Sprintf("%s; what lies behind it is not read; abort it: kafka-transactions.sh --bootstrap-server %s abort --topic %s --partition %d --start-offset %d",
					why, s.cfg.Seeds[0], first.topic, first.partition, first.offset),
			})
		case !o.asked || o.state == "":
			s.judge.doubt("a transaction of %s is open at %s, and the cluster does not say for how long it may be", o.name(), strings.Join(where, " "))
		default:
			s.note("a transaction of %s is open at %s for %v; it may be for %v; what lies behind it was not judged",
				o.name(), strings.Join(where, " "), o.age.Round(time.Second), o.timeout)
		}
	}
	s.applied(KindHanging, "%d topics; %d transactions are open at their ends", len(s.scene.ends), len(s.scene.open))
}
