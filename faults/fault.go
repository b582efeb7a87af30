package faults

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// The kinds of faults that are done to links and to what passes them.
const (
	KindError         = "error"
	KindRewrite       = "rewrite"
	KindDelayResponse = "delay-response"
	KindDropResponse  = "drop-response"
	KindHold          = "hold"
	KindClose         = "close"
	KindCut           = "cut"
	KindDelay         = "delay"
	KindJitter        = "jitter"
	KindThrottle      = "throttle"
	KindReset         = "reset"
	KindHalfOpen      = "half-open"
)

// FaultKind describes a kind for a parser and for people.
type FaultKind struct {
	Name    string
	Does    string   // one line
	Needs   []string // keys that must be there
	Takes   []string // keys that may be there, besides
	Lasts   bool     // it needs a length; otherwise it may have one, see ParseFault
	Example string   // with START and LENGTH
}

// matchKeys choose requests.
var matchKeys = []string{"instance", "thread", "client", "txn", "topic", "node", "end", "nth", "count", "probability", "seed"}

// FaultKinds returns all kinds.
func FaultKinds() []FaultKind {
	matchAnswer := slices.Concat(matchKeys, []string{"answered"})
	linkKeys := []string{"instance", "node", "direction"}
	return []FaultKind{
		{
			Name: KindError, Needs: []string{"api", "code"}, Takes: matchKeys,
			Does:    "requests are answered with an error code, and the broker never sees them",
			Example: "error,api=EndTxn,code=INVALID_TXN_STATE,instance=i1,nth=3@0s",
		},
		{
			Name: KindRewrite, Needs: []string{"api", "code"}, Takes: matchAnswer,
			Does:    "the broker does what it is asked for, but the answer says the error code",
			Example: "rewrite,api=EndTxn,end=commit,code=INVALID_TXN_STATE@10s",
		},
		{
			Name: KindDelayResponse, Needs: []string{"api", "delay"}, Takes: matchAnswer,
			Does:    "the broker does what it is asked for, and the answer comes late",
			Example: "delay-response,api=TxnOffsetCommit,delay=3s@10s+1m",
		},
		{
			Name: KindDropResponse, Needs: []string{"api"}, Takes: slices.Concat(matchAnswer, []string{"close"}),
			Does:    "the broker does what it is asked for, and the answer is lost",
			Example: "drop-response,api=EndTxn,close=true,instance=i2@10s",
		},
		{
			Name: KindHold, Needs: []string{"api", "delay"}, Takes: matchKeys,
			Does:    "requests are sent late, also when the client has given up its connection",
			Example: "hold,api=EndTxn,delay=12s,instance=i1@10s",
		},
		{
			Name: KindClose, Needs: []string{"api"}, Takes: matchKeys,
			Does:    "the connection ends instead of an answer, and the broker never sees the request",
			Example: "close,api=JoinGroup,count=5@10s+1m",
		},
		{
			Name: KindCut, Takes: linkKeys, Lasts: true,
			Does:    "nothing passes",
			Example: "cut,instance=i1,node=2@10s+30s",
		},
		{
			Name: KindDelay, Needs: []string{"delay"}, Takes: slices.Concat(linkKeys, []string{"jitter", "seed"}), Lasts: true,
			Does:    "bytes are under way longer",
			Example: "delay,instance=i1,delay=500ms@10s+1m",
		},
		{
			Name: KindJitter, Needs: []string{"jitter"}, Takes: slices.Concat(linkKeys, []string{"seed"}), Lasts: true,
			Does:    "bytes are under way longer, at random, and stay in order",
			Example: "jitter,jitter=200ms@10s+1m",
		},
		{
			Name: KindThrottle, Needs: []string{"rate"}, Takes: linkKeys, Lasts: true,
			Does:    "so many bytes a second pass, for each direction and each instance",
			Example: "throttle,instance=i2,rate=64KiB@10s+1m",
		},
		{
			Name: KindReset, Takes: []string{"instance", "node", "rate", "seed"},
			Does:    "connections are reset: all once, or with a rate one after another at random",
			Example: "reset,instance=i1,rate=0.5@10s+1m",
		},
		{
			Name: KindHalfOpen, Takes: []string{"instance", "node"}, Lasts: true,
			Does:    "connections that are open vanish on the broker's side; what is written is lost and reads hang",
			Example: "half-open,instance=i1@10s+30s",
		},
	}
}

// FaultKey describes a key for people.
type FaultKey struct {
	Name  string
	Value string // its form
	Says  string // one line
}

// FaultKeys returns the keys of all kinds, in the order in which they are written.
func FaultKeys() []FaultKey {
	return []FaultKey{
		{"api", "NAME[+NAME..]", "Kafka's names of the requests, like EndTxn+TxnOffsetCommit, or any"},
		{"code", "NAME", "Kafka's name of the error code, like INVALID_TXN_STATE, or its number"},
		{"instance", "NAME", "whose requests or connections, like i1; without it every instance's"},
		{"thread", "N", "number of the stream thread, from 1"},
		{"client", "PATTERN", "client id, where * is any text, like *-producer"},
		{"txn", "PATTERN", "transactional id"},
		{"topic", "PATTERN", "topic that the request names"},
		{"node", "NODE", "broker that the connection leads to: node id, or HOST:PORT as it is dialed"},
		{"end", "commit|abort", "only the EndTxn that commits or aborts"},
		{"answered", "NAME[+NAME..]", "only if the broker's answer has one of these codes; NONE is no error"},
		{"nth", "N", "the N-th such request; with count from that one on"},
		{"count", "N", "how often; without it once if there is neither LENGTH nor nth"},
		{"probability", "P", "with which it happens each time, more than 0 to 1"},
		{"seed", "N", "of what is random"},
		{"delay", "DURATION", "how long, like 500ms"},
		{"jitter", "DURATION", "up to so much longer"},
		{"rate", "N", "bytes a second, like 64KiB; for reset connections a second, like 0.5"},
		{"direction", "both|in|out", "seen from the instance; without it both"},
		{"close", "true|false", "the connection is closed as well, so that the client learns of it at once"},
	}
}

