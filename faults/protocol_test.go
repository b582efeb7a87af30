package faults_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"eostop/faults"
)

const producerID = "i1-StreamThread-1-producer"

// endTxn is a request to end a transaction, and what a broker answers if all is well.
func endTxn(correlation int32, commit bool) (request, response []byte) {
	req := kmsg.NewPtrEndTxnRequest()
	req.SetVersion(3)
	req.TransactionalID, req.Commit = "app-p1-1", commit
	return requestFrame(req, correlation, producerID), endTxnAnswer(correlation, 0)
}

func endTxnAnswer(correlation int32, code int16) []byte {
	resp := kmsg.NewPtrEndTxnResponse()
	resp.SetVersion(3)
	resp.ErrorCode = code
	return responseFrame(resp, correlation)
}

func heartbeat(correlation int32) (request, response []byte) {
	req := kmsg.NewPtrHeartbeatRequest()
	req.SetVersion(4)
	resp := kmsg.NewPtrHeartbeatResponse()
	resp.SetVersion(4)
	return requestFrame(req, correlation, "i1-StreamThread-2-consumer"), responseFrame(resp, correlation)
}

// produceTo is a request for one partition of each topic.
func produceTo(correlation int32, acks int16, topics ...string) (request, response []byte) {
	req := kmsg.NewPtrProduceRequest()
	req.SetVersion(9)
	req.Acks, req.TransactionID = acks, new("app-p1-1")
	resp := kmsg.NewPtrProduceResponse()
	resp.SetVersion(9)
	for _, topic := range topics {
		t := kmsg.NewProduceRequestTopic()
		t.Topic = topic
		p := kmsg.NewProduceRequestTopicPartition()
		p.Records = []byte("records")
		t.Partitions = append(t.Partitions, p)
		req.Topics = append(req.Topics, t)
		rt := kmsg.NewProduceResponseTopic()
		rt.Topic = topic
		rt.Partitions = append(rt.Partitions, kmsg.NewProduceResponseTopicPartition())
		resp.Topics = append(resp.Topics, rt)
	}
	return requestFrame(req, correlation, producerID), responseFrame(resp, correlation)
}

func reject(api string) faults.Rule {
	return faults.Rule{APIs: []string{api}, Action: faults.Reject, Code: invalidTxnState}
}

func TestRejectAnswersWithoutTheBroker(t *testing.T) {
	wired(t, func(w *wire) {
		id := w.add(reject("endtxn"))
		request, _ := endTxn(7, true)
		w.write(request)
		w.gets(w.client, endTxnAnswer(7, invalidTxnState))
		w.silent(w.broker)
		hit := w.hit()
		if hit.Rule != id || hit.Action != faults.Reject || hit.API != "EndTxn" || hit.Version != 3 || hit.ClientID != producerID ||
			hit.CorrelationID != 7 || hit.Code != invalidTxnState || hit.End != faults.Commit || hit.Instance != "i1" || hit.Addr != "broker:9092" ||
			!slices.Equal(hit.TransactionalIDs, []string{"app-p1-1"}) || hit.Time != w.start {
			t.Errorf("hit %+v", hit)
		}
		const line = "reject EndTxn(commit) of i1-StreamThread-1-producer to broker:9092 with INVALID_TXN_STATE"
		if hit.String() != line {
			t.Errorf("hit %q, want %q", hit, line)
		}
		request, response := heartbeat(8)
		w.answers(request, response, response)
		w.noHit()
	})
}

