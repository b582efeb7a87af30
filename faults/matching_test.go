package faults_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"eostop/faults"
)

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
