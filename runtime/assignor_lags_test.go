package runtime

import (
	"context"
	"log/slog"
	"maps"
	"net"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"eostop/runtime/state"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestOffsetsOf(t *testing.T) {
	a, b, c, d := TaskID{0, 0}, TaskID{0, 1}, TaskID{0, 2}, TaskID{0, 3}
	tests := []struct {
		name string
		sub  subscription
		want memberOffsets
	}{
		{
			"version 2",
			subscription{Version: 2, Stored: map[string]int64{"0_0": 0, "0_1": 77, "0_2": latestOffset, "0_3": unknownOffset}},
			memberOffsets{a: 0, b: 77, c: latestOffset, d: unknownOffset},
		},
		{"version 1 only says that there is something", subscription{Version: 1, Stored: map[string]int64{"0_0": 1}}, memberOffsets{a: unknownOffset}},
		{"what means nothing yet is not known", subscription{Version: 3, Stored: map[string]int64{"0_0": -4, "0_1": -1}}, memberOffsets{a: unknownOffset, b: -1}},
		{"nonsense is skipped", subscription{Version: 2, Stored: map[string]int64{"nonsense": 7, "0-1": 7}}, memberOffsets{}},
		{"what is owned is stored", subscription{Version: 2, Tasks: []TaskID{a}}, memberOffsets{a: unknownOffset}},
	}
	for _, test := range tests {
		if got := offsetsOf(&test.sub, test.sub.Tasks); !maps.Equal(got, test.want) {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
}

// TestOffsetsByProcess: threads of a process look at the same disk, at different times.
func TestOffsetsByProcess(t *testing.T) {
	runs, old, moved, unsure := TaskID{0, 0}, TaskID{0, 1}, TaskID{0, 2}, TaskID{0, 3}
	members := append(newMembers(0, 2), newMembers(1, 1)...)
	members[1].owned = []TaskID{runs}
	said := []memberOffsets{
		{runs: 10, old: 5, moved: latestOffset, unsure: unknownOffset},
		{runs: latestOffset, old: 7, unsure: 3},
		{runs: 9, moved: latestOffset},
	}
	want := map[string]memberOffsets{
		"p0": {runs: latestOffset, old: 7, moved: unknownOffset, unsure: 3},
		"p1": {runs: 9, moved: unknownOffset},
	}
	if got := offsetsByProcess(members, said); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestLagsFrom(t *testing.T) {
	id, gone := TaskID{0, 0}, TaskID{0, 1}
	ends := map[TaskID]changelogEnds{id: {start: 100, end: 1000}}
	for sum, want := range map[int64]int64{
		latestOffset:  0,
		unknownOffset: 900,
		-1:            900,
		0:             900, // what was deleted need not be read
		50:            900,
		100:           900,
		990:           10,
		1000:          0,
		1001:          900, // from another life of the changelog
	} {
		lags, whole := lagsFrom(map[string]memberOffsets{"p0": {id: sum, gone: 5}}, ends)
		if lags["p0"][id] != want || lags["p0"][gone] != unknownLag || !maps.Equal(whole, map[TaskID]int64{id: 900}) {
			t.Errorf("at %d: got %v, %v, want %d", sum, lags, whole, want)
		}
	}
}

// TestLagsAmong: without the ends of the changelogs the order of processes is right still.
func TestLagsAmong(t *testing.T) {
	id := TaskID{0, 0}
	lags := lagsAmong(map[string]memberOffsets{
		"runs": {id: latestOffset}, "most": {id: 1000}, "less": {id: 900}, "empty": {id: 0}, "unknown": {id: unknownOffset}, "none": {},
	})
	order := []string{"runs", "most", "less", "empty"}
	for i, process := range order[1:] {
		if lags[order[i]][id] >= lags[process][id] {
			t.Errorf("%s lags by %d, %s by %d", order[i], lags[order[i]][id], process, lags[process][id])
		}
	}
	if lags["unknown"][id] != lags["empty"][id] {
		t.Errorf("unknown counts as %d, nothing as %d", lags["unknown"][id], lags["empty"][id])
	}
	if _, ok := lags["none"][id]; ok {
		t.Error("who has nothing has a lag")
	}
	only := lagsAmong(map[string]memberOffsets{"a": {id: unknownOffset}, "b": {id: unknownOffset}})
	if only["a"][id] != only["b"][id] || only["a"][id] < 0 {
		t.Errorf("got %v", only)
	}
}

func TestOffsetBook(t *testing.T) {
	var book offsetBook
	id := TaskID{1, 2}
	stored := []string{"1_2", "0_7", "nonsense"}
	check := func(when string, want int64) {
		t.Helper()
		if got := book.sums(stored); !maps.Equal(got, map[string]int64{"1_2": want, "0_7": unknownOffset, "nonsense": unknownOffset}) {
			t.Errorf("%s: got %v, want %d", when, got, want)
		}
	}
	check("never opened", unknownOffset)
	sum := int64(10)
	book.opened(id, func() int64 { return sum })
	check("open", 10)
	sum = latestOffset
	check("running", latestOffset)
	book.shut(id, 25)
	check("closed", 25)
	book.opened(id, func() int64 { return 30 })
	check("open again", 30)
	book.shut(id, unknownOffset)
	check("thrown away", unknownOffset)
	if got := book.sums(nil); len(got) != 0 {
		t.Errorf("got %v of nothing stored", got)
	}
}

// TestOffsetBookLoad: what an earlier life has left behind is looked up once, where it matters.
func TestOffsetBookLoad(t *testing.T) {
	for acceptable, want := range map[int64]int64{unlimitedLag: unknownOffset, 100: 42} {
		inst := newTestInstance(t, twoStepTopology(t, 0, nil), func(c *Config) { c.AcceptableRecoveryLag = acceptable })
		store := func(name string, position int64) {
			s, err := inst.directory.OpenStore("1_2", name, state.StoreOptions{Cache: inst.cache})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Put([]byte("k"), []byte("v"), 1); err != nil {
				t.Fatal(err)
			}
			if err := s.Commit(position); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		store("counts", 42)
		store("scratch", -1) // without a changelog
		for range 2 {
			inst.offsets.load(inst)
			if got := inst.offsets.sums(inst.directory.StoredTasks()); !maps.Equal(got, map[string]int64{"1_2": want}) {
				t.Errorf("acceptable lag %d: got %v, want %d", acceptable, got, want)
			}
			store("counts", 50) // nobody looks a second time
		}
	}
}

// TestOffsetBookLoadOfABrokenStore: a store that cannot be opened is of unknown extent, and keeps nobody from joining.
func TestOffsetBookLoadOfABrokenStore(t *testing.T) {
	inst := newTestInstance(t, twoStepTopology(t, 0, nil), func(c *Config) { c.AcceptableRecoveryLag = 0 })
	held, err := inst.directory.OpenStore("1_2", "counts", state.StoreOptions{Cache: inst.cache})
	if err != nil {
		t.Fatal(err)
	}
	inst.offsets.load(inst)
	if got := inst.offsets.sums(inst.directory.StoredTasks()); !maps.Equal(got, map[string]int64{"1_2": unknownOffset}) {
		t.Errorf("got %v", got)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestChangelogEndsTakeALimitedTime: the members wait for the leader, and a broker that does not answer must not hold them up.
func TestChangelogEndsTakeALimitedTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, err := kgo.NewClient(
			kgo.SeedBrokers("127.0.0.1:9"), kgo.DisableClientMetrics(), kgo.WithLogger(clientLog{slog.New(slog.DiscardHandler)}),
			kgo.Dialer(func(ctx context.Context, _, _ string) (net.Conn, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}),
		)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		adm := &admin{client: client, adm: kadm.NewClient(client), timeout: time.Minute}
		p := newProgram(twoStepTopology(t, 0, nil), "app")
		tasks := p.tasks(map[string]int32{"in": 1, "side": 1, "app-mid": 1})
		start := time.Now()
		ends, err := p.changelogEnds(t.Context(), adm, tasks, nil)
		if err == nil || time.Since(start) != endsLimit {
			t.Errorf("got %v, %v after %v, want an error after %v", ends, err, time.Since(start), endsLimit)
		}
		ends, err = p.changelogEnds(t.Context(), adm, tasks, map[string]bool{"app-counts-changelog": true})
		if err != nil || !maps.Equal(ends, map[TaskID]changelogEnds{{1, 0}: {}}) {
			t.Errorf("got %v, %v, want that a new changelog is empty", ends, err)
		}
	})
}
