package runtime

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestSubscriptionRoundTrip(t *testing.T) {
	for _, want := range []subscription{
		{Version: userDataVersion},
		{
			Version: userDataVersion, ProcessID: "2d0e", Thread: "i1-StreamThread-2", TransactionalID: "app-2d0e-2",
			Tasks: []TaskID{{0, 0}, {3, 12}}, Stored: map[string]int64{"0_0": latestOffset, "3_12": 77, "1_1": unknownOffset}, Nonce: math.MaxUint32,
			Standby: []TaskID{{1, 1}}, Promised: []TaskID{{2, 0}}, PromisedStandby: []TaskID{{2, 1}}, Guarantee: "exactly_once_v2", TransactionalIDs: []string{"app-2d0e-2"}, PerTask: true, Shutdown: true, Client: "v1.2.3",
		},
	} {
		got, err := decodeSubscription(encodeUserData(want))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
}

func TestAssignmentRoundTrip(t *testing.T) {
	for _, want := range []assignment{
		{Version: userDataVersion},
		{Version: userDataVersion, Error: "source topic input does not exist; create it first"},
		{
			Version: userDataVersion, Tasks: []TaskID{{0, 0}, {3, 12}}, Partitions: map[string]int32{"input": 9, "app-by-key-repartition": 9},
			TransactionalIDs: []string{"app-2d0e-1", "app-2d0e-2"}, Fenced: []string{"app-77aa-1"},
			Standby: []TaskID{{1, 1}, {1, 2}}, Warmups: []TaskID{{1, 2}}, Promised: []TaskID{{2, 0}}, PromisedStandby: []TaskID{{2, 1}}, Awaited: true, Probing: 1_700_000_000_000, PerTask: true, ExactlyOnce: true,
			Shutdown: true, Leader: "i1-StreamThread-1",
		},
	} {
		got, err := decodeAssignment(encodeUserData(want))
		if err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
}

// TestAnnouncedIDs: only ids that stay with a member are told to those who watch the group.
func TestAnnouncedIDs(t *testing.T) {
	for name, tt := range map[string]struct {
		userData []byte
		want     []string
	}{
		"exactly_once_v2": {encodeUserData(subscription{Version: userDataVersion, Guarantee: ExactlyOnceV2, TransactionalIDs: []string{"app-p-1"}}), []string{"app-p-1"}},
		"version 1":       {encodeUserData(subscription{Version: 1, TransactionalID: "app-p-1"}), []string{"app-p-1"}},
		"exactly_once":    {encodeUserData(subscription{Version: userDataVersion, Guarantee: ExactlyOnce, TransactionalIDs: []string{"app-0_0"}}), nil},
		"at_least_once":   {encodeUserData(subscription{Version: userDataVersion, Guarantee: AtLeastOnce}), nil},
		"nothing":         {nil, nil},
		"somebody else's": {[]byte{0, 1, 2}, nil},
	} {
		if got := AnnouncedIDs(tt.userData); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

// TestUserDataBytes: members of different builds meet in one group, so the names of the fields are a contract.
func TestUserDataBytes(t *testing.T) {
	tests := []struct {
		v    any
		want string
	}{
		{
			subscription{Version: 1, ProcessID: "p", Thread: "t", TransactionalID: "x", Tasks: []TaskID{{0, 3}}, Stored: map[string]int64{"0_3": 1}, Nonce: 2},
			`{"v":1,"process":"p","thread":"t","txn":"x","tasks":["0_3"],"stored":{"0_3":1},"nonce":2}`,
		},
		{
			assignment{Version: 1, Tasks: []TaskID{{0, 3}}, Partitions: map[string]int32{"in": 9}, TransactionalIDs: []string{"x"}, Fenced: []string{"y"}, Error: "e"},
			`{"v":1,"tasks":["0_3"],"partitions":{"in":9},"txns":["x"],"fenced":["y"],"error":"e"}`,
		},
	}
	for _, test := range tests {
		if got := string(encodeUserData(test.v)); got != test.want {
			t.Errorf("got %s, want %s", got, test.want)
		}
	}
}

// TestUserDataBytesOfVersion2 does the same for what came later. What version 1 knew must stay where it was.
func TestUserDataBytesOfVersion2(t *testing.T) {
	tests := []struct {
		v    any
		want string
	}{
		{
			subscription{
				Version: 2, ProcessID: "p", Thread: "t", TransactionalID: "x", Tasks: []TaskID{{0, 3}}, Stored: map[string]int64{"0_3": -2}, Nonce: 2,
				Standby: []TaskID{{0, 4}}, Promised: []TaskID{{0, 5}}, PromisedStandby: []TaskID{{0, 6}},
				Guarantee: "exactly_once_v2", TransactionalIDs: []string{"x"}, PerTask: true, Shutdown: true, Client: "c",
			},
			`{"v":2,"process":"p","thread":"t","txn":"x","tasks":["0_3"],"stored":{"0_3":-2},"nonce":2,` +
				`"standby":["0_4"],"promised":["0_5"],"promised_standby":["0_6"],"guarantee":"exactly_once_v2","txns":["x"],"per_task":true,"shutdown":true,"client":"c"}`,
		},
		{
			assignment{
				Version: 2, Tasks: []TaskID{{0, 3}}, Leader: "l", Partitions: map[string]int32{"in": 9}, TransactionalIDs: []string{"x"},
				Standby: []TaskID{{0, 4}}, Warmups: []TaskID{{0, 4}}, Promised: []TaskID{{0, 5}}, PromisedStandby: []TaskID{{0, 6}}, Awaited: true, Probing: 7, PerTask: true, ExactlyOnce: true, Shutdown: true,
			},
			`{"v":2,"tasks":["0_3"],"leader":"l","partitions":{"in":9},"txns":["x"],` +
				`"standby":["0_4"],"warmups":["0_4"],"promised":["0_5"],"promised_standby":["0_6"],"awaited":true,"probing":7,"per_task":true,"exactly_once":true,"shutdown":true}`,
		},
	}
	for _, test := range tests {
		if got := string(encodeUserData(test.v)); got != test.want {
			t.Errorf("got %s, want %s", got, test.want)
		}
	}
}

func TestTransactionalIDs(t *testing.T) {
	active := []TaskID{{0, 3}, {1, 0}}
	for guarantee, want := range map[Guarantee][]string{
		"exactly_once_v2": {"app-p-1"},
		"exactly_once":    {"app-0_3", "app-1_0"},
		"at_least_once":   nil,
	} {
		if got := transactionalIDs(guarantee, "app", "app-p-1", active); !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", guarantee, got, want)
		}
	}
	one := subscription{Version: 1, TransactionalID: "app-p-1"}
	if got := one.ids(); !slices.Equal(got, []string{"app-p-1"}) {
		t.Errorf("version 1: got %v", got)
	}
	two := subscription{Version: 2, TransactionalID: "app-p-1", TransactionalIDs: []string{"a", "b"}}
	if got := two.ids(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("version 2: got %v", got)
	}
	if got := (&subscription{Version: 1}).ids(); len(got) != 0 {
		t.Errorf("no id: got %v", got)
	}
}

// TestAssignmentAwaits: a member that gives something up joins again if others wait for it.
func TestAssignmentAwaits(t *testing.T) {
	x, y := []TaskID{{0, 0}}, []TaskID{{0, 1}}
	tests := []struct {
		name   string
		claims claims
		a      assignment
		want   bool
	}{
		{"nothing to give up", claims{active: x, standby: y}, assignment{Version: 2, Tasks: x, Standby: y}, false},
		{"an active task is gone", claims{active: x}, assignment{Version: 2}, true},
		{"an active task became a standby", claims{active: x}, assignment{Version: 2, Standby: x}, true},
		{"a standby became active", claims{standby: x}, assignment{Version: 2, Tasks: x}, false},
		{"a standby is gone, nobody wants it", claims{standby: x}, assignment{Version: 2}, false},
		{"a standby is gone, another thread wants it", claims{standby: x}, assignment{Version: 2, Awaited: true}, true},
		{"a standby is gone, the leader knows of none", claims{standby: x}, assignment{Version: 1}, true},
		{"a standby became active, the leader knows of none", claims{standby: x}, assignment{Version: 1, Tasks: x}, false},
	}
	for _, test := range tests {
		if got := test.a.awaits(test.claims); got != test.want {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
}

// TestUserDataOfTheFuture: what a newer member adds is skipped.
func TestUserDataOfTheFuture(t *testing.T) {
	sub, err := decodeSubscription([]byte(`{"v":7,"process":"p","tasks":["0_3"],"colour":"red"}`))
	if err != nil || sub.ProcessID != "p" || len(sub.Tasks) != 1 {
		t.Errorf("got %+v, %v", sub, err)
	}
	a, err := decodeAssignment([]byte(`{"v":7,"tasks":["0_3"],"colour":"red"}`))
	if err != nil || len(a.Tasks) != 1 {
		t.Errorf("got %+v, %v", a, err)
	}
}

func TestDecodeSubscriptionRefuses(t *testing.T) {
	for _, bad := range []string{
		"", "x", "{", "[]", "7", `"text"`, "{}", `{"v":0}`, `{"v":-1}`, `{"v":"1"}`, `{"v":1,"tasks":["0-3"]}`, `{"v":1,"tasks":["0_"]}`,
		`{"v":1,"tasks":[7]}`, `{"v":1,"stored":{"0_3":"x"}}`, `{"v":1,"nonce":-1}`, `{"v":1,"nonce":4294967296}`, "\x00\x01",
	} {
		if sub, err := decodeSubscription([]byte(bad)); err == nil || !strings.HasPrefix(err.Error(), "subscription: ") {
			t.Errorf("%q: got %+v, %v, want an error that says what it is about", bad, sub, err)
		}
	}
}

func TestDecodeAssignmentRefuses(t *testing.T) {
	for _, bad := range []string{
		"x", "{", "[]", "7", "{}", `{"v":0}`, `{"v":-1}`, `{"tasks":["0_3"]}`, `{"v":1,"tasks":["0_3_4"]}`, `{"v":1,"tasks":["-1_3"]}`,
		`{"v":1,"partitions":{"in":99999999999}}`, "\x00",
	} {
		if a, err := decodeAssignment([]byte(bad)); err == nil || !strings.HasPrefix(err.Error(), "assignment: ") {
			t.Errorf("%q: got %+v, %v, want an error that says what it is about", bad, a, err)
		}
	}
}

// TestDecodeEmptyAssignment: a member that the leader did not know is sent no bytes at all.
func TestDecodeEmptyAssignment(t *testing.T) {
	for _, empty := range [][]byte{nil, {}} {
		if a, err := decodeAssignment(empty); err != nil || a == nil || len(a.Tasks) != 0 {
			t.Errorf("got %+v, %v, want no tasks", a, err)
		}
	}
}

func FuzzDecodeSubscription(f *testing.F) {
	f.Add(encodeUserData(subscription{Version: 1, Tasks: []TaskID{{0, 3}}, Stored: map[string]int64{"0_3": 1}}))
	f.Add([]byte(`{"v":1,"tasks":["999999999_999999999"],"nonce":4294967295}`))
	f.Add([]byte(`{"v":0}`))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		sub, err := decodeSubscription(data)
		if err != nil {
			return
		}
		again, err := decodeSubscription(encodeUserData(sub))
		if err != nil || string(encodeUserData(again)) != string(encodeUserData(sub)) {
			t.Errorf("%q: %+v became %+v, %v", data, sub, again, err)
		}
		offsetsOf(&sub, sub.Tasks)
	})
}

func FuzzDecodeAssignment(f *testing.F) {
	f.Add(encodeUserData(assignment{Version: 1, Tasks: []TaskID{{0, 3}}, Partitions: map[string]int32{"in": 9}, Fenced: []string{"x"}}))
	f.Add([]byte(`{"v":1,"error":"no topic"}`))
	f.Add([]byte(`{"v":1,"tasks":null}`))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := decodeAssignment(data)
		if err != nil {
			return
		}
		if len(data) > 0 && a.Version < 1 {
			t.Errorf("%q: version %d was let through", data, a.Version)
		}
		again, err := decodeAssignment(encodeUserData(a))
		if len(data) > 0 && (err != nil || string(encodeUserData(again)) != string(encodeUserData(a))) {
			t.Errorf("%q: %+v became %+v, %v", data, a, again, err)
		}
	})
}

func TestTaskIDText(t *testing.T) {
	for _, id := range []TaskID{{0, 0}, {0, 3}, {12, 340}, {math.MaxInt32, math.MaxInt32}} {
		b, err := json.Marshal(id)
		var got TaskID
		if err != nil || json.Unmarshal(b, &got) != nil || got != id || string(b) != `"`+id.String()+`"` {
			t.Errorf("%s: got %s, %v", b, got, err)
		}
	}
	for _, bad := range []string{"", "_", "0", "0_", "_0", "0_0_0", "-1_0", "0_-1", "+1_0", "a_b", "0 _1", "2147483648_0", "0_2147483648", "name__0_3"} {
		if id, err := ParseTaskID(bad); err == nil {
			t.Errorf("%q: got %s, want an error", bad, id)
		}
	}
}

func TestTaskIDOrder(t *testing.T) {
	ordered := []TaskID{{0, 0}, {0, 2}, {0, 10}, {1, 0}, {2, 1}, {10, 0}}
	for i, a := range ordered {
		for j, b := range ordered {
			if got := compareTaskIDs(a, b); (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("%s against %s: %d", a, b, got)
			}
		}
	}
}

// TestOffsetMetadataBytes compares with what Kafka Streams writes: magic 2, eight bytes of time, a count of four bytes.
func TestOffsetMetadataBytes(t *testing.T) {
	for partitionTime, want := range map[int64]string{
		0:                 "AgAAAAAAAAAAAAAAAA==",
		-1:                "Av//////////AAAAAA==",
		1_700_000_000_000: "AgAAAYvP5WgAAAAAAA==",
	} {
		if got := encodeOffsetMetadata(partitionTime); got != want {
			t.Errorf("%d: got %s, want %s", partitionTime, got, want)
		}
	}
}

func TestOffsetMetadataRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.Int64().Draw(t, "partition time")
		if got := decodeOffsetMetadata(encodeOffsetMetadata(want)); got != want {
			t.Fatalf("got %d, want %d", got, want)
		}
	})
}

