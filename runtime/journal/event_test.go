package journal_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"eostop/runtime/journal"
)

var at = time.Date(2026, 11, 23, 4, 54, 2, 650_400_000, time.UTC)

func TestEventJSON(t *testing.T) {
	full := journal.Event{
		Seq: 17, At: at, Kind: journal.KindProducer, Level: journal.Warn, Instance: "i1", Thread: "i1-StreamThread-2", Task: "1_0",
		Store: "KSTREAM-AGGREGATE-STATE-STORE-0000000007", From: "READY", To: "DISCARDED", TransactionalID: "app-uuid-2",
		ProducerID: 4000, Epoch: 3, Cause: "fenced", Error: "PRODUCER_FENCED: <gone>", Count: 12,
		Duration: 1500*time.Microsecond + 1, Text: "fenced",
	}
	const want = `{"seq":17,"at":"2026-11-23T04:54:02.6504Z","kind":"producer","level":"warn","instance":"i1",` +
		`"thread":"i1-StreamThread-2","task":"1_0","store":"KSTREAM-AGGREGATE-STATE-STORE-0000000007","from":"READY","to":"DISCARDED",` +
		`"transactional_id":"app-uuid-2","producer_id":4000,"epoch":3,"cause":"fenced","error":"PRODUCER_FENCED: \u003cgone\u003e",` +
		`"count":12,"duration_ms":1.500001,"text":"fenced"}`
	b, err := json.Marshal(full)
	if err != nil {
		t.Fatal(err)
	}
	if string(b) != want {
		t.Errorf("got  %s\nwant %s", b, want)
	}
	for _, e := range []journal.Event{full, {At: at}, {At: at, Duration: -time.Nanosecond}, {At: at, Duration: 100*time.Hour + 1}} {
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		var back journal.Event
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatal(err)
		}
		if back != e {
			t.Errorf("%s\ncame back as %+v\nwant %+v", b, back, e)
		}
	}
	if b, _ := json.Marshal(journal.Event{At: at}); string(b) != `{"seq":0,"at":"2026-11-23T04:54:02.6504Z","kind":"","level":"debug"}` {
		t.Errorf("an empty event is %s", b)
	}
}

func TestEventJSONErrors(t *testing.T) {
	var e journal.Event
	for _, bad := range []string{`{"level":"loud"}`, `[]`, `{"seq":-1}`} {
		if err := json.Unmarshal([]byte(bad), &e); err == nil || !strings.Contains(err.Error(), "event") {
			t.Errorf("%s: error %v", bad, err)
		}
	}
	if _, err := json.Marshal(journal.Event{Level: 9}); err == nil {
		t.Error("level 9 was encoded")
	}
}

func TestLevel(t *testing.T) {
	for level, want := range map[journal.Level]string{journal.Debug: "DEBUG", journal.Info: "INFO", journal.Warn: "WARN", journal.Error: "ERROR"} {
		text, err := level.MarshalText()
		if level.String() != want || err != nil || string(text) != strings.ToLower(want) {
			t.Errorf("level %d is %s, %s, %v", level, level, text, err)
		}
		var back journal.Level
		if err := back.UnmarshalText(text); err != nil || back != level {
			t.Errorf("%s came back as %v, %v", text, back, err)
		}
	}
}

