package faults

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// span is a part of a stream that the tap lets go on.
type span struct {
	b    []byte
	hold time.Duration // it goes on that much later, and so does what follows it
}

// exchange is a request whose response has not come yet.
type exchange struct {
	header          // of the request; client is a copy
	facts    *facts // of its body, if a rule has asked for them or has acted
	answer   []byte // the frame that takes the place of the response: the broker has never seen the request
	hangUp   bool   // the connection ends in place of the response
	rule     *liveRule
	perhaps  []*liveRule // rules before it that depend on the broker's answer
	learning bool        // the response tells the ids of topics
}

// acted reports whether anything is done about its response.
func (e *exchange) acted() bool {
	return e.answer != nil || e.hangUp || e.rule != nil || len(e.perhaps) > 0 || e.learning
}

// tap looks at the frames of one connection and applies the rules. It is guarded by the mutex of the connection, and
// does nothing but compute: what it decides waits in toBroker, toClient and hits until the connection carries it out.
//
// As long as there are no rules it only counts: where in a frame each stream stands, and how many responses are to
// come. So a rule that is added later finds its way on connections that are open already, and a response of its own
// takes the right place among those of the broker, which answers in order.
type tap struct {
	rules      *Rules
	link, addr string
	node       func() string

	set      *ruleSet // that relevant was worked out for
	relevant bool     // a rule of set may match on this connection

	out, in frames
	raw     bool // SASL tokens without headers are exchanged (SaslHandshake v0)
	broken  bool // what was seen cannot be frames: everything passes for good
	doomed  bool // the connection will end in place of a response: requests are dropped

	unknown int         // responses to come of requests that were not looked at, before all of pending
	pending []*exchange // in the order of the requests
	acting  int         // of these, on how many something is done
	current *exchange   // whose response is passing
	hold    time.Duration

	toBroker, toClient []span
	hangUp             bool
	hits               []Hit
}

func newTap(rules *Rules, link *Link, addr string) *tap {
	return &tap{rules: rules, link: link.name, addr: addr, node: func() string { return link.node(addr) }}
}

// active reports whether the streams must go through request and response; otherwise they go past passed.
func (t *tap) active() bool {
	if t.broken {
		return len(t.toBroker) > 0 || len(t.toClient) > 0
	}
	if set := t.rules.current.Load(); set != t.set {
		t.set = set
		t.relevant = set.reaches(t)
	}
	return t.relevant || t.acting > 0 || t.out.withholds() || t.in.withholds() || t.current != nil ||
		len(t.toBroker) > 0 || len(t.toClient) > 0
}

// request takes what the client sends.
func (t *tap) request(b []byte) {
	if t.broken {
		t.send(b)
		return
	}
	for len(b) > 0 {
		rest, ok := t.out.next(b, parseRequest, t.admit, t.send, t.decide)
		if !ok {
			t.send(rest)
			t.giveUp()
			return
		}
		b = rest
	}
}

// response takes what the broker sends.
func (t *tap) response(b []byte) {
	if t.broken {
		t.receive(b)
		return
	}
	for len(b) > 0 {
		rest, ok := t.in.next(b, parseResponse, t.match, t.receive, t.answered)
		if !ok {
			t.receive(rest)
			t.giveUp()
			return
		}
		b = rest
	}
}

// giveUp is lost for a connection of which something may be withheld.
func (t *tap) giveUp() {
	if head := t.out.head; len(head) > t.out.sent {
		t.send(head[t.out.sent:])
	}
	if head := t.in.head; len(head) > t.in.sent {
		t.receive(head[t.in.sent:])
	}
	t.send(t.out.kept)
	t.receive(t.in.kept)
	t.lost()
}

func (t *tap) send(b []byte)    { t.toBroker = appendSpan(t.toBroker, b, 0) }
func (t *tap) receive(b []byte) { t.toClient = appendSpan(t.toClient, b, t.hold); t.hold = 0 }

// appendSpan copies b.
func appendSpan(spans []span, b []byte, hold time.Duration) []span {
	if len(b) == 0 {
		return spans
	}
	if n := len(spans); n > 0 && hold == 0 {
		spans[n-1].b = append(spans[n-1].b, b...)
		return spans
	}
	return append(spans, span{slices.Clone(b), hold})
}

// take returns what is to go on now.
func (t *tap) take() (toBroker, toClient []span, hangUp bool) {
	toBroker, toClient, hangUp = t.toBroker, t.toClient, t.hangUp
	t.toBroker, t.toClient, t.hangUp = nil, nil, false
	return toBroker, toClient, hangUp
}

// takeHits returns what is to be reported first.
func (t *tap) takeHits() []Hit {
	hits := t.hits
	t.hits = nil
	return hits
}

// admit decides whether a request must be kept until it is complete.
func (t *tap) admit(h header, begun bool) fate {
	speaks := t.speaks(h)
	set := t.rules.current.Load()
	switch {
	case t.doomed && !begun:
		return drop
	case !speaks:
		return pass
	case h.known && !begun && set.mayMatch(t, h):
		return keep
	}
	t.await(&exchange{header: h, learning: h.known && set.learns(h)})
	return pass
}

