package faults

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Action is what a rule does to a request that it matches.
type Action uint8

// The actions.
const (
	// Reject answers the request with an error code and does not send it. Every topic and partition that it names gets the
	// code.
	Reject Action = iota + 1
	// Rewrite lets the broker answer, and replaces every error code of the answer; with a topic in the rule only those of
	// matching topics. All else stays as the broker wrote it.
	Rewrite
	// DelayResponse lets the broker answer, and holds the answer back, and with it all that follows on the connection.
	DelayResponse
	// DropResponse lets the broker answer, and drops the answer. What follows on the connection passes, unless the rule
	// closes it: then the client learns at once that it will not know.
	DropResponse
	// HoldRequest sends the request late, and behind it all that follows on the connection. It is sent also if the client
	// has closed the connection meanwhile, as a zombie's.
	HoldRequest
	// Close ends the connection instead of answering. The request is not sent.
	Close
)

// String returns the word for the action, which is not the kind of fault.
func (a Action) String() string {
	switch a {
	case Reject:
		return "reject"
	case Rewrite:
		return "rewrite"
	case DelayResponse:
		return "delay response of"
	case DropResponse:
		return "drop response of"
	case HoldRequest:
		return "hold"
	case Close:
		return "close connection at"
	default:
		return fmt.Sprintf("action(%d)", uint8(a))
	}
}

// answered reports whether the action is one on the broker's answer.
func (a Action) answered() bool { return a == Rewrite || a == DelayResponse || a == DropResponse }

// End is how a transaction ends.
type End uint8

// The ends. The zero value is either.
const (
	AnyEnd End = iota
	Commit
	Abort
)

// String returns "", "commit" or "abort".
func (e End) String() string {
	switch e {
	case Commit:
		return "commit"
	case Abort:
		return "abort"
	default:
		return ""
	}
}

// Rule says to which requests something is done, and what. Each zero field matches everything.
type Rule struct {
	// ID names the rule in hits; [Rules.Add] makes one if it is empty.
	ID string

	// APIs are names as kmsg has them, like EndTxn; case does not matter. Empty is every API but those that make the
	// connection: ApiVersions, SASLHandshake and SASLAuthenticate.
	APIs []string
	// Instance is the name of the link.
	Instance string
	// Node is the broker that the connection leads to, see [Link].
	Node string
	// ClientID, TransactionalID and Topic are patterns in which each * stands for any text. Requests that have no
	// transactional id or topic do not match a pattern for it.
	ClientID, TransactionalID, Topic string
	// Thread is the number in a client id of the form <instance>-StreamThread-<n>-<role>, from 1.
	Thread int
	// End matches only EndTxn.
	End End
	// Answered are error codes of which the broker's answer must have one, for the actions on answers; 0 asks for an answer
	// without any error.
	Answered []int16

	// Nth is the match from which on the rule acts; 0 and 1 are the first.
	Nth int
	// Count is how many times the rule acts; 0 is without limit.
	Count int
	// Probability is that with which it acts each time; 0 is always.
	Probability float64
	// Seed is the seed of that.
	Seed uint64

	// Action is what it does.
	Action Action
	// Code is the error code, for Reject and Rewrite.
	Code int16
	// Delay is for how long, for DelayResponse and HoldRequest.
	Delay time.Duration
	// Close closes the connection when the answer has come, for DropResponse.
	Close bool
}

// Validate returns every problem, joined, each with the name of its key first.
func (r Rule) Validate() error {
	var errs []error
	problem := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, name := range r.APIs {
		if _, ok := apiKey(name); !ok {
			problem("api: %q is not one of Kafka%s", name, near(name, APINames()))
		}
	}
	ofEndTxn := len(r.APIs) == 0 || slices.ContainsFunc(r.APIs, func(name string) bool {
		key, _ := apiKey(name)
		return key == kmsg.EndTxn
	})
	switch {
	case r.End > Abort:
		problem("end: %d is neither commit nor abort", r.End)
	case r.End != AnyEnd && !ofEndTxn:
		problem("end: only EndTxn has one; add api=EndTxn")
	}
	if len(r.Answered) > 0 && !r.Action.answered() {
		problem("answered: the broker does not answer a request that is to be rejected, held or closed")
	}
	if r.Thread < 0 {
		problem("thread: %d is not the number of a thread; valid: 1 and more", r.Thread)
	}
	if r.Nth < 0 {
		problem("nth: must be 1 or more, not %d", r.Nth)
	}
	if r.Count < 0 {
		problem("count: must be 1 or more, not %d", r.Count)
	}
	if !(r.Probability >= 0 && r.Probability <= 1) {
		problem("probability: must be more than 0 and at most 1, not %v", r.Probability)
	}
	switch r.Action {
	case Reject, Rewrite:
		if r.Code == 0 {
			problem("code: needs the error code, like INVALID_TXN_STATE")
		}
	case DelayResponse, HoldRequest:
		if r.Delay <= 0 || r.Delay > maxDelay {
			problem("delay: must be more than 0s and at most %v, not %v", maxDelay, r.Delay)
		}
	case DropResponse, Close:
	default:
		problem("action: %d is none", r.Action)
	}
	return errors.Join(errs...)
}

