package soak

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// administrator returns a client for the cluster of a configuration.
func administrator(t *testing.T, cfg *Config) *kadm.Client {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(cfg.Cluster.Brokers...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return kadm.NewClient(client)
}

// found returns the finding of a check.
func found(t *testing.T, r *CheckReport, check string) Finding {
	t.Helper()
	i := slices.IndexFunc(r.Findings, func(f Finding) bool { return f.Check == check })
	if i < 0 {
		t.Fatalf("no finding %q in\n%s", check, r.Text())
	}
	return r.Findings[i]
}

func TestCheckOfAFitCluster(t *testing.T) {
	t.Parallel()
	cfg := reachable(t)
	report, err := CheckCluster(t.Context(), &cfg)
	if err != nil {
		t.Fatal(err)
	}
	if !report.Fit {
		t.Errorf("not fit:\n%s", report.Text())
	}
	for check, want := range map[string]string{
		"requests": "all that are needed", "transaction time-out": "valid: up to 15m", "group safe": "may be joined", "input safe-input": "will be created",
	} {
		if f := found(t, report, check); f.Result != CheckOK || !strings.Contains(f.Found, want) {
			t.Errorf("%s: %s, %s; want ok, %s", check, f.Result, f.Found, want)
		}
	}
	topics, err := administrator(t, &cfg).ListTopics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(topics) > 0 {
		t.Errorf("the check has created %v", topics.Names())
	}
}

// A broker that has no time to say whether a topic can be created has not said that it cannot.
func TestCheckOfABusyCluster(t *testing.T) {
	t.Parallel()
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.ControlKey(int16(kmsg.CreateTopics), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		response := req.ResponseKind().(*kmsg.CreateTopicsResponse)
		for _, topic := range req.(*kmsg.CreateTopicsRequest).Topics {
			r := kmsg.NewCreateTopicsResponseTopic()
			r.Topic, r.ErrorCode = topic.Topic, kerr.RequestTimedOut.Code
			response.Topics = append(response.Topics, r)
		}
		return response, nil, true
	})
	cfg := small(2 * time.Second)
	cfg.Cluster.Brokers, cfg.Application.ID = c.ListenAddrs(), "busy"
	report, err := CheckCluster(t.Context(), &cfg)
	if err != nil {
		t.Fatal(err)
	}
	if f := found(t, report, "input busy-input"); f.Result != CheckUnknown || !report.Fit {
		t.Errorf("%+v; the cluster is fit: %t", f, report.Fit)
	}
}

// A coordinator that never gets ready takes no time from the rest.
func TestCheckOfASlowCoordinator(t *testing.T) {
	t.Parallel()
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.ControlKey(int16(kmsg.InitProducerID), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		response := req.ResponseKind().(*kmsg.InitProducerIDResponse)
		response.ErrorCode = kerr.CoordinatorLoadInProgress.Code
		return response, nil, true
	})
	cfg := small(2 * time.Second)
	cfg.Cluster.Brokers, cfg.Application.ID = c.ListenAddrs(), "slow"
	report, err := CheckCluster(t.Context(), &cfg)
	if err != nil {
		t.Fatal(err)
	}
	for check, want := range map[string]string{"transactions": CheckUnknown, "group slow": CheckOK, "session time-out": CheckOK, "input slow-input": CheckOK} {
		if f := found(t, report, check); f.Result != want {
			t.Errorf("%+v; want %s", f, want)
		}
	}
	cfg.Runtime.TransactionTimeout = 20 * time.Minute // The settings of the brokers say enough.
	if report, err = CheckCluster(t.Context(), &cfg); err != nil {
		t.Fatal(err)
	}
	if f := found(t, report, "transaction time-out"); f.Result != CheckFailed || report.Fit {
		t.Errorf("%+v; fit: %t", f, report.Fit)
	}
}

