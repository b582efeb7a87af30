package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Rules are the rules for protocol faults of any number of links, see [Link.SetRules]. All methods are safe from any
// goroutine, and rules may come and go while connections are in use.
type Rules struct {
	onHit   func(Hit)
	current atomic.Pointer[ruleSet] // nil as long as no rule can act

	mu      sync.Mutex // short, nothing waits with it; taken under the mutex of a connection
	rules   []*liveRule
	names   int
	topics  map[[16]byte]string
	changed chan struct{} // closed and replaced by each hit
}

// liveRule is a rule that was added. Its counters belong to the mutex of Rules.
type liveRule struct {
	Rule
	rules  *Rules
	apis   *[len(apis)]bool // nil is all that APIs says it is when empty
	thread string           // what a client id contains
	rnd    *rand.Rand

	matches int // that all of the rule's conditions held
	claims  int // that it was to act
	hits    int // that it has acted
}

// ruleSet is a list of rules at one time. A nil set has none.
type ruleSet struct {
	rules  []*liveRule
	topics bool // one asks for a topic
}

// RuleStatus is a rule together with what it has done.
type RuleStatus struct {
	Rule
	Matches int // how often all of its conditions held
	Hits    int // how often it acted
	Spent   bool
}

// NewRules returns a set without rules. onHit is called for each hit, before the client can see what it does, from
// the goroutine that moves the bytes; while it runs its connection stands still. It may be nil.
func NewRules(onHit func(Hit)) *Rules {
	return &Rules{onHit: onHit, topics: map[[16]byte]string{}, changed: make(chan struct{})}
}

// SetRules makes the rules apply to all connections that are dialed from now on. Without it a link looks at nothing
// that passes; with it, but as long as no rule can match on a connection, only at the lengths and headers of frames.
func (l *Link) SetRules(rules *Rules) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rules = rules
}

// Add adds a rule behind the others. Of several rules that match a request the first acts, and those behind it do not
// see the request. It returns the rule's ID.
func (r *Rules) Add(rule Rule) (id string, err error) {
	if err := rule.Validate(); err != nil {
		return "", fmt.Errorf("rule %s: %w", rule.ID, err)
	}
	live := &liveRule{Rule: rule, rules: r, rnd: rand.New(rand.NewPCG(rule.Seed, 0))}
	if len(rule.APIs) > 0 {
		live.apis = new([len(apis)]bool)
		for _, name := range rule.APIs {
			key, _ := apiKey(name)
			live.apis[key] = true
		}
	}
	if rule.Thread > 0 {
		live.thread = "-StreamThread-" + strconv.Itoa(rule.Thread) + "-"
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for live.ID == "" || r.find(live.ID) != nil {
		if rule.ID != "" {
			return "", fmt.Errorf("rule %s: there is one of this ID already", rule.ID)
		}
		r.names++
		live.ID = fmt.Sprintf("rule-%d", r.names)
	}
	r.rules = append(r.rules, live)
	r.publish()
	return live.ID, nil
}

// Remove removes a rule and reports whether it was there. What it has decided already still happens.
func (r *Rules) Remove(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	live := r.find(id)
	if live == nil {
		return false
	}
	r.rules = slices.DeleteFunc(r.rules, func(other *liveRule) bool { return other == live })
	r.publish()
	r.broadcast()
	return true
}

// List returns all rules in their order, also those that will not act any more.
func (r *Rules) List() []RuleStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]RuleStatus, len(r.rules))
	for i, live := range r.rules {
		list[i] = RuleStatus{live.Rule, live.matches, live.hits, live.spent()}
	}
	return list
}

// Hits returns how often a rule has acted; 0 for one that is not there.
func (r *Rules) Hits(id string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if live := r.find(id); live != nil {
		return live.hits
	}
	return 0
}

// Wait waits until a rule has acted n times. It fails if the context ends, or if there is no such rule any more.
func (r *Rules) Wait(ctx context.Context, id string, n int) error {
	for {
		r.mu.Lock()
		live, changed := r.find(id), r.changed
		hits := 0
		if live != nil {
			hits = live.hits
		}
		r.mu.Unlock()
		switch {
		case live == nil:
			return fmt.Errorf("wait for hits of rule %s: there is no such rule", id)
		case hits >= n:
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for %d hits of rule %s, which has %d: %w", n, id, hits, ctx.Err())
		}
	}
}

// LearnTopic tells the name of a topic id, for requests that carry ids (Produce from version 13, Fetch from 13, and
// others). Rules learn ids themselves from Metadata that passes while one of them asks for a topic; what a client
// had learned before that is unknown without this.
func (r *Rules) LearnTopic(id [16]byte, topic string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.topics[id] = topic
}

func (r *Rules) topic(id [16]byte) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.topics[id]
}

