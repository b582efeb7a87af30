package verify

import (
	"context"
	"maps"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// lookEvery is the pause between two looks at the cluster.
const lookEvery = time.Second

// look is what the cluster says while the logs are read. What was known before the question, and what is read behind the answer, can be
// put in order by it.
type look struct {
	// Before the question.
	furthest reached         // effects that were read
	epochs   map[int64]int16 // newest epochs of producers, in any partition
	writes   int             // of expelled members, that wait to be proved

	// The answer.
	committed offsets // of the group; only what is stable
	group     *members
	expelled  map[int64]string // producer ids, with the transactional ids that members had announced and none does now
	ends      offsets          // of the logs, after all the above; nil = not known
}

// looks has one look under way at a time.
type looks struct {
	next  time.Time
	found chan *look // nil = none is under way

	// See judgeCover.
	told    map[origin]int64
	highest map[int32]int64 // by input partition: the highest offset that the group was seen to have committed
}

// runLook begins a look where one is due, and applies one that is through.
func (v *Verifier) runLook(ctx context.Context) {
	l, now := &v.looks, time.Now()
	switch {
	case v.config.AtLeastOnce:
	case l.found != nil:
		select {
		case seen := <-l.found:
			l.found = nil
			v.judgeCover(seen.furthest, seen.committed)
			v.judgeExpelled(seen)
			v.reader.leaveBehind(seen.ends, seen.epochs)
		default:
		}
	case !now.Before(l.next):
		l.next, l.found = now.Add(lookEvery), make(chan *look, 1)
		next := &look{furthest: v.latest.clone(), epochs: maps.Clone(v.reader.epochs), writes: len(v.expelled.writes)}
		go func() {
			v.ask(ctx, next)
			l.found <- next
		}()
	}
}

// ask lets the cluster answer. It runs beside the owner goroutine.
func (v *Verifier) ask(ctx context.Context, l *look) {
	if v.config.Group != "" {
		if all, err := v.committed(kadm.RequireStable(ctx)); err == nil {
			l.committed = offsetsOf(all)
		}
		l.group, l.expelled = v.askGroup(ctx)
	}
	if ends, err := listOnce(ctx, v.topics, v.reader.admin.ListEndOffsets); err == nil {
		l.ends = ends
	}
}
