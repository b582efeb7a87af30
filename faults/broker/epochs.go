package broker

import (
	"encoding/binary"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Places in a record batch, as of magic 2.
const (
	attributesAt    = 21
	producerIDAt    = 43
	producerEpochAt = 51
	sequenceAt      = 53
	transactional   = 1 << 4 // of the attributes
)

// epochs holds the newest epoch of each producer that has asked for anything within a transaction.
type epochs struct {
	mu     sync.Mutex
	newest map[int64]int16
}

// see takes note of an epoch; it returns false for one that is older than another that was seen.
func (e *epochs) see(producer int64, epoch int16) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if newest, ok := e.newest[producer]; ok && epoch < newest {
		return false
	}
	if e.newest == nil {
		e.newest = make(map[int64]int16)
	}
	e.newest[producer] = epoch
	return true
}

// refuseOldEpochs has a fenced producer's batch answered as a real broker does: with INVALID_PRODUCER_EPOCH. kfake asks first whether the
// partition is in the transaction of the present epoch, and says INVALID_TXN_STATE where it is not.
func (b *Broker) refuseOldEpochs() {
	for _, key := range []kmsg.Key{kmsg.AddPartitionsToTxn, kmsg.AddOffsetsToTxn, kmsg.TxnOffsetCommit, kmsg.EndTxn, kmsg.Produce} {
		b.cluster.ControlKey(key.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
			switch r := req.(type) {
			case *kmsg.AddPartitionsToTxnRequest:
				if r.Version < 4 {
					b.epochs.see(r.ProducerID, r.ProducerEpoch)
				}
				for _, t := range r.Transactions {
					b.epochs.see(t.ProducerID, t.ProducerEpoch)
				}
			case *kmsg.AddOffsetsToTxnRequest:
				b.epochs.see(r.ProducerID, r.ProducerEpoch)
			case *kmsg.TxnOffsetCommitRequest:
				b.epochs.see(r.ProducerID, r.ProducerEpoch)
			case *kmsg.EndTxnRequest:
				b.epochs.see(r.ProducerID, r.ProducerEpoch)
			case *kmsg.ProduceRequest:
				if producer, epoch, ok := producerOf(r); ok && !b.epochs.see(producer, epoch) && r.Acks != 0 {
					b.cluster.KeepControl()
					return producedNot(r, kerr.InvalidProducerEpoch.Code), nil, true
				}
			}
			return nil, nil, false
		})
	}
}

// producerOf returns who has written the batches of a request, if they are part of a transaction: then it is one for all.
func producerOf(req *kmsg.ProduceRequest) (producer int64, epoch int16, ok bool) {
	if len(req.Topics) == 0 || len(req.Topics[0].Partitions) == 0 {
		return 0, 0, false
	}
	batch := req.Topics[0].Partitions[0].Records
	if len(batch) < sequenceAt || binary.BigEndian.Uint16(batch[attributesAt:])&transactional == 0 {
		return 0, 0, false
	}
	return int64(binary.BigEndian.Uint64(batch[producerIDAt:])), int16(binary.BigEndian.Uint16(batch[producerEpochAt:])), true
}

// producedNot answers each partition of a request with the same code.
func producedNot(req *kmsg.ProduceRequest, code int16) *kmsg.ProduceResponse {
	resp := kmsg.NewPtrProduceResponse()
	resp.Version = req.Version
	for _, t := range req.Topics {
		topic := kmsg.NewProduceResponseTopic()
		topic.Topic, topic.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			partition := kmsg.NewProduceResponseTopicPartition()
			partition.Partition, partition.ErrorCode, partition.BaseOffset, partition.LogAppendTime = p.Partition, code, -1, -1
			topic.Partitions = append(topic.Partitions, partition)
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return resp
}
