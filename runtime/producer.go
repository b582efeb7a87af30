package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// groupIdentity is the member id and generation under which a thread owns its tasks. Transactions are committed under it,
// so that the group coordinator refuses those of a member that it has expelled (KIP-447).
type groupIdentity struct {
	member     string
	generation int32
	static     string // group.instance.id, empty for a dynamic member
}

func (g groupIdentity) valid() bool { return g.member != "" && g.generation >= 0 }

// instanceID is the static member's name as requests carry it.
func (g groupIdentity) instanceID() *string {
	if g.static == "" {
		return nil
	}
	return &g.static
}

// offsetAndMetadata is what a transaction commits for one input partition.
type offsetAndMetadata struct {
	offset   int64
	epoch    int32
	metadata string
}

// streamsProducer is one incarnation of a producer. It belongs to the thread's goroutine. After any error it is closed and a
// new one opened under the same transactional id, never repaired: opening fences and aborts, or completes, whatever
// the old one left (Jepsen on KAFKA-17754: re-initialise on any indefinite error).
type streamsProducer struct {
	guarantee Guarantee
	policy    *Policy
	session   *kgo.GroupTransactSession // nil under at_least_once
	client    *kgo.Client
	timeout   time.Duration

	flushTakes    time.Duration // the next send lasts so long, see Policy.FlushTakes
	inTransaction bool          // under at_least_once: something was sent since the last commit
	since         time.Time     // begin of the open transaction
	begunID       int64         // producer id and epoch at that time, see flush
	begunEpoch    int16
	records       context.Context // bounds the sends of the open transaction
	cancel        context.CancelFunc

	alive context.Context // ends when the producer is closed
	end   context.CancelFunc

	aborting atomic.Bool // an abort has been sent, and no answer come that it has succeeded; see endingLog

	judge     func(*kgo.Record, error) error // asks the production handler; nil when the record is to be dropped
	sendError atomic.Pointer[error]          // first failed send since the transaction began, or why it could not be committed
}

// openProducer creates the client and initialises its producer id, which fences every older producer of the same
// transactional id. The client names the group but never joins it: that way it sends offsets within its transactions,
// under the member id and generation that commit is given. Under at_least_once there is nothing to initialise.
func openProducer(ctx context.Context, cfg *Config, log *slog.Logger, opts ...kgo.Opt) (*streamsProducer, error) {
	p := &streamsProducer{guarantee: cfg.Guarantee, policy: &cfg.Policy, timeout: cfg.Policy.patience(cfg.TransactionTimeout)}
	if log != nil {
		opts = append(opts, kgo.WithLogger(endingLog{clientLog{log}, &p.aborting}))
	}
	var err error
	if p.guarantee.Transactional() {
		if p.session, err = kgo.NewGroupTransactSession(opts...); err == nil {
			p.client = p.session.Client()
		}
	} else {
		p.client, err = kgo.NewClient(opts...)
	}
	if err != nil {
		return nil, fmt.Errorf("producer: %w", err)
	}
	p.alive, p.end = context.WithCancel(context.Background())
	if _, _, err := p.client.ProducerID(ctx); err != nil {
		p.close()
		return nil, fmt.Errorf("initialise producer: %w", err)
	}
	return p, nil
}

// id returns the current producer id and epoch. It does not wait: both were loaded when the producer was opened, and it is
// called only while the producer works.
func (p *streamsProducer) id() (int64, int16) {
	id, epoch, err := p.client.ProducerID(p.alive)
	if err != nil {
		return -1, -1
	}
	return id, epoch
}

// transactionError wraps every error of a transaction's way from begin to commit. Whatever its cause, the transaction is
// not to be gone on with.
type transactionError struct {
	step string
	err  error
}

func (e *transactionError) Error() string { return e.step + ": " + e.err.Error() }
func (e *transactionError) Unwrap() error { return e.err }

