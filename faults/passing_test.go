package faults_test

import (
	"context"
	"encoding/binary"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"eostop/faults"
)

// SASL before SaslAuthenticate exchanges tokens that have a length and nothing else, and the last of them has no
// answer.
func TestSASLTokensPass(t *testing.T) {
	for name, late := range map[string]bool{"with a rule": false, "before there is a rule": true} {
		t.Run(name, func(t *testing.T) {
			wired(t, func(w *wire) {
				rule := faults.Rule{Action: faults.Reject, Code: invalidTxnState}
				if !late {
					w.add(rule)
				}
				shake := kmsg.NewPtrSASLHandshakeRequest()
				shake.Mechanism = "SCRAM-SHA-256"
				answer := responseFrame(shake.ResponseKind(), 0)
				w.answers(requestFrame(shake, 0, producerID), answer, answer)
				token := func(s string) []byte {
					return append(binary.BigEndian.AppendUint32(nil, uint32(len(s))), s...)
				}
				w.answers(token("n,,n=user,r=nonce"), token("r=nonce-of-both"), token("r=nonce-of-both"))
				w.answers(token("c=biws,r=nonce"), token(""), token(""))
				last := token("\x00user\x00password")
				w.write(last)
				w.gets(w.broker, last)
				if late {
					w.add(rule)
				}
				request, _ := endTxn(1, true)
				w.write(request)
				w.gets(w.client, endTxnAnswer(1, invalidTxnState))
				w.hit()
			})
		})
	}
}

// What makes a connection is left alone by a rule for every API.
func TestEveryAPIIsNotTheHandshake(t *testing.T) {
	wired(t, func(w *wire) {
		w.add(faults.Rule{Action: faults.Rewrite, Code: invalidTxnState})
		for n, req := range []kmsg.Request{kmsg.NewPtrApiVersionsRequest(), kmsg.NewPtrSASLHandshakeRequest(), kmsg.NewPtrSASLAuthenticateRequest()} {
			req.SetVersion(1)
			answer := responseFrame(req.ResponseKind(), int32(n))
			w.answers(requestFrame(req, int32(n), producerID), answer, answer)
		}
		w.noHit()
	})
	wired(t, func(w *wire) {
		w.add(faults.Rule{APIs: []string{"ApiVersions"}, Action: faults.Rewrite, Code: 35})
		req := kmsg.NewPtrApiVersionsRequest()
		req.SetVersion(3)
		resp := req.ResponseKind().(*kmsg.ApiVersionsResponse)
		answer := responseFrame(resp, 1)
		resp.ErrorCode = 35
		w.answers(requestFrame(req, 1, producerID), answer, responseFrame(resp, 1))
	})
}

// A large frame that no rule asks for is not kept.
func TestLargeFramesStream(t *testing.T) {
	wired(t, func(w *wire) {
		w.add(reject("EndTxn"))
		fetch := kmsg.NewPtrFetchRequest()
		fetch.SetVersion(12)
		request := requestFrame(fetch, 1, "c")
		w.write(request)
		w.gets(w.broker, request)
		const size = 100 << 20
		response := binary.BigEndian.AppendUint32(nil, size)
		response = append(response, 0, 0, 0, 1)
		w.send(response)
		w.gets(w.client, response)
		part := text(100_000)
		for range 20 {
			w.send(part)
			w.gets(w.client, part)
		}
		produce, _ := produceTo(2, -1, "out")
		binary.BigEndian.PutUint32(produce, size)
		w.write(produce)
		w.gets(w.broker, produce)
		for range 20 {
			w.write(part)
			w.gets(w.broker, part)
		}
	})
}

