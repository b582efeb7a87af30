package faults_test

import (
	"context"
	"net"
	"slices"
	"sync"
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
	for _, topic := range topics {
		t := kmsg.NewProduceRequestTopic()
		t.Topic = topic
		p := kmsg.NewProduceRequestTopicPartition()
		p.Records = []byte("records")
		t.Partitions = append(t.Partitions, p)
		req.Topics = append(req.Topics, t)
	}
	return requestFrame(req, correlation, producerID), produceAnswer(correlation, 0, topics...)
}

func produceAnswer(correlation int32, code int16, topics ...string) []byte {
	resp := kmsg.NewPtrProduceResponse()
	resp.SetVersion(9)
	for _, topic := range topics {
		t := kmsg.NewProduceResponseTopic()
		t.Topic = topic
		p := kmsg.NewProduceResponseTopicPartition()
		p.ErrorCode = code
		t.Partitions = append(t.Partitions, p)
		resp.Topics = append(resp.Topics, t)
	}
	return responseFrame(resp, correlation)
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

// reluctant is a connection whose Read takes notice of its deadline only when it is told to.
type reluctant struct {
	net.Conn
	notice chan struct{}

	mu       sync.Mutex
	deadline time.Time
}

func (r *reluctant) Read(b []byte) (int, error) {
	<-r.notice
	r.mu.Lock()
	deadline := r.deadline
	r.mu.Unlock()
	_ = r.Conn.SetReadDeadline(deadline)
	return r.Conn.Read(b)
}

func (r *reluctant) SetReadDeadline(t time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deadline = t
	return nil
}

// The read that waits for the broker is interrupted for an answer that the broker does not give. A deadline that the
// application sets in that moment must neither be lost nor let the read go on waiting.
func TestDeadlineWhileAReadIsInterrupted(t *testing.T) {
	wired(t, func(w *wire) {
		lower := &reluctant{notice: make(chan struct{}, 1)}
		client, err := w.link.Wrap(func(context.Context, string, string) (net.Conn, error) {
			var server net.Conn
			lower.Conn, server = net.Pipe()
			w.Cleanup(func() { _ = server.Close() })
			return lower, nil
		})(w.Context(), "tcp", "broker:9092")
		if err != nil {
			t.Fatal(err)
		}
		w.add(reject("EndTxn"))
		want := endTxnAnswer(1, invalidTxnState)
		reading := run(func() (int, error) { return client.Read(make([]byte, len(want))) })
		synctest.Wait()
		request, _ := endTxn(1, true)
		if _, err := client.Write(request); err != nil {
			t.Fatal(err)
		}
		if err := client.SetReadDeadline(w.start.Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		lower.notice <- struct{}{}
		if r := <-reading; r.n != len(want) || r.at != w.start {
			t.Errorf("read %d, %v after %v", r.n, r.err, r.at.Sub(w.start))
		}
		lower.notice <- struct{}{}
		if _, err := client.Read(make([]byte, 1)); !isTimeout(err) || time.Since(w.start) != time.Minute {
			t.Errorf("error %v after %v, want a time-out after a minute", err, time.Since(w.start))
		}
	})
}