// begin opens a transaction if none is open. Transactions begin lazily, with the first send or commit, so that a long
// restore does not run into the transaction time-out (KAFKA-13295).
func (p *streamsProducer) begin() error {
	if p.inTransaction {
		return nil
	}
	if p.session != nil {
		if err := p.session.Begin(); err != nil {
			return at(PlaceBegin, &transactionError{"begin transaction", err})
		}
		p.begunID, p.begunEpoch = p.id()
	}
	p.sendError.Store(nil)
	p.inTransaction, p.since = true, time.Now()
	p.records, p.cancel = context.WithTimeout(context.Background(), p.timeout)
	return nil
}

// send hands a record to the client. A failure surfaces at the next send or in commit. Without a producer, which a task may be
// as it starts, it fails.
func (p *streamsProducer) send(r *kgo.Record, promise func(*kgo.Record, error)) error {
	if p == nil {
		return at(PlaceSend, &transactionError{"send to " + r.Topic, errNoProducer})
	}
	if err := p.failed(); err != nil && !p.policy.CommitAfterFailedSend {
		return err
	}
	if err := p.begin(); err != nil {
		return err
	}
	p.client.Produce(p.records, r, promise)
	if p.flushTakes > 0 {
		pause := time.NewTimer(p.flushTakes)
		select {
		case <-pause.C:
		case <-p.alive.Done():
			pause.Stop()
		}
		p.flushTakes = 0
	}
	return nil
}

// sent keeps the first send error that the production handler does not let go. The client calls it from its own goroutine.
func (p *streamsProducer) sent(r *kgo.Record, err error) {
	if err == nil {
		return
	}
	if p.judge != nil {
		if err = p.judge(r, err); err == nil {
			return
		}
	}
	failed := at(PlaceSend, &transactionError{fmt.Sprintf("send to %s-%d", r.Topic, r.Partition), &sendFailure{r.Topic, r.Timestamp, err}})
	p.sendError.CompareAndSwap(nil, &failed)
}

// sendFailure is the error of a record that was sent. Its text is that of the error.
type sendFailure struct {
	topic     string
	timestamp time.Time
	err       error
}

func (e *sendFailure) Error() string { return e.err.Error() }
func (e *sendFailure) Unwrap() error { return e.err }

// failed returns the first send error of the open transaction.
func (p *streamsProducer) failed() error {
	if err := p.sendError.Load(); err != nil {
		return *err
	}
	return nil
}

// flush waits until every record of the transaction has been acknowledged or has failed.
//
// It also makes sure that they are still of one transaction. Where a record is refused (UNKNOWN_PRODUCER_ID, OUT_OF_ORDER_SEQUENCE_NUMBER,
// INVALID_PRODUCER_EPOCH, INVALID_PRODUCER_ID_MAPPING) whose predecessors have been deleted from the log, as they are from repartition
// topics, the client takes it that the broker has forgotten its producer, initialises it anew and sends the record again, all by itself.
// That aborts what the transaction held before, and to commit the rest with the offsets would lose it.
func (p *streamsProducer) flush(ctx context.Context) error {
	if err := p.client.Flush(ctx); err != nil {
		return at(PlaceFlush, &transactionError{"flush producer", err})
	}
	if p.policy.CommitAfterFailedSend {
		return nil
	}
	if err := p.failed(); err != nil || !p.guarantee.Transactional() {
		return err
	}
	switch id, epoch, err := p.client.ProducerID(ctx); {
	case err != nil:
		return at(PlaceFlush, &transactionError{"flush producer", err})
	case id != p.begunID || epoch != p.begunEpoch:
		return at(PlaceFlush, &transactionError{"flush producer", errInitialisedAnew})
	}
	return nil
}

// commit sends the offsets and ends the transaction. They are sent under the given identity. Under exactly_once_v2 that is what
// fences a member that was expelled; under exactly_once the transactional id does, but only if the task's next owner uses that
// too: one of exactly_once_v2 in the same group does not (brokers before 2.5 do not take the identity; Kafka Streams never sent it
// there). After an error the producer must be closed;
// if the error wraps ErrUnknownOutcome the transaction may have been committed nevertheless.
func (p *streamsProducer) commit(ctx context.Context, who groupIdentity, offsets map[topicPartition]offsetAndMetadata) error {
	err := p.endWith(ctx, who, offsets)
	if err != nil {
		// Kafka Streams of old used a producer that had been fenced once more: it is told the same again.
		p.sendError.CompareAndSwap(nil, &err)
		return err
	}
	p.endTransaction()
	return nil
}