// FaultHelp lists kinds and keys, one line each.
func FaultHelp() string {
	var b strings.Builder
	b.WriteString("Kinds\n")
	for _, k := range FaultKinds() {
		fmt.Fprintf(&b, "  %-15s %s\n", k.Name, k.Does)
		if len(k.Needs) > 0 {
			fmt.Fprintf(&b, "  %-15s needs %s; ", "", strings.Join(k.Needs, ", "))
		} else {
			fmt.Fprintf(&b, "  %-15s ", "")
		}
		fmt.Fprintf(&b, "like %s\n", k.Example)
	}
	b.WriteString("\nKeys\n")
	for _, k := range FaultKeys() {
		fmt.Fprintf(&b, "  %-26s %s\n", k.Name+"="+k.Value, k.Says)
	}
	return b.String()
}

// Fault is one fault as it is planned: either a rule or something that is done to links.
type Fault struct {
	Kind     string
	Instance string // name of the link; empty is every link

	// Rule is nil for the kinds that are done to links. Its ID may be set, so that its hits can be told.
	Rule *Rule
	// Impairment is nil for rules and for a reset of everything at once.
	Impairment *Impairment
	// Node is the broker whose connections are reset at once; empty is every broker.
	Node string

	keys map[string]string
}

// ParseFault reads a fault from its kind and the keys that go with it, see [FaultHelp]. length is 0 for a fault that
// has none; then a rule with neither count nor nth acts once. The error names every key that is wrong, and what would
// be right.
func ParseFault(kind string, keys map[string]string, length time.Duration) (Fault, error) {
	at := slices.IndexFunc(FaultKinds(), func(k FaultKind) bool { return k.Name == kind })
	if at < 0 {
		var names []string
		for _, k := range FaultKinds() {
			names = append(names, k.Name)
		}
		return Fault{}, fmt.Errorf("%q is not a kind of fault; valid: %s", kind, strings.Join(names, ", "))
	}
	described := FaultKinds()[at]
	valid := append(slices.Clone(described.Needs), described.Takes...)
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if !slices.Contains(valid, key) {
			errs = append(errs, fmt.Errorf("%s has no key %q; valid keys: %s", kind, key, strings.Join(valid, ", ")))
		}
	}
	for _, key := range described.Needs {
		if _, there := keys[key]; !there {
			errs = append(errs, fmt.Errorf("%s needs %s=..; like %s", kind, key, described.Example))
		}
	}
	_, rated := keys["rate"]
	switch lasts := described.Lasts || (kind == KindReset && rated); {
	case length < 0:
		errs = append(errs, errors.New("LENGTH: must be more than 0s"))
	case lasts && length == 0:
		errs = append(errs, fmt.Errorf("%s needs a LENGTH; like %s", kind, described.Example))
	case kind == KindReset && !rated && length > 0:
		errs = append(errs, fmt.Errorf("reset has a LENGTH only with rate; like %s", described.Example))
	}
	f := Fault{Kind: kind, Instance: keys["instance"], keys: maps.Clone(keys)}
	values := &values{keys: keys}
	switch kind {
	case KindError, KindRewrite, KindDelayResponse, KindDropResponse, KindHold, KindClose:
		f.Rule = values.rule(kind, length > 0)
	case KindReset:
		if f.Node = keys["node"]; rated {
			f.Impairment = values.impairment(kind)
		}
	default:
		f.Impairment = values.impairment(kind)
	}
	errs = append(errs, values.errs...)
	if err := errors.Join(errs...); err != nil {
		return Fault{}, err
	}
	// What the keys cannot say wrong one by one.
	var err error
	switch {
	case f.Rule != nil:
		err = f.Rule.Validate()
	case f.Impairment != nil:
		err = f.Impairment.Validate()
	}
	if err != nil {
		return Fault{}, err
	}
	return f, nil
}

// String returns the kind and the keys as they are written before the @ of a fault's text.
func (f Fault) String() string {
	var b strings.Builder
	b.WriteString(f.Kind)
	for _, key := range FaultKeys() {
		if value, there := f.keys[key.Name]; there {
			fmt.Fprintf(&b, ",%s=%s", key.Name, value)
		}
	}
	return b.String()
}

// Start does the fault to those of the links that it is meant for, or adds its rule to the rules, which the links must
// have been given. The returned function ends it, and may be called more than once; what is over at once needs no
// end.
func (f Fault) Start(rules *Rules, links ...*Link) (end func(), err error) {
	if f.Rule != nil {
		id, err := rules.Add(*f.Rule)
		if err != nil {
			return nil, err
		}
		return func() { rules.Remove(id) }, nil
	}
	var ends []func()
	end = func() {
		for _, one := range ends {
			one()
		}
	}
	found := false
	for _, link := range links {
		if f.Instance != "" && f.Instance != link.Name() {
			continue
		}
		found = true
		if f.Impairment == nil {
			link.ResetNode(f.Node)
			continue
		}
		one, err := link.Impair(*f.Impairment)
		if err != nil {
			end()
			return nil, err
		}
		ends = append(ends, one)
	}
	if !found {
		return nil, fmt.Errorf("%s: there is no link of an instance %s", f.Kind, f.Instance)
	}
	return end, nil
}