// Keys returns the keys of the APIs that the rule names; nil if it names none.
func (r *Rule) Keys() []kmsg.Key {
	var keys []kmsg.Key
	for _, name := range r.APIs {
		if key, ok := apiKey(name); ok {
			keys = append(keys, key)
		}
	}
	return keys
}

// MatchesTopic reports whether the name of a topic is one that the rule asks for.
func (r *Rule) MatchesTopic(topic string) bool { return glob(r.Topic, topic) }

// MatchesTransactionalID is MatchesTopic for a transactional id.
func (r *Rule) MatchesTransactionalID(id string) bool { return glob(r.TransactionalID, id) }

// Hit tells that a rule has acted.
type Hit struct {
	Rule     string // its ID
	Action   Action
	Code     int16         // that was put in the response, for Reject and Rewrite
	Answered []int16       // what the broker had answered, each code once, as far as it was looked at
	Delay    time.Duration // for DelayResponse and HoldRequest
	Time     time.Time

	API              string // as kmsg names it
	Version          int16
	CorrelationID    int32
	ClientID         string
	TransactionalIDs []string // that the request names; one but for requests in batches
	Topics           []string // the same; empty too if only their ids are known
	End              End

	Instance string // name of the link
	Addr     string // of the broker, as it was dialed
	Node     string // its name, if there is one
}

// String is a line for people, for example: reject EndTxn(commit) of i1-StreamThread-1-producer to broker:9092 with
// INVALID_TXN_STATE.
func (h Hit) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", h.Action, h.API)
	if h.End != AnyEnd {
		fmt.Fprintf(&b, "(%s)", h.End)
	}
	fmt.Fprintf(&b, " of %s to %s", h.ClientID, h.Addr)
	switch h.Action {
	case Reject, Rewrite:
		fmt.Fprintf(&b, " with %s", CodeName(h.Code))
	case DelayResponse, HoldRequest:
		fmt.Fprintf(&b, " for %s", h.Delay)
	default:
	}
	if len(h.Answered) > 0 {
		names := make([]string, len(h.Answered))
		for i, code := range h.Answered {
			names[i] = CodeName(code)
		}
		fmt.Fprintf(&b, ", the broker had answered %s", strings.Join(names, ", "))
	}
	return b.String()
}

// apiKey is the inverse of kmsg's names.
func apiKey(name string) (kmsg.Key, bool) {
	for key := range apis {
		if apis[key].known && strings.EqualFold(name, kmsg.NameForKey(int16(key))) {
			return kmsg.Key(key), true
		}
	}
	return 0, false
}

// APINames returns the names of all APIs that rules know, in alphabetical order.
func APINames() []string {
	var names []string
	for key := range apis {
		if apis[key].known {
			names = append(names, kmsg.NameForKey(int16(key)))
		}
	}
	slices.Sort(names)
	return names
}

// codeOf are the error codes of Kafka by their names.
var codeOf = func() map[string]int16 {
	list := map[string]int16{"NONE": 0}
	for code := int16(-1); code < 1000; code++ {
		if e := kerr.TypedErrorForCode(code); e != nil && e.Code == code {
			list[e.Message] = code
		}
	}
	return list
}()

// CodeName returns Kafka's name of an error code, NONE for 0, and the number if there is no name.
func CodeName(code int16) string {
	if code == 0 {
		return "NONE"
	}
	if e := kerr.TypedErrorForCode(code); e.Code == code {
		return e.Message
	}
	return fmt.Sprint(code)
}

// CodeNames returns the names of all error codes, in alphabetical order.
func CodeNames() []string {
	names := make([]string, 0, len(codeOf))
	for name := range codeOf {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// glob reports whether text matches a pattern in which * stands for any text. The empty pattern matches everything.
func glob(pattern, text string) bool {
	if pattern == "" {
		return true
	}
	parts := strings.Split(pattern, "*")
	last := len(parts) - 1
	if last == 0 {
		return pattern == text
	}
	if !strings.HasPrefix(text, parts[0]) {
		return false
	}
	text = text[len(parts[0]):]
	for _, part := range parts[1:last] {
		at := strings.Index(text, part)
		if at < 0 {
			return false
		}
		text = text[at+len(part):]
	}
	return strings.HasSuffix(text, parts[last])
}
