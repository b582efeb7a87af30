package soak

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"eostop/runtime/topology"
	"eostop/runtime/topology/topologytest"
)

func buildProgram(tb testing.TB) *topology.Topology {
	tb.Helper()
	program, err := Program("app")
	if err != nil {
		tb.Fatal(err)
	}
	return program
}

func newDriver(tb testing.TB, partitions int32) *topologytest.Driver {
	tb.Helper()
	driver, err := topologytest.New(buildProgram(tb), partitions)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := driver.Close(); err != nil {
			tb.Error(err)
		}
	})
	return driver
}

// TestProgramDescription compares with what the same program, written in Java, prints with Kafka Streams 4.3. Only the
// order among a node's children is left out of account, for Kafka leaves it to its hash maps.
func TestProgramDescription(t *testing.T) {
	golden, err := os.ReadFile("testdata/describe-kafka-4.3.txt")
	if err != nil {
		t.Fatal(err)
	}
	got, want := sortChildren(buildProgram(t).Describe()), sortChildren(string(golden))
	if got != want {
		t.Errorf("description differs from Kafka's; got:\n%s", got)
	}
}

func sortChildren(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if children, ok := strings.CutPrefix(line, "      --> "); ok {
			names := strings.Split(children, ", ")
			slices.Sort(names)
			lines[i] = "      --> " + strings.Join(names, ", ")
		}
	}
	return strings.Join(lines, "\n")
}

func TestProgramSubTopologies(t *testing.T) {
	store := func(n int) topology.StoreSpec {
		return topology.StoreSpec{
			Name: fmt.Sprintf("KSTREAM-AGGREGATE-STATE-STORE-%010d", n), Logged: true, Cached: true, Timestamped: true,
		}
	}
	uncached := func(n int) topology.StoreSpec {
		s := store(n)
		s.Cached = false
		return s
	}
	want := []topology.SubTopology{
		{ID: 0, Sources: []string{"app-input"}, Sinks: []string{"by-key-repartition"}},
		{
			ID: 1, Sources: []string{"by-key-repartition"}, Repartitions: []string{"by-key-repartition"},
			Sinks:  []string{"app-count", "app-sum", "app-max", "by-group-repartition"},
			Stores: []topology.StoreSpec{store(7), store(13), uncached(19)}, Stateful: true,
		},
		{
			ID: 2, Sources: []string{"by-group-repartition"}, Repartitions: []string{"by-group-repartition"},
			Sinks:  []string{"app-group-count", "app-group-sum", "app-group-max", "total-repartition"},
			Stores: []topology.StoreSpec{store(28), store(34), store(40)}, Stateful: true,
		},
		{
			ID: 3, Sources: []string{"total-repartition"}, Repartitions: []string{"total-repartition"},
			Sinks: []string{"app-total"}, Stores: []topology.StoreSpec{store(49)}, Stateful: true,
		},
	}
	program := buildProgram(t)
	if got := program.SubTopologies(); fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("sub-topologies\n got %+v\nwant %+v", got, want)
	}
	var names []string
	for _, r := range program.InternalRepartitionTopics() {
		names = append(names, "app-"+r.Name)
	}
	if want := Topics("app").Repartitions; !slices.Equal(names, want) {
		t.Errorf("repartition topics %v, want %v", names, want)
	}
}

// TestProgramTopicsMatch makes sure that the names that are handed out are those of the program.
func TestProgramTopicsMatch(t *testing.T) {
	topics := Topics("app")
	outputs := make(map[string]bool)
	for _, topic := range topics.Outputs {
		outputs[topic] = true
	}
	stores := 0
	for _, sub := range buildProgram(t).SubTopologies() {
		for _, sink := range sub.Sinks {
			if strings.HasPrefix(sink, "app-") && !outputs[sink] {
				t.Errorf("sink %s is not among the outputs", sink)
			}
			delete(outputs, sink)
		}
		for _, s := range sub.Stores {
			stores++
			if got, want := topics.Changelogs[s.Name], "app-"+s.Name+"-changelog"; got != want {
				t.Errorf("changelog of %s is %q, want %q", s.Name, got, want)
			}
		}
	}
	if len(outputs) > 0 {
		t.Errorf("outputs that nobody writes: %v", outputs)
	}
	if stores != len(topics.Changelogs) {
		t.Errorf("%d stores, %d changelogs", stores, len(topics.Changelogs))
	}
	if topics.Input != "app-input" {
		t.Errorf("input %s", topics.Input)
	}
}