// A broker answers in order, and clients rely on it. So an answer that no broker gives must wait for its turn.
func TestRejectKeepsTheOrderOfAnswers(t *testing.T) {
	one, oneAnswer := heartbeat(1)
	two, _ := endTxn(2, true)
	three, threeAnswer := heartbeat(3)
	t.Run("among requests that were looked at", func(t *testing.T) {
		wired(t, func(w *wire) {
			w.add(reject("EndTxn"))
			w.write(slices.Concat(one, two, three))
			w.gets(w.broker, slices.Concat(one, three))
			w.silent(w.client)
			w.send(oneAnswer[:9])
			w.silentBut(w.client, oneAnswer[:9])
			w.send(oneAnswer[9:])
			w.gets(w.client, slices.Concat(oneAnswer[9:], endTxnAnswer(2, invalidTxnState)))
			w.silent(w.client)
			w.send(threeAnswer)
			w.gets(w.client, threeAnswer)
		})
	})
	t.Run("behind a request that was sent before there was a rule", func(t *testing.T) {
		wired(t, func(w *wire) {
			w.write(one)
			w.gets(w.broker, one)
			reading := run(func() (int, error) { return w.client.Read(make([]byte, 1000)) })
			synctest.Wait()
			w.add(reject("EndTxn"))
			w.write(two)
			time.Sleep(time.Second)
			w.send(oneAnswer)
			if r := <-reading; r.n < len(oneAnswer) || r.at.Sub(w.start) != time.Second {
				t.Errorf("read %d, %v at %v", r.n, r.err, r.at.Sub(w.start))
			} else if r.n == len(oneAnswer) {
				w.gets(w.client, endTxnAnswer(2, invalidTxnState))
			}
		})
	})
	t.Run("behind an answer of which a part was read before there was a rule", func(t *testing.T) {
		wired(t, func(w *wire) {
			w.write(one)
			w.gets(w.broker, one)
			w.send(oneAnswer)
			w.gets(w.client, oneAnswer[:3])
			w.add(reject("EndTxn"))
			w.write(two)
			w.gets(w.client, slices.Concat(oneAnswer[3:], endTxnAnswer(2, invalidTxnState)))
		})
	})
	t.Run("at once where nothing is to come, with a read that waits", func(t *testing.T) {
		wired(t, func(w *wire) {
			w.answers(one, oneAnswer, oneAnswer)
			w.add(reject("EndTxn"))
			want := endTxnAnswer(2, invalidTxnState)
			reading := run(func() (int, error) { return w.client.Read(make([]byte, len(want))) })
			synctest.Wait()
			w.write(two)
			if r := <-reading; r.n != len(want) || r.at != w.start {
				t.Errorf("read %d, %v at %v", r.n, r.err, r.at.Sub(w.start))
			}
		})
	})
	t.Run("behind requests whose answers are not to come", func(t *testing.T) {
		wired(t, func(w *wire) {
			quiet, _ := produceTo(1, 0, "out")
			w.write(quiet)
			w.gets(w.broker, quiet)
			w.add(reject("EndTxn"))
			again, _ := produceTo(2, 0, "out")
			w.write(again)
			w.gets(w.broker, again)
			request, _ := endTxn(3, true)
			w.write(request)
			w.gets(w.client, endTxnAnswer(3, invalidTxnState))
		})
	})
}

// silentBut checks that one end reads want and nothing else for a second.
func (w *wire) silentBut(c net.Conn, want []byte) {
	w.Helper()
	w.gets(c, want)
	w.silent(c)
}

func TestRuleOfAnotherTime(t *testing.T) {
	request, response := endTxn(1, true)
	t.Run("added in the midst of a request", func(t *testing.T) {
		for at := 1; at < len(request); at++ {
			wired(t, func(w *wire) {
				w.write(request[:at])
				w.gets(w.broker, request[:at])
				w.add(reject("EndTxn"))
				w.write(request[at:])
				w.gets(w.broker, request[at:])
				w.send(response)
				w.gets(w.client, response)
				next, _ := endTxn(2, true)
				w.write(next)
				w.gets(w.client, endTxnAnswer(2, invalidTxnState))
			})
		}
	})
	t.Run("removed in the midst of a request", func(t *testing.T) {
		for at := 1; at < len(request); at++ {
			wired(t, func(w *wire) {
				id := w.add(reject("EndTxn"))
				w.write(request[:at])
				synctest.Wait()
				w.rules.Remove(id)
				w.write(request[at:])
				w.gets(w.broker, request)
				w.send(response)
				w.gets(w.client, response)
				w.noHit()
			})
		}
	})
	t.Run("removed before the answer", func(t *testing.T) {
		wired(t, func(w *wire) {
			id := w.add(faults.Rule{Action: faults.Rewrite, Code: invalidTxnState})
			w.write(request)
			w.gets(w.broker, request)
			w.rules.Remove(id)
			w.send(response)
			w.gets(w.client, endTxnAnswer(1, invalidTxnState)) // it was decided
			w.hit()
		})
	})
	t.Run("added, removed and added again", func(t *testing.T) {
		wired(t, func(w *wire) {
			for n := range int32(10) {
				if n%2 == 0 {
					request, response := heartbeat(n)
					w.answers(request, response, response)
					continue
				}
				id := w.add(reject("EndTxn"))
				request, _ := endTxn(n, true)
				w.write(request)
				w.gets(w.client, endTxnAnswer(n, invalidTxnState))
				w.hit()
				w.rules.Remove(id)
			}
		})
	})
}

