//go:build unix

package processes

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// outputs lists the topics that the program writes, other than changelogs.
func (e *eosTest) outputs() []string {
	if e.program == "eostest" {
		return []string{"echo", "min", "sum"}
	}
	return []string{"echo", "min", "sum", "repartition", "max", "cnt"}
}

// inputs lists the topics whose offsets the program commits.
func (e *eosTest) inputs() []string {
	if e.program == "eostest" {
		return []string{"data"}
	}
	return []string{"data", "repartition"}
}

// processed tells whether the offsets of all input are committed, also where nothing came.
func (e *eosTest) processed() bool {
	offsets, err := e.admin.FetchOffsets(e.Context(), eosGroup)
	if err != nil {
		return false
	}
	for _, topic := range e.inputs() {
		for p := range e.sent {
			// In the repartition topic there are markers, too.
			if o, ok := offsets.Lookup(topic, int32(p)); !ok || o.At < int64(len(e.sent[p])) || topic == "data" && o.At != int64(len(e.sent[p])) {
				return false
			}
		}
	}
	if len(e.open()) > 0 {
		return false
	}
	got := 0
	for _, records := range e.committed(e.outputs()[len(e.outputs())-1]) {
		got += len(records)
	}
	want := 0
	for _, records := range e.sent {
		want += len(records)
	}
	return got >= want
}

// judge compares all that is committed with what the program has to make of the input, and has eostop verify do the same.
func (e *eosTest) judge() {
	e.Helper()
	if out, err := process(e.T, "verify", "--topology", e.program, "--brokers", e.broker).CombinedOutput(); err != nil {
		e.Errorf("eostop verify: %v\n%s", err, out)
	}
	e.settled()
	total := 0
	stores := map[string]map[string]int64{}
	for p, records := range e.sent {
		total += len(records)
		for output, want := range eosModel(records) {
			if stores[output] == nil {
				stores[output] = map[string]int64{}
			}
			for _, r := range want {
				stores[output][r.key] = r.value
			}
			if slices.Contains(e.outputs(), output) {
				e.compare(output, p, e.committed(output)[p], want)
			}
		}
	}
	e.Logf("%d records", total)
	numbers := map[string]string{"min": "0000000003", "sum": "0000000007", "max": "0000000014", "cnt": "0000000018"}
	for _, output := range e.outputs() {
		number, ok := numbers[output]
		if !ok {
			continue
		}
		kept := map[string]int64{}
		for p, records := range e.committed(eosGroup + "-KSTREAM-AGGREGATE-STATE-STORE-" + number + "-changelog") {
			for _, r := range records {
				if eosHome(r.key) != p {
					e.Errorf("changelog of %s: %s is in partition %d", output, r.key, p)
				}
				kept[r.key] = r.value
			}
		}
		if !maps.Equal(kept, stores[output]) {
			maps.DeleteFunc(kept, func(key string, value int64) bool { return stores[output][key] == value })
			e.Errorf("store of %s: %d keys are wrong, or some are missing: %v", output, len(kept), kept)
		}
	}
}

// compare finds the first difference between the records of a partition and what they should be: as the program has one task for
// each partition, there is one order only.
func (e *eosTest) compare(topic string, partition int, got, want []eosRecord) {
	e.Helper()
	if slices.Equal(got, want) {
		return
	}
	n := 0
	for n < min(len(got), len(want)) && got[n] == want[n] {
		n++
	}
	e.Errorf("%s-%d: %d records, want %d; from number %d on %v, want %v", topic, partition, len(got), len(want), n,
		got[n:min(n+3, len(got))], want[n:min(n+3, len(want))])
}

// eosModel is what the programs write for the records of one partition, by topic.
func eosModel(records []eosRecord) map[string][]eosRecord {
	least, most, sum, count := map[string]int64{}, map[string]int64{}, map[string]int64{}, map[string]int64{}
	model := map[string][]eosRecord{"echo": records, "repartition": records}
	write := func(topic string, values map[string]int64, key string, value int64) {
		values[key] = value
		model[topic] = append(model[topic], eosRecord{key, value})
	}
	for _, r := range records {
		if count[r.key] == 0 {
			least[r.key], most[r.key] = math.MaxInt32, math.MinInt32
		}
		write("min", least, r.key, min(least[r.key], r.value))
		write("max", most, r.key, max(most[r.key], r.value))
		write("sum", sum, r.key, sum[r.key]+r.value)
		write("cnt", count, r.key, count[r.key]+1)
	}
	return model
}

// committed reads the records of committed transactions, by partition, in their order, of a topic where none is open: the last that
// there is to see of a partition is a marker then.
func (e *eosTest) committed(topic string) [eosPartitions][]eosRecord {
	e.Helper()
	var records [eosPartitions][]eosRecord
	ends, err := e.admin.ListCommittedOffsets(e.Context(), topic)
	if err != nil {
		e.Fatal(err)
	}
	from, open := map[int32]kgo.Offset{}, 0
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			from[o.Partition] = kgo.NewOffset().AtStart()
			open++
		}
	})
	if open == 0 {
		return records
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(e.broker), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))
	if err != nil {
		e.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(e.Context(), 30*time.Second)
	defer cancel()
	for open > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			e.Fatalf("%s: %v", topic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if end, _ := ends.Lookup(topic, r.Partition); r.Offset == end.Offset-1 {
				open--
			}
			if r.Attrs.IsControl() {
				return
			}
			value := int64(0)
			switch len(r.Value) {
			case 4:
				value = int64(int32(binary.BigEndian.Uint32(r.Value)))
			case 8:
				value = int64(binary.BigEndian.Uint64(r.Value))
			default:
				e.Errorf("%s-%d@%d: %d bytes", topic, r.Partition, r.Offset, len(r.Value))
			}
			records[r.Partition] = append(records[r.Partition], eosRecord{string(r.Key), value})
		})
	}
	return records
}

// settled asks that no transaction is open once all processes have stopped: neither for the coordinator nor in a topic.
func (e *eosTest) settled() {
	e.Helper()
	transactions, err := e.admin.ListTransactions(e.Context(), nil, []string{"Ongoing", "PrepareCommit", "PrepareAbort", "PrepareEpochFence"})
	if err != nil {
		e.Fatal(err)
	}
	transactions.Each(func(x kadm.ListedTransaction) {
		if strings.HasPrefix(x.TxnID, eosGroup+"-") {
			e.Errorf("transaction of %s is %s", x.TxnID, x.State)
		}
	})
	for _, open := range e.open() {
		e.Error(open)
	}
}

// open tells where records wait for the end of a transaction.
func (e *eosTest) open() []string {
	e.Helper()
	stable, err := e.admin.ListCommittedOffsets(e.Context(), e.outputs()...)
	if err != nil {
		e.Fatal(err)
	}
	ends, err := e.admin.ListEndOffsets(e.Context(), e.outputs()...)
	if err != nil {
		e.Fatal(err)
	}
	var open []string
	ends.Each(func(end kadm.ListedOffset) {
		if o, _ := stable.Lookup(end.Topic, end.Partition); o.Offset != end.Offset {
			open = append(open, fmt.Sprintf("%s-%d ends at %d, and is stable up to %d", end.Topic, end.Partition, end.Offset, o.Offset))
		}
	})
	return open
}
