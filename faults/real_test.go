package faults_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"eostop/faults"
)

// brokersVariable has the address of a real Kafka, if there is one. Its topics are left behind.
const brokersVariable = "EOSTOP_CI_BROKERS"

// realCluster returns a cluster with a fresh topic on a real Kafka.
func realCluster(t *testing.T) *cluster {
	t.Helper()
	brokers := os.Getenv(brokersVariable)
	if brokers == "" {
		t.Skipf("%s does not name a Kafka", brokersVariable)
	}
	c := &cluster{T: t, link: faults.NewLink("i1"), hits: make(chan faults.Hit, 10_000), seeds: strings.Split(brokers, ",")}
	c.base = new(net.Dialer).DialContext
	c.rules = faults.NewRules(func(hit faults.Hit) { c.hits <- hit })
	c.link.SetRules(c.rules)
	t.Cleanup(func() {
		for _, client := range c.clients {
			client.Close()
		}
		c.link.Close()
	})
	c.topic = fmt.Sprintf("faults-%d", time.Now().UnixNano())
	plain, err := kgo.NewClient(kgo.SeedBrokers(c.seeds...), kgo.DisableClientMetrics())
	if err != nil {
		t.Fatal(err)
	}
	c.clients = append(c.clients, plain)
	admin := kadm.NewClient(plain)
	if _, err := admin.CreateTopic(t.Context(), 1, 1, nil, c.topic); err != nil {
		t.Fatal(err)
	}
	topics, err := admin.ListTopics(t.Context(), c.topic)
	if err != nil {
		t.Fatal(err)
	}
	c.rules.LearnTopic(topics[c.topic].ID, c.topic)
	return c
}

// TestRealKafkaFences is TestFenceEachAPI on a real Kafka.
func TestRealKafkaFences(t *testing.T) {
	c := realCluster(t)
	if step, err := c.transaction(); step != "" {
		t.Fatalf("the first transaction failed at %q: %v", step, err)
	}
	want := []string{"value"}
	for _, action := range []faults.Action{faults.Reject, faults.Rewrite} {
		for _, rule := range faults.FenceRules() {
			rule.Action = action
			if rule.APIs[0] == "Produce" {
				rule.Topic = c.topic // by its id
			}
			id := c.add(rule)
			step, err := c.transaction()
			hit := c.rules.Hits(id) == 1
			c.rules.Remove(id)
			t.Logf("%s %s: hit %v, step %q, error %v", action, rule.ID, hit, step, err)
			switch code := kerr.ErrorForCode(rule.Code); {
			case !hit && strings.HasPrefix(rule.APIs[0], "Add"): // the new transaction protocol does without them
			case !hit:
				t.Errorf("%s %s did not act", action, rule.ID)
			case step == "" || step == "aborted" || errors.Is(code, kerr.TransactionAbortable):
			case !errors.Is(err, code):
				t.Errorf("%s %s: the error is %v at %q", action, rule.ID, err, step)
			}
			if step == "" || (action == faults.Rewrite && rule.APIs[0] == "EndTxn") {
				want = append(want, "value") // what the client cannot know
			}
			for len(c.hits) > 0 {
				<-c.hits
			}
		}
	}
	if step, err := c.transaction(); step != "" {
		t.Fatalf("the last transaction failed at %q: %v", step, err)
	}
	if got := c.committed(); len(got) != len(want)+1 {
		t.Errorf("%d values are committed, want %d", len(got), len(want)+1)
	}
}

// TestRealKafkaOutcome is TestEndTxnOutcomeIsUnknown and TestLateEndTxnIsAZombie on a real Kafka.
func TestRealKafkaOutcome(t *testing.T) {
	for name, test := range map[string]struct {
		rule faults.Rule
		want []string
	}{
		"applied, closed": {faults.Rule{Action: faults.DropResponse, Close: true}, []string{"first", "second"}},
		"applied, late":   {faults.Rule{Action: faults.DelayResponse, Delay: 8 * time.Second}, []string{"first", "second"}},
		"not applied":     {faults.Rule{Action: faults.Close}, []string{"second"}},
		"zombie":          {faults.Rule{Action: faults.HoldRequest, Delay: 4 * time.Second}, []string{"second"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := realCluster(t)
			test.rule.APIs, test.rule.End, test.rule.Count = []string{"EndTxn"}, faults.Commit, 1
			id := c.add(test.rule)
			for n, value := range []string{"first", "second"} {
				producer := c.producer()
				if err := producer.BeginTransaction(); err != nil {
					t.Fatal(err)
				}
				if err := producer.ProduceSync(t.Context(), &kgo.Record{Topic: c.topic, Value: []byte(value)}).FirstErr(); err != nil {
					t.Fatal(err)
				}
				if n == 1 {
					time.Sleep(6 * time.Second) // a zombie comes in the midst of the second transaction
				}
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				err := producer.EndTransaction(ctx, kgo.TryCommit)
				cancel()
				if (err == nil) != (n == 1) {
					t.Errorf("transaction %s: %v", value, err)
				}
				producer.Close()
			}
			if n := c.rules.Hits(id); n != 1 {
				t.Errorf("%d hits", n)
			}
			if got := c.committed(); !slices.Equal(got, test.want) {
				t.Errorf("committed %q, want %q", got, test.want)
			}
			if late := c.link.Stats(); late.Abandoned != 0 {
				t.Errorf("stats %+v", late)
			}
		})
	}
}
