package faults

import (
	"bytes"
	"reflect"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// facts are what rules ask of the body of a request.
type facts struct {
	transactional []string
	topics        []string
	end           End
}

// readFacts returns the facts of a request, which are none if the body cannot be decoded.
func (e *exchange) readFacts(rules *Rules, frame []byte) *facts {
	if e.facts != nil {
		return e.facts
	}
	e.facts = new(facts)
	req := decodeRequest(e.header, frame)
	if req == nil {
		return e.facts
	}
	e.facts.collect(reflect.ValueOf(req), rules)
	switch req := req.(type) {
	case *kmsg.EndTxnRequest:
		if e.facts.end = Abort; req.Commit {
			e.facts.end = Commit
		}
	case *kmsg.FindCoordinatorRequest:
		const transactional = 1 // type of coordinator
		if req.CoordinatorType == transactional {
			for _, id := range append(req.CoordinatorKeys, req.CoordinatorKey) {
				e.facts.add(&e.facts.transactional, id)
			}
		}
	}
	return e.facts
}

// decodeRequest returns nil if the body is not what the header says.
func decodeRequest(h header, frame []byte) kmsg.Request {
	req := kmsg.RequestForKey(h.key)
	req.SetVersion(h.version)
	if req.ReadFrom(frame[h.body:]) != nil {
		return nil
	}
	return req
}

func (f *facts) add(list *[]string, s string) {
	if s != "" && !slices.Contains(*list, s) {
		*list = append(*list, s)
	}
}

// collect walks through a request. The fields are named alike in all requests.
func (f *facts) collect(v reflect.Value, rules *Rules) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			f.collect(v.Elem(), rules)
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Struct {
			for i := range v.Len() {
				f.collect(v.Index(i), rules)
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			field := v.Field(i)
			switch name := v.Type().Field(i).Name; name {
			case "TransactionalID", "TransactionID":
				f.addText(&f.transactional, field)
			case "TransactionalIDs":
				f.addText(&f.transactional, field)
			case "Topic", "TopicNames":
				f.addText(&f.topics, field)
			case "TopicID":
				if id, ok := reflect.TypeAssert[[16]byte](field); ok && id != [16]byte{} {
					f.add(&f.topics, rules.topic(id))
				}
			case "ForgottenTopics": // of Fetch: those that it does not ask for any more
			default:
				f.collect(field, rules)
			}
		}
	default:
	}
}

// addText adds strings, whatever form the field has.
func (f *facts) addText(list *[]string, field reflect.Value) {
	switch text := field.Interface().(type) {
	case string:
		f.add(list, text)
	case *string:
		if text != nil {
			f.add(list, *text)
		}
	case []string:
		for _, s := range text {
			f.add(list, s)
		}
	}
}

// reply is a response that has been decoded, or could not be.
type reply struct {
	tried bool
	resp  kmsg.Response // nil if it could not be
	body  int           // where it starts in the frame
}

// read returns the response to a request, or nil if it is not one.
func (r *reply) read(h header, frame []byte) kmsg.Response {
	if r.tried {
		return r.resp
	}
	r.tried = true
	c := cursor{b: frame, at: 8, end: len(frame)}
	if tagged(h) {
		c.tags()
	}
	if c.bad || !h.known {
		return nil
	}
	resp := kmsg.ResponseForKey(h.key)
	resp.SetVersion(h.version)
	if body := frame[c.at:]; resp.ReadFrom(body) == nil && whole(resp, body) {
		r.resp, r.body = resp, c.at
	}
	return r.resp
}

// whole reports whether a response is all of a body. One that is longer is as little understood as one that is shorter.
func whole(resp kmsg.Response, body []byte) bool {
	if len(body) == 0 || bytes.Equal(resp.AppendTo(nil), body) {
		return true
	}
	// It may have been written in another way, for example with tags that have their default.
	shorter := kmsg.ResponseForKey(resp.Key())
	shorter.SetVersion(resp.GetVersion())
	return shorter.ReadFrom(body[:len(body)-1]) != nil
}

// tagged reports whether the header of a response has tags.
func tagged(h header) bool {
	return h.known && flexible(h.key, h.version) && kmsg.Key(h.key) != kmsg.ApiVersions
}
