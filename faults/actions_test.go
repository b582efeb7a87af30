package faults_test

import (
	"encoding/binary"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"eostop/faults"
)

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
