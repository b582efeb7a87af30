package journal_test

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"eostop/runtime/journal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func seqs(events []journal.Event) []uint64 {
	var s []uint64
	for i := range events {
		s = append(s, events[i].Seq)
	}
	return s
}

func TestRing(t *testing.T) {
	j := journal.New(4)
	check := func(what string, got, want []uint64) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s = %v, want %v", what, got, want)
		}
	}
	since := func(seq uint64, want []uint64, wantDropped uint64) {
		t.Helper()
		events, dropped := j.Since(seq)
		check("Since", seqs(events), want)
		if dropped != wantDropped {
			t.Errorf("Since(%d) dropped %d, want %d", seq, dropped, wantDropped)
		}
	}
	check("Tail of nothing", seqs(j.Tail(3)), nil)
	since(0, nil, 0)
	for range 3 {
		j.Emit(journal.Event{Kind: journal.KindLog})
	}
	check("Tail(2)", seqs(j.Tail(2)), []uint64{2, 3})
	check("Tail(9)", seqs(j.Tail(9)), []uint64{1, 2, 3})
	check("Tail(-1)", seqs(j.Tail(-1)), nil)
	since(0, []uint64{1, 2, 3}, 0)
	since(2, []uint64{3}, 0)
	since(3, nil, 0)
	since(99, nil, 0)
	for range 4 {
		j.Emit(journal.Event{Kind: journal.KindLog})
	}
	check("Tail(2)", seqs(j.Tail(2)), []uint64{6, 7})
	check("Tail(9)", seqs(j.Tail(9)), []uint64{4, 5, 6, 7})
	since(0, []uint64{4, 5, 6, 7}, 3)
	since(1, []uint64{4, 5, 6, 7}, 2)
	since(3, []uint64{4, 5, 6, 7}, 0)
	since(6, []uint64{7}, 0)
}

func TestEmitSetsSeqAndAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := journal.New(4)
		time.Sleep(time.Second)
		j.Emit(journal.Event{Seq: 77, At: time.Unix(1, 0), Kind: journal.KindFault, Instance: "i2"})
		e := j.Tail(1)[0]
		if e.Seq != 1 || !e.At.Equal(time.Now()) || e.Instance != "i2" {
			t.Errorf("the event is %+v", e)
		}
	})
}

func TestNewPanicsWithoutCapacity(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a journal of no capacity was made")
		}
	}()
	journal.New(0)
}

// Every reader sees each event once and in order, or is told how many it missed, while others emit.
func TestConcurrentEmitAndSince(t *testing.T) {
	const writers, each = 4, 2000
	j := journal.New(256)
	var group sync.WaitGroup
	for range writers {
		group.Go(func() {
			for range each {
				j.Emit(journal.Event{Kind: journal.KindLog, Text: "x"})
			}
		})
	}
	var seen, lost, last uint64
	for seen+lost < writers*each {
		events, dropped := j.Since(last)
		lost += dropped
		last += dropped
		for _, e := range events {
			if last++; e.Seq != last {
				t.Fatalf("event %d came, want %d", e.Seq, last)
			}
			seen++
		}
	}
	group.Wait()
}

func BenchmarkEmit(b *testing.B) {
	event := journal.Event{
		Kind: journal.KindThreadState, Level: journal.Info, Instance: "i1", Thread: "i1-StreamThread-2",
		From: "RUNNING", To: "PARTITIONS_REVOKED", Text: "State transition from RUNNING to PARTITIONS_REVOKED",
	}
	b.Run("ring", func(b *testing.B) {
		j := journal.New(4096)
		b.ReportAllocs()
		for b.Loop() {
			j.Emit(event)
		}
	})
	b.Run("ring contended", func(b *testing.B) {
		j := journal.New(4096)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				j.Emit(event)
			}
		})
	})
	b.Run("ring and log", func(b *testing.B) {
		j := journal.New(4096)
		j.Attach(journal.NewLog(nil, 1<<20))
		b.ReportAllocs()
		for b.Loop() {
			j.Emit(event)
		}
	})
}

func BenchmarkTail(b *testing.B) {
	j := journal.New(4096)
	for range 5000 {
		j.Emit(journal.Event{})
	}
	b.ReportAllocs()
	for b.Loop() {
		j.Tail(64)
	}
}