func TestLine(t *testing.T) {
	for _, test := range []struct {
		name  string
		event journal.Event
		want  string
	}{
		{
			"thread",
			journal.Event{Level: journal.Info, Thread: "i1-StreamThread-2", Instance: "i1", Text: "State transition from RUNNING to PARTITIONS_REVOKED"},
			"INFO stream-thread [i1-StreamThread-2] State transition from RUNNING to PARTITIONS_REVOKED",
		},
		{
			"instance",
			journal.Event{Level: journal.Info, Instance: "i1", Text: "State transition from CREATED to REBALANCING"},
			"INFO stream-client [i1] State transition from CREATED to REBALANCING",
		},
		{
			"text that names its thread",
			journal.Event{Level: journal.Info, Instance: "i1", Thread: "i1-StreamThread-2", Text: "stream-thread [i1-StreamThread-2] Starting"},
			"INFO stream-thread [i1-StreamThread-2] Starting",
		},
		{"nobody", journal.Event{Level: journal.Debug, Text: "hello"}, "DEBUG hello"},
		{
			"error",
			journal.Event{Level: journal.Warn, Thread: "t", Text: "commit failed", Error: "PRODUCER_FENCED"},
			"WARN stream-thread [t] commit failed: PRODUCER_FENCED",
		},
		{
			"error that the text quotes",
			journal.Event{Level: journal.Error, Text: "commit failed: PRODUCER_FENCED, rejoining", Error: "PRODUCER_FENCED"},
			"ERROR commit failed: PRODUCER_FENCED, rejoining",
		},
		{
			"no text: a transition",
			journal.Event{Level: journal.Info, Thread: "t", Task: "1_0", Kind: journal.KindTaskState, From: "CREATED", To: "RESTORING"},
			"INFO stream-thread [t] task [1_0] State transition from CREATED to RESTORING",
		},
		{
			"no text: everything else",
			journal.Event{
				Level: journal.Info, Thread: "t", Kind: journal.KindTransaction, To: "ABORTED", Store: "s", TransactionalID: "id",
				ProducerID: 7, Epoch: 2, Count: 5, Duration: 1500 * time.Millisecond, Cause: "fenced", Error: "gone",
			},
			"INFO stream-thread [t] transaction ABORTED store s transactionalId id producerId 7 epoch 2 count 5 in 1500 ms (fenced): gone",
		},
		{
			"hostile",
			journal.Event{Level: journal.Error, Thread: "t\x1b]0;title\a", Text: "a\nb\tc\x1b[31mred\x1b[0m", Error: "x\u202ey\x00"},
			"ERROR stream-thread [t] a b cred: xy",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.event.At = at
			if got, want := test.event.Line(), "[2026-11-23 04:54:02,650] "+test.want; got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"":                               "",
		"plain ~ text":                   "plain ~ text",
		"Z\u00fcrich \u65e5\u672c":       "Z\u00fcrich \u65e5\u672c",
		"a\r\nb":                         "a  b",
		"a\u0085b\u2028c":                "a b c",
		"\x1b[1;31mbold\x1b[m":           "bold",
		"\x1b[?25lhidden":                "hidden",
		"\x1b]8;;http://x\x1b\\link":     "link",
		"\x1b]2;t\u009cafter":            "after",
		"\x1bPq#0\x1b\\dcs":              "dcs",
		"\x1b_apc\x1b\\x\x1b^pm\x1b\\y":  "xy",
		"\x1bXsos\x1b\\z":                "z",
		"\u009b31mC1":                    "C1",
		"\u009d0;t\atitle":               "title",
		"\x1b(Bcharset":                  "charset",
		"\x1b7save\x1b8":                 "save",
		"\x1bMup":                        "up",
		"\x1bcreset":                     "reset",
		"end\x1b":                        "end",
		"end\x1b[":                       "end",
		"end\x1b[31":                     "end",
		"end\x1b(":                       "end",
		"end\x1b]0;never ended":          "end",
		"a\x1b]0;ended by\nthe line":     "a the line",
		"a\x1b]0;t\x1b[31mb":             "ab",
		"a\x1b[3\x00b":                   "ab",
		"bad \xff utf-8":                 "bad \ufffd utf-8",
		"\u202eright to left\u2066":      "right to left",
		"\x7f\b\a":                       "",
		"\x1b\x1b[31mtwice":              "twice",
		"arrow -> <b> & \u00a0 no-break": "arrow -> <b> &   no-break",
	} {
		if got := journal.Clean(in); got != want {
			t.Errorf("Clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("a\x1b[31mb\n\x1b]0;x\a\u202e\xff")
	f.Add("\u009b\u009d\x1bP\x1b\\")
	f.Fuzz(func(t *testing.T, in string) {
		out := journal.Clean(in)
		if !utf8.ValidString(out) {
			t.Errorf("Clean(%q) = %q is not UTF-8", in, out)
		}
		for _, r := range out {
			if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
				t.Errorf("Clean(%q) = %q holds %U", in, out, r)
			}
		}
		if again := journal.Clean(out); again != out {
			t.Errorf("Clean(%q) = %q, and again %q", in, out, again)
		}
	})
}

func BenchmarkLine(b *testing.B) {
	e := journal.Event{At: at, Level: journal.Info, Thread: "i1-StreamThread-2", Text: "State transition from RUNNING to PARTITIONS_REVOKED"}
	b.ReportAllocs()
	for b.Loop() {
		_ = e.Line()
	}
}