func TestRewrite(t *testing.T) {
	t.Run("only of the topic that is asked for", func(t *testing.T) {
		wired(t, func(w *wire) {
			w.add(faults.Rule{APIs: []string{"Produce"}, Topic: "*-changelog", Action: faults.Rewrite, Code: producerFenced})
			request, response := produceTo(1, -1, "out", "app-count-changelog")
			want := rewriteProduce(t, response, "app-count-changelog", producerFenced)
			w.answers(request, response, want)
			hit := w.hit()
			if !slices.Equal(hit.Topics, []string{"out", "app-count-changelog"}) || !slices.Equal(hit.Answered, []int16{0}) {
				t.Errorf("hit %+v", hit)
			}
			request, response = produceTo(2, -1, "out")
			w.answers(request, response, response)
			w.noHit()
		})
	})
	t.Run("keeps tags of the header", func(t *testing.T) {
		wired(t, func(w *wire) {
			w.add(faults.Rule{APIs: []string{"EndTxn"}, Action: faults.Rewrite, Code: producerFenced})
			tags := []byte{1, 0x85, 0x01, 3, 'a', 'b', 'c'}
			with := func(frame []byte) []byte {
				frame = slices.Concat(frame[:8], tags, frame[9:])
				binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
				return frame
			}
			request, response := endTxn(1, true)
			w.answers(request, with(response), with(endTxnAnswer(1, producerFenced)))
			w.hit()
		})
	})
	t.Run("of a response with tags of the request's header", func(t *testing.T) {
		wired(t, func(w *wire) {
			w.add(faults.Rule{APIs: []string{"EndTxn"}, TransactionalID: "app-*", Action: faults.Rewrite, Code: producerFenced})
			request, response := endTxn(1, true)
			at := 14 + len(producerID)
			request = slices.Concat(request[:at], []byte{1, 9, 2, 'x', 'y'}, request[at+1:])
			binary.BigEndian.PutUint32(request, uint32(len(request)-4))
			w.answers(request, response, endTxnAnswer(1, producerFenced))
			w.hit()
		})
	})
	t.Run("not of a response that is not one", func(t *testing.T) {
		for name, change := range map[string]func([]byte) []byte{
			"shorter": func(b []byte) []byte { return b[:len(b)-3] },
			"longer":  func(b []byte) []byte { return append(b, 1, 2, 3) },
			"empty":   func(b []byte) []byte { return b[:8] },
		} {
			wired(t, func(w *wire) {
				w.add(faults.Rule{APIs: []string{"EndTxn"}, Action: faults.Rewrite, Code: producerFenced})
				request, response := endTxn(1, true)
				response = change(response)
				binary.BigEndian.PutUint32(response, uint32(len(response)-4))
				w.answers(request, response, response)
				w.noHit()
				request, response = endTxn(2, true)
				w.answers(request, response, endTxnAnswer(2, producerFenced))
				if t.Failed() {
					t.Log(name)
				}
			})
		}
	})
	t.Run("depends on the broker's answer", func(t *testing.T) {
		wired(t, func(w *wire) {
			w.add(faults.Rule{
				APIs: []string{"EndTxn"}, Answered: []int16{0}, Nth: 2, Count: 1, Action: faults.Rewrite, Code: invalidTxnState,
			})
			w.add(faults.Rule{APIs: []string{"EndTxn"}, Answered: []int16{producerFenced}, Action: faults.Rewrite, Code: unknownServerError})
			for n, step := range []struct{ broker, client int16 }{
				{0, 0},
				{producerFenced, unknownServerError},
				{47, 47},
				{0, invalidTxnState},
				{0, 0},
			} {
				request, _ := endTxn(int32(n), true)
				w.answers(request, endTxnAnswer(int32(n), step.broker), endTxnAnswer(int32(n), step.client))
				if step.broker != step.client {
					if hit := w.hit(); !slices.Equal(hit.Answered, []int16{step.broker}) || hit.Code != step.client {
						t.Errorf("hit %+v", hit)
					}
				}
				w.noHit()
			}
		})
	})
}

