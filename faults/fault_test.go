package faults_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kversion"

	"eostop/faults"
)

// parse reads KIND[,key=value..]@START[+LENGTH] as far as it concerns this package.
func parse(t *testing.T, text string) (faults.Fault, error) {
	t.Helper()
	head, times, _ := strings.Cut(text, "@")
	var length time.Duration
	if _, text, lasts := strings.Cut(times, "+"); lasts {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	words := strings.Split(head, ",")
	keys := map[string]string{}
	for _, word := range words[1:] {
		key, value, _ := strings.Cut(word, "=")
		keys[key] = value
	}
	return faults.ParseFault(words[0], keys, length)
}

func TestParseFault(t *testing.T) {
	for text, want := range map[string]faults.Fault{
		"error,api=EndTxn,code=INVALID_TXN_STATE,instance=i1,nth=3@0s": {
			Rule: &faults.Rule{APIs: []string{"EndTxn"}, Instance: "i1", Nth: 3, Count: 1, Action: faults.Reject, Code: 48},
		},
		"error,api=endtxn+Produce,code=48,thread=2@0s+1m": {
			Rule: &faults.Rule{APIs: []string{"endtxn", "Produce"}, Thread: 2, Action: faults.Reject, Code: 48},
		},
		"rewrite,api=any,code=producer_fenced,answered=NONE+47,txn=app-*,topic=out,node=1,probability=0.25,seed=9,client=*-producer@0s+1m": {
			Rule: &faults.Rule{
				Answered: []int16{0, 47}, TransactionalID: "app-*", Topic: "out", Node: "1", Probability: 0.25, Seed: 9,
				ClientID: "*-producer", Action: faults.Rewrite, Code: 90,
			},
		},
		"delay-response,api=EndTxn,end=commit,delay=3s,count=2@0s": {
			Rule: &faults.Rule{APIs: []string{"EndTxn"}, End: faults.Commit, Count: 2, Action: faults.DelayResponse, Delay: 3 * time.Second},
		},
		"drop-response,api=EndTxn,end=abort,close=true@0s": {
			Rule: &faults.Rule{APIs: []string{"EndTxn"}, End: faults.Abort, Count: 1, Action: faults.DropResponse, Close: true},
		},
		"hold,api=Produce,delay=1m30s@0s": {
			Rule: &faults.Rule{APIs: []string{"Produce"}, Count: 1, Action: faults.HoldRequest, Delay: 90 * time.Second},
		},
		"close,api=JoinGroup,nth=2,count=5@0s+1m": {
			Rule: &faults.Rule{APIs: []string{"JoinGroup"}, Nth: 2, Count: 5, Action: faults.Close},
		},
		"cut,node=2,direction=in@0s+1m":            {Impairment: &faults.Impairment{Node: "2", Direction: faults.In, Cut: true}},
		"delay,delay=500ms,jitter=1s,seed=3@0s+1m": {Impairment: &faults.Impairment{Delay: 500 * time.Millisecond, Jitter: time.Second, Seed: 3}},
		"jitter,instance=i2,jitter=10ms@0s+1m":     {Instance: "i2", Impairment: &faults.Impairment{Jitter: 10 * time.Millisecond}},
		"throttle,rate=64KiB,direction=out@0s+1m":  {Impairment: &faults.Impairment{Direction: faults.Out, Rate: 65536}},
		"throttle,rate=100kB@0s+1m":                {Impairment: &faults.Impairment{Rate: 100_000}},
		"throttle,rate=512@0s+1m":                  {Impairment: &faults.Impairment{Rate: 512}},
		"reset@0s":                                 {},
		"reset,instance=i1,node=broker:9092@0s":    {Instance: "i1", Node: "broker:9092"},
		"reset,rate=0.5,node=2@0s+1m":              {Node: "2", Impairment: &faults.Impairment{Node: "2", Resets: 0.5}},
		"half-open,instance=i1@0s+20s":             {Instance: "i1", Impairment: &faults.Impairment{HalfOpen: true}},
	} {
		got, err := parse(t, text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		kind, _, _ := strings.Cut(strings.TrimSuffix(text, "@0s"), ",")
		kind, _, _ = strings.Cut(kind, "@")
		if want.Rule != nil {
			want.Instance = want.Rule.Instance
		}
		if got.Kind != kind || got.Instance != want.Instance || got.Node != want.Node && got.Rule == nil {
			t.Errorf("%s: %+v", text, got)
		}
		if (got.Rule == nil) != (want.Rule == nil) || (got.Impairment == nil) != (want.Impairment == nil) {
			t.Fatalf("%s: %+v", text, got)
		}
		if got.Rule != nil && !equalRules(*got.Rule, *want.Rule) {
			t.Errorf("%s: rule %+v, want %+v", text, *got.Rule, *want.Rule)
		}
		if got.Impairment != nil && *got.Impairment != *want.Impairment {
			t.Errorf("%s: impairment %+v, want %+v", text, *got.Impairment, *want.Impairment)
		}
		// What it writes is what it reads.
		_, times, _ := strings.Cut(text, "@")
		again, err := parse(t, got.String()+"@"+times)
		if err != nil || again.String() != got.String() {
			t.Errorf("%s: written as %s: %v", text, got, err)
		}
	}
}

func equalRules(a, b faults.Rule) bool {
	if !slices.Equal(a.APIs, b.APIs) || !slices.Equal(a.Answered, b.Answered) {
		return false
	}
	a.APIs, b.APIs, a.Answered, b.Answered = nil, nil, nil, nil
	return a.ID == b.ID && a.Instance == b.Instance && a.Node == b.Node && a.ClientID == b.ClientID && a.TransactionalID == b.TransactionalID &&
		a.Topic == b.Topic && a.Thread == b.Thread && a.End == b.End && a.Nth == b.Nth && a.Count == b.Count &&
		a.Probability == b.Probability && a.Seed == b.Seed && a.Action == b.Action && a.Code == b.Code && a.Delay == b.Delay && a.Close == b.Close
}

func TestParseFaultErrors(t *testing.T) {
	for text, want := range map[string]string{
		"eror@0s":                                       "valid: error, rewrite, delay-response, drop-response, hold, close, cut, delay, jitter, throttle, reset, half-open",
		"error,api=EndTxn@0s":                           "error needs code=..; like error,api=EndTxn,code=INVALID_TXN_STATE",
		"error,code=INVALID_TXN_STATE@0s":               "error needs api=..",
		"error,api=EndTx,code=48@0s":                    "api=EndTx: valid: any, or Kafka's names of requests, like EndTxn",
		"error,api=EndTxn,code=INVALID_TX_STATE@0s":     "code=INVALID_TX_STATE: valid: Kafka's names of errors, like INVALID_TXN_STATE",
		"error,api=EndTxn,code=NONE@0s":                 "code=NONE: valid:",
		"error,api=EndTxn,code=48,delay=3s@0s":          `error has no key "delay"; valid keys: api, code, instance`,
		"error,api=EndTxn,code=48,answered=NONE@0s":     `error has no key "answered"`,
		"error,api=EndTxn,code=48,nth=0@0s":             "nth=0: valid: 1 and more",
		"error,api=EndTxn,code=48,thread=x@0s":          "thread=x: valid: 1 and more",
		"error,api=EndTxn,code=48,probability=2@0s":     "probability=2: valid: more than 0 up to 1",
		"error,api=EndTxn,code=48,seed=-1@0s":           "seed=-1: valid: 0 and more",
		"error,api=EndTxn,code=48,end=roll@0s":          "end=roll: valid: commit, abort",
		"error,api=Produce,code=48,end=commit@0s":       "end: only EndTxn has one",
		"error,api=EndTxn,code=48,txn=@0s":              "txn=: valid: a pattern",
		"rewrite,api=EndTxn,code=48,answered=NOPE@0s":   "answered=NOPE: valid: NONE, or Kafka's names of errors",
		"hold,api=EndTxn,delay=-1s@0s":                  "delay=-1s: valid: a duration of more than 0s",
		"hold,api=EndTxn,delay=5@0s":                    "delay=5: valid: a duration",
		"drop-response,api=EndTxn,close=yes@0s":         "close=yes: valid: true, false",
		"delay,delay=1s@0s":                             "delay needs a LENGTH; like delay,instance=i1,delay=500ms@10s+1m",
		"delay@0s+1s":                                   "delay needs delay=..",
		"throttle,rate=64X@0s+1s":                       "rate=64X: valid: bytes a second, like 64KiB or 100kB",
		"throttle,rate=0@0s+1s":                         "rate=0: valid:",
		"throttle,rate=9999999999GiB@0s+1s":             "rate=9999999999GiB: valid:",
		"reset@0s+1m":                                   "reset has a LENGTH only with rate",
		"reset,rate=0.5@0s":                             "reset needs a LENGTH",
		"reset,rate=often@0s+1m":                        "rate=often: valid: connections a second",
		"cut,direction=up@0s+1m":                        "direction=up: valid: both, in, out",
		"cut@0s":                                        "cut needs a LENGTH",
		"half-open,instance=@0s+1s":                     "instance=: valid: a name, like i1",
		"error,api=EndTx,code=NOPE,nth=0,color=red@0s":  `error has no key "color"`,
		"error,api=EndTx,code=NOPE,nth=0,color=blue@0s": "nth=0: valid:",
	} {
		if _, err := parse(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %q, want one that says %q", text, err, want)
		}
	}
}

// The help is complete: each kind with an example that can be read, each key, nothing else.
func TestFaultHelp(t *testing.T) {
	help := faults.FaultHelp()
	used := map[string]bool{}
	for _, kind := range faults.FaultKinds() {
		if !strings.Contains(help, "\n  "+kind.Name+" ") {
			t.Errorf("the help does not know %s", kind.Name)
		}
		if !strings.Contains(help, kind.Example) {
			t.Errorf("the help has no example of %s", kind.Name)
		}
		fault, err := parse(t, kind.Example)
		if err != nil || fault.Kind != kind.Name {
			t.Errorf("example of %s: %v", kind.Name, err)
		}
		for _, key := range slices.Concat(kind.Needs, kind.Takes) {
			used[key] = true
			if !strings.Contains(help, "\n  "+key+"=") {
				t.Errorf("the help does not know key %s", key)
			}
		}
	}
	_, keys, _ := strings.Cut(help, "\nKeys\n")
	for line := range strings.Lines(keys) {
		key, _, _ := strings.Cut(strings.TrimSpace(line), "=")
		if !used[key] {
			t.Errorf("no kind takes key %q", key)
		}
	}
}

func TestFaultStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rules := faults.NewRules(nil)
		one, two := faults.NewLink("i1"), faults.NewLink("i2")
		defer one.Close()
		defer two.Close()
		start := func(text string) (end func(), err error) {
			t.Helper()
			fault, err := parse(t, text)
			if err != nil {
				t.Fatal(err)
			}
			return fault.Start(rules, one, two)
		}
		count := func(links ...int) {
			t.Helper()
			if got := []int{len(one.Impairments()), len(two.Impairments()), len(rules.List())}; !slices.Equal(got, links) {
				t.Errorf("impairments and rules %v, want %v", got, links)
			}
		}
		endRule, err := start("error,api=EndTxn,code=48@0s")
		if err != nil {
			t.Fatal(err)
		}
		count(0, 0, 1)
		endBoth, err := start("delay,delay=1s@0s+1s")
		if err != nil {
			t.Fatal(err)
		}
		endOne, err := start("cut,instance=i2@0s+1s")
		if err != nil {
			t.Fatal(err)
		}
		count(1, 2, 1)
		for _, end := range []func(){endRule, endBoth, endRule} {
			end()
		}
		count(0, 1, 0)
		endOne()
		count(0, 0, 0)
		if _, err := start("cut,instance=i9@0s+1s"); err == nil || !strings.Contains(err.Error(), "no link of an instance i9") {
			t.Errorf("error %v", err)
		}

		client, err := one.Wrap(func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			t.Cleanup(func() { _ = server.Close() })
			return client, nil
		})(t.Context(), "tcp", "broker:9092")
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{"reset,instance=i2@0s", "reset,node=other:9092@0s", "reset@0s"} {
			if err := client.SetDeadline(time.Time{}); err != nil {
				t.Fatalf("before %s: %v", text, err)
			}
			if _, err := start(text); err != nil {
				t.Error(err)
			}
		}
		if err := client.SetDeadline(time.Time{}); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("error %v, want a reset", err)
		}
	})
}

