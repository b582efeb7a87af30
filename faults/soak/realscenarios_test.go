package soak

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"eostop/faults"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// testScenarios names the environment variable that holds the address of a real broker, on which the scenarios are played instead of on
// the embedded one, in real time. Those that only the embedded broker can play are skipped. All of them take hours one by one, and as
// they wait most of the time, many can be played at once:
//
//	EOSTOP_TEST_SCENARIOS=HOST:PORT go test -run 'TestScenarios/(late-endtxn|slow-link)' -parallel 8 -timeout 30m ./faults/soak
const testScenarios = "EOSTOP_TEST_SCENARIOS"

// speak makes the embedded broker speak like a version. On a real one the test is skipped if that has the other protocol of
// transactions (KIP-890) than the version; it has its own version. The empty version is any.
func speak(t *testing.T, cfg *Config, version string) {
	t.Helper()
	if len(cfg.Cluster.Brokers) == 0 {
		cfg.Cluster.Embedded.Version = version
		return
	}
	if version == "" {
		return
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(cfg.Cluster.Brokers...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	versions, err := kmsg.NewPtrApiVersionsRequest().RequestWith(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	bumps := slices.ContainsFunc(versions.FinalizedFeatures, func(f kmsg.ApiVersionsResponseFinalizedFeature) bool {
		return f.Name == "transaction.version" && f.MaxVersionLevel >= 2
	})
	if bumps != (version >= "4.0") {
		t.Skipf("%s does not have the transactions of Kafka %s", strings.Join(cfg.Cluster.Brokers, ","), version)
	}
}

// skipEmbedded skips on a real broker what only the embedded one can do, or tell.
func skipEmbedded(t *testing.T, cfg *Config) {
	t.Helper()
	if os.Getenv(testScenarios) == "" {
		return
	}
	broken := slices.ContainsFunc(cfg.Faults.Faults, func(f FaultSpec) bool {
		kind, ok := findFaultKind(f.Kind)
		return ok && kind.place == onBroker
	})
	if d := Default().Cluster.Embedded; broken || cfg.Cluster.Embedded.Nodes != d.Nodes || cfg.Cluster.Embedded.Settle != d.Settle {
		t.Skip("only the embedded broker can do that")
	}
}

// cutAtAnswer is cutAt on a real broker. There the link itself sees the requests, all of which are the instance's, and holds the
// answer back until it is cut.
func (g *stage) cutAtAnswer(instance string, d faults.Direction, key kmsg.Key, nth int64) bool {
	g.Helper()
	rule := faults.Rule{
		APIs: []string{key.Name()}, Instance: instance, Nth: int(nth), Count: 1, Action: faults.DelayResponse, Delay: time.Second,
	}
	if slices.ContainsFunc(commitSteps(), func(s step) bool { return s.key == key }) || key == kmsg.InitProducerID {
		rule.TransactionalID = "*"
	}
	if key == kmsg.Fetch { // by a restore
		rule.Topic = "*-changelog"
		g.s.learnTopics(g.Context())
	}
	id, err := g.s.rules.Add(rule)
	if err != nil {
		g.Error(err)
		return false
	}
	ctx, cancel := context.WithTimeout(g.Context(), time.Minute)
	defer cancel()
	if err := g.s.rules.Wait(ctx, id, 1); err != nil {
		g.Errorf("less than %d requests %s came in a minute: %v", nth, key.Name(), err)
		return false
	}
	g.member(instance).link.Cut(d)
	return true
}
