package soak

import (
	"cmp"
	"slices"
	"strings"
	"testing"
	"time"

	"eostop/faults"
)

func cut(t *testing.T, text string) CutSpec {
	t.Helper()
	spec, err := ParseCut(text)
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

func TestParseCut(t *testing.T) {
	tests := []struct {
		text string
		want CutSpec
		back string // empty: as text
	}{
		{"i2@10s+15s", CutSpec{"i2", 10 * time.Second, 15 * time.Second, faults.Both}, ""},
		{"i1@30s+5m:in", CutSpec{"i1", 30 * time.Second, 5 * time.Minute, faults.In}, ""},
		{"i2@10s+20s:out", CutSpec{"i2", 10 * time.Second, 20 * time.Second, faults.Out}, ""},
		{"node-1.a@0s+1h30m:both", CutSpec{"node-1.a", 0, 90 * time.Minute, faults.Both}, "node-1.a@0s+1h30m"},
		{"i1@1.5s+500ms", CutSpec{"i1", 1500 * time.Millisecond, 500 * time.Millisecond, faults.Both}, ""},
	}
	for _, tt := range tests {
		got, err := ParseCut(tt.text)
		if err != nil || got != tt.want {
			t.Errorf("ParseCut(%q) = %+v, %v; want %+v", tt.text, got, err, tt.want)
		}
		back := tt.back
		if back == "" {
			back = tt.text
		}
		if got.String() != back {
			t.Errorf("ParseCut(%q) prints as %q, want %q", tt.text, got, back)
		}
	}
}

func TestParseCutErrors(t *testing.T) {
	tests := []struct{ text, want string }{
		{"", "write INSTANCE@START+LENGTH"},
		{"i2", "write INSTANCE@START+LENGTH"},
		{"i2@10s", "write INSTANCE@START+LENGTH"},
		{"@10s+1s", "write INSTANCE@START+LENGTH"},
		{"i 2@10s+1s", `"i 2" is not the name of an instance`},
		{"i2@10+1s", `START: "10" is not a duration; write it with a unit`},
		{"i2@10s+5", `LENGTH: "5" is not a duration`},
		{"i2@10s+0s", "LENGTH: 0s is too short; valid: more than 0s"},
		{"i2@-1s+5s", "START: -1s is too short; valid: 0s and more"},
		{"i2@1s+20000h", "LENGTH: 20000h is too long; valid: up to 10000h"},
		{"i2@10s+5s:up", `"up" is not a direction; valid: both, in, out`},
		{"i2@x+y", `START: "x" is not a duration; write it with a unit, like 100ms, 10s or 5m; LENGTH: "y"`},
	}
	for _, tt := range tests {
		_, err := ParseCut(tt.text)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("ParseCut(%q): %v; want one line with %q", tt.text, err, tt.want)
		}
	}
}

func TestParseFault(t *testing.T) {
	tests := []struct {
		text string
		want FaultSpec
		back string // empty: as text
	}{
		{"panic,instance=i3,thread=2@15s", FaultSpec{"panic", "i3", 2, "", 15 * time.Second, 0}, ""},
		{"stall,instance=i1,thread=1@10s+25s", FaultSpec{"stall", "i1", 1, "", 10 * time.Second, 25 * time.Second}, ""},
		{
			"error,api=EndTxn,code=INVALID_TXN_STATE,instance=i1,nth=3@0s",
			FaultSpec{"error", "i1", 0, "api=EndTxn,code=INVALID_TXN_STATE,nth=3", 0, 0},
			"error,instance=i1,api=EndTxn,code=INVALID_TXN_STATE,nth=3@0s",
		},
		{"cut,instance=i1,node=127.0.0.1:9092,direction=in@1m+30s", FaultSpec{"cut", "i1", 0, "node=127.0.0.1:9092,direction=in", time.Minute, 30 * time.Second}, ""},
		{"hold,thread=2,api=EndTxn+Produce,txn=a@b*,delay=1s@1s", FaultSpec{"hold", "", 2, "api=EndTxn+Produce,txn=a@b*,delay=1s", time.Second, 0}, ""},
		{"reset@5s", FaultSpec{"reset", "", 0, "", 5 * time.Second, 0}, ""},
	}
	for _, tt := range tests {
		got, err := ParseFault(tt.text)
		if err != nil || got != tt.want || got.String() != cmp.Or(tt.back, tt.text) {
			t.Errorf("ParseFault(%q) = %+v (%s), %v; want %+v", tt.text, got, got, err, tt.want)
		}
	}
}

