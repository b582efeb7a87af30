package faults_test

import (
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"eostop/faults"
)

// TestRandomRules lets clients make requests one after another, many at a time, while rules, cuts and impairments come
// and go at random. Every request must get one answer, in order: either the broker has seen it and the answer has no
// code or that of a rule that rewrites, or the broker has not seen it and the answer has the code of one that rejects.
func TestRandomRules(t *testing.T) {
	var hits sync.Map // kinds that were seen
	for i := range 20 {
		seed := uint64(time.Now().UnixNano()) + uint64(i)
		synctest.Test(t, func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Logf("seed %d", seed)
				}
			}()
			randomRules(t, rand.New(rand.NewPCG(seed, 0)), &hits)
		})
		if t.Failed() {
			return
		}
	}
	for _, action := range []faults.Action{faults.Reject, faults.Rewrite, faults.DelayResponse, faults.HoldRequest} {
		for _, addr := range addresses {
			if _, ok := hits.Load([2]any{action, addr}); !ok {
				t.Errorf("no request to %s was met by %s", addr, action)
			}
		}
	}
}

const perClient = 300

var addresses = []string{"a:9092", "b:9092", "c:9092"}

func randomRules(t *testing.T, rnd *rand.Rand, hits *sync.Map) {
	t.Helper()
	link := faults.NewLink("i1")
	defer link.Close()
	rules := faults.NewRules(func(hit faults.Hit) { hits.Store([2]any{hit.Action, hit.Addr}, true) })
	link.SetRules(rules)
	var clients sync.WaitGroup
	for _, addr := range addresses {
		own := rand.New(rand.NewPCG(rnd.Uint64(), 1))
		clients.Go(func() { requests(t, link, addr, own) })
	}
	ended := make(chan struct{})
	go func() {
		clients.Wait()
		close(ended)
	}()
	var added []string
	var ends []func()
	for {
		select {
		case <-ended:
		case <-time.After(time.Duration(rnd.Int64N(int64(2 * time.Second)))):
			switch n := rnd.IntN(12); {
			case n < 5:
				id, err := rules.Add(randomRule(rnd))
				if err != nil {
					t.Error(err)
				}
				added = append(added, id)
			case n < 8 && len(added) > 0:
				at := rnd.IntN(len(added))
				rules.Remove(added[at])
				added = slices.Delete(added, at, at+1)
			case n < 9:
				link.Cut(faults.Direction(rnd.IntN(3)))
			case n < 10:
				link.Heal()
			case n < 11 && len(ends) == 0:
				end, err := link.Impair(randomImpairment(rnd))
				if err != nil {
					t.Error(err)
				}
				ends = append(ends, end)
			default:
				link.Heal()
				for _, end := range ends {
					end()
				}
				ends = nil
			}
			continue
		}
		break
	}
}

// randomRule is one that loses no request and no answer.
func randomRule(rnd *rand.Rand) faults.Rule {
	rule := faults.Rule{Probability: 0.3 + 0.7*rnd.Float64(), Seed: rnd.Uint64()}
	if rnd.IntN(3) > 0 {
		rule.APIs = []string{[]string{"EndTxn", "Heartbeat", "Produce"}[rnd.IntN(3)]}
	}
	switch rnd.IntN(5) {
	case 0, 1:
		rule.Action, rule.Code = faults.Reject, invalidTxnState
	case 2:
		rule.Action, rule.Code = faults.Rewrite, producerFenced
		if rnd.IntN(2) == 0 {
			rule.Answered = []int16{0}
		}
	case 3:
		rule.Action, rule.Delay = faults.DelayResponse, time.Duration(1+rnd.Int64N(int64(time.Second)))
	default:
		rule.Action, rule.Delay = faults.HoldRequest, time.Duration(1+rnd.Int64N(int64(time.Second)))
	}
	if rnd.IntN(3) == 0 {
		rule.Count = 1 + rnd.IntN(5)
	}
	return rule
}

// requests is one client with its broker.
func requests(t *testing.T, link *faults.Link, addr string, rnd *rand.Rand) {
	t.Helper()
	var broker net.Conn
	client, err := link.Wrap(func(context.Context, string, string) (net.Conn, error) {
		var lower net.Conn
		lower, broker = net.Pipe()
		return lower, nil
	})(t.Context(), "tcp", addr)
	if err != nil {
		t.Error(err)
		return
	}
	frames := make([][]byte, perClient) // of requests
	answers := make([][]byte, perClient)
	for n := range frames {
		switch rnd.IntN(3) {
		case 0:
			frames[n], answers[n] = endTxn(int32(n), true)
		case 1:
			frames[n], answers[n] = heartbeat(int32(n))
		default:
			frames[n], answers[n] = produceTo(int32(n), -1, "out", "app-count-changelog")
		}
	}
	var seen [perClient]bool // by the broker
	var work sync.WaitGroup
	slow := rand.New(rand.NewPCG(rnd.Uint64(), 2))
	work.Go(func() {
		defer broker.Close()
		last := -1
		for {
			frame, err := nextFrame(broker)
			if err != nil {
				return
			}
			n := int(binary.BigEndian.Uint32(frame[8:]))
			if string(frame) != string(frames[n]) || n <= last {
				t.Errorf("%s: the broker read %q, request %d after %d", addr, frame, n, last)
			}
			last, seen[n] = n, true
			time.Sleep(time.Duration(slow.Int64N(int64(20 * time.Millisecond))))
			<-pieces(broker, answers[n], slow)
		}
	})
	work.Go(func() {
		defer client.Close()
		for n := range frames {
			frame, err := nextFrame(client)
			if err != nil {
				t.Errorf("%s: answer %d: %v", addr, n, err)
				return
			}
			if got := int(binary.BigEndian.Uint32(frame[4:])); got != n {
				t.Errorf("%s: the answer to request %d comes in the place of %d", addr, got, n)
				return
			}
			rejected := string(frame) == string(rejection(frames[n], int32(n)))
			switch code := frame[len(frame)-3:]; {
			case rejected && seen[n]:
				t.Errorf("%s: request %d was rejected and sent", addr, n)
			case !rejected && !seen[n]:
				t.Errorf("%s: request %d was not sent and has answer %q (%q)", addr, n, frame, code)
			case !rejected && len(frame) != len(answers[n]):
				t.Errorf("%s: request %d has answer %q, the broker gave %q", addr, n, frame, answers[n])
			}
		}
	})
	for _, frame := range frames {
		time.Sleep(time.Duration(rnd.Int64N(int64(300 * time.Millisecond))))
		<-pieces(client, frame, rnd)
	}
	work.Wait()
}

// rejection is what a rule answers to a request of these tests.
func rejection(request []byte, correlation int32) []byte {
	switch binary.BigEndian.Uint16(request[4:]) {
	case 26:
		return endTxnAnswer(correlation, invalidTxnState)
	case 12:
		_, answer := heartbeat(correlation)
		binary.BigEndian.PutUint16(answer[13:], invalidTxnState)
		return answer
	default:
		return produceAnswer(correlation, invalidTxnState, "out", "app-count-changelog")
	}
}

func nextFrame(c net.Conn) ([]byte, error) {
	frame := make([]byte, 4)
	if _, err := io.ReadFull(c, frame); err != nil {
		return nil, err
	}
	frame = append(frame, make([]byte, binary.BigEndian.Uint32(frame))...)
	_, err := io.ReadFull(c, frame[4:])
	return frame, err
}