// What is no frame of Kafka passes, and rules are off on that connection from then on.
func TestGarbagePasses(t *testing.T) {
	for name, garbage := range map[string]string{
		"negative length": "\xff\xff\xff\xff and so on, and on and on",
		"text":            "GET / HTTP/1.1\r\nHost: broker\r\n\r\n",
		"no length":       "\x00\x00\x00\x00",
		"short":           "\x00\x00\x00\x04\x00\x1a\x00\x03",
	} {
		t.Run(name, func(t *testing.T) {
			wired(t, func(w *wire) {
				w.add(faults.Rule{Action: faults.Reject, Code: invalidTxnState})
				w.write([]byte(garbage))
				w.gets(w.broker, []byte(garbage))
				w.send([]byte(garbage))
				w.gets(w.client, []byte(garbage))
				w.write([]byte("more"))
				w.gets(w.broker, []byte("more"))
				w.noHit()
			})
		})
	}
	t.Run("a version of tomorrow", func(t *testing.T) {
		wired(t, func(w *wire) {
			w.add(faults.Rule{Action: faults.Reject, Code: invalidTxnState})
			for n, change := range []func(b []byte){
				func(b []byte) { binary.BigEndian.PutUint16(b[6:], 99) },
				func(b []byte) { binary.BigEndian.PutUint16(b[4:], 9999) },
				func(b []byte) { binary.BigEndian.PutUint16(b[4:], 0xffff) },
				func(b []byte) { binary.BigEndian.PutUint16(b[12:], 0xfffe) }, // length of the client id
			} {
				request, response := endTxn(int32(n), true)
				change(request)
				w.answers(request, response, response)
			}
			w.noHit()
			request, _ := endTxn(10, true)
			w.write(request)
			w.gets(w.client, endTxnAnswer(10, invalidTxnState))
		})
	})
	t.Run("behind what was decided", func(t *testing.T) {
		wired(t, func(w *wire) {
			w.add(faults.Rule{APIs: []string{"EndTxn"}, Action: faults.Rewrite, Code: invalidTxnState})
			request, response := endTxn(1, true)
			w.write(request)
			w.gets(w.broker, request)
			w.send(response[:6])
			synctest.Wait()
			w.write([]byte("\xff\xff\xff\xff"))
			w.gets(w.broker, []byte("\xff\xff\xff\xff"))
			w.send(response[6:])
			w.gets(w.client, response)
		})
	})
}

// Rules act while the link is cut and slow as well.
func TestRulesUnderImpairments(t *testing.T) {
	wired(t, func(w *wire) {
		end, err := w.link.Impair(faults.Impairment{Delay: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		w.add(faults.Rule{APIs: []string{"EndTxn"}, Action: faults.Rewrite, Code: invalidTxnState})
		request, response := endTxn(1, true)
		w.write(request)
		w.gets(w.broker, request)
		w.link.Cut(faults.In)
		w.send(response)
		w.silent(w.client)
		time.Sleep(time.Minute)
		w.link.Heal()
		w.gets(w.client, endTxnAnswer(1, invalidTxnState))
		end()
		request, response = endTxn(2, true)
		w.link.Cut(faults.Both)
		w.write(request)
		w.silent(w.broker)
		w.link.Heal()
		w.gets(w.broker, request)
		w.send(response)
		w.gets(w.client, endTxnAnswer(2, invalidTxnState))
	})
}

// The function that is told of hits may do something about the link.
func TestHitCutsTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := faults.NewLink("i1")
		defer link.Close()
		rules := faults.NewRules(func(faults.Hit) { link.Cut(faults.Both) })
		link.SetRules(rules)
		var broker net.Conn
		client, err := link.Wrap(func(context.Context, string, string) (net.Conn, error) {
			var client net.Conn
			client, broker = net.Pipe()
			return client, nil
		})(t.Context(), "tcp", "broker:9092")
		if err != nil {
			t.Fatal(err)
		}
		defer broker.Close()
		id, err := rules.Add(faults.Rule{APIs: []string{"EndTxn"}, Action: faults.HoldRequest, Delay: time.Nanosecond})
		if err != nil {
			t.Fatal(err)
		}
		request, _ := endTxn(1, true)
		if _, err := client.Write(request); err != nil {
			t.Fatal(err)
		}
		if err := rules.Wait(t.Context(), id, 1); err != nil {
			t.Fatal(err)
		}
		_ = broker.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := broker.Read(make([]byte, 1)); !isTimeout(err) {
			t.Errorf("the broker read, %v", err)
		}
		link.Reset()
		if _, err := client.Write(request); err == nil || !strings.Contains(err.Error(), syscall.ECONNRESET.Error()) {
			t.Errorf("error %v", err)
		}
	})
}