// TestProgramWritesWhatKafkaStreamsWrites runs 3,000 records and compares every topic and changelog, byte for byte with
// timestamps and headers, with what the same program in Java wrote in Kafka Streams 4.3's TopologyTestDriver.
func TestProgramWritesWhatKafkaStreamsWrites(t *testing.T) {
	driver := newDriver(t, 1)
	x := int64(42)
	next := func() int64 {
		x = x * 48271 % 2147483647
		return x
	}
	for i := range int64(3000) {
		key := fmt.Sprintf("key-%06d", next()%50)
		amount := next() % 10000
		if x%8 == 0 {
			amount += i * 10000
		}
		timestamp := 1000 + i*3 - next()%500
		value := append(binary.BigEndian.AppendUint64(nil, uint64(amount)), 0, 0, 0, 0)
		if x%97 == 0 {
			value = value[:5]
		}
		header := topology.Header{Key: "eostop", Value: binary.BigEndian.AppendUint64(nil, uint64(i))}
		if err := driver.Pipe("app-input", []byte(key), value, max(0, timestamp), header); err != nil {
			t.Fatal(err)
		}
	}
	const store = "KSTREAM-AGGREGATE-STATE-STORE-00000000"
	tests := []struct {
		topic   string
		records []topologytest.Record
		count   int
		sum     string // of SHA-256
	}{
		{"by-key", driver.Records("by-key-repartition"), 2972, "e584bb955171dfc8c402dc166f3dcf22569079ebd74f81acbea377a8f4b5e351"},
		{"by-group", driver.Records("by-group-repartition"), 453, "6a256ebed9a47c3bd123ef43d8cacdba89e4eff8c63cb376627804212fe6e17f"},
		{"total", driver.Records("total-repartition"), 453, "0cd8b346483ea2f130f6ed63c6dc5382007ebda03e5dcec47e0b2d775d9530c3"},
		{"app-count", driver.Records("app-count"), 273, "d570fe2ee09dfa1d275dc509132991e0cd54c9ba870db8d000da4bfdf10c23a4"},
		{"app-sum", driver.Records("app-sum"), 290, "bc6941a7254340eb8356d87ff7534c8e4285de4389f56a19a99a7cf3594545ae"},
		{"app-max", driver.Records("app-max"), 2972, "d9c09da88b5dedcdb999e4597d45cbf072c3c6af273ab9cd537cf2e891e67c43"},
		{"app-group-count", driver.Records("app-group-count"), 40, "b7a9312a87bb3c81c03c96b168696e3283aeb3125569fea0014a2153a7234dc3"},
		{"app-group-sum", driver.Records("app-group-sum"), 52, "a3d1c77b0c9b52b5d2eaf0fca0bcf04e743fb7917181d675b0730f5f5219e6d1"},
		{"app-group-max", driver.Records("app-group-max"), 453, "b184ac86c492df396458c1db84515db1228ce92ee5b5968720f26df410a6f726"},
		{"app-total", driver.Records("app-total"), 453, "83f1e7557f3a362a24e3c95a0820d5b58b5d4f4eff830156c110453944afdf83"},
		{"store 7", driver.Changelog(store + "07"), 2972, "9f31c266529730f20ce67bb3ba928740aa4ff37ae87fc3b767db66ccd9def039"},
		{"store 13", driver.Changelog(store + "13"), 2972, "874e3b5a160bbb05dd60fc2055328c46bb9d6b4b7f800258e483d4d1bb7762c3"},
		{"store 19", driver.Changelog(store + "19"), 2972, "927d4e67221c9a9180272bda3fc8728e7a1d7ef225ea86bebf03c6ba18aab988"},
		{"store 28", driver.Changelog(store + "28"), 453, "716c2a98bd51eb82ea937288e13def7ac6469d6274bf81a437f19997d53fe9f5"},
		{"store 34", driver.Changelog(store + "34"), 453, "2761f10b063a2db05e5ef3e21eec8519e83c3462f8fb46c92788e974810577a5"},
		{"store 40", driver.Changelog(store + "40"), 453, "9666f69a6ee2ae1337a019dacf56976021bcff0cb9904aae6a70960997e3a9d2"},
		{"store 49", driver.Changelog(store + "49"), 453, "54f6f7504f2cd29307e2ce06c7333ddf433a9bcf0ed36dd17b75ca1b37167c2e"},
	}
	for _, test := range tests {
		t.Run(test.topic, func(t *testing.T) {
			if len(test.records) != test.count {
				t.Errorf("%d records, want %d", len(test.records), test.count)
			}
			sum := sha256.New()
			for _, r := range test.records {
				fmt.Fprintf(sum, "%x %x %d", r.Key, r.Value, r.Timestamp)
				for _, h := range r.Headers {
					fmt.Fprintf(sum, " %s=%x;", h.Key, h.Value)
				}
				fmt.Fprintln(sum)
			}
			if got := hex.EncodeToString(sum.Sum(nil)); got != test.sum {
				t.Errorf("content has SHA-256 %s, want %s", got, test.sum)
			}
		})
	}
}

// TestProgramAgainstModel runs random records on several partitions and compares the stores with a straightforward
// computation, and the number of writes with the promise of eight for each input record.
func TestProgramAgainstModel(t *testing.T) {
	for range 5 {
		seed := uint64(time.Now().UnixNano())
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { checkAgainstModel(t, seed) })
	}
}