// learn takes the ids out of a response to Metadata.
func (r *Rules) learn(h header, frame []byte) {
	var reply reply
	resp, ok := reply.read(h, frame).(*kmsg.MetadataResponse)
	if !ok {
		return
	}
	for _, t := range resp.Topics {
		if t.Topic != nil && t.TopicID != [16]byte{} {
			r.LearnTopic(t.TopicID, *t.Topic)
		}
	}
}

// find returns nil if there is none. The mutex is held.
func (r *Rules) find(id string) *liveRule {
	at := slices.IndexFunc(r.rules, func(live *liveRule) bool { return live.ID == id })
	if at < 0 {
		return nil
	}
	return r.rules[at]
}

// publish makes the rules that can still act those that connections see. The mutex is held.
func (r *Rules) publish() {
	set := new(ruleSet)
	for _, live := range r.rules {
		if !live.spent() {
			set.rules = append(set.rules, live)
			set.topics = set.topics || live.Topic != ""
		}
	}
	if len(set.rules) == 0 {
		set = nil
	}
	r.current.Store(set)
}

func (r *Rules) broadcast() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// claim counts a match of a rule and reports whether it is one on which the rule acts.
func (r *Rules) claim(live *liveRule) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if live.spent() {
		return false
	}
	live.matches++
	if live.matches < live.Nth || (live.Probability > 0 && live.rnd.Float64() >= live.Probability) {
		return false
	}
	live.claims++
	if live.spent() {
		r.publish()
	}
	return true
}

// report tells of a hit. No mutex is held.
func (r *Rules) report(hit Hit) {
	if r.onHit != nil {
		r.onHit(hit)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if live := r.find(hit.Rule); live != nil {
		live.hits++
		r.broadcast()
	}
}

func (l *liveRule) spent() bool { return l.Count > 0 && l.claims >= l.Count }

// reaches reports whether a rule may match on a connection.
func (s *ruleSet) reaches(t *tap) bool {
	return s != nil && slices.ContainsFunc(s.rules, func(live *liveRule) bool {
		return live.Instance == "" || live.Instance == t.link
	})
}

// mayMatch reports whether a rule may match a request, as far as its header tells.
func (s *ruleSet) mayMatch(t *tap, h header) bool {
	return s != nil && slices.ContainsFunc(s.rules, func(live *liveRule) bool { return live.mayMatch(t, h) })
}

// learns reports whether the response of a request tells what rules must know.
func (s *ruleSet) learns(h header) bool {
	return s != nil && s.topics && kmsg.Key(h.key) == kmsg.Metadata
}

// choose returns the rule that acts on a request, or nil. Rules that depend on the answer are left to that.
func (s *ruleSet) choose(t *tap, e *exchange, frame []byte) *liveRule {
	if s == nil {
		return nil
	}
	for _, live := range s.rules {
		switch {
		case !live.mayMatch(t, e.header), e.silent && live.Action.answered(), !live.matchesBody(t, e, frame):
		case len(live.Answered) > 0:
			e.readFacts(t.rules, frame)
			e.perhaps = append(e.perhaps, live)
		case t.rules.claim(live):
			e.readFacts(t.rules, frame)
			return live
		}
	}
	return nil
}

// mayMatch holds all that a header tells against the rule.
func (l *liveRule) mayMatch(t *tap, h header) bool {
	switch {
	case l.apis == nil:
		switch kmsg.Key(h.key) {
		case kmsg.ApiVersions, kmsg.SASLHandshake, kmsg.SASLAuthenticate:
			return false
		default:
		}
	case !l.apis[h.key]:
		return false
	}
	return (l.Instance == "" || l.Instance == t.link) &&
		(l.Node == "" || l.Node == t.addr || l.Node == t.node()) &&
		(l.thread == "" || strings.Contains(string(h.client), l.thread)) &&
		(l.ClientID == "" || glob(l.ClientID, string(h.client)))
}

// matchesBody holds the rest against the rule.
func (l *liveRule) matchesBody(t *tap, e *exchange, frame []byte) bool {
	if l.TransactionalID == "" && l.Topic == "" && l.End == AnyEnd {
		return true
	}
	facts := e.readFacts(t.rules, frame)
	matches := func(pattern string, list []string) bool {
		return pattern == "" || slices.ContainsFunc(list, func(s string) bool { return glob(pattern, s) })
	}
	return matches(l.TransactionalID, facts.transactional) && matches(l.Topic, facts.topics) &&
		(l.End == AnyEnd || l.End == facts.end)
}

// expects reports whether a broker's answer is one that the rule asks for.
func (l *liveRule) expects(codes []int16) bool {
	return slices.ContainsFunc(l.Answered, func(want int16) bool {
		if want == 0 {
			return len(codes) == 1 && codes[0] == 0
		}
		return slices.Contains(codes, want)
	})
}