func TestParseFaultErrors(t *testing.T) {
	tests := []struct{ text, want string }{
		{"", `"" is not a kind of fault; valid: panic, stall, disk-full, slow-disk, store-open-fails, clock-jump, error, rewrite, delay-response, drop-response, hold, close, cut, delay, jitter, throttle, reset, half-open, leader-move, coordinator-move, broker-restart, broker-error, coordinator-load, slow-markers, slow-aborts, forget-producers, truncate, hanging-txn`},
		{"explode@1s", `"explode" is not a kind of fault; valid: panic, stall`},
		{"panic,instance=i1,thread=1", "write KIND[,key=value..]@START[+LENGTH]"},
		{"error,api=EndTxn@0s", "error needs code=..; like error,api=EndTxn"},
		{"error,api=EndTx,code=INVALID_TXN_STATE@0s", "api=EndTx: valid: any, or Kafka's names of requests, like EndTxn"},
		{"error,api=EndTxn,code=INVALID_TXN@0s", "code=INVALID_TXN: valid: Kafka's names of errors, like INVALID_CONFIG, INVALID_RECORD, INVALID_TXN_STATE"},
		{"error,api=EndTxn,code=INVALID_TXN_STATE,nth=0@0s", "nth=0: valid: 1 and more"},
		{"error,api=EndTxn,code=INVALID_TXN_STATE,after=3@0s", `error has no key "after"; valid keys: api, code, instance, thread, client, txn, topic, node, end, nth, count, probability, seed`},
		{"cut,instance=i1,node=1@10s", "cut needs a LENGTH; like cut,instance=i1,node=2@10s+30s"},
		{"reset,instance=i1@10s+5s", "reset has a LENGTH only with rate"},
		{"panic@1s", "panic needs instance=..; valid keys: instance, thread; panic needs thread=.."},
		{"panic,instance=i1,thread=1@1s+5s", "panic has no LENGTH; like panic,instance=i3,thread=2@15s"},
		{"stall,instance=i1,thread=1@1s", "stall needs a LENGTH; like stall,instance=i1,thread=1@10s+25s"},
		{"stall,instance=i1,thread=1@1s+0s", "LENGTH: 0s is too short"},
		{"stall,instance=i1,thread=0@1s+1s", "thread=0 is not the number of a thread; valid: 1 and more"},
		{"stall,instance=i1,thread=x@1s+1s", "thread=x is not the number of a thread"},
		{"stall,instance=,thread=1@1s+1s", "instance= is not the name of an instance"},
		{"stall,instance=i1,instance=i2,thread=1@1s+1s", "instance is given twice"},
		{"stall,instance=i1,thread=1,color=red@1s+1s", `stall has no key "color"; valid keys: instance, thread`},
		{"stall,instance@1s+1s", `"instance" is not key=value`},
		{"stall,instance=i1,thread=1@soon+1s", `START: "soon" is not a duration`},
	}
	for _, tt := range tests {
		_, err := ParseFault(tt.text)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("ParseFault(%q): %v; want one line with %q", tt.text, err, tt.want)
		}
	}
}

// TestFaultHelpListsEveryKind: each kind with an example that can be read, and each key that a kind has.
func TestFaultHelpListsEveryKind(t *testing.T) {
	kinds, keys, ok := strings.Cut(FaultHelp(), "\nKeys\n")
	if !ok {
		t.Fatal(kinds)
	}
	for _, k := range faultKinds() {
		if _, err := ParseFault(k.Example); err != nil {
			t.Errorf("the example of %s: %v", k.Name, err)
		}
		if !strings.Contains(kinds, "\n  "+k.Name+" ") || !strings.Contains(kinds, k.Example) {
			t.Errorf("%s is not in\n%s", k.Name, kinds)
		}
		for _, key := range slices.Concat(k.Needs, k.Takes) {
			if !strings.Contains("\n"+keys, "\n  "+key+"=") {
				t.Errorf("key %s of %s is not in\n%s", key, k.Name, keys)
			}
		}
	}
}

func FuzzParseCut(f *testing.F) {
	for _, text := range []string{"i2@10s+15s", "i1@30s+5m:in", "a@0s+1ns:out", "@+:", "i2@10s", "i1@1h+1h:both"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		spec, err := ParseCut(text)
		if err != nil {
			return
		}
		again, err := ParseCut(spec.String())
		if err != nil || again != spec {
			t.Errorf("%q reads as %+v, prints as %q, reads as %+v, %v", text, spec, spec, again, err)
		}
		if spec.Length <= 0 || spec.Start < 0 || spec.Start+spec.Length < 0 {
			t.Errorf("%q reads as %+v", text, spec)
		}
	})
}

func FuzzParseFault(f *testing.F) {
	for _, text := range []string{"panic,instance=i3,thread=2@15s", "stall,instance=i1,thread=1@10s+25s", "error,api=EndTxn,code=48,nth=2@0s", "cut,node=1@1s+1s", "error@0s", ",@+", "panic"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		spec, err := ParseFault(text)
		if err != nil {
			return
		}
		again, err := ParseFault(spec.String())
		if err != nil || again != spec {
			t.Errorf("%q reads as %+v, prints as %q, reads as %+v, %v", text, spec, spec, again, err)
		}
	})
}