// rewriteProduce sets the code of one topic in a response.
func rewriteProduce(t *testing.T, frame []byte, topic string, code int16) []byte {
	t.Helper()
	resp := kmsg.NewPtrProduceResponse()
	resp.SetVersion(9)
	if err := resp.ReadFrom(frame[9:]); err != nil {
		t.Fatal(err)
	}
	for i := range resp.Topics {
		if resp.Topics[i].Topic == topic {
			resp.Topics[i].Partitions[0].ErrorCode = code
		}
	}
	return responseFrame(resp, int32(binary.BigEndian.Uint32(frame[4:])))
}

func TestDelayResponse(t *testing.T) {
	wired(t, func(w *wire) {
		w.add(faults.Rule{APIs: []string{"EndTxn"}, Action: faults.DelayResponse, Delay: 3 * time.Second})
		one, oneAnswer := endTxn(1, true)
		two, twoAnswer := heartbeat(2)
		w.write(slices.Concat(one, two))
		w.gets(w.broker, slices.Concat(one, two))
		w.send(oneAnswer[:7])
		time.Sleep(time.Second)
		w.send(slices.Concat(oneAnswer[7:], twoAnswer))
		w.silent(w.client)
		w.gets(w.client, slices.Concat(oneAnswer, twoAnswer))
		if d := time.Since(w.start); d != 4*time.Second { // from when its header was there
			t.Errorf("the answer came after %v", d)
		}
		if hit := w.hit(); hit.Delay != 3*time.Second || hit.Action != faults.DelayResponse {
			t.Errorf("hit %+v", hit)
		}
	})
}

func TestDropResponse(t *testing.T) {
	one, oneAnswer := endTxn(1, true)
	two, twoAnswer := heartbeat(2)
	t.Run("alone", func(t *testing.T) {
		wired(t, func(w *wire) {
			w.add(faults.Rule{APIs: []string{"EndTxn"}, Action: faults.DropResponse})
			w.write(one)
			w.gets(w.broker, one)
			w.send(oneAnswer)
			w.silent(w.client)
			w.answers(two, twoAnswer, twoAnswer)
			w.hit()
		})
	})
	t.Run("and close", func(t *testing.T) {
		for _, answered := range [][]int16{nil, {0}} {
			wired(t, func(w *wire) {
				w.add(faults.Rule{APIs: []string{"EndTxn"}, Action: faults.DropResponse, Close: true, Answered: answered})
				w.write(slices.Concat(two, one))
				w.gets(w.broker, slices.Concat(two, one))
				w.send(slices.Concat(twoAnswer, oneAnswer))
				w.gets(w.client, twoAnswer)
				w.ended(w.client)
				w.ended(w.broker)
				if _, err := w.client.Write(one); err == nil {
					t.Error("a write succeeded")
				}
				w.hit()
				if err := w.client.Close(); err != nil {
					t.Error(err)
				}
			})
		}
	})
}

func TestCloseInsteadOfAnAnswer(t *testing.T) {
	wired(t, func(w *wire) {
		w.add(faults.Rule{APIs: []string{"EndTxn"}, Action: faults.Close})
		one, oneAnswer := heartbeat(1)
		two, _ := endTxn(2, true)
		three, _ := heartbeat(3)
		w.write(slices.Concat(one, two, three))
		w.gets(w.broker, one)
		w.silent(w.broker)
		w.send(oneAnswer)
		w.gets(w.client, oneAnswer)
		w.ended(w.client)
		w.ended(w.broker)
		if _, err := w.client.Write(one); err == nil {
			t.Error("a write succeeded")
		}
		w.hit()
	})
}