// await adds a request whose response is to come.
func (t *tap) await(e *exchange) {
	if e.silent && !e.hangUp {
		return
	}
	e.client = slices.Clone(e.client)
	t.pending = append(t.pending, e)
	if e.acted() {
		t.acting++
	}
}

// decide applies the rules to a request that was kept.
func (t *tap) decide(frame []byte) {
	if frame == nil {
		return
	}
	h, _ := parseRequest(frame)
	set := t.rules.current.Load()
	e := &exchange{header: h, learning: set.learns(h)}
	rule := set.choose(t, e, frame)
	if rule == nil {
		t.send(frame)
		t.await(e)
		return
	}
	switch rule.Action {
	case Reject:
		e.answer = reject(e.header, frame, rule.Code)
		if e.answer == nil && !e.silent { // there is no room for an error code in the response, and so the request passes
			t.send(frame)
			break
		}
		t.hit(e, rule, nil)
	case Close:
		e.hangUp, t.doomed = true, true
		t.hit(e, rule, nil)
	case HoldRequest:
		t.toBroker = appendSpan(t.toBroker, frame, rule.Delay)
		t.hit(e, rule, nil)
	default:
		e.rule = rule
		t.send(frame)
	}
	t.await(e)
	t.release()
}

// match finds the request of a response, and decides whether the response must be kept until it is complete.
func (t *tap) match(h header, begun bool) fate {
	at := -1
	if !h.short {
		at = slices.IndexFunc(t.pending, func(e *exchange) bool { return e.correlation == h.correlation })
	}
	if at < 0 {
		t.current = nil
		return pass
	}
	// The broker answers in order, so what came before has been answered, or will never be.
	t.unknown = 0
	for _, e := range t.pending[:at] {
		if e.answer != nil {
			t.receive(e.answer)
		}
		t.leave(e)
	}
	e := t.pending[at]
	t.leave(e)
	t.pending = slices.Delete(t.pending, 0, at+1)
	t.current = e
	switch {
	case begun:
		return pass
	case len(e.perhaps) > 0 || e.learning || (e.rule != nil && e.rule.Action == Rewrite):
		return keep
	case e.rule == nil:
		return pass
	}
	t.hit(e, e.rule, nil)
	if e.rule.Action == DropResponse {
		t.hangUp = t.hangUp || e.rule.Close
		return drop
	}
	t.hold = e.rule.Delay
	return pass
}

// leave counts a request that is not pending any more.
func (t *tap) leave(e *exchange) {
	if e.acted() {
		t.acting--
	}
}

// answered is called when a response is over, with the frame if it was kept.
func (t *tap) answered(frame []byte) {
	if e := t.current; e == nil {
		t.discount(nil)
	} else if frame != nil {
		t.apply(e, frame)
	}
	t.current = nil
	t.release()
}

// apply does to a response what the rules say.
func (t *tap) apply(e *exchange, frame []byte) {
	if e.learning {
		t.rules.learn(e.header, frame)
	}
	rule, r := e.rule, reply{}
	for _, perhaps := range e.perhaps {
		if codes := perhaps.codes(e.header, frame, &r); perhaps.expects(codes) && t.rules.claim(perhaps) {
			rule = perhaps
			break
		}
	}
	if rule == nil {
		t.receive(frame)
		return
	}
	switch rule.Action {
	case DropResponse:
		t.hit(e, rule, rule.codes(e.header, frame, &r))
		t.hangUp = t.hangUp || rule.Close
	case DelayResponse:
		t.hit(e, rule, rule.codes(e.header, frame, &r))
		t.hold = rule.Delay
		t.receive(frame)
	default:
		was := rule.codes(e.header, frame, &r)
		rewritten := rule.rewrite(e.header, frame, &r)
		if rewritten == nil { // there is no room for an error code, or nobody can tell where
			t.receive(frame)
			return
		}
		t.hit(e, rule, was)
		t.receive(rewritten)
	}
}

// hit notes that a rule acts on a request or, with the codes that the broker gave, on its response.
func (t *tap) hit(e *exchange, rule *liveRule, was []int16) {
	hit := Hit{
		Rule: rule.ID, Action: rule.Action, Code: rule.Code, Delay: rule.Delay, Time: time.Now(),
		API: kmsg.NameForKey(e.key), Version: e.version, CorrelationID: e.correlation, ClientID: string(e.client),
		Instance: t.link, Node: t.node(), Addr: t.addr, Answered: was,
	}
	if e.facts != nil {
		hit.TransactionalIDs, hit.Topics, hit.End = e.facts.transactional, e.facts.topics, e.facts.end
	}
	t.hits = append(t.hits, hit)
}

// release lets go what takes the place of responses, once it is their turn and no other response is passing.
func (t *tap) release() {
	for len(t.pending) > 0 && t.unknown == 0 && t.current == nil && t.in.left == 0 && t.in.sent == 0 {
		e := t.pending[0]
		switch {
		case e.answer != nil:
			t.receive(e.answer)
		case e.hangUp:
			t.hangUp = true
		default:
			return
		}
		t.leave(e)
		t.pending = slices.Delete(t.pending, 0, 1)
	}
}