func checkAgainstModel(t *testing.T, seed uint64) {
	t.Helper()
	const records = 20000
	rng := rand.New(rand.NewPCG(seed, 0))
	driver := newDriver(t, 1+rng.Int32N(9))
	model := newSoakModel()
	seen := make(map[string]int64)
	for i := range int64(records) {
		key := fmt.Sprintf("key-%06d", rng.IntN(500))
		amount := rng.Int64N(10000)
		if rng.IntN(8) == 0 {
			amount += seen[key] * 10000
		}
		seen[key]++
		value := make([]byte, 100)
		binary.BigEndian.PutUint64(value, uint64(amount))
		if rng.IntN(100) == 0 {
			value = value[:rng.IntN(8)]
		} else {
			model.apply(key, amount)
		}
		if err := driver.Pipe("app-input", []byte(key), value, i); err != nil {
			t.Fatal(err)
		}
	}
	if average := float64(driver.Writes()) / records; average > 8 {
		t.Errorf("%.2f writes for each input record, want at most 8", average)
	} else {
		t.Logf("%.2f writes for each input record", average)
	}
	for name, want := range model.stores {
		entries, err := driver.Entries(name)
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) != len(want) {
			t.Errorf("%s has %d entries, want %d", name, len(entries), len(want))
		}
		for key, value := range want {
			if got := longs(entries[key].Value); !slices.Equal(got, value) {
				t.Errorf("%s: %s is %v, want %v", name, key, got, value)
			}
		}
	}
	if got, want := len(driver.Records("app-total")), int(model.stores[storeTotal]["total"][0]); got != want {
		t.Errorf("%d outputs of the total, want %d", got, want)
	}
}

// soakModel computes what the stores must hold, as the numbers that a value is made of.
type soakModel struct{ stores map[string]map[string][]int64 }

func newSoakModel() *soakModel {
	m := &soakModel{stores: make(map[string]map[string][]int64)}
	for store := range Topics("").Changelogs {
		m.stores[store] = make(map[string][]int64)
	}
	return m
}

func (m *soakModel) apply(key string, amount int64) {
	letters := []byte(key)
	slices.Reverse(letters)
	k := string(letters)
	m.add(storeCount, k, 1)
	m.add(storeSum, k, amount)
	delta := amount + 1
	if old := m.stores[storeMax][k]; old != nil {
		delta = max(0, amount-old[0])
		amount = max(amount, old[0])
	}
	m.stores[storeMax][k] = []int64{amount, delta}
	if delta == 0 {
		return
	}
	group := fmt.Sprintf("group-%02d", (topology.Murmur2(letters)&0x7fffffff)%16)
	m.add(storeGroupCount, group, 1)
	m.add(storeGroupSum, group, delta)
	m.raise(storeGroupMax, group, 0, amount)
	m.raise(storeTotal, "total", 1, amount)
	m.stores[storeTotal]["total"][0]++
}

func (m *soakModel) add(store, key string, n int64) {
	m.raise(store, key, 0, 0)
	m.stores[store][key][0] += n
}

func (m *soakModel) raise(store, key string, i int, n int64) {
	numbers := m.stores[store][key]
	if numbers == nil {
		numbers = make([]int64, i+1)
		m.stores[store][key] = numbers
	}
	numbers[i] = max(numbers[i], n)
}

// longs takes a value apart.
func longs(value []byte) []int64 {
	var numbers []int64
	for ; len(value) >= 8; value = value[8:] {
		numbers = append(numbers, int64(binary.BigEndian.Uint64(value)))
	}
	return numbers
}

// TestProgramKeepsOrder follows the provenance header: whatever the number of partitions, the maxima of a key come out
// in the order of its inputs, one for each.
func TestProgramKeepsOrder(t *testing.T) {
	driver := newDriver(t, 7)
	const records, keys = 2000, 40
	for i := range int64(records) {
		header := topology.Header{Key: "eostop", Value: binary.BigEndian.AppendUint64(nil, uint64(i))}
		value := binary.BigEndian.AppendUint64(nil, uint64(i*31%1000))
		if err := driver.Pipe("app-input", fmt.Appendf(nil, "key-%06d", i%keys), value, i, header); err != nil {
			t.Fatal(err)
		}
	}
	maxima := driver.Records("app-max")
	if len(maxima) != records {
		t.Fatalf("%d maxima, want %d", len(maxima), records)
	}
	last := make(map[string]int64)
	for _, r := range maxima {
		sequence := longs(r.Headers[0].Value)[0]
		key := string(reversed(r.Key))
		if want := fmt.Sprintf("key-%06d", sequence%keys); key != want {
			t.Fatalf("header of input %d on key %s, want %s", sequence, key, want)
		}
		if before, ok := last[key]; ok && sequence != before+keys {
			t.Fatalf("key %s: input %d after %d", key, sequence, before)
		}
		last[key] = sequence
	}
}

func TestProgramRefusesBadApplicationID(t *testing.T) {
	if _, err := Program("no spaces"); err == nil {
		t.Error("no error")
	}
}