func TestHoldRequest(t *testing.T) {
	hold := faults.Rule{APIs: []string{"EndTxn"}, Action: faults.HoldRequest, Delay: 2 * time.Minute, Count: 1}
	one, oneAnswer := endTxn(1, true)
	two, twoAnswer := heartbeat(2)
	t.Run("on a connection that lives", func(t *testing.T) {
		wired(t, func(w *wire) {
			w.add(hold)
			w.write(one)
			if hit := w.hit(); hit.Delay != 2*time.Minute {
				t.Errorf("hit %+v", hit)
			}
			w.write(two)
			w.gets(w.broker, slices.Concat(one, two))
			if d := time.Since(w.start); d != 2*time.Minute {
				t.Errorf("the request came after %v", d)
			}
			w.send(slices.Concat(oneAnswer, twoAnswer))
			w.gets(w.client, slices.Concat(oneAnswer, twoAnswer))
		})
	})
	t.Run("after the client's Close, and it is answered", func(t *testing.T) {
		wired(t, func(w *wire) {
			w.add(hold)
			w.write(one)
			synctest.Wait()
			w.write(two)
			time.Sleep(5 * time.Second)
			if err := w.client.Close(); err != nil {
				t.Error(err)
			}
			w.gets(w.broker, one)
			if d := time.Since(w.start); d != 2*time.Minute {
				t.Errorf("the request came after %v", d)
			}
			if r := <-w.send(oneAnswer); r.err != nil {
				t.Errorf("the broker cannot answer: %v", r.err)
			}
			w.gets(w.broker, two)
			w.ended(w.broker)
		})
	})
	t.Run("across a cut", func(t *testing.T) {
		wired(t, func(w *wire) {
			w.add(hold)
			w.write(one)
			synctest.Wait()
			w.link.Cut(faults.Both)
			_ = w.client.Close()
			time.Sleep(3 * time.Minute)
			w.link.Heal()
			w.gets(w.broker, one)
			w.ended(w.broker)
		})
	})
	t.Run("is lost by a reset", func(t *testing.T) {
		wired(t, func(w *wire) {
			w.add(hold)
			w.write(one)
			synctest.Wait()
			w.link.Reset()
			w.ended(w.broker)
			if n := w.link.Stats().Abandoned; n != uint64(len(one)) {
				t.Errorf("%d bytes were abandoned", n)
			}
		})
	})
}

func TestMatching(t *testing.T) {
	commit, _ := endTxn(1, true)
	abort, _ := endTxn(2, false)
	produce, _ := produceTo(3, -1, "out", "app-count-changelog")
	beat, _ := heartbeat(4)
	all := map[string][]byte{"commit": commit, "abort": abort, "produce": produce, "heartbeat": beat}
	for name, test := range map[string]struct {
		rule faults.Rule
		want string // what it hits
	}{
		"everything":             {faults.Rule{}, "abort commit heartbeat produce"},
		"API":                    {faults.Rule{APIs: []string{"EndTxn", "Heartbeat"}}, "abort commit heartbeat"},
		"instance":               {faults.Rule{Instance: "i1"}, "abort commit heartbeat produce"},
		"other instance":         {faults.Rule{Instance: "i2"}, ""},
		"thread":                 {faults.Rule{Thread: 2}, "heartbeat"},
		"thread 11":              {faults.Rule{Thread: 11}, ""},
		"client":                 {faults.Rule{ClientID: "*-producer"}, "abort commit produce"},
		"transactional id":       {faults.Rule{TransactionalID: "app-p1-1"}, "abort commit produce"},
		"other transactional id": {faults.Rule{TransactionalID: "app-p1-*2"}, ""},
		"topic":                  {faults.Rule{Topic: "app-*-changelog"}, "produce"},
		"other topic":            {faults.Rule{Topic: "app-*-repartition"}, ""},
		"commit":                 {faults.Rule{End: faults.Commit}, "commit"},
		"abort":                  {faults.Rule{End: faults.Abort}, "abort"},
		"node by address":        {faults.Rule{Node: "broker:9092"}, "abort commit heartbeat produce"},
		"node by name":           {faults.Rule{Node: "1"}, "abort commit heartbeat produce"},
		"other node":             {faults.Rule{Node: "2"}, ""},
		"several":                {faults.Rule{Thread: 1, End: faults.Abort, APIs: []string{"EndTxn"}}, "abort"},
	} {
		t.Run(name, func(t *testing.T) {
			wired(t, func(w *wire) {
				w.link.NameNodes(func(string) string { return "1" })
				test.rule.Action, test.rule.Code = faults.Reject, producerFenced
				w.add(test.rule)
				first := w.broker
				go func() { _, _ = first.Read(make([]byte, 10_000)) }()
				var hit []string
				for _, request := range []string{"abort", "commit", "heartbeat", "produce"} {
					_ = w.broker.Close()
					_ = w.client.Close()
					w.client, w.broker = w.dial("broker:9092")
					b := w.broker
					go func() { _, _ = b.Read(make([]byte, 10_000)) }()
					w.write(all[request])
					synctest.Wait()
					if len(w.hits) > 0 {
						hit = append(hit, request)
					}
					w.hits = nil
				}
				if got := strings.Join(hit, " "); got != test.want {
					t.Errorf("hits %q, want %q", got, test.want)
				}
			})
		})
	}
}