// fence-each-api: each code at each request of a transaction. A client that is dropped and made anew goes on, and what
// was not committed is not seen.
func TestFenceEachAPI(t *testing.T) {
	rules := faults.FenceRules()
	if len(rules) != 42 {
		t.Fatalf("%d rules", len(rules))
	}
	for _, version := range []string{"3.7", "4.0"} {
		for _, rule := range rules {
			if rule.Code == 0 {
				t.Fatalf("rule %s has no code", rule.ID)
			}
			if version == "4.0" && strings.HasPrefix(rule.APIs[0], "Add") {
				continue // the new protocol does without them
			}
			t.Run(version+"/"+rule.ID, func(t *testing.T) {
				clustered(t, []kfake.Opt{kfake.MaxVersions(kversion.FromString(version))}, func(c *cluster) {
					id := c.add(rule)
					step, err := c.transaction()
					if c.rules.Hits(id) != 1 {
						t.Fatal("the rule did not act")
					}
					want := []string{"value"}
					if step != "" { // else the client has got over it itself
						want = nil
						// An abortable transaction goes on in this client until the broker has a word for it.
						code := kerr.ErrorForCode(rule.Code)
						if step != "aborted" && !errors.Is(err, code) && !errors.Is(code, kerr.TransactionAbortable) {
							t.Errorf("the error is %v at %q", err, step)
						}
					}
					if got := c.committed(); !slices.Equal(got, want) {
						t.Errorf("committed %q, want %q", got, want)
					}
					if step, err := c.transaction(); step != "" {
						t.Errorf("the next transaction failed at %q: %v", step, err)
					}
					if got := c.committed(); !slices.Equal(got, append(want, "value")) {
						t.Errorf("committed %q", got)
					}
				})
			})
		}
	}
}
