package broker

import (
	"errors"
	"strconv"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestAFencedProducerIsToldOfItsEpoch: wherever the one that has fenced it writes, and also when it has no transaction open.
func TestAFencedProducerIsToldOfItsEpoch(t *testing.T) {
	for name, tt := range map[string]struct {
		partition int32
		commits   bool
	}{
		"same partition":          {0, false},
		"another one":             {1, false},
		"another one, and done":   {1, true},
		"same partition and done": {0, true},
	} {
		for _, version := range []string{"2.4", "3.7"} {
			t.Run(name+" on "+version, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := cluster(t, 1, func(c *Config) { c.KafkaVersion = version })
					send := func(cl *kgo.Client, partition int32) error {
						return cl.ProduceSync(within(t), &kgo.Record{Topic: "t", Partition: partition, Value: []byte("v")}).FirstErr()
					}
					begin := func(id string, partition int32) *kgo.Client {
						cl := client(t, b, kgo.TransactionalID(id))
						if err := cl.BeginTransaction(); err != nil {
							t.Fatal(err)
						}
						if err := send(cl, partition); err != nil {
							t.Fatal(err)
						}
						return cl
					}
					commit := func(cl *kgo.Client) {
						if err := cl.EndTransaction(within(t), kgo.TryCommit); err != nil {
							t.Errorf("commit: %v", err)
						}
					}
					for i := range 3 {
						id := strconv.Itoa(i)
						first := begin(id, 0)
						second := begin(id, tt.partition)
						if tt.commits {
							commit(second)
						}
						if err := send(first, 0); !errors.Is(err, kerr.InvalidProducerEpoch) {
							t.Errorf("the first one is told %v, want INVALID_PRODUCER_EPOCH", err)
						}
						if !tt.commits {
							commit(second)
						}
					}
				})
			})
		}
	}
}
