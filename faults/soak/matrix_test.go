package soak

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"eostop/runtime/state"
)

// TestTheThreeCauses: each cause of KAFKA-9231 by a script of one cut or fault, in the words of the time; fixed survives the same.
func TestTheThreeCauses(t *testing.T) {
	for _, cell := range QuickCells(7) {
		name := cell.Profile
		if len(cell.Wanted) > 0 {
			name = string(cell.Wanted[0])
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := cell.Run(context.Background(), TestBubble(t), nil)
			if err != nil {
				t.Fatal(err)
			}
			if !r.AsStated {
				t.Fatalf("died of %v, want %v; verdict %q, %v", r.Died, cell.Wanted, r.Verdict, r.Reasons)
			}
			for _, cause := range cell.Wanted {
				checkLastWords(t, cause, r.First[cause])
			}
		})
	}
}

// checkLastWords compares what a thread said with what the threads of KAFKA-9231 did.
func checkLastWords(t *testing.T, cause Cause, d ThreadDied) {
	t.Helper()
	said := strings.Join(d.Log, "\n")
	for _, want := range map[Cause][]string{
		CauseStoreFlush: {
			"] Failed to flush state store KSTREAM-AGGREGATE-STATE-STORE-00000000",
			"ProducerFencedException: Producer attempted an operation with an old epoch.",
			"State transition from PARTITIONS_REVOKED to PENDING_SHUTDOWN",
		},
		CauseRecorder: {
			`java.lang.IllegalStateException: RocksDB metrics recorder for store "KSTREAM-AGGREGATE-STATE-STORE-00000000`,
			"has already been added. This is a bug in Kafka Streams.",
			"State transition from PARTITIONS_ASSIGNED to PENDING_SHUTDOWN",
		},
		CauseUnknownID: {
			"] Abort sending since an error caught with a previous record (timestamp ",
			"due to org.apache.kafka.common.errors.UnknownProducerIdException: This exception is raised by the broker if it could not locate",
			"to PENDING_SHUTDOWN",
		},
	}[cause] {
		if !strings.Contains(said, want) {
			t.Errorf("%s: no %q in what %s said:\n%s", cause, want, d.Thread, said)
		}
	}
	if n := len(d.Log); n != 3 || !strings.HasSuffix(said, "State transition from PENDING_SHUTDOWN to DEAD") {
		t.Errorf("%s: %d lines, the last not of the end:\n%s", cause, n, said)
	}
}

// TestTransactionsThatTimeOut: today's Kafka Streams dies of one, and fixed does not.
func TestTransactionsThatTimeOut(t *testing.T) {
	for _, cell := range MatrixCells(7, 0) {
		if cell.Table != 2 {
			continue
		}
		t.Run(cell.Profile, func(t *testing.T) {
			t.Parallel()
			r, err := cell.Run(context.Background(), TestBubble(t), nil)
			if err != nil {
				t.Fatal(err)
			}
			if !r.AsStated {
				t.Errorf("died of %v, want %v; verdict %q, %v", r.Died, cell.Wanted, r.Verdict, r.Reasons)
			}
		})
	}
}

func TestMatrixCells(t *testing.T) {
	cells := MatrixCells(3, 90*time.Minute)
	if len(cells) != 8 {
		t.Fatalf("%d cells, want 6 and 2", len(cells))
	}
	for _, c := range cells {
		if _, err := New(c.cfg, nil, Deps{}); err != nil {
			t.Errorf("%s with %s: %v", c.Profile, c.Guarantee, err)
		}
		if c.Table == 1 && c.Hours != 1.5 {
			t.Errorf("%s with %s takes %v hours, want 1.5", c.Profile, c.Guarantee, c.Hours)
		}
	}
	if got, want := cells[0].Repeat, "eostop simulate --hours 1.5 --profile kafka-2.4.0-rc --guarantee exactly_once --schedule soak-2019"; got != want {
		t.Errorf("repeat by %q, want %q", got, want)
	}
	for _, c := range QuickCells(3) {
		if _, err := New(c.cfg, nil, Deps{}); err != nil {
			t.Errorf("%s: %v", c.Repeat, err)
		}
	}
}

func TestParseMatrix(t *testing.T) {
	for args, want := range map[string]string{
		"x":                 `unexpected argument "x"`,
		"--hours 0":         "flag --hours: 0 is out of range",
		"--quick --hours 2": "--quick has lengths of its own",
		"--seed 0":          "flag --seed: 0 is out of range",
		"--seeds 3":         "did you mean --seed?",
	} {
		var usage *UsageError
		if _, err := ParseMatrix(strings.Fields(args)); !errors.As(err, &usage) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
	f, err := ParseMatrix(strings.Fields("--quick --seed 4 --report r.json"))
	if err != nil || !f.Quick || f.Seed != 4 || f.Report != "r.json" || len(f.Cells()) != 6 {
		t.Errorf("flags %+v, %v", f, err)
	}
}

func TestStoreFaults(t *testing.T) {
	parse := func(text string) *storeFault {
		spec, err := ParseFault(text)
		if err != nil {
			t.Fatal(err)
		}
		f, err := newStoreFault(spec, 1)
		if err != nil {
			t.Fatal(err)
		}
		f.hit = func(string, string, string) {}
		return f
	}
	s := newStoreFaults()
	opens := func(instance string) bool { return !errors.Is(s.open(instance, "1_0", "a"), state.ErrInUse) }
	if !opens("i1") {
		t.Error("fails without a fault")
	}
	end := s.start(parse("store-open-fails,instance=i2@0s"))
	if !opens("i1") || opens("i2") || !opens("i2") {
		t.Error("does not fail once on i2 alone")
	}
	end()
	end()
	end = s.start(parse("store-open-fails,wiped=true@0s+1h"))
	if !opens("i1") {
		t.Error("fails where nothing was thrown away")
	}
	s.wipe("i1", "1_0")
	if opens("i1") || !opens("i1") {
		t.Error("does not fail the first time only after the folder was thrown away")
	}
	end()
	s.wipe("i1", "1_0")
	if !opens("i1") {
		t.Error("fails after its end")
	}
	s.start(parse("store-open-fails,nth=2,count=2@0s"))
	if got := []bool{opens("i1"), opens("i1"), opens("i1"), opens("i1")}; !got[0] || got[1] || got[2] || !got[3] {
		t.Errorf("opens %v with nth=2,count=2", got)
	}
	for _, text := range []string{"store-open-fails,probability=2@0s", "store-open-fails,nth=0@0s", "store-open-fails,wiped=perhaps@0s", "store-open-fails,thread=1@0s"} {
		if _, err := ParseFault(text); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
}
