package topology

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestTimestampExtractors(t *testing.T) {
	boom := errors.New("boom")
	tests := []struct {
		name      string
		extract   TimestampExtractor
		timestamp int64
		partition int64
		want      string
	}{
		{"default", nil, 5, -1, "5 true"},
		{"default", nil, -1, 9, "record in-3@8: the timestamp -1 is not valid"},
		{"FailOnInvalidTimestamp", FailOnInvalidTimestamp, 0, 9, "0 true"},
		{"FailOnInvalidTimestamp", FailOnInvalidTimestamp, -2, 9, "record in-3@8: the timestamp -2 is not valid"},
		{"LogAndSkip", LogAndSkip, 5, 9, "5 true"},
		{"LogAndSkip", LogAndSkip, -1, 9, "-1 false"},
		{"UsePartitionTime", UsePartitionTime, 5, 9, "5 true"},
		{"UsePartitionTime", UsePartitionTime, -1, 9, "9 true"},
		{"UsePartitionTime", UsePartitionTime, -1, -1, "record in-3@8: the timestamp is not valid, and the partition's time is not known"},
		{"WallclockTimestamp", WallclockTimestamp, -1, -1, "1234 true"},
		{"own", func(record Input, _ int64, _ func() time.Time) (int64, error) { return int64(len(record.Value)), nil }, -1, -1, "4 true"},
		{"own", func(Input, int64, func() time.Time) (int64, error) { return -7, nil }, 5, -1, "-7 false"},
		{"own", func(Input, int64, func() time.Time) (int64, error) { return 0, boom }, 5, -1, "record in-3@8: boom"},
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%s %d %d", test.name, test.timestamp, test.partition), func(t *testing.T) {
			b := NewStreamsBuilder()
			text(b, "in", Consumed{Timestamps: test.extract}).To("out", String{}, String{})
			h := &host{now: time.UnixMilli(1234)}
			graph := instantiate(t, h, b.Build)
			in := Input{Topic: "in", Partition: 3, Offset: 8, Key: []byte("k"), Value: []byte("four"), Timestamp: test.timestamp}
			timestamp, ok, err := graph.Timestamp(in, test.partition)
			if err != nil {
				target := (*DeserializationError)(nil)
				if !errors.As(err, &target) || target.Part != "timestamp" || !strings.Contains(err.Error(), test.want) {
					t.Errorf("got %v, want %q", err, test.want)
				}
				return
			}
			if got := fmt.Sprint(timestamp, " ", ok); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			var skipped uint64
			if !ok {
				skipped = 1
			}
			if graph.Dropped() != (Dropped{Timestamps: skipped}) || len(h.failures) > 0 {
				t.Errorf("dropped %+v, failures %v", graph.Dropped(), h.failures)
			}
		})
	}
}

// TestProcessRefusesNegativeTimestamps: one who does not ask Timestamp first gets the answer of the default.
func TestProcessRefusesNegativeTimestamps(t *testing.T) {
	b := NewStreamsBuilder()
	text(b, "in").To("out", String{}, String{})
	h := &host{response: Continue}
	graph := instantiate(t, h, b.Build)
	err := graph.process("in", []byte("k"), []byte("v"), -1, nil)
	if target := (*DeserializationError)(nil); !errors.As(err, &target) || len(h.sent) > 0 {
		t.Errorf("got %v, sent %v", err, h.sent)
	}
	if _, _, err := graph.Timestamp(Input{Topic: "other"}, -1); err == nil {
		t.Error("the timestamp of a topic that nobody reads")
	}
}

func TestSetTimestampExtractor(t *testing.T) {
	b := NewBuilder()
	source(b, "s", "in", "in2")
	b.SetTimestampExtractor("s", WallclockTimestamp)
	sink(b, "k", "out", "s")
	h := &host{now: time.UnixMilli(42)}
	graph := instantiate(t, h, b.Build)
	for _, topic := range []string{"in", "in2"} {
		if timestamp, ok, err := graph.Timestamp(Input{Topic: topic, Timestamp: 5}, -1); timestamp != 42 || !ok || err != nil {
			t.Errorf("%s: %d, %v, %v", topic, timestamp, ok, err)
		}
	}
	b = NewBuilder()
	source(b, "s", "in")
	b.SetTimestampExtractor("k", LogAndSkip)
	if _, err := b.Build(); err == nil || !strings.Contains(err.Error(), "source k is not added yet") {
		t.Errorf("got %v", err)
	}
}
