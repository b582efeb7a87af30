package verify

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func TestDebugFold(t *testing.T) {
	for i := 0; i < 120 && !t.Failed(); i++ {
		inBubble(t, 1, func(c *cluster) {
			cfg := c.config()
			r := newReference(c.rng, 1)
			r.generate(7, 25_000, 200)
			r.run()
			c.create(&cfg, 1)
			c.writeOutputs(&cfg, r)
			rd, err := newReader((&Verifier{config: cfg}).clientOptions(), func(string, int32, int64) { t.Error("gone") })
			if err != nil { t.Fatal(err) }
			defer rd.close()
			var topics []string
			want := map[string][]message{}
			for s, topic := range cfg.Changelogs { topics = append(topics, topic); want[topic] = r.changelogs[s][0] }
			if _, err := rd.start(context.Background(), topics, nil, func(error) {}); err != nil { t.Fatal(err) }
			ends, _ := rd.list(context.Background(), topics, rd.admin.ListEndOffsets, func(error) {})
			n := map[string]int{}
			last := map[string]int64{}
			polls := map[string][]string{}
			bad := map[string]bool{}
			for len(rd.behind(ends)) > 0 {
				rd.poll(context.Background(), pollWait, "", func(topic string, _ int32, recs []*kgo.Record) {
					polls[topic] = append(polls[topic], fmt.Sprintf("%d-%d(%d)", recs[0].Offset, recs[len(recs)-1].Offset, len(recs)))
					w := want[topic]
					for _, rec := range recs {
						k := n[topic]
						if !bad[topic] && (k >= len(w) || string(rec.Value) != string(w[k].value) || string(rec.Key) != string(w[k].key)) {
								at := -1
								for k := range w { if string(w[k].key) == string(rec.Key) && string(w[k].value) == string(rec.Value) && w[k].created.Equal(rec.Timestamp) { at = k } }
								t.Errorf("%s record %d at offset %d (previous %d) is the one %d, of %d; polls %v ends %v", topic, k, rec.Offset, last[topic], at, len(w), polls[topic], ends[topic])
								bad[topic] = true
						}
						n[topic]++
						last[topic] = rec.Offset
					}
				})
			}
			for topic, w := range want { if n[topic] != len(w) {
				for _, iso := range []kgo.IsolationLevel{kgo.ReadCommitted(), kgo.ReadUncommitted()} {
				cl := c.client(kgo.FetchIsolationLevel(iso), kgo.KeepControlRecords(), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(0)}}))
				var off int64
				var desc []string
				data := 0
				for off < ends[topic][0] {
					fs := cl.PollFetches(context.Background())
					desc = append(desc, "POLL")
					run := 0; var first int64
					fs.EachRecord(func(rec *kgo.Record) {
						off = rec.Offset+1
						if rec.Attrs.IsControl() {
							desc = append(desc, fmt.Sprintf("%d+%d %s%d", first, run, map[byte]string{0:"ABORT", 1:"COMMIT"}[rec.Key[3]], rec.Offset))
							run = 0
							return
						}
						data++
						if run == 0 { first = rec.Offset }
						run++
					})
					if run > 0 { desc = append(desc, fmt.Sprintf("%d+%d open", first, run)) }
				}
				cl.Close()
				if len(desc) > 60 { desc = desc[len(desc)-60:] }
				t.Logf("%v: %d records\n%v", iso, data, desc)
				}
				t.Logf("polls %v", polls[topic])
				t.Errorf("%s %d of %d, end %v", topic, n[topic], len(w), ends[topic]) } }
			time.Sleep(time.Second)
		})
	}
}