func TestWhichMatchActs(t *testing.T) {
	hits := func(t *testing.T, rules ...faults.Rule) string {
		t.Helper()
		var pattern strings.Builder
		wired(t, func(w *wire) {
			ids := map[string]string{}
			for i, rule := range rules {
				rule.APIs, rule.Action, rule.Code = []string{"EndTxn"}, faults.Reject, int16(40+i)
				ids[w.add(rule)] = string(rune('a' + i))
			}
			for n := range int32(12) {
				request, response := endTxn(n, true)
				w.write(request)
				synctest.Wait()
				if len(w.hits) == 0 {
					w.gets(w.broker, request)
					w.send(response)
					w.gets(w.client, response)
					pattern.WriteByte('.')
					continue
				}
				hit := w.hit()
				w.gets(w.client, endTxnAnswer(n, hit.Code))
				pattern.WriteString(ids[hit.Rule])
			}
		})
		return pattern.String()
	}
	for _, test := range []struct {
		want  string
		rules []faults.Rule
	}{
		{"aaaaaaaaaaaa", []faults.Rule{{}}},
		{"..aaaaaaaaaa", []faults.Rule{{Nth: 3}}},
		{"..a.........", []faults.Rule{{Nth: 3, Count: 1}}},
		{"..aa........", []faults.Rule{{Nth: 3, Count: 2}}},
		{"aa..........", []faults.Rule{{Count: 2}}},
		{"aabbbbbbbbbb", []faults.Rule{{Count: 2}, {}}},
		{"bbaaaaaaaaaa", []faults.Rule{{Nth: 3}, {}}},
	} {
		if got := hits(t, test.rules...); got != test.want {
			t.Errorf("%+v hits %s, want %s", test.rules, got, test.want)
		}
	}
	half := faults.Rule{Probability: 0.5, Seed: 5}
	one, two := hits(t, half), hits(t, half)
	if one != two || !strings.Contains(one, "a") || !strings.Contains(one, ".") {
		t.Errorf("a probability of a half hits %s, and with the same seed %s", one, two)
	}
	half.Seed = 6
	if other := hits(t, half); other == one {
		t.Error("two seeds hit alike")
	}
}