func (p *streamsProducer) endWith(ctx context.Context, who groupIdentity, offsets map[topicPartition]offsetAndMetadata) error {
	v2 := p.guarantee == ExactlyOnceV2
	byGroup := !p.policy.ForgetGeneration && (v2 || (who.valid() && !p.policy.GroupIDOnly))
	if byGroup && !who.valid() {
		return at(PlaceCommit, &transactionError{"commit transaction", errNoGeneration})
	}
	if byGroup && v2 && len(offsets) == 0 {
		// Without offsets no member id and generation would be sent, and nothing would fence a member that was expelled.
		return at(PlaceCommit, &transactionError{"commit transaction", errNoOffsets})
	}
	prepared := false
	p.aborting.Store(false)
	ctx = kgo.PreTxnCommitFnContext(ctx, func(req *kmsg.TxnOffsetCommitRequest) error {
		req.MemberID, req.Generation, req.InstanceID = "", -1, nil
		if byGroup {
			req.MemberID, req.Generation, req.InstanceID = who.member, who.generation, who.instanceID()
		}
		req.Topics = offsetTopics(offsets)
		prepared = true
		return nil
	})
	committed, err := p.session.End(ctx, kgo.TryCommit)
	if err != nil {
		// A definite answer of the broker is one of its own error codes; everything else leaves the outcome open.
		var answer *kerr.Error
		if errors.As(err, &answer) && !answer.Retriable && !errors.Is(err, kerr.UnknownServerError) {
			if p.aborting.Load() && !isFence(err) {
				// The offsets were refused, and then the abort was. That is a clean-up path, whose error must not decide: the producer
				// is given up in any case. Only that it was fenced is worth to be known.
				err = fmt.Errorf("%w; the abort was refused: %v", ErrOffsetsRefused, err) //nolint:errorlint // see above
			}
			return at(PlaceCommit, &transactionError{"commit transaction", err})
		}
		return at(PlaceCommit, &transactionError{"commit transaction", fmt.Errorf("%w: %w", ErrUnknownOutcome, err)})
	}
	if !committed || !prepared {
		return at(PlaceCommit, &transactionError{"commit transaction", ErrOffsetsRefused})
	}
	return nil
}

func (p *streamsProducer) endTransaction() {
	p.inTransaction = false
	if p.cancel != nil {
		p.cancel()
		p.cancel = nil
	}
}

// close abandons the producer at once. What is open is aborted by the next producer of the same transactional id, by the
// group's leader, or by the broker's time-out; no EndTxn is sent, for the producer may already be fenced.
func (p *streamsProducer) close() {
	p.endTransaction()
	p.end()
	if p.session != nil {
		p.session.Close()
		return
	}
	// What is still buffered without a transaction must not reach the broker after the records have been processed again
	// elsewhere; a producer that is closed fails it.
	p.client.Close()
}

// offsetTopics groups offsets the way the request wants them.
func offsetTopics(offsets map[topicPartition]offsetAndMetadata) []kmsg.TxnOffsetCommitRequestTopic {
	byTopic := map[string]int{}
	var topics []kmsg.TxnOffsetCommitRequestTopic
	for tp, o := range offsets {
		i, ok := byTopic[tp.topic]
		if !ok {
			i = len(topics)
			byTopic[tp.topic] = i
			topic := kmsg.NewTxnOffsetCommitRequestTopic()
			topic.Topic = tp.topic
			topics = append(topics, topic)
		}
		partition := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		partition.Partition, partition.Offset, partition.LeaderEpoch = tp.partition, o.offset, o.epoch
		partition.Metadata = &o.metadata
		topics[i].Partitions = append(topics[i].Partitions, partition)
	}
	return topics
}

// inTransactionNow reports whether a transaction is open; a missing producer has none.
func (p *streamsProducer) inTransactionNow() bool { return p != nil && p.inTransaction }
