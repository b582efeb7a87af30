package faults

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// examples returns a request and its response for each API and version, one stream for each direction.
func examples(key int16) (out, in []byte) {
	req := kmsg.RequestForKey(key)
	for version := range req.MaxVersion() + 1 {
		req, resp := kmsg.RequestForKey(key), kmsg.ResponseForKey(key)
		req.SetVersion(version)
		resp.SetVersion(version)
		out = kmsg.NewRequestFormatter(kmsg.FormatterClientID("i1-StreamThread-1-producer")).AppendRequest(out, req, int32(version))
		frame := binary.BigEndian.AppendUint32(make([]byte, 4), uint32(version))
		if tagged(header{key: key, version: version, known: true}) {
			frame = append(frame, 0)
		}
		frame = resp.AppendTo(frame)
		binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
		in = append(in, frame...)
	}
	return out, in
}

func TestFlexibleVersionsOfResponses(t *testing.T) {
	for key := range apis {
		if !apis[key].known {
			continue
		}
		for version := range apis[key].highest + 1 {
			req, resp := kmsg.RequestForKey(int16(key)), kmsg.ResponseForKey(int16(key))
			req.SetVersion(version)
			resp.SetVersion(version)
			if want := flexible(int16(key), version); req.IsFlexible() != want || resp.IsFlexible() != want {
				t.Errorf("%s version %d: flexible %v, request %v, response %v",
					kmsg.NameForKey(int16(key)), version, want, req.IsFlexible(), resp.IsFlexible())
			}
		}
	}
}

// complete returns how many bytes of a stream must have passed when nothing more comes: all but a frame that is not
// complete.
func complete(stream []byte) int {
	at := 0
	for len(stream)-at >= 4 {
		size := int32(binary.BigEndian.Uint32(stream[at:]))
		if size < 0 {
			return len(stream)
		}
		if int(size) > len(stream)-at-4 {
			break
		}
		at += 4 + int(size)
	}
	return at
}

func joined(spans []span) (all []byte) {
	for _, s := range spans {
		all = append(all, s.b...)
	}
	return all
}

// feed gives both streams to a tap in pieces, one after another or in turns.
func feed(t *tap, out, in []byte, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 0))
	for len(out)+len(in) > 0 {
		b, toBroker := &in, false
		if len(out) > 0 && (len(in) == 0 || rnd.IntN(4) > 0) {
			b, toBroker = &out, true
		}
		n := 1 + rnd.IntN(len(*b))
		piece := bytes.Clone((*b)[:n])
		if toBroker {
			t.request(piece)
		} else {
			t.response(piece)
		}
		for i := range piece {
			piece[i] = 0xee // the tap must not keep what is not its own
		}
		*b = (*b)[n:]
	}
}

// FuzzFramesPass gives a connection anything, with rules that never act.
func FuzzFramesPass(f *testing.F) {
	for key := range apis {
		if apis[key].known && (kmsg.Key(key) != kmsg.ControlledShutdown) {
			out, in := examples(int16(key))
			f.Add(out, in, uint64(key))
		}
	}
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), []byte("HTTP/1.1 400 Bad Request\r\n\r\n"), uint64(1))
	f.Add([]byte("\xff\xff\xff\xff"), []byte("\x80\x00\x00\x00"), uint64(1))
	f.Fuzz(func(t *testing.T, out, in []byte, seed uint64) {
		rules := NewRules(nil)
		for _, rule := range []Rule{
			{TransactionalID: "no such id", Topic: "no such topic", Action: Reject, Code: 48},
			{APIs: APINames(), Answered: []int16{999}, Action: Rewrite, Code: 48},
			{Topic: "no such topic", Action: HoldRequest, Delay: time.Hour},
		} {
			if _, err := rules.Add(rule); err != nil {
				t.Fatal(err)
			}
		}
		link := NewLink("i1")
		tap := newTap(rules, link, "broker:9092")
		feed(tap, out, in, seed)
		toBroker, toClient, hangUp := tap.take()
		if hangUp || len(tap.takeHits()) > 0 {
			t.Error("a rule has acted")
		}
		for _, stream := range []struct {
			name      string
			sent, got []byte
		}{{"to the broker", out, joined(toBroker)}, {"to the client", in, joined(toClient)}} {
			if !bytes.HasPrefix(stream.sent, stream.got) {
				t.Errorf("%s: %x became %x", stream.name, stream.sent, stream.got)
			}
			if len(stream.got) < complete(stream.sent) {
				t.Errorf("%s: of %x only %d bytes passed", stream.name, stream.sent, len(stream.got))
			}
		}
	})
}

// FuzzRulesAct gives a connection anything, with rules that act on all of it. That nothing panics is the assertion,
// besides that what comes to the client are frames.
func FuzzRulesAct(f *testing.F) {
	for key := range apis {
		if apis[key].known && (kmsg.Key(key) != kmsg.ControlledShutdown) {
			out, in := examples(int16(key))
			f.Add(out, in, uint64(key), uint8(key))
		}
	}
	f.Fuzz(func(t *testing.T, out, in []byte, seed uint64, action uint8) {
		rules := NewRules(nil)
		rule := Rule{APIs: APINames(), Action: Action(1 + action%6), Code: 48, Delay: time.Second, Probability: 0.7, Seed: seed}
		if action >= 128 && rule.Action.answered() {
			rule.Answered = []int16{0}
		}
		if _, err := rules.Add(rule); err != nil {
			t.Fatal(err)
		}
		tap := newTap(rules, NewLink("i1"), "broker:9092")
		feed(tap, out, in, seed)
		_, toClient, _ := tap.take()
		if got := joined(toClient); complete(in) == len(in) && !tap.broken && complete(got) != len(got) {
			t.Errorf("the client gets %x", got)
		}
	})
}