func TestTopicIDs(t *testing.T) {
	id := [16]byte{1, 2, 3}
	produce := func(correlation int32) (request, response []byte) {
		req := kmsg.NewPtrProduceRequest()
		req.SetVersion(13)
		req.Acks = -1
		topic := kmsg.NewProduceRequestTopic()
		topic.TopicID = id
		topic.Partitions = append(topic.Partitions, kmsg.NewProduceRequestTopicPartition())
		req.Topics = append(req.Topics, topic)
		resp := req.ResponseKind().(*kmsg.ProduceResponse)
		answered := kmsg.NewProduceResponseTopic()
		answered.TopicID = id
		answered.Partitions = append(answered.Partitions, kmsg.NewProduceResponseTopicPartition())
		resp.Topics = append(resp.Topics, answered)
		return requestFrame(req, correlation, producerID), responseFrame(resp, correlation)
	}
	fenced := func(frame []byte) []byte {
		resp := kmsg.NewPtrProduceResponse()
		resp.SetVersion(13)
		if err := resp.ReadFrom(frame[9:]); err != nil {
			t.Fatal(err)
		}
		resp.Topics[0].Partitions[0].ErrorCode = producerFenced
		return responseFrame(resp, int32(binary.BigEndian.Uint32(frame[4:])))
	}
	rule := faults.Rule{Topic: "out", Action: faults.Rewrite, Code: producerFenced}
	t.Run("learned from metadata", func(t *testing.T) {
		wired(t, func(w *wire) {
			w.add(rule)
			request, response := produce(1)
			w.answers(request, response, response)
			w.noHit()
			meta := kmsg.NewPtrMetadataRequest()
			meta.SetVersion(12)
			resp := meta.ResponseKind().(*kmsg.MetadataResponse)
			topic := kmsg.NewMetadataResponseTopic()
			topic.Topic, topic.TopicID = new("out"), id
			resp.Topics = append(resp.Topics, topic)
			w.answers(requestFrame(meta, 2, producerID), responseFrame(resp, 2), responseFrame(resp, 2))
			request, response = produce(3)
			w.answers(request, response, fenced(response))
			if hit := w.hit(); !slices.Equal(hit.Topics, []string{"out"}) {
				t.Errorf("hit %+v", hit)
			}
		})
	})
	t.Run("told", func(t *testing.T) {
		wired(t, func(w *wire) {
			w.rules.LearnTopic(id, "out")
			w.add(rule)
			request, response := produce(1)
			w.answers(request, response, fenced(response))
		})
	})
}

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

func TestRulesComeAndGo(t *testing.T) {
	rules := faults.NewRules(nil)
	first, err := rules.Add(reject("EndTxn"))
	if err != nil {
		t.Fatal(err)
	}
	named := reject("Produce")
	named.ID = "mine"
	if id, err := rules.Add(named); id != "mine" || err != nil {
		t.Errorf("Add = %q, %v", id, err)
	}
	if _, err := rules.Add(named); err == nil {
		t.Error("the same ID twice")
	}
	list := rules.List()
	if len(list) != 2 || list[0].ID != first || list[1].ID != "mine" || list[0].Spent {
		t.Errorf("list %+v", list)
	}
	if !rules.Remove(first) || rules.Remove(first) || len(rules.List()) != 1 {
		t.Error("Remove")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := rules.Wait(ctx, "mine", 1); err == nil || !strings.Contains(err.Error(), "has 0") {
		t.Errorf("Wait: %v", err)
	}
	if err := rules.Wait(t.Context(), first, 1); err == nil || !strings.Contains(err.Error(), "no such rule") {
		t.Errorf("Wait: %v", err)
	}
	for want, rule := range map[string]faults.Rule{
		"action: 0":           {},
		"code: needs":         {Action: faults.Rewrite},
		"delay: must":         {Action: faults.HoldRequest},
		"api: \"EndTx\"":      {Action: faults.Close, APIs: []string{"EndTx"}},
		"like EndTxn":         {Action: faults.Close, APIs: []string{"EndTx"}},
		"end: only EndTxn":    {Action: faults.Close, APIs: []string{"Produce"}, End: faults.Commit},
		"answered: the":       {Action: faults.Close, Answered: []int16{0}},
		"probability: must":   {Action: faults.Close, Probability: 1.5},
		"nth: must":           {Action: faults.Close, Nth: -1},
		"count: must":         {Action: faults.Close, Count: -1},
		"thread: -1":          {Action: faults.Close, Thread: -1},
		"end: 7 is neither":   {Action: faults.Close, End: 7},
		"delay: must be more": {Action: faults.DelayResponse, Delay: -1},
	} {
		if _, err := rules.Add(rule); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v, want one of %q", rule, err, want)
		}
	}
	if bytes.Contains([]byte(faults.CodeName(48)), []byte("48")) || faults.CodeName(0) != "NONE" || faults.CodeName(9999) != "9999" || faults.CodeName(-1) != "UNKNOWN_SERVER_ERROR" {
		t.Error("CodeName")
	}
}