func TestDecodeOffsetMetadata(t *testing.T) {
	raw := func(b ...byte) string { return base64.StdEncoding.EncodeToString(b) }
	tests := []struct {
		text string
		want int64
	}{
		{raw(1, 0, 0, 0, 0, 0, 0, 0, 42), 42},                                                      // 2.4
		{raw(2, 0, 0, 0, 0, 0, 0, 0, 42, 0, 0, 0, 0), 42},                                          // 4.3
		{raw(2, 0, 0, 0, 0, 0, 0, 0, 42, 0, 0, 0, 1, 0, 0, 0, 1, 'k', 0, 0, 0, 0, 0, 0, 0, 7), 42}, // with an entry of a processor
		{"", -1},
		{"not base64!", -1},
		{raw(2, 0, 0), -1},
		{raw(0, 0, 0, 0, 0, 0, 0, 0, 42), -1},
		{raw(3, 0, 0, 0, 0, 0, 0, 0, 42), -1},
		{raw(255, 0, 0, 0, 0, 0, 0, 0, 42), -1},
		{"i1-StreamThread-1-consumer-7f3a", -1}, // the member id that a plain client writes
	}
	for _, test := range tests {
		if got := decodeOffsetMetadata(test.text); got != test.want {
			t.Errorf("%q: got %d, want %d", test.text, got, test.want)
		}
	}
}

func FuzzDecodeOffsetMetadata(f *testing.F) {
	for _, seed := range []string{"", "AgAAAAAAAAAAAAAAAA==", "AQAAAAAAAAAq", "====", "AA=="} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		at := decodeOffsetMetadata(text)
		if again := decodeOffsetMetadata(encodeOffsetMetadata(at)); again != at {
			t.Errorf("%q: %d became %d", text, at, again)
		}
	})
}
