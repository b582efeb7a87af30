package topology

import (
	"errors"
	"fmt"
	"time"
)

// TimestampExtractor decides which timestamp, in milliseconds, a record of a source is processed with: record has the one
// that it had in its topic. partitionTime is the greatest timestamp that the partition has had before, -1 if there was
// none or it is not known; wallClock is the task's. A negative timestamp leaves the record out; an error ends the task's
// work and is shown to no handler. An extractor is shared by all tasks and must be safe for concurrent use.
type TimestampExtractor func(record Input, partitionTime int64, wallClock func() time.Time) (int64, error)

// FailOnInvalidTimestamp takes the timestamp that the record has and fails if it is negative. It is the default.
func FailOnInvalidTimestamp(record Input, _ int64, _ func() time.Time) (int64, error) {
	if record.Timestamp < 0 {
		return 0, fmt.Errorf("the timestamp %d is not valid: the producer may not have set one; "+
			"another timestamp extractor can process the record", record.Timestamp)
	}
	return record.Timestamp, nil
}

// LogAndSkip takes the timestamp that the record has; if it is negative the record is left out, and the runtime, which
// learns of it from [Graph.Timestamp], logs a warning.
func LogAndSkip(record Input, _ int64, _ func() time.Time) (int64, error) {
	return record.Timestamp, nil
}

// UsePartitionTime takes the timestamp that the record has, or the partition's time if it is negative. It fails if
// that is not known either.
func UsePartitionTime(record Input, partitionTime int64, _ func() time.Time) (int64, error) {
	if record.Timestamp >= 0 {
		return record.Timestamp, nil
	}
	if partitionTime < 0 {
		return 0, errors.New("the timestamp is not valid, and the partition's time is not known")
	}
	return partitionTime, nil
}

// WallclockTimestamp takes the time at which the record is processed.
func WallclockTimestamp(_ Input, _ int64, wallClock func() time.Time) (int64, error) {
	return wallClock().UnixMilli(), nil
}

// Timestamp returns the timestamp that a record is to be processed with, in milliseconds, as its source's extractor gives
// it; ok is false if the record is to be left out: that is counted, and worth a warning in the log. The runtime calls it once for each record, before it
// compares the record with others to choose the next one, since its stream and partition times are made of this
// timestamp, and processes the record with it. partitionTime is -1 if it is not known. The error is a
// *DeserializationError, or says that nobody reads the topic.
func (g *Graph) Timestamp(in Input, partitionTime int64) (timestamp int64, ok bool, err error) {
	source, known := g.sources[in.Topic]
	if !known {
		return 0, false, fmt.Errorf("timestamp: no source reads topic %s", in.Topic)
	}
	extract := source.extractor()
	if extract == nil {
		if in.Timestamp >= 0 {
			return in.Timestamp, true, nil
		}
		extract = FailOnInvalidTimestamp
	}
	timestamp, err = extract(in, partitionTime, g.now)
	if err != nil {
		return 0, false, timestampError(in, source.name(), err)
	}
	if timestamp < 0 {
		g.dropped.Timestamps++
		return timestamp, false, nil
	}
	return timestamp, true, nil
}

func timestampError(in Input, node string, err error) error {
	return &DeserializationError{
		Topic: in.Topic, Partition: in.Partition, Offset: in.Offset, Node: node, Part: "timestamp", Err: err,
	}
}