func TestCheckFindsWhatIsWrong(t *testing.T) {
	for _, tt := range []struct {
		name   string
		opts   []kfake.Opt
		set    func(*Config)
		topics map[string]int32
		check  string
		want   string
		result string
	}{
		{
			"transaction time-out",
			[]kfake.Opt{kfake.BrokerConfigs(map[string]string{"transaction.max.timeout.ms": "5000"})},
			nil, nil,
			"transaction time-out", "10s, valid: up to 5s is more than the brokers take", CheckFailed,
		},
		{
			"session time-out",
			[]kfake.Opt{kfake.GroupMinSessionTimeout(time.Minute), kfake.GroupMaxSessionTimeout(2 * time.Minute)},
			nil, nil,
			"session time-out", "the brokers refuse 10s", CheckFailed,
		},
		{"replication", nil, func(c *Config) { c.Cluster.ReplicationFactor = 3 }, nil, "replication", "3 for new topics, 1 brokers", CheckFailed},
		{"input", nil, nil, map[string]int32{"safe-input": 7}, "input safe-input", "has 7 partitions, not 3", CheckFailed},
		{"changelog", nil, nil, map[string]int32{"safe-" + storeCount + "-changelog": 2}, "changelog safe-" + storeCount + "-changelog", "has 2 partitions, not 3", CheckFailed},
		{"plain changelog", nil, nil, map[string]int32{"safe-" + storeCount + "-changelog": 3}, "changelog safe-" + storeCount + "-changelog", "has cleanup.policy delete", CheckWarning},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := reachable(t, tt.opts...)
			if tt.set != nil {
				tt.set(&cfg)
			}
			for topic, partitions := range tt.topics {
				if _, err := administrator(t, &cfg).CreateTopic(t.Context(), partitions, 1, nil, topic); err != nil {
					t.Fatal(err)
				}
			}
			report, err := CheckCluster(t.Context(), &cfg)
			if err != nil {
				t.Fatal(err)
			}
			f := found(t, report, tt.check)
			if f.Result != tt.result || !strings.Contains(f.Found, tt.want) || f.Advice == "" {
				t.Errorf("%+v; want %s, %s", f, tt.result, tt.want)
			}
			if report.Fit != (tt.result != CheckFailed) {
				t.Errorf("fit: %t, with\n%s", report.Fit, report.Text())
			}
			if tt.result == CheckFailed {
				if err := try(t, cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("a run says %v; want %s", err, tt.want)
				}
			}
		})
	}
}

// It is the cluster that knows which transaction time-outs it takes.
func TestTransactionTimeoutOfTheCluster(t *testing.T) {
	for _, tt := range []struct {
		name string
		opts []kfake.Opt
		want string // empty = it is taken
	}{
		{"default", nil, "transaction time-out: 20m, valid: up to 15m is more than the brokers take: INVALID_TRANSACTION_TIMEOUT"},
		{"raised", []kfake.Opt{kfake.BrokerConfigs(map[string]string{"transaction.max.timeout.ms": "3600000"})}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := reachable(t, tt.opts...)
			cfg.Runtime.TransactionTimeout = 20 * time.Minute
			err := try(t, cfg)
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			run, ok := errors.AsType[*RunError](err)
			if !ok || strings.Contains(run.Error(), "\n") || !strings.HasPrefix(run.Error(), tt.want) ||
				!strings.HasSuffix(run.Error(), "lower runtime.transaction_timeout, or raise transaction.max.timeout.ms of the brokers") {
				t.Errorf("%v; want a RunError of one line with %q", err, tt.want)
			}
		})
	}
}

// Topics that are there are used as they are, also where we may not create any.
func TestTopicsAreCreatedOrLeftAlone(t *testing.T) {
	t.Parallel()
	cfg := reachable(t)
	admin := administrator(t, &cfg)
	retention := "12345"
	if _, err := admin.CreateTopic(t.Context(), 3, 1, map[string]*string{"retention.ms": &retention}, "safe-input"); err != nil {
		t.Fatal(err)
	}
	c, err := openCluster(t.Context(), &cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	for range 2 {
		if err := c.createTopics(t.Context(), Topics("safe")); err != nil {
			t.Fatal(err)
		}
	}
	described, err := admin.DescribeTopicConfigs(t.Context(), "safe-input", "safe-count")
	if err != nil {
		t.Fatal(err)
	}
	for topic, want := range map[string]map[string]string{
		"safe-input": {"retention.ms": "12345"}, "safe-count": {"min.insync.replicas": "1"},
	} {
		d, err := described.On(topic, nil)
		if err != nil {
			t.Fatal(err)
		}
		for key, value := range want {
			if got := configValues(d.Configs)[key]; got != value {
				t.Errorf("%s: %s is %q, want %s", topic, key, got, value)
			}
		}
	}
}

func TestReplication(t *testing.T) {
	for _, tt := range []struct {
		set, nodes int
		factor     int16
		inSync     string
	}{{0, 1, 1, "1"}, {0, 2, 2, "1"}, {0, 3, 3, "2"}, {0, 9, 3, "2"}, {4, 9, 4, "3"}, {-1, 9, -1, ""}} {
		c := &cluster{settings: &ClusterSettings{ReplicationFactor: tt.set}, nodes: tt.nodes}
		factor, configs := c.replication()
		if factor != tt.factor || configs["min.insync.replicas"] != tt.inSync {
			t.Errorf("replication_factor %d with %d brokers: %d %v, want %d %s", tt.set, tt.nodes, factor, configs, tt.factor, tt.inSync)
		}
	}
}
